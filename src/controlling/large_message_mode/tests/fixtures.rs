//! The service, the INVITE and the answers that scenes begin with.

use std::sync::atomic::AtomicU64;

use super::*;
use crate::shared::StoreSpace;

pub(super) const SDP: &str = "v=0\r\no=a 1 1 IN IP4 198.51.100.1\r\ns=-\r\nc=IN IP4 198.51.100.1\r\nt=0 0\r\n\
    m=message 7654 TCP/MSRP *\r\na=accept-types:message/cpim\r\na=accept-wrapped-types:*\r\n\
    a=path:msrp://198.51.100.1:7654/abc;tcp\r\na=file-selector:size:1000\r\na=sendonly\r\na=setup:actpass\r\n\
    a=msrp-cema\r\n";

pub(super) const ANSWER: &str = "v=0\r\no=b 1 1 IN IP4 192.0.2.7\r\ns=-\r\nc=IN IP4 192.0.2.7\r\nt=0 0\r\n\
    m=message 9000 TCP/MSRP *\r\na=accept-types:message/cpim\r\na=path:msrp://192.0.2.7:9000/leg;tcp\r\n\
    a=recvonly\r\na=setup:passive\r\na=max-size:5000\r\n";

pub(super) fn numbered(bytes: &mut [u8]) {
    thread_local!(static NEXT: Cell<u64> = const { Cell::new(0) });
    for byte in bytes {
        let next = NEXT
            .get()
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        NEXT.set(next);
        *byte = (next >> 56) as u8;
    }
}

pub(super) fn message(text: String) -> Message {
    Message::parse(Bytes::from(text)).unwrap()
}

pub(super) fn service(more: &[(&str, &str)]) -> Rc<ControllingFunction> {
    let mut settings = Settings::default();
    let always = [
        ("controlling_uri", "sip:cf@home"),
        ("exploder_uri", "sip:all@home"),
    ];
    for (name, value) in always.iter().chain(more) {
        settings.set(name, value).unwrap();
    }
    let stores = settings.store.is_some();
    let mut service = ControllingFunction::new(settings, 1).unwrap();
    if stores {
        service = service.with_store_space(StoreSpace::new(&SPACE, 1 << 30));
    }
    Rc::new(service.with_ids(Ids::new(&ID_KEY)))
}

/// Nothing of it is used.
static SPACE: [AtomicU64; StoreSpace::WORDS] = [const { AtomicU64::new(0) }; StoreSpace::WORDS];

pub(super) const ID_KEY: [u8; ID_KEY_BYTES] = [7; ID_KEY_BYTES];

pub(super) fn names() -> DialogNames {
    Ids::new(&ID_KEY).names().clone()
}

pub(super) fn settings() -> LargeModeSettings {
    let address = |address: &str| MsrpAddress {
        address: address.parse().unwrap(),
        port: 2855,
    };
    LargeModeSettings::new(
        &Settings::default().large_mode,
        "sip:cpm@203.0.113.1:5060".into(),
        MsrpAddresses {
            tcp: Some(address("203.0.113.5")),
            tls: None,
            fingerprint: Default::default(),
            leg_transport: Transport::Tcp,
        },
    )
}

pub(super) fn raw_invite(more: &str) -> Bytes {
    let length = SDP.len();
    Bytes::from(format!(
        "INVITE sip:all@home SIP/2.0\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\r\nMax-Forwards: 70\r\nCall-ID: c1\r\n\
         CSeq: 7 INVITE\r\nFrom: \"Alice\" <sip:alice@home>;tag=a1\r\nTo: <sip:all@home>\r\n\
         Contact: <sip:alice@phone;gr=x>;+g.3gpp.icsi-ref=\"urn%3Aurn-7%3A3gpp-service.ims.icsi.oma.cpm.largemsg\";\
         +sip.instance=\"<urn:uuid:1>\";expires=60;audio\r\nRecord-Route: <sip:p1;lr>\r\nRecord-Route: <sip:p2;lr>\r\n\
         Accept-Contact: *;+g.3gpp.icsi-ref=\"urn%3Aurn-7%3A3gpp-service.ims.icsi.oma.cpm.largemsg\"\r\n\
         Conversation-ID: conv\r\nContribution-ID: cont\r\nUser-Agent: CPM-client/OMA2.2\r\nSubject: s\r\n\
         P-Preferred-Identity: <sip:alice@home>\r\n{more}Content-Type: application/sdp\r\n\
         Content-Length: {length}\r\n\r\n{SDP}"
    ))
}

pub(super) fn accepted(kind: Kind, recipients: &[&str], more: &str) -> AcceptedInvite {
    AcceptedInvite {
        session: {
            let mut bytes = [0; 16];
            numbered(&mut bytes);
            SessionId::from_bytes(bytes)
        },
        claim: None,
        kind,
        message: Message::parse(raw_invite(more)).unwrap(),
        own_address: "sip:all@home".into(),
        originator: "sip:alice@home".into(),
        asserted: "<sip:alice@home>".into(),
        notifications_to: Some("sip:alice@home".into()),
        recipients: recipients.iter().map(|uri| format!("{uri}\n")).collect(),
        history: None,
        about: AboutRequest::default(),
        record: MessageNumber::default(),
    }
}
