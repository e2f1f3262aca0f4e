//! The checks of 9.1.1 and 9.1.2, in the order of the specification; the first that fails answers.
//!
//! | file | job |
//! |---|---|
//! | `common` | the checks that lists and groups share |
//! | `lists` | those of messages to a list |
//! | `group` | those that only pre-defined groups have |
//! | `sent_on` | what a list or a group has sent on comes back |

use super::host::{Counter, Host};
use super::originator::Originator;
use super::received::Kind;
use super::refusal::Refusal;
use super::request::{CheckStage, GroupLookup, Request};
use crate::shared::Known;
use common::{
    Checked, NOT_AUTHORISED, authorised_originator, from, hops, identifiers, no_repeated_field,
    operator, session, understood_option_tags, user_agent_version,
};
use sent_on::not_sent_on;

mod common;
mod group;
mod lists;
mod sent_on;

pub(super) use common::single_fields;

type Step = fn(&mut Request, &dyn Host) -> Result<Checked, Refusal>;

/// The first checks of every destination. The steps that the specification does not name (option
/// tags, hops, identifiers: RFC 3261 §8.2.2) come once the originator is known to be allowed to
/// ask; but who that is cannot be told of a request that says things twice.
const OF_ALL: &[Step] = &[
    no_repeated_field,
    authorised_originator,
    operator,
    user_agent_version,
    understood_option_tags,
    hops,
    from,
    not_sent_on,
    identifiers,
];

/// The further ones for 1-to-many and ad-hoc groups.
const EXPLODER_AND_ADHOC: &[Step] = &[
    lists::anonymity,
    lists::resource_list,
    lists::recipient_limit,
    lists::destinations,
    lists::content,
    session,
];

/// The further ones for pre-defined groups, of which the first asks for the group (9.1.1-4;
/// readings N14, N15: what a group allows is known once it is found).
const GROUP: &[Step] = &[
    group::wanted,
    group::exists,
    group::permits,
    group::supports_cpm,
    group::anonymity,
    group::members,
    group::content,
    session,
];

/// The check that asks for the group, for destinations that are one.
fn group_step(kind: Kind) -> Option<usize> {
    (kind == Kind::Group).then_some(OF_ALL.len())
}

/// Runs the check of this number.
fn run(request: &mut Request, step: usize, host: &dyn Host) -> Result<Checked, Refusal> {
    let further = match request.kind() {
        Kind::Exploder | Kind::AdHoc => EXPLODER_AND_ADHOC,
        Kind::Group => GROUP,
    };
    match OF_ALL.iter().chain(further).nth(step) {
        Some(check) => check(request, host),
        None => Ok(Checked::All),
    }
}

/// What a request needs next, or what its checks came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// Ask the operator's own policy, give [`Request::handle_operator`] its answer, poll again.
    AskOperator,
    /// Look the group up, give it to [`Request::handle_group`], poll again.
    WantGroup,
    /// Every check passed: fan out.
    Accepted,
    /// Refused, or answered already: see [`Request::reply`].
    Answered,
    /// It has been taken before: it gets the same reply again, or none where there is none yet, and
    /// nothing else comes of it.
    Repeated,
}

impl Request {
    /// Runs the checks as far as they get. Repeated after the end it says the same again.
    pub fn poll_check(&mut self, host: &dyn Host) -> Check {
        loop {
            let step = match self.stage {
                CheckStage::Checking(step) => step,
                CheckStage::Asking(_) => return Check::AskOperator,
                CheckStage::WantingGroup(_) => return Check::WantGroup,
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
                Ok(Checked::AskOperator) => CheckStage::Asking(step),
                Ok(Checked::WantGroup) => CheckStage::WantingGroup(step),
                Ok(Checked::All) => CheckStage::Accepted,
                Err(refusal) => self.refuse(&refusal, host),
            };
        }
    }

    /// The operator's answer to [`Check::AskOperator`].
    pub fn handle_operator(&mut self, allowed: bool, host: &dyn Host) {
        let CheckStage::Asking(step) = self.stage else {
            return;
        };
        self.stage = if allowed {
            CheckStage::Checking(step + 1)
        } else {
            let refusal = Refusal::forbidden(
                NOT_AUTHORISED,
                "the operator's script refused the originator",
            );
            self.refuse(&refusal, host)
        };
    }

    /// The group that [`Check::WantGroup`] asked for.
    pub fn handle_group(&mut self, lookup: GroupLookup) {
        if let CheckStage::WantingGroup(step) = self.stage {
            self.group = Some(lookup);
            self.stage = CheckStage::Checking(step + 1);
        }
    }

    /// Goes on where another process has come to [`Check::WantGroup`]: the checks before it have
    /// passed there, for this originator.
    pub fn resume_at_group(&mut self, originator: &str) {
        if let Some(step) = group_step(self.kind).filter(|_| self.stage == CheckStage::Checking(0))
        {
            if self.originator() != Some(originator) {
                self.originator = Originator::named(originator);
            }
            self.stage = CheckStage::WantingGroup(step);
        }
    }
}
