//! The record of a message.

use std::fmt;

use bytes::Bytes;

/// What a message is known by in disposition notifications: a keyed hash of its Message-ID, the
/// same at all nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SenderName(pub [u8; 16]);

impl fmt::Display for SenderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// Who gets disposition notifications about a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SenderOf {
    /// The message.
    pub name: SenderName,
    /// Its sender.
    pub uri: String,
    /// Seconds for which it is kept.
    pub ttl_s: u64,
}

/// An accepted message as it is written to the store and read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Its number, unique within this store.
    pub id: u64,
    /// Version of the format of `record`.
    pub version: u32,
    /// When it expires, Unix time in seconds.
    pub expires_s: u64,
    /// The content that its copies are made of.
    pub record: Bytes,
    /// The identity by which repetitions of its request are recognised.
    pub identity: Bytes,
    /// The file with its content, if that is not in the record, and its size in bytes.
    pub content: Option<(String, u64)>,
    /// Its recipients that have ended, in the format of [`Changes`](super::Changes).
    pub ended: Bytes,
}

/// How a copy ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// It was not sent after all, and is to be sent again.
    Unsent,
    /// The operator's script dropped it.
    Dropped,
    /// With this final status code.
    Code(u16),
    /// With this one, which is deferred.
    Deferred(u16),
}

/// The bit of a deferred code.
const DEFERRED: u16 = 0x8000;

impl Settled {
    /// Its number, for another process.
    pub fn bits(self) -> u16 {
        match self {
            Settled::Unsent => 0,
            Settled::Dropped => 1,
            Settled::Code(code) => code,
            Settled::Deferred(code) => code | DEFERRED,
        }
    }

    /// The inverse of [`bits`](Self::bits).
    pub fn of_bits(bits: u16) -> Self {
        match bits {
            0 => Settled::Unsent,
            1 => Settled::Dropped,
            code if code & DEFERRED != 0 => Settled::Deferred(code & !DEFERRED),
            code => Settled::Code(code),
        }
    }
}
