//! MSRP over TLS (RFC 4975 §14): our certificate, and verification of peers.
//!
//! A session description with `a=fingerprint` (RFC 8122) identifies its author's certificate,
//! whoever signed it, because it arrived on the same path as the session itself. Without one, a
//! peer that we connect to needs a certificate for its host name from a trusted authority; a peer
//! that connects to us is identified only by the session's unguessable URI.

use std::net::Ipv4Addr;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, ring as provider};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::NoServerSessionStorage;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
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
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
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
        let identity = files.map(Identity::load).transpose()?.map(Arc::new);
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
        let certificate = self.identity.as_ref()?.chain.first()?;
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

    /// For a connection that we open.
    pub(super) fn connect(
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
                builder.with_client_auth_cert(identity.chain.clone(), identity.key.clone_key())?
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
    fn load(files: &TlsFiles) -> Result<Self, RelayError> {
        let chain = trust::read_certificates("certificate", &files.certificate);
        let chain = chain.map_err(RelayError::Trust)?;
        let key = trust::read_private_key(&files.private_key).map_err(RelayError::Trust)?;
        Ok(Self { chain, key })
    }

    fn server_config(
        &self,
        provider: &Arc<CryptoProvider>,
        files: &TlsFiles,
    ) -> Result<ServerConfig, RelayError> {
        let any_client = AnyClient {
            algorithms: provider.signature_verification_algorithms,
        };
        let config = ServerConfig::builder_with_provider(Arc::clone(provider))
            .with_safe_default_protocol_versions()
            .map(|builder| builder.with_client_cert_verifier(Arc::new(any_client)))
            .and_then(|builder| builder.with_single_cert(self.chain.clone(), self.key.clone_key()));
        let mut config = config.map_err(|cause| RelayError::Identity {
            certificate: files.certificate.clone(),
            private_key: files.private_key.clone(),
            cause,
        })?;
        // A session is one connection, and each must present the certificate.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(config)
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
