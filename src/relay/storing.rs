//! Messages whose content goes to the store as it arrives, and those whose content comes from it.
//!
//! ```text
//!  content --> cpm-content --all of it, named--> ContentStored --> the record, elsewhere
//!  last SEND: 200, end-lines to the legs <------- Kept ------------------+
//!             413, `#` to the legs <------------- NotKept ---------------+
//! ```

use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;

use super::core::Core;
use super::input::SpoolDone;
use super::session::{RelaySession, Storing};
use super::spool::{SpoolFile, SpoolJob};
use crate::log::at;
use crate::msrp::Status;
use crate::msrp_control::{MsrpEvent, SessionId, Side, StoredContent};
use crate::msrp_session::FanOut;
use crate::random::fill_random;

impl Core {
    /// The content of this session is to be written to the store as it arrives.
    pub(super) fn store(&mut self, id: SessionId) {
        if self.store.is_none() || self.fallen.contains(&id) {
            return;
        }
        let session = self.session(id);
        session.storing = Storing::Writing;
        session.reads_head = true;
        session.limits.spool_bytes = u64::MAX;
        session.fan_out.write_through();
        self.set_limits(id, 0);
    }

    /// A message that is complete in the store.
    pub(super) fn restore(&mut self, id: SessionId, content: StoredContent) {
        if self.store.is_none() || self.fallen.contains(&id) {
            return;
        }
        let limits = self.budget.session_limits(u64::MAX);
        let session = self.session(id);
        session.storing = Storing::Stored;
        session.begun = true;
        session.limits = limits;
        session.file = SpoolFile::stored(content.file.to_string());
        session.cell.total.store(content.size, Relaxed);
        session.fan_out = FanOut::stored(limits, fill_random, content.message, content.size);
        if self.budget.begin() {
            self.set_all_limits();
        }
    }

    /// Content of a session that is being stored.
    pub(super) fn write_to_store(
        &mut self,
        id: SessionId,
        offset: u64,
        pieces: Vec<Bytes>,
        bytes: u64,
    ) {
        let (Some(session), Some(store)) = (self.sessions.get_mut(&id), &self.store) else {
            return;
        };
        if session.storing != Storing::Writing {
            return;
        }
        if !store.space.take(bytes) {
            return self.not_stored(id, "the store is full (store_max_size)");
        }
        session.stored += bytes;
        let job = SpoolJob::Write { offset, pieces };
        store.thread.submit(id, &session.file, job);
    }

    /// All content is in the file.
    pub(super) fn name_content(&mut self, id: SessionId) {
        if let (Some(session), Some(store)) = (self.sessions.get(&id), &self.store) {
            let job = SpoolJob::Name(id.to_string());
            store.thread.submit(id, &session.file, job);
        }
    }

    /// A result of the store's thread.
    pub(super) fn handle_stored(&mut self, id: SessionId, done: &SpoolDone) {
        match done {
            SpoolDone::Named => self.content_named(id),
            SpoolDone::NotNamed { why } => self.not_stored(id, why),
            _ => {}
        }
    }

    fn content_named(&mut self, id: SessionId) {
        let Some(session) = self.sessions.get_mut(&id) else {
            return self.remove_content(id);
        };
        let Some(message) = session.fan_out.message() else {
            return;
        };
        let content = StoredContent {
            file: id,
            size: session.fan_out.received(),
            message: message.clone(),
            head: std::mem::take(&mut session.stored_head),
        };
        session.storing = Storing::Asked;
        // Whoever decides gives it back.
        session.stored = 0;
        let event = MsrpEvent::ContentStored(Box::new(content));
        self.events.session(id, event);
    }

    fn remove_content(&mut self, id: SessionId) {
        if let Some(store) = &self.store {
            let job = SpoolJob::Remove(id.to_string());
            store.thread.submit(id, &SpoolFile::default(), job);
        }
    }

    /// The message is on disk.
    pub(super) fn kept(&mut self, id: SessionId) {
        let now = self.now;
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        if session.storing != Storing::Asked {
            return;
        }
        session.storing = Storing::Stored;
        session.fan_out.handle_complete(now);
        if let Some(originator) = &mut session.originator
            && let Some(key) = originator.message
        {
            originator.decided = true;
            originator.endpoint.accept(key);
            self.events.session(id, MsrpEvent::MessageComplete);
        }
        self.take_frames(id);
        self.after_fan_out(id);
        self.unbind_if_closing(id);
    }

    /// The message is not on disk after all, and its content of so many bytes is of no use.
    pub(super) fn not_kept(&mut self, id: SessionId, bytes: u64) {
        if let Some(store) = &self.store {
            store.space.give_back(bytes);
        }
        self.remove_content(id);
        self.end_storing(id);
    }

    /// The content cannot be stored.
    pub(super) fn not_stored(&mut self, id: SessionId, why: &str) {
        let line =
            format_args!("the content of a large message cannot be stored: {why}, session={id}");
        self.events.log(at!(Error), line);
        self.end_storing(id);
    }

    /// The originator is told to stop, and so are the legs.
    fn end_storing(&mut self, id: SessionId) {
        let now = self.now;
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        if !matches!(session.storing, Storing::Writing | Storing::Asked) {
            return;
        }
        session.storing = Storing::Failed;
        if let Some(originator) = &mut session.originator {
            if let Some(key) = originator.message {
                originator.endpoint.refuse(key, Status::STOP_SENDING);
            }
            if !std::mem::replace(&mut originator.decided, true) {
                self.events.session(id, MsrpEvent::MessageFailed);
            }
        }
        session.fan_out.handle_aborted(now);
        self.take_frames(id);
        self.after_fan_out(id);
        self.unbind_if_closing(id);
    }

    fn unbind_if_closing(&mut self, id: SessionId) {
        let session = self.sessions.get(&id);
        let originator = session.and_then(|session| session.originator.as_ref());
        if originator.is_some_and(|originator| originator.is_closing) {
            self.unbind(id, Side::Originator);
        }
    }

    /// A session is dropped: what it had taken of the store's room is free.
    pub(super) fn leave_store(&self, session: &RelaySession) {
        if let Some(store) = &self.store {
            store.space.give_back(session.stored);
        }
    }
}
