//! The rules of access: issuers with their keys, roles and API keys, ready to decide.
//!
//! Owns the checks of the settings that they are made from, and the rights that a token gives. Shared by all cores and
//! never changed, but for key sets that are fetched: a reload makes new ones. Invariant: rules exist only if every key,
//! role and grant in them is valid.

use std::sync::Arc;

use constant_time_eq::constant_time_eq;
use serde_json::{Map, Value};
use thiserror::Error;

use super::algorithm::{Algorithm, KeyType};
use super::discovery::discovery_url;
use super::error::TokenError;
use super::grants::{GRANTS_MAX, Grant};
use super::introspector::Introspector;
use super::issuer_keys::IssuerKeys;
use super::json;
use super::jwks::{KEY_SET_BYTES_MAX, KeySetError, parse_key_set};
use super::key::{Key, KeyError, SECRET_BYTES_MIN};
use super::key_source::{KeyPlace, KeySource};
use super::roles::{ANONYMOUS, GrantTemplate, Roles};
use super::settings::{AccessSettings, ApiKeySettings, IssuerSettings, Secret, TokenSettings};
use super::verifier::{Claims, Issuer, TokenRules, Verifier};
use crate::outbound::InvalidUrl;

/// The most issuers, roles and API keys each: a request is compared with all of them.
const ENTRIES_MAX: usize = 256;

/// A fault of the settings of access: the operator's to mend.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{section} {name:?}: {fault}.")]
pub struct AccessFault {
    section: &'static str,
    name: String,
    fault: Fault,
}

#[derive(Clone, Debug, PartialEq, Eq, Error)]
enum Fault {
    #[error("there are {count} of these sections, but there can be {ENTRIES_MAX}")]
    TooMany { count: usize },
    #[error("the section has no name; write name = \"...\" in it")]
    NameMissing,
    #[error("the name is there twice")]
    NameTwice,
    #[error("another issuer has the same iss, or none as well; give each its own")]
    IssTwice,
    #[error(
        "give one of key, key-file, key-set-file, key-set-url and discovery, or introspection-url, so that its tokens \
         can be verified"
    )]
    OneKey,
    #[error("discovery needs iss, the URL of the issuer; it {0}")]
    DiscoveryIss(InvalidUrl),
    #[error("introspection-url needs client-id, and one of client-secret and client-secret-file")]
    Credentials,
    #[error("client-id and client-secret are for an issuer with introspection-url")]
    CredentialsAlone,
    #[error("another issuer has introspection-url, and only one can be asked about a token that names no issuer")]
    IntrospectionTwice,
    #[error("give its algorithm, such as ES256: it is never taken from a token")]
    AlgorithmMissing,
    #[error("{algorithm} needs a public key; give a key-file with it in PEM, or a key set")]
    SecretForPublic { algorithm: Algorithm },
    #[error("a key set has public keys only, and {algorithm} needs a secret")]
    KeySetForSecret { algorithm: Algorithm },
    #[error("previous-key is for an issuer with key")]
    PreviousAlone,
    #[error("{0}")]
    Key(#[from] KeyError),
    #[error("{0}")]
    KeySet(#[from] KeySetError),
    #[error("there is no role {role:?}; add a [[role]] with this name, or correct it")]
    NoRole { role: String },
    #[error("the key has {bytes} bytes, but needs {SECRET_BYTES_MIN} or more; make one with openssl rand -hex 32")]
    ApiKeyShort { bytes: usize },
    #[error("another program has the same key")]
    ApiKeyTwice,
    #[error("it has {count} grants, but may have {GRANTS_MAX}")]
    TooManyGrants { count: usize },
}

/// The rules of access of a server.
#[derive(Debug)]
pub struct AccessRules {
    tokens: TokenSettings,
    verifier: Verifier,
    roles: Roles,
    api_keys: Vec<ApiKeySettings>,
    backend: Backend,
}

/// The part of a backend in the decisions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Backend {
    /// There is none that decides.
    None,
    /// It decides about topics or messages, and is told the roles of sessions.
    Told,
    /// It is told them, and decides who may connect, with which rights.
    Decides,
}

impl AccessRules {
    /// Returns the rules that the settings describe; `None` if they have no issuer, role or key, so that everybody may
    /// do everything.
    pub fn new(settings: &AccessSettings) -> Result<Option<Self>, AccessFault> {
        Self::succeeding(settings, None)
    }

    /// Returns the rules that the settings describe, after others. An issuer whose key set comes from the same place as
    /// before keeps it, and one that is asked as before keeps its answers.
    pub fn succeeding(settings: &AccessSettings, before: Option<&Self>) -> Result<Option<Self>, AccessFault> {
        let AccessSettings { tokens, issuers, roles, api_keys } = settings;
        let has_none = issuers.is_empty() && roles.is_empty() && api_keys.is_empty();
        check_names("role", roles.iter().map(|role| &role.name))?;
        check_names("issuer", issuers.iter().map(|issuer| &issuer.name))?;
        check_names("api-key", api_keys.iter().map(|key| &key.name))?;
        if let Some(role) = roles.iter().find(|role| role.grants.len() > GRANTS_MAX) {
            let fault = Fault::TooManyGrants { count: role.grants.len() };
            return Err(AccessFault { section: "role", name: role.name.clone(), fault });
        }
        let roles = Roles::new(roles.iter().map(|role| (role.name.clone(), role.grants.clone())));
        if let Some(fault) = unknown_role(&roles, &tokens.certificate_roles) {
            return Err(AccessFault { section: "tokens", name: "certificate-roles".to_owned(), fault });
        }
        if has_none {
            return Ok(None);
        }
        for (at, key) in api_keys.iter().enumerate() {
            let fault = check_api_key(key, &api_keys[..at]).or_else(|| unknown_role(&roles, &key.roles));
            if let Some(fault) = fault {
                return Err(AccessFault { section: "api-key", name: key.name.clone(), fault });
            }
        }
        let mut made = Vec::new();
        for (at, issuer) in issuers.iter().enumerate() {
            let fault = contradiction(issuer, &issuers[..at]).or_else(|| unknown_role(&roles, &issuer.roles));
            let issued = fault.map_or_else(|| make_issuer(issuer), Err);
            let issued = issued.map_err(|fault| AccessFault { section: "issuer", name: issuer.name.clone(), fault })?;
            made.push(match before {
                Some(before) => issued.succeeding(before.verifier.issuers()),
                None => issued,
            });
        }
        let rules = TokenRules {
            leeway_s: tokens.leeway_ms / 1000,
            life_s_max: tokens.life_ms_max / 1000,
            needs_id: tokens.single_use,
        };
        let verifier = Verifier::new(made, rules);
        Ok(Some(Self { tokens: tokens.clone(), verifier, roles, api_keys: api_keys.clone(), backend: Backend::None }))
    }

    /// Returns these rules, or open ones in the place of none, for a server with a backend that decides: also about who
    /// may connect if `connects`. Without issuers, roles and keys everybody has all rights that the backend does not
    /// take.
    pub fn with_backend(rules: Option<Self>, settings: &AccessSettings, connects: bool) -> Self {
        let backend = if connects { Backend::Decides } else { Backend::Told };
        Self { backend, ..rules.unwrap_or_else(|| Self::open(settings)) }
    }

    /// Returns whether the backend decides who may connect, so that the rights of a client are known only then.
    pub(super) fn awaits_backend(&self) -> bool {
        self.backend == Backend::Decides
    }

    /// Returns the names of the roles of a verified token, if a backend is told them.
    pub(super) fn roles_to_tell(&self, claims: &Claims) -> Result<Vec<String>, TokenError> {
        if self.backend == Backend::None { Ok(Vec::new()) } else { self.roles_of(claims) }
    }

    /// Returns rules that allow everybody everything.
    fn open(settings: &AccessSettings) -> Self {
        let all = GrantTemplate::everything();
        let rules = TokenRules { leeway_s: 0, life_s_max: settings.tokens.life_ms_max / 1000, needs_id: false };
        Self {
            tokens: settings.tokens.clone(),
            verifier: Verifier::new(Vec::new(), rules),
            roles: Roles::new([(ANONYMOUS.to_owned(), vec![all])]),
            api_keys: Vec::new(),
            backend: Backend::None,
        }
    }

    /// Returns the settings of all tokens.
    pub fn tokens(&self) -> &TokenSettings {
        &self.tokens
    }

    /// Returns the verifier of tokens.
    pub fn verifier(&self) -> &Verifier {
        &self.verifier
    }

    /// Returns the roles.
    pub fn roles(&self) -> &Roles {
        &self.roles
    }

    /// Returns the names of the roles of a verified token: those of its issuer, and those that it claims.
    pub fn roles_of(&self, claims: &Claims) -> Result<Vec<String>, TokenError> {
        let issuer = self.verifier.issuers().get(claims.issuer);
        let mut names: Vec<String> =
            issuer.into_iter().flat_map(|issuer| &issuer.roles).map(|name| name.to_string()).collect();
        names.extend(texts(&claims.all, &self.tokens.roles_claim, true)?);
        if names.len() > GRANTS_MAX {
            return Err(TokenError::TooManyGrants);
        }
        Ok(names)
    }

    /// Returns the grants of a verified token: those of its roles, and its own. A role that the server does not have
    /// gives none; a grant that is invalid refuses the token, so that a mistake of the issuer shows.
    pub fn grants_of(&self, claims: &Claims) -> Result<Vec<Grant>, TokenError> {
        let own = texts(&claims.all, &self.tokens.grants_claim, false)?;
        if own.len() > GRANTS_MAX {
            return Err(TokenError::TooManyGrants);
        }
        let mut grants = own.iter().map(|grant| grant.parse()).collect::<Result<Vec<Grant>, _>>()?;
        for role in self.roles_of(claims)? {
            grants.extend(self.roles.grants(&role, claims.subject.as_deref(), &claims.all));
        }
        Ok(grants)
    }

    /// Returns the grants of some roles, for somebody without claims.
    pub(super) fn grants_of_roles(&self, roles: &[String], subject: Option<&str>) -> Vec<Grant> {
        let none = Map::new();
        roles.iter().flat_map(|role| self.roles.grants(role, subject, &none)).collect()
    }

    /// Returns the roles of the program that has this key.
    pub(super) fn roles_of_key(&self, key: &str) -> Option<&[String]> {
        // All keys are compared, each in a time that tells nothing of it.
        let mut found = None;
        for api_key in &self.api_keys {
            if api_key.key.as_ref().is_some_and(|own| constant_time_eq(&own.0, key.as_bytes())) {
                found = Some(&api_key.roles[..]);
            }
        }
        found
    }

    /// Returns the grants of clients without a token, if they may connect at all.
    pub(super) fn anonymous_grants(&self) -> Option<Vec<Grant>> {
        // The backend may know who a client without a token is.
        let may_enter = self.roles.contains(ANONYMOUS) || self.awaits_backend();
        may_enter.then(|| self.roles.grants(ANONYMOUS, None, &Map::new()).collect())
    }
}

/// Returns the texts of a claim: a list of texts, or, if words are allowed, one text of words as OAuth has it in
/// `scope` (RFC 6749 3.3). Without the claim there are none.
fn texts(claims: &Map<String, Value>, name: &str, has_words: bool) -> Result<Vec<String>, TokenError> {
    let invalid = || TokenError::Claim { name: name.into() };
    match json::member(claims, name) {
        None => Ok(Vec::new()),
        Some(Value::Array(list)) => {
            list.iter().map(|text| text.as_str().map(str::to_owned).ok_or_else(invalid)).collect()
        }
        Some(Value::String(words)) if has_words => Ok(words.split_ascii_whitespace().map(str::to_owned).collect()),
        Some(_) => Err(invalid()),
    }
}

fn check_names<'n>(section: &'static str, names: impl Iterator<Item = &'n String>) -> Result<(), AccessFault> {
    let names: Vec<&String> = names.collect();
    let fault = |name: &str, fault| Err(AccessFault { section, name: name.to_owned(), fault });
    if names.len() > ENTRIES_MAX {
        return fault("", Fault::TooMany { count: names.len() });
    }
    for (at, name) in names.iter().enumerate() {
        if name.is_empty() {
            return fault(name, Fault::NameMissing);
        }
        if names[..at].contains(name) {
            return fault(name, Fault::NameTwice);
        }
    }
    Ok(())
}

fn unknown_role(roles: &Roles, names: &[String]) -> Option<Fault> {
    let unknown = names.iter().find(|name| !roles.contains(name));
    unknown.map(|role| Fault::NoRole { role: role.clone() })
}

fn check_api_key(key: &ApiKeySettings, others: &[ApiKeySettings]) -> Option<Fault> {
    let bytes = key.key.as_ref().map_or(0, |key| key.0.len());
    if bytes < SECRET_BYTES_MIN {
        return Some(Fault::ApiKeyShort { bytes });
    }
    others.iter().any(|other| other.key == key.key).then_some(Fault::ApiKeyTwice)
}

/// Returns the fault of an issuer beside the others.
fn contradiction(issuer: &IssuerSettings, others: &[IssuerSettings]) -> Option<Fault> {
    let is_asked = |issuer: &IssuerSettings| issuer.introspection_url.is_some();
    if others.iter().any(|other| other.iss == issuer.iss) {
        return Some(Fault::IssTwice);
    }
    (is_asked(issuer) && others.iter().any(is_asked)).then_some(Fault::IntrospectionTwice)
}

fn make_issuer(settings: &IssuerSettings) -> Result<Issuer, Fault> {
    let texts = |list: &[String]| list.iter().map(|text| text.as_str().into()).collect();
    Ok(Issuer {
        name: settings.name.as_str().into(),
        iss: (!settings.iss.is_empty()).then(|| settings.iss.as_str().into()),
        audiences: texts(&settings.audiences),
        keys: make_keys(settings)?,
        introspector: make_introspector(settings)?.map(Arc::new),
        roles: texts(&settings.roles),
    })
}

/// Returns what asks an issuer about opaque tokens, if it is asked.
fn make_introspector(settings: &IssuerSettings) -> Result<Option<Introspector>, Fault> {
    let IssuerSettings { client_id, client_secret, client_secret_file, .. } = settings;
    let Some(url) = &settings.introspection_url else {
        let is_alone = !client_id.is_empty() || client_secret.is_some() || client_secret_file.is_some();
        return if is_alone { Err(Fault::CredentialsAlone) } else { Ok(None) };
    };
    let secret = match (client_secret, client_secret_file) {
        (Some(secret), None) => &secret.0[..],
        (None, Some(file)) => file.content.0.trim_ascii_end(),
        _ => return Err(Fault::Credentials),
    };
    let secret = std::str::from_utf8(secret).map_err(|_| Fault::Credentials)?;
    if client_id.is_empty() || secret.is_empty() {
        return Err(Fault::Credentials);
    }
    let credentials = (client_id.as_str(), secret);
    Ok(Some(Introspector::new(&settings.name, url.clone(), credentials, settings.introspection_rate)))
}

/// Returns the keys of an issuer, or the place from which they are fetched.
fn make_keys(settings: &IssuerSettings) -> Result<IssuerKeys, Fault> {
    let IssuerSettings { algorithm, key, previous_key, key_file, key_set_file, key_set_url, discovery, .. } = settings;
    if previous_key.is_some() && key.is_none() {
        return Err(Fault::PreviousAlone);
    }
    match (key, key_file, key_set_file, key_set_url, discovery) {
        (Some(key), None, None, None, false) => {
            // Only the algorithms of HMAC have secrets, and HS256 is the one that every library has.
            let algorithm = algorithm.unwrap_or(Algorithm::Hs256);
            if algorithm.key_type() != KeyType::Secret {
                return Err(Fault::SecretForPublic { algorithm });
            }
            let secrets = [Some(key), previous_key.as_ref()];
            let keys = secrets.into_iter().flatten().map(|secret| Key::secret(algorithm, &secret.0));
            Ok(IssuerKeys::from(keys.collect::<Result<Vec<Key>, _>>()?))
        }
        (None, Some(file), None, None, false) => {
            Ok([key_of_file(&file.content, algorithm.ok_or(Fault::AlgorithmMissing)?)?].into())
        }
        (None, None, Some(file), None, false) => {
            let algorithm = public(*algorithm)?;
            Ok(parse_key_set(&file.content.0, algorithm)?.into())
        }
        (None, None, None, Some(url), false) => fetched(settings, KeyPlace::KeySet(url.clone())),
        (None, None, None, None, true) => {
            let url = discovery_url(&settings.iss).map_err(Fault::DiscoveryIss)?;
            fetched(settings, KeyPlace::Discovery { iss: settings.iss.as_str().into(), url })
        }
        (None, None, None, None, false) if settings.introspection_url.is_some() => Ok(IssuerKeys::None),
        _ => Err(Fault::OneKey),
    }
}

fn fetched(settings: &IssuerSettings, place: KeyPlace) -> Result<IssuerKeys, Fault> {
    let algorithm = public(settings.algorithm)?;
    Ok(IssuerKeys::Fetched(Arc::new(KeySource::new(&settings.name, place, algorithm))))
}

/// Returns the algorithm of the keys of a set, if it is restricted to one.
fn public(algorithm: Option<Algorithm>) -> Result<Option<Algorithm>, Fault> {
    match algorithm {
        Some(algorithm) if algorithm.key_type() == KeyType::Secret => Err(Fault::KeySetForSecret { algorithm }),
        _ => Ok(algorithm),
    }
}

/// Returns the key of a file: a secret, without the line feed that editors write at the end, or a public key in PEM.
fn key_of_file(content: &Secret, algorithm: Algorithm) -> Result<Key, Fault> {
    if algorithm.key_type() == KeyType::Secret {
        return Ok(Key::secret(algorithm, content.0.trim_ascii_end())?);
    }
    let text = std::str::from_utf8(&content.0).map_err(|_| KeyError::Pem)?;
    Ok(Key::pem(algorithm, text)?)
}

/// The longest file of a key that is read.
pub const KEY_FILE_BYTES_MAX: usize = KEY_SET_BYTES_MAX;
