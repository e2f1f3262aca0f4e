//! All large message sessions of the proxy, between the proxy and the relay. Without IO: time and
//! events come in as arguments, and what the relay has to do comes out by
//! [`Sessions::poll_command`].
//!
//! One process has them all, and one thread of it the proxy. Workers pass on what concerns a
//! session; [`Sessions`] finds the machine that it is for
//! ([`Session`](crate::controlling::large_message_mode::Session)), and does what the machine wants
//! done: through [`SessionHost`] by the proxy's transaction layer, through [`RelayOrder`]s by the
//! relay.
//!
//! ```text
//!  workers --INVITE, ACK, BYE, replies...--> Sessions --handle_*--> Session
//!  relay   --connected, complete, ended----> Sessions <--Action---- Session
//!                                               |  |
//!                    SessionHost (tm) <---------+  +---> RelayOrder
//! ```
//!
//! | file | job |
//! |---|---|
//! | `host` | what it needs of the proxy |
//! | `dispatch` | which session an event is for |
//! | `schedule` | when which session is worked for |
//! | `carry_out` | doing what they want done |
//! | `entry` | one session, with the bookkeeping for it |
//! | `lately_ended` | those that have ended a short while ago |
//! | `report` | what an operator is told of sessions |

mod carry_out;
mod dispatch;
mod entry;
mod host;
mod lately_ended;
mod report;
mod schedule;
#[cfg(test)]
mod tests;

pub use dispatch::{RelayOrder, Sessions};
pub use host::{Invited, SessionHost};
pub use report::{Question, RelayView};
pub use schedule::Wake;
