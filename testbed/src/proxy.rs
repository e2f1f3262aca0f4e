//! A real Kamailio for one test.

use std::fmt;
use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::config::ProxyConfig;
use crate::guarded::Guarded;
use crate::kamailio;
use crate::outcome::or_fail;
use crate::process::Process;
use crate::sys::{Signal, signal_process};
use crate::way::Way;

/// Longest time a proxy may take to come up or to go down; a healthy one needs a tenth of a second.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long one SIGTERM is given. Kamailio passes it on once, and a child that has not yet run
/// since its fork only takes note of it: on a busy machine such a child would stay for ever.
const ONE_SIGNAL: Duration = Duration::from_secs(3);

/// How long the proxy is given to come to rest before it is told to end. Its children end within
/// the signal's handler, wherever they are: one that holds a lock of the shared memory, or is half
/// way through a list in it, leaves the main process waiting or in ruins.
const REST: Duration = Duration::from_secs(1);

/// Between two questions whether the proxy is up.
const ASK_AGAIN: Duration = Duration::from_millis(5);

/// Shared and private memory in MiB: enough for thousands of transactions, and small enough that a
/// leak shows soon.
const SHARED_MEMORY_MIB: &str = "64";
const PRIVATE_MEMORY_MIB: &str = "8";

/// Words in the log that no healthy proxy says.
const BAD_WORDS: [&str; 7] = [
    "CRITICAL:",
    "BUG:",
    " BUG ",
    "signal 6",
    "signal 11",
    "core was generated",
    "core dumped",
];

/// Said by the main process before it ends the others.
const FAREWELL: &str = "Thank you for flying kamailio";

/// A process that goes down later than the TCP main process logs this as CRITICAL: after the
/// farewell it only tells in which order they ended.
const HARMLESS_AFTER_FAREWELL: &str = "receive_fd(): EOF on";

/// The last process that the main process forks: with it the table is complete.
const LAST_PROCESS: &str = "tcp main process";

/// A running Kamailio. It is killed with all its processes when the test panics and when the test
/// process dies. Dropped at the end of a good test, it is stopped as by [`stop`](Self::stop).
#[derive(Debug)]
pub struct Proxy {
    guarded: Guarded,
    port: u16,
    folder: PathBuf,
    ctl: PathBuf,
    stopped: bool,
}

/// A proxy that did not come up.
#[derive(Debug)]
pub struct StartFailure {
    /// All that it wrote.
    pub log: String,
}

impl fmt::Display for StartFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the proxy did not start; its log:\n{}", self.log)
    }
}

impl std::error::Error for StartFailure {}

impl Proxy {
    /// Starts a proxy on `port` and waits until it answers. Configuration and log go to `folder`,
    /// which is also where a core dump would land. `KAMAILIO` names another binary than the one in
    /// the path.
    pub(crate) fn start(
        config: &ProxyConfig,
        port: u16,
        folder: &Path,
    ) -> Result<Self, StartFailure> {
        Self::launch(config, port, folder).unwrap_or_else(|error| {
            Err(StartFailure {
                log: format!("(not even launched: {error})"),
            })
        })
    }

    fn launch(
        config: &ProxyConfig,
        port: u16,
        folder: &Path,
    ) -> std::io::Result<Result<Self, StartFailure>> {
        fs::create_dir_all(folder)?;
        // Paths of sockets are short (108 bytes), the test's folder may lie deep.
        let scratch = std::env::temp_dir().join(format!("cpm-{}", crate::request::unique()));
        fs::create_dir(&scratch)?;
        let ctl = scratch.join("ctl");
        let file = folder.join("kamailio.cfg");
        fs::write(&file, config.write(port, &ctl, &scratch))?;
        let mut command = Command::new(kamailio::binary());
        command.args([
            "-DD",
            "-E",
            "-m",
            SHARED_MEMORY_MIB,
            "-M",
            PRIVATE_MEMORY_MIB,
        ]);
        command
            .arg("-f")
            .arg(&file)
            .arg("-w")
            .arg(folder)
            .arg("-Y")
            .arg(&scratch);
        command.args(config.arguments());
        let log_file = folder.join("kamailio.log");
        let guarded = Guarded::start(&mut command, None, &log_file, Some(&scratch))?;
        let proxy = Self {
            guarded,
            port,
            folder: folder.to_owned(),
            ctl,
            stopped: false,
        };
        Ok(proxy.wait_ready())
    }

    fn wait_ready(mut self) -> Result<Self, StartFailure> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline && !self.guarded.log().is_closed() {
            if self.ctl.exists()
                && self
                    .ask("core.psx")
                    .is_ok_and(|text| text.contains(LAST_PROCESS))
            {
                return Ok(self);
            }
            thread::sleep(ASK_AGAIN);
        }
        self.stopped = true;
        Err(StartFailure {
            log: self.guarded.log().text(),
        })
    }

    /// The port, for UDP and TCP.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The way to the proxy over UDP.
    pub fn udp(&self) -> Way {
        Way::Udp(SocketAddr::from((Ipv4Addr::LOCALHOST, self.port)))
    }

    /// The way to the proxy over UDP and IPv6.
    pub fn udp_v6(&self) -> Way {
        Way::Udp(SocketAddr::from((Ipv6Addr::LOCALHOST, self.port)))
    }

    /// The way to the proxy over TCP.
    pub fn tcp(&self) -> Way {
        Way::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, self.port)))
    }

    /// Asks over the control socket: a command with its arguments, separated by spaces. The answer
    /// is the text that kamcmd prints; a refused command is a failure.
    #[track_caller]
    pub fn rpc(&self, command: &str) -> String {
        or_fail(command, self.ask(command))
    }

    /// The same, with a refusal (`error: 500 - …`) as a value.
    pub fn try_rpc(&self, command: &str) -> Result<String, String> {
        self.ask(command)
    }

    /// One number of an answer, such as `rpc_number("core.shmmem", "used")`. The first line with
    /// this name counts.
    #[track_caller]
    pub fn rpc_number(&self, command: &str, name: &str) -> u64 {
        let answer = self.rpc(command);
        let number = values(&answer, name)
            .next()
            .and_then(|value| value.parse().ok());
        let missing = || format!("no number {name} in the answer:\n{answer}");
        or_fail(command, number.ok_or_else(missing))
    }

    /// Shared memory in use, in bytes, bookkeeping included.
    #[track_caller]
    pub fn shared_memory_used(&self) -> u64 {
        self.rpc_number("core.shmmem", "real_used")
    }

    /// Private memory in use per process: process number, bytes with bookkeeping.
    #[track_caller]
    pub fn private_memory_used(&self) -> Vec<(u32, u64)> {
        let answer = self.rpc("pkg.stats");
        let numbers = |name| values(&answer, name).filter_map(|value| value.parse().ok());
        let used = numbers("real_used");
        numbers("pid")
            .filter_map(|pid| u32::try_from(pid).ok())
            .zip(used)
            .collect()
    }

    /// The proxy's own table of processes: number and description.
    #[track_caller]
    pub fn process_table(&self) -> Vec<(u32, String)> {
        let answer = self.rpc("core.psx");
        let pids = values(&answer, "PID").filter_map(|value| value.parse().ok());
        pids.zip(values(&answer, "DSC").map(str::to_owned))
            .collect()
    }

    /// Every living process of the proxy as the kernel sees it.
    pub fn processes(&self) -> Vec<Process> {
        self.guarded.processes()
    }

    /// Whether each process that the proxy's own table lists still lives.
    pub fn processes_alive(&self) -> bool {
        let living = self.processes();
        let Ok(answer) = self.ask("core.psx") else {
            return false;
        };
        let mut pids = values(&answer, "PID").map(str::parse::<u32>).peekable();
        pids.peek().is_some() && pids.all(|pid| living.iter().any(|process| Ok(process.pid) == pid))
    }

    /// User plus system time of all living processes since their start.
    pub fn cpu_time(&self) -> Duration {
        self.processes()
            .iter()
            .map(|process| process.cpu_time)
            .sum()
    }

    /// Resident memory of all processes in bytes; what they share counts once for each.
    pub fn rss_bytes(&self) -> u64 {
        self.processes()
            .iter()
            .map(|process| process.rss_bytes)
            .sum()
    }

    /// Open descriptors per process.
    pub fn open_descriptors(&self) -> Vec<(u32, usize)> {
        let processes = self.processes().into_iter();
        processes
            .map(|process| (process.pid, process.open_descriptors))
            .collect()
    }

    /// All that the proxy has logged so far.
    pub fn log(&self) -> String {
        self.guarded.log().text()
    }

    /// Waits until the log says this.
    #[track_caller]
    pub fn expect_log(&self, words: &str) {
        if !self.guarded.log().wait_for(words, crate::way::PATIENCE) {
            panic!("the log never said {words:?}:\n{}", self.log());
        }
    }

    /// Stops the proxy as an operator would (SIGTERM) and makes sure that it went well: exit status
    /// 0, no word of a crash or of a bug in the log, no core dump, no process left.
    #[track_caller]
    pub fn stop(mut self) {
        let complaints = self.end();
        assert!(
            complaints.is_empty(),
            "the proxy: {}",
            complaints.join("; ")
        );
    }

    /// Kills the proxy and its processes at once, as a failure of its machine would.
    pub fn kill(mut self) {
        self.stopped = true;
    }

    /// Stops the proxy and says what was wrong with its life and its end.
    pub fn stop_and_tell(mut self) -> Vec<String> {
        self.end()
    }

    fn end(&mut self) -> Vec<String> {
        self.stopped = true;
        let mut complaints = Vec::new();
        self.wait_for_rest();
        self.guarded.signal(Signal::Terminate);
        let ended = self.guarded.wait(ONE_SIGNAL).or_else(|| {
            for process in self.guarded.processes() {
                let _ = signal_process(process.pid, Signal::Terminate);
            }
            self.guarded.wait(PATIENCE)
        });
        match ended {
            Some(status) if status.success() => {}
            Some(status) => complaints.push(format!("ended with {status}")),
            None => complaints.push(format!("did not end within {PATIENCE:?}")),
        }
        let left = self.guarded.processes();
        if !left.is_empty() {
            complaints.push(format!("left processes: {left:?}"));
        }
        complaints.extend(bad_lines(&self.log()).map(|line| format!("logged {line:?}")));
        let files = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let names = files.map(|file| file.file_name().to_string_lossy().into_owned());
        complaints.extend(
            names
                .filter(|name| name.starts_with("core"))
                .map(|name| format!("left {name}")),
        );
        complaints
    }

    /// Waits until no process has anything to do, for some time at most.
    fn wait_for_rest(&self) {
        let deadline = Instant::now() + REST;
        let is_busy = || self.processes().iter().any(|process| process.busy);
        while is_busy() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(2));
        }
    }

    fn ask(&self, command: &str) -> Result<String, String> {
        let output = Command::new("kamcmd")
            .arg("-s")
            .arg(format!("unix:{}", self.ctl.display()))
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
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // In a panic the guard's own drop kills, which is all that is wanted then.
        if !self.stopped && !thread::panicking() {
            let complaints = self.end();
            assert!(
                complaints.is_empty(),
                "the proxy: {}",
                complaints.join("; ")
            );
        }
    }
}

fn bad_lines(log: &str) -> impl Iterator<Item = &str> {
    let (life, end) = log.split_once(FAREWELL).unwrap_or((log, ""));
    let end = end
        .lines()
        .filter(|line| !line.contains(HARMLESS_AFTER_FAREWELL));
    life.lines()
        .chain(end)
        .filter(|line| BAD_WORDS.iter().any(|word| line.contains(word)))
}

/// The values of every `name: value` line in kamcmd's text.
pub fn values<'a>(answer: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
    answer.lines().filter_map(move |line| {
        let (own, value) = line.trim().split_once(':')?;
        (own == name).then_some(value.trim())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_eof_is_harmless_only_after_the_farewell() {
        let eof = "9(1) CRITICAL: <core> [core/pass_fd.c:277]: receive_fd(): EOF on 9";
        let end = format!("0(1) NOTICE: Thank you for flying kamailio!!!\n{eof}\n3(1) BUG: x\n");
        assert_eq!(bad_lines(&end).collect::<Vec<_>>(), ["3(1) BUG: x"]);
        assert_eq!(
            bad_lines(&format!("{eof}\n{end}")).collect::<Vec<_>>(),
            [eof, "3(1) BUG: x"]
        );
    }

    #[test]
    fn values_are_found_by_whole_name() {
        let answer = "{\n\tused: 1\n\treal_used: 2\n}\n{\n\tused: 3\n}\n";
        assert_eq!(values(answer, "used").collect::<Vec<_>>(), ["1", "3"]);
    }
}
