//! The certificate that a client has shown, after it was verified.
//!
//! Verifies nothing: rustls has. Invariant: it stands for its client because the client's handshake was signed with its
//! key.

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use webpki::EndEntityCert;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::certificates::fingerprint;

/// A verified certificate of a client. A clone is cheap; names are read from it each time.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    der: Arc<[u8]>,
    /// The number of the settings by which it was verified.
    generation: u64,
}

impl ClientCertificate {
    /// Returns the certificate with these bytes, which a handshake has verified by the settings of this number.
    pub(super) fn verified(der: &CertificateDer<'_>, generation: u64) -> Self {
        Self { der: der.as_ref().into(), generation }
    }

    /// Returns the number of the settings by which it was verified.
    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// Returns the bytes of the certificate, in DER.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// Returns the common name of its subject, if there is exactly one.
    pub fn common_name(&self) -> Option<String> {
        let parsed = self.parsed()?;
        let mut names = parsed.subject().iter_common_name();
        let name = names.next().filter(|_| names.next().is_none())?;
        name.as_str().ok().map(str::to_owned)
    }

    /// Returns its DNS names, such as `sensor-7.example.com`.
    pub fn dns_names(&self) -> Vec<String> {
        self.names(|certificate| certificate.valid_dns_names().map(str::to_owned).collect())
    }

    /// Returns its URIs, such as `spiffe://example.com/sensor/7`.
    pub fn uris(&self) -> Vec<String> {
        self.names(|certificate| certificate.valid_uri_names().map(str::to_owned).collect())
    }

    /// Returns from when until when it is valid, in seconds since 1970.
    pub fn validity_s(&self) -> Option<RangeInclusive<i64>> {
        let parsed = self.parsed()?;
        let validity = parsed.validity();
        Some(validity.not_before.timestamp()..=validity.not_after.timestamp())
    }

    /// Returns its SHA-256, as browsers and openssl show it: pairs of digits with colons in between.
    pub fn fingerprint(&self) -> String {
        fingerprint(&self.der)
    }

    fn parsed(&self) -> Option<X509Certificate<'_>> {
        X509Certificate::from_der(&self.der).ok().map(|(_, parsed)| parsed)
    }

    fn names(&self, read: impl FnOnce(&EndEntityCert<'_>) -> Vec<String>) -> Vec<String> {
        let der = CertificateDer::from(&self.der[..]);
        EndEntityCert::try_from(&der).map_or_else(|_| Vec::new(), |certificate| read(&certificate))
    }
}

impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ClientCertificate").field(&self.fingerprint()).finish()
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    use super::*;

    fn certificate(common_names: &[&str], names: &[&str], uris: &[&str]) -> ClientCertificate {
        let mut params =
            CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        for name in common_names {
            params.distinguished_name.push(DnType::CommonName, *name);
        }
        let uri = |uri: &&str| SanType::URI((*uri).try_into().unwrap());
        params.subject_alt_names.extend(uris.iter().map(uri));
        params.not_after = rcgen::date_time_ymd(2040, 1, 1);
        let signed = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        ClientCertificate::verified(signed.der(), 0)
    }

    #[test]
    fn the_names_of_a_certificate_are_read_from_it() {
        let device = certificate(&["Sensor 7"], &["sensor-7.test"], &["spiffe://test/sensor/7"]);
        assert_eq!(device.common_name().as_deref(), Some("Sensor 7"));
        assert_eq!(device.dns_names(), ["sensor-7.test"]);
        assert_eq!(device.uris(), ["spiffe://test/sensor/7"]);
        assert_eq!(device.validity_s().map(|validity| *validity.end()), Some(2_208_988_800));
        assert_eq!(device.fingerprint().len(), 95);
        assert_eq!(format!("{device:?}"), format!("ClientCertificate({:?})", device.fingerprint()));
    }

    #[test]
    fn a_certificate_without_names_and_one_with_two_common_names_have_none() {
        let bare = certificate(&[], &[], &[]);
        assert_eq!((bare.common_name(), bare.dns_names().len(), bare.uris().len()), (None, 0, 0));
        let broken = ClientCertificate { der: b"no certificate".as_slice().into(), generation: 0 };
        assert_eq!((broken.common_name(), broken.dns_names().len(), broken.validity_s()), (None, 0, None));
    }
}
