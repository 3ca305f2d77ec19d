//! A server with an issuer, roles and keys, and its tokens.

use std::ops::{Deref, DerefMut};
use std::time::{SystemTime, UNIX_EPOCH};

use ringsock::service::auth::{Algorithm, Signer};
use serde_json::{Value, json};

use crate::configured::{Client, Configured};

pub const SECRET: &str = "0123456789abcdef0123456789abcdef";
pub const FEEDER: &str = "feeder-feeder-feeder-feeder-feeder";

const SECTIONS: &str = r#"
[[issuer]]
name = "shop"
key = "0123456789abcdef0123456789abcdef"
roles = ["user"]

[[role]]
name = "user"
grants = ["subscribe:news", "subscribe,publish:users/{sub}/*"]

[[role]]
name = "feeder"
grants = ["publish:news"]

[[api-key]]
name = "feeder"
key = "feeder-feeder-feeder-feeder-feeder"
roles = ["feeder"]
"#;

/// A running server.
pub struct Server(Configured);

impl Server {
    /// Starts a server with more sections of configuration.
    pub fn start(more: &str) -> Self {
        Self(Configured::start("tokens", "trace", &format!("{SECTIONS}{more}")))
    }

    /// Lets the server read another configuration, which has these sections beside the common ones in which `from` is
    /// replaced. Returns once it has.
    pub fn reload(&self, (from, to): (&str, &str), more: &str) {
        self.0.reload(&format!("{}{more}", SECTIONS.replace(from, to)));
    }

    /// Opens a session.
    pub async fn open(&self, path: &str, headers: &[(&'static str, &str)]) -> Client {
        self.open_with_headers(path, headers).await
    }

    /// Opens a session with a token in the header.
    pub async fn open_with(&self, path: &str, token: &str) -> Client {
        self.open(path, &[("Authorization", &format!("Bearer {token}"))]).await
    }
}

impl Deref for Server {
    type Target = Configured;

    fn deref(&self) -> &Configured {
        &self.0
    }
}

impl DerefMut for Server {
    fn deref_mut(&mut self) -> &mut Configured {
        &mut self.0
    }
}

pub fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// Returns a token of the issuer for a minute, with these claims beside `exp`.
pub fn token(claims: Value) -> String {
    token_for(60, claims)
}

/// Returns a token of the issuer for some seconds.
pub fn token_for(seconds: u64, mut claims: Value) -> String {
    let members = claims.as_object_mut().unwrap();
    members.entry("iat").or_insert(json!(now_s()));
    members.insert("exp".to_owned(), json!(now_s() + seconds));
    signed(&claims)
}

/// Returns a token of the issuer with these claims alone.
pub fn signed(claims: &Value) -> String {
    let members = claims.as_object().unwrap();
    Signer::new(Algorithm::Hs256, SECRET.as_bytes()).unwrap().sign(None, members).unwrap()
}

/// Returns a token for a subject.
pub fn token_of(subject: &str) -> String {
    token(json!({ "sub": subject }))
}
