//! MSRP wire format (RFC 4975, and RFC 4976 where a path has several URIs): parse and write.
//!
//! [`Parser`] turns the bytes of one connection into [`Event`]s without copying content: each piece
//! is a slice of the read buffer, passed on before the end-line of its chunk has been seen.
//! `write_*` write heads and end-lines; the caller places content between them. The meaning of a
//! request is determined above this floor. Authentication (AUTH of RFC 4976) is not supported.

mod byte_range;
mod header;
mod parse;
mod path;
mod status;
mod transaction_id;
mod uri;
mod write;

pub use byte_range::{ByteRange, MalformedByteRange};
pub use header::{
    ContinuationFlag, FailureReport, Field, Head, HeadError, Kind, MAX_FIELDS,
    MAX_MESSAGE_ID_BYTES, Method, StatusField,
};
pub use parse::{Event, MAX_HEAD_BYTES, Malformed, ParseError, Parser};
pub use path::{MAX_PATH_URIS, MalformedPath, Path};
pub use status::Status;
pub use transaction_id::{
    MAX_TRANSACTION_ID_BYTES, MIN_TRANSACTION_ID_BYTES, TransactionId, TransactionIds,
};
pub use uri::{Authority, MAX_URI_BYTES, MalformedUri, MsrpUri};
pub use write::{
    ContentFields, SendHead, write_bad_request, write_end_line, write_report, write_response,
    write_send,
};
