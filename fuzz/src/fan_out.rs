//! The fan-out machine under events in any order. Peers check received data byte by byte.
use std::collections::VecDeque;
use std::io::IoSlice;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use cpm_wire::msrp::{
    ContinuationFlag, Event, Kind, Method, MsrpUri, Parser, Path, Status, write_response,
};
use cpm_wire::msrp_session::{
    ConnectionId, DeliveryFailure, DeliveryState, EndpointConfig, FanOut, FanOutAction as Action,
    LegConfig, LegId, Limits, MIN_MEMORY_BYTES, Opener, OutgoingMessage,
};

fn byte_at(offset: u64) -> u8 {
    (offset.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8
}

/// Maximum length of a message.
fn whole() -> &'static Bytes {
    static WHOLE: std::sync::OnceLock<Bytes> = std::sync::OnceLock::new();
    WHOLE.get_or_init(|| (0..9_000_000).map(byte_at).collect::<Vec<u8>>().into())
}

fn content(from: u64, len: usize) -> Bytes {
    whole().slice(from as usize..from as usize + len)
}

fn fill(bytes: &mut [u8]) {
    thread_local!(static N: std::cell::Cell<u64> = const { std::cell::Cell::new(1) });
    for b in bytes {
        N.set(
            N.get()
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407),
        );
        *b = (N.get() >> 56) as u8;
    }
}

struct Peer {
    leg: LegId,
    parser: Parser,
    input: BytesMut,
    next: u64,
    in_chunk: bool,
    chunk_pos: u64,
    complete: bool,
    aborted: bool,
    /// Responses that we owe, in order.
    owed: VecDeque<BytesMut>,
    head: Option<Box<cpm_wire::msrp::Head>>,
    connected: bool,
    harmed: bool,
    ended: Option<DeliveryState>,
}

struct World {
    now: Instant,
    fan_out: FanOut,
    peers: Vec<Peer>,
    spool: Vec<u8>,
    spill: Option<(u64, Vec<Bytes>)>,
    fetches: VecDeque<(u64, usize)>,
    spool_lost: bool,
    reading: bool,
    sent: u64,
    complete: bool,
    aborted: bool,
    bound: usize,
    limits_changed: bool,
    /// All content goes to the spool as it arrives; whether the last of it has come.
    through: bool,
    is_last_here: bool,
    is_written: bool,
    /// No leg can be added any more, because the originator was held back for too long.
    closed: bool,
}

impl World {
    fn act(&mut self) {
        while let Some(action) = self.fan_out.poll_action() {
            match action {
                Action::Spill { offset, pieces } => {
                    assert!(self.spill.is_none(), "two spills at a time");
                    self.spill = Some((offset, pieces));
                }
                Action::Fetch { offset, len } => {
                    assert!(len <= 64 * 1024);
                    self.fetches.push_back((offset, len));
                }
                Action::StopReading => {
                    assert!(std::mem::replace(&mut self.reading, false), "stopped twice")
                }
                Action::ReadAgain => assert!(
                    !std::mem::replace(&mut self.reading, true),
                    "read again twice"
                ),
                Action::LegEnded(leg, state) => {
                    let peer = &mut self.peers[leg.index()];
                    assert!(peer.ended.replace(state).is_none(), "ended twice");
                    assert!(state.is_final());
                }
                Action::NoMoreLegs => self.closed = true,
                Action::Written => {
                    assert!(self.is_last_here && !std::mem::replace(&mut self.is_written, true));
                    let sent = self.sent as usize;
                    assert!(
                        self.spool[..sent] == whole()[..sent],
                        "not all is in the spool"
                    );
                }
                Action::Wake(_) | Action::HeldBack => {}
            }
        }
        if !self.limits_changed {
            assert!(
                self.fan_out.memory() <= self.bound,
                "memory {} of {}",
                self.fan_out.memory(),
                self.bound
            );
        }
    }

    /// The last content has come.
    fn finish(&mut self) {
        if self.aborted {
            return;
        }
        if self.through {
            self.is_last_here = true;
            self.fan_out.handle_last_content();
        } else {
            self.complete = true;
            self.fan_out.handle_complete(self.now);
        }
        self.act();
        self.complete_if_written();
        for i in 0..self.peers.len() {
            self.receive(i);
        }
    }

    /// As the relay, once the message is kept.
    fn complete_if_written(&mut self) {
        if self.is_written && !self.complete && !self.aborted {
            self.complete = true;
            self.fan_out.handle_complete(self.now);
            self.act();
        }
    }

    /// The spool is full or broken: content it was asked to store stays in memory.
    fn refuse_spool(&mut self) {
        if self.spill.take().is_some() {
            self.fan_out.handle_not_spilled(self.now);
            self.act();
            if self.through && !self.complete {
                // It cannot be kept.
                self.aborted = true;
                self.fan_out.handle_aborted(self.now);
                self.act();
            }
        }
    }

    /// The spool cannot be read: only those that wait for its content are lost.
    fn lose_spool(&mut self) {
        if let Some((offset, _)) = self.fetches.pop_front() {
            self.spool_lost = true;
            self.fan_out.handle_not_fetched(self.now, offset);
            self.act();
        }
    }

    fn write_spool(&mut self) {
        if let Some((offset, pieces)) = self.spill.take() {
            let bytes = pieces.concat();
            let end = offset as usize + bytes.len();
            self.spool.resize(self.spool.len().max(end), 0);
            self.spool[offset as usize..end].copy_from_slice(&bytes);
            self.fan_out.handle_spilled();
            self.act();
            self.complete_if_written();
        }
    }

    fn read_spool(&mut self, from_back: bool) {
        let fetch = if from_back {
            self.fetches.pop_back()
        } else {
            self.fetches.pop_front()
        };
        if let Some((offset, len)) = fetch {
            let bytes = Bytes::copy_from_slice(&self.spool[offset as usize..offset as usize + len]);
            self.fan_out.handle_fetched(self.now, offset, bytes);
            self.act();
        }
    }

    fn connect(&mut self, index: usize, opener: Opener) {
        let peer = &mut self.peers[index];
        if std::mem::replace(&mut peer.connected, true) || peer.ended.is_some() {
            return;
        }
        let id = ConnectionId(index as u64);
        let _ = self
            .fan_out
            .handle_connected(self.now, peer.leg, id, opener);
        self.act();
    }

    /// Writes up to `most` bytes. True: something was written.
    fn carry(&mut self, index: usize, most: usize, slots: usize) -> bool {
        let leg = self.peers[index].leg;
        if !self.peers[index].connected {
            return false;
        }
        if self.peers[index].ended.is_some() {
            if self.fan_out.has_output(leg) {
                let rest: Vec<Bytes> = self.fan_out.take_output(leg).collect();
                for bytes in rest {
                    self.peers[index].input.extend_from_slice(&bytes);
                }
                self.receive(index);
            }
            return false;
        }
        let mut slices = [IoSlice::new(&[]); 8];
        let count = self.fan_out.gather(leg, &mut slices[..slots.clamp(1, 8)]);
        let mut taken = Vec::new();
        for slice in &slices[..count] {
            taken.extend_from_slice(&slice[..slice.len().min(most - taken.len())]);
        }
        if count > 0 && taken.is_empty() && most > 0 {
            panic!("gathered nothing in {count} slices");
        }
        self.act();
        if taken.is_empty() {
            return false;
        }
        self.peers[index].input.extend_from_slice(&taken);
        self.fan_out.handle_written(self.now, leg, taken.len());
        self.act();
        self.receive(index);
        true
    }

    fn receive(&mut self, index: usize) {
        let harmed = self.peers[index].harmed;
        let peer = &mut self.peers[index];
        while let Some(event) = peer
            .parser
            .poll_event(&mut peer.input)
            .unwrap_or_else(|e| panic!("our own MSRP: {e}"))
        {
            match event {
                Event::Malformed(m) => panic!("{:?}", m.error),
                Event::Head(head) => {
                    assert!(!peer.in_chunk);
                    if head.kind == Kind::Request(Method::Send) && head.has_content() {
                        assert!(!peer.complete && !peer.aborted, "a chunk after the end");
                        let at = head.byte_range.unwrap().offset();
                        assert_eq!(at, peer.next, "a chunk out of order");
                        if let Some(total) = head.byte_range.unwrap().total() {
                            assert!(total >= at);
                        }
                        peer.chunk_pos = at;
                    }
                    peer.in_chunk = true;
                    peer.head = Some(head);
                }
                Event::Content(bytes) => {
                    let at = peer.chunk_pos as usize;
                    assert!(
                        bytes[..] == whole()[at..at + bytes.len()],
                        "other bytes at {at}"
                    );
                    peer.chunk_pos += bytes.len() as u64;
                }
                Event::End(flag) => {
                    peer.in_chunk = false;
                    let head = peer.head.take().unwrap();
                    if let Kind::Request(Method::Send) = head.kind {
                        if head.has_content() {
                            peer.next = peer.chunk_pos;
                            match flag {
                                ContinuationFlag::Complete => peer.complete = true,
                                ContinuationFlag::Aborted => peer.aborted = true,
                                ContinuationFlag::More => {}
                            }
                        }
                        let mut out = BytesMut::new();
                        write_response(&mut out, &head, Status::OK);
                        peer.owed.push_back(out);
                    }
                }
            }
            let _ = harmed;
        }
        if peer.complete {
            assert!(
                self.complete && peer.next == self.sent,
                "complete at {} of {}",
                peer.next,
                self.sent
            );
        }
    }

    fn answer(&mut self, index: usize, code: Option<Status>) {
        let Some(mut frame) = self.peers[index].owed.pop_front() else {
            return;
        };
        if let Some(code) = code {
            let text = String::from_utf8_lossy(&frame).replacen(" 200 OK", &format!(" {code}"), 1);
            frame = BytesMut::from(text.as_bytes());
            self.peers[index].harmed = true;
        }
        let leg = self.peers[index].leg;
        let mut parser = Parser::new();
        while let Some(event) = parser.poll_event(&mut frame).unwrap() {
            self.fan_out.handle_leg_event(self.now, leg, event);
            self.act();
        }
    }

    fn request_from_peer(&mut self, index: usize, success: bool) {
        let text = format!(
            "MSRP abcd{index} SEND\r\nTo-Path: msrp://cf:2855/s{index};tcp\r\nFrom-Path: msrp://peer:2855/p{index};tcp\r\n\
             Message-ID: 1\r\n{}-------abcd{index}$\r\n",
            if success {
                "Success-Report: yes\r\n"
            } else {
                ""
            }
        );
        let mut frame = BytesMut::from(text.as_bytes());
        let mut parser = Parser::new();
        while let Some(event) = parser.poll_event(&mut frame).unwrap() {
            self.fan_out
                .handle_leg_event(self.now, self.peers[index].leg, event);
            self.act();
        }
    }

    fn add(&mut self, chunk_bytes: Option<u64>) {
        let index = self.peers.len();
        if index >= 6 || self.closed {
            return;
        }
        let uri = |host: &str, session: String| MsrpUri::new(false, host, 2855, &session).unwrap();
        let config = LegConfig {
            endpoint: EndpointConfig {
                own: uri("cf", format!("s{index}")),
                peer: Path::from(uri("peer", format!("p{index}"))),
                accepts: None,
                response_timeout: Duration::from_secs(30),
            },
            chunk_bytes,
        };
        if let Some(leg) = self.fan_out.add_leg(self.now, config) {
            self.peers.push(Peer {
                leg,
                parser: Parser::new(),
                input: BytesMut::new(),
                next: 0,
                in_chunk: false,
                chunk_pos: 0,
                complete: false,
                aborted: false,
                owed: VecDeque::new(),
                head: None,
                connected: false,
                harmed: false,
                ended: None,
            });
        }
        self.act();
    }

    fn tick(&mut self, by: Duration) {
        self.now += by;
        for _ in 0..50 {
            match self.fan_out.poll_timeout() {
                Some(at) if at <= self.now => {
                    self.fan_out.handle_timeout(self.now);
                    self.act();
                }
                _ => return,
            }
        }
        panic!("a livelock of timeouts");
    }
}

/// A script: the first byte selects spool and legs, each further pair is an event.
pub fn fan_out(data: &[u8]) {
    let Some((&first, ops)) = data.split_first() else {
        return;
    };
    let through = first & 16 != 0;
    let spool_bytes = [0u64, 200_000, 1 << 30, 1 << 30][usize::from(first & 3)];
    let spool_bytes = if through { u64::MAX } else { spool_bytes };
    let limits = Limits {
        memory_bytes: MIN_MEMORY_BYTES,
        spool_bytes,
        stall: Duration::from_secs(20),
        hold: Duration::from_secs(20),
    };
    let total = if first & 4 == 0 {
        None
    } else {
        Some(u64::from(first) * 1000)
    };
    let mut fan_out = FanOut::new(limits, fill);
    if through {
        fan_out.write_through();
    }
    fan_out.handle_started(OutgoingMessage {
        message_id: "8822".into(),
        content_type: "message/cpim".into(),
        content_fields: vec![],
        total,
    });
    let mut w = World {
        now: Instant::now(),
        fan_out,
        peers: vec![],
        spool: vec![],
        spill: None,
        fetches: VecDeque::new(),
        spool_lost: false,
        reading: true,
        sent: 0,
        complete: false,
        aborted: false,
        bound: limits.memory_bound(),
        limits_changed: false,
        through,
        is_last_here: false,
        is_written: false,
        closed: false,
    };
    for _ in 0..1 + (first >> 6) {
        w.add(if first & 8 == 0 { None } else { Some(3_000) });
    }
    let mut open = true;
    for pair in ops.chunks_exact(2).take(600) {
        let (op, arg) = (pair[0], pair[1]);
        let leg = usize::from(arg) % w.peers.len();
        let size = [1, 20, 300, 2_047, 2_048, 5_000, 30_000, 65_536][usize::from(arg >> 5)];
        match op % 32 {
            // As required of the caller: at most one block after it was told to stop.
            0..=6
                if w.reading
                    && !w.complete
                    && !w.is_last_here
                    && !w.aborted
                    && w.sent < 8_000_000 =>
            {
                w.fan_out.handle_content(w.now, content(w.sent, size));
                w.sent += size as u64;
                w.act();
            }
            7 | 8 => w.connect(
                leg,
                if op & 32 == 0 {
                    Opener::Us
                } else {
                    Opener::Peer
                },
            ),
            9..=13 => {
                w.carry(leg, size, usize::from(op >> 5) + 1);
            }
            14 | 15 => w.answer(leg, None),
            16 => w.write_spool(),
            17 => w.read_spool(op & 32 != 0),
            18 => w.tick(Duration::from_millis(u64::from(arg) * 10)),
            19 => w.request_from_peer(leg, op & 32 != 0),
            20 => {
                let leg = w.peers[leg].leg;
                w.fan_out.pause(leg);
                w.act();
            }
            21 => {
                let leg = w.peers[leg].leg;
                w.fan_out.resume(w.now, leg);
                w.act();
            }
            22 if op & 32 != 0 => w.finish(),
            23 if op & 224 == 224 => {
                if !w.complete {
                    w.aborted = true;
                }
                w.fan_out.handle_aborted(w.now);
                w.act();
            }
            24 if op & 96 == 96 => {
                w.peers[leg].harmed = true;
                let id = w.peers[leg].leg;
                w.fan_out.drop_leg(id);
                w.act();
            }
            25 if op & 96 == 96 => {
                let peer = &mut w.peers[leg];
                if peer.connected {
                    peer.harmed = true;
                    peer.input.clear();
                    let id = peer.leg;
                    peer.parser = Parser::new();
                    peer.in_chunk = false;
                    w.fan_out.handle_disconnected(id);
                    w.act();
                }
            }
            26 if op & 224 == 224 => w.lose_spool(),
            26 if op & 32 == 0 => w.refuse_spool(),
            27 if op & 96 == 96 => w.answer(leg, Some(Status::BAD_REQUEST)),
            28 => w.add(if arg & 1 == 0 {
                None
            } else {
                Some(u64::from(arg) * 20 + 700)
            }),
            29 if op & 32 != 0 => {
                open = false;
                w.fan_out.no_more_legs();
                w.act();
            }
            30 if op & 96 == 96 => {
                w.limits_changed = true;
                w.fan_out.set_limits(
                    w.now,
                    Limits {
                        memory_bytes: usize::from(arg) * 16_384,
                        ..limits
                    },
                );
                w.act();
            }
            31 => w.tick(Duration::from_secs(u64::from(arg) / 16)),
            _ => {}
        }
    }
    // From here on nothing fails: every leg that was not disturbed comes to its end.
    if open {
        w.fan_out.no_more_legs();
        w.act();
    }
    if !w.complete {
        w.finish();
    }
    for i in 0..w.peers.len() {
        let id = w.peers[i].leg;
        w.fan_out.resume(w.now, id);
        w.connect(i, Opener::Us);
    }
    for _ in 0..20_000 {
        let mut moved = false;
        for i in 0..w.peers.len() {
            moved |= w.carry(i, 65_536, 8);
            while !w.peers[i].owed.is_empty() {
                w.answer(i, None);
                moved = true;
            }
        }
        moved |= w.spill.is_some() || !w.fetches.is_empty();
        w.write_spool();
        while !w.fetches.is_empty() {
            w.read_spool(false);
        }
        if w.peers.iter().all(|p| p.ended.is_some()) && !moved {
            break;
        }
        if !moved {
            w.tick(Duration::from_millis(10));
        }
    }
    for peer in &w.peers {
        let status = w.fan_out.leg(peer.leg);
        let Some(end) = peer.ended else {
            panic!(
                "a leg has no end: {status:?}, {} sent, next {}",
                w.sent, peer.next
            )
        };
        assert_eq!(end, status.state);
        match end {
            DeliveryState::Delivered => {
                assert!(
                    peer.complete && peer.next == w.sent,
                    "delivered {} of {}",
                    peer.next,
                    w.sent
                );
                assert_eq!((status.written, status.delivered), (w.sent, w.sent));
            }
            DeliveryState::Aborted => assert!(w.aborted),
            DeliveryState::Failed(
                DeliveryFailure::Stalled | DeliveryFailure::NoResponse | DeliveryFailure::Behind,
            ) => {}
            DeliveryState::Failed(DeliveryFailure::SpoolLost) => assert!(w.spool_lost),
            DeliveryState::Failed(why) => assert!(peer.harmed, "{why:?}"),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(w.fan_out.memory(), 0, "memory is kept");
    assert!(w.reading, "the originator is held back for ever");
}
