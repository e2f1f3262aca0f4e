//! Queueing of actions.

use bytes::Bytes;

use super::super::leg::Leg;
use super::super::{LegNumber, Side};
use super::{Action, MessageState, Session, SessionReply, Stage, TransactionKey};
use crate::controlling::host::{Counter, Fate};
use crate::msrp_control::RelayCommand;
use crate::sip::{HeaderBlock, Message, StatusCode};
use crate::sip_ua::InDialogRequest;

impl Session {
    /// Also `None` after the end.
    pub(super) fn leg(&mut self, number: LegNumber) -> Option<&mut Leg> {
        let ended = self.stage == Stage::Ended;
        self.legs.get_mut(number.0 as usize).filter(|_| !ended)
    }

    /// Whether this request is inside a dialog that we have ended by BYE.
    pub(super) fn has_hung_up(&mut self, side: Side, request: &Message) -> bool {
        let dialog = match side {
            Side::Originator => Some(&mut self.dialog),
            Side::Leg(number) => self.leg(number).map(|leg| &mut leg.dialog),
        };
        dialog.is_some_and(|dialog| dialog.has_hung_up() && dialog.accept(request).is_ok())
    }

    pub(super) fn lose_message(&mut self) {
        if self.message == MessageState::Open {
            self.message = MessageState::Lost;
        }
    }

    pub(super) fn close_originator(&mut self) {
        if self.answer.is_some() && !self.relay_closed {
            self.relay_closed = true;
            self.relay(RelayCommand::CloseOriginator);
        }
    }

    pub(super) fn ack(&mut self, number: LegNumber) {
        if let Some(ack) = self.leg(number).map(|leg| leg.dialog.ack()) {
            self.send(number, ack);
        }
    }

    pub(super) fn bye(&mut self, number: LegNumber, code: StatusCode) {
        if let Some(bye) = self.leg(number).map(|leg| leg.dialog.bye(code)) {
            self.request(Side::Leg(number), bye);
        }
    }

    pub(super) fn send(&mut self, number: LegNumber, request: InDialogRequest) {
        let side = Side::Leg(number);
        self.actions
            .push_back(Action::Send(side, Box::new(request)));
    }

    pub(super) fn request(&mut self, side: Side, request: InDialogRequest) {
        self.actions
            .push_back(Action::Request(side, Box::new(request)));
    }

    pub(super) fn relay(&mut self, command: RelayCommand) {
        self.actions.push_back(Action::Relay(command));
    }

    pub(super) fn count(&mut self, counter: Counter) {
        self.actions.push_back(Action::Count(counter, 1));
    }

    pub(super) fn report(
        &mut self,
        leg: LegNumber,
        (recipient, uri): (u32, &str),
        fate: Fate,
        code: StatusCode,
    ) {
        self.actions.push_back(Action::Recipient {
            leg,
            recipient,
            uri: uri.to_owned(),
            fate,
            code: code.as_u16(),
        });
    }

    pub(super) fn reply_to_invite(&mut self, code: StatusCode, headers: HeaderBlock, body: Bytes) {
        let transaction = Some(self.transaction);
        self.reply(
            Side::Originator,
            transaction,
            code,
            headers.into_bytes(),
            body,
        );
    }

    pub(super) fn reply(
        &mut self,
        side: Side,
        transaction: Option<TransactionKey>,
        code: StatusCode,
        headers: Vec<u8>,
        body: Bytes,
    ) {
        let Some(transaction) = transaction else {
            return;
        };
        let dialog = match side {
            Side::Originator => Some(&self.dialog),
            Side::Leg(number) => self.legs.get(number.0 as usize).map(|leg| &leg.dialog),
        };
        let reply = SessionReply {
            transaction,
            code,
            to_tag: dialog
                .map(|dialog| dialog.local_tag().to_owned())
                .unwrap_or_default(),
            headers,
            body,
        };
        self.actions.push_back(Action::Reply(Box::new(reply)));
    }
}
