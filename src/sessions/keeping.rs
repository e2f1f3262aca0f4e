//! Messages that are kept in the store: sessions whose message goes there, and those that are
//! invited to from there.
//!
//! ```text
//!  Arriving --content stored--> Writing --kept--> Kept <-- restored
//!                                  |                |
//!                                  +--not kept: Not +--lost: the store has what is left
//! ```

use std::time::Instant;

use bytes::Bytes;

use super::dispatch::Sessions;
use super::entry::Entry;
use super::host::SessionHost;
use super::stored::Stored;
use crate::controlling::large_message_mode::{
    RelayCommand, Session, SessionId, Stage, TransactionKey,
};
use crate::controlling::{FanOutJob, KeptInvite, fill_random};
use crate::log::at;
use crate::msrp_control::{RelayOrder, SESSION_ID_BYTES, StoredContent};
use crate::store::Settled;

impl Sessions {
    /// The content of a session is on disk: its message is to be entered in the store.
    pub(super) fn content_stored(
        &mut self,
        id: SessionId,
        content: StoredContent,
        host: &dyn SessionHost,
    ) {
        let size = content.size;
        let entry = self.sessions.get_mut(&id);
        let stored = entry.map(|entry| (std::mem::take(&mut entry.stored), entry));
        let Some((Stored::Arriving(invite, ends), entry)) = stored else {
            return self.command(id, RelayCommand::NotKept(size));
        };
        let mut secret = [0; 32];
        fill_random(&mut secret);
        let kept = KeptInvite::new(*invite, content, &self.service, secret);
        if host.keep(&kept) {
            entry.stored = Stored::Writing(Box::new(kept.job), ends);
        } else {
            self.command(id, RelayCommand::NotKept(size));
        }
    }

    /// The store has the message of this session, under this number.
    pub fn handle_kept(&mut self, id: SessionId, number: u64, host: &dyn SessionHost) {
        let entry = self.sessions.get_mut(&id).filter(|entry| {
            let stage = entry.machine.stage();
            matches!(stage, Stage::Answered | Stage::Confirmed | Stage::Closing)
        });
        let stored = entry.map(|entry| (std::mem::take(&mut entry.stored), entry));
        let Some((Stored::Writing(job, ends), entry)) = stored else {
            return host.discard(number);
        };
        self.service.note_large(&job);
        for end in &ends {
            host.settle(&job, &end.uri, end.settled);
        }
        entry.stored = Stored::Kept(job);
        self.command(id, RelayCommand::Kept);
        for end in ends {
            if let Settled::Deferred(code) = end.settled {
                self.tell_of_waiting(id, end.leg, &end.uri, code, host);
            }
        }
    }

    /// The store does not have it, and will not.
    pub fn handle_not_kept(&mut self, id: SessionId, size: u64) {
        if let Some(entry) = self.sessions.get_mut(&id) {
            entry.stored = Stored::Not;
        }
        self.command(id, RelayCommand::NotKept(size));
    }

    fn command(&mut self, id: SessionId, command: RelayCommand) {
        self.commands.push_back(RelayOrder::Command(id, command));
    }

    /// Recipients of a message in the store are to be invited, as written by
    /// [`KeptInvite::hand_over`].
    pub fn handle_resume(
        &mut self,
        now: Instant,
        number: u64,
        written: Bytes,
        host: &dyn SessionHost,
    ) {
        let Some(KeptInvite {
            job,
            mut invite,
            content,
        }) = KeptInvite::read(written)
        else {
            let line = format_args!("message {number} of the store cannot be read: it is kept");
            return host.log(at!(Critical), line);
        };
        let has_room = self.sessions.len() < self.service.settings().large_mode.max_sessions;
        let mut bytes = [0; SESSION_ID_BYTES];
        fill_random(&mut bytes);
        let id = SessionId::from_bytes(bytes);
        invite.session = id;
        let restored = has_room.then(|| {
            Session::restored(
                now,
                &self.service,
                self.large_mode(),
                &invite,
                content,
                fill_random,
            )
        });
        let machine = match restored {
            Some(Ok(machine)) => machine,
            Some(Err(why)) => {
                let line = format_args!("message {number} of the store cannot be sent: {why:?}");
                host.log(at!(Error), line);
                return leave_all(&job, host);
            }
            None => return leave_all(&job, host),
        };
        let mut entry = Entry::new(now, machine, TransactionKey(0), &invite, None);
        entry.answered = true;
        entry.places = job.places();
        let line = format_args!(
            "session={id} to {} recipients of message {number} of the store, {}",
            job.recipients_left(),
            job.correlation()
        );
        host.log(at!(Debug), line);
        entry.stored = Stored::Kept(Box::new(job));
        self.sessions.insert(id, entry);
        self.touched(id, host);
    }

    /// A session is over, or lost: what is left of its message is the store's.
    pub(super) fn leave_to_store(&self, entry: &Entry, host: &dyn SessionHost) {
        let Stored::Kept(job) = &entry.stored else {
            return;
        };
        if self.is_ending {
            return;
        }
        for leg in entry.machine.legs().filter(|leg| leg.outcome.is_none()) {
            host.settle(job, leg.uri, Settled::Unsent);
        }
    }
}

fn leave_all(job: &FanOutJob, host: &dyn SessionHost) {
    for uri in job.recipients() {
        host.settle(job, uri, Settled::Unsent);
    }
}
