//! The stages of a core's drain, and the pace at which sessions are closed.
//!
//! Knows the clock and the number of sessions, but no session. Invariant: every session is due once the spread is over.

use crate::engine::limits::Limits;

/// The shortest time between two shares of a spread: clients do not notice ten milliseconds, and more turns would cost
/// more than they spread.
const SHARE_INTERVAL_MS: u64 = 10;

/// The time for sessions to end once a drain is hurried: some round trips.
pub(in crate::engine) const HURRY_MS: u64 = 500;

/// The stage that a draining core has reached.
#[derive(Debug)]
pub(super) enum Drain {
    /// The drain begins with the next turn, which knows the time.
    Requested,
    /// The core accepts and serves as before, but each HTTP answer is the last one on its connection.
    Delayed { until_ms: u64 },
    /// The core accepts no connection any more, and closes every session.
    Closing(ClosingSessions),
}

/// The progress of closing the sessions.
#[derive(Debug)]
pub(super) struct ClosingSessions {
    pub(super) begun_ms: u64,
    /// The time by which every session has been told to close.
    pub(super) told_by_ms: u64,
    /// The time at which the remaining sessions are cut off.
    pub(super) deadline_ms: u64,
    /// The number of sessions at the beginning.
    pub(super) sessions: u64,
    /// The number of sessions that have been told to close.
    pub(super) told: u64,
    /// The first slot that was not searched for a session to close.
    pub(super) next: u32,
    /// The first slot that was not searched for a connection without a session.
    pub(super) looked_at: u32,
    /// The time of the last share.
    pub(super) share_ms: u64,
}

impl ClosingSessions {
    pub(super) fn begin(now_ms: u64, sessions: u64, limits: &Limits) -> Self {
        let told_by_ms = now_ms.saturating_add(limits.drain_spread_ms);
        Self {
            begun_ms: now_ms,
            told_by_ms,
            deadline_ms: told_by_ms.saturating_add(limits.drain_timeout_ms),
            sessions,
            told: 0,
            next: 0,
            looked_at: 0,
            share_ms: now_ms,
        }
    }

    /// Returns how many sessions must have been told to close by now: an even share of the spread, and all once it is
    /// over.
    pub(super) fn due(&self, now_ms: u64) -> u64 {
        if now_ms >= self.told_by_ms {
            return u64::MAX;
        }
        let (passed, spread) = (now_ms - self.begun_ms, self.told_by_ms - self.begun_ms);
        (u128::from(self.sessions) * u128::from(passed) / u128::from(spread)) as u64
    }

    /// Returns when the next share is due; `None` once every slot was searched.
    pub(super) fn next_share_ms(&self, slots: u32) -> Option<u64> {
        if self.next >= slots {
            return None;
        }
        let spread = u128::from(self.told_by_ms - self.begun_ms);
        let passed = (u128::from(self.told + 1) * spread).div_ceil(u128::from(self.sessions.max(1)));
        let due_ms = self.begun_ms.saturating_add(u64::try_from(passed).unwrap_or(u64::MAX));
        Some(due_ms.max(self.share_ms + SHARE_INTERVAL_MS).min(self.told_by_ms))
    }
}
