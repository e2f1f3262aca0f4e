//! A terminal running a program: keyboard input and screen content (tmux).

use std::path::PathBuf;
use std::process::{Command, Output};
use std::thread;
use std::time::{Duration, Instant};

use cpm_testbed::{Bench, PATIENCE};

/// A terminal of 100 columns and 30 lines; its program is killed when the test ends.
pub(crate) struct Terminal {
    socket: PathBuf,
}

impl Terminal {
    /// Starts a command, given as words, with the program's folder in PATH.
    pub(crate) fn start(bench: &Bench, name: &str, command: &[&str]) -> Self {
        // A socket's path is short, and the test's folder may be deep.
        let socket = std::env::temp_dir().join(format!("cpm-{name}-{}", bench.port()));
        let terminal = Self { socket };
        let program = PathBuf::from(env!("CARGO_BIN_EXE_cpm-client"));
        let folder = program.parent().expect("the program lies in a folder");
        let path = std::env::var("PATH").unwrap_or_default();
        let path = format!("PATH={}:{path}", folder.display());
        let home = format!("HOME={}", bench.folder().display());
        // The screen outlives the program, because a test may look late.
        let new = [
            "-f",
            "/dev/null",
            "start-server",
            ";",
            "set-option",
            "-g",
            "remain-on-exit",
            "on",
            ";",
            "new-session",
            "-d",
            "-x",
            "100",
            "-y",
            "30",
            "env",
            &path,
            &home,
            "TERM=tmux",
            "LC_ALL=C.UTF-8",
        ];
        let output = terminal.tmux(&[&new[..], command].concat());
        assert!(output.status.success(), "{output:?}");
        terminal
    }

    fn tmux(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new("tmux");
        command.arg("-S").arg(&self.socket).args(arguments);
        command.output().expect("tmux is installed")
    }

    /// Types a text.
    pub(crate) fn type_text(&self, text: &str) {
        self.tmux(&["send-keys", "-l", text]);
    }

    /// Presses a key, such as `Enter`, `Tab` or `C-c`.
    pub(crate) fn press(&self, key: &str) {
        self.tmux(&["send-keys", key]);
    }

    /// The content of the screen.
    pub(crate) fn screen(&self) -> String {
        let output = self.tmux(&["capture-pane", "-p"]);
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Waits until these words are on the screen, and returns all of it.
    #[track_caller]
    pub(crate) fn expect(&self, words: &str) -> String {
        self.expect_that(words, |screen| screen.contains(words))
    }

    /// Waits until the screen is as it should be.
    #[track_caller]
    pub(crate) fn expect_that(&self, what: &str, is_so: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + 2 * PATIENCE;
        loop {
            let screen = self.screen();
            if is_so(&screen) {
                return screen;
            }
            assert!(Instant::now() < deadline, "no {what} on\n{screen}");
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits until the program has ended.
    #[track_caller]
    pub(crate) fn expect_end(&self) {
        let deadline = Instant::now() + 2 * PATIENCE;
        let is_dead = || self.tmux(&["display-message", "-p", "#{pane_dead}"]).stdout == b"1\n";
        while !is_dead() {
            assert!(Instant::now() < deadline, "it goes on:\n{}", self.screen());
            thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.tmux(&["kill-server"]);
        let _ = std::fs::remove_file(&self.socket);
    }
}
