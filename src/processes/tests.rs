//! Sending, against a proxy in virtual time.

mod long_list;

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::sync::atomic::AtomicU64;

use bytes::Bytes;

use super::fan_out::FanOutProcess;
use super::keeping::KeptGauges;
use super::letter::{self, Letter, SessionInput};
use super::proxy::Memory;
use super::*;
use crate::controlling::AboutRequest;
use crate::controlling::express as lane;
use crate::controlling::large_message_mode::TransactionKey;
use crate::controlling::{ControllingFunction, Counter, Forwarding, Received, Request};
use crate::group::source::{DatabaseError, GroupDatabase};
use crate::log::LogAt;
use crate::names::{NameTable, Names, Place, TABLE_WORDS, Target, Transport, Wanted};
use crate::operator::Event;
use crate::policy::Settings;

/// A proxy that records its calls.
struct Stage {
    now_us: Cell<u64>,
    /// How long one request takes to send, and the script to answer.
    send_us: Cell<u64>,
    ask_us: Cell<u64>,
    free: Cell<usize>,
    full: Cell<bool>,
    /// Maximum length of a request over UDP.
    datagram: Cell<usize>,
    /// Whether nothing can be posted; attempts are recorded nevertheless.
    refuses: Cell<bool>,
    posted: RefCell<Vec<(Process, Vec<u8>)>>,
    done: RefCell<Vec<String>>,
    wanted: RefCell<Vec<Event>>,
    /// The token of the last request that was sent.
    token: Cell<Token>,
}

const MEMORY: usize = 1024 * 1024;

impl Stage {
    fn new() -> Self {
        Stage {
            now_us: Cell::new(1_000_000_000),
            send_us: Cell::new(0),
            ask_us: Cell::new(0),
            free: Cell::new(MEMORY),
            full: Cell::new(false),
            datagram: Cell::new(65_000),
            refuses: Cell::new(false),
            posted: RefCell::default(),
            done: RefCell::default(),
            wanted: RefCell::default(),
            token: Cell::default(),
        }
    }

    fn note(&self, line: String) {
        self.done.borrow_mut().push(line);
    }

    fn pass_us(&self, us: u64) {
        self.now_us.set(self.now_us.get() + us);
    }

    fn done(&self) -> Vec<String> {
        self.done.take()
    }
}

impl GroupDatabase for Stage {
    fn document(&self, _: &str, _: &str) -> Result<Option<Vec<u8>>, DatabaseError> {
        Err(DatabaseError::NoConnection)
    }
}

impl Proxy for Stage {
    fn now_ms(&self) -> u64 {
        self.now_us() / 1_000
    }

    fn now_us(&self) -> u64 {
        self.now_us.get()
    }

    fn log(&self, _: LogAt, _: fmt::Arguments<'_>) {}

    fn count(&self, _: Counter, _: u32) {}

    fn share(&self, _: usize) -> Option<&'static [AtomicU64]> {
        None
    }

    fn memory(&self) -> Memory {
        Memory {
            free: self.free.get(),
            total: MEMORY,
            transaction: 1024,
        }
    }

    fn post(&self, process: Process, entry: &[u8]) -> bool {
        self.posted.borrow_mut().push((process, entry.to_vec()));
        !self.refuses.get()
    }

    fn open(&self) -> Opened {
        Opened::Open(TransactionKey(1))
    }

    fn keep_open(&self, transaction: TransactionKey, milliseconds: u32) -> bool {
        self.note(format!("keep {} open for {milliseconds}", transaction.0));
        true
    }

    fn reply(&self, transaction: TransactionKey, answer: &Answer<'_>, _: bool) -> bool {
        self.note(format!("{} in {}", answer.code, transaction.0));
        true
    }

    fn release(&self, _: TransactionKey) {}

    fn absorb(&self) {}

    fn cancelled(&self) -> Option<TransactionKey> {
        None
    }

    fn acknowledged(&self, _: bool) -> bool {
        false
    }

    fn way(&self, outgoing: &Outgoing<'_>, hop: Option<&str>) -> Way {
        let is_long = outgoing.size_at_most() > self.datagram.get();
        let Some(hop) = hop else {
            return if is_long { Way::TooLong } else { Way::Clear };
        };
        let is_udp = !hop.ends_with(";transport=tcp");
        match hop.contains("198.51.100.") {
            true => Way::None,
            false if is_udp && is_long => Way::TooLong,
            false if self.full.get() => Way::Full,
            false => Way::Clear,
        }
    }

    fn express_way(&self, _: &Outgoing<'_>, hop: &str) -> Option<lane::Way<'_>> {
        let address = hop.strip_prefix("sip:")?.split('@').next_back()?;
        Some(lane::Way {
            transport: lane::Transport::Udp,
            socket: 1,
            address: address.parse().ok()?,
            via: [&b"Via: SIP/2.0/UDP 192.0.2.1;branch="[..], b"\r\n"],
            timers: lane::Timers::default(),
            max_datagram_bytes: 65_000,
        })
    }

    fn express_send(&self, batch: &lane::Batch) -> lane::Accepted {
        let addresses: Vec<String> = batch.copies().map(|(_, to)| to.to_string()).collect();
        self.note(format!("express to {}", addresses.join(" ")));
        lane::Accepted {
            copies: batch.len(),
            lost: Vec::new(),
        }
    }

    fn send(&self, outgoing: &Outgoing<'_>, hop: &str) -> Transmitted {
        self.pass_us(self.send_us.get());
        self.note(format!("{} {hop}", outgoing.method));
        self.token.set(outgoing.token);
        Transmitted::Sent(TransactionKey(99))
    }

    fn cancel(&self, _: TransactionKey) {}

    fn forward(&self, _: &Forwarding, _: &str) -> bool {
        false
    }

    fn suspend(&self, _: &Forwarding, _: u32) -> Option<TransactionKey> {
        None
    }

    fn resume(&self, _: TransactionKey, _: &str, _: &str) -> bool {
        false
    }

    fn refuse_suspended(&self, _: TransactionKey, _: &Answer<'_>) {}

    fn unsuspend(&self, _: TransactionKey) {}

    fn ask(&self, question: Event, _: &Rc<RefCell<Request>>) -> bool {
        self.note(format!("asked {}", question.name()));
        self.pass_us(self.ask_us.get());
        true
    }

    fn wants(&self, event: Event) -> bool {
        self.wanted.borrow().contains(&event)
    }

    fn recipient_request(&self, outgoing: &Outgoing<'_>, text: &[u8]) -> Routed {
        self.note(format!("script sees {}", outgoing.request_uri));
        let text = text.strip_suffix(&[0]).unwrap();
        Changed::new(text, None, None, 0).map_or(Routed::Failed, Routed::Changed)
    }

    fn event(&self, event: Event, code: u16, _: &[u8], text: &[u8], _: Option<&AboutRequest>) {
        let uri = text.split(|&byte| byte == b' ').nth(1).unwrap_or_default();
        let uri = String::from_utf8_lossy(uri);
        self.note(format!("{event:?} {code} {uri}"));
    }

    fn has_database(&self, _: &str) -> bool {
        false
    }
}

fn service(parameters: &[(&str, &str)]) -> Rc<ControllingFunction> {
    let mut settings = Settings::default();
    let own = [
        ("exploder_uri", "sip:all@example.com"),
        ("trusted_peer", "192.0.2.1"),
    ];
    for (name, value) in own.iter().chain(parameters) {
        settings.set(name, value).unwrap();
    }
    let words: Vec<AtomicU64> = (0..TABLE_WORDS).map(|_| AtomicU64::new(0)).collect();
    let names = Names {
        servers: vec!["192.0.2.253:53".parse().unwrap()],
        table: Some(NameTable::new(words.leak(), || 1)),
    };
    Rc::new(
        ControllingFunction::new(settings, 1)
            .unwrap()
            .with_names(names),
    )
}

fn handle(service: &Rc<ControllingFunction>, stage: &Stage, recipients: &[&str]) -> Script {
    let entries: String = recipients
        .iter()
        .map(|uri| format!("<entry uri=\"{uri}\"/>"))
        .collect();
    let body = format!(
        "--b\r\nContent-Type: text/plain\r\n\r\nHello\r\n--b\r\n\
         Content-Type: application/resource-lists+xml\r\nContent-Disposition: recipient-list\r\n\r\n\
         <resource-lists xmlns=\"urn:ietf:params:xml:ns:resource-lists\"><list>{entries}</list>\
         </resource-lists>\r\n--b--\r\n"
    );
    let message = format!(
        "MESSAGE sip:all@example.com SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\n\
         Max-Forwards: 70\r\nFrom: <sip:anne@example.com>;tag=1\r\nTo: <sip:all@example.com>\r\n\
         Call-ID: 1\r\nCSeq: 1 MESSAGE\r\n\
         Accept-Contact: *;+g.3gpp.icsi-ref=\"urn%3Aurn-7%3A3gpp-service.ims.icsi.oma.cpm.msg\"\r\n\
         P-Asserted-Identity: <sip:anne@example.com>\r\n\
         Content-Type: multipart/mixed;boundary=b\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let received = Received {
        message: message.as_bytes(),
        request_uri: "sip:all@example.com",
        source_address: Some("192.0.2.1".parse().unwrap()),
    };
    let request = ReceivedRequest::classify(service, &received).expect("it is ours");
    request.handle(stage)
}

fn take_all(process: &mut FanOutProcess, service: &Rc<ControllingFunction>, stage: &Stage) {
    for (to, entry) in stage.posted.take() {
        assert_eq!(to, Process::FanOut);
        process.take(Letter::read(entry.into()).unwrap(), service, stage);
    }
}

const FIVE: [&str; 5] = [
    "sip:a@192.0.2.2",
    "sip:b@192.0.2.2",
    "sip:c@192.0.2.2",
    "sip:d@192.0.2.2",
    "sip:e@192.0.2.2",
];

/// A millisecond in the worker, then turns of 20 ms.
#[test]
fn a_worker_has_its_time_and_the_fan_out_process_takes_turns() {
    let (service, stage) = (service(&[]), Stage::new());
    stage.send_us.set(500);
    assert_eq!(handle(&service, &stage, &FIVE), Script::Yes);
    let done = stage.done();
    assert_eq!(
        done,
        [
            "MESSAGE sip:a@192.0.2.2",
            "MESSAGE sip:b@192.0.2.2",
            "keep 1 open for 30000"
        ]
    );
    let mut process = FanOutProcess::start(&service, KeptGauges(&[]), None).unwrap();
    take_all(&mut process, &service, &stage);
    stage.send_us.set(12_000);
    assert_eq!(process.work(&service, &stage), 0, "there is more to do");
    assert_eq!(stage.done().len(), 2);
    assert_eq!(process.work(&service, &stage), -1);
    assert_eq!(stage.done(), ["MESSAGE sip:e@192.0.2.2", "202 in 1"]);
}

/// Two processes would have a window of outstanding copies each.
#[test]
fn a_long_list_is_handed_over_as_a_whole() {
    let (service, stage) = (service(&[("max_recipients", "1000")]), Stage::new());
    let recipients: Vec<String> = (0..129).map(|n| format!("sip:{n}@192.0.2.2")).collect();
    let recipients: Vec<&str> = recipients.iter().map(String::as_str).collect();
    handle(&service, &stage, &recipients);
    assert_eq!(stage.done(), ["keep 1 open for 30000"]);
    handle(&service, &stage, &recipients[..128]);
    let done = stage.done();
    let sent = done.iter().filter(|line| line.starts_with("MESSAGE"));
    assert_eq!(sent.count(), 128);
}

#[test]
fn checks_are_a_part_of_the_turn() {
    for (ask_us, leave_here) in [(999, 5), (1_000, 1), (9_000, 1)] {
        let (service, stage) = (service(&[]), Stage::new());
        stage.wanted.replace(vec![Event::Authorize]);
        stage.ask_us.set(ask_us);
        handle(&service, &stage, &FIVE);
        let done = stage.done();
        let sent = done.iter().filter(|line| line.starts_with("MESSAGE"));
        assert_eq!(sent.count(), leave_here, "{ask_us}: {done:?}");
    }
}

/// Whatever passes such a request on: nothing would ever end its wait.
#[test]
fn what_has_no_name_does_not_wait_for_one() {
    let (service, stage) = (service(&[]), Stage::new());
    stage.wanted.replace(vec![Event::RecipientFailed]);
    let mut process = FanOutProcess::start(&service, KeptGauges(&[]), None).unwrap();
    for hop in ["sip:bill@192.0.2.2", "sip:bill@[2001:db8::1]", "tel:+1"] {
        let outgoing = Outgoing::stand_in("sip:bill@192.0.2.2", b"");
        let letter = Letter::read(letter::request(&outgoing, hop).into()).unwrap();
        process.take(letter, &service, &stage);
        assert_eq!(
            stage.done(),
            ["RecipientFailed 503 sip:bill@192.0.2.2"],
            "{hop}"
        );
    }
    assert_eq!(process.work(&service, &stage), -1);
}

/// A sixteenth of the memory is reserved; recipients for whom there is none within 25 s fail.
#[test]
fn what_finds_no_room_is_given_up_in_time() {
    let (service, stage) = (service(&[]), Stage::new());
    stage.wanted.replace(vec![Event::RecipientFailed]);
    let mut process = FanOutProcess::start(&service, KeptGauges(&[]), None).unwrap();
    stage.send_us.set(60_000);
    handle(&service, &stage, &FIVE[..2]);
    take_all(&mut process, &service, &stage);
    stage.done();
    stage.free.set(MEMORY / 16 + 2048);
    assert!(process.work(&service, &stage) > 0, "it waits");
    stage.pass_us(24_900 * 1_000);
    assert!(process.work(&service, &stage) > 0);
    assert!(stage.done().is_empty());
    stage.pass_us(200 * 1_000);
    assert_eq!(process.work(&service, &stage), -1);
    assert_eq!(
        stage.done(),
        ["RecipientFailed 503 sip:b@192.0.2.2", "202 in 1"]
    );
}

#[test]
fn a_full_connection_is_no_matter_of_the_others() {
    let (service, stage) = (service(&[]), Stage::new());
    stage.full.set(true);
    handle(&service, &stage, &FIVE[..1]);
    let mut process = FanOutProcess::start(&service, KeptGauges(&[]), None).unwrap();
    take_all(&mut process, &service, &stage);
    stage.done();
    assert!(process.work(&service, &stage) > 0);
    assert_eq!(
        stage.done(),
        ["202 in 1"],
        "the sender does not wait for it"
    );
    stage.full.set(false);
    assert_eq!(process.work(&service, &stage), -1);
    assert_eq!(stage.done(), ["MESSAGE sip:a@192.0.2.2"]);
}

/// RFC 3261 18.1.1; a hop that names its transport stays unchanged.
#[test]
fn what_is_too_long_for_a_datagram_goes_over_tcp() {
    let (service, stage) = (service(&[]), Stage::new());
    stage.datagram.set(100);
    let recipients = [
        "sip:a@192.0.2.2",
        "sip:b@192.0.2.2;transport=udp",
        "sip:c@198.51.100.1",
    ];
    handle(&service, &stage, &recipients);
    assert_eq!(
        stage.done(),
        [
            "MESSAGE sip:a@192.0.2.2;transport=tcp",
            "MESSAGE sip:b@192.0.2.2;transport=udp",
            "202 in 1"
        ]
    );
}

/// A worker passes on single requests for their names, 32 of them, and then the rest as a whole.
#[test]
fn names_that_are_not_known_cost_no_worker_more_than_a_few() {
    let (service, stage) = (service(&[]), Stage::new());
    let recipients: Vec<String> = (0..40).map(|n| format!("sip:x@h{n}.example.com")).collect();
    let recipients: Vec<&str> = recipients.iter().map(String::as_str).collect();
    handle(&service, &stage, &recipients);
    let letters: Vec<Letter> = stage
        .posted
        .take()
        .into_iter()
        .map(|(_, entry)| Letter::read(Bytes::from(entry)).unwrap())
        .collect();
    assert_eq!(letters.len(), 33);
    let waiting = letters
        .iter()
        .filter(|one| matches!(one, Letter::Waiting(_)));
    assert_eq!(waiting.count(), 32);
    assert!(matches!(letters.last(), Some(Letter::Job(..))));
    assert!(stage.done().contains(&"keep 1 open for 30000".to_owned()));
}

/// If the rest cannot be passed on, the worker continues, and retries in vain at linear cost.
#[test]
fn a_rest_that_cannot_be_handed_over_is_not_written_for_each_recipient() {
    let (service, stage) = (service(&[("max_recipients", "1000")]), Stage::new());
    stage.refuses.set(true);
    stage.send_us.set(60_000);
    let recipients: Vec<String> = (0..500).map(|n| format!("sip:{n}@192.0.2.2")).collect();
    let recipients: Vec<&str> = recipients.iter().map(String::as_str).collect();
    handle(&service, &stage, &recipients);
    let tries: Vec<usize> = stage
        .posted
        .take()
        .iter()
        .map(|(_, job)| job.len())
        .collect();
    assert!((2..=12).contains(&tries.len()), "{tries:?}");
    let done = stage.done();
    let sent = done.iter().filter(|line| line.starts_with("MESSAGE"));
    assert_eq!(sent.count(), 500);
    assert_eq!(done.last().map(String::as_str), Some("202 in 1"));
}

#[test]
fn the_script_sees_a_copy_that_is_given_up_too() {
    let (service, stage) = (service(&[]), Stage::new());
    stage
        .wanted
        .replace(vec![Event::RecipientRequest, Event::RecipientFailed]);
    handle(&service, &stage, &["sip:c@198.51.100.1", "sip:a@192.0.2.2"]);
    assert_eq!(
        stage.done(),
        [
            "script sees sip:c@198.51.100.1",
            "RecipientFailed 503 sip:c@198.51.100.1",
            "script sees sip:a@192.0.2.2",
            "MESSAGE sip:a@192.0.2.2",
            "202 in 1"
        ]
    );
}

/// RFC 3263 §4.3: no answer, or 503, leads to the next address of the name; anything else is final.
#[test]
fn a_request_goes_to_the_next_place_of_its_name() {
    let (service, stage) = (service(&[]), Stage::new());
    let place = |address: &str| Place {
        transport: Transport::Udp,
        address: address.parse().unwrap(),
    };
    let places = [place("192.0.2.10:5060"), place("192.0.2.11:5060")];
    let target = Target::new("dead.example.com", None, Wanted::Any).unwrap();
    let table = service.names().table.as_ref().unwrap();
    table.keep(&target, &places, 60);
    handle(&service, &stage, &["sip:bill@dead.example.com"]);
    assert_eq!(
        stage.done(),
        ["MESSAGE sip:192.0.2.10:5060;transport=udp", "202 in 1"]
    );
    let token = stage.token.get();
    assert_ne!(token.name, 0);
    let sent = |method: &str| {
        format!(
            "{method} sip:bill@dead.example.com SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9\r\n\
             From: <sip:anne@example.com>;tag=1\r\nTo: <sip:bill@dead.example.com>\r\n\
             Call-ID: c\r\nCSeq: 1 {method}\r\nMax-Forwards: 69\r\n\r\n"
        )
    };
    let end = |method: &str, code, token, place: &str| {
        Ended {
            code,
            is_cancelled: false,
            token,
            request: sent(method).as_bytes(),
            response: (code != 408).then_some(b"SIP/2.0 ..."),
            reason: b"",
            place: place.as_bytes(),
        }
        .handle(&service, &stage);
        stage.done()
    };
    let (first, second) = (
        "sip:192.0.2.10:5060;transport=udp",
        "sip:192.0.2.11:5060;transport=udp",
    );
    for code in [408, 503] {
        let again = format!("MESSAGE {second}");
        assert_eq!(end("MESSAGE", code, token, first), [again]);
        assert_eq!(stage.token.get().tried, 1);
        assert_eq!(end("MESSAGE", code, token, second), [""; 0], "the last one");
    }
    assert_eq!(end("MESSAGE", 486, token, first), [""; 0]);
    let worn_out = Token { tried: 7, ..token };
    assert_eq!(end("MESSAGE", 503, worn_out, first), [""; 0]);
    // The sessions process learns of the other transaction, or of the end.
    assert_eq!(
        end("INVITE", 503, token, first),
        [format!("INVITE {second}")]
    );
    end("INVITE", 486, token, first);
    let told: Vec<_> = stage
        .posted
        .take()
        .into_iter()
        .map(|(_, entry)| entry)
        .collect();
    let [invited, ended] = &told[..] else {
        panic!("{told:?}")
    };
    assert!(matches!(
        Letter::read(Bytes::copy_from_slice(invited)),
        Some(Letter::Session(SessionInput::Invited(
            Some(TransactionKey(99)),
            _
        )))
    ));
    assert!(matches!(
        Letter::read(Bytes::copy_from_slice(ended)),
        Some(Letter::Session(SessionInput::Response(_)))
    ));
}

#[test]
fn a_torn_letter_is_none() {
    let whole = letter::forward(TransactionKey(5), "sip:a@b", "sip:b", "callid=1");
    assert!(Letter::read(Bytes::copy_from_slice(&whole)).is_some());
    for end in 0..whole.len() {
        assert!(Letter::read(Bytes::copy_from_slice(&whole[..end])).is_none());
    }
    assert!(Letter::read(Bytes::from_static(&[99, 0, 0, 0, 0, 0, 0, 0, 1])).is_none());
}

#[test]
fn a_panic_answers_the_request_that_was_at_work() {
    let (service, stage) = (service(&[]), Stage::new());
    let mut process = FanOutProcess::start(&service, KeptGauges(&[]), None).unwrap();
    stage.send_us.set(60_000);
    handle(&service, &stage, &FIVE[..2]);
    take_all(&mut process, &service, &stage);
    stage.done();
    process.be_at_work(0);
    process.handle_panic(&stage);
    assert_eq!(stage.done(), ["500 in 1"]);
    assert_eq!(process.work(&service, &stage), -1);
}
