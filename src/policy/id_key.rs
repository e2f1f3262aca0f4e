//! The secret key from which Call-IDs and tags are derived.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, fchown};
use std::path::{Path, PathBuf};

use super::settings::Settings;
use super::state_dir::{RunsAs, new_file};
use crate::random::try_fill_random;

/// Bytes of the key.
pub const ID_KEY_BYTES: usize = 32;

/// Its file in the state directory.
const FILE: &str = "id-key";

/// Permission bits that would let others read the key.
const READABLE_BY_OTHERS: u32 = 0o077;

/// Why there is no key.
#[derive(Debug)]
pub struct IdKeyError {
    path: PathBuf,
    cause: Cause,
}

#[derive(Debug)]
enum Cause {
    Io(io::Error),
    NoFile,
    ReadableByOthers(u32),
    WrongSize,
}

impl fmt::Display for IdKeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the key file {} ", self.path.display())?;
        match &self.cause {
            Cause::Io(error) => write!(f, "cannot be used: {error}"),
            Cause::NoFile => f.write_str("is not a file"),
            Cause::ReadableByOthers(mode) => {
                write!(f, "is open to others (mode {mode:03o}): change it to 600")
            }
            Cause::WrongSize => write!(f, "does not have {ID_KEY_BYTES} bytes"),
        }
    }
}

impl std::error::Error for IdKeyError {}

impl Settings {
    /// The key: that of `id_key_file`, else that in the state directory, which must be prepared and
    /// where it is created at the first start. `None`: neither exists. Called once, when the
    /// service starts.
    pub fn id_key(
        &self,
        runs_as: Option<RunsAs>,
    ) -> Result<Option<[u8; ID_KEY_BYTES]>, IdKeyError> {
        let (path, key) = match (&self.id_key_file, &self.state_dir) {
            (Some(file), _) => (PathBuf::from(file), read(Path::new(file))),
            (None, Some(dir)) => {
                let path = dir.join(FILE);
                let key = match read(&path) {
                    Err(Cause::Io(error)) if error.kind() == io::ErrorKind::NotFound => {
                        make(dir, &path, runs_as)
                            .map_err(Cause::Io)
                            .and_then(|()| read(&path))
                    }
                    key => key,
                };
                (path, key)
            }
            (None, None) => return Ok(None),
        };
        key.map(Some).map_err(|cause| IdKeyError { path, cause })
    }
}

fn read(path: &Path) -> Result<[u8; ID_KEY_BYTES], Cause> {
    let file = File::open(path).map_err(Cause::Io)?;
    let found = file.metadata().map_err(Cause::Io)?;
    if !found.is_file() {
        return Err(Cause::NoFile);
    }
    let mode = found.mode() & 0o777;
    if mode & READABLE_BY_OTHERS != 0 {
        return Err(Cause::ReadableByOthers(mode));
    }
    let mut bytes = Vec::with_capacity(ID_KEY_BYTES + 1);
    file.take(ID_KEY_BYTES as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(Cause::Io)?;
    bytes.try_into().map_err(|_| Cause::WrongSize)
}

/// Atomically, and never replacing another one: two proxies may start at once.
fn make(dir: &Path, path: &Path, runs_as: Option<RunsAs>) -> io::Result<()> {
    let mut key = [0; ID_KEY_BYTES];
    try_fill_random(&mut key)?;
    let (new, mut file) = new_file(dir, FILE)?;
    let written = file.write_all(&key).and_then(|()| {
        if let Some(RunsAs { user, group }) = runs_as {
            fchown(&file, Some(user), Some(group))?;
        }
        file.sync_all()?;
        match fs::hard_link(&new, path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            linked => linked,
        }
    });
    fs::remove_file(&new)?;
    written?;
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::test_folder::scratch;

    fn with_dir(dir: &Path) -> Settings {
        Settings {
            state_dir: Some(dir.to_owned()),
            ..Settings::default()
        }
    }

    #[test]
    fn it_is_made_once_and_found_again() {
        let folder = scratch("key-made");
        let keys: BTreeSet<_> = std::thread::scope(|scope| {
            let starts: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| with_dir(&folder).id_key(None).unwrap().unwrap()))
                .collect();
            let keys = starts.into_iter().map(|start| start.join().unwrap());
            keys.collect()
        });
        assert_eq!(keys.len(), 1);
        let again = with_dir(&folder).id_key(None).unwrap().unwrap();
        assert!(keys.contains(&again) && again != [0; ID_KEY_BYTES]);
        let files: Vec<_> = fs::read_dir(&folder).unwrap().flatten().collect();
        assert_eq!(files.len(), 1, "{files:?}");
        assert_eq!(files[0].metadata().unwrap().mode() & 0o777, 0o600);
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn the_operators_own_comes_first() {
        let folder = scratch("key-own");
        let file = folder.join("own");
        fs::write(&file, [9; ID_KEY_BYTES]).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        let mut settings = with_dir(&folder);
        settings.set("id_key_file", file.to_str().unwrap()).unwrap();
        assert_eq!(settings.id_key(None).unwrap(), Some([9; ID_KEY_BYTES]));
        settings.state_dir = None;
        assert_eq!(settings.id_key(None).unwrap(), Some([9; ID_KEY_BYTES]));
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn without_a_place_there_is_none() {
        let settings = Settings {
            state_dir: None,
            ..Settings::default()
        };
        assert_eq!(settings.id_key(None).unwrap(), None);
    }

    #[test]
    fn one_that_is_no_secret_key_is_refused() {
        let folder = scratch("key-bad");
        let file = folder.join(FILE);
        for (size, mode, why) in [
            (
                ID_KEY_BYTES,
                0o640,
                "is open to others (mode 640): change it to 600",
            ),
            (
                ID_KEY_BYTES,
                0o604,
                "is open to others (mode 604): change it to 600",
            ),
            (ID_KEY_BYTES - 1, 0o600, "does not have 32 bytes"),
            (ID_KEY_BYTES + 1, 0o600, "does not have 32 bytes"),
            (0, 0o600, "does not have 32 bytes"),
        ] {
            fs::write(&file, vec![1; size]).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
            let error = with_dir(&folder).id_key(None).unwrap_err().to_string();
            assert_eq!(error, format!("the key file {} {why}", file.display()));
        }
        let mut settings = Settings::default();
        settings.set("id_key_file", "/no/such/key").unwrap();
        let error = settings.id_key(None).unwrap_err().to_string();
        assert!(
            error.starts_with("the key file /no/such/key cannot be used: No such file"),
            "{error}"
        );
        settings
            .set("id_key_file", folder.to_str().unwrap())
            .unwrap();
        let error = settings.id_key(None).unwrap_err().to_string();
        assert!(error.ends_with("is not a file"), "{error}");
        fs::remove_dir_all(folder).unwrap();
    }
}
