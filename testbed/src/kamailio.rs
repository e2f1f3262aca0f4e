//! Kamailio: configuration, command line, and queries.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::config::{PRIVATE_MEMORY_MIB, ProxyConfig, SHARED_MEMORY_MIB};

/// The frame around the routing block. `@…@` marks placeholders.
const TEMPLATE: &str = r#"#!KAMAILIO
debug=2
log_stderror=yes
memdbg=5
memlog=5
# One worker per listening socket and few others: a small machine runs many of these at once.
children=@CHILDREN@
tcp_children=@CHILDREN@
auto_aliases=no
dns=no
rev_dns=no
use_dns_cache=on
tcp_accept_no_cl=no
server_header="Server: kamailio"
@LISTEN@
@MPATH@
loadmodule "kex.so"
loadmodule "ctl.so"
modparam("ctl", "binrpc", "unix:@CTL@")
@MODULES@
@MODPARAMS@

@ROUTES@
"#;

/// Words that never appear in the log of a healthy proxy.
pub(crate) const BAD_WORDS: [&str; 7] = [
    "CRITICAL:",
    "BUG:",
    " BUG ",
    "signal 6",
    "signal 11",
    "core was generated",
    "core dumped",
];

/// Logged by the main process before it ends the others.
pub(crate) const FAREWELL: &str = "Thank you for flying kamailio";

/// A process that ends later than the TCP main process logs this as CRITICAL: during the shutdown
/// it only shows the order in which they ended.
pub(crate) const HARMLESS_AFTER_FAREWELL: &str = "receive_fd(): EOF on";

/// The last process that the main process forks: with it the table is complete.
pub(crate) const LAST_PROCESS: &str = "tcp main process";

/// The binary: `KAMAILIO`, or where Debian puts it.
fn binary() -> OsString {
    std::env::var_os("KAMAILIO").unwrap_or_else(|| "/usr/sbin/kamailio".into())
}

/// The command that starts it in the foreground.
pub(crate) fn command(file: &Path, folder: &Path, scratch: &Path) -> Command {
    let mut command = Command::new(binary());
    command.args(["-DD", "-E"]);
    command.args(["-m", SHARED_MEMORY_MIB, "-M", PRIVATE_MEMORY_MIB]);
    command.arg("-f").arg(file).arg("-w").arg(folder);
    command.arg("-Y").arg(scratch);
    command
}

/// The frame, filled in from this configuration.
pub(crate) fn fill_in(config: &ProxyConfig) -> String {
    let mut listen = format!(
        "{}listen=udp:127.0.0.1:@PORT@\nlisten=tcp:127.0.0.1:@PORT@",
        settings()
    );
    if config.over_ipv6 {
        listen += "\nlisten=udp:[::1]:@PORT@\nlisten=tcp:[::1]:@PORT@";
    }
    let own = modules_folder();
    let folders = config.mpath.iter().chain([&own]);
    let folders: Vec<String> = folders.map(|path| path.display().to_string()).collect();
    let mpath = match config.mpath.is_empty() {
        true => String::new(),
        false => format!("mpath=\"{}\"", folders.join(":")),
    };
    let modules = ProxyConfig::load_lines(config.modules.iter().map(String::as_str));
    let template = config.template.as_deref().unwrap_or(TEMPLATE);
    template
        .replace("@LISTEN@", &listen)
        .replace("@MPATH@", &mpath)
        .replace("@MODULES@", &modules)
        .replace("@MODPARAMS@", &config.parameter_lines(&config.parameters))
        .replace("@ROUTES@", config.routes.trim())
}

/// Asks over the control socket: a command with its arguments, separated by spaces.
///
/// # Errors
/// The refusal (`error: 500 - …`).
pub(crate) fn ask(ctl: &Path, command: &str) -> Result<String, String> {
    let output = Command::new("kamcmd")
        .arg("-s")
        .arg(format!("unix:{}", ctl.display()))
        .args(command.split_ascii_whitespace())
        .output()
        .map_err(|error| format!("kamcmd: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    // kamcmd's exit status is 0 for a refused command too; an answer may be empty.
    let has_answer = !text.is_empty() || output.stderr.is_empty();
    if output.status.success() && has_answer && !text.starts_with("error:") {
        return Ok(text);
    }
    Err(format!("{text}{}", String::from_utf8_lossy(&output.stderr)))
}

/// The values of every `name: value` line in kamcmd's text.
pub fn values<'a>(answer: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
    answer.lines().filter_map(move |line| {
        let (own, value) = line.trim().split_once(':')?;
        (own == name).then_some(value.trim())
    })
}

/// The proxy's own table of processes: number and description.
pub(crate) fn process_table(ctl: &Path) -> Result<Vec<(u32, String)>, String> {
    let answer = ask(ctl, "core.psx")?;
    let pids = values(&answer, "PID").filter_map(|value| value.parse().ok());
    let table = pids.zip(values(&answer, "DSC").map(str::to_owned));
    Ok(table.collect())
}

/// All statistics of a group.
pub(crate) fn statistics(ctl: &Path, group: &str) -> Result<Vec<(String, u64)>, String> {
    let answer = ask(ctl, &format!("stats.fetch {group}:"))?;
    let lines = answer.lines().filter_map(|line| {
        let (name, value) = line.trim().split_once(':')?;
        let name = name.strip_prefix(group)?.strip_prefix('.')?;
        Some((name.to_owned(), value.trim().parse().ok()?))
    });
    Ok(lines.collect())
}

/// Private memory in use per process: process number, bytes with bookkeeping.
pub(crate) fn private_memory_used(ctl: &Path) -> Result<Vec<(u32, u64)>, String> {
    let answer = ask(ctl, "pkg.stats")?;
    let pids = values(&answer, "pid").filter_map(|value| value.parse().ok());
    let used = values(&answer, "real_used").filter_map(|value| value.parse().ok());
    Ok(pids.zip(used).collect())
}

/// Lines that make a proxy of this version one like those of the others.
fn settings() -> &'static str {
    static SETTINGS: OnceLock<&str> = OnceLock::new();
    SETTINGS.get_or_init(|| {
        if major_version() >= Some(6) {
            // The most that 6.1.5 takes; requests of that size and more are refused, unless told
            // from 32767 on.
            "msg_recv_max_size=65535\n"
        } else {
            ""
        }
    })
}

/// 5 of `version: kamailio 5.6.3 (x86_64/linux)`. None: there is no Kamailio, as whoever starts one
/// will see.
fn major_version() -> Option<u32> {
    let output = Command::new(binary()).arg("-v").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let (_, number) = text.split_once("version: kamailio ")?;
    number.split('.').next()?.parse().ok()
}

/// Where the packaged proxy keeps its modules, by architecture; `KAMAILIO_MODULES` names another.
fn modules_folder() -> PathBuf {
    if let Some(folder) = std::env::var_os("KAMAILIO_MODULES") {
        return folder.into();
    }
    let triplet = format!(
        "/usr/lib/{}-linux-gnu/kamailio/modules",
        std::env::consts::ARCH
    );
    let folders = [
        triplet.as_str(),
        "/usr/lib64/kamailio/modules",
        "/usr/local/lib64/kamailio/modules",
    ];
    let found = folders
        .into_iter()
        .find(|folder| Path::new(folder).is_dir());
    found.unwrap_or(folders[0]).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_by_whole_name() {
        let answer = "{\n\tused: 1\n\treal_used: 2\n}\n{\n\tused: 3\n}\n";
        assert_eq!(values(answer, "used").collect::<Vec<_>>(), ["1", "3"]);
    }
}
