//! The parts of a response that a client transaction reads (RFC 3261 17.1.3): status, branch of the
//! top Via, method of CSeq.

use memchr::{memchr, memchr_iter};

use super::branch;

/// A response whose top Via has a branch of the lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Response<'a> {
    /// Status code, from 100 to 699.
    pub(super) code: u16,
    /// Reason phrase.
    pub(super) reason: &'a [u8],
    /// The digits after the prefix of the branch.
    pub(super) digits: &'a [u8],
    /// Whether a client accepts it: it has one Via (RFC 3261 8.1.3.3) and answers a MESSAGE
    /// (17.1.3).
    pub(super) is_fit: bool,
}

impl<'a> Response<'a> {
    /// Reads a datagram. `None`: it is not for the lane, and the proxy handles it. Linear in the
    /// length of the header.
    pub(super) fn read(datagram: &'a [u8]) -> Option<Self> {
        let rest = datagram.strip_prefix(b"SIP/2.0 ")?;
        let (status, mut rest) = line(rest)?;
        let (code, reason) = status.split_at_checked(3)?;
        let code = code.iter().try_fold(0_u16, |code, digit| {
            digit
                .is_ascii_digit()
                .then(|| code * 10 + u16::from(digit - b'0'))
        })?;
        if !(100..700).contains(&code) || !matches!(reason.first(), None | Some(b' ')) {
            return None;
        }
        let mut digits = None;
        let mut vias = 0;
        let mut is_message = false;
        while let Some((field, next)) = field(rest) {
            rest = next;
            match field.first()? | 0x20 {
                b'v' => {
                    let Some(value) = value(field, b"via", Some(b"v")) else {
                        continue;
                    };
                    let comma = memchr(b',', value);
                    vias += match comma {
                        None => 1,
                        Some(first) => 2 + memchr_iter(b',', &value[first + 1..]).count(),
                    };
                    if digits.is_none() {
                        digits = Some(digits_in(&value[..comma.unwrap_or(value.len())])?);
                    }
                }
                b'c' => {
                    if let Some(value) = value(field, b"cseq", None) {
                        is_message = value.trim_ascii().ends_with(b" MESSAGE");
                    }
                }
                _ => {}
            }
        }
        Some(Response {
            code,
            reason: reason.trim_ascii(),
            digits: digits?,
            is_fit: vias == 1 && is_message,
        })
    }
}

/// What follows the prefix of the lane's branches in the topmost value of Via. `None`: it has
/// another branch.
fn digits_in(top: &[u8]) -> Option<&[u8]> {
    let starts = memchr_iter(branch::COOKIE[0], top);
    let (at, digits) = starts
        .filter_map(|at| Some((at, top[at..].strip_prefix(branch::COOKIE)?)))
        .next()?;
    matches!(top[..at].last(), Some(b'=' | b' ' | b'\t')).then_some(digits)
}

/// The first line without its line end, and the rest. `None`: it has no line end.
fn line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = memchr(b'\n', bytes)?;
    let line = &bytes[..end];
    Some((line.strip_suffix(b"\r").unwrap_or(line), &bytes[end + 1..]))
}

/// The first header field with its continuation lines, and the rest. `None`: the header has ended.
fn field(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (first, mut rest) = line(bytes)?;
    if first.is_empty() {
        return None;
    }
    let mut end = first.len();
    while let Some(b' ' | b'\t') = rest.first() {
        let (more, next) = line(rest)?;
        end = bytes.len() - rest.len() + more.len();
        rest = next;
    }
    Some((&bytes[..end], rest))
}

/// The value of a field of that name.
fn value<'a>(field: &'a [u8], name: &[u8], compact: Option<&[u8]>) -> Option<&'a [u8]> {
    let colon = memchr(b':', field)?;
    let (this, value) = (field[..colon].trim_ascii_end(), &field[colon + 1..]);
    let is = |name: &[u8]| this.eq_ignore_ascii_case(name);
    (is(name) || compact.is_some_and(is)).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<(u16, String, String, bool)> {
        let text = text.replace('\n', "\r\n");
        let response = Response::read(text.as_bytes())?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Some((
            response.code,
            text(response.reason),
            text(response.digits),
            response.is_fit,
        ))
    }

    const REST: &str = "From: <sip:a@b>;tag=1\nCSeq: 1 MESSAGE\nCall-ID: x\n\n";

    #[test]
    fn the_branch_of_the_top_via_says_whose_it_is() {
        let one = |via: &str| read(&format!("SIP/2.0 200 OK\n{via}\n{REST}"));
        let found = Some((200, "OK".to_owned(), "0123".to_owned(), true));
        for via in [
            "Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKcpm0123",
            "v:SIP/2.0/UDP [2001:db8::1];Branch = z9hG4bKcpm0123",
            "VIA : SIP/2.0/UDP 192.0.2.1\n ;branch=z9hG4bKcpm0123",
            "To: <sip:b@c>\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKcpm0123",
        ] {
            assert_eq!(one(via), found, "{via}");
        }
        for via in [
            "Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKcb1f.0123",
            "Via: SIP/2.0/UDP other;branch=z9hG4bK1\nVia: SIP/2.0/UDP own;branch=z9hG4bKcpm0123",
            "Via: SIP/2.0/UDP other;branch=z9hG4bK1, SIP/2.0/UDP own;branch=z9hG4bKcpm0123",
            "Via: SIP/2.0/UDP 192.0.2.1;branch=xz9hG4bKcpm0123",
            "Subject: z9hG4bKcpm0123",
        ] {
            assert_eq!(one(via), None, "{via}");
        }
    }

    #[test]
    fn what_a_client_does_not_take_is_ours_all_the_same() {
        let via = "Via: SIP/2.0/UDP a;branch=z9hG4bKcpm0123";
        for text in [
            format!("SIP/2.0 200 OK\n{via}\nVia: SIP/2.0/UDP b;branch=z9hG4bK1\n{REST}"),
            format!("SIP/2.0 200 OK\n{via}, SIP/2.0/UDP b;branch=z9hG4bK1\n{REST}"),
            format!("SIP/2.0 200 OK\n{via}\nCSeq: 1 INVITE\n\n"),
            format!("SIP/2.0 200 OK\n{via}\n\n"),
        ] {
            assert!(!read(&text).expect("it is ours").3, "{text}");
        }
    }

    #[test]
    fn what_is_no_response_is_left_to_the_proxy() {
        let via = "Via: SIP/2.0/UDP a;branch=z9hG4bKcpm0123";
        for start in [
            "MESSAGE sip:a@b SIP/2.0",
            "SIP/2.0 099 x",
            "SIP/2.0 700 x",
            "SIP/2.0 20x OK",
            "SIP/2.0 2000 OK",
            "SIP/2.0 2",
            "SIP/3.0 200 OK",
        ] {
            assert_eq!(read(&format!("{start}\n{via}\n{REST}")), None, "{start}");
        }
        assert_eq!(Response::read(b""), None);
        assert_eq!(Response::read(b"SIP/2.0 200 OK"), None);
        assert!(read(&format!("SIP/2.0 200\n{via}\n{REST}")).is_some());
    }
}
