//! Events from the relay's threads to the main thread, which never waits for them.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, eventfd};

use crate::log::{LogAt, at};
use crate::msrp_control::{MsrpEvent, SessionId};
use crate::sdp::Fingerprint;

/// An event of the relay.
#[derive(Debug)]
pub enum RelayEvent {
    /// An event of a session.
    Session(SessionId, MsrpEvent),
    /// Another certificate is in use, with this fingerprint.
    Certificate(Option<Fingerprint>),
    /// A line for the log.
    Log(LogAt, String),
}

/// Maximum number of log lines that peers can cause, in each [`LOG_WINDOW`].
const LOG_LINES: u32 = 20;
const LOG_WINDOW: Duration = Duration::from_secs(10);

/// The relay thread's end.
#[derive(Debug)]
pub(super) struct EventSender {
    sender: Sender<RelayEvent>,
    signal: Arc<OwnedFd>,
    /// There are events for which the main thread has not been woken.
    unsaid: bool,
    window: Option<Instant>,
    lines: u32,
    suppressed: u32,
}

/// The main thread's end.
#[derive(Debug)]
pub(super) struct EventReceiver {
    receiver: Receiver<RelayEvent>,
    signal: Arc<OwnedFd>,
}

pub(super) fn event_queue() -> io::Result<(EventSender, EventReceiver)> {
    let signal = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
    let (sender, receiver) = mpsc::channel();
    let event_sender = EventSender {
        sender,
        signal: Arc::clone(&signal),
        unsaid: false,
        window: None,
        lines: 0,
        suppressed: 0,
    };
    Ok((event_sender, EventReceiver { receiver, signal }))
}

impl EventSender {
    pub(super) fn session(&mut self, session: SessionId, event: MsrpEvent) {
        self.push(RelayEvent::Session(session, event));
    }

    pub(super) fn certificate(&mut self, fingerprint: Option<Fingerprint>) {
        self.push(RelayEvent::Certificate(fingerprint));
    }

    pub(super) fn log(&mut self, at: LogAt, line: fmt::Arguments<'_>) {
        self.push(RelayEvent::Log(at, line.to_string()));
    }

    /// A log line that a peer can cause as often as it likes.
    pub(super) fn log_peer(&mut self, at: LogAt, now: Instant, line: fmt::Arguments<'_>) {
        if self.window.is_none_or(|start| now >= start + LOG_WINDOW) {
            let suppressed = std::mem::take(&mut self.suppressed);
            if suppressed > 0 {
                let line = format_args!("MSRP: {suppressed} more similar lines");
                self.log(at!(Notice), line);
            }
            self.window = Some(now);
            self.lines = 0;
        }
        if self.lines == LOG_LINES {
            self.suppressed += 1;
            return;
        }
        self.lines += 1;
        self.log(at, line);
    }

    /// Wakes the main thread if there is anything new.
    pub(super) fn flush(&mut self) {
        if std::mem::take(&mut self.unsaid) {
            // This fails only if the counter is full, and then the descriptor is readable anyway.
            let _ = rustix::io::write(&self.signal, &1u64.to_ne_bytes());
        }
    }

    fn push(&mut self, event: RelayEvent) {
        // After the relay has been stopped there is no receiver.
        self.unsaid |= self.sender.send(event).is_ok();
    }
}

impl EventReceiver {
    pub(super) fn poll(&mut self) -> Option<RelayEvent> {
        if let Ok(event) = self.receiver.try_recv() {
            return Some(event);
        }
        // An event that is sent after this has its own signal; one that was sent just before is
        // received below.
        let _ = rustix::io::read(&self.signal, &mut [0; 8]);
        self.receiver.try_recv().ok()
    }

    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.signal.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{PollFd, PollFlags, poll};

    fn readable(receiver: &EventReceiver) -> bool {
        let mut fds = [PollFd::from_borrowed_fd(receiver.as_fd(), PollFlags::IN)];
        let zero = rustix::event::Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        poll(&mut fds, Some(&zero)).unwrap() == 1
    }

    #[test]
    fn readable_while_events_wait() {
        let (mut sender, mut receiver) = event_queue().unwrap();
        assert!(!readable(&receiver));
        let session = SessionId::parse(&"01".repeat(16)).unwrap();
        sender.session(session, MsrpEvent::SenderConnected);
        sender.session(session, MsrpEvent::MessageComplete);
        sender.flush();
        assert!(readable(&receiver) && receiver.poll().is_some() && readable(&receiver));
        assert!(receiver.poll().is_some() && receiver.poll().is_none());
        assert!(!readable(&receiver));
    }

    #[test]
    fn lines_of_peers_are_limited() {
        let (mut sender, mut receiver) = event_queue().unwrap();
        let start = Instant::now();
        for _ in 0..LOG_LINES + 7 {
            sender.log_peer(at!(Notice), start, format_args!("x"));
        }
        sender.log_peer(at!(Notice), start + LOG_WINDOW, format_args!("y"));
        let lines: Vec<String> = std::iter::from_fn(|| receiver.poll())
            .map(|event| match event {
                RelayEvent::Log(_, line) => line,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(lines.len(), LOG_LINES as usize + 2);
        assert!(lines[LOG_LINES as usize].contains("7 more"));
    }
}
