//! Sending disposition notifications.

use std::time::{Instant, SystemTime};

use cpm_wire::imdn::Disposition;

use super::{Notifying, Purpose, Received, Receiver, ReceiverEvent};
use crate::notification::Owed;
use crate::outcome::Failure;
use crate::request::OutRequest;
use crate::{Way, user_agent};

/// Maximum number of notifications waiting for their answers; beyond it none are sent.
const MAX_NOTIFYING: usize = 256;

impl Receiver {
    /// Notifies the sender of a message of its disposition, if requested (RFC 5438 §7.2.1). The
    /// result is reported as [`ReceiverEvent::Notified`]. It goes to
    /// [`ReceiverConfig::outbound`](super::ReceiverConfig::outbound), else back to the source of
    /// the message.
    pub fn notify(
        &mut self,
        now: Instant,
        received: &Received,
        disposition: Disposition,
        time: SystemTime,
    ) {
        let own = &self.config.address;
        let Some(owed) = Owed::of(&received.object, disposition, own) else {
            return;
        };
        if self.notifying.len() == MAX_NOTIFYING || self.stopping.is_some() {
            return;
        }
        let request = owed.request(disposition, own, &self.routes, time, self.random);
        let Some(mut request) = request else {
            return;
        };
        if let Some(asserted) = &self.config.asserted {
            request.push("P-Asserted-Identity", format!("<{asserted}>"));
        }
        request.push("User-Agent", user_agent(&self.config.oma_release));
        self.send_notification(now, received.came, owed.to, disposition, request);
    }

    fn send_notification(
        &mut self,
        now: Instant,
        came: Way,
        to: String,
        disposition: Disposition,
        request: OutRequest,
    ) {
        let number = self.next_notification;
        self.next_notification += 1;
        self.notifying.push(Notifying {
            number,
            to,
            disposition,
        });
        let way = self.outbound().unwrap_or(came);
        self.uac.send(now, way, Purpose::Notify(number), request);
    }

    /// The result of one: the code of its 2xx.
    pub(super) fn handle_notified(&mut self, number: u64, result: Result<u16, Failure>) {
        let mut notifying = self.notifying.iter();
        let Some(index) = notifying.position(|one| one.number == number) else {
            return;
        };
        let Notifying {
            to, disposition, ..
        } = self.notifying.remove(index);
        self.event(ReceiverEvent::Notified {
            to,
            disposition,
            result,
        });
        if self.stopping.is_some() {
            self.finish_when_done();
        }
    }
}
