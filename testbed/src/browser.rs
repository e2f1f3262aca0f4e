//! A real browser without a window: Chromium, controlled through its DevTools protocol.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde_json::{Value, json};

use crate::guarded::Guarded;
use crate::outcome::or_fail;
use crate::request::unique;
use crate::way::PATIENCE;

/// Where Debian puts it.
const BINARY: &str = "/usr/bin/chromium";

/// A browser takes seconds to start on a busy machine.
const LONG: Duration = PATIENCE.saturating_mul(6);

/// A browser with one page, and a profile of its own that goes with it. It is killed when the test
/// panics and when the test process dies.
#[derive(Debug)]
pub struct Browser {
    // Closing it tells the browser to end.
    commands: Option<File>,
    answers: Receiver<Value>,
    guarded: Guarded,
    session: Option<String>,
    last_id: u64,
    complaints: String,
}

impl Browser {
    /// Whether there is one on this machine.
    pub fn is_installed() -> bool {
        Path::new(BINARY).exists()
    }

    pub(crate) fn start(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let scratch = std::env::temp_dir().join(format!("cpm-{}", unique()));
        fs::create_dir(&scratch)?;
        let (to, from) = (scratch.join("commands"), scratch.join("answers"));
        let made = Command::new("mkfifo").args([&to, &from]).status()?;
        if !made.success() {
            return Err(io::Error::other("mkfifo failed"));
        }
        // It reads descriptor 3 and writes descriptor 4; the sandbox does not start for root.
        let mut command = Command::new("/bin/sh");
        command.args(["-c", r#"exec 3<"$1" 4>"$2"; shift 2; exec "$@""#, "sh"]);
        command.args([&to, &from]).arg(BINARY).args([
            "--headless=new",
            "--remote-debugging-pipe",
            "--no-sandbox",
            "--no-first-run",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--disable-breakpad",
            "--hide-scrollbars",
            "--window-size=1100,900",
        ]);
        command.arg(format!(
            "--user-data-dir={}",
            scratch.join("profile").display()
        ));
        let log = folder.join("chromium.log");
        let guarded = Guarded::start(&mut command, None, &log, Some(&scratch))?;
        let commands = File::options().write(true).open(&to)?;
        let answers = read_answers(&from)?;
        let mut browser = Self {
            commands: Some(commands),
            answers,
            guarded,
            session: None,
            last_id: 0,
            complaints: String::new(),
        };
        let target = browser.call("Target.createTarget", &json!({"url": "about:blank"}))?;
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let attached = browser.call("Target.attachToTarget", &attach)?;
        browser.session = attached["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Log"] {
            browser.call(&format!("{domain}.enable"), &json!({}))?;
        }
        Ok(browser)
    }

    /// Loads a page and all that belongs to it.
    #[track_caller]
    pub fn open(&mut self, url: &str) {
        let navigated = self.call("Page.navigate", &json!({"url": url}));
        let navigated = or_fail("opening a page", navigated);
        assert_eq!(navigated["errorText"], Value::Null, "{url}");
        let loaded = self.read_until(|answer| answer["method"] == "Page.loadEventFired");
        or_fail("loading a page", loaded);
    }

    /// The value of an expression in JavaScript; a promise is waited for.
    #[track_caller]
    pub fn evaluate(&mut self, expression: &str) -> Value {
        let parameters =
            json!({"expression": expression, "awaitPromise": true, "returnByValue": true});
        let answer = or_fail(expression, self.call("Runtime.evaluate", &parameters));
        assert_eq!(answer["exceptionDetails"], Value::Null, "{expression}");
        answer["result"]["value"].clone()
    }

    /// Waits until an expression is true on the page, looking whenever the page changes.
    #[track_caller]
    pub fn expect(&mut self, expression: &str) {
        let waiting = format!(
            "new Promise(done => {{
                const look = () => {{
                    if (!({expression})) return;
                    observer.disconnect();
                    clearTimeout(timer);
                    done(\"\");
                }};
                const observer = new MutationObserver(look);
                const timer = setTimeout(() => done(document.body.innerText), {});
                observer.observe(document, {{
                    subtree: true, childList: true, characterData: true, attributes: true
                }});
                look();
            }})",
            (LONG / 2).as_millis()
        );
        let page = self.evaluate(&waiting);
        assert_eq!(page, "", "{expression} does not hold on the page");
    }

    /// A picture of the page.
    #[track_caller]
    pub fn picture(&mut self) -> Vec<u8> {
        let answer = self.call("Page.captureScreenshot", &json!({"format": "png"}));
        let answer = or_fail("taking a picture", answer);
        let text = answer["data"].as_str().unwrap_or_default();
        or_fail("taking a picture", BASE64_STANDARD.decode(text))
    }

    /// What the browser has complained of until now: errors of scripts, refused contents.
    pub fn complaints(&self) -> &str {
        &self.complaints
    }

    /// Waits until it complains with these words.
    #[track_caller]
    pub fn expect_complaint(&mut self, words: &str) {
        let deadline = Instant::now() + LONG;
        while !self.complaints.contains(words) {
            let read = self.read_until_deadline(deadline);
            or_fail(&format!("waiting for {words}: {}", self.complaints), read);
        }
    }

    /// Calls a method of the protocol and returns its result.
    fn call(&mut self, method: &str, parameters: &Value) -> io::Result<Value> {
        self.last_id += 1;
        let id = self.last_id;
        let mut call = json!({"id": id, "method": method, "params": parameters});
        if let Some(session) = &self.session {
            call["sessionId"] = json!(session);
        }
        let commands = self.commands.as_mut().expect("it is closed only in drop");
        commands.write_all(format!("{call}\0").as_bytes())?;
        let answer = self.read_until(|answer| answer["id"] == id)?;
        match answer.get("error") {
            None => Ok(answer["result"].clone()),
            Some(error) => Err(io::Error::other(format!("{method}: {error}"))),
        }
    }

    fn read_until(&mut self, is_it: impl Fn(&Value) -> bool) -> io::Result<Value> {
        let deadline = Instant::now() + LONG;
        loop {
            let answer = self.read_until_deadline(deadline)?;
            if is_it(&answer) {
                return Ok(answer);
            }
        }
    }

    fn read_until_deadline(&mut self, deadline: Instant) -> io::Result<Value> {
        let left = deadline.saturating_duration_since(Instant::now());
        let answer = self.answers.recv_timeout(left).map_err(|error| {
            let log = self.guarded.log().text();
            match error {
                RecvTimeoutError::Timeout => io::Error::other(format!("no answer\n{log}")),
                RecvTimeoutError::Disconnected => io::Error::other(format!("it has ended\n{log}")),
            }
        })?;
        let details = &answer["params"];
        let complaint = match answer["method"].as_str() {
            Some("Runtime.exceptionThrown") => &details["exceptionDetails"],
            Some("Log.entryAdded") => &details["entry"],
            _ => return Ok(answer),
        };
        let _ = writeln!(self.complaints, "{complaint}");
        Ok(answer)
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // It then ends with all its processes.
        self.commands = None;
        self.guarded.wait(PATIENCE);
    }
}

/// Reads answers, each ended by a NUL, in a thread of its own.
fn read_answers(from: &PathBuf) -> io::Result<Receiver<Value>> {
    let from = File::open(from)?;
    let (sender, answers) = mpsc::channel();
    thread::spawn(move || {
        for text in BufReader::new(from).split(0).map_while(Result::ok) {
            let Ok(answer) = serde_json::from_slice(&text) else {
                return;
            };
            if sender.send(answer).is_err() {
                return;
            }
        }
    });
    Ok(answers)
}
