//! The client's sender and receiver against each other, over a network that loses, duplicates,
//! reorders and forges packets: a message arrives once and complete, reports of success are true,
//! and both machines end.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

use bytes::{Bytes, BytesMut};
use cpm_client::{
    Credentials, Destination, Draft, Failure, PAGER_MAX_BYTES, Part, Receiver, ReceiverConfig,
    ReceiverEvent, ReceiverOutput, Sender, SenderConfig, SenderEvent, SenderOutput, Sent,
    SessionExpires, SipTransport, SizeOf, Way,
};
use cpm_wire::msrp_session::ConnectionId;
use cpm_wire::sdp::Transport;
use cpm_wire::sip::{HeaderName, Message};

use crate::numbered;

/// Maximum number of consecutive timeouts without another event: more means a livelock.
const MAX_TIMEOUTS: usize = 3_000;

/// Maximum number of SIP messages for each event of a script and each timer: more means work that
/// creates more work.
const MAX_MESSAGES: usize = 20_000;

/// Longer than every timer of both machines: a transaction, a session without refresh, a ringing
/// INVITE.
const FAR: Duration = Duration::from_secs(4 * 3600);

const ANSWER: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.2\r\ns=-\r\nc=IN IP4 192.0.2.2\r\nt=0 0\r\n\
    m=message 2855 TCP/MSRP *\r\na=accept-types:message/cpim\r\na=path:msrp://192.0.2.9:9/x;tcp\r\n\
    a=recvonly\r\na=setup:passive\r\na=msrp-cema\r\n";

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn way(is_reliable: bool, to: &str) -> Way {
    let transport = match is_reliable {
        true => SipTransport::Tcp,
        false => SipTransport::Udp,
    };
    Way {
        transport,
        address: address(to),
    }
}

fn draft(size: usize, timer: bool) -> Draft {
    let part = Part {
        content_type: "application/octet-stream".into(),
        content: Bytes::from(vec![b'x'; size]),
        file_name: None,
    };
    let bill = Destination::One("sip:bill@example.com".into());
    Draft {
        session_expires: match timer {
            true => SessionExpires::Plain(90),
            false => SessionExpires::Absent,
        },
        ..Draft::new("sip:anne@example.com", bill, vec![part])
    }
}

struct World {
    now: Instant,
    is_reliable: bool,
    sender: Sender,
    receiver: Receiver,
    /// Packets in flight to the receiver, and to the sender.
    flying: [VecDeque<Bytes>; 2],
    messages: usize,
    connected: bool,
    to_receiver: BytesMut,
    to_sender: BytesMut,
    done: Option<Result<Sent, Failure>>,
    received: usize,
    stopped: bool,
    /// A third party has answered too, or changed a packet.
    forged: bool,
    last_request: Option<Message>,
}

impl World {
    fn new(first: u8) -> Self {
        numbered::begin(u64::from(first));
        let is_reliable = first & 4 != 0;
        let size = [10, 900, 3_000, 40_000][usize::from(first & 3)];
        let credentials = (first & 8 != 0).then(|| Credentials {
            user: "anne".into(),
            password: "secret".into(),
        });
        let config = SenderConfig {
            way: way(is_reliable, "192.0.2.2:5060"),
            local: address("192.0.2.1:5060"),
            credentials,
            msrp: address("192.0.2.1:2855"),
            msrp_transport: Transport::Tcp,
            fingerprint: None,
            chunk_bytes: [0, 1_000][usize::from(first >> 4 & 1)],
            has_next: first & 32 != 0,
        };
        let draft = draft(size, first & 64 != 0);
        let outgoing = draft.prepare(
            PAGER_MAX_BYTES,
            SizeOf::Cpim,
            SystemTime::UNIX_EPOCH,
            numbered::fill,
        );
        let receiver = ReceiverConfig {
            address: "sip:bill@example.com".into(),
            local: address("192.0.2.2:5060").into(),
            credentials: None,
            registration: None,
            outbound: Vec::new(),
            asserted: None,
            msrp: address("192.0.2.2:2855"),
            msrp_transport: Transport::Tcp,
            fingerprint: None,
            max_size: 1 << 20,
            reject: None,
            oma_release: "2.2".into(),
        };
        let mut world = World {
            now: Instant::now(),
            is_reliable,
            sender: Sender::new(
                config,
                outgoing.expect("a draft of our own"),
                numbered::fill,
            ),
            receiver: Receiver::new(receiver, numbered::fill),
            flying: Default::default(),
            messages: 0,
            connected: false,
            to_receiver: BytesMut::new(),
            to_sender: BytesMut::new(),
            done: None,
            received: 0,
            stopped: false,
            forged: false,
            last_request: None,
        };
        world.receiver.start(world.now);
        world.sender.start(world.now);
        world.collect();
        world
    }

    fn collect(&mut self) {
        while let Some(output) = self.sender.poll_output() {
            match output {
                SenderOutput::Sip(_, bytes) => {
                    let message = Message::parse(bytes.clone()).expect("our own SIP");
                    if message.method().is_some_and(|method| method != "ACK") {
                        self.last_request = Some(message);
                    }
                    self.fly(0, bytes);
                }
                SenderOutput::ConnectMsrp(_) => {
                    assert!(self.done.is_none(), "a connection after the end");
                }
                SenderOutput::CloseMsrp => self.disconnect(),
                SenderOutput::Event(SenderEvent::Done(result)) => {
                    assert!(self.done.replace(result).is_none(), "two ends");
                }
                SenderOutput::Event(event) => {
                    assert!(self.done.is_none(), "{event:?} after the end");
                }
            }
        }
        while let Some(output) = self.receiver.poll_output() {
            match output {
                ReceiverOutput::Sip(_, bytes) => {
                    Message::parse(bytes.clone()).expect("our own SIP");
                    self.fly(1, bytes);
                }
                ReceiverOutput::Event(ReceiverEvent::Message { received, .. }) => {
                    self.received += 1;
                    if !self.forged {
                        assert_eq!(received.object.body, self.sender.outgoing().cpim);
                        assert_eq!(self.received, 1, "the message arrives twice");
                    }
                }
                ReceiverOutput::Event(ReceiverEvent::Stopped) => {
                    assert!(!std::mem::replace(&mut self.stopped, true), "stopped twice");
                }
                ReceiverOutput::CloseMsrp(_) => {}
                ReceiverOutput::ConnectMsrp(..) | ReceiverOutput::Event(_) => {}
            }
        }
    }

    fn fly(&mut self, to: usize, bytes: Bytes) {
        self.messages += 1;
        assert!(self.messages < MAX_MESSAGES, "messages without end");
        if self.flying[to].len() < 64 {
            self.flying[to].push_back(bytes);
        }
    }

    fn deliver(&mut self, to: usize, bytes: Bytes) {
        let Ok(message) = Message::parse(bytes) else {
            return;
        };
        match to {
            0 => {
                let way = way(self.is_reliable, "192.0.2.1:5060");
                self.receiver.handle_sip(self.now, message, way);
            }
            _ => {
                let way = way(self.is_reliable, "192.0.2.2:5060");
                self.sender.handle_sip(self.now, message, way);
            }
        }
        self.collect();
    }

    fn connect(&mut self) {
        if !std::mem::replace(&mut self.connected, true) {
            self.receiver.handle_msrp_accepted(ConnectionId(1));
            self.sender.handle_msrp_connected(self.now);
            self.collect();
        }
    }

    fn disconnect(&mut self) {
        if std::mem::take(&mut self.connected) {
            self.receiver.handle_msrp_closed(self.now, ConnectionId(1));
        }
    }

    /// Some bytes travel over the connection in each direction.
    fn exchange(&mut self, most: usize) {
        if !self.connected {
            return;
        }
        for _ in 0..most {
            let Some(bytes) = self.sender.poll_msrp(self.now) else {
                break;
            };
            self.to_receiver.extend_from_slice(&bytes);
        }
        // In two pieces: the position of the cut must not matter.
        let rest = self.to_receiver.split_off(self.to_receiver.len() / 2);
        for piece in [None, Some(rest)] {
            self.to_receiver
                .extend_from_slice(&piece.unwrap_or_default());
            self.receiver
                .handle_msrp_bytes(self.now, ConnectionId(1), &mut self.to_receiver);
        }
        while let Some(bytes) = self.receiver.poll_msrp(ConnectionId(1)) {
            self.to_sender.extend_from_slice(&bytes);
        }
        self.sender.handle_msrp_bytes(self.now, &mut self.to_sender);
        self.collect();
    }

    /// A third party answers the sender's last request.
    fn answer(&mut self, code: u16, argument: u8) {
        let Some(request) = &self.last_request else {
            return;
        };
        let field = |name| {
            let field = request.first(name).and_then(|field| field.text().ok());
            field.unwrap_or_default().to_owned()
        };
        let is_invite = request.method() == Some("INVITE") && code == 200;
        let headers = [
            "",
            "Session-Expires: 90;refresher=uac\r\nMin-SE: 120\r\nAllow: UPDATE\r\n",
            "WWW-Authenticate: Digest realm=\"r\", nonce=\"n\", qop=\"auth\"\r\n",
            "Contact: <sip:carol@192.0.2.3>\r\nRetry-After: 1\r\n",
        ][usize::from(argument & 3)];
        let (typed, body) = match is_invite {
            true => (
                "Contact: <sip:cf@192.0.2.2>\r\nContent-Type: application/sdp\r\n",
                ANSWER,
            ),
            false => ("", ""),
        };
        let text = format!(
            "SIP/2.0 {code} X\r\nVia: {}\r\nFrom: {}\r\nTo: {};tag=s{}\r\nCall-ID: {}\r\nCSeq: {}\r\n{headers}{typed}\r\n{body}",
            field(HeaderName::Via),
            field(HeaderName::From),
            field(HeaderName::To)
                .split(";tag")
                .next()
                .unwrap_or_default(),
            argument >> 6,
            field(HeaderName::CallId),
            field(HeaderName::CSeq)
        );
        self.forged = true;
        self.deliver(1, Bytes::from(text));
    }

    fn until(&mut self, end: Instant) {
        for _ in 0..MAX_TIMEOUTS {
            let times = [self.sender.poll_timeout(), self.receiver.poll_timeout()];
            let due = times.into_iter().flatten().min().filter(|due| *due <= end);
            let Some(due) = due else {
                self.now = end;
                return;
            };
            self.now = self.now.max(due);
            self.sender.handle_timeout(self.now);
            self.receiver.handle_timeout(self.now);
            self.collect();
        }
        panic!("a livelock of timeouts");
    }
}

/// A script: the first byte selects what is sent and how, each further pair is an event.
pub fn client(data: &[u8]) {
    let Some((&first, events)) = data.split_first() else {
        return;
    };
    let mut world = World::new(first);
    for pair in events.chunks_exact(2).take(300) {
        let (event, argument) = (pair[0], pair[1]);
        let to = usize::from(event >> 7);
        let waiting = world.flying[to].len();
        let at = usize::from(argument) % waiting.max(1);
        match event % 16 {
            0..=3 => {
                if let Some(bytes) = world.flying[to].pop_front() {
                    world.deliver(to, bytes);
                }
            }
            4 => {
                if let Some(bytes) = world.flying[to].remove(at) {
                    world.deliver(to, bytes);
                }
            }
            // Duplicated: the original stays in flight.
            5 => {
                if let Some(bytes) = world.flying[to].get(at).cloned() {
                    world.deliver(to, bytes);
                }
            }
            6 => {
                world.flying[to].remove(at);
            }
            7 => world.connect(),
            8 | 9 => world.exchange(usize::from(argument)),
            10 => {
                let codes = [
                    100, 180, 183, 200, 202, 300, 302, 401, 403, 407, 408, 422, 480, 481, 486, 487,
                    491, 500, 503, 603,
                ];
                world.answer(
                    codes[usize::from(argument >> 2) % codes.len()],
                    event >> 4 | argument << 6,
                );
            }
            11 => {
                let milliseconds = u64::from(argument)
                    * [1, 100, 1_000, 10_000][to * 2 + usize::from(event >> 6 & 1)];
                world.until(world.now + Duration::from_millis(milliseconds));
            }
            12 if argument & 7 == 0 => {
                world.sender.cancel(world.now);
                world.collect();
            }
            12 if argument & 7 == 1 => {
                world.sender.handle_sip_failed(world.now, "gone");
                world.collect();
            }
            12 if argument & 7 == 2 => {
                world.disconnect();
                world.sender.handle_msrp_failed(world.now, "gone");
                world.collect();
            }
            12 if argument & 7 == 3 => {
                world.receiver.stop_when_idle(world.now);
                world.collect();
            }
            // One byte of a packet in flight changes.
            13 => {
                if let Some(bytes) = world.flying[to].get_mut(at) {
                    let mut changed = bytes.to_vec();
                    let place = usize::from(argument) * 7 % changed.len();
                    changed[place] = event.wrapping_mul(argument);
                    *bytes = Bytes::from(changed);
                    world.forged = true;
                }
            }
            14 if world.connected => {
                let junk = &data[at.min(data.len())..];
                world.to_sender.extend_from_slice(junk);
                world.forged = true;
                world.exchange(0);
            }
            _ => {}
        }
    }
    // Third parties fall silent.
    world.until(world.now + FAR);
    let done = world.done.as_ref();
    assert!(done.is_some(), "the sender has no end");
    assert_eq!(
        world.sender.poll_timeout(),
        None,
        "a deadline outlives its owner"
    );
    if matches!(done, Some(Ok(_))) && !world.forged {
        assert_eq!(world.received, 1, "sent, and not received");
    }
    world.receiver.stop(world.now);
    world.collect();
    world.until(world.now + FAR);
    assert!(world.stopped, "the receiver has no end");
}
