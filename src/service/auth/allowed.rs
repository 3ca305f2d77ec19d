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
    /// The time in seconds after the answer at which the session ends.
    pub expires_s: Option<u64>,
    /// The time of the answer in seconds since 1970, which counts when it is used again later; `None` for now.
    pub given_at_s: Option<u64>,
}

impl Allowed {
    /// Returns whether nothing is given beside the permission.
    pub(super) fn is_bare(&self) -> bool {
        self.subject.is_none() && self.roles.is_none() && self.grants.is_none() && self.expires_s.is_none()
    }

    /// Returns an identity with these rights.
    pub(super) fn applied_to(
        &self,
        identity: Identity,
        rules: &AccessRules,
        sets: &mut GrantSets,
        now: Now,
    ) -> Identity {
        let given_at_s = self.given_at_s.unwrap_or(now.s());
        let mut identity = identity;
        if let Some(subject) = &self.subject {
            // A subject of the backend is another one than an issuer's of the same name.
            identity.issuer = None;
            identity.subject = Some(subject.as_str().into());
            identity.issued_at_s = Some(given_at_s);
        }
        if self.roles.is_some() || self.grants.is_some() {
            let roles = self.roles.as_deref().unwrap_or_default();
            let mut grants = self.grants.clone().unwrap_or_default();
            grants.extend(rules.grants_of_roles(roles, identity.subject.as_deref()));
            identity.grants = sets.share(GrantSet::new(grants).with_roles(roles.to_vec()));
        }
        if let Some(expires_s) = self.expires_s {
            let end_s = given_at_s.saturating_add(expires_s);
            identity.expires_at_s = Some(identity.expires_at_s.map_or(end_s, |own_s| own_s.min(end_s)));
        }
        identity
    }
}

#[cfg(test)]
mod tests {
    use super::super::grants::Verb;
    use super::super::settings::{AccessSettings, RoleSettings};
    use super::*;

    const NOW: Now = Now { ms: 1_000_000 };

    fn rules() -> AccessRules {
        let role =
            |name: &str, grant: &str| RoleSettings { name: name.to_owned(), grants: vec![grant.parse().unwrap()] };
        let roles = vec![role("user", "subscribe:users/{sub}/*"), role("tenant", "subscribe:{claim.tenant}/a")];
        AccessRules::new(&AccessSettings { roles, ..AccessSettings::default() }).unwrap().unwrap()
    }

    /// Returns the identity of ann of an issuer with the right to receive news, once a backend has given these rights.
    fn given(allowed: Allowed) -> Identity {
        let mut sets = GrantSets::default();
        let grants = sets.share(GrantSet::new(["subscribe:news".parse().unwrap()]));
        let own = Identity {
            issuer: Some("shop".into()),
            subject: Some("ann".into()),
            token_id: Some("7".into()),
            issued_at_s: Some(900),
            expires_at_s: Some(1_100),
            ..Identity::nameless(grants)
        };
        allowed.applied_to(own, &rules(), &mut sets, NOW)
    }

    #[test]
    fn a_bare_permission_leaves_all_rights_as_they_are() {
        let identity = given(Allowed::default());
        assert!(Allowed::default().is_bare() && identity.grants.allows(Verb::Subscribe, "news"));
        assert_eq!((identity.issuer.as_deref(), identity.expires_at_s), (Some("shop"), Some(1_100)));
    }

    #[test]
    fn roles_and_grants_replace_those_of_the_token_also_by_none_at_all() {
        let rights = Allowed { grants: Some(vec!["publish:b".parse().unwrap()]), ..Allowed::default() };
        let both = given(Allowed { roles: Some(vec!["user".to_owned(), "unknown".to_owned()]), ..rights });
        assert!(both.grants.allows(Verb::Publish, "b") && both.grants.allows(Verb::Subscribe, "users/ann/1"));
        assert!(!both.grants.allows(Verb::Subscribe, "news") && !both.grants.allows(Verb::Subscribe, "users/bob/1"));
        assert_eq!(both.grants.roles(), ["user", "unknown"]);
        assert_eq!(both.issuer.as_deref(), Some("shop"), "the subject is still that of the token");
        for none in [
            Allowed { grants: Some(Vec::new()), ..Allowed::default() },
            Allowed { roles: Some(Vec::new()), ..Allowed::default() },
            // Claims of a token are none of the backend's.
            Allowed { roles: Some(vec!["tenant".to_owned()]), ..Allowed::default() },
        ] {
            assert_eq!(given(none).grants.iter().count(), 0);
        }
    }

    #[test]
    fn a_subject_of_the_backend_is_no_issuers_and_cannot_be_a_pattern() {
        let named = |subject: &str| {
            let roles = Some(vec!["user".to_owned()]);
            given(Allowed { subject: Some(subject.to_owned()), roles, ..Allowed::default() })
        };
        let bob = named("bob");
        assert!(
            bob.grants.allows(Verb::Subscribe, "users/bob/1") && !bob.grants.allows(Verb::Subscribe, "users/ann/1")
        );
        assert_eq!((bob.issuer.as_deref(), bob.name().as_deref()), (None, Some("\nbob")));
        assert_eq!((bob.token_id.as_deref(), bob.issued_at_s), (Some("7"), Some(1_000)), "its token can be revoked");
        for subject in ["*", "a/b", "a*"] {
            assert_eq!(named(subject).grants.iter().count(), 0, "{subject}");
        }
    }

    #[test]
    fn an_answer_that_is_used_again_has_the_time_and_the_end_of_its_first_use() {
        let subject = Some("bob".to_owned());
        let again = given(Allowed { subject, expires_s: Some(60), given_at_s: Some(950), ..Allowed::default() });
        assert_eq!((again.issued_at_s, again.expires_at_s), (Some(950), Some(1_010)));
        assert!(Allowed { given_at_s: Some(1), ..Allowed::default() }.is_bare());
    }

    #[test]
    fn the_earlier_end_of_token_and_backend_counts() {
        for (expires_s, end_s) in [(50, 1_050), (100, 1_100), (500, 1_100), (u64::MAX, 1_100)] {
            let allowed = Allowed { expires_s: Some(expires_s), ..Allowed::default() };
            assert!(!allowed.is_bare());
            assert_eq!(given(allowed).expires_at_s, Some(end_s));
        }
    }
}
