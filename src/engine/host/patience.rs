//! Retries to bind an address while the kernel still has it in use.
//!
//! After a process was killed, the kernel takes its rings apart connection by connection, and keeps what they refer to
//! until then, listening sockets included. Invariant: waits no longer than it was told to, and logs once that it waits.

use std::fmt::Display;
use std::io::{self, ErrorKind};
use std::thread;
use std::time::{Duration, Instant};

/// The time that an address may be in use before the start fails. Not longer by default, since another server may have
/// the address, and then the operator should learn that soon.
const PATIENCE: Duration = Duration::from_secs(5);

/// The additional time for each configured connection: half as long again as the kernel takes for one, measured as 0.31
/// s for 15,000.
const PATIENCE_PER_CONNECTION: Duration = Duration::from_micros(30);

/// The longest wait: supervisors give up a start after 90 s.
const PATIENCE_MAX: Duration = Duration::from_secs(60);

/// The interval between two tries: too short for an operator to notice.
const TRY_INTERVAL: Duration = Duration::from_millis(25);

/// Returns how long to wait for an address, given the number of configured connections, if any.
pub(in crate::engine) fn address_patience(connections: Option<usize>) -> Duration {
    let connections = connections.map_or(0, |connections| u32::try_from(connections).unwrap_or(u32::MAX));
    PATIENCE_MAX.min(PATIENCE.saturating_add(PATIENCE_PER_CONNECTION.saturating_mul(connections)))
}

/// Calls `bind` again and again while its address is in use and the start is not cancelled. An error names the address.
pub(in crate::engine) fn await_address<T, A: Display>(
    patience: Duration,
    is_cancelled: impl Fn() -> bool,
    mut bind: impl FnMut() -> Result<T, (A, io::Error)>,
) -> Result<T, (A, io::Error)> {
    let begun = Instant::now();
    let mut waits = false;
    loop {
        let result = bind();
        let address = match &result {
            Err((address, error)) if error.kind() == ErrorKind::AddrInUse => address,
            _ => return result,
        };
        if begun.elapsed() >= patience || is_cancelled() {
            return result;
        }
        if !std::mem::replace(&mut waits, true) {
            let seconds = patience.as_secs();
            tracing::warn!(
                "{address} is in use. If a killed process had it, the kernel frees it soon: trying again for \
                 {seconds} s."
            );
        }
        thread::sleep(TRY_INTERVAL.min(patience));
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn an_address_that_becomes_free_is_had_and_other_errors_are_told_at_once() {
        let mut tries = 0;
        let had = await_address(
            Duration::from_secs(600),
            || false,
            || {
                tries += 1;
                if tries < 3 { Err(("a", ErrorKind::AddrInUse.into())) } else { Ok(()) }
            },
        );
        assert!(had.is_ok() && tries == 3);
        let refused = |patience, kind: ErrorKind| {
            let mut tries = 0;
            let refused = await_address(
                patience,
                || false,
                || {
                    tries += 1;
                    Result::<(), _>::Err(("a", kind.into()))
                },
            );
            (refused.unwrap_err().1.kind(), tries)
        };
        assert_eq!(refused(Duration::from_secs(600), ErrorKind::PermissionDenied), (ErrorKind::PermissionDenied, 1));
        assert_eq!(refused(Duration::ZERO, ErrorKind::AddrInUse), (ErrorKind::AddrInUse, 1));
        let (begun, patience) = (Instant::now(), Duration::from_millis(60));
        let (kind, _) = refused(patience, ErrorKind::AddrInUse);
        assert!(kind == ErrorKind::AddrInUse && begun.elapsed() >= patience);
    }

    #[test]
    fn a_start_that_is_cancelled_waits_no_longer() {
        let tries = Cell::new(0);
        let refused = await_address(
            Duration::from_secs(600),
            || tries.get() == 3,
            || {
                tries.set(tries.get() + 1);
                Result::<(), _>::Err(("a", ErrorKind::AddrInUse.into()))
            },
        );
        assert!(refused.is_err() && tries.get() == 3);
    }

    #[test]
    fn the_more_connections_are_configured_the_longer_it_waits() {
        assert_eq!(address_patience(None), PATIENCE);
        assert_eq!(address_patience(Some(1_000_000)), PATIENCE + Duration::from_secs(30));
        assert_eq!(address_patience(Some(usize::MAX)), PATIENCE_MAX);
    }
}
