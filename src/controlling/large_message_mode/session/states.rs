//! Stage of a session, and its public view.

use super::super::LegNumber;
use super::super::leg::{LegOutcome, LegState};

/// Stage of a session.
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
///  If it is already known whether the message is complete, Closing is skipped.
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The originator waits for a final response.
    Inviting,
    /// The originator has a 200, and has not acknowledged it.
    Answered,
    /// The same, but it will not be used: it gets a BYE as soon as RFC 3261 §15 permits.
    Abandoned,
    /// The originator's dialog is established.
    Confirmed,
    /// The originator has left; the relay has not reported yet whether its message is complete.
    Closing,
    /// The originator has left, its message is complete: legs get the rest of it.
    Delivering,
    /// No content will arrive: legs are cancelled or get BYE.
    Unwinding,
    /// Everything has ended.
    Ended,
}

/// A leg as shown to an operator.
#[derive(Clone, Copy, Debug)]
pub struct LegView<'a> {
    /// Its number.
    pub leg: LegNumber,
    /// Number of the recipient, from 0.
    pub recipient: u32,
    /// Its URI.
    pub uri: &'a str,
    /// Whether it goes through the ISF.
    pub to_isf: bool,
    /// Its state.
    pub state: LegState,
    /// The outcome of the message.
    pub outcome: Option<LegOutcome>,
}

/// Why there is no session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotStarted {
    /// The INVITE lacks data for a dialog: 400.
    Malformed,
    /// Its offer cannot be answered: 488.
    NoMedia,
    /// There are no recipients: 403.
    NoRecipients,
}

/// State of the originator's message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MessageState {
    /// Not complete yet.
    Open,
    Complete,
    Lost,
}
