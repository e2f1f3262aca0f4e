//! All large message sessions of the proxy, between the proxy and the relay. Without IO: time and
//! events are arguments, and [`Sessions::poll_command`] returns the tasks of the relay.
//!
//! One process has all sessions, and one of its threads calls the proxy. Workers pass on requests
//! and responses of sessions; [`Sessions`] finds the state machine concerned
//! ([`Session`](crate::controlling::large_message_mode::Session)), and carries out its actions: in
//! the proxy's transaction layer through [`SessionHost`], in the relay through
//! [`RelayOrder`](crate::msrp_control::RelayOrder)s.
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
//! | `host` | functions needed of the proxy |
//! | `dispatch` | finds the session of an event |
//! | `schedule` | order and time of the sessions' work |
//! | `carry_out` | carries out their actions |
//! | `keeping`, `stored` | messages in the store |
//! | `entry` | one session, with the process's bookkeeping |
//! | `lately_ended` | recently ended sessions |
//! | `report` | answers about sessions for an operator |

mod carry_out;
mod dispatch;
mod entry;
mod host;
mod keeping;
mod lately_ended;
mod report;
mod schedule;
mod stored;
#[cfg(test)]
mod tests;

pub use dispatch::Sessions;
pub use host::{Invited, SessionHost};
pub use report::{Question, RelayView};
pub use schedule::Wake;
