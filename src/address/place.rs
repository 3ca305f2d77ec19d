//! The endpoints of addresses to listen on, and the rules between several addresses.
//!
//! Owns the choice among the endpoints of an address. Never opens a socket. Invariant: no two endpoints in a list of
//! places are the same, and none covers another.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use super::Address;
use super::endpoint::{AddressFamilies, Endpoint};
use super::error::AddressError;
use super::listen::Listen;

/// The endpoints of one address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The address as it was written.
    pub address: Address,
    /// The endpoints that sockets may be bound to; never empty.
    pub endpoints: Vec<Endpoint>,
    /// The number of endpoints to bind.
    pub choice: Choice,
    /// True if a connection from a trusted proxy begins with a PROXY header.
    pub proxy_protocol: bool,
    /// True if other processes of the same user may listen on the same port.
    pub share_port: bool,
    /// True if clients speak TLS.
    pub tls: bool,
}

/// The number of endpoints of a place to bind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// The first endpoint that this host supports.
    First,
    /// Every endpoint that this host supports, and at least one.
    Each,
}

/// Resolves several addresses and applies the rules between them: `[::]` leaves IPv4 to an IPv4 address with the same
/// port. Refuses addresses that cover each other.
pub fn places(addresses: &[Address]) -> Result<Vec<Place>, AddressError> {
    let mut places = addresses.iter().map(Address::place).collect::<Result<Vec<_>, _>>()?;
    let ipv4_ports: Vec<u16> =
        places.iter().flat_map(|place| &place.endpoints).filter_map(Endpoint::ipv4_port).collect();
    let endpoints =
        places.iter_mut().filter(|place| place.choice == Choice::Each).flat_map(|place| &mut place.endpoints);
    for endpoint in endpoints {
        endpoint.leave_ipv4_to(&ipv4_ports);
    }
    for (at, second) in places.iter().enumerate() {
        let is_covered =
            |first: &&Place| first.endpoints.iter().any(|one| second.endpoints.iter().any(|other| one.overlaps(other)));
        if let Some(first) = places[..at].iter().find(is_covered) {
            return Err(AddressError::Twice { first: first.address.to_string(), second: second.address.to_string() });
        }
    }
    Ok(places)
}

/// Resolves several addresses, as [`places`] does, and gives each place its settings.
///
/// `has_certificate` decides for those that leave open whether they speak TLS.
pub fn places_with_settings(listen: &[Listen], has_certificate: bool) -> Result<Vec<Place>, AddressError> {
    let addresses: Vec<Address> = listen.iter().map(|listen| listen.address.clone()).collect();
    let mut places = places(&addresses)?;
    for (place, listen) in places.iter_mut().zip(listen) {
        (place.proxy_protocol, place.share_port) = (listen.proxy_protocol, listen.share_port);
        place.tls = listen.tls.is_on(has_certificate);
    }
    Ok(places)
}

impl Address {
    /// Resolves the address to its endpoints.
    fn place(&self) -> Result<Place, AddressError> {
        let tcp = |address| Endpoint::Tcp { address, families: AddressFamilies::Default };
        let (endpoints, choice) = match self {
            Self::Any { port } => {
                let both = SocketAddr::from((Ipv6Addr::UNSPECIFIED, *port));
                let both = Endpoint::Tcp { address: both, families: AddressFamilies::Both };
                (vec![both, tcp(SocketAddr::from((Ipv4Addr::UNSPECIFIED, *port)))], Choice::First)
            }
            Self::Unix(unix) => (vec![Endpoint::Unix(unix.clone())], Choice::Each),
            Self::Ip(_) | Self::Name { .. } => (self.socket_addresses()?.into_iter().map(tcp).collect(), Choice::Each),
        };
        Ok(Place { address: self.clone(), endpoints, choice, proxy_protocol: false, share_port: false, tls: false })
    }
}
