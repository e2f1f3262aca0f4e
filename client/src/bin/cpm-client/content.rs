//! Content to send: texts and files as parts; received content: parts as texts and files.

use std::fs;
use std::io::{Read as _, stdin};
use std::path::Path;

use bytes::Bytes;
use cpm_client::{Part, StoredMessage};
use cpm_wire::cpim::CpimMessage;
use cpm_wire::mime::{ContentType, Entity, EntityFields};
use sha2::{Digest as _, Sha256};

use crate::exit::Problem;

/// Type of text.
const TEXT: &str = "text/plain;charset=UTF-8";
/// Type of unknown files.
const UNKNOWN: &str = "application/octet-stream";

/// Types by file name extension: the media of 3GPP TS 26.141 and other usual ones.
const TYPES: [(&str, &str); 24] = [
    ("txt", TEXT),
    ("html", "text/html;charset=UTF-8"),
    ("vcf", "text/vcard"),
    ("ics", "text/calendar"),
    ("csv", "text/csv"),
    ("xml", "application/xml"),
    ("smil", "application/smil"),
    ("json", "application/json"),
    ("pdf", "application/pdf"),
    ("zip", "application/zip"),
    ("jpg", "image/jpeg"),
    ("jpeg", "image/jpeg"),
    ("png", "image/png"),
    ("gif", "image/gif"),
    ("bmp", "image/bmp"),
    ("webp", "image/webp"),
    ("svg", "image/svg+xml"),
    ("amr", "audio/amr"),
    ("mp3", "audio/mpeg"),
    ("m4a", "audio/mp4"),
    ("ogg", "audio/ogg"),
    ("3gp", "video/3gpp"),
    ("mp4", "video/mp4"),
    ("bin", UNKNOWN),
];

/// The parts given on the command line: the text first, then the files, else standard input.
pub(crate) fn parts(
    text: Option<&str>,
    files: &[impl AsRef<Path>],
    content_type: Option<&str>,
) -> Result<Vec<Part>, Problem> {
    let mut parts = Vec::new();
    if let Some(text) = text {
        parts.push(Part {
            content_type: TEXT.to_owned(),
            content: Bytes::copy_from_slice(text.as_bytes()),
            file_name: None,
        });
    }
    for file in files {
        let file = file.as_ref();
        let content = fs::read(file)
            .map_err(|error| Problem::local(format!("{}: {error}", file.display())))?;
        let ending = file
            .extension()
            .and_then(|ending| ending.to_str())
            .unwrap_or("");
        let known = TYPES
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(ending));
        let known = known.map(|(_, content_type)| *content_type);
        parts.push(Part {
            content_type: known.or(content_type).unwrap_or(UNKNOWN).to_owned(),
            content: content.into(),
            file_name: file
                .file_name()
                .map(|name| name.to_string_lossy().into_owned()),
        });
    }
    if parts.is_empty() {
        let mut content = Vec::new();
        stdin().read_to_end(&mut content)?;
        parts.push(Part {
            content_type: content_type.unwrap_or(TEXT).to_owned(),
            content: content.into(),
            file_name: None,
        });
    }
    Ok(parts)
}

/// A part of a received message.
pub(crate) struct ReceivedPart {
    pub(crate) content_type: String,
    pub(crate) content: Bytes,
    /// Extension for its file, without a dot.
    pub(crate) ending: String,
}

impl ReceivedPart {
    /// All parts of a message.
    pub(crate) fn of(object: &StoredMessage) -> Vec<Self> {
        match object.is_cpim() {
            true => Self::all(&object.body),
            false => {
                let kind = object.field("Content-Type").unwrap_or(UNKNOWN);
                vec![Self::new(kind, object.body.clone(), None)]
            }
        }
    }

    /// All parts of a CPIM message; anything else is one part of unknown type.
    fn all(cpim: &Bytes) -> Vec<Self> {
        let Ok(message) = CpimMessage::parse(cpim) else {
            return vec![Self::new(UNKNOWN, cpim.clone(), None)];
        };
        let content_type = message.content_field("Content-Type").unwrap_or(TEXT);
        let field = |name| Some(Bytes::from(message.content_field(name)?.to_owned()));
        let fields = EntityFields {
            content_type: Some(Bytes::from(content_type.to_owned())),
            content_disposition: field("Content-Disposition"),
            content_transfer_encoding: field("Content-Transfer-Encoding"),
        };
        let Ok(entity) = Entity::parse(fields, message.content.clone()) else {
            return vec![Self::new(content_type, message.content.clone(), None)];
        };
        let leaves = entity.leaves();
        leaves
            .map(|leaf| {
                let value = String::from_utf8_lossy(leaf.content_type().value()).into_owned();
                let name = leaf.disposition().and_then(|one| one.param("filename"));
                let content = leaf.content().unwrap_or_else(|_| leaf.raw_content());
                Self::new(&value, content, name.as_deref())
            })
            .collect()
    }

    fn new(content_type: &str, content: Bytes, file_name: Option<&str>) -> Self {
        // The extension alone, and only if it is a plain word: the sender chose the name.
        let plain = |ending: &&str| {
            (1..=8).contains(&ending.len()) && ending.bytes().all(|b| b.is_ascii_alphanumeric())
        };
        let named = file_name
            .and_then(|name| Some(name.rsplit_once('.')?.1))
            .filter(plain);
        let media_type = content_type.split(';').next().unwrap_or("").trim();
        let is = |known: &str| known.split(';').next() == Some(media_type);
        let by_type = TYPES
            .iter()
            .find(|(_, known)| is(known))
            .map(|(ending, _)| *ending);
        Self {
            content_type: content_type.to_owned(),
            content,
            ending: named.or(by_type).unwrap_or("bin").to_owned(),
        }
    }

    /// The text, if it is text.
    pub(crate) fn text(&self) -> Option<&str> {
        let parsed = ContentType::parse(Bytes::from(self.content_type.clone())).ok()?;
        let subtype = parsed.subtype().to_ascii_lowercase();
        let is_readable = parsed.media_type().eq_ignore_ascii_case("text")
            // Including disposition notifications.
            || subtype.ends_with("+xml")
            || matches!(subtype.as_str(), "xml" | "json");
        if !is_readable || parsed.media_type().eq_ignore_ascii_case("image") {
            return None;
        }
        std::str::from_utf8(&self.content).ok()
    }

    /// SHA-256 in hexadecimal.
    pub(crate) fn checksum(&self) -> String {
        hex::encode(Sha256::digest(&self.content))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_sender_calls_a_file_decides_little() {
        let ending = |kind, name| ReceivedPart::new(kind, Bytes::new(), name).ending;
        assert_eq!(ending("image/png", None), "png");
        assert_eq!(ending("image/png", Some("a.PNG")), "PNG");
        assert_eq!(
            ending("text/plain; charset=x", Some("a.../etc/passwd")),
            "txt"
        );
        assert_eq!(ending("x/y", Some("noending")), "bin");
    }

    #[test]
    fn parts_of_a_multipart() {
        let cpim = Bytes::from_static(
            b"From: <sip:a>\r\n\r\nContent-Type: multipart/mixed;boundary=b\r\n\r\n\
              --b\r\n\r\nHello\r\n--b\r\nContent-Type: image/png\r\n\r\n\x89PNG\r\n--b--\r\n",
        );
        let parts = ReceivedPart::all(&cpim);
        assert_eq!(parts.len(), 2);
        assert_eq!((parts[0].text(), parts[1].text()), (Some("Hello"), None));
        assert_eq!(parts[1].content, &b"\x89PNG"[..]);
        assert_eq!(parts[0].checksum().len(), 64);
        let read = |kind| {
            ReceivedPart::new(kind, Bytes::from_static(b"<a/>"), None)
                .text()
                .is_some()
        };
        assert!(read("message/imdn+xml") && read("application/smil+xml") && !read("image/svg+xml"));
    }
}
