//! The express lane: copies sent without the proxy's transactions.

use std::sync::Once;

use super::letter;
use super::outgoing::Outgoing;
use super::process::Process;
use super::proxy::{Proxy, Transmitted};
use crate::controlling::express::{Outbox, Timers};
use crate::controlling::{ControllingFunction, OutgoingRequest};
use crate::log::at;
use crate::operator::Counter;

/// Passes a request to `hop`, a URI with an IP address, to the lane, to be sent together with
/// others by [`flush`]. `false`: the transaction layer must send it.
pub(super) fn take(
    service: &ControllingFunction,
    proxy: &dyn Proxy,
    outgoing: &Outgoing<'_>,
    hop: &str,
    now_ms: u64,
) -> bool {
    let Some(lane) = service.lane().filter(|_| outgoing.method == "MESSAGE") else {
        return false;
    };
    let Some(mut way) = proxy.express_way(outgoing, hop) else {
        return false;
    };
    let timers = way.timers.bounded();
    if timers != way.timers {
        tell_bounded(proxy, &way.timers, &timers);
        way.timers = timers;
    }
    let copy = OutgoingRequest {
        method: outgoing.method,
        request_uri: outgoing.request_uri,
        next_hop: None,
        from: outgoing.from,
        from_tag: outgoing.from_tag,
        to: outgoing.to,
        call_id: outgoing.call_id,
        cseq: outgoing.cseq,
        headers: outgoing.headers.all(),
        body: outgoing.body,
        attempt: outgoing.token.attempt,
        about: None,
    };
    let mut outbox = Outbox::default();
    let is_taken = lane.borrow_mut().take(&copy, &way, now_ms, &mut outbox);
    transmit(service, proxy, &outbox);
    is_taken
}

/// Tells the operator once, in each process, that copies are not repeated as fast as configured.
fn tell_bounded(proxy: &dyn Proxy, wanted: &Timers, kept: &Timers) {
    static TOLD: Once = Once::new();
    TOLD.call_once(|| {
        proxy.log(
            at!(Notice),
            format_args!(
                "T1 and T2 of {} and {} ms are too short for the express lane, which takes {} and {} ms",
                wanted.t1_ms, wanted.t2_ms, kept.t1_ms, kept.t2_ms
            ),
        );
    });
}

/// Sends a request through the proxy's transactions, and counts a MESSAGE that did not take the
/// lane.
pub(super) fn send_by_transaction(
    proxy: &dyn Proxy,
    outgoing: &Outgoing<'_>,
    hop: &str,
) -> Transmitted {
    let transmitted = proxy.send(outgoing, hop);
    if outgoing.method == "MESSAGE" && matches!(transmitted, Transmitted::Sent(_)) {
        proxy.count(Counter::ExpressByTm, 1);
    }
    transmitted
}

/// Sends the requests that have been taken.
pub(super) fn flush(service: &ControllingFunction, proxy: &dyn Proxy) {
    let Some(lane) = service.lane().filter(|lane| lane.borrow().has_taken()) else {
        return;
    };
    let mut outbox = Outbox::default();
    lane.borrow_mut().flush(proxy.now_ms(), &mut outbox);
    transmit(service, proxy, &outbox);
}

/// Makes the proxy send the outbox.
pub(super) fn transmit(service: &ControllingFunction, proxy: &dyn Proxy, outbox: &Outbox) {
    let Some(lane) = service.lane() else {
        return;
    };
    for batch in &outbox.batches {
        let sent = proxy.express_send(batch);
        if sent < batch.len() {
            lane.borrow_mut().unsent(batch, sent, proxy.now_ms());
        }
    }
    if outbox.wakes {
        // If its queue is full, it is awake.
        proxy.post(Process::FanOut, &letter::wake());
    }
    for (counter, n) in [
        (Counter::Express, outbox.taken),
        (Counter::ExpressRepeated, outbox.repeated),
        (Counter::ExpressStrays, outbox.strays),
    ] {
        if n > 0 {
            proxy.count(counter, n);
        }
    }
}
