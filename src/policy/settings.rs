//! The operator's configuration, and its consistency.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::deferral::Deferral;
use super::given::Given;
use super::group_uris::GroupUris;
use super::isf_codes::StatusCodes;
use super::large_mode::{LargeModeError, LargeModePolicy};
use super::store_place::StorePlace;
use super::trusted_peers::TrustedPeers;
use super::unset::unset_at_first;
use super::value::{Product, ServiceUri};
use crate::resource_lists::HistoryUnqualified;
use crate::sip::Uri;

unset_at_first! {
    /// Everything the operator can configure; its fields are the parameters, which
    /// [`ALL_PARAMETERS`](super::ALL_PARAMETERS) describes. [`Settings::default`] is safe: nobody
    /// is trusted and no address is served.
    #[derive(Clone, Debug)]
    pub struct Settings {
        /// `exploder_uri`: the addresses for 1-to-many messages, each a SIP URI.
        pub exploder_uris: Vec<String>,
        /// `controlling_uri`: the addresses for ad-hoc groups, each a SIP URI.
        pub controlling_uris: Vec<String>,
        /// `outbound_proxy`: next hop of outgoing requests; without it their Request-URI decides.
        pub outbound_proxy: Option<ServiceUri>,
        /// `dns_server`: name servers; without them those of the system.
        pub dns_servers: Vec<SocketAddr>,
        /// `express`: whether copies may leave past the proxy's transactions.
        pub express: bool,
        /// `isf_uri`: the Interworking Selection Function (6.5).
        pub isf_uri: Option<ServiceUri>,
        /// `isf_codes`: the failures that lead to interworking.
        pub isf_codes: StatusCodes,
        /// `interworking`: whether policy allows it. Not set: yes if an ISF is configured.
        pub interworking: Option<bool>,
        /// `identity_source`: source of the originator's identity.
        pub identity_source: IdentitySource,
        /// `trusted_peer`: addresses from which P-Asserted-Identity is believed.
        pub trusted_peers: TrustedPeers,
        /// `required_user_agent`: products, one of which the User-Agent must contain.
        pub required_user_agent: Vec<Product>,
        /// `allow_anonymity`: whether originators may ask for anonymity.
        pub allow_anonymity: bool,
        /// `max_recipients`: maximum number of distinct recipients of one request.
        pub max_recipients: usize,
        /// `max_outstanding_per_sender`, `..._source` and `..._destination`: most recipients
        /// awaited for each of them.
        pub shares: ShareLimits,
        /// `missing_list_code`: the answer to a request without a resource list.
        pub missing_list_code: MissingListCode,
        /// `history_unqualified`: how the history list treats entries without copyControl.
        pub history_unqualified: HistoryUnqualified,
        /// `exploder_service`: the service named in copies of a 1-to-many message.
        pub exploder_service: ExploderService,
        /// `charging_vector`: the P-Charging-Vector of copies.
        pub charging_vector: ChargingVector,
        /// `drop_headers`: names of further header fields that are not passed on.
        pub drop_headers: Vec<String>,
        /// `require_ids`: whether Conversation-ID and Contribution-ID are mandatory.
        pub require_ids: bool,
        /// `trigger`: how a CPM Standalone Message is recognised.
        pub trigger: Trigger,
        /// `group_source`: sources of group documents, in the order asked.
        pub group_sources: Vec<String>,
        /// `group_uri`: which addresses belong to groups.
        pub group_uris: GroupUris,
        /// `unknown_group_code`: answer to requests for groups that do not exist.
        pub unknown_group_code: UnknownGroupCode,
        /// `max_group_members`: maximum number of distinct members that receive a message.
        pub max_group_members: usize,
        /// `group_nesting`: the number of groups in succession that a message may have passed for a
        /// group to still forward it.
        pub group_nesting: u32,
        /// `copy_to_sender`: whether a member that sends to the group gets a copy.
        pub copy_to_sender: bool,
        /// `xcap_user` and `xcap_password`: our credentials at the XDMS.
        pub xcap_user: Option<String>,
        /// See `xcap_user`.
        pub xcap_password: Option<String>,
        /// `xcap_ca_file`: authorities trusted for the XDMS, instead of the system's.
        pub xcap_ca_file: Option<String>,
        /// `group_processes`: number of processes that look up groups.
        pub group_processes: usize,
        /// `group_timeout`: milliseconds that a source may take.
        pub group_timeout_ms: usize,
        /// `group_lifetime`: seconds that a group is taken from the cache.
        pub group_lifetime_s: usize,
        /// `imdn`: how to treat disposition notifications to an address of the service.
        pub imdn: Imdn,
        /// `group_receipts`: how notifications from members of a pre-defined group are forwarded.
        pub group_receipts: GroupReceipts,
        /// `imdn_ttl`: seconds for which a message's sender is kept.
        pub imdn_ttl_s: usize,
        /// `message_records`: number of messages that are recorded.
        pub message_records: usize,
        /// `imdn_records`: maximum number of messages whose sender is kept; 0: none.
        pub imdn_records: usize,
        /// `failure_imdn`: whether a sender that asks for it is notified when all recipients of a
        /// MESSAGE have failed.
        pub failure_imdn: bool,
        /// `request_records`: maximum number of remembered requests; 0: none.
        pub request_records: usize,
        /// `state_dir`: folder for data that outlives the service, and for the spool; `None`: no
        /// folder. See [`prepare_state_dir`](Self::prepare_state_dir).
        pub state_dir: Option<PathBuf>,
        /// `parameter_file`: parameters that are read at the start and again by a reload.
        pub parameter_file: Option<String>,
        /// `store`: where accepted messages are kept until their recipients have ended; `None`: in
        /// memory only. See [`prepare_store_dir`](Self::prepare_store_dir).
        pub store: Option<StorePlace>,
        /// `store_node`: the name of this node among those that share the store; `None`: that of
        /// the machine.
        pub store_node: Option<String>,
        /// `store_ca_file`: authorities trusted for the server of the store, instead of the
        /// system's.
        pub store_ca_file: Option<PathBuf>,
        /// `store_content`: the folder with the content of large messages in a store that several
        /// nodes share; `None`: large messages are not kept there.
        pub store_content: Option<PathBuf>,
        /// `store_lease`: seconds for which it may be silent until another one takes over.
        pub store_lease_s: usize,
        /// `store_replicas`: replicas of the store that must have a message before it is accepted.
        pub store_replicas: usize,
        /// `store_max_size`: bytes that it may take.
        pub store_max_bytes: usize,
        /// `resume_rate`: copies in a second that go out of what a process before has left.
        pub resume_rate: usize,
        /// Deferred delivery.
        pub deferral: Deferral,
        /// `id_key_file`: the operator's own key for Call-IDs and tags. Not set: the one in the
        /// state directory.
        pub id_key_file: Option<String>,
        /// `warning_agent`: the host named in Warning header fields. Not set: that of the
        /// Request-URI.
        pub warning_agent: Option<String>,
        /// `oma_release`: the release in User-Agent and Server (Appendix D).
        pub oma_release: String,
        /// Settings of large message mode.
        pub large_mode: LargeModePolicy = LargeModePolicy::unset(),
        /// The values as written by the operator.
        pub(super) given: Given,
    }
}

/// Most recipients awaited for one of a kind; 0: no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShareLimits {
    /// For each originator.
    pub sender: usize,
    /// For an address that requests come from, which is no trusted peer.
    pub source: usize,
    /// For a host that recipients have in their addresses, where no outbound proxy takes all.
    pub destination: usize,
}

/// Source of the originator's identity (readings N30).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IdentitySource {
    /// P-Asserted-Identity from a trusted peer, or what the routing script set.
    #[default]
    PAssertedIdentity,
    /// The routing script only.
    Script,
    /// The From header field, which anybody can write: for laboratories.
    From,
}

/// Answer to a request without a resource list (readings N19).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MissingListCode {
    /// As to an empty list: 403 with Warning 129.
    #[default]
    Forbidden,
    /// 400.
    BadRequest,
}

/// P-Asserted-Service of the copies of a 1-to-many message (readings N27).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ExploderService {
    /// As received.
    #[default]
    Copy,
    /// The service for one recipient, in place of the one for groups.
    Single,
}

/// P-Charging-Vector of the copies of a message (readings N25).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ChargingVector {
    /// They have none.
    #[default]
    None,
    /// The ICID of the received request, and the node that generated it.
    Icid,
}

/// How a CPM Standalone Message is recognised (readings N26).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Trigger {
    /// The ICSI in Accept-Contact.
    #[default]
    AcceptContact,
    /// The ICSI in Accept-Contact or the service in P-Asserted-Service.
    AcceptContactOrService,
}

/// Answer to a request for a group that does not exist (readings N15).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnknownGroupCode {
    /// 404, which tells which groups exist.
    #[default]
    NotFound,
    /// 403 with Warning 127, as for a group that one may not send to.
    Forbidden,
}

/// How to treat disposition notifications to an address of the service (readings N37).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Imdn {
    /// They are forwarded to the sender of the message they are about.
    #[default]
    Forward,
    /// They are left to the routing script.
    Script,
}

/// How disposition notifications from members of a pre-defined group are forwarded to the sender
/// (readings N37).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GroupReceipts {
    /// In the name of the group, without anything that names the member.
    #[default]
    Nameless,
    /// As the member sent them.
    AsReceived,
}

/// Conflicts between the parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SettingsError {
    /// No address is served.
    NoAddress,
    /// One address would be of two kinds (readings N2).
    Overlap,
    /// Interworking is to be allowed, but there is no ISF.
    NoIsf,
    /// `failure_imdn` is on, but no records are kept.
    NoRecords,
    /// Messages are to be kept, but the ids of their copies would change with each start.
    NoKey,
    /// A `store` that several nodes share, without `id_key_file`.
    NoSharedKey,
    /// `store_content` without a `store` that several nodes share.
    NoSharedStore,
    /// `store_ca_file` without a `store` that is spoken to over TLS.
    NoTlsStore,
    /// `deferred_codes` without `store`.
    NoStore,
    /// `deferred_on_register` without `deferred_codes`.
    NothingDeferred,
    /// Only one of `group_source` and `group_uri` is set.
    HalfAGroup,
    /// A conflict between parameters of large message mode.
    LargeMode(LargeModeError),
}

impl From<LargeModeError> for SettingsError {
    fn from(error: LargeModeError) -> Self {
        SettingsError::LargeMode(error)
    }
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SettingsError::NoAddress => {
                "no address to serve: set exploder_uri, controlling_uri or group_uri"
            }
            SettingsError::Overlap => "an exploder_uri and a controlling_uri are the same address",
            SettingsError::NoIsf => "interworking is on, but isf_uri is not set",
            SettingsError::NoRecords => "failure_imdn is on, but imdn_records is 0",
            SettingsError::NoKey => {
                "store is set, but neither state_dir nor id_key_file, by which copies are known again"
            }
            SettingsError::NoSharedKey => {
                "store is a server for several nodes, but id_key_file is not set, which all of them must have"
            }
            SettingsError::NoSharedStore => {
                "store_content is set, but store is not a server for several nodes: a folder has room for content"
            }
            SettingsError::NoTlsStore => {
                "store_ca_file is set, but store is not a server that is spoken to over TLS (rediss:)"
            }
            SettingsError::NoStore => {
                "deferred_codes is set, but not store, in which messages wait for their recipients"
            }
            SettingsError::NothingDeferred => {
                "deferred_on_register is on, but deferred_codes is not set"
            }
            SettingsError::HalfAGroup => "group_source and group_uri need each other: set both",
            SettingsError::LargeMode(error) => return error.fmt(f),
        })
    }
}

impl std::error::Error for SettingsError {}

impl Settings {
    /// Checks the parameters against each other, once all are set.
    pub fn check(&self) -> Result<(), SettingsError> {
        if self.exploder_uris.is_empty()
            && self.controlling_uris.is_empty()
            && self.group_uris.is_empty()
        {
            return Err(SettingsError::NoAddress);
        }
        if self.group_uris.is_empty() != self.group_sources.is_empty() {
            return Err(SettingsError::HalfAGroup);
        }
        let overlap = parsed(&self.exploder_uris).any(|exploder| {
            parsed(&self.controlling_uris).any(|controlling| controlling.equivalent(&exploder))
        });
        if overlap {
            return Err(SettingsError::Overlap);
        }
        if self.interworking == Some(true) && self.isf_uri.is_none() {
            return Err(SettingsError::NoIsf);
        }
        if self.failure_imdn && self.imdn_records == 0 {
            return Err(SettingsError::NoRecords);
        }
        if self.store.is_some() && self.state_dir.is_none() && self.id_key_file.is_none() {
            return Err(SettingsError::NoKey);
        }
        if self.store.as_ref().is_some_and(StorePlace::is_shared) && self.id_key_file.is_none() {
            return Err(SettingsError::NoSharedKey);
        }
        if self.store_content.is_some() && !self.store.as_ref().is_some_and(StorePlace::is_shared) {
            return Err(SettingsError::NoSharedStore);
        }
        if self.store_ca_file.is_some() && !self.store.as_ref().is_some_and(StorePlace::is_tls) {
            return Err(SettingsError::NoTlsStore);
        }
        let is_deferred = !self.deferral.codes.is_empty();
        if is_deferred && self.store.is_none() {
            return Err(SettingsError::NoStore);
        }
        if (self.deferral.on_register || self.deferral.large) && !is_deferred {
            return Err(SettingsError::NothingDeferred);
        }
        Ok(self.large_mode.check()?)
    }

    /// The ISF, if policy allows interworking.
    pub fn interworking_to(&self) -> Option<&ServiceUri> {
        self.isf_uri
            .as_ref()
            .filter(|_| self.interworking != Some(false))
    }
}

/// The addresses as SIP URIs; their parameters accept nothing else.
fn parsed(uris: &[String]) -> impl Iterator<Item = Uri<'_>> {
    uris.iter().filter_map(|text| Uri::parse(text).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{ALL_PARAMETERS, ParameterError};

    fn set(name: &str, value: &str) -> Result<Settings, ParameterError> {
        let mut settings = Settings::default();
        settings.set(name, value).map(|()| settings)
    }

    #[test]
    fn every_parameter_refuses_nonsense() {
        // Any text can be a name, a password or a file.
        let free = [
            "xcap_user",
            "xcap_password",
            "xcap_ca_file",
            "id_key_file",
            "parameter_file",
            "store_node",
            "store_ca_file",
            "msrp_tls_certificate",
            "msrp_tls_private_key",
            "msrp_tls_ca_file",
        ];
        let names = ALL_PARAMETERS.iter().map(|parameter| parameter.name);
        for name in names.filter(|name| !free.contains(name)) {
            let nonsense = "\u{1}:/@ nonsense ,,;;";
            assert!(set(name, nonsense).is_err(), "{name} took nonsense");
        }
    }

    #[test]
    fn an_unknown_parameter_is_refused() {
        assert_eq!(
            set("exploder", "sip:e@example.com").unwrap_err(),
            ParameterError::Unknown
        );
    }

    #[test]
    fn words_numbers_and_addresses() {
        assert_eq!(set("max_recipients", "50").unwrap().max_recipients, 50);
        assert_eq!(
            set("max_recipients", "0").unwrap_err(),
            ParameterError::OutOfRange {
                min: 1,
                max: 10_000,
                or_zero: false,
            }
        );
        assert!(!set("allow_anonymity", "no").unwrap().allow_anonymity);
        assert_eq!(
            set("exploder_uri", "tel:+123").unwrap_err(),
            ParameterError::NotASipUri
        );
        assert_eq!(
            set("identity_source", "nobody").unwrap_err().to_string(),
            "is none of: pai, script, from"
        );
        assert!(
            set("outbound_proxy", "sip:p.example.com;lr")
                .unwrap()
                .outbound_proxy
                .unwrap()
                .loose_routing()
        );
    }

    #[test]
    fn own_addresses_of_two_kinds_may_not_be_the_same() {
        let mut settings = Settings::default();
        assert_eq!(settings.check(), Err(SettingsError::NoAddress));
        settings.set("exploder_uri", "sip:cpm@example.com").unwrap();
        assert_eq!(settings.check(), Ok(()));
        settings
            .set("controlling_uri", "sip:CPM@example.com")
            .unwrap();
        assert_eq!(settings.check(), Ok(()));
        settings
            .set("controlling_uri", "sip:c%70m@EXAMPLE.com")
            .unwrap();
        assert_eq!(settings.check(), Err(SettingsError::Overlap));
    }

    #[test]
    fn interworking_needs_an_isf() {
        let mut settings = set("exploder_uri", "sip:e@example.com").unwrap();
        assert_eq!(settings.interworking_to(), None);
        settings.set("interworking", "yes").unwrap();
        assert_eq!(settings.check(), Err(SettingsError::NoIsf));
        settings.set("isf_uri", "sip:isf.example.com").unwrap();
        assert_eq!(settings.check(), Ok(()));
        assert!(settings.interworking_to().is_some());
        settings.set("interworking", "no").unwrap();
        assert_eq!(settings.interworking_to(), None);
    }

    #[test]
    fn messages_wait_in_a_store_only() {
        let mut settings = set("exploder_uri", "sip:all@example.com").unwrap();
        settings.set("deferred_on_register", "yes").unwrap();
        assert_eq!(settings.check(), Err(SettingsError::NothingDeferred));
        settings.set("deferred_codes", "408 480").unwrap();
        assert_eq!(settings.check(), Err(SettingsError::NoStore));
        settings.set("store", "file:/var/lib/cpm/store").unwrap();
        settings.check().unwrap();
    }

    #[test]
    fn a_store_needs_a_key_that_stays() {
        let mut settings = set("exploder_uri", "sip:e@example.com").unwrap();
        settings.set("store", "file:/var/lib/cpm/store").unwrap();
        assert_eq!(settings.check(), Ok(()));
        settings.set("state_dir", "none").unwrap();
        assert_eq!(settings.check(), Err(SettingsError::NoKey));
        settings.set("id_key_file", "/etc/cpm.key").unwrap();
        assert_eq!(settings.check(), Ok(()));
        settings.set("store", "redis://localhost").unwrap();
        assert_eq!(settings.check(), Ok(()));
        // That of the state directory would be another one at each node.
        let mut settings = set("exploder_uri", "sip:e@example.com").unwrap();
        settings.set("store", "redis://localhost").unwrap();
        assert_eq!(settings.check(), Err(SettingsError::NoSharedKey));
    }

    #[test]
    fn authorities_are_for_a_store_over_tls() {
        let mut settings = set("exploder_uri", "sip:e@example.com").unwrap();
        settings.set("id_key_file", "/etc/cpm.key").unwrap();
        settings.set("store_ca_file", "/etc/ssl/store.pem").unwrap();
        for (store, expected) in [
            ("redis://localhost", Err(SettingsError::NoTlsStore)),
            ("file:/var/lib/cpm", Err(SettingsError::NoTlsStore)),
            ("rediss://localhost", Ok(())),
        ] {
            settings.set("store", store).unwrap();
            assert_eq!(settings.check(), expected, "{store}");
        }
    }

    #[test]
    fn failures_need_records() {
        let mut settings = set("exploder_uri", "sip:e@example.com").unwrap();
        settings.set("imdn_records", "0").unwrap();
        assert_eq!(settings.check(), Ok(()));
        settings.set("failure_imdn", "yes").unwrap();
        assert_eq!(settings.check(), Err(SettingsError::NoRecords));
    }
}
