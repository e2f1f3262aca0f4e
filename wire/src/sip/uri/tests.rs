use fastrand::Rng;

use super::*;
use crate::test_random::mutate_text;

fn uri(text: &str) -> Uri<'_> {
    Uri::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn rfc3261_19_1_3_examples_parse() {
    for text in [
        "sip:alice@atlanta.com",
        "sip:alice:secretword@atlanta.com;transport=tcp",
        "sips:alice@atlanta.com?subject=project%20x&priority=urgent",
        "sip:+1-212-555-1212:1234@gateway.com;user=phone",
        "sips:1212@gateway.com",
        "sip:alice@192.0.2.4",
        "sip:atlanta.com;method=REGISTER?to=alice%40atlanta.com",
        "sip:alice;day=tuesday@atlanta.com",
    ] {
        assert_eq!(uri(text).as_str(), text);
    }
}

#[test]
fn components_of_a_sip_uri() {
    let parsed = uri("SIPS:a%40b;x=1:pw@[2001:db8::1]:5061;lr;Transport=tls?to=x&p=");
    assert_eq!(parsed.scheme(), "sips");
    assert_eq!(parsed.user(), Some("a%40b;x=1"));
    assert_eq!(parsed.host(), Some("[2001:db8::1]"));
    assert_eq!(parsed.port(), Some(5061));
    assert_eq!(parsed.param("transport"), Some("tls"));
    assert_eq!(parsed.param("LR"), Some(""));
    assert_eq!(parsed.param("maddr"), None);
    assert!(matches!(parsed, Uri::Sip(sip) if sip.is_secure() && sip.password == Some("pw")));
}

#[test]
fn illegal_sip_uris_are_refused() {
    use UriError::*;
    for (text, error) in [
        ("", Scheme),
        ("alice@example.com", Scheme),
        (":alice", Scheme),
        ("sip:", Host),
        ("sip:@example.com", User),
        ("sip:a b@example.com", User),
        ("sip:a%4@example.com", User),
        ("sip:a@b@example.com", Host),
        ("sip:\u{e9}@example.com", User),
        ("sip:a:b:c@example.com", Password),
        ("sip:a@", Host),
        ("sip:a@-x.com", Host),
        ("sip:a@x..com", Host),
        ("sip:a@example.123", Host),
        ("sip:a@1.2.3.256", Host),
        ("sip:a@01.2.3.4", Host),
        ("sip:a@[::1", Host),
        ("sip:a@[::1%25eth0]", Host),
        ("sip:a@[::1]x", Host),
        ("sip:a@::1", Host),
        ("sip:a@h:", Port),
        ("sip:a@h:0", Port),
        ("sip:a@h:65536", Port),
        ("sip:a@h:+5", Port),
        ("sip:a@h;", Parameter),
        ("sip:a@h;;lr", Parameter),
        ("sip:a@h;=x", Parameter),
        ("sip:a@h;x=", Parameter),
        ("sip:a@h;x=a=b", Parameter),
        ("sip:a@h;maddr=", Parameter),
        ("sip:a@h;maddr=a/b", Parameter),
        ("sip:a@h;ttl=256", Parameter),
        ("sip:a@h;user", Parameter),
        ("sip:a@h;lr;LR", DuplicateParameter),
        ("sip:a@h;lr;%6cr=1", DuplicateParameter),
        ("sip:a@h?", Header),
        ("sip:a@h?x", Header),
        ("sip:a@h?=x", Header),
        ("sip:a@h?a=b&", Header),
        ("sip:a@h?a=b;c", Header),
    ] {
        assert_eq!(Uri::parse(text).err(), Some(error), "{text}");
    }
}

#[test]
fn dangerous_characters_never_pass() {
    for scheme in ["sip:", "sips:", "tel:+1", "im:", "urn:"] {
        for bad in [
            "\r", "\n", "\0", " ", "\t", "<", ">", "\"", "\\", "\u{7f}", "{", "^",
        ] {
            for place in ["a@h", "a@h;p=v", "a@h?n=v"] {
                for at in 0..=place.len() {
                    let text = format!("{scheme}{}{bad}{}", &place[..at], &place[at..]);
                    assert!(Uri::parse(&text).is_err(), "{text:?}");
                }
            }
        }
    }
}

#[test]
fn limits_hold() {
    let longest = format!("sip:{}@h", "a".repeat(MAX_URI_BYTES - 6));
    assert!(Uri::parse(&longest).is_ok());
    assert_eq!(
        Uri::parse(&format!("{longest}h")).err(),
        Some(UriError::TooLong)
    );

    let with_parameters =
        |count| (0..count).fold("sip:h".to_string(), |text, n| format!("{text};p{n}"));
    assert!(Uri::parse(&with_parameters(MAX_URI_PARAMETERS)).is_ok());
    assert_eq!(
        Uri::parse(&with_parameters(MAX_URI_PARAMETERS + 1)).err(),
        Some(UriError::TooManyParameters)
    );
    let headers = |count| format!("sip:h?{}", vec!["a=b"; count].join("&"));
    let full = headers(MAX_URI_HEADERS);
    assert!(uri(&full).equivalent(&uri(&full)));
    assert_eq!(
        Uri::parse(&headers(MAX_URI_HEADERS + 1)).err(),
        Some(UriError::TooManyHeaders)
    );
}

#[test]
fn rfc3966_examples_parse() {
    for (text, is_global) in [
        ("tel:+1-201-555-0123", true),
        ("tel:7042;phone-context=example.com", false),
        ("tel:863-1234;phone-context=+1-914-555", false),
        ("tel:+1-201-555-0123;ext=12-3;isub=a@b%20", true),
        ("tel:*69#;phone-context=+1", false),
    ] {
        let Uri::Tel(tel) = uri(text) else {
            panic!("{text}")
        };
        assert_eq!(tel.is_global(), is_global, "{text}");
    }
    assert_eq!(
        uri("TEL:7042;Phone-Context=x.com").param("phone-context"),
        Some("x.com")
    );
    assert!(matches!(uri("tel:+1-2;a"), Uri::Tel(tel) if tel.number() == "+1-2"));
}

#[test]
fn illegal_tel_uris_are_refused() {
    use UriError::*;
    for (text, error) in [
        ("tel:", Number),
        ("tel:+", Number),
        ("tel:+-", Number),
        ("tel:+12a", Number),
        ("tel:()", Number),
        ("tel:12+3", Number),
        ("tel:7042", MissingPhoneContext),
        ("tel:7042;phone-context=", Parameter),
        ("tel:7042;phone-context=a_b", Parameter),
        ("tel:7042;phone-context=+", Parameter),
        ("tel:+1;ext=", Parameter),
        ("tel:+1;ext=a", Parameter),
        ("tel:+1;isub", Parameter),
        ("tel:+1;a_b=c", Parameter),
        ("tel:+1;", Parameter),
        ("tel:+1;a=1;A=2", DuplicateParameter),
    ] {
        assert_eq!(Uri::parse(text).err(), Some(error), "{text}");
    }
}

#[test]
fn a_request_uri_has_neither_method_nor_headers() {
    for (text, expected) in [
        ("sip:a@h", "sip:a@h"),
        ("sip:a@h;x=1?Subject=y", "sip:a@h;x=1"),
        ("sip:a?b;c@h?Subject=y&To=z", "sip:a?b;c@h"),
        ("sip:a@h;method=INVITE", "sip:a@h"),
        ("sip:a@h;x=1;METHOD=BYE;lr;y", "sip:a@h;x=1;lr;y"),
        ("sips:h:5061;%6dethod=BYE;x?a=b", "sips:h:5061;x"),
        ("tel:+1;method=2", "tel:+1;method=2"),
    ] {
        let uri = Uri::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(uri.as_request_uri(), expected);
    }
}

#[test]
fn other_schemes() {
    let parsed = uri("Im:bob@example.com");
    assert_eq!(
        (parsed.scheme(), parsed.user(), parsed.param("x")),
        ("Im", None, None)
    );
    assert!(matches!(parsed, Uri::Other(other) if other.rest() == "bob@example.com"));
    for (text, error) in [
        ("1m:x", UriError::Scheme),
        ("i_m:x", UriError::Scheme),
        ("im:", UriError::Rest),
        ("im:%", UriError::Rest),
        ("http://h/#frag", UriError::Rest),
    ] {
        assert_eq!(Uri::parse(text).err(), Some(error), "{text}");
    }
}

#[test]
fn mutated_uris_never_panic_and_stay_clean() {
    let samples = [
        "sip:a%40b;x=1:pw@[2001:db8::1]:5061;lr;maddr=1.2.3.4;ttl=1?to=x&p=%20",
        "sips:alice@example.com:5061;transport=tls",
        "tel:7042;phone-context=+1-914-555;ext=1;isub=a%20",
        "urn:service:sos",
    ];
    let mut random = Rng::with_seed(0x5151);
    let mut accepted = 0;
    for round in 0..20_000 {
        let text = mutate_text(
            &mut random,
            samples[round % samples.len()],
            b":;@?&=%[]+-.0aZ \r\n<>\"",
        );
        let Ok(parsed) = Uri::parse(&text) else {
            continue;
        };
        accepted += 1;
        assert_eq!(parsed.as_str(), text);
        let is_clean = |byte: u8| byte.is_ascii_graphic() && !b"<>\"\\".contains(&byte);
        assert!(text.bytes().all(is_clean), "{text:?}");
        assert!(parsed.equivalent(&parsed), "{text}");
        let sample = uri(samples[round % samples.len()]);
        if parsed.equivalent(&sample) {
            assert_eq!(parsed.comparison_key(9), sample.comparison_key(9), "{text}");
        }
    }
    assert!(accepted > 1_000, "only {accepted} mutants parsed");
}
