//! Row 60: storms of TLS handshakes, beside sessions that are open.
//!
//! Invariant under test: strangers that begin handshakes, which cost a server a hundred times as much as them, take
//! neither the time of open sessions nor memory that stays.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use std::{fs, thread};

use ringsock::tls::{Connector, Session, Trust};
use socket2::SockRef;

use crate::honest::Honest;
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
        let (server, secure) = start(reactor);
        let mut honest = Honest::new(&server);
        let quiet = honest.quiet();
        let hello = hello();
        let (count, storm) = honest.during(|| half_handshakes(secure, &hello, per_second, seconds));
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
        let (server, secure) = start(reactor);
        let hello = hello();
        let before = server.cpu();
        for batch in 1..=batches {
            // They come and leave while the server does something else.
            server.pause();
            for _ in 0..AT_ONCE {
                let mut stream = TcpStream::connect(secure).unwrap();
                stream.write_all(&hello).unwrap();
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
        let (server, secure) = start(reactor);
        let connector = connector();
        let mut memory = Vec::new();
        for _ in 0..3 {
            for step in 0..STEPS {
                for _ in 0..per_step / AT_ONCE {
                    let broken: Vec<TcpStream> = (0..AT_ONCE).map(|_| break_off(secure, &connector, step)).collect();
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

/// Starts a server that speaks TLS at one of two addresses, and returns that address.
fn start(reactor: &str) -> (Server, SocketAddr) {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let secure = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let name = format!("storms-{}-{number}.toml", std::process::id());
    let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let listen = |address: &str, tls| format!("[[listen]]\naddress = \"{address}\"\ntls = \"{tls}\"\n");
    let (plain, secured) = (listen("127.0.0.1:0", "off"), listen(&secure.to_string(), "on"));
    fs::write(&file, format!("{plain}{secured}[tls]\nself-signed = true\n")).unwrap();
    let server = Server::start_with_file(reactor, file.to_str().unwrap());
    fs::remove_file(file).unwrap();
    (server, secure)
}

fn connector() -> Connector {
    Connector::new(&Trust::Anyone, "localhost", false).unwrap()
}

/// Returns a ClientHello, as one client sends it.
fn hello() -> Vec<u8> {
    begin(&connector()).1
}

/// Begins the session of a client, and returns its first message.
fn begin(connector: &Connector) -> (Session, Vec<u8>) {
    let (mut session, mut hello) = (connector.connect().unwrap(), Vec::new());
    session.open(&mut [], &mut hello).unwrap();
    (session, hello)
}

/// Connects. The end of the connection is a reset, which leaves no port in use.
fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(patience())).unwrap();
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    stream
}

/// Sends so many ClientHellos a second, and never anything else. Returns how many.
fn half_handshakes(address: SocketAddr, hello: &[u8], per_second: usize, seconds: usize) -> usize {
    let groups = seconds * 1_000 / GROUP.as_millis() as usize;
    let mut open: VecDeque<(Instant, TcpStream)> = VecDeque::new();
    let (begun, mut count) = (Instant::now(), 0);
    for group in 1..=groups {
        let due = group * per_second * seconds / groups;
        while count < due {
            let mut stream = connect(address);
            // The server resets the newest clients if too many wait.
            let _ = stream.write_all(hello);
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

/// Takes a handshake as far as this step. It is broken off when the connection is dropped.
fn break_off(address: SocketAddr, connector: &Connector, step: usize) -> TcpStream {
    let mut stream = connect(address);
    let (mut session, hello) = begin(connector);
    match step {
        0 => {}
        1 => stream.write_all(&hello[..hello.len() / 2]).unwrap(),
        2 => stream.write_all(&hello).unwrap(),
        // Some of the answer is read, and then all of it, behind which the session is open.
        3 => {
            stream.write_all(&hello).unwrap();
            stream.read_exact(&mut [0; 100]).unwrap();
        }
        _ => {
            stream.write_all(&hello).unwrap();
            finish(&mut stream, &mut session);
        }
    }
    stream
}

/// Shakes hands to the end.
fn finish(stream: &mut TcpStream, session: &mut Session) {
    let mut bytes = [0; 16 << 10];
    while !session.is_connected() {
        let count = stream.read(&mut bytes).unwrap();
        assert!(count > 0, "the server ended the handshake");
        let mut buffer = [session.kept(), &bytes[..count]].concat();
        let mut answer = Vec::new();
        session.open(&mut buffer, &mut answer).unwrap();
        stream.write_all(&answer).unwrap();
    }
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
