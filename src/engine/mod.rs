//! The engine: cores, their sessions, and the calls to handlers.
//!
//! Imports protocol, reactor and mesh, and knows nothing of what its sessions talk about.

mod accepting;
mod acknowledged;
mod admission;
mod clients;
mod clock;
mod common;
mod contradiction;
mod control;
mod core;
mod counters;
mod cut;
mod date;
mod deadlines;
mod drain;
mod ending;
mod fanout;
mod frames;
mod handler;
mod head;
mod hub;
mod limits;
mod outbox;
mod parcel;
mod patience;
mod pinning;
mod publish;
mod reasons;
mod relief;
mod runtime;
mod server_handle;
mod session;
mod signals;
mod slab;
mod start_error;
mod supervisor;
mod tasks;
#[cfg(test)]
mod tests;
mod thread_clock;
mod threads;
mod topics;
mod watchdog;
mod wheel;

pub use self::core::{Core, CoreSetup};
pub use admission::{Admission, AdmissionPolicy};
pub use contradiction::{Contradiction, Doubt, STALL_TIMEOUT_MS_MIN};
pub use counters::{ByReason, Counter, Counters, Family};
pub use handler::{Accept, Ended, Handler, Sent, Upgrade, UpgradeRequest};
pub use hub::Hub;
pub use limits::Limits;
pub use parcel::Parcel;
pub use pinning::Pin;
pub use reasons::{DropReason, End};
pub use server_handle::{ServerHandle, Subscribers};
pub use session::{Session, SessionId};
pub use signals::{ENDING, Signals};
pub use start_error::{DESCRIPTORS_PER_CORE, LockedMemory, StartError};
pub use supervisor::{Controller, Cores, Pulse, Setup, Status, Stopped, descriptors_per_core};
pub use tasks::{BoxedTask, SessionHandle, Spawner};
pub use threads::ReactorKind;
pub use topics::{Overflow, Subscribe, TOPIC_BYTES_MAX, TopicError, check_topic};
