//! Pager mode: one MESSAGE to each recipient, and how each of them ends (9.1.1 item 6 and last list).
//!
//! | file | job |
//! |---|---|
//! | `outgoing_message` | the outgoing MESSAGE requests |
//! | `fan_out_job` | sending it to one recipient after another, here or in another process |
//! | `outcome` | how outgoing requests end, and the ISF (6.5) |
//! | `failure_notification` | the one that tells a sender that all his recipients have failed |

mod failure_notification;
mod fan_out_job;
mod outcome;
mod outgoing_message;

#[cfg(test)]
pub(super) use fan_out_job::tests;
pub use fan_out_job::{FanOutJob, Progress, RETRY_AFTER_S};
pub(super) use fan_out_job::{put_claim, take_claim};
pub(super) use outcome::{Attempt, route};
pub(super) use outgoing_message::{ReceivedList, accepted_headers, fan_out_job};
