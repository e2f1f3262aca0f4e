//! Ends of copies in the express lane, in any process that receives a response, or by timer.

use super::express::transmit;
use super::outcome::message_ended;
use super::proxy::Proxy;
use super::sender::Sender;
use super::tell::tell_late;
use crate::controlling::ControllingFunction;
use crate::controlling::express::{Heard, Outbox, Swept};
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
            &ended.request,
            &ended.reason,
        );
    }
}

/// Handles a received response, to whatever request.
pub fn heard(service: &ControllingFunction, proxy: &dyn Proxy, response: &[u8]) -> Heard {
    let Some(lane) = service.lane() else {
        return Heard::NotOurs;
    };
    let mut outbox = Outbox::default();
    let wants_delivered = proxy.wants(Event::RecipientDelivered);
    lane.borrow_mut().set_wants_delivered(wants_delivered);
    let heard = lane
        .borrow_mut()
        .hear(response, proxy.now_ms(), &mut outbox);
    carry_out(service, proxy, &outbox);
    if outbox.strays > 0 {
        tell_late(service, proxy, response);
    }
    heard
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
