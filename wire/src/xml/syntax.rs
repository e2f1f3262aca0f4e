//! The parts of XML syntax that do not depend on the meaning of elements: encoding, names,
//! attributes, references, line ends.

use quick_xml::errors::{Error, SyntaxError};
use quick_xml::events::BytesDecl;

use super::XmlError;

/// The document as text without byte order mark; control characters that XML 1.0 §2.2 excludes are
/// an error.
pub(super) fn decode(document: &[u8]) -> Result<&str, XmlError> {
    // UTF-16 without a mark is valid UTF-8 full of NULs: report it as UTF-16.
    if matches!(document, [0, ..] | [_, 0, ..]) {
        return Err(XmlError::NotUtf8);
    }
    let text = std::str::from_utf8(document).map_err(|_| XmlError::NotUtf8)?;
    // Folded chunk by chunk rather than searched: the compiler vectorises this.
    let is_control = |b: u8| b < 0x20 && !matches!(b, b'\t' | b'\r' | b'\n');
    if document
        .chunks(256)
        .any(|chunk| chunk.iter().fold(false, |any, &b| any | is_control(b)))
    {
        return Err(XmlError::Malformed);
    }
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

pub(super) fn malformed(error: Error) -> XmlError {
    match error {
        Error::Syntax(SyntaxError::UnclosedDoctype) => XmlError::DocumentType,
        _ => XmlError::Malformed,
    }
}

pub(super) fn check_declaration(declaration: &BytesDecl<'_>) -> Result<(), XmlError> {
    let version = declaration.version().map_err(|_| XmlError::Malformed)?;
    if !version.starts_with("1.") {
        return Err(XmlError::Malformed);
    }
    match declaration.encoding() {
        None => Ok(()),
        Some(Ok(encoding)) if encoding.eq_ignore_ascii_case("UTF-8") => Ok(()),
        Some(Ok(_)) => Err(XmlError::NotUtf8),
        Some(Err(_)) => Err(XmlError::Malformed),
    }
}

fn is_white_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

/// A qualified name (Namespaces in XML 1.0 §4); the prefix is empty if there is none.
pub(super) struct QualifiedName<'a> {
    pub(super) whole: &'a str,
    pub(super) prefix: &'a str,
    pub(super) local: &'a str,
}

/// An attribute value as written between the quotes.
#[derive(Clone, Copy)]
pub(super) struct Value<'a> {
    pub(super) raw: &'a str,
    /// It needs no unescaping: it has no reference, and no white space except spaces.
    pub(super) is_plain: bool,
}

const NAME_START: u8 = 1;
const NAME: u8 = 2;
const ESCAPE: u8 = 4;
const LESS_THAN: u8 = 8;

/// The possible kinds of each byte. Beyond ASCII everything is allowed in a name: such a name is
/// never significant here, and so a name cannot end inside a UTF-8 sequence.
const BYTE_KINDS: [u8; 256] = {
    let mut kinds = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        kinds[byte] = match byte as u8 {
            b'a'..=b'z' | b'A'..=b'Z' | b'_' | 0x80.. => NAME_START | NAME,
            b'0'..=b'9' | b'-' | b'.' => NAME,
            b'&' | b'\t' | b'\r' | b'\n' => ESCAPE,
            b'<' => LESS_THAN,
            _ => 0,
        };
        byte += 1;
    }
    kinds
};

#[inline]
fn kind(byte: u8) -> u8 {
    BYTE_KINDS[usize::from(byte)]
}

/// Takes a name without colon.
fn take_ncname(text: &str) -> Result<(&str, &str), XmlError> {
    let bytes = text.as_bytes();
    if bytes.first().is_none_or(|&b| kind(b) & NAME_START == 0) {
        return Err(XmlError::Malformed);
    }
    let end = bytes
        .iter()
        .position(|&b| kind(b) & NAME == 0)
        .unwrap_or(bytes.len());
    Ok(text.split_at(end))
}

pub(super) fn take_name(text: &str) -> Result<(QualifiedName<'_>, &str), XmlError> {
    let (first, rest) = take_ncname(text)?;
    let Some(local) = rest.strip_prefix(':') else {
        return Ok((
            QualifiedName {
                whole: first,
                prefix: "",
                local: first,
            },
            rest,
        ));
    };
    let (local, rest) = take_ncname(local)?;
    Ok((
        QualifiedName {
            whole: &text[..text.len() - rest.len()],
            prefix: first,
            local,
        },
        rest,
    ))
}

/// Takes the first attribute: name, value, and the rest, which is empty or was separated by white
/// space.
pub(super) fn take_attribute(text: &str) -> Result<(QualifiedName<'_>, Value<'_>, &str), XmlError> {
    const MALFORMED: XmlError = XmlError::Malformed;
    let (name, rest) = take_name(text)?;
    let rest = rest
        .trim_ascii_start()
        .strip_prefix('=')
        .ok_or(MALFORMED)?
        .trim_ascii_start();
    let quote = match rest.as_bytes().first() {
        Some(&quote @ (b'"' | b'\'')) => quote,
        _ => return Err(MALFORMED),
    };
    let text = &rest[1..];
    let mut kinds = 0;
    let end = text.bytes().position(|b| {
        kinds |= kind(b);
        b == quote
    });
    let end = end.ok_or(MALFORMED)?;
    let rest = &text[end + 1..];
    let tail = rest.trim_ascii_start();
    if kinds & LESS_THAN != 0 || (tail.len() == rest.len() && !tail.is_empty()) {
        return Err(MALFORMED);
    }
    Ok((
        name,
        Value {
            raw: &text[..end],
            is_plain: kinds & ESCAPE == 0,
        },
        tail,
    ))
}

/// Appends an attribute value, with references resolved and white space replaced by spaces (XML 1.0
/// §3.3.3).
pub(super) fn unescape_value(value: Value<'_>, to: &mut String) -> Result<(), XmlError> {
    let mut rest = value.raw;
    if value.is_plain {
        to.push_str(rest);
        return Ok(());
    }
    while let Some(at) = rest.bytes().position(|b| kind(b) & ESCAPE != 0) {
        to.push_str(&rest[..at]);
        let tail = &rest[at + 1..];
        rest = if rest.as_bytes()[at] == b'&' {
            let (reference, tail) = tail.split_once(';').ok_or(XmlError::Malformed)?;
            to.push(resolve_reference(reference)?);
            tail
        } else {
            to.push(' ');
            // A line end is one character, in any form (XML 1.0 §2.11).
            if rest[at..].starts_with("\r\n") {
                &tail[1..]
            } else {
                tail
            }
        };
    }
    to.push_str(rest);
    Ok(())
}

/// Appends text with each line end as a line feed (XML 1.0 §2.11).
pub(super) fn push_lines(text: &str, to: &mut String) {
    let mut rest = text;
    while let Some((line, tail)) = rest.split_once('\r') {
        to.push_str(line);
        to.push('\n');
        rest = tail.strip_prefix('\n').unwrap_or(tail);
    }
    to.push_str(rest);
}

/// The character denoted by `&reference;` (XML 1.0 §4.1, §4.6).
pub(super) fn resolve_reference(reference: &str) -> Result<char, XmlError> {
    let Some(number) = reference.strip_prefix('#') else {
        return match reference {
            "amp" => Ok('&'),
            "lt" => Ok('<'),
            "gt" => Ok('>'),
            "quot" => Ok('"'),
            "apos" => Ok('\''),
            _ => match take_name(reference) {
                Ok((_, "")) => Err(XmlError::UndefinedEntity),
                _ => Err(XmlError::Malformed),
            },
        };
    };
    let (digits, radix) = match number.strip_prefix('x') {
        Some(digits) => (digits, 16),
        None => (number, 10),
    };
    // `from_str_radix` accepts a sign, XML does not.
    let is_number = digits.bytes().all(|b| char::from(b).is_digit(radix));
    let code = u32::from_str_radix(digits, radix)
        .ok()
        .filter(|_| is_number);
    code.and_then(char::from_u32)
        .filter(|&c| c >= ' ' && !matches!(c, '\u{fffe}' | '\u{ffff}') || is_white_space(c))
        .ok_or(XmlError::Malformed)
}
