//! Entries of the table for the operator's questions.

use std::cell::RefCell;
use std::ffi::{CString, c_int, c_void};

use super::bindings::{
    self, cpm_answer_visitor, cpm_fault, cpm_query, cpm_query_result, cpm_row, cpm_service, cpm_str,
};
use super::host::{ABSENT, borrowed, lend};
use super::service::on_service;
use crate::controlling::large_message_mode::SessionId;
use crate::operator::{Counter, Event, Gauge, text_of_rows};
use crate::processes::{QueryResult, Visitor};
use crate::sessions::Question;

/// Writes a row, if it exists.
fn describe(row: Option<(&'static str, &'static str)>, room: *mut cpm_row) -> c_int {
    let Some((name, help)) = row.filter(|_| !room.is_null()) else {
        return 0;
    };
    let row = cpm_row {
        name: lend(name.as_bytes()),
        help: lend(help.as_bytes()),
    };
    // SAFETY: not NULL, and C lends space for one row. The texts are static.
    unsafe { room.write(row) };
    1
}

pub(super) extern "C" fn counter(number: usize, room: *mut cpm_row) -> c_int {
    let row = Counter::ALL.get(number);
    describe(row.map(|row| (row.name(), row.help())), room)
}

pub(super) extern "C" fn gauge(number: usize, room: *mut cpm_row) -> c_int {
    let row = Gauge::ALL.get(number);
    describe(row.map(|row| (row.name(), row.help())), room)
}

pub(super) extern "C" fn event(number: usize, room: *mut cpm_row) -> c_int {
    let row = Event::ALL.get(number);
    describe(row.map(|row| (row.name(), row.help())), room)
}

thread_local! {
    /// The text that [`metrics`] has lent to C.
    static METRICS: RefCell<String> = const { RefCell::new(String::new()) };
}

pub(super) extern "C" fn metrics(service: *const cpm_service) -> cpm_str {
    on_service(
        service,
        std::ptr::null_mut(),
        ABSENT,
        "writing the metrics",
        |_, running, proxy| {
            let mut text = text_of_rows(|row| proxy.counted(row), |row| running.gauge(row));
            if let Some(messages) = running.control().messages() {
                text.push_str(&messages.figures().text(env!("CARGO_PKG_VERSION")));
            }
            METRICS.with_borrow_mut(|lent| {
                *lent = text;
                lend(lent.as_bytes())
            })
        },
    )
}

pub(super) extern "C" fn gauge_value(service: *const cpm_service, number: usize) -> u64 {
    on_service(
        service,
        std::ptr::null_mut(),
        0,
        "reading a gauge",
        |_, running, _| {
            Gauge::ALL
                .get(number)
                .map_or(0, |gauge| running.gauge(*gauge))
        },
    )
}

/// Whether a recipient with this address became available.
pub(super) extern "C" fn recipient_available(
    service: *const cpm_service,
    address: cpm_str,
) -> c_int {
    on_service(
        service,
        std::ptr::null_mut(),
        0,
        "noting an available recipient",
        |_, running, _| {
            // SAFETY: lent for the duration of the call (cpm.h).
            let address = std::str::from_utf8(unsafe { borrowed(address) });
            let is_noted = address.is_ok_and(|address| running.control().note_available(address));
            c_int::from(is_noted)
        },
    )
}

/// Whether the host's registrar is to say which recipients have arrived.
pub(super) extern "C" fn hears_registrar(service: *const cpm_service) -> c_int {
    on_service(
        service,
        std::ptr::null_mut(),
        0,
        "reading a parameter",
        |_, running, _| c_int::from(running.control().settings().deferral.on_register),
    )
}

pub(super) extern "C" fn query(
    service: *const cpm_service,
    query: cpm_query,
    argument: cpm_str,
    visitor: *const cpm_answer_visitor,
    to: *mut c_void,
) -> cpm_query_result {
    // SAFETY: NULL, or lent for the duration of the call (cpm.h).
    let Some(table) = (unsafe { visitor.as_ref() }) else {
        return bindings::CPM_QUERY_NO_ANSWER;
    };
    on_service(
        service,
        std::ptr::null_mut(),
        bindings::CPM_QUERY_NO_ANSWER,
        "answering an operator",
        |_, running, proxy| {
            if argument.len > bindings::CPM_QUERY_BYTES as usize {
                return bindings::CPM_QUERY_UNKNOWN;
            }
            // SAFETY: lent for the duration of the call (cpm.h).
            let argument = std::str::from_utf8(unsafe { borrowed(argument) }).ok();
            let session = argument.and_then(SessionId::parse);
            let text = argument.unwrap_or_default();
            let question = match (query, session) {
                (bindings::CPM_QUERY_SESSIONS, _) => Question::Sessions,
                (bindings::CPM_QUERY_RELAY, _) => Question::Relay,
                (bindings::CPM_QUERY_EXPRESS, _) => {
                    return result_of(running.list_express(proxy, &mut CVisitor { table, to }));
                }
                (bindings::CPM_QUERY_MESSAGES, _) => {
                    let visitor = &mut CVisitor { table, to };
                    return result_of(running.list_messages(text, proxy, visitor));
                }
                (bindings::CPM_QUERY_MESSAGE, _) => {
                    let visitor = &mut CVisitor { table, to };
                    return result_of(running.show_message(text, proxy, visitor));
                }
                (bindings::CPM_QUERY_RETRY | bindings::CPM_QUERY_EXPIRE, _) => {
                    let gives_up = query == bindings::CPM_QUERY_EXPIRE;
                    let visitor = &mut CVisitor { table, to };
                    return result_of(running.hurry_message(text, gives_up, proxy, visitor));
                }
                (bindings::CPM_QUERY_AVAILABLE, _) => {
                    return result_of(running.note_available(text));
                }
                (bindings::CPM_QUERY_DRAIN, _) => {
                    let is_draining = match argument {
                        None | Some("" | "on") => true,
                        Some("off") => false,
                        _ => return bindings::CPM_QUERY_UNKNOWN,
                    };
                    return result_of(running.drain(is_draining, &mut CVisitor { table, to }));
                }
                (bindings::CPM_QUERY_RELOAD, _) => {
                    return result_of(running.reload(proxy, &mut CVisitor { table, to }));
                }
                (bindings::CPM_QUERY_FORGET_GROUPS, _) => {
                    return result_of(running.forget_groups());
                }
                _ if running.control().large_mode().is_none() => return bindings::CPM_QUERY_OFF,
                (bindings::CPM_QUERY_SESSION, Some(session)) => Question::Session(session),
                (bindings::CPM_QUERY_END, Some(session)) => Question::End(session),
                _ => return bindings::CPM_QUERY_UNKNOWN,
            };
            result_of(running.ask(&question, proxy, &mut CVisitor { table, to }))
        },
    )
}

pub(super) extern "C" fn fault(query: cpm_query, result: cpm_query_result) -> cpm_fault {
    let (code, text) = match (result, query) {
        (bindings::CPM_QUERY_ANSWERED, _) => (0, c""),
        (bindings::CPM_QUERY_UNKNOWN, bindings::CPM_QUERY_DRAIN) => (404, c"on or off?"),
        (bindings::CPM_QUERY_UNKNOWN, bindings::CPM_QUERY_MESSAGES) => (
            400,
            c"Known are originator=URI, state=STATE, most=NUMBER and skip=NUMBER",
        ),
        (
            bindings::CPM_QUERY_UNKNOWN,
            bindings::CPM_QUERY_MESSAGE | bindings::CPM_QUERY_RETRY | bindings::CPM_QUERY_EXPIRE,
        ) => (404, c"There is no record of such a message"),
        (bindings::CPM_QUERY_OFF, bindings::CPM_QUERY_RETRY | bindings::CPM_QUERY_EXPIRE) => {
            (400, c"No message waits for anybody: store is not set")
        }
        (bindings::CPM_QUERY_OFF, bindings::CPM_QUERY_AVAILABLE) => (
            400,
            c"No message waits for anybody: deferred_codes is not set",
        ),
        (bindings::CPM_QUERY_NO_ANSWER, bindings::CPM_QUERY_RETRY | bindings::CPM_QUERY_EXPIRE) => {
            (500, c"No answer: the process of the store is busy")
        }
        (bindings::CPM_QUERY_UNKNOWN, _) => (404, c"There is no such session"),
        (bindings::CPM_QUERY_OFF, bindings::CPM_QUERY_FORGET_GROUPS) => (
            400,
            c"There are no pre-defined groups: group_source is not set",
        ),
        (bindings::CPM_QUERY_REFUSED, _) => (
            400,
            c"The old values stay: the new ones cannot be used, and the log says why",
        ),
        (bindings::CPM_QUERY_OFF, _) => (500, c"There are no sessions: msrp_listen is not set"),
        _ => (500, c"No answer: the process of the sessions is busy"),
    };
    cpm_fault {
        code,
        text: text.as_ptr(),
    }
}

fn result_of(result: QueryResult) -> cpm_query_result {
    match result {
        QueryResult::Answered => bindings::CPM_QUERY_ANSWERED,
        QueryResult::Unknown => bindings::CPM_QUERY_UNKNOWN,
        QueryResult::Off => bindings::CPM_QUERY_OFF,
        QueryResult::NoAnswer => bindings::CPM_QUERY_NO_ANSWER,
        QueryResult::Refused => bindings::CPM_QUERY_REFUSED,
    }
}

/// Adapts the C vtable `cpm_answer_visitor`.
struct CVisitor<'a> {
    table: &'a cpm_answer_visitor,
    to: *mut c_void,
}

/// Calls a function of the visitor, with the pointer that C passed for it.
macro_rules! visit {
    ($self:ident.$function:ident($($argument:expr),*)) => {{
        let result: c_int = match $self.table.$function {
            // SAFETY: the table and everything lent live until the call returns.
            Some($function) => unsafe { $function($self.to, $($argument),*) },
            None => 0,
        };
        result == 0
    }};
}

impl Visitor for CVisitor<'_> {
    fn record(&mut self) -> bool {
        visit!(self.record())
    }

    fn part(&mut self) -> bool {
        visit!(self.part())
    }

    fn text(&mut self, name: &CString, value: &str) -> bool {
        visit!(self.text(name.as_ptr(), lend(value.as_bytes())))
    }

    fn number(&mut self, name: &CString, value: u64) -> bool {
        visit!(self.number(name.as_ptr(), value))
    }
}
