use bytes::BytesMut;
use fastrand::Rng;

use super::leg::INTERRUPT_BYTES;
use super::*;
use crate::msrp::{ContentFields, MsrpUri, Parser, Path};
use crate::msrp_session::{
    Accepts, EndpointConfig, MAX_HOLD, MAX_OPEN_MESSAGES, READ_BLOCK_BYTES, RESPONSE_TIMEOUT,
};
use crate::test_random::{fill, random_bytes};

mod any_input;
mod connections;
mod room;

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
    is_written: bool,
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
            is_written: false,
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
                FanOutAction::Written => self.is_written = true,
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

/// Written through, all content is in the spool before the message is complete, and a fan-out of
/// what is there sends the same.
#[test]
fn content_is_written_through_and_sent_from_there() {
    let whole = random_content(3_000_000);
    let mut pair = Pair::new(limits(u64::MAX), Some(whole.len() as u64));
    pair.fan_out.write_through();
    for speed in [usize::MAX, 20_000, 0] {
        let leg = pair.add(speed, None);
        pair.connect(leg);
    }
    let mut rest = whole.clone();
    while !rest.is_empty() {
        if pair.reading {
            let some = rest.len().min(10_000);
            pair.fan_out.handle_content(pair.now, rest.split_to(some));
        }
        pair.tick();
    }
    pair.fan_out.handle_last_content();
    while !pair.is_written {
        assert!(pair.fan_out.is_all_here());
        pair.tick();
    }
    assert!(pair.spool[..] == whole[..], "other content in the spool");
    assert!(pair.peers.iter().all(|peer| peer.complete.is_none()));
    pair.fan_out.no_more_legs();
    pair.fan_out.handle_complete(pair.now);
    pair.peers[2].speed = 100_000;
    pair.finish();
    for peer in 0..3 {
        pair.assert_has_all(peer, &whole);
    }
    let (message, spool) = (pair.fan_out.message().unwrap().clone(), pair.spool);
    let mut pair = Pair::new(limits(u64::MAX), None);
    pair.fan_out = FanOut::stored(limits(u64::MAX), fill, message, whole.len() as u64);
    pair.spool = spool;
    for speed in [usize::MAX, 50_000] {
        let leg = pair.add(speed, None);
        pair.connect(leg);
    }
    pair.fan_out.no_more_legs();
    pair.finish();
    pair.assert_has_all(0, &whole);
    pair.assert_has_all(1, &whole);
    assert_eq!((pair.spills, pair.fan_out.memory()), (0, 0));
}
