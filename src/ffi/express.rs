//! The functions of `cpm_core` for the express lane.

use std::ffi::c_int;

use super::bindings::{self, cpm_express_response, cpm_service};
use super::host::borrowed;
use super::service::on_service;
use crate::controlling::express::BRANCH_BYTES;
use crate::processes::Hearing;

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
    responses: *mut cpm_express_response,
    n: usize,
) -> c_int {
    on_service(
        service,
        std::ptr::null_mut(),
        0,
        "working on a response",
        |_, running, proxy| {
            let control = running.control();
            let Some(mut hearing) = Hearing::new(&control, proxy) else {
                return 0;
            };
            for at in 0..n {
                // SAFETY: `n` of them are lent for the duration of the call, and nobody else uses
                // them meanwhile (cpm.h).
                let response = unsafe { &mut *responses.add(at) };
                // Even after a panic: the proxy has no transaction for it.
                response.is_ours = 1;
                // SAFETY: lent for the duration of the call (cpm.h).
                let is_ours = hearing.hear(unsafe { borrowed(response.text) });
                response.is_ours = c_int::from(is_ours);
            }
            c_int::from(hearing.go_on())
        },
    )
}
