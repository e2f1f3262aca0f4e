//! The content of large messages: one file for each, beside the database.
//!
//! A file has no name while its message arrives, so that a crash leaves nothing behind. It gets its
//! name, and is on disk under it, before its message is entered in the database; it is removed
//! after its message has left it. What is in between when the machine stops is swept away at the
//! next start.

use std::collections::HashSet;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, chown};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, linkat};

use super::error::StoreError;
use crate::random::try_fill_random;

const FOLDER: &str = "content";

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
}
