//! MIME wire formats (RFC 2045, 2046, 2183, 5621): content types and multipart bodies.
//!
//! [`Entity`] is the tree of body parts of one SIP message. Every part is a slice of the received
//! body: parsing copies nothing, and [`Entity::with_leaf`] keeps each byte that need not change.
//! The meaning of a part is determined above this floor.

mod content_type;
mod disposition;
mod entity;
mod error;
mod parameters;
mod rebuild;
mod transfer_encoding;

pub use content_type::{ContentType, MAX_BOUNDARY_BYTES};
pub use disposition::ContentDisposition;
pub use entity::{Entity, EntityFields, Leaf, LeafId, MAX_DEPTH, MAX_PART_HEADER_BYTES, MAX_PARTS};
pub use error::MimeError;
pub use parameters::MAX_PARAMETERS;
pub use rebuild::{HeaderField, NewPart, Rebuilt};
pub use transfer_encoding::TransferEncoding;
