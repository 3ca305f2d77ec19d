//! Row 57: clients that send nothing, some of which still read.

use std::io::{ErrorKind, Read};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use crate::attacker::Peer;
use crate::server::Server;
use crate::wire::{BINARY, FIN, masked};
use crate::{figure, in_time, on_each_reactor, patience, scaled};

/// The dead-peer timeout.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The bytes sent to each slow client, and those that it reads in a second: it reads for longer than the timeout.
const MESSAGE_BYTES: usize = 1 << 20;
const BYTES_PER_SECOND: usize = 140 * 1024;

/// The time after which a client that reads nothing may count as silent. It is shorter than the server's timeout,
/// because the kernel acknowledges in portions.
const IDLE: Duration = Duration::from_secs(3);

/// Bytes of the header of such a message.
const HEADER_BYTES: usize = 10;

#[test]
fn row_57_who_still_reads_is_alive_and_who_is_silent_is_gone_in_time() {
    let count = scaled(1_000);
    let flags = ["--max-message-bytes=1048576", "--ping-interval-ms=1000", "--dead-peer-timeout-ms=5000"];
    on_each_reactor(|reactor| {
        let server = Server::start(reactor, &flags);
        let before = server.cpu();
        let address = server.address;
        let readers = thread::spawn(move || read_slowly(address, count));
        let begun = Instant::now();
        let silent = Peer::open_many(server.address, count);
        let opening = begun.elapsed();
        let lives = await_ends(silent, begun);
        let Ends { whole, idle, took } = readers.join().unwrap();
        let spent = server.cpu() - before;
        let (first, last) = (lives.iter().min().unwrap(), lives.iter().max().unwrap());
        let cut_off = count - whole - idle;
        figure(57, format!("{count} slow readers, silent for {took:.1?}: {cut_off} cut off, {idle} did not read"), "0");
        figure(57, format!("{count} silent clients gone after {first:.2?} to {last:.2?}"), "4.9 s to 6 s");
        figure(57, format!("{spent:.2?} of CPU"), "told");
        assert_eq!(cut_off, 0, "slow readers were cut off");
        assert!(*first >= TIMEOUT - Duration::from_millis(100), "gone after {first:.2?}");
        in_time(*last <= opening + TIMEOUT + Duration::from_secs(1));
    });
}

/// The outcomes of slow readers.
#[derive(Default)]
struct Ends {
    /// Readers that received the whole message.
    whole: usize,
    /// Readers that were cut off after this process had no processor for so long that they were as good as silent.
    idle: usize,
    took: Duration,
}

/// Has a large message echoed to each of some clients, which read it slowly and send nothing.
fn read_slowly(address: SocketAddr, count: usize) -> Ends {
    let message = masked(FIN | BINARY, &vec![7; MESSAGE_BYTES]);
    let (mut readers, mut ends, mut buffer) = (Vec::new(), Ends::default(), vec![0; 64 * 1024]);
    let begun = Instant::now();
    for number in 0.. {
        if number < count {
            readers.push(Reader::begin(address, &message));
        } else if readers.is_empty() {
            break;
        } else {
            thread::sleep(Duration::from_millis(20));
        }
        readers.retain_mut(|reader| reader.read(&mut buffer, &mut ends));
    }
    Ends { took: begun.elapsed(), ..ends }
}

/// A client that reads at a steady pace.
struct Reader {
    stream: TcpStream,
    received: usize,
    begun: Instant,
    last: Instant,
    /// The longest time in which it read nothing.
    idle: Duration,
}

impl Reader {
    fn begin(address: SocketAddr, message: &[u8]) -> Self {
        let begun = Instant::now();
        let mut peer = Peer::open(address);
        peer.write(message);
        let stream = peer.into_stream();
        stream.set_nonblocking(true).unwrap();
        Self { stream, received: 0, begun, last: begun, idle: Duration::ZERO }
    }

    /// Reads once. Returns whether there is more to come.
    fn read(&mut self, buffer: &mut [u8], ends: &mut Ends) -> bool {
        const WHOLE: usize = HEADER_BYTES + MESSAGE_BYTES;
        let due = (self.begun.elapsed().as_secs_f64() * BYTES_PER_SECOND as f64) as usize;
        let wanted = due.min(WHOLE).saturating_sub(self.received).min(buffer.len());
        if wanted == 0 {
            return true;
        }
        self.idle = self.idle.max(self.last.elapsed());
        self.last = Instant::now();
        match self.stream.read(&mut buffer[..wanted]) {
            Ok(count) if count > 0 => self.received += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
            _ => {
                ends.idle += usize::from(self.idle >= IDLE);
                return false;
            }
        }
        let is_whole = self.received == WHOLE;
        ends.whole += usize::from(is_whole);
        !is_whole
    }
}

/// Returns when each of some clients that answer nothing ended, counted from the first connect.
fn await_ends(peers: Vec<Peer>, begun: Instant) -> Vec<Duration> {
    let mut peers: Vec<Option<Peer>> = peers.into_iter().map(Some).collect();
    let mut lives = Vec::new();
    while lives.len() < peers.len() {
        assert!(begun.elapsed() < patience(), "{} silent clients are still there", peers.len() - lives.len());
        for entry in &mut peers {
            if entry.as_mut().is_some_and(Peer::has_ended) {
                *entry = None;
                lives.push(begun.elapsed());
            }
        }
        thread::sleep(Duration::from_millis(20));
    }
    lives
}
