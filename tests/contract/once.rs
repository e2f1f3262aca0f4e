//! A repeated request is fanned out once.

use super::*;

/// The same request over another branch.
fn over_branch(text: &str, branch: &str) -> String {
    text.replace("branch=z9hG4bK1", &format!("branch={branch}"))
}

#[test]
fn a_request_is_fanned_out_once() {
    let service = service(PARAMETERS);
    let text = message("<entry uri=\"sip:bill@192.0.2.2\"/>");
    let uri = "sip:exploder@example.com";
    let first = classify(service, &text, uri);
    assert_eq!(fan_out(first), CPM_SCRIPT_YES);
    let answer = reply(first).unwrap();
    assert_eq!(answer.0, 202);
    for _ in 0..3 {
        let again = classify(service, &text, uri);
        assert_eq!(check(again), CPM_SCRIPT_END);
        assert_eq!(fan_out(again), CPM_SCRIPT_END);
        assert_eq!(reply(again).unwrap(), answer);
        assert_eq!(to_tag(again), to_tag(first));
        call!(request_free(again));
    }
    for branch in ["z9hG4bK2", "z9hG4bK2", "2"] {
        let merged = classify(service, &over_branch(&text, branch), uri);
        assert_eq!(check(merged), CPM_SCRIPT_NO);
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
        assert_eq!(counted(Counter::Repeated), 3);
        assert_eq!(counted(Counter::Merged), 3);
        assert_eq!(counted(Counter::Requests), 4);
        assert_eq!(counted(Counter::Accepted), 1);
        assert_eq!(counted(Counter::Refused), 3);
    });
    call!(request_free(first));
    call!(service_free(service));
}

/// Two workers whose checks have both passed: for the same branch, and for another one.
#[test]
fn of_two_that_have_passed_their_checks_one_is_fanned_out() {
    let service = service(PARAMETERS);
    let asked = message("<entry uri=\"sip:bill@192.0.2.2\"/>");
    let uri = "sip:exploder@example.com";
    let other = over_branch(&asked, "z9hG4bK2");
    let [first, again, merged] = [&asked, &asked, &other].map(|asked| {
        let request = classify(service, asked, uri);
        assert_eq!(check(request), CPM_SCRIPT_YES);
        request
    });
    // Its copies are still being sent: there is no response yet.
    seen(|seen| {
        seen.room = vec![false];
        seen.takes = true;
    });
    assert_eq!(fan_out(first), CPM_SCRIPT_YES);
    assert_eq!(fan_out(again), CPM_SCRIPT_END);
    assert_eq!(reply(again), None);
    assert_eq!(fan_out(merged), CPM_SCRIPT_NO);
    assert_eq!(reply(merged).unwrap().0, 482);
    for request in [first, again, merged] {
        call!(request_free(request));
    }
    // Another process sends them, and the response exists.
    let mailbox = call!(mailbox_new(service, CPM_PROCESS_FAN_OUT));
    deliver(mailbox, CPM_PROCESS_FAN_OUT);
    assert_eq!(work_until_idle(mailbox), -1);
    let answer = last_reply();
    let late = classify(service, &asked, uri);
    assert_eq!(check(late), CPM_SCRIPT_END);
    let (code, _, headers) = reply(late).unwrap();
    assert_eq!((code, headers), (202, answer.2));
    assert_eq!(to_tag(late), answer.3);
    call!(request_free(late));
    call!(mailbox_stop(mailbox));
    seen(|seen| assert_eq!(seen.sent.len(), 1, "{:?}", seen.sent));
    call!(service_free(service));
}

/// 503 for lack of memory is not remembered: a proxy on the path may try again over another branch.
#[test]
fn what_found_no_room_may_come_again() {
    let service = service(PARAMETERS);
    let text = message("<entry uri=\"sip:bill@192.0.2.2\"/>");
    let uri = "sip:exploder@example.com";
    for (branch, room, code) in [
        ("z9hG4bK1", false, 503),
        ("z9hG4bK1", false, 503),
        ("z9hG4bK2", true, 202),
        ("z9hG4bK1", true, 482),
    ] {
        seen(|seen| seen.room = vec![room]);
        let request = classify(service, &over_branch(&text, branch), uri);
        fan_out(request);
        assert_eq!(reply(request).unwrap().0, code, "{branch}");
        call!(request_free(request));
    }
    call!(service_free(service));
}

#[test]
fn without_records_the_transaction_layer_is_relied_on() {
    let service = service(&[PARAMETERS, &[("request_records", "0")]].concat());
    let text = message("<entry uri=\"sip:bill@192.0.2.2\"/>");
    for _ in 0..2 {
        let request = classify(service, &text, "sip:exploder@example.com");
        assert_eq!(fan_out(request), CPM_SCRIPT_YES);
        call!(request_free(request));
    }
    let ids = seen(|seen| seen.sent.clone());
    assert_eq!(ids[0], ids[1], "who has it already can tell");
    call!(service_free(service));
}
