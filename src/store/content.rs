//! The content of large messages: one file for each, beside the database, or in a folder of the
//! operator's where several nodes share the store.
//!
//! A file has no name while its message arrives, so that a crash leaves nothing behind. It gets its
//! name, and is on disk under it, before its message is entered in the database; it is removed
//! after its message has left it. What is in between when the machine stops is swept away at the
//! next start; in a folder that other nodes may use at that moment, once it is older than any
//! message.

use std::collections::HashSet;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::{AtFlags, CWD, linkat};

use super::error::StoreError;
use crate::random::try_fill_random;

const FOLDER: &str = "content";

/// Bytes of a file's name.
const MAX_NAME: usize = 64;

/// How much older than any message a file of several nodes is before it is swept away: their
/// clocks may differ.
const CERTAINLY_OLD: Duration = Duration::from_secs(24 * 3600);

/// The folder of these files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContentFolder(PathBuf);

/// A file that has no name in the folder yet.
#[derive(Debug)]
pub struct NewContent {
    file: File,
    /// Its name for the time being, on a file system that knows no files without a name.
    part: Option<PathBuf>,
}

impl NewContent {
    /// The file.
    pub fn file(&self) -> &File {
        &self.file
    }
}

impl Drop for NewContent {
    fn drop(&mut self) {
        if let Some(part) = &self.part {
            // It may have its name by now.
            let _ = fs::remove_file(part);
        }
    }
}

impl ContentFolder {
    /// That of the store in this directory.
    pub fn of_store(dir: &Path) -> Self {
        ContentFolder(dir.join(FOLDER))
    }

    /// A folder that is there, for content in a store that several nodes share. Other nodes may
    /// use it too.
    pub fn of_nodes(dir: &Path) -> Self {
        ContentFolder(dir.to_owned())
    }

    /// Removes the files that no message of any node can need, as messages are of use for at most
    /// so long.
    ///
    /// # Errors
    /// The folder cannot be used.
    pub fn sweep(&self, longest: Duration) -> Result<(), StoreError> {
        self.try_sweep(longest + CERTAINLY_OLD)
            .map_err(|error| StoreError::of_folder(&self.0, error))
    }

    fn try_sweep(&self, age: Duration) -> io::Result<()> {
        let Some(before) = SystemTime::now().checked_sub(age) else {
            return Ok(());
        };
        for entry in fs::read_dir(&self.0)? {
            let entry = entry?;
            let is_old = |found: fs::Metadata| found.modified().is_ok_and(|time| time < before);
            // Another node may have been faster.
            if entry.metadata().is_ok_and(is_old) {
                let _ = fs::remove_file(entry.path());
            }
        }
        Ok(())
    }

    /// Makes the folder, and removes all files but these. `owner`: the user and group that the
    /// proxy changes to.
    ///
    /// # Errors
    /// The folder cannot be used.
    pub fn prepare(
        &self,
        known: &HashSet<String>,
        owner: Option<(u32, u32)>,
    ) -> Result<(), StoreError> {
        self.try_prepare(known, owner)
            .map_err(|error| StoreError::of_folder(&self.0, error))
    }

    fn try_prepare(&self, known: &HashSet<String>, owner: Option<(u32, u32)>) -> io::Result<()> {
        match DirBuilder::new().mode(0o700).create(&self.0) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        if let Some((user, group)) = owner {
            chown(&self.0, Some(user), Some(group))?;
        }
        // Its name outlives a loss of power, as those in it do.
        if let Some(parent) = self.0.parent() {
            File::open(parent)?.sync_all()?;
        }
        for entry in fs::read_dir(&self.0)? {
            let entry = entry?;
            let is_known = |name: &str| known.contains(name);
            if !entry.file_name().to_str().is_some_and(is_known) {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    /// A new file without a name.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn create(&self) -> io::Result<NewContent> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).mode(0o600);
        let nameless = options.clone().custom_flags(libc::O_TMPFILE).open(&self.0);
        if let Ok(file) = nameless {
            return Ok(NewContent { file, part: None });
        }
        let mut random = [0; 8];
        try_fill_random(&mut random)?;
        let name = format!("{:016x}.part", u64::from_ne_bytes(random));
        let part = self.0.join(name);
        let file = options.create_new(true).open(&part)?;
        Ok(NewContent {
            file,
            part: Some(part),
        })
    }

    /// Gives a file its name. When this returns, content and name are on disk.
    ///
    /// # Errors
    /// They are not.
    pub fn name(&self, content: &NewContent, name: &str) -> io::Result<()> {
        content.file.sync_data()?;
        let path = self.0.join(name);
        match &content.part {
            None => {
                let nameless = format!("/proc/self/fd/{}", content.file.as_raw_fd());
                linkat(CWD, nameless, CWD, &path, AtFlags::SYMLINK_FOLLOW)?;
            }
            Some(part) => fs::rename(part, &path)?,
        }
        File::open(&self.0)?.sync_all()
    }

    /// Whether a file is there to be read.
    pub fn has(&self, name: &str) -> bool {
        is_name(name) && self.open(name).is_ok()
    }

    /// Opens a file for reading.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn open(&self, name: &str) -> io::Result<File> {
        File::open(self.0.join(name))
    }

    /// Removes a file, if it is there.
    ///
    /// # Errors
    /// It is there still.
    pub fn remove(&self, name: &str) -> io::Result<()> {
        match fs::remove_file(self.0.join(name)) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// Whether this is the name of a file in such a folder: a server may say anything.
pub(super) fn is_name(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{FileExt as _, PermissionsExt as _};

    use super::*;
    use crate::test_folder::scratch;

    fn names(folder: &ContentFolder) -> Vec<String> {
        let entries = fs::read_dir(&folder.0).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn content_has_a_name_once_it_is_whole_and_unknown_files_go() {
        let dir = scratch("store-content");
        let folder = ContentFolder::of_store(&dir);
        folder.prepare(&HashSet::new(), None).unwrap();
        let mode = fs::metadata(&folder.0).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        let (first, second) = (folder.create().unwrap(), folder.create().unwrap());
        first.file().write_all_at(b"Hello", 0).unwrap();
        folder.name(&first, "first").unwrap();
        folder.name(&second, "second").unwrap();
        drop((first, second));
        assert_eq!(fs::read(folder.0.join("first")).unwrap(), b"Hello");
        let other = folder.create().unwrap();
        folder.prepare(&["first".to_owned()].into(), None).unwrap();
        drop(other);
        assert_eq!(names(&folder), ["first"]);
        folder.remove("first").unwrap();
        folder.remove("first").unwrap();
        assert_eq!(names(&folder), [""; 0]);
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn without_nameless_files_a_part_becomes_the_whole() {
        let dir = scratch("store-content-part");
        let folder = ContentFolder::of_store(&dir);
        folder.prepare(&HashSet::new(), None).unwrap();
        let part = |name: &str| {
            let path = folder.0.join(name);
            let file = File::create(&path).unwrap();
            NewContent {
                file,
                part: Some(path),
            }
        };
        let (first, second) = (part("1.part"), part("2.part"));
        folder.name(&first, "first").unwrap();
        drop((first, second));
        assert_eq!(names(&folder), ["first"]);
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn of_a_folder_that_nodes_share_only_what_nobody_can_need_is_swept_away() {
        let dir = scratch("store-content-nodes");
        fs::create_dir_all(&dir).unwrap();
        let folder = ContentFolder::of_nodes(&dir);
        let age = |name: &str, age: Duration| {
            let file = File::create(dir.join(name)).unwrap();
            file.set_modified(SystemTime::now() - age).unwrap();
        };
        let longest = Duration::from_secs(3600);
        age("0a", Duration::ZERO);
        age("0b", longest + CERTAINLY_OLD / 2);
        age("0c", longest + CERTAINLY_OLD * 2);
        folder.sweep(longest).unwrap();
        assert_eq!(names(&folder), ["0a", "0b"]);
        assert!(folder.has("0a") && !folder.has("0c"));
        for other in ["", ".", "../store-content-nodes/0a", "0a/", &"0".repeat(65)] {
            assert!(!folder.has(other), "{other}");
        }
        fs::remove_dir_all(dir).unwrap();
    }
}
