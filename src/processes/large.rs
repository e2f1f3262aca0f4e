//! CPM sessions: all large message sessions, between the proxy and the relay.

use std::os::fd::BorrowedFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::assembly::Shared;
use super::letter::{Letter, SessionInput};
use super::proxy::Proxy;
use super::sender::Sender;
use crate::controlling::ControllingFunction;
use crate::log::at;
use crate::operator::Gauge;
use crate::relay::{Relay, RelayEvent, TlsFiles};
use crate::sessions::{Question, Sessions, Wake};

/// Maximum number of entries taken before the sessions work.
const ENTRIES_PER_TURN: usize = 256;
/// Maximum number of relay events before that.
const RELAY_EVENTS_PER_TURN: usize = 256;
/// How often the relay gets commands before that.
const COMMANDS_PER_TURN: usize = 32;
/// How often the gauges are written while they are not all 0: the relay continues while nothing
/// happens here.
const GAUGES_MS: i32 = 1_000;
/// Time limit for stopping the relay.
const RELAY_STOP: Duration = Duration::from_millis(500);

/// The process.
pub(super) struct SessionsProcess {
    sessions: Sessions,
    relay: Relay,
    shared: Rc<Shared>,
    taken: usize,
}

impl SessionsProcess {
    /// `None`: the service has no large message mode.
    pub(super) fn new(
        service: &Rc<ControllingFunction>,
        relay: Relay,
        shared: Rc<Shared>,
    ) -> Option<Self> {
        Some(SessionsProcess {
            sessions: Sessions::new(Instant::now(), service)?,
            relay,
            shared,
            taken: 0,
        })
    }

    /// Readable while the relay has events.
    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.relay.as_fd()
    }

    pub(super) fn takes(&self) -> bool {
        self.taken < ENTRIES_PER_TURN
    }

    pub(super) fn take(
        &mut self,
        letter: Letter,
        service: &Rc<ControllingFunction>,
        proxy: &dyn Proxy,
    ) {
        self.taken += 1;
        self.sessions.serve(service);
        let host = Sender::new(service, proxy);
        let now = Instant::now();
        let sessions = &mut self.sessions;
        match letter {
            Letter::Session(SessionInput::Invite(transaction, invite)) => {
                sessions.handle_invite(now, invite, transaction, &host);
            }
            Letter::Session(SessionInput::Request(transaction, request)) => {
                sessions.handle_request(now, request, transaction, &host);
            }
            Letter::Session(SessionInput::Cancel(invite)) => {
                sessions.handle_cancel(now, invite, &host);
            }
            Letter::Session(SessionInput::Response(response)) => {
                sessions.handle_response(now, response, &host);
            }
            Letter::Session(SessionInput::NoResponse(code, request)) => {
                sessions.handle_no_response(now, code, request, &host);
            }
            Letter::Session(SessionInput::Invited(transaction, call_id)) => {
                sessions.handle_invited(now, &call_id, transaction, &host);
            }
            Letter::Reload => {
                let files = TlsFiles::new(service.settings());
                if let Some(Err(error)) = files.map(|files| self.relay.reload(files)) {
                    let line = format_args!("the certificate stays as it was: {error}");
                    proxy.log(at!(Error), line);
                }
            }
            Letter::Kept(session, number) => sessions.handle_kept(session, number, &host),
            Letter::NotKept(session, size) => sessions.handle_not_kept(session, size),
            Letter::Resume(number, kept) => sessions.handle_resume(now, number, kept, &host),
            Letter::Query(number, question) => self.answer(now, number, question, &host),
            Letter::Job(..)
            | Letter::Waiting(_)
            | Letter::Inquiry(_)
            | Letter::Settled(..)
            | Letter::Replaced(..)
            | Letter::Late(_)
            | Letter::Asked(..)
            | Letter::Keep(..)
            | Letter::Discard(_)
            | Letter::Wake
            | Letter::Unfinished(_) => {}
        }
        self.carry_out_commands();
    }

    fn answer(&mut self, now: Instant, number: u64, question: Question, host: &Sender<'_>) {
        let Some(desk) = self.shared.desk.as_ref().filter(|desk| desk.awaits(number)) else {
            return;
        };
        let answer = self.sessions.answer(now, question, &self.relay, host);
        desk.answer(number, answer.as_deref());
    }

    /// Milliseconds until it must be called again.
    pub(super) fn work(&mut self, service: &Rc<ControllingFunction>, proxy: &dyn Proxy) -> i32 {
        let had_all = self.taken < ENTRIES_PER_TURN;
        self.taken = 0;
        self.sessions.serve(service);
        let host = Sender::new(service, proxy);
        let now = Instant::now();
        let relay_had_all = self.take_relay_events(now, service, proxy, &host);
        let mut wake = self.sessions.work(now, &host);
        // Work that waits for the relay to have its commands continues at once.
        for _ in 0..COMMANDS_PER_TURN {
            if !self.carry_out_commands() || wake != Wake::Now {
                break;
            }
            wake = self.sessions.work(now, &host);
        }
        self.carry_out_commands();
        let wait = match wake {
            _ if !had_all || !relay_had_all => 0,
            Wake::Now => 0,
            Wake::Never => -1,
            Wake::At(at) => {
                let wait = at.saturating_duration_since(Instant::now());
                // Rounded up: an early wake-up would find nothing to do.
                i32::try_from(wait.as_millis() + 1).unwrap_or(i32::MAX)
            }
        };
        let is_seen = self.publish();
        if is_seen && !(0..=GAUGES_MS).contains(&wait) {
            GAUGES_MS
        } else {
            wait
        }
    }

    /// True: there are no more.
    fn take_relay_events(
        &mut self,
        now: Instant,
        service: &Rc<ControllingFunction>,
        proxy: &dyn Proxy,
        host: &Sender<'_>,
    ) -> bool {
        for _ in 0..RELAY_EVENTS_PER_TURN {
            match self.relay.poll_event() {
                None => return true,
                Some(RelayEvent::Log(at, line)) => proxy.log(at, format_args!("{line}")),
                Some(RelayEvent::Certificate(fingerprint)) => {
                    if let Some(large_mode) = service.large_mode() {
                        large_mode.msrp.fingerprint.set(fingerprint);
                    }
                    proxy.log(at!(Notice), format_args!("another certificate is in use"));
                }
                Some(RelayEvent::Session(session, event)) => {
                    self.sessions.handle_relay_event(now, session, event, host);
                    self.carry_out_commands();
                }
            }
        }
        false
    }

    /// True: there were some.
    fn carry_out_commands(&mut self) -> bool {
        let sessions = &mut self.sessions;
        let orders = std::iter::from_fn(|| sessions.poll_command());
        self.relay.carry_out(orders)
    }

    /// Writes the gauges. True: they are not all 0.
    fn publish(&self) -> bool {
        let totals = self.relay.totals();
        self.shared.gauges.publish(|gauge| match gauge {
            Gauge::Sessions => self.sessions.len() as u64,
            Gauge::Connections => totals.connections as u64,
            Gauge::Memory => totals.memory_bytes as u64,
            Gauge::Spool => totals.spool_bytes,
            Gauge::HeldBack => totals.held_back as u64,
            // What lane and store know themselves.
            Gauge::ExpressOutstanding
            | Gauge::ExpressMemory
            | Gauge::Outstanding
            | Gauge::Waiting
            | Gauge::StoreBytes
            | Gauge::StoreWrite => 0,
        });
        self.sessions.len() + totals.connections > 0
    }

    /// A call has panicked: the session in progress is lost, the others continue.
    pub(super) fn handle_panic(&mut self, service: &Rc<ControllingFunction>, proxy: &dyn Proxy) {
        let host = Sender::new(service, proxy);
        self.sessions.handle_panic(&host);
        self.carry_out_commands();
    }

    /// The proxy ends: peers are told everything that can be sent at once.
    pub(super) fn stop(mut self, service: &Rc<ControllingFunction>, proxy: &dyn Proxy) {
        let host = Sender::new(service, proxy);
        self.sessions.shut_down(Instant::now(), &host);
        self.carry_out_commands();
        self.relay.stop(RELAY_STOP);
    }
}
