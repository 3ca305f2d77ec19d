//! The load generator behind `ringsock bench`: many connections to any WebSocket server, and what came of them.
//!
//! On the client's side of [`crate::protocol`], and on the same reactors as the server. Everything that comes is checked:
//! content, order and number, so that a wrong answer is a failure and no throughput. Never part of a server.

mod client;
mod clock;
mod crew;
mod effort;
mod handshake;
mod knee;
mod observe;
mod plan;
pub mod report;
mod rounds;
mod run;
mod samples;
mod schedule;
mod sources;
mod stamp;
mod sweep;
mod talk;
mod tally;
mod worker;

pub use crew::{CrewError, connections_per_process, work_for_parent};
pub use effort::{BUSY_MAX_PERCENT, Effort, LATE_PART_MAX, Limit, Load, WAITED_MAX_PERCENT};
pub use knee::{ACHIEVED_MIN, ERRORS_MAX, Knee, SLOW_US, SLOWER_TIMES, Sign};
pub use observe::Usage;
pub use plan::{Mode, Pace, Plan, PlanError};
pub use run::{Outcome, run};
pub use samples::Sample;
pub use sources::{InvalidSources, Sources};
pub use sweep::{Part, Sweep, SweepOutcome, sweep};
pub use tally::{Counts, Interval, Latencies, Stage};
