//! Status codes and their default reason phrases (RFC 3261 §21 and its extensions).

use std::fmt;

/// A status code from 100 to 699.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StatusCode(u16);

/// A number or text that is not a status code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidStatusCode;

impl StatusCode {
    /// Takes a number from 100 to 699.
    pub const fn new(code: u16) -> Result<Self, InvalidStatusCode> {
        match code {
            100..=699 => Ok(Self(code)),
            _ => Err(InvalidStatusCode),
        }
    }

    /// Parses the three digits of a Status-Line.
    pub fn parse(digits: &[u8]) -> Result<Self, InvalidStatusCode> {
        match digits {
            [b'0'..=b'9', b'0'..=b'9', b'0'..=b'9'] => Self::new(
                digits
                    .iter()
                    .fold(0, |code, digit| code * 10 + u16::from(digit - b'0')),
            ),
            _ => Err(InvalidStatusCode),
        }
    }

    /// The code as a number.
    pub const fn as_u16(self) -> u16 {
        self.0
    }

    /// Whether the response is provisional (1xx).
    pub const fn is_provisional(self) -> bool {
        self.0 < 200
    }

    /// Whether the response is a success (2xx).
    pub const fn is_success(self) -> bool {
        self.0 / 100 == 2
    }
}

macro_rules! status_codes {
    ($($constant:ident = $code:literal, $phrase:literal;)+) => {
        impl StatusCode {
            $(#[doc = concat!($code, " ", $phrase)] pub const $constant: Self = Self($code);)+

            /// The default reason phrase; for a code without one of its own, that of the `x00` code
            /// of its class, as which it must be treated (RFC 3261 §8.1.3.2).
            pub const fn reason_phrase(self) -> &'static str {
                match self.0 {
                    $($code => $phrase,)+
                    100..=199 => "Session Progress",
                    200..=299 => "OK",
                    300..=399 => "Multiple Choices",
                    400..=499 => "Bad Request",
                    500..=599 => "Server Internal Error",
                    _ => "Busy Everywhere",
                }
            }
        }
    };
}

status_codes! {
    TRYING = 100, "Trying";
    RINGING = 180, "Ringing";
    CALL_IS_BEING_FORWARDED = 181, "Call Is Being Forwarded";
    QUEUED = 182, "Queued";
    SESSION_PROGRESS = 183, "Session Progress";
    OK = 200, "OK";
    ACCEPTED = 202, "Accepted";
    MULTIPLE_CHOICES = 300, "Multiple Choices";
    MOVED_PERMANENTLY = 301, "Moved Permanently";
    MOVED_TEMPORARILY = 302, "Moved Temporarily";
    USE_PROXY = 305, "Use Proxy";
    ALTERNATIVE_SERVICE = 380, "Alternative Service";
    BAD_REQUEST = 400, "Bad Request";
    UNAUTHORIZED = 401, "Unauthorized";
    PAYMENT_REQUIRED = 402, "Payment Required";
    FORBIDDEN = 403, "Forbidden";
    NOT_FOUND = 404, "Not Found";
    METHOD_NOT_ALLOWED = 405, "Method Not Allowed";
    NOT_ACCEPTABLE = 406, "Not Acceptable";
    PROXY_AUTHENTICATION_REQUIRED = 407, "Proxy Authentication Required";
    REQUEST_TIMEOUT = 408, "Request Timeout";
    GONE = 410, "Gone";
    REQUEST_ENTITY_TOO_LARGE = 413, "Request Entity Too Large";
    REQUEST_URI_TOO_LONG = 414, "Request-URI Too Long";
    UNSUPPORTED_MEDIA_TYPE = 415, "Unsupported Media Type";
    UNSUPPORTED_URI_SCHEME = 416, "Unsupported URI Scheme";
    BAD_EXTENSION = 420, "Bad Extension";
    EXTENSION_REQUIRED = 421, "Extension Required";
    SESSION_INTERVAL_TOO_SMALL = 422, "Session Interval Too Small";
    INTERVAL_TOO_BRIEF = 423, "Interval Too Brief";
    TEMPORARILY_UNAVAILABLE = 480, "Temporarily Unavailable";
    CALL_TRANSACTION_DOES_NOT_EXIST = 481, "Call/Transaction Does Not Exist";
    LOOP_DETECTED = 482, "Loop Detected";
    TOO_MANY_HOPS = 483, "Too Many Hops";
    ADDRESS_INCOMPLETE = 484, "Address Incomplete";
    AMBIGUOUS = 485, "Ambiguous";
    BUSY_HERE = 486, "Busy Here";
    REQUEST_TERMINATED = 487, "Request Terminated";
    NOT_ACCEPTABLE_HERE = 488, "Not Acceptable Here";
    REQUEST_PENDING = 491, "Request Pending";
    UNDECIPHERABLE = 493, "Undecipherable";
    SERVER_INTERNAL_ERROR = 500, "Server Internal Error";
    NOT_IMPLEMENTED = 501, "Not Implemented";
    BAD_GATEWAY = 502, "Bad Gateway";
    SERVICE_UNAVAILABLE = 503, "Service Unavailable";
    SERVER_TIMEOUT = 504, "Server Time-out";
    VERSION_NOT_SUPPORTED = 505, "Version Not Supported";
    MESSAGE_TOO_LARGE = 513, "Message Too Large";
    BUSY_EVERYWHERE = 600, "Busy Everywhere";
    DECLINE = 603, "Decline";
    DOES_NOT_EXIST_ANYWHERE = 604, "Does Not Exist Anywhere";
    NOT_ACCEPTABLE_ANYWHERE = 606, "Not Acceptable";
}

impl fmt::Display for StatusCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for InvalidStatusCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("status code is not a number from 100 to 699")
    }
}

impl std::error::Error for InvalidStatusCode {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn range_is_kept() {
        for bad in [0, 99, 700, u16::MAX] {
            assert_eq!(StatusCode::new(bad), Err(InvalidStatusCode));
        }
        assert_eq!(StatusCode::new(699).map(StatusCode::as_u16), Ok(699));
        assert_eq!(StatusCode::parse(b"486"), Ok(StatusCode::BUSY_HERE));
        for bad in [&b""[..], b"20", b"2000", b"+20", b"099", b"2x0"] {
            assert_eq!(StatusCode::parse(bad), Err(InvalidStatusCode), "{bad:?}");
        }
    }

    #[test]
    fn classes_and_phrases() {
        assert!(StatusCode::SESSION_PROGRESS.is_provisional() && !StatusCode::OK.is_provisional());
        assert!(StatusCode::ACCEPTED.is_success() && !StatusCode::MULTIPLE_CHOICES.is_success());
        assert_eq!(
            StatusCode::NOT_ACCEPTABLE_HERE.reason_phrase(),
            "Not Acceptable Here"
        );
        let phrase = |code| StatusCode::new(code).map(StatusCode::reason_phrase);
        assert_eq!(phrase(499), Ok("Bad Request"));
        assert_eq!(phrase(699), Ok("Busy Everywhere"));
    }
}
