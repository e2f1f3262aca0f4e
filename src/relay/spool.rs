//! Spool files, and the thread that reads and writes them.
//!
//! One file for each session that needs one, created at the first write and without a name: it
//! disappears with its last handle, whatever happens to the process. The relay thread accounts for
//! the quota of each session.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, Sender};

use bytes::Bytes;
use once_cell::sync::OnceCell;

use super::input::{Input, InputSender, SpoolDone};
use crate::msrp_control::SessionId;
use crate::random::try_fill_random;
use crate::threads;

/// The spool file of one session; when dropped, it is deleted once the spool thread has finished
/// with it.
#[derive(Debug, Clone, Default)]
pub(super) struct SpoolFile(Arc<OnceCell<File>>);

#[derive(Debug)]
pub(super) enum SpoolJob {
    Write { offset: u64, pieces: Vec<Bytes> },
    Read { offset: u64, len: usize },
}

impl SpoolJob {
    /// The result to report if the job fails, with the reason.
    fn failed(&self) -> impl FnOnce(String) -> SpoolDone + use<> {
        let (is_write, offset, bytes) = match self {
            SpoolJob::Write { offset, pieces } => {
                (true, *offset, pieces.iter().map(Bytes::len).sum::<usize>())
            }
            SpoolJob::Read { offset, len } => (false, *offset, *len),
        };
        move |why| match is_write {
            true => SpoolDone::NotWritten {
                bytes: bytes as u64,
                why,
            },
            false => SpoolDone::NotRead { offset, why },
        }
    }
}

/// The relay thread's handle of the spool thread, which ends when this is dropped.
#[derive(Debug)]
pub(super) struct Spool {
    jobs: Sender<(SessionId, SpoolFile, SpoolJob)>,
}

impl Spool {
    pub(super) fn start(dir: PathBuf, results: InputSender) -> io::Result<Self> {
        let (jobs, receiver) = mpsc::channel::<(SessionId, SpoolFile, SpoolJob)>();
        threads::spawn("cpm-spool", move || {
            while let Ok((session, file, job)) = receiver.recv() {
                let failed = job.failed();
                let done = catch_unwind(AssertUnwindSafe(|| carry_out(&dir, &file, job)));
                let done = done.unwrap_or_else(|_| Err(io::Error::other("panic")));
                // The file is released before the result, so that it is gone when the result
                // arrives.
                drop(file);
                let done = done.unwrap_or_else(|error| failed(error.to_string()));
                results.send(Input::Spool(session, done));
            }
        })?;
        Ok(Self { jobs })
    }

    pub(super) fn submit(&self, session: SessionId, file: &SpoolFile, job: SpoolJob) {
        // The thread lives as long as this sender.
        let _ = self.jobs.send((session, file.clone(), job));
    }
}

fn carry_out(dir: &Path, file: &SpoolFile, job: SpoolJob) -> io::Result<SpoolDone> {
    let file = file.0.get_or_try_init(|| create_unnamed(dir))?;
    match job {
        SpoolJob::Write { mut offset, pieces } => {
            for piece in pieces {
                file.write_all_at(&piece, offset)?;
                offset += piece.len() as u64;
            }
            Ok(SpoolDone::Written)
        }
        SpoolJob::Read { offset, len } => {
            let mut content = vec![0; len];
            file.read_exact_at(&mut content, offset)?;
            Ok(SpoolDone::Read {
                offset,
                content: Bytes::from(content),
            })
        }
    }
}

/// A file that nobody else can open, and that disappears with its handle.
fn create_unnamed(dir: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    // If the file system supports files without a name, a crash can never leave one behind. O_EXCL:
    // it never gets a name.
    let unnamed = libc::O_TMPFILE | libc::O_EXCL;
    if let Ok(file) = options.clone().custom_flags(unnamed).open(dir) {
        return Ok(file);
    }
    let mut random = [0; 8];
    try_fill_random(&mut random)?;
    let path = dir.join(format!("cpm-spool-{:016x}", u64::from_ne_bytes(random)));
    let file = options.create_new(true).open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}
