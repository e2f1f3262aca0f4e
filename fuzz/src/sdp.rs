//! Session descriptions.

use cpm_wire::msrp::MsrpUri;
use cpm_wire::sdp::{
    AcceptedContent, MsrpMedia, OwnMedia, SessionDescription, Transport, answer_for_originator,
    message_answer, offer_for_leg,
};

/// For any input our own descriptions consist of our own lines, and can be parsed.
pub fn sdp(data: &[u8]) {
    let Ok(description) = SessionDescription::parse(data) else {
        return;
    };
    if let Ok(media) = MsrpMedia::of(&description, &[Transport::Tcp, Transport::Tls]) {
        let _ = (media.role_of_offerer(), media.role_of_answerer());
        for cema in [false, true] {
            assert!(!media.connection_target(cema).host.is_empty());
        }
        let _ = (media.lacks_cema(), media.wants_offer_without_cema());
    }
    let own = OwnMedia {
        session_id: 1,
        address: "192.0.2.1".parse().unwrap(),
        port: 2855,
        path: MsrpUri::new(false, "192.0.2.1", 2855, "abc").unwrap(),
        transport: Transport::Tcp,
        fingerprint: None,
    };
    let check = |text: String| {
        assert!(!text.contains('\0'));
        for line in text.split_terminator("\r\n") {
            assert!(!line.contains(['\r', '\n']), "{line:?}");
            assert!(line.as_bytes().get(1) == Some(&b'='), "{line:?}");
        }
        let again =
            SessionDescription::parse(text.as_bytes()).unwrap_or_else(|e| panic!("{e:?}: {text}"));
        if let Ok(media) = MsrpMedia::of(&again, &[Transport::Tcp]) {
            assert_eq!(
                media.path.first().text(),
                "msrp://192.0.2.1:2855/abc;tcp",
                "path of another"
            );
            assert_eq!(media.port, 2855);
        } else {
            panic!("own description cannot be read: {text}");
        }
        assert_eq!(text.matches("\r\na=path:").count(), 1, "{text}");
    };
    for size in [None, Some(0), Some(u64::MAX)] {
        for cema in [false, true] {
            if let Ok(text) = offer_for_leg(&description, &own, size, cema) {
                check(text);
            }
        }
    }
    let plain = SessionDescription::parse(b"v=0\r\no=b 1 1 IN IP4 192.0.2.7\r\ns=-\r\nc=IN IP4 192.0.2.7\r\nt=0 0\r\n\
        m=message 9000 TCP/MSRP *\r\na=accept-types:message/cpim\r\na=path:msrp://192.0.2.7:9000/leg;tcp\r\n\
        a=recvonly\r\na=setup:passive\r\n").unwrap();
    if let Ok(text) = answer_for_originator(&description, Some(&plain), &own, None) {
        check(text);
    }
    if let Ok(text) = answer_for_originator(&plain, Some(&description), &own, Some(1_000)) {
        check(text);
    }
    let accepted = AcceptedContent {
        types: "*".into(),
        wrapped_types: "*".into(),
        max_size: 1000,
    };
    if let Ok(text) = message_answer(&description, &own, &accepted) {
        check(text);
    }
}
