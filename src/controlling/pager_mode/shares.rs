//! Limits of outstanding recipients for each sender, source and destination, so that others always
//! have capacity (`max_outstanding_per_*`).

use std::fmt;
use std::net::IpAddr;

use super::fan_out_job::{FanOutJob, Progress};
use crate::controlling::attempt::Attempt;
use crate::controlling::host::{Counter, Host, Journal, OutgoingRequest, Sent};
use crate::controlling::refusal::{RETRY_AFTER_S, Refusal};
use crate::controlling::request::Request;
use crate::controlling::service::ControllingFunction;
use crate::log::{LogAt, at};
use crate::shared::{Charge, DestinationKey, OutstandingTable, Share, Source};
use crate::sip::{StatusCode, Uri, behind_userinfo, hostport};

impl Request {
    /// Counts its recipients for its originator and its source.
    pub(in crate::controlling) fn charge(&self) -> Result<Charge, Share> {
        let (Some(outstanding), Some(originator)) = (&self.service.outstanding, self.originator())
        else {
            return Ok(Charge::default());
        };
        let settings = self.service.settings();
        let sender = (self.service.key_of(originator), settings.shares.sender);
        // All senders behind a trusted peer share its address.
        let is_peer = |address: &IpAddr| settings.trusted_peers.contains(*address);
        let source = self.source.filter(|address| !is_peer(address));
        let source = source.map(|address| (Source::of(address), settings.shares.source));
        outstanding.charge(sender, source, self.recipients.len())
    }

    /// Why it is refused. The operator is told at intervals only: a flood of refusals must not fill
    /// the log.
    pub(in crate::controlling) fn over_share(&self, share: Share, host: &dyn Host) -> Refusal {
        let name = match share {
            Share::Sender => "max_outstanding_per_sender",
            Share::Source => "max_outstanding_per_source",
            Share::Destination => "max_outstanding_per_destination",
        };
        host.count(Counter::Shares, 1);
        if self
            .service
            .outstanding
            .as_ref()
            .is_some_and(OutstandingTable::is_time_to_tell)
        {
            host.log(
                at!(Notice),
                format_args!(
                    "messages are refused with 503: {name} recipients are outstanding already; they are counted (shares), {}",
                    self.correlation()
                ),
            );
        }
        Refusal::with_header(
            at!(Debug),
            StatusCode::SERVICE_UNAVAILABLE,
            Some(("Retry-After", RETRY_AFTER_S.to_string())),
            "a share is used up",
        )
    }
}

impl ControllingFunction {
    /// Continues a fan-out, as far as its destinations have capacity.
    pub fn run(&self, job: &mut FanOutJob, host: &dyn Host, last: bool) -> Progress {
        job.messages = self.messages().cloned();
        match &self.outstanding {
            Some(outstanding) => job.run(
                &Shared {
                    host,
                    outstanding,
                    service: self,
                },
                last,
            ),
            None => job.run(host, last),
        }
    }

    /// The copy with this Request-URI is no longer outstanding. `goes_on`: another one replaces it.
    pub(in crate::controlling) fn release(
        &self,
        recipient: Option<&str>,
        charge: Charge,
        goes_on: bool,
    ) {
        let Some(outstanding) = &self.outstanding else {
            return;
        };
        if !goes_on {
            outstanding.release(charge, 1);
        }
        if let Some(destination) = self.destination(recipient, outstanding) {
            outstanding.release_destination(destination, charge);
        }
    }

    /// The destination whose share counts the copies for this recipient, if its URI alone
    /// determines the next hop.
    fn destination(
        &self,
        recipient: Option<&str>,
        outstanding: &OutstandingTable,
    ) -> Option<DestinationKey> {
        let recipient = recipient.filter(|_| self.settings().outbound_proxy.is_none())?;
        let place = behind_userinfo(recipient);
        // Recipients of one list often have one destination.
        let mut last = self.last_destination.borrow_mut();
        if let (Some(place), Some((known, key))) = (place, &*last)
            && place == known
        {
            return Some(*key);
        }
        let hostport = match place.and_then(hostport) {
            Some(hostport) => hostport,
            None => {
                let uri = Uri::parse(recipient).ok()?;
                (uri.host()?, uri.port())
            }
        };
        let key = outstanding.destination(hostport);
        if let Some(place) = place {
            let (known, known_key) = last.get_or_insert_with(|| (String::new(), key));
            place.clone_into(known);
            *known_key = key;
        }
        Some(key)
    }
}

/// A host that respects each destination's share.
struct Shared<'a> {
    host: &'a dyn Host,
    outstanding: &'a OutstandingTable,
    service: &'a ControllingFunction,
}

impl Journal for Shared<'_> {
    fn log(&self, at: LogAt, line: fmt::Arguments<'_>) {
        self.host.log(at, line);
    }

    fn count(&self, counter: Counter, n: u32) {
        self.host.count(counter, n);
    }
}

impl Host for Shared<'_> {
    fn send(&self, outgoing: &OutgoingRequest<'_>) -> Sent {
        let Attempt::Copy { charge, to_isf, .. } = Attempt::of_bits(outgoing.attempt) else {
            return self.host.send(outgoing);
        };
        let limit = self.service.settings().shares.destination;
        let destination = self
            .service
            .destination(Some(outgoing.request_uri), self.outstanding)
            .filter(|_| !to_isf);
        if let Some(destination) = destination
            && !self
                .outstanding
                .charge_destination(destination, charge, limit)
        {
            return Sent::Busy;
        }
        let sent = self.host.send(outgoing);
        match sent {
            Sent::Queued => return sent,
            Sent::NoRoom | Sent::Busy => {}
            _ => self.outstanding.release(charge, 1),
        }
        if let Some(destination) = destination {
            self.outstanding.release_destination(destination, charge);
        }
        sent
    }

    fn give_up(&self, outgoing: &OutgoingRequest<'_>) -> Sent {
        if let Attempt::Copy { charge, .. } = Attempt::of_bits(outgoing.attempt) {
            self.outstanding.release(charge, 1);
        }
        self.host.give_up(outgoing)
    }

    fn is_turn_over(&self) -> bool {
        self.host.is_turn_over()
    }

    fn hand_over(&self, job: &[u8]) -> bool {
        self.host.hand_over(job)
    }

    fn begin_session(&self, invite: &[u8]) -> bool {
        self.host.begin_session(invite)
    }
}

#[cfg(test)]
mod tests {
    use super::super::fan_out_job::tests::{Scripted, job};
    use super::*;
    use crate::controlling::Outcome;
    use crate::policy::Settings;
    use crate::shared::RecipientLink;
    use std::sync::atomic::AtomicU64;

    fn service(parameters: &[(&str, &str)]) -> ControllingFunction {
        let mut settings = Settings::default();
        settings.set("exploder_uri", "sip:all@example.com").unwrap();
        for (name, value) in parameters {
            settings.set(name, value).unwrap();
        }
        let words = (0..OutstandingTable::WORDS).map(|_| AtomicU64::new(0));
        let words: Vec<AtomicU64> = words.collect();
        let table = OutstandingTable::new(words.leak(), 7, || 1_000);
        ControllingFunction::new(settings, 7)
            .unwrap()
            .with_outstanding(table)
    }

    /// A job of three copies to one host, whose sender has a share of three.
    fn charged(service: &ControllingFunction) -> FanOutJob {
        let table = service.outstanding.as_ref().unwrap();
        let mut job = job();
        job.charge = table.charge((1, 3), None, 3).unwrap();
        job
    }

    fn has_room(service: &ControllingFunction, recipients: usize) -> bool {
        let table = service.outstanding.as_ref().unwrap();
        let charge = table.charge((1, 3), None, recipients);
        charge
            .map(|charge| table.release(charge, recipients))
            .is_ok()
    }

    #[test]
    fn a_destination_beyond_its_share_waits_and_others_go_on() {
        let service = service(&[("max_outstanding_per_destination", "2")]);
        let mut job = charged(&service);
        job.recipients.push_str("sip:d@elsewhere.example.com\n");
        let host = Scripted::default();
        assert_eq!(service.run(&mut job, &host, false), Progress::NoRoom);
        let sent: Vec<String> = host
            .sent
            .borrow()
            .iter()
            .map(|(uri, _)| uri.clone())
            .collect();
        let expected = [
            "sip:a@example.com",
            "sip:b@example.com",
            "sip:d@elsewhere.example.com",
        ];
        assert_eq!(sent, expected);
        service.release(Some("sip:a@example.com"), job.charge, false);
        assert_eq!(service.run(&mut job, &host, false), Progress::Done);
        assert_eq!(host.sent.borrow().len(), 4);
    }

    #[test]
    fn behind_an_outbound_proxy_no_destination_has_a_share() {
        let service = service(&[
            ("max_outstanding_per_destination", "1"),
            ("outbound_proxy", "sip:proxy.example.com"),
        ]);
        let mut job = charged(&service);
        assert_eq!(
            service.run(&mut job, &Scripted::default(), false),
            Progress::Done
        );
    }

    #[test]
    fn every_end_of_a_copy_gives_its_part_of_the_share_back() {
        let service = service(&[]);
        for answers in [
            vec![Sent::Failed, Sent::Dropped, Sent::Failed],
            vec![Sent::Busy, Sent::NoRoom, Sent::Failed],
        ] {
            let mut job = charged(&service);
            let host = Scripted::default();
            *host.answers.borrow_mut() = answers;
            assert!(!has_room(&service, 1));
            service.run(&mut job, &host, true);
            assert!(has_room(&service, 3));
        }
        let mut job = charged(&service);
        let host = Scripted::default();
        assert_eq!(service.run(&mut job, &host, false), Progress::Done);
        for code in [200, 408, 486] {
            assert!(!has_room(&service, 3));
            let outcome = Outcome {
                code,
                attempt: Attempt::Copy {
                    is_resent: false,
                    to_isf: false,
                    link: RecipientLink::default(),
                    charge: job.charge,
                }
                .bits(),
                request: b"MESSAGE sip:a@example.com SIP/2.0\r\nCall-ID: 1\r\n\r\n",
            };
            service.handle_outcome(&outcome, &host);
        }
        assert!(has_room(&service, 3));
    }
}
