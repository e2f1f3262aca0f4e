//! Requests whose next hop is a name: they wait in CPM fan-out until it has been looked up, each by
//! itself. If a name is dead, only its own requests fail. A request whose name is known may have to
//! wait for memory in the proxy.

use std::collections::{HashMap, VecDeque};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;

use bytes::Bytes;

use super::letter::{Letter, Waiting, What};
use super::lookup::{Located, Lookup};
use super::outgoing::Outgoing;
use crate::names::{Hop, NameTag, Place};

/// Maximum number of waiting requests, of those of one sender, and of their bytes.
const MAX_WAITING: usize = 8192;
const MAX_WAITING_OF_ONE: usize = MAX_WAITING / 4;
const MAX_WAITING_BYTES: usize = 64 * 1024 * 1024;

/// How long a MESSAGE waits for its name and then for memory. Its sender gives up after 32 s (RFC
/// 3261 timer F), but has its 202.
const MESSAGE_MS: u64 = 25_000;
/// How long a request of a session waits, which gives up soon after this, and a forwarded
/// notification.
const OTHER_MS: u64 = 8_000;

impl Waiting {
    fn sender(&self) -> &str {
        match &self.what {
            What::Request(request) => &request.from,
            What::Forward { .. } => "",
        }
    }

    fn size(&self) -> usize {
        self.hop.len()
            + match &self.what {
                What::Request(request) => request.size(),
                What::Forward { request_uri, .. } => request_uri.len(),
            }
    }

    fn patience_ms(&self) -> u64 {
        match &self.what {
            What::Request(request) if request.outgoing().method == "MESSAGE" => MESSAGE_MS,
            _ => OTHER_MS,
        }
    }
}

/// A waiting request, and the targets of its name.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) waiting: Waiting,
    pub(super) deadline_ms: u64,
    /// Empty: the name has no address.
    pub(super) places: Vec<Place>,
    pub(super) name: Option<NameTag>,
}

/// All waiting requests.
#[derive(Debug)]
pub(super) struct WaitingRoom {
    lookup: Lookup,
    entries: HashMap<u64, Entry>,
    next: u64,
    bytes: usize,
    of_sender: HashMap<String, usize>,
    /// Those whose name is known and that wait for memory.
    for_room: VecDeque<u64>,
}

impl WaitingRoom {
    pub(super) fn new(lookup: Lookup) -> Self {
        WaitingRoom {
            lookup,
            entries: HashMap::new(),
            next: 0,
            bytes: 0,
            of_sender: HashMap::new(),
            for_room: VecDeque::new(),
        }
    }

    /// What becomes readable then, for others too.
    pub(super) fn signal(&self) -> Arc<OwnedFd> {
        self.lookup.signal()
    }

    /// Readable while a name has been found.
    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.lookup.as_fd()
    }

    /// Whether another request can wait.
    pub(super) fn has_place(&self, outgoing: &Outgoing<'_>) -> bool {
        self.has_place_for(
            outgoing.from,
            outgoing.headers.all().len() + outgoing.body.len(),
        )
    }

    fn has_place_for(&self, sender: &str, bytes: usize) -> bool {
        let own = self.of_sender.get(sender).copied().unwrap_or(0);
        self.entries.len() < MAX_WAITING
            && own < MAX_WAITING_OF_ONE
            && self.bytes + bytes <= MAX_WAITING_BYTES
    }

    /// Takes a letter written for another process, in this one.
    pub(super) fn take_letter(&mut self, letter: Vec<u8>, now_ms: u64) -> bool {
        match Letter::read(Bytes::from(letter)) {
            Some(Letter::Waiting(waiting)) => self.take(waiting, now_ms).is_ok(),
            _ => false,
        }
    }

    /// Makes a request wait for its name.
    ///
    /// # Errors
    ///
    /// The request, and why it cannot wait.
    pub(super) fn take(
        &mut self,
        waiting: Box<Waiting>,
        now_ms: u64,
    ) -> Result<(), (Box<Waiting>, &'static str)> {
        // Nothing else would ever end its wait.
        let Hop::Named(target) = Hop::of_text(&waiting.hop) else {
            return Err((waiting, "its next hop has no name to look up"));
        };
        let size = waiting.size();
        if !self.has_place_for(waiting.sender(), size) {
            return Err((waiting, "too many requests are waiting"));
        }
        let ticket = self.next;
        self.next += 1;
        self.bytes += size;
        *self
            .of_sender
            .entry(waiting.sender().to_owned())
            .or_default() += 1;
        self.lookup.ask(target, ticket);
        let entry = Entry {
            deadline_ms: now_ms + waiting.patience_ms(),
            waiting: *waiting,
            places: Vec::new(),
            name: None,
        };
        self.entries.insert(ticket, entry);
        Ok(())
    }

    /// The number of requests that wait for memory.
    pub(super) fn for_room(&self) -> usize {
        self.for_room.len()
    }

    /// The next one to try: each of those that wait for memory once (`left` counts them), then
    /// those whose name was found.
    pub(super) fn next(&mut self, left: &mut usize, names: &mut usize) -> Option<(u64, Entry)> {
        while *left > 0 {
            *left -= 1;
            let ticket = self.for_room.pop_front()?;
            if let Some(entry) = self.entries.remove(&ticket) {
                return Some((ticket, entry));
            }
        }
        while *names > 0 {
            *names -= 1;
            let Located {
                ticket,
                places,
                name,
            } = self.lookup.poll()?;
            if let Some(entry) = self.entries.remove(&ticket) {
                return Some((
                    ticket,
                    Entry {
                        places,
                        name,
                        ..entry
                    },
                ));
            }
        }
        None
    }

    /// It continues to wait for memory.
    pub(super) fn put_back(&mut self, ticket: u64, entry: Entry) {
        self.entries.insert(ticket, entry);
        self.for_room.push_back(ticket);
    }

    /// It no longer waits.
    pub(super) fn leave(&mut self, entry: &Entry) {
        self.bytes -= entry.waiting.size();
        let sender = entry.waiting.sender();
        if let Some(own) = self.of_sender.get_mut(sender) {
            *own -= 1;
            if *own == 0 {
                self.of_sender.remove(sender);
            }
        }
    }
}
