//! Independent SIP user agents: sipp with a scenario of the test's.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::guarded::Guarded;
use crate::way::Way;

/// What sipp is to play.
#[derive(Debug, Clone)]
pub struct Scenario {
    xml: String,
    target: Option<Way>,
    over_tcp: bool,
    calls: u32,
    deadline: Duration,
    arguments: Vec<String>,
}

impl Scenario {
    /// A scenario in sipp's XML. By default: one call, over UDP, 20 seconds.
    pub fn new(xml: &str) -> Self {
        Self {
            xml: xml.to_owned(),
            target: None,
            over_tcp: false,
            calls: 1,
            deadline: Duration::from_secs(20),
            arguments: Vec::new(),
        }
    }

    /// Sets the target of its calls. Without one the scenario waits for calls.
    pub fn towards(mut self, way: Way) -> Self {
        self.over_tcp = matches!(way, Way::Tcp(_));
        self.target = Some(way);
        self
    }

    /// Waits for calls over TCP.
    pub fn over_tcp(mut self) -> Self {
        self.over_tcp = true;
        self
    }

    /// Sets the number of calls after which it ends.
    pub fn calls(mut self, calls: u32) -> Self {
        self.calls = calls;
        self
    }

    /// Sets the time after which it is killed and counts as failed.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Adds an argument to sipp's command line.
    pub fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }
}

/// A running sipp; killed when dropped.
#[derive(Debug)]
pub struct Sipp {
    guarded: Guarded,
    port: u16,
    deadline: Duration,
    folder: PathBuf,
}

impl Sipp {
    pub(crate) fn start(scenario: &Scenario, port: u16, folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let file = folder.join("scenario.xml");
        fs::write(&file, &scenario.xml)?;
        let mut command = Command::new("sipp");
        command.current_dir(folder);
        command.args(scenario.target.map(|way| way.address().to_string()));
        command.arg("-sf").arg(&file);
        command.args([
            "-i",
            "127.0.0.1",
            "-p",
            &port.to_string(),
            "-m",
            &scenario.calls.to_string(),
        ]);
        command.args(["-t", if scenario.over_tcp { "t1" } else { "u1" }]);
        command.args(["-nostdin", "-trace_err", "-error_file", "errors.log"]);
        command.args(&scenario.arguments);
        let guarded = Guarded::start(&mut command, None, &folder.join("sipp.log"), None)?;
        Ok(Self {
            guarded,
            port,
            deadline: scenario.deadline,
            folder: folder.to_owned(),
        })
    }

    /// The address it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Waits for the end of the scenario; every call must have followed it.
    #[track_caller]
    pub fn finish(self) {
        if let Err(words) = self.outcome() {
            panic!("sipp: {words}");
        }
    }

    /// Waits for the end of the scenario. `Err`: what went wrong, in sipp's words.
    pub fn outcome(mut self) -> Result<(), String> {
        let words = match self.guarded.wait(self.deadline) {
            Some(status) if status.success() => return Ok(()),
            Some(status) => format!("{status}"),
            None => format!("not done within {:?}", self.deadline),
        };
        let errors = fs::read_to_string(self.folder.join("errors.log")).unwrap_or_default();
        Err(format!("{words}\n{errors}\n{}", self.guarded.log().text()))
    }
}
