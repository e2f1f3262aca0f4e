use std::fmt;

use bytes::Bytes;

use super::{ByteRange, Path, Status, TransactionId};

/// Maximum number of header fields in one head. RFC 4975 and 4976 define 18; the rest is for
/// extensions.
pub const MAX_FIELDS: usize = 64;

/// Maximum length of a Message-ID. RFC 4975 §9 allows 32 characters; longer ones occur and are
/// harmless.
pub const MAX_MESSAGE_ID_BYTES: usize = 128;

/// The method of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// SEND (RFC 4975 §7.1).
    Send,
    /// REPORT (RFC 4975 §7.1.2); never answered.
    Report,
    /// AUTH (RFC 4976 §5.1).
    Auth,
    /// Any other; answered with 501.
    Unknown,
}

/// What a head starts: a request or a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A request.
    Request(Method),
    /// A response.
    Response(Status),
}

/// Which responses the sender of a request wants (RFC 4975 §7.1, Failure-Report).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FailureReport {
    /// All of them. Also the default if the field is absent.
    #[default]
    Yes,
    /// Only those that report a failure.
    Partial,
    /// None.
    No,
}

/// The last character of an end-line (RFC 4975 §7.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContinuationFlag {
    /// `$`: the message ends here.
    Complete,
    /// `+`: more of the message follows in another chunk.
    More,
    /// `#`: the message is abandoned.
    Aborted,
}

impl ContinuationFlag {
    /// The flag of its character.
    pub fn parse(byte: u8) -> Option<Self> {
        match byte {
            b'$' => Some(Self::Complete),
            b'+' => Some(Self::More),
            b'#' => Some(Self::Aborted),
            _ => None,
        }
    }

    /// The character.
    pub fn as_byte(self) -> u8 {
        match self {
            Self::Complete => b'$',
            Self::More => b'+',
            Self::Aborted => b'#',
        }
    }
}

/// The Status field of a REPORT (RFC 4975 §7.1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatusField {
    /// Namespace of the code; 0 is that of RFC 4975.
    pub namespace: u16,
    /// The code.
    pub status: Status,
}

/// A header field that this module does not interpret, as received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// The name, compared without case.
    pub name: Bytes,
    /// The value without the space before and after it.
    pub value: Bytes,
}

/// Start line and header fields of a request or response. All text is slices of the read buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Ties response to request and end-line to head.
    pub transaction_id: TransactionId,
    /// Method or status.
    pub kind: Kind,
    /// To-Path: its destination, the next hop first.
    pub to_path: Path,
    /// From-Path: its origin, the last hop first.
    pub from_path: Path,
    /// Message-ID; present in each SEND and REPORT.
    pub message_id: Option<Bytes>,
    /// Byte-Range.
    pub byte_range: Option<ByteRange>,
    /// Whether Success-Report is `yes`.
    pub success_report: bool,
    /// Failure-Report.
    pub failure_report: FailureReport,
    /// Status; present in each REPORT.
    pub status: Option<StatusField>,
    /// Content-Type; present if and only if content follows.
    pub content_type: Option<Bytes>,
    /// All other fields in order.
    pub others: Vec<Field>,
}

impl Head {
    /// Whether content follows the head, possibly of no bytes.
    pub fn has_content(&self) -> bool {
        self.content_type.is_some()
    }
}

/// Why a head cannot be used. It concerns only this request or response: its end is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadError {
    /// A line without colon, a name that violates the grammar, or a control character in a value.
    MalformedField,
    /// A field that may occur once occurs twice.
    RepeatedField,
    /// To-Path is missing or malformed.
    ToPath,
    /// From-Path is missing or malformed.
    FromPath,
    /// Message-ID is missing in a SEND or REPORT, malformed, or exceeds [`MAX_MESSAGE_ID_BYTES`].
    MessageId,
    /// Byte-Range is malformed.
    ByteRange,
    /// Success-Report is neither `yes` nor `no`.
    SuccessReport,
    /// Failure-Report is none of `yes`, `partial` and `no`.
    FailureReport,
    /// Status is malformed, or missing in a REPORT.
    Status,
    /// Content follows but its Content-Type is missing, or empty.
    ContentType,
}

impl fmt::Display for HeadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MalformedField => "Malformed Header Field",
            Self::RepeatedField => "Repeated Header Field",
            Self::ToPath => "To-Path Missing Or Malformed",
            Self::FromPath => "From-Path Missing Or Malformed",
            Self::MessageId => "Message-ID Missing Or Malformed",
            Self::ByteRange => "Malformed Byte-Range",
            Self::SuccessReport => "Malformed Success-Report",
            Self::FailureReport => "Malformed Failure-Report",
            Self::Status => "Status Missing Or Malformed",
            Self::ContentType => "Content-Type Missing",
        })
    }
}

impl std::error::Error for HeadError {}

/// The header fields of one head, before required ones are checked.
#[derive(Default)]
pub(super) struct Fields {
    pub(super) to_path: Option<Path>,
    pub(super) from_path: Option<Path>,
    message_id: Option<Bytes>,
    byte_range: Option<ByteRange>,
    success_report: Option<bool>,
    failure_report: Option<FailureReport>,
    status: Option<StatusField>,
    content_type: Option<Bytes>,
    others: Vec<Field>,
}

impl Fields {
    /// Parses one line of `block` without its CRLF. After an error further lines may still be
    /// parsed.
    pub(super) fn parse_line(&mut self, block: &Bytes, line: &[u8]) -> Result<(), HeadError> {
        let colon = line
            .iter()
            .position(|&b| b == b':')
            .ok_or(HeadError::MalformedField)?;
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        let token = |b: &u8| {
            b.is_ascii_alphanumeric()
                || matches!(
                    b,
                    b'-' | b'.' | b'!' | b'%' | b'*' | b'_' | b'+' | b'`' | b'\'' | b'~'
                )
        };
        if !name.first().is_some_and(u8::is_ascii_alphabetic)
            || !name.iter().all(token)
            || value.iter().any(|&b| b != b'\t' && b.is_ascii_control())
        {
            return Err(HeadError::MalformedField);
        }
        let value = block.slice_ref(value);
        let is = |known: &[u8]| name.eq_ignore_ascii_case(known);
        if is(b"To-Path") {
            set(
                &mut self.to_path,
                Path::parse(&value).map_err(|_| HeadError::ToPath),
            )
        } else if is(b"From-Path") {
            set(
                &mut self.from_path,
                Path::parse(&value).map_err(|_| HeadError::FromPath),
            )
        } else if is(b"Message-ID") {
            set(&mut self.message_id, parse_message_id(value))
        } else if is(b"Byte-Range") {
            let range = ByteRange::parse(&value).map_err(|_| HeadError::ByteRange);
            set(&mut self.byte_range, range)
        } else if is(b"Success-Report") {
            set(&mut self.success_report, parse_success_report(&value))
        } else if is(b"Failure-Report") {
            set(&mut self.failure_report, parse_failure_report(&value))
        } else if is(b"Status") {
            set(&mut self.status, parse_status_field(&value))
        } else if is(b"Content-Type") {
            let present = if value.is_empty() {
                Err(HeadError::ContentType)
            } else {
                Ok(value)
            };
            set(&mut self.content_type, present)
        } else {
            let name = block.slice_ref(name);
            self.others.push(Field { name, value });
            Ok(())
        }
    }

    /// Builds the head if all fields required for its kind are present.
    pub(super) fn into_head(
        self,
        transaction_id: TransactionId,
        kind: Kind,
        content_follows: bool,
    ) -> Result<Head, HeadError> {
        let needs_message_id = matches!(
            kind,
            Kind::Request(Method::Send) | Kind::Request(Method::Report)
        );
        if needs_message_id && self.message_id.is_none() {
            return Err(HeadError::MessageId);
        }
        if kind == Kind::Request(Method::Report) && self.status.is_none() {
            return Err(HeadError::Status);
        }
        if content_follows && self.content_type.is_none() {
            return Err(HeadError::ContentType);
        }
        Ok(Head {
            transaction_id,
            kind,
            to_path: self.to_path.ok_or(HeadError::ToPath)?,
            from_path: self.from_path.ok_or(HeadError::FromPath)?,
            message_id: self.message_id,
            byte_range: self.byte_range,
            success_report: self.success_report.unwrap_or(false),
            failure_report: self.failure_report.unwrap_or_default(),
            status: self.status,
            // An empty SEND has no content, even if it names a type.
            content_type: self.content_type.filter(|_| content_follows),
            others: self.others,
        })
    }
}

fn set<T>(slot: &mut Option<T>, value: Result<T, HeadError>) -> Result<(), HeadError> {
    if slot.is_some() {
        return Err(HeadError::RepeatedField);
    }
    *slot = Some(value?);
    Ok(())
}

fn parse_message_id(value: Bytes) -> Result<Bytes, HeadError> {
    let sized = (1..=MAX_MESSAGE_ID_BYTES).contains(&value.len());
    if sized && value.iter().all(u8::is_ascii_graphic) {
        Ok(value)
    } else {
        Err(HeadError::MessageId)
    }
}

fn parse_success_report(value: &[u8]) -> Result<bool, HeadError> {
    match value {
        v if v.eq_ignore_ascii_case(b"yes") => Ok(true),
        v if v.eq_ignore_ascii_case(b"no") => Ok(false),
        _ => Err(HeadError::SuccessReport),
    }
}

fn parse_failure_report(value: &[u8]) -> Result<FailureReport, HeadError> {
    match value {
        v if v.eq_ignore_ascii_case(b"yes") => Ok(FailureReport::Yes),
        v if v.eq_ignore_ascii_case(b"partial") => Ok(FailureReport::Partial),
        v if v.eq_ignore_ascii_case(b"no") => Ok(FailureReport::No),
        _ => Err(HeadError::FailureReport),
    }
}

fn parse_status_field(value: &[u8]) -> Result<StatusField, HeadError> {
    let (codes, comment) = value.split_at(value.len().min(7));
    let codes = codes.split_at_checked(3).ok_or(HeadError::Status)?;
    let namespace = Status::parse(codes.0).ok_or(HeadError::Status)?.code();
    let status = codes
        .1
        .strip_prefix(b" ")
        .and_then(Status::parse)
        .ok_or(HeadError::Status)?;
    match comment {
        [] | [b' ', ..] => Ok(StatusField { namespace, status }),
        _ => Err(HeadError::Status),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Result<Fields, HeadError> {
        let mut fields = Fields::default();
        let line = Bytes::copy_from_slice(text.as_bytes());
        fields.parse_line(&line, &line).map(|()| fields)
    }

    #[test]
    fn values() {
        assert_eq!(
            line("Success-Report: yes").unwrap().success_report,
            Some(true)
        );
        assert_eq!(
            line("success-report:No").unwrap().success_report,
            Some(false)
        );
        assert_eq!(
            line("Failure-Report: partial").unwrap().failure_report,
            Some(FailureReport::Partial)
        );
        assert_eq!(
            line("Message-ID:  87652491 ").unwrap().message_id.unwrap(),
            "87652491"
        );
        let status = line("Status: 000 200 OK").unwrap().status.unwrap();
        assert_eq!(
            status,
            StatusField {
                namespace: 0,
                status: Status::OK
            }
        );
        assert_eq!(
            line("Status: 000 413").unwrap().status.unwrap().status,
            Status::STOP_SENDING
        );
        let others = line("Content-Disposition: inline; x=\"ü\"").unwrap().others;
        assert_eq!(
            (&others[0].name[..], &others[0].value[..]),
            (&b"Content-Disposition"[..], "inline; x=\"ü\"".as_bytes())
        );
    }

    #[test]
    fn malformed() {
        use HeadError::*;
        for (text, error) in [
            ("To-Path", MalformedField),
            (": x", MalformedField),
            ("-A: x", MalformedField),
            ("A B: x", MalformedField),
            ("A: x\0", MalformedField),
            ("A: x\ry", MalformedField),
            ("To-Path: sip:x", ToPath),
            ("From-Path:", FromPath),
            ("Message-ID: a b", MessageId),
            ("Message-ID:", MessageId),
            ("Byte-Range: 1-2", ByteRange),
            ("Success-Report: maybe", SuccessReport),
            ("Failure-Report: ", FailureReport),
            ("Status: 200 OK", Status),
            ("Status: 000 200OK", Status),
            ("Status: 0", Status),
            ("Content-Type:", ContentType),
        ] {
            assert_eq!(line(text).err(), Some(error), "{text}");
        }
        let mut twice = line("Message-ID: 1234").unwrap();
        let again = Bytes::from("message-id: 1234");
        assert_eq!(twice.parse_line(&again, &again), Err(RepeatedField));
        let long = |n| line(&format!("Message-ID: {}", "m".repeat(n))).is_ok();
        assert!(long(MAX_MESSAGE_ID_BYTES) && !long(MAX_MESSAGE_ID_BYTES + 1));
    }
}
