//! Checks whether the source tree fits the OpenSIPS that will load the module.
//!
//! The loader compares version, flags and revision of a module with its own and refuses others. It
//! does not compare the layout of structs, and a difference there is undefined behaviour. So all of
//! it is checked before anything is compiled. Nothing here copies OpenSIPS's knowledge: the defines
//! come from the tree's own make, the strings from its own macros, a size from a short run of the
//! binary. No distribution ships OpenSIPS with its headers: the operator provides binary and tree.
//!
//! `tests/build.rs` includes this file.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::proxy::{
    self, Compile, difference, field, last_line, run_to_its_end, sizes, touches_code, write,
};

/// The identity that both the binary and the tree report.
#[derive(Debug, PartialEq, Eq)]
struct Identity {
    /// As the loader compares it: `opensips 3.6.8 (x86_64/linux)`.
    version: String,
    /// As the loader compares them.
    flags: String,
    /// Version control system and revision: `git e6c1a35`.
    revision: String,
}

impl Identity {
    /// From the output of `opensips -V`, or of the probe. `None`: it is another program.
    fn read(text: &str) -> Option<Identity> {
        let revision = text.lines().find_map(|line| {
            let (system, revision) = line.split_once(" revision: ")?;
            Some(format!("{system} {}", revision.trim_end()))
        });
        Some(Identity {
            version: field(text, "version: ")?.to_owned(),
            flags: field(text, "flags: ")?.to_owned(),
            revision: revision?,
        })
    }
}

/// Checks that the proxy at `binary` and the tree fit; `tree` is `OPENSIPS_SRC`. `work` is a
/// directory to write to. `Err`: what does not fit, and what to do, in one line.
pub(crate) fn check(
    binary: &Path,
    tree: Option<&Path>,
    manifest_dir: &Path,
    work: &Path,
) -> Result<Compile, String> {
    let shown = binary.display();
    let installed = ask(binary)?;
    let tree = tree.ok_or_else(|| {
        format!(
            "no source tree is named: set OPENSIPS_SRC to the one that {} was built from",
            installed.version
        )
    })?;
    let source = tree.display();
    if !(tree.join("sr_module.h").is_file() && tree.join("Makefile.defs").is_file()) {
        return Err(format!(
            "{source} is no source tree of OpenSIPS: set OPENSIPS_SRC to the one that {} was built from",
            installed.version
        ));
    }
    let compile = ask_make(tree, work)?;
    let probe = manifest_dir.join("build/probe/opensips.c");
    let no_probe = |reason| format!("the headers in {source} do not compile ({reason})");
    let text = proxy::run_probe(&compile, &probe, work).map_err(no_probe)?;
    let expected = Identity::read(&text).ok_or_else(|| no_probe(String::from("no version")))?;

    let very = "set OPENSIPS_SRC to the very tree that the proxy was built from";
    if expected.version != installed.version {
        return Err(format!(
            "version differs: {shown} is {}, but the tree {source} is {}: {very}",
            installed.version, expected.version
        ));
    }
    if expected.flags != installed.flags {
        return Err(format!(
            "compile flags differ ({}): {shown} was built with others than {source} is configured for: configure the tree (Makefile.conf) as the proxy was",
            difference(&installed.flags, &expected.flags)
        ));
    }
    if expected.revision != installed.revision {
        return Err(format!(
            "revision differs: {shown} is {}, but the tree {source} is {}: {very}",
            installed.revision, expected.revision
        ));
    }
    let expected = sizes(&text).ok_or_else(|| no_probe(String::from("no sizes")))?;
    let installed = installed_sizes(binary, &compile, &probe, work)?.ok_or_else(|| {
        format!(
            "{shown} did not tell its struct sizes when it loaded tm: see {}, and set OPENSIPS_MODULES to the folder of its modules where that is another",
            proxy::sizes_log(work).display()
        )
    })?;
    if expected != installed {
        return Err(format!(
            "struct sizes differ: {shown} has {installed}, the tree {source} has {expected}: {very}"
        ));
    }
    Ok(compile)
}

/// The proxy to build for: `OPENSIPS`, else `opensips` on the `PATH`.
pub(crate) fn find_proxy() -> Result<PathBuf, String> {
    if let Some(named) = named("OPENSIPS") {
        return Ok(named);
    }
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain([PathBuf::from("/usr/local/sbin"), PathBuf::from("/usr/sbin")])
        .map(|directory| directory.join("opensips"))
        .find(|candidate| candidate.is_file())
        .ok_or_else(|| {
            String::from("no OpenSIPS found: set OPENSIPS to the binary that will load the module")
        })
}

/// The module folder of that proxy, with a trailing slash, as `mpath` needs it: `OPENSIPS_MODULES`,
/// else beside a binary that runs in its tree, else where it is installed.
pub(crate) fn find_modules(binary: &Path) -> Option<PathBuf> {
    if let Some(named) = named("OPENSIPS_MODULES") {
        return Some(named.join(""));
    }
    let beside = binary.parent()?;
    let places = [
        "modules",
        "../lib64/opensips/modules",
        "../lib/opensips/modules",
        "../lib/x86_64-linux-gnu/opensips/modules",
    ];
    let has_tm =
        |place: &PathBuf| place.join("tm.so").is_file() || place.join("tm").join("tm.so").is_file();
    places
        .iter()
        .map(|place| beside.join(place).join(""))
        .find(has_tm)
}

fn named(variable: &str) -> Option<PathBuf> {
    env::var_os(variable)
        .filter(|value| !value.is_empty())
        .map(PathBuf::from)
}

fn ask(binary: &Path) -> Result<Identity, String> {
    let output = Command::new(binary).arg("-V").stdin(Stdio::null()).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    text.ok()
        .and_then(|text| Identity::read(&text))
        .ok_or_else(|| {
            format!(
                "`{} -V` does not print version, flags and revision: set OPENSIPS to an OpenSIPS binary",
                binary.display()
            )
        })
}

/// Asks the tree's own make how it would compile a module, without building any. A tree that was
/// never built has no `Makefile.conf`; its make would use the template.
fn ask_make(tree: &Path, work: &Path) -> Result<Compile, String> {
    let makefile = work.join("opensips.mk");
    let rules = "include $(firstword $(wildcard Makefile.conf Makefile.conf.template))\n\
                 include Makefile.defs\n\
                 $(info $(CC) $(MOD_CFLAGS) $(DEFS))\n\
                 cpm-says:\n\t@:\n";
    write(&makefile, rules)?;
    let no_defines = |reason: String| {
        format!(
            "the make of {} does not say how it compiles a module ({reason})",
            tree.display()
        )
    };
    // Cargo's environment has variables that OpenSIPS's makefiles would use.
    let output = Command::new("make")
        .args(["--no-print-directory", "-s", "-C"])
        .arg(tree)
        .arg("-f")
        .arg(&makefile)
        .arg("cpm-says")
        .env_clear()
        .env("PATH", env::var_os("PATH").unwrap_or_default())
        .env("LC_ALL", "C")
        .output()
        .map_err(|error| no_defines(format!("make: {error}")))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let command = text.lines().find(|line| line.contains(" -DVERSION="));
    let words = command.and_then(|command| shell_words::split(command).ok());
    let mut words = words.unwrap_or_default().into_iter();
    let Some(compiler) = words.next().filter(|_| output.status.success()) else {
        return Err(no_defines(last_line(&output.stderr)));
    };
    let mut flags = words.filter(|word| touches_code(word)).collect::<Vec<_>>();
    flags.push(String::from("-DMOD_NAME=cpm"));
    let configuration = ["Makefile.conf", "Makefile.defs"]
        .iter()
        .map(|name| tree.join(name))
        .find(|file| file.is_file());
    Ok(Compile {
        compiler,
        flags,
        include: tree.to_owned(),
        configuration: configuration.unwrap_or_default(),
    })
}

/// Starts the proxy up to tm's mod_init; the probe module then logs how much tm writes into its
/// table of functions, and refuses to start.
fn installed_sizes(
    binary: &Path,
    compile: &Compile,
    probe: &Path,
    work: &Path,
) -> Result<Option<String>, String> {
    let start = |log: &Path| -> Result<(), String> {
        let module = work.join("cpm_probe.so");
        let options = ["-shared", "-fPIC", "-DCPM_PROBE_MODULE"];
        proxy::compile_probe(compile, probe, &module, &options)?;
        let config = work.join("probe.cfg");
        let mpath = find_modules(binary)
            .map(|modules| format!("mpath=\"{}\"\n", modules.display()))
            .unwrap_or_default();
        let script = format!(
            "{mpath}stderror_enabled=yes\nsyslog_enabled=no\nudp_workers=1\n\
             socket=udp:127.0.0.1:5060\nloadmodule \"proto_udp.so\"\nloadmodule \"tm.so\"\n\
             loadmodule \"{}\"\nroute {{ exit; }}\n",
            module.display()
        );
        write(&config, &script)?;
        let mut command = Command::new(binary);
        command
            .args(["-F", "-m", "32", "-M", "4", "-f"])
            .arg(&config);
        run_to_its_end(&mut command, log)?;
        Ok(())
    };
    proxy::installed_sizes((binary, probe, work), compile, start)
}
