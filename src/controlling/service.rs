//! The service: its settings, and which requests are addressed to it.

use std::net::IpAddr;
use std::rc::Rc;

use bytes::Bytes;

use super::disposition::is_notification;
use super::header_fields::texts;
use super::host::Host;
use super::ids::{Ids, RequestIds};
use super::large_message_mode::LargeModeSettings;
use super::pager_mode::FanOutJob;
use super::request::Request;
use crate::names::Names;
use crate::policy::{Settings, SettingsError, Trigger, TuneError};
use crate::shared::{Claim, OutstandingTable, RequestTable, SenderTable};
use crate::sip::{ComparisonKeys, HeaderName, Message, Uri, carries_icsi};

/// ICSI of a Pager Mode CPM Standalone Message (9.1.1); in P-Asserted-Service, the service for one recipient (7.2.1.1-3).
pub(super) const PAGER_MODE_SERVICE: &str = "urn:urn-7:3gpp-service.ims.icsi.oma.cpm.msg";
/// The service for a group of recipients (7.2.1.1-3).
pub(super) const PAGER_MODE_GROUP_SERVICE: &str =
    "urn:urn-7:3gpp-service.ims.icsi.oma.cpm.msg.group";

/// ICSI of a Large Message Mode CPM Standalone Message (9.1.2), and the service for one recipient (7.2.1.2-3).
pub(super) const LARGE_MODE_SERVICE: &str = "urn:urn-7:3gpp-service.ims.icsi.oma.cpm.largemsg";
/// The service for a group of recipients (7.2.1.2-3).
pub(super) const LARGE_MODE_GROUP_SERVICE: &str =
    "urn:urn-7:3gpp-service.ims.icsi.oma.cpm.largemsg.group";

/// The Controlling Function as configured. One for each process; requests hold a reference to it.
#[derive(Debug)]
pub struct ControllingFunction {
    settings: Settings,
    own: Vec<OwnAddress>,
    /// Secret seed for comparison keys, so that a peer cannot aim at collisions.
    key_seed: u64,
    /// Large message mode, where there is one.
    large_mode: Option<Rc<LargeModeSettings>>,
    /// The senders of the last messages, where notifications are forwarded to them.
    senders: Option<SenderTable>,
    /// How hosts and domains are found.
    names: Names,
    /// The requests that were taken last, where they are remembered.
    requests: Option<RequestTable>,
    ids: Ids,
    /// How many recipients are awaited for whom, where processes share memory.
    pub(super) outstanding: Option<OutstandingTable>,
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

/// The kind of destination, told apart by the Request-URI (spec-notes N2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An EXPLODER-URI: 1-to-many.
    Exploder,
    /// The address of the Controlling Function: an ad-hoc group.
    AdHoc,
    /// The address of a pre-defined group.
    Group,
}

impl Kind {
    /// The word that routing scripts see.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Exploder => "exploder",
            Kind::AdHoc => "adhoc",
            Kind::Group => "group",
        }
    }
}

/// The mode of the message, told apart by method and feature tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// SIP MESSAGE.
    Pager,
    /// SIP INVITE, and MSRP.
    Large,
}

impl Mode {
    /// The word that routing scripts see.
    pub fn as_str(self) -> &'static str {
        match self {
            Mode::Pager => "pager",
            Mode::Large => "large",
        }
    }
}

/// A request as the proxy received it.
#[derive(Clone, Copy, Debug)]
pub struct Received<'a> {
    /// The whole request.
    pub message: &'a [u8],
    /// The Request-URI in force: the routing script may have rewritten it.
    pub request_uri: &'a str,
    /// Where it came from; `None` where that is no IP address.
    pub source_address: Option<IpAddr>,
}

impl ControllingFunction {
    /// A service with these settings, once they fit each other.
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
        Ok(ControllingFunction {
            own: own.collect(),
            settings,
            key_seed,
            large_mode: None,
            senders: None,
            names: Names::default(),
            requests: None,
            ids: Ids::random(),
            outstanding: None,
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

    /// The same, with the table that all processes share.
    pub fn with_senders(mut self, senders: SenderTable) -> Self {
        self.senders = Some(senders);
        self
    }

    /// The senders of the last messages, where notifications are forwarded to them.
    pub fn senders(&self) -> Option<&SenderTable> {
        self.senders.as_ref()
    }

    /// The same, finding hosts and domains so.
    pub fn with_names(mut self, names: Names) -> Self {
        self.names = names;
        self
    }

    /// How hosts and domains are found.
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// The same, with the table that all processes share.
    pub fn with_requests(mut self, requests: RequestTable) -> Self {
        self.requests = Some(requests);
        self
    }

    /// The requests that were taken last, where they are remembered.
    pub fn requests(&self) -> Option<&RequestTable> {
        self.requests.as_ref()
    }

    /// The same, with the ids that follow from another key than one of its own.
    pub fn with_ids(mut self, ids: Ids) -> Self {
        self.ids = ids;
        self
    }

    /// What makes its ids.
    pub fn ids(&self) -> &Ids {
        &self.ids
    }

    /// The ids of a request that follows from this one of ours.
    pub(super) fn ids_following(&self, purpose: &str, request: &Message) -> RequestIds {
        let call_id = request.first(HeaderName::CallId);
        self.ids
            .following(purpose, call_id.as_ref().map_or(b"", |field| field.value()))
    }

    /// The reply to the request of a fan-out is due: a repetition of the request gets the same from now on.
    pub fn handle_reply_due(&self, job: &FanOutJob) {
        if let (Some(requests), Some(claim)) = (&self.requests, job.claim) {
            requests.answered(claim);
        }
    }

    /// A fan-out is done: so is its reply, and the recipients whose copy could not even be sent have failed.
    pub fn handle_done(&self, job: &FanOutJob, host: &dyn Host) {
        self.handle_reply_due(job);
        self.handle_unsent(job, host);
    }

    /// A request that was taken has been refused: it may come again.
    pub fn give_back(&self, claim: Option<Claim>) {
        if let (Some(requests), Some(claim)) = (&self.requests, claim) {
            requests.give_back(claim);
        }
    }

    /// The same service with another value for one parameter. What is under way keeps the service that it began with.
    pub fn tuned(&self, name: &str, value: &str) -> Result<Self, TuneError> {
        let mut settings = self.settings.clone();
        settings.tune(name, value)?;
        let large_mode = self.large_mode.as_ref().map(|large_mode| {
            let (contact, msrp) = (large_mode.contact.clone(), large_mode.msrp.clone());
            LargeModeSettings::new(&settings.large_mode, contact, msrp)
        });
        let mut tuned = ControllingFunction::new(settings, self.key_seed)?;
        tuned.senders = self.senders.clone();
        tuned.names = self.names.clone();
        tuned.requests = self.requests.clone();
        tuned.ids = self.ids.clone();
        tuned.outstanding = self.outstanding.clone();
        Ok(match large_mode {
            Some(large_mode) => tuned.with_large_mode(large_mode),
            None => tuned,
        })
    }

    /// The same, with the table that all processes share.
    pub fn with_outstanding(mut self, outstanding: OutstandingTable) -> Self {
        self.outstanding = Some(outstanding);
        self
    }

    /// The settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// A key for an address, the same however it is spelt.
    pub fn key_of(&self, address: &str) -> u64 {
        Uri::parse(address).map_or(0, |uri| self.keys(&uri).address)
    }

    /// The keys by which URIs are compared here.
    pub(super) fn keys(&self, uri: &Uri<'_>) -> ComparisonKeys {
        uri.comparison_keys(self.key_seed)
    }

    /// Whether the request is ours (9.1.1-0): addressed to one of our addresses and marked as a CPM
    /// Standalone Message. `None`: it is not, and nothing has changed.
    pub fn classify(self: &Rc<Self>, received: &Received<'_>) -> Option<Request> {
        // The Request-URI first: it sorts out nearly everything that passes a proxy.
        let uri = Uri::parse(received.request_uri).ok()?;
        let kind = self.own_kind(&uri, self.keys(&uri).address).or_else(|| {
            let is_group = self.settings.group_uris.contains(&uri);
            is_group.then_some(Kind::Group)
        })?;
        let message = Message::parse(Bytes::copy_from_slice(received.message)).ok()?;
        let mode = self.mode(&message)?;
        // A notification is for the sender of one message, not for all (spec-notes N37).
        if mode == Mode::Pager && is_notification(&message) {
            return None;
        }
        Some(Request::new(Rc::clone(self), received, message, kind, mode))
    }

    /// The mode of a Standalone Message (9.1.1-0, 9.1.2-0). `None`: it is none, or in large message mode, which is off.
    fn mode(&self, message: &Message) -> Option<Mode> {
        match message.method()? {
            "MESSAGE" => self
                .is_marked(message, PAGER_MODE_SERVICE, PAGER_MODE_GROUP_SERVICE)
                .then_some(Mode::Pager),
            // What belongs to a dialog is not for us to begin: ours are known by their names.
            "INVITE" if self.large_mode.is_some() && !in_dialog(message) => self
                .is_marked(message, LARGE_MODE_SERVICE, LARGE_MODE_GROUP_SERVICE)
                .then_some(Mode::Large),
            _ => None,
        }
    }

    /// Which kind of service of ours `uri`, whose [address key](Self::keys) is `key`, is the address of. Groups are none of
    /// them: they may be recipients.
    pub(super) fn own_kind(&self, uri: &Uri<'_>, key: u64) -> Option<Kind> {
        let own = self.own.iter().find(|own| own.is(uri, key))?;
        Some(own.kind)
    }

    /// The own address that equals this URI, as it is configured.
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

    /// Whether the request carries the ICSI `service`, or names it or `group_service` where that is enough.
    fn is_marked(&self, message: &Message, service: &str, group_service: &str) -> bool {
        let accept_contact = texts(message, HeaderName::AcceptContact);
        let tagged = carries_icsi(accept_contact.iter().map(AsRef::as_ref), service);
        tagged
            || self.settings.trigger == Trigger::AcceptContactOrService
                && message.all(HeaderName::PAssertedService).any(|field| {
                    [service, group_service]
                        .iter()
                        .any(|service| field.value().eq_ignore_ascii_case(service.as_bytes()))
                })
    }

    /// Value of User-Agent and Server (Appendix D).
    pub fn product(&self) -> String {
        format!("CPM-serv/OMA{}", self.settings.oma_release)
    }
}

/// Whether the request belongs to a dialog already: its To has a tag (RFC 3261 §12.2).
pub(super) fn in_dialog(message: &Message) -> bool {
    message.tag_in(HeaderName::To).is_some()
}
