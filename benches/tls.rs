//! The server's part of a TLS handshake: its processor time in ringsock, and in a connection of rustls alone.
//!
//! The client runs in the same thread, and its time does not count.

use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use rcgen::{CertificateParams, KeyPair};
use ringsock::TlsSettings;
use ringsock::tls::{Acceptor, Certificate, Progress, Session, Trust, accept, client_config};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection};

/// A certificate with a P-256 key, and the key, in PEM.
struct Own {
    certificate: String,
    key: String,
}

impl Own {
    fn new() -> Option<Self> {
        let key = KeyPair::generate().ok()?;
        let certificate = CertificateParams::new(vec!["localhost".to_owned()]).ok()?.self_signed(&key).ok()?;
        Some(Self { certificate: certificate.pem(), key: key.serialize_pem() })
    }

    fn acceptor(&self) -> Option<Acceptor> {
        let certificate = Certificate::parse(self.certificate.as_bytes(), self.key.as_bytes()).ok()?;
        let settings = TlsSettings::new(vec![certificate]).ok()?;
        Acceptor::new(&settings).ok()
    }

    /// Returns the settings of rustls that come nearest to the acceptor's.
    fn rustls(&self) -> Option<Arc<ServerConfig>> {
        let certificate = CertificateDer::from_pem_slice(self.certificate.as_bytes()).ok()?;
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).ok()?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().ok()?;
        let mut config = builder.with_no_client_auth().with_single_cert(vec![certificate], key).ok()?;
        config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new().ok()?;
        config.send_tls13_tickets = 1;
        Some(Arc::new(config))
    }
}

/// The server's end of a handshake.
trait Server {
    /// Takes bytes of the client, and returns the answer.
    fn take(&mut self, received: &[u8]) -> Option<Vec<u8>>;
}

impl Server for Session {
    fn take(&mut self, received: &[u8]) -> Option<Vec<u8>> {
        let mut answer = Vec::new();
        self.feed(received);
        while self.is_step_due() {
            if let Progress::Established(_) = self.step(&mut answer).ok()? {
                break;
            }
        }
        Some(answer)
    }
}

impl Server for ServerConnection {
    fn take(&mut self, mut received: &[u8]) -> Option<Vec<u8>> {
        let mut answer = Vec::new();
        while !received.is_empty() {
            self.read_tls(&mut received).ok()?;
            self.process_new_packets().ok()?;
        }
        while self.wants_write() {
            self.write_tls(&mut answer).ok()?;
        }
        Some(answer)
    }
}

/// Returns the time that the server takes in a whole handshake.
fn shake_hands(client: &Arc<ClientConfig>, start: &dyn Fn() -> Option<Box<dyn Server>>) -> Option<Duration> {
    let mut client = ClientConnection::new(Arc::clone(client), ServerName::try_from("localhost").ok()?).ok()?;
    let began = Instant::now();
    let mut server = start()?;
    let mut taken = began.elapsed();
    while client.is_handshaking() || client.wants_write() {
        let mut sent = Vec::new();
        client.write_tls(&mut sent).ok()?;
        let began = Instant::now();
        let answer = server.take(&sent)?;
        taken += began.elapsed();
        client.read_tls(&mut answer.as_slice()).ok()?;
        client.process_new_packets().ok()?;
    }
    Some(taken)
}

fn handshakes(c: &mut Criterion) {
    let made = Own::new().and_then(|own| {
        let client = Arc::new(client_config(&Trust::Anyone).ok()?);
        Some((own.acceptor()?, own.rustls()?, client))
    });
    let Some((acceptor, config, client)) = made else { return };
    let bare = || Some(Box::new(ServerConnection::new(Arc::clone(&config)).ok()?) as Box<dyn Server>);
    let own = || Some(Box::new(accept(&acceptor).ok()?) as Box<dyn Server>);
    let mut group = c.benchmark_group("handshake with P-256");
    for (name, start) in [("rustls", &bare as &dyn Fn() -> _), ("ringsock", &own)] {
        group.bench_function(name, |b| {
            b.iter_custom(|count| {
                let all: Option<Duration> = (0..count).map(|_| shake_hands(&client, start)).sum();
                assert!(all.is_some(), "every handshake succeeds");
                all.unwrap_or_default()
            });
        });
    }
    group.finish();
}

criterion_group!(benches, handshakes);
criterion_main!(benches);
