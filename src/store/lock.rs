//! The lock that keeps a second proxy out of a directory.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{OpenOptionsExt as _, fchown};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::error::{Cause, StoreError};
use super::thread::ENDING;

const FILE: &str = "lock";

/// How long a starting proxy waits for processes of the previous one that are about to end: longer
/// than their store may take, and than the process around it. One that was killed amid a sync is
/// there until the disk has answered, which takes seconds where others write a lot.
const PATIENCE: Duration = ENDING.saturating_add(Duration::from_secs(12));
/// Interval between attempts.
const PAUSE: Duration = Duration::from_millis(20);

/// The lock of a directory. It is taken before the fork and so held by all processes: it is free
/// once the last of them has ended, and no process of the previous proxy can still be sending what
/// the next one takes over.
#[derive(Debug)]
pub struct StoreLock(#[expect(dead_code, reason = "the lock ends with the descriptor")] File);

impl StoreLock {
    /// Takes it. `owner`: the user and the group that the proxy changes to.
    ///
    /// # Errors
    /// Another proxy holds it, or its file cannot be created.
    pub fn take(dir: &Path, owner: Option<(u32, u32)>) -> Result<Self, StoreError> {
        Self::take_within(dir, owner, PATIENCE).map_err(|cause| StoreError::of_folder(dir, cause))
    }

    fn take_within(
        dir: &Path,
        owner: Option<(u32, u32)>,
        patience: Duration,
    ) -> Result<Self, Cause> {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(dir.join(FILE))?;
        if let Some((user, group)) = owner {
            fchown(&file, Some(user), Some(group))?;
        }
        let until = Instant::now() + patience;
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(StoreLock(file)),
                Err(Errno::WOULDBLOCK) if Instant::now() < until => std::thread::sleep(PAUSE),
                Err(Errno::WOULDBLOCK) => return Err(Cause::InUse),
                Err(error) => return Err(Cause::Io(error.into())),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_has_one_proxy_at_a_time() {
        let dir = super::super::database::tests::scratch("store-lock");
        let first = StoreLock::take(&dir, None).unwrap();
        let second = StoreLock::take_within(&dir, None, Duration::ZERO);
        assert!(matches!(second, Err(Cause::InUse)));
        drop(first);
        StoreLock::take(&dir, None).unwrap();
        std::fs::remove_dir_all(dir).unwrap();
    }
}
