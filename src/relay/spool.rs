//! Files with content, and the threads that read and write them.
//!
//! A spool file is created at the first write and has no name: it disappears with its last handle,
//! whatever happens to the process. Content of the store gets a name once it is whole. The relay
//! thread accounts for the space.

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
use crate::shared::StoreSpace;
use crate::store::{ContentFolder, NewContent};
use crate::threads;

/// The file of one session; when dropped, it is closed once its thread has finished with it.
#[derive(Debug, Clone, Default)]
pub(super) struct SpoolFile {
    file: Arc<OnceCell<Opened>>,
    /// That of the content in the store, if it is there already.
    name: Option<String>,
}

impl SpoolFile {
    /// Content in the store.
    pub(super) fn stored(name: String) -> Self {
        SpoolFile {
            name: Some(name),
            ..SpoolFile::default()
        }
    }
}

#[derive(Debug)]
enum Opened {
    File(File),
    New(NewContent),
}

impl Opened {
    fn file(&self) -> &File {
        match self {
            Opened::File(file) => file,
            Opened::New(content) => content.file(),
        }
    }
}

/// Where the files of a thread are.
#[derive(Debug)]
pub(super) enum Folder {
    /// Content that exceeds the memory.
    Spool(PathBuf),
    /// Content that is kept.
    Store(ContentFolder),
}

#[derive(Debug)]
pub(super) enum SpoolJob {
    Write {
        offset: u64,
        pieces: Vec<Bytes>,
    },
    Read {
        offset: u64,
        len: usize,
    },
    /// The content is whole: it is to be on disk under this name.
    Name(String),
    /// The content of this name is not needed.
    Remove(String),
}

impl SpoolJob {
    /// The result to report if the job fails, with the reason.
    fn failed(&self) -> impl FnOnce(String) -> SpoolDone + use<> {
        enum Kind {
            Write(u64),
            Read(u64),
            Name,
        }
        let kind = match self {
            SpoolJob::Write { pieces, .. } => {
                Kind::Write(pieces.iter().map(|piece| piece.len() as u64).sum())
            }
            SpoolJob::Read { offset, .. } => Kind::Read(*offset),
            SpoolJob::Name(_) | SpoolJob::Remove(_) => Kind::Name,
        };
        move |why| match kind {
            Kind::Write(bytes) => SpoolDone::NotWritten { bytes, why },
            Kind::Read(offset) => SpoolDone::NotRead { offset, why },
            Kind::Name => SpoolDone::NotNamed { why },
        }
    }
}

/// The relay thread's handle of a thread with files, which ends when this is dropped.
#[derive(Debug)]
pub(super) struct Spool {
    jobs: Sender<(SessionId, SpoolFile, SpoolJob)>,
}

/// The store as the relay has it.
pub(super) struct ContentStore {
    pub(super) thread: Spool,
    pub(super) space: StoreSpace,
}

impl Spool {
    pub(super) fn start(name: &str, folder: Folder, results: InputSender) -> io::Result<Self> {
        let (jobs, receiver) = mpsc::channel::<(SessionId, SpoolFile, SpoolJob)>();
        threads::spawn(name, move || {
            while let Ok((session, file, job)) = receiver.recv() {
                let failed = job.failed();
                let done = catch_unwind(AssertUnwindSafe(|| carry_out(&folder, &file, job)));
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

fn carry_out(folder: &Folder, file: &SpoolFile, job: SpoolJob) -> io::Result<SpoolDone> {
    if let (Folder::Store(folder), SpoolJob::Remove(name)) = (folder, &job) {
        folder.remove(name)?;
        return Ok(SpoolDone::Removed);
    }
    let opened = file
        .file
        .get_or_try_init(|| open(folder, file.name.as_deref()))?;
    let file = opened.file();
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
        SpoolJob::Name(name) => match (folder, opened) {
            (Folder::Store(folder), Opened::New(content)) => {
                folder.name(content, &name)?;
                Ok(SpoolDone::Named)
            }
            _ => Err(io::ErrorKind::InvalidInput.into()),
        },
        SpoolJob::Remove(_) => Ok(SpoolDone::Removed),
    }
}

fn open(folder: &Folder, name: Option<&str>) -> io::Result<Opened> {
    match (folder, name) {
        (Folder::Spool(dir), _) => create_unnamed(dir).map(Opened::File),
        (Folder::Store(folder), None) => folder.create().map(Opened::New),
        (Folder::Store(folder), Some(name)) => folder.open(name).map(Opened::File),
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
