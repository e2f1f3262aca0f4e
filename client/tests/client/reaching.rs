//! Servers for which not every address, place or connection works.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::process::Command;
use std::thread;

use cpm_testbed::{Answer, Bench, Plan, Reply, SdpText};

use crate::common::{ANNE, Running, file, pixels, program, send, text};
use crate::locating::{SRV, name_server, send_by_name, srv};

const BILL: [&str; 3] = ["--to", "sip:bill@example.com", "Lunch?"];

/// The program with a hosts file that gives both `localhost` and `both.example` the addresses ::1
/// first and 127.0.0.1 second. `None`: the system does not permit that.
fn program_of_two_families(bench: &Bench) -> Option<Command> {
    let names = "localhost both.example";
    let hosts = format!("::1 {names}\n127.0.0.1 {names}\n");
    let hosts: PathBuf = file(bench.folder(), "hosts", hosts);
    let script = format!("mount --bind {} /etc/hosts && exec \"$@\"", text(&hosts));
    let world = ["--user", "--map-root-user", "--mount", "sh", "-c"];
    let check = Command::new("unshare")
        .args(world)
        .args([&script, "sh", "getent", "ahosts", "both.example"])
        .output();
    let found = String::from_utf8(check.ok()?.stdout).unwrap_or_default();
    if !(found.starts_with("::1") && found.contains("127.0.0.1")) {
        println!("left out: no hosts file of one's own here (unshare)");
        return None;
    }
    let mut command = Command::new("unshare");
    command.args(world).args([&script, "sh"]);
    command.arg(program().get_program());
    Some(command)
}

#[test]
fn localhost_is_found_where_only_ipv4_listens() {
    let bench = Bench::new("client_localhost_is_found");
    let callees = bench.callees();
    let (agent, session) = (callees.agent(), callees.peer().session());
    let port = agent.port();
    let server = format!("localhost:{port}");
    let start = |more: &[&str]| {
        let mut command = program_of_two_families(&bench)?;
        command.args(["--json", "send", "--server", &server, "--from", ANNE]);
        command.args(more);
        Some(Running::start(command, ""))
    };
    for transport in ["auto", "udp", "tcp"] {
        let Some(sent) = start(&[&["--transport", transport][..], &BILL].concat()) else {
            return;
        };
        sent.succeeds();
        agent.expect_request("MESSAGE");
    }
    // The same for MSRP: c= has a host name.
    let contact = agent.uri("phone");
    let sdp = SdpText::answer(&session).write();
    let sdp = sdp.replace("c=IN IP4 127.0.0.1", "c=IN IP4 both.example");
    assert!(sdp.contains("both.example"));
    agent.answers(Answer::with(move |request| match request.method() {
        Some("INVITE") => vec![
            Reply::new(200)
                .with("Contact", &format!("<{contact}>"))
                .with_body("application/sdp", sdp.clone()),
        ],
        _ => vec![Reply::new(200)],
    }));
    let picture = file(bench.folder(), "picture.png", pixels(10_000, 3));
    let what = ["--to", "sip:bill@example.com", "--file", text(&picture)];
    let large = start(&what).expect("it worked before");
    large.succeeds();
    session.expect_message();
    // Registration: the datagram to ::1 cannot even be sent from this socket.
    agent.answers(Answer::with(|request| {
        let contact = request.header("Contact").unwrap_or_default();
        vec![Reply::new(200).with("Contact", contact)]
    }));
    for transport in ["udp", "tcp"] {
        let mut command = program_of_two_families(&bench).expect("it worked before");
        command.args(["--json", "receive", "--address", "sip:bill@example.com"]);
        command.args(["--listen", &format!("127.0.0.1:{}", bench.port())]);
        command.args(["--register", "sip:example.com", "--server", &server]);
        command.args(["--transport", transport]);
        let mut receiver = Running::start(command, "");
        receiver.expect("registered");
        receiver.interrupt();
        receiver.succeeds();
    }
}

#[test]
fn a_place_that_is_silent_or_dead_is_passed_over() {
    let bench = Bench::new("client_a_place_that_is_silent");
    let callees = bench.callees();
    callees.plan("bill", Plan::accept());
    let silent = UdpSocket::bind("127.0.0.1:0").expect("there is a port");
    let silent = silent.local_addr().expect("it is bound").port();
    let live = callees.agent().port();
    let asks = |first: u16, second: u16, more: &[&str]| {
        let zone = vec![
            ("_sip._udp.example.com", SRV, srv(1, first)),
            ("_sip._udp.example.com", SRV, srv(2, second)),
        ];
        let server = name_server(&bench, zone, false);
        send_by_name(&server, &[&["--transport", "udp"][..], more].concat())
    };
    // Nobody listens there: noticed at once.
    let sent = asks(bench.port(), live, &["Lunch?"]).succeeds();
    assert!(sent.event("next-server")["message"].is_string());
    callees.agent().expect_request("MESSAGE");
    // A server that never answers.
    let large = ["--pager-max", "0", "Lunch?"];
    asks(silent, live, &large).succeeds();
    let call = callees.expect_call("bill");
    call.session.expect_message();
    // After 503 another server is tried (RFC 3263 §4.3); a recipient's response is final.
    let full = bench.agent();
    full.answers(Answer::code(503));
    asks(full.port(), live, &["Lunch?"]).succeeds();
    let (first, second) = (
        full.expect_request("MESSAGE"),
        callees.agent().expect_request("MESSAGE"),
    );
    assert_eq!(first.call_id(), second.call_id(), "the same request");
    assert_eq!(first.header("From"), second.header("From"));
    assert_ne!(first.branch(), second.branch());
    full.answers(Answer::code(486));
    let failed = asks(full.port(), live, &["Lunch?"]).fails(3);
    assert_eq!(failed["answer"]["code"], 486);
    // The last one's response counts.
    full.answers(Answer::code(503));
    let failed = asks(bench.port(), full.port(), &["Lunch?"]).fails(3);
    assert_eq!(failed["answer"]["code"], 503);
}

#[test]
fn what_a_domain_denies_is_believed() {
    let bench = Bench::new("client_what_a_domain_denies");
    let agent = bench.agent();
    let nothing = [[0; 6].as_slice(), &[0]].concat();
    let zone = vec![("_sip._udp.example.com", SRV, nothing)];
    let server = name_server(&bench, zone, false);
    let failed = send_by_name(&server, &["--transport", "udp", "Lunch?"]).fails(5);
    let words = failed["message"].as_str().unwrap_or_default();
    assert!(words.contains("offers no such service"), "{words}");
    // Port 0 is not a port.
    let zone = vec![
        ("_sip._udp.example.com", SRV, srv(1, 0)),
        ("_sip._udp.example.com", SRV, srv(2, agent.port())),
    ];
    let server = name_server(&bench, zone, false);
    send_by_name(&server, &["--transport", "udp", "Lunch?"]).succeeds();
    agent.expect_request("MESSAGE");
}

/// Answers each request over a connection of its own, which it closes after the response: 401 until
/// there is a password.
fn closing_server() -> (u16, thread::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a port");
    let port = listener.local_addr().expect("it is bound").port();
    let serve = move || {
        let mut requests = Vec::new();
        loop {
            let (mut connection, _) = listener.accept().expect("somebody comes");
            let Some(request) = read_request(&connection) else {
                continue;
            };
            let is_known = request.contains("\r\nAuthorization: ");
            let lines = ["Via", "From", "To", "Call-ID", "CSeq"].map(|name| {
                let start = format!("{name}: ");
                let line = request.lines().find(|line| line.starts_with(&start));
                format!("{}\r\n", line.expect("each request has it"))
            });
            let start = match is_known {
                true => "SIP/2.0 200 OK\r\n",
                false => {
                    "SIP/2.0 401 Who\r\nWWW-Authenticate: Digest realm=\"r\", nonce=\"n\", qop=\"auth\"\r\n"
                }
            };
            let answer = format!("{start}{}Content-Length: 0\r\n\r\n", lines.concat());
            connection.write_all(answer.as_bytes()).expect("it reads");
            requests.push(request);
            if is_known {
                return requests;
            }
        }
    };
    (port, thread::spawn(serve))
}

fn read_request(connection: &TcpStream) -> Option<String> {
    let mut reader = BufReader::new(connection);
    let (mut head, mut length) = (String::new(), 0);
    while !head.ends_with("\r\n\r\n") {
        let start = head.len();
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
        if let Some(value) = head[start..].strip_prefix("Content-Length: ") {
            length = value.trim().parse().ok()?;
        }
    }
    reader.read_exact(&mut vec![0; length]).ok()?;
    Some(head)
}

#[test]
fn a_server_that_closes_behind_its_401_is_connected_to_again() {
    let bench = Bench::new("client_a_server_that_closes_behind_its_401");
    let password = file(bench.folder(), "password", "secret");
    let login = ["--password-file", text(&password), "--transport", "tcp"];
    for _ in 0..5 {
        let (port, server) = closing_server();
        send(port, &[&login[..], &BILL].concat()).succeeds();
        let requests = server.join().expect("the server ends");
        assert_eq!(requests.len(), 2);
    }
}
