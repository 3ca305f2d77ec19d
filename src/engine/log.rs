//! The targets of the log, by which an operator chooses what it shows.
//!
//! Never writes a line itself: the parts of a core and the supervisor do. Invariant: no target shows what a message
//! contains, the query of a request, or a header, since they may hold secrets. The exceptions are the Origin and the
//! Host of a request that is refused for its Origin, and the subprotocol that was chosen.

use tracing::Level;

/// The beginning, the subscriptions and the end of each session, at debug.
pub(in crate::engine) const SESSIONS: &str = "ringsock::sessions";

/// Messages, Pings and Pongs, at trace.
pub(in crate::engine) const FRAMES: &str = "ringsock::frames";

/// Connections, requests and upgrades that were refused: each at debug, and their sum once a minute at info.
pub(in crate::engine) const REFUSALS: &str = "ringsock::refusals";

/// The lines of a core that are enabled, in the sense of `tracing::enabled`.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::engine) struct LogEnabled {
    /// Sessions or refusals, with the addresses of their clients.
    pub(in crate::engine) clients: bool,
    /// Messages, Pings and Pongs.
    pub(in crate::engine) frames: bool,
}

impl LogEnabled {
    /// Asks the subscriber of the log.
    pub(in crate::engine) fn now() -> Self {
        let sessions = tracing::enabled!(target: SESSIONS, Level::DEBUG);
        let clients = sessions || tracing::enabled!(target: REFUSALS, Level::DEBUG);
        Self { clients, frames: tracing::enabled!(target: FRAMES, Level::TRACE) }
    }
}
