//! The functions of `cpm_core` for the express lane.

use std::ffi::c_int;

use super::bindings::{self, cpm_express_result, cpm_service, cpm_str};
use super::host::borrowed;
use super::service::on_service;
use crate::controlling::express::{BRANCH_BYTES, Heard};
use crate::processes;

const _: () = assert!(BRANCH_BYTES == bindings::CPM_EXPRESS_BRANCH_BYTES as usize);

pub(super) extern "C" fn uses_express(service: *const cpm_service) -> c_int {
    on_service(
        service,
        std::ptr::null_mut(),
        0,
        "looking for the express lane",
        |_, running, _| c_int::from(running.control().lane().is_some()),
    )
}

pub(super) extern "C" fn express_heard(
    service: *const cpm_service,
    response: cpm_str,
) -> cpm_express_result {
    on_service(
        service,
        std::ptr::null_mut(),
        // Even after a panic: the proxy has no transaction for it.
        bindings::CPM_EXPRESS_OURS,
        "working on a response",
        |_, running, proxy| {
            // SAFETY: lent for the duration of the call (cpm.h).
            let response = unsafe { borrowed(response) };
            match processes::heard(&running.control(), proxy, response) {
                Heard::NotOurs => bindings::CPM_EXPRESS_NOT_OURS,
                Heard::Ours => bindings::CPM_EXPRESS_OURS,
                Heard::OursOfMany => bindings::CPM_EXPRESS_OURS_OF_MANY,
            }
        },
    )
}
