//! The express lane: copies sent without the proxy's transactions.

use std::cell::RefCell;
use std::sync::Once;

use super::letter;
use super::outgoing::{MAX_FORWARDS, Outgoing, size_at_most};
use super::process::Process;
use super::proxy::{Proxy, Transmitted};
use crate::controlling::express::{Lane, Outbox, Timers, Transport, Way};
use crate::controlling::{ControllingFunction, OutgoingRequest};
use crate::log::at;
use crate::operator::Counter;
use crate::sip::behind_userinfo;

/// The way that was found last in a turn, for the requests that follow: recipients of one domain
/// share it, and the proxy need not be asked for each of them.
pub(super) struct KnownWay {
    place: String,
    /// Without its texts, which are these.
    way: Way<'static>,
    via: [Vec<u8>; 2],
}

impl KnownWay {
    /// Takes the place of the last one, and its memory: in a list with many domains each copy has
    /// its own.
    fn note(known: &RefCell<Option<Self>>, hop: &str, found: &Way<'_>) {
        let Some(place) = behind_userinfo(hop) else {
            return;
        };
        let way = Way {
            via: [b"", b""],
            ..*found
        };
        match &mut *known.borrow_mut() {
            Some(last) => {
                place.clone_into(&mut last.place);
                last.way = way;
                for (text, found) in last.via.iter_mut().zip(found.via) {
                    found.clone_into(text);
                }
            }
            none => {
                *none = Some(KnownWay {
                    place: place.to_owned(),
                    way,
                    via: found.via.map(<[u8]>::to_vec),
                });
            }
        }
    }

    fn way(&self) -> Way<'_> {
        let [before, behind] = &self.via;
        Way {
            via: [before, behind],
            ..self.way
        }
    }

    /// Whether a request goes there without further questions.
    fn is_of(&self, request: &OutgoingRequest<'_>, hop: &str) -> bool {
        behind_userinfo(hop) == Some(self.place.as_str())
            && request.headers.starts_with(MAX_FORWARDS.as_bytes())
            && (self.way.transport == Transport::Tcp
                || size_at_most(request) <= self.way.max_datagram_bytes as usize)
    }
}

/// Passes a request to the lane if its way is known.
pub(super) fn take_again(
    service: &ControllingFunction,
    proxy: &dyn Proxy,
    request: &OutgoingRequest<'_>,
    hop: &str,
    now_ms: u64,
    known: &RefCell<Option<KnownWay>>,
) -> bool {
    let known = known.borrow();
    let (Some(known), Some(lane)) = (&*known, service.lane()) else {
        return false;
    };
    if request.method != "MESSAGE" || !known.is_of(request, hop) {
        return false;
    }
    hand_over(service, proxy, lane, request, &known.way(), now_ms)
}

/// Passes a request to `hop`, a URI with an IP address, to the lane, to be sent together with
/// others by [`flush`]. `false`: the transaction layer must send it.
pub(super) fn take(
    service: &ControllingFunction,
    proxy: &dyn Proxy,
    outgoing: &Outgoing<'_>,
    hop: &str,
    now_ms: u64,
    known: &RefCell<Option<KnownWay>>,
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
    if outgoing.socket == 0 {
        KnownWay::note(known, hop, &way);
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
    hand_over(service, proxy, lane, &copy, &way, now_ms)
}

/// `false`: the lane has no room for it.
fn hand_over(
    service: &ControllingFunction,
    proxy: &dyn Proxy,
    lane: &RefCell<Lane>,
    copy: &OutgoingRequest<'_>,
    way: &Way<'_>,
    now_ms: u64,
) -> bool {
    let mut outbox = Outbox::default();
    let is_taken = lane.borrow_mut().take(copy, way, now_ms, &mut outbox);
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
        let accepted = proxy.express_send(batch);
        if accepted.copies < batch.len() {
            lane.borrow_mut()
                .unsent(batch, accepted.copies, proxy.now_ms());
        }
        if !accepted.lost.is_empty() {
            lane.borrow_mut()
                .lose(batch, &accepted.lost, proxy.now_ms());
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
