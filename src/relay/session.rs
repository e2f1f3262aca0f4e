//! What the relay has of one session: the originator's end, the fan-out, and which connection each
//! end has.

use std::sync::Arc;
use std::time::Instant;

use super::id_map::IdMap;
use super::progress::{LegCell, SessionCell};
use super::spool::SpoolFile;
use super::timers::Timer;
use crate::cpim::{CpimHead, CpimHeadState};
use crate::imdn::NotificationRequest;
use crate::msrp_control::LegNumber;
use crate::msrp_session::{ConnectionId, Endpoint, FanOut, LegId, Limits, MessageKey};
use crate::sdp::Fingerprint;
use crate::shared::SenderNote;

pub(super) struct RelaySession {
    pub(super) originator: Option<OriginatorEnd>,
    pub(super) fan_out: FanOut,
    /// In the order of [`LegId::index`].
    pub(super) legs: Vec<RelayLeg>,
    pub(super) numbers: IdMap<LegNumber, LegId>,
    pub(super) limits: Limits,
    /// Who is to be noted as the sender of the message, until its header has come.
    pub(super) sender_note: Option<Box<SenderNote>>,
    pub(super) head: CpimHead,
    /// The message has begun, and the session has a share of the memory.
    pub(super) begun: bool,
    /// Others have been told that the originator is held back.
    pub(super) shown_held_back: bool,
    /// No leg takes less than this, in bytes, but those that have been refused.
    pub(super) least_max_size: u64,
    /// The fan-out takes content.
    pub(super) reading: bool,
    /// What of the fan-out's memory has been counted.
    pub(super) counted: usize,
    pub(super) file: SpoolFile,
    /// Bytes given to the spool.
    pub(super) spooled: u64,
    pub(super) timer: Timer,
    pub(super) cell: Arc<SessionCell>,
}

/// The originator's end.
pub(super) struct OriginatorEnd {
    pub(super) endpoint: Endpoint,
    pub(super) ends: PeerEnds,
    /// The message, once it has begun.
    pub(super) message: Option<MessageKey>,
    /// The final event of the message has been reported.
    pub(super) decided: bool,
    /// When it was last heard, or last held back.
    pub(super) heard: Instant,
}

/// A leg's end; the fan-out has the rest of it.
pub(super) struct RelayLeg {
    pub(super) number: LegNumber,
    pub(super) ends: PeerEnds,
    /// The longest message that the recipient takes.
    pub(super) max_size: Option<u64>,
    /// The final event has been reported.
    pub(super) decided: bool,
    /// It waits for its turn on a connection.
    pub(super) queued: bool,
    pub(super) cell: Arc<LegCell>,
}

/// How an end and its peer come together.
pub(super) struct PeerEnds {
    /// Session-id of our URI, by which requests find the end.
    pub(super) uri: String,
    /// We connect to the peer.
    pub(super) active: bool,
    pub(super) secure: bool,
    pub(super) host: String,
    pub(super) fingerprint: Option<Fingerprint>,
    /// The connection that is bound, or that we are opening.
    pub(super) connection: Option<ConnectionId>,
    /// Until when we try to connect.
    pub(super) connect_by: Instant,
}

impl RelaySession {
    pub(super) fn leg(&mut self, id: LegId) -> &mut RelayLeg {
        // Legs are added here and to the fan-out together.
        &mut self.legs[id.index()]
    }

    /// Looks at the next bytes of the message, as long as its sender is to be noted.
    pub(super) fn note_sender(&mut self, content: &[u8]) {
        let Some(note) = self.sender_note.take() else {
            return;
        };
        match self.head.push(content) {
            CpimHeadState::Open => self.sender_note = Some(note),
            CpimHeadState::Whole(head) => {
                if let Some(request) = NotificationRequest::of(&head) {
                    note.note(&request.message_id);
                }
            }
            CpimHeadState::TooLong => {}
        }
    }

    /// Lets others see how far a leg is.
    pub(super) fn show(&self, id: LegId) {
        self.legs[id.index()].cell.set(self.fan_out.leg(id));
    }
}
