//! The notification to the sender of a pager mode message that all its recipients have failed (RFC
//! 5438 §7.2.1.1; readings N21). The 202 was sent long before.

use super::fan_out_job::FanOutJob;
use crate::controlling::about::LegCorrelation;
use crate::controlling::body::{cpim_of, entity};
use crate::controlling::disposition::OwnNotification;
use crate::controlling::hops::INITIAL_MAX_FORWARDS;
use crate::controlling::host::{Host, Sent};
use crate::controlling::ids::CopyIds;
use crate::controlling::service::ControllingFunction;
use crate::cpim::CpimMessage;
use crate::imdn::{Disposition, MessageHead, Notification};
use crate::log::at;
use crate::shared::Link;
use crate::sip::{HeaderBlock, HeaderName, Message, Uri};

impl ControllingFunction {
    /// Counts the recipients of a fan-out whose request could not be sent.
    pub(in crate::controlling) fn handle_unsent(&self, job: &FanOutJob, host: &dyn Host) {
        let sender = self
            .messages()
            .map(|messages| messages.sender_link(job.message));
        if job.failed > 0
            && let Some(sender) = sender.filter(|sender| *sender != Link::default())
            && let Some(copy) = job.copy()
        {
            self.handle_failed(&copy, sender, job.failed as usize, host);
        }
    }

    /// Counts recipients that have finally failed. `copy` is the request to one of them. If these
    /// were the last, the sender is notified.
    pub(in crate::controlling) fn handle_failed(
        &self,
        copy: &Message,
        link: Link,
        recipients: usize,
        host: &dyn Host,
    ) {
        let Some(sender) = self
            .senders()
            .and_then(|senders| senders.fail(link, recipients))
        else {
            return;
        };
        let sent = self.send_failure(copy, &sender, host);
        if !matches!(sent, Some(Sent::Queued)) {
            let id = |name| copy.first(name)?.text().ok();
            let line = format_args!(
                "the sender is not told that all recipients have failed: {}, {}",
                if sent.is_some() {
                    "the notification cannot be sent"
                } else {
                    "the message lacks header fields that it needs"
                },
                LegCorrelation {
                    leg: None,
                    call_id: id(HeaderName::CallId).unwrap_or("-"),
                    about: None,
                    contribution_id: id(HeaderName::ContributionId),
                }
            );
            host.log(at!(Notice), line);
        }
    }

    /// `None`: the message lacks data that the notification needs.
    fn send_failure(&self, copy: &Message, sender: &str, host: &dyn Host) -> Option<Sent> {
        let content = cpim_of(&entity(copy).ok()?)?;
        let head = MessageHead::of(&content).filter(|head| head.wanted.is_some())?;
        let content = CpimMessage::parse(&content).ok()?;
        let recipient = content.address("To")?;
        let failed = Notification {
            message_id: head.message_id,
            date_time: content.field("DateTime")?.to_owned(),
            recipient: Some(recipient.to_owned()),
            original_recipient: None,
            disposition: Disposition::Failed,
        };
        let mut headers = HeaderBlock::new();
        let copied = [
            HeaderName::AcceptContact,
            HeaderName::ConversationId,
            HeaderName::ContributionId,
        ];
        for field in copied.iter().flat_map(|name| copy.all(*name)) {
            headers.push_line(&field);
        }
        let mut ids = CopyIds::of(self.ids_following("failure", copy));
        ids.set(sender);
        let notification = OwnNotification {
            own: self.address_sent_to(copy, recipient)?,
            sender: sender.to_owned(),
            cpim_to: content.field("From")?.to_owned(),
            notification: failed,
            ids,
            hops: INITIAL_MAX_FORWARDS,
            headers,
        };
        self.send_notification(&notification, host)
    }

    /// The service address that a message was sent to: the identity that a group asserts, else the
    /// address in the CPIM wrapper, written by the sender (readings N38), if it is ours, else our
    /// first address.
    fn address_sent_to(&self, copy: &Message, named: &str) -> Option<String> {
        let asserted = copy.uri_in(HeaderName::PAssertedIdentity);
        let settings = self.settings();
        let own = settings
            .exploder_uris
            .iter()
            .chain(&settings.controlling_uris);
        let is_ours =
            |uri: &&str| Uri::parse(uri).is_ok_and(|uri| self.takes_notifications_to(&uri));
        let mut candidates = asserted
            .as_deref()
            .into_iter()
            .chain([named])
            .chain(own.map(String::as_str));
        candidates.find(is_ours).map(str::to_owned)
    }
}

#[cfg(test)]
mod tests {
    use super::super::fan_out_job::tests::{Scripted, cpim_job, sharing};
    use super::*;
    use crate::controlling::attempt::Attempt;
    use crate::controlling::host::Outcome;
    use crate::shared::Charge;

    /// A message of Anne to three, as it is recorded.
    fn noted(service: &ControllingFunction) -> FanOutJob {
        let senders = service.senders().unwrap();
        let sender = senders.note_counted("m1", "sip:anne@example.com", 60, 3);
        let mut job = cpim_job();
        job.message = service.note_message(&job.about, sender.unwrap().link());
        job
    }

    /// The copy to the recipient with this number has ended.
    fn end(service: &ControllingFunction, job: &FanOutJob, leg: u32, code: u16, host: &Scripted) {
        let attempt = Attempt::Copy {
            to_isf: false,
            is_resent: false,
            link: job.message.recipient(leg),
            charge: Charge::default(),
        };
        let copy = job.copy().unwrap();
        let outcome = Outcome {
            code,
            attempt: attempt.bits(),
            request: copy.buffer(),
        };
        service.handle_outcome(&outcome, host);
    }

    /// What Anne has been told.
    fn told(host: &Scripted) -> Vec<String> {
        let (sent, bodies) = (host.sent.borrow(), host.bodies.borrow());
        let to_anne = sent.iter().zip(bodies.iter());
        let to_anne = to_anne.filter(|((uri, _), _)| uri == "sip:anne@example.com");
        to_anne
            .map(|(_, body)| String::from_utf8_lossy(body).into_owned())
            .collect()
    }

    #[test]
    fn the_sender_is_told_once_that_all_have_failed() {
        let (service, host) = (sharing(&[]), Scripted::default());
        let mut job = noted(&service);
        service.run(&mut job, &host, false);
        end(&service, &job, 0, 408, &host);
        end(&service, &job, 2, 486, &host);
        assert_eq!(told(&host), [""; 0]);
        end(&service, &job, 1, 503, &host);
        let [notification] = &told(&host)[..] else {
            panic!("{:?}", told(&host))
        };
        for part in [
            "From: <sip:all@example.com>\r\n",
            "To: <sip:anne@example.com>\r\n",
            "<message-id>m1</message-id>",
            "<failed/>",
        ] {
            assert!(notification.contains(part), "{part} in {notification}");
        }
        end(&service, &job, 1, 503, &host);
        assert_eq!(told(&host).len(), 1);
    }

    #[test]
    fn one_who_has_it_is_enough() {
        let (service, host) = (sharing(&[]), Scripted::default());
        let mut job = noted(&service);
        service.run(&mut job, &host, false);
        for (leg, code) in [(0, 404), (1, 200), (2, 404)] {
            end(&service, &job, leg, code, &host);
        }
        assert_eq!(told(&host), [""; 0]);
    }

    /// With those whose copy could not even be sent.
    #[test]
    fn who_cannot_be_sent_to_has_failed_too() {
        for (unsent, ends) in [(3, 0), (2, 1)] {
            let (service, host) = (sharing(&[]), Scripted::default());
            let mut job = noted(&service);
            *host.answers.borrow_mut() = vec![Sent::Failed; unsent];
            service.run(&mut job, &host, false);
            assert_eq!(told(&host).len(), 0);
            service.handle_done(&job, &host);
            assert_eq!(told(&host).len(), 1 - ends, "{unsent}");
            if ends > 0 {
                end(&service, &job, 2, 480, &host);
                assert_eq!(told(&host).len(), 1);
            }
        }
    }
}
