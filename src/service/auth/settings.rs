//! The settings of access as an operator writes them: where tokens come from, issuers, roles and API keys.
//!
//! Never decides anything: [`AccessRules`](super::AccessRules) are made from them. Invariant: a secret is in no output
//! of its type.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use super::algorithm::Algorithm;
use super::roles::GrantTemplate;
use crate::outbound::Url;

/// A place where a client may put its token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenPlace {
    /// `Authorization: Bearer TOKEN`.
    Header,
    /// A cookie.
    Cookie,
    /// A parameter of the query.
    Query,
    /// A subprotocol that is offered beside the real one.
    Subprotocol,
    /// The first message of the session.
    FirstMessage,
    /// The certificate that the client has shown in its TLS handshake, which takes the place of a token.
    Certificate,
}

impl TokenPlace {
    /// The names of all places.
    pub const NAMES: &'static [(&'static str, Self)] = &[
        ("header", Self::Header),
        ("cookie", Self::Cookie),
        ("query", Self::Query),
        ("subprotocol", Self::Subprotocol),
        ("first-message", Self::FirstMessage),
        ("certificate", Self::Certificate),
    ];
}

/// The places where a token is looked for, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenPlaces(pub Vec<TokenPlace>);

impl TokenPlaces {
    /// Returns whether a place is one of them.
    pub fn contains(&self, place: TokenPlace) -> bool {
        self.0.contains(&place)
    }
}

impl Default for TokenPlaces {
    /// The header, which browsers cannot set: the other places are for them, and each has a price.
    fn default() -> Self {
        Self(vec![TokenPlace::Header])
    }
}

impl FromStr for TokenPlaces {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut places = Vec::new();
        for given in text.split(',').map(str::trim) {
            let found = TokenPlace::NAMES.iter().find(|(name, _)| *name == given).map(|(_, place)| *place);
            let place = found.ok_or_else(|| {
                format!(
                    "{given:?} is no place for a token; give header, cookie, query, subprotocol, first-message or \
                     certificate"
                )
            })?;
            if places.contains(&place) {
                return Err(format!("{given:?} is there twice; give it once"));
            }
            places.push(place);
        }
        Ok(Self(places))
    }
}

impl fmt::Display for TokenPlaces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name =
            |place: &TokenPlace| TokenPlace::NAMES.iter().find(|(_, known)| known == place).map(|(name, _)| *name);
        let names: Vec<&str> = self.0.iter().filter_map(name).collect();
        f.write_str(&names.join(", "))
    }
}

/// The name in a client's certificate that becomes its subject.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CertificateName {
    /// The common name.
    #[default]
    Common,
    /// The first DNS name.
    Dns,
    /// The first URI.
    Uri,
}

/// The way in which a client without a valid token is refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Refuse {
    /// With the status 401 or 403 instead of the handshake. A web page cannot see it: for it the connection failed.
    #[default]
    Status,
    /// With the close code 3000 or 3003 after the handshake, which a web page can see.
    Close,
}

/// The settings of all tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenSettings {
    /// Where tokens are looked for.
    pub from: TokenPlaces,
    /// The name of the cookie.
    pub cookie: String,
    /// The name of the parameter.
    pub query: String,
    /// The text before the token in the subprotocol.
    pub subprotocol: String,
    /// The name in a certificate that becomes the subject.
    pub certificate_name: CertificateName,
    /// The roles of clients that have shown a certificate.
    pub certificate_roles: Vec<String>,
    /// The claim with names of roles.
    pub roles_claim: String,
    /// The claim with grants.
    pub grants_claim: String,
    /// The tolerated difference between the clocks of issuer and server.
    pub leeway_ms: u64,
    /// The longest life of a token.
    pub life_ms_max: u64,
    /// A token opens one session.
    pub single_use: bool,
    /// The operator knows that strangers reach the server without a token, or without TLS.
    pub open: bool,
    /// How clients without a valid token are refused.
    pub refuse: Refuse,
    /// The time after a token's end over which its sessions end.
    pub grace_ms: u64,
    /// The time for a token in the first message.
    pub first_message_timeout_ms: u64,
}

impl Default for TokenSettings {
    fn default() -> Self {
        Self {
            from: TokenPlaces::default(),
            cookie: "token".to_owned(),
            query: "token".to_owned(),
            subprotocol: "bearer.".to_owned(),
            certificate_name: CertificateName::default(),
            certificate_roles: Vec::new(),
            roles_claim: "roles".to_owned(),
            grants_claim: "grants".to_owned(),
            // Hosts whose clocks are synchronized differ by milliseconds.
            leeway_ms: 5_000,
            // A day: whoever has lost a right has lost it tomorrow, also without a revocation.
            life_ms_max: 24 * 60 * 60 * 1000,
            single_use: false,
            open: false,
            refuse: Refuse::default(),
            // Time for a client to fetch a new token, as Centrifugo gives it.
            grace_ms: 25_000,
            first_message_timeout_ms: 5_000,
        }
    }
}

/// A text that nothing shows.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(pub Vec<u8>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("hidden")
    }
}

/// A file, with its content as of the last time that the configuration was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyFile {
    /// Its path.
    pub path: PathBuf,
    /// Its content.
    pub content: Secret,
}

/// An issuer of tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuerSettings {
    /// Its name.
    pub name: String,
    /// The `iss` of its tokens; empty if they need none.
    pub iss: String,
    /// The audiences of which a token's `aud` must have one.
    pub audiences: Vec<String>,
    /// The algorithm of its key.
    pub algorithm: Option<Algorithm>,
    /// A secret that issuer and server share.
    pub key: Option<Secret>,
    /// The secret before, which verifies as well.
    pub previous_key: Option<Secret>,
    /// A file with the secret, or with a public key in PEM.
    pub key_file: Option<KeyFile>,
    /// A file with a key set.
    pub key_set_file: Option<KeyFile>,
    /// The address of its key set.
    pub key_set_url: Option<Url>,
    /// Its key set is found by its discovery document.
    pub discovery: bool,
    /// The address at which it is asked about opaque tokens.
    pub introspection_url: Option<Url>,
    /// The name of this server at that address.
    pub client_id: String,
    /// The secret of this server there.
    pub client_secret: Option<Secret>,
    /// A file with that secret.
    pub client_secret_file: Option<KeyFile>,
    /// The most questions in a second.
    pub introspection_rate: u32,
    /// The roles that each of its tokens has.
    pub roles: Vec<String>,
}

impl Default for IssuerSettings {
    fn default() -> Self {
        Self {
            name: String::new(),
            iss: String::new(),
            audiences: Vec::new(),
            algorithm: None,
            key: None,
            previous_key: None,
            key_file: None,
            key_set_file: None,
            key_set_url: None,
            discovery: false,
            introspection_url: None,
            client_id: String::new(),
            client_secret: None,
            client_secret_file: None,
            // A login of 10,000 clients takes a minute, and a small provider answers as many.
            introspection_rate: 200,
            roles: Vec::new(),
        }
    }
}

/// A role.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoleSettings {
    /// Its name.
    pub name: String,
    /// Its grants.
    pub grants: Vec<GrantTemplate>,
}

/// A key of a program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApiKeySettings {
    /// The name of the program.
    pub name: String,
    /// The key.
    pub key: Option<Secret>,
    /// The roles of the program.
    pub roles: Vec<String>,
}

/// All settings of access.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessSettings {
    /// The settings of all tokens.
    pub tokens: TokenSettings,
    /// The issuers.
    pub issuers: Vec<IssuerSettings>,
    /// The roles.
    pub roles: Vec<RoleSettings>,
    /// The keys of programs.
    pub api_keys: Vec<ApiKeySettings>,
}
