//! The load generator behind `ringsock bench`: opens many connections to any WebSocket server and measures it.
//!
//! Uses the client side of [`crate::protocol`] and the server's reactors. Every answer is checked for content, order
//! and count, so that a wrong answer is a failure and does not count as throughput. Never part of a server.

mod client;
mod clock;
mod crew;
mod deliveries;
mod effort;
mod handshake;
mod knee;
mod observe;
mod plan;
pub mod report;
mod run;
mod samples;
mod schedule;
mod sources;
mod stamp;
mod sweep;
mod tally;
mod traffic;
mod trust;
mod worker;

pub use crew::{CrewError, connections_per_process, work_for_parent};
pub use effort::{BUSY_MAX_PERCENT, Bottleneck, Effort, LATE_SHARE_MAX, Utilization, WAITED_MAX_PERCENT};
pub use knee::{ACHIEVED_MIN, ERRORS_MAX, Knee, SLOW_US, SLOWER_TIMES, Sign};
pub use observe::Usage;
pub use plan::{Mode, Pace, Plan, PlanError, PlanTls};
pub use run::{Outcome, run};
pub use samples::Sample;
pub use sources::{InvalidSources, Sources};
pub use sweep::{Sweep, SweepOutcome, SweepProgress, sweep};
pub use tally::{Counts, Interval, Latencies, Stage};
pub use trust::{ServerTrust, TrustError};
