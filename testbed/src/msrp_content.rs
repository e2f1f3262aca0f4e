//! Reassembles a message from its chunks (RFC 4975 §7.3.1).

use std::fmt;

use crate::msrp_message::MsrpHead;

/// Maximum length of a reassembled message: more than any test sends.
const MAX_CONTENT_BYTES: usize = 1 << 28;

/// What has been received of one message.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct MsrpContent {
    /// Message-ID.
    pub message_id: String,
    /// Content-Type.
    pub content_type: String,
    /// The bytes, each in its place.
    pub bytes: Vec<u8>,
    /// The total of the last Byte-Range.
    pub total: Option<u64>,
    /// Number of completed chunks.
    pub chunks: usize,
    /// Content bytes of the largest chunk.
    pub largest_chunk: usize,
    /// Number of bytes that were received more than once.
    pub repeated: usize,
    /// The flag of the last end-line.
    pub flag: Option<char>,
    /// The received ranges in order: start and end of each.
    stretches: Vec<(usize, usize)>,
    /// Where the next byte of the current chunk goes, and where that chunk began.
    at: usize,
    began: usize,
}

impl MsrpContent {
    pub(crate) fn of(message_id: &str) -> Self {
        Self {
            message_id: message_id.to_owned(),
            ..Self::default()
        }
    }

    /// SHA-256 of the bytes, in hex.
    pub fn sha256(&self) -> String {
        sha256(&self.bytes)
    }

    /// Whether all of it has been received, without gaps, and the last chunk was flagged as last.
    pub fn is_complete(&self) -> bool {
        let whole = match *self.stretches {
            [] => self.bytes.is_empty(),
            [(0, end)] => end == self.bytes.len(),
            _ => false,
        };
        let total = self
            .total
            .is_none_or(|total| total == self.bytes.len() as u64);
        whole && total && self.flag == Some('$')
    }

    /// A chunk begins.
    pub(crate) fn begin(&mut self, head: &MsrpHead) -> Result<(), String> {
        let (first, _, total) = head.byte_range().unwrap_or((1, None, None));
        let start = usize::try_from(first).unwrap_or(0).checked_sub(1);
        self.at = start.ok_or("a Byte-Range that begins before the first byte")?;
        self.began = self.at;
        self.total = total.or(self.total);
        if let Some(content_type) = head.header("Content-Type") {
            content_type.clone_into(&mut self.content_type);
        }
        Ok(())
    }

    /// Its next bytes.
    pub(crate) fn add(&mut self, bytes: &[u8]) -> Result<(), String> {
        let (start, end) = (self.at, self.at.saturating_add(bytes.len()));
        if end > MAX_CONTENT_BYTES {
            return Err(format!("a message of {end} bytes and more"));
        }
        if end > self.bytes.len() {
            self.bytes.resize(end, 0);
        }
        self.bytes[start..end].copy_from_slice(bytes);
        self.at = end;
        self.cover(start, end);
        Ok(())
    }

    /// Its end.
    pub(crate) fn end(&mut self, head: &MsrpHead, flag: char) -> Result<(), String> {
        self.flag = Some(flag);
        self.chunks += 1;
        let length = self.at - self.began;
        self.largest_chunk = self.largest_chunk.max(length);
        match head.byte_range() {
            // A chunk may be interrupted, but is never longer than announced.
            Some((_, Some(last), _)) if flag == '$' && last != self.at as u64 => Err(format!(
                "Byte-Range ends at {last}, the content at {}",
                self.at
            )),
            Some((_, Some(last), _)) if last < self.at as u64 => Err(format!(
                "Byte-Range ends at {last}, the content at {}",
                self.at
            )),
            _ => Ok(()),
        }
    }

    fn cover(&mut self, start: usize, end: usize) {
        let (mut new, mut kept) = ((start, end), Vec::with_capacity(self.stretches.len() + 1));
        for &(from, to) in &self.stretches {
            if to < new.0 || from > new.1 {
                kept.push((from, to));
                continue;
            }
            self.repeated += to.min(end).saturating_sub(from.max(start));
            new = (new.0.min(from), new.1.max(to));
        }
        kept.push(new);
        kept.sort_unstable();
        self.stretches = kept;
    }
}

impl fmt::Debug for MsrpContent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            message_id,
            content_type,
            total,
            chunks,
            flag,
            ..
        } = self;
        let length = self.bytes.len();
        write!(
            f,
            "{message_id} ({content_type}): {length} of {total:?} bytes in {chunks} chunks, {flag:?}"
        )
    }
}

/// SHA-256 in hex.
pub fn sha256(bytes: &[u8]) -> String {
    let hash = ring::digest::digest(&ring::digest::SHA256, bytes);
    hash.as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Bytes that look random and include every value; the same for the same seed.
pub fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(length + 8);
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// The same as text.
pub(crate) fn text_noise(length: usize, seed: u64) -> Vec<u8> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bytes = noise(length, seed);
    for byte in &mut bytes {
        *byte = DIGITS[usize::from(*byte & 63)];
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::msrp_message::{MsrpEvent, MsrpReader, MsrpRequest};

    fn take(content: &mut MsrpContent, chunk: &MsrpRequest) -> Result<(), String> {
        let bytes = chunk.write("msrp://h:1/a;tcp", "msrp://h:1/b;tcp");
        let mut head = None;
        for event in MsrpReader::default().read(&bytes)? {
            match event {
                MsrpEvent::Head(new, _) => {
                    content.begin(&new)?;
                    head = Some(new);
                }
                MsrpEvent::Content(bytes) => content.add(&bytes)?,
                MsrpEvent::End(flag) => content.end(head.as_ref().unwrap(), flag)?,
            }
        }
        Ok(())
    }

    #[test]
    fn chunks_in_any_order_make_the_message() {
        let message = noise(1000, 1);
        let mut content = MsrpContent::default();
        for (start, end) in [(0, 300), (600, 1000), (250, 400), (400, 600)] {
            assert!(!content.is_complete());
            let chunk = MsrpRequest::chunk("m", start, &message[start..end], 1000);
            let flag = if start == 400 { '$' } else { '+' };
            take(&mut content, &chunk.flagged(flag)).unwrap();
        }
        assert!(content.is_complete());
        assert_eq!(
            (content.repeated, content.largest_chunk, content.chunks),
            (50, 400, 4)
        );
        assert_eq!(content.sha256(), sha256(&message));
        assert_ne!(sha256(&message), sha256(&noise(1000, 2)));
    }

    #[test]
    fn a_chunk_that_says_another_length_is_a_fault() {
        let chunk = |range: &str| MsrpRequest::chunk("m", 0, b"abc", 3).with("Byte-Range", range);
        for bad in ["1-2/3", "1-4/4", "0-2/3"] {
            assert!(
                take(&mut MsrpContent::default(), &chunk(bad)).is_err(),
                "{bad}"
            );
        }
        let cut = chunk("1-9/9").flagged('+');
        assert_eq!(take(&mut MsrpContent::default(), &cut), Ok(()));
        assert_eq!(take(&mut MsrpContent::default(), &chunk("1-*/*")), Ok(()));
    }
}
