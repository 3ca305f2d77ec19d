//! The time of the calendar, which an operator may set back.

use std::time::{SystemTime, UNIX_EPOCH};

/// Returns the time in milliseconds since 1970.
pub(in crate::service) fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Returns the time in seconds since 1970.
pub(in crate::service) fn unix_s() -> u64 {
    unix_ms() / 1000
}
