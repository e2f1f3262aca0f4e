use std::net::IpAddr;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ureq::Agent;
use ureq::config::RedirectAuthHeaders;
use ureq::http::header::{AUTHORIZATION, ETAG, IF_NONE_MATCH, WWW_AUTHENTICATE};
use ureq::http::uri::Authority;
use ureq::http::{self, HeaderValue, Uri};
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::unversioned::transport::DefaultConnector;

use super::error::{SourceError, SourceFailure};
use super::options::{Credentials, SourceOptions};
use super::resolver::NameResolver;
use crate::digest::{Answers, Challenge, Request, offers_scheme};
use crate::group::MAX_DOCUMENT_BYTES;
use crate::random::try_fill_random;
use crate::trust;

/// Maximum length of a response head: the usual limit of servers and proxies for requests.
const MAX_RESPONSE_HEAD_BYTES: usize = 16 << 10;

/// A longer entity tag is ignored: servers make them of hashes or times.
const MAX_ETAG_BYTES: usize = 256;

/// How long a connection waits for the next request. Shorter than the shortest time of servers (5
/// s), so that a request does not meet the end of its connection.
const MAX_IDLE: Duration = Duration::from_secs(3);

/// The HTTP client of one XDMS.
pub(super) struct HttpClient {
    agent: Agent,
    credentials: Option<Credentials>,
    /// The answer to the last challenge; it is used as long as the server accepts it.
    authentication: Option<Authentication>,
}

/// How a request authenticates.
enum Authentication {
    Digest(Answers),
    /// The password in clear text (RFC 7617).
    Basic,
}

/// The server's result for a URL.
#[derive(Debug)]
pub(super) enum Response {
    Document {
        body: Vec<u8>,
        etag: Option<HeaderValue>,
    },
    /// The document still matches the entity tag.
    NotModified,
    NotFound,
}

impl HttpClient {
    /// `secure`: it uses TLS, and needs trusted authorities.
    pub(super) fn new(options: &SourceOptions, secure: bool) -> Result<Self, SourceError> {
        let file = options.ca_file.as_deref();
        let roots = match secure || file.is_some() {
            true => trust::authorities(file).map_err(SourceError::Authorities)?,
            false => Default::default(),
        };
        let roots = roots
            .iter()
            .map(|der| Certificate::from_der(der).to_owned());
        let roots = RootCerts::from(roots.collect::<Vec<_>>());
        let config = Agent::config_builder()
            .tls_config(TlsConfig::builder().root_certs(roots).build())
            .http_status_as_error(false)
            // Proxy variables of a shell from which the proxy is started are not meant for this.
            .proxy(None)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .redirect_auth_headers(RedirectAuthHeaders::Never)
            .max_response_header_size(MAX_RESPONSE_HEAD_BYTES)
            .max_idle_connections(1)
            .max_idle_connections_per_host(1)
            .max_idle_age(MAX_IDLE)
            .user_agent(concat!("cpm/", env!("CARGO_PKG_VERSION")))
            .build();
        let resolver = NameResolver::new(options.names.clone());
        Ok(Self {
            agent: Agent::with_parts(config, DefaultConnector::default(), resolver),
            credentials: options.xcap_credentials.clone(),
            authentication: None,
        })
    }

    /// Fetches a document, unless it still matches the entity tag.
    pub(super) fn get(
        &mut self,
        url: &Uri,
        etag: Option<&HeaderValue>,
        deadline: Instant,
    ) -> Result<Response, SourceFailure> {
        let response = self.send(url, etag, deadline)?;
        if response.status() != http::StatusCode::UNAUTHORIZED {
            return read(response, etag.is_some());
        }
        // The first challenge, or one because the nonce has expired.
        self.authentication = Some(self.answer_to(&response, url)?);
        drop(response);
        let response = self.send(url, etag, deadline)?;
        if response.status() == http::StatusCode::UNAUTHORIZED {
            self.authentication = None;
            return Err(SourceFailure::Unauthorized);
        }
        read(response, etag.is_some())
    }

    /// A server may close a connection just when the next request is sent, and some do so after
    /// each 304. That is not a fault of the server, and a GET can be repeated (RFC 9112 §9.3.1).
    fn send(
        &mut self,
        url: &Uri,
        etag: Option<&HeaderValue>,
        deadline: Instant,
    ) -> Result<http::Response<ureq::Body>, SourceFailure> {
        match self.send_once(url, etag, deadline) {
            Err(SourceFailure::Connection) => self.send_once(url, etag, deadline),
            result => result,
        }
    }

    fn send_once(
        &mut self,
        url: &Uri,
        etag: Option<&HeaderValue>,
        deadline: Instant,
    ) -> Result<http::Response<ureq::Body>, SourceFailure> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(SourceFailure::Timeout);
        }
        let mut request = self.agent.get(url);
        if let Some(etag) = etag {
            request = request.header(IF_NONE_MATCH, etag);
        }
        if let (Some(authentication), Some(credentials)) =
            (&mut self.authentication, &self.credentials)
        {
            let Credentials { user, password } = credentials;
            let answer = match authentication {
                Authentication::Digest(answers) => {
                    let uri = url.path_and_query().map_or("/", |target| target.as_str());
                    let (method, body) = ("GET", &b""[..]);
                    answers.next(user, password, Request { method, uri, body })
                }
                Authentication::Basic => {
                    format!("Basic {}", BASE64.encode(format!("{user}:{password}")))
                }
            };
            // This fails for a challenge whose realm contains control characters.
            let answer = HeaderValue::from_bytes(answer.as_bytes());
            let answer = answer.map_err(|_| SourceFailure::Unauthorized)?;
            request = request.header(AUTHORIZATION, answer);
        }
        let request = request.config().timeout_global(Some(left)).build();
        request.call().map_err(|error| failure(&error))
    }

    /// How to answer the challenges of a response.
    fn answer_to(
        &self,
        response: &http::Response<ureq::Body>,
        url: &Uri,
    ) -> Result<Authentication, SourceFailure> {
        if self.credentials.is_none() {
            return Err(SourceFailure::Unauthorized);
        }
        let values = response.headers().get_all(WWW_AUTHENTICATE).iter();
        let values: Vec<&str> = values
            .filter_map(|value| std::str::from_utf8(value.as_bytes()).ok())
            .collect();
        let mut challenges = values.iter().flat_map(|value| Challenge::read(value));
        if let Some(challenge) = challenges.next() {
            let mut cnonce = [0; 16];
            try_fill_random(&mut cnonce).map_err(|_| SourceFailure::Unauthorized)?;
            let answers = Answers::new(challenge, hex::encode(cnonce));
            return Ok(Authentication::Digest(answers));
        }
        match values.iter().any(|value| offers_scheme(value, "Basic")) {
            true if is_private(url) => Ok(Authentication::Basic),
            // Otherwise anybody between us and the server could ask for it.
            true => Err(SourceFailure::PasswordUnprotected),
            false => Err(SourceFailure::Unauthorized),
        }
    }
}

/// Whether nobody can eavesdrop: TLS, or no network at all.
pub(super) fn is_private(url: &Uri) -> bool {
    let host = url.host().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    url.scheme_str() == Some("https") || address.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

fn read(
    mut response: http::Response<ureq::Body>,
    is_conditional: bool,
) -> Result<Response, SourceFailure> {
    match response.status().as_u16() {
        200 => {
            let etag = response.headers().get(ETAG);
            let etag = etag.filter(|etag| etag.len() <= MAX_ETAG_BYTES).cloned();
            let body = response.body_mut().with_config();
            let body = body.limit(MAX_DOCUMENT_BYTES as u64).read_to_vec();
            let body = body.map_err(|error| failure(&error))?;
            Ok(Response::Document { body, etag })
        }
        304 if is_conditional => Ok(Response::NotModified),
        404 | 410 => Ok(Response::NotFound),
        304 => Err(SourceFailure::NotHttp),
        300..400 => Err(SourceFailure::Redirected),
        status => Err(SourceFailure::Status(status)),
    }
}

fn failure(error: &ureq::Error) -> SourceFailure {
    use std::io::ErrorKind;
    use ureq::Error;
    match error {
        Error::Timeout(_) => SourceFailure::Timeout,
        Error::HostNotFound => SourceFailure::HostNotFound,
        Error::Tls(_) | Error::Rustls(_) | Error::Pem(_) | Error::TlsRequired => SourceFailure::Tls,
        Error::Http(_)
        | Error::Protocol(_)
        | Error::LargeResponseHeader(..)
        | Error::BadUri(_)
        | Error::BodyStalled => SourceFailure::NotHttp,
        Error::BodyExceedsLimit(_) => SourceFailure::TooLong,
        Error::Io(error) => match error.kind() {
            ErrorKind::TimedOut | ErrorKind::WouldBlock => SourceFailure::Timeout,
            // Errors of rustls about the peer.
            ErrorKind::InvalidData => SourceFailure::Tls,
            _ => match error.get_ref().and_then(|inner| inner.downcast_ref()) {
                Some(inner) => failure(inner),
                None => SourceFailure::Connection,
            },
        },
        // The enum is non-exhaustive; its other variants concern proxies, redirects and request
        // bodies.
        _ => SourceFailure::Connection,
    }
}

/// Scheme, host and port, which identify a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Origin {
    is_secure: bool,
    host: String,
    port: u16,
}

impl Origin {
    /// `None` unless it is an http or https URL, without user and password.
    pub(super) fn is_secure(&self) -> bool {
        self.is_secure
    }

    pub(super) fn of(url: &Uri) -> Option<Self> {
        let is_secure = match url.scheme_str()? {
            "http" => false,
            "https" => true,
            _ => return None,
        };
        let authority: &Authority = url.authority()?;
        if authority.as_str().contains('@') || authority.host().is_empty() {
            return None;
        }
        let port = match (authority.port(), is_secure) {
            (Some(port), _) => port.as_u16(),
            (None, true) => 443,
            (None, false) => 80,
        };
        Some(Self {
            is_secure,
            host: authority.host().to_ascii_lowercase(),
            port,
        })
    }
}
