//! The addresses of a core's clients, where they matter: from the connection, a PROXY header or X-Forwarded-For.
//!
//! Owns a table beside the slab, with the same indexes, so that a session costs nothing here while no proxy is trusted
//! and no limit for addresses is set. Never reads a socket and never answers. Invariant: a client's own address is
//! counted in [`Admission`] from the moment it is known until [`Clients::remove`]. The address of a trusted proxy,
//! which stands for many clients, is never counted. Rules that a reload replaced hold for clients that come later.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use crate::engine::admission::{Admission, AdmissionPolicy, Rules};
use crate::engine::current::Following;
use crate::engine::log::LogEnabled;
use crate::protocol::http::proxy;
use crate::protocol::http::{Refusal, Request};

/// See the module.
#[derive(Debug)]
pub(in crate::engine) struct Clients {
    admission: Arc<Admission>,
    rules: Following<Rules>,
    /// The log shows lines about single clients.
    logged: bool,
    /// The addresses of clients are needed for a limit, to recognize proxies, or for the log.
    needed: bool,
    known: Vec<Option<Client>>,
}

/// The other end of a new connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum Peer {
    /// A client that came by TCP from this address.
    Address(IpAddr),
    /// A client that came through a Unix socket.
    Unix,
}

/// The facts known about a client.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) struct Client {
    /// The client's address, or that of the proxy nearest to it; `None` for a proxy that came through a Unix socket.
    address: Option<IpAddr>,
    /// The address is the client's own.
    own: bool,
    /// The connection is counted at this address.
    counted: bool,
    /// A PROXY header must come before anything else.
    awaits_proxy_header: bool,
}

/// The reason why a connection gets no session.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::engine) enum NotAdmitted {
    /// The client's address has too many connections.
    Refused(Refusal),
    /// The connection was reset before it was accepted, as some health checks do.
    Gone,
}

impl Clients {
    pub(in crate::engine) fn new(admission: Arc<Admission>) -> Self {
        let (rules, logged) = (admission.follow_rules(), LogEnabled::now().clients);
        let needed = logged || rules.value().needs_addresses();
        Self { admission, rules, logged, needed, known: Vec::new() }
    }

    /// Records whether the log shows lines about single clients from now on.
    pub(in crate::engine) fn note_logged(&mut self, logged: bool) {
        self.logged = logged;
        self.needed = logged || self.rules.value().needs_addresses();
    }

    /// Takes the rules in force.
    fn refresh(&mut self) {
        if self.rules.refresh() {
            self.note_logged(self.logged);
        }
    }

    /// Admits a connection; `peer` returns its other end. An admitted client must then be inserted or discarded.
    pub(in crate::engine) fn admit_connection(
        &mut self,
        peer: impl FnOnce() -> io::Result<Peer>,
        proxy_protocol: bool,
    ) -> Result<Option<Client>, NotAdmitted> {
        self.refresh();
        let address = match self.needed.then(peer) {
            Some(Ok(Peer::Address(address))) => Some(address.to_canonical()),
            Some(Ok(Peer::Unix)) => None,
            // The address is unknown, so the connection can be neither admitted nor refused, and nobody is there to be
            // answered.
            Some(Err(error)) if error.kind() == io::ErrorKind::NotConnected => return Err(NotAdmitted::Gone),
            Some(Err(_)) | None => return Ok(None),
        };
        let mut client = Client { address, own: false, counted: false, awaits_proxy_header: false };
        let is_proxy = self.is_proxy(client);
        if address.is_none() && !is_proxy {
            // Its address is unknown, and stays so.
            return Ok(None);
        }
        client.awaits_proxy_header = is_proxy && (proxy_protocol || self.policy().proxy_protocol);
        self.count(&mut client).map_err(NotAdmitted::Refused)?;
        Ok(Some(client))
    }

    /// Stores a client under the index of its session.
    pub(in crate::engine) fn insert(&mut self, index: u32, client: Option<Client>) {
        let Some(client) = client else { return };
        let index = index as usize;
        if self.known.len() <= index {
            self.known.resize(index + 1, None);
        }
        self.known[index] = Some(client);
    }

    /// Forgets a client that got no session.
    pub(in crate::engine) fn discard(&self, client: Option<Client>) {
        if let Some(address) = client.and_then(Client::counted_address) {
            self.admission.uncount_connection(address);
        }
    }

    /// Forgets the client of the session at this index, because its connection is closed.
    pub(in crate::engine) fn remove(&mut self, index: u32) {
        let client = self.known.get_mut(index as usize).and_then(Option::take);
        self.discard(client);
    }

    /// Returns the address of the client at this index: its own, or that of the proxy nearest to it. `None` if no
    /// address is needed, or if a proxy that came through a Unix socket has not named one.
    pub(in crate::engine) fn address(&self, index: u32) -> Option<IpAddr> {
        self.get(index)?.address
    }

    /// Returns the own address of the client at this index, if it is known.
    pub(in crate::engine) fn own_address(&self, index: u32) -> Option<IpAddr> {
        self.get(index).filter(|client| client.own)?.address
    }

    /// Reads the PROXY header, if one must come first. Returns the bytes it takes, or `None` while more are needed.
    pub(in crate::engine) fn read_proxy_header(
        &mut self,
        index: u32,
        received: &[u8],
    ) -> Result<Option<usize>, Refusal> {
        let Some(mut client) = self.get(index).filter(|client| client.awaits_proxy_header) else { return Ok(Some(0)) };
        let Some((header, bytes)) = proxy::parse(received)? else { return Ok(None) };
        client.awaits_proxy_header = false;
        if let Some(source) = header.source {
            client.address = Some(source.ip().to_canonical());
            self.count(&mut client)?;
        }
        self.insert(index, Some(client));
        Ok(Some(bytes))
    }

    /// Admits a request for a WebSocket by its origin and its client's address.
    pub(in crate::engine) fn admit_handshake(
        &mut self,
        index: u32,
        request: &Request<'_>,
        now_ms: u64,
    ) -> Result<(), Refusal> {
        self.refresh();
        self.policy().origins.admit(request.header("Origin"), request.host())?;
        let Some(mut client) = self.get(index) else { return Ok(()) };
        if !client.own {
            client.address = self.policy().trusted_proxies.client(request, client.address);
            self.count(&mut client)?;
            self.insert(index, Some(client));
        }
        let own = client.address.filter(|_| client.own);
        own.map_or(Ok(()), |address| self.admission.count_handshake(self.rules.value(), address, now_ms))
    }

    fn policy(&self) -> &AdmissionPolicy {
        &self.rules.value().policy
    }

    fn get(&self, index: u32) -> Option<Client> {
        self.known.get(index as usize).copied().flatten()
    }

    fn is_proxy(&self, client: Client) -> bool {
        self.policy().trusted_proxies.contains(client.address)
    }

    /// Counts a client that is not a proxy, unless its address has too many connections.
    fn count(&self, client: &mut Client) -> Result<(), Refusal> {
        let own = client.address.filter(|_| !client.own && !self.is_proxy(*client));
        if let Some(address) = own {
            client.counted = self.admission.count_connection(self.rules.value(), address)?;
            client.own = true;
        }
        Ok(())
    }
}

impl Client {
    /// Returns whether a PROXY header must come first.
    pub(in crate::engine) fn awaits_proxy_header(self) -> bool {
        self.awaits_proxy_header
    }

    /// Returns the address at which the connection is counted, if it is.
    fn counted_address(self) -> Option<IpAddr> {
        self.address.filter(|_| self.counted)
    }
}

#[cfg(test)]
impl Clients {
    /// Returns the number of clients whose own address is known.
    pub(in crate::engine) fn counted(&self) -> usize {
        self.known.iter().flatten().filter(|client| client.own).count()
    }

    /// Returns the number of indexes that fit without growth.
    pub(in crate::engine) fn room(&self) -> usize {
        self.known.capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::limits::Limits;

    fn clients() -> Clients {
        let limits = Limits { connections_per_address_max: 2, ..Limits::default() };
        let trusted_proxies = "10.0.0.0/8".parse().unwrap();
        let policy = AdmissionPolicy { trusted_proxies, proxy_protocol: true, ..AdmissionPolicy::default() };
        Clients::new(Arc::new(Admission::new(policy, &limits)))
    }

    fn comes(clients: &mut Clients, from: &str) -> Result<Option<Client>, NotAdmitted> {
        clients.admit_connection(|| Ok(Peer::Address(from.parse().unwrap())), false)
    }

    #[test]
    fn one_takes_twenty_bytes_at_most() {
        assert!(size_of::<Option<Client>>() <= 20);
    }

    #[test]
    fn a_client_without_a_session_is_not_counted() {
        let mut clients = clients();
        let client = comes(&mut clients, "192.0.2.1").unwrap();
        assert_eq!(clients.admission.connections(), 1);
        clients.discard(client);
        assert!(clients.admission.is_empty());
        let proxy = comes(&mut clients, "10.0.0.1").unwrap();
        clients.discard(proxy);
        clients.discard(None);
        assert!(clients.admission.is_empty());
    }

    #[test]
    fn a_client_that_leaves_is_uncounted_once() {
        let mut clients = clients();
        for index in [0, 9] {
            let client = comes(&mut clients, "192.0.2.1").unwrap();
            clients.insert(index, client);
        }
        assert_eq!(comes(&mut clients, "192.0.2.1").unwrap_err(), NotAdmitted::Refused(Refusal::TooManyConnections));
        [9, 9, 5, 100].into_iter().for_each(|index| clients.remove(index));
        assert_eq!((clients.admission.connections(), clients.address(9)), (1, None));
        clients.remove(0);
        assert!(clients.admission.is_empty());
    }

    #[test]
    fn a_client_that_left_is_not_admitted_and_one_without_an_address_is_not_stored() {
        let mut clients = clients();
        assert_eq!(
            clients.admit_connection(|| Err(io::ErrorKind::NotConnected.into()), false).unwrap_err(),
            NotAdmitted::Gone
        );
        let client = clients.admit_connection(|| Err(io::ErrorKind::Unsupported.into()), false).unwrap();
        clients.insert(0, client);
        assert_eq!((clients.address(0), clients.room()), (None, 0));
    }

    #[test]
    fn a_client_of_a_unix_socket_is_unknown_until_a_trusted_proxy_names_it() {
        let mut untrusting = clients();
        assert!(untrusting.admit_connection(|| Ok(Peer::Unix), false).unwrap().is_none());

        let limits = Limits { connections_per_address_max: 1, ..Limits::default() };
        let trusted_proxies = "unix".parse().unwrap();
        let policy = AdmissionPolicy { trusted_proxies, proxy_protocol: true, ..AdmissionPolicy::default() };
        let mut clients = Clients::new(Arc::new(Admission::new(policy, &limits)));
        for index in 0..3 {
            let client = clients.admit_connection(|| Ok(Peer::Unix), false).unwrap();
            clients.insert(index, client);
        }
        assert_eq!((clients.admission.connections(), clients.address(0)), (0, None));
        let header = b"PROXY TCP4 192.0.2.1 10.0.0.1 1 1\r\n";
        assert_eq!(clients.read_proxy_header(0, header), Ok(Some(header.len())));
        assert_eq!(clients.read_proxy_header(1, b"PROXY UNKNOWN\r\n"), Ok(Some(15)));
        assert_eq!((clients.address(0), clients.address(1)), ("192.0.2.1".parse().ok(), None));
        assert_eq!(clients.read_proxy_header(2, header).unwrap_err(), Refusal::TooManyConnections);
        (0..3).for_each(|index| clients.remove(index));
        assert!(clients.admission.is_empty());
    }

    #[test]
    fn a_proxy_header_is_read_once() {
        let mut clients = clients();
        let client = comes(&mut clients, "10.0.0.1").unwrap();
        clients.insert(0, client);
        let header = b"PROXY TCP4 192.0.2.1 10.0.0.1 1 1\r\n";
        assert_eq!(clients.read_proxy_header(0, &header[..7]), Ok(None));
        assert_eq!(clients.read_proxy_header(0, header), Ok(Some(header.len())));
        assert_eq!(clients.read_proxy_header(0, header), Ok(Some(0)));
        assert_eq!(clients.address(0), Some("192.0.2.1".parse().unwrap()));
        assert_eq!(clients.admission.connections(), 1);
    }

    #[test]
    fn rules_that_were_replaced_hold_for_clients_that_come_later() {
        let address = "192.0.2.1".parse().ok();
        let mut clients = Clients::new(Arc::new(Admission::new(AdmissionPolicy::default(), &Limits::default())));
        let unknown = comes(&mut clients, "192.0.2.1").unwrap();
        assert!(unknown.is_none(), "no address is needed");
        clients.insert(0, unknown);
        let limits = Limits { connections_per_address_max: 1, ..Limits::default() };
        clients.admission.replace_rules(AdmissionPolicy::default(), &limits);
        let counted = comes(&mut clients, "192.0.2.1").unwrap();
        clients.insert(1, counted);
        assert_eq!((clients.address(0), clients.address(1)), (None, address));
        assert_eq!(comes(&mut clients, "192.0.2.1").unwrap_err(), NotAdmitted::Refused(Refusal::TooManyConnections));
        // With a proxy and without a limit, the address is known and not counted.
        let policy = AdmissionPolicy { trusted_proxies: "10.0.0.0/8".parse().unwrap(), ..AdmissionPolicy::default() };
        clients.admission.replace_rules(policy.clone(), &Limits::default());
        let uncounted = comes(&mut clients, "192.0.2.1").unwrap();
        clients.insert(2, uncounted);
        assert_eq!((clients.address(2), clients.admission.connections()), (address, 1));
        // The end of one that is not counted takes nothing from those that are.
        clients.admission.replace_rules(policy, &limits);
        clients.remove(2);
        assert_eq!(clients.admission.connections(), 1);
        clients.remove(1);
        assert!(clients.admission.is_empty());
    }

    #[test]
    fn addresses_are_known_as_long_as_the_log_shows_them() {
        let mut clients = Clients::new(Arc::new(Admission::new(AdmissionPolicy::default(), &Limits::default())));
        for (logged, known) in [(true, true), (false, false)] {
            clients.note_logged(logged);
            assert_eq!(comes(&mut clients, "192.0.2.1").unwrap().is_some(), known);
        }
    }
}
