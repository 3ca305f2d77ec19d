//! Many clients that read everything, on one thread: fast enough to keep up with a server that sends to thousands.
//!
//! Never blocks. Invariant: each client's frames are returned one by one, whole and in order.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use crate::attacker::{Peer, frame_bounds};
use crate::patience;
use crate::wire::{FIN, PONG, masked};

/// The size of one read.
const READ_BYTES: usize = 256 * 1024;

/// The time without input after which a probe counts as lost.
const PROBE_WAIT: Duration = Duration::from_millis(200);

/// Sockets reported at a time.
const EVENTS: usize = 1024;

pub struct Audience {
    epoll: i32,
    listeners: Vec<Listener>,
    buffer: Vec<u8>,
    events: Vec<libc::epoll_event>,
}

struct Listener {
    stream: TcpStream,
    /// The beginning of an incomplete frame.
    rest: Vec<u8>,
}

impl Audience {
    pub fn new() -> Self {
        // SAFETY: takes an integer and returns a descriptor or an error.
        let epoll = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        assert!(epoll >= 0);
        let events = vec![libc::epoll_event { events: 0, u64: 0 }; EVENTS];
        Self { epoll, listeners: Vec::new(), buffer: vec![0; READ_BYTES], events }
    }

    /// Adds a client, and returns its number.
    pub fn add(&mut self, peer: Peer) -> usize {
        let stream = peer.into_stream();
        stream.set_nonblocking(true).unwrap();
        let number = self.listeners.len();
        let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: number as u64 };
        // SAFETY: both descriptors are open, and the event is a live local.
        let added = unsafe { libc::epoll_ctl(self.epoll, libc::EPOLL_CTL_ADD, stream.as_raw_fd(), &mut event) };
        assert_eq!(added, 0);
        self.listeners.push(Listener { stream, rest: Vec::new() });
        number
    }

    pub fn len(&self) -> usize {
        self.listeners.len()
    }

    /// Makes a client send a message that is small enough to be taken at once.
    pub fn say(&mut self, number: usize, frames: &[u8]) {
        let stream = &mut self.listeners[number].stream;
        let mut rest = frames;
        while !rest.is_empty() {
            match stream.write(rest) {
                Ok(count) => rest = &rest[count..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::yield_now(),
                Err(error) => panic!("client {number} cannot write: {error}"),
            }
        }
    }

    /// Publishes until so many of the clients have received a message: a core learns of subscriptions on others with
    /// some delay. Each probe differs from the others, and none is under way any more when this returns.
    pub fn await_subscriptions(&mut self, hearers: usize, mut publish: impl FnMut(&mut Self, &[u8])) {
        let end = Instant::now() + patience();
        for round in 0.. {
            let probe = format!("heard? {round}").into_bytes();
            publish(self, &probe);
            let mut missing = hearers;
            while missing > 0 && self.hear(PROBE_WAIT, |_, _, payload| missing -= usize::from(payload == probe)) {}
            if missing == 0 {
                return;
            }
            assert!(Instant::now() < end, "{missing} of {hearers} never hear what is published");
        }
    }

    /// Waits at most this long, and passes on the frames that arrive: the client, the first byte, and the payload.
    /// Answers pings. Returns whether anything arrived.
    pub fn hear(&mut self, wait: Duration, mut each: impl FnMut(usize, u8, &[u8])) -> bool {
        let (capacity, wait_ms) = (self.events.len() as i32, wait.as_millis() as i32);
        // SAFETY: pointer and length are those of the events.
        let ready = unsafe { libc::epoll_wait(self.epoll, self.events.as_mut_ptr(), capacity, wait_ms) };
        for at in 0..ready.max(0) as usize {
            let number = self.events[at].u64 as usize;
            let listener = &mut self.listeners[number];
            match listener.stream.read(&mut self.buffer) {
                Ok(0) => panic!("the connection of client {number} has ended"),
                Ok(count) => listener.take(&self.buffer[..count], |first, payload| each(number, first, payload)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => panic!("client {number} cannot read: {error}"),
            }
        }
        ready > 0
    }
}

impl Listener {
    fn take(&mut self, bytes: &[u8], mut each: impl FnMut(u8, &[u8])) {
        let mut pongs = Vec::new();
        let mut hand_out = |bytes: &[u8]| {
            let mut at = 0;
            while let Some((first, start, end)) =
                frame_bounds(&bytes[at..]).filter(|(.., end)| *end <= bytes.len() - at)
            {
                let payload = &bytes[at + start..at + end];
                if first == 0x89 {
                    pongs.extend(masked(FIN | PONG, payload))
                } else {
                    each(first, payload)
                }
                at += end;
            }
            at
        };
        if self.rest.is_empty() {
            let taken = hand_out(bytes);
            self.rest.extend_from_slice(&bytes[taken..]);
        } else {
            self.rest.extend_from_slice(bytes);
            let taken = hand_out(&self.rest);
            self.rest.drain(..taken);
        }
        if !pongs.is_empty() {
            let _ = self.stream.write(&pongs);
        }
    }
}

impl Drop for Audience {
    fn drop(&mut self) {
        // SAFETY: the descriptor is this value's own.
        unsafe { libc::close(self.epoll) };
    }
}
