//! A message as it is kept.

use bytes::Bytes;

/// A message that has been accepted, for the store; and as it is read from there again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Its number, which no other message of this store has had.
    pub id: u64,
    /// Of the form of `record`.
    pub version: u32,
    /// When it is of no use any more, in seconds of the calendar (Unix time).
    pub expires_s: u64,
    /// What its copies are made of.
    pub record: Bytes,
    /// What its sender's repetitions are known by.
    pub identity: Bytes,
    /// Its recipients that have ended, as [`Changes`](super::Changes) has them.
    pub ended: Bytes,
}

/// How a copy ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// It has not left after all: it is to be sent again.
    Unsent,
    /// The operator's script dropped it.
    Dropped,
    /// With this final status code.
    Code(u16),
}

impl Settled {
    /// As a number.
    pub fn bits(self) -> u16 {
        match self {
            Settled::Unsent => 0,
            Settled::Dropped => 1,
            Settled::Code(code) => code,
        }
    }

    /// From its number.
    pub fn of_bits(bits: u16) -> Self {
        match bits {
            0 => Settled::Unsent,
            1 => Settled::Dropped,
            code => Settled::Code(code),
        }
    }
}
