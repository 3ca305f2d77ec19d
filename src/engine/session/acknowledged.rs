//! What peers were last seen to have acknowledged, and the clocks that run out only on those that acknowledge nothing more.
//!
//! A peer that takes what it is sent is alive, however little it says and however much of it the socket's own buffer hides.
//! Only the kernel knows, and it is asked rarely: once a clock has run for a while without another sign of the peer.
//! Invariant: what was seen before a clock began is no evidence on it, and that a ping arrived is none either.

use std::collections::BTreeMap;

/// The first look is due after this part of a clock's length, and each further one so much later: early enough that a peer
/// which acknowledges something now and then does so before the end, and late enough that most clocks are put back by then.
const LOOKS_PER_CLOCK: u32 = 4;

/// The latest look at each session that had one of late, by its index.
#[derive(Debug, Default)]
pub(in crate::engine) struct Acknowledged(BTreeMap<u32, Look>);

/// What a session's socket said when it was looked at.
#[derive(Clone, Copy, Debug)]
struct Look {
    tick: u32,
    /// See [`Intake::acknowledged`](crate::reactor::Intake::acknowledged).
    count: u64,
    /// The tick at which the peer last took something, as far as looks tell; 0 if it did not.
    taken: u32,
}

impl Acknowledged {
    /// Notes a look, and says whether the peer has acknowledged something since the one before it.
    pub(in crate::engine) fn note(&mut self, index: u32, tick: u32, count: u64) -> bool {
        let look = Look { tick, count, taken: self.taken(index) };
        self.0.insert(index, look).is_some_and(|before| count.wrapping_sub(before.count) as i64 > 0)
    }

    /// Has this tick be the last at which the peer of a session that was looked at took something.
    pub(in crate::engine) fn note_taken(&mut self, index: u32, tick: u32) {
        if let Some(look) = self.0.get_mut(&index) {
            look.taken = tick;
        }
    }

    /// Has the acknowledgement of so many bytes prove nothing.
    pub(in crate::engine) fn discount(&mut self, index: u32, bytes: usize) {
        if let Some(look) = self.0.get_mut(&index) {
            look.count = look.count.wrapping_add(bytes as u64);
        }
    }

    /// The tick of the latest look at a session.
    pub(in crate::engine) fn looked(&self, index: u32) -> Option<u32> {
        self.0.get(&index).map(|look| look.tick)
    }

    /// The tick at which a session's peer last took something, as far as looks tell; 0 if it did not.
    pub(in crate::engine) fn taken(&self, index: u32) -> u32 {
        self.0.get(&index).map_or(0, |look| look.taken)
    }

    /// Forgets a session, because it is gone or was heard since.
    pub(in crate::engine) fn forget(&mut self, index: u32) {
        self.0.remove(&index);
    }
}

/// A time that runs out on a peer that acknowledges nothing meanwhile, in ticks.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) struct Clock {
    /// When it began.
    pub(in crate::engine) since: u32,
    pub(in crate::engine) length: u32,
    /// Whether the peer has anything to acknowledge.
    pub(in crate::engine) looks: bool,
}

/// What a clock says at some moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum Reading {
    /// Its time is over, and no look can put it back.
    RunOut,
    /// The socket is to be looked at before anything can be said.
    LookNow,
    /// Nothing is due before this tick.
    Until(u32),
}

impl Clock {
    /// A clock that what the peer acknowledges puts back.
    pub(in crate::engine) fn new(since: u32, length: u32) -> Self {
        Self { since, length, looks: true }
    }

    /// The tick of its first look. It never comes at once: what is just being sent would count as taken.
    pub(in crate::engine) fn first_look(self) -> u32 {
        self.since.saturating_add(self.interval())
    }

    /// The tick at which it runs out.
    pub(in crate::engine) fn end(self) -> u32 {
        self.since.saturating_add(self.length)
    }

    /// When it would have had to begin to run out with the look after one at this tick.
    pub(in crate::engine) fn until_next_look(self, tick: u32) -> u32 {
        tick.saturating_add(self.interval()).saturating_sub(self.length)
    }

    /// Returns whether a look at this tick is evidence on it.
    pub(in crate::engine) fn covers(self, tick: u32) -> bool {
        tick >= self.since
    }

    /// What it says at this tick, when the latest look was at that one.
    pub(in crate::engine) fn read(self, tick: u32, looked: Option<u32>) -> Reading {
        let end = self.end();
        if tick >= end && (!self.looks || looked == Some(tick)) {
            return Reading::RunOut;
        }
        let next = match looked.filter(|at| self.covers(*at)) {
            // The next quarter: by then something may have been sent.
            _ if !self.looks => tick - tick.saturating_sub(self.since) % self.interval() + self.interval(),
            Some(at) => at.saturating_add(self.interval()),
            None => self.first_look(),
        };
        let next = next.min(end);
        if next > tick { Reading::Until(next) } else { Reading::LookNow }
    }

    fn interval(self) -> u32 {
        (self.length / LOOKS_PER_CLOCK).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_asks_every_quarter_and_runs_out_only_after_a_last_look() {
        let clock = Clock::new(100, 40);
        assert_eq!(clock.read(100, None), Reading::Until(110));
        assert_eq!(clock.read(110, None), Reading::LookNow);
        assert_eq!(clock.read(110, Some(110)), Reading::Until(120));
        assert_eq!(clock.read(120, Some(110)), Reading::LookNow);
        assert_eq!(clock.read(135, Some(135)), Reading::Until(140));
        assert_eq!(clock.read(140, Some(135)), Reading::LookNow);
        assert_eq!(clock.read(140, Some(140)), Reading::RunOut);
    }

    #[test]
    fn a_clock_of_a_peer_that_has_nothing_to_acknowledge_asks_nobody() {
        let clock = Clock { looks: false, ..Clock::new(100, 40) };
        for looked in [None, Some(120)] {
            assert_eq!(clock.read(100, looked), Reading::Until(110));
            assert_eq!(clock.read(110, looked), Reading::Until(120));
            assert_eq!(clock.read(139, looked), Reading::Until(140));
            assert_eq!(clock.read(140, looked), Reading::RunOut);
        }
    }

    #[test]
    fn a_clock_may_be_given_until_the_next_look() {
        let clock = Clock::new(100, 40);
        let since = clock.until_next_look(140);
        assert_eq!(Clock::new(since, 40).read(140, Some(140)), Reading::Until(150));
        assert_eq!(Clock::new(since, 40).end(), 150);
    }

    #[test]
    fn a_look_from_before_a_clock_began_is_no_evidence_on_it() {
        let clock = Clock::new(100, 40);
        assert_eq!(clock.read(110, Some(99)), Reading::LookNow);
        assert_eq!(clock.read(109, Some(99)), Reading::Until(110));
        assert_eq!(clock.read(105, Some(100)), Reading::Until(110));
    }

    #[test]
    fn a_clock_of_a_single_tick_ends() {
        let clock = Clock::new(100, 1);
        assert_eq!(clock.read(100, None), Reading::Until(101));
        assert_eq!(clock.read(101, None), Reading::LookNow);
        assert_eq!(clock.read(101, Some(101)), Reading::RunOut);
    }

    #[test]
    fn only_what_grew_since_the_look_before_is_evidence() {
        let mut acknowledged = Acknowledged::default();
        assert!(!acknowledged.note(7, 1, 500), "there was no look before");
        assert!(!acknowledged.note(7, 2, 500));
        assert!(acknowledged.note(7, 3, 501));
        assert!(!acknowledged.note(8, 4, 502), "that was another session");
        // What waits in a Unix socket, as negative numbers: 10 bytes, then 30, then none.
        let waiting = |bytes: u64| bytes.wrapping_neg();
        assert!(!acknowledged.note(9, 1, waiting(10)));
        assert!(!acknowledged.note(9, 2, waiting(30)));
        assert!(acknowledged.note(9, 3, waiting(0)));
        acknowledged.forget(9);
        assert_eq!(acknowledged.looked(9), None);
    }

    #[test]
    fn that_a_ping_arrived_is_no_evidence() {
        let mut acknowledged = Acknowledged::default();
        acknowledged.note(7, 1, 500);
        acknowledged.discount(7, 2);
        assert!(!acknowledged.note(7, 2, 502));
        acknowledged.discount(7, 2);
        assert!(acknowledged.note(7, 3, 505));
        acknowledged.note_taken(7, 3);
        assert_eq!((acknowledged.taken(7), acknowledged.taken(8)), (3, 0));
    }
}
