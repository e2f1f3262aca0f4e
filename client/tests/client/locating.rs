//! Locating servers by the DNS records of their domain (RFC 3263), with a name server played by the
//! test.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::thread;

use cpm_testbed::{Agent, Bench, Certificate, Plan, Way};

use crate::certificates::tls_server;
use crate::common::{ANNE, Running, file, pixels, program, receive, text};

const BILL: &str = "sip:bill@example.com";

/// Type numbers of RFC 2782 and RFC 3403.
pub(crate) const SRV: u16 = 33;
const NAPTR: u16 = 35;

/// A name server's records: name, type, data.
pub(crate) type Zone = Vec<(&'static str, u16, Vec<u8>)>;

fn name(text: &str) -> Vec<u8> {
    let labels = text.split('.').filter(|label| !label.is_empty());
    let mut bytes: Vec<u8> = labels
        .flat_map(|label| [&[label.len() as u8][..], label.as_bytes()].concat())
        .collect();
    bytes.push(0);
    bytes
}

/// An SRV record for a port of this machine. Its target looks like an address to a resolver, so
/// that no file of the system matters.
pub(crate) fn srv(priority: u16, port: u16) -> Vec<u8> {
    let numbers = [priority, 0, port].map(u16::to_be_bytes).concat();
    [numbers, name("127.0.0.1")].concat()
}

fn naptr(order: u16, service: &str, replacement: &str) -> Vec<u8> {
    let numbers = [order, 10].map(u16::to_be_bytes).concat();
    let texts = ["s", service, ""];
    let texts = texts.map(|text| [&[text.len() as u8][..], text.as_bytes()].concat());
    [numbers, texts.concat(), name(replacement)].concat()
}

/// The answer to a query; `truncated`: only a hint that there is one.
fn answer(query: &[u8], zone: &Zone, truncated: bool) -> Vec<u8> {
    let question = &query[12..];
    let end = question.iter().position(|byte| *byte == 0).expect("a name") + 1;
    let (asked, rest) = question.split_at(end);
    let kind = u16::from_be_bytes([rest[0], rest[1]]);
    let records: Vec<_> = zone
        .iter()
        .filter(|(own, own_kind, _)| name(own) == asked && *own_kind == kind)
        .filter(|_| !truncated)
        .collect();
    let is_known = zone.iter().any(|(own, ..)| name(own) == asked);
    // A response, with recursion; NXDOMAIN for a name that does not exist.
    let flags = [
        0x81 | u8::from(truncated) << 1,
        if is_known { 0x80 } else { 0x83 },
    ];
    let counts = [1, records.len() as u16, 0, 0]
        .map(u16::to_be_bytes)
        .concat();
    let mut bytes = [&query[..2], &flags, &counts, &question[..end + 4]].concat();
    for (_, kind, data) in records {
        bytes.extend([0xc0, 12]);
        bytes.extend([*kind, 1].map(u16::to_be_bytes).concat());
        bytes.extend(60_u32.to_be_bytes());
        bytes.extend((data.len() as u16).to_be_bytes());
        bytes.extend(data);
    }
    bytes
}

/// A name server on a port of the bench. It ends with the test process: its threads hold only
/// sockets.
pub(crate) fn name_server(bench: &Bench, zone: Zone, truncates: bool) -> String {
    let port = bench.port();
    let here = (Ipv4Addr::LOCALHOST, port);
    let udp = UdpSocket::bind(here).expect("the port is ours");
    let tcp = TcpListener::bind(here).expect("the port is ours");
    let of_tcp = zone.clone();
    thread::spawn(move || {
        let mut query = [0; 512];
        while let Ok((length, from)) = udp.recv_from(&mut query) {
            // A guessed answer is ignored.
            let mut forged = answer(&query[..length], &Vec::new(), false);
            forged[0] ^= 1;
            let _ = udp.send_to(&forged, from);
            let _ = udp.send_to(&answer(&query[..length], &zone, truncates), from);
        }
    });
    thread::spawn(move || {
        for mut stream in tcp.incoming().flatten() {
            let mut length = [0; 2];
            if stream.read_exact(&mut length).is_ok() {
                let mut query = vec![0; u16::from_be_bytes(length).into()];
                let _ = stream.read_exact(&mut query);
                let answer = answer(&query, &of_tcp, false);
                let length = (answer.len() as u16).to_be_bytes();
                let _ = stream.write_all(&[&length[..], &answer].concat());
            }
        }
    });
    format!("127.0.0.1:{port}")
}

/// `send` to Bill with only a name server configured.
pub(crate) fn send_by_name(name_server: &str, arguments: &[&str]) -> Running {
    let mut command = program();
    command.args(["--json", "send", "--from", ANNE, "--to", BILL]);
    command.args(["--nameserver", name_server]);
    command.args(arguments);
    Running::start(command, "")
}

/// The transport by which Anne's message has arrived.
#[track_caller]
fn came(agent: &Agent) -> &'static str {
    match agent.expect_request("MESSAGE").way() {
        Way::Udp(_) => "udp",
        Way::Tcp(_) => "tcp",
    }
}

#[test]
fn the_domain_names_transport_and_port() {
    let bench = Bench::new("client_the_domain_names_transport_and_port");
    let agent = bench.agent();
    let services = vec![
        ("_sip._udp.example.com", SRV, srv(1, agent.port())),
        ("_sip._tcp.example.com", SRV, srv(1, agent.port())),
    ];
    let preferring = |service: &str, replacement: &str| {
        let mut zone = services.clone();
        zone.push(("example.com", NAPTR, naptr(1, service, replacement)));
        zone
    };
    for (zone, truncates, arguments, expected) in [
        (services.clone(), false, &[][..], "udp"),
        (services.clone(), true, &[], "udp"),
        (services.clone(), false, &["--transport", "tcp"], "tcp"),
        (
            preferring("SIP+D2T", "_sip._tcp.example.com"),
            false,
            &[],
            "tcp",
        ),
        (
            preferring("SIP+D2U", "_sip._udp.example.com"),
            true,
            &[],
            "udp",
        ),
    ] {
        let server = name_server(&bench, zone, truncates);
        send_by_name(&server, &[arguments, &["Lunch?"]].concat()).succeeds();
        assert_eq!(came(&agent), expected);
    }
    // For a server with a port nothing is asked.
    let nobody = name_server(&bench, Vec::new(), false);
    let named = format!("127.0.0.1:{}", agent.port());
    send_by_name(&nobody, &["--server", &named, "Lunch?"]).succeeds();
    assert_eq!(came(&agent), "udp");
}

#[test]
fn the_next_server_is_tried() {
    let bench = Bench::new("client_the_next_server_is_tried");
    let callees = bench.callees();
    callees.plan("bill", Plan::accept());
    let (dead, port) = (bench.port(), callees.agent().port());
    let zone = vec![
        ("_sip._tcp.example.com", SRV, srv(1, dead)),
        ("_sip._tcp.example.com", SRV, srv(2, port)),
    ];
    let server = name_server(&bench, zone, false);
    let path = file(bench.folder(), "picture.png", pixels(10_000, 3));
    send_by_name(&server, &["--file", text(&path)]).succeeds();
    callees.expect_call("bill").session.expect_message();
}

#[test]
fn the_certificate_is_the_domains() {
    let bench = Bench::new("client_the_certificate_is_the_domains");
    let agent = bench.agent();
    let certificate = Certificate::new(&["example.com"]);
    let folder = bench.folder().join("authority");
    std::fs::create_dir_all(&folder).expect("the folder of a test can be written to");
    let (authority, _) = certificate.files(&folder);
    let secure = tls_server(&bench, &certificate, agent.port());
    let zone = vec![
        (
            "example.com",
            NAPTR,
            naptr(1, "SIPS+D2T", "_sips._tcp.example.com"),
        ),
        ("_sips._tcp.example.com", SRV, srv(1, secure)),
    ];
    let server = name_server(&bench, zone, false);
    send_by_name(&server, &["--ca-file", text(&authority), "Lunch?"]).succeeds();
    let via = agent.expect_request("MESSAGE");
    let via = via.header("Via").unwrap_or_default();
    assert!(via.starts_with("SIP/2.0/TLS "), "{via}");
}

#[test]
fn the_registrar_is_found_by_its_domain() {
    let bench = Bench::new("client_the_registrar_is_found");
    let registrar = bench.agent();
    let certificate = Certificate::new(&["example.com"]);
    let folder = bench.folder().join("authority");
    std::fs::create_dir_all(&folder).expect("the folder of a test can be written to");
    let (authority, _) = certificate.files(&folder);
    let secure = tls_server(&bench, &certificate, registrar.port());
    for (service, port, transport) in [
        ("SIP+D2T", registrar.port(), "tcp"),
        ("SIPS+D2T", secure, "tls"),
    ] {
        let zone = vec![
            (
                "example.com",
                NAPTR,
                naptr(1, service, "registrars.example.com"),
            ),
            ("registrars.example.com", SRV, srv(1, port)),
        ];
        let server = name_server(&bench, zone, false);
        let register = ["--register", "sip:example.com", "--nameserver", &server];
        let how = ["--ca-file", text(&authority)];
        let mut receiver = receive(bench.port(), &[&register[..], &how].concat());
        receiver.expect("registered");
        let came = registrar.expect_request("REGISTER");
        let contact = came.header("Contact").unwrap_or_default();
        let named = format!(";transport={transport}>");
        assert!(contact.contains(&named), "{contact}");
        receiver.interrupt();
        registrar.expect_request("REGISTER");
        receiver.succeeds();
    }
}
