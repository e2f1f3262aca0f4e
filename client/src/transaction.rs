//! Client transactions (RFC 3261 §17.1): when a request is retransmitted, and when to give up.

use std::time::{Duration, Instant};

use bytes::Bytes;

/// Estimate of the round trip (§17.1.1.1).
pub const T1: Duration = Duration::from_millis(500);
/// Maximum interval between retransmissions of a request other than INVITE.
pub const T2: Duration = Duration::from_secs(4);
/// Timers B and F: how long a request may go without an answer.
pub const TIMEOUT: Duration = Duration::from_secs(32);
/// How long a server may be silent at first if another one could be tried. Only for INVITE and
/// REGISTER, which the first server answers at once (§16.2, §17.2.1); a MESSAGE may have no answer
/// until its recipient responds.
pub(super) const HEAD_START: Duration = Duration::from_secs(4);

/// One request in progress.
///
/// ```text
///  INVITE    Calling --1xx--> Proceeding --final--> Completed
///               | A: again, doubling              D: each repeated final answer is told,
///               |                                 to be acknowledged again
///               | B: timed out
///  other     Trying --1xx--> Proceeding --final--> Completed
///               | E: again, doubling to T2; F: timed out
/// ```
#[derive(Debug)]
pub(super) struct ClientTransaction {
    pub(super) branch: String,
    pub(super) method: &'static str,
    /// Retransmitted unchanged.
    pub(super) bytes: Bytes,
    state: State,
    /// `None` over a reliable transport.
    retransmission: Option<Retransmission>,
    deadline: Option<Instant>,
    /// The deadline once a response has arrived.
    timeout_at: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Calling,
    Proceeding,
    Completed,
}

#[derive(Debug)]
struct Retransmission {
    at: Instant,
    interval: Duration,
}

/// The effect of time.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Tick {
    Nothing,
    SendAgain(Bytes),
    TimedOut,
}

/// The role of a response in its transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    Provisional,
    Final,
    /// A final one, retransmitted.
    Repeated,
}

impl ClientTransaction {
    pub(super) fn new(
        now: Instant,
        method: &'static str,
        branch: String,
        bytes: Bytes,
        reliable: bool,
    ) -> Self {
        Self {
            branch,
            method,
            bytes,
            state: State::Calling,
            retransmission: (!reliable).then_some(Retransmission {
                at: now + T1,
                interval: T1,
            }),
            deadline: Some(now + TIMEOUT),
            timeout_at: None,
        }
    }

    pub(super) fn is_proceeding(&self) -> bool {
        self.state == State::Proceeding
    }

    pub(super) fn is_completed(&self) -> bool {
        self.state == State::Completed
    }

    /// The first response must arrive within this time; then the usual time-out applies.
    pub(super) fn hurry(&mut self, now: Instant, longest: Duration) {
        self.timeout_at = self.deadline;
        self.limit(now, longest);
    }

    /// Limits the time for the answer: for an INVITE that has been cancelled (§9.1).
    pub(super) fn limit(&mut self, now: Instant, longest: Duration) {
        let limit = now + longest;
        self.deadline = Some(self.deadline.map_or(limit, |deadline| deadline.min(limit)));
    }

    pub(super) fn handle_response(&mut self, now: Instant, is_provisional: bool) -> Standing {
        match (self.state, is_provisional) {
            (State::Completed, _) => Standing::Repeated,
            (_, false) => {
                self.state = State::Completed;
                self.retransmission = None;
                self.deadline = None;
                Standing::Final
            }
            (_, true) => {
                self.state = State::Proceeding;
                if self.method == "INVITE" {
                    self.retransmission = None;
                    // A cancelled request has its own limit, set after this.
                    self.deadline = None;
                    return Standing::Provisional;
                }
                self.deadline = self.timeout_at.take().or(self.deadline);
                if let Some(retransmission) = &mut self.retransmission {
                    retransmission.interval = T2;
                    retransmission.at = now + T2;
                }
                Standing::Provisional
            }
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let again = self.retransmission.as_ref().map(|again| again.at);
        [again, self.deadline].into_iter().flatten().min()
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) -> Tick {
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            self.state = State::Completed;
            self.retransmission = None;
            self.deadline = None;
            return Tick::TimedOut;
        }
        let Some(again) = &mut self.retransmission else {
            return Tick::Nothing;
        };
        if again.at > now {
            return Tick::Nothing;
        }
        again.interval *= 2;
        if self.method != "INVITE" {
            again.interval = again.interval.min(T2);
        }
        again.at = now + again.interval;
        Tick::SendAgain(self.bytes.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Times of retransmission in milliseconds, until the transaction gives up.
    fn play(method: &'static str, reliable: bool, provisional_at: Option<u64>) -> (Vec<u64>, u64) {
        let start = Instant::now();
        let bytes = Bytes::from_static(b"x");
        let mut one = ClientTransaction::new(start, method, "b".into(), bytes, reliable);
        let mut sent = Vec::new();
        let mut provisional_at = provisional_at.map(|ms| start + Duration::from_millis(ms));
        loop {
            let Some(next) = one.poll_timeout() else {
                return (sent, u64::MAX);
            };
            if let Some(at) = provisional_at.filter(|at| *at < next) {
                provisional_at = None;
                assert_eq!(one.handle_response(at, true), Standing::Provisional);
                continue;
            }
            let at = (next - start).as_millis() as u64;
            match one.handle_timeout(next) {
                Tick::SendAgain(_) => sent.push(at),
                Tick::TimedOut => return (sent, at),
                Tick::Nothing => panic!("woken for nothing"),
            }
        }
    }

    #[test]
    fn timers_of_rfc_3261() {
        let doubling = vec![500, 1500, 3500, 7500, 15_500, 31_500];
        assert_eq!(play("INVITE", false, None), (doubling, 32_000));
        let (sent, end) = play("MESSAGE", false, None);
        assert_eq!(sent[..5], [500, 1500, 3500, 7500, 11_500]);
        assert_eq!((sent.len(), end), (10, 32_000));
        assert_eq!(play("MESSAGE", true, None), (vec![], 32_000));
        assert_eq!(play("INVITE", false, Some(700)), (vec![500], u64::MAX));
        assert_eq!(play("BYE", false, Some(700)).0[..3], [500, 4700, 8700]);
    }

    #[test]
    fn a_head_start_ends_with_the_first_answer() {
        let now = Instant::now();
        let one = |method| {
            let mut one = ClientTransaction::new(now, method, "b".into(), Bytes::new(), true);
            one.hurry(now, HEAD_START);
            assert_eq!(one.poll_timeout(), Some(now + HEAD_START));
            one.handle_response(now, true);
            one.poll_timeout()
        };
        assert_eq!(one("REGISTER"), Some(now + TIMEOUT));
        assert_eq!(one("INVITE"), None);
    }

    #[test]
    fn nothing_happens_before_its_time() {
        let start = Instant::now();
        let bytes = Bytes::from_static(b"x");
        let mut one = ClientTransaction::new(start, "BYE", "b".into(), bytes.clone(), false);
        assert_eq!(one.handle_timeout(start), Tick::Nothing);
        assert_eq!(one.handle_timeout(start + T1), Tick::SendAgain(bytes));
        assert_eq!(one.handle_timeout(start + T1), Tick::Nothing);
        assert!(!one.is_completed() && !one.is_proceeding());
        assert_eq!(one.handle_timeout(start + TIMEOUT), Tick::TimedOut);
        assert!(one.is_completed());
        assert_eq!(one.handle_timeout(start + 2 * TIMEOUT), Tick::Nothing);
    }

    #[test]
    fn a_limit_shortens_and_never_lengthens() {
        let now = Instant::now();
        let one = || ClientTransaction::new(now, "INVITE", "b".into(), Bytes::new(), true);
        let (mut shorter, mut longer) = (one(), one());
        shorter.limit(now, T2);
        assert_eq!(shorter.poll_timeout(), Some(now + T2));
        longer.limit(now, 2 * TIMEOUT);
        assert_eq!(longer.poll_timeout(), Some(now + TIMEOUT));
        // A cancelled one, whose answer had no limit.
        longer.handle_response(now, true);
        assert_eq!(longer.poll_timeout(), None);
        longer.limit(now, 2 * TIMEOUT);
        assert_eq!(longer.poll_timeout(), Some(now + 2 * TIMEOUT));
    }

    #[test]
    fn a_final_answer_counts_once() {
        let now = Instant::now();
        let mut one = ClientTransaction::new(now, "INVITE", "b".into(), Bytes::new(), false);
        assert_eq!(one.handle_response(now, true), Standing::Provisional);
        assert!(one.is_proceeding());
        assert_eq!(one.handle_response(now, false), Standing::Final);
        assert!(one.is_completed() && !one.is_proceeding());
        assert_eq!(one.handle_response(now, false), Standing::Repeated);
        assert_eq!(one.handle_response(now, true), Standing::Repeated);
        assert_eq!(one.poll_timeout(), None);
    }
}
