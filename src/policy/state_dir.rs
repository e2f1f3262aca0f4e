//! The state directory: data kept from one start to the next, and the spool.

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, chown};
use std::path::{Path, PathBuf};

use rustix::process::geteuid;

use super::large_mode::SpoolDir;
use super::settings::Settings;
use super::store_place::StorePlace;
pub(super) use super::value::NONE;
use super::value::ParameterError;
use crate::random::try_fill_random;

/// The default path.
pub(super) const DEFAULT: &str = "/var/lib/kamailio/cpm";

/// The parameters that name directories.
pub(super) const STATE_DIR: &str = "state_dir";
pub(super) const SPOOL_DIR: &str = "msrp_spool_dir";
pub(super) const STORE: &str = "store";
pub(super) const STORE_CONTENT: &str = "store_content";

/// Only the proxy may read its content.
const MODE: u32 = 0o700;

/// Permissions that would let others replace the files of the service.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// The user and the group that the proxy changes to once it has started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunsAs {
    /// User id.
    pub user: u32,
    /// Group id.
    pub group: u32,
}

/// Why a directory cannot be the state directory, or hold the spool.
#[derive(Debug)]
pub struct StateDirError {
    parameter: &'static str,
    path: PathBuf,
    cause: Cause,
}

#[derive(Debug)]
enum Cause {
    NotMade(io::Error),
    SymbolicLink,
    NoDirectory,
    OfSomebodyElse { owner: u32, us: u32 },
    WritableByOthers(u32),
    NotWritable(io::Error),
}

impl fmt::Display for StateDirError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ", self.parameter, self.path.display())?;
        match &self.cause {
            Cause::NotMade(error) => write!(f, "cannot be made: {error}"),
            Cause::SymbolicLink => f.write_str("is a symbolic link: name the directory itself"),
            Cause::NoDirectory => f.write_str("is not a directory"),
            Cause::OfSomebodyElse { owner, us } => {
                write!(
                    f,
                    "belongs to user {owner}, and the proxy runs as user {us}"
                )
            }
            Cause::WritableByOthers(mode) => {
                write!(
                    f,
                    "can be written to by others (mode {mode:03o}): change it to 700"
                )
            }
            Cause::NotWritable(error) => write!(f, "cannot be written to: {error}"),
        }
    }
}

impl std::error::Error for StateDirError {}

/// Reads the parameter. `None`: no state directory is wanted.
pub(super) fn parse(text: &str) -> Result<Option<PathBuf>, ParameterError> {
    match Path::new(text) {
        _ if text == NONE => Ok(None),
        path if path.is_absolute() => Ok(Some(path.to_owned())),
        _ => Err(ParameterError::NotAStateDir),
    }
}

impl Settings {
    /// Makes the directory of the store, or of the content in it, where there is to be one, and
    /// sees that it is fit for use, once, when the service starts. Gives back the file system's
    /// name if it lies in memory, which does not outlive the machine.
    pub fn prepare_store_dir(
        &self,
        runs_as: Option<RunsAs>,
    ) -> Result<Option<&'static str>, StateDirError> {
        let folder = self.store.as_ref().and_then(StorePlace::folder);
        let (parameter, path) = match (folder, self.store_content.as_deref()) {
            (Some(path), _) => (STORE, path),
            (None, Some(path)) => (STORE_CONTENT, path),
            (None, None) => return Ok(None),
        };
        prepare(path, runs_as).map_err(|cause| StateDirError {
            parameter,
            path: path.to_owned(),
            cause,
        })?;
        Ok(kept_in_memory(path))
    }

    /// Creates the state directory and checks that it is fit for use, once, when the service
    /// starts. `runs_as`: `None` if the proxy keeps its user. From then on
    /// [`state_dir`](Self::state_dir) is a usable directory, or `None`.
    ///
    /// An unusable directory that the operator has named is an error; without the default one the
    /// service continues, and the returned value has the reason.
    pub fn prepare_state_dir(
        &mut self,
        runs_as: Option<RunsAs>,
    ) -> Result<Option<StateDirError>, StateDirError> {
        let Some(path) = &self.state_dir else {
            return Ok(None);
        };
        match prepare(path, runs_as) {
            Ok(()) => Ok(None),
            Err(cause) => {
                let path = path.clone();
                let error = StateDirError {
                    parameter: STATE_DIR,
                    path,
                    cause,
                };
                if self.is_given(STATE_DIR) {
                    return Err(error);
                }
                // This value is always valid.
                let _ = self.set(STATE_DIR, NONE);
                Ok(Some(error))
            }
        }
    }

    /// Creates the spool's folder if it has its own, and checks that it is fit for use, once, when
    /// the service starts. Returns the file system's name if the spool is in memory.
    pub fn prepare_spool_dir(
        &self,
        runs_as: Option<RunsAs>,
    ) -> Result<Option<&'static str>, StateDirError> {
        if let SpoolDir::At(path) = &self.large_mode.spool_dir {
            prepare(path, runs_as).map_err(|cause| StateDirError {
                parameter: SPOOL_DIR,
                path: path.clone(),
                cause,
            })?;
        }
        Ok(self.spool_dir().and_then(kept_in_memory))
    }

    /// The folder for content of large messages that does not fit into memory; `None`: none.
    pub fn spool_dir(&self) -> Option<&Path> {
        match &self.large_mode.spool_dir {
            SpoolDir::OfState => self.state_dir.as_deref(),
            SpoolDir::At(path) => Some(path),
            SpoolDir::Nowhere => None,
        }
    }
}

/// Content spooled there uses the memory that the spool should save.
fn kept_in_memory(path: &Path) -> Option<&'static str> {
    const RAMFS_MAGIC: u32 = 0x8584_58f6;
    const TMPFS_MAGIC: u32 = 0x0102_1994;
    match rustix::fs::statfs(path).ok()?.f_type as u32 {
        TMPFS_MAGIC => Some("tmpfs"),
        RAMFS_MAGIC => Some("ramfs"),
        _ => None,
    }
}

fn prepare(path: &Path, runs_as: Option<RunsAs>) -> Result<(), Cause> {
    if let Err(error) = fs::symlink_metadata(path) {
        if error.kind() != io::ErrorKind::NotFound {
            return Err(Cause::NotMade(error));
        }
        make(path, runs_as).map_err(Cause::NotMade)?;
    }
    let found = fs::symlink_metadata(path).map_err(Cause::NotMade)?;
    if found.is_symlink() {
        return Err(Cause::SymbolicLink);
    }
    if !found.is_dir() {
        return Err(Cause::NoDirectory);
    }
    let us = runs_as.map_or_else(|| geteuid().as_raw(), |runs_as| runs_as.user);
    let owner = found.uid();
    // A root-owned directory may be usable by its group or by an access list: the file below shows
    // it.
    if owner != us && (owner != 0 || runs_as.is_some()) {
        return Err(Cause::OfSomebodyElse { owner, us });
    }
    let mode = found.mode() & 0o777;
    if mode & WRITABLE_BY_OTHERS != 0 {
        return Err(Cause::WritableByOthers(mode));
    }
    try_file(path).map_err(Cause::NotWritable)
}

fn make(path: &Path, runs_as: Option<RunsAs>) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    match DirBuilder::new().mode(MODE).create(path) {
        // Another proxy created it first.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        made => made?,
    }
    if let Some(RunsAs { user, group }) = runs_as {
        chown(path, Some(user), Some(group))?;
    }
    // What is kept in it is promised to outlive a loss of power: so must its own name.
    match path.parent() {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

/// Permissions do not tell everything: the file system may be read-only, or full.
fn try_file(path: &Path) -> io::Result<()> {
    let (path, _) = new_file(path, "try")?;
    fs::remove_file(&path)
}

/// A file that is new and that only the proxy may read, for the time until it has its name.
pub(super) fn new_file(dir: &Path, purpose: &str) -> io::Result<(PathBuf, File)> {
    let mut random = [0; 8];
    try_fill_random(&mut random)?;
    let path = dir.join(format!(".{purpose}-{:016x}", u64::from_ne_bytes(random)));
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)?;
    Ok((path, file))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;
    use crate::policy::Parameter;
    use crate::test_folder::scratch;

    fn with(path: &Path) -> Settings {
        let mut settings = Settings::default();
        settings.set("state_dir", path.to_str().unwrap()).unwrap();
        settings
    }

    fn refused(path: &Path) -> String {
        with(path).prepare_state_dir(None).unwrap_err().to_string()
    }

    #[test]
    fn it_is_made_for_nobody_else_and_found_again() {
        let folder = scratch("state-made");
        let path = folder.join("lib/cpm");
        for _ in 0..2 {
            let mut settings = with(&path);
            assert!(settings.prepare_state_dir(None).unwrap().is_none());
            assert_eq!(settings.state_dir.as_deref(), Some(&*path));
            assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o700);
            assert_eq!(fs::read_dir(&path).unwrap().count(), 0);
        }
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_named_one_that_cannot_be_used_is_an_error_that_says_why() {
        let folder = scratch("state-named");
        let file = folder.join("file");
        fs::write(&file, "").unwrap();
        let link = folder.join("link");
        symlink(&folder, &link).unwrap();
        let open = folder.join("open");
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, fs::Permissions::from_mode(0o770)).unwrap();
        for (path, why) in [
            (&file, "is not a directory"),
            (&link, "is a symbolic link: name the directory itself"),
            (
                &open,
                "can be written to by others (mode 770): change it to 700",
            ),
            (&file.join("below"), "cannot be made: Not a directory"),
        ] {
            let line = refused(path);
            let expected = format!("state_dir {} {why}", path.display());
            assert!(line.starts_with(&expected), "{line}");
        }
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn without_the_default_one_the_service_does_without() {
        let folder = scratch("state-default");
        let file = folder.join("file");
        fs::write(&file, "").unwrap();
        let mut settings = Settings {
            state_dir: Some(file),
            ..Settings::default()
        };
        let notice = settings.prepare_state_dir(None).unwrap().unwrap();
        assert!(
            notice.to_string().ends_with("is not a directory"),
            "{notice}"
        );
        assert_eq!(settings.state_dir, None);
        let parameter = Parameter::named("state_dir").unwrap();
        assert_eq!(settings.values(parameter), ["none"]);
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn the_spool_is_in_the_state_directory_unless_told() {
        let folder = scratch("state-spool");
        let state = folder.join("state");
        let mut settings = with(&state);
        settings.prepare_state_dir(None).unwrap();
        settings.prepare_spool_dir(None).unwrap();
        assert_eq!(settings.spool_dir(), Some(&*state));
        let parameter = Parameter::named(SPOOL_DIR).unwrap();
        assert_eq!(settings.values(parameter), [state.to_str().unwrap()]);

        let own = folder.join("spool");
        settings.set(SPOOL_DIR, own.to_str().unwrap()).unwrap();
        settings.prepare_spool_dir(None).unwrap();
        assert_eq!(settings.spool_dir(), Some(&*own));
        assert_eq!(fs::metadata(&own).unwrap().mode() & 0o777, 0o700);

        fs::set_permissions(&own, fs::Permissions::from_mode(0o777)).unwrap();
        let line = settings.prepare_spool_dir(None).unwrap_err().to_string();
        assert!(line.starts_with("msrp_spool_dir /"), "{line}");

        settings.set(SPOOL_DIR, "none").unwrap();
        assert!(settings.prepare_spool_dir(None).unwrap().is_none());
        assert_eq!(settings.spool_dir(), None);
        assert_eq!(settings.values(parameter), ["none"]);
        settings.set(SPOOL_DIR, "spool").unwrap_err();
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn memory_is_no_disk() {
        // Wherever tests run, this is tmpfs, or does not exist.
        let shm = Path::new("/dev/shm");
        assert_eq!(kept_in_memory(shm), shm.exists().then_some("tmpfs"));
        assert_eq!(kept_in_memory(Path::new("/proc")), None);
    }

    #[test]
    fn it_belongs_to_whom_the_proxy_runs_as() {
        // Giving files away takes root.
        if !geteuid().is_root() {
            return;
        }
        let folder = scratch("state-owner");
        let path = folder.join("cpm");
        let nobody = Some(RunsAs {
            user: 65_534,
            group: 65_534,
        });
        assert!(with(&path).prepare_state_dir(nobody).unwrap().is_none());
        let made = fs::metadata(&path).unwrap();
        assert_eq!((made.uid(), made.gid()), (65_534, 65_534));
        let line = refused(&path);
        assert!(
            line.ends_with("belongs to user 65534, and the proxy runs as user 0"),
            "{line}"
        );
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn none_is_none_and_anything_else_an_absolute_path() {
        let mut settings = Settings::default();
        settings.set("state_dir", "none").unwrap();
        assert!(settings.prepare_state_dir(None).unwrap().is_none());
        assert_eq!(settings.state_dir, None);
        let error = settings.set("state_dir", "cpm").unwrap_err();
        assert_eq!(error.to_string(), "is neither an absolute path nor none");
    }
}
