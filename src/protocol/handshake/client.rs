//! The client's side of the opening handshake (RFC 6455 section 4.1): writes the request, checks the response.
//!
//! Owns the request of the load generator and of clients between nodes. Never generates random numbers (the caller
//! provides the key), never follows a redirect. Invariant: a response is accepted only if it proves that the server
//! read this request.

use std::str;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use httparse::{Header, ParserConfig};

use super::extension::extensions;
use super::negotiation::{InvalidAnswer, NAME, Offer};
use super::server::{EXTENSIONS, PROTOCOL, RESERVED, accept_key};
use crate::protocol::deflate::Agreement;
use crate::protocol::http::grammar::{is_host, is_target, is_token, list};
use crate::protocol::http::{Connection, Headers, InvalidHeader, Refusal};
use crate::protocol::http::{explain_headers, names_websocket, push, push_headers, strict_head};

/// A handshake whose request was written and whose response is awaited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientHandshake {
    /// The expected value of Sec-WebSocket-Accept.
    accept: [u8; 28],
    /// The compression offer, if one was made.
    offer: Option<Offer>,
}

/// The result of a successful handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientAccept<'p> {
    /// The subprotocol chosen by the server, one of those offered.
    pub protocol: Option<&'p str>,
    /// The agreement on compression, if it was offered and accepted.
    pub compression: Option<Agreement>,
}

/// The reason why the server's response does not open a WebSocket. The server is at fault, except where noted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClientHandshakeError {
    /// The response has no valid HTTP head, or one above the limits.
    #[error("The server's response does not have a valid HTTP/1.1 head. {0}")]
    HeadInvalid(#[from] Refusal),
    /// The response does not begin with a status line.
    #[error("The server's response does not begin with an HTTP/1.1 status line. Check that it is a WebSocket server.")]
    StatusLineInvalid,
    /// The server answered the request without upgrading; the request or the address may be wrong.
    #[error("The server answered with the status {status}, not with 101. Check the address, path and credentials.")]
    Status {
        /// The status code.
        status: u16,
    },
    /// The response does not upgrade to WebSocket.
    #[error("The server answered 101 without 'Upgrade: websocket' and 'Connection: Upgrade'. A proxy may be at fault.")]
    UpgradeMissing,
    /// Sec-WebSocket-Accept is missing, repeated, or does not match the key.
    #[error("The header Sec-WebSocket-Accept must be sent once and match the key. The response may come from a cache.")]
    AcceptInvalid,
    /// The server chose a subprotocol that was not offered, or more than one.
    #[error("The server chose the subprotocol {protocol:?}. It must choose one of those offered, or none.")]
    ProtocolNotOffered {
        /// The subprotocol it chose.
        protocol: String,
    },
    /// The server chose an extension that was not offered, or one twice.
    #[error("The server chose an extension that was not offered, or one twice. Correct the server.")]
    ExtensionNotOffered,
    /// The server accepted compression in a way that was not offered.
    #[error(transparent)]
    Compression(#[from] InvalidAnswer),
}

impl ClientHandshake {
    /// Appends the request to `out`, which stays unchanged if a value cannot be sent.
    ///
    /// `key_bytes` should be random, so that the response proves that it is not a cached one.
    pub fn write_request(
        out: &mut Vec<u8>,
        host: &str,
        target: &str,
        key_bytes: [u8; 16],
        protocols: &[&str],
        offer: Option<Offer>,
        extra_headers: &[(&str, &str)],
    ) -> Result<Self, InvalidHeader> {
        if !is_host(host) {
            return Err(InvalidHeader::Malformed { name: "Host", value: host.to_owned() });
        }
        if !(target.starts_with('/') && is_target(target)) {
            return Err(InvalidHeader::Malformed { name: "request target", value: target.to_owned() });
        }
        if let Some(protocol) = protocols.iter().find(|protocol| !is_token(protocol.as_bytes())) {
            return Err(InvalidHeader::Malformed { name: PROTOCOL, value: (*protocol).to_owned() });
        }
        let mut key = [0; 24];
        // 16 bytes always make 24 characters, so this cannot fail.
        let written = BASE64_STANDARD.encode_slice(key_bytes, &mut key);
        debug_assert_eq!(written, Ok(key.len()));

        let begin = out.len();
        push(out, &["GET ", target, " HTTP/1.1\r\nHost: ", host, "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"]);
        out.extend_from_slice(b"Sec-WebSocket-Key: ");
        out.extend_from_slice(&key);
        out.extend_from_slice(b"\r\nSec-WebSocket-Version: 13\r\n");
        for (at, protocol) in protocols.iter().enumerate() {
            push(out, &[if at == 0 { "Sec-WebSocket-Protocol: " } else { ", " }, protocol]);
        }
        push(out, &[if protocols.is_empty() { "" } else { "\r\n" }]);
        if let Some(offer) = offer {
            push(out, &[EXTENSIONS, ": ", &offer.header(), "\r\n"]);
        }
        if let Err(error) = push_headers(out, extra_headers, &RESERVED) {
            out.truncate(begin);
            return Err(error);
        }
        out.extend_from_slice(b"\r\n");
        Ok(Self { accept: accept_key(&key), offer })
    }

    /// Checks the head of the response, as delimited by
    /// [`HeadScan::find_end`](crate::protocol::http::HeadScan::find_end); frames follow it. `protocols` are the
    /// subprotocols offered.
    pub fn check_response<'p>(
        &self,
        head: &[u8],
        protocols: &[&'p str],
    ) -> Result<ClientAccept<'p>, ClientHandshakeError> {
        use ClientHandshakeError::*;
        let head = strict_head(head)?;
        let mut storage = Headers::default();
        let mut parsed = httparse::Response::new(&mut []);
        let outcome = ParserConfig::default().parse_response_with_uninit_headers(&mut parsed, head, &mut storage.0);
        let status = match (parsed.version, parsed.code) {
            (Some(1), Some(status)) if outcome != Err(httparse::Error::Status) => status,
            _ => return Err(StatusLineInvalid),
        };
        if status != 101 {
            return Err(Status { status });
        }
        if outcome != Ok(httparse::Status::Complete(head.len())) {
            return Err(HeadInvalid(explain_headers(outcome, head)));
        }
        let mut connection = Connection::default();
        let mut upgrade_websocket = false;
        let mut accept = None;
        let (mut chosen, mut compression) = (None, None);
        for &Header { name, value } in parsed.headers.iter() {
            if name.eq_ignore_ascii_case("Connection") {
                connection.note(value);
            } else if name.eq_ignore_ascii_case("Upgrade") {
                upgrade_websocket |= names_websocket(value);
            } else if name.eq_ignore_ascii_case("Sec-WebSocket-Accept") {
                if accept.replace(value).is_some() {
                    return Err(AcceptInvalid);
                }
            } else if name.eq_ignore_ascii_case(PROTOCOL) {
                let known = protocols.iter().copied().find(|offered| offered.as_bytes() == value);
                match known {
                    Some(protocol) if chosen.is_none() => chosen = Some(protocol),
                    _ => {
                        return Err(ProtocolNotOffered { protocol: String::from_utf8_lossy(value).into_owned() });
                    }
                }
            } else if name.eq_ignore_ascii_case(EXTENSIONS) {
                self.check_extensions(value, &mut compression)?;
            }
        }
        if !(upgrade_websocket && connection.upgrade) {
            return Err(UpgradeMissing);
        }
        if accept != Some(&self.accept[..]) {
            return Err(AcceptInvalid);
        }
        Ok(ClientAccept { protocol: chosen, compression })
    }

    /// Checks one extensions header, which may only accept an offer, and only once.
    fn check_extensions(&self, value: &[u8], compression: &mut Option<Agreement>) -> Result<(), ClientHandshakeError> {
        // An extension outside the grammar was not offered either.
        let count = list(value).count();
        if count != extensions(value).count() {
            return Err(ClientHandshakeError::ExtensionNotOffered);
        }
        for extension in extensions(value) {
            let offer = self.offer.filter(|_| extension.name() == NAME && compression.is_none());
            let offer = offer.ok_or(ClientHandshakeError::ExtensionNotOffered)?;
            *compression = Some(offer.check(&extension)?);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use proptest::prelude::*;

    use super::ClientHandshakeError::*;
    use super::*;
    use crate::protocol::handshake::{check, choose_protocol, write_switching_protocols};
    use crate::protocol::http::{Date, HeadLimits, HeadScan, parse_request};

    const KEY_BYTES: [u8; 16] = *b"the sample nonce";
    const OFFERED: &[&str] = &["chat", "superchat"];

    fn write(host: &str, target: &str, protocols: &[&str], headers: &[(&str, &str)]) -> Result<String, InvalidHeader> {
        let mut out = b"before".to_vec();
        let written = ClientHandshake::write_request(&mut out, host, target, KEY_BYTES, protocols, None, headers);
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text == "before", written.is_err(), "nothing is written of what cannot be sent");
        written.map(|_| text)
    }

    /// Returns the verdict on a response of these lines; `ACCEPT` stands for the right value.
    fn check_lines(lines: &[&str]) -> Result<Option<&'static str>, ClientHandshakeError> {
        let mut out = Vec::new();
        let handshake = ClientHandshake::write_request(&mut out, "a", "/", KEY_BYTES, OFFERED, None, &[]).unwrap();
        let head = lines.join("\r\n").replace("ACCEPT", str::from_utf8(&handshake.accept).unwrap()) + "\r\n\r\n";
        handshake.check_response(head.as_bytes(), OFFERED).map(|accept| accept.protocol)
    }

    const STATUS_LINE: &str = "HTTP/1.1 101 Switching Protocols";
    const UPGRADE: &str = "Upgrade: websocket";
    const CONNECTION: &str = "Connection: Upgrade";
    const ACCEPT: &str = "Sec-WebSocket-Accept: ACCEPT";

    fn check_with(line: &str) -> Result<Option<&'static str>, ClientHandshakeError> {
        check_lines(&[STATUS_LINE, UPGRADE, CONNECTION, ACCEPT, line])
    }

    #[test]
    fn writes_the_request_to_the_byte() {
        assert_eq!(
            write("example.com:80", "/chat?a=b", OFFERED, &[("Origin", "http://example.com")]).unwrap(),
            "beforeGET /chat?a=b HTTP/1.1\r\nHost: example.com:80\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Protocol: chat, superchat\r\nOrigin: http://example.com\r\n\r\n"
        );
        assert!(write("a", "/", &[], &[]).unwrap().ends_with("Version: 13\r\n\r\n"));
    }

    #[test]
    fn writes_nothing_when_the_request_cannot_be_sent() {
        for host in ["", "a b", "a\r\nX: y", "u@a"] {
            let error = InvalidHeader::Malformed { name: "Host", value: host.to_owned() };
            assert_eq!(write(host, "/", &[], &[]), Err(error));
        }
        for target in ["", "a", "/a b", "/\r\n", "/#", "/é"] {
            let error = InvalidHeader::Malformed { name: "request target", value: target.to_owned() };
            assert_eq!(write("a", target, &[], &[]), Err(error));
        }
        for protocol in ["", "a b", "a,b", "a\r\nX: y"] {
            let error = InvalidHeader::Malformed { name: "Sec-WebSocket-Protocol", value: protocol.to_owned() };
            assert_eq!(write("a", "/", &["good", protocol], &[]), Err(error));
        }
        assert_eq!(write("a", "/", &[], &[("X", "a\nb")]), Err(InvalidHeader::Value { name: "X".to_owned() }));
        assert_eq!(write("a", "/", &[], &[("host", "b")]), Err(InvalidHeader::Reserved { name: "host".to_owned() }));
    }

    #[test]
    fn accepts_a_correct_answer() {
        assert_eq!(check_lines(&[STATUS_LINE, UPGRADE, CONNECTION, ACCEPT]), Ok(None));
        let lines = ["HTTP/1.1 101", "upgrade: WebSocket", "connection: keep-alive, UPGRADE", ACCEPT, "Server: x"];
        assert_eq!(check_lines(&lines), Ok(None));
        assert_eq!(check_with("Sec-WebSocket-Protocol: superchat"), Ok(Some("superchat")));
        assert_eq!(check_with("Sec-WebSocket-Extensions:"), Ok(None));
    }

    #[test]
    fn reports_any_other_status() {
        for status in [200, 301, 400, 401, 403, 426, 503] {
            assert_eq!(check_lines(&[&format!("HTTP/1.1 {status} Reason")]), Err(Status { status }));
        }
        assert_eq!(check_lines(&["HTTP/1.1 100 Continue"]), Err(Status { status: 100 }));
    }

    #[test]
    fn rejects_what_is_no_status_line() {
        for line in [
            "HTTP/1.0 101 x",
            "HTTP/2.0 101 x",
            "HTTP/1.1 1x1 y",
            "HTTP/1.1 1011",
            "HTTP/1.1 10",
            "HTTP/1.1 101 \0",
            "HTTP/1.1",
            "GET / HTTP/1.1",
        ] {
            assert_eq!(check_lines(&[line, UPGRADE, CONNECTION, ACCEPT]), Err(StatusLineInvalid), "{line}");
        }
        assert_eq!(check_lines(&["\x16\x03\x01"]), Err(HeadInvalid(Refusal::TlsOnPlainPort)));
        assert_eq!(check_with(" folded"), Err(HeadInvalid(Refusal::ObsoleteFold)));
        assert_eq!(check_with("X : y"), Err(HeadInvalid(Refusal::FieldNameInvalid)));
    }

    #[test]
    fn rejects_an_answer_that_does_not_upgrade() {
        assert_eq!(check_lines(&[STATUS_LINE, CONNECTION, ACCEPT]), Err(UpgradeMissing));
        assert_eq!(check_lines(&[STATUS_LINE, UPGRADE, ACCEPT]), Err(UpgradeMissing));
        assert_eq!(check_lines(&[STATUS_LINE, "Upgrade: h2c", CONNECTION, ACCEPT]), Err(UpgradeMissing));
        assert_eq!(check_lines(&[STATUS_LINE, UPGRADE, "Connection: close", ACCEPT]), Err(UpgradeMissing));
    }

    #[test]
    fn rejects_a_missing_wrong_or_repeated_accept() {
        assert_eq!(check_lines(&[STATUS_LINE, UPGRADE, CONNECTION]), Err(AcceptInvalid));
        assert_eq!(check_with(ACCEPT), Err(AcceptInvalid));
        for wrong in ["", "ACCEPT=", "S3pPLMBiTxaQ9kYGzzhZRbK+xOo=", "ACCEPT, ACCEPT"] {
            let line = format!("Sec-WebSocket-Accept: {wrong}");
            assert_eq!(check_lines(&[STATUS_LINE, UPGRADE, CONNECTION, &line]), Err(AcceptInvalid));
        }
    }

    #[test]
    fn rejects_a_protocol_or_an_extension_that_was_not_offered() {
        for protocol in ["other", "Chat", "", "chat, superchat"] {
            let verdict = check_with(&format!("Sec-WebSocket-Protocol: {protocol}"));
            assert_eq!(verdict, Err(ProtocolNotOffered { protocol: protocol.to_owned() }));
        }
        let twice = check_with("Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Protocol: chat");
        assert_eq!(twice, Err(ProtocolNotOffered { protocol: "chat".to_owned() }));
        assert_eq!(check_with("Sec-WebSocket-Extensions: permessage-deflate"), Err(ExtensionNotOffered));
    }

    #[test]
    fn both_sides_agree_with_each_other() {
        let (mut request, mut answer) = (Vec::new(), Vec::new());
        let client = ClientHandshake::write_request(&mut request, "a", "/", KEY_BYTES, OFFERED, None, &[]).unwrap();
        let mut headers = Headers::default();
        let parsed = parse_request(&request, &mut headers).unwrap();
        let server = check(&parsed).unwrap();
        let protocol = choose_protocol(&server, &["superchat"]);
        let date = Date::from(UNIX_EPOCH);
        write_switching_protocols(&mut answer, &date, &accept_key(server.key()), protocol, None, &[]).unwrap();
        let mut scan = HeadScan::default();
        for end in 0..answer.len() {
            assert_eq!(scan.find_end(&answer[..end], &HeadLimits::default()), Ok(None));
        }
        answer.extend_from_slice(b"\x81\x00");
        let end = scan.find_end(&answer, &HeadLimits::default()).unwrap().unwrap();
        assert_eq!(&answer[end..], b"\x81\x00");
        assert_eq!(
            client.check_response(&answer[..end], OFFERED),
            Ok(ClientAccept { protocol: Some("superchat"), compression: None })
        );
    }

    proptest! {
        #[test]
        fn never_panics_on_an_arbitrary_answer(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let handshake = ClientHandshake { accept: [0; 28], offer: None };
            let _ = handshake.check_response(&bytes, OFFERED);
            let _ = handshake.check_response(&[b"HTTP/1.1 101 ", &bytes[..], b"\r\n\r\n"].concat(), OFFERED);
        }
    }
}
