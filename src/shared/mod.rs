//! Memory that all processes of the proxy share: bounded, and without a lock that a process which
//! is killed could leave behind for good.
//!
//! | file | job |
//! |---|---|
//! | `cells` | room of one size, to be taken and given back, with locks |
//! | `ends` | how copies of kept messages have ended |
//! | `outstanding` | number of outstanding recipients of each sender, source and destination |
//! | `request_table` | which requests have been taken |
//! | `sender_table` | who has sent which message |
//! | `snapshot` | one text for all, such as the settings, and its version |
//! | `source` | which addresses are one source |

mod cells;
mod ends;
mod outstanding;
mod request_table;
mod sender_table;
mod snapshot;
mod source;

pub use cells::{CELL_WORDS, CONTENT, Cell, Cells, HELD_MS, Locked};
pub use ends::Ends;
pub use outstanding::{Charge, Destination, OutstandingTable, Share};
pub(crate) use request_table::KEPT_S as REQUEST_KEPT_S;
pub use request_table::{Claim, Claimed, Known, RequestName, RequestTable};
pub use sender_table::{Link, MAX_SENDER_URI_BYTES, Noted, SenderNote, SenderTable};
pub use snapshot::{Snapshot, TooLong, Writing};
pub use source::Source;
