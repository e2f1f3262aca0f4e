//! `c_api/cpm.h` with a host that is not a proxy: the core's promises to whoever implements the
//! header.

use std::cell::{Cell, RefCell};
use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::process::Command;
use std::time::Duration;

use cpm::ffi::bindings::*;
use cpm::ffi::cpm_core;
use cpm::operator::{Counter, Event, Gauge};

/// Calls an entry of the table with valid handles.
macro_rules! call {
    ($entry:ident($($argument:expr),*)) => {
        // SAFETY: the handles come from the table and live until the test frees them.
        unsafe { core().$entry.expect("every entry is there")($($argument),*) }
    };
}

/// A request to the EXPLODER-URI with the recipients as resource-lists entries.
fn message(entries: &str) -> String {
    let list = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n\
         <resource-lists xmlns=\"urn:ietf:params:xml:ns:resource-lists\" \
         xmlns:cp=\"urn:ietf:params:xml:ns:copycontrol\"><list>{entries}</list></resource-lists>\r\n"
    );
    let body = format!(
        "--b\r\nContent-Type: message/cpim\r\n\r\nFrom: <sip:anne@example.com>\r\n\r\n\
         Content-Type: text/plain\r\n\r\nHello\r\n--b\r\n\
         Content-Type: application/resource-lists+xml\r\nContent-Disposition: recipient-list\r\n\r\n\
         {list}\r\n--b--\r\n"
    );
    format!(
        "MESSAGE sip:exploder@example.com SIP/2.0\r\n\
         Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\n\
         Max-Forwards: 70\r\n\
         From: \"Anne\" <sip:anne@example.com>;tag=1\r\n\
         To: <sip:exploder@example.com>\r\n\
         Call-ID: 1\r\nCSeq: {} MESSAGE\r\n\
         Accept-Contact: *;+g.3gpp.icsi-ref=\"urn%3Aurn-7%3A3gpp-service.ims.icsi.oma.cpm.msg\"\r\n\
         P-Asserted-Identity: <sip:anne@example.com>\r\n\
         Contribution-ID: abc\r\n\
         Content-Type: multipart/mixed;boundary=b\r\n\
         Content-Length: {}\r\n\r\n{body}",
        NEXT_CSEQ.replace(NEXT_CSEQ.get() + 1),
        body.len()
    )
}

thread_local! {
    /// Makes each message a new one.
    static NEXT_CSEQ: Cell<u32> = const { Cell::new(1) };
}

/// What the host saw. One for each test: each runs on a thread of its own.
#[derive(Default)]
struct Seen {
    log: Vec<(cpm_log_level, String)>,
    /// Whether the log accepts lines of that level too.
    wants_debug: bool,
    counted: Vec<(Counter, u32)>,
    sent: Vec<(String, String)>,
    hops: Vec<String>,
    /// The token that each returns at its end.
    tokens: Vec<[u64; 2]>,
    /// What the host does when it is asked: veto, and what it found when it called back.
    veto: Option<Event>,
    /// What it sets when it is asked, with the expected result.
    decisions: Vec<(Event, cpm_field, &'static str, c_int)>,
    /// What it was asked, in which context, with how many recipients.
    asked: Vec<(Event, usize, i64)>,
    called_back: Vec<String>,
    /// The results of send, one after another; then CPM_SENT. How long it takes.
    send_answers: Vec<cpm_sent>,
    send_ms: u64,
    /// Whether there is memory, for each time it is asked; then there is.
    room: Vec<bool>,
    /// The posted entries, and whether they are accepted.
    posted: Vec<(cpm_process, Vec<u8>)>,
    takes: bool,
    /// The process that gets them at once instead.
    takes_at_once: Option<*mut cpm_mailbox>,
    /// Transactions created, and whether the next request is a retransmission.
    opened: u64,
    absorbs: bool,
    /// Replies: code, transaction, header lines, To tag.
    replies: Vec<(c_int, u64, String, String)>,
    /// Calls in order, without copies of messages; and the last reply's body.
    done: Vec<String>,
    reply_body: String,
    /// Events reported to the operator's script.
    events: Vec<(Event, c_int, String)>,
    wants: Vec<Event>,
    drops: bool,
}

thread_local! {
    static SEEN: RefCell<Seen> = RefCell::default();
}

fn seen<T>(look: impl FnOnce(&mut Seen) -> T) -> T {
    SEEN.with_borrow_mut(look)
}

fn text(text: cpm_str) -> String {
    if text.s.is_null() {
        return String::new();
    }
    // SAFETY: the contract lends `len` bytes for at least as long as this takes.
    let bytes = unsafe { std::slice::from_raw_parts(text.s.cast::<u8>(), text.len) };
    String::from_utf8(bytes.to_vec()).expect("the core writes UTF-8 for UTF-8")
}

fn lent(text: &str) -> cpm_str {
    cpm_str {
        s: text.as_ptr().cast(),
        len: text.len(),
    }
}

unsafe extern "C" fn logs(level: cpm_log_level) -> c_int {
    seen(|seen| c_int::from(level != CPM_LOG_DEBUG || seen.wants_debug))
}

unsafe extern "C" fn log(level: cpm_log_level, place: *const cpm_log_place, line: cpm_str) {
    // SAFETY: the core lends a place to each line (cpm.h).
    let place = unsafe { &*place };
    assert!(text(place.file).ends_with(".rs") && place.line > 0);
    assert!(!text(place.function).is_empty());
    seen(|seen| seen.log.push((level, text(line))));
}

/// Never released: it belongs to the proxy until the end.
unsafe extern "C" fn share(size: usize) -> *mut c_void {
    assert_eq!(size % 8, 0);
    vec![0_u64; size / 8].leak().as_mut_ptr().cast()
}

unsafe extern "C" fn count(counter: u32, n: u32) {
    seen(|seen| seen.counted.push((Counter::ALL[counter as usize], n)));
}

unsafe extern "C" fn counted(counter: u32) -> u64 {
    let counter = Counter::ALL[counter as usize];
    seen(|seen| {
        let own = seen
            .counted
            .iter()
            .filter(|(counted, _)| *counted == counter);
        own.map(|(_, n)| u64::from(*n)).sum()
    })
}

/// Does what a routing script may do in between: it looks at the request, and sets its answers.
unsafe extern "C" fn ask(
    context: *mut c_void,
    event: u32,
    request: *mut cpm_request,
    message: cpm_str,
) -> c_int {
    let originator = core_field(request, CPM_FIELD_ORIGINATOR);
    let late = set(request, CPM_FIELD_ORIGINATOR, "sip:mallory@example.com");
    let recipients = call!(number(request, CPM_FIELD_RECIPIENTS));
    assert!(text(message).contains(" SIP/2.0\r\n"), "as received");
    let decisions = seen(|seen| {
        seen.called_back.push(originator);
        seen.called_back.push(late.to_string());
        seen.asked
            .push((Event::ALL[event as usize], context.addr(), recipients));
        seen.decisions.clone()
    });
    for (when, field, value, result) in decisions {
        if when == Event::ALL[event as usize] {
            assert_eq!(set(request, field, value), result, "{field} {value}");
        }
    }
    seen(|seen| c_int::from(seen.veto != Some(Event::ALL[event as usize])))
}

unsafe extern "C" fn send(
    outgoing: *const cpm_outgoing,
    hop: cpm_str,
    transaction: *mut u64,
) -> cpm_sent {
    // SAFETY: lent for this call.
    let outgoing = unsafe { &*outgoing };
    let max_forwards = format!("Max-Forwards: {}\r\n", outgoing.max_forwards);
    assert_eq!(
        text(outgoing.headers_with_max_forwards),
        max_forwards + &text(outgoing.headers)
    );
    let from = outgoing.from;
    assert_eq!(
        text(from.whole).replace(' ', ""),
        format!("{}<{}>", text(from.display), text(from.uri))
    );
    let (method, uri) = (text(outgoing.method), text(outgoing.request_uri));
    std::thread::sleep(Duration::from_millis(seen(|seen| seen.send_ms)));
    seen(|seen| {
        if method != "MESSAGE" {
            seen.done.push(format!("{method} {uri}"));
        }
        seen.hops.push(text(hop));
        seen.tokens.push(outgoing.token.words);
        seen.sent.push((uri, text(outgoing.call_id)));
        // SAFETY: room for one number, lent for this call.
        unsafe { transaction.write(seen.sent.len() as u64) };
        if seen.send_answers.is_empty() {
            CPM_SENT
        } else {
            seen.send_answers.remove(0)
        }
    })
}

/// Every hop is reachable.
unsafe extern "C" fn way(_: *const cpm_outgoing, _: cpm_str) -> cpm_way {
    CPM_WAY_CLEAR
}

unsafe extern "C" fn free_memory(total: *mut usize) -> usize {
    // SAFETY: room for one number, lent for this call.
    unsafe { total.write(1024 * 1024) };
    seen(|seen| {
        let has_room = seen.room.is_empty() || seen.room.remove(0);
        if has_room { 1024 * 1024 } else { 1024 }
    })
}

unsafe extern "C" fn post(process: cpm_process, entry: cpm_str) -> c_int {
    if let Some(mailbox) = seen(|seen| seen.takes_at_once) {
        call!(mailbox_take(mailbox, entry));
        return 1;
    }
    // SAFETY: lent for this call.
    let bytes = unsafe { std::slice::from_raw_parts(entry.s.cast::<u8>(), entry.len) };
    seen(|seen| {
        if seen.takes {
            seen.posted.push((process, bytes.to_vec()));
        }
        c_int::from(seen.takes)
    })
}

unsafe extern "C" fn open(context: *mut c_void, transaction: *mut u64) -> cpm_opened {
    assert_eq!(context.addr(), 7, "the context comes back as it was given");
    seen(|seen| {
        if seen.absorbs {
            return CPM_OPENED_ABSORBED;
        }
        seen.opened += 1;
        // SAFETY: room for one number, lent for this call.
        unsafe { transaction.write(seen.opened) };
        CPM_OPENED
    })
}

unsafe extern "C" fn keep_open(_: *mut c_void, transaction: u64, _: c_uint) -> c_int {
    seen(|seen| {
        seen.done.push(format!("keep {transaction} open"));
        c_int::from(seen.takes)
    })
}

unsafe extern "C" fn reply_to(
    _: *mut c_void,
    transaction: u64,
    reply: *const cpm_reply,
    keep: c_int,
) -> c_int {
    // SAFETY: lent for this call.
    let reply = unsafe { &*reply };
    seen(|seen| {
        let held = if keep == 1 { ", held" } else { "" };
        seen.done
            .push(format!("{} in {transaction}{held}", reply.code));
        let (headers, tag) = (text(reply.headers), text(reply.to_tag));
        seen.replies.push((reply.code, transaction, headers, tag));
        seen.reply_body = text(reply.body);
    });
    1
}

unsafe extern "C" fn release(transaction: u64) {
    seen(|seen| seen.done.push(format!("release {transaction}")));
}

unsafe extern "C" fn absorb(_: *mut c_void) {
    seen(|seen| seen.done.push("absorb".to_owned()));
}

/// The INVITE is the first request received.
unsafe extern "C" fn cancelled(_: *mut c_void) -> u64 {
    seen(|seen| u64::from(seen.opened > 0))
}

unsafe extern "C" fn acknowledged(_: *mut c_void, of_session: c_int) -> c_int {
    seen(|seen| {
        seen.done
            .push(format!("acknowledged, of a session: {of_session}"))
    });
    0
}

unsafe extern "C" fn cancel(transaction: u64) {
    seen(|seen| seen.done.push(format!("CANCEL {transaction}")));
}

unsafe extern "C" fn forward(
    _: *mut c_void,
    forwarding: *const cpm_forwarding,
    hop: cpm_str,
) -> c_int {
    // SAFETY: lent for this call.
    let forwarding = unsafe { &*forwarding };
    let line = format!(
        "forward to {} by {} without {}: {}",
        text(forwarding.request_uri),
        text(hop),
        text(forwarding.dropped),
        text(forwarding.headers)
    );
    seen(|seen| seen.done.push(line));
    1
}

unsafe extern "C" fn suspend(_: *mut c_void, _: *const cpm_forwarding, _: c_uint) -> u64 {
    seen(|seen| seen.done.push("suspend".to_owned()));
    1000
}

unsafe extern "C" fn resume(
    transaction: u64,
    uri: cpm_str,
    hop: cpm_str,
    reply: *const cpm_reply,
) -> c_int {
    // SAFETY: NULL, or valid during the call.
    let line = match unsafe { reply.as_ref() } {
        Some(reply) => format!("refuse {transaction} with {}", reply.code),
        None => format!("resume {transaction} to {} by {}", text(uri), text(hop)),
    };
    seen(|seen| seen.done.push(line));
    c_int::from(!hop.s.is_null())
}

unsafe extern "C" fn unsuspend(transaction: u64) {
    seen(|seen| seen.done.push(format!("unsuspend {transaction}")));
}

unsafe extern "C" fn wants(event: u32) -> c_int {
    let event = Event::ALL[event as usize];
    seen(|seen| c_int::from(event == Event::Authorize || seen.wants.contains(&event)))
}

/// Adds a header field and changes the next hop.
unsafe extern "C" fn recipient_request(
    outgoing: *const cpm_outgoing,
    request: cpm_str,
    changed: *mut cpm_changed,
) -> cpm_routed {
    // SAFETY: lent for this call, with a NUL behind it.
    unsafe {
        assert_eq!(*request.s.add(request.len), 0);
        assert!(!text((*outgoing).about.fields[CPM_FIELD_KIND as usize]).is_empty());
    }
    if seen(|seen| seen.drops) {
        return CPM_ROUTED_DROPPED;
    }
    let text = text(request).replacen("\r\nContent-Length", "\r\nX-Added: 1\r\nContent-Length", 1);
    // Lent until the next call; in this test even longer.
    let text: &'static str = text.leak();
    let it = cpm_changed {
        text: lent(text),
        next_hop: lent("sip:192.0.2.99"),
        socket: 5,
        ..cpm_changed::default()
    };
    // SAFETY: room for one, lent for this call.
    unsafe { changed.write(it) };
    CPM_ROUTED
}

unsafe extern "C" fn event(
    event: u32,
    code: c_int,
    _: cpm_str,
    request: cpm_str,
    _: *const cpm_about,
) {
    let request = text(request);
    let uri = request.split(' ').nth(1).unwrap_or_default().to_owned();
    seen(|seen| seen.events.push((Event::ALL[event as usize], code, uri)));
}

/// A database with one group, whose only member is Bill and to which Anne may send.
const GROUP: &str = "<group xmlns=\"urn:oma:xml:poc:list-service\"><list-service uri=\"sip:friends@example.com\">\
    <list><entry uri=\"sip:bill@192.0.2.2\"/><entry uri=\"sip:anne@example.com\"/></list>\
    <supported-services><service enabler=\"urn:urn-7:3gpp-service.ims.icsi.oma.cpm.msg\"/></supported-services>\
    </list-service></group>";

unsafe extern "C" fn group_document(
    url: cpm_str,
    group_uri: cpm_str,
    document: *mut cpm_str,
) -> c_int {
    assert_eq!(text(url), "sqlite:///groups");
    if text(group_uri) != "sip:friends@example.com" {
        return 0;
    }
    // SAFETY: room for one text, lent for this call; the document lives as long as the program.
    unsafe { document.write(lent(GROUP)) };
    1
}

unsafe extern "C" fn has_database(module: *const c_char) -> c_int {
    // SAFETY: a text that ends with NUL, lent for this call.
    c_int::from(unsafe { CStr::from_ptr(module) } == c"db_sqlite")
}

static HOST: cpm_host = cpm_host {
    abi: CPM_ABI,
    transaction_bytes: 1024,
    logs: Some(logs),
    log: Some(log),
    share: Some(share),
    free_memory: Some(free_memory),
    count: Some(count),
    counted: Some(counted),
    post: Some(post),
    open: Some(open),
    keep_open: Some(keep_open),
    reply: Some(reply_to),
    release: Some(release),
    absorb: Some(absorb),
    cancelled: Some(cancelled),
    acknowledged: Some(acknowledged),
    way: Some(way),
    send: Some(send),
    express_way: None,
    express_send: None,
    cancel: Some(cancel),
    forward: Some(forward),
    suspend: Some(suspend),
    resume: Some(resume),
    unsuspend: Some(unsuspend),
    ask: Some(ask),
    wants: Some(wants),
    recipient_request: Some(recipient_request),
    event: Some(event),
    group_document: Some(group_document),
    has_database: Some(has_database),
};

fn core() -> &'static cpm_core {
    // SAFETY: the table lives as long as the program.
    unsafe { cpm_core(CPM_ABI).as_ref() }.expect("this ABI")
}

// After the macro, which they use.
mod decisions;
mod fan_out;
mod notifications;
mod once;
mod question;
mod requests;
mod sessions;
mod table;

use question::query;

fn core_field(request: *const cpm_request, field: cpm_field) -> String {
    text(call!(field(request, field)))
}

fn set(request: *mut cpm_request, field: cpm_field, value: &str) -> c_int {
    call!(set(request, field, lent(value)))
}

fn service(parameters: &[(&str, &str)]) -> *mut cpm_service {
    let service = call!(service_new(&raw const HOST));
    assert!(!service.is_null());
    for (name, value) in parameters {
        assert_eq!(
            call!(service_set(service, lent(name), lent(value))),
            0,
            "{name}={value}"
        );
    }
    assert_eq!(call!(service_start(service, lent(OWN_URI), 0, 0)), 0);
    service
}

/// The host's own address.
const OWN_URI: &str = "sip:cpm@192.0.2.9:5060";

const PARAMETERS: &[(&str, &str)] = &[
    ("exploder_uri", "sip:exploder@example.com"),
    ("trusted_peer", "192.0.2.1"),
    // A test leaves no files on the machine.
    ("state_dir", "none"),
];

fn received(message: &str, uri: &str) -> cpm_received {
    cpm_received {
        message: lent(message),
        request_uri: lent(uri),
        source_address: lent("192.0.2.1"),
        to_tag: cpm_str::default(),
    }
}

fn classify(service: *const cpm_service, message: &str, uri: &str) -> *mut cpm_request {
    let received = received(message, uri);
    call!(classify(service, &raw const received))
}

/// Handles a request completely.
fn handle(service: *const cpm_service, received: &cpm_received) -> cpm_script_result {
    let mut request = std::ptr::null_mut();
    let result = call!(handle(
        service,
        std::ptr::from_ref(received),
        &raw mut request,
        context()
    ));
    call!(request_free(request));
    result
}

fn check(request: *mut cpm_request) -> cpm_script_result {
    call!(check(request, context()))
}

fn fan_out(request: *mut cpm_request) -> cpm_script_result {
    call!(fan_out(request, context()))
}

/// The entries posted to this process since the last call.
fn posted(process: cpm_process) -> Vec<Vec<u8>> {
    let all = seen(|seen| std::mem::take(&mut seen.posted));
    let (here, elsewhere): (Vec<_>, Vec<_>) = all.into_iter().partition(|(to, _)| *to == process);
    seen(|seen| seen.posted = elsewhere);
    here.into_iter().map(|(_, entry)| entry).collect()
}

/// Delivers all posted entries to a process.
fn deliver(mailbox: *mut cpm_mailbox, process: cpm_process) {
    for entry in posted(process) {
        assert_eq!(call!(mailbox_takes(mailbox)), 1);
        call!(mailbox_take(mailbox, lent_bytes(&entry)));
    }
}

/// Works until there is nothing to do at once: a turn may be over before that, on a slow machine.
fn work_until_idle(mailbox: *mut cpm_mailbox) -> c_int {
    let mut turns = std::iter::repeat_with(|| call!(mailbox_work(mailbox)));
    turns.find(|wait_ms| *wait_ms != 0).expect("it is endless")
}

fn last_reply() -> (c_int, u64, String, String) {
    seen(|seen| seen.replies.last().cloned()).expect("there is a reply")
}

fn reply(request: *const cpm_request) -> Option<(c_int, String, String)> {
    let mut reply = cpm_reply::default();
    if call!(answer(request, &raw mut reply)) == 0 {
        return None;
    }
    // SAFETY: the reply's reason is NUL-terminated and lives in the request.
    let reason = unsafe { CStr::from_ptr(reply.reason) }
        .to_str()
        .unwrap()
        .to_owned();
    Some((reply.code, reason, text(reply.headers)))
}

fn to_tag(request: *const cpm_request) -> String {
    let mut reply = cpm_reply::default();
    assert_eq!(call!(answer(request, &raw mut reply)), 1);
    text(reply.to_tag)
}

fn context() -> *mut c_void {
    std::ptr::without_provenance_mut(7)
}

const THREE: &str = "<entry uri=\"sip:a@192.0.2.4\"/><entry uri=\"sip:b@192.0.2.4\"/>\
                     <entry uri=\"sip:c@192.0.2.4\"/>";

fn lent_bytes(bytes: &[u8]) -> cpm_str {
    cpm_str {
        s: bytes.as_ptr().cast(),
        len: bytes.len(),
    }
}
