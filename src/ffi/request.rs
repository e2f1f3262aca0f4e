//! The entries of the table that are about one request.

use std::cell::RefCell;
use std::ffi::{c_int, c_void};

use super::bindings::{self, cpm_field, cpm_host, cpm_reply, cpm_request, cpm_str};
use super::boundary::boundary;
use super::host::{ABSENT, CHost, borrowed, lend};
use super::service::table;
use crate::controlling::{Check, FanOut, Host, LogLevel, Reply, Request};
use crate::shared::Known;

/// What a `struct cpm_request` is.
pub(super) struct RequestHandle {
    pub(super) host: *const cpm_host,
    pub(super) request: RefCell<Request>,
    /// Name of its session, as C borrows it.
    pub(super) session: Option<String>,
}

/// The handle of a request.
///
/// # Safety
/// The pointer is NULL or from `classify` and not freed.
pub(super) unsafe fn handle<'a>(request: *const cpm_request) -> Option<&'a RequestHandle> {
    // SAFETY: as the caller promises.
    unsafe { request.cast::<RequestHandle>().as_ref() }
}

/// Runs `body` on a request; after a panic the request is refused with 500.
pub(super) fn on_request(
    request: *mut cpm_request,
    context: *mut c_void,
    body: impl FnOnce(&RefCell<Request>, &CHost<'_>) -> c_int,
) -> c_int {
    // SAFETY: NULL or a live handle (cpm.h).
    let Some(handle) = (unsafe { handle(request) }) else {
        return -1;
    };
    // SAFETY: the service lives as long as its requests are used (cpm.h).
    let host = CHost::new(unsafe { table(handle.host) }, context);
    boundary(
        || body(&handle.request, &host),
        |place| {
            host.log(LogLevel::Critical, format_args!("panic at {place}"));
            if let Ok(mut request) = handle.request.try_borrow_mut() {
                request.fail("a fault of our own", &host);
            }
            -1
        },
    )
}

pub(super) extern "C" fn check(request: *mut cpm_request, context: *mut c_void) -> c_int {
    on_request(request, context, |cell, host| {
        run_checks(cell, host, request)
    })
}

/// 1: accepted, 0: there is a reply, 2: the group is wanted, 3: it was taken before, -1: called from within a call on the same request.
pub(super) fn run_checks(
    cell: &RefCell<Request>,
    host: &CHost<'_>,
    handle: *mut cpm_request,
) -> c_int {
    loop {
        let Ok(need) = cell
            .try_borrow_mut()
            .map(|mut request| request.poll_check(host))
        else {
            return -1;
        };
        match need {
            Check::Accepted => return 1,
            Check::Answered => return 0,
            Check::WantGroup => return 2,
            Check::Repeated => return 3,
            Check::AskOperator => {
                // Not borrowed here: the operator's script may look at the request.
                let allowed = host.authorize(handle);
                if let Ok(mut request) = cell.try_borrow_mut() {
                    request.handle_operator(allowed, host);
                }
            }
        }
    }
}

pub(super) extern "C" fn fan_out(request: *mut cpm_request, context: *mut c_void) -> c_int {
    on_request(request, context, |cell, host| {
        let checked = run_checks(cell, host, request);
        if checked != 1 {
            return checked;
        }
        let Ok(result) = cell.try_borrow().map(|request| request.fan_out(host)) else {
            return -1;
        };
        let Ok(mut request) = cell.try_borrow_mut() else {
            return -1;
        };
        let code = match result {
            FanOut::Done(_) => 1,
            FanOut::HandedOver => 2,
            FanOut::Known(Known::Repeated { .. }) => 3,
            FanOut::Known(Known::Merged) | FanOut::NoRoom | FanOut::OverShare(_) => 0,
            FanOut::Failed | FanOut::NotAccepted => -1,
        };
        request.handle_fan_out(result, host);
        code
    })
}

pub(super) extern "C" fn reply(request: *const cpm_request, reply: *mut cpm_reply) -> c_int {
    // SAFETY: NULL or a live handle (cpm.h).
    let Some(handle) = (unsafe { handle(request) }) else {
        return -1;
    };
    boundary(
        || {
            let Ok(request) = handle.request.try_borrow() else {
                return -1;
            };
            lend_reply(request.reply(), reply)
        },
        |_| -1,
    )
}

/// Fills in C's room for a reply.
pub(super) fn lend_reply(answer: Option<&Reply>, room: *mut cpm_reply) -> c_int {
    let Some(answer) = answer.filter(|_| !room.is_null()) else {
        return -1;
    };
    let lent = cpm_reply {
        code: c_int::from(answer.code.as_u16()),
        reason: answer.reason().as_ptr(),
        headers: lend(&answer.headers),
        to_tag: answer
            .to_tag
            .as_ref()
            .map_or(ABSENT, |tag| lend(tag.as_bytes())),
        body: ABSENT,
    };
    // SAFETY: not NULL, and C lends room for one reply. What is in it lives in the handle.
    unsafe { room.write(lent) };
    0
}

pub(super) extern "C" fn field(request: *const cpm_request, field: cpm_field) -> cpm_str {
    // SAFETY: NULL or a live handle (cpm.h).
    let Some(handle) = (unsafe { handle(request) }) else {
        return ABSENT;
    };
    boundary(
        || {
            let Ok(request) = handle.request.try_borrow() else {
                return ABSENT;
            };
            let text = match field {
                bindings::CPM_FIELD_KIND => Some(request.kind().as_str().as_bytes()),
                bindings::CPM_FIELD_MODE => Some(request.mode().as_str().as_bytes()),
                bindings::CPM_FIELD_ORIGINATOR => request.originator().map(str::as_bytes),
                bindings::CPM_FIELD_CONVERSATION_ID => request.conversation_id(),
                bindings::CPM_FIELD_CONTRIBUTION_ID => request.contribution_id(),
                bindings::CPM_FIELD_SESSION => handle.session.as_deref().map(str::as_bytes),
                bindings::CPM_FIELD_WARNING => request
                    .reply()
                    .and_then(|reply| reply.warning)
                    .map(str::as_bytes),
                _ => None,
            };
            text.map_or(ABSENT, lend)
        },
        |_| ABSENT,
    )
}

pub(super) extern "C" fn recipients(request: *const cpm_request) -> usize {
    // SAFETY: NULL or a live handle (cpm.h).
    let Some(handle) = (unsafe { handle(request) }) else {
        return 0;
    };
    boundary(
        || {
            handle
                .request
                .try_borrow()
                .map_or(0, |request| request.recipients().len())
        },
        |_| 0,
    )
}

pub(super) extern "C" fn recipient(request: *const cpm_request, index: usize) -> cpm_str {
    // SAFETY: NULL or a live handle (cpm.h).
    let Some(handle) = (unsafe { handle(request) }) else {
        return ABSENT;
    };
    boundary(
        || {
            let Ok(request) = handle.request.try_borrow() else {
                return ABSENT;
            };
            request
                .recipients()
                .uri(index)
                .map_or(ABSENT, |uri| lend(uri.as_bytes()))
        },
        |_| ABSENT,
    )
}

pub(super) extern "C" fn set_originator(request: *mut cpm_request, uri: cpm_str) -> c_int {
    on_request(request, std::ptr::null_mut(), |cell, host| {
        // SAFETY: lent for the duration of this call (cpm.h).
        let uri = String::from_utf8_lossy(unsafe { borrowed(uri) });
        let Ok(mut request) = cell.try_borrow_mut() else {
            return -1;
        };
        match request.set_originator(&uri) {
            Ok(()) => 0,
            Err(error) => {
                host.log(LogLevel::Error, format_args!("{error}"));
                -1
            }
        }
    })
}

pub(super) extern "C" fn request_free(request: *mut cpm_request) {
    if request.is_null() {
        return;
    }
    // SAFETY: from `classify`, freed once (cpm.h).
    let request = unsafe { Box::from_raw(request.cast::<RequestHandle>()) };
    boundary(|| drop(request), |_| ());
}
