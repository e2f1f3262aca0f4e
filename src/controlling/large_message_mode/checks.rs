//! The additional checks of large message mode (9.1.2-6, readings N1, N49).

use super::super::refusal::Refusal;
use super::offer_answer::find_sdp;
use crate::controlling::large_mode_settings::LargeModeSettings;
use crate::log::at;
use crate::policy::SessionTimerCheck;
use crate::sdp::{MsrpMedia, SdpError, SessionDescription};
use crate::sip::{Message, StatusCode};
use crate::sip_ua::{MIN_SESSION_EXPIRES_S, Refresher, SessionExpires};

/// 9.1.2-3b-w, -5b-w; in pager mode it is "recipients" (readings N12).
pub(in crate::controlling) const TOO_MANY_PARTICIPANTS: &str = "102 Too many participants";
/// 9.1.2-6-w.
const FUNCTION_NOT_ALLOWED: &str = "122 Function not allowed";
/// Readings N49.
const SIZE_EXCEEDED: &str = "133 Size exceeded";
/// Option tags of Require that an INVITE may have (RFC 5366 §5, RFC 4028; readings N29).
pub(in crate::controlling) const UNDERSTOOD: &[&str] =
    &["recipient-list-invite", "recipient-list-message", "timer"];

/// Runs these checks in order, after all others.
pub(in crate::controlling) fn check_invite(
    message: &Message,
    settings: &LargeModeSettings,
) -> Result<(), Refusal> {
    session_expires(message, settings.policy.require_session_timer)?;
    let offer = session_description(message)?;
    let media = usable_media(&offer, settings)?;
    message_size(&media, settings.policy.max_message_bytes)
}

/// 9.1.2-6, whose purpose is to refuse what cannot be fulfilled: any refresher that the originator
/// names is possible, also ourselves (readings N1). An interval that is too small gets 422, whoever
/// refreshes (RFC 4028 §9).
fn session_expires(message: &Message, check: SessionTimerCheck) -> Result<(), Refusal> {
    let asked = SessionExpires::of(message)
        .map_err(|_| Refusal::bad_request(at!(Notice), "Malformed Session-Expires"))?;
    let refresher = asked.and_then(|asked| asked.refresher);
    let passes = match check {
        SessionTimerCheck::Off | SessionTimerCheck::Lenient => true,
        SessionTimerCheck::Literal => refresher == Some(Refresher::Uac),
    };
    if !passes {
        return Err(Refusal::forbidden(
            at!(Notice),
            FUNCTION_NOT_ALLOWED,
            "its Session-Expires does not let the originator refresh",
        ));
    }
    if asked.is_some_and(|asked| asked.seconds < MIN_SESSION_EXPIRES_S) {
        return Err(Refusal::with_header(
            at!(Notice),
            StatusCode::SESSION_INTERVAL_TOO_SMALL,
            Some(("Min-SE", MIN_SESSION_EXPIRES_S.to_string())),
            "its Session-Expires is below the minimum of RFC 4028",
        ));
    }
    Ok(())
}

/// The offer. An INVITE without one would need an offer of ours, but only the sender knows the
/// content of the message: 488.
fn session_description(message: &Message) -> Result<SessionDescription, Refusal> {
    let sdp =
        find_sdp(message).map_err(|error| Refusal::bad_request(at!(Notice), error.to_string()))?;
    let Some(sdp) = sdp else {
        return Err(match message.body().is_empty() {
            true => Refusal::with_header(
                at!(Notice),
                StatusCode::NOT_ACCEPTABLE_HERE,
                None,
                "it has no session description",
            ),
            false => Refusal::with_header(
                at!(Notice),
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                Some((
                    "Accept",
                    "application/sdp, multipart/mixed, application/resource-lists+xml".to_owned(),
                )),
                "its body has no session description",
            ),
        });
    };
    SessionDescription::parse(&sdp)
        .map_err(|error| Refusal::bad_request(at!(Notice), error.to_string()))
}

/// The MSRP media of the offer, over a transport that has a listener.
fn usable_media<'a>(
    offer: &'a SessionDescription,
    settings: &LargeModeSettings,
) -> Result<MsrpMedia<'a>, Refusal> {
    let no_session =
        |cause| Refusal::with_header(at!(Notice), StatusCode::NOT_ACCEPTABLE_HERE, None, cause);
    let usable = MsrpMedia::of(offer, &settings.msrp.transports());
    let media = usable.map_err(|error| match error {
        SdpError::NoMsrpMedia => {
            no_session("its session description offers no MSRP session that could be set up")
        }
        error => Refusal::bad_request(at!(Notice), error.to_string()),
    })?;
    // Nobody must be called for a message that its sender does not offer to send.
    if !media.direction.sends() {
        return Err(no_session(
            "its session description is recvonly or inactive: it offers no message",
        ));
    }
    if media.lacks_cema() {
        return Err(no_session(
            "a middlebox has changed c= or m= of its session description, which has no msrp-cema",
        ));
    }
    Ok(media)
}

/// Readings N49: a message announced as too large is not started.
fn message_size(media: &MsrpMedia<'_>, max_message_bytes: u64) -> Result<(), Refusal> {
    let announced = media.file_selector.as_ref().and_then(|file| file.size);
    if max_message_bytes > 0 && announced.is_some_and(|size| size > max_message_bytes) {
        return Err(Refusal::forbidden(
            at!(Notice),
            SIZE_EXCEEDED,
            "the message is larger than msrp_max_message",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::controlling::large_mode_settings::{MsrpAddress, MsrpAddresses};
    use crate::policy::Settings;
    use crate::sdp::Transport;

    const SDP: &str = "v=0\r\nc=IN IP4 192.0.2.1\r\nm=message 2000 TCP/MSRP *\r\na=accept-types:*\r\n\
        a=path:msrp://192.0.2.1:2000/a;tcp\r\na=file-selector:size:1000\r\n";

    fn check(
        headers: &str,
        sdp: &str,
        check: SessionTimerCheck,
    ) -> Option<(u16, Option<&'static str>)> {
        let text = format!("INVITE sip:a@b SIP/2.0\r\n{headers}\r\n{sdp}");
        let message = Message::parse(Bytes::from(text)).unwrap();
        let address = MsrpAddress {
            address: [192, 0, 2, 9].into(),
            port: 2855,
        };
        let msrp = MsrpAddresses {
            tcp: Some(address),
            tls: None,
            fingerprint: Default::default(),
            leg_transport: Transport::Tcp,
        };
        let mut settings =
            LargeModeSettings::new(&Settings::default().large_mode, "sip:cf@h".into(), msrp);
        settings.policy.max_message_bytes = 1000;
        settings.policy.require_session_timer = check;
        let refused = check_invite(&message, &settings).err()?.reply("s", "agent");
        Some((refused.code.as_u16(), refused.warning))
    }

    const TYPE: &str = "Content-Type: application/sdp\r\n";

    #[test]
    fn session_expires_as_n1_reads_it() {
        use SessionTimerCheck::*;
        let not_allowed = Some((403, Some(FUNCTION_NOT_ALLOWED)));
        for (value, lenient, literal, off) in [
            ("", None, not_allowed, None),
            ("Session-Expires: 1800\r\n", None, not_allowed, None),
            ("Session-Expires: 1800;refresher=uac\r\n", None, None, None),
            (
                "Session-Expires: 1800;refresher=uas\r\n",
                None,
                not_allowed,
                None,
            ),
            (
                "x: 89;refresher=uac\r\n",
                Some((422, None)),
                Some((422, None)),
                Some((422, None)),
            ),
            (
                "x: y\r\n",
                Some((400, None)),
                Some((400, None)),
                Some((400, None)),
            ),
        ] {
            let headers = format!("{value}{TYPE}");
            for (switch, expected) in [(Lenient, lenient), (Literal, literal), (Off, off)] {
                assert_eq!(check(&headers, SDP, switch), expected, "{value} {switch:?}");
            }
        }
    }

    #[test]
    fn offers() {
        let with = |from: &str, to: &str| {
            assert!(SDP.contains(from), "{from}");
            check(TYPE, &SDP.replace(from, to), SessionTimerCheck::Lenient)
        };
        assert_eq!(with("v=0", "v=0"), None);
        assert_eq!(
            with("size:1000", "size:1001"),
            Some((403, Some(SIZE_EXCEEDED)))
        );
        assert_eq!(with("v=0", "v=1"), Some((400, None)));
        assert_eq!(with("a=path", "a=x"), Some((400, None)));
        assert_eq!(
            with("message 2000 TCP", "message 2000 TCP/TLS"),
            Some((488, None))
        );
        // RFC 6135 §4.2.1.
        assert_eq!(with("a=accept", "a=setup:holdconn\r\na=accept"), None);
        for (attribute, expected) in [
            ("sendonly", None),
            ("sendrecv", None),
            ("recvonly", Some((488, None))),
            ("inactive", Some((488, None))),
        ] {
            let lines = format!("a={attribute}\r\na=accept");
            assert_eq!(with("a=accept", &lines), expected, "{attribute}");
        }
        // RFC 6714 §4.3.
        let anchored = ("msrp://192.0.2.1:2000/", "msrp://192.0.2.2:2000/");
        assert_eq!(with(anchored.0, anchored.1), Some((488, None)));
        let with_cema = format!("a=msrp-cema\r\na=path:{}", anchored.1);
        assert_eq!(with("a=path:msrp://192.0.2.1:2000/", &with_cema), None);
        let lenient = SessionTimerCheck::Lenient;
        assert_eq!(check("", "", lenient), Some((488, None)));
        assert_eq!(
            check("Content-Type: text/plain\r\n", "x", lenient),
            Some((415, None))
        );
        let multipart = format!("--b\r\nContent-Type: application/sdp\r\n\r\n{SDP}\r\n--b--\r\n");
        assert_eq!(
            check(
                "Content-Type: multipart/mixed;boundary=b\r\n",
                &multipart,
                lenient
            ),
            None
        );
        assert_eq!(
            check("Content-Type: multipart/mixed\r\n", &multipart, lenient),
            Some((400, None))
        );
    }
}
