//! How far a session is, and what others may see of it.

use super::super::LegNumber;
use super::super::leg::{LegOutcome, LegState};

/// How far a session is.
///
/// ```text
///  Inviting --first 2xx: 200--> Answered --ACK: ACK to legs--> Confirmed
///     |                            |                               |
///     | all failed                 | no ACK for ack_wait,          | BYE either way: session
///     | CANCEL: 487                | message lost,                 | expired, message lost, nobody
///     | ANSWER_WITHIN: 480         | nobody left: legs get BYE     | left, no BYE when complete
///     |                            v                               v
///     |                        Abandoned                        Closing --complete--> Delivering
///     |                            | ACK, or none: BYE             |                      |
///     v                            v                    incomplete v                      |
///     +----------------------------+-------> Unwinding <-----------+                      |
///                                                | all legs over            all legs over |
///                                                +------------> Ended <-------------------+
///
///  Where it is known already whether the message is complete, Closing is passed over.
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The originator waits for a final response.
    Inviting,
    /// The originator has a 200, and has not acknowledged it.
    Answered,
    /// The same, but nothing will come of it: it gets a BYE as soon as RFC 3261 §15 permits.
    Abandoned,
    /// The originator's dialog is up.
    Confirmed,
    /// The originator is gone; the relay has yet to say whether its message is complete.
    Closing,
    /// The originator is gone, its message is complete: legs get what they have not got yet.
    Delivering,
    /// No content will come: legs are cancelled or get BYE.
    Unwinding,
    /// All is over.
    Ended,
}

/// A leg as an operator sees it.
#[derive(Clone, Copy, Debug)]
pub struct LegView<'a> {
    /// Its number.
    pub leg: LegNumber,
    /// The recipient.
    pub uri: &'a str,
    /// Whether it is the one by way of the ISF.
    pub to_isf: bool,
    /// How far it is.
    pub state: LegState,
    /// What became of the message.
    pub outcome: Option<LegOutcome>,
}

/// Why there is no session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotStarted {
    /// The INVITE lacks what a dialog is made of: 400.
    Malformed,
    /// Its offer cannot be answered: 488.
    NoMedia,
    /// Nobody is to get the message: 403.
    NoRecipients,
}

/// What has become of the originator's message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MessageState {
    /// Not complete yet.
    Open,
    Complete,
    Lost,
}
