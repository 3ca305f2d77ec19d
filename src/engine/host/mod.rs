//! The threads of a server's cores: their start, supervision, drain and end.
//!
//! Contains everything that knows the process, its signals and its clocks. Never touches a session.

mod clock;
mod control;
mod controller;
mod descriptors;
mod patience;
mod pinning;
mod purge;
mod refusals;
mod reload;
mod running;
mod runtime;
mod signals;
mod start_error;
mod supervisor;
mod thread_clock;
mod threads;
mod watchdog;

pub use controller::Controller;
pub use pinning::Pinning;
pub use reload::{CheckedReload, Reload, ReloadError};
pub use signals::{Signals, TERMINATION_SIGNALS};
pub use start_error::{DESCRIPTORS_PER_CORE, StartError};
pub use supervisor::{Cores, Heartbeat, Setup, Stopped, descriptors_per_core};
pub use threads::ReactorKind;
