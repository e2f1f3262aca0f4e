//! Common Presence and Instant Messaging (RFC 3862). A Controlling Function reads only the type of
//! the wrapped content and the sender's requests for notifications; the addresses inside are left
//! to clients (spec-notes part 6, 6.1).

mod head;
mod message;

pub use head::{CpimHead, CpimHeadState};
pub(crate) use message::Fields;
pub use message::{CpimError, CpimField, CpimMessage, LineBreakError, MAX_HEAD_BYTES};

/// Content-Type of a message/cpim body.
pub const CONTENT_TYPE: (&str, &str) = ("message", "cpim");

/// The Content-Type of the wrapped content, as written. A CPIM message consists of header fields,
/// an empty line, MIME header fields, an empty line, content (RFC 3862 §2). `None`: it has none, or
/// is not a CPIM message.
pub fn wrapped_content_type(cpim: &[u8]) -> Option<&str> {
    let mut lines = cpim.split(|byte| *byte == b'\n').map(trim_line_end);
    // The message header fields.
    lines.by_ref().take_while(|line| !line.is_empty()).count();
    lines
        .take_while(|line| !line.is_empty())
        .find_map(|line| {
            let colon = line.iter().position(|byte| *byte == b':')?;
            let (name, value) = line.split_at(colon);
            name.trim_ascii()
                .eq_ignore_ascii_case(b"Content-Type")
                .then_some(&value[1..])
        })
        .and_then(|value| std::str::from_utf8(value).ok())
        .map(str::trim)
}

fn trim_line_end(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_type_is_among_the_mime_header_fields() {
        let cpim = b"From: <sip:a@example.com>\r\nContent-Type: not/this\r\n\r\n\
                     Content-ID: <1>\r\ncontent-type : message/imdn+xml\r\n\r\nContent-Type: nor/this";
        assert_eq!(wrapped_content_type(cpim), Some("message/imdn+xml"));
        assert_eq!(
            wrapped_content_type(b"a: b\n\nContent-Type:text/plain\n\nx"),
            Some("text/plain")
        );
    }

    #[test]
    fn what_is_no_cpim_has_none() {
        for text in [
            "",
            "Hello",
            "\r\n",
            "a: b\r\n\r\n\r\nContent-Type: a/b",
            "\r\n\r\n\r\n",
        ] {
            assert_eq!(wrapped_content_type(text.as_bytes()), None, "{text:?}");
        }
        assert_eq!(
            wrapped_content_type(b"\n\xff: a\nContent-Type: \xff\n"),
            None
        );
    }
}
