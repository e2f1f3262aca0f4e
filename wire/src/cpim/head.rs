use bytes::Bytes;

use super::MAX_HEAD_BYTES;

/// The header of a CPIM message whose bytes come piece by piece: both blocks, with the empty line
/// behind each.
///
/// ```text
///  Open --second empty line--> Whole
///    | MAX_HEAD_BYTES
///    +-------------------------> TooLong
/// ```
#[derive(Debug, Default)]
pub struct CpimHead {
    bytes: Vec<u8>,
    /// Number of empty lines so far.
    blocks: u8,
    /// The current line contains more than a CR.
    is_in_line: bool,
}

/// State of a header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CpimHeadState {
    /// It is incomplete.
    Open,
    /// It is complete.
    Whole(Bytes),
    /// It does not end within [`MAX_HEAD_BYTES`].
    TooLong,
}

impl CpimHead {
    /// Takes the next piece of the message, as far as it belongs to the header. After any result
    /// other than [`CpimHeadState::Open`] it must not be called again.
    pub fn push(&mut self, piece: &[u8]) -> CpimHeadState {
        for (at, byte) in piece.iter().enumerate() {
            match byte {
                b'\n' if !std::mem::take(&mut self.is_in_line) => self.blocks += 1,
                b'\n' | b'\r' => {}
                _ => self.is_in_line = true,
            }
            if self.blocks == 2 {
                self.bytes.extend_from_slice(&piece[..=at]);
                return CpimHeadState::Whole(std::mem::take(&mut self.bytes).into());
            }
            if self.bytes.len() + at + 1 == MAX_HEAD_BYTES {
                return CpimHeadState::TooLong;
            }
        }
        self.bytes.extend_from_slice(piece);
        CpimHeadState::Open
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpim::CpimMessage;

    const HEAD: &[u8] =
        b"From: <sip:a@example.com>\r\nA: b\r\n\r\nContent-Type: text/plain\r\n\r\n";

    #[test]
    fn it_ends_where_the_content_begins_however_it_comes() {
        let message = [HEAD, b"\r\nHello\r\n\r\n"].concat();
        for step in 1..message.len() {
            let mut head = CpimHead::default();
            let states = message.chunks(step).map(|piece| head.push(piece));
            let end = states
                .into_iter()
                .find(|state| *state != CpimHeadState::Open);
            let Some(CpimHeadState::Whole(whole)) = end else {
                panic!("in steps of {step}: {end:?}")
            };
            assert_eq!(whole, HEAD, "in steps of {step}");
        }
        for head in ["\n\n", "\r\n\r\n", "a: b\n\nc: d\n\n"] {
            let whole = CpimHead::default().push(head.as_bytes());
            assert_eq!(whole, CpimHeadState::Whole(Bytes::from(head)));
            assert!(CpimMessage::parse(&Bytes::from(head)).is_ok());
        }
    }

    #[test]
    fn it_is_open_until_then() {
        let mut head = CpimHead::default();
        assert_eq!(head.push(&HEAD[..HEAD.len() - 1]), CpimHeadState::Open);
        assert_eq!(head.push(b""), CpimHeadState::Open);
        assert_eq!(head.push(b"\n"), CpimHeadState::Whole(HEAD.into()));
    }

    #[test]
    fn one_that_does_not_end_is_given_up() {
        let line = [b'a'; 100];
        let mut head = CpimHead::default();
        let pieces = (1..).find(|_| head.push(&line) == CpimHeadState::TooLong);
        assert_eq!(pieces, Some(MAX_HEAD_BYTES.div_ceil(line.len())));
        assert!(head.bytes.len() < MAX_HEAD_BYTES);
    }
}
