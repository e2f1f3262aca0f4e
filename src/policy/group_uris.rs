//! Which Request-URIs are addresses of pre-defined groups: the operator's patterns.

use std::fmt;

use crate::sip::Uri;

/// Patterns such as `sip:*@groups.example.com`. Initially empty: no address belongs to a group.
#[derive(Clone, Debug, Default)]
pub struct GroupUris {
    patterns: Vec<Pattern>,
}

#[derive(Clone, Debug)]
struct Pattern {
    user: String,
    host: String,
}

/// A text is not a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAPattern;

impl fmt::Display for NotAPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("is not a pattern such as sip:*@groups.example.com")
    }
}

impl std::error::Error for NotAPattern {}

impl GroupUris {
    /// Adds `sip:USER@HOST`, in which each `*` matches any text.
    pub fn add(&mut self, text: &str) -> Result<(), NotAPattern> {
        let (user, host) = text
            .strip_prefix("sip:")
            .and_then(|rest| rest.split_once('@'))
            .ok_or(NotAPattern)?;
        // With text in place of each star it must be an address.
        if Uri::parse(&text.replace('*', "a")).is_err() || host.contains([';', '?', ':']) {
            return Err(NotAPattern);
        }
        self.patterns.push(Pattern {
            user: user.to_owned(),
            host: host.to_ascii_lowercase(),
        });
        Ok(())
    }

    /// Whether there are no patterns.
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// Whether this is the address of a group, which may not exist.
    pub fn contains(&self, uri: &Uri<'_>) -> bool {
        let (Uri::Sip(_), Some(user), Some(host)) = (uri, uri.user(), uri.host()) else {
            return false;
        };
        let (user, host) = (unescaped(user), host.to_ascii_lowercase());
        self.patterns.iter().any(|pattern| {
            matches(pattern.host.as_bytes(), host.as_bytes())
                && matches(pattern.user.as_bytes(), &user)
        })
    }
}

/// The user part with its escapes decoded (RFC 3261 §19.1.4: they make no difference).
fn unescaped(user: &str) -> Vec<u8> {
    let bytes = user.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escape = (bytes[at] == b'%')
            .then(|| user.get(at + 1..at + 3))
            .flatten();
        match escape.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                plain.push(byte);
                at += 3;
            }
            None => {
                plain.push(bytes[at]);
                at += 1;
            }
        }
    }
    plain
}

/// Whether `text` matches `pattern`. Linear, because backtracking goes only to the last star.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star = None;
    while t < text.len() {
        if p < pattern.len() && pattern[p] == b'*' {
            star = Some((p, t));
            p += 1;
        } else if p < pattern.len() && pattern[p] == text[t] {
            p += 1;
            t += 1;
        } else if let Some((star_p, star_t)) = star {
            p = star_p + 1;
            t = star_t + 1;
            star = Some((star_p, t));
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contains(pattern: &str, uri: &str) -> bool {
        let mut uris = GroupUris::default();
        uris.add(pattern).unwrap();
        uris.contains(&Uri::parse(uri).unwrap())
    }

    #[test]
    fn stars_stand_for_any_text() {
        assert!(contains(
            "sip:*@groups.example.com",
            "sip:friends@GROUPS.example.com;x=1"
        ));
        assert!(!contains(
            "sip:*@groups.example.com",
            "sip:friends@example.com"
        ));
        assert!(!contains(
            "sip:*@groups.example.com",
            "sip:groups.example.com"
        ));
        assert!(!contains("sip:*@groups.example.com", "tel:+15550100"));
        assert!(contains(
            "sip:group-*-x@*",
            "sip:group-a-b-x@anything.invalid"
        ));
        assert!(!contains("sip:group-*-x@*", "sip:group-x@anything.invalid"));
        assert!(contains(
            "sip:friends@example.com",
            "sip:fr%69ends@example.com"
        ));
        assert!(!contains(
            "sip:friends@example.com",
            "sip:Friends@example.com"
        ));
    }

    #[test]
    fn only_addresses_can_be_patterns() {
        for text in [
            "",
            "*",
            "sip:*",
            "sip:@example.com",
            "tel:*",
            "sip:a@b c",
            "sip:a@b;x",
            "sip:a@b:1",
        ] {
            assert_eq!(GroupUris::default().add(text), Err(NotAPattern), "{text}");
        }
    }
}
