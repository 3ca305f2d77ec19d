//! The simulation of a whole process: one to four cores under one virtual clock, honest and hostile clients, a handler
//! that misbehaves, and every fault of the kernel, thousands of times.
//!
//! A seed decides everything, so a seed that fails once always fails. `scripts/simulate` runs any number of seeds; a
//! smaller number runs with all other tests. See docs/testing.md.

mod asker;
mod endings;
mod honest;
mod hostile;
mod member;
mod storm;
mod tally;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use self::storm::{Outcome, Storm};
use super::dice::Dice;
use crate::protocol::deflate::{Compression, WindowBits};

/// The number of seeds by default: some ten seconds of processor time.
const SEEDS: u64 = 2_000;

/// The number of seeds after which every possible event must have happened.
const SEEDS_ENOUGH: u64 = 1_000;

/// The number of failed seeds after which no more are tried.
const FAILURES_MAX: usize = 5;

/// Chooses the compression of one end, and the offers that it agrees to.
fn compression(dice: &mut Dice) -> Compression {
    let mut window = || WindowBits::new(dice.choose(&[9, 12, 15])).expect("a size there is");
    let (server_window_bits, client_window_bits) = (window(), window());
    let (context_takeover, message_bytes_min) = (dice.once_in(2), dice.choose(&[0, 256]));
    Compression { context_takeover, message_bytes_min, server_window_bits, client_window_bits, level: 1 }
}

/// The conditions that clients live in.
#[derive(Clone, Copy)]
struct Weather {
    /// Nothing is lost and no client is turned away.
    fair: bool,
    /// No more mischief: every client reads, and finishes what it has begun.
    calm: bool,
    /// The core of this client drains.
    draining: bool,
}

impl Weather {
    /// Returns whether an honest client may be refused with this status.
    fn may_refuse_with(self, status: u16) -> bool {
        match status {
            // The handler's decision took too long, or nothing arrived in time.
            408 | 500 => !self.fair,
            // Other connections from its address came first.
            429 => !self.fair,
            503 => !self.fair || self.draining,
            _ => false,
        }
    }

    /// Returns whether an honest client may be closed with this code.
    fn may_close_with(self, code: u16) -> bool {
        match code {
            1001 => self.draining,
            // A message did not arrive in time.
            1008 => !self.fair,
            _ => false,
        }
    }
}

#[test]
fn whatever_happens_every_promise_is_kept() {
    let first = number("RINGSOCK_FIRST").unwrap_or(0);
    let count = number("RINGSOCK_SEEDS").unwrap_or(SEEDS);
    let begun = Instant::now();
    let campaign = Campaign::default();
    let threads = thread::available_parallelism().map_or(1, |threads| threads.get());
    thread::scope(|scope| {
        (0..threads).for_each(|_| drop(scope.spawn(|| campaign.run(first, count))));
    });
    let Outcome { digest, tally } = campaign.sum.into_inner().expect("nobody panicked there");
    println!("{tally}");
    println!("{count} seeds from {first} in {:.1} s, digest {digest:016x}", begun.elapsed().as_secs_f64());
    let failed = campaign.failed.into_inner().expect("nobody panicked there");
    for seed in &failed {
        println!("Seed {seed} failed. To replay: scripts/simulate --seed {seed} --trace");
    }
    assert!(failed.is_empty(), "seeds failed: {failed:?}");
    // The storm of `tests/tls` brings those about.
    let dead: Vec<String> = tally.dead().into_iter().filter(|name| !name.starts_with("engine: tls_")).collect();
    assert!(count < SEEDS_ENOUGH || dead.is_empty(), "never happened: {dead:?}");
}

#[test]
fn a_seed_replays_exactly() {
    for seed in 0..20 {
        assert_eq!(Storm::new(seed).run(), Storm::new(seed).run(), "seed {seed}");
    }
    assert_ne!(Storm::new(1).run().digest, Storm::new(2).run().digest);
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|digits| digits.parse().expect("a number"))
}

/// Many seeds, shared by threads.
#[derive(Default)]
struct Campaign {
    begun: AtomicU64,
    sum: Mutex<Outcome>,
    failed: Mutex<Vec<u64>>,
}

impl Campaign {
    /// Runs seeds until all are done, or enough have failed.
    fn run(&self, first: u64, count: u64) {
        let mut sum = Outcome::default();
        while self.failed.lock().expect("nobody panics here").len() < FAILURES_MAX {
            let at = self.begun.fetch_add(1, Ordering::Relaxed);
            if at >= count {
                break;
            }
            let seed = first + at;
            match catch_unwind(AssertUnwindSafe(|| Storm::new(seed).run())) {
                Ok(outcome) => sum.merge(outcome),
                Err(_) => self.failed.lock().expect("nobody panics here").push(seed),
            }
        }
        self.sum.lock().expect("nobody panics here").merge(sum);
    }
}
