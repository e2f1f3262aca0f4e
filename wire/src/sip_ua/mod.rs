//! Common functions of two SIP user agents in a dialog (RFC 3261 §12, RFC 4028). Without IO and
//! clock.

mod dialog;
mod session_timer;
mod text;

pub use dialog::{
    Dialog, InDialogRequest, MAX_TAG_BYTES, MalformedDialog, NotAcceptable, OwnInvite, Peer,
    Routing,
};
pub use session_timer::{
    Agreed, Due, MAX_REFRESHES, MAX_SESSION_EXPIRES_S, MIN_SESSION_EXPIRES_S,
    MalformedSessionExpires, RefreshMethod, Refresher, SessionExpires, SessionTimer, allows,
    min_se, supports_timer,
};
pub use text::{cseq, text, texts};
