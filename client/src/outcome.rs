//! Result of sending a message, and advice for the user.

use std::fmt;

use cpm_wire::msrp::Status;
use cpm_wire::sip::{HeaderName, Message, StatusCode, split_list};
use cpm_wire::sip_ua::{text, texts};

/// A message that has been sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// The code of the 2xx.
    pub code: u16,
    /// UID of the copy in the message store (7.2.1.1-18, 7.2.1.2-done-3).
    pub message_uid: Option<String>,
}

/// A final response other than success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Status code.
    pub code: u16,
    /// Reason phrase as the server wrote it.
    pub reason: String,
    /// The texts of all Warning header fields.
    pub warnings: Vec<String>,
    /// Seconds of Retry-After.
    pub retry_after: Option<u32>,
}

/// Why a message was not sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// The server refused.
    Refused(Refusal),
    /// The server requires a password, and got none or a wrong one.
    Unauthenticated(Refusal),
    /// No answer to this method in time.
    NoAnswer(&'static str),
    /// The server is unreachable; the system's error.
    Unreachable(String),
    /// An answer that violates the protocol; how.
    WrongAnswer(String),
    /// The recipient, or the server, accepts less than the message has: its limit in bytes.
    TooLarge(u64),
    /// MSRP failed.
    Msrp(MsrpFailure),
    /// The peer hung up before it had everything.
    PeerLeft,
    /// The user cancelled it.
    Cancelled,
}

/// The failure of MSRP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MsrpFailure {
    /// A chunk was answered with this status.
    Refused(Status),
    /// A chunk was not answered in time.
    NoResponse,
    /// The connection could not be opened, or broke; how.
    Connection(String),
    /// The peer no longer accepts data.
    Stalled,
}

impl Refusal {
    pub(super) fn of(response: &Message, status: StatusCode) -> Self {
        let quoted = |value: &str| {
            let (_, text) = value.split_once('"')?;
            let (text, _) = text.rsplit_once('"')?;
            Some(text.replace("\\\"", "\"").replace("\\\\", "\\"))
        };
        let warnings = texts(response, HeaderName::Warning);
        let warnings = warnings.iter().flat_map(|value| split_list(value));
        let retry_after = text(response, HeaderName::RetryAfter).and_then(|value| {
            let digits = value.split([' ', ';', '(']).next()?;
            digits.parse().ok()
        });
        Self {
            code: status.as_u16(),
            reason: response.reason().unwrap_or_default().to_owned(),
            warnings: warnings
                .map(|value| quoted(value).unwrap_or_else(|| value.to_owned()))
                .collect(),
            retry_after,
        }
    }

    /// OMA's number of a warning text, such as 127 (readings N9, N12). A text without number is
    /// recognised by its words (N11).
    fn oma_number(&self) -> Option<u16> {
        let number = |text: &String| {
            if text.eq_ignore_ascii_case("No destinations") {
                return Some(129);
            }
            text.split(' ').next()?.parse().ok()
        };
        self.warnings.iter().find_map(number)
    }
}

impl Failure {
    /// The failure for this final response, which is not a success.
    pub(super) fn of(response: &Message, status: StatusCode) -> Self {
        let refusal = Refusal::of(response, status);
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
                Self::Unauthenticated(refusal)
            }
            _ => Self::Refused(refusal),
        }
    }

    /// Whether another server of the same domain may succeed (RFC 3263 §4.3): this one is
    /// unreachable, or answers 503.
    pub fn is_for_next_server(&self) -> bool {
        match self {
            Self::NoAnswer(_) | Self::Unreachable(_) => true,
            Self::Refused(refusal) => refusal.code == 503,
            _ => false,
        }
    }

    /// Advice for the user, in one sentence.
    pub fn advice(&self) -> Option<String> {
        let advice = match self {
            Self::Refused(refusal) => return refusal_advice(refusal),
            Self::Unauthenticated(_) => "give --user and --password-file, or another password",
            Self::NoAnswer(_) => {
                "check --server and its port, and whether a firewall drops the packets; over UDP try --transport tcp"
            }
            Self::Unreachable(_) => {
                "check --server: its name, its port, and whether it listens on that transport"
            }
            Self::WrongAnswer(_) => {
                "the other end does not keep to the protocol: its operator should see this"
            }
            Self::TooLarge(limit) => {
                return Some(format!("send at most {limit} bytes, wrapper included"));
            }
            Self::Msrp(MsrpFailure::Connection(_)) => {
                "check that the address in the answer can be reached from here: a wrong msrp_advertise of the server is the usual cause"
            }
            Self::Msrp(MsrpFailure::Refused(status)) => match status.code() {
                413 => {
                    "the other end stopped it: the message is too large for it, or it ran out of room"
                }
                415 => "the other end does not take this type of content",
                481 | 506 => "the session was gone or in use elsewhere: send again",
                _ => "send again later",
            },
            Self::Msrp(_) | Self::PeerLeft => "send again later",
            Self::Cancelled => return None,
        };
        Some(advice.to_owned())
    }
}

fn refusal_advice(refusal: &Refusal) -> Option<String> {
    let by_warning = match refusal.oma_number() {
        Some(102) => Some("split the list: the server takes fewer recipients at once"),
        Some(119) => Some("send without --anonymous: the server does not allow it here"),
        Some(122) => Some(
            "leave out --session-expires, or let it say uac: the server insists on its own reading of the session timer",
        ),
        Some(127) => Some(
            "the sender may not use this service: check --from and --identity, and on the server who vouches for them (trusted_peer); where this machine is a trusted_peer, state the sender with --assert",
        ),
        Some(129) => Some("name at least one recipient with --to or --list"),
        Some(132) => Some("the server wants another client version: see --oma-release"),
        Some(133) => Some("send a smaller message: the server has a limit (msrp_max_message)"),
        _ => None,
    };
    let advice = by_warning.or(match refusal.code {
        403 => Some("the server does not let this sender send"),
        404 => Some("the server knows no such user, group or service: check the address after --to or --via; for a large message, msrp_listen on the server"),
        405 | 501 => Some("the address does not take such a message: is it the exploder, a group or a user? Large ones need msrp_listen on the server"),
        408 => Some("nobody answered behind the server: try later"),
        413 | 513 => Some("send a smaller message"),
        415 => Some("the other end does not take this type of content"),
        416 => Some("use a sip: address"),
        420 => Some("the server is no CPM server for lists: Unsupported names what it does not know"),
        422 => Some("a longer session interval is wanted: leave out --session-expires"),
        480 => Some("no recipient can be reached at the moment: try later"),
        486 | 600 => Some("the other end is busy: try later"),
        488 | 606 => Some("the other end does not take such a session: is large message mode on (msrp_listen), does the group support CPM?"),
        503 => Some("the server is overloaded or down: try later"),
        603 => Some("the recipient declined"),
        _ => None,
    });
    match (advice, refusal.retry_after) {
        (advice, None) => advice.map(str::to_owned),
        (None, Some(seconds)) => Some(format!("try again in {seconds} s")),
        (Some(advice), Some(seconds)) => {
            Some(format!("{advice}; it asks for {seconds} s of patience"))
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.code, self.reason)?;
        for warning in &self.warnings {
            write!(f, ", warning \"{warning}\"")?;
        }
        Ok(())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refusal) => write!(f, "the server answered {refusal}"),
            Self::Unauthenticated(refusal) => {
                write!(f, "the server does not know who this is: {refusal}")
            }
            Self::NoAnswer(method) => write!(f, "no answer to {method} in time"),
            Self::Unreachable(words) => write!(f, "the server cannot be reached: {words}"),
            Self::WrongAnswer(words) => write!(f, "wrong answer: {words}"),
            Self::TooLarge(limit) => {
                write!(
                    f,
                    "the other end takes messages up to {limit} bytes, this one is larger"
                )
            }
            Self::Msrp(failure) => failure.fmt(f),
            Self::PeerLeft => f.write_str("the other end hung up before it had the whole message"),
            Self::Cancelled => f.write_str("cancelled"),
        }
    }
}

impl fmt::Display for MsrpFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(status) => {
                write!(
                    f,
                    "the transfer was refused: MSRP {status} {}",
                    status.comment()
                )
            }
            Self::NoResponse => {
                f.write_str("the transfer failed: a chunk was not answered in time")
            }
            Self::Connection(words) => write!(f, "the MSRP connection failed: {words}"),
            Self::Stalled => f.write_str("the transfer failed: the other end has stopped reading"),
        }
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn refusal(head: &str) -> Refusal {
        let message = Message::parse(Bytes::from(format!("SIP/2.0 {head}\r\n\r\n"))).unwrap();
        Refusal::of(&message, message.status().unwrap())
    }

    #[test]
    fn code_reason_and_warnings_are_told() {
        let refused = refusal(
            "403 Not You\r\nWarning: 399 cf.example.com \"127 Service not \\\"authorised\\\"\", 399 b \"x, y\"\r\n\
             Retry-After: 18 (soon)",
        );
        assert_eq!(
            Failure::Refused(refused.clone()).to_string(),
            "the server answered 403 Not You, warning \"127 Service not \"authorised\"\", warning \"x, y\""
        );
        let advice = Failure::Refused(refused).advice().unwrap();
        assert!(
            advice.contains("trusted_peer") && advice.ends_with("18 s of patience"),
            "{advice}"
        );
    }

    #[test]
    fn advice_goes_by_number_words_and_code() {
        let advice = |head: &str| Failure::Refused(refusal(head)).advice();
        let warned = |text: &str| advice(&format!("403 F\r\nWarning: 399 a \"{text}\"")).unwrap();
        // Both texts of N11, both of N12.
        assert_eq!(warned("No destinations"), warned("129 No destinations"));
        assert_eq!(
            warned("102 Too many recipients"),
            warned("102 Too many participants")
        );
        // Both codes of N13.
        assert!(advice("488 Not Acceptable Here").unwrap().contains("group"));
        assert!(advice("404 Not Found").unwrap().contains("group"));
        assert_eq!(advice("499 Odd"), None);
        assert_eq!(
            advice("499 Odd\r\nRetry-After: 5").unwrap(),
            "try again in 5 s"
        );
    }
}
