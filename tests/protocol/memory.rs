//! The memory that a peer can make a connection allocate, counted by the allocator itself.

use ringsock::protocol::{AssemblyPool, Connection, Incoming, MessageLimits, Role, Violation};

use crate::allocator::Growth;
use crate::harness::Random;
use crate::wire::*;

/// The cost of an incomplete message beyond its bytes: the assembly itself and the smallest buffer.
const SMALL: isize = 8 * 1024;

/// Reads once, which yields no event; `bytes` are unmasked in place.
fn read(
    bytes: &mut [u8],
    connection: &mut Connection,
    pool: &mut AssemblyPool,
    limits: &MessageLimits,
) -> Result<(), Violation> {
    let mut incoming = Incoming::new(bytes, 0);
    assert_eq!(incoming.next(connection, pool, limits)?, None);
    Ok(())
}

#[test]
fn the_counter_counts() {
    let growth = Growth::start();
    let block = std::hint::black_box(vec![0u8; 1000]);
    assert_eq!((growth.now(), growth.peak()), (1000, 1000));
    drop(block);
    assert_eq!((growth.now(), growth.peak()), (0, 1000));
}

#[test]
fn ten_thousand_frames_that_claim_exabytes_grow_nothing() {
    const FRAMES: usize = 10_000;
    let (limits, mut pool) = (MessageLimits::default(), AssemblyPool::default());
    let mut connections: Vec<_> = (0..FRAMES).map(|_| Connection::new(Role::Server)).collect();
    let mut random = Random(3);
    let mut headers: Vec<_> = (0..FRAMES)
        .map(|_| {
            let length = (1 << 31) + random.number() % ((1 << 63) - (1 << 31));
            header([TEXT, BINARY, FIN | TEXT, FIN | BINARY][random.below(4)], Some(KEY), length)
        })
        .collect();
    let growth = Growth::start();
    for (connection, header) in connections.iter_mut().zip(&mut headers) {
        let refused = read(header, connection, &mut pool, &limits);
        assert!(matches!(refused, Err(Violation::MessageTooLarge { .. })));
        assert_eq!(connection.assembling_since(), None);
    }
    assert_eq!((growth.now(), growth.peak()), (0, 0));

    // In two reads, the beginning of the header must be kept, and nothing more.
    for (connection, header) in connections.iter_mut().zip(&mut headers) {
        let (first, second) = header.split_at_mut(5);
        assert_eq!(read(first, connection, &mut pool, &limits), Ok(()));
        assert!(read(second, connection, &mut pool, &limits).is_err());
        assert_eq!(connection.assembling_since(), None);
    }
    let (now, peak) = (growth.now(), growth.peak());
    assert!(now <= SMALL && peak <= SMALL, "{now}, at most {peak}");
}

#[test]
fn a_claim_within_a_huge_limit_is_paid_for_only_as_bytes_arrive() {
    let mut limits = MessageLimits::default();
    limits.message_bytes_max = u64::MAX;
    let (mut pool, mut connection) = (AssemblyPool::default(), Connection::new(Role::Server));
    let mut bytes = header(BINARY, Some(KEY), (1 << 63) - 1);
    bytes.extend([0; 100_000]);
    let growth = Growth::start();
    assert_eq!(read(&mut bytes, &mut connection, &mut pool, &limits), Ok(()));
    assert!(growth.peak() <= 2 * 100_000 + SMALL, "{growth:?}: {}", growth.peak());
}

#[test]
fn an_unfinished_message_costs_at_most_twice_the_limit() {
    for message_bytes_max in [10_000, 65_536, 65_537, 100_000, 1_000_000] {
        for read_bytes in [100, 1000, 4096, 65_536] {
            let mut limits = MessageLimits::default();
            limits.message_bytes_max = message_bytes_max;
            let (mut pool, mut connection) = (AssemblyPool::default(), Connection::new(Role::Server));
            let mut bytes = masked(BINARY, &vec![0; message_bytes_max as usize]);
            let growth = Growth::start();
            for piece in bytes.chunks_mut(read_bytes) {
                assert_eq!(read(piece, &mut connection, &mut pool, &limits), Ok(()));
            }
            let peak = growth.peak();
            let allowed = 2 * message_bytes_max as isize + SMALL;
            assert!(peak <= allowed, "{peak} for {message_bytes_max} in reads of {read_bytes}");
        }
    }
}

/// Guards against CVE-2026-48779: in other servers an object per fragment cost many times its payload.
#[test]
fn tiny_fragments_on_64_connections_cost_what_their_bytes_cost() {
    const CONNECTIONS: usize = 64;
    let limits = MessageLimits::default();
    let allowed = CONNECTIONS as isize * (limits.message_bytes_max as isize + SMALL);
    let mut pool = AssemblyPool::default();
    let mut connections: Vec<_> = (0..CONNECTIONS).map(|_| Connection::new(Role::Server)).collect();
    // One fragment too many for a message of the default limit, then far more.
    let mut fragments = masked(BINARY, b"x");
    fragments.extend(masked(CONTINUATION, b"x").repeat(130_999));
    let stalled = fragments.len() / 131_000 * 60_000;
    let mut scratch = vec![0; fragments.len()];
    let growth = Growth::start();
    for connection in &mut connections {
        scratch.copy_from_slice(&fragments);
        assert_eq!(read(&mut scratch[..stalled], connection, &mut pool, &limits), Ok(()));
    }
    let now = growth.now();
    assert!(now <= allowed, "{now} while 60,000 fragments wait for more");
    for connection in &mut connections {
        scratch.copy_from_slice(&fragments);
        let refused = read(&mut scratch[stalled..], connection, &mut pool, &limits);
        assert_eq!(refused, Err(Violation::MessageTooLarge { bytes: 65_537, max: 65_536 }));
    }
    let (now, peak) = (growth.now(), growth.peak());
    assert!(peak <= allowed && now <= AssemblyPool::BYTES_MAX as isize, "{now}, at most {peak}");
}

#[test]
fn a_control_frame_that_is_cut_costs_hardly_more_than_its_bytes() {
    let limits = MessageLimits::default();
    let (mut pool, mut connection) = (AssemblyPool::default(), Connection::new(Role::Server));
    let mut bytes = masked(FIN | PING, &[0; 125]);
    let growth = Growth::start();
    for byte in bytes.chunks_mut(1).take(130) {
        assert_eq!(read(byte, &mut connection, &mut pool, &limits), Ok(()));
    }
    let (now, peak) = (growth.now(), growth.peak());
    assert!(now <= 512 && peak <= 512, "{now}, at most {peak}");
}

#[test]
fn assemblies_of_finished_messages_are_reused() {
    let limits = MessageLimits::default();
    let (mut pool, mut connection) = (AssemblyPool::default(), Connection::new(Role::Server));
    let message = masked(FIN | BINARY, &[0; 60_000]);
    let mut scratch = message.clone();
    let mut growth = Growth::start();
    for round in 0..100 {
        scratch.copy_from_slice(&message);
        let (first, second) = scratch.split_at_mut(30_000);
        assert_eq!(read(first, &mut connection, &mut pool, &limits), Ok(()));
        let mut incoming = Incoming::new(second, 0);
        assert!(matches!(incoming.next(&mut connection, &mut pool, &limits), Ok(Some(_))));
        assert_eq!(incoming.next(&mut connection, &mut pool, &limits), Ok(None));
        if round == 0 {
            growth = Growth::start();
        }
    }
    assert_eq!((growth.now(), growth.peak()), (0, 0));
}
