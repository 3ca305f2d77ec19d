//! Identities: a token, key or ticket to the rights of its bearer.
//!
//! Owns the order of the checks: the token itself, revocations, single use, then its rights. Invariant: whatever the
//! fault of a token, the outcome for the client is the same.

use std::rc::Rc;
use std::sync::atomic::Ordering;

use super::error::TokenError;
use super::grants::{GrantSet, GrantSets};
use super::issuers::Doubt;
use super::key_source::MayWait;
use super::revocations::TokenFacts;
use super::rules::AccessRules;
use super::settings::CertificateName;
use super::single_use::Use;
use super::state::AccessState;
use super::token::{self, ID_BYTES_MAX};
use crate::tls::ClientCertificate;

/// A time, in the units that tokens and sessions need.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    pub(super) ms: u64,
}

impl Now {
    /// Returns seconds since 1970.
    pub(super) fn s(self) -> u64 {
        self.ms / 1000
    }
}

/// The identity of a client, for as long as its token lives.
#[derive(Debug)]
pub(super) struct Identity {
    /// The name of the issuer; `None` for keys, tickets and anonymous clients.
    pub(super) issuer: Option<Box<str>>,
    pub(super) subject: Option<Box<str>>,
    pub(super) token_id: Option<Box<str>>,
    pub(super) issued_at_s: Option<u64>,
    /// The end; `None` for one without.
    pub(super) expires_at_s: Option<u64>,
    /// It comes from an opaque token, so that one may renew it.
    pub(super) is_opaque: bool,
    pub(super) grants: Rc<GrantSet>,
}

impl Identity {
    /// Returns an identity that nothing is known of but its grants.
    pub(super) fn nameless(grants: Rc<GrantSet>) -> Self {
        Self {
            issuer: None,
            subject: None,
            token_id: None,
            issued_at_s: None,
            expires_at_s: None,
            is_opaque: false,
            grants,
        }
    }

    /// Returns what revocations are compared with.
    pub(super) fn facts(&self) -> TokenFacts<'_> {
        TokenFacts {
            token_id: self.token_id.as_deref(),
            subject: self.subject.as_deref(),
            issued_at_s: self.issued_at_s,
        }
    }

    /// Returns the name by which sessions of one identity are told from those of others; `None` for nobody's.
    pub(super) fn name(&self) -> Option<String> {
        let subject = self.subject.as_deref()?;
        // Subjects of different issuers may have the same name.
        Some(format!("{}\n{subject}", self.issuer.as_deref().unwrap_or_default()))
    }

    /// Returns whether a token of `other` may take this one's place in a session.
    pub(super) fn is_same_subject(&self, other: &Self) -> bool {
        self.issuer == other.issuer && self.subject == other.subject && self.subject.is_some()
    }
}

/// The use of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To open a session, or to renew one.
    Session,
    /// For one HTTP request, which may be checked more than once.
    Request,
}

/// Returns the identity of a token, an API key or a ticket.
pub(super) fn identify(
    rules: &AccessRules,
    state: &AccessState,
    sets: &mut GrantSets,
    text: &str,
    (now, purpose): (Now, Purpose),
    may_wait: MayWait<'_>,
) -> Result<Identity, Doubt> {
    let known = if token::is_compact(text) { None } else { identify_other(rules, state, sets, text, (now, purpose)) };
    let identified = match known {
        Some(identity) => Ok(identity),
        None => identify_token(rules, state, sets, text, (now, purpose), may_wait).map_err(|doubt| match doubt {
            Doubt::Refused(TokenError::Form) => TokenError::Unknown.into(),
            doubt => doubt,
        }),
    };
    if let Err(Doubt::Refused(reason)) = &identified {
        note_refusal(state, reason);
    }
    identified
}

/// Returns the identity of a client that has shown a certificate, which TLS has verified. Its subject is the name that
/// the settings choose, its id the fingerprint, and it ends with the certificate.
pub(super) fn identify_certificate(
    rules: &AccessRules,
    state: &AccessState,
    sets: &mut GrantSets,
    certificate: &ClientCertificate,
    now: Now,
) -> Result<Identity, TokenError> {
    let tokens = rules.tokens();
    let name = match tokens.certificate_name {
        CertificateName::Common => certificate.common_name(),
        CertificateName::Dns => certificate.dns_names().into_iter().next(),
        CertificateName::Uri => certificate.uris().into_iter().next(),
    };
    let named = name.filter(|name| (1..=ID_BYTES_MAX).contains(&name.len())).ok_or(TokenError::CertificateName);
    let identified = named.and_then(|subject| {
        // A handshake may be some time old.
        let (issued_at_s, expires_at_s) = certificate_seconds(certificate).ok_or(TokenError::CertificateName)?;
        if expires_at_s <= now.s() {
            return Err(TokenError::Expired { seconds: now.s() - expires_at_s });
        }
        let grants = rules.grants_of_roles(&tokens.certificate_roles, Some(&subject));
        let identity = Identity {
            subject: Some(subject.into()),
            token_id: Some(certificate.fingerprint().into()),
            issued_at_s: Some(issued_at_s),
            expires_at_s: Some(expires_at_s),
            ..Identity::nameless(sets.share(GrantSet::new(grants)))
        };
        if state.is_revoked(identity.facts()) { Err(TokenError::Revoked) } else { Ok(identity) }
    });
    if let Err(reason) = &identified {
        note_refusal(state, reason);
    }
    identified
}

/// Returns the first and the last second in which a certificate is valid.
fn certificate_seconds(certificate: &ClientCertificate) -> Option<(u64, u64)> {
    let validity = certificate.validity_s()?;
    Some((u64::try_from(*validity.start()).unwrap_or(0), u64::try_from(*validity.end()).ok()?))
}

fn note_refusal(state: &AccessState, reason: &TokenError) {
    state.counts().refused.fetch_add(1, Ordering::Relaxed);
    tracing::debug!("A token was refused. {reason}");
}

fn identify_token(
    rules: &AccessRules,
    state: &AccessState,
    sets: &mut GrantSets,
    text: &str,
    (now, purpose): (Now, Purpose),
    may_wait: MayWait<'_>,
) -> Result<Identity, Doubt> {
    let claims = state.issuers().judge(rules, text, now.s(), may_wait)?;
    let grants = GrantSet::new(rules.grants_of(&claims)?).with_roles(rules.roles_to_tell(&claims)?);
    let facts = TokenFacts {
        token_id: claims.token_id.as_deref(),
        subject: claims.subject.as_deref(),
        issued_at_s: claims.issued_at_s,
    };
    if state.is_revoked(facts) {
        return Err(TokenError::Revoked.into());
    }
    let issuer = rules.verifier().issuers()[claims.issuer].name.clone();
    if rules.tokens().single_use {
        if purpose == Purpose::Request {
            return Err(TokenError::Used.into());
        }
        let id = claims.token_id.as_deref().unwrap_or_default();
        let until_s = claims.expires_at_s + rules.verifier().rules().leeway_s;
        match state.take(&issuer, id, until_s, now.s()) {
            Use::First => {}
            Use::Again => return Err(TokenError::Used.into()),
            Use::Full => return Err(TokenError::UsedFull.into()),
        }
    }
    Ok(Identity {
        issuer: Some(issuer),
        subject: claims.subject,
        token_id: claims.token_id,
        issued_at_s: claims.issued_at_s,
        expires_at_s: Some(claims.expires_at_s),
        is_opaque: !token::is_compact(text),
        grants: sets.share(grants),
    })
}

/// Returns the identity of an API key or a ticket. A ticket opens one session.
fn identify_other(
    rules: &AccessRules,
    state: &AccessState,
    sets: &mut GrantSets,
    text: &str,
    (now, purpose): (Now, Purpose),
) -> Option<Identity> {
    if let Some(roles) = rules.roles_of_key(text) {
        let grants = rules.grants_of_roles(roles, None);
        return Some(Identity::nameless(sets.share(GrantSet::new(grants))));
    }
    let rights = (purpose == Purpose::Session).then(|| state.redeem_ticket(text, now.ms))??;
    let nameless = Identity::nameless(sets.share(GrantSet::new(rights.grants)));
    let issued_at_s = Some(rights.issued_at_s);
    let identity = Identity { subject: rights.subject, issued_at_s, expires_at_s: rights.expires_at_s, ..nameless };
    (!state.is_revoked(identity.facts())).then_some(identity)
}
