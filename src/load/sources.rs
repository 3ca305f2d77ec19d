//! The source addresses of connections. A pair of addresses has some 28,000 ports (`ip_local_port_range`), so more
//! connections need more addresses.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::protocol::http::parse_network;

/// The addresses of a network such as `127.1.0.0/24`, a single address, or none: then the kernel chooses.
///
/// The first and the last address of an IPv4 network of more than two are left out: they are the network's own and its
/// broadcast address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sources {
    first: Option<IpAddr>,
    len: usize,
}

/// An invalid network: the caller's fault.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0:?} is neither an address nor a network. Give one such as 127.0.0.1 or 127.1.0.0/24.")]
pub struct InvalidSources(String);

impl Sources {
    /// The most addresses that are used of a network.
    pub const LEN_MAX: usize = 1 << 16;

    /// Returns the number of addresses.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Returns whether the kernel chooses the address.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns the source address of connection `number`; connections take turns.
    pub fn at(&self, number: usize) -> Option<IpAddr> {
        let offset = (number % self.len.max(1)) as u32;
        Some(match self.first? {
            IpAddr::V4(first) => IpAddr::V4(Ipv4Addr::from(u32::from(first).wrapping_add(offset))),
            IpAddr::V6(first) => IpAddr::V6(Ipv6Addr::from(u128::from(first).wrapping_add(u128::from(offset)))),
        })
    }
}

impl FromStr for Sources {
    type Err = InvalidSources;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let network = parse_network(text).ok_or_else(|| InvalidSources(text.to_owned()))?;
        let host_bits = u32::from(network.max_prefix_len() - network.prefix_len());
        let all = 1usize.checked_shl(host_bits).unwrap_or(usize::MAX).min(Self::LEN_MAX + 2);
        let is_reduced = network.addr().is_ipv4() && host_bits > 1;
        let len = if is_reduced { all - 2 } else { all.min(Self::LEN_MAX) };
        Ok(Self { first: network.hosts().next(), len })
    }
}

impl fmt::Display for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.first, self.len) {
            (None, _) => f.write_str("the kernel's choice"),
            (Some(first), 1) => write!(f, "{first}"),
            (Some(first), len) => write!(f, "{len} addresses from {first} on"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(text: &str) -> Sources {
        text.parse().unwrap()
    }

    #[test]
    fn a_network_gives_its_hosts_in_turn() {
        let network = sources("127.1.0.0/24");
        assert_eq!(network.len(), 254);
        assert_eq!(network.at(0), Some("127.1.0.1".parse().unwrap()));
        assert_eq!(network.at(253), Some("127.1.0.254".parse().unwrap()));
        assert_eq!(network.at(254), network.at(0));
        // Host bits are ignored.
        assert_eq!(sources("127.1.0.77/24"), network);
    }

    #[test]
    fn one_address_and_small_networks_are_used_whole() {
        assert_eq!(sources("127.0.0.5").at(9), Some("127.0.0.5".parse().unwrap()));
        assert_eq!(sources("127.0.0.4/31").len(), 2);
        assert_eq!(sources("::1").len(), 1);
        assert_eq!(sources("fd00::/120").len(), 256);
    }

    #[test]
    fn no_more_is_used_of_a_large_network_than_the_limit() {
        assert_eq!(sources("127.0.0.0/8").len(), Sources::LEN_MAX);
        assert_eq!(sources("fd00::/8").len(), Sources::LEN_MAX);
        assert_eq!(sources("0.0.0.0/0").at(0), Some("0.0.0.1".parse().unwrap()));
    }

    #[test]
    fn none_is_the_kernels_choice() {
        assert!(Sources::default().is_empty());
        assert_eq!(Sources::default().at(3), None);
    }

    #[test]
    fn says_what_is_no_network() {
        for text in ["", "localhost", "127.0.0.1/33", "127.0.0.0/", "1.2.3/8", "::/129"] {
            let error = text.parse::<Sources>().unwrap_err();
            assert_eq!(error, InvalidSources(text.to_owned()));
            assert!(error.to_string().contains("127.1.0.0/24"));
        }
    }
}
