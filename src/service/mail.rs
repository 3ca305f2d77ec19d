//! Mail to the services of a core, from other cores and other threads.

use std::sync::Arc;

use super::auth::Revocation;

/// A message to the services of a core.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ServiceMail {
    /// Close the sessions that a revocation concerns.
    Revoked(Arc<Revocation>),
    /// The question of this number has its answer.
    Answered(u64),
}
