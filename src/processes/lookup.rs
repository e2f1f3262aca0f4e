//! Looks up names for waiting requests, on the thread that all look-ups of a process share.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};

use rustix::event::{EventfdFlags, eventfd};

use super::way::known;
use crate::names::{Found, Known, NameTag, NameThread, Names, Place, Target};

/// Look-ups in progress.
#[derive(Debug)]
pub(super) struct Lookup {
    names: Names,
    thread: NameThread<u64>,
    found: Receiver<Found<u64>>,
    /// Tickets with the same result.
    rest: Option<Found<u64>>,
    signal: Arc<OwnedFd>,
}

/// Result for a ticket.
#[derive(Debug)]
pub(super) struct Located {
    pub(super) ticket: u64,
    /// Empty: the name has no address.
    pub(super) places: Vec<Place>,
    pub(super) name: Option<NameTag>,
}

impl Lookup {
    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// No more threads or descriptors are available.
    pub(super) fn start(names: &Names) -> io::Result<Self> {
        let signal = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let (sender, found) = channel();
        let raise = Arc::clone(&signal);
        let thread = NameThread::start(names.clone(), move |found: Found<u64>| {
            // Without a receiver nobody needs it; a full counter is already readable.
            if sender.send(found).is_ok() {
                let _ = rustix::io::write(&raise, &1_u64.to_ne_bytes());
            }
        })?;
        Ok(Lookup {
            names: names.clone(),
            thread,
            found,
            rest: None,
            signal,
        })
    }

    /// What becomes readable when there is something found, for others who have something to say to
    /// this process. It is read before the last look for names: they look behind that.
    pub(super) fn signal(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.signal)
    }

    /// Readable while there are results.
    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.signal.as_fd()
    }

    /// Looks up a name. Never blocks; there is always a result, possibly without address.
    pub(super) fn ask(&self, target: Target, ticket: u64) {
        self.thread.ask(target, ticket);
    }

    /// The next result.
    pub(super) fn poll(&mut self) -> Option<Located> {
        if let Some(located) = self.next() {
            return Some(located);
        }
        // Before the last check: a later result makes it readable again.
        let mut count = [0; 8];
        let _ = rustix::io::read(&self.signal, &mut count);
        self.next()
    }

    fn next(&mut self) -> Option<Located> {
        let mut found = match self.rest.take() {
            Some(found) => found,
            None => self.found.try_recv().ok()?,
        };
        let ticket = found.waiting.pop()?;
        let name = match known(&self.names, &found.target) {
            Some(Known::Places(_, name)) => Some(name),
            _ => None,
        };
        let places = found.places.clone();
        self.rest = (!found.waiting.is_empty()).then_some(found);
        Some(Located {
            ticket,
            places,
            name,
        })
    }
}
