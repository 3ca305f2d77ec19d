//! The server's side of the opening handshake (RFC 6455 section 4.2): checks a request, writes the 101.
//!
//! Owns the rules for a WebSocket upgrade, and the response that accepts it. Never decides who may connect (that is for
//! [`Origins`](super::Origins) and the handler), never chooses an extension. Invariant: a [`Handshake`] exists only for
//! a request that RFC 6455 4.2.1 requires a server to understand, and no value that a caller passes can add a line to a
//! 101.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use httparse::Header;
use sha1::{Digest as _, Sha1};

use super::extension::{Extension, extensions, parse_extension};
use crate::protocol::http::grammar::{is_field_value, is_token, list, values};
use crate::protocol::http::{Date, InvalidHeader, Refusal, Request, push, push_headers, push_origin};

/// Subprotocols a client may offer: 64, far above any real list. Each is compared with every other, so without a limit
/// a head full of them would cost millions of comparisons.
pub const PROTOCOLS_MAX: usize = 64;

/// An upgrade request that may be answered with 101.
#[derive(Clone, Copy, Debug)]
pub struct Handshake<'a> {
    key: &'a [u8],
    headers: &'a [Header<'a>],
}

/// Checks a request by RFC 6455 4.2.1.
///
/// - Method other than GET: 405. HTTP/1.0: 505.
/// - Neither `Upgrade: websocket` nor a Sec-WebSocket-Key: 426, because the request asks for something else.
/// - One of them, but not both `Upgrade: websocket` and `Connection: Upgrade`: 400.
/// - Sec-WebSocket-Version missing: 400; not `13`: 426.
/// - Key, version or Origin more than once; a key that is not 16 bytes in canonical base64; subprotocols that are not
///   tokens or repeat; extensions outside the grammar: 400.
pub fn check<'a>(request: &Request<'a>) -> Result<Handshake<'a>, Refusal> {
    if request.method() != "GET" {
        return Err(Refusal::MethodNotAllowed { allow: "GET" });
    }
    if request.minor_version() == 0 {
        return Err(Refusal::HandshakeNeedsHttp11);
    }
    if !request.is_upgrade() {
        return Err(Refusal::UpgradeRequired);
    }
    if !request.upgrades_to_websocket() {
        return Err(Refusal::UpgradeIncomplete);
    }
    let headers = request.parsed_headers();
    let (mut key, mut version, mut origin) = (None, None, None);
    let (mut offers_protocols, mut offers_extensions) = (false, false);
    for &Header { name, value } in headers {
        if name.eq_ignore_ascii_case("Sec-WebSocket-Key") {
            note_once(&mut key, value, "Sec-WebSocket-Key")?;
        } else if name.eq_ignore_ascii_case("Sec-WebSocket-Version") {
            note_once(&mut version, value, "Sec-WebSocket-Version")?;
        } else if name.eq_ignore_ascii_case("Origin") {
            note_once(&mut origin, value, "Origin")?;
        }
        offers_protocols |= name.eq_ignore_ascii_case(PROTOCOL);
        offers_extensions |= name.eq_ignore_ascii_case(EXTENSIONS);
    }
    if version.ok_or(Refusal::HeaderMissing { name: "Sec-WebSocket-Version" })? != b"13" {
        return Err(Refusal::WebSocketVersionUnsupported);
    }
    let key = key.ok_or(Refusal::HeaderMissing { name: "Sec-WebSocket-Key" })?;
    if !is_key(key) {
        return Err(Refusal::KeyInvalid);
    }
    if offers_protocols {
        check_protocols(headers)?;
    }
    if offers_extensions && !are_extensions(values(headers, EXTENSIONS).flat_map(list)) {
        return Err(Refusal::ExtensionsInvalid);
    }
    Ok(Handshake { key, headers })
}

impl<'a> Handshake<'a> {
    /// Returns the key as it was sent: 24 characters of base64.
    pub fn key(&self) -> &'a [u8] {
        self.key
    }

    /// Returns the subprotocols that the client offers, in its order of preference.
    pub fn protocols(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        // They were checked to be tokens, which are ASCII, so none is skipped.
        values(self.headers, PROTOCOL).flat_map(list).filter_map(|protocol| str::from_utf8(protocol).ok())
    }

    /// Returns the extensions that the client offers, in its order of preference.
    pub fn extensions(&self) -> impl Iterator<Item = Extension<'a>> + use<'a> {
        values(self.headers, EXTENSIONS).flat_map(extensions)
    }

    /// Returns the same extensions as they were sent, as one list for [`extensions`].
    pub fn extensions_sent(&self) -> Vec<u8> {
        values(self.headers, EXTENSIONS).collect::<Vec<_>>().join(&b","[..])
    }
}

/// Chooses a subprotocol: the first of `supported`, which is in the server's order of preference, that the client
/// offers. The comparison is case-sensitive.
pub fn choose_protocol<'s>(handshake: &Handshake<'_>, supported: &[&'s str]) -> Option<&'s str> {
    supported.iter().copied().find(|own| handshake.protocols().any(|offered| offered == *own))
}

/// Returns the value of Sec-WebSocket-Accept for a key (RFC 6455 4.2.2, 5.4).
pub fn accept_key(key: &[u8]) -> [u8; 28] {
    const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    let digest = Sha1::new().chain_update(key).chain_update(GUID).finalize();
    let mut accept = [0; 28];
    // The 20 bytes of SHA-1 always make 28 characters, so this cannot fail.
    let written = BASE64_STANDARD.encode_slice(digest, &mut accept);
    debug_assert_eq!(written, Ok(accept.len()));
    accept
}

/// Appends the 101 response to `out`, which stays unchanged if a header cannot be sent.
///
/// `protocol` must be one that the client offered, and `extensions` must answer its offers (RFC 6455 4.2.2).
pub fn write_switching_protocols(
    out: &mut Vec<u8>,
    date: &Date,
    accept: &[u8; 28],
    protocol: Option<&str>,
    extensions: Option<&str>,
    extra_headers: &[(&str, &str)],
) -> Result<(), InvalidHeader> {
    let begin = out.len();
    out.extend_from_slice(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n");
    push_origin(out, date);
    out.extend_from_slice(b"Sec-WebSocket-Accept: ");
    out.extend_from_slice(accept);
    out.extend_from_slice(b"\r\n");
    let written = push_agreed(out, protocol, extensions).and_then(|()| push_headers(out, extra_headers, &RESERVED));
    match written {
        Ok(()) => out.extend_from_slice(b"\r\n"),
        Err(_) => out.truncate(begin),
    }
    written
}

pub(super) const PROTOCOL: &str = "Sec-WebSocket-Protocol";
pub(super) const EXTENSIONS: &str = "Sec-WebSocket-Extensions";

/// Headers that the handshake writes itself, or that would announce a body after it.
pub(super) const RESERVED: [&str; 12] = [
    "Connection",
    "Content-Length",
    "Date",
    "Host",
    "Sec-WebSocket-Accept",
    EXTENSIONS,
    "Sec-WebSocket-Key",
    PROTOCOL,
    "Sec-WebSocket-Version",
    "Server",
    "Transfer-Encoding",
    "Upgrade",
];

fn note_once<'a>(slot: &mut Option<&'a [u8]>, value: &'a [u8], name: &'static str) -> Result<(), Refusal> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(Refusal::HeaderDuplicate { name }),
    }
}

/// Returns whether this is 16 bytes in base64 with padding and no stray bits (RFC 6455 4.1, 7).
fn is_key(key: &[u8]) -> bool {
    // Room for the most that 24 characters can encode; 16 bytes take exactly 24 of them.
    BASE64_STANDARD.decode_slice(key, &mut [0; 18]) == Ok(16)
}

/// Checks that the subprotocols are tokens, each offered once, and at least one (RFC 6455 4.1, 10).
fn check_protocols<'a>(headers: &'a [Header<'a>]) -> Result<(), Refusal> {
    const INVALID: Refusal = Refusal::ProtocolsInvalid { protocols_max: PROTOCOLS_MAX };
    let mut offered: [&[u8]; PROTOCOLS_MAX] = [&[]; PROTOCOLS_MAX];
    let mut count = 0;
    for protocol in values(headers, PROTOCOL).flat_map(list) {
        if count == PROTOCOLS_MAX || !is_token(protocol) || offered[..count].contains(&protocol) {
            return Err(INVALID);
        }
        offered[count] = protocol;
        count += 1;
    }
    if count == 0 { Err(INVALID) } else { Ok(()) }
}

/// Returns whether the elements follow the grammar of RFC 6455 9.1, with at least one extension.
fn are_extensions<'a>(elements: impl Iterator<Item = &'a [u8]>) -> bool {
    let mut elements = elements.peekable();
    elements.peek().is_some() && elements.all(|element| parse_extension(element).is_some())
}

/// Appends the agreed subprotocol and extensions as headers of the 101.
fn push_agreed(out: &mut Vec<u8>, protocol: Option<&str>, extensions: Option<&str>) -> Result<(), InvalidHeader> {
    if let Some(protocol) = protocol {
        if !is_token(protocol.as_bytes()) {
            return Err(InvalidHeader::Malformed { name: PROTOCOL, value: protocol.to_owned() });
        }
        push(out, &[PROTOCOL, ": ", protocol, "\r\n"]);
    }
    if let Some(extensions) = extensions {
        if !(is_field_value(extensions.as_bytes()) && are_extensions(list(extensions.as_bytes()))) {
            return Err(InvalidHeader::Malformed { name: EXTENSIONS, value: extensions.to_owned() });
        }
        push(out, &[EXTENSIONS, ": ", extensions, "\r\n"]);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::time::UNIX_EPOCH;

    use proptest::prelude::*;

    use super::*;
    use crate::protocol::http::{HeadLimits, HeadScan, Headers, parse_request};

    mod requests {
        include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/requests.rs"));
    }

    use requests::Row;

    /// Returns the status of a server that reads up to each of `ends` in turn, and answers after the last.
    fn verdict(bytes: &[u8], ends: impl Iterator<Item = usize>) -> u16 {
        let limits = HeadLimits::default();
        let mut scan = HeadScan::default();
        for end in ends {
            match scan.find_end(&bytes[..end], &limits) {
                Ok(None) => {}
                Ok(Some(head)) => {
                    return check_head(&bytes[..head], &bytes[head..]).map_or_else(|r| r.status(), |()| 101);
                }
                Err(refusal) => return refusal.status(),
            }
        }
        Refusal::HandshakeTimeout.status()
    }

    fn check_head(head: &[u8], rest: &[u8]) -> Result<(), Refusal> {
        check(&parse_request(head, &mut Headers::default())?)?;
        if rest.is_empty() { Ok(()) } else { Err(Refusal::EarlyData) }
    }

    fn assert_verdict_at_every_split(row: &Row) {
        let Row { name, bytes, status } = row;
        assert_eq!(verdict(bytes, [bytes.len()].into_iter()), *status, "{name}, whole");
        assert_eq!(verdict(bytes, 0..=bytes.len()), *status, "{name}, byte by byte");
        for at in 0..bytes.len() {
            assert_eq!(verdict(bytes, [at, bytes.len()].into_iter()), *status, "{name}, split at {at}");
        }
    }

    #[test]
    fn refuses_every_malformed_request_with_its_status_however_it_is_split() {
        let rows = requests::refused();
        assert!(rows.len() >= 200, "only {} rows", rows.len());
        rows.iter().for_each(assert_verdict_at_every_split);
    }

    #[test]
    fn accepts_the_requests_of_real_clients_however_they_are_split() {
        requests::accepted().iter().for_each(assert_verdict_at_every_split);
    }

    #[test]
    fn refuses_early_data_however_it_is_split() {
        requests::early_data().iter().for_each(assert_verdict_at_every_split);
    }

    #[test]
    fn waits_for_the_rest_of_an_unfinished_request() {
        requests::unfinished().iter().for_each(assert_verdict_at_every_split);
    }

    #[test]
    fn names_every_row_of_the_table_once() {
        let rows = [requests::refused(), requests::accepted(), requests::early_data(), requests::unfinished()].concat();
        let names: HashSet<&str> = rows.iter().map(|row| &row.name[..]).collect();
        assert_eq!(names.len(), rows.len());
    }

    const BOTH: &str = "Upgrade: websocket\r\nConnection: Upgrade\r\n";
    const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    const VERSION: &str = "Sec-WebSocket-Version: 13\r\n";

    /// Returns the verdict on a valid request with `lines` added.
    fn check_with<T>(lines: &str, read: impl FnOnce(Handshake<'_>) -> T) -> Result<T, Refusal> {
        check_only(&[BOTH, KEY, VERSION, lines].concat(), read)
    }

    fn check_only<T>(lines: &str, read: impl FnOnce(Handshake<'_>) -> T) -> Result<T, Refusal> {
        let head = format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
        parse_request(head.as_bytes(), &mut Headers::default()).and_then(|request| check(&request)).map(read)
    }

    fn refusal(lines: &str) -> Refusal {
        check_only(lines, |_| ()).unwrap_err()
    }

    #[test]
    fn says_exactly_what_is_wrong() {
        assert_eq!(refusal(""), Refusal::UpgradeRequired);
        assert_eq!(refusal("Connection: Upgrade\r\n"), Refusal::UpgradeRequired);
        assert_eq!(refusal("Upgrade: websocket\r\n"), Refusal::UpgradeIncomplete);
        assert_eq!(refusal(KEY), Refusal::UpgradeIncomplete);
        assert_eq!(refusal(&[BOTH, KEY].concat()), Refusal::HeaderMissing { name: "Sec-WebSocket-Version" });
        assert_eq!(refusal(&[BOTH, VERSION].concat()), Refusal::HeaderMissing { name: "Sec-WebSocket-Key" });
        let twice = |name| Refusal::HeaderDuplicate { name };
        assert_eq!(refusal(&[BOTH, KEY, KEY, VERSION].concat()), twice("Sec-WebSocket-Key"));
        assert_eq!(refusal(&[BOTH, KEY, VERSION, VERSION].concat()), twice("Sec-WebSocket-Version"));
        let origins = "Origin: a\r\nOrigin: a\r\n";
        assert_eq!(refusal(&[BOTH, KEY, VERSION, origins].concat()), twice("Origin"));
        let other = "Sec-WebSocket-Version: 8\r\n";
        assert_eq!(refusal(&[BOTH, KEY, other].concat()), Refusal::WebSocketVersionUnsupported);
        assert_eq!(refusal(&[BOTH, "Sec-WebSocket-Key: a\r\n", VERSION].concat()), Refusal::KeyInvalid);
        let protocols = "Sec-WebSocket-Protocol: a b\r\n";
        assert_eq!(refusal(&[BOTH, KEY, VERSION, protocols].concat()), Refusal::ProtocolsInvalid { protocols_max: 64 });
        let extensions = "Sec-WebSocket-Extensions: a b\r\n";
        assert_eq!(refusal(&[BOTH, KEY, VERSION, extensions].concat()), Refusal::ExtensionsInvalid);
    }

    #[test]
    fn refuses_other_methods_and_http_1_0() {
        let refusal_of = |line: &str| {
            let head = format!("{line}\r\nHost: a\r\nUpgrade: websocket\r\n\r\n");
            check(&parse_request(head.as_bytes(), &mut Headers::default()).unwrap()).unwrap_err()
        };
        assert_eq!(refusal_of("POST / HTTP/1.1"), Refusal::MethodNotAllowed { allow: "GET" });
        assert_eq!(refusal_of("GET / HTTP/1.0"), Refusal::HandshakeNeedsHttp11);
    }

    #[test]
    fn lists_what_the_client_offers_in_its_order() {
        let lines = "Sec-WebSocket-Protocol: b, a\r\nsec-websocket-protocol: c\r\n\
            Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits; \
            server_max_window_bits=\"1\\0\" , x;y=z\r\n";
        let offer = check_with(lines, |handshake| {
            assert_eq!(handshake.key(), b"dGhlIHNhbXBsZSBub25jZQ==");
            assert_eq!(handshake.protocols().collect::<Vec<_>>(), ["b", "a", "c"]);
            let params = |extension: Extension<'_>| -> Vec<(String, Option<String>)> {
                extension
                    .params()
                    .map(|(name, value)| (name.to_owned(), value.map(|value| value.into_owned())))
                    .collect()
            };
            handshake.extensions().map(|extension| (extension.name().to_owned(), params(extension))).collect::<Vec<_>>()
        });
        let param = |name: &str, value: Option<&str>| (name.to_owned(), value.map(str::to_owned));
        let deflate = vec![param("client_max_window_bits", None), param("server_max_window_bits", Some("10"))];
        let other = vec![param("y", Some("z"))];
        assert_eq!(offer.unwrap(), [("permessage-deflate".to_owned(), deflate), ("x".to_owned(), other)]);
    }

    #[test]
    fn chooses_the_first_supported_protocol_that_is_offered() {
        let choose = |supported: &[&'static str]| {
            check_with("Sec-WebSocket-Protocol: a, b\r\n", |handshake| choose_protocol(&handshake, supported)).unwrap()
        };
        assert_eq!(choose(&["c", "b", "a"]), Some("b"));
        assert_eq!(choose(&["A", "c"]), None);
        assert_eq!(choose(&[]), None);
        assert_eq!(check_with("", |handshake| choose_protocol(&handshake, &["a"])), Ok(None));
    }

    #[test]
    fn derives_the_accept_value_of_rfc_6455() {
        assert_eq!(&accept_key(b"dGhlIHNhbXBsZSBub25jZQ=="), b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(&accept_key(b"x3JJHMbDL1EzLkh9GBhXDw=="), b"HSmrc0sMlYUkAGmm5OPpG2HaGWk=");
    }

    #[test]
    fn writes_the_101_to_the_byte() {
        let mut out = b"before".to_vec();
        let accept = accept_key(b"dGhlIHNhbXBsZSBub25jZQ==");
        let date = Date::from(UNIX_EPOCH);
        write_switching_protocols(&mut out, &date, &accept, Some("chat"), Some("x; y=1, z"), &[("X-Id", "a b")])
            .unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "beforeHTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Date: Thu, 01 Jan 1970 00:00:00 GMT\r\nServer: ringsock\r\n\
             Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\
             Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Extensions: x; y=1, z\r\nX-Id: a b\r\n\r\n"
        );
    }

    #[test]
    fn writes_nothing_when_a_header_of_the_101_cannot_be_sent() {
        let write = |protocol, extensions, headers: &[(&str, &str)]| {
            let mut out = b"before".to_vec();
            let date = Date::from(UNIX_EPOCH);
            let written = write_switching_protocols(&mut out, &date, &[b'a'; 28], protocol, extensions, headers);
            let error = written.unwrap_err();
            assert_eq!(out, b"before");
            error
        };
        for protocol in ["", "a b", "a\r\nX: y", "a,b"] {
            let error = InvalidHeader::Malformed { name: "Sec-WebSocket-Protocol", value: protocol.to_owned() };
            assert_eq!(write(Some(protocol), None, &[]), error);
        }
        for extensions in ["", "a\r\nX: y", "a;", "a b"] {
            let error = InvalidHeader::Malformed { name: "Sec-WebSocket-Extensions", value: extensions.to_owned() };
            assert_eq!(write(None, Some(extensions), &[]), error);
        }
        for value in ["a\r\nX: y", "a\rb", "a\nb", "a\0b"] {
            assert_eq!(write(None, None, &[("X", value)]), InvalidHeader::Value { name: "X".to_owned() });
        }
        for name in ["", "a b", "a:", "a\r\nb"] {
            assert_eq!(write(None, None, &[(name, "a")]), InvalidHeader::Name { name: name.to_owned() });
        }
        for name in ["upgrade", "date", "Connection", "Sec-WebSocket-Accept", "content-length", "Transfer-Encoding"] {
            assert_eq!(write(None, None, &[(name, "a")]), InvalidHeader::Reserved { name: name.to_owned() });
        }
    }

    #[test]
    fn takes_linear_time_for_a_head_full_of_protocols() {
        let many: Vec<String> = (0..500_000).map(|at| format!("{at:x}")).collect();
        let begin = std::time::Instant::now();
        let line = format!("Sec-WebSocket-Protocol: {}\r\n", many.join(","));
        assert_eq!(check_with(&line, |_| ()), Err(Refusal::ProtocolsInvalid { protocols_max: 64 }));
        // One pass takes a fraction of a second even without optimisation, quadratic work many minutes.
        assert!(begin.elapsed().as_secs() < 30, "{:?}", begin.elapsed());
    }

    proptest! {
        #[test]
        fn never_panics_on_arbitrary_values(
            name in prop::sample::select(&["Sec-WebSocket-Key", PROTOCOL, EXTENSIONS][..]),
            value in prop_oneof!["[a-c,;=\"\\\\ \t]{0,24}", "\\PC{0,24}"],
        ) {
            let _ = check_with(&format!("{name}: {value}\r\n"), |handshake| {
                handshake.protocols().count() + handshake.extensions().map(|x| x.params().count()).sum::<usize>()
            });
        }

        #[test]
        fn accepts_every_key_of_16_bytes(bytes in any::<[u8; 16]>()) {
            prop_assert!(is_key(BASE64_STANDARD.encode(bytes).as_bytes()));
        }
    }
}
