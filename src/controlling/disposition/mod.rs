//! Disposition notifications (RFC 5438; OMA CPM 9.2.15): received ones, and our own.
//!
//! | file | job |
//! |---|---|
//! | `forwarding` | received notifications: never fanned out, forwarded to the sender |
//! | `nameless_receipt` | those of a group's members, without anything that names the member |
//! | `own_notification` | sending one in the service's own name |

mod forwarding;
mod nameless_receipt;
mod own_notification;

pub(super) use forwarding::is_notification;
pub use forwarding::{Forwarded, Forwarding, Inquiry};
pub use nameless_receipt::NamelessReceipt;
pub(super) use own_notification::OwnNotification;
