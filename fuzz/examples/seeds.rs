//! Writes the inputs that fuzzing begins with, made of what the tests use: `seeds DIRECTORY`.

use std::path::PathBuf;
use std::{env, fs, io};

#[allow(dead_code, reason = "the handshake's tests use all of it")]
mod requests {
    include!("../../tests/data/requests.rs");
}
#[allow(dead_code, reason = "the protocol's tests use all of it")]
#[path = "../../tests/protocol/wire.rs"]
mod wire;

use wire::{BINARY, CLOSE, CONTINUATION, FIN, PING, PONG, TEXT, close_payload, header, masked, plain};

/// Larger inputs slow fuzzing down and find nothing that smaller ones do not.
const SEED_BYTES_MAX: usize = 4096;

/// Pieces of 1 to 4, of 17, and of 3584 bytes.
const SPLITS: [[u8; 4]; 3] = [[0, 1, 2, 3], [16; 4], [134; 4]];

struct Seeds {
    directory: PathBuf,
    count: usize,
}

impl Seeds {
    fn write(&mut self, target: &str, parts: &[&[u8]]) -> io::Result<()> {
        let bytes = parts.concat();
        if bytes.len() > SEED_BYTES_MAX {
            return Ok(());
        }
        self.count += 1;
        let directory = self.directory.join(target);
        fs::create_dir_all(&directory)?;
        fs::write(directory.join(format!("seed-{:04}", self.count)), bytes)
    }
}

fn main() -> io::Result<()> {
    let directory = env::args_os().nth(1).ok_or_else(|| io::Error::other("usage: seeds DIRECTORY"))?;
    let mut seeds = Seeds { directory: directory.into(), count: 0 };
    requests(&mut seeds)?;
    bodies(&mut seeds)?;
    answers(&mut seeds)?;
    streams(&mut seeds)?;
    messages(&mut seeds)?;
    compressed(&mut seeds)?;
    closes(&mut seeds)?;
    tokens(&mut seeds)?;
    tls_records(&mut seeds)?;
    key_sets(&mut seeds)?;
    discovery(&mut seeds)?;
    introspection(&mut seeds)?;
    hook_answers(&mut seeds)
}

fn tokens(seeds: &mut Seeds) -> io::Result<()> {
    let claims = "{\"iss\":\"a\",\"aud\":\"chat\",\"exp\":1700000060";
    let more = [
        "}",
        ",\"iat\":1699999990}",
        ",\"nbf\":1700000005,\"sub\":\"ann\",\"jti\":\"1\"}",
        ",\"exp\":1700000070}",
        ",\"x\":{\"a\":1,\"a\":2}}",
        ",\"x\":[[[{}]]],\"y\":\"\\u0041:\"}",
        ",\"iat\":1}",
        ",\"sub\":1}",
    ];
    let headers = ["{\"alg\":\"HS256\"}", "{\"typ\":\"JWT\",\"alg\":\"HS256\",\"kid\":\"k\"}", "{\"alg\":\"none\"}"];
    for (header, more) in headers.iter().flat_map(|header| more.map(|more| (header, more))) {
        seeds.write("token", &[&[0, header.len() as u8], header.as_bytes(), claims.as_bytes(), more.as_bytes()])?;
    }
    for text in ["", "a.b.c", "eyJhbGciOiJub25lIn0.e30.", "eyJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJhIn0.AAAA", "....."] {
        seeds.write("token", &[&[1], text.as_bytes()])?;
    }
    // In phrases.
    for phrase in 0x80..0x90 {
        seeds.write("token", &[&[0, 1, 0x80, 0x91, phrase], b"}"])?;
    }
    Ok(())
}

fn tls_records(seeds: &mut Seeds) -> io::Result<()> {
    let hello: &[u8] = &[0, 5, b'h', b'e', b'l', b'l', b'o'];
    let acts: [&[u8]; 24] = [
        // Records of any type: empty, padded, without a type.
        &[1, 23, 0, 0, 0],
        &[1, 23, 64, 0, 2, 1, 2],
        &[1, 0, 0, 9, 0],
        &[1, 20, 0, 0, 1, 1],
        &[1, 24, 0, 0, 1, 1],
        // Alerts.
        &[1, 21, 0, 0, 2, 1, 0],
        &[1, 21, 0, 0, 2, 1, 90],
        &[1, 21, 0, 0, 2, 2, 40],
        &[1, 21, 0, 0, 2, 3, 40],
        // Messages.
        &[1, 22, 0, 0, 5, 24, 0, 0, 1, 2],
        &[1, 22, 0, 0, 1, 24],
        &[1, 22, 0, 0, 1, 1],
        &[3, 0, 0],
        &[3, 1, 3],
        // The largest records, and larger ones.
        &[2, 64, 0],
        &[2, 64, 1],
        &[2, 65, 10],
        // Many in a row.
        &[4, 31],
        &[4, 32],
        &[5, 31],
        &[5, 32],
        // Bytes that nobody has sealed, altered and repeated records.
        &[6, 5, 23, 3, 3, 0, 20],
        &[7, 1, b'x', 0, 9, 3],
        &[8],
    ];
    for (choice, acts) in acts.iter().enumerate() {
        let (suite, number) = (choice as u8 % 3, choice as u8 / 3 % 4);
        let split = &SPLITS[choice % SPLITS.len()];
        let seal: &[u8] = &[10, 1, 0];
        // Data behind each act, so that a rule that does not hold lets it through.
        let parts = [&[suite, number], &split[..], hello, acts, hello, seal, seal, acts, hello, seal];
        seeds.write("tls_records", &parts)?;
    }
    for kind in 0..4 {
        seeds.write("tls_records", &[&[0, 0], &SPLITS[0], &[9, kind, 1], hello, &[10, 80, 0]])?;
    }
    Ok(())
}

fn key_sets(seeds: &mut Seeds) -> io::Result<()> {
    let ed25519 = "\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"";
    let p256 = "\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4\",\
                \"y\":\"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM\"";
    let secret = "\"kty\":\"oct\",\"k\":\"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0i\"";
    let rsa = "\"kty\":\"RSA\",\"n\":\"AQAB\",\"e\":\"AQAB\"";
    let more =
        ["", ",\"kid\":\"a\"", ",\"use\":\"enc\"", ",\"key_ops\":[\"verify\"]", ",\"alg\":\"ES256\"", ",\"d\":\"\""];
    for (key, more) in [ed25519, p256, secret, rsa].iter().flat_map(|key| more.map(|more| (key, more))) {
        seeds.write("key_set", &[&[0xff], format!("{{\"keys\":[{{{key}{more}}}]}}").as_bytes()])?;
        seeds.write("key_set", &[&[12], format!("{{\"keys\":[{{{key}{more}}},{{{ed25519}}}]}}").as_bytes()])?;
    }
    for document in ["", "{}", "[]", "{\"keys\":[]}", "{\"keys\":[[],1,null,{}]}", "{\"keys\":[],\"keys\":[]}"] {
        seeds.write("key_set", &[&[0], document.as_bytes()])?;
    }
    Ok(())
}

fn discovery(seeds: &mut Seeds) -> io::Result<()> {
    let uris = [
        "https://a.example/keys",
        "http://127.0.0.1:8080/keys",
        "http://a.example/",
        "HTTPS://A.EXAMPLE:443/./a/../b?c#d",
        "https://a:b@a.example/",
        "keys",
    ];
    for (number, iss) in ringsock_fuzz::discovery::ISSUERS.iter().enumerate() {
        for uri in uris {
            let document = format!("{{\"issuer\":\"{iss}\",\"jwks_uri\":\"{uri}\",\"x\":[{{}}]}}");
            seeds.write("discovery", &[&[number as u8], document.as_bytes()])?;
        }
    }
    for document in ["", "{}", "[]", "{\"issuer\":\"https://a.example\",\"issuer\":\"a\",\"jwks_uri\":1}"] {
        seeds.write("discovery", &[&[0], document.as_bytes()])?;
    }
    Ok(())
}

fn introspection(seeds: &mut Seeds) -> io::Result<()> {
    let more = ["", ",\"sub\":\"ann\"", ",\"exp\":1700000060,\"x\":{\"a\":[1,1.5e3,null]}", ",\"x\":1,\"x\":2"];
    for active in ["true", "false", "1", "\"true\"", "null", "[true]"] {
        for more in more {
            seeds.write("introspection", &[format!("{{\"active\":{active}{more}}}").as_bytes()])?;
        }
    }
    for document in ["", "{}", "[]", "true", "{\"active\":true,\"\\u0061ctive\":false}"] {
        seeds.write("introspection", &[document.as_bytes()])?;
    }
    Ok(())
}

fn hook_answers(seeds: &mut Seeds) -> io::Result<()> {
    for body in [
        "",
        "[]",
        "{\"allow\":true}",
        "{\"allow\":false,\"code\":4001,\"reason\":\"No.\"}",
        "{\"allow\":true,\"subject\":\"ann\",\"roles\":[\"user\"],\"grants\":[\"subscribe:news\"],\"expires\":60}",
        "{\"allow\":false,\"allow\":true}",
        "{\"allow\":true,\"x\":{\"a\":1,\"a\":2}}",
        "{\"allow\":true,\"grants\":[\"subscribe:\"]}",
    ] {
        seeds.write("hook_answer", &[&[1], body.as_bytes()])?;
    }
    // In phrases: each alone, and each with its neighbours.
    for phrase in 0x83..0x8f {
        seeds.write("hook_answer", &[&[0, 0x80, phrase, 0x8f]])?;
        seeds.write("hook_answer", &[&[0, 0x81, phrase, phrase + 1, 0x8f]])?;
    }
    Ok(())
}

fn requests(seeds: &mut Seeds) -> io::Result<()> {
    let rows = [requests::refused(), requests::accepted(), requests::early_data(), requests::unfinished()].concat();
    for (row, split) in rows.iter().zip(SPLITS.iter().cycle()) {
        seeds.write("request_head", &[&[0; 3], split, &[1], &row.bytes])?;
        if row.status == 101 || row.status == 400 {
            seeds.write("handshake", &[&[0, 1], &row.bytes])?;
        }
    }
    // In phrases, under every choice of limits.
    for limit in 0..6 {
        seeds.write("request_head", &[&[limit; 3], &SPLITS[0], &[0, 0x81, 0x84, 0x85, 0x83]])?;
    }
    for choice in 0x86..0x98 {
        seeds.write("handshake", &[&[0, 0, 0x81, 0x84, 0x85, choice], b"chat, superchat\r\n\r\n"])?;
    }
    Ok(())
}

fn bodies(seeds: &mut Seeds) -> io::Result<()> {
    let good =
        ["0\r\n\r\n", "5\r\nhello\r\n0\r\n\r\n", "a;b=c\r\n0123456789\r\n000;\r\nX: y\r\n\r\nGET / HTTP/1.1\r\n"];
    let bad = [
        "2 \r\n",
        "0x2\r\nhi\r\n",
        "2\nhi\n0\n\n",
        "2\r\nhi0\r\n\r\n",
        "0\r\nX : y\r\n\r\n",
        "0\r\n x\r\n",
        "fffff\r\n",
    ];
    for (number, body) in (0..).zip(good.into_iter().chain(bad)) {
        for (limit, split) in (0..6).zip(SPLITS.iter().cycle()) {
            if (number + limit) % 2 == 0 {
                seeds.write("http_body", &[&[limit], split, &[1], body.as_bytes()])?;
            }
        }
    }
    // In phrases: each between good ones.
    for choice in 0x80..0x92 {
        seeds.write("http_body", &[&[0], &SPLITS[0], &[0, 0x81, choice, 0x82, choice, 0x84]])?;
    }
    Ok(())
}

fn answers(seeds: &mut Seeds) -> io::Result<()> {
    for (split, line) in SPLITS.iter().cycle().zip(0x80..0x90) {
        seeds.write("handshake", &[&[1], split, &[0, 0x80, 0x81, 0x82, line, 0x83]])?;
        seeds.write("handshake", &[&[1], split, &[0, 0x80, 0x81, line, 0x83]])?;
        seeds
            .write("handshake", &[&[0x82], split, &[0, 0x80, 0x81, 0x82, line, b'c', b'h', b'a', b't', 0x83, 0x83]])?;
    }
    seeds.write("handshake", &[b"\x02\x01\x04chat\x01\x12permessage-deflate\x01\x03X-A\x01b\x09localhost\x05/chat"])?;
    seeds.write("handshake", &[b"\x02\x00\x00\x02\x03X-A\x06b\r\nC: d\x06Server\x01x\x01a\x01/"])?;
    seeds.write("handshake", &[b"\x02\x01\x02a\n\x01\x02a;\x00\x03[::\x02/#"])
}

/// What Autobahn's groups send: lengths, controls, reserved bits and opcodes, fragments, UTF-8, closes.
fn frames() -> Vec<Vec<(u8, Vec<u8>)>> {
    let text = "Hello-µ@ßöäüàá-UTF-8!!".as_bytes();
    let mut cases = Vec::new();
    for length in [0, 1, 125, 126, 127, 128, 1000, 3000] {
        cases.push(vec![(FIN | TEXT, vec![b'*'; length])]);
        cases.push(vec![(FIN | BINARY, vec![0xFE; length])]);
        cases.push(vec![(FIN | PING, vec![0xFE; length]), (FIN | PONG, vec![0xFE; length])]);
    }
    for first in 0..=255 {
        cases.push(vec![(FIN | TEXT, text.to_vec()), (first, b"x".to_vec()), (FIN | PING, Vec::new())]);
    }
    for end in 0..text.len() {
        cases.push(vec![(TEXT, text[..end].to_vec()), (FIN | PING, b"p".to_vec()), (FIN, text[end..].to_vec())]);
    }
    for bytes in
        [&b"\xCE\xBA\xE1\xBD\xB9\xED\xA0\x80e"[..], b"\xF4\x90\x80\x80", b"\xC0\xAF", b"\xED\xBF\xBF", b"\xE2\x82"]
    {
        cases.push(vec![(FIN | TEXT, bytes.to_vec())]);
        cases.push(bytes.iter().enumerate().map(|(at, byte)| (u8::from(at == 0), vec![*byte])).collect());
    }
    for code in [0, 999, 1000, 1003, 1004, 1005, 1007, 1011, 1014, 1015, 1016, 2999, 3000, 4999, 5000, 65_535] {
        cases.push(vec![(FIN | CLOSE, close_payload(code, "reason")), (FIN | TEXT, b"late".to_vec())]);
        cases.push(vec![(TEXT, b"cut".to_vec()), (FIN | CLOSE, close_payload(code, ""))]);
    }
    cases.push(vec![(FIN | CLOSE, Vec::new())]);
    cases.push(vec![(FIN | CLOSE, vec![3])]);
    cases.push(vec![(FIN | CLOSE, b"\x03\xE8\xFF".to_vec())]);
    cases.push([vec![(BINARY, Vec::new())], vec![(CONTINUATION, Vec::new()); 70], vec![(FIN, Vec::new())]].concat());
    cases
}

fn streams(seeds: &mut Seeds) -> io::Result<()> {
    for (case, split) in frames().iter().zip(SPLITS.iter().cycle()) {
        let from_client: Vec<u8> = case.iter().flat_map(|(first, payload)| masked(*first, payload)).collect();
        let from_server: Vec<u8> = case.iter().flat_map(|(first, payload)| plain(*first, payload)).collect();
        seeds.write("differential", &[&[0], split, &[1], &from_client])?;
        seeds.write("frame_stream", &[&[0, 0, 0], split, &[1], &from_client])?;
        seeds.write("frame_stream", &[&[1, 0, 0], split, &[1], &from_server])?;
        seeds.write("frame_stream", &[&[6, 0, 0], split, &[1], &from_client])?;
    }
    for length in [126, 65_535, 65_536, 1 << 31, 1 << 62] {
        let huge = header(FIN | BINARY, Some(wire::KEY), length);
        seeds.write("differential", &[&[0], &SPLITS[0], &[1], &huge])?;
        seeds.write("frame_stream", &[&[0, 0, 0], &SPLITS[0], &[1], &huge])?;
    }
    // Lengths in longer forms than needed, and just long enough.
    for length in [0u16, 125, 126, 300] {
        let short = [&[FIN | BINARY, 0xFE][..], &length.to_be_bytes(), &[0; 304]].concat();
        let long = [&[FIN | BINARY, 0xFF][..], &u64::from(length).to_be_bytes(), &[0; 304]].concat();
        for bytes in [short, long] {
            seeds.write("differential", &[&[0], &SPLITS[1], &[1], &bytes])?;
            seeds.write("frame_stream", &[&[0, 0, 0], &SPLITS[1], &[1], &bytes])?;
        }
    }
    // Masked by a server, not masked by a client.
    for first in [FIN | TEXT, BINARY, FIN | PING, FIN | CLOSE] {
        seeds.write("differential", &[&[0], &SPLITS[0], &[1], &plain(first, b"\x03\xE8k")])?;
        seeds.write("frame_stream", &[&[0, 0, 0], &SPLITS[0], &[1], &plain(first, b"\x03\xE8k")])?;
        seeds.write("frame_stream", &[&[1, 0, 0], &SPLITS[0], &[1], &masked(first, b"\x03\xE8k")])?;
    }
    // Frames made of bytes: every fault before every shape.
    for fault in 248..=255 {
        for shape in (0..=255).step_by(7) {
            seeds.write("frame_stream", &[&[shape, 0, 0], &SPLITS[1], &[0, fault, shape, 5], b"hello", &[9; 9]])?;
            seeds.write("differential", &[&[0], &SPLITS[1], &[0, fault, shape, 5], b"hello", &[9; 9]])?;
        }
    }
    Ok(())
}

fn messages(seeds: &mut Seeds) -> io::Result<()> {
    // Empty fragments in a row and apart, and messages around every limit.
    for most in 0..4 {
        let apart = [0x20, 0, 0x20, 1, b'a', 0x20, 0, 0x20, 1, b'b', 0x20, 0, 0x20, 0, 0x20, 1, b'c', 0, 0];
        seeds.write("message", &[&[0, 0, most], &SPLITS[0], &apart])?;
        seeds.write("message", &[&[1, 0, most], &SPLITS[0], &apart[6..]])?;
    }
    for (index, limit) in [65_536usize, 0, 1, 3, 100, 125, 126, 1000, 4095, 4096, 4097, 65_535].iter().enumerate() {
        for bytes in limit.saturating_sub(1)..limit + 2 {
            let length = if bytes < 1008 { [(bytes / 4) as u8, (bytes % 4) as u8] } else { [252, 0] };
            let whole = [&[0x40 | 0x10, b'x'], &length[..]].concat();
            let in_two = [&[0x20, 1, b'x', 0x40, b'y'], &length[..]].concat();
            seeds.write("message", &[&[0, index as u8, 0], &SPLITS[1], &whole])?;
            seeds.write("message", &[&[0, index as u8, 0], &SPLITS[2], &in_two])?;
        }
    }
    for limit in 0..12 {
        for shape in (0..=255).step_by(3) {
            let frames = [0x20 | shape, 3, b'a', b'b', b'c', 13, 2, b'p', b'q', shape, 2, b'd', b'e'];
            seeds.write("message", &[&[shape, limit, limit], &SPLITS[usize::from(limit) % 3], &frames.repeat(2)])?;
        }
    }
    Ok(())
}

fn compressed(seeds: &mut Seeds) -> io::Result<()> {
    // The examples of RFC 7692 7.2.3: fixed codes, a reference to before, a stored, a final, two blocks.
    let examples: [&[u8]; 6] = [
        b"\xF2\x48\xCD\xC9\xC9\x07\x00",
        b"\xF2\x00\x11\x00\x00",
        b"\x00\x05\x00\xFA\xFF\x48\x65\x6C\x6C\x6F\x00",
        b"\xF3\x48\xCD\xC9\xC9\x07\x00\x00",
        b"\xF2\x48\x05\x00\x00\x00\xFF\xFF\xCA\xC9\xC9\x07\x00",
        b"",
    ];
    let text: Vec<u8> = (0..200).flat_map(|number| format!("{{\"number\":{number}}}, ").into_bytes()).collect();
    let made = (0..=10).map(|level| miniz_oxide::deflate::compress_to_vec(&text, level));
    let payloads: Vec<Vec<u8>> = examples.iter().map(|example| example.to_vec()).chain(made).collect();
    for (number, payload) in (0..).zip(&payloads) {
        for takeover in 0..4 {
            let split = &SPLITS[usize::from(takeover) % 3];
            seeds.write("deflate", &[&[0, number & 1, 0, 0, takeover, 0, 0, number], split, payload])?;
        }
    }
    for choice in 0..64 {
        let (client, server) = ([choice & 1, choice % 10, choice % 8, 0], [choice >> 1 & 1, choice % 7, 0, choice % 5]);
        let messages = [0xC1, 90, 0x02, 1, 0x04, choice, 0, 8, b'r', b'i', b'n', b'g', b's', b'o', b'c', b'k', 1];
        seeds.write("deflate", &[&[1], &client, &server, &[choice & 1], &SPLITS[1], &messages.repeat(3)])?;
        let level = [choice % 11, 0x80 | choice, choice, choice];
        seeds.write("deflate", &[&[3, choice, 0, choice % 8], &SPLITS[usize::from(choice) % 3], &level])?;
    }
    // Batches: a text and a run of one byte, again and again, in one batch or in many.
    for choice in 0..48 {
        let (server, windows) = ([choice & 1, choice % 10, 0, 0], [choice % 8, 7 - choice % 8]);
        let messages = [choice >> 1 & 1, choice % 3, 0x83, choice, 0, 1, 0x43, b'x', 4 * choice, 0];
        let start = [&[240][..], &server, &windows, &[choice & 3, 0, 0, choice % 5]].concat();
        seeds.write("deflate", &[&start, &SPLITS[usize::from(choice) % 3], &messages.repeat(3)])?;
    }
    for first in 0x80..0x8C {
        for second in 0x80..0x8C {
            seeds.write("deflate", &[&[2, first, 0, 3, 4, 0, 0x80, first, 0x87, second, 0x88, 0x8A, 0x80, 0x81]])?;
        }
    }
    Ok(())
}

fn closes(seeds: &mut Seeds) -> io::Result<()> {
    for code in [0, 999, 1000, 1004, 1005, 1006, 1014, 1015, 2999, 3000, 4999, 5000] {
        for reason in ["", "bye", "äöü", &"€".repeat(50), &"x".repeat(130)] {
            seeds.write("close", &[&close_payload(code, reason)])?;
        }
    }
    // Both ends act in every order, and the wires deliver between.
    for first in 0..32 {
        for second in 0..32 {
            let steps = [first, 0x03, 0xE9, 3, b'b', b'y', b'e', second, 16, 40, 17, 40, second, first, 18, 3, 19, 3];
            seeds.write("close", &[&steps])?;
        }
    }
    Ok(())
}
