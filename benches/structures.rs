//! The structures in which a core keeps its sessions and their timers, and the rings by which cores reach each other.
//!
//! Slab and wheel are the engine's own and in no interface; their files are included.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ringsock::mesh::{Mesh, MeshCapacity};

#[allow(dead_code, unused_imports, reason = "a bench uses a part of it, and not its tests")]
#[path = "../src/slab.rs"]
mod slab;
#[allow(dead_code, unused_imports, reason = "a bench uses a part of it, and not its tests")]
#[path = "../src/engine/wheel.rs"]
mod wheel;

use slab::Slab;
use wheel::Wheel;

/// As many sessions as a core of a large server has.
const SESSIONS: u32 = 100_000;

/// Bytes of a session's entry, less the slab's own.
type Entry = [u64; 10];

fn slab(c: &mut Criterion) {
    let mut group = c.benchmark_group("slab");
    let mut slab = Slab::<Entry>::default();
    let numbers: Vec<_> = (0..SESSIONS).map(|number| slab.insert([u64::from(number); 10])).collect();
    // One after the other, in an order that no processor predicts.
    let mut order = numbers.iter().cycle().step_by(7919).copied();
    group.bench_function("find", |b| {
        b.iter(|| order.next().and_then(|number| slab.get_mut(black_box(number)).map(|entry| entry[3])));
    });
    group.bench_function("remove and insert", |b| {
        let mut number = numbers[SESSIONS as usize / 2];
        b.iter(|| {
            let entry = slab.remove(number).unwrap_or_default();
            number = slab.insert(entry);
            assert!(slab.get_mut(number).is_some());
        });
    });
    group.finish();
}

fn timers(c: &mut Criterion) {
    let mut group = c.benchmark_group("wheel");
    let mut wheel = Wheel::default();
    // 25 s, in ticks of 50 ms.
    (0..SESSIONS).for_each(|index| wheel.schedule(index, 1 + index % 500));
    group.bench_function("a session that is due later already", |b| {
        b.iter(|| wheel.schedule(black_box(77), black_box(u32::MAX - 1)));
    });
    group.bench_function("cancel and schedule", |b| {
        b.iter(|| {
            wheel.cancel(black_box(77));
            wheel.schedule(77, black_box(400));
        });
    });
    let (mut tick, mut fired) = (0, Vec::new());
    group.throughput(Throughput::Elements(u64::from(SESSIONS / 500)));
    group.bench_function("a tick that fires one of 500 sessions", |b| {
        b.iter(|| {
            tick += 1;
            wheel.advance(tick, &mut fired);
            // Each is to be checked again in 25 s.
            fired.drain(..).for_each(|index| wheel.schedule(index, tick + 500));
        });
    });
    group.finish();
}

fn rings(c: &mut Criterion) {
    const ENTRIES: u64 = 64;
    let mut group = c.benchmark_group("mesh");
    group.throughput(Throughput::Elements(ENTRIES));
    for cores in [2, 16] {
        // Entries of the size that the engine sends.
        let mut ends = Mesh::<[u64; 5]>::build(cores, MeshCapacity::default());
        group.bench_function(BenchmarkId::new("64 entries to another core, of", cores), |b| {
            b.iter(|| {
                assert!((0..ENTRIES).all(|entry| ends[0].push(1, [entry; 5]).is_ok()));
                ends[0].wake_others();
                (0..ENTRIES).filter_map(|_| ends[1].pop()).map(|(_, entry)| entry[0]).sum::<u64>()
            });
        });
    }
    let mut ends = Mesh::<[u64; 5]>::build(1, MeshCapacity::default());
    let injector = ends[0].injector();
    group.bench_function("64 entries from outside", |b| {
        b.iter(|| {
            assert!((0..ENTRIES).all(|entry| injector.push(0, [entry; 5]).is_ok()));
            (0..ENTRIES).filter_map(|_| ends[0].pop_inbox()).map(|entry| entry[0]).sum::<u64>()
        });
    });
    group.finish();
}

criterion_group!(structures, slab, timers, rings);
criterion_main!(structures);
