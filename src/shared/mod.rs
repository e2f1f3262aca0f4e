//! Memory that all processes of the proxy share: bounded, and without a lock, which a process that is killed could
//! leave behind.
//!
//! | file | job |
//! |---|---|
//! | `outstanding` | how many recipients of a sender, a source or a destination are awaited |
//! | `request_table` | which requests have been taken |
//! | `source` | which addresses are one source |

mod outstanding;
mod request_table;
mod source;

pub use outstanding::{Charge, Destination, OutstandingTable, Share};
pub use request_table::{Claim, Claimed, Known, RequestName, RequestTable};
pub use source::Source;
