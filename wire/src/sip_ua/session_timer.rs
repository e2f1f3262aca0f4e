//! Session timers (RFC 4028), for one dialog each.

use std::time::{Duration, Instant};

use crate::sip::{HeaderName, Message, Parameters, StatusCode, option_tag};

/// Minimum interval that is accepted, in seconds (RFC 4028 §4).
pub const MIN_SESSION_EXPIRES_S: u32 = 90;
/// Maximum interval that is accepted, in seconds; a peer's longer one is reduced to this. A day.
pub const MAX_SESSION_EXPIRES_S: u32 = 86_400;
/// Maximum number of refresh requests before one is answered 2xx or the session expires: a refusal
/// may ask for an immediate retry, and a peer must not keep us busy with that.
pub const MAX_REFRESHES: u8 = 8;

/// The refresher, relative to the request that names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refresher {
    /// The sender of the request.
    Uac,
    /// The receiver of the request.
    Uas,
}

/// A Session-Expires value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionExpires {
    /// The interval in seconds.
    pub seconds: u32,
    /// The refresher, if named.
    pub refresher: Option<Refresher>,
}

/// A field whose value violates RFC 4028 §4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MalformedSessionExpires;

impl SessionExpires {
    /// The header field of a message, if it has one.
    ///
    /// # Errors
    /// [`MalformedSessionExpires`].
    pub fn of(message: &Message) -> Result<Option<Self>, MalformedSessionExpires> {
        let Some(field) = message.first(HeaderName::SessionExpires) else {
            return Ok(None);
        };
        let value = field.unfolded_text();
        let value = value.trim();
        let (seconds, parameters) = value.split_at(value.find(';').unwrap_or(value.len()));
        let seconds = delta_seconds(seconds.trim())?;
        let mut refresher = None;
        for parameter in Parameters::new(parameters) {
            let parameter = parameter.map_err(|_| MalformedSessionExpires)?;
            if parameter.name.eq_ignore_ascii_case("refresher") {
                refresher = Some(match parameter.raw_value {
                    Some(value) if value.eq_ignore_ascii_case("uac") => Refresher::Uac,
                    Some(value) if value.eq_ignore_ascii_case("uas") => Refresher::Uas,
                    _ => return Err(MalformedSessionExpires),
                });
            }
        }
        Ok(Some(SessionExpires { seconds, refresher }))
    }
}

/// Min-SE of a message, in seconds.
pub fn min_se(message: &Message) -> Option<u32> {
    leading_seconds(message, HeaderName::MinSe)
}

/// Retry-After of a response (RFC 3261 §20.33), without its comment and duration.
fn retry_after(response: &Message) -> Option<Duration> {
    let seconds = leading_seconds(response, HeaderName::RetryAfter)?;
    Some(Duration::from_secs(u64::from(seconds)))
}

fn leading_seconds(message: &Message, name: HeaderName) -> Option<u32> {
    let value = message.first(name)?.unfolded_text();
    delta_seconds(value.split([';', '(']).next()?.trim()).ok()
}

/// Whether the author supports session timers.
pub fn supports_timer(message: &Message) -> bool {
    [HeaderName::Supported, HeaderName::Require]
        .into_iter()
        .flat_map(|name| message.all(name))
        .any(|field| option_tag::contains([field.unfolded_text().as_ref()], "timer"))
}

/// Whether the author accepts requests of this method; `None`: it has no Allow (RFC 3261 §20.5).
pub fn allows(message: &Message, method: &str) -> Option<bool> {
    let mut fields = message.all(HeaderName::Allow).peekable();
    fields.peek()?;
    Some(fields.any(|field| {
        let value = field.unfolded_text();
        value.split(',').any(|allowed| allowed.trim() == method)
    }))
}

/// A number that is too large for us means forever.
fn delta_seconds(text: &str) -> Result<u32, MalformedSessionExpires> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(MalformedSessionExpires);
    }
    Ok(text.parse().unwrap_or(u32::MAX))
}

/// How a dialog is refreshed (RFC 4028 §7.4): by UPDATE, which needs no session description, unless
/// the peer does not support it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefreshMethod {
    /// An UPDATE without offer.
    Update,
    /// A re-INVITE with the unchanged session description.
    Invite,
}

/// The agreement of the two sides, and data for our refreshes.
#[derive(Clone, Copy, Debug)]
pub struct Agreed {
    /// The interval in seconds.
    pub seconds: u32,
    /// The shortest interval that is accepted, in seconds, from 1 to [`MAX_SESSION_EXPIRES_S`]; a
    /// peer's shorter one is raised to this.
    pub shortest: u32,
    /// Whether we are the refresher.
    pub we_refresh: bool,
    /// Whether the peer's [Allow](allows) has UPDATE.
    pub allows_update: Option<bool>,
    /// Whether we made the Call-ID of the dialog.
    pub owns_call_id: bool,
}

/// The timer of one dialog.
///
/// ```text
/// the peer refreshes:  running --interval less 32 s or a third--> Expired
/// we refresh:          running --half the interval--> Refresh
///                          Refresh --2xx--> running anew
///                          Refresh --408, 481--> the dialog is over
///                          Refresh --422, 491, 405, 501, Retry-After--> Refresh as that says
///                          Refresh --any other refusal--> Refresh once, half-way to the end
///                      in all this time: interval less 32 s or a third--> Expired
/// a refresh by either side: running anew
/// ```
#[derive(Clone, Copy, Debug)]
pub struct SessionTimer {
    interval: Duration,
    shortest: u32,
    we_refresh: bool,
    refreshed: Instant,
    next: Next,
    method: RefreshMethod,
    /// Whether we made the Call-ID: if two requests cross, the other side retries first (RFC 3261
    /// §14.1).
    owns_call_id: bool,
    /// The largest Min-SE of a 422, or 0.
    min_se: u32,
    /// Refreshes since the last one that was answered 2xx.
    tries: u8,
    /// Whether a refusal without instructions has been followed by a second attempt.
    has_tried_again: bool,
}

/// Our next refresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// None: the peer refreshes, or nothing more is possible.
    None,
    At(Instant),
    /// It has been sent, and waits for its answer.
    Sent,
}

/// The action that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Send a refresh.
    Refresh(RefreshMethod),
    /// Send BYE (RFC 4028 §10).
    Expired,
}

impl SessionTimer {
    /// A timer that starts now.
    pub fn new(now: Instant, agreed: Agreed) -> Self {
        let mut timer = SessionTimer {
            interval: Duration::ZERO,
            shortest: agreed.shortest,
            we_refresh: agreed.we_refresh,
            refreshed: now,
            next: Next::None,
            method: match agreed.allows_update {
                Some(false) => RefreshMethod::Invite,
                _ => RefreshMethod::Update,
            },
            owns_call_id: agreed.owns_call_id,
            min_se: 0,
            tries: 0,
            has_tried_again: false,
        };
        timer.restart(now, agreed.seconds, agreed.we_refresh);
        timer
    }

    /// Restarts, with the new agreement of the two sides.
    pub fn restart(&mut self, now: Instant, seconds: u32, we_refresh: bool) {
        let seconds = seconds.clamp(self.shortest, MAX_SESSION_EXPIRES_S);
        self.interval = Duration::from_secs(u64::from(seconds));
        self.we_refresh = we_refresh;
        self.refreshed(now);
    }

    /// The interval in force.
    pub fn seconds(&self) -> u32 {
        // At most MAX_SESSION_EXPIRES_S.
        u32::try_from(self.interval.as_secs()).unwrap_or(MAX_SESSION_EXPIRES_S)
    }

    /// The peer has refreshed, and nothing else has changed.
    pub fn refreshed(&mut self, now: Instant) {
        self.refreshed = now;
        self.tries = 0;
        self.has_tried_again = false;
        self.next = match self.we_refresh {
            true => Next::At(now + self.interval / 2),
            false => Next::None,
        };
    }

    /// Whether we are the refresher.
    pub fn we_refresh(&self) -> bool {
        self.we_refresh
    }

    /// Session-Expires of our next refresh: the interval in seconds.
    pub fn request_seconds(&self) -> u32 {
        self.seconds().max(self.min_se)
    }

    /// Session-Expires of our next refresh, which names us the refresher.
    pub fn request_value(&self) -> String {
        format!("{};refresher=uac", self.request_seconds())
    }

    /// Min-SE of our next refresh: the value of a 422 (RFC 4028 §7.3).
    pub fn request_min_se(&self) -> Option<u32> {
        (self.min_se > 0).then_some(self.min_se)
    }

    /// When to call [`poll`](Self::poll).
    pub fn deadline(&self) -> Instant {
        let ends_at = self.ends_at();
        match self.next {
            Next::At(at) => at.min(ends_at),
            _ => ends_at,
        }
    }

    /// When the session is given up, so that BYE precedes the expiry at the peer (RFC 4028 §10).
    fn ends_at(&self) -> Instant {
        let early = Duration::from_secs(32).min(self.interval / 3);
        self.refreshed + self.interval - early
    }

    /// The action that is now due.
    pub fn poll(&mut self, now: Instant) -> Option<Due> {
        if now >= self.ends_at() {
            return Some(Due::Expired);
        }
        match self.next {
            Next::At(at) if at <= now => {
                self.next = Next::Sent;
                self.tries = self.tries.saturating_add(1);
                Some(Due::Refresh(self.method))
            }
            _ => None,
        }
    }

    /// Our refresh was answered 2xx. `None`: the peer no longer wants a session timer (RFC 4028
    /// §7.2).
    pub fn handle_success(mut self, now: Instant, response: &Message) -> Option<Self> {
        let agreed = SessionExpires::of(response).ok().flatten()?;
        self.restart(
            now,
            agreed.seconds,
            agreed.refresher != Some(Refresher::Uas),
        );
        Some(self)
    }

    /// Our refresh was refused, or has had no answer. `response` if there is a real one; `random`
    /// fills its argument. True: the dialog continues, at least until it expires; another attempt
    /// follows if possible before that.
    pub fn handle_refusal(
        &mut self,
        now: Instant,
        code: StatusCode,
        response: Option<&Message>,
        random: fn(&mut [u8]),
    ) -> bool {
        if self.next != Next::Sent {
            return true;
        }
        self.next = Next::None;
        if matches!(
            code,
            StatusCode::REQUEST_TIMEOUT | StatusCode::CALL_TRANSACTION_DOES_NOT_EXIST
        ) {
            return false;
        }
        if self.tries >= MAX_REFRESHES {
            return true;
        }
        let again = self.as_told(now, code, response, random).or_else(|| {
            let is_first = !std::mem::replace(&mut self.has_tried_again, true);
            is_first.then(|| now + self.ends_at().saturating_duration_since(now) / 2)
        });
        if let Some(again) = again.filter(|&again| again < self.ends_at()) {
            self.next = Next::At(again);
        }
        true
    }

    /// When to retry, if the refusal says so.
    fn as_told(
        &mut self,
        now: Instant,
        code: StatusCode,
        response: Option<&Message>,
        random: fn(&mut [u8]),
    ) -> Option<Instant> {
        match code {
            StatusCode::SESSION_INTERVAL_TOO_SMALL => {
                let asked = self.seconds().max(self.min_se);
                let longer = response.and_then(min_se);
                self.min_se =
                    longer.filter(|&longer| longer > asked && longer <= MAX_SESSION_EXPIRES_S)?;
                return Some(now);
            }
            StatusCode::REQUEST_PENDING => {
                return Some(now + glare_wait(self.owns_call_id, random));
            }
            _ => {}
        }
        let refuses_update = matches!(
            code,
            StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED
        ) || response.and_then(|response| allows(response, "UPDATE"))
            == Some(false);
        if refuses_update && self.method == RefreshMethod::Update {
            self.method = RefreshMethod::Invite;
            return Some(now);
        }
        Some(now + response.and_then(retry_after)?)
    }
}

/// How long to wait after a 491 (RFC 3261 §14.1): in steps of 10 ms, 2.1 to 4 s for the owner of
/// the Call-ID, and up to 2 s for the other.
fn glare_wait(owns_call_id: bool, random: fn(&mut [u8])) -> Duration {
    let mut bytes = [0; 4];
    random(&mut bytes);
    let number = u64::from(u32::from_ne_bytes(bytes));
    let steps = match owns_call_id {
        true => 210 + number % 191,
        false => number % 201,
    };
    Duration::from_millis(10 * steps)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn with(lines: &str) -> Message {
        let text = format!("INVITE sip:a@b SIP/2.0\r\n{lines}\r\n\r\n");
        Message::parse(Bytes::from(text)).unwrap()
    }

    fn agreed(
        seconds: u32,
        we_refresh: bool,
        allows_update: Option<bool>,
        owns_call_id: bool,
    ) -> Agreed {
        Agreed {
            seconds,
            shortest: MIN_SESSION_EXPIRES_S,
            we_refresh,
            allows_update,
            owns_call_id,
        }
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
            assert_eq!(of(bad), Err(MalformedSessionExpires), "{bad}");
        }
        assert_eq!(SessionExpires::of(&with("To: x")), Ok(None));
        assert!(supports_timer(&with("k: path, Timer")) && !supports_timer(&with("k: path")));
        assert_eq!(min_se(&with("Min-SE: 120;x=y")), Some(120));
        let retry = |value: &str| retry_after(&with(&format!("Retry-After: {value}")));
        assert_eq!(retry("18 (at a meeting)"), Some(Duration::from_secs(18)));
        assert_eq!(retry("5;duration=7"), Some(Duration::from_secs(5)));
        assert_eq!(retry("soon"), None);
        assert_eq!(allows(&with("Allow: INVITE, UPDATE"), "UPDATE"), Some(true));
        assert_eq!(
            allows(&with("Allow: INVITE\r\nAllow: BYE"), "UPDATE"),
            Some(false)
        );
        assert_eq!(allows(&with("To: x"), "UPDATE"), None);
    }

    const REFRESH: Option<Due> = Some(Due::Refresh(RefreshMethod::Update));
    const RE_INVITE: Option<Due> = Some(Due::Refresh(RefreshMethod::Invite));

    #[test]
    fn the_peer_refreshes_or_the_session_ends() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut timer = SessionTimer::new(start, agreed(1800, false, None, true));
        assert_eq!((timer.deadline(), timer.poll(at(1767))), (at(1768), None));
        timer.refreshed(at(1000));
        assert_eq!(timer.poll(at(2767)), None);
        assert_eq!(timer.poll(at(2768)), Some(Due::Expired));
        let shortest = SessionTimer::new(start, agreed(1, false, None, true));
        assert_eq!(shortest.deadline(), at(60));
    }

    #[test]
    fn we_refresh_in_the_middle() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut timer = SessionTimer::new(start, agreed(180, true, None, true));
        assert_eq!((timer.poll(at(89)), timer.poll(at(90))), (None, REFRESH));
        assert_eq!(
            (timer.poll(at(147)), timer.poll(at(148))),
            (None, Some(Due::Expired))
        );
        timer.refreshed(at(100));
        assert_eq!(timer.deadline(), at(190));
        // The answer decides how it continues.
        let agreed = |value: &str| {
            let mut timer = timer;
            assert_eq!(timer.poll(at(190)), REFRESH);
            timer
                .handle_success(at(191), &with(value))
                .map(|timer| timer.deadline())
        };
        assert_eq!(agreed("x: 400"), Some(at(391)));
        assert_eq!(agreed("x: 400;refresher=uac"), Some(at(391)));
        assert_eq!(agreed("x: 400;refresher=uas"), Some(at(559)));
        assert_eq!(agreed("k: timer"), None);
    }

    /// A timer that has sent its refresh after 900 of 1 800 s, which end at 1 768.
    fn refreshing(start: Instant, owns_call_id: bool) -> SessionTimer {
        let mut timer = SessionTimer::new(start, agreed(1800, true, None, owns_call_id));
        assert_eq!(timer.poll(start + Duration::from_secs(900)), REFRESH);
        timer
    }

    #[test]
    fn a_refusal_is_followed_as_its_code_says() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let zeros: fn(&mut [u8]) = |bytes| bytes.fill(0);
        let refused = |timer: &mut SessionTimer, now, code: u16, lines: &str| {
            let code = StatusCode::new(code).unwrap();
            let response = with(lines);
            timer.handle_refusal(now, code, Some(&response), zeros)
        };
        let now = at(901);

        let mut timer = refreshing(start, true);
        assert!(refused(&mut timer, now, 422, "Min-SE: 3600"));
        assert_eq!(timer.poll(now), REFRESH);
        assert_eq!(timer.request_value(), "3600;refresher=uac");
        assert_eq!(timer.request_min_se(), Some(3600));
        // Until it is answered 2xx, the old interval is in force.
        assert_eq!(timer.deadline(), at(1768));
        // A 422 that asks for no more than before is like any other refusal.
        assert!(refused(&mut timer, now, 422, "Min-SE: 3600"));
        assert_eq!(timer.deadline(), now + Duration::from_millis(433_500));

        for (owns, waits) in [(true, 2100), (false, 0)] {
            let mut timer = refreshing(start, owns);
            assert!(refused(&mut timer, now, 491, ""));
            assert_eq!(timer.deadline(), now + Duration::from_millis(waits));
        }
        for code in [500, 503, 480] {
            let mut timer = refreshing(start, true);
            assert!(refused(&mut timer, now, code, "Retry-After: 60"));
            assert_eq!(timer.deadline(), at(961));
            assert_eq!(timer.poll(at(961)), REFRESH);
            // After the session's expiry: it can only wait for its end.
            assert!(refused(&mut timer, at(962), code, "Retry-After: 3600"));
            assert_eq!(timer.poll(at(1767)), None);
            assert_eq!(timer.poll(at(1768)), Some(Due::Expired));
        }
        for (code, lines) in [
            (405, ""),
            (501, ""),
            (500, "Allow: INVITE, BYE"),
            (405, "Allow: BYE"),
        ] {
            let mut timer = refreshing(start, true);
            assert!(refused(&mut timer, now, code, lines));
            assert_eq!(timer.poll(now), RE_INVITE, "{code} {lines}");
            // It stays like this.
            let mut timer = timer.handle_success(now, &with("x: 1800")).unwrap();
            assert_eq!(timer.poll(at(1801)), RE_INVITE);
            // A peer that supports neither gets a second attempt, as after any other refusal.
            assert!(refused(&mut timer, at(1801), 405, ""));
            assert!(timer.deadline() < at(901 + 1768) && timer.deadline() > at(1802));
        }
        for code in [408, 481] {
            assert!(!refused(&mut refreshing(start, true), now, code, ""));
        }
    }

    #[test]
    fn any_other_refusal_has_a_second_try_and_the_session_lives_till_it_expires() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        for code in [400, 403, 488, 500, 503, 603] {
            let code = StatusCode::new(code).unwrap();
            let mut timer = refreshing(start, true);
            assert!(timer.handle_refusal(at(902), code, None, |_| {}));
            assert_eq!(timer.poll(at(1334)), None);
            assert_eq!(timer.poll(at(1335)), REFRESH);
            assert!(timer.handle_refusal(at(1336), code, None, |_| {}));
            assert_eq!(
                (timer.poll(at(1767)), timer.poll(at(1768))),
                (None, Some(Due::Expired))
            );
        }
    }

    #[test]
    fn a_peer_cannot_keep_us_at_it() {
        let start = Instant::now();
        let now = start + Duration::from_secs(900);
        let zeros: fn(&mut [u8]) = |bytes| bytes.fill(0);
        let mut timer = refreshing(start, false);
        let mut refreshes = 1;
        while timer.handle_refusal(now, StatusCode::REQUEST_PENDING, None, zeros)
            && timer.poll(now).is_some()
        {
            refreshes += 1;
        }
        assert_eq!(refreshes, MAX_REFRESHES);
    }

    #[test]
    fn a_peer_that_names_its_methods_without_update_gets_none() {
        let start = Instant::now();
        let mut timer = SessionTimer::new(start, agreed(100, true, Some(false), true));
        assert_eq!(timer.poll(start + Duration::from_secs(50)), RE_INVITE);
    }

    #[test]
    fn after_a_glare_the_two_try_at_different_times() {
        let of = |owns| {
            (0..2_000_u32).map(move |n| {
                thread_local!(static N: std::cell::Cell<u32> = const { std::cell::Cell::new(0) });
                N.set(n);
                glare_wait(owns, |bytes| bytes.copy_from_slice(&N.get().to_ne_bytes()))
            })
        };
        let ms = Duration::from_millis;
        assert_eq!(
            (of(true).min(), of(true).max()),
            (Some(ms(2100)), Some(ms(4000)))
        );
        assert_eq!(
            (of(false).min(), of(false).max()),
            (Some(ms(0)), Some(ms(2000)))
        );
    }
}
