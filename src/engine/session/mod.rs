//! One client connection: its state, the input that it has not consumed, and the output that waits to be sent.
//!
//! Knows neither cores nor handlers.

pub(in crate::engine) mod acknowledged;
mod compression;
mod inflation_budget;
mod lists;
pub(in crate::engine) mod outbox;
mod profiles;
mod sessions;
mod slot;
mod unconsumed;
mod wakes;

pub(in crate::engine) use compression::Compressing;
pub(in crate::engine) use inflation_budget::InflationBudget;
pub(in crate::engine) use lists::Lists;
pub(in crate::engine) use profiles::Profiles;
pub use profiles::{SESSION_PROFILES_MAX, SessionLimits};
pub(in crate::engine) use sessions::Sessions;
pub(in crate::engine) use slot::{List, Phase, Slot};
pub(in crate::engine) use unconsumed::{Awaits, Unconsumed};
pub(in crate::engine) use wakes::Wakes;
