//! The entries of the table that are about names.

use std::ffi::{c_char, c_int};
use std::fmt::Write as _;
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};

use rustix::event::{EventfdFlags, eventfd};

use super::bindings::{
    self, CPM_MAX_PLACES, CPM_PLACE_BYTES, cpm_located, cpm_names, cpm_outgoing, cpm_places,
    cpm_service, cpm_str,
};
use super::boundary::boundary;
use super::host::{CHost, borrowed, lend_outgoing};
use super::service::{ServiceHandle, Stage, table};
use crate::controlling::{Again, Host, LogLevel};
use crate::names::{Found, Hop, Known, NameTable, NameTag, NameThread, Names, Place, Transport};

/// What a `struct cpm_names` is.
pub(super) struct NamesHandle {
    thread: NameThread<u64>,
    table: Option<NameTable>,
    found: Receiver<Found<u64>>,
    /// Tickets that have come to the same.
    rest: Option<Found<u64>>,
    signal: Arc<OwnedFd>,
}

impl NamesHandle {
    fn start(names: &Names) -> io::Result<Self> {
        let signal = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let (sender, found) = channel();
        let raise = Arc::clone(&signal);
        let thread = NameThread::start(names.clone(), move |found: Found<u64>| {
            // Without a receiver there is nobody to tell; a full counter is readable already.
            if sender.send(found).is_ok() {
                let _ = rustix::io::write(&raise, &1_u64.to_ne_bytes());
            }
        })?;
        Ok(NamesHandle {
            thread,
            table: names.table.clone(),
            found,
            rest: None,
            signal,
        })
    }

    fn next(&mut self) -> Option<(u64, Vec<Place>, Option<NameTag>)> {
        let mut found = match self.rest.take() {
            Some(found) => found,
            None => self.found.try_recv().ok()?,
        };
        let ticket = found.waiting.pop()?;
        let table = self.table.as_ref();
        let tag = match table.and_then(|table| table.find(&found.target)) {
            Some(Known::Places(_, tag)) => Some(tag),
            _ => None,
        };
        let places = found.places.clone();
        self.rest = (!found.waiting.is_empty()).then_some(found);
        Some((ticket, places, tag))
    }
}

fn running(service: *const cpm_service) -> Option<&'static ServiceHandle> {
    // SAFETY: NULL or a live handle, for the duration of the call (cpm.h), which the result does not outlive.
    unsafe { service.cast::<ServiceHandle>().as_ref() }
}

pub(super) extern "C" fn locate(
    service: *const cpm_service,
    uri: cpm_str,
    places: *mut cpm_places,
) -> cpm_located {
    let Some(ServiceHandle {
        stage: Stage::Running(service),
        ..
    }) = running(service)
    else {
        return bindings::CPM_LOCATED_NOWHERE;
    };
    boundary(
        || match hop_of(uri) {
            Hop::Numeric => bindings::CPM_LOCATED_ITSELF,
            Hop::Impossible => bindings::CPM_LOCATED_NOWHERE,
            Hop::Known(place) => {
                lend_places(&[place], None, places);
                bindings::CPM_LOCATED
            }
            Hop::Named(target) => {
                let table = service.names().table.as_ref();
                match table.and_then(|table| table.find(&target)) {
                    None => bindings::CPM_LOCATED_LATER,
                    Some(Known::Nothing) => bindings::CPM_LOCATED_NOWHERE,
                    Some(Known::Places(found, tag)) => {
                        lend_places(&found, Some(tag), places);
                        bindings::CPM_LOCATED
                    }
                }
            }
        },
        |_| bindings::CPM_LOCATED_NOWHERE,
    )
}

fn hop_of(uri: cpm_str) -> Hop {
    // SAFETY: lent for the duration of this call (cpm.h).
    let uri = std::str::from_utf8(unsafe { borrowed(uri) });
    uri.map_or(Hop::Impossible, Hop::of_text)
}

pub(super) extern "C" fn another_place(
    service: *const cpm_service,
    name: u32,
    tried: cpm_str,
    request: cpm_str,
    again: *mut cpm_outgoing,
    places: *mut cpm_places,
) -> c_int {
    let Some(handle) = running(service) else {
        return 0;
    };
    // SAFETY: lent for the duration of this call (cpm.h).
    let (tried, request) = unsafe { (borrowed(tried), borrowed(request)) };
    boundary(
        || {
            let (Stage::Running(service), Some(tag)) = (&handle.stage, NameTag::from_bits(name))
            else {
                return 0;
            };
            let Some(table) = &service.names().table else {
                return 0;
            };
            let left = table.after(tag, |place| uri_of(place).as_bytes() == tried);
            if left.is_empty() || again.is_null() {
                return 0;
            }
            let Some(once_more) = Again::of(request) else {
                return 0;
            };
            lend_places(&left, Some(tag), places);
            let mut kept = handle.again.borrow_mut();
            let kept = kept.insert(once_more);
            // SAFETY: not NULL, and C lends room for one; what is lent lives in the handle.
            unsafe { again.write(lend_outgoing(&kept.outgoing())) };
            1
        },
        |_| 0,
    )
}

pub(super) extern "C" fn names_new(service: *const cpm_service) -> *mut cpm_names {
    let Some(handle) = running(service) else {
        return std::ptr::null_mut();
    };
    // SAFETY: the service lives.
    let host = CHost::new(unsafe { table(handle.host) }, std::ptr::null_mut());
    boundary(
        || {
            let Stage::Running(service) = &handle.stage else {
                return std::ptr::null_mut();
            };
            match NamesHandle::start(service.names()) {
                Ok(names) => Box::into_raw(Box::new(names)).cast(),
                Err(error) => {
                    host.log(
                        LogLevel::Error,
                        format_args!("names cannot be looked up: {error}"),
                    );
                    std::ptr::null_mut()
                }
            }
        },
        |_| std::ptr::null_mut(),
    )
}

pub(super) extern "C" fn names_fd(names: *const cpm_names) -> c_int {
    // SAFETY: NULL or from `names_new`: one thread per process (cpm.h).
    match unsafe { names.cast::<NamesHandle>().as_ref() } {
        Some(names) => names.signal.as_raw_fd(),
        None => -1,
    }
}

pub(super) extern "C" fn names_ask(names: *mut cpm_names, uri: cpm_str, ticket: u64) {
    // SAFETY: as in `names_fd`.
    let Some(names) = (unsafe { names.cast::<NamesHandle>().as_mut() }) else {
        return;
    };
    boundary(
        || {
            if let Hop::Named(target) = hop_of(uri) {
                names.thread.ask(target, ticket);
            }
        },
        |_| (),
    )
}

pub(super) extern "C" fn names_next(
    names: *mut cpm_names,
    ticket: *mut u64,
    places: *mut cpm_places,
) -> c_int {
    // SAFETY: as in `names_fd`.
    let Some(names) = (unsafe { names.cast::<NamesHandle>().as_mut() }) else {
        return 0;
    };
    if ticket.is_null() {
        return 0;
    }
    boundary(
        || {
            let mut next = names.next();
            if next.is_none() {
                // Before the last look: what comes after it is readable again.
                let mut count = [0; 8];
                let _ = rustix::io::read(&names.signal, &mut count);
                next = names.next();
            }
            let Some((found, at, tag)) = next else {
                return 0;
            };
            lend_places(&at, tag, places);
            // SAFETY: not NULL, and C lends room for one.
            unsafe { ticket.write(found) };
            1
        },
        |_| 0,
    )
}

/// Fills in C's room.
fn lend_places(places: &[Place], tag: Option<NameTag>, room: *mut cpm_places) {
    // SAFETY: NULL, or C lends room for one, which is a struct of numbers.
    let Some(room) = (unsafe { room.as_mut() }) else {
        return;
    };
    room.n = places.len().min(CPM_MAX_PLACES as usize);
    room.name = tag.map_or(0, NameTag::bits);
    for (to, place) in room.uri.iter_mut().zip(places) {
        let uri = uri_of(place);
        debug_assert!(uri.len() < CPM_PLACE_BYTES as usize);
        let bytes = uri.bytes().chain([0]);
        for (to, byte) in to.iter_mut().zip(bytes) {
            *to = byte as c_char;
        }
    }
}

fn uri_of(place: &Place) -> String {
    let transport = match place.transport {
        Transport::Udp => "udp",
        Transport::Tcp => "tcp",
        Transport::Tls => "tls",
    };
    let mut uri = String::with_capacity(CPM_PLACE_BYTES as usize);
    // Nothing can go wrong with a string.
    let _ = write!(uri, "sip:{};transport={transport}", place.address);
    uri
}
