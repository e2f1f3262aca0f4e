//! Messages between the session machines of large message mode and the MSRP relay: neither knows
//! more of the other than this.
//!
//! | file | job |
//! |---|---|
//! | `stored` | content in the store |
//! | `names` | names of sessions, legs and ends |
//! | `command` | commands of a session machine for the relay |
//! | `event` | events that the relay reports |

mod command;
mod event;
mod names;
mod stored;

pub use command::{MsrpEnds, RelayCommand, RelayOrder};
pub use event::MsrpEvent;
pub use names::{LegNumber, SESSION_ID_BYTES, SessionId, Side};
pub use stored::StoredContent;
