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
}

impl From<Address> for Listen {
    fn from(address: Address) -> Self {
        Self { address, ..Self::default() }
    }
}
