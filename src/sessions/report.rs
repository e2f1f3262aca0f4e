//! Answers about sessions for an operator. They go to the process that serves the command as lines
//! of fields, `name=value` separated by tabs; a leg's line begins with `leg`. That process converts
//! them to its protocol.

use std::fmt::{self, Write as _};
use std::time::Instant;

use super::entry::Entry;
use crate::controlling::large_message_mode::{LegOutcome, LegState, SessionId, Stage};
use crate::relay::{Relay, RelayTotals, SessionProgress};

/// The part of the relay that answers need.
pub trait RelayView {
    /// The MSRP progress of a session; `None`: it has not begun.
    fn progress(&self, session: SessionId) -> Option<SessionProgress>;
    /// Totals.
    fn totals(&self) -> RelayTotals;
}

impl RelayView for Relay {
    fn progress(&self, session: SessionId) -> Option<SessionProgress> {
        Relay::progress(self, session)
    }

    fn totals(&self) -> RelayTotals {
        Relay::totals(self)
    }
}

/// A question of an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// All sessions.
    Sessions,
    /// One session and its legs.
    Session(SessionId),
    /// Ends one session.
    End(SessionId),
    /// The state of the relay.
    Relay,
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Question::Sessions => f.write_str("sessions"),
            Question::Session(session) => write!(f, "session {session}"),
            Question::End(session) => write!(f, "end {session}"),
            Question::Relay => f.write_str("relay"),
        }
    }
}

impl Question {
    /// The inverse of its `Display`, which carries it from process to process.
    pub fn parse(text: &str) -> Option<Self> {
        let (word, argument) = text.split_once(' ').unwrap_or((text, ""));
        let session = SessionId::parse(argument);
        match word {
            "sessions" => Some(Question::Sessions),
            "session" => session.map(Question::Session),
            "end" => session.map(Question::End),
            "relay" => Some(Question::Relay),
            _ => None,
        }
    }
}

/// One session as a line.
pub(super) fn session_line(out: &mut String, now: Instant, entry: &Entry, relay: &dyn RelayView) {
    let (delivered, failed) = entry.outcomes();
    let progress = relay.progress(entry.id());
    let received = progress.as_ref().map_or(0, |progress| progress.received);
    let total = progress.as_ref().and_then(|progress| progress.total);
    let _ = write!(
        out,
        "id={}\tstate={}\tkind={}\tcall_id={}\trecipients={}\tdelivered={delivered}\tfailed={failed}\treceived={received}",
        entry.id(),
        stage_name(entry.machine.stage()),
        entry.kind.as_str(),
        one_line(&entry.call_id),
        entry.about.recipients,
    );
    if let Some(total) = total {
        let _ = write!(out, "\ttotal={total}");
    }
    let held_back = progress.is_some_and(|progress| progress.is_held_back);
    let _ = write!(out, "\theld_back={}", u8::from(held_back));
    let seconds = now.saturating_duration_since(entry.born).as_secs();
    let _ = writeln!(out, "\tseconds={seconds}");
}

/// Its legs, one line each.
pub(super) fn leg_lines(out: &mut String, entry: &Entry, relay: &dyn RelayView) {
    let progress = relay.progress(entry.id());
    for leg in entry.machine.legs() {
        let moved = progress.as_ref().and_then(|progress| {
            let mut legs = progress.legs.iter();
            legs.find(|moved| moved.number == leg.leg)
        });
        let (written, delivered) = moved.map_or((0, 0), |leg| (leg.written, leg.delivered));
        let _ = write!(
            out,
            "leg={}\turi={}\tstate={}\toutcome={}\twritten={written}\tdelivered={delivered}",
            leg.recipient,
            one_line(leg.uri),
            leg_state_name(leg.state),
            outcome_name(leg.outcome),
        );
        if let Some(LegOutcome::Failed(code) | LegOutcome::Deferred(code)) = leg.outcome {
            let _ = write!(out, "\tcode={code}");
        }
        if leg.to_isf {
            out.push_str("\tisf=1");
        }
        if let Some(total) = progress.as_ref().and_then(|progress| progress.total) {
            let _ = write!(out, "\ttotal={total}");
        }
        out.push('\n');
    }
}

/// The state of the relay as a line.
pub(super) fn relay_line(out: &mut String, relay: &dyn RelayView) {
    let totals = relay.totals();
    let _ = writeln!(
        out,
        "connections={}\tunbound={}\tmemory={}\tspool={}\theld_back={}",
        totals.connections,
        totals.unbound,
        totals.memory_bytes,
        totals.spool_bytes,
        totals.held_back
    );
}

/// A peer's text cannot add fields or lines.
fn one_line(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '.' } else { c })
        .collect()
}

fn stage_name(stage: Stage) -> &'static str {
    match stage {
        Stage::Inviting => "inviting",
        Stage::Answered => "answered",
        Stage::Abandoned => "abandoned",
        Stage::Confirmed => "confirmed",
        Stage::Closing => "closing",
        Stage::Delivering => "delivering",
        Stage::Unwinding => "unwinding",
        Stage::Ended => "ended",
    }
}

fn leg_state_name(state: LegState) -> &'static str {
    match state {
        LegState::Waiting => "waiting",
        LegState::Calling => "calling",
        LegState::Proceeding => "proceeding",
        LegState::CancelDue => "cancel-due",
        LegState::Cancelling => "cancelling",
        LegState::Answered => "answered",
        LegState::Confirmed => "confirmed",
        LegState::Aborting => "aborting",
        LegState::Departed => "departed",
        LegState::Ending => "ending",
        LegState::Over => "over",
    }
}

fn outcome_name(outcome: Option<LegOutcome>) -> &'static str {
    match outcome {
        None => "pending",
        Some(LegOutcome::Delivered) => "delivered",
        Some(LegOutcome::Failed(_)) => "failed",
        Some(LegOutcome::Deferred(_)) => "deferred",
        Some(LegOutcome::Interworked) => "interworked",
        Some(LegOutcome::OfferedAgain) => "offered-again",
    }
}
