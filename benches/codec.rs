//! What the frame layer costs: headers, whole reads, encoding, masks and UTF-8, each beside what it could be compared to.
//!
//! Reads are decoded in place, again and again: unmasking twice restores the payload, and its content does not matter
//! where it is binary; text is sent with a key of zeros.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ringsock::protocol::{
    AssemblyPool, Connection, Event, FrameHeader, Incoming, Limits, MaskKey, Opcode, Role, Utf8, apply_mask,
    write_frame,
};

const KEY: MaskKey = [0x37, 0xFA, 0x21, 0x3D];
const READ_BYTES: usize = 64 * 1024;
const SIZES: [usize; 3] = [64, 4 * 1024, 64 * 1024];

/// A connection with all that a core keeps for it.
struct Receiver {
    connection: Connection,
    pool: AssemblyPool,
    limits: Limits,
}

impl Receiver {
    fn new() -> Self {
        Self {
            connection: Connection::new(Role::Server),
            pool: AssemblyPool::default(),
            limits: Limits { message_bytes_max: 16 * 1024 * 1024, ..Limits::default() },
        }
    }

    /// Decodes one read; the messages it completed.
    fn read(&mut self, bytes: &mut [u8]) -> u64 {
        let mut incoming = Incoming::new(bytes, 0);
        let mut messages = 0;
        while let Ok(Some(event)) = incoming.next(&mut self.connection, &mut self.pool, &self.limits) {
            if let Event::Message(message) = black_box(event) {
                messages += u64::from(!message.is_empty());
            }
        }
        messages
    }
}

/// `count` masked frames of `payload`.
fn frames(count: usize, opcode: Opcode, payload: &[u8], key: MaskKey) -> Vec<u8> {
    let mut bytes = Vec::new();
    (0..count).for_each(|_| write_frame(&mut bytes, opcode, payload, Some(key)));
    bytes
}

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
    let mut receiver = Receiver::new();

    for (name, opcode, key, payload_bytes) in [
        ("64 KiB of empty pings", Opcode::Ping, KEY, 0),
        ("64 KiB of 64 B binary frames", Opcode::Binary, KEY, 64),
        ("64 KiB of 64 B text frames", Opcode::Text, [0; 4], 64),
    ] {
        let frame = frames(1, opcode, &vec![b'x'; payload_bytes], key);
        let count = READ_BYTES / frame.len();
        let mut bytes = frame.repeat(count);
        group.throughput(Throughput::Elements(count as u64));
        group.bench_function(name, |b| b.iter(|| receiver.read(&mut bytes)));
    }

    let mut bytes = frames(1, Opcode::Binary, &[b'x'; 16 * 1024], KEY);
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    group.bench_function("16 KiB frame", |b| b.iter(|| receiver.read(&mut bytes)));

    for (opcode, key) in [(Opcode::Binary, KEY), (Opcode::Text, [0; 4])] {
        let mut bytes = frames(1, opcode, &[b'x'; 256 * 1024], key);
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function(format!("256 KiB {opcode:?} message in 64 KiB reads"), |b| {
            b.iter(|| bytes.chunks_mut(READ_BYTES).map(|read| receiver.read(read)).sum::<u64>());
        });
    }

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
            // Whole characters: a check that ends within one is another path.
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

criterion_group!(codec, header, decode, encode, mask, utf8);
criterion_main!(codec);
