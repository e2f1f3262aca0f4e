//! Disposition notifications: which are forwarded, how, and for which messages the sender is known.

use super::*;

/// The message with a header that requests notifications.
fn asking(entries: &str) -> String {
    let text = message(entries).replace(
        "<sip:anne@example.com>\r\nContribution",
        "<sip:anne@192.0.2.3>\r\nContribution",
    );
    let head = "NS: imdn <urn:ietf:params:imdn>\r\nimdn.Message-ID: Mj8+4a/x\r\n\
        imdn.Disposition-Notification: positive-delivery\r\n";
    // Content-Length is ignored in a datagram that ends with the body.
    let (before, rest) = text.split_once("\r\n\r\nContent-Type: text/plain").unwrap();
    let text = format!("{before}\r\n{head}\r\nContent-Type: text/plain{rest}");
    let (_, body) = text.split_once("\r\n\r\n").unwrap();
    let length = format!("Content-Length: {}\r\n", body.len());
    let (before, rest) = text.split_once("Content-Length: ").unwrap();
    let (_, rest) = rest.split_once("\r\n").unwrap();
    format!("{before}{length}{rest}")
}

fn notification(fields: &str) -> String {
    let body = "From: <sip:bill@example.com>\r\n\r\nContent-Type: message/imdn+xml\r\n\r\n\
        <imdn xmlns=\"urn:ietf:params:xml:ns:imdn\"><message-id>Mj8+4a/x</message-id></imdn>";
    format!(
        "MESSAGE sip:exploder@example.com SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\n\
         From: <sip:bill@example.com>;tag=1\r\nTo: <sip:exploder@example.com>\r\nCall-ID: 2\r\n\
         CSeq: 1 MESSAGE\r\n{fields}Content-Type: message/cpim\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// The effect of a notification: the result, and the last calls.
fn forward(
    service: *const cpm_service,
    text_of: &str,
    source: &str,
    is_asked: c_int,
) -> (cpm_script_result, String) {
    let received = cpm_received {
        source_address: lent(source),
        ..received(text_of, "sip:exploder@example.com")
    };
    let result = if is_asked == 1 {
        call!(forward_imdn(service, &raw const received, context()))
    } else {
        super::handle(service, &received)
    };
    let done = seen(|seen| std::mem::take(&mut seen.done));
    (result, done.join("; "))
}

fn fan_out(service: *const cpm_service, message: &str) -> cpm_script_result {
    let request = classify(service, message, "sip:exploder@example.com");
    assert!(!request.is_null());
    let result = super::fan_out(request);
    call!(request_free(request));
    seen(|seen| seen.done.clear());
    result
}

#[test]
fn one_goes_on_as_a_proxy_would_send_it() {
    let service = service(PARAMETERS);
    let one = notification("Max-Forwards: 5\r\n");
    assert!(classify(service, &one, "sip:exploder@example.com").is_null());
    assert_eq!(forward(service, &one, "192.0.2.1", 0).0, CPM_SCRIPT_NO);
    assert_eq!(fan_out(service, &asking(BILL)), CPM_SCRIPT_YES);
    let words = "forward to sip:anne@192.0.2.3 by sip:anne@192.0.2.3 without Max-Forwards,Route: \
                 Max-Forwards: 4\r\n";
    assert_eq!(
        forward(service, &one, "192.0.2.1", 0),
        (CPM_SCRIPT_YES, words.to_owned())
    );
    // An identity asserted by an untrusted peer is not passed on (RFC 3325 §5).
    let (result, words) = forward(service, &one, "192.0.2.99", 0);
    assert_eq!(result, CPM_SCRIPT_YES);
    assert!(words.contains("without Max-Forwards,Route,P-Asserted-Identity:"));
    let spent = notification("Max-Forwards: 0\r\n");
    let (result, words) = forward(service, &spent, "192.0.2.1", 0);
    assert_eq!(result, CPM_SCRIPT_YES);
    assert!(words.starts_with("483 in "), "{words}");
    seen(|seen| {
        let unknown =
            |(counter, n): &(Counter, u32)| (*counter == Counter::ImdnUnknown).then_some(*n);
        assert_eq!(seen.counted.iter().filter_map(unknown).sum::<u32>(), 1);
        let forwarded =
            |(counter, n): &(Counter, u32)| (*counter == Counter::ImdnForwarded).then_some(*n);
        assert_eq!(seen.counted.iter().filter_map(forwarded).sum::<u32>(), 2);
    });
    call!(service_free(service));
}

/// A receipt from a member of a group, and its effect.
#[test]
fn a_group_sends_a_receipt_of_its_own_when_the_host_is_ready() {
    let groups = [
        // Any existing folder.
        ("group_source", "dir:/"),
        ("group_uri", "sip:*@groups.example.com"),
    ];
    let service = service(&[PARAMETERS, &groups].concat());
    assert_eq!(fan_out(service, &asking(BILL)), CPM_SCRIPT_YES);
    seen(|seen| seen.sent.clear());
    let one = notification("P-Asserted-Identity: <sip:bill@example.com>\r\nX-Name: bill\r\n");
    let whole = one.replace(
        "</imdn>",
        "<delivery-notification><status><delivered/></status></delivery-notification></imdn>",
    );
    let (_, body) = whole.split_once("\r\n\r\n").unwrap();
    let (_, before) = one.split_once("\r\n\r\n").unwrap();
    let [was, is] = [before, body].map(|body| format!("Content-Length: {}\r\n", body.len()));
    let whole = whole.replace(&was, &is);
    let handle = |message: &str, source: &str| {
        let received = cpm_received {
            source_address: lent(source),
            ..received(message, "sip:lunch@groups.example.com")
        };
        let result = super::handle(service, &received);
        (result, last_reply().0)
    };
    let mut call_ids = Vec::new();
    for source in ["192.0.2.1", "192.0.2.99"] {
        assert_eq!(handle(&whole, source), (CPM_SCRIPT_YES, 202));
        let sent = seen(|seen| std::mem::take(&mut seen.sent));
        let uris = sent.iter().map(|(uri, _)| uri.as_str());
        assert_eq!(uris.collect::<Vec<_>>(), ["sip:anne@192.0.2.3"]);
        call_ids.extend(sent.into_iter().map(|(_, call_id)| call_id));
    }
    assert_eq!(call_ids[0], call_ids[1], "a late repetition shows as one");
    seen(|seen| seen.absorbs = true);
    assert_eq!(handle(&whole, "192.0.2.1").0, CPM_SCRIPT_END);
    seen(|seen| {
        assert!(seen.sent.is_empty(), "a repetition sends nothing");
        seen.absorbs = false;
        seen.room = vec![false];
    });
    assert_eq!(handle(&whole, "192.0.2.1"), (CPM_SCRIPT_YES, 503));
    for (answer, code) in [(CPM_SENT_FAILED, 500), (CPM_SENT_DROPPED, 202)] {
        seen(|seen| seen.send_answers = vec![answer]);
        assert_eq!(handle(&whole, "192.0.2.1"), (CPM_SCRIPT_YES, code));
    }
    // It does not report the fate of the message.
    assert_eq!(handle(&one, "192.0.2.1"), (CPM_SCRIPT_YES, 400));
    call!(service_free(service));
}

const BILL: &str = "<entry uri=\"sip:bill@192.0.2.2\"/>";

#[test]
fn a_refused_message_leaves_nothing_behind() {
    let service = service(PARAMETERS);
    let one = notification("");
    let is_known = || forward(service, &one, "192.0.2.1", 0).0 == CPM_SCRIPT_YES;
    seen(|seen| seen.room = vec![false]);
    assert_eq!(fan_out(service, &asking(BILL)), CPM_SCRIPT_NO);
    assert!(!is_known(), "503, and nobody has it");
    seen(|seen| seen.veto = Some(Event::Authorize));
    assert_eq!(fan_out(service, &asking(BILL)), CPM_SCRIPT_NO);
    assert!(!is_known(), "403");
    seen(|seen| seen.veto = None);
    assert_eq!(fan_out(service, &message(BILL)), CPM_SCRIPT_YES);
    assert!(!is_known(), "it asked for nothing");
    // Another process has it: it counts as accepted.
    seen(|seen| {
        seen.room = vec![false];
        seen.takes = true;
    });
    assert_eq!(fan_out(service, &asking(BILL)), CPM_SCRIPT_YES);
    assert!(is_known());
    call!(service_free(service));
}

#[test]
fn who_is_known_stays_known_when_a_parameter_changes() {
    let service = service(PARAMETERS);
    assert_eq!(fan_out(service, &asking(BILL)), CPM_SCRIPT_YES);
    assert_eq!(
        call!(service_tune(service, lent("imdn_ttl"), lent("60"), 0)),
        0
    );
    assert_eq!(
        forward(service, &notification(""), "192.0.2.1", 0).0,
        CPM_SCRIPT_YES
    );
    call!(service_free(service));
}

#[test]
fn the_operator_may_leave_them_to_the_script() {
    let with =
        |name: &'static str, value: &'static str| service(&[PARAMETERS, &[(name, value)]].concat());
    let script = with("imdn", "script");
    let none = with("imdn_records", "0");
    let (no, yes) = (CPM_SCRIPT_NO, CPM_SCRIPT_YES);
    for (service, results) in [(script, [no, yes]), (none, [no, no])] {
        assert_eq!(fan_out(service, &asking(BILL)), CPM_SCRIPT_YES);
        let one = notification("");
        let results_of = [0, 1].map(|is_asked| forward(service, &one, "192.0.2.1", is_asked).0);
        assert_eq!(results_of, results);
        call!(service_free(service));
    }
}

#[test]
fn without_memory_for_it_there_is_no_start() {
    unsafe extern "C" fn nothing(_: usize) -> *mut c_void {
        std::ptr::null_mut()
    }
    static POOR: cpm_host = cpm_host {
        share: Some(nothing),
        ..HOST
    };
    let service = call!(service_new(&raw const POOR));
    for (name, value) in PARAMETERS {
        assert_eq!(call!(service_set(service, lent(name), lent(value))), 0);
    }
    assert_eq!(call!(service_start(service, lent(OWN_URI), 0, 0)), -1);
    let line = "there is no memory for so many imdn_records";
    seen(|seen| assert_eq!(seen.log.pop(), Some((CPM_LOG_ERROR, line.to_owned()))));
    assert_eq!(
        call!(service_set(service, lent("imdn_records"), lent("0"))),
        0
    );
    assert_eq!(call!(service_start(service, lent(OWN_URI), 0, 0)), -1);
    let line = "there is no memory for so many request_records";
    seen(|seen| assert_eq!(seen.log.pop(), Some((CPM_LOG_ERROR, line.to_owned()))));
    assert_eq!(
        call!(service_set(service, lent("request_records"), lent("0"))),
        0
    );
    assert_eq!(call!(service_start(service, lent(OWN_URI), 0, 0)), -1);
    let line = "there is no memory for so many message_records";
    seen(|seen| assert_eq!(seen.log.pop(), Some((CPM_LOG_ERROR, line.to_owned()))));
    call!(service_free(service));
}

#[test]
fn what_the_proxy_cannot_parse_is_refused_in_words_that_it_can() {
    let service = service(PARAMETERS);
    let refuse = |message: &str| {
        let mut room = cpm_unparsed::default();
        let result = call!(refuse_unparsed(
            service,
            lent(message),
            0,
            &raw mut room,
            context()
        ));
        let reply = room.reply;
        (result, text(room.request), reply.code, text(reply.to_tag))
    };
    let twice = message(BILL).replace(
        "Max-Forwards: 70\r\n",
        "Max-Forwards: 70\r\nMax-Forwards: 9\r\n",
    );
    let (result, bare, code, tag) = refuse(&twice);
    assert_eq!((result, code), (1, 400));
    assert_eq!(
        bare,
        "MESSAGE sip:exploder@example.com SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\n\
         From: \"Anne\" <sip:anne@example.com>;tag=1\r\nTo: <sip:exploder@example.com>\r\nCall-ID: 1\r\n\
         CSeq: 1 MESSAGE\r\nContent-Length: 0\r\n\r\n"
    );
    // No transaction absorbs its repetition (RFC 3261 8.2.7).
    assert_eq!(refuse(&twice).3, tag);
    assert_ne!(refuse(&twice.replace("Call-ID: 1", "Call-ID: 2")).3, tag);
    let log = seen(|seen| std::mem::take(&mut seen.log));
    let line = "refused 400 Bad Request: Two Max-Forwards Header Fields, callid=1";
    assert_eq!(log[0], (CPM_LOG_NOTICE, line.to_owned()));
    for nothing in [
        "",
        "no request",
        &twice.replace("CSeq: 1 MESSAGE\r\n", ""),
        &twice.replace("MESSAGE sip", "ACK sip"),
    ] {
        assert_eq!(refuse(nothing).0, 0, "{nothing}");
    }
    call!(service_free(service));
}
