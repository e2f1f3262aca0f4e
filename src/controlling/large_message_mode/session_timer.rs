//! Session timers (RFC 4028), for one dialog each.

use std::time::{Duration, Instant};

use super::super::header_fields::texts;
use crate::sip::{HeaderName, Message, Parameters, option_tag};

/// Smallest interval that we agree to, in seconds (RFC 4028 §4).
pub const MIN_SESSION_EXPIRES_S: u32 = 90;
/// Largest interval that we agree to on our own, in seconds; a peer's longer one is taken as this. A day.
pub const MAX_SESSION_EXPIRES_S: u32 = 86_400;

/// Who refreshes, relative to the request that says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refresher {
    Uac,
    Uas,
}

/// A Session-Expires value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SessionExpires {
    pub(super) seconds: u32,
    pub(super) refresher: Option<Refresher>,
}

/// A field whose value is not of RFC 4028 §4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

impl SessionExpires {
    /// The header field of a message, if it has one.
    pub(super) fn of(message: &Message) -> Result<Option<Self>, Malformed> {
        let Some(field) = message.first(HeaderName::SessionExpires) else {
            return Ok(None);
        };
        let value = field.unfolded_text();
        let value = value.trim();
        let (seconds, parameters) = value.split_at(value.find(';').unwrap_or(value.len()));
        let seconds = delta_seconds(seconds.trim())?;
        let mut refresher = None;
        for parameter in Parameters::new(parameters) {
            let parameter = parameter.map_err(|_| Malformed)?;
            if parameter.name.eq_ignore_ascii_case("refresher") {
                refresher = Some(match parameter.raw_value {
                    Some(value) if value.eq_ignore_ascii_case("uac") => Refresher::Uac,
                    Some(value) if value.eq_ignore_ascii_case("uas") => Refresher::Uas,
                    _ => return Err(Malformed),
                });
            }
        }
        Ok(Some(SessionExpires { seconds, refresher }))
    }
}

/// Min-SE of a 422, in seconds.
pub(super) fn min_se(message: &Message) -> Option<u32> {
    let value = message.first(HeaderName::MinSe)?.unfolded_text();
    delta_seconds(value.split(';').next()?.trim()).ok()
}

/// Whether the author knows session timers.
pub(super) fn supports_timer(message: &Message) -> bool {
    [HeaderName::Supported, HeaderName::Require]
        .into_iter()
        .any(|name| {
            let values = texts(message, name);
            option_tag::contains(values.iter().map(AsRef::as_ref), "timer")
        })
}

/// A number too large for us is as good as for ever.
fn delta_seconds(text: &str) -> Result<u32, Malformed> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Malformed);
    }
    Ok(text.parse().unwrap_or(u32::MAX))
}

/// The timer of one dialog.
///
/// ```text
/// the peer refreshes:  running --interval less 32 s or a third--> Expired
/// we refresh:          running --half the interval--> Refresh (UPDATE sent) --same as above--> Expired
/// a refresh by either side: running anew
/// ```
#[derive(Clone, Copy, Debug)]
pub(super) struct SessionTimer {
    interval: Duration,
    we_refresh: bool,
    refreshed: Instant,
    refresh_sent: bool,
}

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Send a refresh.
    Refresh,
    /// Send BYE (RFC 4028 §10).
    Expired,
}

impl SessionTimer {
    pub(super) fn new(now: Instant, seconds: u32, we_refresh: bool) -> Self {
        let seconds = seconds.clamp(MIN_SESSION_EXPIRES_S, MAX_SESSION_EXPIRES_S);
        SessionTimer {
            interval: Duration::from_secs(u64::from(seconds)),
            we_refresh,
            refreshed: now,
            refresh_sent: false,
        }
    }

    pub(super) fn seconds(&self) -> u32 {
        // At most MAX_SESSION_EXPIRES_S.
        u32::try_from(self.interval.as_secs()).unwrap_or(MAX_SESSION_EXPIRES_S)
    }

    pub(super) fn refreshed(&mut self, now: Instant) {
        self.refreshed = now;
        self.refresh_sent = false;
    }

    pub(super) fn deadline(&self) -> Instant {
        if self.we_refresh && !self.refresh_sent {
            return self.refreshed + self.interval / 2;
        }
        let early = Duration::from_secs(32).min(self.interval / 3);
        self.refreshed + self.interval - early
    }

    pub(super) fn poll(&mut self, now: Instant) -> Option<Due> {
        if now < self.deadline() {
            return None;
        }
        if self.we_refresh && !self.refresh_sent {
            self.refresh_sent = true;
            return Some(Due::Refresh);
        }
        Some(Due::Expired)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn with(lines: &str) -> Message {
        let text = format!("INVITE sip:a@b SIP/2.0\r\n{lines}\r\n\r\n");
        Message::parse(Bytes::from(text)).unwrap()
    }

    #[test]
    fn values() {
        let of = |value: &str| SessionExpires::of(&with(&format!("x: {value}")));
        let some = |seconds, refresher| Ok(Some(SessionExpires { seconds, refresher }));
        assert_eq!(of("1800"), some(1800, None));
        assert_eq!(of("1800 ; refresher=UAC"), some(1800, Some(Refresher::Uac)));
        assert_eq!(of("90;a=b;refresher=uas"), some(90, Some(Refresher::Uas)));
        assert_eq!(of("99999999999999"), some(u32::MAX, None));
        for bad in ["", "x", "-1", "1;refresher", "1;refresher=me", "1;;"] {
            assert_eq!(of(bad), Err(Malformed), "{bad}");
        }
        assert_eq!(SessionExpires::of(&with("To: x")), Ok(None));
        assert!(supports_timer(&with("k: path, Timer")) && !supports_timer(&with("k: path")));
        assert_eq!(min_se(&with("Min-SE: 120;x=y")), Some(120));
    }

    #[test]
    fn the_peer_refreshes_or_the_session_ends() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut timer = SessionTimer::new(start, 1800, false);
        assert_eq!((timer.deadline(), timer.poll(at(1767))), (at(1768), None));
        timer.refreshed(at(1000));
        assert_eq!(timer.poll(at(2767)), None);
        assert_eq!(timer.poll(at(2768)), Some(Due::Expired));
        assert_eq!(SessionTimer::new(start, 1, false).deadline(), at(60));
    }

    #[test]
    fn we_refresh_in_the_middle() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut timer = SessionTimer::new(start, 180, true);
        assert_eq!(
            (timer.poll(at(89)), timer.poll(at(90))),
            (None, Some(Due::Refresh))
        );
        assert_eq!(
            (timer.poll(at(147)), timer.poll(at(148))),
            (None, Some(Due::Expired))
        );
        timer.refreshed(at(100));
        assert_eq!(timer.deadline(), at(190));
    }
}
