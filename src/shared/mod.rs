//! Memory that all processes of the proxy share: bounded, and without a lock, which a process that is killed could
//! leave behind.
//!
//! | file | job |
//! |---|---|
//! | `request_table` | which requests have been taken |

mod request_table;

pub use request_table::{Claim, Claimed, Known, RequestName, RequestTable};
