//! Entries of the table for outgoing requests.

use std::ffi::c_int;

use super::bindings::{cpm_outcome, cpm_service, cpm_str};
use super::host::{borrowed, token_of};
use super::service::on_service;
use crate::processes;

pub(super) extern "C" fn ended(service: *const cpm_service, outcome: *const cpm_outcome) {
    // SAFETY: NULL, or lent for the duration of the call (cpm.h).
    let Some(outcome) = (unsafe { outcome.as_ref() }) else {
        return;
    };
    on_service(
        service,
        std::ptr::null_mut(),
        (),
        "working on the end of a request",
        |_, running, proxy| {
            // SAFETY: lent for the duration of the call (cpm.h).
            let (request, response, reason, place) = unsafe {
                (
                    borrowed(outcome.request),
                    borrowed(outcome.response),
                    borrowed(outcome.reason),
                    borrowed(outcome.place),
                )
            };
            let ended = processes::Ended {
                code: u16::try_from(outcome.code).unwrap_or(0),
                is_cancelled: outcome.is_cancelled != 0,
                token: token_of(outcome.token),
                request,
                response: (!response.is_empty()).then_some(response),
                reason,
                place,
            };
            ended.handle(&running.control(), proxy);
        },
    );
}

pub(super) extern "C" fn responded(service: *const cpm_service, response: cpm_str) {
    on_service(
        service,
        std::ptr::null_mut(),
        (),
        "passing a response on",
        |_, running, proxy| {
            // SAFETY: lent for the duration of the call (cpm.h).
            let response = unsafe { borrowed(response) };
            processes::responded(&running.control(), proxy, response);
        },
    );
}

pub(super) extern "C" fn is_session_name(service: *const cpm_service, name: cpm_str) -> c_int {
    on_service(
        service,
        std::ptr::null_mut(),
        0,
        "reading a name",
        |_, running, _| {
            let control = running.control();
            // SAFETY: lent for the duration of the call (cpm.h).
            let name = std::str::from_utf8(unsafe { borrowed(name) });
            let is_one = control.large_mode().is_some()
                && name.is_ok_and(|name| control.ids().names().read(name).is_some());
            c_int::from(is_one)
        },
    )
}
