//! The opening handshake, both sides: what our server accepts and answers, our client accepts as well; an answer opens
//! a WebSocket only with the proof that the server read the request; a 101 contains no line its caller smuggled in.

use std::time::UNIX_EPOCH;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ringsock::protocol::deflate::Compression;
use ringsock::protocol::handshake::Offer;
use ringsock::protocol::handshake::client::ClientHandshake;
use ringsock::protocol::handshake::{self, Handshake, PROTOCOLS_MAX};
use ringsock::protocol::http::{Date, HeadLimits, Headers, Request, parse_request};

use crate::head::{self, check_refusal, find_end, is_field_value, is_token};
use crate::input::{Input, Split, every_byte};
use crate::request_head;

/// Limits of the client that judges arbitrary answers.
const KEY_BYTES: [u8; 16] = *b"the sample nonce";
const OFFERED: &[&str] = &["chat", "superchat"];

/// Pieces of valid and invalid answers; the accepted key is that of `KEY_BYTES`.
pub const ANSWER_PHRASES: &[&[u8]] = &[
    b"HTTP/1.1 101 Switching Protocols\r\n",
    b"Upgrade: websocket\r\nConnection: Upgrade\r\n",
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n",
    b"\r\n",
    b"Sec-WebSocket-Protocol: chat\r\n",
    b"Sec-WebSocket-Protocol: ",
    b"Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover\r\n",
    b"Sec-WebSocket-Extensions: ",
    b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n",
    b"HTTP/1.0 101 x\r\n",
    b"Connection: keep-alive\r\n",
    b"Upgrade: h2c\r\n",
    b"\r\n folded\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n",
    b"Sec-WebSocket-Accept: \r\n",
];

pub fn check(data: &[u8]) {
    let mut input = Input::new(data);
    let kind = input.byte();
    match kind % 3 {
        0 => check_server(&mut input),
        1 => check_client(&mut input, kind & 0x80 == 0x80),
        _ => check_written(&mut input),
    }
}

fn check_server(input: &mut Input<'_>) {
    let bytes = head::head(input, request_head::PHRASES);
    let Ok(Some(end)) = find_end(&bytes, &[], &HeadLimits::default()) else { return };
    let mut headers = Headers::default();
    let verdict = parse_request(&bytes[..end], &mut headers)
        .and_then(|request| handshake::check(&request).map(|handshake| (request, handshake)));
    match verdict {
        Ok((request, handshake)) => check_accepted(&request, &handshake),
        Err(refusal) => check_refusal(&refusal),
    }
}

fn check_accepted(request: &Request<'_>, handshake: &Handshake<'_>) {
    assert_eq!((request.method(), request.minor_version()), ("GET", 1));
    let key = BASE64_STANDARD.decode(handshake.key()).expect("an accepted key is base64");
    let key: [u8; 16] = key.try_into().expect("an accepted key has 16 bytes");
    assert_eq!(BASE64_STANDARD.encode(key).as_bytes(), handshake.key(), "a key has one form only");
    let protocols: Vec<&str> = handshake.protocols().collect();
    assert!(protocols.len() <= PROTOCOLS_MAX && protocols.iter().all(|protocol| is_token(protocol.as_bytes())));
    for extension in handshake.extensions() {
        assert!(is_token(extension.name().as_bytes()));
        for (name, value) in extension.params() {
            assert!(is_token(name.as_bytes()) && value.is_none_or(|value| is_token(value.as_bytes())));
        }
    }
    check_both_ends(request, handshake, key, &protocols);
}

/// Checks that our own client, with the same request, is accepted alike, and accepts the answer.
fn check_both_ends(request: &Request<'_>, handshake: &Handshake<'_>, key: [u8; 16], protocols: &[&str]) {
    let host = request.host().expect("HTTP/1.1 has a host");
    let target = [request.path(), request.query().map_or("", |_| "?"), request.query().unwrap_or_default()].concat();
    let (mut asked, compression) = (Vec::new(), Compression::default());
    let offer = (key[0] & 1 == 1).then(|| Offer::new(&compression));
    let client = ClientHandshake::write_request(&mut asked, host, &target, key, protocols, offer, &[])
        .expect("what was read can be written");
    let mut headers = Headers::default();
    let again = parse_request(&asked, &mut headers).expect("our client's request is accepted");
    let again = handshake::check(&again).expect("our client's handshake is accepted");
    assert_eq!(again.key(), handshake.key());
    assert!(again.protocols().eq(protocols.iter().copied()));

    let chosen = handshake::choose_protocol(handshake, protocols.last().map_or(&[], std::slice::from_ref));
    assert_eq!(chosen, protocols.last().copied());
    let agreed = handshake::answer(again.extensions(), &compression);
    assert_eq!(agreed.is_some(), offer.is_some());
    let accept = handshake::accept_key(handshake.key());
    let (mut answer, date) = (Vec::new(), Date::from(UNIX_EPOCH));
    let extensions = agreed.as_ref().map(|agreed| &agreed.header[..]);
    handshake::write_switching_protocols(&mut answer, &date, &accept, chosen, extensions, &[]).expect("it can be sent");
    assert_eq!(find_end(&answer, &[], &HeadLimits::default()), Ok(Some(answer.len())));
    let accepted = client.check_response(&answer, protocols).expect("our client accepts our answer");
    assert_eq!(accepted.protocol, chosen);
    assert_eq!(accepted.compression, agreed.map(|agreed| agreed.agreement));
}

fn check_client(input: &mut Input<'_>, offers_compression: bool) {
    let split = Split::new(input);
    let offer = offers_compression.then(|| Offer::new(&Compression::default()));
    let bytes = head::head(input, ANSWER_PHRASES);
    let limits = HeadLimits::default();
    let found = find_end(&bytes, &[], &limits);
    for cuts in [split.cuts(bytes.len()), every_byte(bytes.len())] {
        assert_eq!(find_end(&bytes, &cuts, &limits), found, "the cuts changed the verdict");
    }
    let Ok(Some(end)) = found else { return };
    let client = ClientHandshake::write_request(&mut Vec::new(), "a", "/", KEY_BYTES, OFFERED, offer, &[])
        .expect("this request can be sent");
    match client.check_response(&bytes[..end], OFFERED) {
        Err(error) => assert!(error.to_string().ends_with('.'), "no sentence: {error}"),
        Ok(accepted) => {
            let accept = handshake::accept_key(BASE64_STANDARD.encode(KEY_BYTES).as_bytes());
            let count = |wanted: &[u8]| bytes[..end].windows(wanted.len()).filter(|window| *window == wanted).count();
            assert!(count(&accept) >= 1, "accepted without the proof");
            assert!(count(b"HTTP/1.1 101") >= 1);
            assert!(accepted.protocol.is_none_or(|protocol| OFFERED.contains(&protocol)));
            assert_eq!(count(b"\n"), count(b"\r\n"), "a bare LF was accepted");
            assert!(accepted.compression.is_none() || offer.is_some(), "compressed without an offer");
        }
    }
}

/// Checks that lines from handlers and callers become one head of exactly these lines, or none.
fn check_written(input: &mut Input<'_>) {
    let protocol = input.flag().then(|| input.text());
    let extensions = input.flag().then(|| input.text());
    let extra: Vec<(&str, &str)> = (0..input.byte() % 4).map(|_| (input.text(), input.text())).collect();
    let accept = handshake::accept_key(b"dGhlIHNhbXBsZSBub25jZQ==");
    let date = Date::from(UNIX_EPOCH);
    let mut out = b"before".to_vec();
    let written = handshake::write_switching_protocols(&mut out, &date, &accept, protocol, extensions, &extra);
    if written.is_err() {
        assert_eq!(out, b"before", "part of an answer was written");
    } else {
        check_lines(&out[6..], 5 + usize::from(protocol.is_some()) + usize::from(extensions.is_some()), &extra);
    }
    let (host, target) = (input.text(), input.text());
    let mut out = b"before".to_vec();
    let written = ClientHandshake::write_request(&mut out, host, target, KEY_BYTES, protocol.as_slice(), None, &extra);
    if written.is_err() {
        assert_eq!(out, b"before", "part of a request was written");
    } else {
        check_lines(&out[6..], 5 + usize::from(protocol.is_some()), &extra);
        let request = out[6..].to_vec();
        let mut headers = Headers::default();
        let smuggles =
            |(name, _): &(&str, &str)| name.eq_ignore_ascii_case("Expect") || name.eq_ignore_ascii_case("Origin");
        if !extra.iter().any(smuggles) {
            let request = parse_request(&request, &mut headers).expect("our client's request is accepted");
            handshake::check(&request).expect("our client's handshake is accepted");
        }
    }
}

fn check_lines(head: &[u8], own: usize, extra: &[(&str, &str)]) {
    let text = head.strip_suffix(b"\r\n\r\n").expect("a head ends in an empty line");
    assert!(!text.windows(4).any(|window| window == b"\r\n\r\n"), "a second head was smuggled in");
    let lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
    assert_eq!(lines.len(), 1 + own + extra.len(), "a line was smuggled in");
    for (name, value) in extra {
        assert!(is_token(name.as_bytes()) && is_field_value(value.as_bytes()));
    }
}
