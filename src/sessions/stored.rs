//! What the store has to do with a session.

use super::host::SessionHost;
use crate::controlling::large_message_mode::{AcceptedInvite, LegNumber};
use crate::controlling::{FanOutJob, Fate};
use crate::store::Settled;

/// What the store has to do with a session.
#[derive(Debug, Default)]
pub(super) enum Stored {
    /// Nothing.
    #[default]
    Not,
    /// Its message goes there once it is whole. These recipients have ended.
    Arriving(Box<AcceptedInvite>, Ends),
    /// Its message is being written.
    Writing(Box<FanOutJob>, Ends),
    /// The store has its message.
    Kept(Box<FanOutJob>),
}

/// How recipients have ended.
pub(super) type Ends = Vec<End>;

/// How a recipient has ended.
#[derive(Debug)]
pub(super) struct End {
    pub(super) leg: LegNumber,
    pub(super) uri: String,
    pub(super) settled: Settled,
}

impl Stored {
    /// The store has it.
    pub(super) fn is_kept(&self) -> bool {
        matches!(self, Stored::Kept(..))
    }

    /// A recipient has ended on one leg.
    pub(super) fn note(
        &mut self,
        (leg, uri): (LegNumber, &str),
        fate: Fate,
        code: u16,
        host: &dyn SessionHost,
    ) {
        let settled = match fate {
            Fate::Delivered | Fate::Failed => Settled::Code(code),
            Fate::Deferred => Settled::Deferred(code),
            Fate::Interworked => return,
        };
        match self {
            Stored::Not => {}
            Stored::Arriving(_, ends) | Stored::Writing(_, ends) => {
                let uri = uri.to_owned();
                ends.push(End { leg, uri, settled });
            }
            Stored::Kept(job) => host.settle(job, uri, settled),
        }
    }
}
