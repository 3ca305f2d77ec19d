//! The bytes that peers have acknowledged, and the timeouts that expire only for a peer that acknowledges nothing.
//!
//! A peer that acknowledges bytes is alive, even if it sends nothing and the socket's own buffer hides its progress.
//! Only the kernel knows, and it is asked rarely: once a timeout has run for a while without another sign of life.
//! Invariant: an acknowledgement from before a timeout began does not extend it, and neither does the acknowledgement
//! of a ping.

use std::collections::BTreeMap;

/// The first look is due after this part of a timeout's length, and each further look after the same time again. It is
/// early enough that a peer which acknowledges something now and then is seen to do so before the end, and late enough
/// that most timeouts have been extended by then.
const LOOKS_PER_TIMEOUT: u32 = 4;

/// The latest look at each session that had one recently, by the session's index.
#[derive(Debug, Default)]
pub(in crate::engine) struct Acknowledged(BTreeMap<u32, Look>);

/// The state of a session's socket at a look.
#[derive(Clone, Copy, Debug)]
struct Look {
    tick: u32,
    /// See [`SendProgress::acknowledged`](crate::reactor::SendProgress::acknowledged).
    count: u64,
    /// The tick at which the peer was last seen to have acknowledged something; 0 if it never was.
    acknowledged: u32,
}

impl Acknowledged {
    /// Records a look. Returns whether the peer has acknowledged something since the look before.
    pub(in crate::engine) fn note(&mut self, index: u32, tick: u32, count: u64) -> bool {
        let look = Look { tick, count, acknowledged: self.last_acknowledged(index) };
        self.0.insert(index, look).is_some_and(|before| count.wrapping_sub(before.count) as i64 > 0)
    }

    /// Records that the peer of a session was seen to have acknowledged something at this tick.
    pub(in crate::engine) fn note_acknowledged(&mut self, index: u32, tick: u32) {
        if let Some(look) = self.0.get_mut(&index) {
            look.acknowledged = tick;
        }
    }

    /// Ignores the acknowledgement of so many bytes.
    pub(in crate::engine) fn discount(&mut self, index: u32, bytes: usize) {
        if let Some(look) = self.0.get_mut(&index) {
            look.count = look.count.wrapping_add(bytes as u64);
        }
    }

    /// Returns the tick of the latest look at a session.
    pub(in crate::engine) fn looked(&self, index: u32) -> Option<u32> {
        self.0.get(&index).map(|look| look.tick)
    }

    /// Returns the tick at which a session's peer was last seen to have acknowledged something; 0 if it never was.
    pub(in crate::engine) fn last_acknowledged(&self, index: u32) -> u32 {
        self.0.get(&index).map_or(0, |look| look.acknowledged)
    }

    /// Forgets a session, because it has ended or because bytes have arrived from it since.
    pub(in crate::engine) fn forget(&mut self, index: u32) {
        self.0.remove(&index);
    }
}

/// A timeout that expires for a peer that acknowledges nothing meanwhile, in ticks.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) struct Timeout {
    /// The tick at which it began.
    pub(in crate::engine) since: u32,
    pub(in crate::engine) length: u32,
    /// The peer has something to acknowledge.
    pub(in crate::engine) looks: bool,
}

/// The state of a timeout at some tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum TimeoutState {
    /// It has expired, and no look can extend it.
    Expired,
    /// The kernel must be asked what was acknowledged before the timeout can expire.
    LookNow,
    /// Nothing is due before this tick.
    Until(u32),
}

impl Timeout {
    /// Returns a timeout that is extended by acknowledgements.
    pub(in crate::engine) fn new(since: u32, length: u32) -> Self {
        Self { since, length, looks: true }
    }

    /// Returns the tick of its first look. That is never immediate: bytes that are being sent would count as
    /// acknowledged.
    pub(in crate::engine) fn first_look(self) -> u32 {
        self.since.saturating_add(self.interval())
    }

    /// Returns the tick at which it expires.
    pub(in crate::engine) fn end(self) -> u32 {
        self.since.saturating_add(self.length)
    }

    /// Returns when it would have to begin so that it expires at the look after one at this tick.
    pub(in crate::engine) fn until_next_look(self, tick: u32) -> u32 {
        tick.saturating_add(self.interval()).saturating_sub(self.length)
    }

    /// Returns whether a look at this tick counts for it.
    pub(in crate::engine) fn covers(self, tick: u32) -> bool {
        tick >= self.since
    }

    /// Returns its state at this tick, given the tick of the latest look.
    pub(in crate::engine) fn state(self, tick: u32, looked: Option<u32>) -> TimeoutState {
        let end = self.end();
        if tick >= end && (!self.looks || looked == Some(tick)) {
            return TimeoutState::Expired;
        }
        let next = match looked.filter(|at| self.covers(*at)) {
            // The next quarter: something may have been sent by then.
            _ if !self.looks => tick - tick.saturating_sub(self.since) % self.interval() + self.interval(),
            Some(at) => at.saturating_add(self.interval()),
            None => self.first_look(),
        };
        let next = next.min(end);
        if next > tick { TimeoutState::Until(next) } else { TimeoutState::LookNow }
    }

    fn interval(self) -> u32 {
        (self.length / LOOKS_PER_TIMEOUT).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_needs_a_look_every_quarter_and_expires_only_after_a_last_one() {
        let timeout = Timeout::new(100, 40);
        assert_eq!(timeout.state(100, None), TimeoutState::Until(110));
        assert_eq!(timeout.state(110, None), TimeoutState::LookNow);
        assert_eq!(timeout.state(110, Some(110)), TimeoutState::Until(120));
        assert_eq!(timeout.state(120, Some(110)), TimeoutState::LookNow);
        assert_eq!(timeout.state(135, Some(135)), TimeoutState::Until(140));
        assert_eq!(timeout.state(140, Some(135)), TimeoutState::LookNow);
        assert_eq!(timeout.state(140, Some(140)), TimeoutState::Expired);
    }

    #[test]
    fn a_timeout_without_bytes_to_acknowledge_needs_no_look() {
        let timeout = Timeout { looks: false, ..Timeout::new(100, 40) };
        for looked in [None, Some(120)] {
            assert_eq!(timeout.state(100, looked), TimeoutState::Until(110));
            assert_eq!(timeout.state(110, looked), TimeoutState::Until(120));
            assert_eq!(timeout.state(139, looked), TimeoutState::Until(140));
            assert_eq!(timeout.state(140, looked), TimeoutState::Expired);
        }
    }

    #[test]
    fn a_timeout_can_be_extended_until_the_next_look() {
        let timeout = Timeout::new(100, 40);
        let since = timeout.until_next_look(140);
        assert_eq!(Timeout::new(since, 40).state(140, Some(140)), TimeoutState::Until(150));
        assert_eq!(Timeout::new(since, 40).end(), 150);
    }

    #[test]
    fn a_look_from_before_a_timeout_began_does_not_count() {
        let timeout = Timeout::new(100, 40);
        assert_eq!(timeout.state(110, Some(99)), TimeoutState::LookNow);
        assert_eq!(timeout.state(109, Some(99)), TimeoutState::Until(110));
        assert_eq!(timeout.state(105, Some(100)), TimeoutState::Until(110));
    }

    #[test]
    fn a_timeout_of_a_single_tick_expires() {
        let timeout = Timeout::new(100, 1);
        assert_eq!(timeout.state(100, None), TimeoutState::Until(101));
        assert_eq!(timeout.state(101, None), TimeoutState::LookNow);
        assert_eq!(timeout.state(101, Some(101)), TimeoutState::Expired);
    }

    #[test]
    fn only_growth_since_the_previous_look_is_evidence() {
        let mut acknowledged = Acknowledged::default();
        assert!(!acknowledged.note(7, 1, 500), "there was no look before");
        assert!(!acknowledged.note(7, 2, 500));
        assert!(acknowledged.note(7, 3, 501));
        assert!(!acknowledged.note(8, 4, 502), "that was another session");
        // The bytes that wait in a Unix socket, as negative numbers: 10 bytes, then 30, then none.
        let waiting = |bytes: u64| bytes.wrapping_neg();
        assert!(!acknowledged.note(9, 1, waiting(10)));
        assert!(!acknowledged.note(9, 2, waiting(30)));
        assert!(acknowledged.note(9, 3, waiting(0)));
        acknowledged.forget(9);
        assert_eq!(acknowledged.looked(9), None);
    }

    #[test]
    fn an_acknowledged_ping_is_no_evidence() {
        let mut acknowledged = Acknowledged::default();
        acknowledged.note(7, 1, 500);
        acknowledged.discount(7, 2);
        assert!(!acknowledged.note(7, 2, 502));
        acknowledged.discount(7, 2);
        assert!(acknowledged.note(7, 3, 505));
        acknowledged.note_acknowledged(7, 3);
        assert_eq!((acknowledged.last_acknowledged(7), acknowledged.last_acknowledged(8)), (3, 0));
    }
}
