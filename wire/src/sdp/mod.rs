//! SDP (RFC 4566, 8866), as far as needed for offers and answers of MSRP.
//!
//! [`SessionDescription`] reads the frame, [`MsrpMedia`] its MSRP media line (RFC 4975 §8,
//! file-selector of RFC 5547, setup of RFC 6135, msrp-cema of RFC 6714, fingerprint of RFC 8122),
//! and checks whether an answer accepts the message of an offer. [`offer_for_leg`] and
//! [`answer_for_originator`] build the descriptions of OMA CPM 9.1.2: a new frame with our own
//! addresses, and from the peer everything except transport. [`message_offer`] and
//! [`message_answer`] are those of a client, for its own message (OMA CPM 7.2.1.2). No other media,
//! no ICE, no preconditions, no capability negotiation.

mod build;
mod end_to_end;
mod error;
mod msrp_media;
mod session_description;
mod taking;

pub use build::{OwnMedia, answer_for_originator, offer_for_leg};
pub use end_to_end::{AcceptedContent, message_answer, message_offer};
pub use error::SdpError;
pub use msrp_media::{
    ConnectionTarget, Direction, FileSelector, Fingerprint, MAX_FINGERPRINT_BYTES, MsrpMedia, Role,
    Setup, Transport,
};
pub use session_description::{
    Attribute, MAX_ATTRIBUTES, MAX_MEDIA, MAX_SDP_BYTES, Media, SessionDescription,
};
pub use taking::{NotTaken, accepts_type};
