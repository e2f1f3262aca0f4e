//! Resumes stored messages: what a previous process left, whose recipient is to be tried once more,
//! and what has expired.

use std::cell::RefCell;
use std::collections::BTreeSet;

use super::keeping::{Keeping, ROOM_AGAIN_MS, Ready, unix_s};
use super::kept_host::KeptHost;
use super::kept_large::job_of;
use super::proxy::Proxy;
use super::sender::Sender;
use crate::controlling::{ControllingFunction, Counter, FanOutJob};
use crate::log::at;
use crate::store::{Kept, Unsent};

impl Keeping {
    /// A message that a previous process left.
    pub(super) fn restore(
        &mut self,
        kept: &Kept,
        service: &ControllingFunction,
        proxy: &dyn Proxy,
    ) {
        if self.ledger.knows(kept.id) {
            return;
        }
        let Some((job, _)) = job_of(kept) else {
            proxy.log(
                at!(Error),
                format_args!(
                    "message {} of the store cannot be read (version {}): it is kept, and not sent",
                    kept.id, kept.version
                ),
            );
            return;
        };
        let now_ms = proxy.now_ms();
        let left_s = kept.expires_s.saturating_sub(unix_s());
        let left_ms = left_s.saturating_mul(1_000);
        let expires_ms = now_ms.saturating_add(left_ms);
        self.ledger
            .restore(kept.id, job.copies(), &kept.ended, expires_ms, now_ms);
        let names = service.names_of(job.about());
        self.ledger.set_names(kept.id, names);
    }

    /// Resumes a message that was read: returns what is to be sent, and gives up on whom nothing is
    /// sent to any more.
    pub(super) fn resume(
        &mut self,
        kept: &Kept,
        service: &ControllingFunction,
        proxy: &dyn Proxy,
    ) -> Option<Ready> {
        let (id, now_ms) = (kept.id, proxy.now_ms());
        let Some((mut job, rest)) = job_of(kept) else {
            self.ledger.put_off(id, now_ms, ROOM_AGAIN_MS);
            self.ledger.rest(id);
            return None;
        };
        let wanted = self.ledger.wanted(id, job.copies(), now_ms);
        job.set_mark(self.ledger.mark(id));
        if !service.is_noted(&job) {
            let codes = self.ledger.codes(id).into_iter();
            let failed = codes.filter(|(code, _)| *code >= 300 && *code != 482);
            service.note_kept(&mut job, failed.map(|(_, n)| n).sum());
            self.ledger.set_mark(id, job.mark());
        }
        let copies = job.copies().zip(&wanted);
        let open = copies.filter_map(|(copy, wanted)| wanted.map(|_| copy));
        self.ledger.expect(id, open);
        let reasons = wanted.iter().flatten().filter_map(|wanted| wanted.give_up);
        for why in reasons.collect::<BTreeSet<Unsent>>() {
            if let Some((mut over, _)) = job_of(kept) {
                over.set_mark(job.mark());
                over.keep_only(&wanted, Some(why));
                self.give_up((id, rest.is_some()), &mut over, why, service, proxy);
            }
        }
        job.keep_only(&wanted, None);
        let count = u32::try_from(job.recipients_left()).unwrap_or(u32::MAX);
        proxy.count(Counter::Resent, count);
        if count == 0 {
            self.ledger.rest(id);
            return None;
        }
        if let Some(rest) = rest {
            self.invite(id, &job, &rest, proxy);
            return None;
        }
        Some(Ready { id, job })
    }

    /// Nothing more is sent to these recipients of a message.
    fn give_up(
        &mut self,
        (id, is_large): (u64, bool),
        job: &mut FanOutJob,
        why: Unsent,
        service: &ControllingFunction,
        proxy: &dyn Proxy,
    ) {
        let (code, count) = (why.code(), job.recipients_left());
        let now_ms = proxy.now_ms();
        let sender = Sender::new(service, proxy).giving_up_with(code, is_large);
        let host = KeptHost {
            sender: &sender,
            ledger: RefCell::new(&mut self.ledger),
            id,
            now_ms,
            give_up: Some(code),
        };
        service.run(job, &host, true);
        service.handle_done(job, &sender);
        let correlation = job.correlation();
        if why == Unsent::Expired {
            proxy.count(Counter::Expired, u32::try_from(count).unwrap_or(u32::MAX));
            let line =
                format_args!("{count} recipients have not got a message in time, {correlation}");
            proxy.log(at!(Notice), line);
        } else {
            let line = format_args!(
                "{count} recipients failed with {code}: enough messages wait for them (deferred_max), \
                 {correlation}"
            );
            proxy.log(at!(Notice), line);
        }
    }
}
