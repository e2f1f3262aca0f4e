//! Answers of the operator's script about one request: its originator's policy (9.1.1-3a, -5a), and
//! the refusal if it says `drop`.

use std::borrow::Cow;

use super::refusal::Refusal;
use crate::log::LogAt;
use crate::operator::Event;
use crate::policy::Settings;
use crate::sip::StatusCode;

/// Warning of 9.1.1-1, 9.1.2-1.
pub(super) const NOT_AUTHORISED: &str = "127 Service not authorised";

/// Policy for the originator of one request; at first that of everybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OriginatorPolicy {
    pub(super) allow_anonymity: bool,
    pub(super) max_recipients: usize,
}

impl OriginatorPolicy {
    pub(super) fn of(settings: &Settings) -> Self {
        OriginatorPolicy {
            allow_anonymity: settings.allow_anonymity,
            max_recipients: settings.max_recipients,
        }
    }
}

/// The refusal that the script has described so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) code: Option<StatusCode>,
    pub(super) reason: Option<String>,
    pub(super) retry_after_s: Option<u32>,
}

impl Verdict {
    /// 403 with the Warning of 9.1.1-1, unless the script says otherwise.
    pub(super) fn refusal(self, at: LogAt, question: Event) -> Refusal {
        let code = self.code.unwrap_or(StatusCode::FORBIDDEN);
        let cause = match question {
            Event::Authorize => "the operator's script refused the originator",
            _ => "the operator's script refused the message",
        };
        Refusal {
            at: at.into(),
            code,
            reason: self
                .reason
                .map_or(Cow::Borrowed(code.reason_phrase()), Cow::Owned),
            warning: (code == StatusCode::FORBIDDEN).then_some(NOT_AUTHORISED),
            header: self
                .retry_after_s
                .map(|seconds| ("Retry-After", seconds.to_string())),
            cause: cause.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::at;

    #[test]
    fn a_refusal_is_403_127_unless_the_script_says_otherwise() {
        let refusal = |verdict: Verdict| {
            let reply = verdict.refusal(at!(Notice), Event::Checked).reply("s", "a");
            let headers = String::from_utf8(reply.headers.clone()).unwrap();
            (
                reply.code.as_u16(),
                reply.reason().to_str().unwrap().to_owned(),
                headers,
            )
        };
        let warning = "Warning: 399 a \"127 Service not authorised\"\r\n";
        assert_eq!(
            refusal(Verdict::default()),
            (
                403,
                "Forbidden".to_owned(),
                format!("Server: s\r\n{warning}")
            )
        );
        let verdict = Verdict {
            reason: Some("Not Today".to_owned()),
            retry_after_s: Some(60),
            ..Verdict::default()
        };
        assert_eq!(
            refusal(verdict.clone()),
            (
                403,
                "Not Today".to_owned(),
                format!("Server: s\r\nRetry-After: 60\r\n{warning}")
            )
        );
        let verdict = Verdict {
            code: StatusCode::new(480).ok(),
            ..verdict
        };
        assert_eq!(
            refusal(verdict),
            (
                480,
                "Not Today".to_owned(),
                "Server: s\r\nRetry-After: 60\r\n".to_owned()
            )
        );
    }
}
