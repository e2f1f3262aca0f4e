//! Large message sessions: the contract between the sessions process and the core.

use std::io::Write as _;
use std::net::TcpListener;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use cpm::controlling::Ids;
use cpm::controlling::large_message_mode::{DialogName, LegNumber, SessionId, Side};
use cpm::policy::ID_KEY_BYTES;

use super::*;

const OFFER: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n\
    m=message 7394 TCP/MSRP *\r\na=accept-types:message/cpim\r\na=path:msrp://192.0.2.1:7394/s.anne;tcp\r\n\
    a=sendonly\r\na=setup:actpass\r\na=file-selector:size:2000\r\n";

/// The answer of a recipient that connects itself.
const ANSWER: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.2\r\ns=-\r\nc=IN IP4 192.0.2.2\r\nt=0 0\r\n\
    m=message 9 TCP/MSRP *\r\na=accept-types:message/cpim\r\na=path:msrp://192.0.2.2:7777/s.bill;tcp\r\n\
    a=recvonly\r\na=setup:active\r\n";

fn invite() -> String {
    let list = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n\
        <resource-lists xmlns=\"urn:ietf:params:xml:ns:resource-lists\"><list>\
        <entry uri=\"sip:bill@192.0.2.2\"/></list></resource-lists>\r\n";
    let body = format!(
        "--b\r\nContent-Type: application/sdp\r\n\r\n{OFFER}\r\n--b\r\n\
         Content-Type: application/resource-lists+xml\r\nContent-Disposition: recipient-list\r\n\r\n\
         {list}\r\n--b--\r\n"
    );
    format!(
        "INVITE sip:exploder@example.com SIP/2.0\r\n\
         Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\nMax-Forwards: 70\r\n\
         From: <sip:anne@example.com>;tag=1\r\nTo: <sip:exploder@example.com>\r\n\
         Call-ID: 1\r\nCSeq: 1 INVITE\r\nContact: <sip:anne@192.0.2.1>\r\n\
         Accept-Contact: *;+g.3gpp.icsi-ref=\"urn%3Aurn-7%3A3gpp-service.ims.icsi.oma.cpm.largemsg\"\r\n\
         P-Asserted-Identity: <sip:anne@example.com>\r\n\
         Content-Type: multipart/mixed;boundary=b\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// A service with large message mode, on a port that has just been free.
fn large_mode() -> *mut cpm_service {
    large_mode_with(&[])
}

fn large_mode_with(more: &[(&str, &str)]) -> *mut cpm_service {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr();
    let listen = format!("tcp:{}", free.unwrap());
    let mut parameters = PARAMETERS.to_vec();
    parameters.push(("msrp_listen", &listen));
    parameters.extend_from_slice(more);
    service(&parameters)
}

/// The sessions process.
fn begin(service: *mut cpm_service) -> *mut cpm_mailbox {
    seen(|seen| seen.takes = true);
    let sessions = call!(mailbox_new(service, CPM_PROCESS_SESSIONS));
    assert!(!sessions.is_null());
    sessions
}

/// What it does after all posted entries were delivered.
fn work(sessions: *mut cpm_mailbox) -> Vec<String> {
    deliver(sessions, CPM_PROCESS_SESSIONS);
    work_until_idle(sessions);
    seen(|seen| std::mem::take(&mut seen.done))
}

/// A worker gets the INVITE.
fn handle_invite(service: *mut cpm_service, invite: &str) -> cpm_script_result {
    let received = received(invite, "sip:exploder@example.com");
    let result = handle(service, &received);
    seen(|seen| seen.done.clear());
    result
}

/// A worker gets a request in the dialog with this To tag.
fn handle_in_dialog(service: *mut cpm_service, request: &str, to_tag: &str) -> cpm_script_result {
    let received = cpm_received {
        to_tag: lent(to_tag),
        ..received(request, "sip:cpm@192.0.2.9")
    };
    handle(service, &received)
}

fn respond(service: *mut cpm_service, response: &str) {
    call!(responded(service, lent(response)));
}

/// Asks a question, which the sessions process answers at once.
fn ask(
    service: *mut cpm_service,
    sessions: *mut cpm_mailbox,
    question: cpm_query,
    session: &str,
) -> (cpm_query_result, Vec<String>) {
    seen(|seen| seen.takes_at_once = Some(sessions));
    let answer = query(service, question, session);
    seen(|seen| seen.takes_at_once = None);
    answer
}

/// A response to the INVITE with this Call-ID.
fn response(call_id: &str, status: &str, sdp: &str) -> String {
    format!(
        "SIP/2.0 {status}\r\nVia: SIP/2.0/UDP 192.0.2.9\r\nFrom: <sip:anne@example.com>;tag={call_id}\r\n\
         To: <sip:bill@192.0.2.2>;tag=b\r\nCall-ID: {call_id}\r\nCSeq: 1 INVITE\r\n\
         Contact: <sip:bill@192.0.2.2>\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{sdp}",
        sdp.len()
    )
}

#[test]
fn without_a_listener_an_invite_is_not_ours() {
    let service = service(PARAMETERS);
    let mut plan = cpm_process_plan::default();
    call!(plan(service, CPM_PROCESS_SESSIONS, &raw mut plan));
    assert_eq!(plan.count, 0);
    assert!(classify(service, &invite(), "sip:exploder@example.com").is_null());
    assert!(call!(mailbox_new(service, CPM_PROCESS_SESSIONS)).is_null());
    assert_eq!(query(service, CPM_QUERY_SESSIONS, "").0, CPM_QUERY_OFF);
    call!(service_free(service));
}

#[test]
fn a_session_from_invite_to_bye() {
    let service = large_mode();
    let sessions = begin(service);
    let second = call!(mailbox_new(service, CPM_PROCESS_SESSIONS));
    assert!(second.is_null(), "there is one relay");
    assert!(call!(mailbox_fd(sessions)) >= 0);
    let request = classify(service, &invite(), "sip:exploder@example.com");
    assert_eq!(core_field(request, CPM_FIELD_MODE), "large");
    let id = core_field(request, CPM_FIELD_SESSION);
    assert_eq!(check(request), CPM_SCRIPT_YES);
    assert_eq!(fan_out(request), CPM_SCRIPT_YES);
    assert_eq!(reply(request), None, "the session replies");
    call!(request_free(request));
    assert_eq!(work(sessions), ["keep 1 open", "INVITE sip:bill@192.0.2.2"]);
    let (_, call_id) = seen(|seen| seen.sent[0].clone());
    assert_eq!(call!(is_session_name(service, lent(&call_id))), 1);
    assert_eq!(call!(is_session_name(service, lent("cpm-1"))), 0);

    let ok = response(&call_id, "200 OK", ANSWER);
    respond(service, &response(&call_id, "180 Ringing", ""));
    respond(service, &ok);
    assert_eq!(work(sessions), ["200 in 1, held"]);
    let answer = seen(|seen| seen.reply_body.clone());
    assert!(answer.contains("a=recvonly\r\n"), "{answer}");

    let own_tag = last_reply().3;
    assert_eq!(call!(is_session_name(service, lent(&own_tag))), 1);
    assert_ne!(own_tag, call_id);
    for name in [&own_tag, &call_id] {
        assert!(!name.contains(&id), "{name} tells the session");
    }
    let ack = format!(
        "ACK sip:cpm@192.0.2.9 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK2\r\n\
         From: <sip:anne@example.com>;tag=1\r\nTo: <sip:exploder@example.com>;tag={own_tag}\r\n\
         Call-ID: 1\r\nCSeq: 1 ACK\r\n\r\n"
    );
    assert_eq!(handle_in_dialog(service, &ack, &own_tag), CPM_SCRIPT_YES);
    assert_eq!(
        work(sessions),
        [
            "acknowledged, of a session: 1",
            "release 1",
            "ACK sip:bill@192.0.2.2"
        ]
    );
    // Repeated because the ACK was lost.
    respond(service, &ok);
    assert_eq!(work(sessions), ["ACK sip:bill@192.0.2.2"]);

    let (result, fields) = ask(service, sessions, CPM_QUERY_SESSIONS, "");
    assert_eq!(result, CPM_QUERY_ANSWERED);
    assert_eq!(
        fields[..3],
        ["record", &*format!("id={id}"), "state=confirmed"]
    );
    let (result, fields) = ask(service, sessions, CPM_QUERY_SESSION, &id);
    let parts = fields.iter().filter(|field| *field == "part").count();
    assert_eq!((result, parts), (CPM_QUERY_ANSWERED, 1), "{fields:?}");
    let leg = fields.iter().skip_while(|field| *field != "part").skip(1);
    let leg: Vec<_> = leg.take(3).collect();
    assert_eq!(leg, ["leg=0", "uri=sip:bill@192.0.2.2", "state=confirmed"]);
    for unknown in ["no such", &"0".repeat(32)] {
        let (result, _) = ask(service, sessions, CPM_QUERY_SESSION, unknown);
        assert_eq!(result, CPM_QUERY_UNKNOWN);
    }
    let number = Gauge::Sessions.number();
    assert_eq!(call!(gauge_value(service, number)), 1);

    let ended = ask(service, sessions, CPM_QUERY_END, &id);
    assert_eq!(ended, (CPM_QUERY_ANSWERED, vec![]));
    let done = work(sessions);
    assert!(
        done.contains(&"BYE sip:anne@192.0.2.1".to_owned()),
        "{done:?}"
    );
    call!(mailbox_stop(sessions));
    let done = seen(|seen| std::mem::take(&mut seen.done));
    assert!(
        done.contains(&"BYE sip:bill@192.0.2.2".to_owned()),
        "{done:?}"
    );
    assert_eq!(query(service, CPM_QUERY_RELAY, "").0, CPM_QUERY_NO_ANSWER);
    call!(service_free(service));
}

#[test]
fn what_belongs_to_no_session_is_told_so() {
    let folder = std::env::temp_dir();
    let key_file = folder.join(format!("cpm-contract-key-{}", std::process::id()));
    write_secret(&key_file, &[7; ID_KEY_BYTES]);
    let service = large_mode_with(&[("id_key_file", key_file.to_str().unwrap())]);
    std::fs::remove_file(key_file).unwrap();
    let sessions = begin(service);
    let named = |side| {
        let session = SessionId::parse(&"0".repeat(32)).unwrap();
        let ids = Ids::new(&[7; ID_KEY_BYTES]);
        ids.names().write(DialogName { session, side })
    };
    let name = named(Side::Originator);
    let bye = format!(
        "BYE sip:cpm@192.0.2.9 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK2\r\n\
         From: <sip:anne@example.com>;tag=1\r\nTo: <sip:exploder@example.com>;tag={name}\r\n\
         Call-ID: 1\r\nCSeq: 2 BYE\r\n\r\n"
    );
    assert_eq!(handle_in_dialog(service, &bye, &name), CPM_SCRIPT_YES);
    assert_eq!(handle_in_dialog(service, "BYE", &name), CPM_SCRIPT_YES);
    let not_an_invite = [&[4, 0, 0, 0, 0, 0, 0, 0, 7][..], b"not an INVITE"].concat();
    seen(|seen| {
        seen.posted.push((CPM_PROCESS_SESSIONS, not_an_invite));
        seen.done.clear();
    });
    assert_eq!(work(sessions), ["481 in 1", "400 in 2", "500 in 7"]);
    // A callee whose 2xx arrives after all: ACK and BYE.
    let call_id = named(Side::Leg(LegNumber(0)));
    respond(service, &response(&call_id, "200 OK", ANSWER));
    assert_eq!(
        work(sessions),
        ["ACK sip:bill@192.0.2.2", "BYE sip:bill@192.0.2.2"]
    );
    // No process can accept it.
    seen(|seen| seen.takes = false);
    assert_eq!(handle_in_dialog(service, &bye, &name), CPM_SCRIPT_YES);
    assert_eq!(last_reply().0, 503);
    call!(mailbox_stop(sessions));
    call!(service_free(service));
}

const CANCEL: &str = "CANCEL sip:exploder@example.com SIP/2.0\r\nCall-ID: 1\r\n\r\n";

/// The INVITE arrives in another process than its CANCEL.
#[test]
fn a_cancel_may_overtake_its_invite() {
    let service = large_mode();
    let sessions = begin(service);
    assert_eq!(handle_invite(service, &invite()), CPM_SCRIPT_YES);
    assert_eq!(handle_in_dialog(service, CANCEL, ""), CPM_SCRIPT_YES);
    // The host reports that it is for transaction 1.
    seen(|seen| seen.posted.reverse());
    assert_eq!(work(sessions), ["200 in 2", "487 in 1"]);
    call!(mailbox_stop(sessions));
    call!(service_free(service));
}

#[test]
fn no_more_than_max_sessions() {
    let service = large_mode();
    assert_eq!(
        call!(service_tune(service, lent("max_sessions"), lent("1"), 0)),
        0
    );
    let sessions = begin(service);
    for call_id in [1, 2] {
        let invite = invite().replace("Call-ID: 1", &format!("Call-ID: {call_id}"));
        assert_eq!(handle_invite(service, &invite), CPM_SCRIPT_YES);
    }
    assert_eq!(work(sessions), ["503 in 2", "INVITE sip:bill@192.0.2.2"]);
    // A CANCEL reaches the existing one.
    seen(|seen| seen.wants = vec![Event::SessionEnd]);
    assert_eq!(handle_in_dialog(service, CANCEL, ""), CPM_SCRIPT_YES);
    let done = work(sessions);
    assert_eq!(done[..2], ["200 in 3", "487 in 1"], "{done:?}");
    call!(mailbox_stop(sessions));
    call!(service_free(service));
}

fn write_secret(file: &Path, secret: &[u8]) {
    let mut options = std::fs::OpenOptions::new();
    let file = options.write(true).create(true).mode(0o600).open(file);
    file.unwrap().write_all(secret).unwrap();
}

/// RFC 6026 7.1: a repeated INVITE creates no second session, whatever became of the first.
#[test]
fn an_invite_makes_one_session() {
    seen(|seen| seen.takes = true);
    let service = large_mode();
    let invite_of = |branch: &str| invite().replace("branch=z9hG4bK1", &format!("branch={branch}"));
    assert_eq!(handle_invite(service, &invite()), CPM_SCRIPT_YES);
    for _ in 0..2 {
        // There is no response to repeat: its sender has it, or tm repeats it.
        let again = classify(service, &invite(), "sip:exploder@example.com");
        assert_eq!(check(again), CPM_SCRIPT_END);
        assert_eq!(fan_out(again), CPM_SCRIPT_END);
        assert_eq!(reply(again), None);
        call!(request_free(again));
        let done = seen(|seen| std::mem::take(&mut seen.done));
        assert_eq!(done, ["absorb", "absorb"]);
        let merged = classify(service, &invite_of("z9hG4bK2"), "sip:exploder@example.com");
        assert_eq!(fan_out(merged), CPM_SCRIPT_NO);
        assert_eq!(reply(merged).unwrap().0, 482);
        call!(request_free(merged));
        seen(|seen| seen.done.clear());
    }
    seen(|seen| assert_eq!(seen.posted.len(), 1));
    call!(service_free(service));
}

/// A sender refused for lack of memory may try again, over any branch.
#[test]
fn an_invite_that_found_no_room_may_come_again() {
    let service = large_mode();
    for takes in [false, false, true] {
        seen(|seen| seen.takes = takes);
        let request = classify(service, &invite(), "sip:exploder@example.com");
        let expected = if takes { CPM_SCRIPT_YES } else { CPM_SCRIPT_NO };
        assert_eq!(fan_out(request), expected);
        call!(request_free(request));
    }
    // The sessions process refuses it.
    assert_eq!(
        call!(service_tune(service, lent("max_sessions"), lent("1"), 0)),
        0
    );
    let sessions = begin(service);
    let other = invite().replace("Call-ID: 1", "Call-ID: 2");
    for _ in 0..2 {
        assert_eq!(handle_invite(service, &other), CPM_SCRIPT_YES);
        let transaction = seen(|seen| seen.opened);
        let done = work(sessions);
        let line = format!("503 in {transaction}");
        assert!(done.contains(&line), "{done:?}");
    }
    call!(mailbox_stop(sessions));
    call!(service_free(service));
}
