//! The verdict of tshark, which is independent of cpm, on the recorded traffic.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::message::Message;
use crate::outcome::or_fail;

/// Separates the values of one field within one packet.
const AGGREGATOR: char = '|';

/// The fields that tshark reports for each packet, in this order.
const JUDGED: [&str; 16] = [
    "frame.number",
    "_ws.col.Source",
    "_ws.col.Destination",
    "_ws.col.Info",
    "_ws.malformed",
    "_ws.expert.severity",
    "_ws.expert.message",
    "sip",
    "sip.Via",
    "sip.From",
    "sip.To",
    "sip.Call-ID",
    "sip.CSeq",
    "mime_multipart.first_boundary",
    "mime_multipart.last_boundary",
    "udp.payload",
];

/// `_ws.expert.severity` of an error (PI_ERROR).
const ERROR_SEVERITY: &str = "8388608";

/// Protocols of the bench's ports.
#[derive(Debug, Clone, Default)]
pub(crate) struct PortUse {
    pub(crate) proxies: Vec<u16>,
    pub(crate) agents: Vec<u16>,
    pub(crate) msrp: Vec<u16>,
    pub(crate) http: Vec<u16>,
}

/// A finished capture.
#[derive(Debug, Clone)]
pub struct Recording {
    file: PathBuf,
    ports: PortUse,
}

/// A fault in one packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Complaint {
    /// Number of the packet in the capture, counted from 1.
    pub frame: u32,
    /// The packet in one line, as tshark lists it.
    pub summary: String,
    /// What is wrong, in tshark's words if it has any.
    pub words: String,
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "packet {}: {}: {}", self.frame, self.summary, self.words)
    }
}

impl Recording {
    pub(crate) fn new(file: PathBuf, ports: PortUse) -> Self {
        Self { file, ports }
    }

    /// The capture file, for `tshark -r`; it is kept only if the test fails.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Fails if any packet is faulty, whoever sent it.
    #[track_caller]
    pub fn assert_clean(&self) {
        assert_none(&self.judge());
    }

    /// Fails if a packet that `filter` selects (in tshark's language) is faulty.
    #[track_caller]
    pub fn assert_clean_where(&self, filter: &str) {
        assert_none(&self.judge_where(filter));
    }

    /// All faults of all SIP and MSRP packets: malformed or an expert error to tshark; not SIP on
    /// a SIP port; without a header field that RFC 3261 §8.1.1 requires in each message; a
    /// Content-Length other than the length of the datagram's body; a multipart body without its
    /// end.
    #[track_caller]
    pub fn judge(&self) -> Vec<Complaint> {
        self.judge_where("frame")
    }

    /// The same for the packets that `filter` selects, for tests in which an agent deliberately
    /// sends faulty packets.
    #[track_caller]
    pub fn judge_where(&self, filter: &str) -> Vec<Complaint> {
        let udp_sip = self
            .sip_ports()
            .map(|port| format!("udp.port == {port}"))
            .collect::<Vec<_>>();
        let udp_sip = if udp_sip.is_empty() {
            "frame".to_owned()
        } else {
            udp_sip.join(" || ")
        };
        // No other protocol: a connection over TLS may have got a port that tshark takes for IRC's.
        let suspects = format!(
            "({filter}) && !(frame contains \"cpm-testbed marker\") && (sip || sdp || msrp \
             || mime_multipart || xml || (http && _ws.malformed) || (udp && ({udp_sip})))"
        );
        let mut complaints = Vec::new();
        for cells in self.fields(&suspects, &JUDGED) {
            let Ok::<[String; JUDGED.len()], _>(cells) = cells.try_into() else {
                continue;
            };
            judge_packet(&cells, &mut complaints);
        }
        complaints
    }

    /// Fields of the packets that `filter` selects, as read by tshark: a row for each packet, a
    /// cell for each field, as in `fields("sip.Method == \"MESSAGE\"", &["sip.To",
    /// "sip.Call-ID"])`. An absent field is empty; several values of one field are joined by `|`.
    #[track_caller]
    pub fn fields(&self, filter: &str, fields: &[&str]) -> Vec<Vec<String>> {
        let mut command = self.tshark();
        command.args([
            "-Y",
            filter,
            "-T",
            "fields",
            "-E",
            "separator=/t",
            "-E",
            "occurrence=a",
        ]);
        command.args(["-E", &format!("aggregator={AGGREGATOR}")]);
        command.args(fields.iter().flat_map(|field| ["-e", field]));
        let text = run(&mut command);
        let rows = text
            .lines()
            .map(|line| line.split('\t').map(str::to_owned).collect());
        rows.collect()
    }

    /// A filter for packets sent by the proxies: from their ports, or over a connection that they
    /// opened to an agent.
    pub fn sent_by_proxy(&self) -> String {
        let from = self
            .ports
            .proxies
            .iter()
            .map(|port| format!("udp.srcport == {port} || tcp.srcport == {port}"));
        let to = self
            .ports
            .agents
            .iter()
            .map(|port| format!("tcp.dstport == {port}"));
        format!("({})", from.chain(to).collect::<Vec<_>>().join(" || "))
    }

    /// The complete dissection of the selected packets, for whoever reads a failed test.
    #[track_caller]
    pub fn describe(&self, filter: &str) -> String {
        run(self.tshark().args(["-Y", filter, "-V"]))
    }

    fn sip_ports(&self) -> impl Iterator<Item = u16> {
        self.ports.proxies.iter().chain(&self.ports.agents).copied()
    }

    fn tshark(&self) -> Command {
        let mut command = Command::new("tshark");
        // The user's own tshark settings must not matter.
        command.env(
            "WIRESHARK_CONFIG_DIR",
            self.file.with_extension("no-config"),
        );
        command.args([
            "-n",
            "-o",
            "tcp.desegment_tcp_streams:TRUE",
            "-o",
            "sip.desegment_body:TRUE",
        ]);
        command.arg("-r").arg(&self.file);
        for port in self.sip_ports() {
            command.args([
                "-d",
                &format!("udp.port=={port},sip"),
                "-d",
                &format!("tcp.port=={port},sip"),
            ]);
        }
        for port in &self.ports.msrp {
            command.args(["-d", &format!("tcp.port=={port},msrp")]);
        }
        for port in &self.ports.http {
            command.args(["-d", &format!("tcp.port=={port},http")]);
        }
        command
    }
}

fn judge_packet(cells: &[String; JUDGED.len()], complaints: &mut Vec<Complaint>) {
    let [
        frame,
        source,
        destination,
        info,
        malformed,
        severity,
        expert,
        sip,
        via,
        from,
        to,
        call_id,
        cseq,
        first_boundary,
        last_boundary,
        payload,
    ] = cells;
    let mut complain = |words: String| {
        let summary = format!("{source} → {destination} {info}");
        complaints.push(Complaint {
            frame: frame.parse().unwrap_or(0),
            summary,
            words,
        });
    };
    if !malformed.is_empty() || severity.split(AGGREGATOR).any(|one| one == ERROR_SEVERITY) {
        complain(format!("malformed: {expert}"));
    }
    let payload = bytes_of(payload);
    if sip.is_empty() {
        if payload
            .iter()
            .any(|byte| !matches!(byte, b'\r' | b'\n' | 0))
        {
            complain("not SIP".to_owned());
        }
        return;
    }
    let mandatory = [
        ("Via", via),
        ("From", from),
        ("To", to),
        ("Call-ID", call_id),
        ("CSeq", cseq),
    ];
    for (name, value) in mandatory {
        if value.is_empty() {
            complain(format!("no {name}"));
        }
    }
    if !first_boundary.is_empty() && last_boundary.is_empty() {
        complain("the multipart body has no end".to_owned());
    }
    if !payload.is_empty() {
        let message = Message::read(payload);
        let stated = message
            .header("Content-Length")
            .and_then(|value| value.parse::<usize>().ok());
        if stated.is_some_and(|length| length != message.body().len()) {
            complain(format!(
                "Content-Length is {stated:?}, the body has {}",
                message.body().len()
            ));
        }
    }
}

fn bytes_of(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex
        .chars()
        .filter_map(|digit| u8::try_from(digit.to_digit(16)?).ok())
        .collect();
    digits
        .chunks_exact(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect()
}

#[track_caller]
fn run(command: &mut Command) -> String {
    let output = or_fail("tshark", command.output());
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "tshark: {}: {words}",
        output.status
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[track_caller]
fn assert_none(complaints: &[Complaint]) {
    let words: Vec<_> = complaints.iter().map(ToString::to_string).collect();
    assert!(
        words.is_empty(),
        "the judge complains:\n{}",
        words.join("\n")
    );
}
