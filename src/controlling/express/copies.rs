//! Which copies of a block may be sent, and their text.

use super::block::{Block, Leg, Lengths, Message, Place};
use super::branch::{self, Branch};
use super::outbox::{Batch, Transport};
use super::timers::Progress;

/// Copies of one block that may be unanswered for less than T1 at a time: as many as the receive
/// buffer of a typical system holds (RFC 3428 section 8). For a long list it is one 32nd of it, so
/// that all copies have been sent after 32*T1 even if nobody answers.
pub(super) const WINDOW: u64 = 64;

/// Maximum padding that makes a copy as long as its neighbours.
const MAX_PADDING_BYTES: usize = 128;

/// The window of a block, in copies.
fn window(block: Block<'_>) -> u64 {
    WINDOW.max(block.legs() / 32)
}

/// Whether copies are waiting, and enough of the window is free that it is worth sending some.
pub(super) fn has_room(block: Block<'_>) -> bool {
    block.waiting() > 0 && block.fresh() <= window(block) / 2
}

/// Sends waiting copies, as far as the window allows. Must be called under the block's lock.
pub(super) fn refill(
    block: Block<'_>,
    message: &Message,
    (secret, now_ms): (u64, u64),
    room: &mut Vec<u8>,
) -> Batch {
    let mut left = window(block).saturating_sub(block.fresh());
    let mut places = Vec::with_capacity(left.min(block.waiting()) as usize);
    let sent = Progress::sent(now_ms, &message.timers);
    let mut next = block.cursor();
    while let Some(cell) = next.filter(|_| left > 0 && block.waiting() > 0) {
        left -= block.send_waiting_of(cell, left, sent, &mut places);
        if left > 0 {
            next = block.next_cell(cell);
            block.set_cursor(next);
        }
    }
    write_batch(block, message, &places, secret, room)
}

/// Writes copies, padding those to one destination to the same length if that costs little.
pub(super) fn write_batch(
    block: Block<'_>,
    message: &Message,
    places: &[Place],
    secret: u64,
    room: &mut Vec<u8>,
) -> Batch {
    let mut batch = Batch {
        transport: message.transport,
        socket: message.socket,
        ..Batch::default()
    };
    if places.is_empty() {
        return batch;
    }
    let mut longest = 0;
    let mut lengths = Vec::with_capacity(places.len());
    for place in places {
        let length = head_length(message, block.lengths(*place));
        longest = longest.max(length);
        lengths.push(length);
    }
    let is_padded = message.transport == Transport::Udp
        && places.len() > 1
        && longest + message.tail.len() <= message.max_datagram_bytes as usize;
    batch
        .texts
        .reserve(places.len() * (longest + message.tail.len()));
    batch.copies.reserve(places.len());
    batch.places.reserve(places.len());
    for (place, length) in places.iter().zip(lengths) {
        let Some(leg) = block.leg(*place, room) else {
            continue;
        };
        let padding = Some(longest - length).filter(|n| is_padded && *n <= MAX_PADDING_BYTES);
        let padding = padding.unwrap_or(0);
        write_head(message, &leg, (*place, secret), padding, &mut batch.texts);
        batch.texts.extend_from_slice(&message.tail);
        batch.copies.push((batch.texts.len(), leg.address));
        batch.places.push((place.bits(), leg.key));
    }
    batch
}

/// Length of the result of [`write_head`] without padding, for a leg with texts of these lengths.
fn head_length(message: &Message, leg: Lengths) -> usize {
    const LINES: &str =
        "MESSAGE  SIP/2.0\r\nTo: \r\nFrom: ;tag=\r\nCSeq:  MESSAGE\r\nCall-ID: \r\n";
    let to = match leg.to {
        0 => leg.uri + 2,
        own => own,
    };
    let via = message.via[0].len() + branch::BYTES + message.via[1].len();
    let cseq = 1 + message.cseq.checked_ilog10().unwrap_or(0) as usize + 1;
    let texts = leg.uri + to + leg.call_id + leg.tag + message.from.len();
    LINES.len() - 1 + via + cseq + texts
}

/// Writes the head of a copy (RFC 3261 8.1.1), up to Call-ID. Padding is spaces before the value of
/// CSeq, which have no meaning (25.1 HCOLON).
pub(super) fn write_head(
    message: &Message,
    leg: &Leg<'_>,
    (place, secret): (Place, u64),
    padding: usize,
    to: &mut Vec<u8>,
) {
    fn put(to: &mut Vec<u8>, parts: &[&[u8]]) {
        parts.iter().for_each(|part| to.extend_from_slice(part));
    }
    put(
        to,
        &[b"MESSAGE ", leg.uri, b" SIP/2.0\r\n", &message.via[0]],
    );
    let branch = Branch {
        place: place.bits(),
        key: leg.key,
    };
    branch.write(secret, to);
    put(to, &[&message.via[1]]);
    match leg.to {
        Some(own) => put(to, &[b"To: ", own]),
        None => put(to, &[b"To: <", leg.uri, b">"]),
    }
    put(to, &[b"\r\nFrom: ", &message.from, b";tag=", leg.tag]);
    put(to, &[b"\r\nCSeq: "]);
    to.resize(to.len() + padding, b' ');
    match message.cseq {
        1 => put(to, &[b"1 MESSAGE\r\nCall-ID: "]),
        cseq => put(to, &[cseq.to_string().as_bytes(), b" MESSAGE\r\nCall-ID: "]),
    }
    put(to, &[leg.call_id, b"\r\n"]);
}
