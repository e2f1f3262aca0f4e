use std::fmt;

/// A Byte-Range (RFC 4975 §7.1.1): which bytes of the message a chunk holds, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteRange {
    start: u64,
    end: Option<u64>,
    total: Option<u64>,
}

/// Not `start-end/total`, a number beyond 64 bits, or numbers that contradict each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MalformedByteRange;

impl ByteRange {
    /// The range of a request without Byte-Range (RFC 4975 §7.1.1): from the first byte on.
    pub const UNKNOWN: Self = Self {
        start: 1,
        end: None,
        total: None,
    };

    /// A range from its parts; `None` is written as `*`.
    ///
    /// # Errors
    /// [`MalformedByteRange`] if `start` is 0, `end` is more than one below `start`, or either is
    /// beyond `total`.
    pub fn new(
        start: u64,
        end: Option<u64>,
        total: Option<u64>,
    ) -> Result<Self, MalformedByteRange> {
        // An empty chunk ends one before its start: `1-0/0`.
        let ordered = start >= 1
            && end.is_none_or(|end| end >= start - 1)
            && end.zip(total).is_none_or(|(end, total)| end <= total)
            && total.is_none_or(|total| start - 1 <= total);
        if ordered {
            Ok(Self { start, end, total })
        } else {
            Err(MalformedByteRange)
        }
    }

    /// The range of a chunk that begins `offset` bytes into the message and may be interrupted.
    pub fn open(offset: u64, total: Option<u64>) -> Self {
        Self {
            start: offset.saturating_add(1),
            end: None,
            total,
        }
    }

    /// Parses a field value.
    ///
    /// # Errors
    /// [`MalformedByteRange`].
    pub fn parse(value: &[u8]) -> Result<Self, MalformedByteRange> {
        let text = std::str::from_utf8(value).map_err(|_| MalformedByteRange)?;
        let (start, rest) = text.split_once('-').ok_or(MalformedByteRange)?;
        let (end, total) = rest.split_once('/').ok_or(MalformedByteRange)?;
        let start = number(start)?.ok_or(MalformedByteRange)?;
        Self::new(start, number(end)?, number(total)?)
    }

    /// The number of bytes of the message before this chunk.
    pub fn offset(&self) -> u64 {
        self.start - 1
    }

    /// Number of the last byte, which is also the length of the message up to the end of this
    /// chunk.
    pub fn end(&self) -> Option<u64> {
        self.end
    }

    /// Size of the whole message in bytes, if the sender knows it.
    pub fn total(&self) -> Option<u64> {
        self.total
    }
}

impl fmt::Display for ByteRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-", self.start)?;
        match self.end {
            Some(end) => write!(f, "{end}/")?,
            None => f.write_str("*/")?,
        }
        match self.total {
            Some(total) => write!(f, "{total}"),
            None => f.write_str("*"),
        }
    }
}

impl fmt::Display for MalformedByteRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Malformed Byte-Range")
    }
}

impl std::error::Error for MalformedByteRange {}

fn number(text: &str) -> Result<Option<u64>, MalformedByteRange> {
    match text {
        "*" => Ok(None),
        digits if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) => {
            digits.parse().map(Some).map_err(|_| MalformedByteRange)
        }
        _ => Err(MalformedByteRange),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip() {
        for text in [
            "1-25/25",
            "1-*/*",
            "101-200/200",
            "1-0/0",
            "2049-*/4385",
            "5-4/4",
            "1-3/*",
        ] {
            assert_eq!(ByteRange::parse(text.as_bytes()).unwrap().to_string(), text);
        }
        let range = ByteRange::parse(b"101-200/300").unwrap();
        assert_eq!(
            (range.offset(), range.end(), range.total()),
            (100, Some(200), Some(300))
        );
        assert_eq!(ByteRange::open(0, None), ByteRange::UNKNOWN);
    }

    #[test]
    fn malformed() {
        for text in [
            "",
            "-",
            "/",
            "1",
            "1-2",
            "1/2",
            "0-1/2",
            "*-1/2",
            "3-1/5",
            "1-6/5",
            "7-*/5",
            "+1-2/3",
            "1-2/3 ",
            "1-2/-3",
            "18446744073709551616-*/*",
            "1--/2",
            "a-b/c",
        ] {
            assert_eq!(
                ByteRange::parse(text.as_bytes()),
                Err(MalformedByteRange),
                "{text:?}"
            );
        }
        assert!(ByteRange::parse(b"18446744073709551615-*/*").is_ok());
        assert!(ByteRange::parse(b"\xff-2/3").is_err());
    }
}
