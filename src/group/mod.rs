//! Pre-defined groups (OMA XDM Group): members, permission to send, support of CPM.
//!
//! [`Group::parse`] reads a document, [`Group::permissions`] evaluates its authorization rules.
//! Nothing here fetches data or knows the time: external lists and the clock come from the caller.
//!
//! | file | job |
//! |---|---|
//! | `document` | reads group documents and lists |
//! | `pre_defined` | one group: its members, its permissions |
//! | `member_list` | the entries of a list |
//! | `external_lists`, `list_set` | lists that a document refers to; sets of such lists |
//! | `rules` | authorization rules |
//! | `supported_services` | whether a service is CPM |
//! | `date_time` | RFC 3339 |
//! | `error` | why a document or a list cannot be used |
//! | [`source`] | sources of documents |

mod date_time;
mod document;
mod error;
mod external_lists;
mod list_set;
mod member_list;
mod pre_defined;
mod rules;
pub mod source;
mod supported_services;

pub use document::{MAX_DEPTH, MAX_DOCUMENT_BYTES, MAX_GROUPS};
pub use error::{ExternalListError, GroupDocumentError};
pub use external_lists::MAX_EXTERNAL_DEPTH;
pub use list_set::MAX_EXTERNAL_LISTS;
pub use member_list::{MAX_ANCHOR_BYTES, MAX_MEMBER_URI_BYTES, MAX_MEMBERS, Member, MemberList};
pub use pre_defined::Group;
pub use rules::{MAX_RULE_PARTS, Medium, Permissions};
