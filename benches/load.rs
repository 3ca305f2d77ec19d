//! The cost of the load generator for each message: if it were high, the generator would measure itself.
//!
//! Stamps are in no interface; their file is included.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ringsock::load::{Counts, Latencies};
// The module that the file below calls `crate::protocol`.
use ringsock::protocol;

#[allow(dead_code, unused_imports, reason = "a bench uses a part of it, and not its tests")]
#[path = "../src/load/stamp.rs"]
mod stamp;

use protocol::apply_mask;
use stamp::{Messages, Stamp};

const STAMP: Stamp = Stamp { sender: 7, number: 123_456, due_ns: 1_234_567_890 };

fn messages(c: &mut Criterion) {
    let mut group = c.benchmark_group("message");
    for size in [64, 16 * 1024] {
        // In an echo each connection remembers when its own messages were due; in a fan-out every message contains it.
        for (name, says_when) in [("echo", false), ("fan-out", true)] {
            let mut messages = Messages::new(size, false, &Default::default(), says_when);
            let mut frame = Vec::with_capacity(2 * size);
            group.throughput(Throughput::Bytes(size as u64));
            group.bench_function(BenchmarkId::new(format!("write, {name}"), size), |b| {
                b.iter(|| {
                    frame.clear();
                    messages.write(&mut frame, black_box(STAMP));
                });
            });
            // The message as a server would send it back.
            let payload_at = frame.len() - size;
            let (header, payload) = frame.split_at_mut(payload_at);
            let Some((_, key)) = header.split_last_chunk() else { return };
            apply_mask(payload, *key, 0);
            group.bench_function(BenchmarkId::new(format!("know again, {name}"), size), |b| {
                b.iter(|| {
                    if says_when {
                        assert_eq!(messages.read(black_box(payload)), Some(STAMP));
                    } else {
                        assert!(messages.is(black_box(payload), STAMP.sender, STAMP.number));
                    }
                });
            });
        }
    }
    group.finish();
}

fn tally(c: &mut Criterion) {
    let mut group = c.benchmark_group("tally");
    let mut latencies = Latencies::default();
    let mut took_ns = 1;
    group.bench_function("note a latency", |b| {
        b.iter(|| {
            took_ns = took_ns * 48_271 % 2_147_483_647;
            latencies.note(black_box(took_ns), 1);
        });
    });
    group.bench_function("a percentile of many", |b| b.iter(|| black_box(&latencies).percentile(99.9)));
    // Every worker reports ten times a second.
    let mut all = Latencies::default();
    group.bench_function("add a worker's to all", |b| b.iter(|| all += black_box(&latencies)));
    let (mut sum, mut counts) = (Counts::default(), Counts { received: 1, ..Counts::default() });
    counts.fault("The server answered with something else.", 1);
    group.bench_function("add a worker's counts to all", |b| b.iter(|| sum += black_box(&counts)));
    group.finish();
}

criterion_group!(load, messages, tally);
criterion_main!(load);
