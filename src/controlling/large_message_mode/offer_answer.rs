//! The session descriptions of both sides (9.1.2-8j, -9h, -200-2; RFC 3264), on top of
//! [`crate::sdp`].

use std::fmt::Write as _;

use bytes::Bytes;

use crate::controlling::large_mode_settings::MsrpAddresses;
use crate::mime::{Entity, EntityFields, MimeError};
use crate::msrp::MsrpUri;
use crate::msrp_control::MsrpEnds;
use crate::sdp::{
    MsrpMedia, NotTaken, OwnMedia, Role, SdpError, SessionDescription, Transport,
    answer_for_originator, offer_for_leg,
};
use crate::sip::{HeaderName, Message, StatusCode};

/// Content-Type of a session description.
pub(super) const SDP_CONTENT_TYPE: &str = "application/sdp";

/// The session description in the body of a message, alone or as a part (RFC 5621). `None`: there
/// is none.
pub(super) fn find_sdp(message: &Message) -> Result<Option<Bytes>, MimeError> {
    let body = message.body();
    if body.is_empty() {
        return Ok(None);
    }
    let value = |name| {
        let field = message.first(name);
        field.map(|field| Bytes::copy_from_slice(field.value()))
    };
    let fields = EntityFields {
        content_type: value(HeaderName::ContentType),
        content_disposition: value(HeaderName::ContentDisposition),
        content_transfer_encoding: None,
    };
    let entity = Entity::parse(fields, body)?;
    let sdp = entity
        .leaves()
        .find(|leaf| leaf.content_type().is("application", "sdp"));
    sdp.map(|leaf| leaf.content()).transpose()
}

/// The session description of a message. `None`: there is none that can be used.
pub(super) fn offer_in(message: &Message) -> Option<SessionDescription> {
    let sdp = find_sdp(message).ok().flatten()?;
    SessionDescription::parse(&sdp).ok()
}

/// Our own end of a new session. `None`: there is no listener for this transport.
pub(super) fn own_media(
    addresses: &MsrpAddresses,
    transport: Transport,
    random: fn(&mut [u8]),
) -> Option<OwnMedia> {
    let listener = addresses.of(transport)?;
    let mut bytes = [0; 24];
    random(&mut bytes);
    let (path, number) = bytes.split_at(16);
    let mut session_id = String::with_capacity(32);
    for byte in path {
        let _ = write!(session_id, "{byte:02x}");
    }
    let host = listener.address.to_string();
    let secure = transport == Transport::Tls;
    let number = number
        .iter()
        .fold(0, |number, &byte| number << 8 | u64::from(byte));
    Some(OwnMedia {
        // Some peers read it as a signed number.
        session_id: number >> 1,
        address: listener.address,
        port: listener.port,
        path: MsrpUri::new(secure, &host, listener.port, &session_id).ok()?,
        transport,
        fingerprint: addresses.fingerprint.get(),
    })
}

/// The offer to a recipient. `size`: that of the message, if it has begun and its size is known.
pub(super) fn offer(
    received: &SessionDescription,
    own: &OwnMedia,
    size: Option<u64>,
    cema: bool,
) -> Result<String, SdpError> {
    offer_for_leg(received, own, size, cema)
}

/// Why a recipient's answer is not suitable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoDelivery {
    /// The message cannot be sent with it; with the status code of a refusal for that reason.
    /// had.
    Refused(StatusCode),
    /// It may be suitable after an offer without msrp-cema (RFC 6714 §4.2).
    OfferWithoutCema,
}

/// The data of a recipient's answer to our offer, if the message of the `received` offer can be
/// sent with it. `size` and `cema` as in [`offer`].
pub(super) fn read_answer(
    answer: &SessionDescription,
    own: &OwnMedia,
    received: &SessionDescription,
    size: Option<u64>,
    cema: bool,
) -> Result<MsrpEnds, NoDelivery> {
    let unusable = NoDelivery::Refused(StatusCode::NOT_ACCEPTABLE_HERE);
    let media = MsrpMedia::of(answer, &[own.transport]).map_err(|_| unusable)?;
    let offered =
        MsrpMedia::of(received, &[Transport::Tcp, Transport::Tls]).map_err(|_| unusable)?;
    let announced = offered.file_selector.as_ref().and_then(|file| file.size);
    let taken = media.takes(&offered, size.or(announced));
    taken.map_err(|not_taken| match not_taken {
        NotTaken::Direction => unusable,
        NotTaken::Size => NoDelivery::Refused(StatusCode::REQUEST_ENTITY_TOO_LARGE),
        NotTaken::Type => NoDelivery::Refused(StatusCode::UNSUPPORTED_MEDIA_TYPE),
    })?;
    if cema && media.wants_offer_without_cema() {
        return Err(NoDelivery::OfferWithoutCema);
    }
    Ok(ends(&media, own, media.role_of_offerer(), cema))
}

/// The answer to the originator, with everything except transport, types and size from that of the
/// first recipient, if there is one, and our ends of the originator's session.
pub(super) fn answer(
    offer: &SessionDescription,
    first: Option<&SessionDescription>,
    own: &OwnMedia,
    max_message_bytes: u64,
) -> Result<(String, MsrpEnds), SdpError> {
    let most = (max_message_bytes > 0).then_some(max_message_bytes);
    let text = answer_for_originator(offer, first, own, most)?;
    let media = MsrpMedia::of(offer, &[own.transport])?;
    let mut ends = ends(&media, own, media.role_of_answerer(), media.msrp_cema);
    ends.max_size = most;
    Ok((text, ends))
}

/// Our offer to a recipient as the answer to one of its offers: in an answer, actpass has been
/// resolved (RFC 4145 §4.1).
pub(super) fn offer_as_answer(offer: &str, role: Role) -> String {
    let setup = match role {
        Role::Active => "a=setup:active\r\n",
        Role::Passive => "a=setup:passive\r\n",
    };
    offer.replace("a=setup:actpass\r\n", setup)
}

/// `ours`, an established description, as the answer to a further offer (RFC 3264 §8): with a line
/// for each of its m= lines. `None`: the offer has no MSRP session, or one in which content could
/// not continue unchanged; the session then stays as it was (RFC 3261 §14.2). `sending`: whether we
/// send the content.
pub(super) fn answer_again(
    ours: &str,
    request: &Message,
    own: &OwnMedia,
    sending: bool,
) -> Option<String> {
    let offer = SessionDescription::parse(&find_sdp(request).ok()??).ok()?;
    let media = MsrpMedia::of(&offer, &[own.transport]).ok()?;
    let goes_on = match sending {
        true => media.direction.receives(),
        false => media.direction.sends(),
    };
    if !goes_on {
        return None;
    }
    let (mut text, mut section, mut in_ours) = (String::new(), String::new(), None);
    let our_line = format!("m=message {} ", own.port);
    for line in ours.split_inclusive('\n') {
        if line.starts_with("m=") {
            in_ours = Some(line.starts_with(&our_line));
        }
        match in_ours {
            None => text.push_str(line),
            Some(true) => section.push_str(line),
            Some(false) => {}
        }
    }
    for (index, offered) in offer.media.iter().enumerate() {
        let (kind, protocol, formats) = (&offered.kind, &offered.protocol, &offered.formats);
        // Writing to a String cannot fail.
        let _ = match index == media.index {
            true => text.write_str(&section),
            false => write!(text, "m={kind} 0 {protocol} {formats}\r\n"),
        };
    }
    Some(text)
}

fn ends(media: &MsrpMedia<'_>, own: &OwnMedia, role: Role, cema: bool) -> MsrpEnds {
    let target = media.connection_target(cema);
    MsrpEnds {
        own: own.path.clone(),
        peer: media.path.clone(),
        transport: own.transport,
        role,
        host: target.host.to_owned(),
        port: target.port,
        fingerprint: media.fingerprint.clone(),
        accept_types: media.accept_types.to_owned(),
        max_size: media.max_size,
    }
}
