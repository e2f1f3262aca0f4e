//! The session's state machine: one originator, and a leg for each recipient.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Instant;

use super::accepted_invite::AcceptedInvite;
use super::best_response::BestResponse;
use super::leg::Leg;
use super::offer_answer::{offer_in, own_media};
use super::outgoing_invite::Template;
use super::pace::Pace;
use super::{DialogName, LegNumber, SessionId, Side};
use crate::controlling::host::Counter;
use crate::controlling::large_mode_settings::{ANSWER_WITHIN, LargeModeSettings};
use crate::controlling::service::ControllingFunction;
use crate::sdp::{MsrpMedia, OwnMedia, SessionDescription, Transport};
use crate::shared::{HeadNote, SenderNote, SenderTable};
use crate::sip::Message;
use crate::sip_ua::{Dialog, SessionTimer};

mod action;
mod clock;
mod ending;
mod legs;
mod originator;
mod output;
mod refreshing;
mod relay_events;
mod requests;
mod responses;
mod restored;
mod states;

use states::MessageState;

pub use action::{Action, SessionReply, TransactionKey};
pub use states::{LegView, NotStarted, Stage};

/// One large message: a dialog with the originator, one with each recipient (9.1.2-7).
///
/// Without IO and clock. The rule: call one `handle_*`, take all actions of
/// [`poll_action`](Self::poll_action) and carry them out in that order, then wait for the next
/// event or for [`poll_timeout`](Self::poll_timeout), which leads to
/// [`handle_timeout`](Self::handle_timeout). `now` never runs backwards. After [`Action::Ended`]
/// nothing happens any more. Events that are late, repeated or for a leg that does not exist have
/// no effect. If there are hundreds of actions, a caller with other sessions may carry out some and
/// pass in events before the rest, as long as their order is kept.
///
/// ```
/// use std::rc::Rc;
/// use std::time::Instant;
///
/// use cpm::controlling::large_message_mode::{
///     AcceptedInvite, Action, LargeModeSettings, MsrpAddress, MsrpAddresses, Session, Stage,
///     TransactionKey,
/// };
/// use cpm::controlling::{AboutRequest, ControllingFunction, Kind, fill_random};
/// use cpm::msrp_control::SessionId;
/// use cpm::policy::Settings;
/// use cpm::sdp::Transport;
/// use cpm::sip::Message;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut settings = Settings::default();
/// settings.set("exploder_uri", "sip:many@example.com")?;
/// let msrp = MsrpAddresses {
///     tcp: Some(MsrpAddress { address: [192, 0, 2, 9].into(), port: 2855 }),
///     tls: None,
///     fingerprint: Default::default(),
///     leg_transport: Transport::Tcp,
/// };
/// let contact = "sip:192.0.2.9".to_owned();
/// let large_mode = Rc::new(LargeModeSettings::new(&settings.large_mode, contact, msrp));
/// let service = Rc::new(ControllingFunction::new(settings, 0)?);
///
/// let invite = "INVITE sip:many@example.com SIP/2.0\r\n\
///     Via: SIP/2.0/TCP 192.0.2.1;branch=z9hG4bK1\r\n\
///     From: <sip:anne@example.com>;tag=1\r\nTo: <sip:many@example.com>\r\n\
///     Call-ID: 1\r\nCSeq: 1 INVITE\r\nContact: <sip:anne@192.0.2.1>\r\n\
///     Content-Type: application/sdp\r\n\r\n\
///     v=0\r\nc=IN IP4 192.0.2.1\r\nm=message 2000 TCP/MSRP *\r\na=accept-types:message/cpim\r\n\
///     a=path:msrp://192.0.2.1:2000/a;tcp\r\na=sendonly\r\n";
/// let accepted = AcceptedInvite {
///     session: SessionId::from_bytes([1; 16]),
///     claim: None,
///     kind: Kind::Exploder,
///     message: Message::parse(invite.into())?,
///     own_address: "sip:many@example.com".to_owned(),
///     originator: "sip:anne@example.com".to_owned(),
///     asserted: "<sip:anne@example.com>".to_owned(),
///     notifications_to: None,
///     recipients: "sip:bill@example.com\nsip:carol@example.com\n".to_owned(),
///     history: None,
///     about: AboutRequest::default(),
///     record: Default::default(),
/// };
/// let now = Instant::now();
/// let transaction = TransactionKey(1);
/// let session = Session::new(now, &service, &large_mode, &accepted, transaction, fill_random);
/// let mut session = session.expect("its checks have passed");
///
/// let mut invited = Vec::new();
/// while let Some(action) = session.poll_action() {
///     if let Action::Invite(invite) = action {
///         invited.push(invite.request_uri);
///     }
/// }
/// assert_eq!(invited, ["sip:bill@example.com", "sip:carol@example.com"]);
/// assert_eq!(session.stage(), Stage::Inviting);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Session {
    id: SessionId,
    service: Rc<ControllingFunction>,
    settings: Rc<LargeModeSettings>,
    random: fn(&mut [u8]),
    invite: Message,
    offer: SessionDescription,
    template: Template,
    /// For the relay.
    head_note: Option<Box<HeadNote>>,
    dialog: Dialog,
    transaction: TransactionKey,
    own: OwnMedia,
    /// Our session description towards the originator, once there is one.
    answer: Option<String>,
    /// Session-Expires towards the originator.
    timer: Option<SessionTimer>,
    stage: Stage,
    message: MessageState,
    /// Size of the message, from its first chunk.
    size: Option<u64>,
    sender_connected: bool,
    relay_closed: bool,
    aborted: bool,
    told_no_more_legs: bool,
    /// The relay opens no further leg.
    no_room_for_legs: bool,
    legs: Vec<Leg>,
    /// The number of legs, from the first, that have been invited; the others wait.
    invited: usize,
    pace: Pace,
    best_response: BestResponse,
    /// The number of legs, from the first, that will not be opened any more.
    settled: usize,
    /// Legs that have not ended.
    standing: usize,
    /// Legs without outcome.
    undecided: usize,
    /// Legs whose recipient the message waits for.
    deferred: usize,
    /// Deadline of the stage, and of the session as a whole.
    deadline: Option<Instant>,
    ack_deadline: Option<Instant>,
    /// Deadline for the originator's message to be complete.
    complete_by: Option<Instant>,
    born: Instant,
    /// No deadline is earlier; this may be too early.
    wake_at: Option<Instant>,
    actions: VecDeque<Action>,
}

impl Session {
    /// Begins a session: an INVITE goes to each recipient, or to as many as may be invited at once.
    /// `transaction` is that of the originator's INVITE, to which 100 has been sent. `random` fills
    /// its argument from a cryptographic source.
    ///
    /// # Errors
    ///
    /// [`NotStarted`], for an INVITE that the checks would have refused: nothing was sent, and the
    /// caller replies.
    pub fn new(
        now: Instant,
        service: &Rc<ControllingFunction>,
        settings: &Rc<LargeModeSettings>,
        invite: &AcceptedInvite,
        transaction: TransactionKey,
        random: fn(&mut [u8]),
    ) -> Result<Self, NotStarted> {
        let offer = offer_in(&invite.message).ok_or(NotStarted::NoMedia)?;
        let media = MsrpMedia::of(&offer, &settings.msrp.transports());
        let transport = media.map_err(|_| NotStarted::NoMedia)?.transport;
        let mut session = Session::begin(
            now,
            (service, settings),
            invite,
            (offer, transport),
            transaction,
            random,
        )?;
        let until = now + ANSWER_WITHIN;
        session.deadline = Some(until);
        session.wake_by(Some(until));
        session.count(Counter::Accepted);
        for (number, recipient) in (0..).zip(invite.recipients.lines()) {
            let to_isf = session.template.needs_isf(recipient, service);
            session.call(now, (number, recipient), to_isf, true);
        }
        session.settle(now);
        Ok(session)
    }

    /// A session that does nothing yet.
    fn begin(
        now: Instant,
        (service, settings): (&Rc<ControllingFunction>, &Rc<LargeModeSettings>),
        invite: &AcceptedInvite,
        (offer, transport): (SessionDescription, Transport),
        transaction: TransactionKey,
        random: fn(&mut [u8]),
    ) -> Result<Self, NotStarted> {
        let id = invite.session;
        let side = Side::Originator;
        let tag = service
            .ids()
            .names()
            .write(DialogName { session: id, side });
        let dialog =
            Dialog::of_callee(&invite.message, &tag, 0).map_err(|_| NotStarted::Malformed)?;
        let template = Template::new(invite, service, settings, random);
        let template = template.ok_or(NotStarted::Malformed)?;
        let own = own_media(&settings.msrp, transport, random).ok_or(NotStarted::NoMedia)?;
        if invite.recipients.lines().next().is_none() {
            return Err(NotStarted::NoRecipients);
        }
        let note = |(senders, sender): (&SenderTable, &String)| SenderNote {
            senders: senders.clone(),
            sender: sender.clone(),
            ttl_s: service.settings().imdn_ttl_s as u64,
        };
        let sender = invite.notifications_to.as_ref();
        let sender = service.senders().zip(sender).map(note);
        let message = service
            .messages()
            .map(|messages| (messages.clone(), invite.record));
        let head_note =
            (sender.is_some() || message.is_some()).then(|| Box::new(HeadNote { sender, message }));
        Ok(Session {
            id,
            service: Rc::clone(service),
            settings: Rc::clone(settings),
            random,
            invite: invite.message.clone(),
            offer,
            template,
            head_note,
            dialog,
            transaction,
            own,
            answer: None,
            timer: None,
            stage: Stage::Inviting,
            message: MessageState::Open,
            size: None,
            sender_connected: false,
            relay_closed: false,
            aborted: false,
            told_no_more_legs: false,
            no_room_for_legs: false,
            legs: Vec::new(),
            invited: 0,
            pace: Pace::new(now, settings),
            best_response: BestResponse::default(),
            settled: 0,
            standing: 0,
            undecided: 0,
            deferred: 0,
            deadline: None,
            ack_deadline: None,
            complete_by: None,
            born: now,
            wake_at: None,
            actions: VecDeque::new(),
        })
    }

    /// Its name.
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// Its stage.
    pub fn stage(&self) -> Stage {
        self.stage
    }

    /// Size of the message in bytes, from its first chunk, or as announced before. `None`: unknown.
    pub fn size(&self) -> Option<u64> {
        let announced = || {
            let media = MsrpMedia::of(&self.offer, &self.settings.msrp.transports());
            media.ok()?.file_selector?.size
        };
        self.size.or_else(announced)
    }

    /// The legs in the order of their numbers.
    pub fn legs(&self) -> impl ExactSizeIterator<Item = LegView<'_>> {
        self.legs.iter().enumerate().map(|(place, leg)| LegView {
            leg: place_of(place),
            recipient: leg.recipient,
            uri: &leg.uri,
            to_isf: leg.to_isf,
            state: leg.state,
            outcome: leg.outcome,
        })
    }

    /// The next action.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When to call [`handle_timeout`](Self::handle_timeout), if nothing happens before. Never
    /// `None` before the end.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.wake_at.filter(|_| self.stage != Stage::Ended)
    }
}

/// There are at most four legs per recipient: it is offered the message at most twice, and so is
/// the ISF.
fn place_of(place: usize) -> LegNumber {
    LegNumber(u32::try_from(place).unwrap_or(u32::MAX))
}
