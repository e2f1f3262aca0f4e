//! The entries of the table that are about pre-defined groups.

use std::ffi::{c_int, c_void};

use super::bindings::{cpm_groups, cpm_request, cpm_service, cpm_str};
use super::boundary::boundary;
use super::host::{CHost, borrowed};
use super::request::{on_request, run_checks};
use super::service::{ServiceHandle, Stage, table};
use crate::controlling::{GroupFinder, GroupLookup, Host, LogLevel, RETRY_AFTER_S};

pub(super) extern "C" fn uses_groups(service: *const cpm_service) -> c_int {
    // SAFETY: NULL or a live handle (cpm.h).
    match unsafe { service.cast::<ServiceHandle>().as_ref() } {
        Some(ServiceHandle {
            stage: Stage::Running(running),
            ..
        }) => c_int::from(!running.settings().group_sources.is_empty()),
        _ => 0,
    }
}

/// What a `struct cpm_groups` is.
pub(super) struct GroupsHandle {
    pub(super) finder: GroupFinder,
}

pub(super) extern "C" fn groups_new(service: *const cpm_service) -> *mut cpm_groups {
    // SAFETY: NULL or a live handle (cpm.h).
    let Some(service) = (unsafe { service.cast::<ServiceHandle>().as_ref() }) else {
        return std::ptr::null_mut();
    };
    // SAFETY: the service lives.
    let host = CHost::new(unsafe { table(service.host) }, std::ptr::null_mut());
    boundary(
        || {
            let Stage::Running(running) = &service.stage else {
                return std::ptr::null_mut();
            };
            match GroupFinder::new(running) {
                Ok(finder) => Box::into_raw(Box::new(GroupsHandle { finder })).cast(),
                Err(error) => {
                    host.log(LogLevel::Error, format_args!("{error}"));
                    std::ptr::null_mut()
                }
            }
        },
        |place| {
            host.log(
                LogLevel::Critical,
                format_args!("panic at {place} while opening group sources"),
            );
            std::ptr::null_mut()
        },
    )
}

pub(super) extern "C" fn check_group(
    request: *mut cpm_request,
    originator: cpm_str,
    groups: *mut cpm_groups,
    now_ms: u64,
    context: *mut c_void,
) -> c_int {
    on_request(request, context, |cell, host| {
        // SAFETY: lent for the duration of this call (cpm.h).
        let originator = String::from_utf8_lossy(unsafe { borrowed(originator) });
        // SAFETY: NULL or from `groups_new`, not freed, and used by this call only: one thread per process.
        let groups = unsafe { groups.cast::<GroupsHandle>().as_mut() };
        let Ok(mut request_mut) = cell.try_borrow_mut() else {
            return -1;
        };
        request_mut.resume_at_group(&originator);
        let lookup = match groups {
            Some(groups) => groups.finder.look_up(&request_mut, now_ms, host, host),
            None => GroupLookup::Unavailable {
                retry_after_s: RETRY_AFTER_S,
            },
        };
        request_mut.handle_group(lookup);
        drop(request_mut);
        run_checks(cell, host, request)
    })
}

pub(super) extern "C" fn groups_flush(groups: *mut cpm_groups) -> usize {
    // SAFETY: NULL or from `groups_new`, not freed, and used by this call only: one thread per process.
    let Some(groups) = (unsafe { groups.cast::<GroupsHandle>().as_mut() }) else {
        return 0;
    };
    boundary(|| groups.finder.flush(), |_| 0)
}

pub(super) extern "C" fn groups_free(groups: *mut cpm_groups) {
    if groups.is_null() {
        return;
    }
    // SAFETY: from `groups_new`, freed once (cpm.h).
    let groups = unsafe { Box::from_raw(groups.cast::<GroupsHandle>()) };
    boundary(|| drop(groups), |_| ());
}
