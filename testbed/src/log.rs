//! The output of a program, kept in memory and in a file. Waiting is by event.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use crate::sys;

/// The output of one program and of its children. It is closed once the last of them has ended.
#[derive(Debug, Clone)]
pub(crate) struct Log(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    text: Vec<u8>,
    closed: bool,
}

impl Log {
    /// Reads a [telling pipe](sys::telling_pipe) to its end in a thread of its own, copying
    /// everything to `file`.
    pub(crate) fn record(pipe: OwnedFd, file: &Path) -> std::io::Result<Self> {
        let mut file = File::create(file)?;
        let log = Self(Arc::default());
        let shared = log.clone();
        thread::spawn(move || {
            let mut buffer = vec![0; 1 << 16];
            let mut lines = Lines::default();
            let mut append = |text: &[u8]| {
                // A full disk must not stop the program under test: the copy in memory remains.
                let _ = file.write_all(text);
                shared.lock().text.extend_from_slice(text);
                shared.0.changed.notify_all();
            };
            while let Ok((length @ 1.., writer)) = sys::read_told(&pipe, &mut buffer) {
                append(&lines.take(writer, &buffer[..length]));
            }
            append(&lines.rest());
            shared.lock().closed = true;
            shared.0.changed.notify_all();
        });
        Ok(log)
    }

    /// Everything written so far.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.lock().text).into_owned()
    }

    /// Waits until `needle` was written. False: the deadline passed or the program ended before.
    pub(crate) fn wait_for(&self, needle: &str, timeout: Duration) -> bool {
        let found = |state: &State| contains(&state.text, needle.as_bytes());
        let waiting = |state: &mut State| !state.closed && !found(state);
        let waited = self
            .0
            .changed
            .wait_timeout_while(self.lock(), timeout, waiting);
        found(&waited.unwrap_or_else(|poisoned| poisoned.into_inner()).0)
    }

    /// Waits until every process that could write has ended. False: the deadline passed.
    pub(crate) fn wait_closed(&self, timeout: Duration) -> bool {
        let waiting = |state: &mut State| !state.closed;
        let waited = self
            .0
            .changed
            .wait_timeout_while(self.lock(), timeout, waiting);
        waited
            .unwrap_or_else(|poisoned| poisoned.into_inner())
            .0
            .closed
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        sys::lock(&self.0.state)
    }
}

/// Keeps the lines of several processes whole. The C library may write unbuffered output in pieces
/// (Debian 13's in pieces of 128 bytes), and other processes may write in between.
#[derive(Debug, Default)]
struct Lines {
    /// The process whose line has begun.
    open: Option<u32>,
    /// The output of other processes meanwhile.
    waiting: VecDeque<(u32, Vec<u8>)>,
}

impl Lines {
    /// The output that is complete now that `writer` has written `text`.
    fn take(&mut self, writer: u32, text: &[u8]) -> Vec<u8> {
        if self.open.is_some_and(|open| open != writer) {
            match self.waiting.iter_mut().find(|(other, _)| *other == writer) {
                Some((_, before)) => before.extend_from_slice(text),
                None => self.waiting.push_back((writer, text.to_vec())),
            }
            return Vec::new();
        }
        let mut shown = text.to_vec();
        self.open = (!text.ends_with(b"\n")).then_some(writer);
        while self.open.is_none()
            && let Some((writer, text)) = self.waiting.pop_front()
        {
            shown.extend_from_slice(&text);
            self.open = (!text.ends_with(b"\n")).then_some(writer);
        }
        shown
    }

    /// The rest, once no process writes any more.
    fn rest(&mut self) -> Vec<u8> {
        self.waiting.drain(..).flat_map(|(_, text)| text).collect()
    }
}

pub(crate) fn contains(text: &[u8], needle: &[u8]) -> bool {
    text.windows(needle.len()).any(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_written_in_pieces_stay_whole() {
        let mut lines = Lines::default();
        assert_eq!(lines.take(1, b"one "), b"one ");
        assert_eq!(lines.take(2, b"two "), b"");
        assert_eq!(lines.take(3, b"three\n"), b"");
        assert_eq!(lines.take(2, b"2\n"), b"");
        assert_eq!(lines.take(1, b"1\n"), b"1\ntwo 2\nthree\n");
        assert_eq!(lines.take(2, b"again"), b"again");
        assert_eq!(lines.take(1, b"lost"), b"");
        assert_eq!(lines.rest(), b"lost");
    }
}
