//! A client for tests: rustls shakes hands, and whatever a test likes is sealed afterwards.

use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair, PKCS_ED25519, PKCS_RSA_SHA256, RsaKeySize};
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, SupportedProtocolVersion};

use crate::tls::keys::{HEADER_BYTES, Keys, Suite, TAG_BYTES};
use crate::tls::provider::provider;
use crate::tls::secrets::{Gatherer, Secrets, gather};
use crate::tls::{
    Acceptor, Certificate, ClientCertificates, Connector, Fault, Progress, RecordLayer, Session, Settings, Tickets,
    Trust, Versions,
};

/// Returns a certificate that signed itself, and its key, in PEM.
pub(crate) fn issue(names: &[&str]) -> (String, String) {
    signed(names, KeyPair::generate().unwrap())
}

/// Returns a certificate with an RSA key.
pub(crate) fn issue_rsa(names: &[&str]) -> (String, String) {
    signed(names, KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap())
}

fn signed(names: &[&str], key: KeyPair) -> (String, String) {
    let names: Vec<String> = names.iter().map(|name| name.to_string()).collect();
    let certificate = CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
    (certificate.pem(), key.serialize_pem())
}

/// Returns the settings of a server for `localhost`, and the certificate that its clients trust.
pub(super) fn settings(records: RecordLayer) -> (Settings, String) {
    let (chain, key) = issue(&["localhost"]);
    let settings = Settings {
        certificates: vec![Certificate::parse(chain.as_bytes(), key.as_bytes()).unwrap()],
        versions: Versions::From12,
        client_certificates: ClientCertificates::Off,
        tickets: Tickets::of_this_process().unwrap(),
        records,
    };
    (settings, chain)
}

/// Returns a server's and a client's end of TLS. The key is one of Ed25519, whose signatures have one length, so that a
/// simulation replays.
pub(crate) fn acceptor(records: RecordLayer) -> (Acceptor, Connector) {
    let (chain, key) = signed(&["localhost"], KeyPair::generate_for(&PKCS_ED25519).unwrap());
    let certificate = Certificate::parse(chain.as_bytes(), key.as_bytes()).unwrap();
    let settings = Settings { certificates: vec![certificate], ..settings(records).0 };
    let trust = Trust::Authorities(chain.into_bytes());
    (Acceptor::new(&settings).unwrap(), Connector::new(&trust, "localhost", false).unwrap())
}

/// Returns a client's configuration that trusts a certificate.
pub(super) fn client_config(trusted: &str, versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
    client_config_with(trusted, versions, provider())
}

/// Returns a client's configuration with this cryptography.
pub(super) fn client_config_with(
    trusted: &str,
    versions: &[&'static SupportedProtocolVersion],
    provider: Arc<CryptoProvider>,
) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(trusted.as_bytes()).unwrap()).unwrap();
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.key_log = Arc::new(Gatherer);
    config.resumption = Resumption::disabled();
    config
}

/// A client, its server's session, and the bytes that the server sent after the handshake.
pub(super) struct Pair {
    pub(super) client: ClientConnection,
    pub(super) server: Session,
    secrets: Secrets,
    /// Bytes that the server has sent and the client has not read.
    pub(super) from_server: Vec<u8>,
}

impl Pair {
    pub(super) fn new(acceptor: &Acceptor, config: ClientConfig) -> Self {
        let name = ServerName::try_from("localhost").unwrap();
        let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
        client.set_buffer_limit(None);
        Self { client, server: acceptor.accept().unwrap(), secrets: Secrets::default(), from_server: Vec::new() }
    }

    /// Returns what the client wants to send.
    pub(super) fn client_writes(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        while self.client.wants_write() {
            self.client.write_tls(&mut bytes).unwrap();
        }
        bytes
    }

    /// Lets the client read what the server sent.
    pub(super) fn client_reads(&mut self) -> Result<Vec<u8>, rustls::Error> {
        let bytes = std::mem::take(&mut self.from_server);
        let mut rest = &bytes[..];
        let mut plaintext = Vec::new();
        while !rest.is_empty() {
            self.client.read_tls(&mut rest).unwrap();
            let state = gather(&mut self.secrets, || self.client.process_new_packets())?;
            let mut opened = vec![0; state.plaintext_bytes_to_read()];
            std::io::Read::read_exact(&mut self.client.reader(), &mut opened).unwrap();
            plaintext.extend(opened);
        }
        Ok(plaintext)
    }

    /// Shakes hands, with the client's bytes in pieces of `piece` bytes.
    pub(super) fn shake_hands(&mut self, piece: usize) -> Result<(), Fault> {
        while self.server.is_handshaking() {
            let bytes = self.client_writes();
            assert!(!bytes.is_empty(), "both ends wait");
            for bytes in bytes.chunks(piece) {
                match self.server.is_handshaking() {
                    true => self.server.feed(bytes),
                    false => panic!("the handshake ended before the client's last byte"),
                }
                let mut answer = Vec::new();
                let result = self.server.step(&mut answer);
                self.from_server.extend(answer);
                if matches!(result?, Progress::Established(_)) {
                    break;
                }
            }
            if self.server.is_handshaking() {
                self.client_reads().unwrap();
            }
        }
        Ok(())
    }

    /// Hands bytes to the server as a core does: behind those that it kept. Returns the plaintext.
    pub(super) fn server_reads(&mut self, bytes: &[u8]) -> Result<(Vec<u8>, bool), Fault> {
        let mut buffer = [self.server.kept(), bytes].concat();
        let opened = self.server.open(&mut buffer, &mut self.from_server)?;
        buffer.truncate(opened.plaintext);
        Ok((buffer, opened.is_closed))
    }

    pub(super) fn server_writes(&mut self, parts: &[&[u8]]) {
        self.server.seal(parts.iter().copied(), &mut self.from_server).unwrap();
    }

    /// Turns the client into one that seals what it likes.
    pub(super) fn into_sealer(mut self) -> Sealer {
        let unread = self.client_reads();
        assert_eq!(unread.unwrap(), b"");
        let suite = Suite::of(self.client.negotiated_cipher_suite().unwrap().suite()).unwrap();
        let tickets = self.client.tls13_tickets_received();
        Sealer {
            suite,
            tx: Keys::new(suite, &self.secrets.client, 0).unwrap(),
            rx: Keys::new(suite, &self.secrets.server, u64::from(tickets > 0)).unwrap(),
            pair: self,
        }
    }
}

/// A client that seals what it likes.
pub(super) struct Sealer {
    suite: Suite,
    tx: Keys,
    rx: Keys,
    pub(super) pair: Pair,
}

impl Sealer {
    /// Returns a record of any type, with padding.
    pub(super) fn seal(&mut self, kind: u8, content: &[u8], padding: usize) -> Vec<u8> {
        let inner = [content, &[kind], &vec![0; padding]].concat();
        let header = {
            let [high, low] = ((inner.len() + TAG_BYTES) as u16).to_be_bytes();
            [23, 3, 3, high, low]
        };
        let mut record = [&header[..], &inner].concat();
        self.tx.seal(self.suite, header, &mut record, HEADER_BYTES).unwrap();
        record
    }

    /// Uses the next keys from now on, as a client does behind its KeyUpdate.
    pub(super) fn update(&mut self) {
        self.tx.update(self.suite).unwrap();
    }

    /// Opens what the server has sent: the type and the content of each record.
    pub(super) fn received(&mut self) -> Vec<(u8, Vec<u8>)> {
        let bytes = std::mem::take(&mut self.pair.from_server);
        let mut rest = &bytes[..];
        let mut records = Vec::new();
        while let Some((header, behind)) = rest.split_first_chunk::<HEADER_BYTES>() {
            let (sealed, behind) = behind.split_at(usize::from(u16::from_be_bytes([header[3], header[4]])));
            let mut buffer = sealed.to_vec();
            let count = self.rx.open(self.suite, *header, &mut buffer, 0).expect("the server's record opens");
            let end = buffer[..count].iter().rposition(|byte| *byte != 0).unwrap();
            if (buffer[end], buffer[0]) == (22, 24) {
                self.rx.update(self.suite).unwrap();
            }
            records.push((buffer[end], buffer[..end].to_vec()));
            rest = behind;
        }
        records
    }
}
