//! `c_api/cpm.h` with a host that is no proxy: what the core promises to whoever implements the
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
    /// Each message is one of its own, not the one before again.
    static NEXT_CSEQ: Cell<u32> = const { Cell::new(1) };
}

/// What the host saw. One per test: each runs on a thread of its own.
#[derive(Default)]
struct Seen {
    log: Vec<(cpm_log_level, String)>,
    /// Whether the log takes the lines of that level too.
    wants_debug: bool,
    counted: Vec<(Counter, u32)>,
    sent: Vec<(String, String)>,
    hops: Vec<String>,
    /// What each of them is to give back at its end.
    tokens: Vec<[u64; 2]>,
    /// What the host does when it is asked: veto, and what it found when it called back.
    veto: Option<Event>,
    /// What it sets when it is asked, with the expected result.
    decisions: Vec<(Event, cpm_field, &'static str, c_int)>,
    /// What it was asked, in which context, with how many recipients.
    asked: Vec<(Event, usize, i64)>,
    called_back: Vec<String>,
    /// What send answers, one after another; then CPM_SENT. How long it takes.
    send_answers: Vec<cpm_sent>,
    send_ms: u64,
    /// Whether there is room in memory, asked again and again; then there is.
    room: Vec<bool>,
    /// What was posted, and whether it is taken.
    posted: Vec<(cpm_process, Vec<u8>)>,
    takes: bool,
    /// The process that gets it at once instead.
    takes_at_once: Option<*mut cpm_mailbox>,
    /// Transactions that were made, and whether the next request is a retransmission.
    opened: u64,
    absorbs: bool,
    /// Replies: code, transaction, header lines, To tag.
    replies: Vec<(c_int, u64, String, String)>,
    /// What was done in order, but for copies of messages; and the last body that was replied with.
    done: Vec<String>,
    reply_body: String,
    /// What the operator's script was told of.
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

unsafe extern "C" fn log(level: cpm_log_level, line: cpm_str) {
    seen(|seen| seen.log.push((level, text(line))));
}

/// Never given back: it is the proxy's to the end.
unsafe extern "C" fn share(size: usize) -> *mut c_void {
    assert_eq!(size % 8, 0);
    vec![0_u64; size / 8].leak().as_mut_ptr().cast()
}

unsafe extern "C" fn count(counter: u32, n: u32) {
    seen(|seen| seen.counted.push((Counter::ALL[counter as usize], n)));
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

/// Everything can go everywhere.
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

/// The INVITE is the first request that was received.
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

unsafe extern "C" fn resume(transaction: u64, uri: cpm_str, hop: cpm_str) -> c_int {
    let line = format!("resume {transaction} to {} by {:?}", text(uri), text(hop));
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

/// Adds a header field and has the request go elsewhere.
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
    // Until the next call, and longer: it is a test.
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

/// A database with one group, whose only member is Bill and in which Anne may send.
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

// Behind the macro, which it uses.
mod decisions;
mod notifications;
mod sessions;

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

/// Where the host is reached.
const OWN_URI: &str = "sip:cpm@192.0.2.9:5060";

const PARAMETERS: &[(&str, &str)] = &[
    ("exploder_uri", "sip:exploder@example.com"),
    ("trusted_peer", "192.0.2.1"),
    // A test leaves no trace on the machine.
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

/// All that there is to do with a request.
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

/// What was posted to this process since this was last asked.
fn posted(process: cpm_process) -> Vec<Vec<u8>> {
    seen(|seen| {
        let all = std::mem::take(&mut seen.posted);
        let (here, elsewhere) = all.into_iter().partition(|(to, _)| *to == process);
        seen.posted = elsewhere;
        here
    })
    .into_iter()
    .map(|(_, entry): (_, Vec<u8>)| entry)
    .collect()
}

/// Gives a process all that was posted to it.
fn deliver(mailbox: *mut cpm_mailbox, process: cpm_process) {
    for entry in posted(process) {
        assert_eq!(call!(mailbox_takes(mailbox)), 1);
        call!(mailbox_take(mailbox, lent_bytes(&entry)));
    }
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

#[test]
fn another_abi_gets_no_table() {
    assert!(cpm_core(CPM_ABI + 1).is_null());
    assert!(!cpm_core(CPM_ABI).is_null());
    let old = cpm_host {
        abi: CPM_ABI + 1,
        ..HOST
    };
    assert!(call!(service_new(&raw const old)).is_null());
    assert!(call!(service_new(std::ptr::null())).is_null());
}

#[test]
fn a_request_from_classification_to_202() {
    let service = service(PARAMETERS);
    let message =
        message("<entry uri=\"sip:bill@192.0.2.2\"/><entry uri=\"sip:carol@192.0.2.2\"/>");
    let request = classify(service, &message, "sip:exploder@example.com");
    assert!(!request.is_null());
    assert_eq!(core_field(request, CPM_FIELD_KIND), "exploder");
    assert_eq!(core_field(request, CPM_FIELD_MODE), "pager");
    assert_eq!(core_field(request, CPM_FIELD_CONTRIBUTION_ID), "abc");
    assert!(call!(field(request, CPM_FIELD_CONVERSATION_ID)).s.is_null());
    assert_eq!(reply(request), None);
    assert_eq!(call!(number(request, CPM_FIELD_RECIPIENTS)), 0);

    assert_eq!(check(request), CPM_SCRIPT_YES);
    assert_eq!(
        check(request),
        CPM_SCRIPT_YES,
        "a second call says the same"
    );
    assert_eq!(call!(number(request, CPM_FIELD_RECIPIENTS)), 2);
    assert_eq!(text(call!(recipient(request, 1))), "sip:carol@192.0.2.2");
    assert!(call!(recipient(request, 2)).s.is_null());

    assert_eq!(fan_out(request), CPM_SCRIPT_YES);
    let (code, reason, headers) = reply(request).unwrap();
    assert_eq!((code, reason.as_str()), (202, "Accepted"));
    assert_eq!(
        headers,
        "Contribution-ID: abc\r\nServer: CPM-serv/OMA2.2\r\n"
    );
    assert_eq!(fan_out(request), CPM_SCRIPT_NO, "there is a reply already");

    seen(|seen| {
        let recipients: Vec<_> = seen.sent.iter().map(|(uri, _)| uri.as_str()).collect();
        assert_eq!(recipients, ["sip:bill@192.0.2.2", "sip:carol@192.0.2.2"]);
        assert_ne!(
            seen.sent[0].1, seen.sent[1].1,
            "each copy has a Call-ID of its own"
        );
        assert_eq!(seen.called_back[0], "sip:anne@example.com");
        assert_eq!(
            seen.called_back[1], "-1",
            "too late to say who the originator is"
        );
        let counted = |counter| -> u32 {
            seen.counted
                .iter()
                .filter(|(c, _)| *c == counter)
                .map(|(_, n)| n)
                .sum()
        };
        assert_eq!(counted(Counter::Requests), 1);
        assert_eq!(counted(Counter::Accepted), 1);
        assert_eq!(counted(Counter::Recipients), 2);
        assert_eq!(counted(Counter::Refused), 0);
    });
    call!(request_free(request));
    call!(service_free(service));
}

#[test]
fn what_is_not_ours_is_left_alone() {
    let service = service(PARAMETERS);
    let ours = message("<entry uri=\"sip:bill@192.0.2.2\"/>");
    assert!(classify(service, &ours, "sip:bill@192.0.2.2").is_null());
    assert!(classify(service, &ours, "not a URI").is_null());
    assert!(
        classify(
            service,
            &ours.replace("cpm.msg", "cpm.msg.group"),
            "sip:exploder@example.com"
        )
        .is_null()
    );
    assert!(
        classify(
            service,
            &ours.replace("MESSAGE", "PUBLISH"),
            "sip:exploder@example.com"
        )
        .is_null()
    );
    assert!(classify(service, "", "sip:exploder@example.com").is_null());
    seen(|seen| {
        assert!(seen.counted.is_empty(), "{:?}", seen.counted);
        assert!(seen.log.is_empty(), "{:?}", seen.log);
    });
    call!(service_free(service));
}

#[test]
fn only_lines_that_the_log_takes_are_written() {
    let service = service(PARAMETERS);
    for wants_debug in [false, true] {
        let message = message("<entry uri=\"sip:bill@192.0.2.2\"/>");
        seen(|seen| seen.wants_debug = wants_debug);
        let request = classify(service, &message, "sip:exploder@example.com");
        assert_eq!(check(request), CPM_SCRIPT_YES);
        assert_eq!(fan_out(request), CPM_SCRIPT_YES);
        call!(request_free(request));
        let lines = seen(|seen| std::mem::take(&mut seen.log));
        let is_debug = |(level, _): &(cpm_log_level, String)| *level == CPM_LOG_DEBUG;
        assert_eq!(lines.iter().any(is_debug), wants_debug, "{lines:?}");
    }
    call!(service_free(service));
}

#[test]
fn the_operator_has_a_veto() {
    let service = service(PARAMETERS);
    seen(|seen| seen.veto = Some(Event::Authorize));
    let message = message("<entry uri=\"sip:bill@192.0.2.2\"/>");
    let request = classify(service, &message, "sip:exploder@example.com");
    assert_eq!(fan_out(request), CPM_SCRIPT_NO);
    let (code, _, headers) = reply(request).unwrap();
    assert_eq!(code, 403);
    assert!(
        headers.contains("Warning: 399 example.com \"127 Service not authorised\"\r\n"),
        "{headers}"
    );
    assert_eq!(
        core_field(request, CPM_FIELD_WARNING),
        "127 Service not authorised"
    );
    seen(|seen| {
        assert!(seen.sent.is_empty());
        let refusals: Vec<_> = seen
            .log
            .iter()
            .filter(|(_, line)| line.starts_with("refused "))
            .collect();
        assert_eq!(
            refusals.len(),
            1,
            "one line for one refusal: {:?}",
            seen.log
        );
        assert_eq!(refusals[0].0, CPM_LOG_NOTICE);
    });
    call!(request_free(request));
    call!(service_free(service));
}

#[test]
fn a_recipient_that_cannot_be_sent_to_does_not_touch_the_others() {
    let service = service(PARAMETERS);
    let entries = "<entry uri=\"sip:a@192.0.2.4\"/><entry uri=\"sip:b@192.0.2.4\"/>";
    let request = classify(service, &message(entries), "sip:exploder@example.com");
    seen(|seen| seen.send_answers = vec![CPM_SENT_FAILED, CPM_SENT]);
    assert_eq!(fan_out(request), CPM_SCRIPT_YES);
    assert_eq!(reply(request).unwrap().0, 202);
    call!(request_free(request));

    // 202 says nothing of delivery (RFC 5365 §7.3), not even when it is known to fail.
    let request = classify(service, &message(entries), "sip:exploder@example.com");
    seen(|seen| seen.send_answers = vec![CPM_SENT_FAILED, CPM_SENT_DROPPED]);
    assert_eq!(fan_out(request), CPM_SCRIPT_YES);
    assert_eq!(reply(request).unwrap().0, 202);
    call!(request_free(request));
    call!(service_free(service));
}

#[test]
fn a_group_is_looked_up_where_its_sources_are() {
    let service = service(&[
        ("group_uri", "sip:*@example.com"),
        ("group_source", "db:sqlite:///groups"),
        ("trusted_peer", "192.0.2.1"),
        ("state_dir", "none"),
    ]);
    let mut plan = cpm_process_plan::default();
    call!(plan(service, CPM_PROCESS_GROUPS, &raw mut plan));
    assert!(plan.count > 0);
    let groups = call!(mailbox_new(service, CPM_PROCESS_GROUPS));
    assert!(!groups.is_null());
    assert_eq!(call!(mailbox_fd(groups)), -1, "it has no threads");
    seen(|seen| {
        seen.takes = true;
        seen.wants = vec![Event::Checked];
    });
    for (uri, code, sent) in [
        ("sip:friends@example.com", 202, vec!["sip:bill@192.0.2.2"]),
        ("sip:strangers@example.com", 404, vec![]),
    ] {
        let request = classify(service, &message(""), uri);
        assert_eq!(core_field(request, CPM_FIELD_KIND), "group");
        assert_eq!(
            check(request),
            CPM_SCRIPT_END,
            "another process finishes it"
        );
        assert_eq!(reply(request), None);
        call!(request_free(request));
        let transaction = seen(|seen| seen.opened);
        deliver(groups, CPM_PROCESS_GROUPS);
        assert_eq!(call!(mailbox_work(groups)), -1);
        let last = last_reply();
        assert_eq!((last.0, last.1), (code, transaction), "{uri}");
        let all = seen(|seen| std::mem::take(&mut seen.sent));
        let uris: Vec<_> = all.iter().map(|(uri, _)| uri.as_str()).collect();
        assert_eq!(uris, sent, "the sender gets no copy");
    }
    // The operator was asked once per request in the process where the checks began, and about what
    // has passed them in the one that finishes it, which has no context.
    let asked = seen(|seen| std::mem::take(&mut seen.asked));
    let context = context().addr();
    assert_eq!(
        asked,
        [
            (Event::Authorize, context, 0),
            (Event::Checked, 0, 1),
            (Event::Authorize, context, 0)
        ]
    );

    seen(|seen| seen.takes = false);
    let request = classify(service, &message(""), "sip:friends@example.com");
    assert_eq!(check(request), CPM_SCRIPT_NO, "no process can take it");
    let (code, _, headers) = reply(request).unwrap();
    assert_eq!(code, 480);
    assert!(headers.contains("Retry-After: "), "{headers}");
    call!(request_free(request));
    assert_eq!(
        query(service, CPM_QUERY_FORGET_GROUPS, "").0,
        CPM_QUERY_ANSWERED
    );
    call!(mailbox_stop(groups));
    call!(service_free(service));
}

/// What comes of a question: its fields, records and parts with an item of their own.
fn query(
    service: *const cpm_service,
    query: cpm_query,
    argument: &str,
) -> (cpm_query_result, Vec<String>) {
    unsafe extern "C" fn record(to: *mut c_void) -> c_int {
        add(to, "record".to_owned())
    }
    unsafe extern "C" fn part(to: *mut c_void) -> c_int {
        add(to, "part".to_owned())
    }
    unsafe extern "C" fn text_field(to: *mut c_void, name: *const c_char, value: cpm_str) -> c_int {
        // SAFETY: a text that ends with NUL, lent for this call.
        let name = unsafe { CStr::from_ptr(name) }.to_str().unwrap();
        add(to, format!("{name}={}", text(value)))
    }
    unsafe extern "C" fn number_field(to: *mut c_void, name: *const c_char, value: u64) -> c_int {
        // SAFETY: as above.
        let name = unsafe { CStr::from_ptr(name) }.to_str().unwrap();
        add(to, format!("{name}={value}"))
    }
    fn add(to: *mut c_void, item: String) -> c_int {
        // SAFETY: what `query` was given, which nobody else uses meanwhile.
        unsafe { (*to.cast::<Vec<String>>()).push(item) };
        0
    }
    let visitor = cpm_answer_visitor {
        record: Some(record),
        part: Some(part),
        text: Some(text_field),
        number: Some(number_field),
    };
    let mut items: Vec<String> = Vec::new();
    let to = (&raw mut items).cast();
    let result = call!(query(
        service,
        query,
        lent(argument),
        &raw const visitor,
        to
    ));
    let fault: cpm_fault = call!(fault(query, result));
    // SAFETY: a text that ends with NUL and lives as long as the core.
    let told = unsafe { CStr::from_ptr(fault.text) };
    let is_answered = result == CPM_QUERY_ANSWERED;
    assert_eq!(
        (fault.code == 0, told.is_empty()),
        (is_answered, is_answered)
    );
    (result, items)
}

const THREE: &str = "<entry uri=\"sip:a@192.0.2.4\"/><entry uri=\"sip:b@192.0.2.4\"/>\
                     <entry uri=\"sip:c@192.0.2.4\"/>";

#[test]
fn a_long_fan_out_goes_on_in_another_process() {
    let service = service(PARAMETERS);
    seen(|seen| {
        seen.takes = true;
        // Longer than a worker has time.
        seen.send_ms = 60;
    });
    let asked = message(THREE);
    let received = received(&asked, "sip:exploder@example.com");
    assert_eq!(handle(service, &received), CPM_SCRIPT_YES);
    seen(|seen| {
        assert!(seen.replies.is_empty(), "the other process replies");
        assert_eq!(seen.sent.len(), 1);
        seen.send_ms = 0;
        // The memory of c, and once more.
        seen.room = vec![true, false, false];
    });
    let fan_out = call!(mailbox_new(service, CPM_PROCESS_FAN_OUT));
    assert!(call!(mailbox_fd(fan_out)) >= 0);
    deliver(fan_out, CPM_PROCESS_FAN_OUT);
    assert!(call!(mailbox_work(fan_out)) > 0, "it waits for room");
    assert!(seen(|seen| seen.replies.is_empty()), "not yet");
    assert!(call!(mailbox_work(fan_out)) > 0);
    assert_eq!(call!(mailbox_work(fan_out)), -1);
    let (code, transaction, headers, tag) = last_reply();
    assert_eq!((code, transaction), (202, 1));
    assert_eq!(
        headers,
        "Contribution-ID: abc\r\nServer: CPM-serv/OMA2.2\r\n"
    );
    assert!(!tag.is_empty());
    seen(|seen| {
        assert_eq!(seen.replies.len(), 1);
        let recipients: Vec<_> = seen.sent.iter().map(|(uri, _)| uri.as_str()).collect();
        let all = ["sip:a@192.0.2.4", "sip:b@192.0.2.4", "sip:c@192.0.2.4"];
        assert_eq!(recipients, all);
    });
    // What cannot be read is answered too.
    let broken = lent_bytes(&[0, 0, 0, 0, 0, 0, 0, 0, 9, 1, 2]);
    call!(mailbox_take(fan_out, broken));
    let last = last_reply();
    assert_eq!((last.0, last.1), (500, 9));
    call!(mailbox_stop(fan_out));
    call!(service_free(service));
}

/// Whoever has found no room is given up in time, and the script is told.
#[test]
fn what_cannot_be_sent_is_told_to_the_script() {
    let service = service(PARAMETERS);
    seen(|seen| {
        seen.wants = vec![Event::RecipientFailed];
        seen.send_answers = vec![CPM_SENT_FAILED];
    });
    let asked = message("<entry uri=\"sip:192.0.2.7\"/><entry uri=\"tel:+1555\"/>");
    let received = received(&asked, "sip:exploder@example.com");
    assert_eq!(handle(service, &received), CPM_SCRIPT_YES);
    seen(|seen| {
        assert_eq!(seen.replies.len(), 1);
        assert_eq!(
            seen.events[0],
            (Event::RecipientFailed, 503, "sip:192.0.2.7".to_owned())
        );
    });
    call!(service_free(service));
}

#[test]
fn the_script_sees_each_copy_once_and_may_change_it() {
    let service = service(PARAMETERS);
    seen(|seen| seen.wants = vec![Event::RecipientRequest]);
    let asked = message("<entry uri=\"sip:192.0.2.7\"/>");
    let uri = "sip:exploder@example.com";
    assert_eq!(handle(service, &received(&asked, uri)), CPM_SCRIPT_YES);
    seen(|seen| {
        assert_eq!(seen.hops, ["sip:192.0.2.99"]);
        seen.drops = true;
    });
    let asked = message("<entry uri=\"sip:192.0.2.7\"/>");
    assert_eq!(handle(service, &received(&asked, uri)), CPM_SCRIPT_YES);
    seen(|seen| {
        assert_eq!(seen.hops.len(), 1);
        assert_eq!(seen.replies.len(), 2);
    });
    call!(service_free(service));
}

/// One call has the order of things, and replies once.
#[test]
fn handle_does_all_there_is_to_do() {
    let service = service(PARAMETERS);
    let uri = "sip:exploder@example.com";
    let ours = message("<entry uri=\"sip:192.0.2.7\"/>");
    seen(|seen| seen.veto = Some(Event::Authorize));
    assert_eq!(handle(service, &received(&ours, uri)), CPM_SCRIPT_YES);
    assert_eq!(last_reply().0, 403);
    seen(|seen| seen.veto = None);
    assert_eq!(handle(service, &received(&ours, uri)), CPM_SCRIPT_YES);
    assert_eq!(last_reply().0, 202);
    // It comes again when its transaction is forgotten.
    assert_eq!(handle(service, &received(&ours, uri)), CPM_SCRIPT_END);
    assert_eq!(last_reply().0, 202);
    seen(|seen| {
        assert_eq!((seen.sent.len(), seen.replies.len()), (1, 3));
        seen.absorbs = true;
    });
    let other = message("<entry uri=\"sip:192.0.2.7\"/>");
    assert_eq!(handle(service, &received(&other, uri)), CPM_SCRIPT_END);
    let elsewhere = received(&other, "sip:bill@192.0.2.2");
    assert_eq!(handle(service, &elsewhere), CPM_SCRIPT_NO);
    assert_eq!(seen(|seen| seen.replies.len()), 3);
    call!(service_free(service));
}

/// An outgoing request ends: counted, told, and sent again where its code says so.
#[test]
fn an_outcome_is_counted_and_told() {
    let service = service(
        &[
            PARAMETERS,
            &[("isf_uri", "sip:192.0.2.8"), ("interworking", "yes")],
        ]
        .concat(),
    );
    seen(|seen| {
        seen.wants = vec![Event::RecipientFailed, Event::RecipientDelivered];
    });
    let sent = "MESSAGE sip:bill@192.0.2.2 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9\r\n\
        From: <sip:anne@example.com>;tag=1\r\nTo: <sip:bill@192.0.2.2>\r\nCall-ID: cpm-1\r\n\
        CSeq: 1 MESSAGE\r\nMax-Forwards: 69\r\nContent-Length: 0\r\n\r\n";
    let ended = |code, words| {
        let outcome = cpm_outcome {
            code,
            token: cpm_token { words },
            request: lent(sent),
            ..cpm_outcome::default()
        };
        call!(ended(service, &raw const outcome));
    };
    ended(200, [0, 0]);
    ended(486, [0, 0]);
    ended(404, [0, 0]);
    // The copy to the ISF fails too.
    let to_isf = seen(|seen| seen.tokens[0]);
    ended(404, to_isf);
    seen(|seen| {
        let told: Vec<_> = seen
            .events
            .iter()
            .map(|(event, code, _)| (*event, *code))
            .collect();
        assert_eq!(
            told,
            [
                (Event::RecipientDelivered, 200),
                (Event::RecipientFailed, 486),
                (Event::RecipientFailed, 404)
            ]
        );
        assert_eq!(seen.hops, ["sip:192.0.2.8"]);
        let count = |counter| {
            let of = seen
                .counted
                .iter()
                .filter(|(counted, _)| *counted == counter);
            of.map(|(_, n)| n).sum::<u32>()
        };
        assert_eq!(count(Counter::Delivered), 1);
        assert_eq!(count(Counter::Failed), 2);
        assert_eq!(count(Counter::Interworked), 1);
    });
    call!(service_free(service));
}

fn lent_bytes(bytes: &[u8]) -> cpm_str {
    cpm_str {
        s: bytes.as_ptr().cast(),
        len: bytes.len(),
    }
}

#[test]
fn without_room_and_without_help_nothing_is_half_done() {
    let service = service(PARAMETERS);
    let request = classify(service, &message(THREE), "sip:exploder@example.com");
    seen(|seen| seen.room = vec![false]);
    assert_eq!(fan_out(request), CPM_SCRIPT_NO);
    let (code, _, headers) = reply(request).unwrap();
    assert_eq!(code, 503);
    assert!(headers.contains("Retry-After: 5\r\n"), "{headers}");
    assert!(seen(|seen| seen.sent.is_empty()), "nobody was tried");
    call!(request_free(request));
    call!(service_free(service));
}

#[test]
fn a_senseless_parameter_is_one_clear_line() {
    let service = call!(service_new(&raw const HOST));
    for (name, value, line) in [
        (
            "max_recipients",
            "many",
            "parameter max_recipients: \"many\" is not a number from 1 to 10000",
        ),
        (
            "max_recipient",
            "1",
            "parameter max_recipient: \"1\" is not a parameter",
        ),
        (
            "exploder_uri",
            "exploder",
            "parameter exploder_uri: \"exploder\" is not a sip: or sips: URI",
        ),
    ] {
        assert_eq!(call!(service_set(service, lent(name), lent(value))), -1);
        seen(|seen| assert_eq!(seen.log.pop(), Some((CPM_LOG_ERROR, line.to_owned()))));
    }
    assert_eq!(
        call!(service_start(service, lent(OWN_URI), 0, 0)),
        -1,
        "no address is ours"
    );
    seen(|seen| assert_eq!(seen.log.len(), 1));
    call!(service_free(service));
}

#[test]
fn null_is_answered_with_the_failure_value() {
    let null = std::ptr::null_mut();
    assert_eq!(call!(service_set(null, lent("a"), lent("b"))), -1);
    assert_eq!(call!(service_start(null, lent(OWN_URI), 0, 0)), -1);
    assert_eq!(call!(service_tune(null, lent("a"), lent("b"), 0)), -1);
    let nothing = std::ptr::null();
    assert!(call!(classify(null, nothing)).is_null());
    let mut request = std::ptr::null_mut();
    let room = &raw mut request;
    assert_eq!(call!(handle(null, nothing, room, context())), CPM_SCRIPT_NO);
    assert_eq!(call!(forward_imdn(null, nothing, context())), CPM_SCRIPT_NO);
    assert_eq!(check(request), CPM_SCRIPT_NO);
    assert_eq!(fan_out(request), CPM_SCRIPT_NO);
    assert_eq!(call!(reply(request, context())), CPM_SCRIPT_NO);
    assert_eq!(reply(request), None);
    assert!(call!(field(request, CPM_FIELD_KIND)).s.is_null());
    assert_eq!(call!(number(request, CPM_FIELD_RECIPIENTS)), -1);
    assert!(call!(recipient(request, 0)).s.is_null());
    assert_eq!(set(request, CPM_FIELD_ORIGINATOR, "sip:a@192.0.2.4"), -1);
    call!(request_free(request));
    call!(ended(null, std::ptr::null()));
    call!(responded(null, lent("")));
    assert_eq!(call!(is_session_name(null, lent("a"))), 0);
    let mut plan = cpm_process_plan {
        count: 9,
        ..cpm_process_plan::default()
    };
    call!(plan(null, CPM_PROCESS_FAN_OUT, &raw mut plan));
    assert_eq!(plan.count, 0);
    assert!(call!(mailbox_new(null, CPM_PROCESS_FAN_OUT)).is_null());
    let mailbox = std::ptr::null_mut();
    assert_eq!(call!(mailbox_fd(mailbox)), -1);
    assert_eq!(call!(mailbox_takes(mailbox)), 0);
    call!(mailbox_take(mailbox, lent("a")));
    call!(mailbox_work(mailbox));
    call!(mailbox_stop(mailbox));
    assert_eq!(query(null, CPM_QUERY_SESSIONS, "").0, CPM_QUERY_NO_ANSWER);
    call!(service_free(null));
}

/// The header is C that any compiler takes, and gcc lays its structs out as Rust does.
#[test]
fn the_header_has_not_drifted() {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("contract");
    std::fs::create_dir_all(&folder).unwrap();
    let header = concat!(env!("CARGO_MANIFEST_DIR"), "/c_api/cpm.h");
    let sizes = [
        ("cpm_str", size_of::<cpm_str>()),
        ("cpm_received", size_of::<cpm_received>()),
        ("cpm_forwarding", size_of::<cpm_forwarding>()),
        ("cpm_reply", size_of::<cpm_reply>()),
        ("cpm_outgoing", size_of::<cpm_outgoing>()),
        ("cpm_outcome", size_of::<cpm_outcome>()),
        ("cpm_changed", size_of::<cpm_changed>()),
        ("cpm_process_plan", size_of::<cpm_process_plan>()),
        ("cpm_answer_visitor", size_of::<cpm_answer_visitor>()),
        ("cpm_row", size_of::<cpm_row>()),
        ("cpm_host", size_of::<cpm_host>()),
        ("cpm_core", size_of::<cpm_core>()),
    ];
    let mut source = format!("#include \"{header}\"\n");
    for (name, size) in sizes {
        source += &format!("typedef char {name}_fits[sizeof(struct {name}) == {size} ? 1 : -1];\n");
    }
    for (compiler, language, standard) in [("gcc", "c", "-std=c99"), ("g++", "c++", "-std=c++11")] {
        let file = folder.join(format!("drift.{language}"));
        std::fs::write(&file, &source).unwrap();
        let Ok(output) = Command::new(compiler)
            .args([
                standard,
                "-Wall",
                "-Wextra",
                "-pedantic",
                "-Werror",
                "-fsyntax-only",
            ])
            .arg(&file)
            .output()
        else {
            assert_eq!(compiler, "g++", "only the C++ compiler may be missing");
            continue;
        };
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

/// The number of a parameter, and how the core describes it.
fn parameter(name: &str) -> (usize, cpm_parameter) {
    let mut described = cpm_parameter::default();
    for number in 0.. {
        assert_eq!(
            call!(parameter(number, &raw mut described)),
            1,
            "there is no {name}"
        );
        if text(described.name) == name {
            return (number, described);
        }
    }
    unreachable!()
}

/// What a host registers in loops, and which of the events it knows by name.
#[test]
fn counters_gauges_and_events_are_described_by_their_numbers() {
    let described = |entry: &dyn Fn(usize, *mut cpm_row) -> c_int| -> Vec<_> {
        let rows = (0..).map_while(|number| {
            let mut row = cpm_row::default();
            (entry(number, &raw mut row) == 1).then(|| (text(row.name), text(row.help)))
        });
        rows.collect()
    };
    let counters = described(&|number, row| call!(counter(number, row)));
    let gauges = described(&|number, row| call!(gauge(number, row)));
    let events = described(&|number, row| call!(event(number, row)));
    for (name, _) in counters.iter().chain(&gauges).chain(&events) {
        assert!(name.len() < CPM_NAME_BYTES as usize, "{name}");
    }
    let in_table = |name: &str, help: &str| (name.to_owned(), help.to_owned());
    let rows = Counter::ALL
        .iter()
        .map(|row| in_table(row.name(), row.help()));
    assert_eq!(counters, rows.collect::<Vec<_>>());
    let rows = Gauge::ALL
        .iter()
        .map(|row| in_table(row.name(), row.help()));
    assert_eq!(gauges, rows.collect::<Vec<_>>());
    let rows = Event::ALL
        .iter()
        .map(|row| in_table(row.name(), row.help()));
    assert_eq!(events, rows.collect::<Vec<_>>());
    assert_eq!(Event::Authorize.number(), CPM_EVENT_AUTHORIZE as usize);
    assert_eq!(Event::Checked.number(), CPM_EVENT_CHECKED as usize);
    let request = CPM_EVENT_RECIPIENT_REQUEST as usize;
    assert_eq!(Event::RecipientRequest.number(), request);
    assert_eq!(call!(counter(0, std::ptr::null_mut())), 0);
    assert_eq!(call!(gauge_value(std::ptr::null(), 0)), 0);
}

#[test]
fn a_parameter_changes_for_requests_that_come_later() {
    let service = service(PARAMETERS);
    let (number, limit) = parameter("max_recipients");
    assert_eq!(
        (limit.is_tunable, limit.is_checked, limit.min, limit.max),
        (1, 0, 1, 10_000)
    );
    let tune = |name: &str, value: &str, only_try| {
        call!(service_tune(service, lent(name), lent(value), only_try))
    };
    let in_force = |number| text(call!(value(service, number, 0)));
    assert_eq!(in_force(number), "100");
    let under_way = classify(service, &message(THREE), "sip:exploder@example.com");
    assert_eq!(tune("max_recipients", "2", 1), 0, "it could");
    assert_eq!(in_force(number), "100", "but only that was asked");
    assert_eq!(tune("max_recipients", "2", 0), 0);
    assert_eq!(in_force(number), "2");
    assert_eq!(check(under_way), CPM_SCRIPT_YES);
    let later = classify(service, &message(THREE), "sip:exploder@example.com");
    assert_eq!(check(later), CPM_SCRIPT_NO);
    assert_eq!(reply(later).unwrap().0, 486);

    seen(|seen| seen.log.clear());
    for (name, value) in [
        ("max_recipients", "0"),
        ("exploder_uri", "sip:e@example.com"),
        ("interworking", "1"),
        ("nothing", "1"),
    ] {
        assert_eq!(tune(name, value, 0), -1, "{name}={value}");
    }
    assert_eq!(in_force(number), "2");
    seen(|seen| assert_eq!(seen.log.len(), 4, "one line for each: {:?}", seen.log));
    let (own, _) = parameter("exploder_uri");
    assert_eq!(in_force(own), "sip:exploder@example.com");
    assert!(
        call!(value(service, own, 1)).s.is_null(),
        "there is no second"
    );
    for request in [under_way, later] {
        call!(request_free(request));
    }
    call!(service_free(service));
}

/// A request whose text is that of another one, but for its branch.
fn over_branch(text: &str, branch: &str) -> String {
    text.replace("branch=z9hG4bK1", &format!("branch={branch}"))
}

#[test]
fn a_request_is_fanned_out_once() {
    let service = service(PARAMETERS);
    let text = message("<entry uri=\"sip:bill@192.0.2.2\"/>");
    let uri = "sip:exploder@example.com";
    let first = classify(service, &text, uri);
    assert_eq!(fan_out(first), CPM_SCRIPT_YES);
    let answer = reply(first).unwrap();
    assert_eq!(answer.0, 202);
    for _ in 0..3 {
        let again = classify(service, &text, uri);
        assert_eq!(check(again), CPM_SCRIPT_END);
        assert_eq!(fan_out(again), CPM_SCRIPT_END);
        assert_eq!(reply(again).unwrap(), answer);
        assert_eq!(to_tag(again), to_tag(first));
        call!(request_free(again));
    }
    for branch in ["z9hG4bK2", "z9hG4bK2", "2"] {
        let merged = classify(service, &over_branch(&text, branch), uri);
        assert_eq!(check(merged), CPM_SCRIPT_NO);
        assert_eq!(reply(merged).unwrap().0, 482);
        call!(request_free(merged));
    }
    seen(|seen| {
        assert_eq!(seen.sent.len(), 1);
        let counted = |counter| {
            let of = seen
                .counted
                .iter()
                .filter(|(counted, _)| *counted == counter);
            of.map(|(_, n)| n).sum::<u32>()
        };
        assert_eq!(counted(Counter::Repeated), 3);
        assert_eq!(counted(Counter::Merged), 3);
        assert_eq!(counted(Counter::Requests), 4);
        assert_eq!(counted(Counter::Accepted), 1);
        assert_eq!(counted(Counter::Refused), 3);
    });
    call!(request_free(first));
    call!(service_free(service));
}

/// Two workers whose checks have both passed: by the same branch, and by another.
#[test]
fn of_two_that_have_passed_their_checks_one_is_fanned_out() {
    let service = service(PARAMETERS);
    let asked = message("<entry uri=\"sip:bill@192.0.2.2\"/>");
    let uri = "sip:exploder@example.com";
    let other = over_branch(&asked, "z9hG4bK2");
    let [first, again, merged] = [&asked, &asked, &other].map(|asked| {
        let request = classify(service, asked, uri);
        assert_eq!(check(request), CPM_SCRIPT_YES);
        request
    });
    // Its copies are still being sent: there is no answer yet.
    seen(|seen| {
        seen.room = vec![false];
        seen.takes = true;
    });
    assert_eq!(fan_out(first), CPM_SCRIPT_YES);
    assert_eq!(fan_out(again), CPM_SCRIPT_END);
    assert_eq!(reply(again), None);
    assert_eq!(fan_out(merged), CPM_SCRIPT_NO);
    assert_eq!(reply(merged).unwrap().0, 482);
    for request in [first, again, merged] {
        call!(request_free(request));
    }
    // Another process sends them, and the answer is there.
    let mailbox = call!(mailbox_new(service, CPM_PROCESS_FAN_OUT));
    deliver(mailbox, CPM_PROCESS_FAN_OUT);
    assert_eq!(call!(mailbox_work(mailbox)), -1);
    let answer = last_reply();
    let late = classify(service, &asked, uri);
    assert_eq!(check(late), CPM_SCRIPT_END);
    let (code, _, headers) = reply(late).unwrap();
    assert_eq!((code, headers), (202, answer.2));
    assert_eq!(to_tag(late), answer.3);
    call!(request_free(late));
    call!(mailbox_stop(mailbox));
    seen(|seen| assert_eq!(seen.sent.len(), 1, "{:?}", seen.sent));
    call!(service_free(service));
}

/// 503 for want of room is no answer that is remembered: a proxy on the way tries again over
/// another branch.
#[test]
fn what_found_no_room_may_come_again() {
    let service = service(PARAMETERS);
    let text = message("<entry uri=\"sip:bill@192.0.2.2\"/>");
    let uri = "sip:exploder@example.com";
    for (branch, room, code) in [
        ("z9hG4bK1", false, 503),
        ("z9hG4bK1", false, 503),
        ("z9hG4bK2", true, 202),
        ("z9hG4bK1", true, 482),
    ] {
        seen(|seen| seen.room = vec![room]);
        let request = classify(service, &over_branch(&text, branch), uri);
        fan_out(request);
        assert_eq!(reply(request).unwrap().0, code, "{branch}");
        call!(request_free(request));
    }
    call!(service_free(service));
}

#[test]
fn without_records_the_transaction_layer_is_relied_on() {
    let service = service(&[PARAMETERS, &[("request_records", "0")]].concat());
    let text = message("<entry uri=\"sip:bill@192.0.2.2\"/>");
    for _ in 0..2 {
        let request = classify(service, &text, "sip:exploder@example.com");
        assert_eq!(fan_out(request), CPM_SCRIPT_YES);
        call!(request_free(request));
    }
    let ids = seen(|seen| seen.sent.clone());
    assert_eq!(ids[0], ids[1], "who has it already can tell");
    call!(service_free(service));
}
