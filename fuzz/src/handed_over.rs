//! Data that one process writes and another one reads, also from the store: no input makes the
//! reader panic, and what it accepts is written again unchanged.

use bytes::Bytes;
use cpm::controlling::large_message_mode::AcceptedInvite;
use cpm::controlling::{FanOutJob, KeptInvite};

/// The rest of a fan-out.
pub fn fan_out_job(data: &[u8]) {
    if let Some(job) = FanOutJob::read(Bytes::copy_from_slice(data)) {
        let written = job.write();
        let again = FanOutJob::read(Bytes::from(written.clone())).expect("what we wrote");
        assert!(
            again.write() == written,
            "a job that is written again differs"
        );
    }
}

/// An INVITE that has passed its checks.
pub fn accepted_invite(data: &[u8]) {
    if let Some(invite) = AcceptedInvite::read(Bytes::copy_from_slice(data)) {
        let written = invite.write();
        let again = AcceptedInvite::read(Bytes::from(written.clone())).expect("what we wrote");
        assert!(
            again.write() == written,
            "an INVITE that is written again differs"
        );
    }
}

/// A large message, on its way into the store, in it, and back to the process with the sessions.
pub fn kept_invite(data: &[u8]) {
    let data = Bytes::copy_from_slice(data);
    if let Some(message) = KeptInvite::read(data.clone()) {
        let written = Bytes::from(message.write());
        let again = KeptInvite::read(written.clone()).expect("what we wrote");
        assert!(
            again.write() == written,
            "a message that is written again differs"
        );
        assert_eq!(again.content.size, message.content.size);
        assert!(again.content.head == message.content.head);
        assert!(again.invite.message.buffer() == message.invite.message.buffer());

        let (record, job) = KeptInvite::record_in(written).expect("what we wrote");
        let (of_record, rest) = KeptInvite::job_of(record).expect("what we recorded");
        assert!(
            job.copies().eq(of_record.copies()),
            "the record has other copies"
        );
        let resumed = KeptInvite::read(KeptInvite::hand_over(&of_record, &rest).into());
        let resumed = resumed.expect("what we recorded");
        assert!(resumed.job.copies().eq(job.copies()));
        assert_eq!(resumed.content.size, message.content.size);
        assert!(resumed.content.message.total == Some(message.content.size));
    }
    // Torn in the store: its job is read by one process, the rest by another.
    if let Some((job, rest)) = KeptInvite::job_of(data) {
        let copies = job.copies().count();
        if let Some(resumed) = KeptInvite::read(KeptInvite::hand_over(&job, &rest).into()) {
            assert_eq!(resumed.job.copies().count(), copies);
            assert_eq!(resumed.invite.recipients.lines().count(), copies);
        }
    }
}
