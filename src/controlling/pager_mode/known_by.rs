//! What a kept message is known by to an operator, as keyed hashes.

use std::hash::{DefaultHasher, Hasher as _};

use crate::controlling::host::AboutRequest;
use crate::controlling::service::ControllingFunction;
use crate::shared::MessageText;
use crate::store::Names;

/// The texts that are ids: an operator need not say which of them it has.
const IDS: [MessageText; 3] = [
    MessageText::MessageId,
    MessageText::ContributionId,
    MessageText::CallId,
];

impl ControllingFunction {
    /// What messages with this Message-ID, Contribution-ID or Call-ID are known by.
    pub fn id_name(&self, id: &[u8]) -> u64 {
        self.name(0, id)
    }

    /// What messages of this originator are known by.
    pub fn originator_name(&self, uri: &[u8]) -> u64 {
        self.name(1, uri)
    }

    /// All that a message is known by.
    pub fn names_of(&self, about: &AboutRequest) -> Names {
        let [message, contribution, call] =
            IDS.map(|id| about.text(id).map_or(0, |id| self.id_name(id)));
        let originator = about.text(MessageText::Originator);
        let originator = originator.map_or(0, |uri| self.originator_name(uri));
        [message, contribution, call, originator]
    }

    /// Never 0.
    fn name(&self, kind: u8, text: &[u8]) -> u64 {
        let mut hasher = DefaultHasher::new();
        hasher.write_u64(self.key_seed());
        hasher.write_u8(kind);
        hasher.write(text);
        hasher.finish().max(1)
    }
}
