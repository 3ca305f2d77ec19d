//! `[tls]`: the files of certificates and keys, and the settings of TLS.
//!
//! Reads the files and says which of them is at fault. Invariant: settings are returned only if all of them can be
//! used, so that a server never runs with half of what its configuration says.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::{fs, io};

use rcgen::{CertificateParams, KeyPair};
use thiserror::Error;

use super::kind::NONE;
use crate::tls::{
    Authorities, Certificate, CertificateError, ClientCertificates, RecordLayer, Settings, SettingsError,
    TicketKeyError, TicketKeys, Tickets, Versions,
};

/// The names of the certificate that the server makes for trials.
const SELF_SIGNED_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// Bytes of a file that is read: more than any chain, list of authorities or list of revoked certificates needs.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// The question whether clients show a certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AskClients {
    /// They are not asked.
    #[default]
    Off,
    /// They may.
    Wanted,
    /// They must.
    Required,
}

/// Files, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files(pub Vec<PathBuf>);

impl FromStr for Files {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == NONE {
            return Ok(Self::default());
        }
        let files: Vec<PathBuf> = text.split(',').map(|file| PathBuf::from(file.trim())).collect();
        match files.iter().any(|file| file.as_os_str().is_empty()) {
            true => Err("must be paths of files, or none".to_owned()),
            false => Ok(Self(files)),
        }
    }
}

impl fmt::Display for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str(NONE);
        }
        let files: Vec<String> = self.0.iter().map(|file| file.display().to_string()).collect();
        f.write_str(&files.join(","))
    }
}

/// The settings of TLS, with the names of files. See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsConfig {
    /// The certificates, each with its chain.
    pub certificates: Files,
    /// The key of each certificate, in the same order.
    pub keys: Files,
    /// The server makes a certificate for trials.
    pub self_signed: bool,
    /// The versions of TLS.
    pub versions: Versions,
    /// The question whether clients show a certificate.
    pub ask_clients: AskClients,
    /// The authorities of clients' certificates.
    pub client_authorities: Files,
    /// The lists of clients' certificates that were revoked.
    pub client_revocations: Files,
    /// Clients do not get tickets, by which they resume sessions.
    pub no_tickets: bool,
    /// The keys of tickets, the newest first.
    pub ticket_keys: Files,
    /// The layer of open sessions.
    pub records: RecordLayer,
}

/// The reason for which the settings of TLS cannot be used: the operator's fault.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TlsConfigError {
    /// A file cannot be read.
    #[error("Cannot read {path}: {source}.")]
    Read {
        /// The file.
        path: String,
        /// The host's error.
        source: io::Error,
    },
    /// A certificate or its key cannot be used.
    #[error("The certificate {certificate} with the key {key} cannot be used. {source}")]
    Certificate {
        /// The file of the certificate.
        certificate: String,
        /// The file of the key.
        key: String,
        /// The fault.
        source: CertificateError,
    },
    /// There are not as many keys as certificates.
    #[error("tls.certificates names {certificates} files and tls.keys {keys}. Name one key for each certificate.")]
    Count {
        /// The number of certificates.
        certificates: usize,
        /// The number of keys.
        keys: usize,
    },
    /// Clients are asked for a certificate that nobody can have signed.
    #[error("tls.client-certificates is on, but tls.client-authorities names no file. Name one, or turn it off.")]
    NoClientAuthorities,
    /// A ticket key cannot be used.
    #[error("The ticket key {path} cannot be used. {source}")]
    TicketKey {
        /// The file.
        path: String,
        /// The fault.
        source: TicketKeyError,
    },
    /// The settings cannot be used together.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// A certificate for trials cannot be made.
    #[error("A certificate for trials cannot be made: {0}.")]
    SelfSigned(String),
}

impl TlsConfig {
    /// Returns whether there is a certificate, so that listeners can speak TLS.
    pub fn is_on(&self) -> bool {
        self.self_signed || !self.certificates.0.is_empty()
    }

    /// Returns all files that are named.
    pub fn files(&self) -> impl Iterator<Item = &PathBuf> {
        [&self.certificates, &self.keys, &self.client_authorities, &self.client_revocations, &self.ticket_keys]
            .into_iter()
            .flat_map(|files| &files.0)
    }

    /// Reads the files. `before` are the settings in force, whose tickets go on if their keys are of this process, and
    /// whose certificate for trials goes on.
    pub fn load(&self, before: Option<&Settings>) -> Result<Settings, TlsConfigError> {
        let certificates = match (self.self_signed, before) {
            (true, Some(before)) => before.certificates.clone(),
            (true, None) => vec![self_signed()?],
            (false, _) => self.read_certificates()?,
        };
        Ok(Settings {
            certificates,
            versions: self.versions,
            client_certificates: self.read_client_certificates()?,
            tickets: self.read_tickets(before)?,
            records: self.records,
        })
    }

    fn read_certificates(&self) -> Result<Vec<Certificate>, TlsConfigError> {
        let (certificates, keys) = (&self.certificates.0, &self.keys.0);
        if certificates.len() != keys.len() {
            return Err(TlsConfigError::Count { certificates: certificates.len(), keys: keys.len() });
        }
        let read = |(certificate, key): (&PathBuf, &PathBuf)| {
            Certificate::parse(&read(certificate)?, &read(key)?).map_err(|source| {
                let (certificate, key) = (certificate.display().to_string(), key.display().to_string());
                TlsConfigError::Certificate { certificate, key, source }
            })
        };
        certificates.iter().zip(keys).map(read).collect()
    }

    fn read_client_certificates(&self) -> Result<ClientCertificates, TlsConfigError> {
        if self.ask_clients == AskClients::Off {
            return Ok(ClientCertificates::Off);
        }
        if self.client_authorities.0.is_empty() {
            return Err(TlsConfigError::NoClientAuthorities);
        }
        let mut roots = Vec::new();
        for file in &self.client_authorities.0 {
            roots.extend(read(file)?);
            roots.push(b'\n');
        }
        let lists = self.client_revocations.0.iter().map(|file| read(file)).collect::<Result<Vec<_>, _>>()?;
        let lists: Vec<&[u8]> = lists.iter().map(Vec::as_slice).collect();
        let authorities = Authorities::parse(&roots, &lists)?;
        Ok(match self.ask_clients {
            AskClients::Required => ClientCertificates::Required(authorities),
            _ => ClientCertificates::Wanted(authorities),
        })
    }

    fn read_tickets(&self, before: Option<&Settings>) -> Result<Tickets, TlsConfigError> {
        if self.no_tickets {
            return Ok(Tickets::Off);
        }
        let files = &self.ticket_keys.0;
        if files.is_empty() {
            return Ok(match before.map(|before| &before.tickets) {
                Some(Tickets::On { is_of_this_process: true, producer }) => {
                    Tickets::On { is_of_this_process: true, producer: producer.clone() }
                }
                _ => Tickets::of_this_process()?,
            });
        }
        let contents = files.iter().map(|file| read(file)).collect::<Result<Vec<_>, _>>()?;
        for (file, content) in files.iter().zip(&contents) {
            TicketKeys::new([content.as_slice()].into_iter())
                .map_err(|source| TlsConfigError::TicketKey { path: file.display().to_string(), source })?;
        }
        let keys = TicketKeys::new(contents.iter().map(Vec::as_slice))
            .map_err(|source| TlsConfigError::TicketKey { path: self.ticket_keys.to_string(), source })?;
        Ok(Tickets::of_keys(keys))
    }
}

fn read(path: &Path) -> Result<Vec<u8>, TlsConfigError> {
    let failed = |source| TlsConfigError::Read { path: path.display().to_string(), source };
    let bytes = fs::metadata(path).map_err(failed)?.len();
    if bytes > FILE_BYTES_MAX {
        return Err(failed(io::Error::new(io::ErrorKind::FileTooLarge, format!("it has {bytes} bytes"))));
    }
    fs::read(path).map_err(failed)
}

/// Makes a certificate for this host's own names, which has signed itself.
fn self_signed() -> Result<Certificate, TlsConfigError> {
    let failed = |error: &dyn fmt::Display| TlsConfigError::SelfSigned(error.to_string());
    let key = KeyPair::generate().map_err(|error| failed(&error))?;
    let names: Vec<String> = SELF_SIGNED_NAMES.iter().map(|name| (*name).to_owned()).collect();
    let certificate = CertificateParams::new(names)
        .and_then(|parameters| parameters.self_signed(&key))
        .map_err(|error| failed(&error))?;
    Certificate::parse(certificate.pem().as_bytes(), key.serialize_pem().as_bytes()).map_err(|error| failed(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Directory(PathBuf);

    impl Directory {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("ringsock-tls-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn write(&self, name: &str, content: &[u8]) -> Files {
            let path = self.0.join(name);
            fs::write(&path, content).unwrap();
            Files(vec![path])
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn config(directory: &Directory) -> TlsConfig {
        let (chain, key) = crate::tls::tests::issue(&["a.test"]);
        TlsConfig {
            certificates: directory.write("a.pem", chain.as_bytes()),
            keys: directory.write("a.key", key.as_bytes()),
            ..TlsConfig::default()
        }
    }

    #[test]
    fn each_fault_names_its_file() {
        let directory = Directory::new("faults");
        let good = config(&directory);
        assert_eq!(good.load(None).unwrap().certificates.len(), 1);
        let fault = |config: TlsConfig| config.load(None).unwrap_err().to_string();
        let missing = Files(vec![directory.0.join("missing.key")]);
        assert!(fault(TlsConfig { keys: missing, ..good.clone() }).contains("missing.key: No such file"));
        let other = directory.write("other.key", crate::tls::tests::issue(&["a.test"]).1.as_bytes());
        let mismatch = fault(TlsConfig { keys: other, ..good.clone() });
        assert!(mismatch.contains("other.key") && mismatch.contains("does not belong"), "{mismatch}");
        let empty = directory.write("empty.pem", b"");
        assert!(fault(TlsConfig { certificates: empty.clone(), ..good.clone() }).contains("has no certificate"));
        let count = fault(TlsConfig { keys: Files::default(), ..good.clone() });
        assert!(count.contains("names 1 files and tls.keys 0"), "{count}");
        let asked = TlsConfig { ask_clients: AskClients::Required, ..good.clone() };
        assert!(fault(asked.clone()).contains("tls.client-authorities names no file"));
        let nobody = fault(TlsConfig { client_authorities: empty.clone(), ..asked });
        assert!(nobody.contains("authorities of client certificates"), "{nobody}");
        let short = fault(TlsConfig { ticket_keys: empty, ..good });
        assert!(short.contains("empty.pem") && short.contains("openssl rand"), "{short}");
    }

    #[test]
    fn tickets_and_the_certificate_for_trials_go_on_when_files_are_read_again() {
        let trial = TlsConfig { self_signed: true, ..TlsConfig::default() };
        let first = trial.load(None).unwrap();
        let second = trial.load(Some(&first)).unwrap();
        assert_eq!(first.certificates[0].fingerprint(), second.certificates[0].fingerprint());
        let producer = |settings: &Settings| match &settings.tickets {
            Tickets::On { producer, .. } => producer.clone(),
            Tickets::Off => panic!("tickets are on"),
        };
        let ticket = producer(&first).encrypt(b"session").unwrap();
        assert_eq!(producer(&second).decrypt(&ticket).as_deref(), Some(&b"session"[..]));
    }

    #[test]
    fn files_are_read_as_they_are_written() {
        for text in ["none", "/a/b.pem", "/a/b.pem,c.pem"] {
            assert_eq!(text.parse::<Files>().unwrap().to_string(), text);
        }
        for bad in ["", "a,,b"] {
            assert!(bad.parse::<Files>().is_err(), "{bad:?}");
        }
    }
}
