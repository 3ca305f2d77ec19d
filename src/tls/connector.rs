//! The client's end of TLS: whom it trusts, and the sessions that it begins.
//!
//! Reads no file. Invariant: without [`Trust::Anyone`] a session is established only with a server whose certificate is
//! valid for the name.

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, UnbufferedClientConnection};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use thiserror::Error;

use super::acceptor::HTTP_1_1;
use super::provider::provider;
use super::session::Session;

/// The servers that a client trusts.
#[derive(Clone, Debug)]
pub enum Trust {
    /// Servers with a certificate of these authorities, in PEM.
    Authorities(Vec<u8>),
    /// No server.
    Nobody,
    /// Any server: for trials with certificates that signed themselves.
    Anyone,
}

/// The reason for which a client cannot begin sessions.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum ConnectorError {
    /// The authorities cannot be used.
    #[error("The certificates of authorities cannot be used: {0}.")]
    Authorities(String),
    /// There is no authority.
    #[error("There is no certificate of an authority: expected blocks \"BEGIN CERTIFICATE\" in PEM.")]
    NoAuthority,
    /// The server's name is none.
    #[error("\"{0}\" is neither a DNS name nor an address.")]
    InvalidName(String),
    /// The cryptographic library refused the settings.
    #[error("The cryptographic library refused the settings: {0}.")]
    Refused(rustls::Error),
}

/// The client's end of TLS. See the module.
#[derive(Clone)]
pub struct Connector {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl Connector {
    /// Makes the client's end for a server of this name. Sessions are resumed only if `resumes` says so.
    pub fn new(trust: &Trust, name: &str, resumes: bool) -> Result<Self, ConnectorError> {
        let name = ServerName::try_from(name.to_owned()).map_err(|_| ConnectorError::InvalidName(name.to_owned()))?;
        let mut config = client_config(trust)?;
        config.alpn_protocols = vec![HTTP_1_1.to_vec()];
        if !resumes {
            config.resumption = Resumption::disabled();
        }
        Ok(Self { config: Arc::new(config), name })
    }

    /// Begins a session.
    pub fn connect(&self) -> Result<Session, ConnectorError> {
        let rustls = UnbufferedClientConnection::new(Arc::clone(&self.config), self.name.clone());
        rustls.map(Session::of_client).map_err(ConnectorError::Refused)
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Returns the settings of a client with this trust, for a library that makes its connections itself.
pub fn client_config(trust: &Trust) -> Result<ClientConfig, ConnectorError> {
    let provider = provider();
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(ConnectorError::Refused)?;
    let verified = match trust {
        Trust::Authorities(pem) => builder.with_root_certificates(roots(pem)?),
        Trust::Nobody => builder.with_root_certificates(RootCertStore::empty()),
        Trust::Anyone => builder.dangerous().with_custom_certificate_verifier(Arc::new(Anyone(provider))),
    };
    Ok(verified.with_no_client_auth())
}

fn roots(pem: &[u8]) -> Result<RootCertStore, ConnectorError> {
    let mut roots = RootCertStore::empty();
    let certificates = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| ConnectorError::Authorities(error.to_string()))?;
    // The system's list may have authorities that rustls does not understand.
    roots.add_parsable_certificates(certificates);
    if roots.is_empty() { Err(ConnectorError::NoAuthority) } else { Ok(roots) }
}

/// Accepts every certificate, but still demands that the server has its key.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
