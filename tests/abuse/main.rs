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
//! | 52 | a pause of 12 s; killed under load and started at once | 0 sessions lost; starts each time |
//! | 54 | a crowd with compression streams comes and leaves; two servers of one core | 16 MiB left after 20 s; any processor |
//! | 57 | silent clients, of which half read slowly | no reader is cut off, the others within 6 s |
//! | 58 | a hand-over under a crowd; goodbyes over 2 s; every signal | 0 without an answer; 5 to 15 % in each tenth; 1001 to all |
//!
//! Each attack on each reactor prints a line ([`table`]); docs/abuse.md explains it. Counts are scaled by
//! `RINGSOCK_ABUSE_SCALE`, in percent. The default of 10 keeps the whole at four minutes; 100 is the full table, which
//! `scripts/abuse` runs.

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
mod server;
#[path = "../program/sink.rs"]
#[allow(dead_code, reason = "shared with the tests of the program, which use all of it")]
mod sink;
mod slow;
mod supervised;
mod table;
mod text;
mod topics;
#[path = "../protocol/wire.rs"]
#[allow(dead_code, reason = "shared with the protocol's tests, which use all of it")]
mod wire;

use std::any::Any;
use std::panic::{Location, resume_unwind};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use table::{figure, say};

/// As in the program, since servers built of this one are measured too.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Tests take turns: they measure CPU and time, and would disturb each other.
static TURN: Mutex<()> = Mutex::new(());

/// Runs an attack on each reactor that this host allows; below full scale, where the machine may have other things to do,
/// up to three times if all it missed is a bound of time.
fn on_each_reactor(attack: impl Fn(&str)) {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let uring = match ringsock::reactor::uring::Uring::new() {
        Ok(uring) => {
            drop(uring);
            attempt("uring", &attack)
        }
        Err(error) => {
            say(&format!("NOT TESTED: the io_uring reactor; this host refuses it ({error})"));
            Ok(())
        }
    };
    let epoll = attempt("epoll", &attack);
    if let Err(panic) = uring.and(epoll) {
        resume_unwind(panic);
    }
}

fn attempt(reactor: &str, attack: &impl Fn(&str)) -> Result<(), Box<dyn Any + Send>> {
    let mut attempts = if is_full_scale() { 1 } else { 3 };
    loop {
        attempts -= 1;
        match table::run(reactor, || attack(reactor)) {
            Err(panic) if attempts > 0 && panic.is::<TooSlow>() => {}
            outcome => return outcome,
        }
    }
}

/// What a bound of time that was missed panics with: other programs on the machine can only ever make it be missed.
struct TooSlow;

/// Demands a bound of time, or of processor time. Whatever else an attack demands comes first, since it holds however busy
/// the machine is.
#[track_caller]
fn in_time(kept: bool) {
    if !kept {
        say(&format!("{}: a bound of time was missed", Location::caller()));
        resume_unwind(Box::new(TooSlow));
    }
}

/// A count of the full table, scaled.
fn scaled(full: usize) -> usize {
    let percent = std::env::var("RINGSOCK_ABUSE_SCALE").map_or(10, |text| text.parse().expect("a scale in percent"));
    (full * percent / 100).max(1)
}

/// Whether nothing is scaled down, so that every bound holds.
fn is_full_scale() -> bool {
    scaled(100) >= 100
}

/// The value that 99 of 100 do not exceed.
fn p99(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[(times.len() * 99).div_ceil(100) - 1]
}

/// Numbers that look random and are the same in every run.
struct Random(u64);

impl Random {
    fn number(&mut self) -> u64 {
        // Marsaglia's xorshift64: enough to scatter, and never zero unless seeded so.
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.number() % bound as u64) as usize
    }
}
