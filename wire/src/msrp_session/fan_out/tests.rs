use bytes::BytesMut;
use fastrand::Rng;

use super::leg::INTERRUPT_BYTES;
use super::*;
use crate::msrp::{ContentFields, MsrpUri, Parser, Path};
use crate::msrp_session::{
    Accepts, EndpointConfig, MAX_HOLD, MAX_OPEN_MESSAGES, READ_BLOCK_BYTES, RESPONSE_TIMEOUT,
};
use crate::test_random::{fill, random_bytes};

const TICK: Duration = Duration::from_millis(10);
const STALL: Duration = Duration::from_secs(20);

/// A recipient: reads as much as its link allows, answers as in RFC 4975.
struct Peer {
    leg: LegId,
    parser: Parser,
    input: BytesMut,
    endpoint: Endpoint,
    replies: Parser,
    content: Vec<u8>,
    complete: Option<u64>,
    aborted: bool,
    chunks: Vec<(u64, ContinuationFlag)>,
    chunk: u64,
    /// Bytes per tick; 0: accepts nothing.
    speed: usize,
    answers: bool,
}

/// The caller of a fan-out, in virtual time.
struct Pair {
    now: Instant,
    fan_out: FanOut,
    peers: Vec<Peer>,
    spool: Vec<u8>,
    spill: Option<(u64, Vec<Bytes>)>,
    /// Size of the disk: content beyond it is not written.
    disk_bytes: usize,
    /// Content requested from the spool is returned.
    readable: bool,
    reading: bool,
    /// The longest time without reading, and since when nothing has been read.
    longest_hold: Duration,
    held_since: Option<Instant>,
    notices: usize,
    ended: Vec<(LegId, DeliveryState)>,
    random: Rng,
    bound: usize,
    most_memory: usize,
    spills: usize,
    fetches: usize,
}

fn uri(host: &str) -> MsrpUri {
    MsrpUri::new(false, host, 2855, "session").unwrap()
}

impl Pair {
    fn new(limits: Limits, total: Option<u64>) -> Self {
        let message = OutgoingMessage {
            message_id: "8822".into(),
            content_type: "message/cpim".into(),
            content_fields: vec![],
            total,
        };
        Self {
            now: Instant::now(),
            fan_out: {
                let mut fan_out = FanOut::new(limits, fill);
                fan_out.handle_started(message);
                fan_out
            },
            peers: Vec::new(),
            spool: Vec::new(),
            spill: None,
            disk_bytes: usize::MAX,
            readable: true,
            reading: true,
            longest_hold: Duration::ZERO,
            held_since: None,
            notices: 0,
            ended: Vec::new(),
            random: Rng::with_seed(11),
            bound: limits.memory_bound(),
            most_memory: 0,
            spills: 0,
            fetches: 0,
        }
    }

    fn add(&mut self, speed: usize, chunk_bytes: Option<u64>) -> LegId {
        let end = |own: &str, peer: &str, accepts| EndpointConfig {
            own: uri(own),
            peer: Path::from(uri(peer)),
            accepts,
            response_timeout: RESPONSE_TIMEOUT,
        };
        let config = LegConfig {
            endpoint: end("cf", "peer", None),
            chunk_bytes,
        };
        let leg = self.fan_out.add_leg(self.now, config).unwrap();
        let accepts = Accepts {
            types: "*".into(),
            max_size: None,
        };
        self.peers.push(Peer {
            leg,
            parser: Parser::new(),
            input: BytesMut::new(),
            endpoint: Endpoint::new(end("peer", "cf", Some(accepts)), fill),
            replies: Parser::new(),
            content: Vec::new(),
            complete: None,
            aborted: false,
            chunks: Vec::new(),
            chunk: 0,
            speed,
            answers: true,
        });
        leg
    }

    fn connect(&mut self, leg: LegId) {
        let connection = ConnectionId(leg.0 as u64);
        self.fan_out
            .handle_connected(self.now, leg, connection, Opener::Us)
            .unwrap();
    }

    fn joined(limits: Limits, total: Option<u64>, speeds: &[usize]) -> Self {
        let mut pair = Self::new(limits, total);
        for &speed in speeds {
            let leg = pair.add(speed, None);
            pair.connect(leg);
        }
        pair
    }

    fn act(&mut self) {
        while let Some(action) = self.fan_out.poll_action() {
            match action {
                FanOutAction::Spill { offset, pieces } => {
                    assert!(self.spill.is_none(), "two spills at a time");
                    self.spill = Some((offset, pieces));
                    self.spills += 1;
                }
                FanOutAction::Fetch { offset, .. } if !self.readable => {
                    self.fan_out.handle_not_fetched(self.now, offset);
                }
                FanOutAction::Fetch { offset, len } => {
                    let from = offset as usize;
                    let content = Bytes::copy_from_slice(&self.spool[from..from + len]);
                    self.fan_out.handle_fetched(self.now, offset, content);
                    self.fetches += 1;
                }
                FanOutAction::StopReading => {
                    assert!(std::mem::replace(&mut self.reading, false));
                    self.held_since = Some(self.now);
                }
                FanOutAction::ReadAgain => {
                    assert!(!std::mem::replace(&mut self.reading, true));
                    let held = self.now - self.held_since.unwrap();
                    self.longest_hold = self.longest_hold.max(held);
                }
                FanOutAction::HeldBack => self.notices += 1,
                FanOutAction::NoMoreLegs => {}
                FanOutAction::LegEnded(leg, state) => self.ended.push((leg, state)),
                FanOutAction::Wake(_) => {}
            }
        }
        self.most_memory = self.most_memory.max(self.fan_out.memory());
        assert!(
            self.fan_out.memory() <= self.bound,
            "{}",
            self.fan_out.memory()
        );
    }

    /// One tick: the spool is written, each link transfers its share, time passes.
    fn tick(&mut self) {
        self.act();
        if let Some((offset, pieces)) = self.spill.take() {
            let bytes = pieces.concat();
            let end = offset as usize + bytes.len();
            if end <= self.disk_bytes {
                self.spool.resize(self.spool.len().max(end), 0);
                self.spool[offset as usize..end].copy_from_slice(&bytes);
                self.fan_out.handle_spilled();
            } else {
                self.fan_out.handle_not_spilled(self.now);
            }
            self.act();
        }
        for index in 0..self.peers.len() {
            self.carry(index);
        }
        self.now += TICK;
        if self.fan_out.poll_timeout().is_some_and(|at| at <= self.now) {
            self.fan_out.handle_timeout(self.now);
            assert!(self.fan_out.poll_timeout().is_none_or(|at| at > self.now));
        }
        self.act();
    }

    fn carry(&mut self, index: usize) {
        let mut left = self.peers[index].speed;
        while left > 0 {
            let peer = &mut self.peers[index];
            let mut slices = [IoSlice::new(&[]); 6];
            let count = self.fan_out.gather(peer.leg, &mut slices);
            let want = left.min(1 + self.random.usize(..100_000));
            let mut taken = Vec::with_capacity(want);
            for slice in &slices[..count] {
                taken.extend_from_slice(&slice[..slice.len().min(want - taken.len())]);
            }
            let some = taken.len();
            if some == 0 {
                self.act();
                if count == 0 && self.fan_out.legs[index].idle {
                    break;
                }
                continue;
            }
            left -= some;
            peer.input.extend_from_slice(&taken);
            self.fan_out.handle_written(self.now, peer.leg, some);
            self.receive(index);
            self.act();
        }
    }

    fn receive(&mut self, index: usize) {
        let peer = &mut self.peers[index];
        while let Some(event) = peer
            .parser
            .poll_event(&mut peer.input)
            .expect("our own MSRP")
        {
            match &event {
                Event::Content(content) => peer.chunk += content.len() as u64,
                Event::End(flag) => peer.chunks.push((std::mem::take(&mut peer.chunk), *flag)),
                _ => {}
            }
            peer.endpoint.handle_event(event);
        }
        while let Some(event) = peer.endpoint.poll_event() {
            match event {
                EndpointEvent::Content(_, content) => peer.content.extend_from_slice(&content),
                EndpointEvent::Complete(_, size) => peer.complete = Some(size),
                EndpointEvent::Aborted(_) => peer.aborted = true,
                _ => {}
            }
        }
        while let Some(frame) = peer.endpoint.poll_frame() {
            if peer.answers {
                let mut frame = BytesMut::from(frame);
                while let Some(event) = peer.replies.poll_event(&mut frame).unwrap() {
                    self.fan_out.handle_leg_event(self.now, peer.leg, event);
                }
            }
        }
    }

    /// The originator sends `whole` in pieces, as fast as it is read from; then all legs finish.
    fn send(&mut self, whole: &Bytes, piece: usize) {
        let mut rest = whole.clone();
        for _ in 0..200_000 {
            if rest.is_empty() {
                return self.fan_out.handle_complete(self.now);
            }
            for _ in 0..4 {
                if self.reading && !rest.is_empty() {
                    let some = 1 + self.random.usize(..piece.min(rest.len()));
                    self.fan_out.handle_content(self.now, rest.split_to(some));
                    self.act();
                }
            }
            self.tick();
        }
        panic!("the originator was never read to the end");
    }

    fn finish(&mut self) {
        for _ in 0..200_000 {
            if self.fan_out.legs().all(|(_, leg)| leg.state.is_final()) {
                return;
            }
            self.tick();
        }
        panic!(
            "legs do not end: {:?}",
            self.fan_out.legs().collect::<Vec<_>>()
        );
    }

    fn assert_has_all(&self, peer: usize, whole: &Bytes) {
        let peer = &self.peers[peer];
        assert!(peer.content == whole[..], "{:?}: other content", peer.leg);
        assert_eq!(peer.complete, Some(whole.len() as u64));
        let status = self.fan_out.leg(peer.leg);
        assert_eq!(status.state, DeliveryState::Delivered);
        assert_eq!(
            (status.written, status.delivered),
            (whole.len() as u64, whole.len() as u64)
        );
    }
}

fn limits(spool_bytes: u64) -> Limits {
    Limits {
        memory_bytes: MIN_MEMORY_BYTES,
        spool_bytes,
        stall: STALL,
        hold: MAX_HOLD,
    }
}

fn random_content(bytes: usize) -> Bytes {
    Bytes::from(random_bytes(&mut Rng::with_seed(bytes as u64), bytes))
}

#[test]
fn all_legs_get_the_same_at_their_own_pace() {
    let whole = random_content(3_000_000);
    for piece in [300, 5_000, READ_BLOCK_BYTES] {
        let speeds = [1_000_000, 200_000, 30_000];
        let mut pair = Pair::joined(limits(1 << 30), Some(3_000_000), &speeds);
        let small = pair.add(150_000, Some(10_000));
        pair.connect(small);
        pair.fan_out.no_more_legs();
        pair.send(&whole[..].to_vec().into(), piece);
        pair.finish();
        for peer in 0..4 {
            pair.assert_has_all(peer, &whole);
        }
        // One chunk for the whole message, or many of the negotiated size.
        let content = |peer: usize| pair.peers[peer].chunks.iter().filter(|chunk| chunk.0 > 0);
        assert_eq!(content(0).count(), 1);
        assert_eq!(content(3).count(), 300);
        assert!(content(3).all(|chunk| chunk.0 <= 10_000));
        assert_eq!(pair.fan_out.memory(), 0);
    }
}

#[test]
fn late_legs_get_everything_from_the_spool() {
    let whole = random_content(6_000_000);
    let mut pair = Pair::joined(limits(1 << 30), None, &[1_000_000]);
    let late = pair.add(500_000, None);
    pair.send(&whole, READ_BLOCK_BYTES);
    for _ in 0..50 {
        pair.tick();
    }
    let later = pair.add(400_000, Some(100_000));
    pair.connect(late);
    pair.connect(later);
    pair.fan_out.no_more_legs();
    pair.finish();
    for peer in 0..3 {
        pair.assert_has_all(peer, &whole);
    }
    assert!(
        pair.spills > 10 && pair.fetches > 60,
        "{} {}",
        pair.spills,
        pair.fetches
    );
    assert_eq!(pair.fan_out.memory(), 0);
}

#[test]
fn without_a_spool_the_originator_is_held_back() {
    let whole = random_content(4_000_000);
    let mut pair = Pair::joined(limits(0), None, &[60_000, 1_000_000]);
    pair.fan_out.no_more_legs();
    pair.send(&whole, READ_BLOCK_BYTES);
    pair.finish();
    assert!(pair.spills == 0 && pair.most_memory >= MIN_MEMORY_BYTES);
    pair.assert_has_all(0, &whole);
    pair.assert_has_all(1, &whole);
}

#[test]
fn many_slow_legs_share_few_fetches() {
    let whole = random_content(4_000_000);
    let speeds: Vec<usize> = (0..30).map(|i| 20_000 + 9_000 * i).collect();
    let mut pair = Pair::joined(limits(1 << 30), None, &speeds);
    pair.fan_out.no_more_legs();
    pair.send(&whole, READ_BLOCK_BYTES);
    pair.finish();
    for peer in 0..30 {
        pair.assert_has_all(peer, &whole);
    }
}

#[test]
fn stalled_dead_silent_and_refusing_legs_cost_only_themselves() {
    let whole = random_content(3_000_000);
    let mut pair = Pair::joined(
        limits(1 << 30),
        None,
        &[0, 50_000, 300_000, 300_000, 300_000],
    );
    pair.peers[2].answers = false;
    let refusing = pair.peers[3].endpoint.own_uri().clone();
    pair.peers[3].endpoint = Endpoint::new(
        EndpointConfig {
            own: refusing,
            peer: Path::from(uri("cf")),
            accepts: Some(Accepts {
                types: "*".into(),
                max_size: Some(1_000_000),
            }),
            response_timeout: RESPONSE_TIMEOUT,
        },
        fill,
    );
    pair.fan_out.no_more_legs();
    for _ in 0..5 {
        pair.fan_out.handle_content(pair.now, whole.slice(0..1000));
        pair.tick();
    }
    let whole = Bytes::from([&whole[..1000].repeat(5)[..], &whole].concat());
    pair.send(&whole.slice(5000..), READ_BLOCK_BYTES);
    pair.fan_out.handle_disconnected(pair.peers[1].leg);
    pair.finish();
    let state = |peer: usize| pair.fan_out.leg(pair.peers[peer].leg).state;
    assert_eq!(state(0), DeliveryState::Failed(DeliveryFailure::Stalled));
    assert_eq!(
        state(1),
        DeliveryState::Failed(DeliveryFailure::Disconnected)
    );
    assert_eq!(state(2), DeliveryState::Failed(DeliveryFailure::NoResponse));
    assert_eq!(
        state(3),
        DeliveryState::Failed(DeliveryFailure::Refused(Status::STOP_SENDING))
    );
    pair.assert_has_all(4, &whole);
    // The refusing leg was answered in the middle of the chunk, which then ended with `#`.
    assert_eq!(
        pair.peers[3].chunks.last().map(|chunk| chunk.1),
        Some(ContinuationFlag::Aborted)
    );
    assert!(
        pair.peers[3]
            .parser
            .is_between_messages(&pair.peers[3].input)
    );
    assert_eq!(pair.ended.len(), 5);
    assert_eq!(pair.fan_out.memory(), 0);
}

#[test]
fn an_aborted_message_ends_with_the_flag_at_every_point() {
    let whole = random_content(5_000);
    for written in 0..900 {
        let mut pair = Pair::new(limits(0), None);
        let leg = pair.add(0, Some(100));
        let waiting = pair.add(0, None);
        pair.connect(leg);
        let mut slices = [IoSlice::new(&[]); 4];
        let count = pair.fan_out.gather(leg, &mut slices);
        let binding: usize = slices[..count].iter().map(|slice| slice.len()).sum();
        let begun = written > binding;
        pair.fan_out.handle_content(pair.now, whole.clone());
        pair.peers[0].speed = written;
        pair.carry(0);
        pair.fan_out.handle_aborted(pair.now);
        pair.peers[0].speed = 1_000_000;
        pair.finish();
        assert_eq!(pair.fan_out.leg(waiting).state, DeliveryState::Aborted);
        assert_eq!(pair.fan_out.leg(leg).state, DeliveryState::Aborted);
        let peer = &pair.peers[0];
        assert!(peer.parser.is_between_messages(&peer.input), "at {written}");
        assert!(whole.starts_with(&peer.content) && peer.complete.is_none());
        let flags: Vec<_> = peer.chunks.iter().map(|chunk| chunk.1).collect();
        let aborts = flags
            .iter()
            .filter(|flag| **flag == ContinuationFlag::Aborted)
            .count();
        // Nothing of the message has been sent, or the last chunk tells.
        assert_eq!(aborts, usize::from(begun), "at {written}: {flags:?}");
        // The first is that of the empty SEND.
        let last = flags.iter().skip(1).next_back();
        assert_eq!(last, begun.then_some(&ContinuationFlag::Aborted));
        assert_eq!(pair.fan_out.memory(), 0);
    }
}

#[test]
fn a_full_chunk_at_the_end_of_the_message_waits_for_its_flag() {
    let whole = random_content(200);
    let mut pair = Pair::new(limits(0), Some(200));
    let leg = pair.add(100_000, Some(100));
    pair.fan_out.handle_content(pair.now, whole.clone());
    pair.connect(leg);
    pair.tick();
    // Content is available, but an empty SEND binds nevertheless.
    let both = [
        (0, ContinuationFlag::Complete),
        (100, ContinuationFlag::More),
    ];
    assert_eq!(pair.peers[0].chunks, both);
    pair.fan_out.handle_complete(pair.now);
    pair.finish();
    assert_eq!(
        pair.peers[0].chunks[2..],
        [(100, ContinuationFlag::Complete)]
    );
    pair.assert_has_all(0, &whole);
}

#[test]
fn a_message_of_no_bytes_and_an_empty_send() {
    let mut pair = Pair::joined(limits(0), Some(0), &[100_000]);
    pair.tick();
    assert_eq!(
        pair.peers[0].chunks,
        [(0, ContinuationFlag::Complete)],
        "binds the connection"
    );
    assert_eq!(pair.peers[0].complete, None);
    pair.fan_out.handle_complete(pair.now);
    pair.finish();
    pair.assert_has_all(0, &Bytes::new());
}

#[test]
fn a_request_from_the_recipient_is_answered_inside_of_a_long_chunk() {
    let whole = random_content(100_000);
    let mut pair = Pair::joined(limits(0), None, &[10_000]);
    pair.fan_out.handle_content(pair.now, whole.clone());
    pair.tick();
    let request = "MSRP abcd NICKNAME\r\nTo-Path: msrp://cf:2855/session;tcp\r\n\
        From-Path: msrp://peer:2855/session;tcp\r\n-------abcd$\r\n";
    let (mut parser, mut input) = (Parser::new(), BytesMut::from(request));
    while let Some(event) = parser.poll_event(&mut input).unwrap() {
        pair.fan_out
            .handle_leg_event(pair.now, pair.peers[0].leg, event);
    }
    pair.tick();
    // After the empty SEND: the chunk was interrupted, then the response was sent.
    let flags: Vec<_> = pair.peers[0].chunks[1..]
        .iter()
        .map(|chunk| chunk.1)
        .collect();
    assert_eq!(flags, [ContinuationFlag::More, ContinuationFlag::Complete]);
    pair.fan_out.handle_complete(pair.now);
    pair.finish();
    pair.assert_has_all(0, &whole);
}

#[test]
fn a_request_from_the_recipient_is_answered_while_the_sender_rests() {
    let mut pair = Pair::joined(limits(0), None, &[10_000]);
    pair.fan_out.handle_content(pair.now, random_content(5_000));
    for _ in 0..3 {
        pair.tick();
    }
    let (leg, written) = (pair.peers[0].leg, pair.peers[0].content.len());
    assert_eq!((written, pair.fan_out.has_output(leg)), (5_000, false));
    let request = "MSRP abcd NICKNAME\r\nTo-Path: msrp://cf:2855/session;tcp\r\n\
        From-Path: msrp://peer:2855/session;tcp\r\n-------abcd$\r\n";
    let (mut parser, mut input) = (Parser::new(), BytesMut::from(request));
    while let Some(event) = parser.poll_event(&mut input).unwrap() {
        pair.fan_out.handle_leg_event(pair.now, leg, event);
    }
    pair.tick();
    // After the empty SEND: the chunk was ended, then the response was sent.
    assert_eq!(
        pair.peers[0].chunks[1..],
        [
            (5_000, ContinuationFlag::More),
            (0, ContinuationFlag::Complete)
        ]
    );
}

#[test]
fn a_leg_gives_its_connection_to_others() {
    let whole = random_content(300_000);
    let mut pair = Pair::joined(limits(0), Some(300_000), &[40_000]);
    pair.fan_out.handle_content(pair.now, whole.clone());
    // The chunk has its end-line queued, and gives way nevertheless.
    pair.fan_out.handle_complete(pair.now);
    pair.tick();
    let leg = pair.peers[0].leg;
    assert!(!pair.fan_out.is_between_chunks(leg));
    pair.fan_out.pause(leg);
    pair.tick();
    assert!(pair.fan_out.is_between_chunks(leg));
    let chunk = *pair.peers[0].chunks.last().unwrap();
    assert_eq!(chunk.1, ContinuationFlag::More);
    assert!(chunk.0 <= 40_000 + INTERRUPT_BYTES, "{chunk:?}");
    // However long others take, it is not a stall.
    pair.now += 2 * STALL;
    pair.tick();
    assert_eq!(pair.fan_out.leg(leg).state, DeliveryState::Sending);
    pair.fan_out.resume(pair.now, leg);
    pair.finish();
    pair.assert_has_all(0, &whole);
}

#[test]
fn a_leg_waits_connected_for_the_message_to_begin() {
    let mut pair = Pair::new(limits(0), None);
    pair.fan_out = FanOut::new(limits(0), fill);
    let leg = pair.add(10_000, None);
    pair.connect(leg);
    pair.fan_out.handle_content(pair.now, random_content(10));
    pair.fan_out.handle_complete(pair.now);
    pair.tick();
    assert_eq!(pair.fan_out.leg(leg).state, DeliveryState::Sending);
    assert_eq!(pair.fan_out.received(), 0, "no message, no content");
    pair.fan_out.handle_aborted(pair.now);
    pair.tick();
    assert_eq!(pair.fan_out.leg(leg).state, DeliveryState::Aborted);
}

fn patient(spool_bytes: u64) -> Limits {
    Limits {
        stall: 10 * STALL,
        ..limits(spool_bytes)
    }
}

/// A leg that accepts nothing, one that accepts too little, one without connection, and one that
/// has not been added yet.
#[test]
fn without_a_spool_legs_that_hold_the_originator_back_fail_in_time() {
    let whole = random_content(6_000_000);
    for behind in ["stuck", "trickling", "waiting", "ringing"] {
        let mut pair = Pair::joined(patient(0), None, &[1_000_000, 100_000]);
        let last = LegId(2);
        match behind {
            "ringing" => {}
            "waiting" => assert_eq!(pair.add(0, None), last),
            speed => {
                let leg = pair.add(if speed == "stuck" { 0 } else { 100 }, None);
                pair.connect(leg);
            }
        }
        if behind != "ringing" {
            pair.fan_out.no_more_legs();
        }
        let begun = pair.now;
        pair.send(&whole, READ_BLOCK_BYTES);
        assert!(
            pair.now - begun < MAX_HOLD + Duration::from_secs(2),
            "{behind}"
        );
        assert!(pair.longest_hold >= MAX_HOLD && pair.longest_hold <= MAX_HOLD + TICK);
        assert_eq!(pair.notices, 1, "{behind}");
        pair.finish();
        pair.assert_has_all(0, &whole);
        pair.assert_has_all(1, &whole);
        if behind != "ringing" {
            let state = pair.fan_out.leg(last).state;
            assert_eq!(
                state,
                DeliveryState::Failed(DeliveryFailure::Behind),
                "{behind}"
            );
        }
        // A leg added now is too late.
        assert!(!pair.fan_out.open);
        assert_eq!(pair.fan_out.memory(), 0);
    }
}

#[test]
fn of_legs_that_are_behind_only_as_many_fail_as_have_to() {
    let whole = random_content(6_000_000);
    let mut pair = Pair::joined(patient(0), None, &[1_000_000, 0, 1_000_000]);
    pair.fan_out.no_more_legs();
    pair.peers[2].speed = 40_000;
    let mut rest = whole.clone();
    while pair.reading {
        pair.fan_out
            .handle_content(pair.now, rest.split_to(READ_BLOCK_BYTES));
        pair.tick();
    }
    // It has half of the content, and continues slowly.
    pair.peers[2].speed = 100;
    assert!(pair.fan_out.leg(LegId(2)).written > MIN_MEMORY_BYTES as u64 / 3);
    while !pair.reading {
        pair.tick();
    }
    let state = |pair: &Pair, leg| pair.fan_out.leg(LegId(leg)).state;
    assert_eq!(
        state(&pair, 1),
        DeliveryState::Failed(DeliveryFailure::Behind)
    );
    assert_eq!(state(&pair, 2), DeliveryState::Sending);
}

#[test]
fn memory_of_others_holds_no_longer() {
    let mut pair = Pair::joined(patient(0), None, &[1_000_000, 0]);
    pair.fan_out.no_more_legs();
    for _ in 0..4 {
        pair.fan_out
            .handle_content(pair.now, random_content(READ_BLOCK_BYTES));
        pair.tick();
    }
    pair.fan_out.hold_back(pair.now, 2 * READ_BLOCK_BYTES);
    let begun = pair.now;
    while pair.fan_out.memory() > 2 * READ_BLOCK_BYTES {
        assert!(pair.fan_out.is_held_back() && pair.now < begun + 2 * MAX_HOLD);
        pair.tick();
    }
    assert!(pair.now >= begun + MAX_HOLD);
    let behind = DeliveryState::Failed(DeliveryFailure::Behind);
    assert_eq!(pair.ended, [(LegId(1), behind)]);
    pair.fan_out.let_go();
    assert!(!pair.fan_out.is_held_back());
}

#[test]
fn a_full_disk_keeps_what_it_has_and_holds_the_originator_back() {
    let whole = random_content(6_000_000);
    let mut pair = Pair::joined(patient(1 << 30), None, &[1_000_000, 5_000]);
    pair.fan_out.no_more_legs();
    pair.disk_bytes = 2_000_000;
    pair.send(&whole, READ_BLOCK_BYTES);
    pair.finish();
    // The slow one takes the content of the disk at its own pace, and the rest as it arrives;
    // nobody fails.
    pair.assert_has_all(0, &whole);
    pair.assert_has_all(1, &whole);
    assert!(pair.spool.len() > 1_000_000 && pair.spool.len() <= 2_000_000);
    assert!(pair.fetches > 10 && pair.longest_hold > Duration::from_secs(1));
    assert!(pair.longest_hold < MAX_HOLD, "{:?}", pair.longest_hold);
}

#[test]
fn a_full_disk_costs_in_the_end_who_is_behind() {
    let whole = random_content(6_000_000);
    let mut pair = Pair::joined(patient(1 << 30), None, &[1_000_000, 0]);
    pair.fan_out.no_more_legs();
    pair.disk_bytes = 2_000_000;
    pair.send(&whole, READ_BLOCK_BYTES);
    pair.finish();
    pair.assert_has_all(0, &whole);
    let behind = DeliveryState::Failed(DeliveryFailure::Behind);
    assert_eq!(pair.fan_out.leg(LegId(1)).state, behind);
    assert!(pair.longest_hold <= MAX_HOLD + TICK);
}

#[test]
fn a_disk_with_room_again_is_used_again() {
    let whole = random_content(6_000_000);
    let mut pair = Pair::joined(patient(1 << 30), None, &[1_000_000, 0]);
    pair.fan_out.no_more_legs();
    pair.disk_bytes = 0;
    let mut rest = whole.clone();
    while pair.reading {
        pair.fan_out
            .handle_content(pair.now, rest.split_to(READ_BLOCK_BYTES));
        pair.tick();
    }
    for _ in 0..300 {
        pair.tick();
    }
    assert!(pair.fan_out.is_spool_full() && !pair.reading);
    // It was retried once per second, not with each leg's step.
    assert!((2..8).contains(&pair.spills), "{}", pair.spills);
    pair.disk_bytes = usize::MAX;
    pair.send(&rest, READ_BLOCK_BYTES);
    pair.peers[1].speed = 1_000_000;
    pair.finish();
    for peer in 0..2 {
        pair.assert_has_all(peer, &whole);
    }
}

#[test]
fn a_spool_that_cannot_be_read_costs_only_legs_that_need_it() {
    let whole = random_content(6_000_000);
    let mut pair = Pair::joined(limits(1 << 30), None, &[2_000_000, 10_000]);
    pair.fan_out.no_more_legs();
    pair.send(&whole, READ_BLOCK_BYTES);
    pair.readable = false;
    pair.finish();
    pair.assert_has_all(0, &whole);
    let slow = pair.fan_out.leg(pair.peers[1].leg).state;
    assert_eq!(slow, DeliveryState::Failed(DeliveryFailure::SpoolLost));
    assert_eq!(pair.fan_out.memory(), 0);
}

#[test]
fn no_leg_after_the_last_and_one_connection_per_leg() {
    let mut pair = Pair::joined(limits(0), None, &[0]);
    let (now, leg) = (pair.now, pair.peers[0].leg);
    let second = pair
        .fan_out
        .handle_connected(now, leg, ConnectionId(99), Opener::Peer);
    assert_eq!(second, Err(Status::BOUND_ELSEWHERE));
    pair.fan_out.no_more_legs();
    let endpoint = EndpointConfig {
        own: uri("cf"),
        peer: Path::from(uri("peer")),
        accepts: None,
        response_timeout: RESPONSE_TIMEOUT,
    };
    assert_eq!(
        pair.fan_out.add_leg(
            now,
            LegConfig {
                endpoint,
                chunk_bytes: None
            }
        ),
        None
    );
    pair.fan_out.drop_leg(leg);
    assert_eq!(
        pair.fan_out.leg(leg).state,
        DeliveryState::Failed(DeliveryFailure::Dropped)
    );
    assert_eq!(pair.fan_out.poll_action(), Some(FanOutAction::Wake(leg)));
}

/// From the originator's connection to the recipients', every hop as MSRP, the stream cut at
/// random.
#[test]
fn from_end_to_end_in_pieces_of_any_size() {
    let whole = random_content(40_000);
    let accepts = Accepts {
        types: "message/cpim".into(),
        max_size: None,
    };
    let config = |own: &str, peer: &str, accepts| EndpointConfig {
        own: uri(own),
        peer: Path::from(uri(peer)),
        accepts,
        response_timeout: RESPONSE_TIMEOUT,
    };
    let fields = ContentFields {
        content_type: b"message/cpim",
        others: &[],
    };
    let mut originator = Endpoint::new(config("alice", "cf", None), fill);
    let mut stream = Vec::new();
    for (index, content) in whole.chunks(3000).enumerate() {
        let offset = 3000 * index as u64;
        let (id, head) = originator.start_chunk(b"8822", fields, offset, Some(40_000));
        let last = offset + content.len() as u64 == 40_000;
        let flag = if last {
            ContinuationFlag::Complete
        } else {
            ContinuationFlag::More
        };
        let end_line = originator.end_chunk(&id, flag, content.len() as u64);
        stream.extend([&head[..], content, &end_line].concat());
    }
    for round in 0..40 {
        let mut pair = Pair::joined(limits(0), Some(40_000), &[100_000, 3_000]);
        pair.random = Rng::with_seed(round);
        let mut receiver = Endpoint::new(config("cf", "alice", Some(accepts.clone())), fill);
        let (mut parser, mut input) = (Parser::new(), BytesMut::new());
        let mut rest = &stream[..];
        while !rest.is_empty() {
            let some = 1 + pair.random.usize(..rest.len().min(5_000));
            input.extend_from_slice(&rest[..some]);
            rest = &rest[some..];
            while let Some(event) = parser.poll_event(&mut input).unwrap() {
                receiver.handle_event(event);
            }
            while let Some(event) = receiver.poll_event() {
                match event {
                    EndpointEvent::Content(_, content) => {
                        pair.fan_out.handle_content(pair.now, content)
                    }
                    EndpointEvent::Complete(..) => pair.fan_out.handle_complete(pair.now),
                    EndpointEvent::Started(_) => {}
                    other => panic!("{other:?}"),
                }
            }
            pair.tick();
        }
        pair.finish();
        pair.assert_has_all(0, &whole);
        pair.assert_has_all(1, &whole);
        let responses = std::iter::from_fn(|| receiver.poll_frame()).count();
        assert_eq!(responses, whole.chunks(3000).count());
    }
}

/// Legs are added, change their pace, break, and are dropped; the message is completed or
/// abandoned; the spool may fail.
#[test]
fn random_lives_leave_nothing_behind() {
    for seed in 0..25 {
        let mut random = Rng::with_seed(seed);
        let whole = random_content(2_500_000);
        let spool = [0, 1_000_000, 1 << 30][random.usize(..3)];
        let mut pair = Pair::new(limits(spool), (seed % 2 == 0).then_some(2_500_000));
        let (mut rest, mut aborted) = (whole.clone(), false);
        for _ in 0..150 {
            match random.usize(..12) {
                0..=1 if pair.peers.len() < 12 => {
                    let chunk = [None, Some(2_000), Some(9_999), Some(50_000)][random.usize(..4)];
                    pair.add(300_000, chunk);
                }
                2 if !pair.peers.is_empty() => {
                    let leg = LegId(random.usize(..pair.peers.len()));
                    pair.connect(leg);
                }
                3 if !pair.peers.is_empty() => {
                    let peer = random.usize(..pair.peers.len());
                    pair.peers[peer].speed = [0, 1_000, 100_000, 1_000_000][random.usize(..4)];
                }
                4 if !pair.peers.is_empty() && random.usize(..4) == 0 => {
                    let leg = LegId(random.usize(..pair.peers.len()));
                    match random.usize(..2) {
                        0 => pair.fan_out.handle_disconnected(leg),
                        _ => pair.fan_out.drop_leg(leg),
                    }
                }
                5 if random.usize(..20) == 0 => {
                    pair.disk_bytes = [0, 1_000_000, usize::MAX][random.usize(..3)];
                }
                5 if random.usize(..40) == 0 => pair.readable = false,
                6 if random.usize(..30) == 0 => {
                    aborted |= !rest.is_empty();
                    pair.fan_out.handle_aborted(pair.now);
                }
                _ => {
                    if pair.reading && !rest.is_empty() && !aborted {
                        let some = 1 + random.usize(..rest.len().min(READ_BLOCK_BYTES));
                        pair.fan_out.handle_content(pair.now, rest.split_to(some));
                    }
                }
            }
            pair.tick();
        }
        pair.fan_out.no_more_legs();
        for leg in 0..pair.peers.len() {
            if pair.fan_out.leg(LegId(leg)).state == DeliveryState::Waiting {
                pair.fan_out.drop_leg(LegId(leg));
            }
        }
        if !aborted {
            pair.send(&rest, READ_BLOCK_BYTES);
        }
        pair.finish();
        for (index, peer) in pair.peers.iter().enumerate() {
            assert!(whole.starts_with(&peer.content), "seed {seed}, leg {index}");
            if pair.fan_out.leg(peer.leg).state == DeliveryState::Delivered {
                pair.assert_has_all(index, &whole);
            }
        }
        let ended = pair.peers.iter().filter(|peer| {
            pair.ended
                .iter()
                .filter(|(leg, _)| *leg == peer.leg)
                .count()
                == 1
        });
        assert_eq!(
            ended.count(),
            pair.peers.len(),
            "each leg ends once, seed {seed}"
        );
        assert_eq!(pair.fan_out.memory(), 0, "seed {seed}");
    }
}

#[test]
fn unanswered_chunks_are_bounded() {
    let whole = random_content(2 * MAX_UNANSWERED);
    let mut pair = Pair::new(limits(0), None);
    for answers in [false, true] {
        pair.fan_out
            .handle_content(pair.now, whole.slice(..whole.len() / 2));
        let leg = pair.add(1_000_000, Some(1));
        pair.connect(leg);
        pair.peers[leg.0].answers = answers;
    }
    for _ in 0..20 {
        pair.tick();
    }
    assert_eq!(pair.peers[0].chunks.len(), MAX_UNANSWERED);
    assert_eq!(pair.peers[1].content.len(), whole.len());
    pair.fan_out.handle_complete(pair.now);
    pair.finish();
    let silent = pair.fan_out.leg(pair.peers[0].leg).state;
    assert_eq!(silent, DeliveryState::Failed(DeliveryFailure::NoResponse));
    assert_eq!(
        pair.fan_out.leg(pair.peers[1].leg).state,
        DeliveryState::Delivered
    );
}

#[test]
fn less_memory_moves_content_to_the_spool() {
    let mut pair = Pair::new(
        Limits {
            memory_bytes: 8 << 20,
            ..limits(1 << 30)
        },
        None,
    );
    for _ in 0..64 {
        pair.fan_out
            .handle_content(pair.now, random_content(READ_BLOCK_BYTES));
        pair.tick();
    }
    assert_eq!((pair.fan_out.memory(), pair.spills), (4 << 20, 0));
    pair.bound = usize::MAX;
    let now = pair.now;
    pair.fan_out.set_limits(now, limits(1 << 30));
    for _ in 0..64 {
        pair.tick();
    }
    assert!(pair.fan_out.memory() <= MIN_MEMORY_BYTES && pair.reading);
}

/// Arbitrary input of a peer: no panic, no memory beyond the bound, and each leg ends at most once.
#[test]
fn mutated_input_never_panics() {
    let whole = random_content(3_000);
    let mut random = Rng::with_seed(21);
    let pieces = [
        "MSRP abcd SEND\r\n",
        "MSRP abcd REPORT\r\n",
        "MSRP abcd 200 OK\r\n",
        "MSRP abcd 413\r\n",
        "MSRP abcd AUTH\r\n",
        "To-Path: msrp://cf:2855/session;tcp\r\n",
        "From-Path: msrp://peer:2855/session;tcp\r\n",
        "Message-ID: 8822\r\n",
        "Message-ID: 9\r\n",
        "Byte-Range: 1-*/3000\r\n",
        "Byte-Range: 900-1000/*\r\n",
        "Byte-Range: 18446744073709551615-*/*\r\n",
        "Status: 000 408 x\r\n",
        "Success-Report: yes\r\n",
        "Failure-Report: partial\r\n",
        "Content-Type: message/cpim\r\n\r\n",
        "content\r\n",
        "\r\n",
        "-------abcd$\r\n",
        "-------abcd+\r\n",
        "-------abcd#\r\n",
    ];
    for _ in 0..10_000 {
        let mut stream = String::from(pieces[random.usize(..5)]);
        stream += pieces[5];
        stream += pieces[6];
        for _ in 0..random.usize(..12) {
            stream += pieces[random.usize(..pieces.len())];
        }
        let accepts = Accepts {
            types: "message/cpim".into(),
            max_size: Some(2_000),
        };
        let config = EndpointConfig {
            own: uri("cf"),
            peer: Path::from(uri("peer")),
            accepts: Some(accepts),
            response_timeout: RESPONSE_TIMEOUT,
        };
        let mut receiver = Endpoint::new(config, fill);
        let mut pair = Pair::joined(limits(0), None, &[500]);
        pair.fan_out.handle_content(pair.now, whole.clone());
        pair.carry(0);
        let leg = pair.peers[0].leg;
        let (mut parser, mut input) = (Parser::new(), BytesMut::from(stream.as_bytes()));
        while let Ok(Some(event)) = parser.poll_event(&mut input) {
            receiver.handle_event(event.clone());
            pair.fan_out.handle_leg_event(pair.now, leg, event);
        }
        pair.tick();
        let received: usize = std::iter::from_fn(|| receiver.poll_event())
            .map(|event| match event {
                EndpointEvent::Content(_, content) => content.len(),
                _ => 0,
            })
            .sum();
        assert!(received <= 2_000 * MAX_OPEN_MESSAGES && pair.ended.len() <= 1);
    }
}
