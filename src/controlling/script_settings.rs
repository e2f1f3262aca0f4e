//! What the operator's script can set while it is asked about a request.

use std::fmt;

use super::originator::Originator;
use super::request::{CheckStage, Request};
use crate::operator::Event;
use crate::policy::{Parameter, ParameterError};
use crate::sip::StatusCode;

/// The codes that a script may refuse with.
const CODES: (u32, u32) = (300, 699);

/// Longest reason phrase of a script; it shares a response's start line with the code.
const MAX_REASON_BYTES: usize = 128;

/// A day: longest Retry-After of a script.
const MAX_RETRY_AFTER_S: u32 = 86_400;

/// What a script can set; the name is that of the variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScriptSetting {
    /// `originator`: authenticated by the script itself.
    Originator,
    /// `allow_anonymity`: whether this originator may ask for anonymity.
    AllowAnonymity,
    /// `max_recipients`: maximum number of distinct recipients of this request.
    MaxRecipients,
    /// `code`: of the refusal.
    Code,
    /// `reason`: its phrase.
    Reason,
    /// `retry_after`: its Retry-After in seconds.
    RetryAfter,
}

impl ScriptSetting {
    /// Name of the variable.
    pub fn name(self) -> &'static str {
        match self {
            ScriptSetting::Originator => "originator",
            ScriptSetting::AllowAnonymity => "allow_anonymity",
            ScriptSetting::MaxRecipients => "max_recipients",
            ScriptSetting::Code => "code",
            ScriptSetting::Reason => "reason",
            ScriptSetting::RetryAfter => "retry_after",
        }
    }

    /// When it may be set.
    fn time(self) -> &'static str {
        match self {
            ScriptSetting::Originator => "between cpm_classify() and cpm_check()",
            ScriptSetting::AllowAnonymity | ScriptSetting::MaxRecipients => {
                "between cpm_classify() and cpm_check(), and in cpm:authorize"
            }
            ScriptSetting::Code | ScriptSetting::Reason | ScriptSetting::RetryAfter => {
                "in cpm:authorize and cpm:checked"
            }
        }
    }
}

/// Why something cannot be set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScriptSettingError {
    /// Not a sip, sips or tel URI.
    NotAUri,
    /// Not a value of it.
    Value(ScriptSetting, ParameterError),
    /// It has no effect at this time.
    NotNow(ScriptSetting),
    /// Any other variable.
    ReadOnly,
}

impl fmt::Display for ScriptSettingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ScriptSettingError::NotAUri => {
                f.write_str("the originator that the script set is not a sip, sips or tel URI")
            }
            ScriptSettingError::Value(setting, error) => {
                write!(f, "the value of $cpm({}) {error}", setting.name())
            }
            ScriptSettingError::ReadOnly => {
                f.write_str("the script set a variable that can only be read")
            }
            ScriptSettingError::NotNow(setting) => {
                write!(f, "$cpm({}) can be set {}", setting.name(), setting.time())
            }
        }
    }
}

impl std::error::Error for ScriptSettingError {}

/// A script's reason phrase: one line of printable characters. `None`: there is none.
fn phrase(text: &str) -> Option<String> {
    let printable = text.split(char::is_control);
    let words = printable.flat_map(|part| part.split(' '));
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    let mut phrase = words.join(" ");
    phrase.truncate(phrase.floor_char_boundary(MAX_REASON_BYTES));
    (!phrase.is_empty()).then_some(phrase)
}

/// A number in this range.
fn number(text: &str, min: u32, max: u32) -> Result<u32, ParameterError> {
    let number = text.parse().ok().filter(|n| (min..=max).contains(n));
    number.ok_or(ParameterError::OutOfRange {
        min: min as usize,
        max: max as usize,
        or_zero: false,
    })
}

/// A value of the parameter with this name.
fn of_parameter(name: &str, text: &str) -> Result<usize, ParameterError> {
    Parameter::named(name)
        .ok_or(ParameterError::Unknown)?
        .number_of(text)
}

impl Request {
    /// What the operator's script decides about it.
    ///
    /// # Errors
    ///
    /// The value is none, or it comes at a time when it has no effect. Nothing has changed.
    pub fn set(&mut self, setting: ScriptSetting, text: &str) -> Result<(), ScriptSettingError> {
        let is_now = match setting {
            ScriptSetting::Originator => self.stage == CheckStage::Checking(0),
            ScriptSetting::AllowAnonymity | ScriptSetting::MaxRecipients => {
                self.stage == CheckStage::Checking(0) || self.question() == Some(Event::Authorize)
            }
            ScriptSetting::Code | ScriptSetting::Reason | ScriptSetting::RetryAfter => {
                self.question().is_some()
            }
        };
        if !is_now {
            return Err(ScriptSettingError::NotNow(setting));
        }
        let text = text.trim();
        let of_value = |error| ScriptSettingError::Value(setting, error);
        match setting {
            ScriptSetting::Originator => {
                let originator = Originator::named(text);
                self.originator = Some(originator.ok_or(ScriptSettingError::NotAUri)?);
            }
            ScriptSetting::AllowAnonymity => {
                let value = of_parameter(setting.name(), text).map_err(of_value)?;
                self.policy.allow_anonymity = value == 1;
            }
            ScriptSetting::MaxRecipients => {
                let value = of_parameter(setting.name(), text).map_err(of_value)?;
                self.policy.max_recipients = value;
            }
            ScriptSetting::Code => {
                let (min, max) = CODES;
                let code = number(text, min, max).map_err(of_value)?;
                let code = u16::try_from(code).ok();
                self.verdict.code = code.and_then(|code| StatusCode::new(code).ok());
            }
            ScriptSetting::Reason => {
                let phrase = phrase(text).ok_or(ParameterError::Empty);
                self.verdict.reason = Some(phrase.map_err(of_value)?);
            }
            ScriptSetting::RetryAfter => {
                let seconds = number(text, 0, MAX_RETRY_AFTER_S).map_err(of_value)?;
                self.verdict.retry_after_s = Some(seconds);
            }
        }
        Ok(())
    }

    /// The code of the refusal that is due, or that the script has chosen.
    pub fn code(&self) -> Option<StatusCode> {
        let reply = self.reply.as_ref().map(|reply| reply.code);
        reply.or(self.verdict.code)
    }

    /// Its reason phrase.
    pub fn reason(&self) -> Option<&[u8]> {
        let reply = self.reply.as_ref().map(|reply| reply.reason().to_bytes());
        reply.or_else(|| self.verdict.reason.as_deref().map(str::as_bytes))
    }

    /// Seconds of the Retry-After that the script has chosen.
    pub fn retry_after_s(&self) -> Option<u32> {
        self.verdict.retry_after_s
    }

    /// Whether its originator may ask for anonymity, unless a group decides.
    pub fn allows_anonymity(&self) -> bool {
        self.policy.allow_anonymity
    }

    /// Maximum number of distinct recipients, unless a group decides.
    pub fn max_recipients(&self) -> usize {
        self.policy.max_recipients
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phrase_is_one_printable_line() {
        for (text, expected) in [
            ("Too Many", Some("Too Many")),
            (" a\r\nX-Injected: b\0c ", Some("a X-Injected: b c")),
            ("\u{85}\t\r\n", None),
            ("", None),
        ] {
            assert_eq!(phrase(text).as_deref(), expected, "{text:?}");
        }
        let long = phrase(&"\u{e4}".repeat(100)).unwrap();
        assert_eq!(long.len(), MAX_REASON_BYTES);
        let odd = phrase(&format!("x{}", "\u{e4}".repeat(100))).unwrap();
        assert_eq!(odd.len(), MAX_REASON_BYTES - 1);
    }
}
