//! SIP wire formats: parse and write, nothing else (RFC 3261, RFC 3966 and the extensions that
//! CPM names).
//!
//! Everything here borrows from the received bytes. Parsers take text that is already one header
//! field value or one URI;  What the network sends can
//! only produce an error value, and every size that a peer chooses has a named limit.

mod grammar;
#[cfg(test)]
mod test_random;
mod uri;

pub use uri::{
    MAX_URI_BYTES, MAX_URI_HEADERS, MAX_URI_PARAMETERS, OtherUri, SipUri, TelUri, Uri, UriError,
};
