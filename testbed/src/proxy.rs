//! A real proxy for one test: Kamailio or OpenSIPS.

use std::fmt;
use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::thread;
use std::time::{Duration, Instant};

use crate::config::{Place, ProxyConfig};
use crate::guarded::Guarded;
use crate::kamailio::values;
use crate::outcome::or_fail;
use crate::process::Process;
use crate::product::Product;
use crate::sys::{Signal, signal_process};
use crate::way::Way;

/// Time limit for a proxy's start or end; a healthy one needs a tenth of a second, and under
/// valgrind a hundred times as long (`CPM_PROXY_SECONDS`, which tools/sanitize sets).
static PATIENCE: LazyLock<Duration> = LazyLock::new(|| {
    let seconds = std::env::var("CPM_PROXY_SECONDS").ok();
    let seconds = seconds.and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(20))
});

/// Time given to one SIGTERM. The main process passes it on once, and a child that has not yet run
/// since its fork only records it: on a busy machine such a child would stay forever.
const ONE_SIGNAL: Duration = Duration::from_secs(3);

/// Logged by a child of Kamailio in its handler of SIGTERM, which then updates its settings and
/// ends the process.
const IN_HANDLER: &str = "sig_usr(): signal 15 received";

/// How long to wait for the proxy to become idle before it is told to end. Its children end within
/// the signal handler, wherever they are: a child that holds a lock of the shared memory, or is in
/// the middle of changing a list there, blocks or corrupts the main process.
const REST: Duration = Duration::from_secs(1);

/// Polling interval while the proxy starts.
const ASK_AGAIN: Duration = Duration::from_millis(5);

/// A running proxy. It is killed with all its processes when the test panics and when the test
/// process dies. If it is dropped at the end of a successful test, it is stopped as by
/// [`stop`](Self::stop).
#[derive(Debug)]
pub struct Proxy {
    product: Product,
    guarded: Guarded,
    port: u16,
    folder: PathBuf,
    ctl: PathBuf,
    stopped: bool,
}

/// A proxy that did not start.
#[derive(Debug)]
pub struct StartFailure {
    /// All its output.
    pub log: String,
}

impl fmt::Display for StartFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the proxy did not start; its log:\n{}", self.log)
    }
}

impl std::error::Error for StartFailure {}

impl Proxy {
    /// Starts a proxy on `port` and waits until it answers. Configuration and log are written to
    /// `folder`, where a core dump would be written too.
    pub(crate) fn start(
        config: &ProxyConfig,
        port: u16,
        folder: &Path,
    ) -> Result<Self, StartFailure> {
        Self::launch(config, port, folder).unwrap_or_else(|error| {
            Err(StartFailure {
                log: format!("(it could not be launched: {error})"),
            })
        })
    }

    fn launch(
        config: &ProxyConfig,
        port: u16,
        folder: &Path,
    ) -> std::io::Result<Result<Self, StartFailure>> {
        fs::create_dir_all(folder)?;
        // A socket's path is limited to 108 bytes, and the test's folder may be deep.
        let scratch = std::env::temp_dir().join(format!("cpm-{}", crate::request::unique()));
        fs::create_dir(&scratch)?;
        let ctl = scratch.join("ctl");
        let product = config.product;
        let file = folder.join(format!("{}.cfg", product.name()));
        let place = Place {
            port,
            ctl: &ctl,
            scratch: &scratch,
        };
        fs::write(&file, config.product.write(config, place))?;
        let mut command = product.command(&file, folder, &scratch);
        command.args(&config.arguments);
        command.envs(config.environment.iter().map(|(name, value)| (name, value)));
        let log_file = folder.join(format!("{}.log", product.name()));
        let guarded = Guarded::start(&mut command, None, &log_file, Some(&scratch))?;
        let proxy = Self {
            product,
            guarded,
            port,
            folder: folder.to_owned(),
            ctl,
            stopped: false,
        };
        Ok(proxy.wait_ready())
    }

    fn wait_ready(mut self) -> Result<Self, StartFailure> {
        let deadline = Instant::now() + *PATIENCE;
        while Instant::now() < deadline && !self.guarded.log().is_closed() {
            if self.ctl.exists() && self.is_complete() {
                return Ok(self);
            }
            thread::sleep(ASK_AGAIN);
        }
        self.stopped = true;
        Err(StartFailure {
            log: self.guarded.log().text(),
        })
    }

    /// Whether all its processes run and it is listening.
    fn is_complete(&self) -> bool {
        let table = self.product.process_table(&self.ctl);
        let last = self.product.last_process();
        table.is_ok_and(|table| table.iter().any(|(_, name)| name.contains(last)))
            && self.product.is_listening(self.port)
    }

    /// The port, for both UDP and TCP.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The socket that it is asked through.
    pub fn control_socket(&self) -> &Path {
        &self.ctl
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

    /// Runs a command without effect, and waits for the answer.
    #[track_caller]
    pub fn ping(&self) {
        or_fail("asking the proxy", self.product.process_table(&self.ctl));
    }

    /// Runs a command over the control socket, with arguments separated by spaces. The answer is
    /// the text that kamcmd prints, or one line for each value; a refused command fails the test.
    /// The module's commands have Kamailio's names (`cpm.stats`).
    #[track_caller]
    pub fn rpc(&self, command: &str) -> String {
        or_fail(command, self.try_rpc(command))
    }

    /// The same, but returns a refusal (`error: 500 - …`).
    pub fn try_rpc(&self, command: &str) -> Result<String, String> {
        self.product.ask(&self.ctl, command)
    }

    /// A number in an answer, such as `rpc_number("core.shmmem", "used")`: that of the first line
    /// with this name.
    #[track_caller]
    pub fn rpc_number(&self, command: &str, name: &str) -> u64 {
        let answer = self.rpc(command);
        let number = values(&answer, name)
            .next()
            .and_then(|value| value.parse().ok());
        let missing = || format!("no number {name} in the answer:\n{answer}");
        or_fail(command, number.ok_or_else(missing))
    }

    /// All statistics of a group, by their names in it.
    #[track_caller]
    pub fn statistics(&self, group: &str) -> Vec<(String, u64)> {
        or_fail(group, self.product.statistics(&self.ctl, group))
    }

    /// One of them.
    #[track_caller]
    pub fn statistic(&self, group: &str, name: &str) -> u64 {
        let all = self.statistics(group);
        let found = all.iter().find(|(known, _)| known == name);
        let missing = || format!("no {name} among {all:?}");
        or_fail(group, found.map(|(_, value)| *value).ok_or_else(missing))
    }

    /// Number of transactions in tm.
    #[track_caller]
    pub fn transactions(&self) -> u64 {
        match self.product {
            Product::Kamailio => self.rpc_number("tm.stats", "current"),
            Product::OpenSips => self.statistic("tm", "inuse_transactions"),
        }
    }

    /// Changes a parameter of the module while the proxy is running.
    #[track_caller]
    pub fn tune(&self, name: &str, value: i64) {
        or_fail(name, self.try_tune(name, value));
    }

    /// The same, but returns a refusal.
    pub fn try_tune(&self, name: &str, value: i64) -> Result<String, String> {
        match self.product {
            Product::Kamailio => self.try_rpc(&format!("cfg.set_now_int cpm {name} {value}")),
            Product::OpenSips => self.try_rpc(&format!("cpm.set {name} {value}")),
        }
    }

    /// Shared memory in use, in bytes including bookkeeping.
    #[track_caller]
    pub fn shared_memory_used(&self) -> u64 {
        match self.product {
            Product::Kamailio => self.rpc_number("core.shmmem", "real_used"),
            Product::OpenSips => self.statistic("shmem", "real_used_size"),
        }
    }

    /// Private memory in use by each process: process number, bytes including bookkeeping.
    #[track_caller]
    pub fn private_memory_used(&self) -> Vec<(u32, u64)> {
        let used = self.product.private_memory_used(&self.ctl);
        or_fail("private memory", used)
    }

    /// The proxy's own process table: number and description.
    #[track_caller]
    pub fn process_table(&self) -> Vec<(u32, String)> {
        or_fail("processes", self.product.process_table(&self.ctl))
    }

    /// All living processes of the proxy, as reported by the kernel.
    pub fn processes(&self) -> Vec<Process> {
        self.guarded.processes()
    }

    /// Whether all processes in the proxy's own table are alive.
    pub fn processes_alive(&self) -> bool {
        let living = self.processes();
        let table = self.product.process_table(&self.ctl).unwrap_or_default();
        let lives = |pid: u32| living.iter().any(|process| process.pid == pid);
        !table.is_empty() && table.iter().all(|(pid, _)| lives(*pid))
    }

    /// User plus system time of all living processes since their start.
    pub fn cpu_time(&self) -> Duration {
        self.processes()
            .iter()
            .map(|process| process.cpu_time)
            .sum()
    }

    /// Resident memory of all processes in bytes; shared memory counts once for each.
    pub fn rss_bytes(&self) -> u64 {
        self.processes()
            .iter()
            .map(|process| process.rss_bytes)
            .sum()
    }

    /// Open descriptors of each process.
    pub fn open_descriptors(&self) -> Vec<(u32, usize)> {
        let processes = self.processes().into_iter();
        processes
            .map(|process| (process.pid, process.open_descriptors))
            .collect()
    }

    /// The proxy's log so far.
    pub fn log(&self) -> String {
        self.guarded.log().text()
    }

    /// Waits until the log contains this.
    #[track_caller]
    pub fn expect_log(&self, words: &str) {
        if !self.guarded.log().wait_for(words, crate::way::PATIENCE) {
            panic!("the log does not contain {words:?}:\n{}", self.log());
        }
    }

    /// Stops the proxy as an operator would (SIGTERM) and checks that it ended well: exit status 0,
    /// no crash or bug in the log, no core dump, no process left.
    #[track_caller]
    pub fn stop(mut self) {
        let complaints = self.end();
        assert!(
            complaints.is_empty(),
            "the proxy: {}",
            complaints.join("; ")
        );
    }

    /// Kills the proxy and its processes at once, like a failure of its machine.
    pub fn kill(mut self) {
        self.stopped = true;
    }

    /// Stops the proxy in the midst of its work, as a supervisor does: SIGTERM, and SIGKILL for
    /// what is still there after a while. Kamailio ends within the signal's handler, wherever it
    /// is: what it does then is not judged.
    pub fn terminate(mut self) {
        self.stopped = true;
        self.guarded.signal(Signal::Terminate);
        self.guarded.wait(ONE_SIGNAL);
    }

    /// Stops the proxy and reports everything that was wrong while it ran and when it ended.
    pub fn stop_and_tell(mut self) -> Vec<String> {
        self.end()
    }

    fn end(&mut self) -> Vec<String> {
        self.stopped = true;
        let mut complaints = Vec::new();
        self.wait_for_rest();
        self.guarded.signal(Signal::Terminate);
        let wait = |proxy: &mut Self| proxy.guarded.wait(ONE_SIGNAL);
        let ended = wait(self)
            .or_else(|| {
                let processes = self.processes();
                signal_all(
                    processes.iter().map(|process| process.pid),
                    Signal::Terminate,
                );
                wait(self)
            })
            .or_else(|| {
                let log = self.log();
                let processes = self.processes();
                let stuck = in_their_handler(&log)
                    .filter(|pid| processes.iter().any(|process| process.pid == *pid));
                signal_all(stuck, Signal::Kill);
                self.guarded.wait(*PATIENCE)
            });
        match ended {
            Some(status) if status.success() => {}
            Some(status) => complaints.push(format!("ended with {status}")),
            None => complaints.push(format!("did not end within {:?}", *PATIENCE)),
        }
        let left = self.guarded.processes();
        if !left.is_empty() {
            complaints.push(format!("left processes: {left:?}"));
        }
        let log = self.log();
        let bad = self.product.bad_lines(&log);
        complaints.extend(bad.map(|line| format!("logged {line:?}")));
        let files = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let names = files.map(|file| file.file_name().to_string_lossy().into_owned());
        complaints.extend(
            names
                .filter(|name| name.starts_with("core"))
                .map(|name| format!("left {name}")),
        );
        complaints
    }

    /// Waits until no process has work to do, with a time limit.
    fn wait_for_rest(&self) {
        let deadline = Instant::now() + REST;
        let is_busy = || self.processes().iter().any(|process| process.busy);
        while is_busy() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // During a panic the guard's own drop kills it, which is all that is needed.
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

/// The children that have begun to end. The handler may free shared memory, whose lock stays taken
/// forever if another child ended while it held it: a child that is still there seconds later
/// hangs. Kamailio itself kills it after its `exit_timeout` of a minute.
fn in_their_handler(log: &str) -> impl Iterator<Item = u32> {
    let lines = log.lines().filter(|line| line.contains(IN_HANDLER));
    lines.filter_map(|line| {
        let (_, rest) = line.split_once('(')?;
        rest.split_once(')')?.0.parse().ok()
    })
}

/// Signals those that still exist.
fn signal_all(pids: impl IntoIterator<Item = u32>, signal: Signal) {
    for pid in pids {
        let _ = signal_process(pid, signal);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_in_their_handler_are_found_by_their_lines() {
        let log = " 8(11137) INFO: <core> [main.c:854]: sig_usr(): signal 15 received\n\
            10(42) INFO: <core> [main.c:854]: sig_usr(): signal 10 received\n\
            CPM sessions(7) NOTICE: cpm: ends\n";
        assert_eq!(in_their_handler(log).collect::<Vec<_>>(), [11137]);
    }
}
