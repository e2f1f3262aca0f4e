//! The parameters: their names, types, ranges and defaults, in one table.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::group_uris::{GroupUris, NotAPattern};
use super::isf_codes::{NotAFailureCode, StatusCodes};
use super::large_mode::{self, LargeModePolicy, ListenerError};
use super::parameters::Given;
use super::state_dir;
use super::trusted_peers::{PeerError, TrustedPeers};
use crate::names;
use crate::resource_lists::HistoryUnqualified;
use crate::sip::Uri;

/// Most recipients that an operator may allow in one request. A request lives in one buffer of the
/// proxy (64 KiB by default), so that a larger number would promise what cannot be kept.
const MAX_MAX_RECIPIENTS: usize = 10_000;

/// Most recipients that a share may be set to; beyond it, it would be none.
const MAX_OUTSTANDING: usize = 1_000_000;

/// Most own addresses of one kind: each received request is compared with all of them.
const MAX_OWN_URIS: usize = 64;

/// Most group sources: each unknown group is asked for in all of them.
const MAX_GROUP_SOURCES: usize = 8;

/// Most groups that can send a message on one after another: what is left of its Max-Breadth tells no more of them apart.
const MAX_GROUP_NESTING: usize = 4;

/// Longest time for which a message's sender may be known: thirty days.
const MAX_IMDN_TTL_S: usize = 30 * 86_400;

/// Most messages whose sender may be known: some 300 MiB.
const MAX_IMDN_RECORDS: usize = 1_000_000;

/// Most requests that may be remembered: some 660 MB.
const MAX_REQUEST_RECORDS: usize = 10_000_000;

/// Everything the operator can configure. [`Settings::default`] is the safe start: nobody is trusted
/// and no address is ours.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `exploder_uri`: the addresses for 1-to-many messages, each a SIP URI.
    pub exploder_uris: Vec<String>,
    /// `controlling_uri`: the addresses for ad-hoc groups, each a SIP URI.
    pub controlling_uris: Vec<String>,
    /// `outbound_proxy`: where outgoing requests go; without it their Request-URI decides.
    pub outbound_proxy: Option<ServiceUri>,
    /// `dns_server`: who is asked for names; without it those of the system.
    pub dns_servers: Vec<SocketAddr>,
    /// `isf_uri`: the Interworking Selection Function (6.5).
    pub isf_uri: Option<ServiceUri>,
    /// `isf_codes`: the failures that lead to interworking.
    pub isf_codes: StatusCodes,
    /// `interworking`: whether policy allows it. Not set: where an ISF is configured.
    pub interworking: Option<bool>,
    /// `identity_source`: who says who the originator is.
    pub identity_source: IdentitySource,
    /// `trusted_peer`: from where P-Asserted-Identity is believed.
    pub trusted_peers: TrustedPeers,
    /// `required_user_agent`: products of which the User-Agent has to name one.
    pub required_user_agent: Vec<Product>,
    /// `allow_anonymity`: whether originators may ask for anonymity.
    pub allow_anonymity: bool,
    /// `max_recipients`: most distinct recipients of one request.
    pub max_recipients: usize,
    /// `max_outstanding_per_sender`, `..._source` and `..._destination`: most recipients awaited for each of them.
    pub shares: ShareLimits,
    /// `missing_list_code`: what a request without a resource list is answered with.
    pub missing_list_code: MissingListCode,
    /// `history_unqualified`: what the history list says of entries without copyControl.
    pub history_unqualified: HistoryUnqualified,
    /// `exploder_service`: which service copies of a 1-to-many message name.
    pub exploder_service: ExploderService,
    /// `drop_headers`: names of header fields that are not passed on, beyond those that never are.
    pub drop_headers: Vec<String>,
    /// `require_ids`: whether Conversation-ID and Contribution-ID have to be there.
    pub require_ids: bool,
    /// `trigger`: what marks a request as a CPM Standalone Message.
    pub trigger: Trigger,
    /// `group_source`: where group documents come from, in the order asked.
    pub group_sources: Vec<String>,
    /// `group_uri`: which addresses are groups'.
    pub group_uris: GroupUris,
    /// `unknown_group_code`: answer to requests for groups that do not exist.
    pub unknown_group_code: UnknownGroupCode,
    /// `max_group_members`: most distinct members that a message goes to.
    pub max_group_members: usize,
    /// `group_nesting`: through how many groups, one after another, a message may have come that a group sends on.
    pub group_nesting: u32,
    /// `copy_to_sender`: whether a member who sends to the group gets a copy.
    pub copy_to_sender: bool,
    /// `xcap_user` and `xcap_password`: what the XDMS knows us by.
    pub xcap_user: Option<String>,
    /// See `xcap_user`.
    pub xcap_password: Option<String>,
    /// `xcap_ca_file`: certificates that the XDMS is trusted by, in place of the system's.
    pub xcap_ca_file: Option<String>,
    /// `group_timeout`: milliseconds that a source may take.
    pub group_timeout_ms: usize,
    /// `group_lifetime`: seconds that a group is taken from the cache.
    pub group_lifetime_s: usize,
    /// `imdn`: what becomes of disposition notifications that come to an address of ours.
    pub imdn: Imdn,
    /// `group_receipts`: how notifications from members of a pre-defined group go on.
    pub group_receipts: GroupReceipts,
    /// `imdn_ttl`: seconds for which a message's sender is known.
    pub imdn_ttl_s: usize,
    /// `imdn_records`: most messages whose sender is known; 0: none.
    pub imdn_records: usize,
    /// `failure_imdn`: whether a sender who asks for it is told when all recipients of a MESSAGE have failed.
    pub failure_imdn: bool,
    /// `request_records`: most requests that are remembered at once; 0: none.
    pub request_records: usize,
    /// `state_dir`: where the service keeps what outlives it, and spools; `None`: nowhere. See
    /// [`prepare_state_dir`](Self::prepare_state_dir).
    pub state_dir: Option<PathBuf>,
    /// `id_key_file`: the operator's own key for Call-IDs and tags. Not set: the one in the state directory.
    pub id_key_file: Option<String>,
    /// `warning_agent`: the host that Warning header fields name. Not set: that of the Request-URI.
    pub warning_agent: Option<String>,
    /// `oma_release`: the release in User-Agent and Server (Appendix D).
    pub oma_release: String,
    /// What is about large message mode.
    pub large_mode: LargeModePolicy,
    /// What the operator wrote.
    pub(super) given: Given,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            exploder_uris: Vec::new(),
            controlling_uris: Vec::new(),
            outbound_proxy: None,
            dns_servers: Vec::new(),
            isf_uri: None,
            isf_codes: StatusCodes::default(),
            interworking: None,
            identity_source: IdentitySource::PAssertedIdentity,
            trusted_peers: TrustedPeers::default(),
            required_user_agent: Vec::new(),
            allow_anonymity: true,
            max_recipients: 100,
            shares: ShareLimits {
                sender: 2_000,
                source: 2_000,
                destination: 3_000,
            },
            missing_list_code: MissingListCode::Forbidden,
            history_unqualified: HistoryUnqualified::Hide,
            exploder_service: ExploderService::Copy,
            drop_headers: Vec::new(),
            require_ids: false,
            trigger: Trigger::AcceptContact,
            group_sources: Vec::new(),
            group_uris: GroupUris::default(),
            unknown_group_code: UnknownGroupCode::NotFound,
            max_group_members: MAX_MAX_RECIPIENTS,
            group_nesting: 0,
            copy_to_sender: false,
            xcap_user: None,
            xcap_password: None,
            xcap_ca_file: None,
            group_timeout_ms: 5_000,
            group_lifetime_s: 60,
            imdn: Imdn::Forward,
            group_receipts: GroupReceipts::Nameless,
            imdn_ttl_s: 86_400,
            imdn_records: 10_000,
            failure_imdn: false,
            request_records: 200_000,
            state_dir: Some(state_dir::DEFAULT.into()),
            id_key_file: None,
            warning_agent: None,
            oma_release: "2.2".to_owned(),
            large_mode: LargeModePolicy::default(),
            given: Given::default(),
        }
    }
}

/// Most recipients awaited for one of a kind; 0: no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShareLimits {
    /// For an originator.
    pub sender: usize,
    /// For an address that requests come from, which is no trusted peer.
    pub source: usize,
    /// For a host that recipients have in their addresses, where no outbound proxy takes all.
    pub destination: usize,
}

/// The SIP URI of a server that requests are sent to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceUri {
    text: String,
    loose_routing: bool,
}

impl ServiceUri {
    fn parse(text: &str) -> Result<Self, ParameterError> {
        let uri = sip_uri(text)?;
        Ok(ServiceUri {
            loose_routing: uri.param("lr").is_some(),
            text: text.to_owned(),
        })
    }

    /// The URI as configured.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it has the `lr` parameter: then it belongs into a Route header field (RFC 3261 §16.6).
    pub fn loose_routing(&self) -> bool {
        self.loose_routing
    }
}

/// A product that a User-Agent header field can name (RFC 3261 §20.41).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Product {
    name: String,
    version: Option<String>,
}

impl Product {
    fn parse(text: &str) -> Option<Self> {
        let (name, version) = match text.split_once('/') {
            Some((name, version)) => (name, Some(version)),
            None => (text, None),
        };
        let token = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic());
        (token(name) && version.is_none_or(token)).then(|| Product {
            name: name.to_owned(),
            version: version.map(str::to_owned),
        })
    }

    /// Whether a product token of a User-Agent is this one. A version matches itself and every version
    /// below it: `OMA2` matches `OMA2` and `OMA2.1`, not `OMA21`.
    pub fn matches(&self, name: &str, version: Option<&str>) -> bool {
        self.name.eq_ignore_ascii_case(name)
            && self.version.as_deref().is_none_or(|required| {
                version
                    .and_then(|version| version.strip_prefix(required))
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            })
    }
}

/// Who says who the originator is (spec-notes N30).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdentitySource {
    /// P-Asserted-Identity from a trusted peer, or what the routing script set.
    PAssertedIdentity,
    /// The routing script only.
    Script,
    /// The From header field, which anybody can write: for laboratories.
    From,
}

/// Answer to a request without a resource list (spec-notes N19).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MissingListCode {
    /// As to an empty list: 403 with Warning 129.
    Forbidden,
    /// 400.
    BadRequest,
}

/// P-Asserted-Service of the copies of a 1-to-many message (spec-notes N27).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExploderService {
    /// As received.
    Copy,
    /// The service for one recipient, in place of the one for groups.
    Single,
}

/// What marks a request as a CPM Standalone Message (spec-notes N26).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// The ICSI in Accept-Contact.
    AcceptContact,
    /// The ICSI in Accept-Contact or the service in P-Asserted-Service.
    AcceptContactOrService,
}

/// Answer to a request for a group that does not exist (spec-notes N15).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownGroupCode {
    /// 404, which tells which groups exist.
    NotFound,
    /// 403 with Warning 127, as for a group that one may not send to.
    Forbidden,
}

/// What becomes of disposition notifications that come to an address of ours (spec-notes N37).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Imdn {
    /// They go on to the sender of the message that they are about.
    Forward,
    /// They are left to the routing script.
    Script,
}

/// How disposition notifications from members of a pre-defined group go on to the sender (spec-notes N37).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupReceipts {
    /// In the name of the group, without what names the member.
    Nameless,
    /// As the member sent them.
    AsReceived,
}

/// Why a parameter cannot have a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParameterError {
    /// There is no parameter of this name.
    Unknown,
    /// Not a sip: or sips: URI.
    NotASipUri,
    /// A repeatable parameter was given too often: after so many, which is the limit.
    TooMany(usize),
    /// Not an IP address, with or without a port.
    NotAServer,
    /// Neither yes nor no.
    NotYesOrNo,
    /// Not a number, or one outside of the range.
    OutOfRange {
        /// Smallest value.
        min: usize,
        /// Largest value.
        max: usize,
    },
    /// None of the words that the parameter knows.
    NotOneOf(&'static [&'static str]),
    /// Not a trusted peer.
    Peer(PeerError),
    /// Not a list of failure codes.
    Codes(NotAFailureCode),
    /// Not a list of products.
    NotProducts,
    /// Not a list of header field names.
    NotHeaderNames,
    /// Not an address pattern.
    Pattern(NotAPattern),
    /// Not the URL of a group source.
    NotASource,
    /// Neither an absolute path nor the word for no state directory.
    NotAStateDir,
    /// Empty.
    Empty,
    /// Not a host name or address.
    NotAHost,
    /// Not a release such as 2.2.
    NotARelease,
    /// Not where MSRP peers reach us.
    Listener(ListenerError),
}

impl fmt::Display for ParameterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ParameterError::Unknown => f.write_str("is not a parameter"),
            ParameterError::NotASipUri => f.write_str("is not a sip: or sips: URI"),
            ParameterError::TooMany(limit) => write!(f, "comes after {limit} others, the limit"),
            ParameterError::NotAServer => f.write_str("is not ADDRESS or ADDRESS:PORT"),
            ParameterError::NotYesOrNo => f.write_str("is neither yes (1) nor no (0)"),
            ParameterError::OutOfRange { min, max } => {
                write!(f, "is not a number from {min} to {max}")
            }
            ParameterError::NotOneOf(words) => write!(f, "is none of: {}", words.join(", ")),
            ParameterError::Peer(error) => error.fmt(f),
            ParameterError::Codes(error) => error.fmt(f),
            ParameterError::NotProducts => f.write_str("is not a list of product[/version]"),
            ParameterError::NotHeaderNames => f.write_str("is not a list of header field names"),
            ParameterError::Pattern(error) => error.fmt(f),
            ParameterError::NotASource => f.write_str("is none of dir:PATH, xcap:URL, db:URL"),
            ParameterError::NotAStateDir => f.write_str("is neither an absolute path nor none"),
            ParameterError::Empty => f.write_str("is empty"),
            ParameterError::NotAHost => f.write_str("is not a host name or IP address"),
            ParameterError::NotARelease => f.write_str("is not a release such as 2.2"),
            ParameterError::Listener(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ParameterError {}

/// Why the parameters do not fit each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SettingsError {
    /// No address is ours.
    NoAddress,
    /// One address would be of two kinds (spec-notes N2).
    Overlap,
    /// Interworking is to be allowed, but there is no ISF.
    NoIsf,
    /// Failures are to be counted, but no message is to be known.
    NoRecords,
    /// Of `group_source` and `group_uri` there is only one.
    HalfAGroup,
    /// Large message mode lacks something.
    LargeMode(&'static str),
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
            SettingsError::HalfAGroup => {
                "group_source says where groups are and group_uri which addresses they have: set both"
            }
            SettingsError::LargeMode(cause) => cause,
        })
    }
}

impl std::error::Error for SettingsError {}

pub(super) type Setter = fn(&mut Settings, &str) -> Result<(), ParameterError>;

/// Names of all parameters.
pub fn parameter_names() -> impl Iterator<Item = &'static str> {
    setters().map(|(name, _)| *name)
}

fn setters() -> impl Iterator<Item = &'static (&'static str, Setter)> {
    PARAMETERS.iter().chain(large_mode::PARAMETERS)
}

/// The parameters of both modes: name, and how a value gets in. A repeatable one adds a value at each call. Those of
/// large message mode alone stand in [`large_mode`].
const PARAMETERS: &[(&str, Setter)] = &[
    ("exploder_uri", |s, v| add_own_uri(&mut s.exploder_uris, v)),
    ("controlling_uri", |s, v| {
        add_own_uri(&mut s.controlling_uris, v)
    }),
    ("outbound_proxy", |s, v| {
        assign(&mut s.outbound_proxy, ServiceUri::parse(v).map(Some))
    }),
    ("dns_server", |s, v| {
        if s.dns_servers.len() == names::MAX_SERVERS {
            return Err(ParameterError::TooMany(names::MAX_SERVERS));
        }
        let server = names::parse_server(v).ok_or(ParameterError::NotAServer)?;
        s.dns_servers.push(server);
        Ok(())
    }),
    ("isf_uri", |s, v| {
        assign(&mut s.isf_uri, ServiceUri::parse(v).map(Some))
    }),
    ("isf_codes", |s, v| {
        assign(
            &mut s.isf_codes,
            StatusCodes::parse(v).map_err(ParameterError::Codes),
        )
    }),
    ("interworking", |s, v| {
        assign(&mut s.interworking, yes_or_no(v).map(Some))
    }),
    ("identity_source", |s, v| {
        let values = [
            IdentitySource::PAssertedIdentity,
            IdentitySource::Script,
            IdentitySource::From,
        ];
        assign(
            &mut s.identity_source,
            one_of(v, &["pai", "script", "from"], &values),
        )
    }),
    ("trusted_peer", |s, v| {
        s.trusted_peers.add(v).map_err(ParameterError::Peer)
    }),
    ("required_user_agent", |s, v| {
        let products = v
            .split_whitespace()
            .map(Product::parse)
            .collect::<Option<Vec<_>>>();
        assign(
            &mut s.required_user_agent,
            products.ok_or(ParameterError::NotProducts),
        )
    }),
    ("allow_anonymity", |s, v| {
        assign(&mut s.allow_anonymity, yes_or_no(v))
    }),
    ("max_recipients", |s, v| {
        assign(&mut s.max_recipients, number(v, 1, MAX_MAX_RECIPIENTS))
    }),
    ("max_outstanding_per_sender", |s, v| {
        assign(&mut s.shares.sender, number(v, 0, MAX_OUTSTANDING))
    }),
    ("max_outstanding_per_source", |s, v| {
        assign(&mut s.shares.source, number(v, 0, MAX_OUTSTANDING))
    }),
    ("max_outstanding_per_destination", |s, v| {
        assign(&mut s.shares.destination, number(v, 0, MAX_OUTSTANDING))
    }),
    ("missing_list_code", |s, v| {
        let values = [MissingListCode::Forbidden, MissingListCode::BadRequest];
        assign(
            &mut s.missing_list_code,
            one_of(v, &["403", "400"], &values),
        )
    }),
    ("history_unqualified", |s, v| {
        let values = [HistoryUnqualified::Hide, HistoryUnqualified::To];
        assign(
            &mut s.history_unqualified,
            one_of(v, &["hide", "to"], &values),
        )
    }),
    ("exploder_service", |s, v| {
        let values = [ExploderService::Copy, ExploderService::Single];
        assign(
            &mut s.exploder_service,
            one_of(v, &["copy", "single"], &values),
        )
    }),
    ("drop_headers", |s, v| {
        for name in v.split([' ', ',']).filter(|name| !name.is_empty()) {
            if !name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&b))
            {
                return Err(ParameterError::NotHeaderNames);
            }
            s.drop_headers.push(name.to_owned());
        }
        Ok(())
    }),
    ("require_ids", |s, v| {
        assign(&mut s.require_ids, yes_or_no(v))
    }),
    ("trigger", |s, v| {
        let values = [Trigger::AcceptContact, Trigger::AcceptContactOrService];
        assign(
            &mut s.trigger,
            one_of(v, &["accept_contact", "accept_contact_or_service"], &values),
        )
    }),
    ("group_source", |s, v| {
        let known = ["dir:", "xcap:", "db:"]
            .iter()
            .any(|kind| v.starts_with(kind) && v.len() > kind.len());
        if s.group_sources.len() == MAX_GROUP_SOURCES {
            return Err(ParameterError::TooMany(MAX_GROUP_SOURCES));
        }
        s.group_sources.push(
            known
                .then(|| v.to_owned())
                .ok_or(ParameterError::NotASource)?,
        );
        Ok(())
    }),
    ("group_uri", |s, v| {
        s.group_uris.add(v).map_err(ParameterError::Pattern)
    }),
    ("unknown_group_code", |s, v| {
        let values = [UnknownGroupCode::NotFound, UnknownGroupCode::Forbidden];
        assign(
            &mut s.unknown_group_code,
            one_of(v, &["404", "403"], &values),
        )
    }),
    ("max_group_members", |s, v| {
        assign(&mut s.max_group_members, number(v, 1, MAX_MAX_RECIPIENTS))
    }),
    ("group_nesting", |s, v| {
        let nesting = number(v, 0, MAX_GROUP_NESTING).map(|nesting| nesting as u32);
        assign(&mut s.group_nesting, nesting)
    }),
    ("copy_to_sender", |s, v| {
        assign(&mut s.copy_to_sender, yes_or_no(v))
    }),
    ("xcap_user", |s, v| assign(&mut s.xcap_user, text(v))),
    ("xcap_password", |s, v| {
        assign(&mut s.xcap_password, text(v))
    }),
    ("xcap_ca_file", |s, v| assign(&mut s.xcap_ca_file, text(v))),
    ("group_timeout", |s, v| {
        assign(&mut s.group_timeout_ms, number(v, 100, 20_000))
    }),
    ("group_lifetime", |s, v| {
        assign(&mut s.group_lifetime_s, number(v, 0, 86_400))
    }),
    ("imdn", |s, v| {
        let values = [Imdn::Forward, Imdn::Script];
        assign(&mut s.imdn, one_of(v, &["forward", "script"], &values))
    }),
    ("group_receipts", |s, v| {
        let values = [GroupReceipts::Nameless, GroupReceipts::AsReceived];
        assign(
            &mut s.group_receipts,
            one_of(v, &["nameless", "as_received"], &values),
        )
    }),
    ("imdn_ttl", |s, v| {
        assign(&mut s.imdn_ttl_s, number(v, 1, MAX_IMDN_TTL_S))
    }),
    ("imdn_records", |s, v| {
        assign(&mut s.imdn_records, number(v, 0, MAX_IMDN_RECORDS))
    }),
    ("failure_imdn", |s, v| {
        assign(&mut s.failure_imdn, yes_or_no(v))
    }),
    ("request_records", |s, v| {
        assign(&mut s.request_records, number(v, 0, MAX_REQUEST_RECORDS))
    }),
    ("state_dir", |s, v| {
        assign(&mut s.state_dir, state_dir::parse(v))
    }),
    ("id_key_file", |s, v| assign(&mut s.id_key_file, text(v))),
    ("warning_agent", |s, v| {
        let is_host = |b: u8| b.is_ascii_alphanumeric() || b".-:[]".contains(&b);
        let host = (!v.is_empty() && v.bytes().all(is_host)).then(|| v.to_owned());
        assign(
            &mut s.warning_agent,
            host.map(Some).ok_or(ParameterError::NotAHost),
        )
    }),
    ("oma_release", |s, v| {
        let release = !v.is_empty() && v.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        assign(
            &mut s.oma_release,
            release
                .then(|| v.to_owned())
                .ok_or(ParameterError::NotARelease),
        )
    }),
];

pub(super) fn assign<T>(
    parameter: &mut T,
    value: Result<T, ParameterError>,
) -> Result<(), ParameterError> {
    *parameter = value?;
    Ok(())
}

impl Settings {
    /// Sets one parameter from its text, or adds a value to a repeatable one.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), ParameterError> {
        let (name, setter) = setters()
            .find(|(known, _)| *known == name)
            .ok_or(ParameterError::Unknown)?;
        let value = value.trim();
        setter(self, value)?;
        self.given.keep(name, value);
        Ok(())
    }

    /// Whether the operator has set this parameter.
    pub(super) fn is_given(&self, name: &str) -> bool {
        self.given.values(name).next().is_some()
    }

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
        self.large_mode.check().map_err(SettingsError::LargeMode)
    }

    /// The ISF, where policy allows interworking.
    pub fn interworking_to(&self) -> Option<&ServiceUri> {
        self.isf_uri
            .as_ref()
            .filter(|_| self.interworking != Some(false))
    }
}

pub(super) fn sip_uri(text: &str) -> Result<Uri<'_>, ParameterError> {
    match Uri::parse(text) {
        Ok(uri @ Uri::Sip(_)) => Ok(uri),
        _ => Err(ParameterError::NotASipUri),
    }
}

fn add_own_uri(uris: &mut Vec<String>, text: &str) -> Result<(), ParameterError> {
    if uris.len() == MAX_OWN_URIS {
        return Err(ParameterError::TooMany(MAX_OWN_URIS));
    }
    sip_uri(text)?;
    uris.push(text.to_owned());
    Ok(())
}

/// What [`add_own_uri`] has checked.
fn parsed(uris: &[String]) -> impl Iterator<Item = Uri<'_>> {
    uris.iter().filter_map(|text| Uri::parse(text).ok())
}

pub(super) fn text(text: &str) -> Result<Option<String>, ParameterError> {
    if text.is_empty() {
        return Err(ParameterError::Empty);
    }
    Ok(Some(text.to_owned()))
}

pub(super) fn yes_or_no(text: &str) -> Result<bool, ParameterError> {
    match text {
        "yes" | "1" => Ok(true),
        "no" | "0" => Ok(false),
        _ => Err(ParameterError::NotYesOrNo),
    }
}

pub(super) fn number(text: &str, min: usize, max: usize) -> Result<usize, ParameterError> {
    let number = text.parse().ok().filter(|n| (min..=max).contains(n));
    number.ok_or(ParameterError::OutOfRange { min, max })
}

pub(super) fn one_of<T: Copy>(
    text: &str,
    words: &'static [&'static str],
    values: &[T],
) -> Result<T, ParameterError> {
    let found = words.iter().zip(values).find(|(word, _)| **word == text);
    found
        .map(|(_, value)| *value)
        .ok_or(ParameterError::NotOneOf(words))
}

#[cfg(test)]
mod tests {
    use super::*;

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
            "msrp_tls_certificate",
            "msrp_tls_private_key",
            "msrp_tls_ca_file",
        ];
        for name in parameter_names().filter(|name| !free.contains(name)) {
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
                max: MAX_MAX_RECIPIENTS
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
    fn failures_need_records() {
        let mut settings = set("exploder_uri", "sip:e@example.com").unwrap();
        settings.set("imdn_records", "0").unwrap();
        assert_eq!(settings.check(), Ok(()));
        settings.set("failure_imdn", "yes").unwrap();
        assert_eq!(settings.check(), Err(SettingsError::NoRecords));
    }

    #[test]
    fn a_product_matches_its_versions() {
        let product = Product::parse("CPM-client/OMA2").unwrap();
        assert!(product.matches("cpm-client", Some("OMA2")));
        assert!(product.matches("CPM-client", Some("OMA2.1")));
        assert!(!product.matches("CPM-client", Some("OMA21")));
        assert!(!product.matches("CPM-client", None));
        assert!(!product.matches("IM-client", Some("OMA2")));
        assert!(
            Product::parse("CPM-client")
                .unwrap()
                .matches("CPM-client", Some("OMA1.0"))
        );
    }
}
