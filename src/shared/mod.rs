//! Memory that all processes of the proxy share: bounded, and without a lock that a process which
//! is killed could leave behind for good.
//!
//! | file | job |
//! |---|---|
//! | `arrivals` | recipients that have become available |
//! | `bytes` | texts in words |
//! | `cells` | room of one size, to be taken and given back, with locks |
//! | `claim` | who has a record of a ring in hand |
//! | `ends` | how copies of kept messages have ended |
//! | `figures` | figures for Prometheus |
//! | `head_note` | what is recorded once the header of a large message has arrived |
//! | `message_record` | what is recorded of a message and its recipients |
//! | `message_table` | what became of the last messages |
//! | `outstanding` | number of outstanding recipients of each sender, source and destination |
//! | `request_table` | which requests have been taken |
//! | `sender_table` | who has sent which message |
//! | `snapshot` | one text for all, such as the settings, and its version |
//! | `source` | which addresses are one source |
//! | `store_space` | the room in the store |

mod arrivals;
mod bytes;
mod cells;
mod claim;
mod ends;
mod figures;
mod head_note;
mod long_lists;
mod message_record;
mod message_table;
mod outstanding;
mod request_table;
mod sender_table;
mod snapshot;
mod source;
mod store_space;

pub use arrivals::Arrivals;
pub use cells::{CELL_WORDS, CONTENT, Cell, Cells, HELD_MS, Locked};
pub use ends::{End, Ends};
pub use figures::{Figures, RecipientOutcome};
pub use head_note::HeadNote;
pub use long_lists::LongLists;
pub use message_record::{
    MESSAGE_TEXTS, MessageCounts, MessageRecord, MessageText, MessageTexts, RecipientRecord,
    RecipientState,
};
pub use message_table::{
    MAX_MESSAGE_TEXT_BYTES, MAX_RECIPIENT_URI_BYTES, MessageNumber, MessageTable, RecipientLink,
};
pub use outstanding::{Charge, Destination, DestinationKey, OutstandingTable, Share};
pub(crate) use request_table::KEPT_S as REQUEST_KEPT_S;
pub use request_table::{Claim, Claimed, Known, RequestName, RequestTable};
pub use sender_table::{Link, MAX_SENDER_URI_BYTES, Noted, Recorded, SenderNote, SenderTable};
pub use snapshot::{Snapshot, TooLong, Writing};
pub use source::Source;
pub use store_space::{NoSpace, StoreSpace};
