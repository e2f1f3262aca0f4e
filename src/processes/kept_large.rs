//! Large messages in the store. CPM sessions says when one is whole and what becomes of its
//! recipients, and is told when some are to be invited once more.

use bytes::Bytes;

use super::keeping::{Keeping, ROOM_AGAIN_MS, Writing, lifetime_s, refuse_large, unix_s};
use super::letter;
use super::process::Process;
use super::proxy::Proxy;
use crate::controlling::{
    ControllingFunction, Counter, FanOutJob, KeptInvite, LARGE_RECORD_VERSION,
};
use crate::msrp_control::SessionId;
use crate::store::Kept;

impl Keeping {
    /// Stores the message of a session, whose content is on disk.
    pub(super) fn keep_large(
        &mut self,
        session: SessionId,
        size: u64,
        written: Bytes,
        service: &ControllingFunction,
        proxy: &dyn Proxy,
    ) {
        let Some((record, job)) = KeptInvite::record_in(written) else {
            return refuse_large(session, size, proxy);
        };
        let id = self.store.new_id();
        let kept = Kept {
            id,
            version: LARGE_RECORD_VERSION,
            expires_s: unix_s() + lifetime_s(service, &job),
            record,
            identity: Bytes::new(),
            ended: Bytes::new(),
            content: Some((session.to_string(), size)),
        };
        match self.store.keep(kept) {
            true => {
                let writing = Writing::Large(session, size, job);
                self.writing.insert(id, writing);
            }
            false => refuse_large(session, size, proxy),
        }
    }

    /// A large message is on disk: its session has the recipients.
    pub(super) fn begin_large(
        &mut self,
        id: u64,
        session: SessionId,
        job: &FanOutJob,
        service: &ControllingFunction,
        proxy: &dyn Proxy,
    ) {
        let now_ms = proxy.now_ms();
        if !proxy.post(Process::Sessions, &letter::kept(session, id)) {
            // It cannot be told, and neither can the sender: the message is not accepted.
            return self.store.done(vec![id]);
        }
        let expires_ms = now_ms.saturating_add(1_000 * lifetime_s(service, job));
        let recipients = job.recipients_left();
        self.ledger.begin(id, recipients, expires_ms, now_ms);
        self.ledger.set_mark(id, job.mark());
        self.ledger.set_names(id, service.names_of(job.about()));
        for copy in job.copies() {
            self.ledger.in_session(id, copy, now_ms);
        }
        // Others may be due while the session has these.
        self.ledger.rest(id);
        proxy.count(Counter::Stored, 1);
    }

    /// A message that was kept is not accepted after all.
    pub(super) fn discard(&mut self, id: u64, now_ms: u64) {
        if !self.ledger.forget(id, now_ms) {
            self.store.done(vec![id]);
        }
    }

    /// Has CPM sessions invite what is left of a message. `rest`: that of its record, behind the
    /// job.
    pub(super) fn invite(&mut self, id: u64, job: &FanOutJob, rest: &[u8], proxy: &dyn Proxy) {
        let now_ms = proxy.now_ms();
        for copy in job.copies() {
            self.ledger.in_session(id, copy, now_ms);
        }
        let letter = letter::resume(id, &KeptInvite::hand_over(job, rest));
        if !proxy.post(Process::Sessions, &letter) {
            for copy in job.copies() {
                self.ledger.unsent(copy, now_ms, ROOM_AGAIN_MS);
            }
        }
        self.ledger.rest(id);
    }
}

/// The job of a message in the store, and the rest of its record if it is a large one. `None`: the
/// record is torn, or of a later release.
pub(super) fn job_of(kept: &Kept) -> Option<(FanOutJob, Option<Bytes>)> {
    match kept.version {
        LARGE_RECORD_VERSION => {
            let (job, rest) = KeptInvite::job_of(kept.record.clone())?;
            Some((job, Some(rest)))
        }
        version => FanOutJob::of_record(version, kept.record.clone()).map(|job| (job, None)),
    }
}
