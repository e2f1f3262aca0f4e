//! The timers of a non-INVITE client transaction (RFC 3261 17.1.2.2), as offsets from the time its
//! copy was sent.
//!
//! ```text
//!            sent      E         E                   E          F
//!  Trying     |--T1----|---2*T1--|------4*T1---------|-- ... ---| 408
//!  Proceeding           ...  each T2, up to T2 apart before     | 408
//! ```
//!
//! Timer K needs no state: a response that arrives after its transaction has ended has a branch of
//! the lane, finds no recipient, and is absorbed.

/// Timer values, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timers {
    /// T1: the interval before the first retransmission over UDP.
    pub t1_ms: u32,
    /// T2: the longest interval.
    pub t2_ms: u32,
    /// Timer F: the time limit for a final response.
    pub f_ms: u32,
}

impl Default for Timers {
    /// RFC 3261 table 4.
    fn default() -> Self {
        Timers {
            t1_ms: 500,
            t2_ms: 4_000,
            f_ms: 32_000,
        }
    }
}

/// The shortest T1 of the lane: with less, timer E would fire at each sweep.
const MIN_T1_MS: u32 = 100;

impl Timers {
    /// The same within the bounds of the lane: T1 is at least 100 ms, and T2 at least T1, whatever
    /// the proxy is configured with.
    pub fn bounded(self) -> Self {
        let t1_ms = self.t1_ms.max(MIN_T1_MS);
        Timers {
            t1_ms,
            t2_ms: self.t2_ms.max(t1_ms),
            ..self
        }
    }

    /// The time until the first of them fires.
    pub(super) fn first_ms(&self) -> u64 {
        u64::from(self.t1_ms.min(self.f_ms))
    }

    /// Packs them into one number: T1 and T2 up to a minute, F up to a quarter of an hour.
    pub(super) fn to_word(self) -> u64 {
        let most = |value: u32, bits: u32| u64::from(value.min((1 << bits) - 1));
        most(self.f_ms, OFFSET_BITS) << 32 | most(self.t2_ms, 16) << 16 | most(self.t1_ms, 16)
    }

    pub(super) fn of_word(word: u64) -> Self {
        Timers {
            t1_ms: word as u32 & 0xffff,
            t2_ms: (word >> 16) as u32 & 0xffff,
            f_ms: (word >> 32) as u32,
        }
    }
}

/// The longest offset that fits into a state.
const MAX_OFFSET_MS: u32 = (1 << OFFSET_BITS) - 1;
const OFFSET_BITS: u32 = 20;

/// The state of a copy (RFC 3261 figure 6). `Waiting`: the window has no place for it yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Waiting,
    Trying,
    Proceeding,
    Completed,
}

/// The state of a copy and its timer, which fit into one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Progress {
    pub(super) state: State,
    /// It counts towards the window: it was sent less than T1 ago, and no response has arrived.
    pub(super) is_fresh: bool,
    /// When timer E or F fires next, in milliseconds from `sent_ms`.
    next_ms: u32,
    /// When it was sent, on the clock that all processes share.
    sent_ms: u64,
}

impl Progress {
    pub(super) const WAITING: Progress = Progress {
        state: State::Waiting,
        is_fresh: false,
        next_ms: 0,
        sent_ms: 0,
    };

    /// The state of a copy sent now.
    pub(super) fn sent(now_ms: u64, timers: &Timers) -> Self {
        Progress {
            state: State::Trying,
            is_fresh: true,
            next_ms: timers.t1_ms.min(timers.f_ms).min(MAX_OFFSET_MS),
            sent_ms: now_ms,
        }
    }

    /// After a response has arrived, or none has in time.
    pub(super) fn now_in(self, state: State) -> Self {
        Progress {
            state,
            is_fresh: false,
            ..self
        }
    }

    /// After it has turned out that it cannot be sent.
    pub(super) fn lost(self) -> Self {
        Progress {
            is_fresh: false,
            next_ms: 0,
            ..self
        }
    }

    /// Whether it could not be sent. No timer fires after 0 ms.
    pub(super) fn is_lost(self) -> bool {
        self.state == State::Trying && self.next_ms == 0
    }

    pub(super) fn to_word(self) -> u64 {
        self.sent_ms << (OFFSET_BITS + 3)
            | u64::from(self.next_ms) << 3
            | u64::from(self.is_fresh) << 2
            | self.state as u64
    }

    pub(super) fn of_word(word: u64) -> Self {
        Progress {
            state: match word & 3 {
                0 => State::Waiting,
                1 => State::Trying,
                2 => State::Proceeding,
                _ => State::Completed,
            },
            is_fresh: word & 4 != 0,
            next_ms: (word >> 3) as u32 & MAX_OFFSET_MS,
            sent_ms: word >> (OFFSET_BITS + 3),
        }
    }

    /// When its timer fires if no response arrives; `None`: never.
    pub(super) fn due_ms(self) -> Option<u64> {
        let is_open = matches!(self.state, State::Trying | State::Proceeding);
        is_open.then(|| self.sent_ms + u64::from(self.next_ms))
    }

    /// Whether timer F has fired.
    pub(super) fn is_over(self, now_ms: u64, timers: &Timers) -> bool {
        let f_ms = u64::from(timers.f_ms.min(MAX_OFFSET_MS));
        matches!(self.state, State::Trying | State::Proceeding)
            && now_ms.saturating_sub(self.sent_ms) >= f_ms
    }

    /// Timer E or F has fired. `None`: there was no answer in time. Otherwise the new state; over
    /// UDP the copy must be retransmitted. Retransmissions that were missed are not made up for.
    pub(super) fn fired(self, now_ms: u64, is_reliable: bool, timers: &Timers) -> Option<Self> {
        let age_ms = now_ms.saturating_sub(self.sent_ms);
        if self.is_over(now_ms, timers) {
            return None;
        }
        let mut next = u64::from(self.next_ms);
        while next <= age_ms {
            let interval = match self.state {
                State::Proceeding => timers.t2_ms,
                _ => (next as u32).saturating_add(timers.t1_ms).min(timers.t2_ms),
            };
            next += u64::from(interval.max(1));
        }
        if is_reliable {
            next = u64::from(timers.f_ms);
        }
        Some(Progress {
            is_fresh: false,
            next_ms: next.min(u64::from(timers.f_ms.min(MAX_OFFSET_MS))) as u32,
            ..self
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// When a copy is retransmitted, checked every 100 ms, and when it fails.
    fn course(state_at_1_s: State, is_reliable: bool) -> (Vec<u64>, u64) {
        let timers = Timers::default();
        let mut progress = Progress::sent(7_000, &timers);
        let mut again = Vec::new();
        for now_ms in (7_000..).step_by(100) {
            if now_ms == 8_000 {
                progress.state = state_at_1_s;
            }
            assert_eq!(Progress::of_word(progress.to_word()), progress);
            if progress.due_ms().is_none_or(|due_ms| due_ms > now_ms) {
                continue;
            }
            match progress.fired(now_ms, is_reliable, &timers) {
                Some(next) if is_reliable => progress = next,
                Some(next) => {
                    again.push(now_ms - 7_000);
                    progress = next;
                }
                None => return (again, now_ms - 7_000),
            }
        }
        unreachable!("it ends");
    }

    #[test]
    fn timer_e_doubles_up_to_t2_and_timer_f_ends_it() {
        let every = [
            500, 1_500, 3_500, 7_500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500,
        ];
        assert_eq!(course(State::Trying, false), (every.to_vec(), 32_000));
    }

    #[test]
    fn with_a_provisional_response_it_is_sent_again_each_t2() {
        let every = [
            500, 1_500, 5_500, 9_500, 13_500, 17_500, 21_500, 25_500, 29_500,
        ];
        assert_eq!(course(State::Proceeding, false), (every.to_vec(), 32_000));
    }

    #[test]
    fn over_a_reliable_transport_it_is_sent_once() {
        assert_eq!(course(State::Trying, true), (vec![], 32_000));
    }

    #[test]
    fn what_was_slept_through_is_not_made_up_for() {
        let timers = Timers::default();
        let progress = Progress::sent(0, &timers);
        let next = progress.fired(20_000, false, &timers).unwrap();
        assert_eq!(next.due_ms(), Some(23_500));
        assert_eq!(progress.fired(32_000, false, &timers), None);
    }

    #[test]
    fn timers_without_length_do_not_send_a_copy_at_each_sweep() {
        let none = Timers {
            t1_ms: 0,
            t2_ms: 0,
            f_ms: 1_000,
        };
        let timers = none.bounded();
        assert_eq!(timers.bounded(), timers);
        assert_eq!(Timers::default().bounded(), Timers::default());
        let mut progress = Progress::sent(0, &timers);
        let again: Vec<u64> = (0..1_000)
            .filter(|&now_ms| {
                let is_due = progress.due_ms().is_some_and(|due_ms| due_ms <= now_ms);
                if is_due {
                    progress = progress.fired(now_ms, false, &timers).unwrap();
                }
                is_due
            })
            .collect();
        assert_eq!(again, [100, 200, 300, 400, 500, 600, 700, 800, 900]);
    }

    #[test]
    fn an_operator_may_give_up_sooner() {
        let timers = Timers {
            f_ms: 300,
            ..Timers::default()
        };
        let progress = Progress::sent(0, &timers);
        assert_eq!(progress.due_ms(), Some(300));
        assert_eq!(progress.fired(300, false, &timers), None);
    }
}
