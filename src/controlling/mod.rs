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
//! | `check_group` | those that only pre-defined groups have |
//! | `check` | the checks of the specification, in its order |
//! | `refusal` | refusals and the replies that carry them |
//! | `group_finder` | the pre-defined group that a request is for |
//! | `originator` | who sent it, and who says so |
//! | `recipients` | distinct recipients of a resource list |
//! | `pager_mode` | the outgoing MESSAGE requests (9.1.1 item 6) |
//! | `fan_out` | sending it to one recipient after another, here or in another process |
//! | `again` | an outgoing request once more, for another address |
//! | `disposition` | notifications that come back: never fanned out, forwarded to the sender |
//! | `failure_notification` | the one that tells a sender that all his recipients have failed |
//! | `nameless_receipt` | those of a group's members, without what names the member |
//! | `own_notification` | sending one in a service's own name |
//! | `senders` | who has sent which message |
//! | `shares` | what each sender, source and destination may have under way |
//! | `sent_on` | what a list or a group has sent on comes back |
//! | `unparsed` | requests that the proxy's own parser refuses |
//! | `random` | unguessable bytes |
//! | `large_message_mode` | sessions: INVITE and MSRP (9.1.2) |
//! | `interworking` | how outgoing requests end, and the ISF (6.5) |

mod again;
mod check;
mod check_group;
mod disposition;
mod failure_notification;
mod fan_out;
mod group_finder;
mod header_fields;
mod host;
mod ids;
mod interworking;
pub mod large_message_mode;
mod nameless_receipt;
mod originator;
mod own_notification;
mod pager_mode;
mod random;
mod recipients;
mod refusal;
mod request;
mod request_identity;
mod senders;
mod sent_on;
mod service;
mod shares;
mod unparsed;

pub use again::Again;
pub use disposition::{Forwarding, Notification};
pub use fan_out::{FanOutJob, Progress, RETRY_AFTER_S};
pub use group_finder::GroupFinder;
pub use host::{AboutRequest, Counter, Fate, Host, LogLevel, Outcome, OutgoingRequest, Sent};
pub use ids::Ids;
pub use nameless_receipt::NamelessReceipt;
pub use random::fill_random;
pub use recipients::Recipients;
pub use refusal::Reply;
pub use request::{Check, FanOut, GroupLookup, OriginatorError, Request};
pub use senders::{MAX_SENDER_URI_BYTES, Noted, SenderNote, SenderTable};
pub use service::{ControllingFunction, Kind, Mode, Received};
pub use unparsed::Unparsed;
