//! Trusted certificates, and our own.

use std::fmt;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use cpm_wire::sdp::Fingerprint;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, ServerConfig,
    SignatureScheme,
};
use sha2::{Digest, Sha256, Sha384, Sha512};

/// The user's TLS options.
#[derive(Debug, Clone, Default)]
pub(crate) struct Trust {
    /// Authorities (PEM); none: Mozilla's.
    pub(crate) authorities: Vec<CertificateDer<'static>>,
    /// Whether to accept any certificate.
    pub(crate) insecure: bool,
}

/// A certificate of our own.
#[derive(Debug)]
pub(crate) struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Identity {
    /// Reads certificate chain and key from PEM files.
    pub(crate) fn read(chain: &Path, key: &Path) -> io::Result<Self> {
        let key_bytes = fs::read(key)?;
        let key = PrivateKeyDer::from_pem_slice(&key_bytes)
            .map_err(|error| io::Error::other(format!("{}: {error}", key.display())))?;
        Ok(Self {
            chain: read_certificates(chain)?,
            key,
        })
    }

    /// Its fingerprint for SDP.
    pub(crate) fn fingerprint(&self) -> Option<Fingerprint> {
        Some(Fingerprint {
            hash: "sha-256".to_owned(),
            value: Sha256::digest(self.chain.first()?).to_vec(),
        })
    }

    /// The configuration for accepting connections.
    pub(crate) fn server_config(&self) -> Result<Arc<ServerConfig>, Error> {
        let config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(self.chain.clone(), self.key.clone_key())?;
        Ok(Arc::new(config))
    }
}

/// The certificates of a PEM file, at least one.
pub(crate) fn read_certificates(file: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    let bytes = fs::read(file)?;
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match read {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => Err(io::Error::other(format!(
            "{}: no certificate in it",
            file.display()
        ))),
        Err(error) => Err(io::Error::other(format!("{}: {error}", file.display()))),
    }
}

impl Trust {
    /// The configuration for verifying a server's certificate. With a fingerprint it must be
    /// exactly that one (RFC 8122 §6.2).
    pub(crate) fn client_config(
        &self,
        fingerprint: Option<&Fingerprint>,
    ) -> Result<Arc<ClientConfig>, Error> {
        let provider = provider();
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()?;
        let judge = match (fingerprint, self.insecure) {
            (Some(fingerprint), _) => Judge::Fingerprint(fingerprint.clone()),
            (None, true) => Judge::Nobody,
            (None, false) => {
                let mut roots = RootCertStore::empty();
                for authority in &self.authorities {
                    roots.add(authority.clone())?;
                }
                if self.authorities.is_empty() {
                    roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
                }
                let verifier =
                    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
                        .build()
                        .map_err(|error| Error::General(error.to_string()))?;
                return Ok(Arc::new(
                    builder.with_webpki_verifier(verifier).with_no_client_auth(),
                ));
            }
        };
        let verifier = Arc::new(Verifier { judge, provider });
        let config = builder
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        Ok(Arc::new(config.with_no_client_auth()))
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// Verifies a certificate by other means than an authority.
#[derive(Debug)]
struct Verifier {
    judge: Judge,
    provider: Arc<CryptoProvider>,
}

#[derive(Debug)]
enum Judge {
    Fingerprint(Fingerprint),
    Nobody,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let fits = match &self.judge {
            Judge::Nobody => true,
            Judge::Fingerprint(wanted) => match wanted.hash.as_str() {
                "sha-256" => Sha256::digest(end_entity)[..] == wanted.value,
                "sha-384" => Sha384::digest(end_entity)[..] == wanted.value,
                "sha-512" => Sha512::digest(end_entity)[..] == wanted.value,
                // Weaker ones prove nothing.
                _ => false,
            },
        };
        match fits {
            true => Ok(ServerCertVerified::assertion()),
            false => Err(CertificateError::ApplicationVerificationFailure.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// A certificate error in words.
pub(crate) struct CertificateWords<'a>(pub(crate) &'a CertificateError);

impl fmt::Display for CertificateWords<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                f.write_str("the certificate of the server has expired")
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                f.write_str("the certificate of the server is for another name")
            }
            // The second: an authority with the same name, but another key.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                f.write_str("nobody who is trusted vouches for the certificate of the server")
            }
            CertificateError::ApplicationVerificationFailure => f.write_str(
                "the certificate of the other end is not the one that its SDP announces",
            ),
            other => write!(f, "the certificate of the server is not good: {other}"),
        }
    }
}
