//! Inputs of the relay thread from other threads, in order.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};

use bytes::Bytes;
use mio::Waker;

use super::error::RelayError;
#[cfg(test)]
use super::tls::Step;
use super::tls::{Stepped, Tls};
use crate::msrp_control::{RelayCommand, SessionId, Side};
use crate::msrp_session::ConnectionId;

#[derive(Debug)]
pub(super) enum Input {
    Command(SessionId, RelayCommand),
    Forget(SessionId),
    /// The spool has finished a job for a session.
    Spool(SessionId, SpoolDone),
    /// The addresses of a host that an end of a session is to connect to; empty if it has none.
    Resolved(SessionId, Side, Vec<SocketAddr>),
    /// A step of a connection's TLS handshake has been taken.
    Handshake(ConnectionId, Stepped),
    /// Another certificate, for connections from now on; or why it cannot be used.
    Certificate(Result<Box<Tls>, RelayError>),
    Stop,
    /// For tests: an internal error, while working for a session or for none.
    #[cfg(test)]
    Panic(Option<SessionId>),
    /// For tests: a step of no connection.
    #[cfg(test)]
    Slow(Step),
    /// For tests: how many deadlines are armed.
    #[cfg(test)]
    Timers(Sender<usize>),
}

/// Result of a spool job.
#[derive(Debug)]
pub(super) enum SpoolDone {
    Written,
    /// This many bytes are missing, at least in part.
    NotWritten {
        bytes: u64,
        why: String,
    },
    Read {
        offset: u64,
        content: Bytes,
    },
    NotRead {
        offset: u64,
        why: String,
    },
    /// Content is on disk under its name.
    Named,
    NotNamed {
        why: String,
    },
    /// Content is gone.
    Removed,
}

/// The sending end. It wakes the relay thread only if that has not been woken for an earlier input.
#[derive(Debug, Clone)]
pub(super) struct InputSender {
    sender: Sender<Input>,
    waker: Arc<Waker>,
    awake: Arc<AtomicBool>,
}

/// The relay thread's end.
#[derive(Debug)]
pub(super) struct InputReceiver {
    receiver: Receiver<Input>,
    awake: Arc<AtomicBool>,
}

pub(super) fn input_queue(waker: Waker) -> (InputSender, InputReceiver) {
    let (sender, receiver) = mpsc::channel();
    let awake = Arc::new(AtomicBool::new(false));
    let input_sender = InputSender {
        sender,
        waker: Arc::new(waker),
        awake: Arc::clone(&awake),
    };
    (input_sender, InputReceiver { receiver, awake })
}

impl InputSender {
    pub(super) fn send(&self, input: Input) {
        self.queue(input);
        self.wake();
    }

    /// Without waking the thread: [`wake`](Self::wake) follows.
    pub(super) fn queue(&self, input: Input) {
        // Without a receiver the relay has ended.
        let _ = self.sender.send(input);
    }

    /// Wakes the thread for what has been queued.
    pub(super) fn wake(&self) {
        if !self.awake.swap(true, Ordering::AcqRel) {
            // This fails only for lack of kernel memory; the next input tries again.
            if self.waker.wake().is_err() {
                self.awake.store(false, Ordering::Release);
            }
        }
    }
}

impl InputReceiver {
    /// Must be called before the queue is emptied: later inputs wake the thread again.
    pub(super) fn rearm(&self) {
        // A swap, not a store: a store could become visible only after the queue has been found
        // empty, and a sender in between would see a thread that is awake. With a swap either the
        // sender sees `false` and wakes the thread, or its input is seen.
        self.awake.swap(false, Ordering::AcqRel);
    }

    pub(super) fn next(&self) -> Option<Input> {
        self.receiver.try_recv().ok()
    }
}
