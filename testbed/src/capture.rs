//! Captures the traffic of the bench's ports on the loopback interface, with dumpcap.

use std::fmt;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::guarded::Guarded;
use crate::marker::MARKER;
use crate::message::find;
use crate::outcome::or_fail;
use crate::recording::{PortUse, Recording};
use crate::request::unique;
use crate::segments::Segments;
use crate::sys::Signal;

/// Time limit for dumpcap to start, to show a marker and to end.
const PATIENCE: Duration = Duration::from_secs(20);

/// Kernel buffer in MiB: a burst of many thousand messages. The kernel fills it in 128 blocks of
/// 256 KiB, and begins a new one after 250 ms at the latest.
const KERNEL_BUFFER_MIB: &str = "32";

/// This little in this short a time cannot fill the buffer, even if dumpcap does not read at all:
/// it takes at most 43 blocks for the bytes and 40 for the time.
const ALWAYS_FITS: (u64, Duration) = (8 << 20, Duration::from_secs(10));

/// The output of dumpcap once the interface is open and the filter in place.
const READY: &str = "File: ";

/// Why there is no capture.
#[derive(Debug)]
pub enum CaptureError {
    /// dumpcap lacks the permission to capture; the command grants it.
    NotPermitted {
        /// To be run once, as an administrator.
        command: String,
    },
    /// dumpcap is not installed or did not start.
    NotStarted(std::io::Error),
    /// dumpcap ended or no longer responds; its output.
    Failed(String),
}

impl fmt::Display for CaptureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotPermitted { command } => {
                write!(
                    f,
                    "capturing is not permitted; this permits it, once:\n    {command}"
                )
            }
            Self::NotStarted(error) => write!(f, "dumpcap: {error}"),
            Self::Failed(words) => write!(f, "dumpcap failed: {words}"),
        }
    }
}

impl std::error::Error for CaptureError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::NotStarted(error) => Some(error),
            Self::NotPermitted { .. } | Self::Failed(_) => None,
        }
    }
}

/// A running capture.
#[derive(Debug)]
pub struct Capture {
    guarded: Guarded,
    file: PathBuf,
    socket: UdpSocket,
    end_marker: Vec<u8>,
    seen: Receiver<()>,
    writer: JoinHandle<std::io::Result<u64>>,
    started: Instant,
    ports: PortUse,
}

impl Capture {
    /// Starts to capture the packets selected by `filter` (in the syntax of pcap-filter), and waits
    /// until nothing sent from now on can be missed. `marker_port` is a UDP port that the filter
    /// selects and nothing else uses.
    pub(crate) fn start(
        filter: &str,
        marker_port: u16,
        folder: &Path,
        ports: PortUse,
    ) -> Result<Self, CaptureError> {
        let mut command = Command::new("dumpcap");
        command.args(["-q", "-i", "lo", "-B", KERNEL_BUFFER_MIB, "-w", "-"]);
        command.args(["-f", filter]);
        let log = folder.join("dumpcap.log");
        let stdout = Some(Stdio::piped());
        let mut guarded = Guarded::start(&mut command, stdout, &log, None).map_err(|error| {
            match error.kind() {
                std::io::ErrorKind::PermissionDenied => not_permitted(),
                _ => CaptureError::NotStarted(error),
            }
        })?;
        if !guarded.log().wait_for(READY, PATIENCE) {
            let words = guarded.log().text();
            let denied = ["permission", "not permitted"]
                .iter()
                .any(|word| words.contains(word));
            return Err(if denied {
                not_permitted()
            } else {
                CaptureError::Failed(words)
            });
        }
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, marker_port))
            .map_err(CaptureError::NotStarted)?;
        let end_marker = [MARKER, unique().as_bytes()].concat();
        let file = folder.join("capture.pcapng");
        let output = File::create(&file).map_err(CaptureError::NotStarted)?;
        let (sender, seen) = mpsc::channel();
        let Some(stdout) = guarded.take_stdout() else {
            return Err(CaptureError::Failed("no standard output".to_owned()));
        };
        let marker = end_marker.clone();
        let writer = thread::spawn(move || store(stdout, output, &marker, &sender));
        Ok(Self {
            guarded,
            file,
            socket,
            end_marker,
            seen,
            writer,
            started: Instant::now(),
            ports,
        })
    }

    /// Ends the capture once it has everything sent before this call.
    #[track_caller]
    pub fn stop(self) -> Recording {
        or_fail("stopping the capture", self.try_stop())
    }

    fn try_stop(mut self) -> Result<Recording, CaptureError> {
        let address = self.socket.local_addr().map_err(CaptureError::NotStarted)?;
        self.socket
            .send_to(&self.end_marker, address)
            .map_err(CaptureError::NotStarted)?;
        match self.seen.recv_timeout(PATIENCE) {
            Ok(()) => {}
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                let words = format!("the end marker never came\n{}", self.guarded.log().text());
                return Err(CaptureError::Failed(words));
            }
        }
        self.guarded.signal(Signal::Interrupt);
        let ended = self
            .guarded
            .wait(PATIENCE)
            .is_some_and(|status| status.success());
        let words = self.guarded.log().text();
        let running = self.started.elapsed();
        match self.writer.join() {
            Ok(Ok(bytes)) if ended && nothing_missing(&words, bytes, running) => {
                Ok(Recording::new(self.file, self.ports))
            }
            Ok(Err(error)) => Err(CaptureError::NotStarted(error)),
            _ => Err(CaptureError::Failed(words)),
        }
    }
}

/// Copies the capture to its file; reports when the marker has been captured. Returns the length of
/// the file.
fn store(
    mut stdout: ChildStdout,
    mut file: File,
    marker: &[u8],
    seen: &Sender<()>,
) -> std::io::Result<u64> {
    let mut buffer = [0; 65_536];
    let mut tail: Vec<u8> = Vec::new();
    let mut bytes = 0;
    let mut segments = Segments::default();
    loop {
        let length = stdout.read(&mut buffer)?;
        if length == 0 {
            return Ok(bytes);
        }
        file.write_all(&segments.push(&buffer[..length]))?;
        bytes += length as u64;
        tail.extend_from_slice(&buffer[..length]);
        if find(&tail, marker).is_some() {
            // There is no receiver any more if the capture was dropped.
            let _ = seen.send(());
        }
        tail.drain(..tail.len().saturating_sub(marker.len() - 1));
    }
}

/// Whether everything sent since the start was captured. dumpcap also counts packets that the
/// kernel dropped before the filter was in place, if other tests filled the buffer in that moment.
fn nothing_missing(words: &str, bytes: u64, running: Duration) -> bool {
    nothing_dropped(words) || (bytes < ALWAYS_FITS.0 && running < ALWAYS_FITS.1)
}

/// Reads `Packets received/dropped on interface 'Loopback: lo': 15/0 (…)`.
fn nothing_dropped(words: &str) -> bool {
    words
        .lines()
        .filter(|line| line.starts_with("Packets received/dropped"))
        .filter_map(|line| line.rsplit_once("': ")?.1.split([' ', '/']).nth(1))
        .all(|dropped| dropped == "0")
}

fn not_permitted() -> CaptureError {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut files = std::env::split_paths(&path).map(|folder| folder.join("dumpcap"));
    let dumpcap = files
        .find(|file| file.exists())
        .unwrap_or_else(|| "/usr/bin/dumpcap".into());
    CaptureError::NotPermitted {
        command: format!(
            "sudo setcap cap_net_raw,cap_net_admin=eip {0} && sudo chmod o+rx {0}",
            dumpcap.display()
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{ALWAYS_FITS, nothing_missing};

    #[test]
    fn dropped_packets_are_noticed() {
        let line = "Packets received/dropped on interface 'Loopback: lo': 15/0 (pcap:0/dumpcap:0)";
        let (bytes, time) = ALWAYS_FITS;
        assert!(nothing_missing(line, bytes, time));
        let line = line.replace("15/0", "15/3");
        assert!(!nothing_missing(&line, bytes, Duration::ZERO));
        assert!(!nothing_missing(&line, 0, time));
    }

    #[test]
    fn what_was_dropped_before_the_filter_is_not_missed() {
        let line =
            "Packets received/dropped on interface 'Loopback: lo': 57/295 (pcap:295/dumpcap:0)";
        assert!(nothing_missing(line, 40_000, Duration::from_secs(1)));
    }
}
