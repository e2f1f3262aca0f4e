//! Content of a CPIM message: one part unchanged, several as a multipart.

use bytes::Bytes;

use super::identifiers::{Random, token};

/// One part of the content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// For example `text/plain;charset=UTF-8`.
    pub content_type: String,
    /// The bytes.
    pub content: Bytes,
    /// Name of the original file.
    pub file_name: Option<String>,
}

/// Content of the CPIM wrapper.
pub(super) struct Payload {
    pub(super) fields: Vec<(String, String)>,
    pub(super) content: Bytes,
    pub(super) is_multipart: bool,
    /// Media types, each once.
    pub(super) types: Vec<String>,
}

impl Payload {
    pub(super) fn of(parts: &[Part], random: Random) -> Self {
        let mut types: Vec<String> = Vec::new();
        for part in parts {
            let media_type = part.content_type.split(';').next().unwrap_or("").trim();
            if !types.iter().any(|known| known == media_type) {
                types.push(media_type.to_owned());
            }
        }
        if let [part] = parts {
            return Self {
                fields: content_fields(part),
                content: part.content.clone(),
                is_multipart: false,
                types,
            };
        }
        let boundary = token(random);
        let mut content = Vec::new();
        for part in parts {
            content.extend(format!("--{boundary}\r\n").bytes());
            for (name, value) in content_fields(part) {
                content.extend(format!("{name}: {value}\r\n").bytes());
            }
            content.extend_from_slice(b"\r\n");
            content.extend_from_slice(&part.content);
            content.extend_from_slice(b"\r\n");
        }
        content.extend(format!("--{boundary}--\r\n").bytes());
        let content_type = format!("multipart/mixed;boundary=\"{boundary}\"");
        Self {
            fields: vec![("Content-Type".to_owned(), content_type)],
            content: content.into(),
            is_multipart: true,
            types,
        }
    }
}

fn content_fields(part: &Part) -> Vec<(String, String)> {
    let mut fields = vec![("Content-Type".to_owned(), part.content_type.clone())];
    if let Some(name) = &part.file_name {
        let plain = |c: char| c.is_ascii_graphic() && !"\"\\/".contains(c) || c == ' ';
        let name: String = name
            .chars()
            .map(|c| if plain(c) { c } else { '_' })
            .collect();
        let value = format!("attachment;filename=\"{name}\"");
        fields.push(("Content-Disposition".to_owned(), value));
    }
    fields
}
