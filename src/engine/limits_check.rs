//! Checks of limits against each other: contradictions are refused, and surprising combinations are reported.
//!
//! The values of single settings are checked where they are read. Invariant: only limits that would harm well-behaved
//! clients are refused.

use thiserror::Error;

use crate::engine::limits::Limits;
use crate::engine::wheel::ticks;

/// The time that a core may go without a turn before the server ends, by default. 10 s: a handler that blocks for so
/// long is stuck, and until then the server is only not ready.
pub const STALL_TIMEOUT_MS: u64 = 10_000;

/// The shortest time after which a stalled core is given up: twice the half second in which an idle core makes a turn.
pub const STALL_TIMEOUT_MS_MIN: u64 = 1_000;

/// Two settings that contradict each other: for the operator to fix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LimitsError {
    /// Silent clients would be cut off before a ping could ask for a sign of life.
    #[error(
        "ping_interval_ms is {ping_interval_ms}, but must be below dead_peer_timeout_ms, which is \
         {dead_peer_timeout_ms}, or clients would be cut off before they are pinged. Give a shorter interval or a \
         longer timeout."
    )]
    PingAfterDeath {
        /// The silence after which a ping is sent.
        ping_interval_ms: u64,
        /// The silence after which the session ends.
        dead_peer_timeout_ms: u64,
    },
    /// Every message that does not arrive in one read would be refused.
    #[error(
        "assembly_timeout_ms is 0, but must be above 0, or no message that arrives in several reads would be accepted."
    )]
    NoTimeToAssemble,
    /// The server would give up idle cores.
    #[error(
        "stall_timeout_ms is {stall_timeout_ms}, but must be 0 or at least {STALL_TIMEOUT_MS_MIN}: an idle core makes \
         a turn only every 500 ms, so the server would give up a healthy one."
    )]
    StallTimeoutTooShort {
        /// The timeout that was given.
        stall_timeout_ms: u64,
    },
}

/// Settings that do not contradict each other, but may not do what the operator intended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LimitsWarning {
    /// Idle clients are cut off.
    #[error(
        "ping_interval_ms is 0, so an idle client is cut off after {dead_peer_timeout_ms} ms \
         (dead_peer_timeout_ms), unless it sends pings of its own. Give an interval below that, or set both to 0."
    )]
    IdleClientsAreCutOff {
        /// The silence after which the session ends.
        dead_peer_timeout_ms: u64,
    },
    /// A drain cuts off closing handshakes that still have time.
    #[error(
        "close_timeout_ms is {close_timeout_ms}, more than drain_timeout_ms, which is {drain_timeout_ms}: a draining \
         server cuts off clients before their time to close is over."
    )]
    CloseOutlastsDrain {
        /// The limit of a closing handshake.
        close_timeout_ms: u64,
        /// The limit of a drain.
        drain_timeout_ms: u64,
    },
    /// A limit is never reached.
    #[error(
        "connections_per_address_max is {per_address}, more than connections_max, which is {connections}, so \
         one address can take all connections."
    )]
    AddressMayTakeAll {
        /// The limit of one address.
        per_address: u32,
        /// The limit of all connections.
        connections: usize,
    },
}

impl Limits {
    /// Refuses limits that contradict each other, or the time after which a stalled core is given up (0: never).
    pub(crate) fn check(&self, stall_timeout_ms: u64) -> Result<(), LimitsError> {
        let (ping_interval_ms, dead_peer_timeout_ms) = (self.ping_interval_ms, self.dead_peer_timeout_ms);
        let both = ping_interval_ms > 0 && dead_peer_timeout_ms > 0;
        // No peer can answer within one tick.
        if both && ticks(ping_interval_ms) >= ticks(dead_peer_timeout_ms) {
            return Err(LimitsError::PingAfterDeath { ping_interval_ms, dead_peer_timeout_ms });
        }
        if self.assembly_timeout_ms == 0 {
            return Err(LimitsError::NoTimeToAssemble);
        }
        if (1..STALL_TIMEOUT_MS_MIN).contains(&stall_timeout_ms) {
            return Err(LimitsError::StallTimeoutTooShort { stall_timeout_ms });
        }
        Ok(())
    }

    /// Returns the limits that an operator may not have intended.
    pub(crate) fn warnings(&self) -> Vec<LimitsWarning> {
        let mut warnings = Vec::new();
        if self.ping_interval_ms == 0 && self.dead_peer_timeout_ms > 0 {
            warnings.push(LimitsWarning::IdleClientsAreCutOff { dead_peer_timeout_ms: self.dead_peer_timeout_ms });
        }
        if self.close_timeout_ms > self.drain_timeout_ms {
            let (close_timeout_ms, drain_timeout_ms) = (self.close_timeout_ms, self.drain_timeout_ms);
            warnings.push(LimitsWarning::CloseOutlastsDrain { close_timeout_ms, drain_timeout_ms });
        }
        let (per_address, connections) = (self.connections_per_address_max, self.connections_max);
        if connections > 0 && per_address as usize > connections {
            warnings.push(LimitsWarning::AddressMayTakeAll { per_address, connections });
        }
        warnings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ping_that_would_come_with_or_after_the_end_is_refused() {
        let check = |ping_interval_ms, dead_peer_timeout_ms| {
            Limits { ping_interval_ms, dead_peer_timeout_ms, ..Limits::default() }.check(0)
        };
        for (ping, dead) in
            [(4_000, 2_000), (2_000, 2_000), (2_001, 2_040), (u64::MAX, u64::MAX), (1, 1), (60_001, 60_000)]
        {
            let refused = check(ping, dead).unwrap_err().to_string();
            assert!(refused.contains(&ping.to_string()) && refused.contains(&dead.to_string()), "{refused}");
        }
        for (ping, dead) in [(1_000, 3_000), (50, 100), (0, 2_000), (4_000, 0), (0, 0), (25_000, u64::MAX)] {
            assert_eq!(check(ping, dead), Ok(()), "{ping} and {dead}");
        }
    }

    #[test]
    fn a_time_in_which_no_message_can_arrive_is_refused() {
        let limits = Limits { assembly_timeout_ms: 0, ..Limits::default() };
        assert_eq!(limits.check(0), Err(LimitsError::NoTimeToAssemble));
    }

    #[test]
    fn a_stall_timeout_that_an_idle_core_would_miss_is_refused() {
        for stall_timeout_ms in [1, 100, STALL_TIMEOUT_MS_MIN - 1] {
            let refused = Limits::default().check(stall_timeout_ms).unwrap_err();
            assert_eq!(refused, LimitsError::StallTimeoutTooShort { stall_timeout_ms });
        }
        for stall_timeout_ms in [0, STALL_TIMEOUT_MS_MIN, 10_000, u64::MAX] {
            assert_eq!(Limits::default().check(stall_timeout_ms), Ok(()));
        }
    }

    #[test]
    fn doubtful_limits_are_reported_and_the_defaults_are_not_doubtful() {
        assert_eq!(Limits::default().warnings(), []);
        let silent = Limits { ping_interval_ms: 0, dead_peer_timeout_ms: 2_000, ..Limits::default() };
        assert_eq!(silent.warnings(), [LimitsWarning::IdleClientsAreCutOff { dead_peer_timeout_ms: 2_000 }]);
        assert_eq!(Limits { dead_peer_timeout_ms: 0, ..silent }.warnings(), []);
        let hasty = Limits { close_timeout_ms: 5_000, drain_timeout_ms: 4_999, ..Limits::default() };
        assert_eq!(
            hasty.warnings(),
            [LimitsWarning::CloseOutlastsDrain { close_timeout_ms: 5_000, drain_timeout_ms: 4_999 }]
        );
        let shared = Limits { connections_max: 10, connections_per_address_max: 11, ..Limits::default() };
        assert_eq!(shared.warnings(), [LimitsWarning::AddressMayTakeAll { per_address: 11, connections: 10 }]);
    }
}
