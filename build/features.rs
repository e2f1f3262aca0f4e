//! Features that only the headers of some releases of a proxy have.
//!
//! The compiler decides, not the version number: a file in `build/features/<proxy>/` compiles if
//! the headers have the feature, and the shim is then compiled with `CPM_HAS_` followed by the
//! file's name. Distributions backport newer code, and nobody can foresee how the next release will
//! differ.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::proxy::Compile;

/// The defines for all features that the headers have, such as `-DCPM_HAS_BUILD_STATE`. `Err`: a
/// file cannot be read or the compiler cannot be run, in one line.
pub(crate) fn find(compile: &Compile, folder: &Path) -> Result<Vec<String>, String> {
    let said = |error: io::Error| format!("{}: {error}", folder.display());
    let mut defines = Vec::new();
    for entry in fs::read_dir(folder).map_err(said)? {
        let path = entry.map_err(said)?.path();
        if path.extension() != Some(OsStr::new("c")) {
            continue;
        }
        let compiles = Command::new(&compile.compiler)
            .args(&compile.flags)
            .args(["-fsyntax-only", "-w", "-isystem"])
            .arg(&compile.include)
            .arg(&path)
            .stderr(Stdio::null())
            .status()
            .map_err(|error| format!("{}: {error}", compile.compiler))?
            .success();
        if compiles {
            let name = path.file_stem().unwrap_or_default().to_string_lossy();
            defines.push(format!("-DCPM_HAS_{}", name.to_uppercase()));
        }
    }
    // The order of directory entries must not affect the module.
    defines.sort();
    Ok(defines)
}
