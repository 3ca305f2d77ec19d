//! Reloads: limits that were replaced, and the parts of a core that depend on them.
//!
//! Never touches a session. Invariant: between two turns all parts have the same limits. Deadlines that run keep the
//! time that they were given; silence, pings, sends and messages under way are checked against the new times.

use super::Parts;
use crate::engine::current::Following;
use crate::engine::limits::{Limits, SenderRates};
use crate::engine::topics::round_bytes_max;

impl Parts {
    /// Takes the limits in force, if they were replaced. Returns whether times or rates were replaced that sessions
    /// wait for.
    #[inline]
    pub(super) fn refresh_limits(&mut self) -> bool {
        self.following.as_mut().is_some_and(Following::refresh) && self.take_limits()
    }

    #[cold]
    fn take_limits(&mut self) -> bool {
        let Some(following) = &self.following else { return false };
        // The mesh has the room that it was built with.
        let limits = Limits { mesh: self.limits.mesh, ..following.value().clone() };
        let former = std::mem::replace(&mut self.limits, limits);
        self.profiles.replace_server(&self.limits);
        self.topics.round_bytes_max = round_bytes_max(self.limits.outbox_bytes_max);
        self.compression.replace(&former, &self.limits);
        let new_rates = rates(&former) != rates(&self.limits);
        if new_rates {
            self.rates.replace(&self.limits);
        }
        new_rates || running_times(&former) != running_times(&self.limits)
    }
}

/// Returns the rates of senders, and their times.
fn rates(limits: &Limits) -> ([SenderRates; 3], [u64; 2]) {
    let senders = [limits.session_rates, limits.subject_rates, limits.address_rates];
    (senders, [limits.rate_burst_ms, limits.rate_patience_ms])
}

/// Returns the times that are compared with the state of a session when its timer fires.
fn running_times(limits: &Limits) -> [u64; 5] {
    [
        limits.ping_interval_ms,
        limits.dead_peer_timeout_ms,
        limits.assembly_timeout_ms,
        limits.send_timeout_ms,
        limits.close_timeout_ms,
    ]
}
