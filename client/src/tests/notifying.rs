//! The notifications that a receiver sends, until each is answered.

use std::time::{Instant, UNIX_EPOCH};

use bytes::Bytes;
use cpm_wire::imdn::Disposition::{self, Delivered, Displayed};
use cpm_wire::sip::Message;

use super::*;

/// A receiver with one message that asks for notifications.
struct Notifier {
    now: Instant,
    receiver: Receiver,
    received: Received,
    requests: Vec<Message>,
    events: Vec<ReceiverEvent>,
}

impl Notifier {
    fn new() -> Self {
        let cpim = "From: <sip:anne@example.com>\r\nNS: imdn <urn:ietf:params:imdn>\r\n\
            imdn.Message-ID: 42\r\nimdn.Disposition-Notification: positive-delivery, display\r\n\
            \r\nContent-Type: text/plain\r\n\r\nHi";
        let message = format!(
            "MESSAGE sip:bill@example.com SIP/2.0\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\r\n\
             From: <sip:anne@example.com>;tag=1\r\nTo: <sip:bill@example.com>\r\nCall-ID: c\r\n\
             CSeq: 1 MESSAGE\r\nContent-Type: message/cpim\r\n\r\n{cpim}"
        );
        let now = Instant::now();
        let mut receiver = receiver();
        let message = Message::parse(Bytes::from(message)).unwrap();
        receiver.handle_sip(now, message, way(CLIENT));
        let received = std::iter::from_fn(|| receiver.poll_output()).find_map(|one| match one {
            ReceiverOutput::Event(ReceiverEvent::Message { received, .. }) => Some(received),
            _ => None,
        });
        Self {
            now,
            receiver,
            received: *received.unwrap(),
            requests: Vec::new(),
            events: Vec::new(),
        }
    }

    fn notify(&mut self, disposition: Disposition) {
        let received = &self.received;
        self.receiver
            .notify(self.now, received, disposition, UNIX_EPOCH);
        self.collect();
    }

    /// Answers the request of this index.
    fn answer(&mut self, index: usize, code: &str) {
        let message = response_to(&self.requests[index], code, "");
        self.receiver.handle_sip(self.now, message, way(CLIENT));
        self.collect();
    }

    fn stop(&mut self) {
        self.receiver.stop(self.now);
        self.collect();
    }

    fn collect(&mut self) {
        while let Some(output) = self.receiver.poll_output() {
            match output {
                ReceiverOutput::Sip(_, bytes) => self.requests.push(Message::parse(bytes).unwrap()),
                ReceiverOutput::Event(event) => self.events.push(event),
                _ => {}
            }
        }
    }

    /// What became of the notifications, in the order in which it was told: the code of a 2xx, or
    /// `None`.
    fn told(&self) -> Vec<(Disposition, Option<u16>)> {
        let told = self.events.iter().filter_map(|event| match event {
            ReceiverEvent::Notified {
                disposition,
                result,
                ..
            } => Some((*disposition, result.as_ref().ok().copied())),
            _ => None,
        });
        told.collect()
    }

    fn has_stopped(&self) -> bool {
        self.events.contains(&ReceiverEvent::Stopped)
    }
}

#[test]
fn each_notification_has_its_own_answer() {
    let mut notifier = Notifier::new();
    notifier.notify(Delivered);
    notifier.notify(Displayed);
    assert_eq!(notifier.requests.len(), 2);
    notifier.answer(1, "202");
    assert_eq!(notifier.told(), [(Displayed, Some(202))]);
    notifier.answer(0, "480");
    let all = [(Displayed, Some(202)), (Delivered, None)];
    assert_eq!(notifier.told(), all);
    // An answer that comes again tells nothing.
    notifier.answer(0, "200");
    assert_eq!(notifier.told(), all);
    assert!(!notifier.has_stopped());
}

#[test]
fn signing_off_waits_for_the_answers() {
    let mut notifier = Notifier::new();
    notifier.stop();
    assert!(notifier.has_stopped(), "there is nothing to wait for");

    let mut notifier = Notifier::new();
    notifier.notify(Delivered);
    notifier.notify(Displayed);
    notifier.stop();
    // What has begun to sign off sends no more.
    notifier.notify(Displayed);
    assert_eq!(notifier.requests.len(), 2);
    notifier.answer(0, "200");
    assert!(!notifier.has_stopped());
    notifier.answer(1, "200");
    assert!(notifier.has_stopped());
    assert_eq!(notifier.events.last(), Some(&ReceiverEvent::Stopped));
}

#[test]
fn signing_off_waits_so_long_and_no_longer() {
    let mut notifier = Notifier::new();
    notifier.notify(Delivered);
    notifier.stop();
    let end = notifier.now + std::time::Duration::from_secs(2);
    assert!(notifier.receiver.poll_timeout().unwrap() <= end);
    let moment = std::time::Duration::from_millis(1);
    notifier.receiver.handle_timeout(end - moment);
    notifier.collect();
    assert!(!notifier.has_stopped());
    notifier.receiver.handle_timeout(end);
    notifier.collect();
    assert!(notifier.has_stopped());
    assert_eq!(notifier.receiver.poll_timeout(), None);
}
