//! The engine: cores, their sessions, and the calls to handlers.
//!
//! Imports protocol and reactor, and knows nothing of what its sessions talk about.

mod accepting;
mod admission;
mod clients;
mod common;
mod core;
mod counters;
mod ending;
mod frames;
mod handler;
mod head;
mod limits;
mod outbox;
mod reasons;
mod runtime;
mod session;
mod slab;
mod supervisor;
mod tasks;
#[cfg(test)]
mod tests;
mod wheel;

pub use self::core::{Core, CoreSetup};
pub use admission::{Admission, AdmissionPolicy};
pub use counters::{ByReason, Counter, Counters, Family};
pub use handler::{Accept, Compress, Ended, Handler, Sent, Upgrade, UpgradeRequest};
pub use limits::Limits;
pub use reasons::{DropReason, End};
pub use session::{Session, SessionId};
pub use supervisor::{Controller, Cores, DESCRIPTORS_PER_CORE, ReactorKind, Setup, StartError, Status, Stopped};
pub use tasks::{BoxedTask, SessionHandle, Spawner};
