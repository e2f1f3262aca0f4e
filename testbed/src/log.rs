//! What a program writes, kept in memory and in a file, with waiting by event.

use std::fs::File;
use std::io::{PipeReader, Read, Write};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

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
    /// Reads `pipe` to its end in a thread of its own, copying everything to `file`.
    pub(crate) fn record(mut pipe: PipeReader, file: &Path) -> std::io::Result<Self> {
        let mut file = File::create(file)?;
        let log = Self(Arc::default());
        let shared = log.clone();
        thread::spawn(move || {
            let mut buffer = [0; 8192];
            while let Ok(length @ 1..) = pipe.read(&mut buffer) {
                // A full disk must not stop the program under test: the copy in memory stays.
                let _ = file.write_all(&buffer[..length]);
                shared.lock().text.extend_from_slice(&buffer[..length]);
                shared.0.changed.notify_all();
            }
            shared.lock().closed = true;
            shared.0.changed.notify_all();
        });
        Ok(log)
    }

    /// Everything written so far.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.lock().text).into_owned()
    }

    /// Waits until `needle` was written. False: the deadline passed or the program ended without.
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
        self.0
            .state
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

pub(crate) fn contains(text: &[u8], needle: &[u8]) -> bool {
    text.windows(needle.len()).any(|window| window == needle)
}
