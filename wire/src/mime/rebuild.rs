#[cfg(test)]
mod tests;

use std::ops::Range;

use bytes::Bytes;

use super::entity::{Node, header_fields};
use super::parameters::is_token_byte;
use super::{Entity, LeafId, MimeError};

/// One header field for the SIP message or for a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderField {
    /// Without the colon.
    pub name: Bytes,
    /// Without line ends.
    pub value: Bytes,
}

/// A part that replaces another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPart {
    /// Its Content-* fields, in this order.
    pub header_fields: Vec<HeaderField>,
    /// Its content; with a transfer encoding if the fields name one.
    pub content: Bytes,
}

/// The body after a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rebuilt {
    /// `None`: the body is still the received multipart, and the received fields describe it.
    /// `Some`: it is now another entity, and these fields replace every received Content-* field.
    /// Content-Length is left to the writer of the message, and there is no
    /// Content-Transfer-Encoding since SIP bodies are binary (RFC 5621 §3).
    pub header_fields: Option<Vec<HeaderField>>,
    /// The new body.
    pub body: Bytes,
}

impl Entity {
    /// The body with one leaf replaced (`Some`) or removed (`None`). Every byte outside that leaf
    /// stays as received, including the boundaries.
    ///
    /// A multipart with only one part left becomes that part, and one without parts is removed as
    /// well, up to the body itself. The part that becomes the body is decoded from its transfer
    /// encoding, and only its Content-* fields are kept: the other fields of a part have no meaning
    /// (RFC 2046 §5.1) and must not become fields of a SIP message. The result is `None` if nothing
    /// is left.
    ///
    /// # Errors
    ///
    /// - [`MimeError::NoSuchLeaf`]: `id` belongs to another entity.
    /// - [`MimeError::BoundaryCollision`]: a line of the new part starts like a delimiter of an
    ///   enclosing multipart.
    /// - [`MimeError::MalformedPartHeader`]: a field of the new part has a name that is not a
    ///   token, or a control character in its value; or a field of the part that is to become the
    ///   body has a name that MIME permits and SIP does not.
    /// - [`MimeError::MalformedBase64`], [`MimeError::MalformedQuotedPrintable`]: the part that is
    ///   to become the body cannot be decoded.
    pub fn with_leaf(
        &self,
        id: LeafId,
        new: Option<NewPart>,
    ) -> Result<Option<Rebuilt>, MimeError> {
        let node = self.nodes.get(id.0).filter(|node| node.multipart.is_none());
        let node = node.ok_or(MimeError::NoSuchLeaf)?;
        match new {
            Some(part) => self.replace(node, part).map(Some),
            None => self.remove(id.0),
        }
    }

    fn replace(&self, node: &Node, part: NewPart) -> Result<Rebuilt, MimeError> {
        if !part.header_fields.iter().all(HeaderField::is_valid) {
            return Err(MimeError::MalformedPartHeader);
        }
        if node.parent.is_none() {
            return Ok(Rebuilt {
                header_fields: Some(part.header_fields),
                body: part.content,
            });
        }
        let mut written = Vec::with_capacity(part.content.len() + 256);
        for field in &part.header_fields {
            written.extend_from_slice(&field.name);
            written.extend_from_slice(b": ");
            written.extend_from_slice(&field.value);
            written.extend_from_slice(b"\r\n");
        }
        written.extend_from_slice(b"\r\n");
        written.extend_from_slice(&part.content);

        let mut ancestor = node.parent;
        while let Some(index) = ancestor {
            if let Some(multipart) = &self.nodes[index].multipart
                && has_line_with_prefix(&written, &multipart.dash_boundary)
            {
                return Err(MimeError::BoundaryCollision);
            }
            ancestor = self.nodes[index].parent;
        }
        Ok(self.splice(node.part(), &written))
    }

    fn remove(&self, mut index: usize) -> Result<Option<Rebuilt>, MimeError> {
        loop {
            let Some(parent) = self.nodes[index].parent else {
                return Ok(None);
            };
            let siblings: Vec<usize> = self
                .children(parent)
                .filter(|&child| child != index)
                .collect();
            match siblings[..] {
                [] => index = parent,
                [survivor] => return self.promote(survivor, parent).map(Some),
                _ => {
                    let from = self.nodes[index].delimiter;
                    let next = siblings.iter().find(|&&sibling| sibling > index);
                    let close = self.nodes[parent]
                        .multipart
                        .as_ref()
                        .map(|m| m.close_delimiter);
                    let until = next.map(|&sibling| self.nodes[sibling].delimiter).or(close);
                    // A node with children is a multipart, so there is always a delimiter after it.
                    return Ok(until.map(|until| self.splice(from..until, b"")));
                }
            }
        }
    }

    /// Replaces the enclosing multipart by a part, and each further one that contains nothing else.
    fn promote(&self, survivor: usize, mut place: usize) -> Result<Rebuilt, MimeError> {
        while let Some(parent) = self.nodes[place].parent
            && self.nodes[parent]
                .multipart
                .as_ref()
                .is_some_and(|m| m.children == 1)
        {
            place = parent;
        }
        let node = &self.nodes[survivor];
        if place != 0 {
            return Ok(self.splice(self.nodes[place].part(), &self.body[node.part()]));
        }
        let body = node
            .transfer_encoding
            .decode(&self.body.slice(node.content.clone()))?;
        Ok(Rebuilt {
            header_fields: Some(self.content_fields(node)?),
            body,
        })
    }

    /// The fields that describe the part once it is the body of the message.
    fn content_fields(&self, node: &Node) -> Result<Vec<HeaderField>, MimeError> {
        let mut fields = Vec::new();
        let mut has_type = false;
        for field in header_fields(&self.body, node.header.clone()) {
            let (name, value) = field?;
            let name = self.body.slice(name);
            let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
            let is_content = name
                .get(..8)
                .is_some_and(|s| s.eq_ignore_ascii_case(b"Content-"));
            if !is_content || is("Content-Length") || is("Content-Transfer-Encoding") {
                continue;
            }
            if !name.iter().all(|&byte| is_sip_token_byte(byte)) {
                return Err(MimeError::MalformedPartHeader);
            }
            has_type |= is("Content-Type");
            fields.push(HeaderField {
                value: unfold(self.body.slice(value)),
                name,
            });
        }
        if !has_type {
            // RFC 3261 §20.15 requires the field if there is a body, so the default is written
            // explicitly.
            let value = node.content_type.value().clone();
            fields.insert(
                0,
                HeaderField {
                    name: Bytes::from_static(b"Content-Type"),
                    value,
                },
            );
        }
        Ok(fields)
    }

    fn children(&self, parent: usize) -> impl Iterator<Item = usize> {
        (parent + 1..self.nodes.len())
            .filter(move |&index| self.nodes[index].parent == Some(parent))
    }

    fn splice(&self, range: Range<usize>, replacement: &[u8]) -> Rebuilt {
        let body = [
            &self.body[..range.start],
            replacement,
            &self.body[range.end..],
        ]
        .concat();
        Rebuilt {
            header_fields: None,
            body: Bytes::from(body),
        }
    }
}

impl HeaderField {
    /// A field with static text.
    pub fn from_static(name: &'static str, value: &'static str) -> Self {
        Self {
            name: Bytes::from_static(name.as_bytes()),
            value: Bytes::from_static(value.as_bytes()),
        }
    }

    fn is_valid(&self) -> bool {
        !self.name.is_empty()
            && self.name.iter().all(|&b| is_token_byte(b))
            && self
                .value
                .iter()
                .all(|&b| b == b'\t' || !b.is_ascii_control())
    }
}

/// A byte of a MIME token (RFC 2045 §5.1) that is also allowed in the name of a SIP header field
/// (RFC 3261 §25.1).
fn is_sip_token_byte(byte: u8) -> bool {
    is_token_byte(byte) && !matches!(byte, b'#' | b'$' | b'&' | b'^' | b'{' | b'|' | b'}')
}

/// Readers differ in whether a delimiter line may contain more than RFC 2046 allows, so the prefix
/// decides.
fn has_line_with_prefix(bytes: &[u8], prefix: &[u8]) -> bool {
    bytes
        .split(|&b| b == b'\n' || b == b'\r')
        .any(|line| line.starts_with(prefix))
}

fn unfold(value: Bytes) -> Bytes {
    if !value.contains(&b'\n') {
        return value;
    }
    let mut unfolded = Vec::with_capacity(value.len());
    for line in value.split(|&b| b == b'\n') {
        if !unfolded.is_empty() {
            unfolded.push(b' ');
        }
        unfolded.extend_from_slice(line.trim_ascii());
    }
    Bytes::from(unfolded)
}
