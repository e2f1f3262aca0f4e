//! Independent clients as peers: Linphone's `linphonec` and baresip. If one is not installed, its
//! test counts as ignored.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use cpm_testbed::{Bench, PATIENCE};

use crate::common::{file, receive, send, text};
use crate::servers::wait_for;

/// A program controlled through its standard input; killed when the test ends.
struct Stranger {
    child: Child,
    input: ChildStdin,
    lines: Receiver<String>,
}

impl Stranger {
    fn start(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("it is installed");
        let input = child.stdin.take().expect("it is piped");
        let output = child.stdout.take().expect("it is piped");
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).into_owned();
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self {
            child,
            input,
            lines,
        }
    }

    fn say(&mut self, line: &str) {
        writeln!(self.input, "{line}").expect("it reads");
    }

    #[track_caller]
    fn expect_line(&self, words: &str) {
        let deadline = Instant::now() + PATIENCE;
        let mut seen = Vec::new();
        while let Ok(line) = self.lines.recv_timeout(left(deadline)) {
            if line.contains(words) {
                return;
            }
            seen.push(line);
        }
        panic!("no line with {words}: {seen:?}");
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}

fn folder(bench: &Bench, name: &str) -> std::path::PathBuf {
    let path = bench.folder().join(name);
    std::fs::create_dir_all(&path).expect("the folder of a test can be written to");
    path
}

/// Linphone on this port, which sends through that one.
fn linphone(home: &Path, own: u16, proxy: u16) -> Stranger {
    // It keeps its messages there, and does not create the folder.
    std::fs::create_dir_all(home.join(".local/share/linphone")).expect("it is ours");
    let settings = file(
        home,
        "linphonerc",
        format!(
            "[sip]\nsip_port={own}\nsip_tcp_port=0\nsip_tls_port=0\nguess_hostname=0\n\
             contact=sip:lin@127.0.0.1:{own}\nuse_ipv6=0\ndefault_proxy=0\n[video]\nenabled=0\n\
             [proxy_0]\nreg_proxy=<sip:127.0.0.1:{proxy}>\nreg_route=<sip:127.0.0.1:{proxy};lr>\n\
             reg_identity=sip:lin@example.com\nreg_sendregister=0\npublish=0\n"
        ),
    );
    let mut command = Command::new("linphonec");
    command.args(["-c", text(&settings)]).env("HOME", home);
    Stranger::start(command)
}

#[test]
#[cfg_attr(not(linphone), ignore = "left out: no linphonec here")]
fn linphone_speaks_and_hears() {
    let bench = Bench::new("client_linphone_speaks_and_hears");
    let (own, port) = (bench.port(), bench.port());
    let mut receiver = receive(port, &["--count", "1"]);
    let mut linphone = linphone(&folder(&bench, "home"), own, port);
    wait_for(own, false);
    linphone.say("chat sip:bill@example.com Hello from Linphone");
    let message = receiver.expect("message");
    assert_eq!(message["parts"][0]["text"], "Hello from Linphone");
    assert_eq!(message["from"], "sip:lin@example.com");
    receiver.succeeds();
    send(own, &["--to", "sip:lin@example.com", "Hello from CPM"]).succeeds();
    linphone.expect_line("Hello from CPM");
}

#[test]
#[cfg_attr(not(baresip), ignore = "left out: no baresip here")]
fn baresip_speaks_and_refuses() {
    let bench = Bench::new("client_baresip_speaks_and_refuses");
    // It uses the next port for TLS.
    let (port, own, _behind) = (bench.port(), bench.port(), bench.port());
    let mut receiver = receive(port, &["--count", "1"]);
    let home = folder(&bench, "baresip");
    let modules = ["stdio", "account", "contact", "menu"].map(|name| match name {
        "stdio" => format!("module {name}.so\n"),
        _ => format!("module_app {name}.so\n"),
    });
    let places = "module_path /usr/lib/baresip/modules\n";
    let settings = format!("sip_listen 127.0.0.1:{own}\n{places}{}", modules.concat());
    file(&home, "config", settings);
    let account = format!("<sip:bar@example.com>;regint=0;outbound=\"sip:127.0.0.1:{port}\"\n");
    file(&home, "accounts", account);
    file(&home, "contacts", "\"Bill\" <sip:bill@example.com>\n");
    let mut command = Command::new("baresip");
    command.args(["-f", text(&home), "-e", "/contact_next"]);
    command.args(["-e", "/message Hello from baresip"]);
    let _baresip = Stranger::start(command);
    let message = receiver.expect("message");
    assert_eq!(message["parts"][0]["text"], "Hello from baresip");
    receiver.succeeds();
    // It accepts only text/plain, and says so.
    let failed = send(own, &["--to", "sip:bar@example.com", "Hello"]).fails(3);
    assert_eq!(failed["answer"]["code"], 415);
}
