//! Fault injection for the simulation: the faults there are, and the random numbers that decide when one occurs.
//!
//! Never touches a socket, and never causes a fault itself: the simulated kernel asks whether one occurs, and does what
//! it means. Invariant: every number comes from the one seed, so that the same seed and the same calls give the same
//! numbers.

/// Makes a field of [`Faults`] and a variant of [`Fault`] of each row: the name of the field, then that of the variant.
macro_rules! faults {
    ($($(#[doc = $doc:literal])+ $rate:ident $fault:ident,)+) => {
        /// The rate of each fault, in thousandths of the occasions on which it can occur. By default none occurs.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Faults {
            $($(#[doc = $doc])+ pub $rate: u16,)+
        }

        /// A kind of fault, described at its field of [`Faults`].
        #[derive(Clone, Copy, Debug)]
        pub(super) enum Fault {
            $($fault,)+
        }

        impl Fault {
            /// The names of the fields of [`Faults`], in the order of the variants.
            const NAMES: &[&str] = &[$(stringify!($rate),)+];

            fn rate(self, faults: &Faults) -> u16 {
                match self {
                    $(Fault::$fault => faults.$rate,)+
                }
            }
        }
    };
}

faults! {
    /// An `enter` returns its completions in any order; those of one operation stay in order.
    reorder Reorder,
    /// A completion comes up to [`super::DELAY_MAX_TURNS`] calls of `enter` late.
    delay Delay,
    /// `recv` returns fewer bytes than are available and than there is room for; another `Readable` follows.
    short_recv ShortRecv,
    /// `recv` returns `WouldBlock` though bytes are available; another `Readable` follows.
    recv_would_block RecvWouldBlock,
    /// `recv` is interrupted by a signal before it has read a byte; another call reads.
    recv_interrupted RecvInterrupted,
    /// The connection breaks at a `recv`: ECONNRESET, ETIMEDOUT or EHOSTUNREACH.
    recv_error RecvError,
    /// An `enter` reports a watched socket as readable though nothing has happened to it.
    spurious_readable SpuriousReadable,
    /// Fewer bytes are sent than there is room for.
    short_send ShortSend,
    /// `send_now` returns `WouldBlock` though there is room.
    send_would_block SendWouldBlock,
    /// The connection breaks at a send: ECONNRESET, EPIPE or ETIMEDOUT.
    send_error SendError,
    /// A `Readable` ends its watch, as happens when the completion queue overflows.
    watch_ended WatchEnded,
    /// A watch never begins, because the kernel has no memory for it.
    watch_refused WatchRefused,
    /// An accepted connection ends accepting, as happens when the completion queue overflows.
    accept_ended AcceptEnded,
    /// Accepting fails: EMFILE, ENFILE, or ECONNABORTED, which costs the connection.
    accept_error AcceptError,
    /// A reset drops bytes that have arrived but were not read.
    reset_drops_unread ResetDropsUnread,
    /// A connection has small buffers, of random sizes.
    small_buffers SmallBuffers,
}

impl Faults {
    /// Returns all faults that only cost time: a correct caller loses no byte and no connection by them. The rates are
    /// high, so that a short run meets each of them.
    pub fn harmless() -> Self {
        Self {
            reorder: 500,
            delay: 200,
            short_recv: 200,
            recv_would_block: 100,
            recv_interrupted: 50,
            spurious_readable: 100,
            short_send: 200,
            send_would_block: 100,
            watch_ended: 20,
            accept_ended: 100,
            small_buffers: 500,
            ..Self::default()
        }
    }

    /// Returns all faults at once. Those that break a connection are rare, so that most connections make progress
    /// before.
    pub fn chaos() -> Self {
        Self {
            recv_error: 5,
            send_error: 10,
            watch_refused: 10,
            accept_error: 50,
            reset_drops_unread: 500,
            ..Self::harmless()
        }
    }
}

/// Decides when each fault occurs, and counts how often it did.
#[derive(Debug)]
pub(super) struct FaultInjector {
    pub rates: Faults,
    pub random: Random,
    occurred: [u64; Fault::NAMES.len()],
}

impl FaultInjector {
    pub fn new(seed: u64, rates: Faults) -> Self {
        Self { rates, random: Random::new(seed), occurred: [0; Fault::NAMES.len()] }
    }

    /// Decides whether a fault occurs, on an occasion on which it can.
    pub fn occurs(&mut self, fault: Fault) -> bool {
        let occurs = self.random.chance(fault.rate(&self.rates));
        self.occurred[fault as usize] += u64::from(occurs);
        occurs
    }

    /// Returns how often each fault occurred, by name.
    pub fn occurred(&self) -> Vec<(&'static str, u64)> {
        Fault::NAMES.iter().copied().zip(self.occurred).collect()
    }
}

/// A random number generator, SplitMix64 (Steele, Lea and Flood 2014): small, and good with any seed, even 0.
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number below `bound`, which must not be zero: the upper half of the product with a random number.
    pub fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.next()) * bound as u128) >> 64) as usize
    }

    /// Returns a number from 1 to `max`, which must not be zero.
    pub fn up_to(&mut self, max: usize) -> usize {
        1 + self.below(max)
    }

    /// Returns true with a probability of `per_thousand` in 1000.
    pub fn chance(&mut self, per_thousand: u16) -> bool {
        per_thousand > 0 && self.below(1000) < usize::from(per_thousand)
    }

    /// Returns one of several values, all equally likely.
    pub fn choose<T: Copy, const N: usize>(&mut self, choices: [T; N]) -> T {
        choices[self.below(N)]
    }

    /// Puts the items in a random order (Fisher and Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_numbers() {
        let draw = |seed| {
            let mut random = Random::new(seed);
            (0..100).map(|_| random.below(1 << 40)).collect::<Vec<_>>()
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }

    #[test]
    fn numbers_keep_their_bounds() {
        let mut random = Random::new(7);
        let mut seen = [false; 5];
        for _ in 0..1000 {
            seen[random.below(5)] = true;
            assert!((1..=5).contains(&random.up_to(5)));
            assert_eq!(random.below(1), 0);
        }
        assert_eq!(seen, [true; 5]);
    }

    #[test]
    fn a_fault_occurs_as_often_as_its_rate_says() {
        let mut random = Random::new(3);
        let mut count = |rate| (0..10_000).filter(|_| random.chance(rate)).count();
        assert_eq!(count(0), 0);
        assert_eq!(count(1000), 10_000);
        assert!((900..1100).contains(&count(100)));
    }

    #[test]
    fn faults_are_counted_by_name() {
        let mut faults = FaultInjector::new(5, Faults { delay: 1000, ..Faults::default() });
        assert!((0..7).all(|_| faults.occurs(Fault::Delay) && !faults.occurs(Fault::Reorder)));
        let mut occurred = faults.occurred();
        occurred.retain(|(_, count)| *count > 0);
        assert_eq!(occurred, [("delay", 7)]);
    }

    #[test]
    fn shuffling_loses_nothing() {
        let mut items: Vec<_> = (0..50).collect();
        Random::new(9).shuffle(&mut items);
        assert_ne!(items, (0..50).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..50).collect::<Vec<_>>());
    }
}
