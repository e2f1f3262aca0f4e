use std::collections::VecDeque;
use std::io::IoSlice;
use std::ops::Range;

use bytes::{Bytes, BytesMut};

/// Maximum length of a segment, and the size of the page that collects short pieces.
pub(super) const SEGMENT_BYTES: usize = 64 * 1024;
/// Content in pieces shorter than this is copied into a page: a slice would keep a whole read block
/// alive, and many short slices cost each leg more than one copy does.
const SLICE_BYTES: usize = 32 * 1024;
/// Maximum length written to the spool at once, if that much is contiguous.
const SPILL_BYTES: usize = 256 * 1024;

/// Content of one message that legs still need, stored once for all of them: a queue of segments
/// without gaps, then a page that is still being filled.
///
/// ```text
///            evict              spilled            evict
///  Memory ---------> Spilling ---------> Both -----------> Spool
///     ^                 | not written     ^                  | fetch      ^ not read
///     +-----------------+                 +---- Fetching <---+            |
///                                                   +---------------------+
/// ```
#[derive(Debug, Default)]
pub(super) struct Content {
    segments: VecDeque<Segment>,
    page: BytesMut,
    page_start: u64,
    /// Bytes of all segments in memory.
    memory: usize,
    /// Bytes ever passed to the spool. Bytes that nobody needs any more still count, since a file
    /// does not shrink.
    spooled: u64,
    /// Bytes being written to the spool.
    spilling: Option<u64>,
}

#[derive(Debug)]
struct Segment {
    start: u64,
    len: usize,
    place: Place,
}

#[derive(Debug, Clone)]
enum Place {
    Memory(Bytes),
    Spilling(Bytes),
    Both(Bytes),
    Fetching,
    Spool,
}

impl Segment {
    fn end(&self) -> u64 {
        self.start + self.len as u64
    }

    fn bytes(&self) -> Option<&Bytes> {
        match &self.place {
            Place::Memory(bytes) | Place::Spilling(bytes) | Place::Both(bytes) => Some(bytes),
            Place::Fetching | Place::Spool => None,
        }
    }
}

/// Where the content at an offset is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Whereabouts {
    /// In memory, or not received yet.
    Here,
    /// Already requested from the spool; the segment starts at this offset.
    Fetching(u64),
    /// Must be requested from the spool; the segment.
    Spool(Range<u64>),
}

impl Content {
    /// A message of this length, all of it in the spool.
    pub(super) fn stored(len: u64) -> Self {
        let starts = (0..len).step_by(SEGMENT_BYTES);
        let segment = |start| Segment {
            start,
            len: (len - start).min(SEGMENT_BYTES as u64) as usize,
            place: Place::Spool,
        };
        Content {
            segments: starts.map(segment).collect(),
            page_start: len,
            ..Content::default()
        }
    }

    /// Bytes of the message received so far.
    pub(super) fn end(&self) -> u64 {
        self.page_start + self.page.len() as u64
    }

    /// Bytes held in memory; an open page counts as full.
    pub(super) fn memory(&self) -> usize {
        self.memory
            + if self.page.is_empty() {
                0
            } else {
                SEGMENT_BYTES
            }
    }

    pub(super) fn push(&mut self, mut content: Bytes) {
        while content.len() >= SLICE_BYTES {
            self.close_page();
            let len = content.len().min(SEGMENT_BYTES);
            self.push_segment(content.split_to(len));
        }
        while !content.is_empty() {
            if self.page.capacity() == 0 {
                self.page.reserve(SEGMENT_BYTES);
            }
            let room = SEGMENT_BYTES - self.page.len();
            let piece = content.split_to(content.len().min(room));
            self.page.extend_from_slice(&piece);
            if self.page.len() == SEGMENT_BYTES {
                self.close_page();
            }
        }
    }

    /// Writes the longest run of bytes from `from` on, up to `to`, to `out`; stops where a segment
    /// is not in memory. Returns the number of slices filled, and whether they reach `to`.
    pub(super) fn slices<'a>(
        &'a self,
        from: u64,
        to: u64,
        out: &mut [IoSlice<'a>],
    ) -> (usize, bool) {
        let (mut at, mut count) = (from, 0);
        let mut index = self.index_of(from);
        while at < to {
            let (start, bytes) = match self.segments.get(index) {
                Some(segment) => match segment.bytes() {
                    Some(bytes) => (segment.start, &bytes[..]),
                    None => return (count, false),
                },
                None => (self.page_start, &self.page[..]),
            };
            let Some(slot) = out.get_mut(count) else {
                return (count, false);
            };
            // `index_of` found the segment that holds `at`, and the next one starts where it ends.
            let slice = &bytes[(at - start) as usize..];
            let slice = &slice[..slice.len().min((to - at) as usize)];
            if slice.is_empty() {
                return (count, false);
            }
            *slot = IoSlice::new(slice);
            at += slice.len() as u64;
            count += 1;
            index += 1;
        }
        (count, true)
    }

    pub(super) fn whereabouts(&self, offset: u64) -> Whereabouts {
        match self.segments.get(self.index_of(offset)) {
            Some(Segment {
                place: Place::Fetching,
                start,
                ..
            }) => Whereabouts::Fetching(*start),
            Some(
                segment @ Segment {
                    place: Place::Spool,
                    ..
                },
            ) => Whereabouts::Spool(segment.start..segment.end()),
            _ => Whereabouts::Here,
        }
    }

    /// The segment at `offset` has been requested from the spool.
    pub(super) fn fetching(&mut self, offset: u64) {
        let index = self.index_of(offset);
        if let Some(segment) = self.segments.get_mut(index)
            && matches!(segment.place, Place::Spool)
        {
            segment.place = Place::Fetching;
        }
    }

    /// The spool returns a segment. False if it was not requested; a segment that nobody needs any
    /// more is fine.
    pub(super) fn fetched(&mut self, offset: u64, content: Bytes) -> bool {
        let index = self.index_of(offset);
        let Some(segment) = self.segments.get_mut(index) else {
            return true;
        };
        if !matches!(segment.place, Place::Fetching) || segment.start != offset {
            return true;
        }
        if segment.len != content.len() {
            return false;
        }
        self.memory += segment.len;
        segment.place = Place::Both(content);
        true
    }

    /// The spilled segments are in the spool.
    pub(super) fn spilled(&mut self) {
        self.spilling = None;
        self.replace_places(|place| match place {
            Place::Spilling(bytes) => Place::Both(bytes),
            other => other,
        });
    }

    /// The spilled segments could not be written to the spool: they stay in memory.
    pub(super) fn not_spilled(&mut self) {
        self.spooled -= self.spilling.take().unwrap_or(0);
        self.replace_places(|place| match place {
            Place::Spilling(bytes) => Place::Memory(bytes),
            other => other,
        });
    }

    /// The spool cannot return the segment at `offset`.
    pub(super) fn not_fetched(&mut self, offset: u64) {
        let index = self.index_of(offset);
        if let Some(segment) = self.segments.get_mut(index)
            && matches!(segment.place, Place::Fetching)
        {
            segment.place = Place::Spool;
        }
    }

    /// Bytes that would remain in memory if nobody needed the content before `needed`.
    pub(super) fn memory_from(&self, needed: u64) -> usize {
        let before = self.segments.range(..self.index_of(needed));
        let freed: usize = before.filter_map(Segment::bytes).map(Bytes::len).sum();
        match needed >= self.end() {
            true => 0,
            false => self.memory() - freed,
        }
    }

    /// Drops the content before `needed`.
    pub(super) fn release(&mut self, needed: u64) {
        while let Some(first) = self.segments.front().filter(|first| first.end() <= needed) {
            self.memory -= first.bytes().map_or(0, Bytes::len);
            self.segments.pop_front();
        }
        if self.segments.is_empty() && needed >= self.end() {
            self.page_start = self.end();
            self.page.clear();
        }
    }

    /// End of the first segment: a leg that passes this point may free it.
    pub(super) fn first_end(&self) -> u64 {
        self.segments.front().map_or(self.end(), Segment::end)
    }

    /// Drops from memory segments that are also in the spool, until at most `target` bytes are
    /// left. If that is not enough, returns segments to write to the spool, of which at most
    /// `spool_limit` bytes may be used in total.
    ///
    /// The segment that is needed last goes first: the one furthest ahead of any leg behind it.
    /// `positions` are those of the legs being sent to, in ascending order; `awaited` are the
    /// segments that legs have just requested, which stay.
    /// are the segments that legs have just asked for, which stay.
    pub(super) fn evict(
        &mut self,
        target: usize,
        spool_limit: u64,
        positions: &[u64],
        awaited: &[u64],
    ) -> Option<(u64, Vec<Bytes>)> {
        while self.memory() > target {
            let room = spool_limit.saturating_sub(self.spooled);
            let distance = |segment: &Segment| {
                let behind = positions.partition_point(|&position| position < segment.end());
                // With no leg behind, only future legs can need it.
                behind.checked_sub(1).map_or(u64::MAX, |nearest| {
                    segment.start.saturating_sub(positions[nearest])
                })
            };
            let may_go = |segment: &Segment| match segment.place {
                Place::Both(_) => !awaited.contains(&segment.start),
                Place::Memory(_) => self.spilling.is_none() && segment.len as u64 <= room,
                Place::Spilling(_) | Place::Fetching | Place::Spool => false,
            };
            let candidates = self
                .segments
                .iter()
                .enumerate()
                .filter(|(_, segment)| may_go(segment));
            // Segments that are already in the spool cost nothing to drop, unless a leg is in the
            // middle of one.
            let (index, _) = candidates.max_by_key(|(_, segment)| {
                let distance = distance(segment);
                (
                    distance > 0 && matches!(segment.place, Place::Both(_)),
                    distance,
                )
            })?;
            let segment = &mut self.segments[index];
            if let Place::Both(_) = segment.place {
                segment.place = Place::Spool;
                self.memory -= segment.len;
                continue;
            }
            return Some(self.spill_around(index, room.min(SPILL_BYTES as u64)));
        }
        None
    }

    /// The first segments that are not in the spool, to be written to it, unless some are being
    /// written.
    pub(super) fn write_on(&mut self) -> Option<(u64, Vec<Bytes>)> {
        if self.spilling.is_some() {
            return None;
        }
        let mut segments = self.segments.iter();
        let first = segments.position(|segment| matches!(segment.place, Place::Memory(_)))?;
        Some(self.spill_around(first, SPILL_BYTES as u64))
    }

    /// Everything before this is in the spool.
    pub(super) fn written(&self) -> u64 {
        let mut segments = self.segments.iter();
        let first =
            segments.find(|segment| matches!(segment.place, Place::Memory(_) | Place::Spilling(_)));
        first.map_or(self.page_start, |segment| segment.start)
    }

    /// Starts to spill the segment at `index` and its neighbours in memory, up to `room` bytes.
    fn spill_around(&mut self, index: usize, room: u64) -> (u64, Vec<Bytes>) {
        let in_memory = |i: usize| match self.segments.get(i) {
            Some(Segment {
                place: Place::Memory(_),
                len,
                ..
            }) => Some(*len as u64),
            _ => None,
        };
        let mut run = index..index + 1;
        let mut total = self.segments[index].len as u64;
        // Backwards first: the preceding segment would be next.
        while let Some(len) = run
            .start
            .checked_sub(1)
            .and_then(in_memory)
            .filter(|len| total + len <= room)
        {
            total += len;
            run.start -= 1;
        }
        while let Some(len) = in_memory(run.end).filter(|len| total + len <= room) {
            total += len;
            run.end += 1;
        }
        let start = self.segments[run.start].start;
        let mut pieces = Vec::with_capacity(run.len());
        for segment in self.segments.range_mut(run) {
            if let Place::Memory(bytes) = &segment.place {
                pieces.push(bytes.clone());
                segment.place = Place::Spilling(bytes.clone());
            }
        }
        self.spooled += total;
        self.spilling = Some(total);
        (start, pieces)
    }

    /// No more is added to the page.
    pub(super) fn close_page(&mut self) {
        if self.page.is_empty() {
            return;
        }
        // A short page is copied, so that it does not occupy the space of a full one.
        let bytes = if self.page.len() < SLICE_BYTES {
            let bytes = Bytes::copy_from_slice(&self.page);
            self.page.clear();
            bytes
        } else {
            std::mem::take(&mut self.page).freeze()
        };
        self.push_segment(bytes);
    }

    /// The page must be empty.
    fn push_segment(&mut self, bytes: Bytes) {
        let (start, len) = (self.page_start, bytes.len());
        self.page_start += len as u64;
        self.memory += len;
        self.segments.push_back(Segment {
            start,
            len,
            place: Place::Memory(bytes),
        });
    }

    /// Index of the segment that contains `offset`; that of the page if none does.
    fn index_of(&self, offset: u64) -> usize {
        self.segments
            .partition_point(|segment| segment.end() <= offset)
    }

    fn replace_places(&mut self, mut change: impl FnMut(Place) -> Place) {
        for segment in &mut self.segments {
            let place = std::mem::replace(&mut segment.place, Place::Spool);
            segment.place = change(place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fastrand::Rng;

    use crate::test_random::random_bytes;

    fn read(content: &Content, from: u64) -> Vec<u8> {
        let mut slices = [IoSlice::new(&[]); 64];
        let (count, _) = content.slices(from, content.end(), &mut slices);
        slices[..count]
            .iter()
            .flat_map(|slice| slice.iter().copied())
            .collect()
    }

    #[test]
    fn pieces_of_any_size_come_out_as_they_went_in() {
        let mut random = Rng::with_seed(4);
        let (mut content, mut whole) = (Content::default(), Vec::new());
        for _ in 0..60 {
            let len = [1, 1000, SLICE_BYTES - 1, SLICE_BYTES, 3 * SEGMENT_BYTES][random.usize(..5)];
            let piece = random_bytes(&mut random, len);
            whole.extend_from_slice(&piece);
            content.push(Bytes::from(piece));
            assert_eq!(content.end(), whole.len() as u64);
            // Two neighbours always have enough bytes together: small pieces do not make small
            // segments.
            let pairs = content.segments.iter().zip(content.segments.iter().skip(1));
            assert!(pairs.into_iter().all(|(a, b)| a.len + b.len >= SLICE_BYTES));
            let from = random.usize(..whole.len());
            let got = read(&content, from as u64);
            assert_eq!(got, whole[from..from + got.len()]);
            assert!(!got.is_empty());
        }
    }

    #[test]
    fn what_is_needed_last_goes_first_and_comes_back() {
        let mut content = Content::default();
        let whole = random_bytes(&mut Rng::with_seed(8), 16 * SEGMENT_BYTES);
        content.push(Bytes::from(whole.clone()));
        let segment = SEGMENT_BYTES as u64;
        // Legs in segment 0 and in segment 10: 9 is further from the leg behind it than 15 is.
        let positions = [5, 10 * segment + 7];
        let (start, pieces) = content
            .evict(8 * SEGMENT_BYTES, u64::MAX, &positions, &[])
            .unwrap();
        assert!(start <= 9 * segment && 10 * segment <= start + (pieces.len() as u64) * segment);
        assert_eq!(pieces.concat().len(), SPILL_BYTES);
        assert_eq!(
            content.memory(),
            16 * SEGMENT_BYTES,
            "in memory until it is safe"
        );
        assert_eq!(
            content.evict(8 * SEGMENT_BYTES, u64::MAX, &positions, &[]),
            None
        );
        content.spilled();
        let second = content.evict(8 * SEGMENT_BYTES, u64::MAX, &positions, &[]);
        assert_eq!(content.memory(), 12 * SEGMENT_BYTES);
        assert!(second.is_some());

        let Whereabouts::Spool(range) = content.whereabouts(9 * segment + 3) else {
            panic!()
        };
        assert_eq!(range, 9 * segment..10 * segment);
        assert_eq!(read(&content, range.start), b"");
        content.fetching(range.start);
        assert_eq!(
            content.whereabouts(range.start),
            Whereabouts::Fetching(range.start)
        );
        assert!(!content.fetched(range.start, Bytes::new()));
        let bytes = &whole[range.start as usize..range.end as usize];
        assert!(content.fetched(range.start, Bytes::copy_from_slice(bytes)));
        assert_eq!(read(&content, range.start)[..bytes.len()], *bytes);

        content.release(content.end());
        assert_eq!((content.memory(), content.segments.len()), (0, 0));
    }

    #[test]
    fn what_the_spool_does_not_take_stays_in_memory() {
        let mut content = Content::default();
        let whole = random_bytes(&mut Rng::with_seed(9), 8 * SEGMENT_BYTES);
        content.push(Bytes::from(whole.clone()));
        let (start, pieces) = content.evict(0, u64::MAX, &[], &[]).unwrap();
        content.not_spilled();
        assert_eq!((content.memory(), content.spooled), (whole.len(), 0));
        assert_eq!(read(&content, 0), whole);
        // The same again, and then it is not read back.
        assert_eq!(
            content.evict(0, u64::MAX, &[], &[]),
            Some((start, pieces.clone()))
        );
        content.spilled();
        assert!(content.evict(0, 0, &[], &[]).is_none());
        assert_eq!(content.memory(), whole.len() - pieces.concat().len());
        content.fetching(start);
        content.not_fetched(start);
        let range = start..start + SEGMENT_BYTES as u64;
        assert_eq!(content.whereabouts(start), Whereabouts::Spool(range));
    }

    #[test]
    fn how_much_would_be_left() {
        let mut content = Content::default();
        content.push(Bytes::from(vec![1; 4 * SEGMENT_BYTES + 10]));
        let segment = SEGMENT_BYTES as u64;
        for (needed, left) in [
            (0, 5),
            (segment - 1, 5),
            (segment, 4),
            (4 * segment, 1),
            (4 * segment + 10, 0),
        ] {
            assert_eq!(content.memory_from(needed), left * SEGMENT_BYTES);
        }
        content.release(2 * segment);
        assert_eq!(content.memory_from(2 * segment), content.memory());
    }

    #[test]
    fn a_full_spool_takes_nothing_more() {
        let mut content = Content::default();
        content.push(Bytes::from(vec![1; 4 * SEGMENT_BYTES]));
        let limit = SEGMENT_BYTES as u64;
        assert_eq!(content.evict(0, limit, &[], &[]).unwrap().1.len(), 1);
        content.spilled();
        assert_eq!(content.evict(0, limit, &[], &[]), None);
        assert_eq!(content.memory(), 3 * SEGMENT_BYTES);
    }
}
