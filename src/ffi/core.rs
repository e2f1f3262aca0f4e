//! The table that the core offers: each entry of `struct cpm_core`.

use std::cell::RefCell;
use std::ffi::{c_int, c_void};
use std::rc::Rc;

use bytes::Bytes;

use super::bindings::{
    self, CPM_ABI, cpm_core as CoreTable, cpm_fate, cpm_field, cpm_host, cpm_job, cpm_outcome,
    cpm_received, cpm_reply, cpm_request, cpm_service, cpm_str,
};
use super::boundary::boundary;
use super::host::{ABSENT, CHost, borrowed, lend};
use crate::controlling::{
    Check, ControllingFunction, FanOut, FanOutJob, Fate, Host, LogLevel, Outcome, Progress,
    Received, Reply, Request,
};
use crate::policy::Settings;

static CORE: CoreTable = CoreTable {
    abi: CPM_ABI,
    service_new: Some(service_new),
    service_set: Some(service_set),
    service_start: Some(service_start),
    service_free: Some(service_free),
    classify: Some(classify),
    check: Some(check),
    fan_out: Some(fan_out),
    reply: Some(reply),
    field: Some(field),
    recipients: Some(recipients),
    recipient: Some(recipient),
    set_originator: Some(set_originator),
    request_free: Some(request_free),
    job_new: Some(job_new),
    job_run: Some(job_run),
    job_reply: Some(job_reply),
    job_free: Some(job_free),
    outcome: Some(outcome),
};

/// The one symbol of the core: its table, or NULL when the caller was built for another ABI.
#[unsafe(no_mangle)]
pub extern "C" fn cpm_core(abi: u32) -> *const CoreTable {
    if abi == CPM_ABI {
        &raw const CORE
    } else {
        std::ptr::null()
    }
}

/// What a `struct cpm_service` is.
struct ServiceHandle {
    host: *const cpm_host,
    stage: Stage,
}

enum Stage {
    Configuring(Box<Settings>),
    Running(Rc<ControllingFunction>),
}

/// What a `struct cpm_request` is.
struct RequestHandle {
    host: *const cpm_host,
    request: RefCell<Request>,
}

/// The host's table.
///
/// # Safety
/// `host` is the pointer that `service_new` got and checked, and the service still lives: cpm.h asks that
/// the table lives as long as that.
unsafe fn table<'a>(host: *const cpm_host) -> &'a cpm_host {
    // SAFETY: as the caller promises.
    unsafe { &*host }
}

extern "C" fn service_new(host: *const cpm_host) -> *mut cpm_service {
    boundary(
        || {
            // SAFETY: the pointer is NULL or the host's table (cpm.h).
            let fits = unsafe { host.as_ref() }.is_some_and(|host| host.abi == CPM_ABI);
            if !fits {
                return std::ptr::null_mut();
            }
            let stage = Stage::Configuring(Box::default());
            Box::into_raw(Box::new(ServiceHandle { host, stage })).cast()
        },
        |_| std::ptr::null_mut(),
    )
}

extern "C" fn service_set(service: *mut cpm_service, name: cpm_str, value: cpm_str) -> c_int {
    // SAFETY: the handle is NULL or from `service_new`, not freed, and nobody else uses it now: one
    // thread per process (cpm.h).
    let Some(service) = (unsafe { service.cast::<ServiceHandle>().as_mut() }) else {
        return -1;
    };
    // SAFETY: the service lives.
    let host = CHost::new(unsafe { table(service.host) }, std::ptr::null_mut());
    boundary(
        || {
            // SAFETY: lent for the duration of this call (cpm.h).
            let (name, value) = unsafe { (borrowed(name), borrowed(value)) };
            let (name, value) = (
                String::from_utf8_lossy(name),
                String::from_utf8_lossy(value),
            );
            let Stage::Configuring(settings) = &mut service.stage else {
                host.log(
                    LogLevel::Error,
                    format_args!("parameter {name} comes too late"),
                );
                return -1;
            };
            match settings.set(&name, &value) {
                Ok(()) => 0,
                Err(error) => {
                    host.log(
                        LogLevel::Error,
                        format_args!("parameter {name}: \"{value}\" {error}"),
                    );
                    -1
                }
            }
        },
        |place| {
            host.log(
                LogLevel::Critical,
                format_args!("panic at {place} while configuring"),
            );
            -1
        },
    )
}

extern "C" fn service_start(service: *mut cpm_service) -> c_int {
    // SAFETY: as in `service_set`.
    let Some(service) = (unsafe { service.cast::<ServiceHandle>().as_mut() }) else {
        return -1;
    };
    // SAFETY: the service lives.
    let host = CHost::new(unsafe { table(service.host) }, std::ptr::null_mut());
    boundary(
        || {
            let Stage::Configuring(settings) = &service.stage else {
                return -1;
            };
            let mut seed = [0; 8];
            if getrandom::fill(&mut seed).is_err() {
                host.log(
                    LogLevel::Error,
                    format_args!("the system gives no random numbers"),
                );
                return -1;
            }
            match ControllingFunction::new((**settings).clone(), u64::from_ne_bytes(seed)) {
                Ok(running) => {
                    service.stage = Stage::Running(Rc::new(running));
                    0
                }
                Err(error) => {
                    host.log(LogLevel::Error, format_args!("{error}"));
                    -1
                }
            }
        },
        |place| {
            host.log(
                LogLevel::Critical,
                format_args!("panic at {place} while starting"),
            );
            -1
        },
    )
}

extern "C" fn service_free(service: *mut cpm_service) {
    if service.is_null() {
        return;
    }
    // SAFETY: from `service_new`, freed once (cpm.h). Requests that still live keep their own reference.
    let service = unsafe { Box::from_raw(service.cast::<ServiceHandle>()) };
    boundary(|| drop(service), |_| ());
}

extern "C" fn classify(
    service: *const cpm_service,
    received: *const cpm_received,
) -> *mut cpm_request {
    // SAFETY: NULL or live handles, lent for the duration of the call (cpm.h).
    let (service, received) =
        unsafe { (service.cast::<ServiceHandle>().as_ref(), received.as_ref()) };
    let (Some(service), Some(received)) = (service, received) else {
        return std::ptr::null_mut();
    };
    boundary(
        || {
            let Stage::Running(running) = &service.stage else {
                return std::ptr::null_mut();
            };
            // SAFETY: lent for the duration of this call (cpm.h).
            let (message, uri, source) = unsafe {
                (
                    borrowed(received.message),
                    borrowed(received.request_uri),
                    borrowed(received.source_address),
                )
            };
            let Ok(request_uri) = std::str::from_utf8(uri) else {
                return std::ptr::null_mut();
            };
            let source_address = std::str::from_utf8(source)
                .ok()
                .and_then(|text| text.parse().ok());
            match running.classify(&Received {
                message,
                request_uri,
                source_address,
            }) {
                Some(request) => {
                    let request = RefCell::new(request);
                    Box::into_raw(Box::new(RequestHandle {
                        host: service.host,
                        request,
                    }))
                    .cast()
                }
                None => std::ptr::null_mut(),
            }
        },
        |place| {
            // SAFETY: the service lives.
            let host = CHost::new(unsafe { table(service.host) }, std::ptr::null_mut());
            host.log(
                LogLevel::Critical,
                format_args!("panic at {place} while classifying"),
            );
            std::ptr::null_mut()
        },
    )
}

/// The handle of a request.
///
/// # Safety
/// The pointer is NULL or from `classify` and not freed.
unsafe fn handle<'a>(request: *const cpm_request) -> Option<&'a RequestHandle> {
    // SAFETY: as the caller promises.
    unsafe { request.cast::<RequestHandle>().as_ref() }
}

/// Runs `body` on a request; after a panic the request is refused with 500.
fn on_request(
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

extern "C" fn check(request: *mut cpm_request, context: *mut c_void) -> c_int {
    on_request(request, context, |cell, host| {
        run_checks(cell, host, request)
    })
}

/// 1: accepted, 0: there is a reply, -1: called from within a call on the same request.
fn run_checks(cell: &RefCell<Request>, host: &CHost<'_>, handle: *mut cpm_request) -> c_int {
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

extern "C" fn fan_out(request: *mut cpm_request, context: *mut c_void) -> c_int {
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
            FanOut::NoRoom => 0,
            FanOut::Failed | FanOut::NotAccepted => -1,
        };
        request.handle_fan_out(result, host);
        code
    })
}

extern "C" fn reply(request: *const cpm_request, reply: *mut cpm_reply) -> c_int {
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
fn lend_reply(answer: Option<&Reply>, room: *mut cpm_reply) -> c_int {
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
    };
    // SAFETY: not NULL, and C lends room for one reply. What is in it lives in the handle.
    unsafe { room.write(lent) };
    0
}

/// What a `struct cpm_job` is.
struct JobHandle {
    host: *const cpm_host,
    job: FanOutJob,
    reply: Option<Reply>,
}

extern "C" fn job_new(service: *const cpm_service, job: cpm_str) -> *mut cpm_job {
    // SAFETY: NULL or a live handle (cpm.h).
    let Some(service) = (unsafe { service.cast::<ServiceHandle>().as_ref() }) else {
        return std::ptr::null_mut();
    };
    boundary(
        || {
            // SAFETY: lent for the duration of this call (cpm.h).
            let bytes = Bytes::copy_from_slice(unsafe { borrowed(job) });
            match FanOutJob::read(bytes) {
                Some(job) => {
                    let handle = JobHandle {
                        host: service.host,
                        job,
                        reply: None,
                    };
                    Box::into_raw(Box::new(handle)).cast()
                }
                None => std::ptr::null_mut(),
            }
        },
        |_| std::ptr::null_mut(),
    )
}

extern "C" fn job_run(job: *mut cpm_job, context: *mut c_void, last: c_int) -> c_int {
    // SAFETY: NULL or from `job_new`, not freed, and used by this call only: one thread per process.
    let Some(handle) = (unsafe { job.cast::<JobHandle>().as_mut() }) else {
        return -1;
    };
    // SAFETY: the service lives as long as its jobs are used (cpm.h).
    let host = CHost::new(unsafe { table(handle.host) }, context);
    let JobHandle { job, reply, .. } = handle;
    boundary(
        || {
            let done = job.run(&host, last != 0) == Progress::Done;
            if done {
                *reply = Some(job.reply());
            }
            c_int::from(done)
        },
        |place| {
            host.log(
                LogLevel::Critical,
                format_args!("panic at {place} while fanning out"),
            );
            -1
        },
    )
}

extern "C" fn job_reply(job: *const cpm_job, reply: *mut cpm_reply) -> c_int {
    // SAFETY: NULL or a live handle (cpm.h).
    let Some(handle) = (unsafe { job.cast::<JobHandle>().as_ref() }) else {
        return -1;
    };
    boundary(|| lend_reply(handle.reply.as_ref(), reply), |_| -1)
}

extern "C" fn job_free(job: *mut cpm_job) {
    if job.is_null() {
        return;
    }
    // SAFETY: from `job_new`, freed once (cpm.h).
    let job = unsafe { Box::from_raw(job.cast::<JobHandle>()) };
    boundary(|| drop(job), |_| ());
}

extern "C" fn field(request: *const cpm_request, field: cpm_field) -> cpm_str {
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

extern "C" fn recipients(request: *const cpm_request) -> usize {
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

extern "C" fn recipient(request: *const cpm_request, index: usize) -> cpm_str {
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

extern "C" fn set_originator(request: *mut cpm_request, uri: cpm_str) -> c_int {
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

extern "C" fn request_free(request: *mut cpm_request) {
    if request.is_null() {
        return;
    }
    // SAFETY: from `classify`, freed once (cpm.h).
    let request = unsafe { Box::from_raw(request.cast::<RequestHandle>()) };
    boundary(|| drop(request), |_| ());
}

extern "C" fn outcome(
    service: *const cpm_service,
    outcome: *const cpm_outcome,
    context: *mut c_void,
) -> cpm_fate {
    // SAFETY: NULL or live handles, lent for the duration of the call (cpm.h).
    let (service, outcome) =
        unsafe { (service.cast::<ServiceHandle>().as_ref(), outcome.as_ref()) };
    let (Some(service), Some(outcome)) = (service, outcome) else {
        return bindings::CPM_FATE_NONE;
    };
    // SAFETY: the service lives.
    let host = CHost::new(unsafe { table(service.host) }, context);
    boundary(
        || {
            let Stage::Running(running) = &service.stage else {
                return bindings::CPM_FATE_NONE;
            };
            let outcome = Outcome {
                code: u16::try_from(outcome.code).unwrap_or(0),
                attempt: outcome.attempt,
                // SAFETY: lent for the duration of this call (cpm.h).
                request: unsafe { borrowed(outcome.request) },
            };
            match running.handle_outcome(&outcome, &host) {
                Some(Fate::Delivered) => bindings::CPM_FATE_DELIVERED,
                Some(Fate::Failed) => bindings::CPM_FATE_FAILED,
                Some(Fate::Interworked) => bindings::CPM_FATE_INTERWORKED,
                None => bindings::CPM_FATE_NONE,
            }
        },
        |place| {
            host.log(
                LogLevel::Critical,
                format_args!("panic at {place} at the end of a request"),
            );
            bindings::CPM_FATE_NONE
        },
    )
}
