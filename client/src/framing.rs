//! Splits the bytes of a connection into SIP messages (RFC 3261 §18.3).

use std::fmt;

use bytes::{Buf, Bytes, BytesMut};
use cpm_wire::sip::{HeaderName, MAX_HEAD_BYTES, Message, MessageError};

/// Maximum length of a body over a connection: a pager message has less than 4 KiB, a list of 10
/// 000 recipients 1 MiB.
pub const MAX_BODY_BYTES: usize = 2 << 20;

/// Nothing more can be read from this connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FramingError {
    /// The data is not a SIP message.
    Message(MessageError),
    /// A body longer than [`MAX_BODY_BYTES`].
    TooLarge,
}

/// The bytes of one connection.
#[derive(Debug, Default)]
pub struct Framing {
    buffer: BytesMut,
}

impl Framing {
    /// Takes received bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next complete message.
    ///
    /// # Errors
    ///
    /// [`FramingError`]: the connection must be closed.
    pub fn poll_message(&mut self) -> Result<Option<Message>, FramingError> {
        // Empty lines between messages keep connections open (RFC 5626).
        let blank = self
            .buffer
            .iter()
            .take_while(|byte| matches!(byte, b'\r' | b'\n'))
            .count();
        self.buffer.advance(blank);
        let Some(head) = memchr::memmem::find(&self.buffer, b"\r\n\r\n").map(|at| at + 4) else {
            return match self.buffer.len() > MAX_HEAD_BYTES {
                true => Err(FramingError::Message(MessageError::HeadTooLong)),
                false => Ok(None),
            };
        };
        let body = content_length(&self.buffer[..head])?;
        if self.buffer.len() - head < body {
            return Ok(None);
        }
        let bytes = self.buffer.split_to(head + body).freeze();
        Message::parse(bytes)
            .map(Some)
            .map_err(FramingError::Message)
    }
}

/// Content-Length of a head; without one there is no body over a connection (§20.14). With two
/// different ones the beginning of the next message is unknown.
fn content_length(head: &[u8]) -> Result<usize, FramingError> {
    let malformed = FramingError::Message(MessageError::ContentLength);
    let mut length = None;
    for line in head.split(|byte| *byte == b'\n') {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            continue;
        };
        if HeaderName::parse(line[..colon].trim_ascii_end()) == HeaderName::ContentLength {
            let digits = std::str::from_utf8(line[colon + 1..].trim_ascii());
            let number = digits.ok().and_then(|digits| digits.parse().ok());
            let number = number.ok_or(malformed)?;
            if length.is_some_and(|length| length != number) {
                return Err(malformed);
            }
            length = Some(number);
        }
    }
    let length = length.unwrap_or(0);
    if length > MAX_BODY_BYTES {
        return Err(FramingError::TooLarge);
    }
    Ok(length)
}

impl Framing {
    /// A datagram as a message. `None` for keep-alives.
    ///
    /// # Errors
    ///
    /// Those of [`Message::parse`].
    pub fn datagram(bytes: Bytes) -> Result<Option<Message>, MessageError> {
        if bytes.iter().all(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
            return Ok(None);
        }
        Message::parse(bytes).map(Some)
    }
}

impl fmt::Display for FramingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Message(error) => error.fmt(f),
            Self::TooLarge => write!(f, "body of more than {MAX_BODY_BYTES} bytes"),
        }
    }
}

impl std::error::Error for FramingError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_out_whole_however_they_came_in() {
        let stream = b"\r\n\r\nMESSAGE sip:a SIP/2.0\r\nl: 4\r\n\r\nabcdSIP/2.0 200 OK\r\n\r\n\
                       MESSAGE sip:b SIP/2.0\r\nContent-Length : 2\r\n\r\n\r\n";
        for step in [1, 2, 7, stream.len()] {
            let (mut framing, mut messages) = (Framing::default(), Vec::new());
            for piece in stream.chunks(step) {
                framing.push(piece);
                while let Some(message) = framing.poll_message().unwrap() {
                    messages.push(message);
                }
            }
            let bodies: Vec<Bytes> = messages.iter().map(Message::body).collect();
            assert_eq!(bodies, [&b"abcd"[..], b"", b"\r\n"], "step {step}");
        }
    }

    #[test]
    fn what_is_no_sip_ends_the_connection() {
        let failure = |text: &[u8]| {
            let mut framing = Framing::default();
            framing.push(text);
            framing.poll_message().err()
        };
        let message = |error| Some(FramingError::Message(error));
        assert_eq!(
            failure(b"HTTP/1.1 200 OK\r\n\r\n"),
            message(MessageError::StartLine)
        );
        let negative = b"BYE sip:a SIP/2.0\r\nl: -1\r\n\r\n";
        assert_eq!(failure(negative), message(MessageError::ContentLength));
        let two = b"BYE sip:a SIP/2.0\r\nl: 1\r\nl: 2\r\n\r\nab";
        assert_eq!(failure(two), message(MessageError::ContentLength));
        let huge = format!("BYE sip:a SIP/2.0\r\nl: {}\r\n\r\n", MAX_BODY_BYTES + 1);
        assert_eq!(failure(huge.as_bytes()), Some(FramingError::TooLarge));
        let endless = vec![b'a'; MAX_HEAD_BYTES + 1];
        assert_eq!(failure(&endless), message(MessageError::HeadTooLong));
        assert_eq!(failure(&endless[1..]), None, "its end may come");
        let largest = format!("BYE sip:a SIP/2.0\r\nl: {MAX_BODY_BYTES}\r\n\r\n");
        assert_eq!(failure(largest.as_bytes()), None);
    }
}
