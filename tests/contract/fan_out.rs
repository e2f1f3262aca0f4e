//! Copies: sent here or in another process, changed by the script, and how they end.

use super::*;

#[test]
fn a_recipient_that_cannot_be_sent_to_does_not_touch_the_others() {
    let service = service(PARAMETERS);
    let entries = "<entry uri=\"sip:a@192.0.2.4\"/><entry uri=\"sip:b@192.0.2.4\"/>";
    let request = classify(service, &message(entries), "sip:exploder@example.com");
    seen(|seen| seen.send_answers = vec![CPM_SENT_FAILED, CPM_SENT]);
    assert_eq!(fan_out(request), CPM_SCRIPT_YES);
    assert_eq!(reply(request).unwrap().0, 202);
    call!(request_free(request));

    // 202 says nothing about delivery (RFC 5365 §7.3), even if it is known to fail.
    let request = classify(service, &message(entries), "sip:exploder@example.com");
    seen(|seen| seen.send_answers = vec![CPM_SENT_FAILED, CPM_SENT_DROPPED]);
    assert_eq!(fan_out(request), CPM_SCRIPT_YES);
    assert_eq!(reply(request).unwrap().0, 202);
    call!(request_free(request));
    call!(service_free(service));
}

#[test]
fn a_long_fan_out_goes_on_in_another_process() {
    let service = service(PARAMETERS);
    seen(|seen| {
        seen.takes = true;
        // Longer than a worker's time limit, and than a turn of the other process.
        seen.send_ms = 60;
    });
    let asked = message(THREE);
    let received = received(&asked, "sip:exploder@example.com");
    assert_eq!(handle(service, &received), CPM_SCRIPT_YES);
    seen(|seen| {
        assert!(seen.replies.is_empty(), "the other process replies");
        assert_eq!(seen.sent.len(), 1);
        // Memory for c, and once more.
        seen.room = vec![true, false, false];
    });
    let fan_out = call!(mailbox_new(service, CPM_PROCESS_FAN_OUT));
    assert!(call!(mailbox_fd(fan_out)) >= 0);
    deliver(fan_out, CPM_PROCESS_FAN_OUT);
    assert_eq!(call!(mailbox_work(fan_out)), 0, "its turn is over");
    assert!(work_until_idle(fan_out) > 0, "it waits for room");
    assert!(seen(|seen| seen.replies.is_empty()), "not yet");
    assert!(work_until_idle(fan_out) > 0);
    assert_eq!(work_until_idle(fan_out), -1);
    let (code, transaction, headers, tag) = last_reply();
    assert_eq!((code, transaction), (202, 1));
    assert_eq!(
        headers,
        "Contribution-ID: abc\r\nServer: CPM-serv/OMA2.2\r\n"
    );
    assert!(!tag.is_empty());
    seen(|seen| {
        assert_eq!(seen.replies.len(), 1);
        let recipients: Vec<_> = seen.sent.iter().map(|(uri, _)| uri.as_str()).collect();
        let all = ["sip:a@192.0.2.4", "sip:b@192.0.2.4", "sip:c@192.0.2.4"];
        assert_eq!(recipients, all);
    });
    // An unreadable entry is answered too.
    let broken = lent_bytes(&[0, 0, 0, 0, 0, 0, 0, 0, 9, 1, 2]);
    call!(mailbox_take(fan_out, broken));
    let last = last_reply();
    assert_eq!((last.0, last.1), (500, 9));
    call!(mailbox_stop(fan_out));
    call!(service_free(service));
}

/// A recipient for which there is no memory is given up in time, and the script is told.
#[test]
fn what_cannot_be_sent_is_told_to_the_script() {
    let service = service(PARAMETERS);
    seen(|seen| {
        seen.wants = vec![Event::RecipientFailed];
        seen.send_answers = vec![CPM_SENT_FAILED];
    });
    let asked = message("<entry uri=\"sip:192.0.2.7\"/><entry uri=\"tel:+1555\"/>");
    let received = received(&asked, "sip:exploder@example.com");
    assert_eq!(handle(service, &received), CPM_SCRIPT_YES);
    seen(|seen| {
        assert_eq!(seen.replies.len(), 1);
        assert_eq!(
            seen.events[0],
            (Event::RecipientFailed, 503, "sip:192.0.2.7".to_owned())
        );
    });
    call!(service_free(service));
}

#[test]
fn the_script_sees_each_copy_once_and_may_change_it() {
    let service = service(PARAMETERS);
    seen(|seen| seen.wants = vec![Event::RecipientRequest]);
    let asked = message("<entry uri=\"sip:192.0.2.7\"/>");
    let uri = "sip:exploder@example.com";
    assert_eq!(handle(service, &received(&asked, uri)), CPM_SCRIPT_YES);
    seen(|seen| {
        assert_eq!(seen.hops, ["sip:192.0.2.99"]);
        seen.drops = true;
    });
    let asked = message("<entry uri=\"sip:192.0.2.7\"/>");
    assert_eq!(handle(service, &received(&asked, uri)), CPM_SCRIPT_YES);
    seen(|seen| {
        assert_eq!(seen.hops.len(), 1);
        assert_eq!(seen.replies.len(), 2);
    });
    call!(service_free(service));
}

/// The end of an outgoing request is counted and reported, and the request is sent again if its
/// code requires it.
#[test]
fn an_outcome_is_counted_and_told() {
    let service = service(
        &[
            PARAMETERS,
            &[("isf_uri", "sip:192.0.2.8"), ("interworking", "yes")],
        ]
        .concat(),
    );
    seen(|seen| {
        seen.wants = vec![Event::RecipientFailed, Event::RecipientDelivered];
    });
    let sent = "MESSAGE sip:bill@192.0.2.2 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9\r\n\
        From: <sip:anne@example.com>;tag=1\r\nTo: <sip:bill@192.0.2.2>\r\nCall-ID: cpm-1\r\n\
        CSeq: 1 MESSAGE\r\nMax-Forwards: 69\r\nContent-Length: 0\r\n\r\n";
    let ended = |code, words| {
        let outcome = cpm_outcome {
            code,
            token: cpm_token { words },
            request: lent(sent),
            ..cpm_outcome::default()
        };
        call!(ended(service, &raw const outcome));
    };
    ended(200, [0, 0]);
    ended(486, [0, 0]);
    ended(404, [0, 0]);
    // The copy to the ISF fails too.
    let to_isf = seen(|seen| seen.tokens[0]);
    ended(404, to_isf);
    seen(|seen| {
        let told: Vec<_> = seen
            .events
            .iter()
            .map(|(event, code, _)| (*event, *code))
            .collect();
        assert_eq!(
            told,
            [
                (Event::RecipientDelivered, 200),
                (Event::RecipientFailed, 486),
                (Event::RecipientFailed, 404)
            ]
        );
        assert_eq!(seen.hops, ["sip:192.0.2.8"]);
        let count = |counter| {
            let of = seen
                .counted
                .iter()
                .filter(|(counted, _)| *counted == counter);
            of.map(|(_, n)| n).sum::<u32>()
        };
        assert_eq!(count(Counter::Delivered), 1);
        assert_eq!(count(Counter::Failed), 2);
        assert_eq!(count(Counter::Interworked), 1);
    });
    call!(service_free(service));
}

#[test]
fn without_room_and_without_help_nothing_is_half_done() {
    let service = service(PARAMETERS);
    let request = classify(service, &message(THREE), "sip:exploder@example.com");
    seen(|seen| seen.room = vec![false]);
    assert_eq!(fan_out(request), CPM_SCRIPT_NO);
    let (code, _, headers) = reply(request).unwrap();
    assert_eq!(code, 503);
    assert!(headers.contains("Retry-After: 5\r\n"), "{headers}");
    assert!(seen(|seen| seen.sent.is_empty()), "nobody was tried");
    call!(request_free(request));
    call!(service_free(service));
}
