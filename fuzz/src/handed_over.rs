//! Data that one process writes and another one of the same build reads: no input makes the reader
//! panic, and what it accepts is written again unchanged.

use bytes::Bytes;
use cpm::controlling::FanOutJob;
use cpm::controlling::large_message_mode::AcceptedInvite;

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
