//! The certificates of a server, and the choice among them by the name that a client asks for.
//!
//! Parses PEM and reads no file. Invariant: each certificate belongs to its key.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use aws_lc_rs::digest;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{InconsistentKeys, SignatureAlgorithm};
use thiserror::Error;
use webpki::EndEntityCert;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::provider::provider;

/// The reason for which a certificate cannot be used. The text does not say from where it came; the caller does.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum CertificateError {
    /// There is no certificate in the text.
    #[error("It has no certificate: expected a block \"BEGIN CERTIFICATE\" in PEM.")]
    NoCertificate,
    /// A block is no PEM.
    #[error("It is not valid PEM: {0}.")]
    InvalidPem(String),
    /// There is no private key in the text.
    #[error("It has no private key: expected a block \"BEGIN PRIVATE KEY\" in PEM.")]
    NoKey,
    /// The certificate cannot be parsed.
    #[error("Its first certificate cannot be read: {0}.")]
    InvalidCertificate(String),
    /// The kind of key is not supported.
    #[error(
        "Its private key cannot be used: {0}. Use ECDSA (P-256, P-384, P-521), Ed25519 or RSA (2048 bits or more)."
    )]
    InvalidKey(String),
    /// The key belongs to another certificate.
    #[error("The private key does not belong to the certificate.")]
    KeyMismatch,
}

/// A certificate, its chain, its key and what is known of it.
#[derive(Clone)]
pub struct Certificate {
    key: Arc<CertifiedKey>,
    names: Vec<String>,
    expires_s: i64,
}

impl Certificate {
    /// Parses a chain, whose first certificate is the server's, and the private key that belongs to it.
    pub fn parse(chain_pem: &[u8], key_pem: &[u8]) -> Result<Self, CertificateError> {
        let chain = CertificateDer::pem_slice_iter(chain_pem)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| CertificateError::InvalidPem(error.to_string()))?;
        let first = chain.first().ok_or(CertificateError::NoCertificate)?.clone();
        let key = PrivateKeyDer::from_pem_slice(key_pem).map_err(|error| match error {
            rustls::pki_types::pem::Error::NoItemsFound => CertificateError::NoKey,
            error => CertificateError::InvalidPem(error.to_string()),
        })?;
        let key = provider()
            .key_provider
            .load_private_key(key)
            .map_err(|error| CertificateError::InvalidKey(error.to_string()))?;
        let invalid = |error: &dyn fmt::Display| CertificateError::InvalidCertificate(error.to_string());
        let end_entity = EndEntityCert::try_from(&first).map_err(|error| invalid(&error))?;
        let names = end_entity.valid_dns_names().map(str::to_ascii_lowercase).collect();
        let (_, parsed) = X509Certificate::from_der(&first).map_err(|error| invalid(&error))?;
        let key = CertifiedKey::new(chain, key);
        match key.keys_match() {
            Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
            Err(_) => return Err(CertificateError::KeyMismatch),
        }
        Ok(Self { key: Arc::new(key), names, expires_s: parsed.validity().not_after.timestamp() })
    }

    /// Returns the DNS names of the certificate, in lower case; a wildcard begins with `*.`.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Returns when the certificate expires, in seconds since 1970.
    pub fn expires_s(&self) -> i64 {
        self.expires_s
    }

    /// Returns the SHA-256 of the certificate, as browsers and openssl show it: pairs of digits with colons in between.
    pub fn fingerprint(&self) -> String {
        fingerprint(self.key.cert.first().map(|first| first.as_ref()).unwrap_or_default())
    }

    /// Returns whether the server's signature costs little: with RSA a handshake takes three times as long.
    fn is_cheap(&self) -> bool {
        self.key.key.algorithm() != SignatureAlgorithm::RSA
    }
}

/// Returns the SHA-256 of a certificate: pairs of digits with colons in between.
pub(super) fn fingerprint(der: &[u8]) -> String {
    let digest = digest::digest(&digest::SHA256, der);
    let pairs: Vec<String> = digest.as_ref().iter().map(|byte| format!("{byte:02X}")).collect();
    pairs.join(":")
}

impl fmt::Debug for Certificate {
    /// Shows no key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate").field("names", &self.names).finish_non_exhaustive()
    }
}

/// The certificates of a listener. See the module.
#[derive(Debug)]
pub(super) struct Certificates {
    /// The certificates of each name; a wildcard stands for its parent, as `*.example.com`.
    by_name: HashMap<String, Vec<Certificate>>,
    /// The certificates for clients that ask for another name or for none: those that share the first one's names.
    default: Vec<Certificate>,
}

impl Certificates {
    /// Returns the certificates. The first one is the default.
    pub(super) fn new(certificates: &[Certificate]) -> Self {
        let mut by_name: HashMap<String, Vec<Certificate>> = HashMap::new();
        for certificate in certificates {
            for name in certificate.names() {
                by_name.entry(name.clone()).or_default().push(certificate.clone());
            }
        }
        let first = certificates.first();
        let is_default = |other: &&Certificate| first.is_some_and(|first| first.names == other.names);
        let mut default: Vec<Certificate> = certificates.iter().filter(is_default).cloned().collect();
        // The sort is stable: of two that cost the same, the first in the configuration is preferred.
        by_name.values_mut().chain([&mut default]).for_each(|of| of.sort_by_key(|one| !one.is_cheap()));
        Self { by_name, default }
    }

    /// Returns the certificates for a name: those with the name itself, those with a wildcard for it, or the default.
    fn find(&self, name: Option<&str>) -> &[Certificate] {
        let Some(name) = name.map(str::to_ascii_lowercase) else { return &self.default };
        let wildcard = || name.split_once('.').and_then(|(_, parent)| self.by_name.get(&format!("*.{parent}")));
        self.by_name.get(&name).or_else(wildcard).unwrap_or(&self.default)
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, client_hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let schemes = client_hello.signature_schemes();
        let found = self.find(client_hello.server_name());
        let fits = |certificate: &&Certificate| certificate.key.key.choose_scheme(schemes).is_some();
        // Without a certificate, rustls would refuse the client with access_denied. With one that does not fit, it
        // says that there is nothing in common.
        found.iter().find(fits).or(found.first()).map(|certificate| Arc::clone(&certificate.key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::tests::{issue, issue_rsa};

    fn certificate(names: &[&str]) -> Certificate {
        let (chain, key) = issue(names);
        Certificate::parse(chain.as_bytes(), key.as_bytes()).unwrap()
    }

    #[test]
    fn the_exact_name_goes_before_a_wildcard_and_that_before_the_default() {
        let all = [certificate(&["default.test"]), certificate(&["*.a.test"]), certificate(&["b.a.test", "a.test"])];
        let certificates = Certificates::new(&all);
        let names = |name| certificates.find(name)[0].names().to_vec();
        assert_eq!(names(Some("B.a.test")), ["b.a.test", "a.test"]);
        assert_eq!(names(Some("c.a.test")), ["*.a.test"]);
        for other in [Some("d.c.a.test"), Some("unknown.test"), Some("*"), Some(""), None] {
            assert_eq!(names(other), ["default.test"], "{other:?}");
        }
    }

    #[test]
    fn of_two_kinds_of_keys_for_one_name_the_cheaper_is_preferred() {
        let (chain, key) = issue_rsa(&["a.test"]);
        let rsa = Certificate::parse(chain.as_bytes(), key.as_bytes()).unwrap();
        let certificates = Certificates::new(&[rsa, certificate(&["a.test"])]);
        for name in [Some("a.test"), None] {
            let cheap: Vec<bool> = certificates.find(name).iter().map(Certificate::is_cheap).collect();
            assert_eq!(cheap, [true, false]);
        }
    }

    #[test]
    fn errors_name_what_is_wrong() {
        let (chain, key) = issue(&["a.test"]);
        let (_, other_key) = issue(&["a.test"]);
        let parse = |chain: &str, key: &str| Certificate::parse(chain.as_bytes(), key.as_bytes()).unwrap_err();
        assert_eq!(parse("", &key), CertificateError::NoCertificate);
        assert_eq!(parse(&key, &key), CertificateError::NoCertificate);
        assert_eq!(parse(&chain, ""), CertificateError::NoKey);
        assert_eq!(parse(&chain, &chain), CertificateError::NoKey);
        assert_eq!(parse(&chain, &other_key), CertificateError::KeyMismatch);
        assert!(matches!(parse(&chain[..chain.len() / 2], &key), CertificateError::InvalidPem(_)));
        let rubbish = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(matches!(parse(rubbish, &key), CertificateError::InvalidCertificate(_)));
    }

    #[test]
    fn debug_output_shows_no_key() {
        let shown = format!("{:?}", certificate(&["a.test"]));
        assert_eq!(shown, r#"Certificate { names: ["a.test"], .. }"#);
    }
}
