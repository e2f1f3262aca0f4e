//! Sends an accepted request: the one place that chooses between the modes.

use super::host::{Counter, Host};
use super::large_message_mode::AcceptedInvite;
use super::pager_mode::{self, FanOutJob, Progress};
use super::received::Mode;
use super::refusal::{RETRY_AFTER_S, Refusal, Reply};
use super::request::{CheckStage, Request};
use super::service::ControllingFunction;
use crate::log::{LogAt, at};
use crate::shared::{Claim, Known, Link, Noted, Share};
use crate::sip::StatusCode;

/// Result of a fan-out.
#[derive(Debug)]
pub enum FanOut {
    /// Everything is sent; with the reply.
    Done(Reply),
    /// Another process has the rest, and will send the reply.
    HandedOver,
    /// It has been accepted before, here or just now by another process.
    Known(Known),
    /// There was no memory for a single transaction.
    NoRoom,
    /// The proxy is about to end.
    Draining,
    /// Its originator or its source has reached its share of outstanding recipients.
    OverShare(Share),
    /// An internal error.
    Failed,
    /// The request has not passed its checks.
    NotAccepted,
}

/// A longer list is passed on as a whole: its checks have taken the worker's time, and one process
/// alone can keep to a window of outstanding copies.
const MAX_RECIPIENTS_HERE: usize = 128;

impl Request {
    /// Sends one request to each recipient (9.1.1 item 6), or passes it to the sessions process
    /// (9.1.2-8, -9). Takes `&self`: meanwhile the host may run a routing script that reads this
    /// request. [`Request::handle_fan_out`] takes the result.
    pub fn fan_out(&self, host: &dyn Host) -> FanOut {
        if self.stage != CheckStage::Accepted {
            return FanOut::NotAccepted;
        }
        if self.service.is_draining() {
            return FanOut::Draining;
        }
        let claim = match self.claim(host) {
            Ok(claim) => claim,
            Err(known) => return FanOut::Known(known),
        };
        let result = match self.mode() {
            Mode::Pager => self.send_copies(claim, host),
            Mode::Large => self.begin_session(claim, host),
        };
        // A request that was refused after all may come again.
        if matches!(
            result,
            FanOut::Failed | FanOut::NoRoom | FanOut::OverShare(_)
        ) {
            self.service.give_back(claim);
        }
        result
    }

    /// Claims the right to fan it out, which only one process gets, once.
    fn claim(&self, host: &dyn Host) -> Result<Option<Claim>, Known> {
        let Some((requests, name)) = self.service.requests().zip(self.name.as_ref()) else {
            return Ok(None);
        };
        let claimed = requests.claim(name)?;
        if claimed.forgot {
            host.count(Counter::Forgotten, 1);
        }
        Ok(Some(claimed.claim))
    }

    fn begin_session(&self, claim: Option<Claim>, host: &dyn Host) -> FanOut {
        let Some(mut invite) = AcceptedInvite::of(self, claim) else {
            return FanOut::Failed;
        };
        // The relay records its sender.
        invite.record = self.service.note_message(&invite.about, Link::default());
        if host.begin_session(&invite.write()) {
            return FanOut::HandedOver;
        }
        self.service.forget_message(invite.record);
        FanOut::NoRoom
    }

    fn send_copies(&self, claim: Option<Claim>, host: &dyn Host) -> FanOut {
        let charge = match self.charge() {
            Ok(charge) => charge,
            Err(share) => return FanOut::OverShare(share),
        };
        let free = || {
            if let Some(outstanding) = &self.service.outstanding {
                outstanding.release(charge, self.recipients.len());
            }
        };
        let Some(mut job) = pager_mode::fan_out_job(self, charge, host) else {
            free();
            return FanOut::Failed;
        };
        job.claim = claim;
        let noted = self.note_sender();
        let link = noted.as_ref().map(Noted::link).unwrap_or_default();
        job.message = self.service.note_message(&job.about, link);
        let message = job.message;
        let refuse = || {
            free();
            self.service.forget_message(message);
            if let (Some(senders), Some(noted)) = (self.service.senders(), &noted) {
                senders.forget(noted);
            }
            FanOut::NoRoom
        };
        if self.service.keeps_messages() {
            // Nothing is sent before it is on the disk, which no worker waits for.
            job.keep = Some(self.keep());
            return match host.hand_over(&job.write()) {
                true => FanOut::HandedOver,
                false => refuse(),
            };
        }
        // Each attempt writes everything that is left, so the next one waits until half of that has
        // been sent: all attempts together write at most twice the list.
        let mut try_from = usize::MAX;
        if self.recipients.len() > MAX_RECIPIENTS_HERE {
            if host.hand_over(&job.write()) {
                return FanOut::HandedOver;
            }
            try_from = job.rest() / 2;
        }
        loop {
            let progress = self.service.run(&mut job, host, false);
            if progress == Progress::Done {
                self.service.handle_done(&job, host);
                return FanOut::Done(self.service.accepted(&job));
            }
            if progress == Progress::NoRoom || job.rest() <= try_from {
                if host.hand_over(&job.write()) {
                    return FanOut::HandedOver;
                }
                try_from = job.rest() / 2;
            }
            if progress == Progress::NoRoom {
                if job.is_untouched() {
                    return refuse();
                }
                self.service.run(&mut job, host, true);
                self.service.handle_done(&job, host);
                return FanOut::Done(self.service.accepted(&job));
            }
        }
    }

    /// Makes the reply from the result of [`Request::fan_out`].
    pub fn handle_fan_out(&mut self, result: FanOut, host: &dyn Host) {
        self.stage = match result {
            FanOut::NotAccepted => return,
            FanOut::Known(known) => self.handle_known(known, host),
            FanOut::HandedOver => {
                // A session counts itself once it exists, and a message once it is kept.
                if self.mode() == Mode::Pager && !self.service.keeps_messages() {
                    host.count(Counter::Accepted, 1);
                }
                CheckStage::Answered
            }
            FanOut::Done(reply) => {
                host.count(Counter::Accepted, 1);
                self.reply = Some(reply);
                CheckStage::Answered
            }
            FanOut::NoRoom => self.refuse(
                &unavailable(at!(Notice), "there is no room for it now"),
                host,
            ),
            FanOut::Draining => {
                self.refuse(&unavailable(at!(Notice), "the proxy is about to end"), host)
            }
            FanOut::OverShare(share) => {
                let refusal = self.over_share(share, host);
                self.refuse(&refusal, host)
            }
            FanOut::Failed => {
                return self.fail(at!(Notice), "its fan-out could not be prepared", host);
            }
        };
    }
}

/// It may be worth another try, here or elsewhere.
fn unavailable(at: LogAt, cause: &'static str) -> Refusal {
    Refusal::with_header(
        at,
        StatusCode::SERVICE_UNAVAILABLE,
        Some(("Retry-After", RETRY_AFTER_S.to_string())),
        cause,
    )
}

impl ControllingFunction {
    /// The reply to a request that cannot be kept.
    pub fn not_kept(&self, job: &FanOutJob) -> Reply {
        let mut reply = unavailable(at!(Notice), "").reply(&self.product(), "");
        reply.to_tag = job.reply().to_tag;
        reply
    }

    /// A request that was claimed has been refused: it may come again.
    pub fn give_back(&self, claim: Option<Claim>) {
        if let (Some(requests), Some(claim)) = (self.requests(), claim) {
            requests.give_back(claim);
        }
    }
}

#[cfg(test)]
mod tests;
