//! Writing header fields so that no value can introduce another header field.

use std::fmt;

use super::FieldLine;
use super::grammar::is_token;

/// Header lines in the order pushed, each ended with CRLF.
///
/// Every line in it is exactly one header field: a value that contains a line end is refused, and a
/// received field is copied only as a [`FieldLine`] found by the parser.
#[derive(Debug, Clone, Default)]
pub struct HeaderBlock {
    bytes: Vec<u8>,
}

/// Why a header field or value was not written. The block is unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InjectionError {
    /// The name is not a token.
    Name,
    /// The value contains CR, LF or NUL.
    Value,
    /// The agent of a Warning is neither a host, optionally with a port, nor a token.
    WarnAgent,
}

impl HeaderBlock {
    /// An empty block.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty block with this capacity.
    pub fn with_capacity(bytes: usize) -> Self {
        Self {
            bytes: Vec::with_capacity(bytes),
        }
    }

    /// Adds one header field.
    pub fn push(&mut self, name: &str, value: impl AsRef<[u8]>) -> Result<(), InjectionError> {
        let value = value.as_ref();
        if !is_token(name) {
            return Err(InjectionError::Name);
        }
        if value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
            return Err(InjectionError::Value);
        }
        for part in [name.as_bytes(), b": ", value, b"\r\n"] {
            self.bytes.extend_from_slice(part);
        }
        Ok(())
    }

    /// Copies a received header field with its folds. Only a bare LF at its end becomes CRLF.
    pub fn push_line(&mut self, field: &FieldLine<'_>) {
        let line = field.line();
        let content = line.strip_suffix(b"\n").unwrap_or(line);
        self.bytes
            .extend_from_slice(content.strip_suffix(b"\r").unwrap_or(content));
        self.bytes.extend_from_slice(b"\r\n");
    }

    /// The lines written so far.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The lines, without a copy.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

/// The value of a Warning header field with the miscellaneous code: `399 agent "text"` (RFC 3261
/// §20.43). `agent` is our own host or a pseudonym.
pub fn warning_value(agent: &str, text: &str) -> Result<String, InjectionError> {
    let is_agent_byte = |byte: u8| {
        byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\' | b',' | b';' | b'<' | b'>')
    };
    if agent.is_empty() || !agent.bytes().all(is_agent_byte) {
        return Err(InjectionError::WarnAgent);
    }
    if text.contains(['\r', '\n', '\0']) {
        return Err(InjectionError::Value);
    }
    let mut value = format!("399 {agent} \"");
    for character in text.chars() {
        if matches!(character, '"' | '\\') {
            value.push('\\');
        }
        value.push(character);
    }
    value.push('"');
    Ok(value)
}

impl fmt::Display for InjectionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            InjectionError::Name => "header field name is not a token",
            InjectionError::Value => "header field value contains CR, LF or NUL",
            InjectionError::WarnAgent => "warning agent is not a host or token",
        })
    }
}

impl std::error::Error for InjectionError {}

#[cfg(test)]
mod tests {
    use fastrand::Rng;

    use crate::test_random::mutate;
    use bytes::Bytes;

    use super::super::{HeaderName, Message, Parameters};
    use super::*;

    fn parse(head: &str, block: &HeaderBlock) -> Message {
        let bytes = [head.as_bytes(), block.as_bytes(), b"\r\n"].concat();
        Message::parse(Bytes::from(bytes)).unwrap()
    }

    #[test]
    fn fields_are_written_and_copied() {
        let received = Message::parse(Bytes::from_static(
            b"BYE sip:a@b SIP/2.0\r\nSUBJECT : a\r\n  b\r\nPriority: low\n\r\n",
        ))
        .unwrap();
        let mut block = HeaderBlock::new();
        block.push("To", "<sip:a@b>").unwrap();
        received.fields().for_each(|field| block.push_line(&field));
        block.push("X-Empty", b"").unwrap();
        let text = "To: <sip:a@b>\r\nSUBJECT : a\r\n  b\r\nPriority: low\r\nX-Empty: \r\n";
        assert_eq!(block.as_bytes(), text.as_bytes());
        assert_eq!(block.into_bytes(), text.as_bytes());
    }

    #[test]
    fn injection_is_refused_and_leaves_the_block_alone() {
        let mut block = HeaderBlock::new();
        for value in ["a\r\nVia: x", "a\nb", "a\r", "\0"] {
            assert_eq!(
                block.push("To", value),
                Err(InjectionError::Value),
                "{value:?}"
            );
        }
        for name in ["", "To:", "T o", "To\r\nVia", "T\u{f6}"] {
            assert_eq!(block.push(name, "a"), Err(InjectionError::Name), "{name:?}");
        }
        assert_eq!(block.as_bytes(), b"");
    }

    #[test]
    fn mutated_values_stay_one_field_each() {
        let mut random = Rng::with_seed(0x4242);
        for _ in 0..5_000 {
            let mut block = HeaderBlock::new();
            let mut pushed = 0;
            for _ in 0..4 {
                let value = mutate(&mut random, b"text: of a value", b"\r\n\n \t:\0");
                pushed += usize::from(block.push("X-Value", value).is_ok());
            }
            let message = parse("BYE sip:a@b SIP/2.0\r\n", &block);
            assert_eq!(message.all(HeaderName::Other).count(), pushed);
            assert_eq!(message.fields().len(), pushed);
        }
    }

    #[test]
    fn rfc3261_20_43_warning() {
        assert_eq!(
            warning_value("cf.example.com", "127 Service not authorised").as_deref(),
            Ok("399 cf.example.com \"127 Service not authorised\"")
        );
        let quoted = warning_value("[::1]:5060", r#"a "b" \"#).unwrap();
        assert_eq!(quoted, r#"399 [::1]:5060 "a \"b\" \\""#);
        let as_parameter = quoted.replace("399 [::1]:5060 ", ";text=");
        let parsed = Parameters::new(&as_parameter).next().unwrap().unwrap();
        assert_eq!(parsed.value().as_deref(), Some(r#"a "b" \"#));
    }

    #[test]
    fn warnings_cannot_inject() {
        assert_eq!(
            warning_value("h", "a\r\nVia: x"),
            Err(InjectionError::Value)
        );
        for agent in ["", "a b", "a\r\n", "a\"", "a,b"] {
            assert_eq!(
                warning_value(agent, "x"),
                Err(InjectionError::WarnAgent),
                "{agent:?}"
            );
        }
    }
}
