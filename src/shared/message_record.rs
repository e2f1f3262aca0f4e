//! What is recorded of a message and its recipients, as the table of messages takes and returns it.

use super::sender_table::Link;

/// The texts of a message, by their places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageText {
    /// Kind of destination.
    Kind,
    /// Mode.
    Mode,
    /// Call-ID of the sender's request.
    CallId,
    /// The authenticated originator.
    Originator,
    /// Contribution-ID.
    ContributionId,
    /// Conversation-ID.
    ConversationId,
    /// Name of the session.
    Session,
    /// ICID of P-Charging-Vector.
    Icid,
    /// Message-ID, which may arrive later than the rest: it is the last.
    MessageId,
}

/// Number of [`MessageText`]s.
pub const MESSAGE_TEXTS: usize = MessageText::MessageId as usize + 1;

/// The texts of a message.
pub type MessageTexts = [Option<Vec<u8>>; MESSAGE_TEXTS];

/// The state of a recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecipientState {
    /// Its request is being sent, or has not ended.
    Outstanding,
    /// It has the message.
    Delivered,
    /// It has finally failed.
    Failed,
    /// The message was sent to the ISF, which has not answered yet.
    Interworked,
    /// The operator's script dropped it.
    Dropped,
    /// It could not be reached; the message waits for it in the store.
    Waiting,
}

impl RecipientState {
    pub(super) const ALL: &[Self] = &[
        RecipientState::Outstanding,
        RecipientState::Delivered,
        RecipientState::Failed,
        RecipientState::Interworked,
        RecipientState::Dropped,
        RecipientState::Waiting,
    ];

    /// Its name for the operator.
    pub fn as_str(self) -> &'static str {
        match self {
            RecipientState::Outstanding => "outstanding",
            RecipientState::Delivered => "delivered",
            RecipientState::Failed => "failed",
            RecipientState::Interworked => "interworked",
            RecipientState::Dropped => "dropped",
            RecipientState::Waiting => "waiting",
        }
    }

    /// Whether it changes no more, unless its copy is sent once more.
    pub(super) fn is_final(self) -> bool {
        match self {
            RecipientState::Outstanding | RecipientState::Interworked | RecipientState::Waiting => {
                false
            }
            RecipientState::Delivered | RecipientState::Failed | RecipientState::Dropped => true,
        }
    }
}

/// A message as it is recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MessageRecord {
    /// Its texts.
    pub texts: MessageTexts,
    /// When it was received, in milliseconds of the table's clock.
    pub received_ms: u64,
    /// Size of its content.
    pub bytes: u64,
    /// Number of its recipients.
    pub recipients: u32,
    /// Link to the record that counts its failures.
    pub link: Link,
}

impl MessageRecord {
    /// One of its texts.
    pub fn text(&self, text: MessageText) -> Option<&[u8]> {
        self.texts[text as usize].as_deref()
    }

    /// The same with this text.
    pub fn with(mut self, text: MessageText, value: Option<impl Into<Vec<u8>>>) -> Self {
        self.texts[text as usize] = value.map(Into::into);
        self
    }
}

/// What became of a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MessageCounts {
    /// Recipients that have it.
    pub delivered: u32,
    /// Recipients that have finally failed.
    pub failed: u32,
    /// Recipients that the operator's script dropped.
    pub dropped: u32,
    /// Recipients that the message waits for in the store.
    pub waiting: u32,
    /// When the last of these ended; 0: none has.
    pub last_end_ms: u64,
}

/// A recipient of a recorded message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecipientRecord {
    /// Its number among the recipients of its message, from 0.
    pub leg: u32,
    /// Its URI.
    pub uri: String,
    /// Its state.
    pub state: RecipientState,
    /// Status code of its end; 0: it has not ended.
    pub code: u16,
    /// When it ended; 0: it has not.
    pub end_ms: u64,
}
