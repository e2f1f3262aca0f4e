//! Sender and receiver over a network that loses packets.

use std::time::{Duration, Instant};

use bytes::BytesMut;
use cpm_wire::msrp_session::ConnectionId;
use cpm_wire::sip::{HeaderName, Message};
use fastrand::Rng;

use super::*;

/// A lossy network between the two, and the events for their users.
struct Pair {
    now: Instant,
    sender: Sender,
    receiver: Receiver,
    random: Rng,
    /// Percentage of lost datagrams.
    loss: usize,
    connected: bool,
    to_sender: BytesMut,
    to_receiver: BytesMut,
    done: Option<Result<Sent, Failure>>,
    received: Vec<Received>,
    events: Vec<ReceiverEvent>,
    requests: Vec<Message>,
}

impl Pair {
    fn new(draft: Draft) -> Self {
        let mut pair = Self {
            now: Instant::now(),
            sender: sender(draft),
            receiver: receiver(),
            random: Rng::with_seed(11),
            loss: 0,
            connected: false,
            to_sender: BytesMut::new(),
            to_receiver: BytesMut::new(),
            done: None,
            received: Vec::new(),
            events: Vec::new(),
            requests: Vec::new(),
        };
        pair.sender.start(pair.now);
        pair
    }

    fn is_lost(&mut self) -> bool {
        self.random.usize(..100) < self.loss
    }

    /// Passes on everything in transit. True if there was anything.
    fn exchange(&mut self) -> bool {
        let mut any = false;
        while let Some(output) = self.sender.poll_output() {
            any = true;
            match output {
                SenderOutput::Sip(_, bytes) => {
                    let message = Message::parse(bytes).unwrap();
                    if message.method().is_some() {
                        self.requests.push(message.clone());
                    }
                    if !self.is_lost() {
                        self.receiver.handle_sip(self.now, message, way(CLIENT));
                    }
                }
                SenderOutput::ConnectMsrp(target) => {
                    assert_eq!((target.host.as_str(), target.port), ("192.0.2.2", 2855));
                    self.connected = true;
                    self.receiver.handle_msrp_accepted(ConnectionId(1));
                    self.sender.handle_msrp_connected(self.now);
                }
                SenderOutput::CloseMsrp => {
                    self.connected = false;
                    self.receiver.handle_msrp_closed(self.now, ConnectionId(1));
                }
                SenderOutput::Event(SenderEvent::Done(result)) => self.done = Some(result),
                SenderOutput::Event(_) => {}
            }
        }
        while let Some(output) = self.receiver.poll_output() {
            any = true;
            match output {
                ReceiverOutput::Sip(_, bytes) => {
                    if !self.is_lost() {
                        let message = Message::parse(bytes).unwrap();
                        self.sender.handle_sip(self.now, message, way(SERVER));
                    }
                }
                ReceiverOutput::Event(ReceiverEvent::Message { received, .. }) => {
                    self.received.push(*received);
                }
                ReceiverOutput::Event(event) => self.events.push(event),
                ReceiverOutput::ConnectMsrp(..) | ReceiverOutput::CloseMsrp(_) => {}
            }
        }
        if self.connected {
            // One piece each way, so that the ends take turns.
            if let Some(bytes) = self.sender.poll_msrp(self.now) {
                any = true;
                self.to_receiver.extend_from_slice(&bytes);
            }
            self.receiver
                .handle_msrp_bytes(self.now, ConnectionId(1), &mut self.to_receiver);
            while let Some(bytes) = self.receiver.poll_msrp(ConnectionId(1)) {
                any = true;
                self.to_sender.extend_from_slice(&bytes);
            }
            self.sender.handle_msrp_bytes(self.now, &mut self.to_sender);
        }
        any
    }

    /// Lets time pass until the sender is done, or this long.
    fn run(&mut self, longest: Duration) {
        let end = self.now + longest;
        while self.done.is_none() {
            if self.exchange() {
                continue;
            }
            let times = [self.sender.poll_timeout(), self.receiver.poll_timeout()];
            let Some(next) = times
                .into_iter()
                .flatten()
                .min()
                .filter(|next| *next <= end)
            else {
                return;
            };
            self.now = self.now.max(next);
            self.sender.handle_timeout(self.now);
            self.receiver.handle_timeout(self.now);
        }
        while self.exchange() {}
    }

    fn methods(&self) -> Vec<&str> {
        self.requests.iter().filter_map(Message::method).collect()
    }
}

#[test]
fn small_messages_go_in_a_message_and_large_ones_over_msrp() {
    for size in [0, 1, 900, 1500, 40_000] {
        let mut pair = Pair::new(draft(size));
        let cpim = pair.sender.outgoing().cpim.clone();
        pair.run(Duration::from_secs(60));
        assert!(
            matches!(pair.done, Some(Ok(Sent { code: 200, .. }))),
            "{:?}",
            pair.done
        );
        let [received] = &pair.received[..] else {
            panic!("{size}: {:?}", pair.events)
        };
        assert_eq!(received.object.body, cpim, "bit for bit");
        assert_eq!(received.is_large, cpim.len() > PAGER_MAX_BYTES);
        match received.is_large {
            false => assert_eq!(pair.methods(), ["MESSAGE"]),
            true => assert_eq!(pair.methods(), ["INVITE", "ACK", "BYE"]),
        }
    }
}

#[test]
fn a_message_that_comes_once_more_is_answered_and_not_shown() {
    for size in [10, 3_000] {
        let mut pair = Pair::new(draft(size));
        pair.run(Duration::from_secs(60));
        assert_eq!(pair.received.len(), 1);
        // Another transaction of the same message: for a MESSAGE the next attempt, in the same
        // dialog; for a large message another session.
        let outgoing = pair.sender.outgoing().clone();
        pair.sender = Sender::new(sender_config(), outgoing, fill);
        pair.done = None;
        pair.sender.start(pair.now);
        pair.run(Duration::from_secs(60));
        assert!(
            matches!(pair.done, Some(Ok(Sent { code: 200, .. }))),
            "{:?}",
            pair.done
        );
        assert_eq!(pair.received.len(), 1);
        let repeated = |event: &&ReceiverEvent| matches!(event, ReceiverEvent::Repeated { .. });
        assert_eq!(pair.events.iter().filter(repeated).count(), 1);
    }
}

#[test]
fn the_size_decides_at_the_byte() {
    let empty = sender(draft(0)).outgoing().cpim.len();
    let mode = |size| sender(draft(size - empty)).outgoing().mode;
    assert_eq!(mode(PAGER_MAX_BYTES), Mode::Pager);
    assert_eq!(mode(PAGER_MAX_BYTES + 1), Mode::Large);
}

#[test]
fn lost_packets_delay_but_do_not_hurt() {
    for seed in 1..60 {
        for size in [10, 3000] {
            let mut pair = Pair::new(draft(size));
            pair.random = Rng::with_seed(seed);
            pair.loss = 20;
            pair.run(Duration::from_secs(120));
            let done = pair.done.as_ref();
            assert!(done.is_some(), "{seed} {size}");
            assert!(pair.received.len() <= 1, "never twice");
            if matches!(done, Some(Ok(_))) {
                assert_eq!(pair.received.len(), 1);
            }
        }
    }
}

#[test]
fn nobody_answers() {
    for (size, method) in [(10, "MESSAGE"), (3000, "INVITE")] {
        let mut pair = Pair::new(draft(size));
        pair.loss = 100;
        let start = pair.now;
        pair.run(Duration::from_secs(60));
        assert_eq!(pair.done, Some(Err(Failure::NoAnswer(method))));
        assert_eq!(pair.now - start, TIMEOUT);
    }
}

#[test]
fn the_receiver_takes_no_more_than_it_said() {
    let mut pair = Pair::new(draft((1 << 20) + 1));
    pair.run(Duration::from_secs(60));
    let Some(Err(Failure::Refused(refusal))) = &pair.done else {
        panic!("{:?}", pair.done)
    };
    assert_eq!(
        (refusal.code, &refusal.warnings[..]),
        (403, &["133 Size exceeded".to_owned()][..])
    );
    assert_eq!(pair.methods(), ["INVITE", "ACK"]);
}

#[test]
fn taken_back_in_the_midst() {
    let mut pair = Pair::new(draft(100_000));
    while !pair.connected || pair.sender.outgoing().cpim.len() < 100 {
        pair.exchange();
    }
    for _ in 0..20 {
        pair.exchange();
    }
    pair.sender.cancel(pair.now);
    pair.run(Duration::from_secs(60));
    assert_eq!(pair.done, Some(Err(Failure::Cancelled)));
    let bye = pair.requests.last().unwrap();
    assert_eq!(bye.method(), Some("BYE"));
    let reason = bye.first(HeaderName::Reason).unwrap().text().unwrap();
    assert!(reason.starts_with("SIP;cause=480"), "{reason}");
    assert!(pair.received.is_empty());
    assert!(
        matches!(pair.events.last(), Some(ReceiverEvent::Failed { .. })),
        "{:?}",
        pair.events
    );
}
