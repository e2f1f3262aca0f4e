//! Pager mode: one MESSAGE to each recipient, and their outcomes (9.1.1 item 6 and last list).
//!
//! | file | job |
//! |---|---|
//! | `outgoing_message` | the outgoing MESSAGE requests |
//! | `fan_out_job` | sending to one recipient after another, here or in another process |
//! | `keep` | what the store needs of a message beside that |
//! | `known_by` | what a kept message is known by |
//! | `record` | the same as bytes, for another process and for the store |
//! | `outcome` | ends of outgoing requests, and the ISF (6.5) |
//! | `shares` | limits for each sender, source and destination |
//! | `failure_notification` | the notification that all recipients have failed |

mod failure_notification;
mod fan_out_job;
mod keep;
mod known_by;
mod outcome;
mod outgoing_message;
mod record;
mod shares;

pub(super) use fan_out_job::NOT_SENDABLE_CODE;
#[cfg(test)]
pub(super) use fan_out_job::tests as fixtures;
pub use fan_out_job::{FanOutJob, Progress};
pub(super) use keep::{Keep, SenderOf};
pub(super) use outgoing_message::fan_out_job;
pub use record::RECORD_VERSION;
