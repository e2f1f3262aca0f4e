//! The relay's state of one session: the originator's end, the fan-out, and the connection of each
//! end.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::id_map::IdMap;
use super::progress::{LegCell, SessionCell};
use super::spool::SpoolFile;
use super::timers::Timer;
use crate::cpim::{CpimHead, CpimHeadState};
use crate::msrp_control::LegNumber;
use crate::msrp_session::{ConnectionId, Endpoint, FanOut, LegId, Limits, MessageKey};
use crate::sdp::Fingerprint;
use crate::shared::HeadNote;

pub(super) struct RelaySession {
    pub(super) originator: Option<OriginatorEnd>,
    pub(super) fan_out: FanOut,
    /// In the order of [`LegId::index`].
    pub(super) legs: Vec<RelayLeg>,
    pub(super) numbers: IdMap<LegNumber, LegId>,
    pub(super) limits: Limits,
    /// Who to record as the sender of the message, until its header has arrived.
    pub(super) head_note: Option<Box<HeadNote>>,
    pub(super) head: CpimHead,
    /// The message has begun, and the session has a share of the memory.
    pub(super) begun: bool,
    /// It has been published that the originator is held back.
    pub(super) shown_held_back: bool,
    /// Every leg accepts at least this many bytes, except those that have been refused.
    pub(super) least_max_size: u64,
    /// Its header is read.
    pub(super) reads_head: bool,
    pub(super) storing: Storing,
    /// Bytes taken of the room in the store, and not given to the message yet.
    pub(super) stored: u64,
    /// The header of the message, for its record.
    pub(super) stored_head: Bytes,
    /// The fan-out accepts content.
    pub(super) reading: bool,
    /// The part of the fan-out's memory that has been counted.
    pub(super) counted: usize,
    pub(super) file: SpoolFile,
    /// Bytes passed to the spool.
    pub(super) spooled: u64,
    pub(super) timer: Timer,
    pub(super) cell: Arc<SessionCell>,
}

/// What the store has to do with a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Storing {
    /// Nothing.
    Not,
    /// Content goes to it.
    Writing,
    /// It has all content, and the message is being entered.
    Asked,
    /// It has the message.
    Stored,
    /// It does not take the message.
    Failed,
}

/// The originator's end.
pub(super) struct OriginatorEnd {
    pub(super) endpoint: Endpoint,
    pub(super) ends: PeerEnds,
    /// The message, once it has begun.
    pub(super) message: Option<MessageKey>,
    /// The final event of the message has been reported.
    pub(super) decided: bool,
    /// It is to be closed once the message has its final event.
    pub(super) is_closing: bool,
    /// When it was last active, or last held back.
    pub(super) heard: Instant,
}

/// A leg's end; the fan-out has the rest of its state.
pub(super) struct RelayLeg {
    pub(super) number: LegNumber,
    pub(super) ends: PeerEnds,
    /// The longest message that the recipient accepts.
    pub(super) max_size: Option<u64>,
    /// The final event has been reported.
    pub(super) decided: bool,
    /// It waits for its turn on a connection.
    pub(super) queued: bool,
    pub(super) cell: Arc<LegCell>,
}

/// How an end and its peer are connected.
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
    /// Deadline for connecting.
    pub(super) connect_by: Instant,
}

impl RelaySession {
    pub(super) fn leg(&mut self, id: LegId) -> &mut RelayLeg {
        // Legs are added here and to the fan-out together.
        &mut self.legs[id.index()]
    }

    /// Reads the next bytes of the message, until its header has been recorded.
    pub(super) fn note_head(&mut self, content: &[u8]) {
        if !self.reads_head {
            return;
        }
        match self.head.push(content) {
            CpimHeadState::Open => {}
            CpimHeadState::Whole(head) => {
                self.reads_head = false;
                if let Some(note) = self.head_note.take() {
                    note.note(&head);
                }
                if self.storing == Storing::Writing {
                    self.stored_head = head;
                }
            }
            CpimHeadState::TooLong => self.reads_head = false,
        }
    }

    /// The part of the spool's quota that has been granted.
    pub(super) fn granted(&self) -> u64 {
        match self.storing {
            Storing::Not => self.limits.spool_bytes,
            _ => 0,
        }
    }

    /// Publishes the progress of a leg.
    pub(super) fn show(&self, id: LegId) {
        self.legs[id.index()].cell.set(self.fan_out.leg(id));
    }
}
