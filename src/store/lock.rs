//! One proxy for one directory.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{OpenOptionsExt as _, fchown};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::error::{Cause, StoreError};

const FILE: &str = "lock";

/// How long a proxy waits for the processes of the one before, which may be about to end.
const PATIENCE: Duration = Duration::from_secs(3);
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(20);

/// The right to a directory. Taken before the fork, all processes hold it: it is free once the last
/// of them has ended, so that nothing of the proxy before still sends what the next one takes over.
#[derive(Debug)]
pub struct StoreLock(#[expect(dead_code, reason = "the lock ends with the descriptor")] File);

impl StoreLock {
    /// Takes it. `owner`: the user and the group that the proxy changes to.
    ///
    /// # Errors
    /// Another proxy has it, or there is no file to be made.
    pub fn take(dir: &Path, owner: Option<(u32, u32)>) -> Result<Self, StoreError> {
        Self::take_within(dir, owner, PATIENCE).map_err(|cause| StoreError::new(dir, cause))
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
