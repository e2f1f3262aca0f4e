//! Checks whether the source tree fits the installed Kamailio.
//!
//! The loader compares the version and flag strings of a module with its own and refuses others. It
//! does not compare the layout of structs, and a difference there is undefined behaviour. So all of
//! it is checked before anything is compiled. Nothing here copies Kamailio's knowledge: the defines
//! come from the tree's own make or cmake, the strings from its own macros, the sizes from a short
//! run of the installed binary.
//!
//! Debian builds Kamailio with make up to 6.0 and with cmake from 6.1 on. The two never fit: in the
//! version that the loader compares, make writes the system's name as `linux`, cmake as `Linux`.
//!
//! `tests/build.rs` includes this file.

use std::env;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::proxy::{
    self, Compile, Unreachable, create_dir, difference, field, last_line, run_to_its_end, sizes,
    touches_code, write,
};

/// The build system of the proxy; its modules have to be built with the same one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BuildSystem {
    Make,
    Cmake,
}

/// The reason why the build stops. Each prints as one line: what does not fit, and what to do.
#[derive(Debug)]
pub(crate) enum Misfit {
    NoProxy,
    NotAProxy {
        binary: PathBuf,
    },
    NoTree {
        tree: PathBuf,
        version: String,
    },
    NotConfigured {
        source: PathBuf,
    },
    NoDefines {
        source: PathBuf,
        reason: String,
    },
    NoCmake {
        version: String,
        reason: String,
    },
    NoProbe {
        source: PathBuf,
        reason: String,
    },
    Version {
        binary: PathBuf,
        installed: String,
        source: PathBuf,
        tree: String,
    },
    Flags {
        binary: PathBuf,
        source: PathBuf,
        differing: String,
    },
    NoSizes {
        binary: PathBuf,
        log: PathBuf,
    },
    Sizes {
        binary: PathBuf,
        installed: String,
        source: PathBuf,
        tree: String,
    },
    Unreachable(Unreachable),
}

impl From<Unreachable> for Misfit {
    fn from(unreachable: Unreachable) -> Self {
        Misfit::Unreachable(unreachable)
    }
}

/// Checks that the proxy at `binary` and the tree fit; `tree` is `KAMAILIO_SRC`, or None for the
/// tree that `make headers` leaves below `manifest_dir`. `work` is a directory to write to.
pub(crate) fn check(
    binary: &Path,
    tree: Option<&Path>,
    manifest_dir: &Path,
    work: &Path,
) -> Result<Compile, Misfit> {
    let proxy = Proxy::ask(binary)?;
    let source = find_source(&proxy, tree, manifest_dir)?;
    let compile = match proxy.build_system() {
        BuildSystem::Make => ask_make(&source, work)?,
        BuildSystem::Cmake => ask_cmake(&proxy, &source, work)?,
    };
    let probe = manifest_dir.join("build/probe/kamailio.c");
    let expected = Probe::run(&compile, &probe, work)?;

    if expected.version != proxy.version {
        return Err(Misfit::Version {
            binary: proxy.binary,
            installed: proxy.version,
            source,
            tree: expected.version,
        });
    }
    // The loader decides about the flags: if `-v` prints others than the loader compares (as in a
    // proxy built with cmake), the module is loaded all the same.
    let installed = match installed_sizes(&proxy, &compile, &probe, work) {
        Err(Misfit::NoSizes { .. }) if expected.flags != proxy.flags => {
            let differing = difference(&proxy.flags, &expected.flags);
            return Err(Misfit::Flags {
                binary: proxy.binary,
                source,
                differing,
            });
        }
        installed => installed?,
    };
    if expected.sizes != installed {
        return Err(Misfit::Sizes {
            binary: proxy.binary,
            installed,
            source,
            tree: expected.sizes,
        });
    }
    Ok(compile)
}

/// The proxy to build for: `KAMAILIO`, else `kamailio` on the `PATH`, else Debian's path.
pub(crate) fn find_proxy() -> Result<PathBuf, Misfit> {
    if let Some(named) = env::var_os("KAMAILIO").filter(|named| !named.is_empty()) {
        return Ok(PathBuf::from(named));
    }
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin")])
        .map(|directory| directory.join("kamailio"))
        .find(|candidate| candidate.is_file())
        .ok_or(Misfit::NoProxy)
}

/// The version and flags that the installed binary reports.
struct Proxy {
    binary: PathBuf,
    /// As the loader compares it: `kamailio 5.6.3 (x86_64/linux)`.
    version: String,
    /// As the loader compares it.
    flags: String,
}

impl Proxy {
    fn ask(binary: &Path) -> Result<Proxy, Misfit> {
        let not_a_proxy = || Misfit::NotAProxy {
            binary: binary.to_owned(),
        };
        let output = Command::new(binary)
            .arg("-v")
            .stdin(Stdio::null())
            .output()
            .map_err(|_| not_a_proxy())?;
        let text = String::from_utf8_lossy(&output.stdout);
        // The source revision follows the parenthesis; the loader does not compare it.
        let version = field(&text, "version: ")
            .and_then(|line| Some(&line[..=line.find(')')?]))
            .ok_or_else(not_a_proxy)?;
        let flags = field(&text, "flags: ").ok_or_else(not_a_proxy)?;
        Ok(Proxy {
            binary: binary.to_owned(),
            version: version.to_owned(),
            flags: flags.to_owned(),
        })
    }

    /// Only the number: `5.6.3`.
    fn number(&self) -> &str {
        self.version.split(' ').nth(1).unwrap_or_default()
    }

    fn build_system(&self) -> BuildSystem {
        if self.version.ends_with("/Linux)") {
            BuildSystem::Cmake
        } else {
            BuildSystem::Make
        }
    }
}

/// The `src` directory of a tree; for make it must be configured by `make cfg`.
fn find_source(proxy: &Proxy, tree: Option<&Path>, manifest_dir: &Path) -> Result<PathBuf, Misfit> {
    let tree = match tree {
        Some(tree) => tree.to_owned(),
        None => manifest_dir
            .join(".cache")
            .join(format!("kamailio-{}", proxy.number())),
    };
    let source = tree.join("src");
    if !source.join("Makefile.modules").is_file() {
        return Err(Misfit::NoTree {
            tree,
            version: proxy.version.clone(),
        });
    }
    if proxy.build_system() == BuildSystem::Make && !source.join("config.mak").is_file() {
        return Err(Misfit::NotConfigured { source });
    }
    Ok(source)
}

/// Asks the tree's own make how it would compile a module, without building any.
fn ask_make(source: &Path, work: &Path) -> Result<Compile, Misfit> {
    let directory = work.join("make");
    create_dir(&directory)?;
    write(&directory.join("probe.c"), "")?;
    let makefile = format!(
        "COREPATH={}\ninclude $(COREPATH)/Makefile.defs\nauto_gen=\nNAME=cpm.so\nLIBS=\n\
         include $(COREPATH)/Makefile.modules\n",
        source.display()
    );
    write(&directory.join("Makefile"), &makefile)?;

    // Cargo's environment has PROFILE, TARGET and other variables that Kamailio's makefiles would
    // use.
    let output = Command::new("make")
        .args(["--no-print-directory", "-n", "Q=0"])
        .current_dir(&directory)
        .env_clear()
        .env("PATH", env::var_os("PATH").unwrap_or_default())
        .env("LC_ALL", "C")
        .output()
        .map_err(|error| Misfit::NoDefines {
            source: source.to_owned(),
            reason: format!("make: {error}"),
        })?;
    let text = String::from_utf8_lossy(&output.stdout);
    let command = text.lines().find(|line| line.contains(" -c probe.c"));
    let words = command.and_then(|command| shell_words::split(command).ok());
    let mut words = words.unwrap_or_default().into_iter();
    let Some(compiler) = words.next().filter(|_| output.status.success()) else {
        let reason = last_line(&output.stderr);
        return Err(Misfit::NoDefines {
            source: source.to_owned(),
            reason,
        });
    };
    Ok(Compile {
        compiler,
        flags: words.filter(|word| touches_code(word)).collect(),
        include: source.to_owned(),
        configuration: source.join("config.mak"),
    })
}

/// A module of Kamailio's own that is compiled with the common flags of all modules only.
const PLAIN_MODULE: &str = "kex";

/// Configures the tree in `work` with its own cmake, and reads from there how a module is compiled.
fn ask_cmake(proxy: &Proxy, source: &Path, work: &Path) -> Result<Compile, Misfit> {
    let tree = source.parent().unwrap_or(source);
    let directory = work.join("cmake");
    // cmake refuses a directory in which it has configured another tree. The directory may not
    // exist.
    let _ = fs::remove_dir_all(&directory);
    let no_defines = |reason| Misfit::NoCmake {
        version: proxy.version.clone(),
        reason,
    };
    let output = Command::new("cmake")
        .arg("-S")
        .arg(tree)
        .arg("-B")
        .arg(&directory)
        .args(["-DCMAKE_EXPORT_COMPILE_COMMANDS=ON", "-DMODULE_GROUP_NAME="])
        .arg(format!("-DINCLUDE_MODULES={PLAIN_MODULE}"))
        // cmake would take CC and CFLAGS from cargo's environment.
        .env_clear()
        .env("PATH", env::var_os("PATH").unwrap_or_default())
        .env("LC_ALL", "C")
        .output();
    match output {
        Ok(output) if output.status.success() => {}
        Ok(output) => return Err(no_defines(cmake_error(&output.stderr))),
        Err(error) => return Err(no_defines(error.to_string())),
    }
    let commands = fs::read(directory.join("compile_commands.json")).unwrap_or_default();
    let mut words = plain_module_words(&commands).into_iter();
    let Some(compiler) = words.next() else {
        return Err(no_defines(String::from("it names no compile command")));
    };
    let flags = words
        .filter(|word| touches_code(word) && *word != format!("-D{PLAIN_MODULE}_EXPORTS"))
        .map(|word| match word.split_once('=') {
            Some((name @ "-DMOD_NAME", _)) => format!("{name}=\"cpm\""),
            Some((name @ "-DMOD_NAMEID", _)) => format!("{name}=cpm"),
            _ => word,
        })
        .collect();
    Ok(Compile {
        compiler,
        flags,
        include: source.to_owned(),
        configuration: tree.join("CMakeLists.txt"),
    })
}

/// The words of the command in cmake's `compile_commands.json` that compiles [`PLAIN_MODULE`]; none
/// if there is no such command.
pub(crate) fn plain_module_words(commands: &[u8]) -> Vec<String> {
    let commands: Value = serde_json::from_slice(commands).unwrap_or_default();
    let folder = format!("/modules/{PLAIN_MODULE}/");
    let command = commands
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|one| one["command"].as_str())
        .find(|command| command.contains(&folder));
    let words = command.and_then(|command| shell_words::split(command).ok());
    words.unwrap_or_default()
}

/// The tree's version, flags and sizes, compiled with its own defines.
struct Probe {
    version: String,
    flags: String,
    sizes: String,
}

impl Probe {
    fn run(compile: &Compile, probe: &Path, work: &Path) -> Result<Probe, Misfit> {
        let no_probe = |reason| Misfit::NoProbe {
            source: compile.include.clone(),
            reason,
        };
        let text = proxy::run_probe(compile, probe, work).map_err(no_probe)?;
        match (
            field(&text, "version: "),
            field(&text, "flags: "),
            sizes(&text),
        ) {
            (Some(version), Some(flags), Some(sizes)) => Ok(Probe {
                version: version.to_owned(),
                flags: flags.to_owned(),
                sizes: sizes.to_owned(),
            }),
            _ => Err(no_probe(String::from("it printed nothing"))),
        }
    }
}

/// Starts the installed proxy up to tm's mod_init, which logs the sizes; the probe module, which is
/// next, then refuses to start.
fn installed_sizes(
    proxy: &Proxy,
    compile: &Compile,
    probe: &Path,
    work: &Path,
) -> Result<String, Misfit> {
    let start = |log: &Path| -> Result<(), Misfit> {
        let module = work.join("cpm_probe.so");
        let options = ["-shared", "-fPIC", "-DCPM_PROBE_MODULE"];
        proxy::compile_probe(compile, probe, &module, &options).map_err(|reason| {
            Misfit::NoProbe {
                source: compile.include.clone(),
                reason,
            }
        })?;
        let config = work.join("probe.cfg");
        write(
            &config,
            &format!(
                "debug=3\nchildren=1\ndisable_tcp=yes\nlisten=udp:127.0.0.1:5060\n\
                 loadmodule \"tm.so\"\nloadmodule \"{}\"\nrequest_route {{ exit; }}\n",
                module.display()
            ),
        )?;
        let runtime = work.join("run");
        create_dir(&runtime)?;
        run_to_its_end(
            Command::new(&proxy.binary)
                .args(["-DD", "-E", "-m", "16", "-M", "4", "-Y"])
                .arg(&runtime)
                .arg("-f")
                .arg(&config),
            log,
        )?;
        Ok(())
    };
    let sizes = proxy::installed_sizes((&proxy.binary, probe, work), compile, start)?;
    sizes.ok_or_else(|| Misfit::NoSizes {
        binary: proxy.binary.clone(),
        log: proxy::sizes_log(work),
    })
}

/// The text of cmake's first error, after the line that begins it.
fn cmake_error(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let mut lines = text.lines().map(str::trim);
    lines.find(|line| line.starts_with("CMake Error"));
    lines
        .find(|line| !line.is_empty())
        .unwrap_or("no message")
        .to_owned()
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Misfit::NoProxy => f.write_str(
                "no Kamailio found: install it (`tools/deps`), or set KAMAILIO to the binary that will load the module",
            ),
            Misfit::NotAProxy { binary } => write!(
                f,
                "`{} -v` does not print a version and flags: set KAMAILIO to a Kamailio binary",
                binary.display()
            ),
            Misfit::NoTree { tree, version } => write!(
                f,
                "no source tree of {version} in {}: run `make headers`, or set KAMAILIO_SRC to its tree",
                tree.display()
            ),
            Misfit::NotConfigured { source } => write!(
                f,
                "the source tree is not configured: run `make -C {} cfg`",
                source.display()
            ),
            Misfit::NoDefines { source, reason } => write!(
                f,
                "the make of {} does not say how it compiles a module ({reason}): unpack the tree anew with `make distclean headers`",
                source.display()
            ),
            Misfit::NoCmake { version, reason } => write!(
                f,
                "{version} was built with cmake, which does not configure its tree ({reason}): `apt-get install cmake flex bison`, and unpack the tree anew with `make distclean headers`"
            ),
            Misfit::NoProbe { source, reason } => write!(
                f,
                "the headers in {} do not compile ({reason}): unpack the tree anew with `make distclean headers`",
                source.display()
            ),
            Misfit::Version { binary, installed, source, tree } => write!(
                f,
                "version differs: {} is {installed}, but the tree {} is {tree}: run `make headers`, or set KAMAILIO_SRC to the tree of {installed}",
                binary.display(),
                source.display()
            ),
            Misfit::Flags { binary, source, differing } => write!(
                f,
                "compile flags differ ({differing}): {} was built with others than {} is configured for: configure the tree as the proxy was (TLS_PTHREAD_MUTEX_SHARED is `make cfg LIBSSL_SET_MUTEX_SHARED=1`)",
                binary.display(),
                source.display()
            ),
            Misfit::NoSizes { binary, log } => write!(
                f,
                "{} did not tell its struct sizes when it loaded tm: see {}",
                binary.display(),
                log.display()
            ),
            Misfit::Sizes { binary, installed, source, tree } => write!(
                f,
                "struct sizes differ: {} has {installed}, the tree {} has {tree}: set KAMAILIO_SRC to the very tree that the proxy was built from",
                binary.display(),
                source.display()
            ),
            Misfit::Unreachable(unreachable) => unreachable.fmt(f),
        }
    }
}

impl std::error::Error for Misfit {}
