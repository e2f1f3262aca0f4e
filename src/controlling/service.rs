//! The service: its settings, its addresses, and data shared by its processes.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use super::express::Lane;
use super::ids::{Ids, RequestIds};
use super::large_mode_settings::LargeModeSettings;
use super::received::Kind;
use crate::names::Names;
use crate::policy::{Settings, SettingsError, StorePlace};
use crate::shared::{
    Arrivals, DestinationKey, Ends, LongLists, MessageTable, OutstandingTable, RequestTable,
    SenderTable, StoreSpace,
};
use crate::sip::{ComparisonKeys, HeaderName, Message, Uri};

/// The Controlling Function as configured. One for each process; requests hold a reference to it.
///
/// ```
/// use std::rc::Rc;
///
/// use cpm::controlling::{ControllingFunction, Kind, Mode, Received};
/// use cpm::policy::Settings;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut settings = Settings::default();
/// settings.set("exploder_uri", "sip:many@example.com")?;
/// let service = Rc::new(ControllingFunction::new(settings, 0)?);
///
/// let message = "MESSAGE sip:many@example.com SIP/2.0\r\n\
///     Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\n\
///     From: <sip:anne@example.com>;tag=1\r\n\
///     To: <sip:many@example.com>\r\n\
///     Call-ID: 1\r\n\
///     CSeq: 1 MESSAGE\r\n\
///     Accept-Contact: *;+g.3gpp.icsi-ref=\"urn%3Aurn-7%3A3gpp-service.ims.icsi.oma.cpm.msg\"\r\n\
///     Content-Length: 0\r\n\r\n";
/// let received = |request_uri| Received {
///     message: message.as_bytes(),
///     request_uri,
///     source_address: None,
/// };
/// let request = service.classify(&received("sip:many@example.com"));
/// let request = request.expect("it is addressed to the service, and marked as a CPM message");
/// assert_eq!((request.kind(), request.mode()), (Kind::Exploder, Mode::Pager));
///
/// assert!(service.classify(&received("sip:bill@example.com")).is_none());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct ControllingFunction {
    settings: Settings,
    own: Vec<OwnAddress>,
    /// Secret seed for comparison keys, so that a peer cannot aim at collisions.
    key_seed: u64,
    /// Large message mode, where there is one.
    large_mode: Option<Rc<LargeModeSettings>>,
    /// The senders of the last messages, if notifications are forwarded to them.
    senders: Option<SenderTable>,
    /// What became of the last messages, if processes share memory.
    messages: Option<MessageTable>,
    /// How hosts and domains are looked up.
    names: Names,
    /// The last accepted requests, if they are remembered.
    requests: Option<RequestTable>,
    ids: Ids,
    /// Secret seed for the hashes of recipients, the same at all nodes with the same key.
    recipient_seed: u64,
    /// The express lane, where there is one.
    lane: Option<Rc<RefCell<Lane>>>,
    /// Numbers of outstanding recipients, if processes share memory.
    pub(super) outstanding: Option<OutstandingTable>,
    /// The destination looked for last, by the text that tells it.
    pub(super) last_destination: RefCell<Option<(String, DestinationKey)>>,
    /// Not 0 while the proxy is about to end; in memory that all processes share.
    draining: Option<&'static AtomicU64>,
    /// Requests with long lists that wait for CPM fan-out, if processes share memory.
    long_lists: Option<LongLists>,
    /// How copies of kept messages have ended, where messages are kept.
    ends: Option<Ends>,
    /// Which recipients have arrived, where messages wait for them.
    arrivals: Option<Arrivals>,
    /// The room in the store, where there is one.
    store_space: Option<StoreSpace>,
}

fn recipient_seed(ids: &Ids) -> u64 {
    let mut seed = [0; 8];
    seed.copy_from_slice(&ids.derived("recipients")[..8]);
    u64::from_be_bytes(seed)
}

/// An address of the Controlling Function itself.
#[derive(Debug)]
struct OwnAddress {
    uri: String,
    key: u64,
    kind: Kind,
}

impl OwnAddress {
    fn new(text: &str, kind: Kind, key_seed: u64) -> Option<Self> {
        Some(OwnAddress {
            key: Uri::parse(text).ok()?.comparison_key(key_seed),
            uri: text.to_owned(),
            kind,
        })
    }

    /// Whether `uri`, whose key is `key`, is this address (RFC 3261 §19.1.4).
    fn is(&self, uri: &Uri<'_>, key: u64) -> bool {
        self.key == key && Uri::parse(&self.uri).is_ok_and(|own| own.equivalent(uri))
    }
}

impl ControllingFunction {
    /// A service with these settings, if they are consistent.
    pub fn new(settings: Settings, key_seed: u64) -> Result<Self, SettingsError> {
        settings.check()?;
        let own = [
            (&settings.exploder_uris, Kind::Exploder),
            (&settings.controlling_uris, Kind::AdHoc),
        ];
        let own = own.into_iter().flat_map(|(uris, kind)| {
            uris.iter()
                .filter_map(move |text| OwnAddress::new(text, kind, key_seed))
        });
        let ids = Ids::random();
        Ok(ControllingFunction {
            own: own.collect(),
            recipient_seed: recipient_seed(&ids),
            settings,
            key_seed,
            large_mode: None,
            senders: None,
            messages: None,
            names: Names::default(),
            requests: None,
            ids,
            lane: None,
            outstanding: None,
            last_destination: RefCell::default(),
            draining: None,
            long_lists: None,
            ends: None,
            arrivals: None,
            store_space: None,
        })
    }

    /// The same, with large message mode.
    pub fn with_large_mode(mut self, large_mode: LargeModeSettings) -> Self {
        self.large_mode = Some(Rc::new(large_mode));
        self
    }

    /// Large message mode, where there is one.
    pub fn large_mode(&self) -> Option<&Rc<LargeModeSettings>> {
        self.large_mode.as_ref()
    }

    /// The same, with the shared table.
    pub fn with_senders(mut self, senders: SenderTable) -> Self {
        self.senders = Some(senders);
        self
    }

    /// The senders of the last messages, if notifications are forwarded to them.
    pub fn senders(&self) -> Option<&SenderTable> {
        self.senders.as_ref()
    }

    /// The same, with the shared table.
    pub fn with_messages(mut self, messages: MessageTable) -> Self {
        self.messages = Some(messages);
        self
    }

    /// What became of the last messages, if processes share memory.
    pub fn messages(&self) -> Option<&MessageTable> {
        self.messages.as_ref()
    }

    /// The same, with this way to look up hosts and domains.
    pub fn with_names(mut self, names: Names) -> Self {
        self.names = names;
        self
    }

    /// How hosts and domains are looked up.
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// The same, with the shared table.
    pub fn with_requests(mut self, requests: RequestTable) -> Self {
        self.requests = Some(requests);
        self
    }

    /// The last accepted requests, if they are remembered.
    pub fn requests(&self) -> Option<&RequestTable> {
        self.requests.as_ref()
    }

    /// The same, with ids derived from another key than its own.
    pub fn with_ids(mut self, ids: Ids) -> Self {
        self.recipient_seed = recipient_seed(&ids);
        self.ids = ids;
        self
    }

    /// Derives its ids.
    pub fn ids(&self) -> &Ids {
        &self.ids
    }

    /// The ids of a request that is derived from this one of ours.
    pub(super) fn ids_following(&self, purpose: &str, request: &Message) -> RequestIds {
        let call_id = request.first(HeaderName::CallId);
        self.ids
            .following(purpose, call_id.as_ref().map_or(b"", |field| field.value()))
    }

    /// The same service with other settings. Work in progress keeps the service that it began with.
    ///
    /// # Errors
    ///
    /// The settings conflict.
    pub fn with_settings(&self, settings: Settings) -> Result<Self, SettingsError> {
        let large_mode = self.large_mode.as_ref().map(|large_mode| {
            let (contact, msrp) = (large_mode.contact.clone(), large_mode.msrp.clone());
            LargeModeSettings::new(&settings.large_mode, contact, msrp)
        });
        let mut other = ControllingFunction::new(settings, self.key_seed)?;
        other.senders = self.senders.clone();
        other.messages = self.messages.clone();
        other.names = self.names.clone();
        other.requests = self.requests.clone();
        other.ids = self.ids.clone();
        other.recipient_seed = self.recipient_seed;
        other.lane = self.lane.clone();
        other.outstanding = self.outstanding.clone();
        other.draining = self.draining;
        other.long_lists = self.long_lists;
        other.ends = self.ends;
        other.arrivals = self.arrivals;
        other.store_space = self.store_space;
        Ok(match large_mode {
            Some(large_mode) => other.with_large_mode(large_mode),
            None => other,
        })
    }

    /// The same, with the shared table.
    pub fn with_outstanding(mut self, outstanding: OutstandingTable) -> Self {
        self.outstanding = Some(outstanding);
        self
    }

    /// The same, with the word that tells all processes that the proxy is about to end.
    pub fn with_draining(mut self, word: &'static AtomicU64) -> Self {
        self.draining = Some(word);
        self
    }

    /// The same, where workers may pass on requests with long lists.
    pub fn with_long_lists(mut self, long_lists: LongLists) -> Self {
        self.long_lists = Some(long_lists);
        self
    }

    /// Requests with long lists that wait for CPM fan-out, if processes share memory.
    pub fn long_lists(&self) -> Option<LongLists> {
        self.long_lists
    }

    /// The same, with the ring by which all processes tell how copies have ended.
    pub fn with_ends(mut self, ends: Ends) -> Self {
        self.ends = Some(ends);
        self
    }

    /// How copies of kept messages have ended, where messages are kept.
    pub fn ends(&self) -> Option<Ends> {
        self.ends
    }

    /// The same, with the bitmap by which all processes say which recipients have arrived.
    pub fn with_arrivals(mut self, arrivals: Arrivals) -> Self {
        self.arrivals = Some(arrivals);
        self
    }

    /// Which recipients have arrived, where messages wait for them.
    pub fn arrivals(&self) -> Option<Arrivals> {
        self.arrivals
    }

    /// The same, with the room in the store.
    pub fn with_store_space(mut self, space: StoreSpace) -> Self {
        self.store_space = Some(space);
        self
    }

    /// The room in the store, where there is one.
    pub fn store_space(&self) -> Option<StoreSpace> {
        self.store_space
    }

    /// The room for content of large messages, where they are kept too: a store that nodes share
    /// needs a folder for it.
    pub fn content_space(&self) -> Option<StoreSpace> {
        let has_folder = !self.shares_store() || self.settings.store_content.is_some();
        self.store_space.filter(|_| has_folder)
    }

    /// Secret seed for the hashes of recipients, the same in all processes, and at all nodes.
    pub(super) fn recipient_seed(&self) -> u64 {
        self.recipient_seed
    }

    /// Whether nothing new is taken any more.
    pub fn is_draining(&self) -> bool {
        self.draining.is_some_and(|word| word.load(Relaxed) != 0)
    }

    /// Takes nothing new from now on, in all processes, or takes it again. False: there is no
    /// memory by which others would know.
    pub fn drain(&self, is_draining: bool) -> bool {
        if let Some(word) = self.draining {
            word.store(u64::from(is_draining), Relaxed);
        }
        self.draining.is_some()
    }

    /// Whether messages are kept on disk until their recipients have ended.
    pub fn keeps_messages(&self) -> bool {
        self.settings.store.is_some()
    }

    /// Whether other nodes share the store, and with it the senders of messages.
    pub fn shares_store(&self) -> bool {
        self.settings
            .store
            .as_ref()
            .is_some_and(StorePlace::is_shared)
    }

    /// The same, with this lane for copies.
    pub fn with_lane(mut self, lane: Lane) -> Self {
        self.lane = Some(Rc::new(RefCell::new(lane)));
        self
    }

    /// The express lane, where there is one.
    pub fn lane(&self) -> Option<&RefCell<Lane>> {
        self.lane.as_deref()
    }

    /// The settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// A key for an address, independent of its spelling.
    pub fn key_of(&self, address: &str) -> u64 {
        Uri::parse(address).map_or(0, |uri| self.keys(&uri).address)
    }

    /// Secret seed for keys, the same in all processes.
    pub(super) fn key_seed(&self) -> u64 {
        self.key_seed
    }

    /// The keys by which URIs are compared here.
    pub(super) fn keys(&self, uri: &Uri<'_>) -> ComparisonKeys {
        uri.comparison_keys(self.key_seed)
    }

    /// The kind of service whose address is `uri`, which has this [address key](Self::keys). Groups
    /// are not included: they may be recipients.
    pub(super) fn own_kind(&self, uri: &Uri<'_>, key: u64) -> Option<Kind> {
        let own = self.own.iter().find(|own| own.is(uri, key))?;
        Some(own.kind)
    }

    /// The own address that equals this URI, as configured.
    pub(super) fn own_address(&self, uri: &str) -> Option<&str> {
        let uri = Uri::parse(uri).ok()?;
        let key = self.keys(&uri).address;
        let own = self.own.iter().find(|own| own.is(&uri, key))?;
        Some(&own.uri)
    }

    /// Whether an own address of this kind has this host.
    pub(super) fn is_own_host(&self, host: &str, kind: Kind) -> bool {
        let mut own = self.own.iter().filter(|own| own.kind == kind);
        own.any(|own| {
            let uri = Uri::parse(&own.uri);
            let own = uri.ok().and_then(|uri| uri.host());
            own.is_some_and(|own| own.eq_ignore_ascii_case(host))
        })
    }

    /// Value of User-Agent and Server (Appendix D).
    pub fn product(&self) -> String {
        format!("CPM-serv/OMA{}", self.settings.oma_release)
    }
}
