//! The store's data of a message, complete or torn: its copies end, and nothing of it is left; and
//! answers of the server of a shared store.

use std::collections::BTreeSet;

use bytes::Bytes;
use cpm::controlling::{FanOutJob, RECORD_VERSION};
use cpm::store::redis_values::{arrivals, kept, name_of_last};
use cpm::store::{CopyId, Ledger};

const ID: u64 = 7;
const NOW_MS: u64 = 1_000;
const EXPIRES_MS: u64 = 10_000_000;
const OWN_TOKEN: u64 = 1;
const OTHER_TOKEN: u64 = 2;

/// One byte tells how much of the rest describes recipients that have ended; then follows the
/// record, or the job from which it is made.
pub fn store(data: &[u8]) {
    let Some((&first, rest)) = data.split_first() else {
        return;
    };
    let (ended, record) = rest.split_at(usize::from(first).min(rest.len()));
    let record = Bytes::copy_from_slice(record);
    let record = FanOutJob::record_in(&record).map_or(record, |(record, _)| record);
    let Some(mut job) = FanOutJob::of_record(RECORD_VERSION, record) else {
        return;
    };
    let copies: Vec<CopyId> = job.copies().collect();
    let (again, _) = FanOutJob::record_in(&job.write().into()).expect("what we wrote");
    let again = FanOutJob::of_record(RECORD_VERSION, again).expect("what we wrote");
    assert!(again.copies().eq(copies.iter().copied()), "other copies");
    assert_eq!(again.lifetime_s(), job.lifetime_s());

    let distinct: BTreeSet<&CopyId> = copies.iter().collect();
    if distinct.len() < copies.len() {
        return;
    }
    let mut ledger = Ledger::default();
    ledger.restore(ID, copies.iter().copied(), ended, EXPIRES_MS, NOW_MS);
    let left = ledger.left(ID, NOW_MS);
    assert_eq!(left, ledger.outstanding());
    let wanted = ledger.wanted(ID, copies.iter().copied(), NOW_MS);
    let mut turns = 0;
    while ledger.take_due(NOW_MS).is_some() {
        turns += 1;
        assert!(turns < 3, "due again at once");
        for (copy, _) in copies
            .iter()
            .zip(&wanted)
            .filter(|(_, wanted)| wanted.is_some())
        {
            ledger.sent(ID, *copy, NOW_MS);
        }
    }
    assert_eq!(wanted.iter().flatten().count(), left);
    job.keep_only(&wanted, None);
    assert!(
        job.copies().eq(copies
            .iter()
            .zip(&wanted)
            .filter(|(_, wanted)| wanted.is_some())
            .map(|(copy, _)| *copy))
    );
    for copy in job.copies() {
        assert!(
            ledger.ended(copy, 200, NOW_MS),
            "nobody waits for a copy that was sent"
        );
    }
    assert_eq!((ledger.left(ID, NOW_MS), ledger.outstanding()), (0, 0));
    assert_eq!(ledger.due_ms(), None, "a deadline outlives its message");
    assert_eq!(ledger.take_changes().done, [ID]);
}

/// An answer of the server of a shared store, as its bytes come.
pub fn redis_values(data: &[u8]) {
    let Ok(value) = redis::parse_redis_value(data) else {
        return;
    };
    if let Some(kept) = kept(ID, value.clone()) {
        assert_eq!(kept.id, ID);
        assert!(kept.record.len() + kept.ended.len() <= data.len());
        // As after a start.
        let job = FanOutJob::of_record(kept.version, kept.record);
        if let Some(job) = job.filter(|job| job.recipients_left() > 0) {
            let mut ledger = Ledger::default();
            ledger.restore(ID, job.copies(), &kept.ended, EXPIRES_MS, NOW_MS);
            assert!(ledger.left(ID, NOW_MS) <= job.recipients_left());
        }
    }
    let own = arrivals(value.clone(), OWN_TOKEN);
    let other = arrivals(value.clone(), OTHER_TOKEN);
    for reports in [&own, &other] {
        assert!(4 * reports.hashes.len() <= data.len());
    }
    assert_eq!(own.last, other.last);
    assert_eq!(name_of_last(value), own.last);
}
