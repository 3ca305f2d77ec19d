//! Attacks on a running server over real sockets, on each reactor, and the figures it has to keep.
//!
//! | row | attack | bound |
//! |---|---|---|
//! | 2 | malformed handshakes, split anywhere | the exact status; closed after a refusal |
//! | 3 | heads of 20 MB; a head by single bytes | 431, 1 s of CPU for 100; linear |
//! | 4 | 5,000 half handshakes at 1 B/s | closed at 5 s ± 0.5 s; honest p99 at most doubles |
//! | 5 | requests that hide another | 400, 0 second ones answered |
//! | 6 | foreign origins, in every disguise; floods from one address; forged addresses | 403, 429; others get in |
//! | 7 | unmasked frames | 1002 |
//! | 8 | lengths from 2^31 to 2^64 − 1 | 1002 or 1009; 1 MiB of memory |
//! | 9 | all first two bytes of a frame, all close codes | the verdict of RFC 6455 |
//! | 10 | random text, split anywhere | the verdict of the standard library, at the first bad byte |
//! | 11 | one-byte fragments without end, or that stall | 1009, 1008 in time; a message and 8 KiB each, 3 MiB in all |
//! | 12 | 1,000,000 empty continuations | 1008 after 64; 0.2 s of CPU |
//! | 13 | 16 MiB in pieces of 64 bytes | twice as long costs at most × 2.3; 1009 above the limit |
//! | 14 | deflate bombs; window bits that do not exist | 1009; a limit and 64 KiB each; nobody stalls; declined |
//! | 15 | 1,000,000 pings from peers that do not read | the latest pong; 4 MiB; honest p99 at most doubles |
//! | 16 | subscribers that never read, under each policy | the others miss nothing; p99 at most doubles; 256 KiB each and 32 MiB |
//! | 17 | resets at a random byte | no descriptor and no memory lost |
//! | 18 | half-closed connections | gone within the close timeout; idle afterwards |
//! | 19 | no descriptors left | 100 failed accepts/s, 10 % of a core; accepts again within 1 s |
//! | 20 | timeouts that race what they wait for | no descriptor lost |
//! | 21 | handlers that panic | nobody else notices; all counted |
//! | 22 | a core that hangs or dies | not ready within 2 s; the process ends |
//! | 23 | SIGTERM under load | 1001 to all, no reset, exit 0 in time |
//! | 30 | 1,000,000 messages of 100 publishers on two cores; rings of 8 entries | each once and in order; what is missing is counted |
//! | 32 | 1,000,000 connections that come and go | memory flat; no handle reaches a stranger |
//! | 40 | 100,000 topics of two subscribers each | 32 B a subscription, 96 B a topic; as quick as one topic |
//! | 41 | messages to 18,000 subscribers of one core | the p99 of others stays below 5 ms |
//! | 51 | a log that nobody takes | honest p99 at most doubles; 1001 to all, exit 0; a second SIGTERM ends it at once |
//! | 52 | a pause of 12 s; killed under load and started at once; no memory to lock, no io_uring_enter | 0 sessions lost; starts each time; epoll |
//! | 54 | a crowd with compression streams comes and leaves; two servers of one core | 16 MiB left after 20 s; any processor |
//! | 57 | silent clients, of which half read slowly | no reader is cut off, the others within 6 s |
//! | 58 | a hand-over under a crowd; goodbyes over 2 s; every signal | 0 without an answer; none early, 5 to 15 % in each tenth; 1001 to all |
//! | 60 | storms of TLS handshakes: half ones, clients that have left, broken off at each step | honest p99 at most 5 ms; 40 µs for one who has left; memory flat |
//! | 61 | 100 reloads of good and bad certificates under 1,000 sessions | 0 sessions end; a new certificate is seen within 1 s |
//!
//! Each attack on each reactor prints a line ([`table`]); docs/abuse.md explains it. Counts are scaled by
//! `RINGSOCK_ABUSE_SCALE`, in percent. 100 is the full table, which `scripts/abuse` runs: a row at a time, with every bound
//! demanded. At the default of 10 rows run beside each other, and bounds of time and of processor time are only told.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests fail as tests do")]

mod admission;
mod attacker;
mod audience;
mod bombs;
mod churn;
mod descriptors;
mod drain;
mod endings;
mod floods;
mod fragments;
mod frames;
mod handlers;
mod handshakes;
mod honest;
mod host;
mod liveness;
mod log;
mod misbehaving;
mod races;
mod reloads;
mod secure;
mod server;
#[path = "../program/sink.rs"]
#[allow(dead_code, reason = "shared with the tests of the program, which use all of it")]
mod sink;
mod slow;
mod storms;
mod supervised;
mod table;
mod text;
mod topics;
mod usage;
#[path = "../protocol/wire.rs"]
#[allow(dead_code, reason = "shared with the protocol's tests, which use all of it")]
mod wire;
#[path = "../program/withheld.rs"]
mod withheld;

use std::panic::{Location, resume_unwind};
use std::sync::{Condvar, LazyLock, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use table::{figure, say};

/// The allocator of the program, since servers built of this test are measured too.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Rows that run side by side below full scale, each on both reactors. Mostly they wait. A row has at most 2,000
/// connections on each reactor, and this process needs a descriptor for each of them.
const ROWS_AT_ONCE: usize = 4;

/// Rings for the servers of so many rows: two servers of two cores on one reactor each.
const RINGS_AT_ONCE: usize = ROWS_AT_ONCE * 4;

/// The host, examined before the first row.
static HOST: LazyLock<Host> = LazyLock::new(Host::look);

/// The number of rows that may begin now.
static PLACES: LazyLock<Mutex<usize>> = LazyLock::new(|| Mutex::new(HOST.rows_at_once));
static PLACE_LEFT: Condvar = Condvar::new();

/// The reactors that a host allows, and the number of rows that it has room for at once.
struct Host {
    reactors: &'static [&'static str],
    rows_at_once: usize,
}

impl Host {
    fn look() -> Self {
        // A shell's soft limit is too low for the attackers' ends of the connections.
        sink::set_limit(std::process::id(), libc::RLIMIT_NOFILE, u64::MAX);
        let rings = |count| (0..count).map(|_| ringsock::reactor::uring::Uring::new()).collect::<Result<Vec<_>, _>>();
        let reactors: &[_] = match rings(1) {
            Ok(_) => &["uring", "epoll"],
            Err(error) => {
                say(&format!("NOT TESTED: the io_uring reactor; this host refuses it ({error})"));
                &["epoll"]
            }
        };
        // All programs of a user share the memory that it may lock.
        let is_roomy = reactors.len() == 1 || rings(RINGS_AT_ONCE).is_ok();
        Self { reactors, rows_at_once: if is_roomy && !is_full_scale() { ROWS_AT_ONCE } else { 1 } }
    }
}

/// A place among the rows that run at the same time.
struct Place;

impl Place {
    fn take() -> Self {
        let places = PLACES.lock().unwrap_or_else(PoisonError::into_inner);
        let mut places = PLACE_LEFT.wait_while(places, |places| *places == 0).unwrap_or_else(PoisonError::into_inner);
        *places -= 1;
        Self
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        *PLACES.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        PLACE_LEFT.notify_one();
    }
}

/// Runs an attack on each reactor that this host allows. At full scale it is measured, so it runs alone, on one reactor
/// after the other; below full scale it runs on both at once and beside other rows.
fn on_each_reactor(attack: impl Fn(&str) + Sync) {
    let _place = Place::take();
    let attack = &attack;
    let test = thread::current();
    let name = test.name().unwrap_or_default();
    thread::scope(|scope| {
        let begin = |reactor| {
            // A line takes its sentence from the name of the thread.
            let thread = thread::Builder::new().name(name.to_owned());
            thread.spawn_scoped(scope, move || table::run(reactor, || attack(reactor))).unwrap()
        };
        let mut outcomes = Vec::new();
        if is_full_scale() {
            outcomes.extend(HOST.reactors.iter().map(|reactor| begin(reactor).join()));
        } else {
            let attacks: Vec<_> = HOST.reactors.iter().map(|reactor| begin(reactor)).collect();
            outcomes.extend(attacks.into_iter().map(|attack| attack.join()));
        }
        if let Some(panic) = outcomes.into_iter().find_map(|outcome| outcome.and_then(|outcome| outcome).err()) {
            resume_unwind(panic);
        }
    });
}

/// Checks a bound of time, or of processor time. At full scale it is demanded. Below full scale other programs disturb
/// the measurement, and the line only reports that the bound was missed.
#[track_caller]
fn in_time(kept: bool) {
    if !kept {
        assert!(!is_full_scale(), "a bound of time was missed");
        table::late(Location::caller());
    }
}

/// Returns how long a test waits for an event that must come. At full scale it is longer than any timeout of the
/// servers. Below full scale their timeouts are as long, so that no client is cut off because it had no processor for a
/// while.
fn patience() -> Duration {
    Duration::from_secs(if is_full_scale() { 20 } else { 120 })
}

/// Scales a count of the full table.
fn scaled(full: usize) -> usize {
    let percent = std::env::var("RINGSOCK_ABUSE_SCALE").map_or(10, |text| text.parse().expect("a scale in percent"));
    (full * percent / 100).max(1)
}

/// Returns whether nothing is scaled down, so that every bound is demanded.
fn is_full_scale() -> bool {
    scaled(100) >= 100
}

/// Returns the 99th percentile.
fn p99(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[(times.len() * 99).div_ceil(100) - 1]
}

/// A generator of pseudorandom numbers that are the same in every run.
struct Random(u64);

impl Random {
    fn number(&mut self) -> u64 {
        // Marsaglia's xorshift64: good enough here, and never zero unless the seed is.
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.number() % bound as u64) as usize
    }
}
