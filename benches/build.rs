//! With the feature `contestants`: compiles the XML contestants into the program, and the bare loop
//! over tm as a module of Kamailio. With `CPM_LINT` in the environment neither: what is not linked
//! can be checked without the development files of other projects.

#[path = "../build/kamailio.rs"]
mod kamailio;
#[path = "../build/proxy.rs"]
mod proxy;

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if env::var_os("CARGO_FEATURE_CONTESTANTS").is_none() {
        return;
    }
    println!("cargo::rerun-if-env-changed=CPM_LINT");
    if env::var_os("CPM_LINT").is_some() {
        println!("cargo::rustc-env=BARE_TM=");
        return;
    }
    if let Err(line) = compile_xml().and_then(|()| compile_bare_tm()) {
        println!("cargo::error={line}");
    }
}

fn compile_xml() -> Result<(), String> {
    println!("cargo::rerun-if-changed=xml");
    cc::Build::new()
        .files(["xml/libxml2.c", "xml/expat.c"])
        // Where Debian puts the headers, which say `#include <libxml/...>`.
        .include("/usr/include/libxml2")
        // Both libraries come with Debian's -O2; their few lines of ours shall not be slower.
        .opt_level(2)
        .warnings_into_errors(true)
        .try_compile("xml_contestants")
        .map_err(|error| {
            format!(
                "the XML contestants (`tools/deps bench`): {}",
                one_line(&error)
            )
        })?;
    println!("cargo::rustc-link-lib=xml2");
    println!("cargo::rustc-link-lib=expat");
    Ok(())
}

/// `bare_tm.so` for the installed Kamailio; its path becomes the environment variable `BARE_TM`.
fn compile_bare_tm() -> Result<(), String> {
    println!("cargo::rerun-if-changed=bare_tm");
    println!("cargo::rerun-if-env-changed=KAMAILIO");
    println!("cargo::rerun-if-env-changed=KAMAILIO_SRC");
    let root = Path::new("..")
        .canonicalize()
        .map_err(|error| one_line(&error))?;
    let work = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    let tree = env::var_os("KAMAILIO_SRC")
        .filter(|tree| !tree.is_empty())
        .map(PathBuf::from);
    let proxy = kamailio::find_proxy().map_err(|misfit| misfit.to_string())?;
    let compile = kamailio::check(&proxy, tree.as_deref(), &root, &work)
        .map_err(|misfit| misfit.to_string())?;
    let module = work.join("bare_tm.so");
    let output = Command::new(&compile.compiler)
        .args(&compile.flags)
        // Kamailio's own optimisation level for modules.
        .args([
            "-O3", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared", "-isystem",
        ])
        .arg(&compile.include)
        .args(["bare_tm/bare_tm.c", "-o"])
        .arg(&module)
        .output()
        .map_err(|error| format!("{}: {error}", compile.compiler))?;
    if !output.status.success() {
        return Err(format!(
            "bare_tm: {}",
            one_line(&String::from_utf8_lossy(&output.stderr))
        ));
    }
    println!("cargo::rustc-env=BARE_TM={}", module.display());
    Ok(())
}

fn one_line(text: &impl ToString) -> String {
    text.to_string()
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
}
