//! Large message sessions: what the process that has them and the core owe each other.

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

/// Of a recipient who connects himself.
const ANSWER: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.2\r\ns=-\r\nc=IN IP4 192.0.2.2\r\nt=0 0\r\n\
    m=message 9 TCP/MSRP *\r\na=accept-types:message/cpim\r\na=path:msrp://192.0.2.2:7777/s.bill;tcp\r\n\
    a=recvonly\r\na=setup:active\r\n";

fn invite() -> String {
    let list = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n\
        <resource-lists xmlns=\"urn:ietf:params:xml:ns:resource-lists\"><list>\
        <entry uri=\"sip:bill@example.com\"/></list></resource-lists>\r\n";
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

/// A service with large message mode, on a port that was free a moment ago.
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

fn see(sessions: *mut cpm_sessions, kind: cpm_seen_kind, transaction: u64, message: &[u8]) {
    let seen = cpm_seen {
        kind,
        transaction,
        code: 0,
        message: cpm_str {
            s: message.as_ptr().cast(),
            len: message.len(),
        },
    };
    call!(sessions_see(sessions, &raw const seen, context()));
}

/// What is done now.
fn work(sessions: *mut cpm_sessions) -> Vec<String> {
    while call!(sessions_work(sessions, context())) == 0 {}
    seen(|seen| std::mem::take(&mut seen.in_sessions))
}

fn ask(sessions: *mut cpm_sessions, question: cpm_question, session: &str) -> (c_int, String) {
    let mut answer = cpm_str::default();
    let result = call!(sessions_ask(
        sessions,
        question,
        lent(session),
        &raw mut answer,
        context()
    ));
    (result, text(answer))
}

/// Response to the INVITE of this Call-ID.
fn response(call_id: &str, status: &str, sdp: &str) -> String {
    format!(
        "SIP/2.0 {status}\r\nVia: SIP/2.0/UDP 192.0.2.9\r\nFrom: <sip:anne@example.com>;tag={call_id}\r\n\
         To: <sip:bill@example.com>;tag=b\r\nCall-ID: {call_id}\r\nCSeq: 1 INVITE\r\n\
         Contact: <sip:bill@192.0.2.2>\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{sdp}",
        sdp.len()
    )
}

#[test]
fn without_a_listener_an_invite_is_not_ours() {
    let service = service(PARAMETERS);
    assert_eq!(call!(uses_sessions(service)), 0);
    assert!(classify(service, &invite(), "sip:exploder@example.com").is_null());
    assert!(call!(sessions_new(service)).is_null());
    call!(service_free(service));
}

#[test]
fn a_session_from_invite_to_bye() {
    seen(|seen| seen.takes_jobs = true);
    let service = large_mode();
    assert_eq!(call!(uses_sessions(service)), 1);
    let request = classify(service, &invite(), "sip:exploder@example.com");
    assert_eq!(core_field(request, CPM_FIELD_MODE), "large");
    let id = core_field(request, CPM_FIELD_SESSION);
    assert_eq!(call!(check(request, context())), 1);
    assert_eq!(call!(fan_out(request, context())), 2);
    call!(request_free(request));
    let job = seen(|seen| seen.jobs.pop()).expect("it was handed over");

    let sessions = call!(sessions_new(service));
    assert!(!sessions.is_null());
    assert!(call!(sessions_new(service)).is_null(), "there is one relay");
    assert!(call!(sessions_fd(sessions)) >= 0);
    see(sessions, CPM_SEEN_INVITE, 77, &job);
    assert_eq!(work(sessions), ["INVITE sip:bill@example.com"]);
    let (_, call_id) = seen(|seen| seen.sent[0].clone());
    assert_eq!(call!(names_session(service, lent(&call_id))), 1);
    assert_eq!(call!(names_session(service, lent("cpm-1"))), 0);

    let ok = response(&call_id, "200 OK", ANSWER);
    see(
        sessions,
        CPM_SEEN_RESPONSE,
        0,
        response(&call_id, "180 Ringing", "").as_bytes(),
    );
    see(sessions, CPM_SEEN_RESPONSE, 0, ok.as_bytes());
    assert_eq!(work(sessions), ["200 in 77, keep 1"]);
    let answer = seen(|seen| seen.reply_body.clone());
    assert!(answer.contains("a=recvonly\r\n"), "{answer}");

    let own_tag = seen(|seen| seen.reply_tag.clone());
    assert_eq!(call!(names_session(service, lent(&own_tag))), 1);
    assert_ne!(own_tag, call_id);
    for name in [&own_tag, &call_id] {
        assert!(!name.contains(&id), "{name} tells the session");
    }
    let ack = format!(
        "ACK sip:cpm@192.0.2.9 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK2\r\n\
         From: <sip:anne@example.com>;tag=1\r\nTo: <sip:exploder@example.com>;tag={own_tag}\r\n\
         Call-ID: 1\r\nCSeq: 1 ACK\r\n\r\n"
    );
    see(sessions, CPM_SEEN_REQUEST, 0, ack.as_bytes());
    assert_eq!(work(sessions), ["release 77", "ACK sip:bill@192.0.2.2"]);
    // Repeated, because the ACK was lost.
    see(sessions, CPM_SEEN_RESPONSE, 0, ok.as_bytes());
    assert_eq!(work(sessions), ["ACK sip:bill@192.0.2.2"]);

    let (result, line) = ask(sessions, CPM_ASK_SESSIONS, "");
    assert_eq!(result, 1);
    assert!(
        line.starts_with(&format!("id={id}\tstate=confirmed")),
        "{line}"
    );
    let (result, lines) = ask(sessions, CPM_ASK_SESSION, &id);
    assert_eq!((result, lines.lines().count()), (1, 2), "{lines}");
    assert!(
        lines.contains("leg=0\turi=sip:bill@example.com\tstate=confirmed"),
        "{lines}"
    );
    assert_eq!(ask(sessions, CPM_ASK_SESSION, "no such").0, 0);

    assert_eq!(ask(sessions, CPM_ASK_END, &id).0, 1);
    let done = work(sessions);
    assert!(
        done.contains(&"BYE sip:anne@192.0.2.1".to_owned()),
        "{done:?}"
    );
    call!(sessions_shut_down(sessions, context()));
    let done = seen(|seen| std::mem::take(&mut seen.in_sessions));
    assert!(
        done.contains(&"BYE sip:bill@192.0.2.2".to_owned()),
        "{done:?}"
    );
    call!(service_free(service));
}

#[test]
fn what_belongs_to_no_session_is_told_so() {
    let folder = std::env::temp_dir();
    let key_file = folder.join(format!("cpm-contract-key-{}", std::process::id()));
    write_secret(&key_file, &[7; ID_KEY_BYTES]);
    let service = large_mode_with(&[("id_key_file", key_file.to_str().unwrap())]);
    std::fs::remove_file(key_file).unwrap();
    let sessions = call!(sessions_new(service));
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
    see(sessions, CPM_SEEN_REQUEST, 5, bye.as_bytes());
    see(sessions, CPM_SEEN_REQUEST, 6, b"BYE");
    see(sessions, CPM_SEEN_INVITE, 7, b"not an INVITE");
    assert_eq!(
        work(sessions),
        ["481 in 5, keep 0", "400 in 6, keep 0", "500 in 7, keep 0"]
    );
    // A callee whose 2xx comes after all: ACK and BYE.
    let call_id = named(Side::Leg(LegNumber(0)));
    let late = response(&call_id, "200 OK", ANSWER);
    see(sessions, CPM_SEEN_RESPONSE, 0, late.as_bytes());
    assert_eq!(
        work(sessions),
        ["ACK sip:bill@192.0.2.2", "BYE sip:bill@192.0.2.2"]
    );
    call!(sessions_shut_down(sessions, context()));
    call!(service_free(service));
}

/// The INVITE comes through another process than its CANCEL.
#[test]
fn a_cancel_may_overtake_its_invite() {
    seen(|seen| seen.takes_jobs = true);
    let service = large_mode();
    let sessions = call!(sessions_new(service));
    let request = classify(service, &invite(), "sip:exploder@example.com");
    assert_eq!(call!(fan_out(request, context())), 2);
    call!(request_free(request));
    let job = seen(|seen| seen.jobs.pop()).expect("it was handed over");
    see(sessions, CPM_SEEN_CANCEL, 8, b"");
    see(sessions, CPM_SEEN_INVITE, 8, &job);
    assert_eq!(work(sessions), ["487 in 8, keep 0"]);
    call!(sessions_shut_down(sessions, context()));
    call!(service_free(service));
}

#[test]
fn no_more_than_max_sessions() {
    seen(|seen| seen.takes_jobs = true);
    let service = large_mode();
    assert_eq!(
        call!(service_tune(service, lent("max_sessions"), lent("1"), 0)),
        0
    );
    let sessions = call!(sessions_new(service));
    for transaction in [1, 2] {
        let invite = invite().replace("Call-ID: 1", &format!("Call-ID: {transaction}"));
        let request = classify(service, &invite, "sip:exploder@example.com");
        assert_eq!(call!(fan_out(request, context())), 2);
        call!(request_free(request));
        let job = seen(|seen| seen.jobs.pop()).expect("it was handed over");
        see(sessions, CPM_SEEN_INVITE, transaction, &job);
    }
    assert_eq!(
        work(sessions),
        ["503 in 2, keep 0", "INVITE sip:bill@example.com"]
    );
    // A CANCEL reaches the one that is there.
    see(sessions, CPM_SEEN_CANCEL, 1, b"");
    assert_eq!(
        work(sessions),
        ["487 in 1, keep 0", "event 1 487 sip:bill@example.com"]
    );
    call!(sessions_shut_down(sessions, context()));
    call!(service_free(service));
}

fn write_secret(file: &Path, secret: &[u8]) {
    let mut options = std::fs::OpenOptions::new();
    let file = options.write(true).create(true).mode(0o600).open(file);
    file.unwrap().write_all(secret).unwrap();
}

/// RFC 6026 7.1: an INVITE that was taken makes no second session, whatever became of the first.
#[test]
fn an_invite_makes_one_session() {
    seen(|seen| seen.takes_jobs = true);
    let service = large_mode();
    let invite_of = |branch: &str| invite().replace("branch=z9hG4bK1", &format!("branch={branch}"));
    let first = classify(service, &invite(), "sip:exploder@example.com");
    assert_eq!(call!(fan_out(first, context())), 2);
    for _ in 0..2 {
        // There is no answer that could be given again: its sender has it, or tm repeats it.
        let again = classify(service, &invite(), "sip:exploder@example.com");
        assert_eq!(call!(check(again, context())), 3);
        assert_eq!(call!(fan_out(again, context())), 3);
        assert_eq!(reply(again), None);
        call!(request_free(again));
        let merged = classify(service, &invite_of("z9hG4bK2"), "sip:exploder@example.com");
        assert_eq!(call!(fan_out(merged, context())), 0);
        assert_eq!(reply(merged).unwrap().0, 482);
        call!(request_free(merged));
    }
    call!(request_free(first));
    seen(|seen| assert_eq!(seen.jobs.len(), 1));
    call!(service_free(service));
}

/// Whoever was refused for want of room may come again, over whatever branch.
#[test]
fn an_invite_that_found_no_room_may_come_again() {
    let service = large_mode();
    for takes_jobs in [false, false, true] {
        seen(|seen| seen.takes_jobs = takes_jobs);
        let request = classify(service, &invite(), "sip:exploder@example.com");
        assert_eq!(
            call!(fan_out(request, context())),
            if takes_jobs { 2 } else { 0 }
        );
        call!(request_free(request));
    }
    // The sessions refuse it, in another process.
    assert_eq!(
        call!(service_tune(service, lent("max_sessions"), lent("1"), 0)),
        0
    );
    let sessions = call!(sessions_new(service));
    let other = invite().replace("Call-ID: 1", "Call-ID: 2");
    let job = seen(|seen| seen.jobs.pop()).expect("it was handed over");
    see(sessions, CPM_SEEN_INVITE, 1, &job);
    for transaction in [2, 3] {
        let request = classify(service, &other, "sip:exploder@example.com");
        assert_eq!(call!(fan_out(request, context())), 2);
        call!(request_free(request));
        let job = seen(|seen| seen.jobs.pop()).expect("it was handed over");
        see(sessions, CPM_SEEN_INVITE, transaction, &job);
    }
    let done = work(sessions);
    for line in ["503 in 2, keep 0", "503 in 3, keep 0"] {
        assert!(done.contains(&line.to_owned()), "{done:?}");
    }
    call!(sessions_shut_down(sessions, context()));
    call!(service_free(service));
}
