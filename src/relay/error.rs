//! Reasons why the relay cannot start.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::settings::Listen;
use crate::trust::TrustError;

/// Why the relay cannot start; its text is one line for the operator.
#[derive(Debug)]
pub enum RelayError {
    /// A listener uses TLS, but there is no certificate.
    NoCertificate,
    /// A file of certificates or keys cannot be used.
    Trust(TrustError),
    /// Certificate and private key do not match.
    Identity {
        /// File of the certificate.
        certificate: PathBuf,
        /// File of its private key.
        private_key: PathBuf,
        /// What is wrong with them.
        cause: rustls::Error,
    },
    /// The address cannot be listened on.
    Listen(Listen, io::Error),
    /// No more threads or descriptors are available.
    Threads(io::Error),
}

impl fmt::Display for RelayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RelayError::NoCertificate => {
                f.write_str("MSRP over TLS needs a certificate and its private key")
            }
            RelayError::Trust(error) => error.fmt(f),
            RelayError::Identity {
                certificate,
                private_key,
                cause,
            } => {
                let (certificate, private_key) = (certificate.display(), private_key.display());
                write!(f, "certificate {certificate}, private key {private_key}: ")?;
                match cause {
                    rustls::Error::InconsistentKeys(_) => {
                        f.write_str("the key does not match the certificate")
                    }
                    other => other.fmt(f),
                }
            }
            RelayError::Listen(listen, error) => write!(f, "cannot listen on {listen}: {error}"),
            RelayError::Threads(error) => write!(f, "the MSRP relay cannot start: {error}"),
        }
    }
}

impl std::error::Error for RelayError {}
