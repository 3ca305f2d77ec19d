//! The faults of the simulation, and the random numbers that decide when they strike.
//!
//! Never touches a socket. Invariant: every number comes from the one seed, so that the same seed and the same calls
//! give the same numbers.

macro_rules! faults {
    ($($(#[doc = $doc:literal])+ $rate:ident $fault:ident,)+) => {
        /// The rate of each fault, in thousandths of the occasions on which it can strike. By default no fault strikes.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Faults {
            $($(#[doc = $doc])+ pub $rate: u16,)+
        }

        /// The kinds of faults, each as in [`Faults`].
        #[derive(Clone, Copy, Debug)]
        pub(super) enum Fault {
            $($fault,)+
        }

        impl Fault {
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
    /// Returns all faults that only cost time: a correct caller loses no byte and no connection by them.
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

    /// Returns all faults at once, at rates that let most connections make progress before they break.
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

/// Decides which fault strikes when, and counts the strikes.
#[derive(Debug)]
pub(super) struct Fate {
    pub faults: Faults,
    pub random: Random,
    struck: [u64; Fault::NAMES.len()],
}

impl Fate {
    pub fn new(seed: u64, faults: Faults) -> Self {
        Self { faults, random: Random::new(seed), struck: [0; Fault::NAMES.len()] }
    }

    /// Returns whether this fault strikes, on an occasion on which it can.
    pub fn strikes(&mut self, fault: Fault) -> bool {
        let strikes = self.random.strikes(fault.rate(&self.faults));
        self.struck[fault as usize] += u64::from(strikes);
        strikes
    }

    /// Returns how often each fault struck, by name.
    pub fn struck(&self) -> Vec<(&'static str, u64)> {
        Fault::NAMES.iter().copied().zip(self.struck).collect()
    }
}

/// SplitMix64: small, fast, and correct with any seed.
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

    /// Returns a number below `bound`, which must not be zero.
    pub fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.next()) * bound as u128) >> 64) as usize
    }

    /// Returns a number from one to `whole`, which must not be zero.
    pub fn part(&mut self, whole: usize) -> usize {
        1 + self.below(whole)
    }

    /// Returns true with a probability of `per_thousand` in 1000.
    pub fn strikes(&mut self, per_thousand: u16) -> bool {
        per_thousand > 0 && self.below(1000) < usize::from(per_thousand)
    }

    pub fn choose<T: Copy, const N: usize>(&mut self, choices: [T; N]) -> T {
        choices[self.below(N)]
    }

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
            assert!((1..=5).contains(&random.part(5)));
            assert_eq!(random.below(1), 0);
        }
        assert_eq!(seen, [true; 5]);
    }

    #[test]
    fn a_fault_strikes_as_often_as_its_rate_says() {
        let mut random = Random::new(3);
        let mut count = |rate| (0..10_000).filter(|_| random.strikes(rate)).count();
        assert_eq!(count(0), 0);
        assert_eq!(count(1000), 10_000);
        assert!((900..1100).contains(&count(100)));
    }

    #[test]
    fn faults_are_counted_by_name() {
        let mut fate = Fate::new(5, Faults { delay: 1000, ..Faults::default() });
        assert!((0..7).all(|_| fate.strikes(Fault::Delay) && !fate.strikes(Fault::Reorder)));
        let mut struck = fate.struck();
        struck.retain(|(_, count)| *count > 0);
        assert_eq!(struck, [("delay", 7)]);
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
