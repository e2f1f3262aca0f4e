//! What the session machines of large message mode and the MSRP relay say to each other: neither
//! knows more of the other than stands here.
//!
//! | file | job |
//! |---|---|
//! | `names` | names of sessions, legs and ends |
//! | `command` | what a session machine wants of the relay |
//! | `event` | what the relay reports of a session |

mod command;
mod event;
mod names;

pub use command::{MsrpEnds, RelayCommand};
pub use event::MsrpEvent;
pub use names::{LegNumber, SESSION_ID_BYTES, SessionId, Side};
