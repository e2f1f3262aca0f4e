//! C code that stands between a proxy and its C library.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Compiles a C file into a library in `folder`, for `LD_PRELOAD` in the environment of a proxy
/// ([`ProxyConfig::variable`](crate::ProxyConfig::variable)).
///
/// # Panics
/// There is no C compiler, or it refuses the file.
#[track_caller]
pub fn preloaded(source: &Path, folder: &Path) -> PathBuf {
    let stem = source.file_stem().expect("a file has a name");
    let library = folder.join(stem).with_extension("so");
    let compiled = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .args([&library, source])
        .arg("-ldl")
        .status();
    assert!(compiled.is_ok_and(|status| status.success()));
    library
}
