//! The servers that the connections of a run trust, if they speak TLS.
//!
//! Reads the certificates of authorities. Invariant: without [`ServerTrust::Anyone`], a run has no connection to a
//! server whose certificate is not valid for the URL's host.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::tls::{Connector, ConnectorError, Trust};

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

/// The servers that the connections of a run trust.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ServerTrust {
    /// Servers with a certificate of an authority that this host trusts. The variable SSL_CERT_FILE names another file.
    System,
    /// Servers with a certificate of the authorities in this file, in PEM.
    File(PathBuf),
    /// Any server.
    Anyone,
}

/// The reason for which connections over TLS cannot be made: the caller's fault.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TrustError {
    /// The file of authorities cannot be read.
    #[error("Cannot read the certificates of authorities from {path}: {source}.")]
    File {
        /// The file.
        path: String,
        /// The host's error.
        source: io::Error,
    },
    /// There is no file of authorities.
    #[error("This host has no file of authorities that ringsock knows. Name one with --ca, or in SSL_CERT_FILE.")]
    NoSystemFile,
    /// The certificates or the name cannot be used.
    #[error(transparent)]
    Connector(#[from] ConnectorError),
}

/// Returns the client's end of TLS for a server that a Host header names. Sessions are resumed if `resumes` says so.
pub(super) fn connector(trust: &ServerTrust, host: &str, resumes: bool) -> Result<Connector, TrustError> {
    let trust = match trust {
        ServerTrust::Anyone => Trust::Anyone,
        ServerTrust::File(path) => Trust::Authorities(read(path)?),
        ServerTrust::System => Trust::Authorities(read(&system_file()?)?),
    };
    Ok(Connector::new(&trust, host_name(host), resumes)?)
}

fn read(path: &Path) -> Result<Vec<u8>, TrustError> {
    fs::read(path).map_err(|source| TrustError::File { path: path.display().to_string(), source })
}

fn system_file() -> Result<PathBuf, TrustError> {
    if let Some(path) = env::var_os("SSL_CERT_FILE") {
        return Ok(path.into());
    }
    SYSTEM_FILES.iter().map(PathBuf::from).find(|path| path.exists()).ok_or(TrustError::NoSystemFile)
}

/// Returns the name or the address in a Host header, without port and brackets.
fn host_name(host: &str) -> &str {
    if let Some((address, _)) = host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return address;
    }
    host.rsplit_once(':').map_or(host, |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_the_host_without_its_port() {
        for (host, name) in [("a.test:9000", "a.test"), ("a.test", "a.test"), ("[::1]:9000", "::1"), ("[::1]", "::1")] {
            assert_eq!(host_name(host), name);
        }
    }
}
