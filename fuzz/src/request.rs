//! The complete path of a MESSAGE or INVITE through the Controlling Function, with a host that
//! sends nothing.
use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;

use bytes::Bytes;
use cpm::controlling::large_message_mode::{
    AcceptedInvite, LargeModeSettings, MsrpAddress, MsrpAddresses,
};
use cpm::controlling::{
    Check, ControllingFunction, Counter, FanOutJob, GroupLookup, Host, Journal, LogAt, Mode,
    OutgoingRequest, Received, Sent,
};
use cpm::policy::Settings;
use cpm_wire::sdp::Transport;
use cpm_wire::sip::{HeaderName, Message, Uri};

#[derive(Default)]
struct Stub {
    sent: RefCell<Vec<String>>,
    criticals: RefCell<Vec<String>>,
}

impl Journal for Stub {
    fn log(&self, at: LogAt, line: fmt::Arguments<'_>) {
        let line = line.to_string();
        if at.level() == cpm::log::LogLevel::Critical {
            self.criticals.borrow_mut().push(line);
        }
    }

    fn count(&self, _: Counter, _: u32) {}
}

impl Host for Stub {
    fn send(&self, o: &OutgoingRequest<'_>) -> Sent {
        for text in [o.method, o.request_uri, o.from, o.to, o.call_id, o.from_tag] {
            assert!(!text.contains(['\r', '\n', '\0']), "{text:?}");
        }
        assert!(Uri::parse(o.request_uri).is_ok());
        let whole = [
            format!(
                "{} {} SIP/2.0\r\nTo: {}\r\nFrom: {};tag={}\r\n",
                o.method, o.request_uri, o.to, o.from, o.from_tag
            )
            .as_bytes(),
            o.headers,
            format!("Content-Length: {}\r\n\r\n", o.body.len()).as_bytes(),
            o.body,
        ]
        .concat();
        let message = Message::parse(Bytes::from(whole.clone())).unwrap_or_else(|e| {
            panic!(
                "an outgoing request cannot be read: {e}\n{}",
                String::from_utf8_lossy(&whole)
            )
        });
        assert_eq!(message.body().len(), o.body.len());
        for name in [
            HeaderName::ContentType,
            HeaderName::ContentLength,
            HeaderName::MaxForwards,
            HeaderName::To,
            HeaderName::From,
        ] {
            assert!(
                message.all(name).count() <= 1,
                "{name:?} twice\n{}",
                String::from_utf8_lossy(&whole)
            );
        }
        self.sent.borrow_mut().push(o.request_uri.to_owned());
        Sent::Queued
    }
    fn give_up(&self, _: &OutgoingRequest<'_>) -> Sent {
        Sent::Failed
    }

    fn is_turn_over(&self) -> bool {
        // Now and then, so that jobs are written for another process.
        self.sent.borrow().len() % 3 == 2
    }

    /// Data for another process is read there as it was written.
    fn hand_over(&self, job: &[u8]) -> bool {
        let read = FanOutJob::read(Bytes::copy_from_slice(job)).expect("a job of our own");
        assert!(read.write() == job, "a job that is written again differs");
        false
    }
    fn begin_session(&self, invite: &[u8]) -> bool {
        let read =
            AcceptedInvite::read(Bytes::copy_from_slice(invite)).expect("an INVITE of our own");
        assert!(
            read.write() == invite,
            "an INVITE that is written again differs"
        );
        true
    }
}

thread_local!(static SERVICE: Rc<ControllingFunction> = {
    let mut s = Settings::default();
    for (n, v) in [("exploder_uri", "sip:exploder@example.com"), ("controlling_uri", "sip:cpm@example.com"), ("identity_source", "from"),
        ("isf_uri", "sip:isf@example.com"), ("max_recipients", "50"), ("msrp_listen", "tcp:127.0.0.1:2855")] {
        if s.set(n, v).is_err() { panic!("{n}"); }
    }
    let addresses = MsrpAddresses {
        tcp: Some(MsrpAddress { address: "127.0.0.1".parse().unwrap(), port: 2855 }),
        tls: None,
        fingerprint: Default::default(),
        leg_transport: Transport::Tcp,
    };
    let large_mode = LargeModeSettings::new(&s.large_mode, "sip:127.0.0.1".to_owned(), addresses);
    Rc::new(ControllingFunction::new(s, 7).unwrap().with_large_mode(large_mode))
});

/// Any request to one of our addresses: every copy can be parsed, each goes to another URI, a
/// header field that may occur once occurs once; nothing critical is logged.
pub fn request(data: &[u8]) {
    let host = Stub::default();
    let service = SERVICE.with(Rc::clone);
    let Ok(message) = Message::parse(Bytes::copy_from_slice(data)) else {
        return;
    };
    let uri = message
        .request_uri()
        .unwrap_or("sip:exploder@example.com")
        .to_owned();
    let received = Received {
        message: data,
        request_uri: &uri,
        source_address: Some("127.0.0.1".parse().unwrap()),
    };
    let Some(mut request) = service.classify(&received) else {
        return;
    };
    let mut steps = 0;
    loop {
        steps += 1;
        assert!(steps < 10);
        match request.poll_check(&host) {
            Check::Ask(_) => request.handle_script(true, &host),
            Check::WantGroup => request.handle_group(GroupLookup::Unknown),
            Check::LongList => request.read_list_here(),
            Check::Accepted => break,
            Check::Repeated => panic!("nothing is remembered here"),
            Check::Answered => {
                assert!(request.reply().is_some());
                return;
            }
        }
    }
    let recipients = request.recipients().len();
    assert!(recipients > 0 && recipients <= 50);
    let result = request.fan_out(&host);
    request.handle_fan_out(result, &host);
    let sent = host.sent.borrow();
    if request.mode() == Mode::Pager {
        for (i, a) in sent.iter().enumerate() {
            for b in &sent[..i] {
                let (a, b) = (Uri::parse(a).unwrap(), Uri::parse(b).unwrap());
                assert!(
                    !a.equivalent(&b),
                    "twice to {:?} {:?}",
                    a.as_str(),
                    b.as_str()
                );
            }
        }
    }
    assert!(
        host.criticals.borrow().is_empty(),
        "{:?}",
        host.criticals.borrow()
    );
}
