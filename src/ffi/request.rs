//! Entries of the table for received requests: the functions of the routing script.

use std::ffi::{c_int, c_void};
use std::rc::Rc;

use super::bindings::{
    self, cpm_field, cpm_received, cpm_reply, cpm_request, cpm_script_result, cpm_service, cpm_str,
};
use super::boundary::boundary;
use super::handle::Handle;
use super::host::{ABSENT, CHost, borrowed, lend, lend_answer};
use super::request_handle::RequestHandle;
use super::service::on_received;
use crate::controlling::{Request, ScriptSetting, ScriptSettingError};
use crate::log::at;
use crate::processes::{
    Answer, Proxy as _, ReceivedRequest, Script, forward_notification, handle_session_traffic,
};

fn result_of(script: Script) -> cpm_script_result {
    match script {
        Script::No => bindings::CPM_SCRIPT_NO,
        Script::End => bindings::CPM_SCRIPT_END,
        Script::Yes => bindings::CPM_SCRIPT_YES,
    }
}

pub(super) extern "C" fn handle(
    service: *const cpm_service,
    received: *const cpm_received,
    room: *mut *mut cpm_request,
    context: *mut c_void,
) -> cpm_script_result {
    if room.is_null() {
        return bindings::CPM_SCRIPT_NO;
    }
    // SAFETY: not NULL, and C lends space for one pointer.
    unsafe { room.write(std::ptr::null_mut()) };
    let no = bindings::CPM_SCRIPT_NO;
    let mut request = None;
    let of_others = on_received(
        service,
        received,
        context,
        no,
        |control, received, to_tag, proxy| {
            if let Some(script) = handle_session_traffic(control, received.message, to_tag, proxy) {
                return result_of(script);
            }
            request = ReceivedRequest::classify(control, received);
            if request.is_some() {
                return no;
            }
            result_of(forward_notification(control, received, false, proxy))
        },
    );
    let Some(request) = request else {
        return of_others;
    };
    let request = give(service, request);
    // SAFETY: as above.
    unsafe { room.write(request) };
    on_request(request, context, true, |received, proxy| {
        received.handle(proxy)
    })
}

pub(super) extern "C" fn classify(
    service: *const cpm_service,
    received: *const cpm_received,
) -> *mut cpm_request {
    let mut request = None;
    on_received(
        service,
        received,
        std::ptr::null_mut(),
        (),
        |control, received, _, _| request = ReceivedRequest::classify(control, received),
    );
    request.map_or(std::ptr::null_mut(), |request| give(service, request))
}

/// Passes a request of this service to C.
fn give(service: *const cpm_service, received: ReceivedRequest) -> *mut cpm_request {
    // SAFETY: NULL or a live handle, for the duration of the call (cpm.h).
    let host = unsafe { cpm_service::get(service) }.map(|service| service.host);
    match host {
        Some(host) => {
            let request = Rc::clone(received.request());
            cpm_request::give(RequestHandle::new(&request, Some(received), host))
        }
        None => std::ptr::null_mut(),
    }
}

/// Runs `body` on a request; after a panic the request is refused with 500, which is sent if a
/// reply `is_due`.
fn on_request(
    request: *mut cpm_request,
    context: *mut c_void,
    is_due: bool,
    body: impl FnOnce(&ReceivedRequest, &CHost<'_>) -> Script,
) -> cpm_script_result {
    // SAFETY: NULL or a live handle, for the duration of the call (cpm.h).
    let Some((handle, received)) =
        (unsafe { cpm_request::get(request) }).and_then(|h| Some((h, h.received.as_ref()?)))
    else {
        return bindings::CPM_SCRIPT_NO;
    };
    // SAFETY: `service_new` checked the pointer, and the table outlives the requests of its service
    // (cpm.h).
    let proxy = CHost::new(unsafe { &*handle.host }, context).about(request);
    boundary(
        || result_of(body(received, &proxy)),
        |place| {
            proxy.log(at!(Critical), format_args!("panic at {place}"));
            received.fail(&proxy, is_due);
            bindings::CPM_SCRIPT_NO
        },
    )
}

pub(super) extern "C" fn check(
    request: *mut cpm_request,
    context: *mut c_void,
) -> cpm_script_result {
    on_request(request, context, false, |received, proxy| {
        received.check(proxy)
    })
}

pub(super) extern "C" fn fan_out(
    request: *mut cpm_request,
    context: *mut c_void,
) -> cpm_script_result {
    on_request(request, context, true, |received, proxy| {
        received.fan_out(proxy)
    })
}

pub(super) extern "C" fn reply(
    request: *mut cpm_request,
    context: *mut c_void,
) -> cpm_script_result {
    on_request(request, context, false, |received, proxy| {
        received.reply(proxy)
    })
}

pub(super) extern "C" fn forward_imdn(
    service: *const cpm_service,
    received: *const cpm_received,
    context: *mut c_void,
) -> cpm_script_result {
    on_received(
        service,
        received,
        context,
        bindings::CPM_SCRIPT_NO,
        |control, received, _, proxy| {
            result_of(forward_notification(control, received, true, proxy))
        },
    )
}

/// Reads from a request; `absent` if other code is currently working on it.
fn look<T>(
    request: *const cpm_request,
    absent: T,
    body: impl FnOnce(&RequestHandle, &Request) -> Option<T>,
) -> T {
    // SAFETY: NULL or a live handle, for the duration of the call (cpm.h).
    let Some(handle) = (unsafe { cpm_request::get(request) }) else {
        return absent;
    };
    let seen = boundary(
        || {
            let request = handle.request.try_borrow().ok()?;
            body(handle, &request)
        },
        |_| None,
    );
    seen.unwrap_or(absent)
}

pub(super) extern "C" fn answer(request: *const cpm_request, room: *mut cpm_reply) -> c_int {
    look(request, 0, |_, request| {
        let reply = request.reply().filter(|_| !room.is_null())?;
        let lent = lend_answer(&Answer::of(reply));
        // SAFETY: not NULL, and C lends space for one reply. Its content lives in the handle.
        unsafe { room.write(lent) };
        Some(1)
    })
}

pub(super) extern "C" fn field(request: *const cpm_request, field: cpm_field) -> cpm_str {
    look(request, ABSENT, |handle, request| {
        let text = match field {
            bindings::CPM_FIELD_KIND => Some(request.kind().as_str().as_bytes()),
            bindings::CPM_FIELD_MODE => Some(request.mode().as_str().as_bytes()),
            bindings::CPM_FIELD_ORIGINATOR => request.originator().map(str::as_bytes),
            bindings::CPM_FIELD_CONVERSATION_ID => request.conversation_id(),
            bindings::CPM_FIELD_CONTRIBUTION_ID => request.contribution_id(),
            bindings::CPM_FIELD_MESSAGE_ID => request.message_id().map(str::as_bytes),
            bindings::CPM_FIELD_CALL_ID => request.call_id(),
            bindings::CPM_FIELD_ICID => request.icid().map(str::as_bytes),
            bindings::CPM_FIELD_SESSION => handle.session.as_deref().map(str::as_bytes),
            bindings::CPM_FIELD_REASON => request.reason(),
            bindings::CPM_FIELD_WARNING => request
                .reply()
                .and_then(|reply| reply.warning)
                .map(str::as_bytes),
            _ => None,
        };
        text.map(lend)
    })
}

pub(super) extern "C" fn number(request: *const cpm_request, field: cpm_field) -> i64 {
    const NONE: i64 = -1;
    look(request, NONE, |_, request| {
        let number = match field {
            bindings::CPM_FIELD_CODE => u64::from(request.code()?.as_u16()),
            bindings::CPM_FIELD_RETRY_AFTER => u64::from(request.retry_after_s()?),
            bindings::CPM_FIELD_RECIPIENTS => request.recipients().len() as u64,
            bindings::CPM_FIELD_BYTES => {
                Some(request.content_bytes()).filter(|bytes| *bytes > 0)?
            }
            bindings::CPM_FIELD_ALLOW_ANONYMITY => u64::from(request.allows_anonymity()),
            bindings::CPM_FIELD_MAX_RECIPIENTS => request.max_recipients() as u64,
            _ => return None,
        };
        i64::try_from(number).ok()
    })
}

pub(super) extern "C" fn recipient(request: *const cpm_request, index: usize) -> cpm_str {
    look(request, ABSENT, |_, request| {
        let uri = request.recipients().uri(index)?;
        Some(lend(uri.as_bytes()))
    })
}

fn setting_of(field: cpm_field) -> Option<ScriptSetting> {
    Some(match field {
        bindings::CPM_FIELD_ORIGINATOR => ScriptSetting::Originator,
        bindings::CPM_FIELD_ALLOW_ANONYMITY => ScriptSetting::AllowAnonymity,
        bindings::CPM_FIELD_MAX_RECIPIENTS => ScriptSetting::MaxRecipients,
        bindings::CPM_FIELD_CODE => ScriptSetting::Code,
        bindings::CPM_FIELD_REASON => ScriptSetting::Reason,
        bindings::CPM_FIELD_RETRY_AFTER => ScriptSetting::RetryAfter,
        _ => return None,
    })
}

pub(super) extern "C" fn set(request: *mut cpm_request, field: cpm_field, value: cpm_str) -> c_int {
    // SAFETY: NULL or a live handle, for the duration of the call (cpm.h).
    let Some(handle) = (unsafe { cpm_request::get(request) }) else {
        return -1;
    };
    // SAFETY: `service_new` checked the pointer, and the table outlives the requests of its service
    // (cpm.h).
    let proxy = CHost::new(unsafe { &*handle.host }, std::ptr::null_mut());
    let set = boundary(
        || {
            // SAFETY: lent for the duration of this call (cpm.h).
            let value = String::from_utf8_lossy(unsafe { borrowed(value) });
            let mut request = handle.request.try_borrow_mut().ok()?;
            let set = match setting_of(field) {
                Some(setting) => request.set(setting, &value),
                None => Err(ScriptSettingError::ReadOnly),
            };
            let correlation = request.correlation();
            set.map_err(|error| proxy.log(at!(Error), format_args!("{error}, {correlation}")))
                .ok()
        },
        |place| {
            proxy.log(at!(Critical), format_args!("panic at {place}"));
            None
        },
    );
    if set.is_some() { 0 } else { -1 }
}

pub(super) extern "C" fn request_free(request: *mut cpm_request) {
    // SAFETY: NULL or from `classify` or `handle`, freed once (cpm.h).
    let handle = unsafe { cpm_request::take(request) };
    boundary(|| drop(handle), |_| ());
}
