//! Sessions whose message is complete in the store.

use std::rc::Rc;
use std::time::Instant;

use super::super::accepted_invite::AcceptedInvite;
use super::super::offer_answer::offer_in;
use super::{MessageState, NotStarted, Session, Stage, TransactionKey};
use crate::controlling::large_mode_settings::LargeModeSettings;
use crate::controlling::service::ControllingFunction;
use crate::msrp_control::{RelayCommand, StoredContent};

impl Session {
    /// Invites recipients of a message in the store, each in a new call. There is no originator:
    /// it has left long ago, with its answer. `invite`: with a new session.
    ///
    /// # Errors
    ///
    /// [`NotStarted`], for a message that nobody can be invited to any more.
    pub fn restored(
        now: Instant,
        service: &Rc<ControllingFunction>,
        settings: &Rc<LargeModeSettings>,
        invite: &AcceptedInvite,
        content: StoredContent,
        random: fn(&mut [u8]),
    ) -> Result<Self, NotStarted> {
        let offer = offer_in(&invite.message).ok_or(NotStarted::NoMedia)?;
        let media = (offer, settings.msrp.leg_transport);
        // Of no transaction.
        let transaction = TransactionKey(0);
        let services = (service, settings);
        let mut session = Session::begin(now, services, invite, media, transaction, random)?;
        session.head_note = None;
        session.stage = Stage::Delivering;
        session.message = MessageState::Complete;
        session.size = Some(content.size);
        session.relay(RelayCommand::Restore(Box::new(content)));
        for (number, recipient) in (0..).zip(invite.recipients.lines()) {
            let to_isf = session.template.needs_isf(recipient, service);
            session.call(now, (number, recipient), to_isf, true);
        }
        session.settle(now);
        session.wake_again();
        Ok(session)
    }
}
