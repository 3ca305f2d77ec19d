//! An address to listen on, and the settings of its listener.

use super::Address;

/// An address to listen on, and the settings of its listener.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Listen {
    /// The address.
    pub address: Address,
    /// True if a connection from a trusted proxy begins with a PROXY header.
    pub proxy_protocol: bool,
    /// True if other processes of the same user may listen on the same port.
    pub share_port: bool,
    /// The choice between TLS and plain.
    pub tls: ListenTls,
}

/// The choice of a listener between TLS and plain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ListenTls {
    /// TLS if the server has a certificate.
    #[default]
    Auto,
    /// TLS.
    On,
    /// Plain.
    Off,
}

impl ListenTls {
    /// Returns whether clients speak TLS, on a server that has a certificate or not.
    pub fn is_on(self, has_certificate: bool) -> bool {
        match self {
            Self::Auto => has_certificate,
            Self::On => true,
            Self::Off => false,
        }
    }
}

impl From<Address> for Listen {
    fn from(address: Address) -> Self {
        Self { address, ..Self::default() }
    }
}
