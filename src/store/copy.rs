//! What a copy, and its recipient, are known by.

/// Size of the beginning of a copy's name that tells the copies of one message apart.
pub(super) const SHORT: usize = 8;

/// The name of a copy, from its Call-ID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CopyId(pub [u8; 16]);

impl CopyId {
    /// Its beginning, which tells the copies of one message apart.
    pub(super) fn short(self) -> [u8; SHORT] {
        let mut short = [0; SHORT];
        short.copy_from_slice(&self.0[..SHORT]);
        short
    }
}

/// What a recipient is known by when it becomes available: hashes of its address of record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecipientKey {
    /// Of its user part alone: a registrar may know no more.
    pub user: u32,
    /// Of user part and host.
    pub address: u32,
}

impl RecipientKey {
    /// As a number, for another process.
    pub fn bits(self) -> u64 {
        u64::from(self.user) << 32 | u64::from(self.address)
    }

    /// The inverse of [`bits`](Self::bits).
    pub fn of_bits(bits: u64) -> Self {
        RecipientKey {
            user: (bits >> 32) as u32,
            address: bits as u32,
        }
    }

    pub(super) fn hashes(self) -> [u32; 2] {
        [self.user, self.address]
    }
}
