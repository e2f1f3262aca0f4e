//! MSRP over TLS (RFC 4975 §14): our certificate, and verification of peers.
//!
//! A session description with `a=fingerprint` (RFC 8122) identifies its author's certificate,
//! whoever signed it, because it arrived on the same path as the session itself. Without one, a
//! peer that we connect to needs a certificate for its host name from a trusted authority; a peer
//! that connects to us is identified only by the session's unguessable URI.

use std::fmt;
use std::net::Ipv4Addr;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, ring as provider};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::NoServerSessionStorage;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, DistinguishedName,
    Error, RootCertStore, ServerConfig, ServerConnection, SignatureScheme,
};

use super::error::RelayError;
use super::settings::TlsFiles;
use crate::sdp::Fingerprint;
use crate::trust;

/// Maximum plaintext, or ciphertext, of one connection waiting for the socket.
const BUFFER_BYTES: usize = 128 * 1024;

/// The TLS configuration shared by all connections.
#[derive(Debug, Clone)]
pub(super) struct Tls {
    provider: Arc<CryptoProvider>,
    server: Option<Arc<ServerConfig>>,
    identity: Option<Arc<Identity>>,
    /// Verifies host names; `None` if there is no authority to trust.
    authorities: Option<Arc<WebPkiServerVerifier>>,
}

#[derive(Debug)]
struct Identity {
    /// Our own certificate, without those of its issuers.
    certificate: CertificateDer<'static>,
    /// What is presented to peers. Its key has been read and checked, once for all connections.
    presented: Arc<SingleCertAndKey>,
}

/// What the TLS of a connection that we open begins with.
pub(super) struct Beginning {
    tls: Tls,
    host: String,
    fingerprint: Option<Fingerprint>,
}

impl Beginning {
    fn connect(self) -> Result<rustls::Connection, Error> {
        self.tls.connect(&self.host, self.fingerprint.as_ref())
    }
}

/// What a handshake thread calculates.
pub(super) enum Step {
    /// The first message of a connection that we open.
    Begin(Beginning),
    /// The answer to what the peer has sent.
    Continue(Box<rustls::Connection>),
    /// For tests: one that takes until this is dropped.
    #[cfg(test)]
    Slow(std::sync::mpsc::Receiver<()>),
}

/// A step's result.
pub(super) struct Stepped {
    /// The TLS state, if there is one: its alert tells the peer what has failed.
    pub(super) tls: Option<Box<rustls::Connection>>,
    pub(super) result: Result<(), Error>,
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Step")
    }
}

impl fmt::Debug for Stepped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stepped")
            .field("result", &self.result)
            .finish_non_exhaustive()
    }
}

impl Step {
    /// Calculates it, which takes up to some milliseconds.
    pub(super) fn take(self) -> Stepped {
        let (tls, result) = match self {
            Step::Begin(beginning) => match beginning.connect() {
                Ok(tls) => (Some(Box::new(tls)), Ok(())),
                Err(error) => (None, Err(error)),
            },
            Step::Continue(mut tls) => {
                let result = tls.process_new_packets().map(drop);
                (Some(tls), result)
            }
            #[cfg(test)]
            Step::Slow(until) => {
                let _ = until.recv();
                (None, Ok(()))
            }
        };
        Stepped { tls, result }
    }
}

impl TlsFiles {
    /// Whether they can be used.
    ///
    /// # Errors
    ///
    /// [`RelayError`]
    pub fn check(&self) -> Result<(), RelayError> {
        Tls::load(Some(self)).map(drop)
    }
}

impl Tls {
    /// Reads the files. Without files, we can be a client to peers that request no certificate.
    pub(super) fn load(files: Option<&TlsFiles>) -> Result<Self, RelayError> {
        let provider = Arc::new(provider::default_provider());
        let identity = files
            .map(|files| Identity::load(&provider, files))
            .transpose()?;
        let identity = identity.map(Arc::new);
        let server = match (&identity, files) {
            (Some(identity), Some(files)) => {
                Some(Arc::new(identity.server_config(&provider, files)?))
            }
            _ => None,
        };
        let ca = files.and_then(|files| files.ca.as_deref());
        let mut roots = RootCertStore::empty();
        match (trust::authorities(ca), ca) {
            (Ok(known), _) => {
                roots.add_parsable_certificates(known.iter().cloned());
            }
            (Err(error), Some(_)) => return Err(RelayError::Trust(error)),
            // Fingerprints do not need it.
            (Err(_), None) => {}
        }
        let roots = Arc::new(roots);
        let verifier =
            WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider)).build();
        Ok(Self {
            provider,
            server,
            identity,
            authorities: verifier.ok(),
        })
    }

    /// SHA-256 of our certificate.
    pub(super) fn fingerprint(&self) -> Option<Fingerprint> {
        let certificate = &self.identity.as_ref()?.certificate;
        let hash = "sha-256";
        Some(Fingerprint {
            hash: hash.to_owned(),
            value: digest(hash, certificate)?,
        })
    }

    /// For a connection that a peer opened.
    pub(super) fn accept(&self) -> Result<rustls::Connection, Error> {
        let config = self.server.clone();
        let config = config.ok_or_else(|| Error::General("no certificate".to_owned()))?;
        let mut connection = ServerConnection::new(config)?;
        connection.set_buffer_limit(Some(BUFFER_BYTES));
        Ok(connection.into())
    }

    /// For a connection that we open to this host.
    pub(super) fn begin(&self, host: &str, fingerprint: Option<&Fingerprint>) -> Beginning {
        Beginning {
            tls: self.clone(),
            host: host.to_owned(),
            fingerprint: fingerprint.cloned(),
        }
    }

    fn connect(
        &self,
        host: &str,
        fingerprint: Option<&Fingerprint>,
    ) -> Result<rustls::Connection, Error> {
        let name = match (ServerName::try_from(host.to_owned()), fingerprint) {
            (Ok(name), _) => name,
            // The fingerprint suffices; an address is not sent.
            (Err(_), Some(_)) => ServerName::IpAddress(Ipv4Addr::UNSPECIFIED.into()),
            (Err(_), None) => return Err(Error::General("not a host name".to_owned())),
        };
        let verifier: Arc<dyn ServerCertVerifier> = match (fingerprint, &self.authorities) {
            (Some(fingerprint), _) => Arc::new(ByFingerprint {
                fingerprint: fingerprint.clone(),
                algorithms: self.provider.signature_verification_algorithms,
            }),
            (None, Some(authorities)) => Arc::clone(authorities) as _,
            (None, None) => return Err(Error::General("no authority to trust".to_owned())),
        };
        let builder = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut config = match &self.identity {
            Some(identity) => {
                builder.with_client_cert_resolver(Arc::clone(&identity.presented) as _)
            }
            None => builder.with_no_client_auth(),
        };
        config.resumption = Resumption::disabled();
        let mut connection = ClientConnection::new(Arc::new(config), name)?;
        connection.set_buffer_limit(Some(BUFFER_BYTES));
        Ok(connection.into())
    }
}

/// Whether the peer has presented the certificate named in its session description.
pub(super) fn has_certificate(connection: &rustls::Connection, fingerprint: &Fingerprint) -> bool {
    let certificate = connection
        .peer_certificates()
        .and_then(|chain| chain.first());
    certificate.is_some_and(|certificate| fits(certificate, fingerprint))
}

fn fits(certificate: &CertificateDer<'_>, fingerprint: &Fingerprint) -> bool {
    digest(&fingerprint.hash, certificate).is_some_and(|hash| hash == fingerprint.value)
}

/// RFC 8122 §5. MD5 and MD2 must not be used; `None` for them and for unknown algorithms.
fn digest(hash: &str, certificate: &CertificateDer<'_>) -> Option<Vec<u8>> {
    let algorithm = match hash {
        "sha-1" => &ring::digest::SHA1_FOR_LEGACY_USE_ONLY,
        "sha-256" => &ring::digest::SHA256,
        "sha-384" => &ring::digest::SHA384,
        "sha-512" => &ring::digest::SHA512,
        _ => return None,
    };
    Some(
        ring::digest::digest(algorithm, certificate)
            .as_ref()
            .to_vec(),
    )
}

impl Identity {
    fn load(provider: &CryptoProvider, files: &TlsFiles) -> Result<Self, RelayError> {
        let chain = trust::read_certificates("certificate", &files.certificate);
        let chain = chain.map_err(RelayError::Trust)?;
        let key = trust::read_private_key(&files.private_key).map_err(RelayError::Trust)?;
        let presented = CertifiedKey::from_der(chain, key, provider);
        let presented = presented.map_err(|cause| unusable(files, cause))?;
        let certificate = presented.end_entity_cert();
        let certificate = certificate
            .map_err(|cause| unusable(files, cause))?
            .clone()
            .into_owned();
        Ok(Self {
            certificate,
            presented: Arc::new(presented.into()),
        })
    }

    fn server_config(
        &self,
        provider: &Arc<CryptoProvider>,
        files: &TlsFiles,
    ) -> Result<ServerConfig, RelayError> {
        let any_client = AnyClient {
            algorithms: provider.signature_verification_algorithms,
        };
        let builder = ServerConfig::builder_with_provider(Arc::clone(provider))
            .with_safe_default_protocol_versions()
            .map_err(|cause| unusable(files, cause))?;
        let mut config = builder
            .with_client_cert_verifier(Arc::new(any_client))
            .with_cert_resolver(Arc::clone(&self.presented) as _);
        // A session is one connection, and each must present the certificate.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(config)
    }
}

fn unusable(files: &TlsFiles, cause: Error) -> RelayError {
    RelayError::Identity {
        certificate: files.certificate.clone(),
        private_key: files.private_key.clone(),
        cause,
    }
}

/// The functions of a verifier by which the peer proves that it has the key of its certificate: the
/// same on both sides of a connection, where rustls has two traits.
macro_rules! verify_signatures {
    () => {
        fn verify_tls12_signature(
            &self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            dss: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            rustls::crypto::verify_tls12_signature(message, cert, dss, &self.algorithms)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            dss: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            rustls::crypto::verify_tls13_signature(message, cert, dss, &self.algorithms)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.algorithms.supported_schemes()
        }
    };
}

/// Accepts a peer that has the key of the one certificate whose hash its session description gave.
#[derive(Debug)]
struct ByFingerprint {
    fingerprint: Fingerprint,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for ByFingerprint {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match fits(end_entity, &self.fingerprint) {
            true => Ok(ServerCertVerified::assertion()),
            false => Err(CertificateError::ApplicationVerificationFailure.into()),
        }
    }

    verify_signatures!();
}

/// Requests a certificate, and accepts any whose key the peer has: which one it must be is known
/// once a request has named the session.
#[derive(Debug)]
struct AnyClient {
    algorithms: WebPkiSupportedAlgorithms,
}

impl ClientCertVerifier for AnyClient {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    verify_signatures!();
}
