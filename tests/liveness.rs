//! Tests of liveness in the program: real sockets, each with buffers of megabytes, on each reactor.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests fail as tests do")]

#[path = "program/mod.rs"]
#[allow(dead_code, reason = "each of these tests uses a part of it")]
mod program;
#[path = "protocol/wire.rs"]
#[allow(dead_code, reason = "shared with the protocol's tests, which use all of it")]
mod wire;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use program::on_each_reactor;
use program::run::{Run, ringsock};
use wire::{BINARY, FIN, PING, PONG, masked};

/// The message that a slow client reads: it takes twice as long as a silent client may be silent.
const MESSAGE_BYTES: usize = 4 << 20;

/// The bytes that such a client reads in a second.
const BYTES_PER_SECOND: usize = 700 * 1024;

/// The number of clients that try to read steadily on a busy machine.
const TRIES_MAX: usize = 10;

/// The patience for actions that take milliseconds, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

const UPGRADE: &[u8] = b"GET /echo HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

/// Opens a session on a server with these flags and large messages.
fn session(reactor: &str, flags: &[&str]) -> (Run, TcpStream) {
    let usual =
        ["serve", "--listen", "127.0.0.1:0", "--cores", "1", "--max-message-bytes", "16777216", "--reactor", reactor];
    let server = Run::new(ringsock(&[&usual[..], flags].concat()));
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(UPGRADE).unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.extend(byte);
    }
    assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&head));
    (server, stream)
}

/// Opens a session whose client has a large message echoed, reads the echo slowly and sends nothing meanwhile. If the
/// client itself was kept from reading for half the timeout, it is not the intended test, and another one tries.
fn session_that_reads_slowly(reactor: &str, flags: &[&str], silence_max: Duration) -> (Run, TcpStream) {
    for _ in 0..TRIES_MAX {
        let (server, mut stream) = session(reactor, flags);
        let (outcome, longest_pause) = read_slowly(&mut stream);
        match outcome {
            Ok(()) => return (server, stream),
            Err(error) => assert!(longest_pause > silence_max / 2, "{reactor}: {error}, paused for {longest_pause:?}"),
        }
    }
    panic!("{reactor}: this machine lets no client read steadily");
}

/// Has a large message echoed and reads the echo slowly. If it did not arrive whole, returns the reason and the longest
/// time in which the client did not read.
fn read_slowly(stream: &mut TcpStream) -> (Result<(), String>, Duration) {
    let mut writer = stream.try_clone().unwrap();
    let upload = thread::spawn(move || writer.write_all(&masked(FIN | BINARY, &vec![7; MESSAGE_BYTES])));
    let (sent_at, mut received, mut longest_pause) = (Instant::now(), 0, Duration::ZERO);
    let mut buffer = vec![0; 32 * 1024];
    // A message that takes long to send waits behind a ping.
    let mut head = [FIN | PING, 0];
    while head == [FIN | PING, 0] {
        if let Err(error) = stream.read_exact(&mut head) {
            return (Err(format!("{error} before the message")), sent_at.elapsed());
        }
    }
    received += head.len();
    let begun = Instant::now();
    let mut read_at = begun;
    // Ten bytes are the header.
    while received < MESSAGE_BYTES + 10 {
        let wanted = buffer.len().min(MESSAGE_BYTES + 10 - received);
        longest_pause = longest_pause.max(read_at.elapsed());
        let error = match stream.read(&mut buffer[..wanted]) {
            Ok(0) => "the stream ended".to_owned(),
            Ok(count) => {
                received += count;
                read_at = Instant::now();
                let due = Duration::from_secs_f64(received as f64 / BYTES_PER_SECOND as f64);
                thread::sleep(due.saturating_sub(begun.elapsed()));
                continue;
            }
            Err(error) => error.to_string(),
        };
        return (Err(format!("{error} after {received} bytes and {:.1?}", begun.elapsed())), longest_pause);
    }
    (upload.join().unwrap().map_err(|error| format!("the message could not be sent: {error}")), longest_pause)
}

#[test]
fn a_client_that_reads_a_large_message_slowly_is_not_dead() {
    on_each_reactor(|reactor| {
        let flags = ["--ping-interval-ms", "1000", "--dead-peer-timeout-ms", "3000"];
        let (_server, mut stream) = session_that_reads_slowly(reactor, &flags, Duration::from_secs(3));
        // Once the ping before or behind the message is answered, the session continues.
        stream.write_all(&masked(FIN | PONG, b"")).unwrap();
        stream.write_all(&masked(FIN | BINARY, b"still here")).unwrap();
        let mut head = [FIN | PING, 0];
        while head == [FIN | PING, 0] {
            stream.read_exact(&mut head).unwrap();
        }
        let mut echo = [0; 10];
        stream.read_exact(&mut echo).unwrap();
        assert_eq!(&echo, b"still here", "{reactor}");
    });
}

#[test]
fn a_client_that_reads_a_large_message_slowly_is_not_stalled() {
    on_each_reactor(|reactor| {
        // The bytes that Linux frees before it lets a sender continue take longer to read than this.
        session_that_reads_slowly(reactor, &["--set", "timeouts.send-timeout-ms=1500"], Duration::from_millis(1500));
    });
}

#[test]
fn a_client_that_answers_no_ping_is_cut_off() {
    on_each_reactor(|reactor| {
        let (_server, mut stream) = session(reactor, &["--ping-interval-ms", "1000", "--dead-peer-timeout-ms", "3000"]);
        stream.write_all(&masked(FIN | BINARY, b"hello")).unwrap();
        let begun = Instant::now();
        let mut received = Vec::new();
        let end = stream.read_to_end(&mut received).map_err(|error| error.kind());
        assert_eq!(
            (end, &received[..]),
            (Err(std::io::ErrorKind::ConnectionReset), &b"\x82\x05hello\x89\x00"[..]),
            "{reactor}"
        );
        assert!(begun.elapsed() >= Duration::from_millis(2_900), "{reactor}: after {:.1?}", begun.elapsed());
    });
}

#[test]
fn time_in_which_the_process_was_stopped_is_nobodys_silence() {
    on_each_reactor(|reactor| {
        let (server, mut stream) = session(reactor, &["--ping-interval-ms", "500", "--dead-peer-timeout-ms", "4000"]);
        let signal = |signal| {
            // SAFETY: takes two integers; the process is a child that has not been waited for.
            assert_eq!(unsafe { libc::kill(server.process.0.id() as i32, signal) }, 0);
        };
        signal(libc::SIGSTOP);
        thread::sleep(Duration::from_secs(5));
        signal(libc::SIGCONT);
        let mut ping = [0; 2];
        stream.read_exact(&mut ping).unwrap();
        assert_eq!(ping, [FIN | PING, 0], "{reactor}");
        stream.write_all(&masked(FIN | PONG, b"")).unwrap();
        stream.read_exact(&mut ping).unwrap();
    });
}
