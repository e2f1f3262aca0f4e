use std::fmt;

use bytes::Bytes;

use super::MsrpUri;

/// Maximum number of URIs in one path. Each relay on the path adds one (RFC 4976 §5); real paths
/// have one to four.
pub const MAX_PATH_URIS: usize = 16;

/// The value of To-Path, From-Path or `a=path`: one URI or more (RFC 4975 §7.1, §8.2).
///
/// In To-Path and `a=path` the first URI is the next hop and the last is the far end; in From-Path
/// the first is the hop that sent the request and the last is its author.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    first: MsrpUri,
    /// Empty unless there are relays, so that the usual path needs no allocation.
    rest: Vec<MsrpUri>,
}

/// No URI, a malformed one, or more than [`MAX_PATH_URIS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MalformedPath;

impl Path {
    /// Parses a field value: URIs with single spaces between them. The URIs are slices of `value`.
    ///
    /// # Errors
    /// [`MalformedPath`].
    pub fn parse(value: &Bytes) -> Result<Self, MalformedPath> {
        let mut uris = value
            .split(|&b| b == b' ')
            .filter(|uri| !uri.is_empty())
            .map(|uri| MsrpUri::parse(value.slice_ref(uri)).map_err(|_| MalformedPath));
        let first = uris.next().ok_or(MalformedPath)??;
        let mut rest = Vec::new();
        for uri in uris {
            if rest.len() + 2 > MAX_PATH_URIS {
                return Err(MalformedPath);
            }
            rest.push(uri?);
        }
        Ok(Self { first, rest })
    }

    /// The leftmost URI.
    pub fn first(&self) -> &MsrpUri {
        &self.first
    }

    /// The rightmost URI.
    pub fn last(&self) -> &MsrpUri {
        self.rest.last().unwrap_or(&self.first)
    }

    /// The URIs from left to right, at least one.
    pub fn uris(&self) -> impl Iterator<Item = &MsrpUri> {
        std::iter::once(&self.first).chain(&self.rest)
    }
}

impl From<MsrpUri> for Path {
    fn from(first: MsrpUri) -> Self {
        Self {
            first,
            rest: Vec::new(),
        }
    }
}

impl fmt::Display for MalformedPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Malformed MSRP Path")
    }
}

impl std::error::Error for MalformedPath {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_of_rfc_4976_section_4() {
        let value = Bytes::from_static(
            b"msrps://alice.example.org:9892/98cjs;tcp msrps://bob.example.com:8145/foo;tcp",
        );
        let path = Path::parse(&value).unwrap();
        assert_eq!(path.first().session_id(), "98cjs");
        assert_eq!(path.last().session_id(), "foo");
        assert_eq!(path.uris().count(), 2);
        assert_eq!(Path::from(path.last().clone()).last(), path.last());
    }

    #[test]
    fn limits_and_errors() {
        let many = |count| Bytes::from(vec!["msrp://h/s;tcp"; count].join(" "));
        assert_eq!(
            Path::parse(&many(MAX_PATH_URIS)).unwrap().uris().count(),
            MAX_PATH_URIS
        );
        assert!(Path::parse(&many(MAX_PATH_URIS + 1)).is_err());
        for bad in [
            "",
            " ",
            "x",
            "msrp://h/s;tcp x",
            "msrp://h/s;tcp\tmsrp://h/s;tcp",
        ] {
            assert!(Path::parse(&Bytes::from(bad)).is_err(), "{bad:?}");
        }
    }
}
