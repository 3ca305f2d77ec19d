//! The rates of one kind of sender, and what is the same for all kinds.

use super::rate::{Rate, Spent};
use crate::engine::limits::SenderRates;

/// The rates of one kind of sender; `None` where there is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct KindRates {
    pub(super) messages: Option<Rate>,
    pub(super) bytes: Option<Rate>,
    pub(super) subscriptions: Option<Rate>,
}

impl KindRates {
    /// Returns these rates with this burst.
    pub(super) fn new(rates: &SenderRates, burst_ms: u64) -> Self {
        Self {
            messages: Rate::new(rates.messages_per_second, burst_ms),
            bytes: Rate::new(rates.bytes_per_second, burst_ms),
            subscriptions: Rate::new(rates.subscriptions_per_second, burst_ms),
        }
    }
}

/// Spends units if there is a rate. Returns the time from which there is room for more.
pub(super) fn spend(rate: Option<Rate>, spent: &mut Spent, units: u64, now_ms: u64) -> u64 {
    let Some(rate) = rate else { return now_ms };
    *spent = rate.spend(*spent, units, now_ms);
    room_at_ms(Some(rate), *spent, now_ms)
}

/// Returns the time from which there is room for a unit: now, if there is.
pub(super) fn room_at_ms(rate: Option<Rate>, spent: Spent, now_ms: u64) -> u64 {
    rate.filter(|rate| !rate.has_room(spent, now_ms)).map_or(now_ms, |rate| rate.room_at_ms(spent))
}
