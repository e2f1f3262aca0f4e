//! The entry of the table about requests that the proxy's parser refuses.

use std::ffi::{c_int, c_void};

use super::bindings::{cpm_reply, cpm_service, cpm_str, cpm_unparsed};
use super::boundary::boundary;
use super::host::{ABSENT, CHost, borrowed, lend};
use super::request::lend_reply;
use super::service::{ServiceHandle, Stage, table};
use crate::controlling::{Host, LogLevel};

pub(super) extern "C" fn refuse_unparsed(
    service: *const cpm_service,
    request: cpm_str,
    is_unseen: c_int,
    room: *mut cpm_unparsed,
    context: *mut c_void,
) -> c_int {
    // SAFETY: NULL or a live handle (cpm.h).
    let Some(service) = (unsafe { service.cast::<ServiceHandle>().as_ref() }) else {
        return 0;
    };
    // SAFETY: the service lives.
    let host = CHost::new(unsafe { table(service.host) }, context);
    boundary(
        || {
            let Stage::Running(running) = &service.stage else {
                return 0;
            };
            // SAFETY: lent for the duration of this call (cpm.h).
            let request = unsafe { borrowed(request) };
            let refused = if is_unseen != 0 {
                running.refuse_unseen(request, &host)
            } else {
                running.refuse_unparsed(request, &host)
            };
            let mut kept = service.unparsed.borrow_mut();
            *kept = refused;
            let Some(unparsed) = kept.as_ref().filter(|_| !room.is_null()) else {
                return 0;
            };
            let mut lent = cpm_unparsed {
                request: lend(&unparsed.request),
                reply: cpm_reply {
                    code: 0,
                    reason: std::ptr::null(),
                    headers: ABSENT,
                    to_tag: ABSENT,
                    body: ABSENT,
                },
            };
            if lend_reply(Some(&unparsed.reply), &raw mut lent.reply) != 0 {
                return 0;
            }
            // SAFETY: not NULL, and C lends room for one. What is in it lives in the handle.
            unsafe { room.write(lent) };
            1
        },
        |place| {
            host.log(
                LogLevel::Critical,
                format_args!("panic at {place} over a request that the proxy cannot read"),
            );
            0
        },
    )
}
