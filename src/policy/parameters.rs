//! All parameters, a row for each: name, values, default, help, and where a value goes. Everything
//! else that lists parameters is made from these rows or held to them by a test: the defaults of
//! [`Settings`], the list that the proxy wants, its commands, the headings in the manual.
//!
//! One file, since it is one table, in which each parameter stands once.

use std::time::Duration;

use super::deferral;
use super::isf_codes::StatusCodes;
use super::large_mode::{
    ACK_TIMEOUT, AllFailedResponse, LegAck, MAX_SESSION_AGE, NoDestinationsText, SessionTimerCheck,
    SpoolDir,
};
use super::parameter::{Kind, Parameter, Range, UNLIMITED, Word};
use super::settings::{
    ChargingVector, ExploderService, GroupReceipts, IdentitySource, Imdn, MissingListCode,
    Settings, Trigger, UnknownGroupCode,
};
use super::state_dir::{self, SPOOL_DIR, STATE_DIR, STORE, STORE_CONTENT};
use super::store_place::StorePlace;
use super::value::{
    MsrpListener, ParameterError, ServiceUri, group_source, header_names, host, products, release,
    some_text,
};
use crate::group::source::{MAX_SOURCES, MAX_TIMEOUT_MS};
use crate::names;
use crate::resource_lists::HistoryUnqualified;
use crate::sdp::Transport;

/// Most recipients that an operator may allow in one request. A request lives in one buffer of the
/// proxy (64 KiB by default), so that a larger number would promise what cannot be kept.
const MAX_RECIPIENTS: usize = 10_000;

/// Most recipients that a share may be set to; beyond it, it would be none.
const MAX_OUTSTANDING: usize = 1_000_000;

/// Most own addresses of one kind: each received request is compared with all of them.
const MAX_OWN_URIS: usize = 64;

/// Most groups that can send a message on one after another: what is left of its Max-Breadth tells
/// no more of them apart.
const MAX_GROUP_NESTING: usize = 4;

/// Thirty days: longest time for which the sender of a message may be known.
const MAX_IMDN_TTL_S: usize = 30 * 86_400;

/// Fewest and most messages that are recorded: the most take some 2.8 GB.
const MIN_MESSAGE_RECORDS: usize = 16;
const MAX_MESSAGE_RECORDS: usize = 1_000_000;

/// Most messages whose sender may be known: some 300 MiB.
const MAX_IMDN_RECORDS: usize = 1_000_000;

/// Most requests that may be remembered: some 660 MB.
const MAX_REQUEST_RECORDS: usize = 10_000_000;

/// Most listeners for MSRP: one of each transport and address family, and some to spare.
const MAX_LISTENERS: usize = 8;

/// Most MSRP connections, and most sessions.
const MAX_CONNECTIONS: usize = 1_000_000;

/// Most INVITEs at once or in a second that can be asked for: as many as a message may have
/// recipients.
const MAX_PACE: usize = MAX_RECIPIENTS;

/// Most copies in a second that can be asked for after a restart: more than a proxy sends.
const MAX_RESUME_RATE: usize = 1_000_000;
/// A node that cannot ask the store within this time is dead to the others, who then send once more
/// what it is sending.
const MIN_LEASE_S: usize = 5;
const MAX_LEASE_S: usize = 3_600;
const MAX_REPLICAS: usize = 16;

const MIB: usize = 1024 * 1024;

/// Most messages that may wait for one recipient: all of them are due when it arrives.
const MAX_DEFERRED: usize = 10_000;

/// A day. Nothing that a peer is waited for takes longer.
const DAY_S: usize = 86_400;

/// Longest ringing: the originator's transaction does not last longer.
const MAX_LEG_TIMEOUT_S: usize = 150;

/// Least session interval (RFC 4028 §4).
const MIN_SESSION_EXPIRES_S: usize = 90;

/// Every parameter, in the order of the manual.
pub const ALL: &[Parameter] = &[
    Parameter::new(
        "exploder_uri",
        Kind::Uri(|s, v| add(&mut s.exploder_uris, v.to_owned())),
        "an address for 1-to-many messages",
    )
    .reloadable()
    .repeatable(MAX_OWN_URIS),
    Parameter::new(
        "controlling_uri",
        Kind::Uri(|s, v| add(&mut s.controlling_uris, v.to_owned())),
        "an address for ad-hoc groups",
    )
    .reloadable()
    .repeatable(MAX_OWN_URIS),
    Parameter::new(
        "outbound_proxy",
        Kind::Uri(|s, v| assign(&mut s.outbound_proxy, ServiceUri::parse(v).map(Some))),
        "next hop of outgoing requests",
    )
    .reloadable(),
    Parameter::new(
        "dns_server",
        Kind::Text(|s, v| {
            let server = names::parse_server(v).ok_or(ParameterError::NotAServer)?;
            add(&mut s.dns_servers, server)
        }),
        "a name server",
    )
    .repeatable(names::MAX_NAME_SERVERS),
    Parameter::new(
        "express",
        Kind::Words(&[
            word("auto", |s| s.express = true),
            word("no", |s| s.express = false),
        ]),
        "whether copies may leave past the proxy's transactions",
    )
    .default("auto"),
    Parameter::new(
        "isf_uri",
        Kind::Uri(|s, v| assign(&mut s.isf_uri, ServiceUri::parse(v).map(Some))),
        "the Interworking Selection Function",
    )
    .reloadable(),
    Parameter::new(
        "identity_source",
        Kind::Words(&[
            word("pai", |s| {
                s.identity_source = IdentitySource::PAssertedIdentity
            }),
            word("script", |s| s.identity_source = IdentitySource::Script),
            word("from", |s| s.identity_source = IdentitySource::From),
        ]),
        "source of the originator's identity",
    )
    .default("pai"),
    Parameter::new(
        "trusted_peer",
        Kind::Text(|s, v| s.trusted_peers.add(v).map_err(ParameterError::Peer)),
        "an address or network from which P-Asserted-Identity is believed",
    )
    .reloadable()
    .repeatable(UNLIMITED),
    Parameter::new(
        "required_user_agent",
        Kind::Text(|s, v| assign(&mut s.required_user_agent, products(v))),
        "products, one of which User-Agent must contain",
    ),
    Parameter::new(
        "allow_anonymity",
        Kind::Flag(|s, v| s.allow_anonymity = v),
        "whether originators may ask for anonymity",
    )
    .default("1")
    .tunable(),
    Parameter::new(
        "max_recipients",
        number(1, MAX_RECIPIENTS, |s, v| s.max_recipients = v),
        "maximum number of distinct recipients of one message",
    )
    .default("100")
    .tunable(),
    Parameter::new(
        "max_outstanding_per_sender",
        number(0, MAX_OUTSTANDING, |s, v| s.shares.sender = v).zero("no limit"),
        "maximum number of outstanding recipients of one originator",
    )
    .default("2000")
    .tunable(),
    Parameter::new(
        "max_outstanding_per_source",
        number(0, MAX_OUTSTANDING, |s, v| s.shares.source = v).zero("no limit"),
        "the same for one address that is not a trusted_peer",
    )
    .default("2000")
    .tunable(),
    Parameter::new(
        "max_outstanding_per_destination",
        number(0, MAX_OUTSTANDING, |s, v| s.shares.destination = v).zero("no limit"),
        "maximum number of outstanding recipients with one host in their addresses",
    )
    .default("3000")
    .tunable(),
    Parameter::new(
        "require_ids",
        Kind::Flag(|s, v| s.require_ids = v),
        "whether Conversation-ID and Contribution-ID are mandatory",
    )
    .default("0")
    .tunable(),
    Parameter::new(
        "missing_list_code",
        Kind::Words(&[
            word("403", |s| s.missing_list_code = MissingListCode::Forbidden),
            word("400", |s| s.missing_list_code = MissingListCode::BadRequest),
        ]),
        "answer to a request without a resource list",
    )
    .default("403")
    .tunable(),
    Parameter::new(
        "history_unqualified",
        Kind::Words(&[
            word("hide", |s| s.history_unqualified = HistoryUnqualified::Hide),
            word("to", |s| s.history_unqualified = HistoryUnqualified::To),
        ]),
        "how the list for an ad-hoc group treats entries without copyControl",
    )
    .default("hide"),
    Parameter::new(
        "exploder_service",
        Kind::Words(&[
            word("copy", |s| s.exploder_service = ExploderService::Copy),
            word("single", |s| s.exploder_service = ExploderService::Single),
        ]),
        "P-Asserted-Service of copies of a 1-to-many message",
    )
    .default("copy"),
    Parameter::new(
        "charging_vector",
        Kind::Words(&[
            word("none", |s| s.charging_vector = ChargingVector::None),
            word("icid", |s| s.charging_vector = ChargingVector::Icid),
        ]),
        "P-Charging-Vector of outgoing requests",
    )
    .default("none"),
    Parameter::new(
        "drop_headers",
        Kind::Text(|s, v| {
            s.drop_headers.extend(header_names(v)?);
            Ok(())
        }),
        "names of further header fields that are not passed on",
    )
    .repeatable(UNLIMITED),
    Parameter::new(
        "interworking",
        Kind::Flag(|s, v| s.interworking = Some(v)),
        "whether interworking is allowed; needs isf_uri",
    )
    .in_force(|s| {
        if s.interworking_to().is_some() {
            "1"
        } else {
            "0"
        }
    })
    .tunable(),
    Parameter::new(
        "isf_codes",
        Kind::Text(|s, v| {
            let codes = StatusCodes::parse(v).map_err(ParameterError::Codes);
            assign(&mut s.isf_codes, codes)
        }),
        "failures that lead to the ISF",
    )
    // The lists of OMA CPM 9.1.1 and 9.1.2.
    .default("404 405 410 414 415 416 488 606"),
    Parameter::new(
        "group_source",
        Kind::Text(|s, v| add(&mut s.group_sources, group_source(v)?)),
        "where group documents come from",
    )
    .reloadable()
    .repeatable(MAX_SOURCES),
    Parameter::new(
        "group_uri",
        Kind::Text(|s, v| s.group_uris.add(v).map_err(ParameterError::Pattern)),
        "which addresses belong to groups",
    )
    .reloadable()
    .repeatable(UNLIMITED),
    Parameter::new(
        "group_processes",
        number(1, 64, |s, v| s.group_processes = v),
        "number of processes that look up groups",
    )
    .default("2"),
    Parameter::new(
        "group_timeout",
        number(100, MAX_TIMEOUT_MS as usize, |s, v| s.group_timeout_ms = v).unit("milliseconds"),
        "how long an XDMS may take for a group",
    )
    .default("5000")
    .tunable(),
    Parameter::new(
        "group_lifetime",
        seconds(0, DAY_S, |s, v| s.group_lifetime_s = v),
        "how long a group is taken from the cache",
    )
    .default("60")
    .tunable(),
    Parameter::new(
        "xcap_user",
        Kind::Text(|s, v| assign(&mut s.xcap_user, some_text(v))),
        "the Controlling Function's user name at the XDMS",
    )
    .reloadable(),
    Parameter::new(
        "xcap_password",
        Kind::Secret(|s, v| assign(&mut s.xcap_password, some_text(v))),
        "the password of xcap_user",
    )
    .reloadable(),
    Parameter::new(
        "xcap_ca_file",
        Kind::Text(|s, v| assign(&mut s.xcap_ca_file, some_text(v))),
        "certificates that vouch for the XDMS",
    )
    .reloadable(),
    Parameter::new(
        "unknown_group_code",
        Kind::Words(&[
            word("404", |s| s.unknown_group_code = UnknownGroupCode::NotFound),
            word("403", |s| {
                s.unknown_group_code = UnknownGroupCode::Forbidden
            }),
        ]),
        "answer to a request for a group that does not exist",
    )
    .default("404")
    .tunable(),
    Parameter::new(
        "max_group_members",
        number(1, MAX_RECIPIENTS, |s, v| s.max_group_members = v),
        "maximum number of distinct members that receive a message",
    )
    .default("10000")
    .tunable(),
    Parameter::new(
        "group_nesting",
        number(0, MAX_GROUP_NESTING, |s, v| s.group_nesting = v as u32),
        "number of groups that a message may have passed for a group to forward it",
    )
    .default("0")
    .tunable(),
    Parameter::new(
        "copy_to_sender",
        Kind::Flag(|s, v| s.copy_to_sender = v),
        "whether a member that sends to the group gets a copy",
    )
    .default("0")
    .tunable(),
    Parameter::new(
        "msrp_listen",
        Kind::Text(|s, v| add(&mut s.large_mode.listen, MsrpListener::parse(v)?)),
        "where MSRP connections are accepted",
    )
    .repeatable(MAX_LISTENERS),
    Parameter::new(
        "msrp_advertise",
        Kind::Text(|s, v| add(&mut s.large_mode.advertise, MsrpListener::parse(v)?)),
        "where peers reach these listeners",
    )
    .repeatable(MAX_LISTENERS),
    Parameter::new(
        "msrp_transport",
        Kind::Words(&[
            word("tcp", |s| s.large_mode.leg_transport = Transport::Tcp),
            word("tls", |s| s.large_mode.leg_transport = Transport::Tls),
        ]),
        "transport offered to recipients",
    )
    .default("tcp"),
    Parameter::new(
        "msrp_tls_certificate",
        Kind::Text(|s, v| assign(&mut s.large_mode.tls_certificate, some_text(v))),
        "the certificate of TLS listeners",
    ),
    Parameter::new(
        "msrp_tls_private_key",
        Kind::Text(|s, v| assign(&mut s.large_mode.tls_private_key, some_text(v))),
        "the key of that certificate",
    ),
    Parameter::new(
        "msrp_tls_ca_file",
        Kind::Text(|s, v| assign(&mut s.large_mode.tls_ca_file, some_text(v))),
        "authorities that vouch for MSRP peers",
    ),
    Parameter::new(
        "msrp_max_message",
        bytes(0, |s, v| s.large_mode.max_message_bytes = v as u64).zero("no limit"),
        "longest message",
    )
    // 100 MiB.
    .default("104857600"),
    Parameter::new(
        "msrp_chunk_size",
        bytes(0, |s, v| {
            s.large_mode.chunk_bytes = limit(v).map(|v| v as u64)
        })
        .zero("no limit"),
        "maximum content in one chunk to a recipient",
    )
    .default("0"),
    Parameter::new(
        "msrp_memory",
        bytes(MIB, |s, v| s.large_mode.memory_bytes = v),
        "content that all sessions together may keep in memory",
    )
    // 256 MiB.
    .default("268435456"),
    Parameter::new(
        "msrp_session_memory",
        bytes(MIB, |s, v| s.large_mode.session_memory_bytes = v),
        "content that one session may keep in memory",
    )
    // 8 MiB.
    .default("8388608"),
    Parameter::new(
        SPOOL_DIR,
        Kind::Text(|s, v| {
            let dir = state_dir::parse(v);
            let dir = dir.map(|dir| dir.map_or(SpoolDir::Nowhere, SpoolDir::At));
            assign(&mut s.large_mode.spool_dir, dir)
        }),
        "folder for content that exceeds the memory",
    )
    .in_force(|s| {
        s.spool_dir()
            .map_or(state_dir::NONE, |dir| dir.to_str().unwrap_or_default())
    }),
    Parameter::new(
        "msrp_spool",
        bytes(0, |s, v| s.large_mode.spool_bytes = v as u64),
        "maximum size of all spool files together",
    )
    // 4 GiB.
    .default("4294967296"),
    Parameter::new(
        "msrp_stall_timeout",
        seconds(1, DAY_S, |s, v| s.large_mode.stall_timeout = duration(v)),
        "how long a recipient may accept no data",
    )
    .default("60"),
    Parameter::new(
        "spool_ttl",
        seconds(0, MAX_SESSION_AGE.as_secs() as usize, |s, v| {
            s.large_mode.spool_ttl = limit(v).map(duration)
        })
        .zero("no limit"),
        "how long a complete message is kept for a recipient",
    )
    .default("14400")
    .tunable(),
    Parameter::new(
        "msrp_max_connections",
        number(1, MAX_CONNECTIONS, |s, v| s.large_mode.max_connections = v),
        "maximum number of MSRP connections",
    )
    .default("10000"),
    Parameter::new(
        "msrp_max_unbound",
        number(1, MAX_CONNECTIONS, |s, v| s.large_mode.max_unbound = v),
        "maximum number of accepted MSRP connections without a session",
    )
    .default("1024"),
    Parameter::new(
        "msrp_max_unbound_per_source",
        number(0, MAX_CONNECTIONS, |s, v| {
            s.large_mode.max_unbound_per_source = v
        })
        .zero("no limit"),
        "the same for one IP address",
    )
    .default("256"),
    Parameter::new(
        "max_sessions",
        number(1, MAX_CONNECTIONS, |s, v| s.large_mode.max_sessions = v),
        "maximum number of large message sessions",
    )
    .default("1000")
    .tunable(),
    Parameter::new(
        "max_sessions_per_sender",
        number(0, MAX_CONNECTIONS, |s, v| {
            s.large_mode.max_sessions_per_sender = v
        })
        .zero("no limit"),
        "maximum number of large message sessions of one originator",
    )
    .default("250")
    .tunable(),
    Parameter::new(
        "contact_uri",
        Kind::Uri(|s, v| assign(&mut s.large_mode.contact_uri, some_text(v))),
        "address of this proxy for requests inside dialogs",
    ),
    Parameter::new(
        "require_session_timer",
        Kind::Words(&[
            word("lenient", |s| {
                s.large_mode.require_session_timer = SessionTimerCheck::Lenient
            }),
            word("literal", |s| {
                s.large_mode.require_session_timer = SessionTimerCheck::Literal
            }),
            word("off", |s| {
                s.large_mode.require_session_timer = SessionTimerCheck::Off
            }),
        ]),
        "which Session-Expires of originators is refused",
    )
    .default("lenient"),
    Parameter::new(
        "session_expires",
        seconds(MIN_SESSION_EXPIRES_S, DAY_S, |s, v| {
            s.large_mode.session_expires_s = v as u32
        }),
        "session interval towards originators that name none",
    )
    .default("1800")
    .tunable(),
    Parameter::new(
        "leg_session_expires",
        seconds(MIN_SESSION_EXPIRES_S, DAY_S, |s, v| {
            s.large_mode.leg_session_expires_s = v as u32
        })
        .zero("none is asked for"),
        "session interval requested of recipients",
    )
    .default("1800"),
    Parameter::new(
        "leg_timeout",
        seconds(1, MAX_LEG_TIMEOUT_S, |s, v| {
            s.large_mode.leg_timeout = duration(v)
        }),
        "how long a recipient may ring",
    )
    .default("60")
    .tunable(),
    Parameter::new(
        "max_parallel_legs",
        number(0, MAX_PACE, |s, v| {
            s.large_mode.max_parallel_legs = limit(v)
        })
        .zero("no limit"),
        "maximum number of unanswered INVITEs of a session",
    )
    .default("0")
    .tunable(),
    Parameter::new(
        "legs_per_second",
        number(0, MAX_PACE, |s, v| {
            s.large_mode.legs_per_second = limit(v).map(|v| v as u32)
        })
        .zero("no limit"),
        "INVITEs that a session sends in a second",
    )
    .default("0")
    .tunable(),
    Parameter::new(
        "all_failed_response",
        Kind::Words(&[
            word("480", |s| {
                s.large_mode.all_failed_response = AllFailedResponse::TemporarilyUnavailable;
            }),
            word("best", |s| {
                s.large_mode.all_failed_response = AllFailedResponse::Best
            }),
        ]),
        "answer to the originator when no recipient answers 2xx",
    )
    .default("480"),
    Parameter::new(
        "leg_ack",
        Kind::Words(&[
            word("on_sender_ack", |s| {
                s.large_mode.leg_ack = LegAck::OnSenderAck
            }),
            word("immediate", |s| s.large_mode.leg_ack = LegAck::Immediate),
        ]),
        "when a recipient's 200 gets its ACK",
    )
    .default("on_sender_ack"),
    Parameter::new(
        "ack_wait",
        seconds(1, ACK_TIMEOUT.as_secs() as usize, |s, v| {
            s.large_mode.ack_wait = duration(v)
        }),
        "how long recipients that have answered wait for the originator's ACK",
    )
    .default("10")
    .tunable(),
    Parameter::new(
        "large_no_destinations_text",
        Kind::Words(&[
            word("numbered", |s| {
                s.large_mode.no_destinations_text = NoDestinationsText::Numbered;
            }),
            word("bare", |s| {
                s.large_mode.no_destinations_text = NoDestinationsText::Bare
            }),
        ]),
        "spelling of the Warning for an empty list",
    )
    .default("numbered"),
    Parameter::new(
        "large_group_no_cpm_code",
        Kind::Words(&[
            word("404", |s| s.large_mode.group_no_cpm_code = 404),
            word("488", |s| s.large_mode.group_no_cpm_code = 488),
        ]),
        "answer to an INVITE for a group without CPM",
    )
    .default("404")
    .tunable(),
    Parameter::new(
        "imdn",
        Kind::Words(&[
            word("forward", |s| s.imdn = Imdn::Forward),
            word("script", |s| s.imdn = Imdn::Script),
        ]),
        "how to treat disposition notifications to an address of the service",
    )
    .default("forward"),
    Parameter::new(
        "group_receipts",
        Kind::Words(&[
            word("nameless", |s| s.group_receipts = GroupReceipts::Nameless),
            word("as_received", |s| {
                s.group_receipts = GroupReceipts::AsReceived
            }),
        ]),
        "how notifications from members of groups are forwarded",
    )
    .default("nameless"),
    Parameter::new(
        "imdn_ttl",
        seconds(1, MAX_IMDN_TTL_S, |s, v| s.imdn_ttl_s = v),
        "how long notifications about a message are forwarded",
    )
    .default("86400")
    .tunable(),
    Parameter::new(
        "imdn_records",
        number(0, MAX_IMDN_RECORDS, |s, v| s.imdn_records = v),
        "maximum number of messages whose sender is kept",
    )
    .default("10000"),
    Parameter::new(
        "message_records",
        number(MIN_MESSAGE_RECORDS, MAX_MESSAGE_RECORDS, |s, v| {
            s.message_records = v;
        }),
        "number of messages whose fate is kept for event routes and cpm.message",
    )
    .default("2000"),
    Parameter::new(
        "failure_imdn",
        Kind::Flag(|s, v| s.failure_imdn = v),
        "whether a sender that asks for it is notified when all recipients have failed",
    )
    .default("0"),
    Parameter::new(
        "trigger",
        Kind::Words(&[
            word("accept_contact", |s| s.trigger = Trigger::AcceptContact),
            word("accept_contact_or_service", |s| {
                s.trigger = Trigger::AcceptContactOrService
            }),
        ]),
        "how a CPM Standalone Message is recognised",
    )
    .default("accept_contact"),
    Parameter::new(
        "request_records",
        number(0, MAX_REQUEST_RECORDS, |s, v| s.request_records = v),
        "maximum number of remembered requests",
    )
    .default("200000"),
    Parameter::new(
        STATE_DIR,
        Kind::Text(|s, v| assign(&mut s.state_dir, state_dir::parse(v))),
        "folder for data kept from one start to the next",
    )
    .default(state_dir::DEFAULT),
    Parameter::new(
        "parameter_file",
        Kind::Text(|s, v| assign(&mut s.parameter_file, some_text(v))),
        "a file of parameters that can be read again while the proxy runs",
    ),
    Parameter::new(
        STORE,
        Kind::Text(|s, v| assign(&mut s.store, StorePlace::parse(v))),
        "where accepted messages are kept until all recipients have ended",
    )
    .default(state_dir::NONE)
    .in_force(|s| s.store.as_ref().map_or(state_dir::NONE, StorePlace::shown)),
    Parameter::new(
        "store_node",
        Kind::Text(|s, v| assign(&mut s.store_node, some_text(v))),
        "the name of this node among those that share the store",
    ),
    Parameter::new(
        "store_ca_file",
        Kind::Text(|s, v| {
            let file = some_text(v).map(|file| file.map(Into::into));
            assign(&mut s.store_ca_file, file)
        }),
        "certificates that vouch for the server of the store",
    ),
    Parameter::new(
        STORE_CONTENT,
        Kind::Text(|s, v| assign(&mut s.store_content, state_dir::parse(v))),
        "a folder for the content of large messages, where nodes share the store",
    )
    .default(state_dir::NONE),
    Parameter::new(
        "store_lease",
        seconds(MIN_LEASE_S, MAX_LEASE_S, |s, v| s.store_lease_s = v),
        "how long this node may be silent until another one takes over",
    )
    .default("60"),
    Parameter::new(
        "store_replicas",
        number(0, MAX_REPLICAS, |s, v| s.store_replicas = v),
        "how many replicas of the store must have a message before it is accepted",
    )
    .default("0"),
    Parameter::new(
        "store_max_size",
        bytes(16 * MIB, |s, v| s.store_max_bytes = v),
        "what the store may take",
    )
    // 1 GiB.
    .default("1073741824"),
    Parameter::new(
        "resume_rate",
        number(1, MAX_RESUME_RATE, |s, v| s.resume_rate = v).unit("a second"),
        "how many copies go out of what the proxy before has left",
    )
    .default("200")
    .tunable(),
    Parameter::new(
        "deferred_codes",
        Kind::Text(|s, v| {
            let codes = StatusCodes::parse(v).map_err(ParameterError::Codes);
            assign(&mut s.deferral.codes, codes)
        }),
        "failures after which a message waits for its recipient",
    ),
    Parameter::new(
        "deferred_ttl",
        seconds(1, MAX_IMDN_TTL_S, |s, v| s.deferral.ttl_s = v),
        "how long a stored message is of use",
    )
    // Three days.
    .default("259200")
    .tunable(),
    Parameter::new(
        "deferred_retry",
        Kind::Text(|s, v| assign(&mut s.deferral.steps_s, deferral::steps(v))),
        "seconds between the attempts at a recipient",
    )
    .default("60 300 1800 7200"),
    Parameter::new(
        "deferred_delay",
        seconds(0, 3_600, |s, v| s.deferral.delay_s = v),
        "how long after a recipient's arrival it is tried",
    )
    .default("2")
    .tunable(),
    Parameter::new(
        "deferred_max",
        number(1, MAX_DEFERRED, |s, v| s.deferral.most = v),
        "how many messages may wait for one recipient",
    )
    .default("100")
    .tunable(),
    Parameter::new(
        "deferred_large",
        Kind::Flag(|s, v| s.deferral.large = v),
        "whether a large message is taken though all recipients are away",
    )
    .default("0"),
    Parameter::new(
        "deferred_on_register",
        Kind::Flag(|s, v| s.deferral.on_register = v),
        "whether usrloc says which recipients have arrived",
    )
    .default("0"),
    Parameter::new(
        "id_key_file",
        Kind::Text(|s, v| assign(&mut s.id_key_file, some_text(v))),
        "key from which Call-IDs and tags are derived",
    ),
    Parameter::new(
        "warning_agent",
        Kind::Text(|s, v| assign(&mut s.warning_agent, host(v))),
        "host named in Warning header fields",
    ),
    Parameter::new(
        "oma_release",
        Kind::Text(|s, v| assign(&mut s.oma_release, release(v))),
        "the release in User-Agent and Server",
    )
    .default("2.2"),
];

const fn number(min: usize, max: usize, set: fn(&mut Settings, usize)) -> Kind {
    let (unit, zero) = ("", "");
    let range = Range {
        min,
        max,
        unit,
        zero,
    };
    Kind::Number { range, set }
}

const fn seconds(min: usize, max: usize, set: fn(&mut Settings, usize)) -> Kind {
    number(min, max, set).unit("seconds")
}

const fn bytes(min: usize, set: fn(&mut Settings, usize)) -> Kind {
    number(min, UNLIMITED, set).unit("bytes")
}

const fn word(text: &'static str, set: fn(&mut Settings)) -> Word {
    Word { text, set }
}

fn assign<T>(field: &mut T, value: Result<T, ParameterError>) -> Result<(), ParameterError> {
    *field = value?;
    Ok(())
}

fn add<T>(field: &mut Vec<T>, value: T) -> Result<(), ParameterError> {
    field.push(value);
    Ok(())
}

/// A limit that is none if it is 0.
fn limit(number: usize) -> Option<usize> {
    (number > 0).then_some(number)
}

fn duration(seconds: usize) -> Duration {
    Duration::from_secs(seconds as u64)
}
