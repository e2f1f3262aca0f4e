//! Entries of the table for the service itself.

use std::cell::RefCell;
use std::ffi::{c_int, c_void};
use std::rc::Rc;

use super::bindings::{CPM_ABI, cpm_host, cpm_received, cpm_service, cpm_str};
use super::boundary::boundary;
use super::handle::Handle;
use super::host::{CHost, borrowed};
use crate::controlling::{ControllingFunction, Received, Unparsed};
use crate::log::at;
use crate::policy::{RunsAs, Settings, without_credentials};
use crate::processes::{Proxy as _, Service};
use crate::random::try_fill_random;

/// The content of a `struct cpm_service`.
pub(super) struct ServiceHandle {
    pub(super) host: *const cpm_host,
    pub(super) stage: RefCell<ServiceStage>,
    /// Borrowed by C until the next refusal.
    pub(super) unparsed: RefCell<Option<Unparsed>>,
}

impl Handle for cpm_service {
    type Content = ServiceHandle;
}

pub(super) enum ServiceStage {
    Configuring(Box<Settings>),
    Running(Rc<Service>),
}

impl ServiceHandle {
    /// The host, for a call with this context.
    pub(super) fn proxy(&self, context: *mut c_void) -> CHost<'_> {
        // SAFETY: `service_new` checked the pointer, and the table lives as long as the service
        // (cpm.h), that is, as `self`.
        CHost::new(unsafe { &*self.host }, context)
    }

    /// The service, once it has started.
    pub(super) fn running(&self) -> Option<Rc<Service>> {
        match &*self.stage.try_borrow().ok()? {
            ServiceStage::Running(service) => Some(Rc::clone(service)),
            ServiceStage::Configuring(_) => None,
        }
    }
}

/// Runs `body` on a service that has started; after a panic, which is logged with `doing`, the
/// result is `failed`.
pub(super) fn on_service<T: Copy>(
    service: *const cpm_service,
    context: *mut c_void,
    failed: T,
    doing: &str,
    body: impl FnOnce(&ServiceHandle, &Rc<Service>, &CHost<'_>) -> T,
) -> T {
    // SAFETY: NULL or a live handle, for the duration of the call (cpm.h).
    let Some(handle) = (unsafe { cpm_service::get(service) }) else {
        return failed;
    };
    let Some(running) = handle.running() else {
        return failed;
    };
    let proxy = handle.proxy(context);
    boundary(
        || body(handle, &running, &proxy),
        |place| {
            proxy.log(
                at!(Critical),
                format_args!("panic at {place} while {doing}"),
            );
            failed
        },
    )
}

/// The same, with a received request lent by C.
pub(super) fn on_received<T: Copy>(
    service: *const cpm_service,
    received: *const cpm_received,
    context: *mut c_void,
    failed: T,
    body: impl FnOnce(&Rc<ControllingFunction>, &Received<'_>, &str, &CHost<'_>) -> T,
) -> T {
    // SAFETY: NULL, or lent for the duration of the call (cpm.h).
    let Some(lent) = (unsafe { received.as_ref() }) else {
        return failed;
    };
    on_service(
        service,
        context,
        failed,
        "working on a request",
        |_, running, proxy| {
            // SAFETY: lent for the duration of the call (cpm.h).
            let (message, uri, source, to_tag) = unsafe {
                (
                    borrowed(lent.message),
                    borrowed(lent.request_uri),
                    borrowed(lent.source_address),
                    borrowed(lent.to_tag),
                )
            };
            let text = |bytes| std::str::from_utf8(bytes).ok();
            let Some(request_uri) = text(uri) else {
                return failed;
            };
            let received = Received {
                message,
                request_uri,
                source_address: text(source).and_then(|source| source.parse().ok()),
            };
            let to_tag = text(to_tag).unwrap_or_default();
            body(&running.control(), &received, to_tag, proxy)
        },
    )
}

pub(super) extern "C" fn service_new(host: *const cpm_host) -> *mut cpm_service {
    boundary(
        || {
            // SAFETY: the pointer is NULL or the host's table (cpm.h).
            let fits = unsafe { host.as_ref() }.is_some_and(|host| host.abi == CPM_ABI);
            if !fits {
                return std::ptr::null_mut();
            }
            cpm_service::give(ServiceHandle {
                host,
                stage: RefCell::new(ServiceStage::Configuring(Box::default())),
                unparsed: RefCell::new(None),
            })
        },
        |_| std::ptr::null_mut(),
    )
}

/// Runs `body` on a service that is being configured or running; -1 after a panic.
fn on_stage(
    service: *const cpm_service,
    doing: &str,
    body: impl FnOnce(&mut ServiceStage, &CHost<'_>) -> c_int,
) -> c_int {
    // SAFETY: NULL or a live handle, for the duration of the call (cpm.h).
    let Some(handle) = (unsafe { cpm_service::get(service) }) else {
        return -1;
    };
    let proxy = handle.proxy(std::ptr::null_mut());
    boundary(
        || match handle.stage.try_borrow_mut() {
            Ok(mut stage) => body(&mut stage, &proxy),
            Err(_) => -1,
        },
        |place| {
            proxy.log(
                at!(Critical),
                format_args!("panic at {place} while {doing}"),
            );
            -1
        },
    )
}

pub(super) extern "C" fn service_set(
    service: *mut cpm_service,
    name: cpm_str,
    value: cpm_str,
) -> c_int {
    on_stage(service, "configuring", |stage, proxy| {
        // SAFETY: lent for the duration of this call (cpm.h).
        let (name, value) = unsafe { (borrowed(name), borrowed(value)) };
        let (name, value) = (
            String::from_utf8_lossy(name),
            String::from_utf8_lossy(value),
        );
        let ServiceStage::Configuring(settings) = stage else {
            proxy.log(at!(Error), format_args!("parameter {name} is set too late"));
            return -1;
        };
        match settings.set(&name, &value) {
            Ok(()) => 0,
            Err(error) => {
                proxy.log(
                    at!(Error),
                    format_args!(
                        "parameter {name}: \"{}\" {error}",
                        without_credentials(&value)
                    ),
                );
                -1
            }
        }
    })
}

pub(super) extern "C" fn service_start(
    service: *mut cpm_service,
    own_uri: cpm_str,
    user: u32,
    group: u32,
) -> c_int {
    on_stage(service, "starting", |stage, proxy| {
        let ServiceStage::Configuring(settings) = stage else {
            return -1;
        };
        let mut seed = [0; 8];
        if try_fill_random(&mut seed).is_err() {
            proxy.log(
                at!(Error),
                format_args!("the system provides no random numbers"),
            );
            return -1;
        }
        // SAFETY: lent for the duration of this call (cpm.h).
        let own_uri = String::from_utf8_lossy(unsafe { borrowed(own_uri) });
        let settings = (**settings).clone();
        let runs_as = (user != 0).then_some(RunsAs { user, group });
        let seed = u64::from_ne_bytes(seed);
        match Service::start(settings, runs_as, seed, &own_uri, proxy) {
            Ok(started) => {
                *stage = ServiceStage::Running(Rc::new(started));
                0
            }
            Err(error) => {
                proxy.log(at!(Error), format_args!("{error}"));
                -1
            }
        }
    })
}

pub(super) extern "C" fn service_free(service: *mut cpm_service) {
    // SAFETY: NULL or from `service_new`, freed once (cpm.h). Requests that still exist keep their
    // own reference.
    let handle = unsafe { cpm_service::take(service) };
    boundary(|| drop(handle), |_| ());
}
