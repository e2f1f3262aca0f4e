//! Large message mode (9.1.2): one sender's MSRP upload, and a session with each recipient.
//!
//! [`Session`] is the state machine of one message: it only decides. It lives in the sessions
//! process, which passes it the events of workers, transaction layer and relay, and carries out its
//! [`Action`]s. Content never passes through it: the relay forwards that ([`crate::msrp_session`]),
//! and reports when a leg is complete.
//!
//! ```text
//!  worker: classify, check --AcceptedInvite--> Session::new --Invite--> recipients
//!  worker: ACK, BYE, CANCEL, UPDATE, re-INVITE --> handle_request, handle_cancel
//!  worker: replies of recipients ---------------> handle_leg_provisional, _success, _failure
//!  relay:  message complete, leg ended ---------> handle_message_*, handle_leg_*
//!                                                --Action--> tm, relay, counters
//! ```
//!
//! A worker recognises requests and replies of a session by the names of its dialogs:
//! [`DialogNames::read`] of the To tag (requests) or of the Call-ID (replies).
//!
//! How the state machine is connected:
//!
//! - Originator's INVITE: after 100, with the transaction kept for longer than [`ANSWER_WITHIN`],
//!   the worker passes on an [`AcceptedInvite`]. The worker answers its CANCEL, and passes it on
//!   too. Its ACK is always passed on, whether the transaction layer recognised it or not.
//! - Legs: INVITEs are sent without ACK for their 2xx by the transaction layer. Each 2xx arrives
//!   here, including retransmitted and forked ones, on whatever path. Failures are acknowledged by
//!   the transaction layer and arrive here once.
//! - A 2xx to an INVITE of a session that no longer exists gets the requests of
//!   [`requests_for_stray_answer`], a request 481.
//! - A reply that cannot be sent, because the transaction has ended by itself:
//!   [`Session::handle_reply_failed`] if it was for the INVITE. A request that cannot be sent:
//!   [`Session::handle_leg_unsent`], or [`Session::handle_outcome`] with 503.
//! - Re-INVITEs are sent like the first INVITEs: without ACK, and each 2xx arrives here.
//! - Relay: [`RelayCommand`]s are carried out in order; those before a reply reach the relay before
//!   the reply is sent, and the relay checks its commands before it answers 481 to an unknown
//!   To-Path. All events of a message or leg precede its final event, which covers every chunk
//!   acknowledged before `Close`.
//! - Deadlines use the caller's clock: one timer for the earliest [`Session::poll_timeout`] of all
//!   sessions.
//!
//! | file | job |
//! |---|---|
//! | `session` | the machine of one message |
//! | `leg` | one recipient's leg |
//! | `stray_answer` | the response to a 2xx whose session no longer exists |
//! | `pace` | when the next INVITE may be sent |
//! | `best_response` | which of the recipients' answers the originator gets |
//! | `offer_answer` | session descriptions of both sides |
//! | `accepted_invite` | an INVITE passed between processes |
//! | `outgoing_invite` | the INVITEs to recipients |
//! | `checks` | checks in addition to pager mode |

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
    LEG_SILENCE, LargeModeSettings, MAX_SESSION_AGE, MsrpAddress, MsrpAddresses, OwnFingerprint,
    RELAY_TIMEOUT, SENDER_BYE_TIMEOUT,
};
pub use crate::msrp_control::{LegNumber, MsrpEnds, RelayCommand, SessionId, Side};
pub use crate::sip_ua::{InDialogRequest, MAX_TAG_BYTES};
pub use accepted_invite::AcceptedInvite;
pub(super) use checks::{TOO_MANY_PARTICIPANTS, UNDERSTOOD, check_invite};
pub use leg::{LegOutcome, LegState, MAX_FORKS};
pub use outgoing_invite::InviteRequest;
pub use session::{Action, LegView, NotStarted, Session, SessionReply, Stage, TransactionKey};
pub use stray_answer::requests_for_stray_answer;
