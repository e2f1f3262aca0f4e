//! Entries of the table for the core's own processes.

use std::cell::{Cell, RefCell};
use std::ffi::c_int;

use bytes::Bytes;

use super::bindings::{cpm_mailbox, cpm_process, cpm_process_plan, cpm_service, cpm_str};
use super::boundary::boundary;
use super::handle::Handle;
use super::host::{CHost, borrowed, process_of};
use super::service::on_service;
use crate::log::at;
use crate::processes::{Mailbox, Plan, Proxy as _};

/// The content of a `struct cpm_mailbox`.
pub(super) struct MailboxHandle {
    /// C's own pointer to the service, which lives as long as the mailbox (cpm.h).
    service: *const cpm_service,
    mailbox: RefCell<Mailbox>,
}

impl Handle for cpm_mailbox {
    type Content = MailboxHandle;
}

pub(super) extern "C" fn plan(
    service: *const cpm_service,
    process: cpm_process,
    room: *mut cpm_process_plan,
) {
    if room.is_null() {
        return;
    }
    let none = cpm_process_plan {
        title: c"CPM".as_ptr(),
        count: 0,
        pending: 0,
        stop_seconds: 0,
    };
    let described = on_service(
        service,
        std::ptr::null_mut(),
        none,
        "planning a process",
        |_, running, _| {
            let Some(process) = process_of(process) else {
                return none;
            };
            let plan = Plan::of(process, &running.control());
            cpm_process_plan {
                title: plan.title.as_ptr(),
                count: u32::try_from(plan.count).unwrap_or(0),
                pending: plan.pending,
                stop_seconds: plan.stop_s,
            }
        },
    );
    // SAFETY: not NULL, and C lends space for one. The title is static.
    unsafe { room.write(described) };
}

pub(super) extern "C" fn mailbox_new(
    service: *mut cpm_service,
    process: cpm_process,
) -> *mut cpm_mailbox {
    on_service(
        service,
        std::ptr::null_mut(),
        std::ptr::null_mut(),
        "starting a process",
        |_, running, proxy| {
            let Some(process) = process_of(process) else {
                return std::ptr::null_mut();
            };
            match Mailbox::new(process, running) {
                Ok(mailbox) => cpm_mailbox::give(MailboxHandle {
                    service: service.cast_const(),
                    mailbox: RefCell::new(mailbox),
                }),
                Err(error) => {
                    proxy.log(at!(Error), format_args!("{error}"));
                    std::ptr::null_mut()
                }
            }
        },
    )
}

/// Runs `body` on a mailbox; a panic ends only the work in progress.
fn on_mailbox<T: Copy>(
    mailbox: *const cpm_mailbox,
    failed: T,
    body: impl FnOnce(&mut Mailbox, &CHost<'_>) -> T,
) -> T {
    // SAFETY: NULL or a live handle, for the duration of the call (cpm.h).
    let Some(handle) = (unsafe { cpm_mailbox::get(mailbox) }) else {
        return failed;
    };
    let is_lost = Cell::new(false);
    let result = on_service(
        handle.service,
        std::ptr::null_mut(),
        None,
        "working in a process of its own",
        |_, running, proxy| {
            let mut mailbox = handle.mailbox.try_borrow_mut().ok()?;
            mailbox.serve(&running.control());
            is_lost.set(true);
            let result = body(&mut mailbox, proxy);
            is_lost.set(false);
            Some(result)
        },
    );
    if is_lost.get() {
        on_service(
            handle.service,
            std::ptr::null_mut(),
            (),
            "cleaning up after a panic",
            |_, _, proxy| {
                if let Ok(mut mailbox) = handle.mailbox.try_borrow_mut() {
                    mailbox.handle_panic(proxy);
                }
            },
        );
    }
    result.unwrap_or(failed)
}

/// Reads from a mailbox.
fn look<T: Copy>(mailbox: *const cpm_mailbox, failed: T, body: impl FnOnce(&Mailbox) -> T) -> T {
    // SAFETY: NULL or a live handle, for the duration of the call (cpm.h).
    let Some(handle) = (unsafe { cpm_mailbox::get(mailbox) }) else {
        return failed;
    };
    boundary(
        || {
            handle
                .mailbox
                .try_borrow()
                .map_or(failed, |mailbox| body(&mailbox))
        },
        |_| failed,
    )
}

pub(super) extern "C" fn mailbox_fd(mailbox: *const cpm_mailbox) -> c_int {
    look(mailbox, -1, |mailbox| mailbox.fd().unwrap_or(-1))
}

pub(super) extern "C" fn mailbox_takes(mailbox: *const cpm_mailbox) -> c_int {
    look(mailbox, 0, |mailbox| c_int::from(mailbox.takes()))
}

pub(super) extern "C" fn mailbox_take(mailbox: *mut cpm_mailbox, entry: cpm_str) {
    on_mailbox(mailbox, (), |mailbox, proxy| {
        // SAFETY: lent for the duration of the call (cpm.h).
        let entry = Bytes::copy_from_slice(unsafe { borrowed(entry) });
        mailbox.take(entry, proxy);
    });
}

pub(super) extern "C" fn mailbox_work(mailbox: *mut cpm_mailbox) -> c_int {
    on_mailbox(mailbox, 0, |mailbox, proxy| mailbox.work(proxy))
}

pub(super) extern "C" fn mailbox_stop(mailbox: *mut cpm_mailbox) {
    // SAFETY: NULL or from `mailbox_new`, stopped once (cpm.h).
    let Some(handle) = (unsafe { cpm_mailbox::take(mailbox) }) else {
        return;
    };
    let service = handle.service;
    on_service(
        service,
        std::ptr::null_mut(),
        (),
        "shutting down",
        |_, _, proxy| handle.mailbox.into_inner().stop(proxy),
    );
}
