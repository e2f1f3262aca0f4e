//! The two state machines against each other, against a scripted peer and against hostile ones, in
//! virtual time.

mod congestion;
mod endings;
mod hostile;
mod notifying;
mod pair;
mod refreshing;
mod registrar;
mod script;
mod transfer;

use std::cell::RefCell;
use std::net::SocketAddr;
use std::time::SystemTime;

use bytes::Bytes;
use cpm_wire::sdp::Transport;
use cpm_wire::sip::{HeaderName, Message};
use fastrand::Rng;

use super::*;

thread_local! {
    static FILL: RefCell<Rng> = const { RefCell::new(Rng::with_seed(7)) };
}

/// A source of random bytes with the signature that the state machines expect; the same in each
/// run.
pub(super) fn fill(bytes: &mut [u8]) {
    FILL.with_borrow_mut(|random| random.fill(bytes));
}

/// `count` random bytes.
fn random_bytes(random: &mut Rng, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    random.fill(&mut bytes);
    bytes
}

/// A response with these further header fields, each of which ends with CRLF.
fn response_to(request: &Message, code: &str, headers: &str) -> Message {
    let field = |name| request.first(name).unwrap().text().unwrap();
    let text = format!(
        "SIP/2.0 {code} X\r\nVia: {}\r\nFrom: {}\r\nTo: {};tag=s\r\nCall-ID: {}\r\nCSeq: {}\r\n{headers}\r\n",
        field(HeaderName::Via),
        field(HeaderName::From),
        field(HeaderName::To).split(";tag").next().unwrap(),
        field(HeaderName::CallId),
        field(HeaderName::CSeq)
    );
    Message::parse(Bytes::from(text)).unwrap()
}

const CLIENT: &str = "192.0.2.1:5060";
const SERVER: &str = "192.0.2.2:5060";

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn way(to: &str) -> Way {
    Way {
        transport: SipTransport::Udp,
        address: address(to),
    }
}

fn draft(size: usize) -> Draft {
    let part = Part {
        content_type: "application/octet-stream".into(),
        content: Bytes::from(random_bytes(&mut Rng::with_seed(3), size)),
        file_name: None,
    };
    let bill = Destination::One("sip:bill@example.com".into());
    Draft::new("sip:anne@example.com", bill, vec![part])
}

fn sender(draft: Draft) -> Sender {
    let outgoing = draft.prepare(PAGER_MAX_BYTES, SizeOf::Cpim, SystemTime::now(), fill);
    Sender::new(sender_config(), outgoing.unwrap(), fill)
}

fn sender_config() -> SenderConfig {
    SenderConfig {
        way: way(SERVER),
        local: address(CLIENT),
        credentials: None,
        msrp: address("192.0.2.1:2855"),
        msrp_transport: Transport::Tcp,
        fingerprint: None,
        chunk_bytes: 1000,
        has_next: false,
    }
}

fn receiver() -> Receiver {
    Receiver::new(receiver_config(), fill)
}

fn receiver_config() -> ReceiverConfig {
    ReceiverConfig {
        address: "sip:bill@example.com".into(),
        local: address(SERVER).into(),
        credentials: None,
        registration: None,
        outbound: Vec::new(),
        asserted: None,
        msrp: address("192.0.2.2:2855"),
        msrp_transport: Transport::Tcp,
        fingerprint: None,
        max_size: 1 << 20,
        reject: None,
        oma_release: OMA_RELEASE.into(),
    }
}

const ANSWER_HEADERS: &str = "Contact: <sip:cf@192.0.2.2>\r\nContent-Type: application/sdp\r\n";
const ANSWER: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.2\r\ns=-\r\nc=IN IP4 192.0.2.2\r\nt=0 0\r\n\
    m=message 2855 TCP/MSRP *\r\na=accept-types:message/cpim\r\na=path:msrp://192.0.2.9:9/x;tcp\r\n\
    a=recvonly\r\na=setup:passive\r\na=msrp-cema\r\n";
