//! Verification of tokens: which issuer, which key, and whether the claims hold at this time (RFC 7519, RFC 8725).
//!
//! Owns the rules for claims. Has no clock: the time is an argument. Invariants: the algorithm is that of the key; a
//! token without an end is never accepted; `iss` and `aud` are required where the configuration names any; a key of one
//! issuer verifies no token of another.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::error::TokenError;
use super::introspector::Introspector;
use super::issuer_keys::IssuerKeys;
use super::key::Key;
use super::token::{self, ID_BYTES_MAX, Unverified};

/// The most keys that are tried for a token that names none: a current secret and a previous one, twice.
const KEYS_TRIED_MAX: usize = 4;

/// The latest time that a claim may have in seconds: what a number in JSON represents exactly, 285 million years.
const SECONDS_MAX: u64 = 1 << 53;

/// A party that makes tokens.
#[derive(Clone, Debug)]
pub struct Issuer {
    /// Its name in the configuration.
    pub name: Box<str>,
    /// The `iss` of its tokens; `None` for the one issuer whose tokens need none.
    pub iss: Option<Box<str>>,
    /// The audiences of which a token's `aud` must have one. Without any, a token with `aud` is refused: it is for
    /// somebody else (RFC 7519 4.1.3).
    pub audiences: Vec<Box<str>>,
    /// Its keys.
    pub keys: IssuerKeys,
    /// Where it is asked about opaque tokens, and about all of its tokens if it has no keys.
    pub introspector: Option<Arc<Introspector>>,
    /// Roles that each of its tokens has.
    pub roles: Vec<Box<str>>,
}

/// The rules for all tokens.
#[derive(Clone, Copy, Debug)]
pub struct TokenRules {
    /// The difference between the clocks of issuer and server that is tolerated, in seconds.
    pub leeway_s: u64,
    /// The longest life of a token in seconds, from `iat` to `exp`.
    pub life_s_max: u64,
    /// A token must have an id (`jti`).
    pub needs_id: bool,
}

/// The claims of a token that was verified.
#[derive(Clone, Debug)]
pub struct Claims {
    /// The number of its issuer.
    pub issuer: usize,
    /// `sub`.
    pub subject: Option<Box<str>>,
    /// `jti`.
    pub token_id: Option<Box<str>>,
    /// `iat`, in seconds since 1970.
    pub issued_at_s: Option<u64>,
    /// `exp`, in seconds since 1970.
    pub expires_at_s: u64,
    /// All claims.
    pub all: Map<String, Value>,
}

/// Verifies tokens of some issuers.
#[derive(Clone, Debug)]
pub struct Verifier {
    issuers: Vec<Issuer>,
    rules: TokenRules,
}

impl Verifier {
    /// Returns a verifier of tokens of these issuers, no two of which have the same `iss`.
    pub fn new(issuers: Vec<Issuer>, rules: TokenRules) -> Self {
        Self { issuers, rules }
    }

    /// Returns the issuers.
    pub fn issuers(&self) -> &[Issuer] {
        &self.issuers
    }

    /// Returns the rules for all tokens.
    pub fn rules(&self) -> TokenRules {
        self.rules
    }

    /// Verifies a token at a time, in seconds since 1970.
    pub fn verify(&self, text: &str, now_s: u64) -> Result<Claims, TokenError> {
        let token = token::parse(text)?;
        let number = self.issuer_of(&token.claims)?;
        let issuer = &self.issuers[number];
        issuer.check_signature(&token)?;
        self.check(issuer, number, token.claims, now_s)
    }

    /// Checks the claims that the issuer of this name has said of a token, as those of one that it has signed.
    pub(super) fn check_claims(
        &self,
        issuer: &str,
        claims: Map<String, Value>,
        now_s: u64,
    ) -> Result<Claims, TokenError> {
        let number = self.issuers.iter().position(|known| *known.name == *issuer).ok_or(TokenError::Issuer)?;
        // The answer came from the issuer, so it need not say so; it may not say that the token is another one's.
        if claims.contains_key("iss") && self.issuer_of(&claims)? != number {
            return Err(TokenError::Issuer);
        }
        self.check(&self.issuers[number], number, claims, now_s)
    }

    /// Returns the number of the issuer that a token's `iss` names, which decides only which keys are tried.
    fn issuer_of(&self, claims: &Map<String, Value>) -> Result<usize, TokenError> {
        let iss = text(claims, "iss")?;
        let named = |issuer: &Issuer| issuer.iss.is_some() && issuer.iss.as_deref() == iss;
        let unnamed = |issuer: &Issuer| issuer.iss.is_none();
        let mut found = self.issuers.iter().position(named);
        found = found.or_else(|| self.issuers.iter().position(unnamed));
        found.ok_or(TokenError::Issuer)
    }

    /// Checks the claims of a token whose signature is right.
    fn check(
        &self,
        issuer: &Issuer,
        number: usize,
        claims: Map<String, Value>,
        now_s: u64,
    ) -> Result<Claims, TokenError> {
        let TokenRules { leeway_s, life_s_max, needs_id } = self.rules;
        let expires_at_s = seconds(&claims, "exp")?.ok_or_else(|| claim("exp"))?;
        if now_s >= expires_at_s.saturating_add(leeway_s) {
            return Err(TokenError::Expired { seconds: now_s - expires_at_s });
        }
        let issued_at_s = seconds(&claims, "iat")?;
        let begins_at_s = issued_at_s.max(seconds(&claims, "nbf")?).unwrap_or_default();
        if begins_at_s > now_s.saturating_add(leeway_s) {
            return Err(TokenError::Early { seconds: begins_at_s - now_s });
        }
        let life_s = expires_at_s.saturating_sub(issued_at_s.unwrap_or(now_s));
        if life_s > life_s_max {
            return Err(TokenError::LifeTooLong { seconds: life_s, max: life_s_max });
        }
        issuer.check_audience(&claims)?;
        let token_id = text(&claims, "jti")?.map(Box::from);
        if needs_id && token_id.is_none() {
            return Err(claim("jti"));
        }
        let subject = text(&claims, "sub")?.map(Box::from);
        Ok(Claims { issuer: number, subject, token_id, issued_at_s, expires_at_s, all: claims })
    }
}

impl Issuer {
    /// Returns where it is asked about tokens, if it is.
    pub(super) fn introspector(&self) -> Option<&Arc<Introspector>> {
        self.introspector.as_ref()
    }

    /// Takes over what others have fetched from the same places for the same issuer.
    pub(super) fn succeeding(mut self, before: &[Self]) -> Self {
        if let IssuerKeys::Fetched(own) = &mut self.keys
            && let Some(same) = before.iter().filter_map(|other| other.keys.source()).find(|other| other.is_same(own))
        {
            *own = Arc::clone(same);
        }
        if let Some(own) = &mut self.introspector
            && let Some(same) = before.iter().filter_map(Self::introspector).find(|other| other.is_same(own))
        {
            *own = Arc::clone(same);
        }
        self
    }

    /// Checks that one of the issuer's keys has signed a token. `kid` only selects among them.
    fn check_signature(&self, token: &Unverified<'_>) -> Result<(), TokenError> {
        let is_candidate = |key: &&Key| {
            let is_named = key.id().is_none() || token.key_id.is_none() || key.id() == token.key_id.as_deref();
            is_named && key.algorithm().is_called(&token.algorithm)
        };
        let keys = self.keys.in_force();
        let candidates: Vec<&Key> = keys.iter().filter(is_candidate).take(KEYS_TRIED_MAX + 1).collect();
        if candidates.is_empty() {
            let id = token.key_id.as_deref().map(Box::from);
            return Err(TokenError::Key { issuer: self.name.clone(), id });
        }
        if candidates.len() > KEYS_TRIED_MAX {
            return Err(TokenError::KeyAmbiguous { issuer: self.name.clone(), max: KEYS_TRIED_MAX });
        }
        let signed = token.signed.as_bytes();
        if candidates.iter().any(|key| key.verifies(signed, &token.signature)) {
            Ok(())
        } else {
            Err(TokenError::Signature { issuer: self.name.clone() })
        }
    }

    /// Checks `aud`: a text, or a list of texts (RFC 7519 4.1.3).
    fn check_audience(&self, claims: &Map<String, Value>) -> Result<(), TokenError> {
        let is_own = |aud: &Value| aud.as_str().is_some_and(|aud| self.audiences.iter().any(|own| **own == *aud));
        let is_addressed = match claims.get("aud") {
            None => self.audiences.is_empty(),
            Some(Value::Array(list)) => list.iter().all(Value::is_string) && list.iter().any(is_own),
            Some(aud) => is_own(aud),
        };
        if is_addressed { Ok(()) } else { Err(TokenError::Audience { issuer: self.name.clone() }) }
    }
}

fn claim(name: &str) -> TokenError {
    TokenError::Claim { name: name.into() }
}

/// Returns a claim that is a text of 1 to 256 bytes, if there is one of this name.
fn text<'c>(claims: &'c Map<String, Value>, name: &str) -> Result<Option<&'c str>, TokenError> {
    match claims.get(name) {
        None => Ok(None),
        Some(Value::String(text)) if (1..=ID_BYTES_MAX).contains(&text.len()) => Ok(Some(text)),
        Some(_) => Err(claim(name)),
    }
}

/// Returns a claim that is a time (RFC 7519 2, NumericDate), if there is one of this name. Fractions are cut off.
fn seconds(claims: &Map<String, Value>, name: &str) -> Result<Option<u64>, TokenError> {
    let Some(value) = claims.get(name) else { return Ok(None) };
    let whole = value.as_u64().or_else(|| {
        let number = value.as_f64().filter(|number| (0.0..=SECONDS_MAX as f64).contains(number));
        number.map(|number| number as u64)
    });
    whole.filter(|seconds| *seconds <= SECONDS_MAX).map(Some).ok_or_else(|| claim(name))
}
