//! Adapts the C vtable `cpm_host` to the [`Proxy`] trait.

use std::cell::RefCell;
use std::ffi::{CStr, CString, c_int, c_void};
use std::fmt;
use std::ptr;
use std::rc::Rc;
use std::sync::atomic::AtomicU64;

use super::bindings::{
    self, cpm_about, cpm_address, cpm_changed, cpm_express_batch, cpm_express_copy,
    cpm_express_way, cpm_forwarding, cpm_host, cpm_log_level, cpm_log_place, cpm_outgoing,
    cpm_process, cpm_reply, cpm_request, cpm_str, cpm_token,
};
use super::request_handle::RequestHandle;
use super::way::{address_to_c, way_of};
use crate::controlling::large_message_mode::TransactionKey;
use crate::controlling::{AboutRequest, Counter, Forwarding, Request, express};
use crate::group::source::{DatabaseError, GroupDatabase};
use crate::log::{LogAt, LogLevel};
use crate::operator::Event;
use crate::processes::{
    Answer, Changed, Memory, Opened, Outgoing, Process, Proxy, Routed, Token, Transmitted, Way,
    monotonic_ms, monotonic_us,
};
use crate::shared::MessageText;

/// Maximum length of a log line; longer ones are truncated. A line holds our own words, a Call-ID
/// and numbers.
const MAX_LOG_LINE_BYTES: usize = 1024;

/// The host's table with the context of the current call. It cannot leave the thread of that call,
/// which is the one that may call the proxy.
pub(super) struct CHost<'a> {
    table: &'a cpm_host,
    context: *mut c_void,
    /// The handle that the call concerns, as C has it; NULL: none.
    request: *mut cpm_request,
}

/// Calls a function of the host's table; `$missing` is the result if the host does not have it.
macro_rules! call {
    ($self:ident.$function:ident($($argument:expr),*) else $missing:expr) => {
        match $self.table.$function {
            // SAFETY: the table lives as long as the service (cpm.h), and everything lent lives
            // until the call returns. Transactions are numbers made by the host, the context is the
            // one that it passed to the current call.
            Some(function) => unsafe { function($($argument),*) },
            None => $missing,
        }
    };
}

impl<'a> CHost<'a> {
    /// For one call into the core, with the host's context.
    pub(super) fn new(table: &'a cpm_host, context: *mut c_void) -> Self {
        CHost {
            table,
            context,
            request: std::ptr::null_mut(),
        }
    }

    /// The same, for a call that concerns this request.
    pub(super) fn about(self, request: *mut cpm_request) -> Self {
        CHost { request, ..self }
    }
}

impl CHost<'_> {
    /// The sum of a counter.
    pub(super) fn counted(&self, counter: Counter) -> u64 {
        call!(self.counted(counter.number() as u32) else 0)
    }
}

impl Proxy for CHost<'_> {
    fn now_ms(&self) -> u64 {
        monotonic_ms()
    }

    fn now_us(&self) -> u64 {
        monotonic_us()
    }

    fn log(&self, at: LogAt, line: fmt::Arguments<'_>) {
        let level = level_to_c(at.level());
        let is_wanted = call!(self.logs(level) else 1);
        if is_wanted != 1 {
            return;
        }
        let mut text = line.to_string();
        if text.len() > MAX_LOG_LINE_BYTES {
            text.truncate(text.floor_char_boundary(MAX_LOG_LINE_BYTES));
        }
        // A peer's text cannot start a line of its own.
        let text: String = text
            .chars()
            .map(|c| if c.is_control() { '.' } else { c })
            .collect();
        let place = cpm_log_place {
            file: lend(at.file().as_bytes()),
            function: lend(at.function().as_bytes()),
            line: at.line(),
        };
        call!(self.log(level, &raw const place, lend(text.as_bytes())) else ());
    }

    fn count(&self, counter: Counter, n: u32) {
        call!(self.count(counter.number() as u32, n) else ());
    }

    fn share(&self, words: usize) -> Option<&'static [AtomicU64]> {
        let shared = call!(self.share(words * size_of::<AtomicU64>()) else std::ptr::null_mut());
        let shared = shared.cast::<AtomicU64>();
        if shared.is_null() || !shared.is_aligned() {
            return None;
        }
        // SAFETY: memory of this size, zeroed and aligned, that exists until the proxy ends and is
        // referred to only by this slice, in any process (cpm.h).
        Some(unsafe { std::slice::from_raw_parts(shared, words) })
    }

    fn memory(&self) -> Memory {
        let mut total = 0;
        let free = call!(self.free_memory(&raw mut total) else 0);
        Memory {
            free,
            total,
            transaction: self.table.transaction_bytes,
        }
    }

    fn post(&self, process: Process, entry: &[u8]) -> bool {
        call!(self.post(process_to_c(process), lend(entry)) else 0) == 1
    }

    fn open(&self) -> Opened {
        let mut transaction = 0;
        let opened = call!(
            self.open(self.context, &raw mut transaction) else bindings::CPM_OPENED_NOT);
        match opened {
            bindings::CPM_OPENED if transaction != 0 => Opened::Open(TransactionKey(transaction)),
            bindings::CPM_OPENED_ABSORBED => Opened::Absorbed,
            _ => Opened::Not,
        }
    }

    fn keep_open(&self, transaction: TransactionKey, milliseconds: u32) -> bool {
        call!(self.keep_open(self.context, transaction.0, milliseconds) else 0) == 1
    }

    fn reply(&self, transaction: TransactionKey, answer: &Answer<'_>, keep: bool) -> bool {
        let lent = lend_answer(answer);
        call!(self.reply(self.context, transaction.0, &raw const lent, c_int::from(keep)) else 0)
            == 1
    }

    fn release(&self, transaction: TransactionKey) {
        call!(self.release(transaction.0) else ());
    }

    fn absorb(&self) {
        call!(self.absorb(self.context) else ());
    }

    fn cancelled(&self) -> Option<TransactionKey> {
        let invite = call!(self.cancelled(self.context) else 0);
        (invite != 0).then_some(TransactionKey(invite))
    }

    fn acknowledged(&self, of_session: bool) -> bool {
        call!(self.acknowledged(self.context, c_int::from(of_session)) else 0) == 1
    }

    fn way(&self, outgoing: &Outgoing<'_>, hop: Option<&str>) -> Way {
        let hop = hop.map_or(ABSENT, |hop| lend(hop.as_bytes()));
        let lent = lend_outgoing(outgoing);
        match call!(self.way(&raw const lent, hop) else bindings::CPM_WAY_NONE) {
            bindings::CPM_WAY_CLEAR => Way::Clear,
            bindings::CPM_WAY_FULL => Way::Full,
            bindings::CPM_WAY_TOO_LONG => Way::TooLong,
            _ => Way::None,
        }
    }

    fn send(&self, outgoing: &Outgoing<'_>, hop: &str) -> Transmitted {
        let lent = lend_outgoing(outgoing);
        let mut transaction = 0;
        let sent = call!(self.send(&raw const lent, lend(hop.as_bytes()), &raw mut transaction)
            else bindings::CPM_SENT_FAILED);
        match sent {
            bindings::CPM_SENT => Transmitted::Sent(TransactionKey(transaction)),
            bindings::CPM_SENT_DROPPED => Transmitted::Dropped,
            _ => Transmitted::Failed,
        }
    }

    fn express_way(&self, outgoing: &Outgoing<'_>, hop: &str) -> Option<express::Way<'_>> {
        // No script is asked, so it need not know what the copy belongs to.
        let lent = lend_outgoing_about(outgoing, None);
        let mut way = cpm_express_way::default();
        let hop = lend(hop.as_bytes());
        let is_open = call!(self.express_way(&raw const lent, hop, &raw mut way) else 0) == 1;
        // SAFETY: they live as long as the process (cpm.h).
        let via = unsafe { [borrowed(way.via_before), borrowed(way.via_behind)] };
        is_open.then(|| way_of(&way, via))
    }

    fn express_send(&self, batch: &express::Batch) -> express::Accepted {
        let copies = batch.copies().map(|(text, to)| cpm_express_copy {
            text: lend(text),
            to: address_to_c(to),
        });
        let copies: Vec<cpm_express_copy> = copies.collect();
        let is_reliable = batch.transport == express::Transport::Tcp;
        let mut lost = vec![0; if is_reliable { copies.len() } else { 0 }];
        let lent = cpm_express_batch {
            is_reliable: c_int::from(is_reliable),
            socket: batch.socket,
            copies: copies.as_ptr(),
            n: copies.len(),
            lost: lost.as_mut_ptr(),
        };
        let copies = call!(self.express_send(&raw const lent) else copies.len());
        let lost = lost
            .iter()
            .enumerate()
            .filter(|(_, is_lost)| **is_lost != 0);
        express::Accepted {
            copies,
            lost: lost.map(|(number, _)| number).collect(),
        }
    }

    fn cancel(&self, invite: TransactionKey) {
        call!(self.cancel(invite.0) else ());
    }

    fn forward(&self, forwarding: &Forwarding, hop: &str) -> bool {
        let lent = lend_forwarding(forwarding);
        call!(self.forward(self.context, &raw const lent, lend(hop.as_bytes())) else 0) == 1
    }

    fn suspend(&self, forwarding: &Forwarding, milliseconds: u32) -> Option<TransactionKey> {
        let lent = lend_forwarding(forwarding);
        let transaction = call!(self.suspend(self.context, &raw const lent, milliseconds) else 0);
        (transaction != 0).then_some(TransactionKey(transaction))
    }

    fn resume(&self, transaction: TransactionKey, request_uri: &str, hop: &str) -> bool {
        let (uri, hop) = (lend(request_uri.as_bytes()), lend(hop.as_bytes()));
        call!(self.resume(transaction.0, uri, hop, ptr::null()) else 0) == 1
    }

    fn refuse_suspended(&self, transaction: TransactionKey, answer: &Answer<'_>) {
        let lent = lend_answer(answer);
        call!(self.resume(transaction.0, ABSENT, ABSENT, &raw const lent) else 0);
    }

    fn unsuspend(&self, transaction: TransactionKey) {
        call!(self.unsuspend(transaction.0) else ());
    }

    fn ask(&self, question: Event, request: &Rc<RefCell<Request>>) -> bool {
        let text = match request.try_borrow() {
            Ok(request) => request.message().buffer().clone(),
            Err(_) => return false,
        };
        let number = question.number() as u32;
        let ask = |handle| call!(self.ask(self.context, number, handle, lend(&text)) else 1) == 1;
        if self.request.is_null() {
            RequestHandle::lend(request, self.table, ask)
        } else {
            ask(self.request)
        }
    }

    fn wants(&self, event: Event) -> bool {
        call!(self.wants(event.number() as u32) else 0) == 1
    }

    fn recipient_request(&self, outgoing: &Outgoing<'_>, text: &[u8]) -> Routed {
        let lent = lend_outgoing(outgoing);
        let text = lend(text.strip_suffix(&[0]).unwrap_or(text));
        let mut changed = cpm_changed::default();
        let routed = call!(self.recipient_request(&raw const lent, text, &raw mut changed)
            else bindings::CPM_ROUTED_FAILED);
        match routed {
            bindings::CPM_ROUTED => {}
            bindings::CPM_ROUTED_DROPPED => return Routed::Dropped,
            _ => return Routed::Failed,
        }
        // SAFETY: the host lends them until the next call (cpm.h).
        let (text, uri, hop) = unsafe {
            (
                borrowed(changed.text),
                borrowed(changed.request_uri),
                borrowed(changed.next_hop),
            )
        };
        let named = |uri: &[u8]| {
            let uri = String::from_utf8(uri.to_vec()).ok();
            uri.filter(|uri| !uri.is_empty())
        };
        let changed = Changed::new(text, named(uri), named(hop), changed.socket);
        changed.map_or(Routed::Failed, Routed::Changed)
    }

    fn event(
        &self,
        event: Event,
        code: u16,
        reason: &[u8],
        text: &[u8],
        about: Option<&AboutRequest>,
    ) {
        let about = lend_about(about);
        let about = std::ptr::from_ref(&about);
        let text = lend(text.strip_suffix(&[0]).unwrap_or(text));
        let reason = if reason.is_empty() {
            ABSENT
        } else {
            lend(reason)
        };
        call!(self.event(event.number() as u32, c_int::from(code), reason, text, about) else ());
    }

    fn has_database(&self, module: &str) -> bool {
        let Ok(module) = CString::new(module) else {
            return false;
        };
        call!(self.has_database(module.as_ptr()) else 0) == 1
    }
}

impl GroupDatabase for CHost<'_> {
    fn document(&self, url: &str, group_uri: &str) -> Result<Option<Vec<u8>>, DatabaseError> {
        let mut document = ABSENT;
        let (url, group_uri) = (lend(url.as_bytes()), lend(group_uri.as_bytes()));
        match call!(self.group_document(url, group_uri, &raw mut document)
            else bindings::CPM_DOCUMENT_NO_CONNECTION)
        {
            // SAFETY: the host lends the document until the next call (cpm.h).
            bindings::CPM_DOCUMENT_FOUND => Ok(Some(unsafe { borrowed(document) }.to_vec())),
            bindings::CPM_DOCUMENT_NONE => Ok(None),
            bindings::CPM_DOCUMENT_NO_CONNECTION => Err(DatabaseError::NoConnection),
            _ => Err(DatabaseError::QueryFailed),
        }
    }
}

/// A request in C's form, lent for the lifetime of `outgoing`.
fn lend_outgoing(outgoing: &Outgoing<'_>) -> cpm_outgoing {
    lend_outgoing_about(outgoing, outgoing.about)
}

/// The same with this record of the received request.
fn lend_outgoing_about(outgoing: &Outgoing<'_>, about: Option<&AboutRequest>) -> cpm_outgoing {
    let Token {
        attempt,
        name,
        tried,
    } = outgoing.token;
    cpm_outgoing {
        method: lend(outgoing.method.as_bytes()),
        request_uri: lend(outgoing.request_uri.as_bytes()),
        from: lend_address(outgoing.from),
        from_tag: lend(outgoing.from_tag.as_bytes()),
        to: lend_address(outgoing.to),
        to_tag: outgoing.to_tag.map_or(ABSENT, |tag| lend(tag.as_bytes())),
        call_id: lend(outgoing.call_id.as_bytes()),
        cseq: outgoing.cseq,
        max_forwards: outgoing.headers.max_forwards(),
        headers: lend(outgoing.headers.others()),
        headers_with_max_forwards: lend(outgoing.headers.all()),
        body: lend(outgoing.body),
        socket: outgoing.socket,
        token: cpm_token {
            words: [attempt, u64::from(name) << 32 | u64::from(tried)],
        },
        about: lend_about(about),
    }
}

/// The inverse of the token that [`lend_outgoing`] writes.
pub(super) fn token_of(token: cpm_token) -> Token {
    let [attempt, places] = token.words;
    Token {
        attempt,
        name: (places >> 32) as u32,
        tried: places as u32,
    }
}

/// Splits a name-addr into its parts. Without brackets it is a URI.
fn lend_address(whole: &str) -> cpm_address {
    let plain = whole
        .strip_prefix('<')
        .and_then(|rest| rest.strip_suffix('>'));
    let (display, uri) = match plain {
        Some(uri) => ("", uri),
        None => match memchr::memrchr(b'<', whole.as_bytes()) {
            Some(bracket) => (whole[..bracket].trim(), &whole[bracket + 1..]),
            None => ("", whole),
        },
    };
    let end = memchr::memchr(b'>', uri.as_bytes()).unwrap_or(uri.len());
    let uri = &uri[..end];
    cpm_address {
        whole: lend(whole.as_bytes()),
        display: lend(display.as_bytes()),
        uri: lend(uri.as_bytes()),
    }
}

fn lend_forwarding(forwarding: &Forwarding) -> cpm_forwarding {
    cpm_forwarding {
        request_uri: lend(forwarding.request_uri.as_bytes()),
        dropped: lend(forwarding.dropped.as_bytes()),
        headers: lend(&forwarding.headers),
    }
}

/// A reply in C's form, lent for the lifetime of `answer`.
pub(super) fn lend_answer(answer: &Answer<'_>) -> cpm_reply {
    cpm_reply {
        code: c_int::from(answer.code),
        reason: CStr::as_ptr(answer.reason),
        headers: lend(answer.headers),
        to_tag: answer.to_tag.map_or(ABSENT, |tag| lend(tag.as_bytes())),
        body: lend(answer.body),
    }
}

/// The record of a received request in C's form, lent for the lifetime of `about`.
fn lend_about(about: Option<&AboutRequest>) -> cpm_about {
    let mut fields = [ABSENT; bindings::CPM_FIELDS as usize];
    let Some(about) = about else {
        return cpm_about {
            fields,
            recipients: 0,
            bytes: 0,
            milliseconds: 0,
        };
    };
    for (field, text) in [
        (bindings::CPM_FIELD_KIND, MessageText::Kind),
        (bindings::CPM_FIELD_MODE, MessageText::Mode),
        (bindings::CPM_FIELD_ORIGINATOR, MessageText::Originator),
        (
            bindings::CPM_FIELD_CONVERSATION_ID,
            MessageText::ConversationId,
        ),
        (
            bindings::CPM_FIELD_CONTRIBUTION_ID,
            MessageText::ContributionId,
        ),
        (bindings::CPM_FIELD_SESSION, MessageText::Session),
        (bindings::CPM_FIELD_MESSAGE_ID, MessageText::MessageId),
        (bindings::CPM_FIELD_CALL_ID, MessageText::CallId),
        (bindings::CPM_FIELD_ICID, MessageText::Icid),
    ] {
        fields[field as usize] = about.text(text).map_or(ABSENT, lend);
    }
    cpm_about {
        fields,
        recipients: about.recipients as usize,
        bytes: about.bytes,
        milliseconds: monotonic_ms().saturating_sub(about.received_ms),
    }
}

/// No text.
pub(super) const ABSENT: cpm_str = cpm_str {
    s: std::ptr::null(),
    len: 0,
};

/// Lends bytes to C; the caller determines how long.
pub(super) fn lend(bytes: &[u8]) -> cpm_str {
    cpm_str {
        s: bytes.as_ptr().cast(),
        len: bytes.len(),
    }
}

/// The bytes lent by C.
///
/// # Safety
/// `text` is absent, or points to `len` bytes that do not change during `'a`.
pub(super) unsafe fn borrowed<'a>(text: cpm_str) -> &'a [u8] {
    if text.s.is_null() {
        return &[];
    }
    // SAFETY: the caller guarantees it.
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

fn process_to_c(process: Process) -> cpm_process {
    match process {
        Process::FanOut => bindings::CPM_PROCESS_FAN_OUT,
        Process::Groups => bindings::CPM_PROCESS_GROUPS,
        Process::Sessions => bindings::CPM_PROCESS_SESSIONS,
    }
}

/// `None`: no such process.
pub(super) fn process_of(process: cpm_process) -> Option<Process> {
    match process {
        bindings::CPM_PROCESS_FAN_OUT => Some(Process::FanOut),
        bindings::CPM_PROCESS_GROUPS => Some(Process::Groups),
        bindings::CPM_PROCESS_SESSIONS => Some(Process::Sessions),
        _ => None,
    }
}
