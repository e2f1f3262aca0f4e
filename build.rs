//! Generates the Rust side of `c_api/cpm.h`, and with the feature `kamailio` compiles the shim into
//! the cdylib, for the very Kamailio that will load it. Any mismatch stops the build with a
//! one-line message.

#[path = "build/features.rs"]
mod features;
#[path = "build/kamailio.rs"]
mod kamailio;

use std::env;
use std::fs;
use std::panic;
use std::path::{Path, PathBuf};

fn main() {
    let result = bind_contract().and_then(|()| match env::var_os("CARGO_FEATURE_KAMAILIO") {
        Some(_) => compile_shim(),
        None => Ok(()),
    });
    if let Err(line) = result {
        // Cargo fails the build for this line, and without an exit status prints nothing else.
        println!("cargo::error={line}");
    }
}

/// `c_api/cpm.h` as Rust types, in `OUT_DIR/cpm_h.rs`.
fn bind_contract() -> Result<(), String> {
    let header = "c_api/cpm.h";
    println!("cargo::rerun-if-changed={header}");
    println!("cargo::rerun-if-env-changed=LIBCLANG_PATH");
    let builder = bindgen::Builder::default()
        .header(header)
        .allowlist_item("cpm_.*|CPM_.*")
        .with_codegen_config(bindgen::CodegenConfig::TYPES | bindgen::CodegenConfig::VARS)
        .use_core()
        .derive_default(true)
        .prepend_enum_name(false)
        .formatter(bindgen::Formatter::None);

    // bindgen panics when it cannot load libclang; a backtrace would hide the message.
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    let generated = panic::catch_unwind(panic::AssertUnwindSafe(|| builder.generate()));
    panic::set_hook(hook);

    let bindings = generated
        .map_err(|_| {
            String::from(
                "libclang is missing, which reads c_api/cpm.h: `apt-get install libclang-dev`, or set LIBCLANG_PATH",
            )
        })?
        .map_err(|error| format!("{header}: {}", one_line(&error.to_string())))?;
    let output = out_dir().join("cpm_h.rs");
    bindings
        .write_to_file(&output)
        .map_err(|error| format!("{}: {error}", output.display()))
}

/// `c_api/common/*.c` and `c_api/kamailio/*.c`, linked whole into the cdylib; the symbols that the
/// loader looks up are visible.
fn compile_shim() -> Result<(), String> {
    let folders = [Path::new("c_api/common"), Path::new("c_api/kamailio")];
    for folder in folders {
        println!("cargo::rerun-if-changed={}", folder.display());
    }
    println!("cargo::rerun-if-changed=build/probe.c");
    println!("cargo::rerun-if-changed=build/features");
    println!("cargo::rerun-if-env-changed=KAMAILIO");
    println!("cargo::rerun-if-env-changed=KAMAILIO_SRC");

    let binary = kamailio::find_proxy().map_err(|misfit| misfit.to_string())?;
    println!("cargo::rerun-if-changed={}", binary.display());
    let tree = env::var_os("KAMAILIO_SRC")
        .filter(|tree| !tree.is_empty())
        .map(PathBuf::from);
    let manifest_dir = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let compile = kamailio::check(&binary, tree.as_deref(), &manifest_dir, &out_dir())
        .map_err(|misfit| misfit.to_string())?;
    println!(
        "cargo::rerun-if-changed={}",
        compile.configuration.display()
    );

    let features = features::find(&compile, &manifest_dir.join("build/features"))?;

    let mut sources = Vec::new();
    for folder in folders {
        let entries = fs::read_dir(folder)
            .and_then(|entries| {
                entries
                    .map(|entry| Ok(entry?.path()))
                    .collect::<Result<Vec<_>, _>>()
            })
            .map_err(|error| format!("{}: {error}", folder.display()))?;
        sources.extend(entries);
    }
    sources.retain(|path| path.extension().is_some_and(|extension| extension == "c"));
    // The order of directory entries must not affect the module.
    sources.sort();

    let mut build = cc::Build::new();
    build
        .compiler(&compile.compiler)
        .flags(&compile.flags)
        .flags(&features)
        // As system headers, so that Kamailio's own warnings do not fail the build.
        .flag("-isystem")
        .flag(&compile.include)
        .include("c_api")
        .include("c_api/common")
        .include("c_api/kamailio")
        .files(&sources)
        .warnings(true)
        .extra_warnings(true)
        .warnings_into_errors(true)
        .flag("-fvisibility=hidden")
        .cargo_metadata(false);
    build.try_compile("cpm_kamailio").map_err(|error| {
        let error = error.to_string();
        format!("the shim does not compile: {}", one_line(&error))
    })?;

    println!("cargo::rustc-link-search=native={}", out_dir().display());
    println!("cargo::rustc-link-lib=static:+whole-archive,+export-symbols=cpm_kamailio");
    Ok(())
}

fn out_dir() -> PathBuf {
    // Cargo sets it for every build script.
    PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default())
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
