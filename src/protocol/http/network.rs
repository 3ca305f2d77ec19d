//! The parser of networks of addresses.

use std::net::IpAddr;

use ipnet::IpNet;

use super::grammar::is_digits;

/// Parses a network such as `10.0.0.0/8`, or a single address. Bits behind the prefix are kept.
///
/// An IPv4 address in its IPv6 form becomes that IPv4 address; its prefix counts the bits of the form it is written in.
/// The address is parsed by the standard library, which refuses octets with leading zeros; `IpNet` takes 010 for 10.
pub(crate) fn parse_network(text: &str) -> Option<IpNet> {
    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix)),
        None => (text, None),
    };
    let written: IpAddr = address.parse().ok()?;
    let address = written.to_canonical();
    let Some(digits) = prefix else { return Some(IpNet::from(address)) };
    let prefix_bits: u8 = is_digits(digits.as_bytes()).then(|| digits.parse().ok()).flatten()?;
    let form_bits = IpNet::from(written).max_prefix_len() - IpNet::from(address).max_prefix_len();
    IpNet::new(address, prefix_bits.checked_sub(form_bits)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_an_address_and_the_length_of_a_prefix() {
        for (text, network) in [
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("10.1.2.3/8", "10.1.2.3/8"),
            ("10.1.2.3", "10.1.2.3/32"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("::1", "::1/128"),
            ("fd00::/128", "fd00::/128"),
            ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
            ("::ffff:10.0.0.1", "10.0.0.1/32"),
        ] {
            assert_eq!(parse_network(text).map(|network| network.to_string()).as_deref(), Some(network), "{text}");
        }
        for text in ["", "localhost", "010.0.0.0/8", "10.0.0.0/33", "10.0.0.0/+8", "10.0.0.0/", "::/129", "1.2.3/8"] {
            assert_eq!(parse_network(text), None, "{text}");
        }
        for text in ["::ffff:10.0.0.0/8", "10.0.0.0/8/8", "10.0.0.0 /8", "10.0.0.0/256", "10.0.0.0/-1"] {
            assert_eq!(parse_network(text), None, "{text}");
        }
    }
}
