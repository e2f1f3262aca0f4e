//! Waiting for recipients' notifications about our message (RFC 5438): registers or listens, and
//! counts them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use cpm_client::{Destination, Failure, Outgoing, Receiver, ReceiverEvent, ReceiverOutput, Way};
use cpm_wire::imdn::{Disposition, Notification, Notifications};
use cpm_wire::sip::{Message, Uri};
use serde_json::json;

use crate::net::Net;
use crate::report::{Report, tell_notification};

/// Maximum number of recipients whose notifications are counted: that of the longest list.
const MAX_RECIPIENTS: usize = 10_000;

/// Listens for notifications.
pub(crate) struct Waiting {
    receiver: Receiver,
    is_registering: bool,
    is_stopped: bool,
    /// How long to wait once the message is sent.
    patience: Duration,
    tally: Tally,
    /// Those that came before the final response to the message. A datagram may overtake another;
    /// nobody reads of a delivery before he reads that his message was sent.
    early: Option<Vec<Notification>>,
}

/// The notifications so far.
struct Tally {
    message_id: String,
    wanted: Notifications,
    /// Number of recipients, if the sender knows it.
    expected: Option<usize>,
    by_recipient: BTreeMap<String, Vec<Disposition>>,
    /// The group, if the message goes to one.
    group: Option<String>,
    /// Notifications from the group for members that it does not name.
    nameless: Vec<Disposition>,
}

impl Waiting {
    /// Starts registration, if `receiver` is configured for it.
    pub(crate) fn start(
        mut receiver: Receiver,
        patience: Duration,
        wanted: Notifications,
        outgoing: &Outgoing,
    ) -> Self {
        let destination = outgoing.destination();
        let listed = destination.list().map(<[_]>::len);
        receiver.start(Instant::now());
        Self {
            is_registering: receiver.registrar().is_some(),
            is_stopped: false,
            receiver,
            patience,
            tally: Tally {
                message_id: outgoing.message_id.clone(),
                wanted,
                expected: listed.or(destination.is_one().then_some(1)),
                by_recipient: BTreeMap::new(),
                group: match destination {
                    Destination::Group(address) => Some(address.clone()),
                    _ => None,
                },
                nameless: Vec::new(),
            },
            early: Some(Vec::new()),
        }
    }

    /// Whether the message may be sent: notifications will reach us.
    pub(crate) fn is_ready(&self) -> bool {
        !self.is_registering
    }

    /// How long to wait once the message is sent.
    pub(crate) fn patience(&self) -> Duration {
        self.patience
    }

    /// Whether no more notifications are expected.
    pub(crate) fn is_done(&self) -> bool {
        self.tally.is_complete()
    }

    /// Signs off.
    pub(crate) fn stop(&mut self) {
        self.receiver.stop(Instant::now());
    }

    /// Whether it has signed off.
    pub(crate) fn is_stopped(&self) -> bool {
        self.is_stopped
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.receiver.poll_timeout()
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.receiver.handle_timeout(now);
    }

    /// Handles a SIP message: a response, possibly for others, or a request outside dialogs.
    pub(crate) fn handle_sip(&mut self, now: Instant, message: Message, way: Way) {
        self.receiver.handle_sip(now, message, way);
    }

    /// The connection to this peer is lost.
    pub(crate) fn handle_sip_broken(&mut self, now: Instant, way: Way, words: &str) {
        self.receiver.handle_way_lost(now, way, words);
    }

    /// Carries out the actions of the state machine.
    pub(crate) fn carry_out(&mut self, net: &mut Net, report: &Report) -> Result<(), Failure> {
        while let Some(output) = self.receiver.poll_output() {
            match output {
                ReceiverOutput::Sip(way, bytes) => net.send_sip(way, &bytes),
                // No session is accepted.
                ReceiverOutput::ConnectMsrp(..) | ReceiverOutput::CloseMsrp(_) => {}
                ReceiverOutput::Event(event) => self.take(event, report)?,
            }
        }
        Ok(())
    }

    fn take(&mut self, event: ReceiverEvent, report: &Report) -> Result<(), Failure> {
        match event {
            ReceiverEvent::Registered { seconds, routes } => {
                self.is_registering = false;
                report.tell(json!({
                    "event": "registered", "seconds": seconds, "service_route": routes,
                }));
            }
            // A failed refresh is retried.
            ReceiverEvent::NotRegistered {
                failure,
                again: None,
            } => return Err(failure),
            ReceiverEvent::Notification(notification) if self.tally.takes(&notification) => {
                match &mut self.early {
                    Some(early) => early.push(*notification),
                    None => tell_notification(report, &notification),
                }
            }
            ReceiverEvent::Stopped => self.is_stopped = true,
            _ => {}
        }
        Ok(())
    }

    /// Reports what came before the outcome of the message, which has now been reported, and
    /// from now on each notification as it comes.
    pub(crate) fn tell_early(&mut self, report: &Report) {
        for notification in self.early.take().unwrap_or_default() {
            tell_notification(report, &notification);
        }
    }

    /// Number of recipients that reported failed delivery.
    pub(crate) fn failed(&self) -> usize {
        self.tally.count(Disposition::Failed)
    }

    /// Reports the totals.
    pub(crate) fn summarize(&self, report: &Report) {
        let tally = &self.tally;
        let of = |what| tally.count(what);
        let counts = [
            (tally.wanted.delivered, Disposition::Delivered),
            (tally.wanted.displayed, Disposition::Displayed),
            (tally.wanted.interworked, Disposition::Interworked),
            (tally.wanted.failed, Disposition::Failed),
        ];
        let wanted = counts.iter().filter(|(wanted, _)| *wanted);
        let words: Vec<String> = wanted
            .map(|(_, what)| format!("{} {}", of(*what), what.as_str()))
            .collect();
        let among = tally
            .expected
            .map_or(String::new(), |count| format!(" of {count}"));
        report.say(
            &format!("told{among}: {}", words.join(", ")),
            json!({
                "event": "notifications", "recipients": tally.expected,
                "delivered": of(Disposition::Delivered), "displayed": of(Disposition::Displayed),
                "interworked": of(Disposition::Interworked), "failed": of(Disposition::Failed),
            }),
        );
    }
}

impl Tally {
    /// Whether it has new information about our message.
    fn takes(&mut self, notification: &Notification) -> bool {
        if notification.message_id != self.message_id {
            return false;
        }
        let who = notification.recipient.clone().unwrap_or_default();
        if self.is_group(&who) {
            let has_room = self.nameless.len() < MAX_RECIPIENTS;
            if has_room {
                self.nameless.push(notification.disposition);
            }
            return has_room;
        }
        if self.by_recipient.len() == MAX_RECIPIENTS && !self.by_recipient.contains_key(&who) {
            return false;
        }
        let told = self.by_recipient.entry(who).or_default();
        let is_new = !told.contains(&notification.disposition);
        if is_new {
            told.push(notification.disposition);
        }
        is_new
    }

    /// Number of recipients with this disposition.
    fn count(&self, what: Disposition) -> usize {
        let named = self.by_recipient.values();
        let named = named.filter(|told| told.contains(&what)).count();
        named + self.nameless.iter().filter(|told| **told == what).count()
    }

    /// Whether this is the group, on behalf of a member: possibly another one each time.
    fn is_group(&self, who: &str) -> bool {
        let (Some(group), Ok(who)) = (&self.group, Uri::parse(who)) else {
            return false;
        };
        Uri::parse(group).is_ok_and(|group| group.equivalent(&who))
    }

    /// Whether every recipient has sent all requested notifications, or reported a failure.
    fn is_complete(&self) -> bool {
        let Some(expected) = self.expected else {
            return false;
        };
        let is_final = |told: &Vec<Disposition>| {
            let has = |what| told.contains(&what);
            let shown = has(Disposition::Displayed) || has(Disposition::NotDisplayed);
            has(Disposition::Failed)
                || has(Disposition::Interworked)
                || (has(Disposition::Delivered) || !self.wanted.delivered)
                    && (shown || !self.wanted.displayed)
        };
        let told = self.by_recipient.values();
        (self.wanted.delivered || self.wanted.displayed)
            && told.filter(|told| is_final(told)).count() >= expected
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(wanted: &str, expected: Option<usize>) -> Tally {
        Tally {
            message_id: "42".to_owned(),
            wanted: Notifications::parse(wanted),
            expected,
            by_recipient: BTreeMap::new(),
            group: None,
            nameless: Vec::new(),
        }
    }

    fn told(who: &str, what: Disposition) -> Notification {
        Notification {
            message_id: "42".to_owned(),
            date_time: String::new(),
            recipient: Some(who.to_owned()),
            original_recipient: None,
            disposition: what,
        }
    }

    #[test]
    fn it_is_complete_when_everybody_has_told_all() {
        use Disposition::*;
        let mut both = tally("positive-delivery, display", Some(2));
        for (who, what) in [("a", Delivered), ("a", Displayed), ("b", Displayed)] {
            assert!(both.takes(&told(who, what)));
            assert!(!both.takes(&told(who, what)), "once");
            assert!(!both.is_complete());
        }
        assert!(both.takes(&told("b", Delivered)) && both.is_complete());
        let mut failed = tally("positive-delivery, negative-delivery", Some(1));
        assert!(failed.takes(&told("a", Failed)) && failed.is_complete());
        let mut group = tally("display", None);
        assert!(group.takes(&told("a", Displayed)) && !group.is_complete());
        let mut failures = tally("negative-delivery", Some(1));
        assert!(failures.takes(&told("a", Processed)) && !failures.is_complete());
    }

    #[test]
    fn members_that_a_group_does_not_name_count_one_by_one() {
        use Disposition::*;
        let mut group = tally("display", None);
        group.group = Some("sip:friends@Groups.example.com".to_owned());
        let own = "sip:friends@groups.example.com";
        for (who, what) in [
            (own, Displayed),
            (own, Displayed),
            (own, Failed),
            ("sip:a@b", Displayed),
        ] {
            assert!(group.takes(&told(who, what)));
        }
        assert_eq!(
            [Displayed, Failed, Delivered].map(|what| group.count(what)),
            [3, 1, 0]
        );
        while group.nameless.len() < MAX_RECIPIENTS {
            assert!(group.takes(&told(own, Delivered)));
        }
        assert!(!group.takes(&told(own, Delivered)));
    }

    #[test]
    fn what_is_told_of_other_messages_does_not_count() {
        let mut one = tally("display", Some(1));
        let mut other = told("a", Disposition::Displayed);
        other.message_id = "43".to_owned();
        assert!(!one.takes(&other) && !one.is_complete());
        for number in 0..MAX_RECIPIENTS {
            assert!(one.takes(&told(&number.to_string(), Disposition::Delivered)));
        }
        assert!(!one.takes(&told("one more", Disposition::Delivered)));
    }
}
