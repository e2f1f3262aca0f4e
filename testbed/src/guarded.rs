//! A child process that cannot outlive the test.
//!
//! Each program has a guardian: a shell that leads the program's process group and reads from a
//! pipe whose other end only the test process holds. However the test process ends (even by
//! SIGKILL), the kernel closes that end, the shell wakes, removes the program's temporary folder
//! and kills the group. The guardian runs before the program starts, so there is no gap. The
//! parent-death signal is not enough: it follows the thread that started the child, reaches only
//! the first process, and comes too late if the parent has died before it was set.

use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::Duration;

use crate::log::Log;
use crate::process::{self, Process};
use crate::sys::{self, Signal};

/// A program in its own process group, with its children.
#[derive(Debug)]
pub(crate) struct Guarded {
    child: Child,
    guardian: Child,
    /// Closing it tells the guardian to act.
    leash: Option<ChildStdin>,
    log: Log,
}

impl Guarded {
    /// Starts `command`; standard error (and standard output, unless the caller has set `stdout`)
    /// goes to `log_file`. `scratch` is a folder that goes when the program goes.
    pub(crate) fn start(
        command: &mut Command,
        stdout: Option<Stdio>,
        log_file: &Path,
        scratch: Option<&Path>,
    ) -> io::Result<Self> {
        let mut guardian = Command::new("/bin/sh")
            .arg("-c")
            .arg(r#"read -r _; [ -z "$1" ] || rm -rf -- "$1"; kill -KILL 0"#)
            .arg("sh")
            .args(scratch)
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let leash = guardian.stdin.take();
        let started = sys::telling_pipe().and_then(|(reader, writer)| {
            let stdout = match stdout {
                Some(stdout) => stdout,
                None => writer.try_clone()?.into(),
            };
            let group = i32::try_from(guardian.id()).map_err(io::Error::other)?;
            let child = command
                .process_group(group)
                .stdin(Stdio::null())
                .stdout(stdout)
                .stderr(writer)
                .spawn();
            // The command still holds the writing ends; the log would never close.
            command.stdout(Stdio::null()).stderr(Stdio::null());
            Ok((child?, Log::record(reader, log_file)?))
        });
        match started {
            Ok((child, log)) => Ok(Self {
                child,
                guardian,
                leash,
                log,
            }),
            Err(error) => {
                drop(leash);
                let _ = guardian.wait();
                Err(error)
            }
        }
    }

    pub(crate) fn log(&self) -> &Log {
        &self.log
    }

    /// The processes alive in the group, the guardian not counted.
    pub(crate) fn processes(&self) -> Vec<Process> {
        process::in_group(self.guardian.id())
            .into_iter()
            .filter(|process| process.pid != self.guardian.id())
            .collect()
    }

    /// The number of the program's process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Signals the program itself, not its children.
    pub(crate) fn signal(&self, signal: Signal) {
        // It may have ended on its own, which the caller then sees in its exit status.
        let _ = sys::signal_process(self.child.id(), signal);
    }

    /// Takes the child's standard output, if it was piped.
    pub(crate) fn take_stdout(&mut self) -> Option<std::process::ChildStdout> {
        self.child.stdout.take()
    }

    /// Waits until the program and all its children have ended. `None`: the deadline passed.
    pub(crate) fn wait(&mut self, timeout: Duration) -> Option<ExitStatus> {
        if !self.log.wait_closed(timeout) {
            return None;
        }
        self.child.wait().ok()
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        self.leash = None;
        let _ = self.guardian.wait();
        let _ = self.child.wait();
    }
}
