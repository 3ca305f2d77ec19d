//! The targets of the log, by which an operator chooses what it shows.
//!
//! Never writes a line itself: the parts of a core and the supervisor do. Invariant: no target shows what a message
//! contains, the query of a request, or a header, since they may hold secrets.

use tracing::Level;

/// The lives of sessions, at debug.
pub(in crate::engine) const SESSIONS: &str = "ringsock::sessions";

/// Frames, at trace.
pub(in crate::engine) const FRAMES: &str = "ringsock::frames";

/// Connections, requests and upgrades that were refused: each at debug, and their sum once a minute at info.
pub(in crate::engine) const REFUSALS: &str = "ringsock::refusals";

/// Returns whether the log shows the addresses of clients, so that cores must know them.
pub(in crate::engine) fn shows_clients() -> bool {
    tracing::enabled!(target: SESSIONS, Level::DEBUG) || tracing::enabled!(target: REFUSALS, Level::DEBUG)
}
