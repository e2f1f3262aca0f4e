//! One session of a large message.

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use cpm_wire::msrp_session::{Endpoint, MessageKey};
use cpm_wire::sip::{HeaderName, Message};
use cpm_wire::sip_ua::{Dialog, Refresher, SessionExpires, SessionTimer, supports_timer, text};

use crate::Way;
use crate::session_timer::agreed;

/// ```text
///  INVITE: 200 --ACK--> open --MSRP: whole message--> complete --BYE: 200--> gone
///    | again until ACK,          +-- BYE, 32 s without ACK, session timer: failed --> gone
/// ```
#[derive(Debug)]
pub(super) struct Session {
    pub(super) number: u64,
    pub(super) way: Way,
    pub(super) invite: Message,
    pub(super) dialog: Dialog,
    pub(super) endpoint: Endpoint,
    pub(super) message: Option<MessageKey>,
    pub(super) total: Option<u64>,
    pub(super) content: BytesMut,
    pub(super) is_complete: bool,
    pub(super) timer: Option<SessionTimer>,
    pub(super) answer: Bytes,
    /// The 200 is retransmitted until its ACK arrives.
    pub(super) unacknowledged: Option<Unacknowledged>,
}

#[derive(Debug)]
pub(super) struct Unacknowledged {
    pub(super) at: Instant,
    pub(super) interval: Duration,
    pub(super) until: Instant,
}

/// The identifiers of the message, which its answer repeats like a Controlling Function's.
pub(super) fn echoed(request: &Message) -> Vec<(&'static str, String)> {
    [
        ("Conversation-ID", HeaderName::ConversationId),
        ("Contribution-ID", HeaderName::ContributionId),
        (
            "InReplyTo-Contribution-ID",
            HeaderName::InReplyToContributionId,
        ),
    ]
    .into_iter()
    .filter_map(|(name, header)| Some((name, text(request, header)?.into_owned())))
    .collect()
}

/// The session timer accepted by our 200: as requested; without refresher the peer refreshes.
pub(super) fn agreed_timer(
    now: Instant,
    dialog: &Dialog,
    request: &Message,
) -> Option<SessionTimer> {
    let asked = SessionExpires::of(request).ok().flatten()?;
    let we_refresh = asked.refresher == Some(Refresher::Uas) || !supports_timer(request);
    Some(SessionTimer::new(
        now,
        agreed(dialog, asked.seconds, we_refresh, false),
    ))
}

pub(super) fn sender_of(request: &Message) -> String {
    let asserted = request.uri_in(HeaderName::PAssertedIdentity);
    asserted
        .or_else(|| request.uri_in(HeaderName::From))
        .unwrap_or_default()
}
