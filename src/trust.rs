//! Certificates and authorities in files, and the authorities of the system: read in one place for
//! the MSRP relay, XDMSs and the server of the store, so that all trust the same.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use once_cell::sync::OnceCell;
use rustls::RootCertStore;
use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// The system's authorities do not change while the proxy runs, and are read once.
static SYSTEM: OnceCell<Authorities> = OnceCell::new();

/// The authorities that vouch for peers.
pub type Authorities = Arc<[CertificateDer<'static>]>;

/// Why a file, or the system's store, cannot be used: one line for the operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustError {
    what: &'static str,
    file: Option<PathBuf>,
    why: String,
}

impl fmt::Display for TrustError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.file {
            Some(file) => write!(
                f,
                "{} {} cannot be used: {}",
                self.what,
                file.display(),
                self.why
            ),
            None => write!(f, "{}: {}", self.what, self.why),
        }
    }
}

impl std::error::Error for TrustError {}

/// The authorities of a PEM file, or, without one, those that the system trusts.
///
/// # Errors
///
/// The file does not exist, cannot be read, or contains an invalid certificate; the system has no
/// authorities.
pub fn authorities(file: Option<&Path>) -> Result<Authorities, TrustError> {
    match file {
        Some(file) => of_file(file),
        None => SYSTEM.get_or_try_init(of_system).cloned(),
    }
}

fn of_file(file: &Path) -> Result<Authorities, TrustError> {
    let certificates = read_certificates("authority file", file)?;
    let mut roots = RootCertStore::empty();
    for certificate in &certificates {
        let added = roots.add(certificate.clone());
        added.map_err(|error| TrustError {
            what: "authority file",
            file: Some(file.to_owned()),
            why: error.to_string(),
        })?;
    }
    Ok(certificates.into())
}

fn of_system() -> Result<Authorities, TrustError> {
    let found = rustls_native_certs::load_native_certs();
    match found.certs.is_empty() {
        false => Ok(found.certs.into()),
        true => Err(TrustError {
            what: "the system's authorities",
            file: None,
            why: match found.errors.first() {
                Some(error) => error.to_string(),
                None => {
                    "there are none (on Debian, they are in the package ca-certificates)".to_owned()
                }
            },
        }),
    }
}

/// Authorities in PEM, for a library that takes them so. Certificates of the system's that rustls
/// cannot use (a few old ones) are left out: they would spoil the others.
pub fn as_pem(authorities: &Authorities) -> Vec<u8> {
    let mut roots = RootCertStore::empty();
    let mut pem = String::new();
    for certificate in authorities.iter() {
        if roots.add(certificate.clone()).is_ok() {
            let text = BASE64_STANDARD.encode(certificate);
            pem += "-----BEGIN CERTIFICATE-----\n";
            pem += &text;
            pem += "\n-----END CERTIFICATE-----\n";
        }
    }
    pem.into_bytes()
}

/// The certificates of a PEM file, at least one. `what` is the purpose of the file.
///
/// # Errors
///
/// The file does not exist, cannot be read, or contains none.
pub fn read_certificates(
    what: &'static str,
    file: &Path,
) -> Result<Vec<CertificateDer<'static>>, TrustError> {
    let certificates = CertificateDer::pem_file_iter(file).and_then(Iterator::collect);
    let certificates: Vec<_> = certificates.map_err(|error| unusable(what, file, &error))?;
    match certificates.is_empty() {
        true => Err(unusable(what, file, &PemError::NoItemsFound)),
        false => Ok(certificates),
    }
}

/// The private key of a PEM file.
///
/// # Errors
///
/// The file does not exist, cannot be read, or contains none.
pub fn read_private_key(file: &Path) -> Result<PrivateKeyDer<'static>, TrustError> {
    PrivateKeyDer::from_pem_file(file).map_err(|error| unusable("private key", file, &error))
}

fn unusable(what: &'static str, file: &Path, error: &PemError) -> TrustError {
    let wanted = if what == "private key" {
        "no private key in it (PEM)"
    } else {
        "no certificate in it (PEM)"
    };
    TrustError {
        what,
        file: Some(file.to_owned()),
        why: match error {
            PemError::NoItemsFound => wanted.to_owned(),
            PemError::Io(error) => error.to_string(),
            other => format!("it is not PEM: {other}"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pem_has_the_authorities_that_can_be_used() {
        let of_name = |name: &str| rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        let [one, other] = ["one.example.com", "other.example.com"].map(of_name);
        let unusable = CertificateDer::from_slice(b"not DER");
        let all = [one.cert.der().clone(), unusable, other.cert.der().clone()];
        let pem = as_pem(&Arc::from(all.clone()));
        let read: Vec<_> = CertificateDer::pem_slice_iter(&pem)
            .collect::<Result<_, _>>()
            .unwrap();
        assert_eq!(read, [all[0].clone(), all[2].clone()]);
    }
}
