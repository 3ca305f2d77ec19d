//! The servers that the connections of a run trust, if they speak TLS.
//!
//! Reads the certificates of authorities. Invariant: without [`ServerTrust::Anyone`], a run has no connection to a
//! server whose certificate is not valid for the URL's host.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::authorities::{self, AuthoritiesError};
use crate::tls::{Connector, ConnectorError, Trust};

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
    /// The certificates of authorities cannot be read.
    #[error(transparent)]
    Authorities(#[from] AuthoritiesError),
    /// The certificates or the name cannot be used.
    #[error(transparent)]
    Connector(#[from] ConnectorError),
}

/// Returns the client's end of TLS for a server that a Host header names. Sessions are resumed if `resumes` says so.
pub(super) fn connector(trust: &ServerTrust, host: &str, resumes: bool) -> Result<Connector, TrustError> {
    let trust = match trust {
        ServerTrust::Anyone => Trust::Anyone,
        ServerTrust::File(path) => Trust::Authorities(authorities::read(path)?),
        ServerTrust::System => Trust::Authorities(authorities::system()?),
    };
    Ok(Connector::new(&trust, host_name(host), resumes)?)
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
