use sha2::Digest as _;

/// A hash function (RFC 7616 §6.1, RFC 8760 §2.1). Names are case-insensitive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// MD5, also the default without a name.
    Md5,
    /// SHA-256.
    Sha256,
    /// SHA-512 truncated to 256 bits.
    Sha512Trunc256,
}

impl Algorithm {
    /// The algorithm of this name, and whether it is the one with a session key (`-sess`).
    pub(super) fn named(name: &str) -> Option<(Self, bool)> {
        let lower = name.to_ascii_lowercase();
        let (name, is_session) = match lower.strip_suffix("-sess") {
            Some(name) => (name, true),
            None => (lower.as_str(), false),
        };
        let algorithm = match name {
            "md5" => Self::Md5,
            "sha-256" => Self::Sha256,
            "sha-512-256" => Self::Sha512Trunc256,
            _ => return None,
        };
        Some((algorithm, is_session))
    }

    /// The hash of these texts, one after the other, in hexadecimal.
    pub(super) fn hash(self, texts: &[&str]) -> String {
        let bytes: Vec<&[u8]> = texts.iter().map(|text| text.as_bytes()).collect();
        self.hash_bytes(&bytes)
    }

    /// The same for bytes.
    pub(super) fn hash_bytes(self, pieces: &[&[u8]]) -> String {
        let whole = pieces.concat();
        match self {
            Self::Md5 => hex::encode(md5::Md5::digest(whole)),
            Self::Sha256 => hex::encode(sha2::Sha256::digest(whole)),
            Self::Sha512Trunc256 => hex::encode(sha2::Sha512_256::digest(whole)),
        }
    }
}
