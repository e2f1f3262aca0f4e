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

#[cfg(test)]
mod tests {
    use super::*;

    /// Nothing that would end the quoted string, or name another folder.
    #[test]
    fn a_file_name_is_quoted_and_has_no_path() {
        for (name, written) in [
            ("dot.gif", "dot.gif"),
            ("my photo (1).jpg", "my photo (1).jpg"),
            ("a\"b", "a_b"),
            ("a\\b", "a_b"),
            ("../b", ".._b"),
            ("\u{e4}\t\r\n\u{7f}", "_____"),
            ("", ""),
        ] {
            let part = Part {
                content_type: "image/gif".to_owned(),
                content: Bytes::new(),
                file_name: Some(name.to_owned()),
            };
            let expected = [
                ("Content-Type".to_owned(), "image/gif".to_owned()),
                (
                    "Content-Disposition".to_owned(),
                    format!("attachment;filename=\"{written}\""),
                ),
            ];
            assert_eq!(content_fields(&part), expected, "{name}");
        }
    }

    #[test]
    fn one_part_stays_as_it_is_and_several_become_a_multipart() {
        let part = |content_type: &str, content: &'static str| Part {
            content_type: content_type.to_owned(),
            content: Bytes::from_static(content.as_bytes()),
            file_name: None,
        };
        let text = part("text/plain;charset=UTF-8", "Hello");
        let one = Payload::of(std::slice::from_ref(&text), |bytes| bytes.fill(7));
        assert_eq!((&one.content[..], one.is_multipart), (&b"Hello"[..], false));
        assert_eq!(one.types, ["text/plain"]);
        let both = [text, part("image/gif", "GIF"), part("text/plain", "again")];
        let several = Payload::of(&both, |bytes| bytes.fill(7));
        assert!(several.is_multipart);
        assert_eq!(several.types, ["text/plain", "image/gif"]);
        let [(_, content_type)] = &several.fields[..] else {
            panic!("{:?}", several.fields)
        };
        let boundary = content_type.split('"').nth(1).unwrap();
        let expected = format!(
            "--{boundary}\r\nContent-Type: text/plain;charset=UTF-8\r\n\r\nHello\r\n\
             --{boundary}\r\nContent-Type: image/gif\r\n\r\nGIF\r\n\
             --{boundary}\r\nContent-Type: text/plain\r\n\r\nagain\r\n--{boundary}--\r\n"
        );
        assert_eq!(several.content, expected);
    }
}
