//! The session descriptions of both sides (9.1.2-8j, -9h, -200-2; RFC 3264), on top of [`crate::sdp`].

use std::fmt::Write as _;

use bytes::Bytes;

use super::settings::MsrpAddresses;
use crate::mime::{Entity, EntityFields, MimeError};
use crate::msrp::{MsrpUri, Path};
use crate::sdp::{
    Fingerprint, MsrpMedia, OwnMedia, Role, SdpError, SessionDescription, Transport,
    answer_for_originator, offer_for_leg,
};
use crate::sip::{HeaderName, Message};

/// Content-Type of a session description.
pub(super) const SDP_CONTENT_TYPE: &str = "application/sdp";

/// Both ends of one MSRP session, as the relay has to know them.
#[derive(Clone, Debug)]
pub struct MsrpEnds {
    /// Our own URI, which the relay knows the session by.
    pub own: MsrpUri,
    /// The peer's `a=path`.
    pub peer: Path,
    /// What carries it.
    pub transport: Transport,
    /// Who opens the connection.
    pub role: Role,
    /// Where to connect to if we do: a host name, or an IP address without brackets.
    pub host: String,
    /// The port to connect to.
    pub port: u16,
    /// What the peer's certificate must hash to, where its description says so.
    pub fingerprint: Option<Fingerprint>,
    /// Value of `a=accept-types`: what we told the originator to take, or what the recipient takes.
    pub accept_types: String,
    /// `a=max-size`, in the same sense.
    pub max_size: Option<u64>,
}

/// The session description in the body of a message, alone or as a part (RFC 5621). `None`: it has none.
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
        // Some read it as a signed number.
        session_id: number >> 1,
        address: listener.address,
        port: listener.port,
        path: MsrpUri::new(secure, &host, listener.port, &session_id).ok()?,
        transport,
        fingerprint: addresses.fingerprint.clone(),
    })
}

/// The offer to a recipient. `size`: that of the message, where it has begun and says so.
pub(super) fn offer(
    received: &SessionDescription,
    own: &OwnMedia,
    size: Option<u64>,
) -> Result<String, SdpError> {
    offer_for_leg(received, own, size)
}

/// What a recipient's answer to our offer says.
pub(super) fn read_answer(
    answer: &SessionDescription,
    own: &OwnMedia,
) -> Result<MsrpEnds, SdpError> {
    let media = MsrpMedia::of(answer, &[own.transport])?;
    Ok(ends(&media, own, media.role_of_offerer()?))
}

/// The answer to the originator from that of the first recipient, and our ends of the originator's session.
pub(super) fn answer(
    offer: &SessionDescription,
    first: &SessionDescription,
    own: &OwnMedia,
    max_message_bytes: u64,
) -> Result<(String, MsrpEnds), SdpError> {
    let text = answer_for_originator(offer, first, own)?;
    let media = MsrpMedia::of(offer, &[own.transport])?;
    let role = media.role_of_answerer()?;
    let accepted = MsrpMedia::of(first, &[Transport::Tcp, Transport::Tls])?;
    let mut ends = ends(&media, own, role);
    accepted.accept_types.clone_into(&mut ends.accept_types);
    let limit = (max_message_bytes > 0).then_some(max_message_bytes);
    ends.max_size = match (accepted.max_size, limit) {
        (Some(size), Some(limit)) => Some(size.min(limit)),
        (size, limit) => size.or(limit),
    };
    Ok((text, ends))
}

/// Our offer to a recipient as the answer to one of his: in an answer, actpass has been decided (RFC 4145 §4.1).
pub(super) fn offer_as_answer(offer: &str, role: Role) -> String {
    let setup = match role {
        Role::Active => "a=setup:active\r\n",
        Role::Passive => "a=setup:passive\r\n",
    };
    offer.replace("a=setup:actpass\r\n", setup)
}

fn ends(media: &MsrpMedia<'_>, own: &OwnMedia, role: Role) -> MsrpEnds {
    let target = media.connection_target();
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
