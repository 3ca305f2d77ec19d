//! Addresses to listen on: their written forms and the endpoints they stand for.
//!
//! [`Address`] is the form that an operator writes, an [`Endpoint`] is the address that one socket is bound to, and a
//! [`Place`] holds the endpoints of one address. Owns the written forms and the rules between several addresses. Never
//! opens a socket; only [`places`] and [`Address::is_local`] ask the host to resolve a name. Invariant: no two
//! endpoints in a list of places are the same, and none covers another.

mod endpoint;
mod error;
mod listen;
mod parse;
mod place;
mod unix;

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, ToSocketAddrs};

pub use endpoint::{AddressFamilies, Endpoint};
pub use error::AddressError;
pub use listen::{Listen, ListenTls};
pub use place::{Choice, Place, places, places_with_settings};
pub use unix::{UnixAddress, UnixName};

/// An address to listen on, as an operator writes it: `"localhost:9000".parse::<Address>()`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Address {
    /// All addresses of this host, IPv4 and IPv6: `:9000`, `9000` or `*:9000`.
    Any {
        /// The port; 0 lets the kernel choose.
        port: u16,
    },
    /// An IP address and a port: `127.0.0.1:9000`, `[::1]:9000`.
    Ip(SocketAddr),
    /// A host name, or a link-local IPv6 address with its interface: `localhost:9000`, `[fe80::1%eth0]:9000`.
    Name {
        /// The name, or the address with its interface.
        host: String,
        /// The port; 0 lets the kernel choose.
        port: u16,
    },
    /// A Unix socket: `unix:/run/ringsock.sock`, `unix:/run/ringsock.sock?mode=660`, `unix:@name`.
    Unix(UnixAddress),
}

impl Address {
    /// Parses a comma-separated list of addresses.
    pub fn list(text: &str) -> Result<Vec<Self>, AddressError> {
        text.split(',').map(str::parse).collect()
    }

    /// Returns whether only programs on this host can connect to the address.
    pub fn is_local(&self) -> bool {
        match self {
            Self::Any { .. } => false,
            Self::Unix(_) => true,
            Self::Ip(_) | Self::Name { .. } => self
                .socket_addresses()
                .is_ok_and(|addresses| addresses.iter().all(|address| address.ip().to_canonical().is_loopback())),
        }
    }

    /// Returns the addresses that the host resolves the name to, each once.
    fn socket_addresses(&self) -> Result<Vec<SocketAddr>, AddressError> {
        let (host, port) = match self {
            Self::Ip(address) => return Ok(vec![*address]),
            Self::Name { host, port } => (host.as_str(), *port),
            Self::Any { .. } | Self::Unix(_) => return Ok(Vec::new()),
        };
        if is_localhost(host) {
            // Independent of /etc/hosts, where many hosts list only one of the two (RFC 6761 6.3).
            return Ok(vec![(Ipv4Addr::LOCALHOST, port).into(), (Ipv6Addr::LOCALHOST, port).into()]);
        }
        let unresolved = |reason: String| AddressError::Unresolved { address: self.to_string(), reason };
        let found = (host, port).to_socket_addrs().map_err(|error| unresolved(error.to_string()))?;
        let mut addresses: Vec<SocketAddr> = Vec::new();
        for address in found {
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        if addresses.is_empty() { Err(unresolved("it has no address".to_owned())) } else { Ok(addresses) }
    }
}

impl Default for Address {
    /// Returns the default address: 127.0.0.1:9000, which only programs on this host can reach.
    fn default() -> Self {
        Self::Ip((Ipv4Addr::LOCALHOST, 9000).into())
    }
}

/// Writes the form that `FromStr` parses.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any { port } => write!(f, ":{port}"),
            Self::Ip(address) => address.fmt(f),
            Self::Name { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Name { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(unix) => unix.fmt(f),
        }
    }
}

fn is_localhost(host: &str) -> bool {
    host.trim_end_matches('.').eq_ignore_ascii_case("localhost")
}

/// Returns whether the address is link-local and names no interface.
fn needs_interface(address: &SocketAddrV6) -> bool {
    address.ip().is_unicast_link_local() && address.scope_id() == 0
}

#[cfg(test)]
mod tests;
