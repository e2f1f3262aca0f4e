//! The entries of the table that are about large message sessions.

use std::ffi::{c_int, c_void};
use std::os::fd::AsRawFd;
use std::time::Instant;

use bytes::Bytes;

use super::bindings::{
    self, cpm_gauges, cpm_question, cpm_seen, cpm_service, cpm_sessions, cpm_str,
};
use super::boundary::boundary;
use super::host::{CHost, borrowed, lend};
use super::service::{ServiceHandle, Stage, table};
use crate::controlling::large_message_mode::{SessionId, TransactionKey};
use crate::controlling::{Host, LogLevel};
use crate::relay::Relay;
use crate::sessions::{Question, Sessions, Wake};

/// What a `struct cpm_sessions` is.
pub(super) struct SessionsHandle {
    /// Lives as long as the sessions (cpm.h).
    service: *const ServiceHandle,
    sessions: Sessions,
    /// What C borrows until its next question.
    answer: String,
}

pub(super) extern "C" fn uses_sessions(service: *const cpm_service) -> c_int {
    // SAFETY: NULL or a live handle (cpm.h).
    match unsafe { service.cast::<ServiceHandle>().as_ref() } {
        Some(ServiceHandle {
            stage: Stage::Running(running),
            ..
        }) => c_int::from(running.large_mode().is_some()),
        _ => 0,
    }
}

pub(super) extern "C" fn names_session(service: *const cpm_service, name: cpm_str) -> c_int {
    // SAFETY: NULL or a live handle (cpm.h).
    let Some(ServiceHandle {
        stage: Stage::Running(running),
        ..
    }) = (unsafe { service.cast::<ServiceHandle>().as_ref() })
    else {
        return 0;
    };
    // SAFETY: lent for the duration of this call (cpm.h).
    let name = std::str::from_utf8(unsafe { borrowed(name) });
    boundary(
        || c_int::from(name.is_ok_and(|name| running.ids().names().read(name).is_some())),
        |_| 0,
    )
}

pub(super) extern "C" fn sessions_new(service: *mut cpm_service) -> *mut cpm_sessions {
    // SAFETY: NULL or a live handle that nobody else uses now: one thread per process (cpm.h).
    let Some(service) = (unsafe { service.cast::<ServiceHandle>().as_mut() }) else {
        return std::ptr::null_mut();
    };
    // SAFETY: the service lives.
    let host = CHost::new(unsafe { table(service.host) }, std::ptr::null_mut());
    boundary(
        || {
            let (Stage::Running(running), Some((settings, listeners))) =
                (&service.stage, service.relay.take())
            else {
                return std::ptr::null_mut();
            };
            let relay = match Relay::start(settings, listeners) {
                Ok(relay) => relay,
                Err(error) => {
                    host.log(LogLevel::Error, format_args!("{error}"));
                    return std::ptr::null_mut();
                }
            };
            let Some(sessions) = Sessions::new(running, relay) else {
                return std::ptr::null_mut();
            };
            let handle = SessionsHandle {
                service,
                sessions,
                answer: String::new(),
            };
            Box::into_raw(Box::new(handle)).cast()
        },
        |place| {
            host.log(
                LogLevel::Critical,
                format_args!("panic at {place} while starting the relay"),
            );
            std::ptr::null_mut()
        },
    )
}

pub(super) extern "C" fn sessions_fd(sessions: *const cpm_sessions) -> c_int {
    // SAFETY: NULL or a live handle (cpm.h).
    let handle = unsafe { sessions.cast::<SessionsHandle>().as_ref() };
    handle.map_or(-1, |handle| handle.sessions.as_fd().as_raw_fd())
}

pub(super) extern "C" fn sessions_gauges(sessions: *const cpm_sessions, room: *mut cpm_gauges) {
    // SAFETY: NULL or a live handle (cpm.h).
    let Some(handle) = (unsafe { sessions.cast::<SessionsHandle>().as_ref() }) else {
        return;
    };
    boundary(
        || {
            let totals = handle.sessions.relay_totals();
            let gauges = cpm_gauges {
                sessions: handle.sessions.len() as u64,
                connections: totals.connections as u64,
                memory: totals.memory_bytes as u64,
                spool: totals.spool_bytes,
                held_back: totals.held_back as u64,
            };
            if !room.is_null() {
                // SAFETY: not NULL, and C lends room for them.
                unsafe { room.write(gauges) };
            }
        },
        |_| (),
    );
}

/// Runs `body` on the sessions; a panic costs the one session that was at work.
fn on_sessions<T: Copy>(
    sessions: *mut cpm_sessions,
    context: *mut c_void,
    failed: T,
    body: impl FnOnce(&mut Sessions, &mut String, &CHost<'_>) -> T,
) -> T {
    // SAFETY: NULL or from `sessions_new`, not shut down, and used by this call only: one thread per process.
    let Some(handle) = (unsafe { sessions.cast::<SessionsHandle>().as_mut() }) else {
        return failed;
    };
    // SAFETY: the service lives as long as its sessions are used (cpm.h), and so does its table.
    let (service, host) = unsafe {
        let service = &*handle.service;
        (service, CHost::new(table(service.host), context))
    };
    let SessionsHandle {
        sessions, answer, ..
    } = handle;
    if let Stage::Running(running) = &service.stage {
        sessions.serve(running);
    }
    let mut lost = false;
    let result = boundary(
        || body(sessions, answer, &host),
        |place| {
            lost = true;
            host.log(
                LogLevel::Critical,
                format_args!("panic at {place}: a session is lost"),
            );
            failed
        },
    );
    if lost {
        boundary(|| sessions.handle_panic(&host), |_| ());
    }
    result
}

pub(super) extern "C" fn sessions_see(
    sessions: *mut cpm_sessions,
    seen: *const cpm_seen,
    context: *mut c_void,
) {
    // SAFETY: NULL or lent for the duration of this call (cpm.h).
    let Some(seen) = (unsafe { seen.as_ref() }) else {
        return;
    };
    on_sessions(sessions, context, (), |sessions, _, host| {
        // SAFETY: lent for the duration of this call (cpm.h).
        let message = Bytes::copy_from_slice(unsafe { borrowed(seen.message) });
        let transaction = TransactionKey(seen.transaction);
        let now = Instant::now();
        match seen.kind {
            bindings::CPM_SEEN_INVITE => sessions.handle_invite(now, message, transaction, host),
            bindings::CPM_SEEN_REQUEST => {
                let transaction = (transaction.0 != 0).then_some(transaction);
                sessions.handle_request(now, message, transaction, host);
            }
            bindings::CPM_SEEN_CANCEL => sessions.handle_cancel(now, transaction, host),
            bindings::CPM_SEEN_RESPONSE => sessions.handle_response(now, message, host),
            bindings::CPM_SEEN_NO_RESPONSE => {
                let code = u16::try_from(seen.code).unwrap_or(0);
                sessions.handle_no_response(now, code, message, host);
            }
            bindings::CPM_SEEN_INVITED => {
                let transaction = (transaction.0 != 0).then_some(transaction);
                sessions.handle_invited(now, &message, transaction, host);
            }
            _ => {}
        }
    });
}

pub(super) extern "C" fn sessions_work(sessions: *mut cpm_sessions, context: *mut c_void) -> c_int {
    on_sessions(sessions, context, 0, |sessions, _, host| {
        match sessions.work(host) {
            Wake::Now => 0,
            Wake::Never => -1,
            Wake::At(at) => {
                let wait = at.saturating_duration_since(Instant::now());
                // Rounded up: a wake that comes too early would find nothing to do.
                c_int::try_from(wait.as_millis() + 1).unwrap_or(c_int::MAX)
            }
        }
    })
}

pub(super) extern "C" fn sessions_ask(
    sessions: *mut cpm_sessions,
    question: cpm_question,
    session: cpm_str,
    room: *mut cpm_str,
    context: *mut c_void,
) -> c_int {
    // SAFETY: lent for the duration of this call (cpm.h).
    let session = std::str::from_utf8(unsafe { borrowed(session) }).ok();
    let session = session.and_then(SessionId::parse);
    on_sessions(sessions, context, -1, |sessions, kept, host| {
        let question = match (question, session) {
            (bindings::CPM_ASK_SESSIONS, _) => Question::Sessions,
            (bindings::CPM_ASK_RELAY, _) => Question::Relay,
            (bindings::CPM_ASK_SESSION, Some(id)) => Question::Session(id),
            (bindings::CPM_ASK_END, Some(id)) => Question::End(id),
            _ => return 0,
        };
        let Some(text) = sessions.answer(Instant::now(), question, host) else {
            return 0;
        };
        *kept = text;
        if room.is_null() {
            return -1;
        }
        // SAFETY: not NULL, and C lends room for one text, which lives in the handle.
        unsafe { room.write(lend(kept.as_bytes())) };
        1
    })
}

pub(super) extern "C" fn sessions_shut_down(sessions: *mut cpm_sessions, context: *mut c_void) {
    if sessions.is_null() {
        return;
    }
    // SAFETY: from `sessions_new`, shut down once (cpm.h).
    let handle = unsafe { Box::from_raw(sessions.cast::<SessionsHandle>()) };
    // SAFETY: the service lives as long as its sessions are used (cpm.h), and so does its table.
    let host = CHost::new(unsafe { table((*handle.service).host) }, context);
    boundary(
        || handle.sessions.shut_down(&host),
        |place| {
            host.log(
                LogLevel::Critical,
                format_args!("panic at {place} while shutting down"),
            );
        },
    );
}
