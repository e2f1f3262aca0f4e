//! What the thread asks of the database it owns, whichever that is.

use std::time::Duration;

use super::record::{Kept, SenderName, SenderOf};

/// Why a message was not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The store has reached its maximum size, or the disk is full.
    Full,
    /// The database cannot be written.
    Down,
}

/// Contents of one transaction.
#[derive(Debug, Default)]
pub(super) struct Batch<'a> {
    pub(super) kept: Vec<&'a Kept>,
    /// Until when repetitions of these are to be recognised, Unix time.
    pub(super) taken_until_s: u64,
    /// Messages, and their recipients that have ended.
    pub(super) ended: Vec<(u64, &'a [u8])>,
    /// Messages whose last recipient has ended.
    pub(super) done: Vec<u64>,
    /// Who gets disposition notifications about messages.
    pub(super) senders: Vec<&'a SenderOf>,
    /// Repetitions of this message and all before it need not be recognised any more.
    pub(super) forgotten: Option<u64>,
}

/// Why the database cannot be used now. It is [closed](Engine::close) after that, since its state
/// is unknown, and opened again later.
#[derive(Debug)]
pub(super) struct Failure {
    /// For the log.
    pub(super) why: String,
    /// What those are told whose messages it did not take.
    pub(super) refusal: Refusal,
}

/// A database of accepted messages, in the hands of one thread. Unless it is open, each call fails.
pub(super) trait Engine: Send {
    /// Opens it.
    fn open(&mut self) -> Result<(), Failure>;

    /// Lets go of it.
    fn close(&mut self);

    /// Writes the whole batch or nothing. New messages outlive whatever the engine promises to
    /// outlive when this returns.
    fn write(&mut self, batch: &Batch<'_>) -> Result<(), Failure>;

    /// Messages, each with its outcomes. `None`: its last recipient has ended.
    fn read(&mut self, ids: &[u64]) -> Result<Vec<Option<Kept>>, Failure>;

    /// The next of the messages that another process has accepted and this one has to deliver,
    /// about `bytes` of them. Empty: there are no more.
    fn left_over(&mut self, bytes: usize) -> Result<Vec<Kept>, Failure>;

    /// Bytes in use, as far as it is known: all that counts in the maximum size.
    fn bytes(&self) -> Option<u64>;

    /// How many of them new messages take before they take others.
    fn free_bytes(&self) -> u64 {
        0
    }

    /// Gives back what is not needed, a portion at a time. True: there is more.
    fn tidy(&mut self) -> Result<bool, Failure> {
        Ok(false)
    }

    /// Who gets disposition notifications about these messages, where nodes share that.
    fn find_senders(&mut self, names: &[SenderName]) -> Result<Vec<Option<String>>, Failure> {
        Ok(names.iter().map(|_| None).collect())
    }

    /// After how long [`tend`](Self::tend) wants to be called. `None`: never.
    fn tends(&self) -> Option<Duration> {
        None
    }

    /// Does what nodes that share the store have to do from time to time.
    fn tend(&mut self) -> Result<(), Failure> {
        Ok(())
    }

    /// What has become known since the last time, also while it is not open.
    fn news(&mut self) -> News {
        News::default()
    }

    /// Recipients with these hashes have arrived here: other nodes are told when it is next tended.
    fn tell_arrived(&mut self, _hashes: &[u32]) {}

    /// This process ends: others need not wait to take over what it leaves.
    fn leave(&mut self) {}
}

/// What other nodes do.
#[derive(Debug, Default)]
pub(super) struct News {
    /// Messages that another node has taken over.
    pub(super) lost: Vec<u64>,
    /// Hashes of recipients that have arrived at other nodes.
    pub(super) arrived: Vec<u32>,
    /// Whether this node has taken over some.
    pub(super) has_left_over: bool,
}
