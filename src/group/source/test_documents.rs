//! Group documents and folders for tests.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A group document with this address and list.
pub(super) fn document(uri: &str, list: &str) -> Vec<u8> {
    format!(
        "<group xmlns='urn:oma:xml:poc:list-service' xmlns:rl='urn:ietf:params:xml:ns:resource-lists'>\
         <list-service uri='{uri}'><list>{list}</list></list-service></group>"
    )
    .into_bytes()
}

/// A folder that is deleted when this is dropped.
pub(super) struct TestFolder {
    path: PathBuf,
}

impl TestFolder {
    pub(super) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("cpm-groups-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self { path }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Puts a file in place, as `mv` does.
    pub(super) fn write(&self, name: &str, content: &[u8]) {
        let new = self.path.join("new");
        fs::write(&new, content).unwrap();
        fs::rename(&new, self.path.join(name)).unwrap();
    }

    pub(super) fn remove(&self, name: &str) {
        fs::remove_file(self.path.join(name)).unwrap();
    }

    pub(super) fn take_away(&self) {
        fs::rename(&self.path, self.elsewhere()).unwrap();
    }

    pub(super) fn bring_back(&self) {
        fs::rename(self.elsewhere(), &self.path).unwrap();
    }

    fn elsewhere(&self) -> PathBuf {
        self.path.with_extension("gone")
    }
}

impl Drop for TestFolder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
        let _ = fs::remove_dir_all(self.elsewhere());
    }
}
