//! The server's end of TLS on a listener: its settings, and the sessions that begin with them.
//!
//! Settings are swapped under live sessions; a session keeps those with which it began. Reads no file. Invariant: where
//! client certificates are asked for, no tickets are given, because a resumed session is not verified again.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use arc_swap::ArcSwap;
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::pki_types::CertificateRevocationListDer;
use rustls::pki_types::pem::PemObject;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, ProducesTickets, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion, version};
use thiserror::Error;

use super::certificates::{Certificate, Certificates};
use super::client_certificate::ClientCertificate;
use super::fault::Fault;
use super::handshake::Handshake;
use super::provider::provider;
use super::secrets::Gatherer;
use super::session::Session;
use super::tickets::TicketKeys;

/// The protocol that is offered by ALPN (RFC 7301). WebSocket over HTTP/2 is not served.
pub(super) const HTTP_1_1: &[u8] = b"http/1.1";

/// The tickets that a client gets: one is enough, since it may be used several times.
const TICKETS: usize = 1;

/// The layer that keeps an open session of TLS 1.3.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RecordLayer {
    /// ringsock's own records, in 224 bytes.
    #[default]
    Own,
    /// rustls' connection, in some 3,500 bytes.
    Rustls,
}

/// The versions of TLS that are spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Versions {
    /// TLS 1.2 and 1.3.
    #[default]
    From12,
    /// TLS 1.3 alone.
    Only13,
}

/// The certificates that clients are asked for.
#[derive(Clone, Debug, Default)]
pub enum ClientCertificates {
    /// Clients are not asked for a certificate.
    #[default]
    Off,
    /// Clients may show a certificate of these authorities.
    Wanted(Authorities),
    /// Clients must show a certificate of these authorities.
    Required(Authorities),
}

/// The authorities that sign certificates of clients, and the certificates that they have revoked.
#[derive(Clone)]
pub struct Authorities(Arc<dyn ClientCertVerifier>, Arc<dyn ClientCertVerifier>);

/// The tickets by which clients resume sessions.
#[derive(Clone, Debug)]
pub enum Tickets {
    /// Clients get no tickets.
    Off,
    /// Clients get tickets.
    On {
        /// The keys of the tickets were made by this process, and no other has them.
        is_of_this_process: bool,
        /// The producer of the tickets.
        producer: Arc<dyn ProducesTickets>,
    },
}

/// The settings of TLS on a listener.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Settings {
    /// The certificates; the first one is for clients that ask for none of their names.
    pub certificates: Vec<Certificate>,
    /// The versions of TLS.
    pub versions: Versions,
    /// The certificates that clients are asked for.
    pub client_certificates: ClientCertificates,
    /// The tickets by which clients resume sessions.
    pub tickets: Tickets,
    /// The layer of open sessions.
    pub records: RecordLayer,
}

/// The reason for which settings cannot be used.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// There is no certificate.
    #[error("TLS needs a certificate.")]
    NoCertificate,
    /// The authorities of clients cannot be used.
    #[error("The authorities of client certificates cannot be used: {0}.")]
    Authorities(String),
    /// A list of revoked certificates cannot be used.
    #[error("A list of revoked client certificates cannot be used: {0}.")]
    RevocationList(String),
    /// The cryptographic library refused the settings.
    #[error("The cryptographic library refused the settings: {0}.")]
    Refused(rustls::Error),
}

impl Authorities {
    /// Parses the certificates of authorities and their lists of revoked certificates, all in PEM. A certificate that
    /// is on no list and not revoked is accepted only if its authority has a list, or if there are no lists at all.
    pub fn parse(roots_pem: &[u8], lists_pem: &[&[u8]]) -> Result<Self, SettingsError> {
        let mut roots = RootCertStore::empty();
        for root in rustls::pki_types::CertificateDer::pem_slice_iter(roots_pem) {
            let root = root.map_err(|error| SettingsError::Authorities(error.to_string()))?;
            roots.add(root).map_err(|error| SettingsError::Authorities(error.to_string()))?;
        }
        let mut lists = Vec::new();
        for list in lists_pem.iter().flat_map(|pem| CertificateRevocationListDer::pem_slice_iter(pem)) {
            lists.push(list.map_err(|error| SettingsError::RevocationList(error.to_string()))?);
        }
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider()).with_crls(lists);
        let failed = |error: rustls::server::VerifierBuilderError| match error {
            rustls::server::VerifierBuilderError::InvalidCrl(error) => {
                SettingsError::RevocationList(format!("{error:?}"))
            }
            error => SettingsError::Authorities(error.to_string()),
        };
        let wanted = builder.clone().allow_unauthenticated().build().map_err(failed)?;
        Ok(Self(builder.build().map_err(failed)?, wanted))
    }
}

impl fmt::Debug for Authorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authorities").finish_non_exhaustive()
    }
}

impl Settings {
    /// Returns the usual settings with these certificates, the first of which is the default.
    pub fn new(certificates: Vec<Certificate>) -> Result<Self, SettingsError> {
        Ok(Self {
            certificates,
            versions: Versions::default(),
            client_certificates: ClientCertificates::default(),
            tickets: Tickets::of_this_process()?,
            records: RecordLayer::default(),
        })
    }
}

impl Tickets {
    /// Makes tickets whose keys this process alone has: they are made anew every 6 hours and are valid for 12.
    pub fn of_this_process() -> Result<Self, SettingsError> {
        let producer = Ticketer::new().map_err(SettingsError::Refused)?;
        Ok(Self::On { is_of_this_process: true, producer })
    }

    /// Makes tickets whose keys other processes or hosts have, too.
    pub fn of_keys(keys: TicketKeys) -> Self {
        Self::On { is_of_this_process: false, producer: Arc::new(keys) }
    }
}

/// The server's end of TLS on a listener. See the module.
pub struct Acceptor {
    config: ArcSwap<ServerConfig>,
    /// The number of the settings in force, raised after each replacement.
    generation: AtomicU64,
    /// The time when the first certificate expires, in seconds since 1970.
    expires_s: AtomicI64,
    refused: AtomicU64,
}

/// Settings that were checked, for [`Acceptor::apply`].
pub struct Replacement {
    config: Arc<ServerConfig>,
    expires_s: i64,
}

impl Acceptor {
    /// Makes an acceptor with these settings.
    pub fn new(settings: &Settings) -> Result<Self, SettingsError> {
        let config = ArcSwap::from_pointee(server_config(settings)?);
        let expires_s = AtomicI64::new(first_expiry_s(settings));
        Ok(Self { config, generation: AtomicU64::new(0), expires_s, refused: AtomicU64::new(0) })
    }

    /// Replaces the settings for sessions that begin from now on. Nothing changes if they cannot be used.
    pub fn replace(&self, settings: &Settings) -> Result<(), SettingsError> {
        self.apply(self.check(settings)?);
        Ok(())
    }

    /// Checks settings, and changes nothing.
    pub fn check(&self, settings: &Settings) -> Result<Replacement, SettingsError> {
        Ok(Replacement { config: Arc::new(server_config(settings)?), expires_s: first_expiry_s(settings) })
    }

    /// Puts checked settings in force, for sessions that begin from now on.
    pub fn apply(&self, replacement: Replacement) {
        self.config.store(replacement.config);
        self.generation.fetch_add(1, Ordering::Release);
        self.expires_s.store(replacement.expires_s, Ordering::Relaxed);
    }

    /// Counts new settings that could not be used, so that the old ones stay in force.
    pub fn note_refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns how often new settings could not be used.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Returns when the first of the certificates expires, in seconds since 1970.
    pub fn expires_s(&self) -> i64 {
        self.expires_s.load(Ordering::Relaxed)
    }

    /// Begins a session.
    pub(crate) fn accept(&self) -> Result<Session, Fault> {
        // A number that is too old only makes a client show its certificate again.
        let generation = self.generation.load(Ordering::Acquire);
        Ok(Session::new(Handshake::new(self.config.load_full(), generation)?))
    }

    /// Returns whether the settings by which a certificate was verified are in force. Later ones may have other
    /// authorities, or say that it is revoked.
    pub fn verified(&self, certificate: &ClientCertificate) -> bool {
        certificate.generation() == self.generation.load(Ordering::Acquire)
    }
}

/// Begins a session of a server, without an engine.
pub fn accept(acceptor: &Acceptor) -> Result<Session, Fault> {
    acceptor.accept()
}

impl fmt::Debug for Replacement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replacement").finish_non_exhaustive()
    }
}

impl fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acceptor").finish_non_exhaustive()
    }
}

fn first_expiry_s(settings: &Settings) -> i64 {
    settings.certificates.iter().map(Certificate::expires_s).min().unwrap_or(i64::MAX)
}

fn server_config(settings: &Settings) -> Result<ServerConfig, SettingsError> {
    if settings.certificates.is_empty() {
        return Err(SettingsError::NoCertificate);
    }
    let versions: &[&'static SupportedProtocolVersion] = match settings.versions {
        Versions::From12 => &[&version::TLS13, &version::TLS12],
        Versions::Only13 => &[&version::TLS13],
    };
    let builder = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(versions)
        .map_err(SettingsError::Refused)?;
    let builder = match &settings.client_certificates {
        ClientCertificates::Off => builder.with_no_client_auth(),
        ClientCertificates::Wanted(Authorities(_, verifier))
        | ClientCertificates::Required(Authorities(verifier, _)) => {
            builder.with_client_cert_verifier(Arc::clone(verifier))
        }
    };
    let mut config = builder.with_cert_resolver(Arc::new(Certificates::new(&settings.certificates)));
    config.alpn_protocols = vec![HTTP_1_1.to_vec()];
    // A server that keeps sessions itself would keep them behind a lock that all cores share.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    if let (Tickets::On { producer, .. }, ClientCertificates::Off) = (&settings.tickets, &settings.client_certificates)
    {
        config.ticketer = Arc::clone(producer);
        config.send_tls13_tickets = TICKETS;
    }
    // The server decides which suite is used.
    config.ignore_client_order = true;
    if settings.records == RecordLayer::Own {
        config.enable_secret_extraction = true;
        config.key_log = Arc::new(Gatherer);
    }
    Ok(config)
}
