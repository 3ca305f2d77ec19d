//! Endpoints: the addresses that sockets are bound to.
//!
//! Owns the comparison of two endpoints. Never opens a socket or resolves a name. Invariant: two endpoints overlap
//! exactly if one connection could belong to either.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::unix::UnixAddress;

/// The address that one socket is bound to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Endpoint {
    /// A TCP port on one address, or on all addresses.
    Tcp {
        /// The address; with port 0 the kernel chooses a port.
        address: SocketAddr,
        /// The address families that an IPv6 socket accepts.
        families: AddressFamilies,
    },
    /// A Unix socket.
    Unix(UnixAddress),
}

/// The address families that a socket accepts when it is bound to all IPv6 addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AddressFamilies {
    /// The host's setting (`net.ipv6.bindv6only`): both families, unless the host was configured otherwise.
    Default,
    /// IPv4 and IPv6.
    Both,
    /// IPv6 only.
    Ipv6,
}

impl Endpoint {
    /// Returns the address of a TCP endpoint, `None` for a Unix socket.
    pub fn socket_address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp { address, .. } => Some(*address),
            Self::Unix(_) => None,
        }
    }

    /// Returns whether only programs on this host can connect to the endpoint.
    pub fn is_local(&self) -> bool {
        self.socket_address().is_none_or(|address| address.ip().to_canonical().is_loopback())
    }

    /// Returns an address at which a client on this host reaches a TCP endpoint. Replaces an unspecified address by
    /// loopback, because a browser cannot connect to an unspecified one.
    pub fn reached_at(&self) -> Option<SocketAddr> {
        let address = self.socket_address()?;
        let ip = match (address.ip(), self) {
            (IpAddr::V6(ip), Self::Tcp { families: AddressFamilies::Ipv6, .. }) if ip.is_unspecified() => {
                Ipv6Addr::LOCALHOST.into()
            }
            (ip, _) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            (ip, _) => ip,
        };
        Some(if ip == address.ip() { address } else { SocketAddr::new(ip, address.port()) })
    }

    /// Returns the port of an IPv4 endpoint, unless the kernel chooses it.
    pub(super) fn ipv4_port(&self) -> Option<u16> {
        self.socket_address().filter(|address| address.is_ipv4() && address.port() != 0).map(|address| address.port())
    }

    /// Restricts a socket for all IPv6 addresses to IPv6, if an IPv4 socket listens on the same port.
    pub(super) fn leave_ipv4_to(&mut self, ports: &[u16]) {
        if let Self::Tcp { address: SocketAddr::V6(address), families } = self
            && address.ip().is_unspecified()
            && ports.contains(&address.port())
        {
            *families = AddressFamilies::Ipv6;
        }
    }

    /// Returns whether one connection could belong to either endpoint.
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        let (one, other) = match (self, other) {
            (Self::Unix(one), Self::Unix(other)) => return one.name == other.name,
            (Self::Tcp { .. }, Self::Tcp { .. }) => (self, other),
            _ => return false,
        };
        let (Some(first), Some(second)) = (one.socket_address(), other.socket_address()) else { return false };
        let same_port = first.port() == second.port() && first.port() != 0;
        same_port && (first == second || one.covers(second.ip()) || other.covers(first.ip()))
    }

    /// Returns whether the endpoint is bound to all addresses and `ip` is one of them.
    fn covers(&self, ip: IpAddr) -> bool {
        let Self::Tcp { address, families } = self else { return false };
        address.ip().is_unspecified() && (address.is_ipv4() == ip.is_ipv4() || *families == AddressFamilies::Both)
    }
}

impl From<SocketAddr> for Endpoint {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp { address, families: AddressFamilies::Default }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { address, .. } => address.fmt(f),
            Self::Unix(unix) => unix.fmt(f),
        }
    }
}
