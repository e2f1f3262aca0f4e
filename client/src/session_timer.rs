//! The agreement of the two ends of a large message (RFC 4028).

use cpm_wire::sip_ua::{Agreed, Dialog};

/// Terms for a timer of this dialog. An interval shorter than RFC 4028 allows costs the client one
/// request each time, and is accepted. UPDATE is used for peers that list it.
pub(super) fn agreed(
    dialog: &Dialog,
    seconds: u32,
    we_refresh: bool,
    owns_call_id: bool,
) -> Agreed {
    Agreed {
        seconds,
        shortest: 1,
        we_refresh,
        allows_update: Some(dialog.allows_update() == Some(true)),
        owns_call_id,
    }
}
