//! `c_api/cpm.h` with a host that is no proxy: what the core promises to whoever implements the header.

use std::cell::{Cell, RefCell};
use std::ffi::{CStr, c_char, c_int, c_void};
use std::process::Command;

use cpm::ffi::bindings::*;
use cpm::ffi::cpm_core;

/// A request to the EXPLODER-URI with the recipients as resource-lists entries.
fn message(entries: &str) -> String {
    let list = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n\
         <resource-lists xmlns=\"urn:ietf:params:xml:ns:resource-lists\" \
         xmlns:cp=\"urn:ietf:params:xml:ns:copycontrol\"><list>{entries}</list></resource-lists>\r\n"
    );
    let body = format!(
        "--b\r\nContent-Type: message/cpim\r\n\r\nFrom: <sip:anne@example.com>\r\n\r\n\
         Content-Type: text/plain\r\n\r\nHello\r\n--b\r\n\
         Content-Type: application/resource-lists+xml\r\nContent-Disposition: recipient-list\r\n\r\n\
         {list}\r\n--b--\r\n"
    );
    format!(
        "MESSAGE sip:exploder@example.com SIP/2.0\r\n\
         Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\n\
         Max-Forwards: 70\r\n\
         From: \"Anne\" <sip:anne@example.com>;tag=1\r\n\
         To: <sip:exploder@example.com>\r\n\
         Call-ID: 1\r\nCSeq: {} MESSAGE\r\n\
         Accept-Contact: *;+g.3gpp.icsi-ref=\"urn%3Aurn-7%3A3gpp-service.ims.icsi.oma.cpm.msg\"\r\n\
         P-Asserted-Identity: <sip:anne@example.com>\r\n\
         Contribution-ID: abc\r\n\
         Content-Type: multipart/mixed;boundary=b\r\n\
         Content-Length: {}\r\n\r\n{body}",
        NEXT_CSEQ.replace(NEXT_CSEQ.get() + 1),
        body.len()
    )
}

thread_local! {
    /// Each message is one of its own, not the one before again.
    static NEXT_CSEQ: Cell<u32> = const { Cell::new(1) };
}

/// What the host saw. One per test: each runs on a thread of its own.
#[derive(Default)]
struct Seen {
    log: Vec<(cpm_log_level, String)>,
    /// Whether the log takes the lines of that level too.
    wants_debug: bool,
    counted: Vec<(cpm_counter, u32)>,
    sent: Vec<(String, String)>,
    /// What the host does when it is asked: veto, and what it found when it called back.
    veto: bool,
    called_back: Vec<String>,
    /// What send answers, one after another; then CPM_SENT.
    send_answers: Vec<cpm_sent>,
    /// Jobs that were handed over, and whether they are taken.
    jobs: Vec<Vec<u8>>,
    takes_jobs: bool,
    /// What the sessions wanted done, and the last body that they replied with.
    in_sessions: Vec<String>,
    reply_body: String,
    reply_tag: String,
}

thread_local! {
    static SEEN: RefCell<Seen> = RefCell::default();
}

fn seen<T>(look: impl FnOnce(&mut Seen) -> T) -> T {
    SEEN.with_borrow_mut(look)
}

fn text(text: cpm_str) -> String {
    if text.s.is_null() {
        return String::new();
    }
    // SAFETY: the contract lends `len` bytes for at least as long as this takes.
    let bytes = unsafe { std::slice::from_raw_parts(text.s.cast::<u8>(), text.len) };
    String::from_utf8(bytes.to_vec()).expect("the core writes UTF-8 for UTF-8")
}

fn lent(text: &str) -> cpm_str {
    cpm_str {
        s: text.as_ptr().cast(),
        len: text.len(),
    }
}

unsafe extern "C" fn logs(level: cpm_log_level) -> c_int {
    seen(|seen| c_int::from(level != CPM_LOG_DEBUG || seen.wants_debug))
}

unsafe extern "C" fn log(level: cpm_log_level, line: cpm_str) {
    seen(|seen| seen.log.push((level, text(line))));
}

/// Never given back: it is the proxy's to the end.
unsafe extern "C" fn share(size: usize) -> *mut c_void {
    assert_eq!(size % 8, 0);
    vec![0_u64; size / 8].leak().as_mut_ptr().cast()
}

unsafe extern "C" fn count(counter: cpm_counter, n: u32) {
    seen(|seen| seen.counted.push((counter, n)));
}

/// Does what a routing script may do in between: it looks at the request.
unsafe extern "C" fn authorize(context: *mut c_void, request: *mut cpm_request) -> c_int {
    assert_eq!(context.addr(), 7, "the context comes back as it was given");
    let originator = core_field(request, CPM_FIELD_ORIGINATOR);
    let late = set_originator(request, "sip:mallory@example.com");
    seen(|seen| {
        seen.called_back.push(originator);
        seen.called_back.push(late.to_string());
        c_int::from(!seen.veto)
    })
}

unsafe extern "C" fn send(_: *mut c_void, outgoing: *const cpm_outgoing) -> cpm_sent {
    // SAFETY: lent for this call.
    let outgoing = unsafe { &*outgoing };
    seen(|seen| {
        seen.sent
            .push((text(outgoing.request_uri), text(outgoing.call_id)));
        if seen.send_answers.is_empty() {
            CPM_SENT
        } else {
            seen.send_answers.remove(0)
        }
    })
}

unsafe extern "C" fn hand_over(_: *mut c_void, job: cpm_str) -> c_int {
    // SAFETY: lent for this call.
    let bytes = unsafe { std::slice::from_raw_parts(job.s.cast::<u8>(), job.len) };
    seen(|seen| {
        if seen.takes_jobs {
            seen.jobs.push(bytes.to_vec());
        }
        c_int::from(seen.takes_jobs)
    })
}

/// A database with one group, whose only member is Bill and in which Anne may send.
const GROUP: &str = "<group xmlns=\"urn:oma:xml:poc:list-service\"><list-service uri=\"sip:friends@example.com\">\
    <list><entry uri=\"sip:bill@example.com\"/><entry uri=\"sip:anne@example.com\"/></list>\
    <supported-services><service enabler=\"urn:urn-7:3gpp-service.ims.icsi.oma.cpm.msg\"/></supported-services>\
    </list-service></group>";

unsafe extern "C" fn group_document(
    _: *mut c_void,
    url: cpm_str,
    group_uri: cpm_str,
    document: *mut cpm_str,
) -> c_int {
    assert_eq!(text(url), "sqlite:///groups");
    if text(group_uri) != "sip:friends@example.com" {
        return 0;
    }
    // SAFETY: room for one text, lent for this call; the document lives as long as the program.
    unsafe { document.write(lent(GROUP)) };
    1
}

unsafe extern "C" fn has_database(module: *const c_char) -> c_int {
    // SAFETY: a text that ends with NUL, lent for this call.
    c_int::from(unsafe { CStr::from_ptr(module) } == c"db_sqlite")
}

static HOST: cpm_host = cpm_host {
    abi: CPM_ABI,
    logs: Some(logs),
    log: Some(log),
    share: Some(share),
    count: Some(count),
    authorize: Some(authorize),
    send: Some(send),
    hand_over: Some(hand_over),
    begin_session: Some(begin_session),
    session_invite: Some(session_invite),
    session_cancel: Some(session_cancel),
    session_request: Some(session_request),
    session_reply: Some(session_reply),
    session_release: Some(session_release),
    session_event: Some(session_event),
    group_document: Some(group_document),
    has_database: Some(has_database),
};

unsafe extern "C" fn begin_session(_: *mut c_void, invite: cpm_str) -> c_int {
    // SAFETY: lent for this call.
    let bytes = unsafe { std::slice::from_raw_parts(invite.s.cast::<u8>(), invite.len) };
    seen(|seen| {
        if seen.takes_jobs {
            seen.jobs.push(bytes.to_vec());
        }
        c_int::from(seen.takes_jobs)
    })
}

/// Transactions are numbered by how many INVITEs there were.
unsafe extern "C" fn session_invite(
    _: *mut c_void,
    invite: *const cpm_outgoing,
    transaction: *mut u64,
) -> cpm_sent {
    // SAFETY: lent for this call.
    let invite = unsafe { &*invite };
    seen(|seen| {
        let (uri, call_id) = (text(invite.request_uri), text(invite.call_id));
        seen.in_sessions.push(format!("INVITE {uri}"));
        seen.sent.push((uri, call_id));
        // SAFETY: room for one number, lent for this call.
        unsafe { transaction.write(seen.sent.len() as u64) };
        CPM_SENT
    })
}

unsafe extern "C" fn session_cancel(_: *mut c_void, transaction: u64) {
    seen(|seen| seen.in_sessions.push(format!("CANCEL {transaction}")));
}

unsafe extern "C" fn session_request(_: *mut c_void, request: *const cpm_dialog_request) -> c_int {
    // SAFETY: lent for this call.
    let request = unsafe { &*request };
    let line = format!("{} {}", text(request.method), text(request.request_uri));
    seen(|seen| seen.in_sessions.push(line));
    1
}

unsafe extern "C" fn session_reply(
    _: *mut c_void,
    transaction: u64,
    reply: *const cpm_reply,
    keep: c_int,
) -> c_int {
    // SAFETY: lent for this call.
    let reply = unsafe { &*reply };
    let line = format!("{} in {transaction}, keep {keep}", reply.code);
    seen(|seen| {
        seen.in_sessions.push(line);
        seen.reply_body = text(reply.body);
        seen.reply_tag = text(reply.to_tag);
    });
    1
}

unsafe extern "C" fn session_release(_: *mut c_void, transaction: u64) {
    seen(|seen| seen.in_sessions.push(format!("release {transaction}")));
}

unsafe extern "C" fn session_event(
    _: *mut c_void,
    event: cpm_session_event,
    code: c_int,
    about: *const cpm_outgoing,
) {
    // SAFETY: lent for this call.
    let about = unsafe { &*about };
    let line = format!("event {event} {code} {}", text(about.request_uri));
    seen(|seen| seen.in_sessions.push(line));
}

fn core() -> &'static cpm_core {
    // SAFETY: the table lives as long as the program.
    unsafe { cpm_core(CPM_ABI).as_ref() }.expect("this ABI")
}

/// Calls an entry of the table with valid handles.
macro_rules! call {
    ($entry:ident($($argument:expr),*)) => {
        // SAFETY: the handles come from the table and live until the test frees them.
        unsafe { core().$entry.expect("every entry is there")($($argument),*) }
    };
}

// Behind the macro, which it uses.
mod notifications;
mod sessions;

fn core_field(request: *const cpm_request, field: cpm_field) -> String {
    text(call!(field(request, field)))
}

fn set_originator(request: *mut cpm_request, uri: &str) -> c_int {
    call!(set_originator(request, lent(uri)))
}

fn service(parameters: &[(&str, &str)]) -> *mut cpm_service {
    let service = call!(service_new(&raw const HOST));
    assert!(!service.is_null());
    for (name, value) in parameters {
        assert_eq!(
            call!(service_set(service, lent(name), lent(value))),
            0,
            "{name}={value}"
        );
    }
    assert_eq!(call!(service_start(service, lent(OWN_URI), 0, 0)), 0);
    service
}

/// Where the host is reached.
const OWN_URI: &str = "sip:cpm@192.0.2.9:5060";

const PARAMETERS: &[(&str, &str)] = &[
    ("exploder_uri", "sip:exploder@example.com"),
    ("trusted_peer", "192.0.2.1"),
    // A test leaves no trace on the machine.
    ("state_dir", "none"),
];

fn classify(service: *const cpm_service, message: &str, uri: &str) -> *mut cpm_request {
    let received = cpm_received {
        message: lent(message),
        request_uri: lent(uri),
        source_address: lent("192.0.2.1"),
    };
    call!(classify(service, &raw const received))
}

fn reply(request: *const cpm_request) -> Option<(c_int, String, String)> {
    let mut reply = cpm_reply::default();
    if call!(reply(request, &raw mut reply)) < 0 {
        return None;
    }
    // SAFETY: the reply's reason is NUL-terminated and lives in the request.
    let reason = unsafe { CStr::from_ptr(reply.reason) }
        .to_str()
        .unwrap()
        .to_owned();
    Some((reply.code, reason, text(reply.headers)))
}

fn to_tag(request: *const cpm_request) -> String {
    let mut reply = cpm_reply::default();
    assert_eq!(call!(reply(request, &raw mut reply)), 0);
    text(reply.to_tag)
}

fn context() -> *mut c_void {
    std::ptr::without_provenance_mut(7)
}

#[test]
fn another_abi_gets_no_table() {
    assert!(cpm_core(CPM_ABI + 1).is_null());
    assert!(!cpm_core(CPM_ABI).is_null());
    let old = cpm_host {
        abi: CPM_ABI + 1,
        ..HOST
    };
    assert!(call!(service_new(&raw const old)).is_null());
    assert!(call!(service_new(std::ptr::null())).is_null());
}

#[test]
fn a_request_from_classification_to_202() {
    let service = service(PARAMETERS);
    let message =
        message("<entry uri=\"sip:bill@example.com\"/><entry uri=\"sip:carol@example.com\"/>");
    let request = classify(service, &message, "sip:exploder@example.com");
    assert!(!request.is_null());
    assert_eq!(core_field(request, CPM_FIELD_KIND), "exploder");
    assert_eq!(core_field(request, CPM_FIELD_MODE), "pager");
    assert_eq!(core_field(request, CPM_FIELD_CONTRIBUTION_ID), "abc");
    assert!(call!(field(request, CPM_FIELD_CONVERSATION_ID)).s.is_null());
    assert_eq!(reply(request), None);
    assert_eq!(call!(recipients(request)), 0);

    assert_eq!(call!(check(request, context())), 1);
    assert_eq!(
        call!(check(request, context())),
        1,
        "a second call says the same"
    );
    assert_eq!(call!(recipients(request)), 2);
    assert_eq!(text(call!(recipient(request, 1))), "sip:carol@example.com");
    assert!(call!(recipient(request, 2)).s.is_null());

    assert_eq!(call!(fan_out(request, context())), 1);
    let (code, reason, headers) = reply(request).unwrap();
    assert_eq!((code, reason.as_str()), (202, "Accepted"));
    assert_eq!(
        headers,
        "Contribution-ID: abc\r\nServer: CPM-serv/OMA2.2\r\n"
    );
    assert_eq!(
        call!(fan_out(request, context())),
        0,
        "there is a reply already"
    );

    seen(|seen| {
        let recipients: Vec<_> = seen.sent.iter().map(|(uri, _)| uri.as_str()).collect();
        assert_eq!(
            recipients,
            ["sip:bill@example.com", "sip:carol@example.com"]
        );
        assert_ne!(
            seen.sent[0].1, seen.sent[1].1,
            "each copy has a Call-ID of its own"
        );
        assert_eq!(seen.called_back[0], "sip:anne@example.com");
        assert_eq!(
            seen.called_back[1], "-1",
            "too late to say who the originator is"
        );
        let counted = |counter| -> u32 {
            seen.counted
                .iter()
                .filter(|(c, _)| *c == counter)
                .map(|(_, n)| n)
                .sum()
        };
        assert_eq!(counted(CPM_COUNT_REQUESTS), 1);
        assert_eq!(counted(CPM_COUNT_ACCEPTED), 1);
        assert_eq!(counted(CPM_COUNT_RECIPIENTS), 2);
        assert_eq!(counted(CPM_COUNT_REFUSED), 0);
    });
    call!(request_free(request));
    call!(service_free(service));
}

#[test]
fn what_is_not_ours_is_left_alone() {
    let service = service(PARAMETERS);
    let ours = message("<entry uri=\"sip:bill@example.com\"/>");
    assert!(classify(service, &ours, "sip:bill@example.com").is_null());
    assert!(classify(service, &ours, "not a URI").is_null());
    assert!(
        classify(
            service,
            &ours.replace("cpm.msg", "cpm.msg.group"),
            "sip:exploder@example.com"
        )
        .is_null()
    );
    assert!(
        classify(
            service,
            &ours.replace("MESSAGE", "PUBLISH"),
            "sip:exploder@example.com"
        )
        .is_null()
    );
    assert!(classify(service, "", "sip:exploder@example.com").is_null());
    seen(|seen| {
        assert!(seen.counted.is_empty(), "{:?}", seen.counted);
        assert!(seen.log.is_empty(), "{:?}", seen.log);
    });
    call!(service_free(service));
}

#[test]
fn only_lines_that_the_log_takes_are_written() {
    let service = service(PARAMETERS);
    for wants_debug in [false, true] {
        let message = message("<entry uri=\"sip:bill@example.com\"/>");
        seen(|seen| seen.wants_debug = wants_debug);
        let request = classify(service, &message, "sip:exploder@example.com");
        assert_eq!(call!(check(request, context())), 1);
        assert_eq!(call!(fan_out(request, context())), 1);
        call!(request_free(request));
        let lines = seen(|seen| std::mem::take(&mut seen.log));
        let is_debug = |(level, _): &(cpm_log_level, String)| *level == CPM_LOG_DEBUG;
        assert_eq!(lines.iter().any(is_debug), wants_debug, "{lines:?}");
    }
    call!(service_free(service));
}

#[test]
fn the_operator_has_a_veto() {
    let service = service(PARAMETERS);
    seen(|seen| seen.veto = true);
    let message = message("<entry uri=\"sip:bill@example.com\"/>");
    let request = classify(service, &message, "sip:exploder@example.com");
    assert_eq!(call!(fan_out(request, context())), 0);
    let (code, _, headers) = reply(request).unwrap();
    assert_eq!(code, 403);
    assert!(
        headers.contains("Warning: 399 example.com \"127 Service not authorised\"\r\n"),
        "{headers}"
    );
    assert_eq!(
        core_field(request, CPM_FIELD_WARNING),
        "127 Service not authorised"
    );
    seen(|seen| {
        assert!(seen.sent.is_empty());
        let refusals: Vec<_> = seen
            .log
            .iter()
            .filter(|(_, line)| line.starts_with("refused "))
            .collect();
        assert_eq!(
            refusals.len(),
            1,
            "one line for one refusal: {:?}",
            seen.log
        );
        assert_eq!(refusals[0].0, CPM_LOG_NOTICE);
    });
    call!(request_free(request));
    call!(service_free(service));
}

#[test]
fn a_recipient_that_cannot_be_sent_to_does_not_touch_the_others() {
    let service = service(PARAMETERS);
    let entries = "<entry uri=\"sip:a@example.com\"/><entry uri=\"sip:b@example.com\"/>";
    let request = classify(service, &message(entries), "sip:exploder@example.com");
    seen(|seen| seen.send_answers = vec![CPM_SENT_FAILED, CPM_SENT]);
    assert_eq!(call!(fan_out(request, context())), 1);
    assert_eq!(reply(request).unwrap().0, 202);
    call!(request_free(request));

    // 202 says nothing of delivery (RFC 5365 §7.3), not even when it is known to fail.
    let request = classify(service, &message(entries), "sip:exploder@example.com");
    seen(|seen| seen.send_answers = vec![CPM_SENT_FAILED, CPM_SENT_DROPPED]);
    assert_eq!(call!(fan_out(request, context())), 1);
    assert_eq!(reply(request).unwrap().0, 202);
    call!(request_free(request));
    call!(service_free(service));
}

#[test]
fn a_group_is_looked_up_where_its_sources_are() {
    let service = service(&[
        ("group_uri", "sip:*@example.com"),
        ("group_source", "db:sqlite:///groups"),
        ("trusted_peer", "192.0.2.1"),
        ("state_dir", "none"),
    ]);
    assert_eq!(call!(uses_groups(service)), 1);
    let groups = call!(groups_new(service));
    assert!(!groups.is_null());
    let originator = "sip:anne@example.com";
    for (uri, outcome, code) in [
        ("sip:friends@example.com", 1, 202),
        ("sip:strangers@example.com", 0, 404),
    ] {
        let request = classify(service, &message(""), uri);
        assert_eq!(core_field(request, CPM_FIELD_KIND), "group");
        assert_eq!(call!(check(request, context())), 2);
        call!(request_free(request));

        // Another process classifies it again and goes on where the first has stopped.
        let request = classify(service, &message(""), uri);
        let checked = call!(check_group(request, lent(originator), groups, 0, context()));
        assert_eq!(checked, outcome, "{uri}");
        if outcome == 1 {
            assert_eq!(text(call!(recipient(request, 0))), "sip:bill@example.com");
            assert_eq!(call!(recipients(request)), 1, "the sender gets no copy");
            assert_eq!(call!(fan_out(request, context())), 1);
        }
        let answer = reply(request).unwrap();
        assert_eq!(answer.0, code, "{uri}");
        call!(request_free(request));
    }
    // Asked for once per request, in the process where the checks began.
    assert_eq!(seen(|seen| seen.called_back.len()), 4);

    let request = classify(service, &message(""), "sip:friends@example.com");
    let nowhere = std::ptr::null_mut();
    assert_eq!(
        call!(check_group(
            request,
            lent(originator),
            nowhere,
            0,
            context()
        )),
        0
    );
    let (code, _, headers) = reply(request).unwrap();
    assert_eq!(code, 480);
    assert!(headers.contains("Retry-After: "), "{headers}");
    call!(request_free(request));
    call!(groups_flush(groups));
    call!(groups_free(groups));
    call!(service_free(service));
}

const THREE: &str = "<entry uri=\"sip:a@example.com\"/><entry uri=\"sip:b@example.com\"/>\
                     <entry uri=\"sip:c@example.com\"/>";

#[test]
fn a_long_fan_out_goes_on_as_a_job() {
    let service = service(PARAMETERS);
    let request = classify(service, &message(THREE), "sip:exploder@example.com");
    seen(|seen| {
        seen.takes_jobs = true;
        seen.send_answers = vec![CPM_SENT_ENOUGH];
    });
    assert_eq!(call!(fan_out(request, context())), 2);
    assert_eq!(reply(request), None, "the job says the reply");
    call!(request_free(request));
    assert_eq!(seen(|seen| seen.sent.len()), 1);

    let bytes = seen(|seen| seen.jobs.pop()).expect("handed over");
    let job = call!(job_new(service, lent_bytes(&bytes)));
    assert!(!job.is_null());
    let mut answer = cpm_reply::default();
    seen(|seen| seen.send_answers = vec![CPM_SENT, CPM_SENT_NO_ROOM]);
    assert_eq!(call!(job_run(job, context(), 0)), 0);
    assert_eq!(call!(job_reply(job, &raw mut answer)), -1, "not yet");
    assert_eq!(call!(job_run(job, context(), 0)), 1);
    assert_eq!(call!(job_reply(job, &raw mut answer)), 0);
    assert_eq!(answer.code, 202);
    assert_eq!(
        text(answer.headers),
        "Contribution-ID: abc\r\nServer: CPM-serv/OMA2.2\r\n"
    );
    assert!(!text(answer.to_tag).is_empty());
    seen(|seen| {
        let recipients: Vec<_> = seen.sent.iter().map(|(uri, _)| uri.as_str()).collect();
        let all = [
            "sip:a@example.com",
            "sip:b@example.com",
            "sip:c@example.com",
            "sip:c@example.com",
        ];
        assert_eq!(
            recipients, all,
            "c was tried twice: there was no room the first time"
        );
    });
    call!(job_free(job));
    assert!(call!(job_new(service, lent_bytes(&bytes[..bytes.len() - 1]))).is_null());
    call!(service_free(service));
}

fn lent_bytes(bytes: &[u8]) -> cpm_str {
    cpm_str {
        s: bytes.as_ptr().cast(),
        len: bytes.len(),
    }
}

#[test]
fn without_room_and_without_help_nothing_is_half_done() {
    let service = service(PARAMETERS);
    let request = classify(service, &message(THREE), "sip:exploder@example.com");
    seen(|seen| seen.send_answers = vec![CPM_SENT_NO_ROOM]);
    assert_eq!(call!(fan_out(request, context())), 0);
    let (code, _, headers) = reply(request).unwrap();
    assert_eq!(code, 503);
    assert!(headers.contains("Retry-After: 5\r\n"), "{headers}");
    assert_eq!(
        seen(|seen| seen.sent.len()),
        1,
        "nobody after the first was tried"
    );
    call!(request_free(request));
    call!(service_free(service));
}

#[test]
fn a_senseless_parameter_is_one_clear_line() {
    let service = call!(service_new(&raw const HOST));
    for (name, value, line) in [
        (
            "max_recipients",
            "many",
            "parameter max_recipients: \"many\" is not a number from 1 to 10000",
        ),
        (
            "max_recipient",
            "1",
            "parameter max_recipient: \"1\" is not a parameter",
        ),
        (
            "exploder_uri",
            "exploder",
            "parameter exploder_uri: \"exploder\" is not a sip: or sips: URI",
        ),
    ] {
        assert_eq!(call!(service_set(service, lent(name), lent(value))), -1);
        seen(|seen| assert_eq!(seen.log.pop(), Some((CPM_LOG_ERROR, line.to_owned()))));
    }
    assert_eq!(
        call!(service_start(service, lent(OWN_URI), 0, 0)),
        -1,
        "no address is ours"
    );
    seen(|seen| assert_eq!(seen.log.len(), 1));
    call!(service_free(service));
}

#[test]
fn null_is_answered_with_the_failure_value() {
    let null = std::ptr::null_mut();
    assert_eq!(call!(service_set(null, lent("a"), lent("b"))), -1);
    assert_eq!(call!(service_start(null, lent(OWN_URI), 0, 0)), -1);
    assert!(call!(classify(null, std::ptr::null())).is_null());
    let (received, room) = (std::ptr::null(), std::ptr::null_mut());
    assert_eq!(call!(forward_imdn(null, received, 1, room, context())), 0);
    let room = std::ptr::null_mut();
    assert_eq!(call!(send_receipt(null, room, context())), -1);
    assert_eq!(call!(check(null.cast(), context())), -1);
    assert_eq!(call!(fan_out(null.cast(), context())), -1);
    assert_eq!(reply(std::ptr::null()), None);
    assert!(call!(field(std::ptr::null(), CPM_FIELD_KIND)).s.is_null());
    assert_eq!(call!(recipients(std::ptr::null())), 0);
    assert!(call!(recipient(std::ptr::null(), 0)).s.is_null());
    assert!(call!(job_new(null, lent("a"))).is_null());
    assert_eq!(call!(job_run(null.cast(), context(), 0)), -1);
    assert_eq!(call!(job_reply(null.cast(), std::ptr::null_mut())), -1);
    call!(job_free(null.cast()));
    assert_eq!(call!(uses_groups(null)), 0);
    assert!(call!(groups_new(null)).is_null());
    assert_eq!(call!(groups_flush(std::ptr::null_mut())), 0);
    call!(groups_free(std::ptr::null_mut()));
    assert_eq!(
        set_originator(std::ptr::null_mut(), "sip:a@example.com"),
        -1
    );
    assert_eq!(
        call!(outcome(null, std::ptr::null(), null.cast())),
        CPM_FATE_NONE
    );
    call!(request_free(std::ptr::null_mut()));
    call!(service_free(null));
}

/// The header is C that any compiler takes, and gcc lays its structs out as Rust does.
#[test]
fn the_header_has_not_drifted() {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("contract");
    std::fs::create_dir_all(&folder).unwrap();
    let header = concat!(env!("CARGO_MANIFEST_DIR"), "/c_api/cpm.h");
    let sizes = [
        ("cpm_str", size_of::<cpm_str>()),
        ("cpm_received", size_of::<cpm_received>()),
        ("cpm_forwarding", size_of::<cpm_forwarding>()),
        ("cpm_reply", size_of::<cpm_reply>()),
        ("cpm_outgoing", size_of::<cpm_outgoing>()),
        ("cpm_outcome", size_of::<cpm_outcome>()),
        ("cpm_dialog_request", size_of::<cpm_dialog_request>()),
        ("cpm_seen", size_of::<cpm_seen>()),
        ("cpm_gauges", size_of::<cpm_gauges>()),
        ("cpm_host", size_of::<cpm_host>()),
        ("cpm_core", size_of::<cpm_core>()),
    ];
    let mut source = format!("#include \"{header}\"\n");
    for (name, size) in sizes {
        source += &format!("typedef char {name}_fits[sizeof(struct {name}) == {size} ? 1 : -1];\n");
    }
    for (compiler, language, standard) in [("gcc", "c", "-std=c99"), ("g++", "c++", "-std=c++11")] {
        let file = folder.join(format!("drift.{language}"));
        std::fs::write(&file, &source).unwrap();
        let Ok(output) = Command::new(compiler)
            .args([
                standard,
                "-Wall",
                "-Wextra",
                "-pedantic",
                "-Werror",
                "-fsyntax-only",
            ])
            .arg(&file)
            .output()
        else {
            assert_eq!(compiler, "g++", "only the C++ compiler may be missing");
            continue;
        };
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

/// The number of a parameter, and how the core describes it.
fn parameter(name: &str) -> (usize, cpm_parameter) {
    let mut described = cpm_parameter::default();
    for number in 0.. {
        assert_eq!(
            call!(parameter(number, &raw mut described)),
            1,
            "there is no {name}"
        );
        if text(described.name) == name {
            return (number, described);
        }
    }
    unreachable!()
}

#[test]
fn a_parameter_changes_for_requests_that_come_later() {
    let service = service(PARAMETERS);
    let (number, limit) = parameter("max_recipients");
    assert_eq!(
        (limit.is_tunable, limit.is_checked, limit.min, limit.max),
        (1, 0, 1, 10_000)
    );
    let tune = |name: &str, value: &str, only_try| {
        call!(service_tune(service, lent(name), lent(value), only_try))
    };
    let in_force = |number| text(call!(value(service, number, 0)));
    assert_eq!(in_force(number), "100");
    let under_way = classify(service, &message(THREE), "sip:exploder@example.com");
    assert_eq!(tune("max_recipients", "2", 1), 0, "it could");
    assert_eq!(in_force(number), "100", "but only that was asked");
    assert_eq!(tune("max_recipients", "2", 0), 0);
    assert_eq!(in_force(number), "2");
    assert_eq!(call!(check(under_way, context())), 1);
    let later = classify(service, &message(THREE), "sip:exploder@example.com");
    assert_eq!(call!(check(later, context())), 0);
    assert_eq!(reply(later).unwrap().0, 486);

    seen(|seen| seen.log.clear());
    for (name, value) in [
        ("max_recipients", "0"),
        ("exploder_uri", "sip:e@example.com"),
        ("interworking", "1"),
        ("nothing", "1"),
    ] {
        assert_eq!(tune(name, value, 0), -1, "{name}={value}");
    }
    assert_eq!(in_force(number), "2");
    seen(|seen| assert_eq!(seen.log.len(), 4, "one line for each: {:?}", seen.log));
    let (own, _) = parameter("exploder_uri");
    assert_eq!(in_force(own), "sip:exploder@example.com");
    assert!(
        call!(value(service, own, 1)).s.is_null(),
        "there is no second"
    );
    for request in [under_way, later] {
        call!(request_free(request));
    }
    call!(service_free(service));
}

/// A request whose text is that of another one, but for its branch.
fn over_branch(text: &str, branch: &str) -> String {
    text.replace("branch=z9hG4bK1", &format!("branch={branch}"))
}

#[test]
fn a_request_is_fanned_out_once() {
    let service = service(PARAMETERS);
    let text = message("<entry uri=\"sip:bill@example.com\"/>");
    let uri = "sip:exploder@example.com";
    let first = classify(service, &text, uri);
    assert_eq!(call!(fan_out(first, context())), 1);
    let answer = reply(first).unwrap();
    assert_eq!(answer.0, 202);
    for _ in 0..3 {
        let again = classify(service, &text, uri);
        assert_eq!(call!(check(again, context())), 3);
        assert_eq!(call!(fan_out(again, context())), 3);
        assert_eq!(reply(again).unwrap(), answer);
        assert_eq!(to_tag(again), to_tag(first));
        call!(request_free(again));
    }
    for branch in ["z9hG4bK2", "z9hG4bK2", "2"] {
        let merged = classify(service, &over_branch(&text, branch), uri);
        assert_eq!(call!(check(merged, context())), 0);
        assert_eq!(reply(merged).unwrap().0, 482);
        call!(request_free(merged));
    }
    seen(|seen| {
        assert_eq!(seen.sent.len(), 1);
        let counted = |counter| {
            let of = seen
                .counted
                .iter()
                .filter(|(counted, _)| *counted == counter);
            of.map(|(_, n)| n).sum::<u32>()
        };
        assert_eq!(counted(CPM_COUNT_REPEATED), 3);
        assert_eq!(counted(CPM_COUNT_MERGED), 3);
        assert_eq!(counted(CPM_COUNT_REQUESTS), 4);
        assert_eq!(counted(CPM_COUNT_ACCEPTED), 1);
        assert_eq!(counted(CPM_COUNT_REFUSED), 3);
    });
    call!(request_free(first));
    call!(service_free(service));
}

/// Two workers whose checks have both passed: by the same branch, and by another.
#[test]
fn of_two_that_have_passed_their_checks_one_is_fanned_out() {
    let service = service(PARAMETERS);
    let asked = message("<entry uri=\"sip:bill@example.com\"/>");
    let uri = "sip:exploder@example.com";
    let other = over_branch(&asked, "z9hG4bK2");
    let [first, again, merged] = [&asked, &asked, &other].map(|asked| {
        let request = classify(service, asked, uri);
        assert_eq!(call!(check(request, context())), 1);
        request
    });
    // Its copies are still being sent: there is no answer yet.
    seen(|seen| {
        seen.send_answers = vec![CPM_SENT_NO_ROOM];
        seen.takes_jobs = true;
    });
    assert_eq!(call!(fan_out(first, context())), 2);
    assert_eq!(call!(fan_out(again, context())), 3);
    assert_eq!(reply(again), None);
    assert_eq!(call!(fan_out(merged, context())), 0);
    assert_eq!(reply(merged).unwrap().0, 482);
    for request in [first, again, merged] {
        call!(request_free(request));
    }
    // Another process sends them, and the answer is there.
    let bytes = seen(|seen| seen.jobs.pop()).expect("it was handed over");
    let bytes = cpm_str {
        s: bytes.as_ptr().cast(),
        len: bytes.len(),
    };
    let job = call!(job_new(service, bytes));
    assert_eq!(call!(job_run(job, context(), 0)), 1);
    let mut answer = cpm_reply::default();
    assert_eq!(call!(job_reply(job, &raw mut answer)), 0);
    let late = classify(service, &asked, uri);
    assert_eq!(call!(check(late, context())), 3);
    let (code, _, headers) = reply(late).unwrap();
    assert_eq!((code, headers), (202, text(answer.headers)));
    assert_eq!(to_tag(late), text(answer.to_tag));
    call!(request_free(late));
    call!(job_free(job));
    seen(|seen| assert_eq!(seen.sent.len(), 2, "{:?}", seen.sent));
    call!(service_free(service));
}

/// 503 for want of room is no answer that is remembered: a proxy on the way tries again over another branch.
#[test]
fn what_found_no_room_may_come_again() {
    let service = service(PARAMETERS);
    let text = message("<entry uri=\"sip:bill@example.com\"/>");
    let uri = "sip:exploder@example.com";
    for (branch, room, code) in [
        ("z9hG4bK1", CPM_SENT_NO_ROOM, 503),
        ("z9hG4bK1", CPM_SENT_NO_ROOM, 503),
        ("z9hG4bK2", CPM_SENT, 202),
        ("z9hG4bK1", CPM_SENT, 482),
    ] {
        seen(|seen| seen.send_answers = vec![room]);
        let request = classify(service, &over_branch(&text, branch), uri);
        call!(fan_out(request, context()));
        assert_eq!(reply(request).unwrap().0, code, "{branch}");
        call!(request_free(request));
    }
    call!(service_free(service));
}

#[test]
fn without_records_the_transaction_layer_is_relied_on() {
    let service = service(&[PARAMETERS, &[("request_records", "0")]].concat());
    let text = message("<entry uri=\"sip:bill@example.com\"/>");
    for _ in 0..2 {
        let request = classify(service, &text, "sip:exploder@example.com");
        assert_eq!(call!(fan_out(request, context())), 1);
        call!(request_free(request));
    }
    let ids = seen(|seen| seen.sent.clone());
    assert_eq!(ids[0], ids[1], "who has it already can tell");
    call!(service_free(service));
}
