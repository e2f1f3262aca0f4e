//! `sip` and `sips` URIs (RFC 3261 §19.1).

use std::borrow::Cow;

use super::components::{
    check_headers, check_parameters, is_parameter_text, name_and_value, names_match, parameters,
    split_tail,
};
use super::host::is_host;
use super::{PlainUri, UriError};
use crate::sip::grammar::{is_escaped_text, is_unreserved, split_once};

/// A `sip:` or `sips:` URI (RFC 3261 §19.1.1).
#[derive(Debug, Clone, Copy)]
pub struct SipUri<'a> {
    pub(super) text: &'a str,
    pub(super) secure: bool,
    pub(super) user: Option<&'a str>,
    pub(super) password: Option<&'a str>,
    pub(super) host: &'a str,
    pub(super) port: Option<u16>,
    /// Without the first `;`. Empty if there are none, since a parameter has a name.
    pub(super) parameters: &'a str,
    /// Without the `?`. Empty if there are none, since a header component has a name.
    pub(super) headers: &'a str,
}

impl<'a> SipUri<'a> {
    /// Whether it contains header fields (`?name=value`).
    pub fn has_headers(&self) -> bool {
        !self.headers.is_empty()
    }

    /// Whether the scheme is `sips`.
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// The same as [`parse`](Self::parse), in less time, of a URI that is plain except for its
    /// parameters. `None` means only that `parse` is needed.
    pub(super) fn parse_usual(text: &'a str) -> Option<Self> {
        let plain = PlainUri::read_before_parameters(text)?;
        let parameters = match split_once(text, b';') {
            Some((_, parameters)) => {
                check_parameters(parameters, is_sip_parameter).ok()?;
                parameters
            }
            None => "",
        };
        Some(SipUri {
            text,
            secure: false,
            user: plain.user,
            password: None,
            host: plain.host,
            port: plain.port,
            parameters,
            headers: "",
        })
    }

    pub(super) fn parse(text: &'a str, rest: &'a str, secure: bool) -> Result<Self, UriError> {
        // `@` is not allowed elsewhere without an escape, so the first one ends the userinfo.
        let (userinfo, rest) = match split_once(rest, b'@') {
            Some((userinfo, rest)) => (Some(userinfo), rest),
            None => (None, rest),
        };
        let (user, password) = match userinfo.map(|text| split_once(text, b':').ok_or(text)) {
            None => (None, None),
            Some(Err(user)) => (Some(user), None),
            Some(Ok((user, password))) => (Some(user), Some(password)),
        };
        if user.is_some_and(|user| user.is_empty() || !is_escaped_text(user, is_user_byte)) {
            return Err(UriError::User);
        }
        if password.is_some_and(|password| !is_escaped_text(password, is_password_byte)) {
            return Err(UriError::Password);
        }

        let (address, headers) = split_tail(rest, b'?');
        let (host_port, parameters) = split_tail(address, b';');
        let host_end = match host_port.starts_with('[') {
            true => host_port.find(']').ok_or(UriError::Host)? + 1,
            false => memchr::memchr(b':', host_port.as_bytes()).unwrap_or(host_port.len()),
        };
        let (host, port) = host_port.split_at(host_end);
        if !is_host(host) {
            return Err(UriError::Host);
        }
        let port = match port.strip_prefix(':') {
            Some(port) => Some(parse_port(port).ok_or(UriError::Port)?),
            None if port.is_empty() => None,
            None => return Err(UriError::Host),
        };

        let parameters = parameters.map_or(Ok(""), |parameters| {
            check_parameters(parameters, is_sip_parameter).map(|()| parameters)
        })?;
        let headers = headers.map_or(Ok(""), |headers| check_headers(headers).map(|()| headers))?;
        Ok(Self {
            text,
            secure,
            user,
            password,
            host,
            port,
            parameters,
            headers,
        })
    }

    /// See [`Uri::as_request_uri`](super::Uri::as_request_uri).
    pub(super) fn as_request_uri(&self) -> Cow<'a, str> {
        let is_method = |name: &str| names_match(name, "method");
        let has_method = parameters(self.parameters).any(|(name, _)| is_method(name));
        // Both are slices at the end of the text, after their separator.
        let end = match self.headers {
            "" => self.text.len(),
            headers => self.text.len() - headers.len() - 1,
        };
        if !has_method {
            return Cow::Borrowed(&self.text[..end]);
        }
        let mut text = self.text[..end - self.parameters.len() - 1].to_owned();
        let kept = self.parameters.split(';');
        for parameter in kept.filter(|parameter| !is_method(name_and_value(parameter).0)) {
            text.push(';');
            text.push_str(parameter);
        }
        Cow::Owned(text)
    }
}

fn is_sip_parameter(name: &str, value: Option<&str>) -> bool {
    let has_form = is_parameter_text(name) && value.is_none_or(is_parameter_text);
    let is = |known| names_match(name, known);
    let has_sense = if is("maddr") {
        value.is_some_and(is_host)
    } else if is("ttl") {
        let is_number = |ttl: &str| ttl.bytes().all(|byte| byte.is_ascii_digit());
        value.is_some_and(|ttl| is_number(ttl) && ttl.parse::<u8>().is_ok())
    } else {
        value.is_some() || !["user", "method", "transport"].into_iter().any(is)
    };
    has_form && has_sense
}

const fn is_user_byte(byte: u8) -> bool {
    is_password_byte(byte) || matches!(byte, b';' | b'?' | b'/')
}

const fn is_password_byte(byte: u8) -> bool {
    is_unreserved(byte) || matches!(byte, b'&' | b'=' | b'+' | b'$' | b',')
}

fn parse_port(text: &str) -> Option<u16> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    let port = if is_number {
        text.parse().ok()?
    } else {
        return None;
    };
    (port != 0).then_some(port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_way_reads_what_the_other_reads() {
        for (text, is_usual) in [
            ("sip:bill@example.com", true),
            ("SIP:bill@192.0.2.1:5070;transport=tcp", true),
            ("sip:192.0.2.1;lr;x=%41", true),
            ("sip:bill@example.com;", false),
            ("sip:bill@example.com;;lr", false),
            ("sip:bill@example.com;lr;LR", false),
            ("sip:bill@example.com;transport", false),
            ("sip:bill@example.com;lr?Subject=x", false),
            ("sip:bi;ll@example.com", false),
            ("sip:bill:secret@example.com", false),
            ("sip:bill@[2001:db8::1];lr", false),
        ] {
            let usual = SipUri::parse_usual(text);
            assert_eq!(usual.is_some(), is_usual, "{text}");
            if let Some(usual) = usual {
                let parsed = SipUri::parse(text, &text[4..], false).expect(text);
                assert_eq!(format!("{usual:?}"), format!("{parsed:?}"));
            }
        }
    }
}
