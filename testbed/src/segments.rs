//! Splits the datagrams of a capture as their receivers got them.
//!
//! With UDP segmentation offload a sender passes many datagrams of equal length to the kernel as
//! one, and the kernel splits it where it must: on the loopback interface after the point at which
//! a capture sees it. There they would be one long packet.

/// Block types of a pcapng file.
const ENHANCED_PACKET: u32 = 6;

const ETHERNET_BYTES: usize = 14;
const UDP_BYTES: usize = 8;
const UDP: u8 = 17;

/// Splits a capture's packets as it is written.
#[derive(Debug, Default)]
pub(crate) struct Segments {
    pending: Vec<u8>,
}

impl Segments {
    /// Takes more of a pcapng capture, and returns the complete blocks.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.pending.extend_from_slice(bytes);
        let mut whole = Vec::with_capacity(self.pending.len());
        let mut at = 0;
        while let Some(length) = number(&self.pending, at + 4) {
            let end = at + (length as usize).max(12);
            let Some(block) = self.pending.get(at..end) else {
                break;
            };
            match cut(block) {
                Some(blocks) => whole.extend(blocks),
                None => whole.extend_from_slice(block),
            }
            at = end;
        }
        self.pending.drain(..at);
        whole
    }
}

/// The number at this position, in the byte order of this machine.
fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// The blocks of the datagrams in this one. `None`: it is a single datagram, or none.
fn cut(block: &[u8]) -> Option<Vec<u8>> {
    if number(block, 0)? != ENHANCED_PACKET {
        return None;
    }
    let length = number(block, 20)? as usize;
    let packet = block.get(28..28 + length)?;
    let ip_bytes = match packet.get(12..14)? {
        [0x08, 0x00] if packet.get(23) == Some(&UDP) => usize::from(packet.get(14)? & 15) * 4,
        [0x86, 0xdd] if packet.get(20) == Some(&UDP) => 40,
        _ => return None,
    };
    let head = ETHERNET_BYTES + ip_bytes + UDP_BYTES;
    let payload = packet.get(head..)?;
    let segment = message_length(payload)?;
    if !payload.get(segment..)?.starts_with(b"MESSAGE ") {
        return None;
    }
    let mut blocks = Vec::new();
    for payload in payload.chunks(segment) {
        let mut packet = [&packet[..head], payload].concat();
        let udp_length = ((UDP_BYTES + payload.len()) as u16).to_be_bytes();
        packet[head - 4..head - 2].copy_from_slice(&udp_length);
        // No checksum.
        packet[head - 2..head].fill(0);
        match ip_bytes {
            40 => packet[18..20].copy_from_slice(&udp_length),
            _ => {
                let ip_length = ((ip_bytes + UDP_BYTES + payload.len()) as u16).to_be_bytes();
                packet[16..18].copy_from_slice(&ip_length);
            }
        }
        let captured = (packet.len() as u32).to_ne_bytes();
        packet.resize(packet.len().next_multiple_of(4), 0);
        let whole = (32 + packet.len() as u32).to_ne_bytes();
        for part in [
            &block[..4],
            &whole,
            &block[8..20],
            &captured,
            &captured,
            &packet,
            &whole,
        ] {
            blocks.extend_from_slice(part);
        }
    }
    Some(blocks)
}

/// The length of the MESSAGE at the beginning of a datagram, according to its header.
fn message_length(payload: &[u8]) -> Option<usize> {
    const LENGTH: &[u8] = b"\r\nContent-Length: ";
    let find = |bytes: &[u8], what: &[u8]| bytes.windows(what.len()).position(|at| at == what);
    if !payload.starts_with(b"MESSAGE ") {
        return None;
    }
    let header = find(payload, b"\r\n\r\n")? + 4;
    let value = find(&payload[..header], LENGTH)? + LENGTH.len();
    let digits = payload[value..].split(|byte| *byte == b'\r').next()?;
    let body: usize = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some(header + body)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(payload: &[u8]) -> Vec<u8> {
        let mut packet = vec![0; ETHERNET_BYTES];
        packet[12] = 8;
        packet.extend([0x45; 20]);
        packet[23] = UDP;
        packet.extend([7; UDP_BYTES]);
        packet.extend_from_slice(payload);
        let captured = packet.len() as u32;
        packet.resize(packet.len().next_multiple_of(4), 0);
        let whole = 32 + packet.len() as u32;
        let mut block = Vec::new();
        for number in [ENHANCED_PACKET, whole, 1, 2, 3, captured, captured] {
            block.extend(number.to_ne_bytes());
        }
        block.extend_from_slice(&packet);
        block.extend(whole.to_ne_bytes());
        block
    }

    #[test]
    fn what_left_as_one_arrives_as_many() {
        let first = b"MESSAGE sip:a SIP/2.0\r\nContent-Length: 5\r\n\r\nHello";
        let second = b"MESSAGE sip:b SIP/2.0\r\nContent-Length: 5\r\n\r\nHello";
        let response = b"SIP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n";
        let mut segments = Segments::default();
        let all = [
            block(&[&first[..], second].concat()),
            block(response),
            block(first),
        ]
        .concat();
        let mut whole = Vec::new();
        for byte in &all {
            whole.extend(segments.push(&[*byte]));
        }
        assert!(segments.pending.is_empty());
        let count = |text: &[u8]| whole.windows(text.len()).filter(|at| *at == text).count();
        assert_eq!((count(first), count(second), count(response)), (2, 1, 1));
        let mut at = 0;
        let mut lengths = Vec::new();
        while at < whole.len() {
            lengths.push(number(&whole, at + 20).unwrap() as usize);
            at += number(&whole, at + 4).unwrap() as usize;
        }
        let head = ETHERNET_BYTES + 20 + UDP_BYTES;
        let (message, response) = (head + first.len(), head + response.len());
        assert_eq!(lengths, [message, message, response, message]);
    }
}
