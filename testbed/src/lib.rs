//! The bench for cpm's end-to-end tests, its demo and its benchmarks. Its parts are real and share
//! no code with cpm: a stock Kamailio or OpenSIPS, SIP user agents with their own small SIP reader,
//! sipp, and a capture of the loopback interface that tshark checks. The crate does not depend on
//! `cpm`.
//!
//! ```no_run
//! use cpm_testbed::{Answer, Bench, ProxyConfig, cc, cpm_message, to};
//!
//! let bench = Bench::new("one_message_reaches_two");
//! let proxy = bench.proxy(
//!     &ProxyConfig::new("request_route { cpm_handle(); }")
//!         .load("tm")
//!         .load("/path/to/cpm.so")
//!         .set("cpm", "exploder_uri", "sip:exploder@example.com"),
//! );
//! let (alice, bob, carol) = (bench.agent(), bench.agent(), bench.agent());
//! carol.answers(Answer::code(404));
//! let capture = bench.capture();
//!
//! let message = cpm_message("sip:alice@example.com", "sip:exploder@example.com")
//!     .recipients([to(&bob.uri("bob")), cc(&carol.tcp_uri("carol"))])
//!     .text("Lunch?")
//!     .request()
//!     .with("Privacy", "none");
//! alice.send(&message, proxy.udp());
//! alice.expect_response(&message, 202);
//! assert_ne!(bob.expect_request("MESSAGE").call_id(), carol.expect_request("MESSAGE").call_id());
//!
//! let recording = capture.stop();
//! recording.assert_clean();
//! let sent = format!("sip.Method == \"MESSAGE\" && {}", recording.sent_by_proxy());
//! assert_eq!(recording.fields(&sent, &["sip.To", "sip.Call-ID"]).len(), 2);
//! proxy.stop();
//! ```
//!
//! # What is promised
//!
//! - Tests run in parallel, in one process and in several: each [`Bench`] has its own range of
//!   ports and its own folder.
//! - No test sleeps: the bench waits for answers, log lines, and markers in the capture.
//! - Nothing is left behind: proxies, sipp and dumpcap end with the test, even if it panics or is
//!   killed.
//! - If a test fails, its configurations, logs and captures are kept in `.test-logs/<test name>/`.
//! - Failed expectations panic at the caller's line, and name what arrived instead.
//!
//! # Where to look
//!
//! | file | job |
//! |---|---|
//! | `bench.rs`, `ports.rs` | the resources of one test |
//! | `product.rs`, `kamailio.rs`, `opensips.rs` | the two proxies and their differences |
//! | `config.rs` | its configuration |
//! | `disk.rs` | a disk that is full, or read-only |
//! | `proxy.rs`, `process.rs` | its lifecycle, queries to it, numbers from the kernel |
//! | `agent.rs`, `inbox.rs`, `way.rs` | user agents, the messages they have received, and
//! transports |
//! | `message.rs`, `marker.rs` | reading it; datagrams of the bench itself |
//! | `request.rs`, `cpm_message.rs` | the requests and replies they send |
//! | `large_message.rs`, `sdp.rs`, `call.rs` | large messages, from the caller's side |
//! | `callees.rs` | recipients that follow a plan |
//! | `msrp_message.rs`, `msrp_content.rs` | reading and writing MSRP, whole messages |
//! | `msrp_peer.rs` | a peer with MSRP sessions |
//! | `msrp_session.rs`, `msrp_state.rs` | one session, controlled by a test |
//! | `msrp_serving.rs`, `msrp_connection.rs` | their connections, over TCP and TLS |
//! | `msrp_address.rs`, `certificate.rs` | addresses in MSRP URIs; certificates |
//! | `name_server.rs` | a name server that answers or does not |
//! | `group_document.rs` | pre-defined groups |
//! | `web_server.rs`, `postgres.rs`, `radius.rs`, `redis.rs` | their storage |
//! | `prometheus.rs` | a Prometheus that scrapes a proxy |
//! | `capture.rs`, `recording.rs` | capturing the traffic, checking it |
//! | `sipp.rs` | sipp |
//! | `browser.rs` | Chromium |
//! | `guarded.rs`, `log.rs`, `sys.rs` | child processes that cannot outlive the test |
//! | `proof.rs` | which requirements an assertion proves |
//! | `outcome.rs` | how expectations fail |

mod agent;
mod bench;
mod browser;
mod call;
mod callees;
mod capture;
mod certificate;
mod config;
mod cpm_message;
mod disk;
mod driver;
mod group_document;
mod guarded;
mod inbox;
mod kamailio;
mod large_message;
mod log;
mod marker;
mod message;
mod msrp_address;
mod msrp_connection;
mod msrp_content;
mod msrp_message;
mod msrp_peer;
mod msrp_serving;
mod msrp_session;
mod msrp_state;
mod name_server;
mod opensips;
mod outcome;
mod ports;
mod postgres;
mod preloaded;
mod process;
mod product;
mod prometheus;
mod proof;
mod proxy;
mod radius;
mod recording;
mod redis;
mod request;
mod sdp;
mod segments;
mod sipp;
mod sys;
mod way;
mod web_server;

pub use agent::{Agent, Answer, AnswerFunction, WatchFunction};
pub use bench::Bench;
pub use browser::Browser;
pub use call::Call;
pub use callees::{Callees, InvitedCall, Plan};
pub use capture::{Capture, CaptureError};
pub use certificate::{AnyCertificate, Certificate};
pub use config::ProxyConfig;
pub use cpm_message::{
    BOUNDARY, CpmMessage, PAGER_FEATURE_TAG, Recipient, bcc, cc, cpm_message, multipart,
    resource_lists, to, unmarked,
};
pub use disk::SmallDisk;
pub use group_document::{FOR_CPM, GroupDocument, MEMBERS_MAY_SEND, group_document};
pub use inbox::Received;
pub use kamailio::values;
pub use large_message::{LARGE_FEATURE_TAG, LargeMessage, large_message};
pub use message::Message;
pub use msrp_content::{MsrpContent, noise, sha256};
pub use msrp_message::{MsrpHead, MsrpRequest};
pub use msrp_peer::MsrpPeer;
pub use msrp_session::MsrpSession;
pub use msrp_state::{Conduct, MsrpReceived};
pub use name_server::{DEAD, NameServer};
pub use postgres::Postgres;
pub use preloaded::preloaded;
pub use process::Process;
pub use product::Product;
pub use prometheus::Prometheus;
pub use proof::proven_by;
pub use proxy::{Proxy, StartFailure};
pub use radius::Radius;
pub use recording::{Complaint, Recording};
pub use redis::{Link, Redis};
pub use request::{Reply, Request, latin_1};
pub use sdp::{SdpRead, SdpText};
pub use sipp::{Scenario, Sipp};
pub use way::{PATIENCE, Way};
pub use web_server::{WebAnswer, WebRequest, WebServer};
