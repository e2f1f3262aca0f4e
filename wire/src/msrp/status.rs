use std::fmt;

/// A status code of a response or a Status field (RFC 4975 §10): three digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Status(u16);

impl Status {
    /// 200: the request was understood and accepted.
    pub const OK: Self = Self(200);
    /// 400: the request cannot be understood.
    pub const BAD_REQUEST: Self = Self(400);
    /// 403: the action is not allowed.
    pub const FORBIDDEN: Self = Self(403);
    /// 408: a downstream transaction did not complete in time.
    pub const REQUEST_TIMEOUT: Self = Self(408);
    /// 413: stop sending this message.
    pub const STOP_SENDING: Self = Self(413);
    /// 415: the media type is not understood.
    pub const UNSUPPORTED_MEDIA_TYPE: Self = Self(415);
    /// 423: a parameter is out of bounds.
    pub const OUT_OF_BOUNDS: Self = Self(423);
    /// 481: the session does not exist.
    pub const NO_SUCH_SESSION: Self = Self(481);
    /// 501: the method is not understood.
    pub const UNKNOWN_METHOD: Self = Self(501);
    /// 506: the session is bound to another connection.
    pub const BOUND_ELSEWHERE: Self = Self(506);

    /// A code from its three digits; `None` for anything else.
    pub fn parse(digits: &[u8]) -> Option<Self> {
        match digits {
            [b'0'..=b'9', b'0'..=b'9', b'0'..=b'9'] => Some(Self(
                digits
                    .iter()
                    .fold(0, |code, b| code * 10 + u16::from(b - b'0')),
            )),
            _ => None,
        }
    }

    /// The code, 0 to 999.
    pub fn code(self) -> u16 {
        self.0
    }

    /// Whether the code means success.
    pub fn is_success(self) -> bool {
        (200..300).contains(&self.0)
    }

    /// The comment that we write after the code; it has no meaning.
    pub fn comment(self) -> &'static str {
        match self {
            Self::OK => "OK",
            Self::BAD_REQUEST => "Bad Request",
            Self::FORBIDDEN => "Forbidden",
            Self::REQUEST_TIMEOUT => "Request Timeout",
            Self::STOP_SENDING => "Stop Sending",
            Self::UNSUPPORTED_MEDIA_TYPE => "Unsupported Media Type",
            Self::OUT_OF_BOUNDS => "Parameter Out Of Bounds",
            Self::NO_SUCH_SESSION => "No Such Session",
            Self::UNKNOWN_METHOD => "Unknown Method",
            Self::BOUND_ELSEWHERE => "Session Bound Elsewhere",
            _ => "Status",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:03}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits() {
        assert_eq!(Status::parse(b"200"), Some(Status::OK));
        assert_eq!(Status::parse(b"007").unwrap().to_string(), "007");
        for bad in [&b""[..], b"20", b"2000", b"2x0", b"+20"] {
            assert_eq!(Status::parse(bad), None);
        }
        assert!(Status::OK.is_success() && !Status::STOP_SENDING.is_success());
    }
}
