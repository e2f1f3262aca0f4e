//! The distinct recipients of a resource list or a group (RFC 5365 §7.2; spec-notes N18, N35, N36).

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;
use std::hash::{BuildHasherDefault, Hasher};
use std::ops::Range;

use super::service::ControllingFunction;
use crate::resource_lists::{CopyControl, Entry};
use crate::sip::Uri;

/// Recipients in the order of their list, each once however often it names them. Their texts lie behind each
/// other in one string: nothing is allocated per recipient.
#[derive(Debug, Default)]
pub struct Recipients {
    /// Each URI is ended by a line end, which no URI holds.
    uris: String,
    display_names: String,
    distinct: Vec<Recipient>,
    loops: u32,
    over_limit: bool,
}

/// Length of a usual URI: what room is made for at first.
const USUAL_URI_BYTES: usize = 32;

#[derive(Clone, Debug)]
struct Recipient {
    uri: Range<usize>,
    display_name: Option<Range<usize>>,
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
    /// An entry's URI asks for a method.
    WithMethod,
}

impl Recipients {
    /// Picks the distinct recipients. Own addresses are dropped: sent there, the message would come
    /// back to us. Stops looking once there are more than `limit`.
    pub(super) fn of<'a>(
        entries: impl Iterator<Item = Entry<'a>>,
        limit: usize,
        service: &ControllingFunction,
    ) -> Result<Self, RecipientsError> {
        let most = entries.size_hint().1.unwrap_or(0).min(limit);
        let mut recipients = Recipients {
            uris: String::with_capacity(most * USUAL_URI_BYTES),
            distinct: Vec::with_capacity(most),
            ..Recipients::default()
        };
        let mut by_key: HashMap<u64, usize, BuildHasherDefault<KeyItself>> =
            HashMap::with_capacity_and_hasher(most, BuildHasherDefault::default());
        for entry in entries {
            let uri = parse(&entry)?;
            let key = service.key(&uri);
            if service.own_kind(&uri, key).is_some() {
                recipients.loops += 1;
                continue;
            }
            let place = recipients.distinct.len();
            match by_key.entry(key) {
                Slot::Vacant(slot) => {
                    slot.insert(place);
                }
                Slot::Occupied(slot) => match recipients.find(*slot.get(), &uri) {
                    Ok(same) => {
                        recipients.distinct[same].merge(&entry);
                        continue;
                    }
                    Err(last) => recipients.distinct[last].next = Some(place),
                },
            }
            if place == limit {
                recipients.over_limit = true;
                break;
            }
            recipients.push(&entry);
        }
        Ok(recipients)
    }

    /// The recipient that is this URI among those with its key, from the first of them on; else the last.
    fn find(&self, first: usize, uri: &Uri<'_>) -> Result<usize, usize> {
        let mut at = first;
        loop {
            let known = self.uri(at).and_then(|text| Uri::parse(text).ok());
            if known.is_some_and(|known| known.equivalent(uri)) {
                return Ok(at);
            }
            match self.distinct[at].next {
                Some(next) => at = next,
                None => return Err(at),
            }
        }
    }

    fn push(&mut self, entry: &Entry<'_>) {
        let start = self.uris.len();
        self.uris.push_str(entry.uri);
        let uri = start..self.uris.len();
        self.uris.push('\n');
        let display_name = entry.display_name.map(|name| {
            let start = self.display_names.len();
            self.display_names.push_str(name);
            start..self.display_names.len()
        });
        self.distinct.push(Recipient {
            uri,
            display_name,
            copy_control: entry.copy_control,
            anonymize: entry.anonymize,
            next: None,
        });
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
        self.distinct
            .get(index)
            .map(|recipient| &self.uris[recipient.uri.clone()])
    }

    /// The URIs in the order of the list, each ended by a line end.
    pub(super) fn lines(&self) -> &str {
        &self.uris
    }

    /// Own addresses that were dropped.
    pub(super) fn loops(&self) -> u32 {
        self.loops
    }

    /// Whether there are more than the limit; then those beyond are not in here.
    pub(super) fn over_limit(&self) -> bool {
        self.over_limit
    }

    /// Each recipient as an entry of the history list: of several entries for one recipient the most
    /// visible one counts.
    pub(super) fn history(&self) -> impl Iterator<Item = Entry<'_>> {
        self.distinct.iter().map(|recipient| Entry {
            uri: &self.uris[recipient.uri.clone()],
            display_name: recipient
                .display_name
                .clone()
                .map(|name| &self.display_names[name]),
            copy_control: recipient.copy_control,
            anonymize: recipient.anonymize,
        })
    }
}

impl Recipient {
    fn merge(&mut self, other: &Entry<'_>) {
        if visibility(other.copy_control) > visibility(self.copy_control) {
            self.copy_control = other.copy_control;
            self.anonymize = other.anonymize;
        } else if visibility(other.copy_control) == visibility(self.copy_control) {
            // Who was to be hidden once stays hidden.
            self.anonymize |= other.anonymize;
        }
    }
}

/// Passes a comparison key through: it is a seeded hash already.
#[derive(Default)]
struct KeyItself(u64);

impl Hasher for KeyItself {
    fn write_u64(&mut self, key: u64) {
        self.0 = key;
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("keys are u64");
    }

    fn finish(&self) -> u64 {
        self.0
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
            return Err(RecipientsError::WithMethod);
        }
    }
    Ok(uri)
}
