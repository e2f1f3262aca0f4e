//! The entries of the table that are about the service.

use std::cell::RefCell;
use std::error::Error;
use std::ffi::{c_int, c_void};
use std::rc::Rc;

use rustix::time::{ClockId, clock_gettime};

use super::bindings::{
    self, CPM_ABI, cpm_fate, cpm_host, cpm_outcome, cpm_received, cpm_request, cpm_service, cpm_str,
};
use super::boundary::boundary;
use super::host::{CHost, borrowed};
use super::request::RequestHandle;
use crate::controlling::large_message_mode::{LargeModeSettings, MsrpAddresses};
use crate::controlling::{
    Again, ControllingFunction, Fate, GroupFinder, Host, Ids, LogLevel, Notification, Outcome,
    Received, SenderTable, Unparsed, fill_random,
};
use crate::group::source::SourceError;
use crate::names::{self, NameTable, Names};
use crate::policy::{RunsAs, Settings};
use crate::random::try_fill_random;
use crate::relay::{Listeners, RelaySettings};
use crate::shared::{OutstandingTable, RequestTable};
use crate::sip::Uri;

/// What a `struct cpm_service` is.
pub(super) struct ServiceHandle {
    pub(super) host: *const cpm_host,
    pub(super) stage: Stage,
    /// What the relay starts from, till one process takes it.
    pub(super) relay: Option<(RelaySettings, Listeners)>,
    /// What C borrows until the next notification.
    pub(super) notification: RefCell<Notification>,
    /// The same until the next request that goes out once more.
    pub(super) again: RefCell<Option<Again>>,
    /// The same for the next refusal.
    pub(super) unparsed: RefCell<Option<Unparsed>>,
}

pub(super) enum Stage {
    Configuring(Box<Settings>),
    Running(Rc<ControllingFunction>),
}

/// The host's table.
///
/// # Safety
/// `host` is the pointer that `service_new` got and checked, and the service still lives: cpm.h asks that
/// the table lives as long as that.
pub(super) unsafe fn table<'a>(host: *const cpm_host) -> &'a cpm_host {
    // SAFETY: as the caller promises.
    unsafe { &*host }
}

pub(super) extern "C" fn service_new(host: *const cpm_host) -> *mut cpm_service {
    boundary(
        || {
            // SAFETY: the pointer is NULL or the host's table (cpm.h).
            let fits = unsafe { host.as_ref() }.is_some_and(|host| host.abi == CPM_ABI);
            if !fits {
                return std::ptr::null_mut();
            }
            let stage = Stage::Configuring(Box::default());
            let handle = ServiceHandle {
                host,
                stage,
                relay: None,
                notification: RefCell::new(Notification::NotOurs),
                again: RefCell::new(None),
                unparsed: RefCell::new(None),
            };
            Box::into_raw(Box::new(handle)).cast()
        },
        |_| std::ptr::null_mut(),
    )
}

pub(super) extern "C" fn service_set(
    service: *mut cpm_service,
    name: cpm_str,
    value: cpm_str,
) -> c_int {
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

pub(super) extern "C" fn service_start(
    service: *mut cpm_service,
    own_uri: cpm_str,
    user: u32,
    group: u32,
) -> c_int {
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
            if try_fill_random(&mut seed).is_err() {
                host.log(
                    LogLevel::Error,
                    format_args!("the system gives no random numbers"),
                );
                return -1;
            }
            // SAFETY: lent for the duration of this call (cpm.h).
            let own_uri = String::from_utf8_lossy(unsafe { borrowed(own_uri) });
            let settings = (**settings).clone();
            let runs_as = (user != 0).then_some(RunsAs { user, group });
            match start(settings, runs_as, u64::from_ne_bytes(seed), &own_uri, &host) {
                Ok((running, relay)) => {
                    service.stage = Stage::Running(Rc::new(running));
                    service.relay = relay;
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

/// The service, and what the relay starts from where there is large message mode.
#[allow(clippy::type_complexity)]
fn start(
    mut settings: Settings,
    runs_as: Option<RunsAs>,
    key_seed: u64,
    own_uri: &str,
    host: &CHost<'_>,
) -> Result<(ControllingFunction, Option<(RelaySettings, Listeners)>), Box<dyn Error>> {
    // What cannot be anyhow leaves no folder behind.
    settings.check()?;
    check_group_sources(&settings, host)?;
    if let Some(why) = settings.prepare_state_dir(runs_as)? {
        host.log(
            LogLevel::Notice,
            format_args!("{why}; going on without a state directory"),
        );
    }
    if settings.large_mode.is_on()
        && let Some(file_system) = settings.prepare_spool_dir(runs_as)?
    {
        host.log(
            LogLevel::Notice,
            format_args!(
                "the spool for large messages lies in memory ({file_system}): name a folder on a disk with \
                 msrp_spool_dir, or none"
            ),
        );
    }
    let id_key = settings.id_key(runs_as)?;
    let mut service = ControllingFunction::new(settings, key_seed)?;
    // Without it every request to a name takes the long way, by the process that looks names up.
    let table = host.share(names::TABLE_WORDS);
    let names = Names {
        servers: service.settings().dns_servers.clone(),
        table: table.map(|words| NameTable::new(words, monotonic_s)),
    };
    service = service.with_names(names.clone());
    if let Some(key) = id_key {
        service = service.with_ids(Ids::new(&key));
    }
    let records = service.settings().imdn_records;
    if records > 0 {
        let words = host.share(SenderTable::words(records));
        let words = words.ok_or("there is no memory for so many imdn_records")?;
        service = service.with_senders(SenderTable::new(words, fill_random, monotonic_s));
    }
    let requests = service.settings().request_records;
    if requests > 0 {
        let words = host.share(RequestTable::words(requests));
        let words = words.ok_or("there is no memory for so many request_records")?;
        service = service.with_requests(RequestTable::new(words, fill_random, monotonic_s));
    }
    if let Some(words) = host.share(OutstandingTable::WORDS) {
        service = service.with_outstanding(OutstandingTable::new(words, key_seed, monotonic_s));
    }
    let policy = &service.settings().large_mode;
    if !policy.is_on() {
        return Ok((service, None));
    }
    let relay = RelaySettings {
        names,
        ..RelaySettings::new(service.settings())
    };
    let listeners = Listeners::bind(&relay)?;
    let addresses = MsrpAddresses::new(policy, listeners.fingerprint());
    let contact = policy.contact_uri.as_deref().unwrap_or(own_uri);
    if !matches!(Uri::parse(contact), Ok(Uri::Sip(_))) {
        return Err("the proxy has no listener for SIP: set contact_uri".into());
    }
    let large_mode = LargeModeSettings::new(policy, contact.to_owned(), addresses);
    Ok((
        service.with_large_mode(large_mode),
        Some((relay, listeners)),
    ))
}

/// The sources are opened by other processes; what is wrong with them is to be known before there are any. A server that does
/// not answer is not: it may come up later.
fn check_group_sources(settings: &Settings, host: &CHost<'_>) -> Result<(), SourceError> {
    GroupFinder::check(settings)?;
    for (url, source) in settings.group_sources.iter().zip(1..) {
        let Some(url) = url.strip_prefix("db:") else {
            continue;
        };
        let module = format!("db_{}", url.split(':').next().unwrap_or_default());
        if !host.has_database(&module) {
            return Err(SourceError::NoDatabaseModule { source, module });
        }
    }
    Ok(())
}

/// Seconds of the clock that all processes share.
fn monotonic_s() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    u64::try_from(now.tv_sec).unwrap_or(0)
}

pub(super) extern "C" fn service_free(service: *mut cpm_service) {
    if service.is_null() {
        return;
    }
    // SAFETY: from `service_new`, freed once (cpm.h). Requests that still live keep their own reference.
    let service = unsafe { Box::from_raw(service.cast::<ServiceHandle>()) };
    boundary(|| drop(service), |_| ());
}

/// A request that C lends. `None`: its Request-URI is no text.
///
/// # Safety
/// What `received` points to stays as it is for `'a`.
pub(super) unsafe fn borrowed_request<'a>(received: &cpm_received) -> Option<Received<'a>> {
    // SAFETY: as the caller promises.
    let (message, uri, source) = unsafe {
        (
            borrowed(received.message),
            borrowed(received.request_uri),
            borrowed(received.source_address),
        )
    };
    Some(Received {
        message,
        request_uri: std::str::from_utf8(uri).ok()?,
        source_address: std::str::from_utf8(source)
            .ok()
            .and_then(|text| text.parse().ok()),
    })
}

pub(super) extern "C" fn classify(
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
            let Some(received) = (unsafe { borrowed_request(received) }) else {
                return std::ptr::null_mut();
            };
            match running.classify(&received) {
                Some(request) => {
                    let session = request.session().map(|session| session.to_string());
                    Box::into_raw(Box::new(RequestHandle {
                        host: service.host,
                        request: RefCell::new(request),
                        session,
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

pub(super) extern "C" fn outcome(
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
