//! The Controlling Function (OMA CPM 9.1): handling of requests that are addressed to it.
//!
//! A request passes three calls, each of which leaves its answer in [`Request::reply`]:
//!
//! ```text
//! ControllingFunction::classify ──► Request ──poll_check──► accepted ──fan_out──► 202
//!        │ None: not ours                       │ refused: 4xx + Warning
//! ```
//!
//! The proxy is reached through [`Host`] only; nothing here reads a clock or a socket. A check that
//! needs external input (the operator's script) asks for it and gets it in a later call, so that
//! none of our calls is on the stack while a routing script runs.
//!
//! | file | job |
//! |---|---|
//! | `received` | a request as the proxy received it, its kind and mode |
//! | `service` | the service: settings, addresses, data shared by its processes |
//! | `classify` | which requests are for the Controlling Function |
//! | `request` | one request, from classification to its reply |
//! | `request_identity` | when two requests are the same |
//! | `ids`, `dialog_names` | our Call-IDs and tags; those of dialogs |
//! | `header_fields`, `body`, `hops` | reading and writing header and body |
//! | `charging` | the charging identity, and what copies carry on of it |
//! | `originator`, `recipients` | the sender and its authentication; the distinct recipients |
//! | `group_lookup` | looks up the pre-defined group of a request |
//! | `group_session_identity` | the address of an ad-hoc group towards its recipients |
//! | `large_mode_settings` | settings of large message mode, and fixed times |
//! | `checks` | the checks of the specification, in its order |
//! | `verdict`, `script_settings` | answers of the operator's script about a request |
//! | `refusal` | refusals and the replies that carry them |
//! | `sending` | sending an accepted request, in either mode |
//! | `pager_mode` | the outgoing MESSAGE requests, how they end, and the ISF (9.1.1, 6.5) |
//! | `express` | the express lane: transactions of our own for the copies of pager mode |
//! | `kept_invite` | a large message in the store |
//! | `large_message_mode` | sessions: INVITE and MSRP (9.1.2) |
//! | `attempt`, `again` | identifies an outgoing request; repeats it for another address |
//! | `arriving` | recipients that a message waits for, and their arrival |
//! | `disposition` | disposition notifications: those received, and our own |
//! | `unparsed` | requests that the proxy's own parser rejects |
//! | `host` | functions needed of the proxy |

mod about;
mod again;
mod arriving;
mod attempt;
mod body;
mod charging;
mod checks;
mod classify;
mod dialog_names;
mod disposition;
pub mod express;
mod group_lookup;
mod group_session_identity;
mod handed_over;
mod header_fields;
mod hops;
mod host;
mod ids;
mod kept_invite;
pub mod large_message_mode;
mod large_mode_settings;
mod originator;
mod pager_mode;
mod received;
mod recipients;
mod refusal;
mod request;
mod request_identity;
mod script_settings;
mod sending;
mod service;
mod unparsed;
mod verdict;

pub use crate::log::LogAt;
pub use crate::random::fill_random;
pub use crate::shared::{MAX_SENDER_URI_BYTES, MessageTable, Noted, SenderNote, SenderTable};
pub use about::LegCorrelation;
pub use again::Again;
pub use checks::Check;
pub use disposition::{Forwarded, Forwarding, Inquiry, NamelessReceipt};
pub use group_lookup::GroupFinder;
pub use host::{AboutRequest, Counter, Fate, Host, Journal, Outcome, OutgoingRequest, Sent};
pub use ids::{Ids, copy_of_call_id};
pub use kept_invite::{KeptInvite, LARGE_RECORD_VERSION};
pub use pager_mode::{FanOutJob, Progress, RECORD_VERSION};
pub use received::{Kind, Mode, Received};
pub use recipients::Recipients;
pub use refusal::{RETRY_AFTER_S, Reply};
pub use request::{Correlation, GroupLookup, MAX_LOGGED_CALL_ID_BYTES, Request};
pub use script_settings::{ScriptSetting, ScriptSettingError};
pub use sending::FanOut;
pub use service::ControllingFunction;
pub use unparsed::Unparsed;
