//! What a leg does with its connection.

use super::*;

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
