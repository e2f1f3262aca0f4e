//! Character classes of RFC 3261 §25.1 and the `%` escapes, shared by the parsers of this folder.

const UNRESERVED: u8 = 1;
const RESERVED: u8 = 2;
const TOKEN: u8 = 4;

/// The classes of each byte. A table, since nearly every byte of a header is classified.
const CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        classes[byte] = match byte as u8 {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => UNRESERVED | TOKEN,
            b'-' | b'_' | b'.' | b'!' | b'~' | b'*' | b'\'' => UNRESERVED | TOKEN,
            b'(' | b')' => UNRESERVED,
            b'+' => RESERVED | TOKEN,
            b';' | b'/' | b'?' | b':' | b'@' | b'&' | b'=' | b'$' | b',' => RESERVED,
            b'%' | b'`' => TOKEN,
            _ => 0,
        };
        byte += 1;
    }
    classes
};

/// `unreserved`: letters, digits and `mark`.
pub(super) const fn is_unreserved(byte: u8) -> bool {
    CLASSES[byte as usize] & UNRESERVED != 0
}

/// `reserved`.
pub(super) const fn is_reserved(byte: u8) -> bool {
    CLASSES[byte as usize] & RESERVED != 0
}

/// One character of a `token`.
pub(super) const fn is_token_byte(byte: u8) -> bool {
    CLASSES[byte as usize] & TOKEN != 0
}

/// Whether the whole text is one `token`.
pub(super) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_token_byte)
}

/// One character of `LWS`. CR and LF are included, because a received value keeps its folds.
pub(super) const fn is_lws_byte(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// The text without `LWS` at either end.
pub(super) fn trim_lws(text: &str) -> &str {
    text.trim_matches([' ', '\t', '\r', '\n'])
}

/// Whether every character is allowed unescaped or is a complete `escaped` triplet.
pub(super) fn is_escaped_text(text: &str, allowed: impl Fn(u8) -> bool) -> bool {
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let fits = match byte {
            b'%' => {
                let mut is_hex = || bytes.next().is_some_and(|digit| digit.is_ascii_hexdigit());
                is_hex() && is_hex()
            }
            _ => allowed(byte),
        };
        if !fits {
            return false;
        }
    }
    true
}

/// The text before and after the first `separator`, which is ASCII. Texts here are short; setting
/// up the search of [`str::split_once`] would take longer than the search.
pub(super) fn split_once(text: &str, separator: u8) -> Option<(&str, &str)> {
    let at = memchr::memchr(separator, text.as_bytes())?;
    Some((&text[..at], &text[at + 1..]))
}

/// The index after the quoted string that opens at `start`, or `None` if it never closes.
///
/// `bytes[start]` is the opening quote. A backslash escapes the next byte.
pub(super) fn quoted_string_end(bytes: &[u8], start: usize) -> Option<usize> {
    let mut at = start + 1;
    loop {
        match bytes.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// Decodes `%` escapes. An escaped `reserved` character becomes `0x100 | byte`: RFC 3261 §19.1.4
/// distinguishes it from the bare one. A `%` that starts no triplet is left unchanged.
pub(super) struct Unescaped<I> {
    bytes: I,
}

/// See [`Unescaped`].
pub(super) fn unescape<I: Iterator<Item = u8> + Clone>(bytes: I) -> Unescaped<I> {
    Unescaped { bytes }
}

impl<I: Iterator<Item = u8> + Clone> Iterator for Unescaped<I> {
    type Item = u16;

    fn next(&mut self) -> Option<u16> {
        let byte = self.bytes.next()?;
        if byte != b'%' {
            return Some(u16::from(byte));
        }
        let mut ahead = self.bytes.clone();
        let mut digit = || char::from(ahead.next()?).to_digit(16);
        let (Some(high), Some(low)) = (digit(), digit()) else {
            return Some(u16::from(byte));
        };
        self.bytes = ahead;
        let decoded = (high * 16 + low) as u8;
        let mark = if is_reserved(decoded) { 0x100 } else { 0 };
        Some(mark | u16::from(decoded))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_resolve_and_reserved_ones_stay_distinct() {
        let resolved: Vec<u16> = unescape(b"%61;%3b%4".iter().copied()).collect();
        assert_eq!(resolved, [0x61, 0x3b, 0x13b, 0x25, 0x34]);
    }

    #[test]
    fn broken_triplets_are_not_escaped_text() {
        assert!(is_escaped_text("a%41", is_unreserved));
        for broken in ["%", "%4", "%4g", "a%", "%%41"] {
            assert!(!is_escaped_text(broken, is_unreserved), "{broken}");
        }
    }

    #[test]
    fn quoted_string_ends_at_the_first_bare_quote() {
        assert_eq!(quoted_string_end(br#""a\"b" c"#, 0), Some(6));
        assert_eq!(quoted_string_end(br#""a\"#, 0), None);
        assert_eq!(quoted_string_end(br#"""#, 0), None);
    }
}
