use super::build::{push, setup_of_answer, write_media_line, write_rejected, write_session};
use super::{MsrpMedia, OwnMedia, SdpError, SessionDescription, Transport};

/// The content that a receiver accepts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcceptedContent {
    /// Value of `a=accept-types`.
    pub types: String,
    /// Value of `a=accept-wrapped-types`.
    pub wrapped_types: String,
    /// `a=max-size` in bytes.
    pub max_size: u64,
}

/// The offer of a client with a message to send (7.2.1.2-19): sendonly, message/cpim, the real
/// types of the wrapped content, the size of the message, setup:actpass, msrp-cema.
///
/// `wrapped_types` are media types separated by spaces, `size` is that of the whole message/cpim
/// content (readings N55).
pub fn message_offer(own: &OwnMedia, wrapped_types: &str, size: u64) -> String {
    let mut out = String::with_capacity(512);
    write_session(&mut out, own, "0 0", &[]);
    write_media_line(&mut out, own);
    push(&mut out, format_args!("a=accept-types:message/cpim"));
    push(
        &mut out,
        format_args!("a=accept-wrapped-types:{wrapped_types}"),
    );
    push(&mut out, format_args!("a=file-selector:size:{size}"));
    push(&mut out, format_args!("a=sendonly"));
    push(&mut out, format_args!("a=setup:actpass"));
    push(&mut out, format_args!("a=msrp-cema"));
    write_fingerprint(&mut out, own);
    out
}

/// The answer of a client that accepts the announced message of `offer`: recvonly, passive if the
/// offer permits it. Each other m= line of the offer is refused.
///
/// # Errors
///
/// [`SdpError`] if `offer` has no usable MSRP media over the transport of `own`.
pub fn message_answer(
    offer: &SessionDescription,
    own: &OwnMedia,
    accepted: &AcceptedContent,
) -> Result<String, SdpError> {
    let offered = MsrpMedia::of(offer, &[own.transport])?;
    let setup = setup_of_answer(&offered);
    let mut out = String::with_capacity(512);
    write_session(&mut out, own, offer.timing.as_deref().unwrap_or("0 0"), &[]);
    for (index, media) in offer.media.iter().enumerate() {
        if index != offered.index {
            write_rejected(&mut out, media);
            continue;
        }
        write_media_line(&mut out, own);
        let AcceptedContent {
            types,
            wrapped_types,
            max_size,
        } = accepted;
        push(&mut out, format_args!("a=accept-types:{types}"));
        push(
            &mut out,
            format_args!("a=accept-wrapped-types:{wrapped_types}"),
        );
        push(&mut out, format_args!("a=max-size:{max_size}"));
        if let Some(selector) = media.attributes.iter().find(|a| a.name == "file-selector") {
            // RFC 5547 §8.3: the answer repeats the selector of the offer.
            let value = selector.value.as_deref().unwrap_or("");
            push(&mut out, format_args!("a=file-selector:{value}"));
        }
        let direction = offered.direction.for_receiver();
        push(&mut out, format_args!("a={}", direction.as_str()));
        push(&mut out, format_args!("a=setup:{setup}"));
        if offered.msrp_cema {
            push(&mut out, format_args!("a=msrp-cema"));
        }
        write_fingerprint(&mut out, own);
    }
    Ok(out)
}

fn write_fingerprint(out: &mut String, own: &OwnMedia) {
    if let (Transport::Tls, Some(fingerprint)) = (own.transport, &own.fingerprint) {
        push(out, format_args!("a=fingerprint:{}", fingerprint.write()));
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Direction, Fingerprint, Setup};
    use super::*;
    use crate::msrp::MsrpUri;

    fn own(transport: Transport) -> OwnMedia {
        let secure = transport == Transport::Tls;
        OwnMedia {
            session_id: 7,
            address: "192.0.2.1".parse().unwrap(),
            port: 2855,
            path: MsrpUri::new(secure, "192.0.2.1", 2855, "s").unwrap(),
            transport,
            fingerprint: Some(Fingerprint {
                hash: "sha-256".into(),
                value: vec![1, 2],
            }),
        }
    }

    fn accepted() -> AcceptedContent {
        AcceptedContent {
            types: "message/cpim".into(),
            wrapped_types: "*".into(),
            max_size: 1000,
        }
    }

    #[test]
    fn requirements_7_2_1_2_19() {
        let offer = message_offer(&own(Transport::Tcp), "text/plain image/png", 4321);
        assert_eq!(
            offer,
            "v=0\r\no=- 7 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n\
             m=message 2855 TCP/MSRP *\r\na=path:msrp://192.0.2.1:2855/s;tcp\r\n\
             a=accept-types:message/cpim\r\na=accept-wrapped-types:text/plain image/png\r\n\
             a=file-selector:size:4321\r\na=sendonly\r\na=setup:actpass\r\na=msrp-cema\r\n"
        );
        let secure = message_offer(&own(Transport::Tls), "*", 1);
        assert!(secure.contains("m=message 2855 TCP/TLS/MSRP *\r\n"));
        assert!(secure.contains("a=fingerprint:sha-256 01:02\r\n"));
    }

    #[test]
    fn the_answer_fits_the_offer() {
        let offer = message_offer(&own(Transport::Tcp), "*", 99)
            .replace("m=message", "m=audio 4 RTP/AVP 0\r\nm=message");
        let offer = SessionDescription::parse(offer.as_bytes()).unwrap();
        let answer = message_answer(&offer, &own(Transport::Tcp), &accepted()).unwrap();
        let answer = SessionDescription::parse(answer.as_bytes()).unwrap();
        assert_eq!((answer.media.len(), answer.media[0].port), (2, 0));
        let media = MsrpMedia::of(&answer, &[Transport::Tcp]).unwrap();
        assert_eq!(media.direction, Direction::RecvOnly);
        assert_eq!(media.setup, Some(Setup::Passive));
        assert_eq!(media.file_selector.clone().unwrap().size, Some(99));
        assert_eq!(media.max_size, Some(1000));
        assert!(media.msrp_cema);
        assert_eq!(
            message_answer(&offer, &own(Transport::Tls), &accepted()),
            Err(SdpError::NoMsrpMedia)
        );
    }
}
