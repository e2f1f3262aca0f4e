//! Bodies of several parts, and transfer encodings.

use bytes::Bytes;
use cpm_wire::mime::{
    Entity, EntityFields, HeaderField, MAX_PARTS, MimeError, NewPart, TransferEncoding,
};

/// The tree, and each leaf removed or replaced: the bytes of the other leaves are unchanged, and
/// the result parses to those leaves in order. First line: Content-Type.
pub fn multipart(data: &[u8]) {
    let at = data.iter().position(|b| *b == b'\n').unwrap_or(data.len());
    let (first, body) = data.split_at(at);
    let body = body.get(1..).unwrap_or(b"");
    let fields = |value: &[u8]| EntityFields {
        content_type: Some(Bytes::copy_from_slice(value)),
        ..EntityFields::default()
    };
    let Ok(entity) = Entity::parse(fields(first), Bytes::copy_from_slice(body)) else {
        return;
    };
    let leaves: Vec<_> = entity.leaves().collect();
    assert!(leaves.len() <= MAX_PARTS);
    let raw: Vec<(Bytes, Bytes)> = leaves
        .iter()
        .map(|leaf| (leaf.content_type().value().clone(), leaf.raw_content()))
        .collect();
    for (index, leaf) in leaves.iter().enumerate() {
        let _ = (
            leaf.content(),
            leaf.header(),
            leaf.field("Content-ID"),
            leaf.disposition(),
        );
        match entity.with_leaf(leaf.id(), None) {
            Err(
                MimeError::MalformedBase64
                | MimeError::MalformedQuotedPrintable
                | MimeError::MalformedPartHeader,
            ) => {}
            Err(error) => panic!("{error}"),
            Ok(None) => assert_eq!(leaves.len(), 1),
            Ok(Some(rebuilt)) => {
                let content_type = match &rebuilt.header_fields {
                    Some(fields) => {
                        for field in fields {
                            assert!(
                                !field.value.iter().any(|b| b"\r\n\0".contains(b)),
                                "{field:?}"
                            );
                        }
                        let ct = fields
                            .iter()
                            .find(|f| f.name.eq_ignore_ascii_case(b"content-type"))
                            .unwrap();
                        ct.value.clone()
                    }
                    None => Bytes::copy_from_slice(first),
                };
                // A single part has become the body; its transfer encoding is gone, which changes
                // its bytes.
                if rebuilt.header_fields.is_some()
                    && !content_type
                        .get(..10)
                        .is_some_and(|t| t.eq_ignore_ascii_case(b"multipart/"))
                {
                    assert_eq!(leaves.len(), 2);
                    let other = &leaves[1 - index];
                    assert!(
                        other.content().unwrap() == rebuilt.body,
                        "the part that became the body"
                    );
                    continue;
                }
                let again = Entity::parse(fields(&content_type), rebuilt.body.clone())
                    .unwrap_or_else(|e| {
                        panic!(
                            "taken out {index}: {e}\n{:?}",
                            String::from_utf8_lossy(&rebuilt.body)
                        )
                    });
                let mut want = raw.clone();
                want.remove(index);
                let got: Vec<_> = again
                    .leaves()
                    .map(|l| (l.content_type().value().clone(), l.raw_content()))
                    .collect();
                assert!(
                    got == want,
                    "other leaves after {index} was taken out:\n{got:?}\n{want:?}"
                );
            }
        }
        let new = NewPart {
            header_fields: vec![HeaderField::from_static(
                "Content-Type",
                "application/x-new",
            )],
            content: Bytes::from_static(b"new content\r\n--no boundary"),
        };
        match entity.with_leaf(leaf.id(), Some(new)) {
            Err(MimeError::BoundaryCollision) => {}
            Err(error) => panic!("{error}"),
            Ok(None) => panic!("replaced by nothing"),
            Ok(Some(rebuilt)) => {
                if rebuilt.header_fields.is_some() {
                    continue;
                }
                let again =
                    Entity::parse(fields(first), rebuilt.body.clone()).unwrap_or_else(|e| {
                        panic!(
                            "replaced {index}: {e}\n{:?}",
                            String::from_utf8_lossy(&rebuilt.body)
                        )
                    });
                let got: Vec<_> = again
                    .leaves()
                    .map(|l| (l.content_type().value().clone(), l.raw_content()))
                    .collect();
                let mut want = raw.clone();
                want[index] = (
                    Bytes::from_static(b"application/x-new"),
                    Bytes::from_static(b"new content\r\n--no boundary"),
                );
                assert!(
                    got == want,
                    "leaves after {index} was replaced:\n{got:?}\n{want:?}"
                );
            }
        }
    }
}

/// What is decoded is no longer than its encoding, and the same when it is encoded in another way.
/// First line: Content-Transfer-Encoding.
pub fn transfer_encoding(data: &[u8]) {
    let at = data.iter().position(|b| *b == b'\n').unwrap_or(data.len());
    let (first, content) = data.split_at(at);
    let Ok(encoding) = TransferEncoding::parse(first) else {
        return;
    };
    let content = Bytes::copy_from_slice(content.get(1..).unwrap_or(b""));
    let Ok(decoded) = encoding.decode(&content) else {
        assert_ne!(encoding, TransferEncoding::Identity);
        return;
    };
    assert!(decoded.len() <= content.len());
    let hex = |byte: &u8| format!("={byte:02X}");
    let mut lines = String::new();
    for line in decoded.chunks(20) {
        lines += &line.iter().map(hex).collect::<String>();
        lines += "=\r\n";
    }
    let quoted = Bytes::from(lines);
    let again = TransferEncoding::QuotedPrintable.decode(&quoted);
    assert_eq!(again, Ok(decoded.clone()));
    let base64 = Bytes::from(base64(&decoded));
    let again = TransferEncoding::Base64.decode(&base64);
    assert_eq!(again, Ok(decoded));
}

/// RFC 2045 §6.8, each group of four in a line of its own.
fn base64(bytes: &[u8]) -> Vec<u8> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut written = Vec::new();
    for group in bytes.chunks(3) {
        let padded = [group, &[0, 0]].concat();
        let bits = u32::from_be_bytes([0, padded[0], padded[1], padded[2]]);
        for place in 0..4 {
            written.push(match place <= group.len() {
                true => DIGITS[(bits >> (18 - 6 * place) & 63) as usize],
                false => b'=',
            });
        }
        written.extend(b"\r\n");
    }
    written
}
