use std::fmt::Write;
use std::net::IpAddr;

use super::{
    Attribute, Direction, FileSelector, Fingerprint, Media, MsrpMedia, Role, SdpError,
    SessionDescription, Transport,
};
use crate::msrp::MsrpUri;

/// Data for a description of our own end of one session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnMedia {
    /// For o=: a number that is unique among our sessions (RFC 4566 §5.2).
    pub session_id: u64,
    /// Address that the peer can reach, for o= and c=.
    pub address: IpAddr,
    /// TCP port of the listener, not 0.
    pub port: u16,
    /// Our MSRP URI for this session, for a=path.
    pub path: MsrpUri,
    /// Transport of the m= line; must fit the scheme of `path`.
    pub transport: Transport,
    /// Fingerprint of our certificate; only used with TLS.
    pub fingerprint: Option<Fingerprint>,
}

/// Attributes that we write ourselves, or that describe the peer's transport (readings N5): if
/// copied, they would lead the other side past us, or promise unsupported functions.
const NOT_COPIED: [&str; 34] = [
    "path",
    "setup",
    "msrp-cema",
    "fingerprint",
    "sendrecv",
    "sendonly",
    "recvonly",
    "inactive",
    "accept-types",
    "accept-wrapped-types",
    "max-size",
    "file-selector",
    // ICE and related attributes
    "candidate",
    "end-of-candidates",
    "remote-candidates",
    "ice-ufrag",
    "ice-pwd",
    "ice-lite",
    "ice-options",
    "ice-pacing",
    "ice-mismatch",
    // connections, keys, grouping, preconditions
    "connection",
    "tls-id",
    "identity",
    "crypto",
    "key-mgmt",
    "group",
    "mid",
    "bundle-only",
    "rtcp",
    "rtcp-mux",
    "curr",
    "des",
    "conf",
];

/// The offer of an outgoing INVITE (9.1.2-8j, 9.1.2-9h): derived from the originator's offer, with
/// our own MSRP end, sendonly, setup:actpass and msrp-cema, unless this recipient must be offered
/// it without (RFC 6714 §4.2). `size` is the real size of the message, if known better than from
/// the originator's file-selector; without either there is no file-selector.
///
/// # Errors
///
/// [`SdpError`] if `received` has no usable MSRP media.
pub fn offer_for_leg(
    received: &SessionDescription,
    own: &OwnMedia,
    size: Option<u64>,
    cema: bool,
) -> Result<String, SdpError> {
    let media = MsrpMedia::of(received, &[Transport::Tcp, Transport::Tls])?;
    let selector = media.file_selector.as_ref();
    let mut out = String::with_capacity(1024);
    write_session(&mut out, own, "0 0", &received.attributes);
    write_media_line(&mut out, own);
    push(
        &mut out,
        format_args!("a=accept-types:{}", media.accept_types),
    );
    if let Some(types) = media.accept_wrapped_types {
        push(&mut out, format_args!("a=accept-wrapped-types:{types}"));
    }
    write_max_size(&mut out, media.max_size);
    let known = size.or(selector.and_then(|selector| selector.size));
    write_file_selector(&mut out, known, selector);
    write_end(&mut out, own, Direction::SendOnly, "actpass", cema);
    write_copied(&mut out, media.attributes);
    Ok(out)
}

/// The answer to the originator (9.1.2-200-2): derived from the first leg's answer, with our own
/// MSRP end, recvonly, setup:passive, and msrp-cema if it was offered. Each other m= line of the
/// offer is refused.
///
/// Types and size are those that we accept ourselves: the types of the offer, and up to `max_size`
/// bytes. A limit of one recipient does not restrict the others (readings N56). An offer of
/// `setup:passive` is answered `active`, as otherwise nobody would connect (N52).
///
/// # Errors
///
/// [`SdpError`] if `offer` has no usable MSRP media over the transport of `own`, or if `leg_answer`
/// has no usable MSRP media.
pub fn answer_for_originator(
    offer: &SessionDescription,
    leg_answer: Option<&SessionDescription>,
    own: &OwnMedia,
    max_size: Option<u64>,
) -> Result<String, SdpError> {
    let offered = MsrpMedia::of(offer, &[own.transport])?;
    let both = [Transport::Tcp, Transport::Tls];
    let answered = leg_answer.map(|answer| MsrpMedia::of(answer, &both));
    let answered = answered.transpose()?;
    let setup = setup_of_answer(&offered);
    let timing = offer.timing.as_deref().unwrap_or("0 0");
    let mut out = String::with_capacity(1024);
    let attributes = leg_answer.map_or(&[][..], |answer| &answer.attributes);
    write_session(&mut out, own, timing, attributes);
    for (index, media) in offer.media.iter().enumerate() {
        if index != offered.index {
            write_rejected(&mut out, media);
            continue;
        }
        write_media_line(&mut out, own);
        let wrapped = offered.accept_wrapped_types.unwrap_or("*");
        push(
            &mut out,
            format_args!("a=accept-types:{}", offered.accept_types),
        );
        push(&mut out, format_args!("a=accept-wrapped-types:{wrapped}"));
        write_max_size(&mut out, max_size);
        // RFC 5547 §8.3: the answer repeats the selector of the offer.
        let selector = offered.file_selector.as_ref();
        write_file_selector(
            &mut out,
            selector.and_then(|selector| selector.size),
            selector,
        );
        let direction = offered.direction.for_receiver();
        write_end(&mut out, own, direction, setup, offered.msrp_cema);
        if let Some(answered) = &answered {
            write_copied(&mut out, answered.attributes);
        }
    }
    Ok(out)
}

pub(super) fn write_session(
    out: &mut String,
    own: &OwnMedia,
    timing: &str,
    attributes: &[Attribute],
) {
    let family = if own.address.is_ipv4() { "IP4" } else { "IP6" };
    let OwnMedia {
        session_id,
        address,
        ..
    } = own;
    push(out, format_args!("v=0"));
    push(
        out,
        format_args!("o=- {session_id} 1 IN {family} {address}"),
    );
    push(out, format_args!("s=-"));
    push(out, format_args!("c=IN {family} {address}"));
    push(out, format_args!("t={timing}"));
    write_copied(out, attributes);
}

/// The answer to a medium that is not the one we take: port 0 (RFC 3264 §6).
pub(super) fn write_rejected(out: &mut String, media: &Media) {
    let (kind, protocol, formats) = (&media.kind, &media.protocol, &media.formats);
    push(out, format_args!("m={kind} 0 {protocol} {formats}"));
}

/// The value of `a=setup` in the answer (RFC 4145 §4.1).
pub(super) fn setup_of_answer(offered: &MsrpMedia<'_>) -> &'static str {
    match offered.role_of_answerer() {
        Role::Passive => "passive",
        Role::Active => "active",
    }
}

pub(super) fn write_media_line(out: &mut String, own: &OwnMedia) {
    push(
        out,
        format_args!("m=message {} {} *", own.port, own.transport.as_str()),
    );
    push(out, format_args!("a=path:{}", own.path.text()));
}

fn write_max_size(out: &mut String, size: Option<u64>) {
    if let Some(size) = size {
        push(out, format_args!("a=max-size:{size}"));
    }
}

fn write_file_selector(out: &mut String, size: Option<u64>, selector: Option<&FileSelector>) {
    let others = selector.map_or("", |selector| &selector.others);
    let space = if others.is_empty() { "" } else { " " };
    match size {
        Some(size) => push(
            out,
            format_args!("a=file-selector:size:{size}{space}{others}"),
        ),
        None if !others.is_empty() => push(out, format_args!("a=file-selector:{others}")),
        None => {}
    }
}

fn write_end(out: &mut String, own: &OwnMedia, direction: Direction, setup: &str, cema: bool) {
    push(out, format_args!("a={}", direction.as_str()));
    push(out, format_args!("a=setup:{setup}"));
    if cema {
        push(out, format_args!("a=msrp-cema"));
    }
    if let (Transport::Tls, Some(fingerprint)) = (own.transport, &own.fingerprint) {
        push(out, format_args!("a=fingerprint:{}", fingerprint.write()));
    }
}

fn write_copied(out: &mut String, attributes: &[Attribute]) {
    for Attribute { name, value } in attributes {
        if NOT_COPIED
            .iter()
            .any(|known| name.eq_ignore_ascii_case(known))
        {
            continue;
        }
        match value {
            Some(value) => push(out, format_args!("a={name}:{value}")),
            None => push(out, format_args!("a={name}")),
        }
    }
}

pub(super) fn push(out: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = out.write_fmt(line);
    out.push_str("\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFER: &str = "v=0\r\no=alice 1 1 IN IP4 198.51.100.1\r\ns=-\r\nc=IN IP4 198.51.100.1\r\nt=1 2\r\n\
        a=group:BUNDLE x\r\na=tool:client\r\n\
        m=audio 5000 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n\
        m=message 7654 TCP/MSRP *\r\na=accept-types:message/cpim\r\na=accept-wrapped-types:*\r\n\
        a=path:msrp://198.51.100.1:7654/jshA7weztas;tcp\r\na=file-selector:size: 1234 type:image/png\r\n\
        a=max-size:5000\r\na=sendrecv\r\na=setup:active\r\na=msrp-cema\r\na=candidate:1 1 UDP 1 a 1 typ host\r\n\
        a=x-unknown:kept\r\na=x-flag\r\n\
        m=message 7655 TCP/TLS/MSRP *\r\na=accept-types:*\r\na=path:msrps://198.51.100.1:7655/b;tcp\r\n";
    const ANSWER: &str = "v=0\no=bob 1 1 IN IP6 2001:db8::b\ns=-\nc=IN IP6 2001:db8::b\nt=0 0\n\
        m=message 9000 TCP/MSRP *\na=accept-types:message/cpim text/plain\na=accept-wrapped-types:text/plain\n\
        a=path:msrp://[2001:db8::b]:9000/z;tcp\na=max-size:4000\na=recvonly\na=setup:passive\na=fingerprint:sha-1 00\na=y\n";

    fn parse(text: &str) -> SessionDescription {
        SessionDescription::parse(text.as_bytes()).unwrap()
    }

    fn own(address: &str, transport: Transport) -> OwnMedia {
        let secure = transport == Transport::Tls;
        OwnMedia {
            session_id: 77,
            address: address.parse().unwrap(),
            port: 2855,
            path: MsrpUri::new(secure, address, 2855, "secret").unwrap(),
            transport,
            fingerprint: Some(Fingerprint {
                hash: "sha-256".into(),
                value: vec![1, 2],
            }),
        }
    }

    #[test]
    fn requirements_9_1_2_8j_and_9h() {
        let offer = offer_for_leg(
            &parse(OFFER),
            &own("203.0.113.5", Transport::Tcp),
            Some(999),
            true,
        )
        .unwrap();
        assert_eq!(
            offer,
            "v=0\r\no=- 77 1 IN IP4 203.0.113.5\r\ns=-\r\nc=IN IP4 203.0.113.5\r\nt=0 0\r\na=tool:client\r\n\
             m=message 2855 TCP/MSRP *\r\na=path:msrp://203.0.113.5:2855/secret;tcp\r\n\
             a=accept-types:message/cpim\r\na=accept-wrapped-types:*\r\na=max-size:5000\r\n\
             a=file-selector:size:999 type:image/png\r\na=sendonly\r\na=setup:actpass\r\na=msrp-cema\r\n\
             a=x-unknown:kept\r\na=x-flag\r\n"
        );
        // The originator's own size, IPv6 and TLS towards the leg.
        let offer = offer_for_leg(
            &parse(OFFER),
            &own("2001:db8::5", Transport::Tls),
            None,
            false,
        )
        .unwrap();
        assert!(!offer.contains("msrp-cema"));
        for line in [
            "c=IN IP6 2001:db8::5",
            "m=message 2855 TCP/TLS/MSRP *",
            "a=file-selector:size:1234 type:image/png",
            "a=path:msrps://[2001:db8::5]:2855/secret;tcp",
            "a=fingerprint:sha-256 01:02",
        ] {
            assert!(offer.contains(&format!("{line}\r\n")), "{line}");
        }
        assert!(!offer.contains("198.51.100.1"));
    }

    #[test]
    fn requirements_9_1_2_200_2() {
        let own = own("203.0.113.5", Transport::Tcp);
        let answer =
            answer_for_originator(&parse(OFFER), Some(&parse(ANSWER)), &own, Some(9000)).unwrap();
        // The types are the offer's, the size is ours: no limit of this recipient.
        assert_eq!(
            answer,
            "v=0\r\no=- 77 1 IN IP4 203.0.113.5\r\ns=-\r\nc=IN IP4 203.0.113.5\r\nt=1 2\r\n\
             m=audio 0 RTP/AVP 0\r\n\
             m=message 2855 TCP/MSRP *\r\na=path:msrp://203.0.113.5:2855/secret;tcp\r\n\
             a=accept-types:message/cpim\r\na=accept-wrapped-types:*\r\na=max-size:9000\r\n\
             a=file-selector:size:1234 type:image/png\r\na=recvonly\r\na=setup:passive\r\na=msrp-cema\r\na=y\r\n\
             m=message 0 TCP/TLS/MSRP *\r\n"
        );
        assert!(!answer.contains("2001:db8::b"));
    }

    #[test]
    fn the_answer_follows_the_offer_in_setup_cema_and_transport() {
        let plain = own("203.0.113.5", Transport::Tcp);
        let with = |setup: &str| {
            let offer = OFFER.replace("a=setup:active\r\na=msrp-cema\r\n", setup);
            answer_for_originator(&parse(&offer), Some(&parse(ANSWER)), &plain, None)
        };
        assert!(
            with("a=setup:passive\r\n")
                .unwrap()
                .contains("a=setup:active\r\n")
        );
        assert!(
            with("a=setup:actpass\r\n")
                .unwrap()
                .contains("a=setup:passive\r\n")
        );
        let without = with("").unwrap();
        assert!(without.contains("a=setup:passive\r\n") && !without.contains("msrp-cema"));
        assert!(!without.contains("max-size"));
        assert_eq!(with("a=setup:holdconn\r\n").unwrap(), without);

        let secure = own("203.0.113.5", Transport::Tls);
        let answer =
            answer_for_originator(&parse(OFFER), Some(&parse(ANSWER)), &secure, None).unwrap();
        assert!(answer.contains("m=message 0 TCP/MSRP *\r\nm=message 2855 TCP/TLS/MSRP *\r\n"));
        let no_tls = OFFER.replace("m=message 7655", "m=message 0");
        let refused = answer_for_originator(&parse(&no_tls), Some(&parse(ANSWER)), &secure, None);
        assert_eq!(refused, Err(SdpError::NoMsrpMedia));
    }

    #[test]
    fn what_we_write_we_can_read() {
        let own = own("2001:db8::5", Transport::Tcp);
        let offer = parse(&offer_for_leg(&parse(OFFER), &own, Some(5), true).unwrap());
        let media = MsrpMedia::of(&offer, &[Transport::Tcp]).unwrap();
        assert_eq!(media.path.first(), &own.path);
        assert_eq!(media.file_selector.unwrap().size, Some(5));
        assert_eq!(media.direction, Direction::SendOnly);
    }
}
