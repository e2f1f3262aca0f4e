//! The bench of one test: its ports, its folder, and the programs on it.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use crate::agent::Agent;
use crate::browser::Browser;
use crate::callees::Callees;
use crate::capture::{Capture, CaptureError};
use crate::certificate::Certificate;
use crate::config::ProxyConfig;
use crate::msrp_peer::MsrpPeer;
use crate::outcome::or_fail;
use crate::ports::{PortBlock, once_free};
use crate::postgres::Postgres;
use crate::prometheus::Prometheus;
use crate::proxy::{Proxy, StartFailure};
use crate::radius::Radius;
use crate::recording::PortUse;
use crate::redis::Redis;
use crate::sipp::{Scenario, Sipp};
use crate::web_server::WebServer;

/// Everything that one test needs, isolated from every other test. Declare it first, so that it is
/// dropped last: if the test has failed by then, the folder `.test-logs/<test name>/` with
/// configurations, logs and captures is kept and its path printed; otherwise it is removed.
/// `CPM_TEST_LOGS` replaces `.test-logs`.
#[derive(Debug)]
pub struct Bench {
    folder: PathBuf,
    ports: PortBlock,
    used: Mutex<PortUse>,
    started: AtomicUsize,
    keep: AtomicBool,
}

impl Bench {
    /// A bench for the test with this name, which must be unique within the project.
    #[track_caller]
    pub fn new(test_name: &str) -> Self {
        or_fail("setting up the bench", Self::set_up(test_name))
    }

    fn set_up(test_name: &str) -> io::Result<Self> {
        let root = std::env::var_os("CPM_TEST_LOGS").map_or_else(
            || Path::new(env!("CARGO_MANIFEST_DIR")).join("../.test-logs"),
            PathBuf::from,
        );
        let folder = std::path::absolute(root)?.join(test_name);
        match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => fs::create_dir_all(&folder)?,
        }
        Ok(Self {
            folder: folder.canonicalize()?,
            ports: PortBlock::reserve()?,
            used: Mutex::default(),
            started: AtomicUsize::new(0),
            keep: AtomicBool::new(false),
        })
    }

    /// Starts a proxy and waits until it is ready.
    #[track_caller]
    pub fn proxy(&self, config: &ProxyConfig) -> Proxy {
        or_fail("starting a proxy", self.try_proxy(config))
    }

    /// The same, for tests in which the proxy must refuse to start.
    #[track_caller]
    pub fn try_proxy(&self, config: &ProxyConfig) -> Result<Proxy, StartFailure> {
        let port = self.port();
        self.with_used(|used| used.proxies.push(port));
        Proxy::start(config, port, &self.folder.join(self.next_name("proxy")))
    }

    /// Starts a proxy on the port of one that has ended, as after a restart.
    #[track_caller]
    pub fn proxy_again(&self, config: &ProxyConfig, port: u16) -> Proxy {
        let folder = self.folder.join(self.next_name("proxy"));
        or_fail("starting a proxy", Proxy::start(config, port, &folder))
    }

    /// Starts a user agent, which answers 200 to everything until told otherwise.
    #[track_caller]
    pub fn agent(&self) -> Agent {
        self.agent_at(self.port())
    }

    /// An agent at a [`port`](Self::port) that nobody has used so far.
    #[track_caller]
    pub fn agent_at(&self, port: u16) -> Agent {
        self.with_used(|used| used.agents.push(port));
        or_fail(
            "starting an agent",
            once_free(|| Agent::start(Ipv4Addr::LOCALHOST.into(), port)),
        )
    }

    /// The same on ::1.
    #[track_caller]
    pub fn agent_v6(&self) -> Agent {
        let port = self.port();
        self.with_used(|used| used.agents.push(port));
        or_fail(
            "starting an agent",
            once_free(|| Agent::start(Ipv6Addr::LOCALHOST.into(), port)),
        )
    }

    /// Starts an MSRP peer, whose port the capture knows.
    #[track_caller]
    pub fn msrp_peer(&self) -> MsrpPeer {
        self.msrp_peer_at(Ipv4Addr::LOCALHOST.into(), None)
    }

    /// The same on ::1.
    #[track_caller]
    pub fn msrp_peer_v6(&self) -> MsrpPeer {
        self.msrp_peer_at(Ipv6Addr::LOCALHOST.into(), None)
    }

    /// Starts an MSRP peer over TLS, whose traffic the capture cannot read.
    #[track_caller]
    pub fn msrps_peer(&self, certificate: &Certificate) -> MsrpPeer {
        self.msrp_peer_at(Ipv4Addr::LOCALHOST.into(), Some(certificate.clone()))
    }

    /// Starts recipients of large messages.
    #[track_caller]
    pub fn callees(&self) -> Callees {
        Callees::start(self.agent(), self.msrp_peer())
    }

    /// The same with another agent or peer than the usual.
    pub fn callees_of(&self, agent: Agent, peer: MsrpPeer) -> Callees {
        Callees::start(agent, peer)
    }

    #[track_caller]
    fn msrp_peer_at(&self, host: IpAddr, tls: Option<Certificate>) -> MsrpPeer {
        let port = match tls {
            Some(_) => self.port(),
            None => self.msrp_port(),
        };
        or_fail(
            "starting an MSRP peer",
            once_free(|| MsrpPeer::start(SocketAddr::new(host, port), tls.clone())),
        )
    }

    /// Starts sipp.
    #[track_caller]
    pub fn sipp(&self, scenario: &Scenario) -> Sipp {
        let port = self.port();
        self.with_used(|used| used.agents.push(port));
        let folder = self.folder.join(self.next_name("sipp"));
        or_fail("starting sipp", Sipp::start(scenario, port, &folder))
    }

    /// Starts a Kamailio that serves HTTP. The capture does not count it as a proxy.
    #[track_caller]
    pub fn http_proxy(&self, config: &ProxyConfig) -> Proxy {
        let folder = self.folder.join(self.next_name("http-proxy"));
        let started = Proxy::start(config, self.http_port(), &folder);
        or_fail("starting a proxy for HTTP", started)
    }

    /// Starts an HTTP server, at first without documents.
    #[track_caller]
    pub fn web_server(&self) -> WebServer {
        let port = self.http_port();
        or_fail(
            "starting a web server",
            once_free(|| WebServer::start(port)),
        )
    }

    /// Starts a PostgreSQL server.
    #[track_caller]
    pub fn postgres(&self) -> Postgres {
        let folder = self.folder.join(self.next_name("postgres"));
        or_fail("starting PostgreSQL", Postgres::start(self.port(), &folder))
    }

    /// Starts a Redis server.
    #[track_caller]
    pub fn redis(&self) -> Redis {
        let folder = self.folder.join(self.next_name("redis"));
        or_fail("starting Redis", Redis::start(self.port(), &folder))
    }

    /// Starts a Redis server that speaks TLS only, with this certificate.
    #[track_caller]
    pub fn redis_over_tls(&self, certificate: &Certificate) -> Redis {
        let folder = self.folder.join(self.next_name("redis"));
        let started = Redis::start_over_tls(self.port(), &folder, certificate);
        or_fail("starting Redis", started)
    }

    /// Starts a RADIUS server for accounting.
    #[track_caller]
    pub fn radius(&self) -> Radius {
        let folder = self.folder.join(self.next_name("radius"));
        or_fail("starting FreeRADIUS", Radius::start(self.port(), &folder))
    }

    /// Starts a Prometheus with this configuration.
    #[track_caller]
    pub fn prometheus(&self, config: &str) -> Prometheus {
        let folder = self.folder.join(self.next_name("prometheus"));
        let started = Prometheus::start(self.port(), &folder, config);
        or_fail("starting Prometheus", started)
    }

    /// Starts a browser.
    #[track_caller]
    pub fn browser(&self) -> Browser {
        let folder = self.folder.join(self.next_name("browser"));
        or_fail("starting Chromium", Browser::start(&folder))
    }

    /// A free port that the capture treats as HTTP.
    #[track_caller]
    fn http_port(&self) -> u16 {
        let port = self.port();
        self.with_used(|used| used.http.push(port));
        port
    }

    /// A free port, for UDP and TCP, that the capture includes but does not treat as SIP.
    #[track_caller]
    pub fn port(&self) -> u16 {
        or_fail("taking a port", self.ports.take())
    }

    /// A free port that the capture treats as MSRP. Ask for it before the capture starts.
    #[track_caller]
    pub fn msrp_port(&self) -> u16 {
        let port = self.port();
        self.with_used(|used| used.msrp.push(port));
        port
    }

    /// Starts to capture all ports of this bench. Only proxies, agents and MSRP ports that exist
    /// already are checked by their protocol: start it after them, before they send anything.
    #[track_caller]
    pub fn capture(&self) -> Capture {
        or_fail("starting a capture", self.try_capture())
    }

    /// Starts to capture UDP only, for tests with more MSRP than a capture can keep up with.
    #[track_caller]
    pub fn capture_udp(&self) -> Capture {
        or_fail("starting a capture", self.try_capture_of("udp and "))
    }

    /// A capture of all ports, or the reason why there is none.
    pub fn try_capture(&self) -> Result<Capture, CaptureError> {
        self.try_capture_of("")
    }

    fn try_capture_of(&self, filter: &str) -> Result<Capture, CaptureError> {
        let marker_port = self.ports.take().map_err(CaptureError::NotStarted)?;
        let folder = self.folder.join(self.next_name("capture"));
        fs::create_dir_all(&folder).map_err(CaptureError::NotStarted)?;
        let used = self.with_used(|used| used.clone());
        let (first, last) = (self.ports.first(), self.ports.last());
        Capture::start(
            &format!("{filter}portrange {first}-{last}"),
            marker_port,
            &folder,
            used,
        )
    }

    /// The folder of this test's logs.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Keeps the folder in any case: for a test that fails by returning an error.
    pub fn keep_logs(&self) {
        self.keep.store(true, Ordering::Relaxed);
    }

    fn next_name(&self, what: &str) -> String {
        format!(
            "{what}-{}",
            self.started.fetch_add(1, Ordering::Relaxed) + 1
        )
    }

    fn with_used<T>(&self, with: impl FnOnce(&mut PortUse) -> T) -> T {
        with(
            &mut self
                .used
                .lock()
                .unwrap_or_else(|poisoned| poisoned.into_inner()),
        )
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        if thread::panicking() || self.keep.load(Ordering::Relaxed) {
            eprintln!("logs are kept in {}", self.folder.display());
        } else {
            // What cannot be removed now is removed at the start of the next run.
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}
