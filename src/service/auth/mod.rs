//! Identities: tokens and their keys, roles and grants, tickets and revocations.
//!
//! Owns the decision who somebody is and what that one may do. This part is without I/O and without a clock: times,
//! random bytes and documents are arguments. Never touches a session. Invariant: a fault of a token, of whatever kind,
//! lets nobody in; nothing that is refused is told more than that.

mod grants;
mod json;
mod roles;

pub use grants::{GRANTS_MAX, Grant, GrantError, GrantSet, GrantSets, Verb};
pub use roles::{ANONYMOUS, GrantTemplate, Roles};
