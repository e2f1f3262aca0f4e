use std::ops::Range;

use bytes::Bytes;
use memchr::memmem::Finder;

use super::parameters::is_token_byte;
use super::{ContentDisposition, ContentType, MimeError, TransferEncoding};

/// Maximum number of entities in one body: leaves, multiparts and the body itself. A CPM request
/// has two or three; the limit bounds the memory for a body that consists of delimiters.
pub const MAX_PARTS: usize = 64;

/// Maximum nesting of multiparts. Each level is searched for its own delimiters once, so this also
/// bounds the time: at most `MAX_DEPTH` passes over the body.
pub const MAX_DEPTH: usize = 8;

/// Maximum length of one part's header block. It has a handful of Content-* fields; many SIP stacks
/// have the same limit for one header field.
pub const MAX_PART_HEADER_BYTES: usize = 8192;

/// The header field values that describe the body in the header of the SIP message. Absent ones get
/// the defaults of RFC 2045 §5.2.
#[derive(Debug, Clone, Default)]
pub struct EntityFields {
    /// Content-Type.
    pub content_type: Option<Bytes>,
    /// Content-Disposition.
    pub content_disposition: Option<Bytes>,
    /// Content-Transfer-Encoding.
    pub content_transfer_encoding: Option<Bytes>,
}

/// The tree of body parts of one message (RFC 2046 §5.1).
///
/// It owns a reference to the body; all parts are ranges of it. Preamble and epilogue of a
/// multipart belong to no part and are kept.
#[derive(Debug, Clone)]
pub struct Entity {
    pub(super) body: Bytes,
    /// In document order, a multipart before its parts. The first is the whole body.
    pub(super) nodes: Vec<Node>,
}

/// Identifies one leaf of one [`Entity`], as long as that entity lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeafId(pub(super) usize);

/// A part that is not a multipart, or the whole body if that is not one.
#[derive(Debug, Clone, Copy)]
pub struct Leaf<'a> {
    entity: &'a Entity,
    index: usize,
}

#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) parent: Option<usize>,
    /// Start of the delimiter line before the part.
    pub(super) delimiter: usize,
    /// The header fields, without the blank line after them.
    pub(super) header: Range<usize>,
    pub(super) content: Range<usize>,
    pub(super) content_type: ContentType,
    pub(super) disposition: Option<ContentDisposition>,
    pub(super) transfer_encoding: TransferEncoding,
    pub(super) multipart: Option<Multipart>,
}

#[derive(Debug, Clone)]
pub(super) struct Multipart {
    /// `--` and the boundary.
    pub(super) dash_boundary: Bytes,
    pub(super) children: usize,
    /// Start of the close-delimiter's line.
    pub(super) close_delimiter: usize,
}

impl Node {
    /// Header and content: everything between two delimiters.
    pub(super) fn part(&self) -> Range<usize> {
        self.header.start..self.content.end
    }
}

impl Entity {
    /// Parses the body of a message whose header describes it with `fields`. Takes at most
    /// [`MAX_DEPTH`] passes over the body; the caller limits the size of the body.
    ///
    /// # Errors
    ///
    /// Any [`MimeError`] except those of decoding and rebuilding.
    pub fn parse(fields: EntityFields, body: Bytes) -> Result<Self, MimeError> {
        let content_type = match fields.content_type {
            Some(value) => ContentType::parse(value)?,
            None => ContentType::text_plain(),
        };
        let disposition = fields
            .content_disposition
            .map(ContentDisposition::parse)
            .transpose()?;
        let transfer_encoding = match fields.content_transfer_encoding {
            Some(value) => TransferEncoding::parse(&value)?,
            None => TransferEncoding::Identity,
        };
        let root = Node {
            parent: None,
            delimiter: 0,
            header: 0..0,
            content: 0..body.len(),
            content_type,
            disposition,
            transfer_encoding,
            multipart: None,
        };
        let mut entity = Self {
            body,
            nodes: vec![root],
        };
        entity.divide(0, 0)?;
        Ok(entity)
    }

    /// The body that was parsed.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// Whether the body is divided into parts.
    pub fn is_multipart(&self) -> bool {
        self.nodes[0].multipart.is_some()
    }

    /// The leaves in document order.
    pub fn leaves(&self) -> impl Iterator<Item = Leaf<'_>> {
        (0..self.nodes.len())
            .filter(|&index| self.nodes[index].multipart.is_none())
            .map(|index| Leaf {
                entity: self,
                index,
            })
    }

    /// The leaf with this id, if this entity has it.
    pub fn leaf(&self, id: LeafId) -> Option<Leaf<'_>> {
        let node = self.nodes.get(id.0)?;
        node.multipart.is_none().then_some(Leaf {
            entity: self,
            index: id.0,
        })
    }

    /// Finds the parts of the node, and their parts. The recursion is as deep as the nesting of
    /// multiparts, at most `MAX_DEPTH`.
    fn divide(&mut self, index: usize, depth: usize) -> Result<(), MimeError> {
        let node = &self.nodes[index];
        if !node.content_type.is_multipart() {
            return Ok(());
        }
        if depth == MAX_DEPTH {
            return Err(MimeError::NestedTooDeep);
        }
        if node.transfer_encoding != TransferEncoding::Identity {
            return Err(MimeError::EncodedMultipart);
        }
        let boundary = node.content_type.boundary()?;
        let dash_boundary = Bytes::from([b"--", boundary.as_bytes()].concat());
        let is_digest = node.content_type.is("multipart", "digest");
        let content = node.content.clone();

        let body = self.body.clone();
        let mut delimiters = Delimiters {
            body: &body,
            finder: Finder::new(&dash_boundary),
            line: content.start,
            end: content.end,
        };
        let mut opening = delimiters.next().ok_or(MimeError::MissingCloseDelimiter)?;
        let mut children = 0;
        while !opening.is_close {
            let closing = delimiters.next().ok_or(MimeError::MissingCloseDelimiter)?;
            // The line end before a delimiter belongs to the delimiter. If two delimiters share
            // one, there is no part between them.
            let end = closing.line - line_end_before(&body[..closing.line]);
            if end < opening.after {
                return Err(MimeError::MalformedPartHeader);
            }
            if self.nodes.len() == MAX_PARTS {
                return Err(MimeError::TooManyParts);
            }
            let default = if is_digest {
                ContentType::message_rfc822
            } else {
                ContentType::text_plain
            };
            let node = parse_part(&body, opening.after..end, default)?;
            let child = self.nodes.len();
            self.nodes.push(Node {
                parent: Some(index),
                delimiter: opening.line,
                ..node
            });
            self.divide(child, depth + 1)?;
            children += 1;
            opening = closing;
        }
        if children == 0 {
            return Err(MimeError::EmptyMultipart);
        }
        self.nodes[index].multipart = Some(Multipart {
            dash_boundary,
            children,
            close_delimiter: opening.line,
        });
        Ok(())
    }
}

impl<'a> Leaf<'a> {
    /// The id of this leaf, for [`Entity::leaf`] and [`Entity::with_leaf`].
    pub fn id(&self) -> LeafId {
        LeafId(self.index)
    }

    /// Its Content-Type; text/plain if it names none.
    pub fn content_type(&self) -> &'a ContentType {
        &self.node().content_type
    }

    /// Its Content-Disposition.
    pub fn disposition(&self) -> Option<&'a ContentDisposition> {
        self.node().disposition.as_ref()
    }

    /// Its Content-Transfer-Encoding.
    pub fn transfer_encoding(&self) -> TransferEncoding {
        self.node().transfer_encoding
    }

    /// Its header block as received, without the blank line. Empty for a body without parts: the
    /// SIP header describes that.
    pub fn header(&self) -> Bytes {
        self.entity.body.slice(self.node().header.clone())
    }

    /// The value of a field of its header block, folds included; the first one of that name.
    pub fn field(&self, name: &str) -> Option<Bytes> {
        let body = &self.entity.body;
        header_fields(body, self.node().header.clone())
            .filter_map(Result::ok)
            .find(|(field, _)| body[field.clone()].eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, value)| body.slice(value))
    }

    /// The content as received, still transfer-encoded.
    pub fn raw_content(&self) -> Bytes {
        self.entity.body.slice(self.node().content.clone())
    }

    /// The content without its transfer encoding. A Content-Encoding is not removed.
    ///
    /// # Errors
    /// [`MimeError::MalformedBase64`], [`MimeError::MalformedQuotedPrintable`].
    pub fn content(&self) -> Result<Bytes, MimeError> {
        self.node().transfer_encoding.decode(&self.raw_content())
    }

    fn node(&self) -> &'a Node {
        &self.entity.nodes[self.index]
    }
}

/// The fields of a header block: the ranges of name and value, the value without surrounding white
/// space but with its folds.
pub(super) fn header_fields(
    body: &[u8],
    block: Range<usize>,
) -> impl Iterator<Item = Result<(Range<usize>, Range<usize>), MimeError>> {
    let mut at = block.start;
    std::iter::from_fn(move || {
        if at == block.end {
            return None;
        }
        let start = at;
        at = next_line(body, at, block.end);
        while at < block.end && matches!(body[at], b' ' | b'\t') {
            at = next_line(body, at, block.end);
        }
        Some(split_field(body, start..at))
    })
}

type Field = (Range<usize>, Range<usize>);

fn split_field(body: &[u8], field: Range<usize>) -> Result<Field, MimeError> {
    let bytes = &body[field.clone()];
    let colon = bytes
        .iter()
        .take_while(|&&b| b != b':' && is_token_byte(b))
        .count();
    if colon == 0 || bytes.get(colon) != Some(&b':') {
        return Err(MimeError::MalformedPartHeader);
    }
    let value = &bytes[colon + 1..];
    let leading = value.len() - value.trim_ascii_start().len();
    let start = field.start + colon + 1 + leading;
    let end = start + value.trim_ascii().len();
    // A value that is moved into a SIP header must not contain a line end or a NUL.
    let value = &body[start..end];
    let is_clean = value.iter().enumerate().all(|(i, &b)| match b {
        b'\r' => value.get(i + 1) == Some(&b'\n'),
        b'\t' | b'\n' => true,
        _ => !b.is_ascii_control(),
    });
    if is_clean {
        Ok((field.start..field.start + colon, start..end))
    } else {
        Err(MimeError::MalformedPartHeader)
    }
}

/// Reads header and content of the part in `range`; the caller fills in parent and delimiter.
fn parse_part(
    body: &Bytes,
    range: Range<usize>,
    default_type: fn() -> ContentType,
) -> Result<Node, MimeError> {
    let (header, content) = split_part(body, range)?;
    let (mut content_type, mut disposition, mut transfer_encoding) = (None, None, None);
    for field in header_fields(body, header.clone()) {
        let (name, value) = field?;
        let is = |field: &str| body[name.clone()].eq_ignore_ascii_case(field.as_bytes());
        if is("Content-Type") {
            if content_type
                .replace(ContentType::parse(body.slice(value))?)
                .is_some()
            {
                return Err(MimeError::MalformedContentType);
            }
        } else if is("Content-Disposition") {
            if disposition
                .replace(ContentDisposition::parse(body.slice(value))?)
                .is_some()
            {
                return Err(MimeError::MalformedContentDisposition);
            }
        } else if is("Content-Transfer-Encoding")
            && transfer_encoding
                .replace(TransferEncoding::parse(&body[value])?)
                .is_some()
        {
            return Err(MimeError::UnknownTransferEncoding);
        }
    }
    Ok(Node {
        parent: None,
        delimiter: 0,
        header,
        content,
        content_type: content_type.unwrap_or_else(default_type),
        disposition,
        transfer_encoding: transfer_encoding.unwrap_or_default(),
        multipart: None,
    })
}

/// Splits a part at its first blank line. A part may have no header, or no content; then the line
/// end before the next delimiter, which is no longer in `part`, may have been the blank line.
fn split_part(body: &[u8], part: Range<usize>) -> Result<Field, MimeError> {
    let mut line = part.start;
    while line < part.end {
        let next = next_line(body, line, part.end);
        if matches!(&body[line..next], b"\n" | b"\r\n") {
            return Ok((part.start..line, next..part.end));
        }
        line = next;
        if line - part.start > MAX_PART_HEADER_BYTES {
            return Err(MimeError::PartHeaderTooLarge);
        }
    }
    Ok((part.clone(), part.end..part.end))
}

struct Delimiter {
    /// Start of its line.
    line: usize,
    /// Start of the next line.
    after: usize,
    is_close: bool,
}

/// The delimiter lines of one multipart. A line counts only as a whole: `--boundary`, for the last
/// one `--` again, transport padding, line end. So a boundary that begins like another one is
/// distinguished from it.
struct Delimiters<'a> {
    body: &'a [u8],
    /// Of `--` and the boundary.
    finder: Finder<'a>,
    /// Start of the next line.
    line: usize,
    end: usize,
}

impl Delimiters<'_> {
    fn next(&mut self) -> Option<Delimiter> {
        while self.line < self.end {
            let Some(offset) = self.finder.find(&self.body[self.line..self.end]) else {
                self.line = self.end;
                break;
            };
            let line = self.line + offset;
            let is_at_start = offset == 0 || self.body[line - 1] == b'\n';
            self.line = next_line(self.body, line, self.end);
            // Behind the start of a line it is no delimiter, whatever follows in that line.
            let rest = match is_at_start {
                true => &self.body[line + self.finder.needle().len()..self.line],
                false => continue,
            };
            let (padding, is_close) = match rest.strip_prefix(b"--") {
                Some(padding) => (padding, true),
                None => (rest, false),
            };
            if padding.iter().all(|b| b" \t\r\n".contains(b)) {
                return Some(Delimiter {
                    line,
                    after: self.line,
                    is_close,
                });
            }
        }
        None
    }
}

/// Start of the line after the one that starts at `at`, or `end`.
fn next_line(body: &[u8], at: usize, end: usize) -> usize {
    memchr::memchr(b'\n', &body[at..end]).map_or(end, |offset| at + offset + 1)
}

fn line_end_before(body: &[u8]) -> usize {
    if body.ends_with(b"\r\n") {
        2
    } else {
        usize::from(body.ends_with(b"\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn multipart(boundary: &str, body: impl Into<Bytes>) -> Result<Entity, MimeError> {
        let content_type = Bytes::from(format!("multipart/mixed; boundary=\"{boundary}\""));
        let fields = EntityFields {
            content_type: Some(content_type),
            ..EntityFields::default()
        };
        Entity::parse(fields, body.into())
    }

    fn contents(entity: &Entity) -> Vec<Bytes> {
        entity.leaves().map(|leaf| leaf.raw_content()).collect()
    }

    #[test]
    fn example_of_rfc_2046_5_1_1() {
        let body = "This is the preamble.  It is to be ignored, though it\r\n\
            is a handy place for composition agents to include an\r\n\
            explanatory note to non-MIME conformant readers.\r\n\
            \r\n\
            --simple boundary\r\n\
            \r\n\
            This is implicitly typed plain US-ASCII text.\r\n\
            It does NOT end with a linebreak.\r\n\
            --simple boundary\r\n\
            Content-type: text/plain; charset=us-ascii\r\n\
            \r\n\
            This is explicitly typed plain US-ASCII text.\r\n\
            It DOES end with a linebreak.\r\n\
            \r\n\
            --simple boundary--\r\n\
            \r\n\
            This is the epilogue.  It is also to be ignored.\r\n";
        let entity = multipart("simple boundary", body).unwrap();
        let leaves: Vec<_> = entity.leaves().collect();
        assert_eq!(leaves.len(), 2);
        assert!(leaves[0].header().is_empty());
        assert!(leaves[0].content_type().is("text", "plain"));
        assert!(leaves[0].raw_content().ends_with(b"linebreak."));
        assert_eq!(
            leaves[1].content_type().param("charset").unwrap(),
            "us-ascii"
        );
        assert!(leaves[1].raw_content().ends_with(b"linebreak.\r\n"));
        assert_eq!(
            leaves[1].field("CONTENT-TYPE").unwrap(),
            "text/plain; charset=us-ascii"
        );
    }

    #[test]
    fn a_body_without_parts_is_one_leaf() {
        let fields = EntityFields {
            content_type: Some(Bytes::from_static(b"message/cpim")),
            content_transfer_encoding: Some(Bytes::from_static(b"base64")),
            content_disposition: Some(Bytes::from_static(b"render")),
        };
        let entity = Entity::parse(fields, Bytes::from_static(b"aGk=")).unwrap();
        assert!(!entity.is_multipart());
        let leaf = entity.leaves().next().unwrap();
        assert_eq!(
            (leaf.content().unwrap(), leaf.raw_content()),
            ("hi".into(), "aGk=".into())
        );
        assert!(leaf.disposition().unwrap().is("render"));
        let empty = Entity::parse(EntityFields::default(), Bytes::new()).unwrap();
        assert!(
            empty
                .leaves()
                .next()
                .unwrap()
                .content_type()
                .is("text", "plain")
        );
    }

    #[test]
    fn parts_are_slices_of_the_body() {
        let body = Bytes::from_static(b"--b\r\nContent-Type: a/b\r\n\r\ncontent\r\n--b--");
        let entity = multipart("b", body.clone()).unwrap();
        let content = entity.leaves().next().unwrap().content().unwrap();
        assert_eq!(content, "content");
        assert!(body.as_ptr_range().contains(&content.as_ptr()));
    }

    #[test]
    fn bare_line_feeds_padding_and_look_alikes() {
        let body = "--b \t\n\na --b\n--bb\n--b-\n --b\n--b --\n--b- -\n--b\t\nX: 1\n y\n\n\n--b--  \nepilogue\n--b\n";
        let entity = multipart("b", body).unwrap();
        assert_eq!(
            contents(&entity),
            ["a --b\n--bb\n--b-\n --b\n--b --\n--b- -", ""]
        );
        let last = entity.leaves().last().unwrap();
        assert_eq!(last.header(), "X: 1\n y\n");
        assert_eq!(last.field("x").unwrap(), "1\n y");
    }

    #[test]
    fn parts_without_header_or_content() {
        let entity = multipart(
            "b",
            "--b\r\n\r\n--b\r\nContent-Type: a/b\r\n--b\r\nContent-Type: c/d\r\n\r\n--b--",
        )
        .unwrap();
        assert_eq!(contents(&entity), ["", "", ""]);
        let types: Vec<_> = entity
            .leaves()
            .map(|l| l.content_type().media_type())
            .collect();
        assert_eq!(types, ["text", "a", "c"]);
    }

    #[test]
    fn nested_multiparts_in_document_order() {
        let body = "--out\r\n\
            Content-Type: multipart/alternative; boundary=out1\r\n\r\n\
            --out1\r\n\r\none\r\n--out1\r\n\r\ntwo\r\n--out1--\r\n\
            --out\r\n\
            Content-Type: multipart/digest; boundary=\"d\"\r\n\r\n\
            --d\r\n\r\nthree\r\n--d--\r\n\
            --out\r\n\r\nfour\r\n--out--\r\n";
        let entity = multipart("out", body).unwrap();
        assert_eq!(contents(&entity), ["one", "two", "three", "four"]);
        let leaves: Vec<_> = entity.leaves().collect();
        assert!(leaves[2].content_type().is("message", "rfc822"));
        assert!(leaves.windows(2).all(|pair| pair[0].id() < pair[1].id()));
        assert_eq!(entity.leaf(leaves[1].id()).unwrap().raw_content(), "two");
        assert!(entity.leaf(LeafId(0)).is_none() && entity.leaf(LeafId(99)).is_none());
    }

    #[test]
    fn an_outer_delimiter_ends_an_inner_multipart() {
        let body =
            "--o\r\nContent-Type: multipart/mixed; boundary=i\r\n\r\n--i\r\n\r\nx\r\n--o--\r\n";
        assert_eq!(
            multipart("o", body).unwrap_err(),
            MimeError::MissingCloseDelimiter
        );
    }

    #[test]
    fn malformed_multiparts() {
        use MimeError::*;
        for (body, error) in [
            ("", MissingCloseDelimiter),
            ("--b\r\n\r\nx\r\n", MissingCloseDelimiter),
            ("--b\r\n\r\nx\r\n--b", MissingCloseDelimiter),
            ("--b\r\n\r\nx\r\n--b-", MissingCloseDelimiter),
            ("x--b\r\n\r\nx--b--", MissingCloseDelimiter),
            ("--b--\r\n", EmptyMultipart),
            ("--b\r\n--b--\r\n", MalformedPartHeader),
            ("--b\r\nno header\r\n--b--", MalformedPartHeader),
            (
                "--b\r\n folded: first\r\n\r\n\r\n--b--",
                MalformedPartHeader,
            ),
            ("--b\r\nA : 1\r\n\r\n\r\n--b--", MalformedPartHeader),
            ("--b\r\nA: 1\r2\r\n\r\n\r\n--b--", MalformedPartHeader),
            (
                "--b\r\nContent-Type: x\r\n\r\n\r\n--b--",
                MalformedContentType,
            ),
            (
                "--b\r\nContent-Type: a/b\r\nContent-type: a/b\r\n\r\n\r\n--b--",
                MalformedContentType,
            ),
            (
                "--b\r\nContent-Disposition: ;\r\n\r\n\r\n--b--",
                MalformedContentDisposition,
            ),
            (
                "--b\r\nContent-Transfer-Encoding: zip\r\n\r\n\r\n--b--",
                UnknownTransferEncoding,
            ),
            (
                "--b\r\nContent-Type: multipart/x\r\n\r\n\r\n--b--",
                InvalidBoundary,
            ),
            (
                "--b\r\nContent-Type: multipart/x; boundary=c\r\nContent-Transfer-Encoding: base64\r\n\r\n\r\n--b--",
                EncodedMultipart,
            ),
        ] {
            assert_eq!(multipart("b", body).unwrap_err(), error, "{body:?}");
        }
    }

    #[test]
    fn limits() {
        let part = "--b\r\n\r\nx\r\n";
        let with_parts = |count: usize| format!("{}--b--", part.repeat(count));
        assert_eq!(
            multipart("b", with_parts(MAX_PARTS - 1))
                .unwrap()
                .leaves()
                .count(),
            MAX_PARTS - 1
        );
        assert_eq!(
            multipart("b", with_parts(MAX_PARTS)).unwrap_err(),
            MimeError::TooManyParts
        );

        let nested = |depth: usize| {
            (1..depth).rev().fold("--0\r\n\r\nx\r\n--0--".to_owned(), |inner, level| {
                // The innermost boundary is the highest number but one: `0` is reused at the top.
                let outer = depth - level;
                format!("--{outer}\r\nContent-Type: multipart/mixed; boundary={}\r\n\r\n{inner}\r\n--{outer}--", outer - 1)
            })
        };
        let parse = |depth: usize| multipart(&(depth - 1).to_string(), nested(depth));
        assert_eq!(contents(&parse(MAX_DEPTH).unwrap()), ["x"]);
        assert_eq!(parse(MAX_DEPTH + 1).unwrap_err(), MimeError::NestedTooDeep);

        let with_header =
            |bytes: usize| format!("--b\r\nA: {}\r\n\r\nx\r\n--b--", "a".repeat(bytes - 5));
        assert!(multipart("b", with_header(MAX_PART_HEADER_BYTES)).is_ok());
        let too_large = multipart("b", with_header(MAX_PART_HEADER_BYTES + 1));
        assert_eq!(too_large.unwrap_err(), MimeError::PartHeaderTooLarge);
    }
}
