//! The settings in force of a running server, which its supervisor, its cores and all its controllers share.
//!
//! Never checks a value: a start or a reload did.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use crate::engine::admission::Admission;
use crate::engine::current::Current;
use crate::engine::limits::Limits;
use crate::engine::status::Status;

/// See the module.
#[derive(Debug)]
pub(in crate::engine) struct Running {
    pub(in crate::engine) limits: Current<Limits>,
    pub(in crate::engine) admission: Arc<Admission>,
    pub(in crate::engine) status: Arc<Status>,
    /// The time without a turn after which a core ends the server; 0 never.
    pub(in crate::engine) stall_timeout_ms: AtomicU64,
    /// Descriptors of the process that are not for connections.
    pub(in crate::engine) descriptors_reserved: usize,
    /// A listener expects PROXY headers.
    pub(in crate::engine) expects_proxy_headers: bool,
}
