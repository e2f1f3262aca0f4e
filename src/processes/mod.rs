//! The processes of the core's own, and what every process of the proxy does for the Controlling
//! Function.
//!
//! SIP workers give received requests to [`ReceivedRequest`], which has the order of things:
//! classify, check, look the group up, fan out, reply once. Whatever takes too long for a worker
//! goes on in a process that has nothing else to do. All of these are a [`Mailbox`]: what others
//! post to it, and a portion of work whenever it is wanted.
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
//! | `proxy` | what the core needs of the proxy |
//! | `outgoing` | an outgoing request as the proxy takes it; its text |
//! | `way` | where it goes |
//! | `sender` | sending it: room, next hop, the operator's script, transaction |
//! | `express`, `heard` | copies that leave past the proxy's transactions; how they end |
//! | `transaction` | that of a received request |
//! | `received` | a received request, from the worker that gets it to its one reply |
//! | `session_traffic` | received requests that belong to a large message session |
//! | `forwarding` | disposition notifications that go on |
//! | `outcome` | how an outgoing request ended |
//! | `letter`, `codec` | what goes from process to process |
//! | `tell` | what CPM sessions and CPM fan-out are told |
//! | `process`, `mailbox` | which processes there are; one of them |
//! | `fan_out` | CPM fan-out: long fan-outs |
//! | `keeping` | messages that are kept on disk |
//! | `waiting`, `late`, `lookup` | requests that wait for names |
//! | `groups` | CPM groups |
//! | `large` | CPM sessions |
//! | `query` | what an operator asks |
//! | `assembly` | the service, put together |

mod assembly;
mod codec;
mod current;
mod express;
mod fan_out;
mod forwarding;
mod groups;
mod heard;
mod keeping;
mod large;
mod late;
mod letter;
mod lookup;
mod mailbox;
mod outcome;
mod outgoing;
mod process;
mod proxy;
mod query;
mod received;
mod sender;
mod session_traffic;
mod tell;
#[cfg(test)]
mod tests;
mod transaction;
mod waiting;
mod way;

pub use assembly::{Service, StartError};
pub use forwarding::{forward_notification, refuse_unparsed};
pub use heard::heard;
pub use mailbox::Mailbox;
pub use outcome::Ended;
pub use outgoing::{Changed, Outgoing, Token};
pub use process::{Plan, Process};
pub use proxy::{Answer, Memory, Opened, Proxy, Routed, Transmitted, Way};
pub use query::{QueryResult, Visitor};
pub use received::{ReceivedRequest, Script};
pub use session_traffic::handle_session_traffic;
pub use tell::responded;
