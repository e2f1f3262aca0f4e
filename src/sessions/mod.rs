//! The module process: all large message sessions of the proxy, between the proxy and the relay.
//!
//! One process has them all, and one thread of it the proxy. Workers pass on what concerns a session; [`Sessions`] finds the
//! machine that it is for ([`Session`](crate::controlling::large_message_mode::Session)), and does what the machine wants done:
//! through [`SessionHost`] by the proxy's transaction layer, through [`Relay`](crate::relay::Relay) by the relay.
//!
//! ```text
//!  workers --INVITE, ACK, BYE, replies...--> Sessions --handle_*--> Session
//!  relay   --connected, complete, ended----> Sessions <--Action---- Session
//!                                               |  |
//!                    SessionHost (tm) <---------+  +---> Relay::command
//! ```
//!
//! | file | job |
//! |---|---|
//! | `host` | what it needs of the proxy |
//! | `sessions` | which session an event is for, and doing what it wants |
//! | `entry` | one session, with what the proxy and the operator have to know of it |
//! | `report` | what an operator is told of sessions |

mod entry;
mod host;
mod lately_ended;
mod report;
mod sessions;

pub use host::{Invited, SessionEvent, SessionHost};
pub use report::Question;
pub use sessions::{Sessions, Wake};
