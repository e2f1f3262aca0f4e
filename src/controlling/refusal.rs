//! Refusals, and the replies that are sent.

use std::borrow::Cow;
use std::ffi::{CStr, CString};

use super::header_fields::put;
use crate::log::LogAt;
use crate::sip::{HeaderBlock, StatusCode, warning_value};

/// Seconds until a request refused for lack of resources may come again (RFC 3261 §20.33).
pub const RETRY_AFTER_S: u32 = 5;

/// A reply for the host to send.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Status code.
    pub code: StatusCode,
    reason: CString,
    /// Header lines, each ended by CRLF.
    pub headers: Vec<u8>,
    /// Text of the Warning, if there is one.
    pub warning: Option<&'static str>,
    /// A To tag for the reply, if the proxy does not make one.
    pub to_tag: Option<String>,
}

impl Reply {
    /// A reply with a reason phrase of our own, never a peer's text.
    pub(super) fn new(code: StatusCode, reason: &str, headers: Vec<u8>) -> Self {
        // Our phrases contain no NUL; without a phrase a reply is still valid (RFC 3261 §7.2).
        let reason = CString::new(reason).unwrap_or_default();
        Reply {
            code,
            reason,
            headers,
            warning: None,
            to_tag: None,
        }
    }

    /// 202 (9.1.1-7).
    pub(super) fn accepted(headers: Vec<u8>, to_tag: String) -> Self {
        let code = StatusCode::ACCEPTED;
        Reply {
            to_tag: Some(to_tag),
            ..Reply::new(code, code.reason_phrase(), headers)
        }
    }

    /// The reason phrase.
    pub fn reason(&self) -> &CStr {
        &self.reason
    }
}

/// Why a request is refused.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    /// The place where it was decided, and how severe it is, for the log. In a box: results stay
    /// small.
    pub(super) at: Box<LogAt>,
    pub(super) code: StatusCode,
    pub(super) reason: Cow<'static, str>,
    /// OMA's number and text, for a Warning header field (readings N9).
    pub(super) warning: Option<&'static str>,
    pub(super) header: Option<(&'static str, String)>,
    /// For the log: the fault, in words for the operator.
    pub(super) cause: Cow<'static, str>,
}

impl Refusal {
    /// 403 with a Warning.
    pub(super) fn forbidden(at: LogAt, warning: &'static str, cause: &'static str) -> Self {
        Refusal::with_warning(at, StatusCode::FORBIDDEN, warning, cause)
    }

    /// 486 with a Warning.
    pub(super) fn busy_here(at: LogAt, warning: &'static str, cause: &'static str) -> Self {
        Refusal::with_warning(at, StatusCode::BUSY_HERE, warning, cause)
    }

    /// 400 with a phrase of our own that names the fault.
    pub(super) fn bad_request(at: LogAt, phrase: impl Into<Cow<'static, str>>) -> Self {
        let phrase = phrase.into();
        Refusal {
            at: at.into(),
            code: StatusCode::BAD_REQUEST,
            reason: phrase.clone(),
            warning: None,
            header: None,
            cause: phrase,
        }
    }

    /// A code with its usual phrase and one additional header field.
    pub(super) fn with_header(
        at: LogAt,
        code: StatusCode,
        header: Option<(&'static str, String)>,
        cause: &'static str,
    ) -> Self {
        let reason = code.reason_phrase().into();
        Refusal {
            at: at.into(),
            code,
            reason,
            warning: None,
            header,
            cause: cause.into(),
        }
    }

    fn with_warning(
        at: LogAt,
        code: StatusCode,
        warning: &'static str,
        cause: &'static str,
    ) -> Self {
        Refusal {
            warning: Some(warning),
            ..Refusal::with_header(at, code, None, cause)
        }
    }

    /// Words for the log.
    pub(super) fn cause(&self) -> &str {
        &self.cause
    }

    /// The reply. `server` is the value of the Server header field, `agent` the host named in a
    /// Warning.
    pub(super) fn reply(&self, server: &str, agent: &str) -> Reply {
        let mut headers = HeaderBlock::new();
        put(&mut headers, "Server", server);
        if let Some((name, value)) = &self.header {
            put(&mut headers, name, value);
        }
        if let Some(warning) = self
            .warning
            .and_then(|text| warning_value(agent, text).ok())
        {
            put(&mut headers, "Warning", &warning);
        }
        let mut reply = Reply::new(self.code, &self.reason, headers.into_bytes());
        reply.warning = self.warning;
        reply
    }
}
