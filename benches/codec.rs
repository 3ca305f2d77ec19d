//! The cost of the protocol layer: frames, messages, masks, UTF-8, compression, heads and handshakes, each beside a
//! reference.
//!
//! Reads are decoded in place, again and again: unmasking twice restores the payload, and the content of binary
//! messages does not matter; text is sent with a key of zeros.

use std::hint::black_box;
use std::time::UNIX_EPOCH;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ringsock::protocol::deflate::{Compress, Compression, Compressors, WindowBits};
use ringsock::protocol::handshake::Offer;
use ringsock::protocol::handshake::client::ClientHandshake;
use ringsock::protocol::http::{Date, HeadLimits, HeadScan, Headers, Response, parse_request, proxy, write_response};
use ringsock::protocol::{
    BatchBuilder, Close, CloseCode, FrameHeader, Message, Opcode, Origins, Role, Utf8, apply_mask, handshake,
    write_close, write_compressed_frame, write_frame,
};

mod fixtures;

use fixtures::{KEY, Receiver, UPGRADE, frames, json};

const READ_BYTES: usize = 64 * 1024;
const SIZES: [usize; 3] = [64, 4 * 1024, 64 * 1024];

fn header(c: &mut Criterion) {
    let mut group = c.benchmark_group("header");
    for payload_bytes in [64, 4096, 1 << 20] {
        let frame =
            FrameHeader { fin: true, opcode: Opcode::Binary, compressed: false, mask: Some(KEY), payload_bytes };
        let (bytes, length) = frame.encode();
        group.bench_function(BenchmarkId::new("parse", payload_bytes), |b| {
            b.iter(|| FrameHeader::parse(black_box(&bytes[..length]), Role::Server, false));
        });
    }
    group.finish();
}

fn decode(c: &mut Criterion) {
    let mut group = c.benchmark_group("decode");
    let mut receiver = Receiver::new(Role::Server);

    for (name, opcode, key, payload_bytes) in [
        ("64 KiB of empty pings", Opcode::Ping, KEY, 0),
        ("64 KiB of 64 B binary frames", Opcode::Binary, KEY, 64),
        ("64 KiB of 64 B text frames", Opcode::Text, [0; 4], 64),
    ] {
        let frame = frames(1, opcode, &vec![b'x'; payload_bytes], Some(key));
        let count = READ_BYTES / frame.len();
        let mut bytes = frame.repeat(count);
        group.throughput(Throughput::Elements(count as u64));
        group.bench_function(name, |b| b.iter(|| receiver.read(&mut bytes)));
    }

    let mut bytes = frames(1, Opcode::Binary, &[b'x'; 16 * 1024], Some(KEY));
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    group.bench_function("16 KiB frame", |b| b.iter(|| receiver.read(&mut bytes)));

    for (opcode, key) in [(Opcode::Binary, KEY), (Opcode::Text, [0; 4])] {
        let mut bytes = frames(1, opcode, &[b'x'; 256 * 1024], Some(key));
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function(format!("256 KiB {opcode:?} message in 64 KiB reads"), |b| {
            b.iter(|| bytes.chunks_mut(READ_BYTES).map(|read| receiver.read(read)).sum::<u64>());
        });
    }

    // The messages that a load generator receives.
    let mut client = Receiver::new(Role::Client);
    let mut bytes = frames(900, Opcode::Binary, &[b'x'; 64], None);
    group.throughput(Throughput::Elements(900));
    group.bench_function("900 frames of 64 B as a client", |b| b.iter(|| client.read(&mut bytes)));

    // The worst that a client can ask for: a byte of payload per frame.
    const FRAGMENTS: usize = 9000;
    let mut bytes = Vec::new();
    for index in 0..FRAGMENTS {
        let opcode = if index == 0 { Opcode::Binary } else { Opcode::Continuation };
        let fin = index + 1 == FRAGMENTS;
        FrameHeader { fin, opcode, compressed: false, mask: Some(KEY), payload_bytes: 1 }.write(&mut bytes);
        bytes.push(b'x');
    }
    group.throughput(Throughput::Elements(FRAGMENTS as u64));
    group.bench_function("message in 1 B fragments", |b| b.iter(|| receiver.read(&mut bytes)));
    group.finish();
}

fn encode(c: &mut Criterion) {
    let mut group = c.benchmark_group("encode");
    let mut out = Vec::with_capacity(READ_BYTES);
    for (name, mask) in [("server", None), ("client", Some(KEY))] {
        for payload_bytes in [64, 16 * 1024] {
            let payload = vec![b'x'; payload_bytes];
            group.throughput(Throughput::Bytes(payload_bytes as u64));
            group.bench_function(BenchmarkId::new(name, payload_bytes), |b| {
                b.iter(|| {
                    out.clear();
                    write_frame(&mut out, Opcode::Binary, black_box(&payload), mask);
                    black_box(out.len())
                });
            });
        }
    }
    group.finish();
}

fn mask(c: &mut Criterion) {
    let mut group = c.benchmark_group("mask");
    for bytes in SIZES {
        let mut payload = vec![b'x'; bytes];
        group.throughput(Throughput::Bytes(bytes as u64));
        group.bench_function(BenchmarkId::from_parameter(bytes), |b| {
            b.iter(|| apply_mask(black_box(&mut payload), black_box(KEY), 0));
        });
    }
    group.finish();
}

fn utf8(c: &mut Criterion) {
    let mut group = c.benchmark_group("utf8");
    for (name, sample) in [("ascii", "The quick brown fox. "), ("mixed", "Grüße, κόσμε 🦀! ")] {
        for bytes in SIZES {
            // Whole characters: a check that ends within one takes another path.
            let text = sample.repeat(bytes / sample.len());
            let text = text.as_bytes();
            group.throughput(Throughput::Bytes(text.len() as u64));
            group.bench_function(BenchmarkId::new(format!("{name}/ringsock"), bytes), |b| {
                b.iter(|| Utf8::default().check(black_box(text)));
            });
            group.bench_function(BenchmarkId::new(format!("{name}/simdutf8"), bytes), |b| {
                b.iter(|| simdutf8::basic::from_utf8(black_box(text)).is_ok());
            });
            group.bench_function(BenchmarkId::new(format!("{name}/std"), bytes), |b| {
                b.iter(|| std::str::from_utf8(black_box(text)).is_ok());
            });
        }
    }
    group.finish();
}

fn deflate(c: &mut Criterion) {
    let mut group = c.benchmark_group("deflate");
    let Some(answer) = fixtures::agreed() else { return };
    for bytes in [256, 1024, 16 * 1024] {
        let payload = json(bytes);
        let mut compressors = Compressors::new(&Compression::default());
        let mut frame = Vec::new();
        let compressed = compressors.compress(&payload, WindowBits::MAX).unwrap_or_default();
        write_compressed_frame(&mut frame, Opcode::Text, compressed, Some([0; 4]));
        group.throughput(Throughput::Bytes(bytes as u64));
        group.bench_function(BenchmarkId::new("compress", bytes), |b| {
            b.iter(|| {
                black_box(compressors.compress(black_box(&payload), answer.agreement.server_window_bits)).is_some()
            });
        });
        let Some(mut receiver) = Receiver::compressed(Role::Server) else { return };
        group.bench_function(BenchmarkId::new("inflate", bytes), |b| {
            b.iter(|| assert_eq!(receiver.read(black_box(&mut frame)), 1));
        });
    }
    group.finish();
}

/// Gathers a topic's messages of a turn, for connections with compression and without.
fn batch(c: &mut Criterion) {
    let mut group = c.benchmark_group("batch");
    let payload = json(512);
    let text = String::from_utf8_lossy(&payload);
    let gathered = || {
        let mut builder = BatchBuilder::default();
        (0..16).for_each(|_| builder.push(Message::Text(black_box(&text)), Compress::IfLarge));
        builder.finish()
    };
    group.throughput(Throughput::Elements(16));
    group.bench_function("gather 16 × 512 B", |b| b.iter(gathered));
    let batch = gathered();
    group.bench_function("refer to it", |b| b.iter(|| black_box(&batch).plain().slice(3..16)));
    let mut compressors = Compressors::new(&Compression::default());
    group.bench_function("gather and compress it once", |b| {
        b.iter(|| gathered().encoding(Some(WindowBits::MAX), Some(&mut compressors)).messages());
    });
    group.finish();
}

fn head(c: &mut Criterion) {
    let mut group = c.benchmark_group("head");
    let limits = HeadLimits::default();
    group.throughput(Throughput::Bytes(UPGRADE.len() as u64));
    group.bench_function("find its end", |b| b.iter(|| HeadScan::default().find_end(black_box(UPGRADE), &limits)));
    group.bench_function("find its end, byte by byte", |b| {
        b.iter(|| {
            let mut scan = HeadScan::default();
            (1..=UPGRADE.len()).filter(|end| matches!(scan.find_end(&UPGRADE[..*end], &limits), Ok(Some(_)))).count()
        });
    });
    group.bench_function("parse", |b| {
        b.iter(|| {
            let mut headers = Headers::default();
            parse_request(black_box(UPGRADE), &mut headers).is_ok_and(|request| request.is_upgrade())
        });
    });
    let date = Date::from(UNIX_EPOCH);
    let (response, mut out) = (Response::json(200, r#"{"topic":"prices","sent":"queued"}"#), Vec::with_capacity(1024));
    group.bench_function("write a response", |b| {
        b.iter(|| {
            out.clear();
            write_response(&mut out, black_box(&response), &date, true, false);
            out.len()
        });
    });
    for (name, header) in [("v1", &b"PROXY TCP4 192.0.2.7 192.0.2.1 40001 443\r\n"[..]), ("v2", &PROXY_V2)] {
        assert!(matches!(proxy::parse(header), Ok(Some(_))), "{name} is no PROXY header");
        group.bench_function(BenchmarkId::new("PROXY", name), |b| b.iter(|| proxy::parse(black_box(header))));
    }
    group.finish();
}

/// Version 2, a proxied connection over TCP and IPv4, 12 bytes of addresses and ports.
const PROXY_V2: [u8; 28] = [
    0x0D, 0x0A, 0x0D, 0x0A, 0x00, 0x0D, 0x0A, 0x51, 0x55, 0x49, 0x54, 0x0A, 0x21, 0x11, 0, 12, 192, 0, 2, 7, 192, 0, 2,
    1, 0x9C, 0x41, 0x01, 0xBB,
];

fn handshakes(c: &mut Criterion) {
    let mut group = c.benchmark_group("handshake");
    let mut headers = Headers::default();
    let Ok(request) = parse_request(UPGRADE, &mut headers) else { return };
    let origins = Origins::default();
    group.bench_function("judge a request", |b| {
        b.iter(|| {
            let request = black_box(&request);
            let allowed = origins.allow(request.header("Origin"), request.host());
            handshake::check(request).is_ok_and(|handshake| handshake.extensions().count() == 1) && allowed
        });
    });
    group.bench_function("accept a key", |b| b.iter(|| handshake::accept_key(black_box(b"dGhlIHNhbXBsZSBub25jZQ=="))));

    let mut out = Vec::with_capacity(1024);
    let offer = Some(Offer::new(&Compression::default()));
    let mut answer = Vec::new();
    let extensions = fixtures::agreed().map(|answer| answer.header);
    let asked = |out: &mut Vec<u8>| {
        out.clear();
        ClientHandshake::write_request(out, "localhost:9000", "/echo", black_box([7; 16]), &[], offer, &[])
    };
    group.bench_function("ask as a client", |b| b.iter(|| asked(&mut out).is_ok()));
    let Ok(client) = asked(&mut out) else { return };
    let mut headers = Headers::default();
    let key = parse_request(&out, &mut headers).ok().and_then(|request| request.header("Sec-WebSocket-Key"));
    let key = handshake::accept_key(key.unwrap_or_default());
    let date = Date::from(UNIX_EPOCH);
    let written = handshake::write_switching_protocols(&mut answer, &date, &key, None, extensions.as_deref(), &[]);
    assert!(written.is_ok() && client.check_response(&answer, &[]).is_ok(), "the answer does not fit");
    group.bench_function("judge an answer as a client", |b| {
        b.iter(|| client.check_response(black_box(&answer), &[]).is_ok())
    });
    group.finish();
}

fn close(c: &mut Criterion) {
    let mut group = c.benchmark_group("close");
    let mut out = Vec::with_capacity(128);
    write_close(&mut out, Some(Close::new(CloseCode::NORMAL, "the work is done")), None);
    let payload = out[2..].to_vec();
    group.bench_function("parse", |b| b.iter(|| Close::parse(black_box(&payload)).is_ok()));
    group.bench_function("write", |b| {
        b.iter(|| {
            out.clear();
            write_close(&mut out, Some(Close::new(CloseCode::NORMAL, black_box("the work is done"))), None);
            out.len()
        });
    });
    group.finish();
}

criterion_group!(codec, header, decode, encode, mask, utf8, deflate, batch, head, handshakes, close);
criterion_main!(codec);
