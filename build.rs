//! Generates the Rust side of `c_api/cpm.h`, and with the feature `kamailio` or `opensips` compiles
//! the shim into the cdylib, for the very proxy that will load it. Any mismatch stops the build with
//! a one-line message.

#[path = "build/features.rs"]
mod features;
#[path = "build/kamailio.rs"]
mod kamailio;
#[path = "build/opensips.rs"]
mod opensips;
#[path = "build/proxy.rs"]
mod proxy;

use std::env;
use std::fs;
use std::panic;
use std::path::{Path, PathBuf};

use proxy::Compile;

/// The proxy that the module is for.
#[derive(Clone, Copy)]
enum Proxy {
    Kamailio,
    OpenSips,
}

impl Proxy {
    /// The name of its folders below `c_api` and `build/features`.
    fn name(self) -> &'static str {
        match self {
            Proxy::Kamailio => "kamailio",
            Proxy::OpenSips => "opensips",
        }
    }

    /// As the features say. `None`: only the core is built.
    fn wanted() -> Result<Option<Proxy>, String> {
        let is_set = |feature| env::var_os(feature).is_some();
        match (
            is_set("CARGO_FEATURE_KAMAILIO"),
            is_set("CARGO_FEATURE_OPENSIPS"),
        ) {
            (false, false) => Ok(None),
            (true, false) => Ok(Some(Proxy::Kamailio)),
            (false, true) => Ok(Some(Proxy::OpenSips)),
            (true, true) => Err(String::from(
                "a module is for one proxy: choose the feature kamailio or opensips, not both",
            )),
        }
    }
}

fn main() {
    let result = bind_contract().and_then(|()| match Proxy::wanted()? {
        Some(proxy) => compile_shim(proxy),
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

/// `c_api/common/*.c` and those of the proxy, linked whole into the cdylib; the symbols that the
/// loader looks up are visible.
fn compile_shim(proxy: Proxy) -> Result<(), String> {
    let native = Path::new("c_api").join(proxy.name());
    let folders = [Path::new("c_api/common"), native.as_path()];
    for folder in folders {
        println!("cargo::rerun-if-changed={}", folder.display());
    }
    println!("cargo::rerun-if-changed=build/probe");
    println!("cargo::rerun-if-changed=build/features");

    let manifest_dir = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let compile = check(proxy, &manifest_dir)?;
    println!(
        "cargo::rerun-if-changed={}",
        compile.configuration.display()
    );

    let features = manifest_dir.join("build/features").join(proxy.name());
    let features = features::find(&compile, &features)?;

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
        // As system headers, so that the proxy's own warnings do not fail the build.
        .flag("-isystem")
        .flag(&compile.include)
        .include("c_api")
        .include("c_api/common")
        .include(&native)
        .files(&sources)
        .warnings(true)
        .extra_warnings(true)
        .warnings_into_errors(true)
        .flag("-fvisibility=hidden")
        // As Debian builds its own modules, here and below.
        .flag("-fstack-protector-strong")
        .flag_if_supported("-fstack-clash-protection")
        .flag("-Wformat-security")
        .cargo_metadata(false);
    if env::var("OPT_LEVEL").is_ok_and(|level| level != "0") {
        // Checks in the C library's functions.
        build.flag("-U_FORTIFY_SOURCE").flag("-D_FORTIFY_SOURCE=2");
    }
    build.try_compile("cpm_shim").map_err(|error| {
        let error = error.to_string();
        format!("the shim does not compile: {}", one_line(&error))
    })?;

    println!("cargo::rustc-link-search=native={}", out_dir().display());
    println!("cargo::rustc-link-lib=static:+whole-archive,+export-symbols=cpm_shim");
    Ok(())
}

/// Checks whether proxy and tree fit, and returns how to compile for them.
fn check(proxy: Proxy, manifest_dir: &Path) -> Result<Compile, String> {
    let (of_binary, of_tree) = match proxy {
        Proxy::Kamailio => ("KAMAILIO", "KAMAILIO_SRC"),
        Proxy::OpenSips => ("OPENSIPS", "OPENSIPS_SRC"),
    };
    println!("cargo::rerun-if-env-changed={of_binary}");
    println!("cargo::rerun-if-env-changed={of_tree}");
    let binary = match proxy {
        Proxy::Kamailio => kamailio::find_proxy().map_err(|misfit| misfit.to_string())?,
        Proxy::OpenSips => opensips::find_proxy()?,
    };
    println!("cargo::rerun-if-changed={}", binary.display());
    let tree = env::var_os(of_tree)
        .filter(|tree| !tree.is_empty())
        .map(PathBuf::from);
    match proxy {
        Proxy::Kamailio => kamailio::check(&binary, tree.as_deref(), manifest_dir, &out_dir())
            .map_err(|misfit| misfit.to_string()),
        Proxy::OpenSips => {
            println!("cargo::rerun-if-env-changed=OPENSIPS_MODULES");
            opensips::check(&binary, tree.as_deref(), manifest_dir, &out_dir())
        }
    }
}

fn out_dir() -> PathBuf {
    // Cargo sets it for every build script.
    PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default())
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
