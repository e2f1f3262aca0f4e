//! Ends of copies in the express lane, in any process that receives a response, or by timer.

use std::cell::RefCell;

use super::express::transmit;
use super::outcome::message_ended;
use super::proxy::Proxy;
use super::sender::Sender;
use super::tell::tell_late;
use crate::controlling::ControllingFunction;
use crate::controlling::express::{Lane, Outbox, Swept};
use crate::operator::Event;

/// Maximum number of blocks in a list for an operator.
pub(super) const MAX_LISTED: usize = 1_000;

/// Carries out the outbox, and its consequences.
fn carry_out(service: &ControllingFunction, proxy: &dyn Proxy, outbox: &Outbox) {
    transmit(service, proxy, outbox);
    if outbox.ended.is_empty() {
        return;
    }
    // Resulting requests, copies to the ISF and notifications, are sent together.
    let sender = Sender::new(service, proxy);
    for ended in &outbox.ended {
        let (code, attempt) = (ended.code, ended.attempt);
        message_ended(
            service,
            &sender,
            code,
            attempt,
            &outbox.texts[ended.request.clone()],
            &outbox.texts[ended.reason.clone()],
        );
    }
}

/// Received responses, to whatever requests, that are handled together.
pub struct Hearing<'a> {
    service: &'a ControllingFunction,
    proxy: &'a dyn Proxy,
    lane: &'a RefCell<Lane>,
    now_ms: u64,
    outbox: Outbox,
}

impl<'a> Hearing<'a> {
    /// None has been heard yet. `None`: there is no lane.
    pub fn new(service: &'a ControllingFunction, proxy: &'a dyn Proxy) -> Option<Self> {
        let lane = service.lane()?;
        let wants_delivered = proxy.wants(Event::RecipientDelivered);
        lane.borrow_mut().set_wants_delivered(wants_delivered);
        Some(Hearing {
            service,
            proxy,
            lane,
            now_ms: proxy.now_ms(),
            outbox: Outbox::default(),
        })
    }

    /// Handles a datagram, or a response received over a connection. False: it belongs to the
    /// proxy.
    pub fn hear(&mut self, response: &[u8]) -> bool {
        let strays = self.outbox.strays;
        let mut lane = self.lane.borrow_mut();
        let is_ours = lane.hear(response, self.now_ms, &mut self.outbox);
        drop(lane);
        if self.outbox.strays > strays {
            tell_late(self.service, self.proxy, response);
        }
        is_ours
    }

    /// Carries out what follows from all of them. True: many more are expected.
    pub fn go_on(mut self) -> bool {
        let mut lane = self.lane.borrow_mut();
        let are_many = lane.go_on(self.now_ms, &mut self.outbox);
        drop(lane);
        carry_out(self.service, self.proxy, &self.outbox);
        are_many
    }
}

/// Fires timers, in CPM fan-out. Returns the same as [`Mailbox::work`](super::Mailbox::work).
pub(super) fn sweep(service: &ControllingFunction, proxy: &dyn Proxy) -> i32 {
    let Some(lane) = service.lane() else {
        return -1;
    };
    let now_ms = proxy.now_ms();
    let mut outbox = Outbox::default();
    let swept = lane.borrow_mut().sweep(now_ms, &mut outbox);
    carry_out(service, proxy, &outbox);
    match swept {
        Swept::More => 0,
        Swept::Until(None) => -1,
        Swept::Until(Some(at_ms)) => {
            i32::try_from(at_ms.saturating_sub(now_ms)).unwrap_or(i32::MAX)
        }
    }
}
