//! A folder for one test.

use std::fs;
use std::path::PathBuf;

/// A new folder, which no other test uses; `test` names it.
pub(crate) fn scratch(test: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("cpm-{test}-{}", std::process::id()));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir(&folder).unwrap();
    folder
}
