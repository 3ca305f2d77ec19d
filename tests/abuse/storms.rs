//! Row 60: storms of TLS handshakes, beside sessions that are open.
//!
//! Invariant under test: strangers that begin handshakes, which cost a server a hundred times as much as them, take
//! neither the time of open sessions nor memory that stays.

use std::collections::VecDeque;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use ringsock::tls::{Connector, Trust};

use crate::honest::Honest;
use crate::secure::{Secure, connect, hello, start};
use crate::server::{STALE, Server};
use crate::{figure, in_time, is_full_scale, on_each_reactor, patience, scaled};

/// The bound of honest echoes during a storm.
const P99_MAX: Duration = Duration::from_millis(5);

/// The time after which a half handshake is given up.
const GIVEN_UP: Duration = Duration::from_millis(200);

/// The time from one group of half handshakes to the next.
const GROUP: Duration = Duration::from_millis(10);

/// Connections in one batch: fewer than the queue of a listener holds.
const AT_ONCE: usize = 250;

/// The bound of the processor time that a client takes that has left before its turn: a tenth of a key exchange.
const CPU_OF_LEFT_MAX: Duration = Duration::from_micros(40);

/// Bytes of memory that may stay after rounds of handshakes that were broken off.
const MEMORY_MAX: u64 = 4 << 20;

#[test]
fn row_60_half_handshakes_do_not_slow_open_sessions() {
    let (per_second, seconds) = (scaled(5_000), if is_full_scale() { 10 } else { 2 });
    on_each_reactor(|reactor| {
        let (server, secure) = start(reactor, "self-signed = true");
        let mut honest = Honest::new(&server);
        let quiet = honest.quiet();
        let (count, storm) = honest.during(|| half_handshakes(secure, per_second, seconds));
        figure(60, format!("{count} half handshakes at {per_second}/s"), "none completed");
        let bound = P99_MAX.max(quiet.p99 * 2);
        figure(60, format!("honest p99 {:.2?} → {:.2?}", quiet.p99, storm.p99), "5 ms");
        drop(honest);
        in_time(storm.p99 <= bound);
        thread::sleep(STALE);
        assert_eq!(server.counters()["tls_handshakes"], 0, "nobody has completed one");
    });
}

#[test]
fn row_60_clients_that_have_left_cost_no_handshake() {
    let batches = scaled(5_000).div_ceil(AT_ONCE);
    on_each_reactor(|reactor| {
        let (server, secure) = start(reactor, "self-signed = true");
        let hello = hello(&connector());
        let before = server.cpu();
        for batch in 1..=batches {
            // They come and leave while the server does something else.
            server.pause();
            for _ in 0..AT_ONCE {
                TcpStream::connect(secure).unwrap().write_all(&hello).unwrap();
            }
            server.signal("CONT");
            await_count(&server, "tls_handshakes_skipped", (batch * AT_ONCE) as u64);
        }
        let count = batches * AT_ONCE;
        let each = (server.cpu() - before) / count as u32;
        figure(60, format!("{count} clients that had left, all skipped, {each:.2?} of CPU each"), "40 µs");
        in_time(each <= CPU_OF_LEFT_MAX);
    });
}

#[test]
fn row_60_handshakes_that_are_broken_off_leave_no_memory() {
    let per_step = scaled(scaled(100_000)).div_ceil(3 * STEPS * AT_ONCE) * AT_ONCE;
    on_each_reactor(|reactor| {
        let (server, secure) = start(reactor, "self-signed = true");
        let connector = connector();
        let mut memory = Vec::new();
        for _ in 0..3 {
            for step in 0..STEPS {
                for _ in 0..per_step / AT_ONCE {
                    let broken: Vec<Secure> = (0..AT_ONCE).map(|_| break_off(secure, &connector, step)).collect();
                    drop(broken);
                }
            }
            server.await_descriptors(server.descriptors_before());
            memory.push(server.memory());
        }
        let grown = memory[2].saturating_sub(memory[0]);
        let count = 3 * STEPS * per_step;
        figure(60, format!("{count} handshakes broken off at {STEPS} steps, + {grown} B of memory"), "2 % or 4 MiB");
        assert!(grown <= MEMORY_MAX.max(memory[0] / 50), "{memory:?}");
    });
}

fn connector() -> Connector {
    Connector::new(&Trust::Anyone, "localhost", false).unwrap()
}

/// Sends so many ClientHellos a second, and never anything else. Returns how many.
fn half_handshakes(address: SocketAddr, per_second: usize, seconds: usize) -> usize {
    let hello = hello(&connector());
    let groups = seconds * 1_000 / GROUP.as_millis() as usize;
    let mut open: VecDeque<(Instant, TcpStream)> = VecDeque::new();
    let (begun, mut count) = (Instant::now(), 0);
    for group in 1..=groups {
        let due = group * per_second * seconds / groups;
        while count < due {
            let mut stream = connect(address);
            // The server resets the newest clients if too many wait.
            let _ = stream.write_all(&hello);
            open.push_back((Instant::now(), stream));
            count += 1;
        }
        while open.front().is_some_and(|(since, _)| since.elapsed() > GIVEN_UP) {
            open.pop_front();
        }
        thread::sleep((GROUP * group as u32).saturating_sub(begun.elapsed()));
    }
    count
}

/// Places where a handshake can be broken off.
const STEPS: usize = 5;

/// Takes a handshake as far as this step. It is broken off when the client is dropped.
fn break_off(address: SocketAddr, connector: &Connector, step: usize) -> Secure {
    let mut client = Secure::connect(address, connector);
    match step {
        0 => {}
        1 => client.send_hello(100),
        2 => client.send_hello(usize::MAX),
        // Some of the answer is read, and then all of it, behind which the session is open.
        3 => {
            client.send_hello(usize::MAX);
            client.read_some(100);
        }
        _ => {
            client.send_hello(usize::MAX);
            assert!(client.finish());
        }
    }
    client
}

/// Waits until the server has counted so many.
fn await_count(server: &Server, name: &str, count: u64) {
    let begun = Instant::now();
    loop {
        thread::sleep(STALE);
        let counted = server.counters()[name];
        if counted >= count {
            assert_eq!(counted, count, "{name}");
            return;
        }
        assert!(begun.elapsed() < patience(), "{name} is {counted}, and not {count}");
    }
}
