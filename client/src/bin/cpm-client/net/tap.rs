//! The traffic, for people (`--trace`) and for Wireshark (`--pcap`).
//!
//! Both show everything the program sends and receives, with TLS decrypted. Digests of passwords
//! are blanked out: with a digest, passwords could be guessed offline.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufWriter, Write as _, stderr};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use etherparse::PacketBuilder;
use pcap_file::DataLink;
use pcap_file::pcap::{PcapHeader, PcapPacket, PcapWriter};

/// Maximum number of content bytes in a packet of the recording; IP allows 65 535 with its header.
const MAX_SEGMENT_BYTES: usize = 32 * 1024;
/// Limit of the shown part of long content, or of content that is not text.
const MAX_SHOWN_BYTES: usize = 4096;
const WINDOW: u16 = 65_535;
const HOPS: u8 = 64;

/// The direction of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    Sent,
    Received,
}

/// The protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    Sip,
    Msrp,
}

/// The two endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Flow {
    pub(super) own: SocketAddr,
    pub(super) peer: SocketAddr,
    pub(super) is_datagram: bool,
}

/// Shows and records.
pub(crate) struct Tap {
    is_shown: bool,
    recording: Option<PcapWriter<BufWriter<File>>>,
    /// The next sequence numbers of a connection: ours and the peer's.
    positions: HashMap<Flow, (u32, u32)>,
}

impl Tap {
    /// Shows on standard error, records to a new file, or does neither.
    pub(crate) fn new(is_shown: bool, file: Option<&Path>) -> io::Result<Self> {
        let recording = match file {
            None => None,
            Some(path) => {
                let header = PcapHeader {
                    datalink: DataLink::RAW,
                    ..PcapHeader::default()
                };
                let file = BufWriter::new(File::create(path)?);
                Some(PcapWriter::with_header(file, header).map_err(io::Error::other)?)
            }
        };
        Ok(Self {
            is_shown,
            recording,
            positions: HashMap::new(),
        })
    }

    /// Takes bytes that have been sent or received.
    pub(super) fn take(
        &mut self,
        direction: Direction,
        protocol: Protocol,
        flow: Flow,
        bytes: &[u8],
    ) {
        if bytes.is_empty() || !self.is_shown && self.recording.is_none() {
            return;
        }
        let bytes = blotted(bytes);
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.unwrap_or_default();
        if self.is_shown {
            let text = shown(direction, protocol, flow, now, &bytes);
            // The output is closed: nothing to be done.
            let _ = stderr().write_all(text.as_bytes());
        }
        if let Err(error) = self.record(direction, flow, now, &bytes) {
            self.recording = None;
            eprintln!("cpm-client: --pcap: {error}; nothing more is recorded");
        }
    }

    fn record(
        &mut self,
        direction: Direction,
        flow: Flow,
        now: Duration,
        bytes: &[u8],
    ) -> io::Result<()> {
        let Some(recording) = &mut self.recording else {
            return Ok(());
        };
        let (from, to) = match direction {
            Direction::Sent => (flow.own, flow.peer),
            Direction::Received => (flow.peer, flow.own),
        };
        let ip = || match (from.ip(), to.ip()) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                PacketBuilder::ipv4(from.octets(), to.octets(), HOPS)
            }
            (from, to) => PacketBuilder::ipv6(v6(from), v6(to), HOPS),
        };
        let mut frames = Vec::new();
        if flow.is_datagram {
            let udp = ip().udp(from.port(), to.port());
            let mut frame = Vec::with_capacity(udp.size(bytes.len()));
            udp.write(&mut frame, bytes).map_err(io::Error::other)?;
            frames.push(frame);
        } else {
            let (own, peer) = self.positions.entry(flow).or_insert((1, 1));
            let (sequence, acknowledged) = match direction {
                Direction::Sent => (own, peer),
                Direction::Received => (peer, own),
            };
            for segment in bytes.chunks(MAX_SEGMENT_BYTES) {
                let tcp = ip().tcp(from.port(), to.port(), *sequence, WINDOW);
                let tcp = tcp.ack(*acknowledged).psh();
                let mut frame = Vec::with_capacity(tcp.size(segment.len()));
                tcp.write(&mut frame, segment).map_err(io::Error::other)?;
                frames.push(frame);
                *sequence = sequence.wrapping_add(segment.len() as u32);
            }
        }
        for frame in frames {
            let packet = PcapPacket::new(now, frame.len() as u32, &frame);
            recording.write_packet(&packet).map_err(io::Error::other)?;
        }
        Ok(())
    }
}

fn v6(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

/// The same bytes, with the digests in Authorization and Proxy-Authorization blanked out.
fn blotted(bytes: &[u8]) -> Cow<'_, [u8]> {
    let mut blotted = Cow::Borrowed(bytes);
    let mut at = 0;
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let begin = at;
        at += line.len();
        let is_credentials = [&b"authorization:"[..], b"proxy-authorization:"]
            .iter()
            .any(|name| {
                line.get(..name.len())
                    .is_some_and(|start| start.eq_ignore_ascii_case(name))
            });
        if !is_credentials {
            continue;
        }
        const NAME: &[u8] = b"response=\"";
        let lower = line.to_ascii_lowercase();
        let Some(found) = lower.windows(NAME.len()).position(|some| some == NAME) else {
            continue;
        };
        let value = begin + found + NAME.len();
        let length = bytes[value..at].iter().position(|byte| *byte == b'"');
        let end = length.map_or(at, |length| value + length);
        blotted.to_mut()[value..end].fill(b'x');
    }
    blotted
}

/// A message for people: its text, without control characters, and how much is omitted.
fn shown(
    direction: Direction,
    protocol: Protocol,
    flow: Flow,
    now: Duration,
    bytes: &[u8],
) -> String {
    let arrow = match direction {
        Direction::Sent => "-->",
        Direction::Received => "<--",
    };
    let protocol = match protocol {
        Protocol::Sip => "SIP",
        Protocol::Msrp => "MSRP",
    };
    let how = if flow.is_datagram { "UDP" } else { "TCP" };
    let mut text = format!(
        "{arrow} {protocol} over {how}, {} and {}, {}.{:03}, {} bytes\n",
        flow.own,
        flow.peer,
        now.as_secs(),
        now.subsec_millis(),
        bytes.len()
    );
    // A character cut by the limit is omitted.
    let some = &bytes[..bytes.len().min(MAX_SHOWN_BYTES)];
    let readable = some.utf8_chunks().next().map_or("", |chunk| chunk.valid());
    for line in readable.lines() {
        text += "    ";
        text.extend(
            line.chars()
                .map(|c| if c.is_control() { '\u{fffd}' } else { c }),
        );
        text.push('\n');
    }
    let left = bytes.len() - readable.len();
    if left > 0 {
        text += &format!("    ({left} bytes more)\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_blotted_out() {
        let message = b"REGISTER sip:a SIP/2.0\r\nProxy-Authorization: Digest username=\"anne\", \
            Response=\"0123456789abcdef\", nc=1\r\nauthorization: Digest response=\"89\"\r\n\
            Subject: response=\"89\"\r\n\r\n";
        let text = String::from_utf8(blotted(message).into_owned()).unwrap();
        assert!(
            text.contains("Response=\"xxxxxxxxxxxxxxxx\", nc=1"),
            "{text}"
        );
        assert!(text.contains("authorization: Digest response=\"xx\"\r\nSubject: response=\"89\""));
        assert!(matches!(
            blotted(b"MESSAGE sip:a SIP/2.0\r\n"),
            Cow::Borrowed(_)
        ));
    }

    #[test]
    fn what_is_no_text_is_counted() {
        let flow = Flow {
            own: "127.0.0.1:1".parse().unwrap(),
            peer: "127.0.0.1:2".parse().unwrap(),
            is_datagram: false,
        };
        let show = |bytes: &[u8]| {
            shown(
                Direction::Received,
                Protocol::Msrp,
                flow,
                Duration::ZERO,
                bytes,
            )
        };
        let text = show(b"MSRP a SEND\r\n\r\n\x1b[2J\xff\xfe");
        assert!(text.starts_with("<-- MSRP over TCP"), "{text}");
        assert!(text.contains("\u{fffd}[2J\n    (2 bytes more)\n"), "{text}");
        assert!(show(&[b'a'; 5000]).ends_with("(904 bytes more)\n"));
    }
}
