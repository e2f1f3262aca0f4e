//! The entry of the table that is about disposition notifications.

use std::ffi::{c_int, c_void};

use super::bindings::{cpm_forwarding, cpm_received, cpm_reply, cpm_service};
use super::boundary::boundary;
use super::host::{ABSENT, CHost, lend};
use super::request::lend_reply;
use super::service::{ServiceHandle, Stage, borrowed_request, table};
use crate::controlling::{Host, LogLevel, Notification};

pub(super) extern "C" fn forward_imdn(
    service: *const cpm_service,
    received: *const cpm_received,
    is_asked: c_int,
    room: *mut cpm_forwarding,
    context: *mut c_void,
) -> c_int {
    // SAFETY: NULL or live handles, lent for the duration of the call (cpm.h).
    let (service, received) =
        unsafe { (service.cast::<ServiceHandle>().as_ref(), received.as_ref()) };
    let (Some(service), Some(received)) = (service, received) else {
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
            let Some(received) = (unsafe { borrowed_request(received) }) else {
                return 0;
            };
            let notification = running.forward_notification(&received, is_asked != 0, &host);
            let mut kept = service.notification.borrow_mut();
            *kept = notification;
            lend_forwarding(&kept, room)
        },
        |place| {
            host.log(
                LogLevel::Critical,
                format_args!("panic at {place} over a disposition notification"),
            );
            0
        },
    )
}

pub(super) extern "C" fn send_receipt(
    service: *const cpm_service,
    room: *mut cpm_reply,
    context: *mut c_void,
) -> c_int {
    // SAFETY: NULL or a live handle (cpm.h).
    let Some(service) = (unsafe { service.cast::<ServiceHandle>().as_ref() }) else {
        return -1;
    };
    // SAFETY: the service lives.
    let host = CHost::new(unsafe { table(service.host) }, context);
    boundary(
        || {
            // A receipt is sent once; C borrows the reply to it instead.
            let kept = service.notification.replace(Notification::NotOurs);
            let (Stage::Running(running), Notification::Nameless(receipt)) = (&service.stage, kept)
            else {
                return -1;
            };
            let (reply, is_sent) = running.send_nameless(&receipt, &host);
            let mut kept = service.notification.borrow_mut();
            *kept = Notification::Refused(reply);
            match &*kept {
                Notification::Refused(reply) if lend_reply(Some(reply), room) == 0 => {
                    c_int::from(is_sent)
                }
                _ => -1,
            }
        },
        |place| {
            host.log(
                LogLevel::Critical,
                format_args!("panic at {place} over a group's disposition notification"),
            );
            -1
        },
    )
}

/// Fills in C's room. What is lent lives in the handle.
fn lend_forwarding(notification: &Notification, room: *mut cpm_forwarding) -> c_int {
    if room.is_null() {
        return 0;
    }
    let mut lent = cpm_forwarding {
        request_uri: ABSENT,
        next_hop: ABSENT,
        dropped: ABSENT,
        headers: ABSENT,
        reply: cpm_reply {
            code: 0,
            reason: std::ptr::null(),
            headers: ABSENT,
            to_tag: ABSENT,
            body: ABSENT,
        },
    };
    let result = match notification {
        Notification::NotOurs => 0,
        Notification::Forward(forwarding) => {
            lent.request_uri = lend(forwarding.request_uri.as_bytes());
            lent.next_hop = match &forwarding.next_hop {
                Some(uri) => lend(uri.as_bytes()),
                None => ABSENT,
            };
            lent.dropped = lend(forwarding.dropped.as_bytes());
            lent.headers = lend(&forwarding.headers);
            1
        }
        Notification::Nameless(_) => 3,
        Notification::Refused(reply) if lend_reply(Some(reply), &raw mut lent.reply) == 0 => 2,
        Notification::Refused(_) => 0,
    };
    // SAFETY: not NULL, and C lends room for one.
    unsafe { room.write(lent) };
    result
}
