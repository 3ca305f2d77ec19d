//! The parser of addresses, which recognises the form and suggests a correction for an invalid one.
//!
//! Owns the written forms. Never resolves a name. Invariant: `Display` of a parsed address parses to the same address.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::str::FromStr;

use super::{Address, AddressError, UnixAddress, needs_interface};

/// The port in an example for an address without one.
const EXAMPLE_PORT: u16 = 9000;

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(AddressError::Empty);
        }
        if let Some(rest) = strip_scheme(text, "unix") {
            return Ok(Self::Unix(UnixAddress::parse(rest)?));
        }
        if let Some((_, rest)) = text.split_once("://") {
            return Err(AddressError::Url { text: text.to_owned(), example: example_of_url(rest) });
        }
        if text.starts_with(['/', '.', '@', '~']) {
            return Err(AddressError::Path { text: text.to_owned() });
        }
        if let Some(port) = text.strip_prefix(':').or_else(|| text.strip_prefix("*:")).or(only_digits(text)) {
            // A name that begins with a colon is an IPv6 address without brackets.
            if !port.contains(':') {
                return Ok(Self::Any { port: parse_port(text, port)? });
            }
        }
        if let Some(rest) = text.strip_prefix('[') {
            return in_brackets(text, rest);
        }
        match text.split_once(':') {
            None => Err(no_port(text)),
            Some((_, rest)) if rest.contains(':') => Err(without_brackets(text)),
            Some((host, port)) if is_name(host) => named(host, parse_port(text, port)?),
            Some(_) => Err(invalid(text)),
        }
    }
}

/// Returns the text behind `scheme:`; the scheme is matched in any case.
fn strip_scheme<'t>(text: &'t str, scheme: &str) -> Option<&'t str> {
    let (before, rest) = text.split_once(':')?;
    before.eq_ignore_ascii_case(scheme).then_some(rest)
}

fn only_digits(text: &str) -> Option<&str> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then_some(text)
}

fn parse_port(text: &str, port: &str) -> Result<u16, AddressError> {
    // `u16::from_str` would accept +80.
    let parsed = only_digits(port).and_then(|digits| digits.parse().ok());
    match parsed {
        Some(port) => Ok(port),
        None if text == ":" => Err(invalid(text)),
        None if port.is_empty() => Err(no_port(text.trim_end_matches(':'))),
        None => Err(AddressError::Port { text: text.to_owned(), port: port.to_owned() }),
    }
}

/// Parses an IPv6 address in brackets and the port behind it.
fn in_brackets(text: &str, rest: &str) -> Result<Address, AddressError> {
    let Some((host, after)) = rest.split_once(']') else { return Err(invalid(text)) };
    let (ip, interface) = match host.split_once('%') {
        Some((ip, interface)) => (ip, Some(interface)),
        None => (host, None),
    };
    let Ok(ip) = ip.parse::<Ipv6Addr>() else { return Err(invalid(text)) };
    if interface.is_some_and(|name| name.is_empty() || name.contains(char::is_whitespace)) {
        return Err(invalid(text));
    }
    let Some(port) = after.strip_prefix(':') else {
        return Err(if after.is_empty() { no_port(text) } else { invalid(text) });
    };
    let port = parse_port(text, port)?;
    let scope_id = interface.map_or(Some(0), |interface| only_digits(interface)?.parse().ok());
    let Some(scope_id) = scope_id else { return Ok(Address::Name { host: host.to_owned(), port }) };
    let address = SocketAddrV6::new(ip, port, 0, scope_id);
    if needs_interface(&address) {
        let example = format!("[{ip}%eth0]:{port}");
        return Err(AddressError::NoInterface { text: text.to_owned(), example });
    }
    Ok(Address::Ip(address.into()))
}

fn named(host: &str, port: u16) -> Result<Address, AddressError> {
    Ok(match host.parse::<IpAddr>() {
        Ok(ip) => Address::Ip(SocketAddr::new(ip, port)),
        Err(_) => Address::Name { host: host.to_owned(), port },
    })
}

fn is_name(host: &str) -> bool {
    !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
}

fn no_port(text: &str) -> AddressError {
    let inner = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    if inner.is_some_and(is_ipv6) || is_name(text) || text == "*" {
        return AddressError::NoPort { text: text.to_owned(), example: format!("{text}:{EXAMPLE_PORT}") };
    }
    invalid(text)
}

/// Builds the error for an IPv6 address without brackets, perhaps with a port behind it.
fn without_brackets(text: &str) -> AddressError {
    let with_port = text.rsplit_once(':').filter(|(host, port)| is_ipv6(host) && parse_port(text, port).is_ok());
    let example = match with_port {
        Some((host, port)) => format!("[{host}]:{port}"),
        None if is_ipv6(text) => format!("[{text}]:{EXAMPLE_PORT}"),
        None => return invalid(text),
    };
    AddressError::NoBrackets { text: text.to_owned(), example }
}

/// Returns whether the text is an IPv6 address, perhaps with an interface.
fn is_ipv6(text: &str) -> bool {
    text.split('%').next().is_some_and(|ip| ip.parse::<Ipv6Addr>().is_ok())
}

/// Returns the address in a URL without its scheme.
fn example_of_url(rest: &str) -> String {
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    match authority.parse::<Address>() {
        Ok(address) => address.to_string(),
        Err(AddressError::NoPort { example, .. } | AddressError::NoBrackets { example, .. }) => example,
        Err(_) => format!("127.0.0.1:{EXAMPLE_PORT}"),
    }
}

fn invalid(text: &str) -> AddressError {
    AddressError::Invalid { text: text.to_owned() }
}
