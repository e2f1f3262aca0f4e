//! TLS handshakes, calculated on threads of their own: one signature with an RSA key takes about a
//! millisecond, and a crowd of peers that connect at once must not hold up content on its way.
//!
//! The sockets stay with the relay thread. It reads what a peer has sent, hands out the TLS state
//! of the connection for one [`Step`], and gets it back as an input. So no thread ever waits for a
//! peer, and a connection that is closed meanwhile is closed at once.

use std::collections::BTreeSet;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};

use rustls::Error;

use super::input::{Input, InputSender};
use super::tls::{Step, Stepped};
use crate::msrp_session::ConnectionId;
use crate::threads;

/// Threads that calculate handshakes.
const HANDSHAKE_THREADS: usize = 2;
/// Steps handed out at once: each thread has its next one at hand. All others wait with the relay
/// thread, which forgets those of closed connections.
const STEPS_AT_ONCE: usize = 2 * HANDSHAKE_THREADS;

/// The relay thread's hold on the handshake threads, which end when this is dropped.
pub(super) struct Handshakes {
    steps: Sender<(ConnectionId, Step)>,
    /// Connections with a step to be taken, oldest first: whoever has begun is done first.
    waiting: BTreeSet<ConnectionId>,
    handed_out: usize,
}

impl Handshakes {
    /// Starts the threads. Each step's result becomes an input.
    pub(super) fn start(results: &InputSender) -> io::Result<Self> {
        let (steps, receiver) = mpsc::channel();
        let receiver = Arc::new(Mutex::new(receiver));
        for _ in 0..HANDSHAKE_THREADS {
            let (receiver, results) = (Arc::clone(&receiver), results.clone());
            threads::spawn("cpm-handshake", move || take_steps(&receiver, &results))?;
        }
        Ok(Self {
            steps,
            waiting: BTreeSet::new(),
            handed_out: 0,
        })
    }

    /// This connection has a step to be taken.
    pub(super) fn want(&mut self, id: ConnectionId) {
        self.waiting.insert(id);
    }

    /// The connection is gone.
    pub(super) fn forget(&mut self, id: ConnectionId) {
        self.waiting.remove(&id);
    }

    /// The next connection whose step can be [handed out](Self::hand_out) now.
    pub(super) fn next(&mut self) -> Option<ConnectionId> {
        match self.handed_out < STEPS_AT_ONCE {
            true => self.waiting.pop_first(),
            false => None,
        }
    }

    pub(super) fn hand_out(&mut self, id: ConnectionId, step: Step) {
        // The threads live as long as this sender.
        self.handed_out += usize::from(self.steps.send((id, step)).is_ok());
    }

    /// A result has arrived.
    pub(super) fn note_result(&mut self) {
        self.handed_out = self.handed_out.saturating_sub(1);
    }
}

fn take_steps(steps: &Mutex<Receiver<(ConnectionId, Step)>>, results: &InputSender) {
    loop {
        // Whoever waits for a step holds the lock; the others wait for it. Nothing in here panics.
        let next = steps.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((id, step)) = next else { return };
        let stepped = catch_unwind(AssertUnwindSafe(|| step.take()));
        let stepped = stepped.unwrap_or_else(|_| Stepped {
            tls: None,
            result: Err(Error::General("internal error".to_owned())),
        });
        results.send(Input::Handshake(id, stepped));
    }
}

#[cfg(test)]
mod tests {
    use mio::{Poll, Token, Waker};

    use super::super::input::input_queue;
    use super::super::tls::Tls;
    use super::*;

    fn step() -> Step {
        Step::Begin(Tls::load(None).unwrap().begin("no host name", None))
    }

    #[test]
    fn as_many_are_handed_out_as_threads_can_take_and_the_closed_are_forgotten() {
        let poll = Poll::new().unwrap();
        let (results, inputs) = input_queue(Waker::new(poll.registry(), Token(0)).unwrap());
        let mut handshakes = Handshakes::start(&results).unwrap();
        let ids = || (0..100).map(ConnectionId);
        for id in ids().rev() {
            handshakes.want(id);
            handshakes.want(id);
        }
        handshakes.forget(ConnectionId(1));
        let mut order = Vec::new();
        let mut arrived = 0;
        while arrived < 99 {
            while let Some(id) = handshakes.next() {
                handshakes.hand_out(id, step());
                order.push(id);
            }
            assert!(order.len() - arrived <= STEPS_AT_ONCE);
            match inputs.next() {
                Some(Input::Handshake(_, stepped)) => {
                    assert!(stepped.tls.is_none() && stepped.result.is_err());
                    handshakes.note_result();
                    arrived += 1;
                }
                Some(other) => panic!("{other:?}"),
                None => std::thread::yield_now(),
            }
        }
        let expected: Vec<_> = ids().filter(|id| id.0 != 1).collect();
        assert_eq!(order, expected);
    }
}
