//! The distinct recipients of a resource list or a group (RFC 5365 §7.2; readings N18, N35, N36).

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::ops::Range;

use super::service::ControllingFunction;
use crate::resource_lists::{CopyControl, Entry};
use crate::sip::{ComparisonKeys, Uri};

/// Recipients in the order of their list, each once however often it is named. Their texts are
/// concatenated in one string: no allocation per recipient.
#[derive(Debug, Default)]
pub struct Recipients {
    /// Each URI is followed by a line end, which no URI contains.
    uris: String,
    display_names: String,
    distinct: Vec<Recipient>,
    loops: u32,
    over_limit: bool,
}

/// Usual length of a URI: initial allocation.
const USUAL_URI_BYTES: usize = 32;

/// Number of recipients at one address, differing in optional parameters, with which a further such
/// URI is compared.
///
/// Equality by RFC 3261 §19.1.4 is not transitive there: `;x=1` and `;x=2` both equal the URI
/// without `x`, and differ. So each would have to be compared with each. Beyond this number, only
/// identical parameters make the same recipient: no honest list has more variants of one address,
/// and a list that does costs linear work.
const MAX_COMPARED: usize = 8;

#[derive(Clone, Debug)]
struct Recipient {
    uri: Range<usize>,
    display_name: Option<Range<usize>>,
    copy_control: Option<CopyControl>,
    anonymize: bool,
    /// The next recipient at the same address, among the first ones.
    next: Option<usize>,
}

/// Why a list cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RecipientsError {
    /// An entry's text is not a URI.
    NotAUri,
}

impl Recipients {
    /// Collects the distinct recipients of about so many entries. Own addresses are dropped: sent
    /// there, the message would return to us. Stops once there are more than `limit`.
    pub(super) fn of<'a>(
        entries: impl Iterator<Item = Entry<'a>>,
        about: usize,
        limit: usize,
        service: &ControllingFunction,
    ) -> Result<Self, RecipientsError> {
        let most = about.min(limit);
        let mut recipients = Recipients {
            uris: String::with_capacity(most * USUAL_URI_BYTES),
            distinct: Vec::with_capacity(most),
            ..Recipients::default()
        };
        // One key of nearly each: only optional parameters make a second one.
        let mut known = Known::with_capacity_and_hasher(most, BuildHasherDefault::default());
        for entry in entries {
            let mut uri = Uri::parse(entry.uri).map_err(|_| RecipientsError::NotAUri)?;
            // `method` must be ignored (RFC 5365 §7.3), and header fields may be (RFC 3261
            // §19.1.5): nobody else determines our requests.
            let text = uri.as_request_uri();
            if text != entry.uri {
                uri = Uri::parse(&text).map_err(|_| RecipientsError::NotAUri)?;
            }
            let entry = Entry {
                uri: &text,
                ..entry
            };
            let keys = service.keys(&uri);
            if service.own_kind(&uri, keys.address).is_some() {
                recipients.loops += 1;
                continue;
            }
            match recipients.find(&known, keys, &uri) {
                Found::Same(place) => recipients.distinct[place].merge(&entry),
                Found::None { .. } if recipients.len() == limit => {
                    recipients.over_limit = true;
                    break;
                }
                Found::None { last } => {
                    let place = recipients.len();
                    if let Some(last) = last {
                        recipients.distinct[last].next = Some(place);
                    }
                    known.entry(keys.address).or_insert(place);
                    if keys.whole != keys.address {
                        known.entry(keys.whole).or_insert(place);
                    }
                    recipients.push(&entry);
                }
            }
        }
        Ok(recipients)
    }

    /// Searches for the recipient that this URI names.
    fn find(&self, known: &Known, keys: ComparisonKeys, uri: &Uri<'_>) -> Found {
        let whole = known.get(&keys.whole).copied();
        if let Some(place) = whole
            && self.is(place, uri)
        {
            return Found::Same(place);
        }
        let mut at = match keys.whole == keys.address {
            true => whole,
            false => known.get(&keys.address).copied(),
        };
        let mut last = None;
        for _ in 0..MAX_COMPARED {
            match at {
                Some(place) if self.is(place, uri) => return Found::Same(place),
                Some(place) => (last, at) = (Some(place), self.distinct[place].next),
                None => return Found::None { last },
            }
        }
        Found::None { last: None }
    }

    /// Whether the recipient at this place is the one that this URI names (RFC 3261 §19.1.4).
    fn is(&self, place: usize, uri: &Uri<'_>) -> bool {
        let known = self.uri(place).and_then(|text| Uri::parse(text).ok());
        known.is_some_and(|known| known.equivalent(uri))
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

    /// The number of recipients.
    pub fn len(&self) -> usize {
        self.distinct.len()
    }

    /// Whether there are no recipients.
    pub fn is_empty(&self) -> bool {
        self.distinct.is_empty()
    }

    /// The URI of a recipient.
    pub fn uri(&self, index: usize) -> Option<&str> {
        self.distinct
            .get(index)
            .map(|recipient| &self.uris[recipient.uri.clone()])
    }

    /// The URIs in the order of the list, each followed by a line end.
    pub(super) fn lines(&self) -> &str {
        &self.uris
    }

    /// Number of own addresses that were dropped.
    pub(super) fn loops(&self) -> u32 {
        self.loops
    }

    /// Whether there are more than the limit; those beyond it are not included.
    pub(super) fn over_limit(&self) -> bool {
        self.over_limit
    }

    /// Each recipient as an entry of the history list: of several entries for one recipient the
    /// most visible one applies.
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
            // A recipient hidden by one entry stays hidden.
            self.copy_control = self.copy_control.or(other.copy_control);
            self.anonymize |= other.anonymize;
        }
    }
}

/// Places of recipients by both of their keys: the first at each address, and the first with each
/// set of parameters.
type Known = HashMap<u64, usize, BuildHasherDefault<KeyItself>>;

/// Result of searching for a recipient.
enum Found {
    /// It is the one at this place.
    Same(usize),
    /// It is a new one. It follows `last` among those that are compared, if it is one of these.
    None { last: Option<usize> },
}

/// Uses a comparison key as its own hash: it is already a seeded hash.
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

/// Of several entries for one recipient the higher copyControl applies (RFC 5364 §4).
fn visibility(copy_control: Option<CopyControl>) -> u8 {
    match copy_control {
        Some(CopyControl::To) => 2,
        Some(CopyControl::Cc) => 1,
        // If absent, bcc is assumed.
        None | Some(CopyControl::Bcc) => 0,
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;
    use std::time::Duration;

    use rustix::time::{ClockId, clock_gettime};

    use super::*;
    use crate::policy::Settings;

    fn service() -> Rc<ControllingFunction> {
        let mut settings = Settings::default();
        settings
            .set("exploder_uri", "sip:all@example.com")
            .expect("it is a URI");
        Rc::new(ControllingFunction::new(settings, 7).expect("it has an address"))
    }

    fn recipients(service: &ControllingFunction, uris: &[String]) -> Recipients {
        let entries = uris.iter().map(|uri| Entry {
            uri,
            display_name: None,
            copy_control: None,
            anonymize: false,
        });
        Recipients::of(entries, 0, 10_000, service).expect("all are URIs")
    }

    fn distinct(uris: &[&str]) -> Vec<String> {
        let uris: Vec<String> = uris.iter().map(|uri| (*uri).to_owned()).collect();
        let found = recipients(&service(), &uris);
        (0..found.len())
            .filter_map(|place| found.uri(place).map(str::to_owned))
            .collect()
    }

    /// RFC 5364 §4: the higher copyControl applies, in whatever order a list names a recipient. One
    /// that is hidden in an entry of that rank stays hidden.
    #[test]
    fn of_several_entries_for_one_the_higher_copy_control_counts() {
        use CopyControl::{Bcc, Cc, To};
        let higher = [Some(To), Some(Cc), Some(Bcc)];
        let service = service();
        let merged = |entries: &[(Option<CopyControl>, bool)]| {
            let entries = entries.iter().map(|&(copy_control, anonymize)| Entry {
                uri: "sip:a@h",
                display_name: None,
                copy_control,
                anonymize,
            });
            let recipients = Recipients::of(entries, 0, 10, &service).expect("it is a URI");
            assert_eq!(recipients.len(), 1);
            let entry = recipients.history().next().expect("there is one");
            (entry.copy_control, entry.anonymize)
        };
        for (place, &high) in higher.iter().enumerate() {
            for &low in &higher[place + 1..] {
                for anonymize in [false, true] {
                    let (shown, hidden) = ((high, anonymize), (low, !anonymize));
                    assert_eq!(merged(&[shown, hidden]), shown, "{shown:?} first");
                    assert_eq!(merged(&[hidden, shown]), shown, "{hidden:?} first");
                }
            }
            // An absent one is bcc, and never hides what another entry shows.
            assert_eq!(merged(&[(None, false), (high, false)]), (high, false));
            assert_eq!(merged(&[(high, false), (None, false)]), (high, false));
            for (one, other) in [(false, true), (true, false), (true, true)] {
                assert_eq!(merged(&[(high, one), (high, other)]), (high, true));
            }
        }
        assert_eq!(merged(&[(None, false), (None, false)]), (None, false));
        let three = [(Some(Bcc), false), (Some(To), true), (Some(Cc), false)];
        assert_eq!(merged(&three), (Some(To), true));
    }

    #[test]
    fn an_address_is_one_recipient_unless_a_parameter_says_otherwise() {
        let (bare, one, other) = ("sip:a@h", "sip:a@h;x=1", "sip:a@h;x=2");
        assert_eq!(distinct(&[bare, one, other, "sip:%61@H"]), [bare]);
        assert_eq!(distinct(&[one, other, bare]), [one, other]);
        assert_eq!(
            distinct(&[one, "sip:a@h;y=1", other, "sip:a@h;X=1"]),
            [one, other]
        );
        let different = ["sip:a@h;transport=tcp", "sip:a@h", "sip:a@h;user=phone"];
        assert_eq!(distinct(&different), different);
        assert_eq!(distinct(&["tel:+1-2", "tel:+12", "tel:+12;ext=1"]).len(), 2);
    }

    #[test]
    fn the_very_same_uri_is_one_recipient_behind_any_number_of_variants() {
        let variants = (0..100).map(|number| format!("sip:a@h;x={number};y"));
        let again = (0..100).map(|number| format!("sip:%61@H;Y;X={number}"));
        let uris: Vec<String> = variants.chain(again).collect();
        assert_eq!(recipients(&service(), &uris).len(), 100);
    }

    /// CPU time of this thread for collecting the distinct recipients.
    fn time(service: &ControllingFunction, uris: &[String], expected: usize) -> Duration {
        let now = || {
            let time = clock_gettime(ClockId::ThreadCPUTime);
            Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
        };
        let start = now();
        assert_eq!(recipients(service, uris).len(), expected);
        now() - start
    }

    #[test]
    fn no_list_takes_more_than_linear_time() {
        const RECIPIENTS: usize = 9_900;
        let service = service();
        let list = |uri: &dyn Fn(usize) -> String| (0..RECIPIENTS).map(uri).collect::<Vec<_>>();
        let users = time(
            &service,
            &list(&|number| format!("sip:user{number}@example.com;x=1")),
            RECIPIENTS,
        );
        for (kind, uri) in [
            ("parameter", "sip:user@example.com;x="),
            ("transport", "sip:user@example.com;transport=t"),
            ("password", "sip:user:"),
            ("extension", "tel:+1555;ext="),
        ] {
            let end = if uri.ends_with(':') {
                "@example.com"
            } else {
                ""
            };
            let list = list(&|number| format!("{uri}{number}{end}"));
            let taken = time(&service, &list, RECIPIENTS);
            // Comparing each with each would take some thousand times as long.
            assert!(taken < users * 50, "{kind}: {taken:?}, users: {users:?}");
        }
    }
}
