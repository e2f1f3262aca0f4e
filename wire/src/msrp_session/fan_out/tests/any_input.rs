//! Input of any kind and in any order.

use super::*;

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
