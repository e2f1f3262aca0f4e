//! Recently ended sessions, so that a BYE that crosses ours is answered as in RFC 3261 §15.1.2.

use std::collections::{HashSet, VecDeque};
use std::time::Instant;

use crate::controlling::large_message_mode::{BYE_TIMEOUT, SessionId};

/// Maximum number of remembered sessions; the oldest are forgotten first.
const MAX_SESSIONS: usize = 16 * 1024;

/// Sessions that have ended within [`BYE_TIMEOUT`]: for this time an earlier BYE may still be
/// retransmitted.
#[derive(Debug, Default)]
pub(super) struct LatelyEnded {
    known: HashSet<SessionId>,
    in_order: VecDeque<(Instant, SessionId)>,
}

impl LatelyEnded {
    /// This session ends now.
    pub(super) fn insert(&mut self, now: Instant, session: SessionId) {
        self.forget(now);
        if self.known.insert(session) {
            self.in_order.push_back((now, session));
        }
    }

    /// Whether this session has ended recently.
    pub(super) fn contains(&mut self, now: Instant, session: SessionId) -> bool {
        self.forget(now);
        self.known.contains(&session)
    }

    fn forget(&mut self, now: Instant) {
        while let Some(&(ended, session)) = self.in_order.front()
            && (self.in_order.len() >= MAX_SESSIONS || now >= ended + BYE_TIMEOUT)
        {
            self.in_order.pop_front();
            self.known.remove(&session);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn sessions_are_remembered_for_a_while_and_up_to_a_number() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let ids: Vec<SessionId> = (0..=MAX_SESSIONS)
            .filter_map(|number| SessionId::parse(&format!("{number:032x}")))
            .collect();
        let mut lately = LatelyEnded::default();
        lately.insert(start, ids[0]);
        assert!(lately.contains(start + BYE_TIMEOUT - second, ids[0]));
        assert!(!lately.contains(start, ids[1]));
        assert!(!lately.contains(start + BYE_TIMEOUT, ids[0]));
        for &id in &ids {
            lately.insert(start, id);
        }
        assert!(lately.in_order.len() <= MAX_SESSIONS && !lately.contains(start, ids[0]));
        lately.insert(start + BYE_TIMEOUT, ids[0]);
        assert_eq!((lately.known.len(), lately.in_order.len()), (1, 1));
    }
}
