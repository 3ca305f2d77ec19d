//! The threads of a server's cores: their start, supervision, drain and end.
//!
//! Contains everything that knows the process, its signals and its clocks. Never touches a session.

mod clock;
mod control;
mod controller;
mod patience;
mod pinning;
mod purge;
mod runtime;
mod signals;
mod start_error;
mod supervisor;
mod thread_clock;
mod threads;
mod watchdog;

pub use controller::Controller;
pub use pinning::Pin;
pub use signals::{ENDING, Signals};
pub use start_error::{DESCRIPTORS_PER_CORE, LockedMemory, StartError};
pub use supervisor::{Cores, Pulse, Setup, Stopped, descriptors_per_core};
pub use threads::ReactorKind;
