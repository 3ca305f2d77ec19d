//! The grammar of request targets and header values (RFC 9110 5).
//!
//! Functions of bytes alone. Each checks one element, and never chooses a refusal.

use std::net::Ipv6Addr;

use httparse::Header;

/// Returns the values of all headers of this name, compared without case.
pub(in crate::protocol) fn values<'a, 'n>(
    headers: &'a [Header<'a>],
    name: &'n str,
) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
    headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name)).map(|header| header.value)
}

/// Splits text at the first `byte`, which is ASCII. `str::split_once` takes four times the instructions for the short
/// texts of a head.
pub(in crate::protocol) fn split_at_byte(text: &str, byte: u8) -> Option<(&str, &str)> {
    let at = memchr::memchr(byte, text.as_bytes())?;
    Some((&text[..at], &text[at + 1..]))
}

/// Splits text at every `byte`, which is ASCII.
pub(in crate::protocol) fn split_by_byte(text: &str, byte: u8) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let (part, after) =
            rest.map(|text| split_at_byte(text, byte).map_or((text, None), |(part, after)| (part, Some(after))))?;
        rest = after;
        Some(part)
    })
}

/// Returns the elements of a comma-separated list (RFC 9110 5.6.1); empty ones are skipped.
pub(in crate::protocol) fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(trim).filter(|element| !element.is_empty())
}

/// Returns whether this is a token (RFC 9110 5.6.2): a method, a header name, a subprotocol.
pub(in crate::protocol) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|&byte| TOKEN[byte as usize])
}

/// Returns whether this can stand in a header value: no control byte but the tab (RFC 9110 5.5).
pub(in crate::protocol) fn is_field_value(bytes: &[u8]) -> bool {
    // Without an early exit, so that the compiler can check many bytes at a time.
    bytes.iter().fold(true, |good, &byte| good & ((byte >= b' ' && byte != 0x7f) | (byte == b'\t')))
}

/// Returns whether this is a host with an optional port, as in the Host header: `name`, `1.2.3.4:80`, `[::1]:80`.
///
/// Stricter than the `reg-name` of RFC 3986, which allows punctuation that no host name has.
pub(in crate::protocol) fn is_host(host: &str) -> bool {
    let name_end = match host.find(']') {
        Some(bracket) => bracket + 1,
        None => host.find(':').unwrap_or(host.len()),
    };
    let (name, port) = host.split_at(name_end);
    let name_is_valid = match name.strip_prefix('[').and_then(|name| name.strip_suffix(']')) {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~%".contains(&byte)),
    };
    let port_is_valid = match port.strip_prefix(':') {
        Some(number) => number.is_empty() || is_digits(number.as_bytes()) && number.parse::<u16>().is_ok(),
        None => port.is_empty(),
    };
    name_is_valid && port_is_valid
}

/// Returns whether these bytes can be a target: visible ASCII and no fragment.
pub(in crate::protocol) fn is_target(target: &str) -> bool {
    !target.is_empty() && target.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#')
}

/// Removes the optional white space (RFC 9110 5.6.3) at both ends.
pub(in crate::protocol) fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

/// Returns whether all bytes are digits. Rust's own number parser also accepts a leading plus sign.
pub(in crate::protocol) fn is_digits(bytes: &[u8]) -> bool {
    bytes.iter().all(u8::is_ascii_digit)
}

const TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 128 {
        table[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let marks = b"!#$%&'*+-.^_`|~";
    let mut at = 0;
    while at < marks.len() {
        table[marks[at] as usize] = true;
        at += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_a_host_when_it_sees_one() {
        for host in ["a", "a:", "a:80", "a.b-c_d~e", "127.0.0.1:65535", "[::1]", "[::1]:80", "[::ffff:1.2.3.4]"] {
            assert!(is_host(host), "{host}");
        }
        for host in
            ["", ":", ":80", "a:b", "a:+1", "a:65536", "a b", "a,b", "é", "[", "]", "[]", "[a]", "[::1]a", "::1"]
        {
            assert!(!is_host(host), "{host}");
        }
    }
}
