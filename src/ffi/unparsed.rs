//! The entry of the table for requests that the proxy's parser rejects.

use std::ffi::{c_int, c_void};

use super::bindings::{cpm_service, cpm_str, cpm_unparsed};
use super::host::{borrowed, lend, lend_answer};
use super::service::on_service;
use crate::processes::{Answer, refuse_unparsed as refuse};

pub(super) extern "C" fn refuse_unparsed(
    service: *const cpm_service,
    request: cpm_str,
    is_unseen: c_int,
    room: *mut cpm_unparsed,
    context: *mut c_void,
) -> c_int {
    on_service(
        service,
        context,
        0,
        "refusing a request that the proxy cannot read",
        |handle, running, proxy| {
            // SAFETY: lent for the duration of this call (cpm.h).
            let request = unsafe { borrowed(request) };
            let refused = refuse(&running.control(), request, is_unseen != 0, proxy);
            let mut kept = handle.unparsed.borrow_mut();
            *kept = refused;
            let Some(unparsed) = kept.as_ref().filter(|_| !room.is_null()) else {
                return 0;
            };
            let reply = &unparsed.reply;
            let lent = cpm_unparsed {
                request: lend(&unparsed.request),
                reply: lend_answer(&Answer::of(reply)),
            };
            // SAFETY: not NULL, and C lends space for one. Its content lives in the handle.
            unsafe { room.write(lent) };
            1
        },
    )
}
