//! SIP wire formats: parse and write, nothing else (RFC 3261, RFC 3966 and the extensions that
//! CPM names).
//! Everything here borrows from the received bytes. Parsers take text that is already one header
//! field value or one URI; [`Message`] finds those in a whole message. Network input can only lead
//! to an error value, and every size that a peer controls has a named limit.

mod address_fields;
mod feature_tag;
mod grammar;
mod header;
mod list;
mod message;
mod name_addr;
pub mod option_tag;
mod privacy;
mod single;
mod status;
mod transport;
mod uri;
mod user_agent;
mod write;

pub use address_fields::{MAX_ROUTE_SET_BYTES, MAX_ROUTES, RouteSetError};
pub use feature_tag::carries_icsi;
pub use header::HeaderName;
pub use list::{ListItems, Parameter, ParameterError, Parameters, split_list};
pub use message::{
    FieldLine, MAX_HEAD_BYTES, MAX_HEADER_FIELDS, Message, MessageError, NotTextError,
};
pub use name_addr::{NameAddr, NameAddrError};
pub use privacy::requests_anonymity;
pub use status::{InvalidStatusCode, StatusCode};
pub use transport::Transport;
pub use uri::{
    ComparisonKeys, MAX_URI_BYTES, MAX_URI_HEADERS, MAX_URI_PARAMETERS, OtherUri, PlainUri, SipUri,
    TelUri, Uri, UriError, behind_userinfo, hostport,
};
pub use user_agent::{Product, Products, products};
pub use write::{HeaderBlock, InjectionError, warning_value};
