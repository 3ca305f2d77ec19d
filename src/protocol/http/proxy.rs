//! The PROXY protocol, versions 1 and 2: the header in which a proxy sends the client's address before the client's
//! bytes.
//!
//! Specified in HAProxy's `proxy-protocol.txt` (2020/03/05). Owns the end of such a header and the address in it. Never
//! decides whether its sender is trusted. Invariants: the verdict depends on the bytes alone, not on how they are
//! split; bytes that can no longer become a header are refused at once; no byte beyond a header's limit is read.
//!
//! The TLVs after the addresses of version 2 are skipped, among them the optional checksum: section 2.2.3 makes it
//! optional for the receiver, and TCP has one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::{self, FromStr};

use super::grammar::is_digits;
use super::refusal::Refusal;

/// The longest header of version 1, CRLF included, in bytes (section 2.1: the worst case).
pub const V1_BYTES_MAX: usize = 107;

/// Bytes that a header of version 2 may have after its first 16: 536, which the format was designed for, because every
/// host accepts so much in one segment (section 2). Addresses take 216 at most; the rest is for TLVs, which are
/// skipped.
pub const V2_CONTENT_BYTES_MAX: usize = 536;

/// A parsed header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProxyHeader {
    /// The client's address; `None` if the proxy connects on its own behalf (a health check) or does not know the
    /// address. The connection's own address holds then.
    pub source: Option<SocketAddr>,
}

/// Parses the header that `received`, everything received so far, must begin with. Returns it with its length, or
/// `None` while more bytes are needed.
pub fn parse(received: &[u8]) -> Result<Option<(ProxyHeader, usize)>, Refusal> {
    if starts_alike(received, V1_START) {
        return if received.len() < V1_START.len() { Ok(None) } else { parse_v1(received) };
    }
    if starts_alike(received, V2_SIGNATURE) {
        return if received.len() < V2_SIGNATURE.len() { Ok(None) } else { parse_v2(received) };
    }
    Err(Refusal::ProxyHeaderMissing)
}

/// Returns the refusal for bytes that were refused as a request while no header was expected: a clearer one if they are
/// a PROXY header.
pub fn explain(refusal: Refusal, received: &[u8]) -> Refusal {
    // An empty line, which the signature begins with, may stand before a request (RFC 9112 2.2).
    const RECOGNISED_BYTES_MIN: usize = 5;
    let begins = |start| received.len() >= RECOGNISED_BYTES_MIN && starts_alike(received, start);
    match refusal {
        Refusal::MethodInvalid | Refusal::RequestLineInvalid if begins(V1_START) || begins(V2_SIGNATURE) => {
            Refusal::ProxyHeaderUnexpected
        }
        other => other,
    }
}

const V1_START: &[u8] = b"PROXY ";

const V2_SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Bytes of signature, version and command, family and transport, and the length of the rest.
const V2_FIXED_BYTES: usize = 16;

const INVALID: Refusal = Refusal::ProxyHeaderInvalid;

/// Returns whether one begins with the other, as far as both go.
fn starts_alike(bytes: &[u8], start: &[u8]) -> bool {
    bytes.iter().zip(start).all(|(byte, expected)| byte == expected)
}

/// Parses version 1 (section 2.1). `received` begins with [`V1_START`].
fn parse_v1(received: &[u8]) -> Result<Option<(ProxyHeader, usize)>, Refusal> {
    let seen = &received[..received.len().min(V1_BYTES_MAX)];
    let line_end = seen.iter().position(|byte| matches!(byte, b'\r' | b'\n'));
    match line_end.map(|at| (at, &seen[at..])) {
        Some((at, [b'\r', b'\n', ..])) => {
            let source = parse_v1_line(&seen[V1_START.len()..at])?;
            Ok(Some((ProxyHeader { source }, at + 2)))
        }
        // Neither CR nor LF may stand alone.
        Some((_, [b'\n', ..] | [b'\r', _, ..])) => Err(INVALID),
        _ if seen.len() == V1_BYTES_MAX => Err(INVALID),
        _ => Ok(None),
    }
}

/// Parses the text between `PROXY ` and CRLF.
fn parse_v1_line(line: &[u8]) -> Result<Option<SocketAddr>, Refusal> {
    if line == b"UNKNOWN" || line.starts_with(b"UNKNOWN ") {
        return Ok(None);
    }
    let line = str::from_utf8(line).map_err(|_| INVALID)?;
    let mut words = line.split(' ');
    let mut word = || words.next().ok_or(INVALID);
    let (family, source, destination, source_port, destination_port) = (word()?, word()?, word()?, word()?, word()?);
    let source = match family {
        "TCP4" => parse_both::<Ipv4Addr>(source, destination)?.into(),
        "TCP6" => parse_both::<Ipv6Addr>(source, destination)?.into(),
        _ => return Err(INVALID),
    };
    parse_port(destination_port)?;
    let source = SocketAddr::new(source, parse_port(source_port)?);
    if words.next().is_none() { Ok(Some(source)) } else { Err(INVALID) }
}

/// Returns the source, if both are addresses of the family. The standard library refuses leading zeros too.
fn parse_both<T: FromStr + Into<IpAddr>>(source: &str, destination: &str) -> Result<T, Refusal> {
    let destination = destination.parse::<T>();
    source.parse().ok().filter(|_| destination.is_ok()).ok_or(INVALID)
}

fn parse_port(digits: &str) -> Result<u16, Refusal> {
    let canonical = is_digits(digits.as_bytes()) && (digits == "0" || !digits.starts_with('0'));
    digits.parse().ok().filter(|_| canonical).ok_or(INVALID)
}

/// Parses version 2 (section 2.2). `received` begins with [`V2_SIGNATURE`].
fn parse_v2(received: &[u8]) -> Result<Option<(ProxyHeader, usize)>, Refusal> {
    let is_local = match received.get(12) {
        None => return Ok(None),
        Some(0x20) => true,
        Some(0x21) => false,
        Some(_) => return Err(INVALID),
    };
    let Some(&family_and_transport) = received.get(13) else { return Ok(None) };
    let (family, transport) = (family_and_transport >> 4, family_and_transport & 0x0f);
    // A proxy that connects on its own behalf may send any family and transport.
    if !is_local && (family > FAMILY_UNIX || transport > TRANSPORT_DATAGRAM) {
        return Err(INVALID);
    }
    let Some(length) = received.get(14..V2_FIXED_BYTES) else { return Ok(None) };
    let length = length.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
    let has_no_address = is_local || family == FAMILY_UNSPECIFIED || transport == TRANSPORT_UNSPECIFIED;
    let address_bytes = match family {
        _ if has_no_address => 0,
        FAMILY_INET => 2 * 4 + 2 * 2,
        FAMILY_INET6 => 2 * 16 + 2 * 2,
        _ => 2 * 108,
    };
    if !(address_bytes..=V2_CONTENT_BYTES_MAX).contains(&length) {
        return Err(INVALID);
    }
    let end = V2_FIXED_BYTES + length;
    let Some(content) = received.get(V2_FIXED_BYTES..end) else { return Ok(None) };
    let source = match family {
        _ if has_no_address => None,
        FAMILY_INET => source_of::<4>(content),
        FAMILY_INET6 => source_of::<16>(content),
        // A client on the proxy's own host, whose address is a file.
        _ => None,
    };
    Ok(Some((ProxyHeader { source }, end)))
}

const FAMILY_UNSPECIFIED: u8 = 0;
const FAMILY_INET: u8 = 1;
const FAMILY_INET6: u8 = 2;
const FAMILY_UNIX: u8 = 3;
const TRANSPORT_UNSPECIFIED: u8 = 0;
/// A client that reached the proxy in datagrams (QUIC) has an address as well.
const TRANSPORT_DATAGRAM: u8 = 2;

/// Returns the first of two addresses, with the first of the two ports behind them.
fn source_of<const N: usize>(content: &[u8]) -> Option<SocketAddr>
where
    IpAddr: From<[u8; N]>,
{
    let address = *content.first_chunk::<N>()?;
    let port = *content.get(2 * N..)?.first_chunk::<2>()?;
    Some(SocketAddr::new(address.into(), u16::from_be_bytes(port)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Verdict = Result<Option<(ProxyHeader, usize)>, Refusal>;

    /// Returns the verdict on a header that is followed by a request; the same however the bytes are split.
    fn verdict(bytes: &[u8]) -> Verdict {
        let whole = parse(bytes);
        let first = (0..=bytes.len()).map(|end| parse(&bytes[..end])).find(|verdict| *verdict != Ok(None));
        assert_eq!(first.unwrap_or(Ok(None)), whole, "byte by byte: {bytes:?}");
        whole
    }

    fn assert_source(header: &[u8], source: Option<&str>) {
        let source = source.map(|address| address.parse().unwrap());
        let expected = Ok(Some((ProxyHeader { source }, header.len())));
        for rest in [&b""[..], b"GET / HTTP/1.1\r\n", b"\r\n", b"\n", &[0xff; 4096]] {
            assert_eq!(verdict(&[header, rest].concat()), expected, "{:?}", header.escape_ascii().to_string());
        }
        for end in 0..header.len() {
            assert_eq!(parse(&header[..end]), Ok(None), "{end} bytes of {:?}", header.escape_ascii().to_string());
        }
    }

    fn v2(command: u8, family: u8, length: u16, content: &[u8]) -> Vec<u8> {
        [V2_SIGNATURE, &[command, family], &length.to_be_bytes(), content].concat()
    }

    /// Builds a header with the length of its content.
    fn whole_v2(command: u8, family: u8, content: &[u8]) -> Vec<u8> {
        v2(command, family, content.len() as u16, content)
    }

    const INET: &[u8] = &[203, 0, 113, 7, 10, 0, 0, 1, 0xdd, 0xd5, 0x01, 0xbb];

    fn inet6() -> Vec<u8> {
        let addresses = ["2001:db8::7", "::1"].map(|address| address.parse::<Ipv6Addr>().unwrap().octets());
        [&addresses.concat()[..], &[0xdd, 0xd5, 0x01, 0xbb]].concat()
    }

    #[test]
    fn reads_version_1() {
        assert_source(b"PROXY TCP4 203.0.113.7 10.0.0.1 56789 443\r\n", Some("203.0.113.7:56789"));
        assert_source(b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", Some("255.255.255.255:65535"));
        assert_source(b"PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n", Some("0.0.0.0:0"));
        assert_source(b"PROXY TCP6 2001:db8::7 ::1 56789 443\r\n", Some("[2001:db8::7]:56789"));
        let longest = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
        let header = format!("PROXY TCP6 {longest} {longest} 65535 65535\r\n");
        assert_source(header.as_bytes(), Some(&format!("[{longest}]:65535")));
        assert_source(b"PROXY UNKNOWN\r\n", None);
        assert_source(b"PROXY UNKNOWN anything at\0all \xff\r\n", None);
        let header = format!("PROXY UNKNOWN {longest} {longest} 65535 65535\r\n");
        assert_eq!(header.len(), V1_BYTES_MAX);
        assert_source(header.as_bytes(), None);
    }

    #[test]
    fn reads_version_2() {
        assert_source(&whole_v2(0x21, 0x11, INET), Some("203.0.113.7:56789"));
        assert_source(&whole_v2(0x21, 0x12, INET), Some("203.0.113.7:56789"));
        assert_source(&whole_v2(0x21, 0x21, &inet6()), Some("[2001:db8::7]:56789"));
        assert_source(&whole_v2(0x21, 0x22, &inet6()), Some("[2001:db8::7]:56789"));
        assert_source(&whole_v2(0x21, 0x31, &[b'/'; 216]), None);
        assert_source(&whole_v2(0x21, 0x32, &[b'/'; 216]), None);
        for family in [0x00, 0x01, 0x02, 0x10, 0x20, 0x30] {
            assert_source(&whole_v2(0x21, family, b""), None);
            assert_source(&whole_v2(0x21, family, INET), None);
        }
    }

    #[test]
    fn a_proxy_that_speaks_for_itself_names_nobody() {
        for family in [0x00, 0x11, 0x21, 0x31, 0x13, 0xff] {
            assert_source(&whole_v2(0x20, family, b""), None);
            assert_source(&whole_v2(0x20, family, INET), None);
        }
    }

    #[test]
    fn skips_what_follows_the_addresses_of_version_2_up_to_the_limit() {
        // A checksum, a NOOP and a unique id; then bytes that are no TLV.
        let tlvs = [&[3, 0, 4, 1, 2, 3, 4, 4, 0, 1, 0, 5, 0, 3][..], b"id1"].concat();
        assert_source(&whole_v2(0x21, 0x11, &[INET, &tlvs].concat()), Some("203.0.113.7:56789"));
        assert_source(&whole_v2(0x21, 0x11, &[INET, b"\xff\xff\xff"].concat()), Some("203.0.113.7:56789"));
        let room = [0; V2_CONTENT_BYTES_MAX];
        assert_source(&whole_v2(0x21, 0x11, &[INET, &room[INET.len()..]].concat()), Some("203.0.113.7:56789"));
        assert_eq!(verdict(&v2(0x21, 0x11, V2_CONTENT_BYTES_MAX as u16 + 1, INET)), Err(INVALID));
        assert_eq!(verdict(&v2(0x20, 0x00, u16::MAX, b"")), Err(INVALID));
    }

    #[test]
    fn refuses_every_malformed_header_of_version_1_wherever_it_is_split() {
        for line in [
            "PROXY \r\n",
            "PROXY  TCP4 1.2.3.4 1.2.3.4 1 1\r\n",
            "PROXY TCP4\r\n",
            "PROXY TCP4 \r\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4 1 1 \r\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4 1 1 1\r\n",
            "PROXY TCP4  1.2.3.4 1.2.3.4 1 1\r\n",
            "PROXY TCP4\t1.2.3.4 1.2.3.4 1 1\r\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4 1 1\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4 1 1\r",
            "PROXY TCP4 1.2.3.4 1.2.3.4 1 1\rX\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4 1 1\r\r\n",
            "PROXY UNKNOWN a\nb\r\n",
            "PROXY UNKNOWN a\rb\r\n",
            "PROXY UNKNOWNX\r\n",
            "PROXY unknown\r\n",
            "PROXY tcp4 1.2.3.4 1.2.3.4 1 1\r\n",
            "PROXY TCP5 1.2.3.4 1.2.3.4 1 1\r\n",
            "PROXY UDP4 1.2.3.4 1.2.3.4 1 1\r\n",
            "PROXY TCP4 ::1 ::1 1 1\r\n",
            "PROXY TCP6 1.2.3.4 1.2.3.4 1 1\r\n",
            "PROXY TCP4 1.2.3.4 ::1 1 1\r\n",
            "PROXY TCP4 1.2.3 1.2.3.4 1 1\r\n",
            "PROXY TCP4 1.2.3.4.5 1.2.3.4 1 1\r\n",
            "PROXY TCP4 1.2.3.256 1.2.3.4 1 1\r\n",
            "PROXY TCP4 01.2.3.4 1.2.3.4 1 1\r\n",
            "PROXY TCP4 1.2.3.4 1.2.3.04 1 1\r\n",
            "PROXY TCP4 0x1.2.3.4 1.2.3.4 1 1\r\n",
            "PROXY TCP6 1::2::3 ::1 1 1\r\n",
            "PROXY TCP6 ::1%1 ::1 1 1\r\n",
            "PROXY TCP6 [::1] ::1 1 1\r\n",
            "PROXY TCP6 12345::1 ::1 1 1\r\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4 65536 1\r\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4 01 1\r\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4 1 00\r\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4 +1 1\r\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4 -1 1\r\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4  1\r\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4 1 x\r\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4 1 1\u{e9}\r\n",
        ] {
            let whole = [line.as_bytes(), b"GET / HTTP/1.1\r\n"].concat();
            assert_eq!(verdict(&whole), Err(INVALID), "{line:?}");
        }
    }

    #[test]
    fn looks_no_further_than_the_longest_header_of_version_1() {
        let bytes = [b"PROXY UNKNOWN ", &[b'x'; 200][..], b"\r\n"].concat();
        assert_eq!(parse(&bytes[..V1_BYTES_MAX - 1]), Ok(None));
        assert_eq!(verdict(&bytes), Err(INVALID));
        let just_too_long = [b"PROXY UNKNOWN ", &[b'x'; V1_BYTES_MAX - 15][..], b"\r\n"].concat();
        assert_eq!(just_too_long.len(), V1_BYTES_MAX + 1);
        assert_eq!(verdict(&just_too_long), Err(INVALID));
    }

    #[test]
    fn refuses_every_malformed_header_of_version_2_wherever_it_is_split() {
        let commands = (0..=u8::MAX).filter(|byte| !matches!(byte, 0x20 | 0x21));
        for command in commands {
            assert_eq!(verdict(&whole_v2(command, 0x11, INET)), Err(INVALID), "command {command:#x}");
        }
        let families = (0..=u8::MAX).filter(|byte| byte >> 4 > 3 || byte & 0x0f > 2);
        for family in families {
            assert_eq!(verdict(&whole_v2(0x21, family, &[0; 216])), Err(INVALID), "family {family:#x}");
        }
        for (family, bytes) in [(0x11, 12), (0x12, 12), (0x21, 36), (0x22, 36), (0x31, 216), (0x32, 216)] {
            for length in 0..bytes {
                assert_eq!(verdict(&whole_v2(0x21, family, &vec![0; length])), Err(INVALID), "{family:#x}, {length}");
            }
        }
    }

    #[test]
    fn a_header_that_nobody_awaits_is_known_by_its_first_bytes() {
        let explained = |bytes: &[u8]| explain(Refusal::MethodInvalid, bytes);
        for header in [&b"PROXY UNKNOWN\r\n"[..], b"PROXY TCP4 1.2.3.4 1.2.3.4 1 1\r\n", &whole_v2(0x21, 0x11, INET)] {
            assert_eq!(explained(header), Refusal::ProxyHeaderUnexpected);
            assert_eq!(explain(Refusal::RequestLineInvalid, &header[..6]), Refusal::ProxyHeaderUnexpected);
            assert_eq!(explain(Refusal::BareLineFeed, header), Refusal::BareLineFeed);
        }
        for other in
            [&b"\r\n\r"[..], b"\r\n\r\n", b"\r\n\r\nGET / HTTP/1.1", b"", b"\0\0\0\0\0\0", b"PROXIED / HTTP/1.1"]
        {
            assert_eq!(explained(other), Refusal::MethodInvalid, "{other:?}");
        }
    }

    #[test]
    fn a_malformed_header_is_refused_at_its_first_wrong_byte() {
        for (bytes, early) in [
            (&b"GET / HTTP/1.1\r\n"[..], 1),
            (b"PUT / HTTP/1.1\r\n", 2),
            (b"PROXZ TCP4", 5),
            (b"PROXY\r\n", 6),
            (b"PROXY\tTCP4 1.2.3.4 1.2.3.4 1 1\r\n", 6),
            (b"proxy TCP4", 1),
            (b" PROXY TCP4", 1),
            (b"\r\nGET / HTTP/1.1\r\n", 3),
            (b"\r\n\r\n\0\r\nQUIT\r", 12),
            (b"\x16\x03\x01", 1),
            (b"\0", 1),
        ] {
            assert_eq!(verdict(bytes), Err(Refusal::ProxyHeaderMissing), "{bytes:?}");
            assert_eq!(parse(&bytes[..early - 1]), Ok(None), "{bytes:?}");
            assert_eq!(parse(&bytes[..early]), Err(Refusal::ProxyHeaderMissing), "{bytes:?}");
        }
    }

    /// Generates bytes that are a header often enough.
    fn header_like() -> impl Strategy<Value = Vec<u8>> {
        let v1 = "(PROXY |PROXY)(TCP4|TCP6|UNKNOWN)?[ 0-9a-f.:]{0,60}(\r\n|\r|\n)?".prop_map(String::into_bytes);
        let content = prop::collection::vec(any::<u8>(), 0..300);
        let fixed = (prop_oneof![Just(0x20), Just(0x21), any::<u8>()], any::<u8>(), 0..600u16);
        let v2 =
            (fixed, content).prop_map(|((command, family, length), content)| v2(command, family, length, &content));
        prop_oneof![v1, v2, prop::collection::vec(any::<u8>(), 0..40)]
    }

    proptest! {
        #[test]
        fn never_panics_never_reads_past_its_limit_and_does_not_depend_on_the_pieces(bytes in header_like()) {
            if let Ok(Some((_, length))) = verdict(&bytes) {
                prop_assert!(length <= V2_FIXED_BYTES + V2_CONTENT_BYTES_MAX && length <= bytes.len());
                prop_assert_eq!(parse(&bytes[..length]), parse(&bytes));
            }
        }

        #[test]
        fn reads_every_address_as_it_was_written(
            source in any::<SocketAddr>().prop_map(|source| SocketAddr::new(source.ip(), source.port())),
        ) {
            let (family, address) = if source.is_ipv4() { ("TCP4", "1.2.3.4") } else { ("TCP6", "::1") };
            let line = format!("PROXY {family} {} {address} {} 1\r\n", source.ip(), source.port());
            let expected = Ok(Some((ProxyHeader { source: Some(source) }, line.len())));
            prop_assert_eq!(verdict(line.as_bytes()), expected);
        }
    }
}
