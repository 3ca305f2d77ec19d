//! The rights that a backend gives along with its permission to connect.
//!
//! Owns how they change an identity. Never asks a backend. Invariant: rights that are given replace those that the
//! client had; without any the client keeps its own.

use super::grants::{Grant, GrantSet, GrantSets};
use super::identity::{Identity, Now};
use super::rules::AccessRules;

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allowed {
    /// The subject of the session; `None` for the one that it has anyway.
    pub subject: Option<String>,
    /// Names of roles; `None` if the answer has none.
    pub roles: Option<Vec<String>>,
    /// Grants; `None` if the answer has none.
    pub grants: Option<Vec<Grant>>,
    /// The time in seconds after which the session ends.
    pub expires_s: Option<u64>,
}

impl Allowed {
    /// Returns whether nothing is given beside the permission.
    pub(super) fn is_bare(&self) -> bool {
        *self == Self::default()
    }

    /// Returns an identity with these rights.
    pub(super) fn applied_to(
        &self,
        identity: Identity,
        rules: &AccessRules,
        sets: &mut GrantSets,
        now: Now,
    ) -> Identity {
        let mut identity = identity;
        if let Some(subject) = &self.subject {
            // A subject of the backend is another one than an issuer's of the same name.
            identity.issuer = None;
            identity.subject = Some(subject.as_str().into());
            identity.issued_at_s = Some(now.s());
        }
        if self.roles.is_some() || self.grants.is_some() {
            let roles = self.roles.as_deref().unwrap_or_default();
            let mut grants = self.grants.clone().unwrap_or_default();
            grants.extend(rules.grants_of_roles(roles, identity.subject.as_deref()));
            identity.grants = sets.share(GrantSet::new(grants).with_roles(roles.to_vec()));
        }
        if let Some(expires_s) = self.expires_s {
            let end_s = now.s().saturating_add(expires_s);
            identity.expires_at_s = Some(identity.expires_at_s.map_or(end_s, |own_s| own_s.min(end_s)));
        }
        identity
    }
}
