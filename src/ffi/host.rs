//! The host as C offers it, in the shape that the Controlling Function asks for.

use std::ffi::{CString, c_int, c_void};
use std::fmt;
use std::sync::atomic::AtomicU64;

use super::bindings::{
    self, cpm_counter, cpm_dialog_request, cpm_host, cpm_log_level, cpm_outgoing, cpm_reply,
    cpm_request, cpm_sent, cpm_str,
};
use crate::controlling::large_message_mode::{InDialogRequest, SessionReply, TransactionKey};
use crate::controlling::{AboutRequest, Counter, Host, LogLevel, OutgoingRequest, Sent};
use crate::group::source::{DatabaseError, GroupDatabase};
use crate::sessions::{Invited, SessionEvent, SessionHost};

/// Longest log line; what is longer is cut. A line holds words of ours, a Call-ID and numbers.
const MAX_LOG_LINE_BYTES: usize = 1024;

/// The host's table with the context of the current call. It cannot leave the thread that the call came
/// on, which is the one that may call the proxy.
pub(super) struct CHost<'a> {
    table: &'a cpm_host,
    context: *mut c_void,
}

impl<'a> CHost<'a> {
    /// For one call into the core, to which the host gave this context.
    pub(super) fn new(table: &'a cpm_host, context: *mut c_void) -> Self {
        CHost { table, context }
    }

    /// Memory for so many numbers, all 0, that every process has. `None`: there is none.
    pub(super) fn share(&self, words: usize) -> Option<&'static [AtomicU64]> {
        let share = self.table.share?;
        // SAFETY: the table lives as long as the service (cpm.h).
        let shared = unsafe { share(words * size_of::<AtomicU64>()) }.cast::<AtomicU64>();
        if shared.is_null() || !shared.is_aligned() {
            return None;
        }
        // SAFETY: so many bytes, zeroed and aligned, that stay to the end of the proxy and that nothing but this slice, in whatever
        // process, refers to (cpm.h).
        Some(unsafe { std::slice::from_raw_parts(shared, words) })
    }

    /// Asks the operator's own policy.
    pub(super) fn authorize(&self, request: *mut cpm_request) -> bool {
        match self.table.authorize {
            // SAFETY: the table lives as long as the service (cpm.h); the request is the handle that this
            // call was made for, with no Rust borrow of its content outstanding.
            Some(authorize) => unsafe { authorize(self.context, request) == 1 },
            None => true,
        }
    }
}

impl Host for CHost<'_> {
    fn log(&self, level: LogLevel, line: fmt::Arguments<'_>) {
        let Some(log) = self.table.log else { return };
        let level = level_to_c(level);
        if let Some(logs) = self.table.logs {
            // SAFETY: the table lives as long as the service.
            let is_wanted = unsafe { logs(level) } == 1;
            if !is_wanted {
                return;
            }
        }
        let mut text = line.to_string();
        if text.len() > MAX_LOG_LINE_BYTES {
            text.truncate(text.floor_char_boundary(MAX_LOG_LINE_BYTES));
        }
        // A peer's text cannot begin a line of its own.
        let text: String = text
            .chars()
            .map(|c| if c.is_control() { '.' } else { c })
            .collect();
        // SAFETY: the table lives as long as the service; the text lives until the call returns.
        unsafe { log(level, lend(text.as_bytes())) }
    }

    fn count(&self, counter: Counter, n: u32) {
        if let Some(count) = self.table.count {
            // SAFETY: the table lives as long as the service.
            unsafe { count(counter_to_c(counter), n) }
        }
    }

    fn send(&self, outgoing: &OutgoingRequest<'_>) -> Sent {
        let Some(send) = self.table.send else {
            return Sent::Failed;
        };
        // SAFETY: the table lives as long as the service; everything lent lives until the call returns.
        sent_of(unsafe { send(self.context, &lend_outgoing(outgoing)) })
    }

    fn hand_over(&self, job: &[u8]) -> bool {
        match self.table.hand_over {
            // SAFETY: the table lives as long as the service; the job lives until the call returns.
            Some(hand_over) => unsafe { hand_over(self.context, lend(job)) == 1 },
            None => false,
        }
    }

    fn begin_session(&self, invite: &[u8]) -> bool {
        match self.table.begin_session {
            // SAFETY: the table lives as long as the service; the INVITE lives until the call returns.
            Some(begin_session) => unsafe { begin_session(self.context, lend(invite)) == 1 },
            None => false,
        }
    }
}

impl SessionHost for CHost<'_> {
    fn invite(&self, invite: &OutgoingRequest<'_>) -> Invited {
        let Some(session_invite) = self.table.session_invite else {
            return Invited::Unsent;
        };
        let mut transaction = 0;
        // SAFETY: the table lives as long as the service; everything lent lives until the call returns.
        let sent =
            unsafe { session_invite(self.context, &lend_outgoing(invite), &raw mut transaction) };
        match sent_of(sent) {
            Sent::Handed | Sent::HandedEnough if transaction == 0 => Invited::Elsewhere,
            Sent::Handed | Sent::HandedEnough => Invited::Sent(TransactionKey(transaction)),
            Sent::NoRoom | Sent::Busy => Invited::NotNow,
            Sent::Dropped | Sent::Failed | Sent::FailedEnough => Invited::Unsent,
        }
    }

    fn cancel(&self, invite: TransactionKey) {
        if let Some(cancel) = self.table.session_cancel {
            // SAFETY: the table lives as long as the service; the host made the number.
            unsafe { cancel(self.context, invite.0) }
        }
    }

    fn request(&self, request: &InDialogRequest) -> bool {
        let Some(session_request) = self.table.session_request else {
            return false;
        };
        let Some((request_uri, next_hop, headers)) = request.routed() else {
            let call_id = &request.call_id;
            let line = format_args!("a route set cannot be parsed, callid={call_id}");
            self.log(LogLevel::Error, line);
            return false;
        };
        let request = cpm_dialog_request {
            method: lend(request.method.as_bytes()),
            request_uri: lend(request_uri.as_bytes()),
            next_hop: lend(next_hop.as_bytes()),
            call_id: lend(request.call_id.as_bytes()),
            from: lend(request.from.as_bytes()),
            from_tag: lend(request.from_tag.as_bytes()),
            to: lend(request.to.as_bytes()),
            to_tag: lend(request.to_tag.as_bytes()),
            cseq: request.cseq,
            headers: lend(&headers),
            body: lend(&request.body),
        };
        // SAFETY: the table lives as long as the service; everything lent lives until the call returns.
        unsafe { session_request(self.context, &request) == 1 }
    }

    fn reply(&self, reply: &SessionReply, keep: bool) -> bool {
        let Some(session_reply) = self.table.session_reply else {
            return false;
        };
        // The usual phrases are ours, and have no NUL.
        let reason = CString::new(reply.code.reason_phrase()).unwrap_or_default();
        let lent = cpm_reply {
            code: c_int::from(reply.code.as_u16()),
            reason: reason.as_ptr(),
            headers: lend(&reply.headers),
            to_tag: lend(reply.to_tag.as_bytes()),
            body: lend(&reply.body),
        };
        let keep = c_int::from(keep);
        // SAFETY: the table lives as long as the service; everything lent lives until the call returns.
        unsafe { session_reply(self.context, reply.transaction.0, &lent, keep) == 1 }
    }

    fn release(&self, transaction: TransactionKey) {
        if let Some(release) = self.table.session_release {
            // SAFETY: the table lives as long as the service; the host made the number.
            unsafe { release(self.context, transaction.0) }
        }
    }

    fn event(&self, event: SessionEvent, code: u16, about: &OutgoingRequest<'_>) {
        let Some(session_event) = self.table.session_event else {
            return;
        };
        let event = match event {
            SessionEvent::RecipientDelivered => bindings::CPM_SESSION_RECIPIENT_DELIVERED,
            SessionEvent::RecipientFailed => bindings::CPM_SESSION_RECIPIENT_FAILED,
            SessionEvent::SessionEnd => bindings::CPM_SESSION_END,
        };
        // SAFETY: the table lives as long as the service; everything lent lives until the call returns.
        unsafe {
            session_event(
                self.context,
                event,
                c_int::from(code),
                &lend_outgoing(about),
            )
        }
    }
}

/// A request as C sees it, lent as long as it lives.
pub(super) fn lend_outgoing(outgoing: &OutgoingRequest<'_>) -> cpm_outgoing {
    let about = outgoing.about;
    cpm_outgoing {
        method: lend(outgoing.method.as_bytes()),
        request_uri: lend(outgoing.request_uri.as_bytes()),
        next_hop: outgoing.next_hop.map_or(ABSENT, |uri| lend(uri.as_bytes())),
        from: lend(outgoing.from.as_bytes()),
        from_tag: lend(outgoing.from_tag.as_bytes()),
        to: lend(outgoing.to.as_bytes()),
        call_id: lend(outgoing.call_id.as_bytes()),
        cseq: outgoing.cseq,
        headers: lend(outgoing.headers),
        body: lend(outgoing.body),
        attempt: outgoing.attempt,
        fields: about.map_or([ABSENT; bindings::CPM_FIELDS as usize], fields),
        recipients: about.map_or(0, |about| about.recipients as usize),
    }
}

fn sent_of(sent: cpm_sent) -> Sent {
    match sent {
        bindings::CPM_SENT => Sent::Handed,
        bindings::CPM_SENT_ENOUGH => Sent::HandedEnough,
        bindings::CPM_SENT_DROPPED => Sent::Dropped,
        bindings::CPM_SENT_NO_ROOM => Sent::NoRoom,
        bindings::CPM_SENT_BUSY => Sent::Busy,
        bindings::CPM_SENT_FAILED_ENOUGH => Sent::FailedEnough,
        _ => Sent::Failed,
    }
}

/// In the order of `enum cpm_field`.
fn fields(about: &AboutRequest) -> [cpm_str; bindings::CPM_FIELDS as usize] {
    let lend_option = |text: Option<&[u8]>| text.map_or(ABSENT, lend);
    let mut fields = [ABSENT; bindings::CPM_FIELDS as usize];
    fields[bindings::CPM_FIELD_KIND as usize] = lend(about.kind.as_bytes());
    fields[bindings::CPM_FIELD_MODE as usize] = lend(about.mode.as_bytes());
    fields[bindings::CPM_FIELD_ORIGINATOR as usize] =
        lend_option(about.originator.as_deref().map(str::as_bytes));
    fields[bindings::CPM_FIELD_CONVERSATION_ID as usize] =
        lend_option(about.conversation_id.as_deref());
    fields[bindings::CPM_FIELD_CONTRIBUTION_ID as usize] =
        lend_option(about.contribution_id.as_deref());
    fields[bindings::CPM_FIELD_SESSION as usize] =
        lend_option(about.session.as_deref().map(str::as_bytes));
    fields
}

impl CHost<'_> {
    /// Whether the proxy has loaded this database module.
    pub(super) fn has_database(&self, module: &str) -> bool {
        let (Some(has), Ok(module)) = (self.table.has_database, CString::new(module)) else {
            return false;
        };
        // SAFETY: the table lives as long as the service; the text ends with NUL and lives until the call returns.
        unsafe { has(module.as_ptr()) == 1 }
    }
}

impl GroupDatabase for CHost<'_> {
    fn document(&self, url: &str, group_uri: &str) -> Result<Option<Vec<u8>>, DatabaseError> {
        let ask = self
            .table
            .group_document
            .ok_or(DatabaseError::NoConnection)?;
        let mut document = ABSENT;
        // SAFETY: the table lives as long as the service; what is lent lives until the call returns.
        let found = unsafe {
            ask(
                self.context,
                lend(url.as_bytes()),
                lend(group_uri.as_bytes()),
                &raw mut document,
            )
        };
        match found {
            // SAFETY: the host lends the document until it is asked again (cpm.h).
            1 => Ok(Some(unsafe { borrowed(document) }.to_vec())),
            0 => Ok(None),
            -1 => Err(DatabaseError::NoConnection),
            _ => Err(DatabaseError::QueryFailed),
        }
    }
}

/// No text.
pub(super) const ABSENT: cpm_str = cpm_str {
    s: std::ptr::null(),
    len: 0,
};

/// Lends bytes to C; how long is up to the caller.
pub(super) fn lend(bytes: &[u8]) -> cpm_str {
    cpm_str {
        s: bytes.as_ptr().cast(),
        len: bytes.len(),
    }
}

/// The bytes that C lends.
///
/// # Safety
/// `text` is absent, or points to `len` bytes that stay as they are for `'a`.
pub(super) unsafe fn borrowed<'a>(text: cpm_str) -> &'a [u8] {
    if text.s.is_null() {
        return &[];
    }
    // SAFETY: as the caller promises.
    unsafe { std::slice::from_raw_parts(text.s.cast(), text.len) }
}

fn level_to_c(level: LogLevel) -> cpm_log_level {
    match level {
        LogLevel::Critical => bindings::CPM_LOG_CRITICAL,
        LogLevel::Error => bindings::CPM_LOG_ERROR,
        LogLevel::Notice => bindings::CPM_LOG_NOTICE,
        LogLevel::Debug => bindings::CPM_LOG_DEBUG,
    }
}

fn counter_to_c(counter: Counter) -> cpm_counter {
    match counter {
        Counter::Requests => bindings::CPM_COUNT_REQUESTS,
        Counter::Accepted => bindings::CPM_COUNT_ACCEPTED,
        Counter::Refused => bindings::CPM_COUNT_REFUSED,
        Counter::Recipients => bindings::CPM_COUNT_RECIPIENTS,
        Counter::Delivered => bindings::CPM_COUNT_DELIVERED,
        Counter::Failed => bindings::CPM_COUNT_FAILED,
        Counter::Interworked => bindings::CPM_COUNT_INTERWORKED,
        Counter::Loops => bindings::CPM_COUNT_LOOPS,
        Counter::ImdnUnknown => bindings::CPM_COUNT_IMDN_UNKNOWN,
        Counter::Repeated => bindings::CPM_COUNT_REPEATED,
        Counter::Merged => bindings::CPM_COUNT_MERGED,
        Counter::Forgotten => bindings::CPM_COUNT_FORGOTTEN,
        Counter::Shares => bindings::CPM_COUNT_SHARES,
    }
}
