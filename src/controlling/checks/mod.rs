//! The checks of 9.1.1 and 9.1.2, in the order of the specification; the first that fails
//! determines the answer.
//!
//! | file | job |
//! |---|---|
//! | `common` | the checks that lists and groups share |
//! | `lists` | checks for messages to a list |
//! | `group` | checks for pre-defined groups only |
//! | `sent_on` | limits for messages that lists or groups have forwarded |

use std::mem;

use super::host::{Counter, Journal};
use super::originator::Originator;
use super::received::Kind;
use super::refusal::Refusal;
use super::request::{CheckStage, GroupLookup, Request};
use crate::log::at;
use crate::operator::Event;
use crate::shared::Known;
use common::{
    Checked, accepted_by_script, authorised_by_script, authorised_originator, from, hops,
    identifiers, no_repeated_field, session, understood_option_tags, user_agent_version,
};
use sent_on::not_sent_on;

mod common;
mod group;
mod lists;
mod sent_on;
#[cfg(test)]
pub(super) mod tests;

pub(super) use common::single_fields;

type Step = fn(&mut Request, &dyn Journal) -> Result<Checked, Refusal>;

/// The first checks for every destination. Steps that the specification does not name (option tags,
/// hops, identifiers: RFC 3261 §8.2.2) follow once the originator is authorised. A request with a
/// repeated field comes first, because its originator is ambiguous.
const OF_ALL: &[Step] = &[
    no_repeated_field,
    authorised_originator,
    authorised_by_script,
    user_agent_version,
    understood_option_tags,
    hops,
    from,
    not_sent_on,
    identifiers,
];

/// The further checks for 1-to-many and ad-hoc groups.
const EXPLODER_AND_ADHOC: &[Step] = &[
    lists::anonymity,
    lists::long_list,
    lists::resource_list,
    lists::recipient_limit,
    lists::destinations,
    lists::content,
    session,
    accepted_by_script,
];

/// The further checks for pre-defined groups, the first of which asks for the group (9.1.1-4;
/// readings N14, N15: its permissions are known once it is found).
const GROUP: &[Step] = &[
    group::wanted,
    group::exists,
    group::permits,
    group::supports_cpm,
    group::anonymity,
    group::members,
    group::content,
    session,
    accepted_by_script,
];

/// The check from which another process may continue: that asks for the group, or finds the list
/// long.
fn last_step_here(kind: Kind) -> usize {
    match kind {
        Kind::Group => OF_ALL.len(),
        Kind::Exploder | Kind::AdHoc => OF_ALL.len() + 1,
    }
}

/// Runs the check of this number.
fn run(request: &mut Request, step: usize, host: &dyn Journal) -> Result<Checked, Refusal> {
    let further = match request.kind() {
        Kind::Exploder | Kind::AdHoc => EXPLODER_AND_ADHOC,
        Kind::Group => GROUP,
    };
    match OF_ALL.iter().chain(further).nth(step) {
        Some(check) => check(request, host),
        None => Ok(Checked::All),
    }
}

/// What a request needs next, or the result of its checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// Ask the operator's script this, pass the answer to [`Request::handle_script`], poll again.
    Ask(Event),
    /// Look up the group, pass it to [`Request::handle_group`], poll again.
    WantGroup,
    /// The list is long: let another process [`resume`](Request::resume), or call
    /// [`Request::read_list_here`] and poll again.
    LongList,
    /// Every check passed: fan out.
    Accepted,
    /// Refused, or already answered: see [`Request::reply`].
    Answered,
    /// It has been accepted before: it gets the same reply again, or none if there is none yet, and
    /// nothing else happens.
    Repeated,
}

impl Request {
    /// Runs the checks as far as possible. Once finished, it returns the same result again.
    pub fn poll_check(&mut self, host: &dyn Journal) -> Check {
        loop {
            let step = match self.stage {
                CheckStage::Checking(step) => step,
                CheckStage::Asking(_, question) => return Check::Ask(question),
                CheckStage::WantingGroup(_) => return Check::WantGroup,
                CheckStage::AtLongList(_) => return Check::LongList,
                CheckStage::Accepted => return Check::Accepted,
                CheckStage::Answered => return Check::Answered,
                CheckStage::Repeated => return Check::Repeated,
            };
            if step == 0 {
                let requests = self.service.requests().zip(self.name.as_ref());
                let known = requests.and_then(|(requests, name)| requests.find(name));
                if !matches!(known, Some(Known::Repeated { .. })) {
                    host.count(Counter::Requests, 1);
                }
                if let Some(known) = known {
                    self.stage = self.handle_known(known, host);
                    continue;
                }
            }
            self.stage = match run(self, step, host) {
                Ok(Checked::Passed) => CheckStage::Checking(step + 1),
                Ok(Checked::Ask(question)) => CheckStage::Asking(step, question),
                Ok(Checked::WantGroup) => CheckStage::WantingGroup(step),
                Ok(Checked::LongList) => CheckStage::AtLongList(step),
                Ok(Checked::All) => CheckStage::Accepted,
                Err(refusal) => self.refuse(&refusal, host),
            };
        }
    }

    /// The question that the operator's script is being asked.
    pub(super) fn question(&self) -> Option<Event> {
        match self.stage {
            CheckStage::Asking(_, question) => Some(question),
            _ => None,
        }
    }

    /// The answer of the operator's script to [`Check::Ask`].
    pub fn handle_script(&mut self, allowed: bool, host: &dyn Journal) {
        let CheckStage::Asking(step, question) = self.stage else {
            return;
        };
        let verdict = mem::take(&mut self.verdict);
        self.stage = if allowed {
            CheckStage::Checking(step + 1)
        } else {
            self.refuse(&verdict.refusal(at!(Notice), question), host)
        };
    }

    /// The group requested by [`Check::WantGroup`].
    pub fn handle_group(&mut self, lookup: GroupLookup) {
        if let CheckStage::WantingGroup(step) = self.stage {
            self.group = Some(lookup);
            self.stage = CheckStage::Checking(step + 1);
        }
    }

    /// When another process received it.
    pub fn set_received_ms(&mut self, received_ms: u64) {
        self.received_ms = received_ms;
    }

    /// No other process reads the list.
    pub fn read_list_here(&mut self) {
        if let CheckStage::AtLongList(step) = self.stage {
            self.stage = CheckStage::Checking(step + 1);
        }
    }

    /// Another process finishes it, and replies.
    pub fn handle_passed_on(&mut self) {
        self.stage = CheckStage::Answered;
    }

    /// Continues where another process has reached [`Check::WantGroup`] or [`Check::LongList`]: the
    /// checks before it have passed there, for this originator.
    pub fn resume(&mut self, originator: &str, max_recipients: usize) {
        if self.stage != CheckStage::Checking(0) {
            return;
        }
        if self.originator() != Some(originator) {
            self.originator = Originator::named(originator);
        }
        self.policy.max_recipients = max_recipients;
        let step = last_step_here(self.kind);
        self.stage = match self.kind {
            Kind::Group => CheckStage::WantingGroup(step),
            Kind::Exploder | Kind::AdHoc => CheckStage::Checking(step + 1),
        };
    }
}
