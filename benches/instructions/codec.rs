//! The codec: the code that every message, and every handshake, passes through.

use std::hint::black_box;
use std::io;
use std::time::UNIX_EPOCH;

use ringsock::protocol::deflate::{Compression, Compressors, WindowBits};
use ringsock::protocol::http::{Date, HeadLimits, HeadScan, Headers, parse_request};
use ringsock::protocol::{
    Close, CloseCode, Connection, MaskKey, Opcode, Role, Utf8, handshake, write_close, write_compressed_frame,
    write_frame,
};

use crate::fixtures::{KEY, Receiver, UPGRADE, frames, json};
use crate::{Case, fault};

pub(super) const CASES: [Case; 15] = [
    case("encode 64 B", |rounds| encode(64, None, rounds)),
    case("encode 1 KiB", |rounds| encode(1024, None, rounds)),
    case("encode 64 B as a client", |rounds| encode(64, Some(KEY), rounds)),
    case("decode text of 64 B", |rounds| decode(Opcode::Text, 64, rounds)),
    case("decode 1 KiB", |rounds| decode(Opcode::Binary, 1024, rounds)),
    long("decode 64 KiB", |rounds| decode(Opcode::Binary, 64 * 1024, rounds)),
    case("decode 64 B as a client", |rounds| {
        read(Receiver::new(Role::Client), frames(1, Opcode::Binary, &[b'x'; 64], None), rounds)
    }),
    case("decode a ping", |rounds| decode(Opcode::Ping, 8, rounds)),
    long("decode 64 fragments of 1 B", fragments),
    case("check text of 64 B, ASCII", |rounds| utf8("The quick brown fox. ", 64, rounds)),
    case("check text of 1 KiB, mixed", |rounds| utf8("Grüße, κόσμε 🦀! ", 1024, rounds)),
    case("closing handshake", closing),
    long("opening handshake", opening),
    long("compress 1 KiB of JSON", compress),
    long("inflate 1 KiB of JSON", inflate),
];

const fn case(name: &'static str, run: fn(u32) -> io::Result<()>) -> Case {
    Case { name, units: 1, short: 1_000, long: 11_000, run }
}

/// Returns a case whose rounds take thousands of instructions.
const fn long(name: &'static str, run: fn(u32) -> io::Result<()>) -> Case {
    Case { name, units: 1, short: 100, long: 1_100, run }
}

fn encode(payload_bytes: usize, mask: Option<MaskKey>, rounds: u32) -> io::Result<()> {
    let payload = vec![b'x'; payload_bytes];
    let mut out = Vec::with_capacity(2 * payload_bytes);
    for _ in 0..rounds {
        out.clear();
        write_frame(&mut out, Opcode::Binary, black_box(&payload), mask);
        black_box(&out);
    }
    if out.len() > payload_bytes { Ok(()) } else { Err(fault("Nothing was encoded.")) }
}

fn decode(opcode: Opcode, payload_bytes: usize, rounds: u32) -> io::Result<()> {
    // Text must stay text however often it is unmasked.
    let key = if opcode == Opcode::Text { [0; 4] } else { KEY };
    read(Receiver::new(Role::Server), frames(1, opcode, &vec![b'x'; payload_bytes], Some(key)), rounds)
}

/// Reads the same bytes again and again.
fn read(mut receiver: Receiver, mut bytes: Vec<u8>, rounds: u32) -> io::Result<()> {
    let messages: u64 = (0..rounds).map(|_| receiver.read(black_box(&mut bytes))).sum();
    let is_control = bytes[0] & 0x08 != 0;
    if is_control || messages == u64::from(rounds) { Ok(()) } else { Err(fault("A message was not decoded.")) }
}

fn fragments(rounds: u32) -> io::Result<()> {
    let mut bytes = frames(64, Opcode::Continuation, b"x", Some(KEY));
    let frame_bytes = bytes.len() / 64;
    // The first frame has the opcode, and only the last is final (RFC 6455 5.4).
    bytes.chunks_mut(frame_bytes).take(63).for_each(|frame| frame[0] &= 0x7F);
    bytes[0] |= 0x02;
    read(Receiver::new(Role::Server), bytes, rounds)
}

fn utf8(sample: &str, bytes: usize, rounds: u32) -> io::Result<()> {
    let text = sample.repeat(bytes / sample.len());
    let valid = (0..rounds).all(|_| Utf8::default().check(black_box(text.as_bytes())).is_ok());
    if valid { Ok(()) } else { Err(fault("Text was taken for something else.")) }
}

/// Reads and answers a Close frame.
fn closing(rounds: u32) -> io::Result<()> {
    let mut sent = Vec::new();
    write_close(&mut sent, Some(Close::new(CloseCode::NORMAL, "done")), Some([0; 4]));
    let (mut out, mut answered) = (Vec::with_capacity(64), 0);
    for _ in 0..rounds {
        out.clear();
        let mut receiver = Receiver::new(Role::Server);
        receiver.read(black_box(&mut sent));
        answered +=
            u32::from(Connection::new(Role::Server).close(&mut out, Close::parse(&sent[6..]).ok().flatten(), None));
        black_box(&out);
    }
    if answered == rounds { Ok(()) } else { Err(fault("A close was not answered.")) }
}

/// Reads, checks and answers a browser's request.
fn opening(rounds: u32) -> io::Result<()> {
    let limits = HeadLimits::default();
    let date = Date::from(UNIX_EPOCH);
    let mut out = Vec::with_capacity(4096);
    for _ in 0..rounds {
        out.clear();
        let end = HeadScan::default().find_end(black_box(UPGRADE), &limits).ok().flatten();
        let head = end.map_or(&[][..], |end| &UPGRADE[..end]);
        let mut headers = Headers::default();
        let upgraded = parse_request(head, &mut headers).and_then(|request| {
            let key = handshake::accept_key(handshake::check(&request)?.key());
            Ok(handshake::write_switching_protocols(&mut out, &date, &key, None, None, &[]).is_ok())
        });
        if !matches!(upgraded, Ok(true)) {
            return Err(fault("The request was refused."));
        }
        black_box(&out);
    }
    Ok(())
}

fn compress(rounds: u32) -> io::Result<()> {
    let (payload, mut compressors) = (json(1024), Compressors::new(&Compression::default()));
    let compressed = (0..rounds).all(|_| {
        black_box(compressors.compress(black_box(&payload), WindowBits::MAX))
            .is_some_and(|out| out.len() < payload.len())
    });
    if compressed { Ok(()) } else { Err(fault("The message did not become shorter.")) }
}

fn inflate(rounds: u32) -> io::Result<()> {
    let (payload, mut compressors) = (json(1024), Compressors::new(&Compression::default()));
    let mut bytes = Vec::new();
    let compressed = compressors.compress(&payload, WindowBits::MAX).unwrap_or_default();
    write_compressed_frame(&mut bytes, Opcode::Text, compressed, Some([0; 4]));
    let receiver = Receiver::compressed(Role::Server).ok_or_else(|| fault("Nothing was agreed on."))?;
    read(receiver, bytes, rounds)
}
