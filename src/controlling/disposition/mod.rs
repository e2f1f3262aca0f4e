//! Disposition notifications (RFC 5438; OMA CPM 9.2.15): those that come back, and those that we
//! send ourselves.
//!
//! | file | job |
//! |---|---|
//! | `forwarding` | notifications that come back: never fanned out, forwarded to the sender |
//! | `nameless_receipt` | those of a group's members, without what names the member |
//! | `own_notification` | sending one in a service's own name |

mod forwarding;
mod nameless_receipt;
mod own_notification;

pub(super) use forwarding::is_notification;
pub use forwarding::{Forwarded, Forwarding};
pub use nameless_receipt::NamelessReceipt;
pub(super) use own_notification::OwnNotification;
