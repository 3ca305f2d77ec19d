//! Row 61: certificates that are replaced under open sessions, by good ones and by files that cannot be used.
//!
//! Invariant under test: no session ends because of a reload, and a handshake sees the newest certificate that can be
//! used.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use ringsock::tls::{Connector, Trust};

use crate::secure::{Secure, start};
use crate::server::{STALE, Server};
use crate::{figure, in_time, on_each_reactor, patience, scaled};

/// The bound of the time from a reload to the first handshake with the new certificate.
const SEEN_MAX: Duration = Duration::from_secs(1);

#[test]
fn row_61_certificates_change_under_open_sessions_and_bad_ones_do_not_count() {
    let (sessions, reloads) = (scaled(1_000), scaled(100));
    on_each_reactor(|reactor| {
        let files = Files::new(reactor);
        let mut trusting = files.renew();
        let names = ["certificate", "key"].map(|name| files.path(name).display().to_string());
        let (server, secure) = start(reactor, &format!("certificates = \"{}\"\nkeys = \"{}\"", names[0], names[1]));
        let mut open: Vec<Secure> = (0..sessions).map(|_| Secure::open(secure, &trusting).unwrap()).collect();
        open.iter_mut().for_each(Secure::upgrade);
        let (mut longest, mut renewed) = (Duration::ZERO, 0);
        for number in 0..reloads {
            let refused = count(&server, "refused");
            let good = ["certificate", "key"].map(|name| fs::read(files.path(name)).unwrap());
            match number % 5 {
                0 => trusting = files.renew(),
                1 => fs::write(files.path("certificate"), &good[0][..good[0].len() / 2]).unwrap(),
                2 => fs::write(files.path("key"), KeyPair::generate().unwrap().serialize_pem()).unwrap(),
                3 => files.write_expired(),
                _ => fs::remove_file(files.path("key")).unwrap(),
            }
            let begun = Instant::now();
            server.signal("HUP");
            if number % 5 == 0 {
                while Secure::open(secure, &trusting).is_none() {
                    assert!(begun.elapsed() < patience(), "the new certificate is not in use");
                }
                longest = longest.max(begun.elapsed());
                renewed += 1;
            } else {
                await_refused(&server, refused + 1);
                assert!(Secure::open(secure, &trusting).is_some(), "the last good certificate is not in use");
                for (name, bytes) in ["certificate", "key"].iter().zip(good) {
                    fs::write(files.path(name), bytes).unwrap();
                }
            }
            let at = number % open.len();
            open[at].echo("during the reloads");
        }
        open.iter_mut().for_each(|session| session.echo("after the reloads"));
        figure(
            61,
            format!(
                "{reloads} reloads under {sessions} sessions, 0 ended; {renewed} renewed, seen after {longest:.2?}"
            ),
            "0; 1 s",
        );
        in_time(longest <= SEEN_MAX);
    });
}

/// The files of a certificate and its key.
struct Files(PathBuf);

impl Files {
    fn new(reactor: &str) -> Self {
        let directory =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("reloads-{reactor}-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        Self(directory)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(format!("{name}.pem"))
    }

    /// Writes a new certificate, and returns a client that trusts no other.
    fn renew(&self) -> Connector {
        self.write(params())
    }

    /// Writes a certificate that has expired.
    fn write_expired(&self) {
        let mut params = params();
        params.not_after = date_time_ymd(2024, 1, 1);
        self.write(params);
    }

    fn write(&self, params: CertificateParams) -> Connector {
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        fs::write(self.path("key"), key.serialize_pem()).unwrap();
        fs::write(self.path("certificate"), certificate.pem()).unwrap();
        Connector::new(&Trust::Authorities(certificate.pem().into_bytes()), "localhost", false).unwrap()
    }
}

fn params() -> CertificateParams {
    CertificateParams::new(vec!["localhost".to_owned()]).unwrap()
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Returns how many reloads had this result.
fn count(server: &Server, result: &str) -> u64 {
    server.counters()[&format!("config_reloads{{result=\"{result}\"}}")]
}

fn await_refused(server: &Server, wanted: u64) {
    let begun = Instant::now();
    while count(server, "refused") < wanted {
        assert!(begun.elapsed() < patience(), "the reload was not refused");
        thread::sleep(STALE);
    }
}
