//! The core's own processes, and the work of every process of the proxy for the Controlling
//! Function.
//!
//! SIP workers pass received requests to [`ReceivedRequest`], which determines the order: classify,
//! check, look up the group, fan out, reply once. Work that takes a worker too long continues in a
//! process that has nothing else to do. Each of these is a [`Mailbox`]: entries posted by others,
//! and portions of work.
//!
//! ```text
//!  SIP worker --handle--> ReceivedRequest --Sender--> the proxy's transactions
//!                 |  Letter                   ^
//!                 +---------> Mailbox --------+    CPM fan-out, CPM groups, CPM sessions
//! ```
//!
//! The proxy is reached through [`Proxy`] only, which is as thin as the contract in `c_api/cpm.h`.
//!
//! | file | job |
//! |---|---|
//! | `proxy` | functions needed of the proxy |
//! | `outgoing` | an outgoing request in the proxy's form; its text |
//! | `way` | its destination |
//! | `limits` | numbers that only the proxy can apply |
//! | `sender` | sending it: memory, next hop, the operator's script, transaction |
//! | `express`, `heard` | copies sent without the proxy's transactions; their ends |
//! | `transaction` | the transaction of a received request |
//! | `received` | a received request, from the worker that receives it to its one reply |
//! | `session_traffic` | received requests that belong to a large message session |
//! | `forwarding` | forwarding of disposition notifications |
//! | `outcome` | ends of outgoing requests |
//! | `letter`, `codec` | messages between processes |
//! | `tell` | messages to CPM sessions and CPM fan-out |
//! | `process`, `mailbox` | the list of processes; one process |
//! | `fan_out` | CPM fan-out: long fan-outs |
//! | `keeping`, `kept_host` | messages that are kept on disk; their copies |
//! | `kept_large` | large messages that are kept |
//! | `resuming` | kept messages that are sent once more |
//! | `asking` | an operator's questions about kept messages |
//! | `location` | where the store is |
//! | `sharing`, `told_senders` | what nodes share that share a store |
//! | `inquiring` | notifications about messages of other nodes |
//! | `waiting`, `late`, `lookup` | requests that wait for names |
//! | `groups` | CPM groups |
//! | `large` | CPM sessions |
//! | `query` | an operator's questions |
//! | `assembly` | assembles the service |

mod asking;
mod assembly;
mod codec;
mod current;
mod express;
mod fan_out;
mod forwarding;
mod groups;
mod heard;
mod inquiring;
mod keeping;
mod kept_host;
mod kept_large;
mod large;
mod late;
mod letter;
pub mod limits;
mod location;
mod lookup;
mod mailbox;
mod messages;
mod outcome;
mod outgoing;
mod process;
mod proxy;
mod query;
mod received;
mod reloading;
mod resuming;
mod sender;
mod session_traffic;
mod sharing;
mod tell;
#[cfg(test)]
mod tests;
mod told_senders;
mod transaction;
mod waiting;
mod way;

pub use assembly::{Service, StartError, monotonic_ms, monotonic_us};
pub use forwarding::{forward_notification, refuse_unparsed};
pub use heard::Hearing;
pub use mailbox::Mailbox;
pub use outcome::Ended;
pub use outgoing::{Changed, Outgoing, Token};
pub use process::{Plan, Process};
pub use proxy::{Answer, Memory, Opened, Proxy, Routed, Transmitted, Way};
pub use query::{QueryResult, Visitor};
pub use received::{ReceivedRequest, Script};
pub use session_traffic::handle_session_traffic;
pub use tell::responded;
