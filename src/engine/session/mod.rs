//! One client connection: its state, what it has received and not consumed, and what waits to be sent to it.
//!
//! Knows neither cores nor handlers.

pub(in crate::engine) mod acknowledged;
mod backlog;
pub(in crate::engine) mod outbox;
pub(in crate::engine) mod slab;
mod slot;

pub(in crate::engine) use backlog::{Awaits, Backlog};
pub(in crate::engine) use slot::{Phase, Slot};
