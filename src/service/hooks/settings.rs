//! The settings of hooks as an operator writes them: which ones there are, limits, fallbacks and secrets.
//!
//! Never calls anybody: [`HookRules`](super::HookRules) are made from them. Invariant: a secret is in no output of its
//! type.

use std::fmt;
use std::str::FromStr;

use super::breaker::BreakerLimits;
use super::fact::FactKinds;
use super::fallback::Fallback;
use super::signature::{InvalidSecret, SigningSecret};
use crate::outbound::Url;
use crate::service::auth::{KeyFile, Secret};

/// The text for no header.
const NONE: &str = "none";

/// The most headers that questions may have.
const HEADERS_MAX: usize = 16;

/// A secret for signatures, as it is written. Nothing shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct WrittenSecret(Secret);

impl WrittenSecret {
    /// Returns the secret to sign with.
    pub(super) fn key(&self) -> Result<SigningSecret, InvalidSecret> {
        std::str::from_utf8(&self.0.0).map_err(|_| InvalidSecret)?.parse()
    }
}

impl FromStr for WrittenSecret {
    type Err = InvalidSecret;

    fn from_str(text: &str) -> Result<Self, InvalidSecret> {
        text.parse::<SigningSecret>().map(|_| Self(Secret(text.as_bytes().to_vec())))
    }
}

impl fmt::Debug for WrittenSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("hidden")
    }
}

impl fmt::Display for WrittenSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("hidden")
    }
}

/// Names of headers, in lower case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderNames(pub Vec<String>);

impl HeaderNames {
    /// Returns whether cookies are among them, which a browser sends whichever page has made it.
    pub fn has_cookie(&self) -> bool {
        self.0.iter().any(|name| name == "cookie")
    }
}

impl FromStr for HeaderNames {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == NONE {
            return Ok(Self::default());
        }
        let names: Vec<String> = text.split(',').map(|name| name.trim().to_ascii_lowercase()).collect();
        // The characters of a name are those of RFC 9110 5.6.2 that names of headers have in practice.
        let is_name = |name: &str| {
            !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        };
        if let Some(name) = names.iter().find(|name| !is_name(name)) {
            return Err(format!("{name:?} is no name of a header; give one such as cookie"));
        }
        if names.len() > HEADERS_MAX {
            return Err(format!("there are {} headers; give {HEADERS_MAX} at most", names.len()));
        }
        Ok(Self(names))
    }
}

impl fmt::Display for HeaderNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { NONE } else { "" })?;
        f.write_str(&self.0.join(", "))
    }
}

/// The decision in place of a backend that does not decide, as it is chosen for each hook.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FallbackChoice {
    /// See [`Fallback::Deny`].
    #[default]
    Deny,
    /// See [`Fallback::Allow`].
    Allow,
    /// See [`Fallback::LastVerdict`].
    LastVerdict,
}

impl FallbackChoice {
    /// The names of all choices.
    pub const NAMES: &'static [(&'static str, Self)] =
        &[("deny", Self::Deny), ("allow", Self::Allow), ("last-verdict", Self::LastVerdict)];
}

/// A hook that decides: its address and its fallback.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DecidingHook {
    /// The address that is asked; `None`: nobody is.
    pub url: Option<Url>,
    /// The decision when it does not answer.
    pub fallback: FallbackChoice,
}

/// The settings of all hooks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookSettings {
    /// Asked before a session opens.
    pub connect: DecidingHook,
    /// Asked before a session subscribes.
    pub subscribe: DecidingHook,
    /// Asked before a message of a client is published.
    pub publish: DecidingHook,
    /// Told what happens.
    pub facts: Option<Url>,
    /// The kinds of facts that are told.
    pub fact_kinds: FactKinds,
    /// Facts that may wait.
    pub facts_max: usize,
    /// The secret that calls are signed with.
    pub secret: Option<WrittenSecret>,
    /// The secret before, which signs as well.
    pub previous_secret: Option<WrittenSecret>,
    /// A file with secrets, one in a line.
    pub secret_file: Option<KeyFile>,
    /// Headers of the handshake that questions have.
    pub forward_headers: HeaderNames,
    /// The time for a call.
    pub timeout_ms: u64,
    /// The limits of the breaker and the bulkhead of each hook that decides.
    pub breaker: BreakerLimits,
    /// How long a last verdict holds.
    pub last_verdict_ms: u64,
}

impl Default for HookSettings {
    fn default() -> Self {
        Self {
            connect: DecidingHook::default(),
            subscribe: DecidingHook::default(),
            publish: DecidingHook::default(),
            facts: None,
            fact_kinds: FactKinds::default(),
            // Some 3 MB; ten seconds of a server on which a thousand things happen in a second.
            facts_max: 10_000,
            secret: None,
            previous_secret: None,
            secret_file: None,
            forward_headers: HeaderNames::default(),
            // The default of Hystrix and of Centrifugo.
            timeout_ms: 1_000,
            breaker: BreakerLimits::default(),
            // Users whose rights change notice it within minutes.
            last_verdict_ms: 60_000,
        }
    }
}

impl HookSettings {
    /// Returns the fallback of a hook.
    pub(super) fn fallback(&self, hook: &DecidingHook) -> Fallback {
        match hook.fallback {
            FallbackChoice::Deny => Fallback::Deny,
            FallbackChoice::Allow => Fallback::Allow,
            FallbackChoice::LastVerdict => Fallback::LastVerdict { for_ms: self.last_verdict_ms },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_headers_are_read_in_lower_case() {
        let names: HeaderNames = "Cookie, X-Tenant".parse().unwrap();
        assert_eq!(names.to_string(), "cookie, x-tenant");
        assert_eq!(HeaderNames::default().to_string().parse(), Ok(HeaderNames::default()));
        for text in ["", "a b", "cookie,", "a:b", "ä", "a\r\nb", &vec!["a"; 17].join(",")] {
            assert!(text.parse::<HeaderNames>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_secret_is_never_shown() {
        let text = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let secret: WrittenSecret = text.parse().unwrap();
        assert!(secret.key().is_ok());
        assert_eq!(format!("{secret}{secret:?}"), "hiddenhidden");
        assert!("whsec_AAAA".parse::<WrittenSecret>().is_err());
    }
}
