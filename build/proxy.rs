//! Shared by the checks of every proxy: how to compile C for it, a probe that reports the source
//! tree's view, and a short run of the installed binary.
//!
//! `tests/build.rs` includes this file.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How to compile C for the proxy, once everything fits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Compile {
    /// The compiler of the tree's own build.
    pub(crate) compiler: String,
    /// Its defines and the options that affect code generation, in their order.
    pub(crate) flags: Vec<String>,
    /// The directory of the proxy's headers.
    pub(crate) include: PathBuf,
    /// The file that changes if the tree is reconfigured or replaced.
    pub(crate) configuration: PathBuf,
}

/// A file or folder that is not accessible. Prints as one line.
#[derive(Debug)]
pub(crate) struct Unreachable {
    path: PathBuf,
    error: io::Error,
}

impl Unreachable {
    fn at(path: &Path) -> impl Fn(io::Error) -> Unreachable {
        let path = path.to_owned();
        move |error| Unreachable {
            path: path.clone(),
            error,
        }
    }
}

impl fmt::Display for Unreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.error)
    }
}

impl std::error::Error for Unreachable {}

impl From<Unreachable> for String {
    fn from(unreachable: Unreachable) -> Self {
        unreachable.to_string()
    }
}

/// Whether a compiler option changes the meaning of the code.
pub(crate) fn touches_code(option: &str) -> bool {
    ["-D", "-U", "-f", "-m", "-pthread"]
        .iter()
        .any(|kind| option.starts_with(kind))
}

/// Compiles a probe as the tree's own build would. `Err`: the compiler's message.
pub(crate) fn compile_probe(
    compile: &Compile,
    probe: &Path,
    output: &Path,
    options: &[&str],
) -> Result<(), String> {
    let result = Command::new(&compile.compiler)
        .args(&compile.flags)
        // Without optimisation, unused inline functions of the headers would need the core's
        // symbols.
        .args(["-w", "-O1", "-isystem"])
        .arg(&compile.include)
        .args(options)
        .arg(probe)
        .arg("-o")
        .arg(output)
        .env("LC_ALL", "C")
        .output();
    match result {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(first_error(&output.stderr)),
        Err(error) => Err(format!("{}: {error}", compile.compiler)),
    }
}

/// Everything the probe prints, compiled with the tree's own defines.
pub(crate) fn run_probe(compile: &Compile, probe: &Path, work: &Path) -> Result<String, String> {
    let program = work.join("probe");
    compile_probe(compile, probe, &program, &[])?;
    let output = Command::new(&program)
        .output()
        .map_err(|error| error.to_string())?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The sizes that the installed binary writes to the log when run by `start`. It runs once for each
/// binary, tree and probe: the answer is kept in `work`. `Ok(None)`: it does not report them.
pub(crate) fn installed_sizes<E: From<Unreachable>>(
    (binary, probe, work): (&Path, &Path, &Path),
    compile: &Compile,
    start: impl FnOnce(&Path) -> Result<(), E>,
) -> Result<Option<String>, E> {
    let key = format!(
        "{} {} {} {:?}",
        identity(binary)?,
        identity(&compile.configuration)?,
        identity(probe)?,
        compile.flags
    );
    let stamp = work.join("installed-sizes");
    let kept = fs::read_to_string(&stamp).unwrap_or_default();
    if let Some((known, sizes)) = kept.rsplit_once('\n')
        && known == key
    {
        return Ok(Some(sizes.to_owned()));
    }
    let log = sizes_log(work);
    start(&log)?;
    let text = fs::read(&log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let Some(sizes) = sizes(&text) else {
        return Ok(None);
    };
    write(&stamp, &format!("{key}\n{sizes}"))?;
    Ok(Some(sizes.to_owned()))
}

/// The log of the installed binary when it is asked for its sizes.
pub(crate) fn sizes_log(work: &Path) -> PathBuf {
    work.join("probe.log")
}

/// Time limit for the proxy to refuse to start: it takes a tenth of a second, on a loaded machine
/// longer.
const START_LIMIT: Duration = Duration::from_secs(20);

/// Runs `command` with its output in `log`. It ends by itself; otherwise it is killed with all its
/// children, so it gets its own process group.
pub(crate) fn run_to_its_end(command: &mut Command, log: &Path) -> Result<(), Unreachable> {
    let io = Unreachable::at(log);
    let output = fs::File::create(log).map_err(&io)?;
    let mut child = command
        .stdin(Stdio::null())
        .stdout(output.try_clone().map_err(&io)?)
        .stderr(output)
        .process_group(0)
        .spawn()
        .map_err(&io)?;
    let deadline = Instant::now() + START_LIMIT;
    while child.try_wait().map_err(&io)?.is_none() {
        if Instant::now() >= deadline {
            let group = format!("-{}", child.id());
            let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
            child.wait().map_err(&io)?;
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// `cell=624, sip_msg=2008` from `… (sizeof cell=624, sip_msg=2008) …`.
pub(crate) fn sizes(text: &str) -> Option<&str> {
    let (_, after) = text.split_once("(sizeof ")?;
    Some(after.split_once(')')?.0)
}

/// The rest of the line that begins with `name`.
pub(crate) fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines()
        .find_map(|line| line.strip_prefix(name))
        .map(str::trim_end)
}

/// Changes if the file is replaced.
fn identity(path: &Path) -> Result<String, Unreachable> {
    let meta = fs::metadata(path).map_err(Unreachable::at(path))?;
    let (mtime, nanoseconds) = (meta.mtime(), meta.mtime_nsec());
    Ok(format!(
        "{} {} {mtime}.{nanoseconds:09}",
        path.display(),
        meta.len()
    ))
}

/// The flags that only one side has: `-X` for one that the tree lacks, `+X` for one that only the
/// tree has.
pub(crate) fn difference(installed: &str, tree: &str) -> String {
    let split = |flags: &str| flags.split(", ").map(str::to_owned).collect::<Vec<_>>();
    let (installed, tree) = (split(installed), split(tree));
    let lacking = installed
        .iter()
        .filter(|flag| !tree.contains(flag))
        .map(|f| format!("-{f}"));
    let added = tree
        .iter()
        .filter(|flag| !installed.contains(flag))
        .map(|f| format!("+{f}"));
    let differing = lacking.chain(added).collect::<Vec<_>>();
    if differing.is_empty() {
        String::from("their order")
    } else {
        differing.join(" ")
    }
}

fn first_error(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let line = text
        .lines()
        .find(|line| line.contains("error") || line.contains("undefined"));
    line.or_else(|| text.lines().next())
        .unwrap_or("no message")
        .trim()
        .to_owned()
}

pub(crate) fn last_line(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    text.lines()
        .last()
        .unwrap_or("it names no compile command")
        .trim()
        .to_owned()
}

pub(crate) fn create_dir(path: &Path) -> Result<(), Unreachable> {
    fs::create_dir_all(path).map_err(Unreachable::at(path))
}

pub(crate) fn write(path: &Path, text: &str) -> Result<(), Unreachable> {
    fs::write(path, text).map_err(Unreachable::at(path))
}
