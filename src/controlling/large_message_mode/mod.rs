//! Large message mode (9.1.2): one sender's MSRP upload, and a session with each recipient.
//!
//! [`Session`] is the machine of one message: it decides, and does nothing itself. It stands in the
//! module process, which hands it what workers, transaction layer and relay saw, and carries out
//! its [`Action`]s. Content never passes it: the relay moves that ([`crate::msrp_session`]), and
//! tells when a leg has it all.
//!
//! ```text
//!  worker: classify, check --AcceptedInvite--> Session::new --Invite--> recipients
//!  worker: ACK, BYE, CANCEL, UPDATE, re-INVITE --> handle_request, handle_cancel
//!  worker: replies of recipients ---------------> handle_leg_provisional, _success, _failure
//!  relay:  message complete, leg ended ---------> handle_message_*, handle_leg_*
//!                                                --Action--> tm, relay, counters
//! ```
//!
//! A worker knows what belongs to a session by the names of its dialogs: [`DialogNames::read`] of
//! the To tag (requests) or of the Call-ID (replies).
//!
//! How the machine is wired:
//!
//! - Originator's INVITE: after 100 and with the transaction kept for more than [`ANSWER_WITHIN`],
//!   the worker passes an [`AcceptedInvite`] on. Its CANCEL is answered by the worker, and passed
//!   on too. Its ACK always is passed on, whether the transaction layer knew it or not.
//! - Legs: INVITEs are sent without ACK to their 2xx by the transaction layer. Each 2xx comes here,
//!   repeated and forked ones too, whichever way it came in. Failures are acknowledged by the
//!   transaction layer and come here once.
//! - A 2xx to an INVITE of a session that is not there any more gets what
//!   [`requests_for_stray_answer`] says, a request 481.
//! - A reply that cannot be sent, because the transaction has ended by itself:
//!   [`Session::handle_reply_failed`] where it was that of the INVITE. A request that cannot be
//!   sent: [`Session::handle_leg_unsent`], or [`Session::handle_outcome`] with 503.
//! - Re-INVITEs are sent like the first INVITEs: without ACK, and each 2xx comes here.
//! - Relay: [`RelayCommand`]s are carried out in their order, those before a reply are with the
//!   relay when the reply leaves, and the relay looks into its commands before it answers 481 to a
//!   To-Path that it does not know. What it has to say of a message or leg it says before its last
//!   word on it, and that is the truth as of the `Close`: the last chunk that was answered with 200
//!   counts.
//! - Deadlines are the caller's clock: one timer for the earliest [`Session::poll_timeout`] of all
//!   sessions.
//!
//! | file | job |
//! |---|---|
//! | `session` | the machine of one message |
//! | `leg` | one recipient's leg |
//! | `stray_answer` | what a 2xx gets whose session is gone |
//! | `pace` | when the next INVITE may go |
//! | `best_response` | which of the recipients' answers the originator gets |
//! | `offer_answer` | session descriptions of both sides |
//! | `accepted_invite` | an INVITE on its way between processes |
//! | `outgoing_invite` | the INVITEs to recipients |
//! | `checks` | what is checked beyond pager mode |

mod accepted_invite;
mod best_response;
mod checks;
mod leg;
mod offer_answer;
mod outgoing_invite;
mod pace;
mod session;
mod stray_answer;
#[cfg(test)]
mod tests;

pub use super::dialog_names::{DialogName, DialogNames};
pub use super::large_mode_settings::{
    ABORT_TIMEOUT, ACK_TIMEOUT, ANSWER_WITHIN, BYE_TIMEOUT, CANCEL_TIMEOUT, CONNECT_TIMEOUT,
    LEG_SILENCE, LargeModeSettings, MAX_SESSION_AGE, MsrpAddress, MsrpAddresses, RELAY_TIMEOUT,
    SENDER_BYE_TIMEOUT,
};
pub use crate::msrp_control::{LegNumber, MsrpEnds, RelayCommand, SessionId, Side};
pub use crate::sip_ua::{InDialogRequest, MAX_TAG_BYTES};
pub use accepted_invite::AcceptedInvite;
pub(super) use checks::{TOO_MANY_PARTICIPANTS, UNDERSTOOD, check_invite};
pub use leg::{LegOutcome, LegState, MAX_FORKS};
pub use outgoing_invite::InviteRequest;
pub use session::{Action, LegView, NotStarted, Session, SessionReply, Stage, TransactionKey};
pub use stray_answer::requests_for_stray_answer;
