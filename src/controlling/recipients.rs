//! The distinct recipients of a resource list (RFC 5365 §7.2; spec-notes N18, N35, N36).

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;

use super::service::ControllingFunction;
use crate::resource_lists::{CopyControl, Entry, ResourceLists};
use crate::sip::Uri;

/// Recipients in the order of the list, each once however often the list names it. The texts stay where
/// the list parser put them: nothing is allocated per recipient.
#[derive(Debug, Default)]
pub struct Recipients {
    lists: ResourceLists,
    /// Index of the first entry that names each recipient, and how visible the recipient is.
    distinct: Vec<Recipient>,
    loops: u32,
    over_limit: bool,
}

#[derive(Clone, Copy, Debug)]
struct Recipient {
    entry: usize,
    copy_control: Option<CopyControl>,
    anonymize: bool,
    /// The next recipient with the same comparison key.
    next: Option<usize>,
}

/// Why a list cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RecipientsError {
    /// An entry's text is not a URI.
    NotAUri,
    /// An entry's URI carries header fields: they do not belong into a Request-URI (RFC 3261 §19.1.1),
    /// and nobody may write a request of ours.
    WithHeaders,
    /// An entry's URI asks for a method other than MESSAGE.
    OtherMethod,
}

impl Recipients {
    /// Picks the distinct recipients. Own addresses are dropped: sent there, the message would come
    /// back to us. Stops looking once there are more than policy allows.
    pub(super) fn of(
        lists: ResourceLists,
        service: &ControllingFunction,
    ) -> Result<Self, RecipientsError> {
        let limit = service.settings().max_recipients;
        let mut distinct: Vec<Recipient> = Vec::with_capacity(lists.len().min(limit));
        let mut by_key: HashMap<u64, usize> = HashMap::with_capacity(lists.len().min(limit));
        let (mut loops, mut over_limit) = (0, false);
        for (index, entry) in lists.entries().enumerate() {
            let uri = parse(&entry)?;
            if service.own_kind(&uri).is_some() {
                loops += 1;
                continue;
            }
            let new = Recipient {
                entry: index,
                copy_control: entry.copy_control,
                anonymize: entry.anonymize,
                next: None,
            };
            let place = distinct.len();
            match by_key.entry(uri.comparison_key(service.key_seed())) {
                Slot::Vacant(slot) => {
                    slot.insert(place);
                }
                Slot::Occupied(slot) => {
                    let mut at = *slot.get();
                    let same = loop {
                        let known = &distinct[at];
                        let text = lists.entry(known.entry).map_or("", |entry| entry.uri);
                        if Uri::parse(text).is_ok_and(|other| other.equivalent(&uri)) {
                            break true;
                        }
                        match known.next {
                            Some(next) => at = next,
                            None => break false,
                        }
                    };
                    if same {
                        distinct[at].merge(&new);
                        continue;
                    }
                    distinct[at].next = Some(place);
                }
            }
            if place == limit {
                over_limit = true;
                break;
            }
            distinct.push(new);
        }
        Ok(Recipients {
            lists,
            distinct,
            loops,
            over_limit,
        })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.distinct.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.distinct.is_empty()
    }

    /// The URI of one of them.
    pub fn uri(&self, index: usize) -> Option<&str> {
        self.lists
            .entry(self.distinct.get(index)?.entry)
            .map(|entry| entry.uri)
    }

    /// The URIs, in the order of the list.
    pub fn uris(&self) -> impl Iterator<Item = &str> {
        (0..self.len()).filter_map(|index| self.uri(index))
    }

    /// Own addresses that were dropped.
    pub(super) fn loops(&self) -> u32 {
        self.loops
    }

    /// Whether there are more than policy allows; then those beyond are not in here.
    pub(super) fn over_limit(&self) -> bool {
        self.over_limit
    }

    /// Each recipient as an entry of the history list: of several entries for one recipient the most
    /// visible one counts.
    pub(super) fn history(&self) -> impl Iterator<Item = Entry<'_>> {
        self.distinct.iter().filter_map(|recipient| {
            self.lists.entry(recipient.entry).map(|entry| Entry {
                copy_control: recipient.copy_control,
                anonymize: recipient.anonymize,
                ..entry
            })
        })
    }
}

impl Recipient {
    fn merge(&mut self, other: &Recipient) {
        if visibility(other.copy_control) > visibility(self.copy_control) {
            self.copy_control = other.copy_control;
            self.anonymize = other.anonymize;
        } else if visibility(other.copy_control) == visibility(self.copy_control) {
            // Who was to be hidden once stays hidden.
            self.anonymize |= other.anonymize;
        }
    }
}

fn visibility(copy_control: Option<CopyControl>) -> u8 {
    match copy_control {
        Some(CopyControl::To) => 3,
        Some(CopyControl::Cc) => 2,
        None => 1,
        Some(CopyControl::Bcc) => 0,
    }
}

fn parse<'a>(entry: &Entry<'a>) -> Result<Uri<'a>, RecipientsError> {
    let uri = Uri::parse(entry.uri).map_err(|_| RecipientsError::NotAUri)?;
    if let Uri::Sip(sip) = &uri {
        if sip.has_headers() {
            return Err(RecipientsError::WithHeaders);
        }
        if uri.param("method").is_some() {
            return Err(RecipientsError::OtherMethod);
        }
    }
    Ok(uri)
}
