//! The room in the store, which the database and the content of large messages share.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

/// Share of the maximum size that new messages may fill, in percent: a full store must still be
/// able to record the outcomes of the messages in it.
const FOR_MESSAGES: u64 = 90;

/// Why nothing new can be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoSpace {
    /// The store has reached its maximum size.
    Full,
    /// It cannot be written.
    Down,
}

/// How much of the store is in use, in words that all processes share.
#[derive(Clone, Copy, Debug)]
pub struct StoreSpace {
    words: &'static [AtomicU64],
    max_bytes: u64,
}

const DATABASE: usize = 0;
const CONTENT: usize = 1;
const IS_DOWN: usize = 2;

impl StoreSpace {
    /// Number of words it takes.
    pub const WORDS: usize = 3;

    /// In these words, for a store of this maximum size.
    pub fn new(words: &'static [AtomicU64], max_bytes: u64) -> Self {
        StoreSpace { words, max_bytes }
    }

    fn word(&self, place: usize) -> u64 {
        self.words.get(place).map_or(0, |word| word.load(Relaxed))
    }

    /// Bytes in use.
    pub fn bytes(&self) -> u64 {
        self.word(DATABASE) + self.word(CONTENT)
    }

    /// Bytes that new messages may still take.
    pub fn left(&self) -> u64 {
        (self.max_bytes / 100 * FOR_MESSAGES).saturating_sub(self.bytes())
    }

    /// Whether a message of this many bytes could be stored now.
    ///
    /// # Errors
    /// Why not.
    pub fn has_room(&self, bytes: u64) -> Result<(), NoSpace> {
        match self.word(IS_DOWN) {
            0 if bytes < self.left() => Ok(()),
            0 => Err(NoSpace::Full),
            _ => Err(NoSpace::Down),
        }
    }

    /// The size of the database.
    pub fn set_database(&self, bytes: u64) {
        self.set(DATABASE, bytes);
    }

    /// The size of all content, as found at the start.
    pub fn set_content(&self, bytes: u64) {
        self.set(CONTENT, bytes);
    }

    /// Whether the store cannot be written.
    pub fn set_down(&self, is_down: bool) {
        self.set(IS_DOWN, u64::from(is_down));
    }

    fn set(&self, place: usize, value: u64) {
        if let Some(word) = self.words.get(place) {
            word.store(value, Relaxed);
        }
    }

    /// Takes room for content. False: there is not so much.
    pub fn take(&self, bytes: u64) -> bool {
        let Some(word) = self.words.get(CONTENT) else {
            return false;
        };
        word.fetch_add(bytes, Relaxed);
        let is_over = self.bytes() > self.max_bytes / 100 * FOR_MESSAGES;
        if is_over {
            self.give_back(bytes);
        }
        !is_over
    }

    /// Another node has stored this content, and it is this one's now.
    pub fn take_over(&self, bytes: u64) {
        if let Some(word) = self.words.get(CONTENT) {
            word.fetch_add(bytes, Relaxed);
        }
    }

    /// Content has been removed, or is another node's now.
    pub fn give_back(&self, bytes: u64) {
        if let Some(word) = self.words.get(CONTENT) {
            word.fetch_sub(bytes, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) fn space(max_bytes: u64) -> StoreSpace {
        let words = (0..StoreSpace::WORDS).map(|_| AtomicU64::new(0));
        StoreSpace::new(Box::leak(words.collect()), max_bytes)
    }

    #[test]
    fn database_and_content_share_what_is_not_reserved() {
        let space = space(1_000);
        assert_eq!(space.left(), 900);
        space.set_database(500);
        assert!(space.take(300) && !space.take(101) && space.take(100));
        assert_eq!((space.bytes(), space.left()), (900, 0));
        assert_eq!(space.has_room(1), Err(NoSpace::Full));
        space.give_back(400);
        assert_eq!(
            (space.has_room(399), space.has_room(400)),
            (Ok(()), Err(NoSpace::Full))
        );
        space.set_down(true);
        assert_eq!(space.has_room(0), Err(NoSpace::Down));
    }
}
