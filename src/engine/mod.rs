//! The engine: cores, their sessions, and the calls to handlers.
//!
//! Imports protocol, reactor and mesh, and does not know the meaning of its sessions' messages.

mod admission;
mod core;
mod counters;
mod current;
mod date;
mod handler;
mod host;
mod limits;
mod limits_check;
mod log;
mod mail;
mod parts;
mod rates;
mod reasons;
mod seed;
mod session;
mod status;
mod subscribers;
mod tasks;
#[cfg(test)]
mod tests;
mod topics;
mod values;
mod wheel;

pub use self::core::Core;
pub use admission::{Admission, AdmissionPolicy};
pub use counters::{ByReason, Counter, CounterFamily, Counters};
pub use current::{Current, Following};
pub use handler::{
    Accept, Body, ClientGone, Context, Handler, Hub, Reply, ServerHandle, Session, StreamedReply, Upgrade,
    UpgradeRequest,
};
pub use host::{
    CheckedReload, Controller, Cores, Heartbeat, Pinning, ReactorKind, Reload, ReloadError, Setup, Stopped,
};
pub use host::{DESCRIPTORS_PER_CORE, Signals, StartError, TERMINATION_SIGNALS, descriptors_per_core};
pub use limits::{Limits, SenderRates};
pub use limits_check::{LimitsError, LimitsWarning, STALL_TIMEOUT_MS, STALL_TIMEOUT_MS_MIN};
pub use mail::MeshEntry;
pub use rates::SharedRates;
pub use reasons::{DropReason, End};
pub use seed::Seed;
pub use session::{SESSION_PROFILES_MAX, SessionLimits};
pub(crate) use status::Reloads;
pub use status::Status;
pub use subscribers::Subscribers;
pub use tasks::{BoxedTask, SessionHandle, Spawner};
pub use topics::{Overflow, Subscribe, TOPIC_BYTES_MAX, TopicError, check_topic};
pub use values::{Ended, InvalidSessionId, Sent, SessionId};
