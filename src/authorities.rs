//! The certificates of authorities that this host trusts.
//!
//! Reads one file, and understands nothing of what is in it.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

use thiserror::Error;

/// The files in which distributions keep the certificates of authorities, all in one.
const SYSTEM_FILES: &[&str] = &[
    // Debian, Ubuntu, Arch, Alpine
    "/etc/ssl/certs/ca-certificates.crt",
    // Fedora, RHEL
    "/etc/pki/tls/certs/ca-bundle.crt",
    // openSUSE
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// The reason for which authorities cannot be read: the host's or the caller's fault.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AuthoritiesError {
    /// The file cannot be read.
    #[error("Cannot read the certificates of authorities from {path}: {source}.")]
    File {
        /// The file.
        path: String,
        /// The host's error.
        source: io::Error,
    },
    /// There is no file of authorities.
    #[error("This host has no file of authorities that ringsock knows. Name one in the variable SSL_CERT_FILE.")]
    NoSystemFile,
}

/// Reads the authorities that this host trusts, in PEM. The variable SSL_CERT_FILE names another file.
pub fn system() -> Result<Vec<u8>, AuthoritiesError> {
    if let Some(path) = env::var_os("SSL_CERT_FILE") {
        return read(Path::new(&path));
    }
    let found = SYSTEM_FILES.iter().map(PathBuf::from).find(|path| path.exists());
    read(&found.ok_or(AuthoritiesError::NoSystemFile)?)
}

/// Reads authorities from a file.
pub fn read(path: &Path) -> Result<Vec<u8>, AuthoritiesError> {
    fs::read(path).map_err(|source| AuthoritiesError::File { path: path.display().to_string(), source })
}
