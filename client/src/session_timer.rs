//! Session timers (RFC 4028), as the two ends of a large message keep them.

use std::time::{Duration, Instant};

use cpm_wire::sip::{HeaderName, Message, Parameters};

use super::request::text;

/// Longest interval that is believed, in seconds: a day.
pub const MAX_SESSION_EXPIRES_S: u32 = 86_400;
/// Smallest interval of RFC 4028 §4, in seconds.
pub const MIN_SESSION_EXPIRES_S: u32 = 90;

/// The running timer of one session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SessionTimer {
    pub(super) interval_s: u32,
    pub(super) we_refresh: bool,
    started: Instant,
}

/// What the timer asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    Nothing,
    /// To be refreshed by us.
    Refresh,
    /// The peer has not refreshed.
    Expired,
}

impl SessionTimer {
    pub(super) fn new(now: Instant, interval_s: u32, we_refresh: bool) -> Self {
        Self {
            interval_s: interval_s.clamp(1, MAX_SESSION_EXPIRES_S),
            we_refresh,
            started: now,
        }
    }

    /// The timer that a 2xx to our INVITE, re-INVITE or UPDATE asks for. Without refresher the client refreshes, as it is
    /// the one who said that it can (RFC 4028 §7.2).
    pub(super) fn of_answer(now: Instant, response: &Message) -> Option<Self> {
        let (interval_s, refresher) = session_expires(response)?;
        Some(Self::new(
            now,
            interval_s,
            refresher != Some(Refresher::Uas),
        ))
    }

    /// When it has to be looked at.
    pub(super) fn poll_timeout(&self) -> Instant {
        let interval = Duration::from_secs(self.interval_s.into());
        match self.we_refresh {
            true => self.started + interval / 2,
            // RFC 4028 §10: a third before the end, at most 32 s.
            false => self.started + interval - (interval / 3).min(Duration::from_secs(32)),
        }
    }

    pub(super) fn due(&self, now: Instant) -> Due {
        match (self.poll_timeout() <= now, self.we_refresh) {
            (false, _) => Due::Nothing,
            (true, true) => Due::Refresh,
            (true, false) => Due::Expired,
        }
    }

    /// Begins anew; also what keeps a refresh from being sent twice while it waits for its answer.
    pub(super) fn restart(&mut self, now: Instant) {
        self.started = now;
    }
}

/// Who refreshes, as seen from the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refresher {
    Uac,
    Uas,
}

/// Seconds and refresher of Session-Expires.
pub(super) fn session_expires(message: &Message) -> Option<(u32, Option<Refresher>)> {
    let value = text(message, HeaderName::SessionExpires)?;
    let (seconds, parameters) = value.split_at(value.find(';').unwrap_or(value.len()));
    let seconds = seconds.trim().parse().ok()?;
    let mut parameters = Parameters::new(parameters).flatten();
    let refresher = parameters.find(|one| one.name.eq_ignore_ascii_case("refresher"));
    let refresher = refresher.and_then(|one| match one.raw_value? {
        value if value.eq_ignore_ascii_case("uac") => Some(Refresher::Uac),
        value if value.eq_ignore_ascii_case("uas") => Some(Refresher::Uas),
        _ => None,
    });
    Some((seconds, refresher))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn timer(value: &str) -> Option<(u32, bool)> {
        let text = format!("SIP/2.0 200 OK\r\nSession-Expires: {value}\r\n\r\n");
        let message = Message::parse(Bytes::from(text)).unwrap();
        let timer = SessionTimer::of_answer(Instant::now(), &message)?;
        Some((timer.interval_s, timer.we_refresh))
    }

    #[test]
    fn who_refreshes() {
        assert_eq!(timer("1800;refresher=uac"), Some((1800, true)));
        assert_eq!(timer("90 ; Refresher=UAS"), Some((90, false)));
        assert_eq!(timer("90"), Some((90, true)));
        assert_eq!(timer("4294967295"), Some((MAX_SESSION_EXPIRES_S, true)));
        for bad in ["", "x", "-1", "99999999999"] {
            assert_eq!(timer(bad), None);
        }
    }

    #[test]
    fn when_something_is_due() {
        let now = Instant::now();
        let after = |seconds| now + Duration::from_secs(seconds);
        let ours = SessionTimer::new(now, 100, true);
        assert_eq!(
            (ours.due(after(49)), ours.due(after(50))),
            (Due::Nothing, Due::Refresh)
        );
        let theirs = SessionTimer::new(now, 900, false);
        assert_eq!(
            (theirs.due(after(867)), theirs.due(after(868))),
            (Due::Nothing, Due::Expired)
        );
    }
}
