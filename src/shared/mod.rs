//! Memory that all processes of the proxy share: bounded, and without a lock, which a process that is killed could
//! leave behind.
//!
//! | file | job |
//! |---|---|
//! | `outstanding` | how many recipients of a sender, a source or a destination are awaited |
//! | `source` | which addresses are one source |

mod outstanding;
mod source;

pub use outstanding::{Charge, Destination, OutstandingTable, Share};
pub use source::Source;
