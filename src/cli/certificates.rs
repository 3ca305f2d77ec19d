//! The certificates of a running server: read again by a reload, and when their files change.
//!
//! Owns the settings of TLS in force. Never ends a session: those that are open keep the settings with which they
//! began. Invariant: new settings come into force only if all of their files can be used; otherwise the old ones stay,
//! and the log says why.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime};

use ringsock::config::{Settings, TlsConfig};
use ringsock::{TlsAcceptor, TlsCertificate, TlsReplacement, TlsSettings};

use super::reload::{Reloadable, Step};

/// The interval at which files are looked at. A certificate that was renewed is used after this time.
const LOOK_INTERVAL: Duration = Duration::from_secs(10);

/// See the module. Cloning it gives another handle on the same certificates.
#[derive(Clone, Debug)]
pub struct Certificates {
    acceptor: Option<Arc<TlsAcceptor>>,
    in_force: Arc<Mutex<InForce>>,
}

#[derive(Clone, Debug)]
struct InForce {
    config: TlsConfig,
    settings: Option<TlsSettings>,
    /// The files as they were before they were read.
    seen: Vec<Stamp>,
}

impl Certificates {
    /// Reads the files of a configuration.
    pub fn read(config: &TlsConfig) -> Result<Self, Box<dyn std::error::Error>> {
        let seen = stamps(config);
        let settings = config.is_on().then(|| config.load(None)).transpose()?;
        // A server that begins with it may be the lesser evil; one that serves keeps what it has.
        if let Some(fault) = settings.as_ref().and_then(expired) {
            tracing::error!("{fault}");
        }
        let acceptor = settings.as_ref().map(|settings| TlsAcceptor::new(settings).map(Arc::new)).transpose()?;
        let in_force = InForce { config: config.clone(), settings, seen };
        Ok(Self { acceptor, in_force: Arc::new(Mutex::new(in_force)) })
    }

    /// Returns the server's end of TLS, if it has a certificate.
    pub fn acceptor(&self) -> Option<Arc<TlsAcceptor>> {
        self.acceptor.clone()
    }

    /// Returns the settings in force, if the server has a certificate.
    pub fn settings(&self) -> Option<TlsSettings> {
        self.lock().settings.clone()
    }

    /// Looks at the files from time to time, on a thread of its own, and reads them again once they have changed.
    pub fn watch(&self) -> io::Result<()> {
        let Some(acceptor) = self.acceptor.clone() else { return Ok(()) };
        let this = self.clone();
        let watch = move || {
            loop {
                thread::sleep(LOOK_INTERVAL);
                this.read_again(&acceptor);
            }
        };
        thread::Builder::new().name("ringsock-certs".to_owned()).spawn(watch).map(drop)
    }

    /// Reads the files again if they have changed.
    fn read_again(&self, acceptor: &TlsAcceptor) {
        let mut in_force = self.lock();
        let now = stamps(&in_force.config);
        if now == in_force.seen {
            return;
        }
        in_force.seen = now;
        match check(acceptor, &in_force.config, in_force.settings.as_ref()) {
            Ok((new, replacement)) => {
                acceptor.apply(replacement);
                tracing::info!("The files of certificates have changed, and are in use from now on.");
                in_force.settings = Some(new);
            }
            Err(error) => {
                tracing::error!("The files of certificates have changed, but the old ones stay in use. {error}");
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, InForce> {
        self.in_force.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reloadable for Certificates {
    fn check(&self, settings: &Settings) -> Result<Step, String> {
        let config = settings.config.tls.clone();
        let Some(acceptor) = self.acceptor.clone() else {
            return match config.is_on() {
                true => {
                    Err("The server was started without certificates: a restart is needed to speak TLS.".to_owned())
                }
                false => Ok(Box::new(|| ())),
            };
        };
        if !config.is_on() {
            return Err("The server was started with certificates: a restart is needed to speak plain.".to_owned());
        }
        let seen = stamps(&config);
        let checked = check(&acceptor, &config, self.lock().settings.as_ref());
        let (new, replacement) = checked.map_err(|error| settings.explain(&error))?;
        let this = self.clone();
        Ok(Box::new(move || {
            acceptor.apply(replacement);
            *this.lock() = InForce { config, settings: Some(new), seen };
        }))
    }
}

/// Reads the files of a configuration, and checks what it read. `before` are the settings in force. Counts a fault.
fn check(
    acceptor: &TlsAcceptor,
    config: &TlsConfig,
    before: Option<&TlsSettings>,
) -> Result<(TlsSettings, TlsReplacement), String> {
    let read = config.load(before).map_err(|error| error.to_string());
    let checked = read.and_then(|new| {
        let replacement = acceptor.check(&new).map_err(|error| error.to_string())?;
        match expired(&new) {
            Some(fault) if before.and_then(expired).is_none() => Err(fault),
            _ => Ok((new, replacement)),
        }
    });
    checked.inspect_err(|_| acceptor.note_refused())
}

/// Returns the fault of a certificate that has expired, in a sentence.
pub fn expired(settings: &TlsSettings) -> Option<String> {
    let now_s = super::now_s();
    let age_s = |certificate: &TlsCertificate| Some(now_s.saturating_sub(u64::try_from(certificate.expires_s()).ok()?));
    let (names, age_s) = settings
        .certificates
        .iter()
        .filter_map(|certificate| Some((certificate.names().join(" "), age_s(certificate)?)))
        .find(|(_, age_s)| *age_s > 0)?;
    Some(format!("The certificate for {names} expired {} ago: clients refuse it. Renew it.", plain_time(age_s)))
}

/// Returns a time in its largest unit.
fn plain_time(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// The properties of a file by which a change is noticed.
type Stamp = (PathBuf, Option<(SystemTime, u64, u64)>);

fn stamps(config: &TlsConfig) -> Vec<Stamp> {
    let stamp = |path: &PathBuf| {
        let found = fs::metadata(path).ok();
        let stamp = found.and_then(|found| Some((found.modified().ok()?, found.len(), found.ino())));
        (path.clone(), stamp)
    };
    config.files().map(stamp).collect()
}
