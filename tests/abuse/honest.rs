//! Clients that keep every rule, at a steady pace, and measure how long their echoes take.
//!
//! Invariant: every echo is checked, and no late one is left out: an echo that could not be sent in time counts from
//! the moment it was due. Time in which the server or this client was runnable and other threads had the processors
//! does not count, because the attack runs on the same machine.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::attacker::{Next, Peer};
use crate::p99;
use crate::server::Server;
use crate::wire::{FIN, TEXT};

const CLIENTS: usize = 50;

/// The time from one echo to the next, over all clients.
const PACE: Duration = Duration::from_millis(2);

/// The least samples for a 99th percentile.
const ECHOES_MIN: usize = 300;

/// A time slice that a machine's scheduler alone may take.
pub const FLOOR: Duration = Duration::from_millis(10);

pub struct Honest {
    peers: Vec<Peer>,
    /// Echoes that are requested together. More than one where each is expected to take longer than the pace: waiting
    /// for one after the other would add up.
    at_once: usize,
    clocks: Vec<File>,
}

/// The service that the clients received.
pub struct Served {
    /// The 99th percentile, from the moment each echo was due.
    pub p99: Duration,
    /// The longest time from the moment an echo was sent: how long the server made a client wait. Due echoes are sent
    /// one after the other, so times from when they were due add up many such waits.
    pub longest: Duration,
    pub echoes: usize,
}

impl Honest {
    pub fn new(server: &Server) -> Self {
        Self { peers: Peer::open_many(server.address, CLIENTS), at_once: 1, clocks: server.clocks() }
    }

    /// Opens twice as many impatient clients that act together.
    pub fn in_groups(server: &Server) -> Self {
        Self { peers: Peer::open_many(server.address, 2 * CLIENTS), at_once: CLIENTS / 5, clocks: server.clocks() }
    }

    /// Measures while nothing else happens.
    pub fn quiet(&mut self) -> Served {
        self.during(|| {}).1
    }

    /// Measures during an attack, and at least until there are enough samples.
    pub fn during<T>(&mut self, attack: impl FnOnce() -> T) -> (T, Served) {
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            let measuring = scope.spawn(|| self.measure(&over));
            // This also happens if the attack fails, or the scope would wait for ever.
            let ended = EndsWith(&over);
            let result = attack();
            drop(ended);
            (result, measuring.join().unwrap())
        })
    }

    fn measure(&mut self, over: &AtomicBool) -> Served {
        let own = File::open("/proc/thread-self/schedstat").unwrap();
        let Self { peers, clocks, at_once } = self;
        let pace = PACE * *at_once as u32;
        let (mut times, mut longest) = (Vec::new(), Duration::ZERO);
        let mut due = Instant::now();
        for turn in 0.. {
            if over.load(Ordering::Relaxed) && times.len() >= ECHOES_MIN {
                break;
            }
            let early = due.saturating_duration_since(Instant::now());
            let since = if early.is_zero() {
                due
            } else {
                thread::sleep(early);
                Instant::now()
            };
            let before = delays(clocks, &own);
            let text = format!("echo {turn}");
            let sent = Instant::now();
            let clients = peers.len();
            let group = (turn * *at_once..).take(*at_once).map(|at| at % clients);
            group.clone().for_each(|at| peers[at].say(&text));
            let mut last = Duration::ZERO;
            for at in group {
                assert_eq!(peers[at].next(), Next::Frame(FIN | TEXT, text.clone().into_bytes()));
                let (took, alone) = (since.elapsed(), sent.elapsed());
                let kept_waiting = kept_waiting(&before, &delays(clocks, &own));
                last = took.saturating_sub(kept_waiting);
                times.push(last);
                longest = longest.max(alone.saturating_sub(kept_waiting));
            }
            due = (due + pace).max(Instant::now().checked_sub(last).unwrap_or(due));
        }
        Served { longest, echoes: times.len(), p99: p99(times) }
    }
}

/// Returns how long each thread was runnable and waited for a processor: the server's, and this one (proc(5),
/// `schedstat`, second field, in nanoseconds).
fn delays(clocks: &[File], own: &File) -> Vec<u64> {
    clocks.iter().chain([own]).map(delay).collect()
}

/// Returns how long other threads had the processors: the longest wait of a server thread, and the wait of this one.
fn kept_waiting(before: &[u64], after: &[u64]) -> Duration {
    let mut waits: Vec<u64> = before.iter().zip(after).map(|(before, after)| after.saturating_sub(*before)).collect();
    let own = waits.pop().unwrap_or(0);
    Duration::from_nanos(own + waits.into_iter().max().unwrap_or(0))
}

fn delay(clock: &File) -> u64 {
    let mut text = [0; 64];
    let count = clock.read_at(&mut text, 0).unwrap_or(0);
    let fields = std::str::from_utf8(&text[..count]).unwrap_or_default();
    fields.split(' ').nth(1).and_then(|field| field.parse().ok()).unwrap_or(0)
}

/// Signals that an attack has ended, in any way.
struct EndsWith<'a>(&'a AtomicBool);

impl Drop for EndsWith<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Served {
    /// Returns twice the normal time, except for the time that a busy scheduler may take.
    pub fn p99_bound(&self) -> Duration {
        (self.p99 * 2).max(FLOOR)
    }
}
