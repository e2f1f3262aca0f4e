//! The Controlling Function (OMA CPM 9.1): what becomes of a request that is addressed to it.
//!
//! A request passes three calls, and each leaves its answer in [`Request::reply`]:
//!
//! ```text
//! ControllingFunction::classify ──► Request ──poll_check──► accepted ──fan_out──► 202
//!        │ None: not ours                       │ refused: 4xx + Warning
//! ```
//!
//! The proxy is reached through [`Host`] only; nothing here reads a clock or a socket. What a check
//! needs from outside (the operator's own veto) is asked for and handed in, so that no call of ours
//! is on the stack while a routing script runs.
//!
//! | file | job |
//! |---|---|
//! | `service` | which requests are ours |
//! | `request` | one request, from classification to its reply |
//! | `request_identity` | what makes two requests the same |
//! | `ids` | the Call-IDs and tags that we make |
//! | `header_fields` | reading and writing header fields |
//! | `checks` | the checks of the specification, in its order |
//! | `refusal` | refusals and the replies that carry them |
//! | `group_lookup` | the pre-defined group that a request is for |
//! | `originator` | who sent it, and who says so |
//! | `recipients` | distinct recipients of a resource list |
//! | `pager_mode` | the outgoing MESSAGE requests, how they end, and the ISF (9.1.1, 6.5) |
//! | `large_message_mode` | sessions: INVITE and MSRP (9.1.2) |
//! | `again` | an outgoing request once more, for another address |
//! | `disposition` | disposition notifications: those that come back, and our own |
//! | `shares` | what each sender, source and destination may have under way |
//! | `unparsed` | requests that the proxy's own parser refuses |

mod again;
mod checks;
mod disposition;
mod group_lookup;
mod header_fields;
mod host;
mod ids;
pub mod large_message_mode;
mod originator;
mod pager_mode;
mod recipients;
mod refusal;
mod request;
mod request_identity;
mod service;
mod shares;
mod unparsed;

pub use crate::log::LogLevel;
pub use crate::random::fill_random;
pub use crate::shared::{MAX_SENDER_URI_BYTES, Noted, SenderNote, SenderTable};
pub use again::Again;
pub use disposition::{Forwarding, NamelessReceipt, Notification};
pub use group_lookup::GroupFinder;
pub use host::{AboutRequest, Counter, Fate, Host, Outcome, OutgoingRequest, Sent};
pub use ids::Ids;
pub use pager_mode::{FanOutJob, Progress, RETRY_AFTER_S};
pub use recipients::Recipients;
pub use refusal::Reply;
pub use request::{Check, FanOut, GroupLookup, OriginatorError, Request};
pub use service::{ControllingFunction, Kind, Mode, Received};
pub use unparsed::Unparsed;
