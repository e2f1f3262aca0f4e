//! `tel` URIs (RFC 3966).

use super::UriError;
use super::components::{check_parameters, find_parameter, is_parameter_text, split_tail};
use super::host::is_host_name;
use crate::sip::grammar::{is_escaped_text, is_reserved, is_unreserved};

pub(super) const PHONE_CONTEXT: &str = "phone-context";

/// A `tel:` URI (RFC 3966 §3).
#[derive(Debug, Clone, Copy)]
pub struct TelUri<'a> {
    pub(super) text: &'a str,
    pub(super) number: &'a str,
    /// Without the first `;`. Empty if there are none.
    pub(super) parameters: &'a str,
}

impl<'a> TelUri<'a> {
    /// The number as written, with its visual separators and, if it is global, its `+`.
    pub fn number(&self) -> &'a str {
        self.number
    }

    /// Whether the number is a global one, which begins with `+`.
    pub fn is_global(&self) -> bool {
        self.number.starts_with('+')
    }

    pub(super) fn parse(text: &'a str, rest: &'a str) -> Result<Self, UriError> {
        let (number, parameters) = split_tail(rest, b';');
        let uri = Self {
            text,
            number,
            parameters: parameters.unwrap_or(""),
        };
        if !is_global_number(number) && !is_local_number(number) {
            return Err(UriError::Number);
        }
        if let Some(parameters) = parameters {
            check_parameters(parameters, is_tel_parameter)?;
        }
        if !uri.is_global() && find_parameter(uri.parameters, PHONE_CONTEXT).is_none() {
            return Err(UriError::MissingPhoneContext);
        }
        Ok(uri)
    }
}

fn is_tel_parameter(name: &str, value: Option<&str>) -> bool {
    let is_name = !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let is_value = if name.eq_ignore_ascii_case(PHONE_CONTEXT) {
        value.is_some_and(|context| is_global_number(context) || is_host_name(context))
    } else if name.eq_ignore_ascii_case("ext") {
        value.is_some_and(|digits| !digits.is_empty() && digits.bytes().all(is_phone_digit))
    } else if name.eq_ignore_ascii_case("isub") {
        let is_uric = |byte| is_reserved(byte) || is_unreserved(byte);
        value.is_some_and(|address| !address.is_empty() && is_escaped_text(address, is_uric))
    } else {
        value.is_none_or(is_parameter_text)
    };
    is_name && is_value
}

pub(super) const fn is_visual_separator(byte: u8) -> bool {
    matches!(byte, b'-' | b'.' | b'(' | b')')
}

const fn is_phone_digit(byte: u8) -> bool {
    byte.is_ascii_digit() || is_visual_separator(byte)
}

fn is_global_number(text: &str) -> bool {
    text.strip_prefix('+').is_some_and(|digits| {
        digits.bytes().all(is_phone_digit) && digits.bytes().any(|byte| byte.is_ascii_digit())
    })
}

fn is_local_number(text: &str) -> bool {
    let is_digit = |byte: u8| byte.is_ascii_hexdigit() || matches!(byte, b'*' | b'#');
    text.bytes()
        .all(|byte| is_digit(byte) || is_visual_separator(byte))
        && text.bytes().any(is_digit)
}
