//! Shared by the tests: running the program as a user would, and reading its output with
//! independent code.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use cpm_testbed::{Message, PATIENCE, ProxyConfig};
use serde_json::Value;

pub(crate) const ANNE: &str = "sip:anne@example.com";
pub(crate) const EXPLODER: &str = "sip:exploder@example.com";
pub(crate) const CONTROLLING: &str = "sip:cpm@example.com";
pub(crate) const GROUP: &str = "sip:friends@groups.example.com";

/// An ICSI in the form of a feature tag.
pub(crate) fn feature_tag(service: &str) -> String {
    format!("urn%3Aurn-7%3A3gpp-service.ims.icsi.oma.cpm.{service}")
}

/// The program, unaffected by the environment of whoever runs the tests.
pub(crate) fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cpm-client"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("CPM_CLIENT_")) {
        command.env_remove(name);
    }
    command
}

/// `send` from Anne to a server on this machine, with JSON.
pub(crate) fn send(port: u16, arguments: &[&str]) -> Running {
    let server = format!("127.0.0.1:{port}");
    let mut command = program();
    command.args(["--json", "send", "--server", &server, "--from", ANNE]);
    command.args(arguments);
    Running::start(command, "")
}

/// `receive` for Bill on a port of the bench, with JSON; it is listening when this returns.
#[track_caller]
pub(crate) fn receive(port: u16, arguments: &[&str]) -> Running {
    receive_as("sip:bill@example.com", port, arguments)
}

/// The same for another user.
#[track_caller]
pub(crate) fn receive_as(address: &str, port: u16, arguments: &[&str]) -> Running {
    let listen = format!("127.0.0.1:{port}");
    let mut command = program();
    command.args(["--json", "receive", "--address", address]);
    command.args(["--listen", &listen]);
    command.args(arguments);
    let mut running = Running::start(command, "");
    running.expect("listening");
    running
}

/// The running program; killed when the test ends.
pub(crate) struct Running {
    child: Child,
    lines: Receiver<String>,
    seen: Vec<Value>,
    plain: Vec<String>,
    errors: Option<thread::JoinHandle<String>>,
}

/// Its result.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    /// Everything it reported as JSON.
    pub(crate) events: Vec<Value>,
    /// All other lines of its standard output.
    pub(crate) plain: Vec<String>,
    pub(crate) errors: String,
}

impl Running {
    /// Starts a command with this standard input.
    pub(crate) fn start(mut command: Command, input: &str) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program is built");
        let mut stdin = child.stdin.take().expect("it is piped");
        stdin
            .write_all(input.as_bytes())
            .expect("it takes its input");
        drop(stdin);
        let stdout = child.stdout.take().expect("it is piped");
        let mut stderr = child.stderr.take().expect("it is piped");
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let errors = thread::spawn(move || {
            let mut text = String::new();
            let _ = stderr.read_to_string(&mut text);
            text
        });
        Self {
            child,
            lines,
            seen: Vec::new(),
            plain: Vec::new(),
            errors: Some(errors),
        }
    }

    fn take(&mut self, line: String) {
        match serde_json::from_str(&line) {
            Ok(value) => self.seen.push(value),
            Err(_) => self.plain.push(line),
        }
    }

    /// Waits until it reports this event, and returns it.
    #[track_caller]
    pub(crate) fn expect(&mut self, event: &str) -> Value {
        let deadline = Instant::now() + 2 * PATIENCE;
        let mut looked_at = 0;
        loop {
            while let Some(value) = self.seen.get(looked_at) {
                looked_at += 1;
                if value["event"] == event {
                    return value.clone();
                }
            }
            match self
                .lines
                .recv_timeout(deadline.saturating_duration_since(Instant::now()))
            {
                Ok(line) => self.take(line),
                Err(_) => panic!("no {event}; told was {:?}", self.seen),
            }
        }
    }

    /// Waits for a line that is not JSON and contains these words.
    #[track_caller]
    pub(crate) fn expect_line(&mut self, words: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.plain.iter().any(|line| line.contains(words)) {
            match self
                .lines
                .recv_timeout(deadline.saturating_duration_since(Instant::now()))
            {
                Ok(line) => self.take(line),
                Err(_) => panic!("no line with {words}; told was {:?}", self.plain),
            }
        }
    }

    /// Ctrl-C.
    pub(crate) fn interrupt(&self) {
        let process = self.child.id().to_string();
        let status = Command::new("sh")
            .args(["-c", &format!("kill -INT {process}")])
            .status();
        assert!(status.expect("there is a shell").success());
    }

    /// Kills it without any chance to react (SIGKILL).
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("it is a child of ours");
        let status = self.child.wait().expect("it is a child of ours");
        assert_eq!(status.signal(), Some(9), "it had ended by itself");
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn wait(self) -> Ended {
        self.wait_within(3 * PATIENCE)
    }

    /// The same with another time limit.
    #[track_caller]
    pub(crate) fn wait_within(mut self, patience: Duration) -> Ended {
        let deadline = Instant::now() + patience;
        loop {
            match self
                .lines
                .recv_timeout(deadline.saturating_duration_since(Instant::now()))
            {
                Ok(line) => self.take(line),
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    panic!("it does not end; told was {:?}", self.seen)
                }
            }
        }
        let status = self.child.wait().expect("it is a child of ours");
        Ended {
            code: status.code().unwrap_or(-1),
            events: std::mem::take(&mut self.seen),
            plain: std::mem::take(&mut self.plain),
            errors: self
                .errors
                .take()
                .map_or(String::new(), |e| e.join().unwrap_or_default()),
        }
    }

    /// Waits until it ends successfully.
    #[track_caller]
    pub(crate) fn succeeds(self) -> Ended {
        let ended = self.wait();
        assert_eq!(ended.code, 0, "{ended:?}");
        ended
    }

    /// Waits until it ends with this exit code, and returns its report.
    #[track_caller]
    pub(crate) fn fails(self, code: i32) -> Value {
        let ended = self.wait();
        assert_eq!(ended.code, code, "{ended:?}");
        ended.event("failed")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // If all went well, it has ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Ended {
    /// The first event of this kind.
    #[track_caller]
    pub(crate) fn event(&self, event: &str) -> Value {
        let found = self.events.iter().find(|value| value["event"] == event);
        found
            .unwrap_or_else(|| panic!("no {event} in {self:?}"))
            .clone()
    }
}

/// A CPIM message, read line by line.
#[derive(Debug)]
pub(crate) struct Cpim {
    pub(crate) fields: Fields,
    pub(crate) content_fields: Fields,
    pub(crate) content: Vec<u8>,
}

impl Cpim {
    /// Parses a message according to RFC 3862 §2: each line ends with CRLF, and an empty line
    /// follows each block.
    #[track_caller]
    pub(crate) fn of(bytes: &[u8]) -> Self {
        let (first, rest) = block(bytes);
        let (second, content) = block(rest);
        // A prefix is declared before it is used (RFC 3862 §3.4).
        for (place, (name, _)) in first.iter().enumerate() {
            let Some((prefix, _)) = name.split_once('.') else {
                continue;
            };
            let declares = |(own, value): &(String, String)| {
                own == "NS" && value.starts_with(&format!("{prefix} <"))
            };
            assert!(first[..place].iter().any(declares), "{name} in {first:?}");
        }
        Self {
            fields: first,
            content_fields: second,
            content: content.to_vec(),
        }
    }

    /// The only field with this name.
    #[track_caller]
    pub(crate) fn field(&self, name: &str) -> &str {
        one(&self.fields, name)
    }

    /// Whether it has this field.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.fields.iter().any(|(own, _)| own == name)
    }

    /// The type of the wrapped content.
    #[track_caller]
    pub(crate) fn content_type(&self) -> &str {
        one(&self.content_fields, "Content-Type")
    }
}

#[track_caller]
fn one<'a>(fields: &'a [(String, String)], name: &str) -> &'a str {
    let found: Vec<&str> = fields
        .iter()
        .filter(|(own, _)| own == name)
        .map(|(_, value)| value.as_str())
        .collect();
    assert_eq!(found.len(), 1, "{name} in {fields:?}");
    found[0]
}

#[track_caller]
fn block(bytes: &[u8]) -> (Fields, &[u8]) {
    let end = find(bytes, b"\r\n\r\n").expect("an empty line ends the block");
    let text = std::str::from_utf8(&bytes[..end]).expect("headers are text");
    let fields = text.split("\r\n").map(|line| {
        let (name, value) = line.split_once(": ").expect("a line is a field");
        (name.to_owned(), value.to_owned())
    });
    (fields.collect(), &bytes[end + 4..])
}

/// The position of `wanted` in `bytes`.
pub(crate) fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes
        .windows(wanted.len())
        .position(|window| window == wanted)
}

/// Header fields: name and value.
type Fields = Vec<(String, String)>;

/// The parts of a multipart body: header and content of each.
#[track_caller]
pub(crate) fn parts(content_type: &str, body: &[u8]) -> Vec<(Fields, Vec<u8>)> {
    let boundary = content_type
        .split_once("boundary=\"")
        .expect("a multipart has a boundary")
        .1;
    let delimiter = format!("--{}", boundary.trim_end_matches('"'));
    let mut rest = body
        .strip_prefix(delimiter.as_bytes())
        .expect("the body starts with it");
    let inner = format!("\r\n{delimiter}");
    let mut parts = Vec::new();
    while !rest.starts_with(b"--") {
        rest = rest
            .strip_prefix(b"\r\n")
            .expect("a line end after a delimiter");
        let end = find(rest, inner.as_bytes()).expect("the part ends");
        let (fields, content) = block(&rest[..end]);
        parts.push((fields, content.to_vec()));
        rest = &rest[end + inner.len()..];
    }
    assert_eq!(rest, b"--\r\n", "nothing behind the last delimiter");
    parts
}

/// The URIs of a list, with their roles.
type List = Vec<(String, Option<String>)>;

/// The body of a request to a list: type and content of its first part, and its list.
#[track_caller]
pub(crate) fn with_list(request: &Message) -> (String, Vec<u8>, List) {
    let content_type = request.header("Content-Type").expect("there is a body");
    assert!(
        content_type.starts_with("multipart/mixed"),
        "{content_type}"
    );
    let mut parts = parts(content_type, request.body());
    assert_eq!(parts.len(), 2);
    let (fields, list) = parts.pop().expect("two parts");
    let (first_fields, first) = parts.pop().expect("two parts");
    assert_eq!(
        one(&fields, "Content-Type"),
        "application/resource-lists+xml"
    );
    assert_eq!(one(&fields, "Content-Disposition"), "recipient-list");
    let xml = String::from_utf8(list).expect("XML in UTF-8");
    assert!(
        xml.contains("urn:ietf:params:xml:ns:resource-lists"),
        "{xml}"
    );
    let entries = xml.split("<entry ").skip(1).map(|entry| {
        let attribute = |name: &str| {
            let (_, rest) = entry.split_once(&format!("{name}=\""))?;
            Some(rest.split_once('"')?.0.to_owned())
        };
        (
            attribute("uri").expect("an entry has a uri"),
            attribute("cp:copyControl"),
        )
    });
    (
        one(&first_fields, "Content-Type").to_owned(),
        first,
        entries.collect(),
    )
}

/// A proxy with the module, configured as by an operator, that trusts this machine.
pub(crate) fn cpm_proxy(routes: &str) -> ProxyConfig {
    let module = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/kamailio/cpm.so");
    assert!(
        module.is_file(),
        "no {}: run `make build` first",
        module.display()
    );
    ProxyConfig::new(routes)
        .load("tm")
        .load("sl")
        .load("pv")
        .load("textops")
        .load("xlog")
        .load(
            module
                .to_str()
                .expect("the project's folder has a name in UTF-8"),
        )
        .set("cpm", "exploder_uri", EXPLODER)
        .set("cpm", "controlling_uri", CONTROLLING)
        .set("cpm", "trusted_peer", "127.0.0.1")
}

/// Bytes of a picture that hardly compress. They are letters, because tshark's MSRP dissector fails
/// on some contents that are not text.
pub(crate) fn pixels(length: usize, seed: u64) -> Vec<u8> {
    let mut bytes = cpm_testbed::noise(length, seed);
    bytes
        .iter_mut()
        .for_each(|byte| *byte = b'A' + (*byte & 0x1f));
    bytes
}

/// A file with this content in the test's folder.
pub(crate) fn file(folder: &Path, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, content).expect("the folder of a test can be written to");
    path
}

/// A path as an argument.
pub(crate) fn text(path: &Path) -> &str {
    path.to_str()
        .expect("the folder of a test has a name in UTF-8")
}
