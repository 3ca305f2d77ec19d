//! The address of a client behind proxies: the list of trusted proxies, and the X-Forwarded-For header.
//!
//! Owns the list of trusted networks and the walk through the header. Never believes an address that an untrusted
//! client sent. Invariant: the address found is one that a trusted proxy has accepted a connection from.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str::{self, FromStr};

use ipnet::IpNet;

use super::grammar::trim;
use super::parse_network;
use super::request::Request;

/// The proxies whose X-Forwarded-For is believed: addresses and networks. By default none.
///
/// Parsed from a comma-separated list such as `127.0.0.1, 10.0.0.0/8, fd00::/8, unix`, in which `unix` stands for every
/// client of a Unix socket; `none` or an empty text for none. An IPv4 address in its IPv6 form (`::ffff:10.0.0.1`) is
/// that IPv4 address, here and wherever one is compared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies {
    networks: Vec<IpNet>,
    unix: bool,
}

impl TrustedProxies {
    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        self.networks.is_empty() && !self.unix
    }

    /// Returns whether this is the address of a trusted proxy; `None` stands for the other end of a Unix socket.
    pub fn contains(&self, address: Option<IpAddr>) -> bool {
        let Some(address) = address.map(|address| address.to_canonical()) else { return self.unix };
        self.networks.iter().any(|network| network.contains(&address))
    }

    /// Returns the address of the client that sent `request`, as far as it is known. `nearest` is the other end of the
    /// connection, or the address in its PROXY header; `None` stands for the other end of a Unix socket.
    ///
    /// While the address is that of a trusted proxy, the element that this proxy has appended to X-Forwarded-For is the
    /// next. The elements are read from the last one on, over all lines, so an untrusted client's elements never count.
    /// An element that is not an address ends the walk at the proxy that sent it.
    pub fn client(&self, request: &Request<'_>, nearest: Option<IpAddr>) -> Option<IpAddr> {
        let mut client = nearest.map(|address| address.to_canonical());
        if !self.contains(client) {
            return client;
        }
        let lines = request.parsed_headers().iter().rev();
        let lines = lines.filter(|header| header.name.eq_ignore_ascii_case("X-Forwarded-For"));
        let elements = lines.flat_map(|header| header.value.rsplit(|byte| *byte == b','));
        for element in elements.map(trim).filter(|element| !element.is_empty()) {
            let Some(address) = parse_address(element) else { break };
            client = Some(address.to_canonical());
            if !self.contains(client) {
                break;
            }
        }
        client
    }
}

impl FromStr for TrustedProxies {
    type Err = InvalidNetwork;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if matches!(text.trim(), "" | NONE) {
            return Ok(Self::default());
        }
        let mut proxies = Self::default();
        for text in text.split(',').map(str::trim) {
            match text {
                // `unix:` is the form that nginx writes.
                UNIX | "unix:" => proxies.unix = true,
                _ => proxies.networks.push(network(text).ok_or(InvalidNetwork { text: text.to_owned() })?),
            }
        }
        Ok(proxies)
    }
}

/// Writes the form that `FromStr` parses.
impl fmt::Display for TrustedProxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str(NONE);
        }
        let networks = self.networks.iter().map(|network| match network.prefix_len() == network.max_prefix_len() {
            true => network.addr().to_string(),
            false => network.to_string(),
        });
        f.write_str(&networks.chain(self.unix.then(|| UNIX.to_owned())).collect::<Vec<_>>().join(", "))
    }
}

/// The error for text that is not a trusted proxy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is neither an address nor a network. Give an IP address, or the first address of a network and the \
     length of its prefix, such as 10.0.0.0/8 or fd00::/8, or unix for all clients of a Unix socket."
)]
#[non_exhaustive]
pub struct InvalidNetwork {
    /// The text as it was given.
    pub text: String,
}

/// The word for an empty list.
const NONE: &str = "none";

/// The word for the other end of every Unix socket.
const UNIX: &str = "unix";

/// Parses a network, written by its first address: bits behind the prefix would be ignored, so they are a mistake.
fn network(text: &str) -> Option<IpNet> {
    parse_network(text).filter(|network| network.addr() == network.network())
}

/// Parses an element of X-Forwarded-For: an address, with or without a port; IPv6 with or without brackets.
fn parse_address(element: &[u8]) -> Option<IpAddr> {
    let text = str::from_utf8(element).ok()?;
    let bare = text.parse().ok();
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse::<Ipv6Addr>().ok().map(IpAddr::from);
    bare.or_else(|| text.parse().ok().map(|socket: SocketAddr| socket.ip())).or_else(bracketed)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::protocol::http::{Headers, parse_request};

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// Returns the client of a request with these header lines, as seen by a server that trusts 10.0.0.0/8 and
    /// fd00::/8.
    fn client(nearest: &str, lines: &[&str]) -> String {
        let proxies: TrustedProxies = "10.0.0.0/8,fd00::/8".parse().unwrap();
        let head = format!(
            "GET / HTTP/1.1\r\nHost: a\r\n{}\r\n",
            lines.iter().map(|l| format!("{l}\r\n")).collect::<String>()
        );
        let mut headers = Headers::default();
        let request = parse_request(head.as_bytes(), &mut headers).unwrap();
        proxies.client(&request, Some(address(nearest))).unwrap().to_string()
    }

    #[test]
    fn a_trusted_proxy_is_believed() {
        for (header, expected) in [
            ("203.0.113.7", "203.0.113.7"),
            ("203.0.113.7:56789", "203.0.113.7"),
            ("2001:db8::7", "2001:db8::7"),
            ("[2001:db8::7]", "2001:db8::7"),
            ("[2001:db8::7]:56789", "2001:db8::7"),
            ("::ffff:203.0.113.7", "203.0.113.7"),
            (" \t203.0.113.7\t ", "203.0.113.7"),
            ("203.0.113.7,", "203.0.113.7"),
            ("203.0.113.7, 10.1.2.3", "203.0.113.7"),
            ("203.0.113.7,10.1.2.3:80,[fd00::1]:80 , ::ffff:10.9.9.9", "203.0.113.7"),
        ] {
            for nearest in ["10.0.0.1", "::ffff:10.0.0.1", "fd00::2"] {
                assert_eq!(client(nearest, &[&format!("X-Forwarded-For: {header}")]), expected, "{header}");
            }
        }
    }

    #[test]
    fn the_last_line_is_the_nearest() {
        let lines = ["x-forwarded-for: 198.51.100.1", "Via: x", "X-FORWARDED-FOR: 203.0.113.7, 10.1.1.1"];
        assert_eq!(client("10.0.0.1", &lines), "203.0.113.7");
        let lines = ["X-Forwarded-For: 203.0.113.7", "X-Forwarded-For: 10.1.1.1", "X-Forwarded-For: "];
        assert_eq!(client("10.0.0.1", &lines), "203.0.113.7");
    }

    #[test]
    fn nothing_counts_that_an_untrusted_client_sent_along() {
        assert_eq!(client("203.0.113.7", &["X-Forwarded-For: 198.51.100.1"]), "203.0.113.7");
        assert_eq!(client("203.0.113.7", &["X-Forwarded-For: 10.0.0.1"]), "203.0.113.7");
        for forged in ["198.51.100.1", "10.0.0.1", "127.0.0.1", "nonsense", "a, b", ", ,", "\u{e4}"] {
            let line = format!("X-Forwarded-For: {forged}, 203.0.113.7");
            assert_eq!(client("10.0.0.1", &[&line]), "203.0.113.7", "{forged}");
            let lines = [&format!("X-Forwarded-For: {forged}"), "X-Forwarded-For: 203.0.113.7"];
            assert_eq!(client("10.0.0.1", &lines), "203.0.113.7", "{forged}");
        }
    }

    #[test]
    fn an_element_that_is_no_address_ends_at_the_proxy_that_sent_it() {
        for bad in [
            "unknown",
            "_hidden",
            "1.2.3",
            "1.2.3.4.5",
            "256.1.1.1",
            "01.2.3.4",
            "[1.2.3.4]",
            "::1]",
            "a:80",
            "\"1.2.3.4\"",
        ] {
            assert_eq!(client("10.0.0.1", &[&format!("X-Forwarded-For: {bad}")]), "10.0.0.1", "{bad}");
            let line = format!("X-Forwarded-For: 203.0.113.7, {bad}, 10.7.7.7");
            assert_eq!(client("10.0.0.1", &[&line]), "10.7.7.7", "{bad}");
        }
    }

    #[test]
    fn without_the_header_or_beyond_it_the_last_known_proxy_is_the_client() {
        assert_eq!(client("10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(client("::ffff:10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(client("10.0.0.1", &["X-Forwarded-For: 10.2.2.2"]), "10.2.2.2");
        assert_eq!(client("10.0.0.1", &["Forwarded: for=203.0.113.7", "X-Real-IP: 203.0.113.7"]), "10.0.0.1");
    }

    #[test]
    fn networks_contain_their_addresses_and_no_others() {
        for (list, inside, outside) in [
            ("10.0.0.0/8", &["10.0.0.0", "10.255.255.255", "::ffff:10.1.2.3"][..], &["9.255.255.255", "11.0.0.0"][..]),
            ("192.0.2.7", &["192.0.2.7", "::ffff:192.0.2.7"], &["192.0.2.6", "::c000:207"]),
            ("192.0.2.7/32", &["192.0.2.7"], &["192.0.2.6"]),
            ("192.0.2.128/25", &["192.0.2.128", "192.0.2.255"], &["192.0.2.127"]),
            ("0.0.0.0/0", &["0.0.0.0", "255.255.255.255"], &["::1"]),
            ("::/0", &["::1", "ffff::"], &["1.2.3.4", "::ffff:1.2.3.4"]),
            ("fd00::/8", &["fd00::", "fdff:ffff::1"], &["fc00::1", "fe00::"]),
            ("::1", &["::1"], &["::2", "127.0.0.1"]),
            ("::ffff:10.0.0.0/104", &["10.1.2.3"], &["11.0.0.0"]),
            ("::ffff:10.0.0.1", &["10.0.0.1"], &["10.0.0.2"]),
            ("none", &[], &["127.0.0.1", "::1"]),
            ("", &[], &["127.0.0.1", "::1"]),
            ("127.0.0.1, ::1", &["127.0.0.1", "::1"], &["127.0.0.2"]),
        ] {
            let proxies: TrustedProxies = list.parse().unwrap();
            assert!(inside.iter().all(|text| proxies.contains(Some(address(text)))), "{list}");
            assert!(!outside.iter().any(|text| proxies.contains(Some(address(text)))), "{list}");
            assert!(!proxies.contains(None), "{list}");
        }
    }

    #[test]
    fn clients_of_a_unix_socket_are_trusted_only_if_configured() {
        let head = b"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 198.51.100.1, 203.0.113.7, 10.1.1.1\r\n\r\n";
        let mut headers = Headers::default();
        let request = parse_request(head, &mut headers).unwrap();
        for (list, client) in [
            ("unix", Some("10.1.1.1")),
            ("unix:", Some("10.1.1.1")),
            ("10.0.0.0/8, unix", Some("203.0.113.7")),
            ("10.0.0.0/8", None),
            ("none", None),
        ] {
            let proxies: TrustedProxies = list.parse().unwrap();
            assert_eq!(proxies.client(&request, None), client.map(address), "{list}");
            assert_eq!(proxies.is_empty(), list == "none");
        }
        // A proxy that sends no readable address leaves its client unknown.
        for line in ["", "X-Forwarded-For: unix:\r\n"] {
            let head = format!("GET / HTTP/1.1\r\nHost: a\r\n{line}\r\n");
            let mut headers = Headers::default();
            let request = parse_request(head.as_bytes(), &mut headers).unwrap();
            assert_eq!("unix".parse::<TrustedProxies>().unwrap().client(&request, None), None);
        }
    }

    #[test]
    fn a_list_with_a_mistake_is_refused_by_the_element() {
        for bad in [
            "localhost",
            "10.0.0.1/8",
            "10.0.0.0/33",
            "10.0.0.0/",
            "10.0.0.0/+8",
            "10.0.0.0/8/8",
            "10.0.0",
            "fd00::1/8",
            "fd00::/129",
            "::ffff:10.0.0.0/8",
            "[::1]",
            "10.0.0.1:80",
            "*",
        ] {
            let refused = Err(InvalidNetwork { text: bad.to_owned() });
            assert_eq!(bad.parse::<TrustedProxies>(), refused);
            assert_eq!(format!("127.0.0.1,{bad}").parse::<TrustedProxies>(), refused);
        }
        assert!("10.0.0.1,".parse::<TrustedProxies>().is_err());
    }

    #[test]
    fn is_written_as_it_is_read() {
        for text in ["none", "unix", "10.0.0.0/8, ::1, fd00::/8, 0.0.0.0/0, unix"] {
            assert_eq!(text.parse::<TrustedProxies>().unwrap().to_string(), text);
        }
    }

    fn bits(address: IpAddr) -> u32 {
        if address.is_ipv4() { 32 } else { 128 }
    }

    fn number(address: IpAddr) -> u128 {
        match address {
            IpAddr::V4(address) => address.to_bits().into(),
            IpAddr::V6(address) => address.to_bits(),
        }
    }

    proptest! {
        #[test]
        fn a_network_is_what_shares_its_first_bits(
            one in any::<IpAddr>(),
            other in any::<IpAddr>(),
            bits_of in 0..=128u32,
        ) {
            let (one, other) = (one.to_canonical(), other.to_canonical());
            let prefix_bits = bits_of.min(bits(one));
            let behind = bits(one) - prefix_bits;
            let start = number(one).checked_shr(behind).and_then(|start| start.checked_shl(behind)).unwrap_or(0);
            let first = if one.is_ipv4() { IpAddr::V4((start as u32).into()) } else { IpAddr::V6(start.into()) };
            prop_assume!(first.to_canonical() == first);
            let proxies: TrustedProxies = format!("{first}/{prefix_bits}").parse().unwrap();
            prop_assert!(proxies.contains(Some(one)));
            let shared_bits = || (number(one) ^ number(other)).leading_zeros() + bits(one) - 128;
            let is_inside = one.is_ipv4() == other.is_ipv4() && shared_bits() >= prefix_bits;
            prop_assert_eq!(proxies.contains(Some(other)), is_inside);
        }
    }
}
