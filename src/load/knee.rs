//! The knee of a sweep: the step from which on no step is served as well as those before it.
//!
//! Pure arithmetic. Invariant: no step from the knee on is served well. A bad step that is followed by a good one was
//! disturbed by something else, and is not the knee.

use serde::Serialize;

/// A 99th percentile above this multiple of the lowest one of the earlier steps is too slow.
pub const SLOWER_TIMES: f64 = 3.0;

/// A 99th percentile below this many microseconds is never too slow: where client and server share processors, the
/// scheduler alone varies as much from one run to the next.
pub const SLOW_US: f64 = 5_000.0;

/// The share of the offered rate that has to be achieved. The rest allows for the edges of the measured time.
pub const ACHIEVED_MIN: f64 = 0.95;

/// The share of messages that may fail.
pub const ERRORS_MAX: f64 = 0.01;

/// The figures that decide whether a step is sustained.
#[derive(Clone, Copy, Debug)]
pub(super) struct Point {
    pub connections: usize,
    pub offered_per_second: f64,
    pub achieved_per_second: f64,
    pub p99_us: f64,
    pub error_rate: f64,
}

/// The first step that is no longer served well, and why.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Knee {
    /// The connections of that step.
    pub connections: usize,
    /// The connections of the last step that was served well; `None` if the first was not.
    pub served: Option<usize>,
    /// The sign by which it was recognized.
    #[serde(flatten)]
    pub sign: Sign,
}

/// A sign that the server does not keep up.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(tag = "sign", rename_all = "snake_case")]
pub enum Sign {
    /// More than [`ERRORS_MAX`] of the messages failed.
    Errors {
        /// The share that failed.
        error_rate: f64,
    },
    /// Less than [`ACHIEVED_MIN`] of the offered rate was achieved.
    Behind {
        /// The share that was achieved.
        achieved: f64,
    },
    /// The 99th percentile was above [`SLOW_US`] and above [`SLOWER_TIMES`] the lowest of the steps before.
    Slow {
        /// The 99th percentile in microseconds.
        p99_us: f64,
        /// The lowest 99th percentile of the earlier steps.
        lowest_us: f64,
    },
}

/// Returns the first step from which on all steps show a sign. Steps are in order of connections.
pub(super) fn find(points: impl IntoIterator<Item = Point>) -> Option<Knee> {
    let mut lowest_us = f64::INFINITY;
    let (mut served, mut knee) = (None, None);
    for point in points {
        match sign(&point, lowest_us) {
            Some(sign) => {
                knee.get_or_insert(Knee { connections: point.connections, served, sign });
            }
            None => {
                lowest_us = lowest_us.min(point.p99_us);
                (served, knee) = (Some(point.connections), None);
            }
        }
    }
    knee
}

fn sign(point: &Point, lowest_us: f64) -> Option<Sign> {
    let achieved = point.achieved_per_second / point.offered_per_second.max(1e-9);
    if point.error_rate > ERRORS_MAX {
        Some(Sign::Errors { error_rate: point.error_rate })
    } else if achieved < ACHIEVED_MIN {
        Some(Sign::Behind { achieved })
    } else if point.p99_us > SLOW_US && point.p99_us > SLOWER_TIMES * lowest_us {
        Some(Sign::Slow { p99_us: point.p99_us, lowest_us })
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(connections: usize, p99_us: f64) -> Point {
        let (offered_per_second, achieved_per_second) = (1000.0, 999.0);
        Point { connections, offered_per_second, achieved_per_second, p99_us, error_rate: 0.0 }
    }

    #[test]
    fn a_server_that_serves_all_alike_has_no_knee() {
        assert_eq!(find([100, 1000, 10_000].map(|connections| point(connections, 800.0))), None);
        assert_eq!(find([]), None);
    }

    #[test]
    fn the_knee_is_the_first_step_that_is_slow_by_both_measures() {
        let steps = [(100, 2000.0), (200, 1900.0), (500, 4999.0), (1000, 5699.0), (2000, 5701.0), (5000, 9000.0)];
        let sign = Sign::Slow { p99_us: 5701.0, lowest_us: 1900.0 };
        let knee = find(steps.map(|(connections, p99_us)| point(connections, p99_us)));
        assert_eq!(knee, Some(Knee { connections: 2000, served: Some(1000), sign }));
    }

    #[test]
    fn a_step_that_was_disturbed_is_no_knee() {
        assert_eq!(find([(100, 1000.0), (200, 50_000.0), (500, 1100.0)].map(|(at, p99_us)| point(at, p99_us))), None);
        let knee = find([(100, 1000.0), (200, 50_000.0), (500, 1100.0), (900, 6000.0)].map(|(at, us)| point(at, us)));
        assert_eq!(knee.map(|knee| (knee.connections, knee.served)), Some((900, Some(500))));
    }

    #[test]
    fn the_first_step_is_not_too_slow_for_want_of_one_before() {
        assert_eq!(find([point(100, 80_000.0), point(200, 90_000.0)]), None);
    }

    #[test]
    fn a_rate_that_is_not_achieved_is_a_knee_and_so_are_errors() {
        let behind = Point { achieved_per_second: 940.0, ..point(100, 800.0) };
        let knee = find([behind]).unwrap();
        assert!(matches!(knee, Knee { connections: 100, served: None, sign: Sign::Behind { .. } }), "{knee:?}");
        let errors = Point { error_rate: 0.02, ..point(200, 800.0) };
        let knee = find([point(100, 800.0), errors]).unwrap();
        assert_eq!((knee.served, knee.sign), (Some(100), Sign::Errors { error_rate: 0.02 }));
    }
}
