//! A small disk for one folder, which only one thread and what it starts see: in a mount namespace
//! of their own. A proxy that runs in the folder of another release (tools/in-release) sees it too.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::thread;

use crate::sys;

/// The file that fills it.
const FILLER: &str = "filler";

/// The disk, a file system in memory that ends with the thread it was made for.
#[derive(Debug)]
pub struct SmallDisk {
    folder: PathBuf,
    /// The same folder, where the proxy has another root.
    of_proxy: Option<PathBuf>,
    filler: Option<File>,
}

/// Where a proxy finds a folder that tools/launch-in-release starts.
fn of_proxy(folder: &Path) -> Option<PathBuf> {
    let root = std::env::var_os("KAMAILIO_ROOT")?;
    let inside = folder.strip_prefix("/").ok()?;
    Some(Path::new(&root).join(inside))
}

impl SmallDisk {
    /// Mounts a disk of `bytes` on this folder, which is made, for a thread that runs `test`.
    ///
    /// # Errors
    /// The system lets nobody have mounts of its own: usually that takes root.
    pub fn on<T: Send>(
        folder: &Path,
        bytes: u64,
        test: impl FnOnce(SmallDisk) -> T + Send,
    ) -> io::Result<T> {
        fs::create_dir_all(folder)?;
        let run = || {
            sys::own_mounts()?;
            let disk = SmallDisk {
                folder: folder.to_owned(),
                of_proxy: of_proxy(folder),
                filler: None,
            };
            disk.mount(bytes, false)?;
            Ok(test(disk))
        };
        thread::scope(|scope| {
            let result = scope.spawn(run).join();
            result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Fills it to the last byte.
    ///
    /// # Errors
    /// Something other than its size prevents that.
    pub fn fill(&mut self) -> io::Result<()> {
        let path = self.folder.join(FILLER);
        let mut file = OpenOptions::new().append(true).create(true).open(path)?;
        let result = [4096, 1].into_iter().try_for_each(|size| {
            let bytes = vec![0; size];
            loop {
                match file.write_all(&bytes) {
                    Ok(()) => {}
                    Err(error) if error.kind() == io::ErrorKind::StorageFull => return Ok(()),
                    Err(error) => return Err(error),
                }
            }
        });
        self.filler = Some(file);
        result
    }

    /// Gives back what [`fill`](Self::fill) has taken, also while it is hidden.
    ///
    /// # Errors
    /// The file cannot be cut.
    pub fn make_room(&mut self) -> io::Result<()> {
        self.filler.take().map_or(Ok(()), |file| file.set_len(0))
    }

    /// From now on nothing can be created in the folder. What is open stays so.
    ///
    /// # Errors
    /// It cannot be mounted.
    pub fn set_read_only(&self) -> io::Result<()> {
        self.mount(4096, true)
    }

    fn mount(&self, bytes: u64, read_only: bool) -> io::Result<()> {
        sys::mount_memory(&self.folder, bytes, read_only)?;
        match &self.of_proxy {
            Some(of_proxy) => sys::mount_again(&self.folder, of_proxy),
            None => Ok(()),
        }
    }

    /// Takes that back.
    ///
    /// # Errors
    /// It cannot be unmounted.
    pub fn set_writable(&self) -> io::Result<()> {
        self.of_proxy.as_deref().map_or(Ok(()), sys::unmount)?;
        sys::unmount(&self.folder)
    }
}
