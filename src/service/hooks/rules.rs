//! The rules of hooks, ready to be followed: the hooks that there are, and the secrets that sign their calls.
//!
//! Owns the checks of the settings that they are made from. Shared by all cores and never changed: a reload makes new
//! ones. Invariant: rules exist only if every secret in them is valid.

use thiserror::Error;

use super::point::PointRules;
use super::question::Event;
use super::settings::{DecidingHook, HeaderNames, HookSettings};
use super::signature::SigningSecret;
use crate::outbound::Url;

/// The most secrets that calls are signed with: each makes the header longer.
const SECRETS_MAX: usize = 4;

/// A fault of the settings of hooks: the operator's to mend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum HookFault {
    /// The file has something else in it.
    #[error(
        "hooks.secret-file: the file must have one to {SECRETS_MAX} secrets, one in a line, each whsec_ and 24 to 64 \
         bytes in base64."
    )]
    SecretFile,
    /// The secret is there twice.
    #[error("hooks.secret and hooks.secret-file are both given; give one of them.")]
    TwoSecrets,
    /// There is no new secret.
    #[error("hooks.previous-secret is given without hooks.secret; give the secret that replaces it, too.")]
    PreviousAlone,
}

/// See the module.
#[derive(Debug)]
pub struct HookRules {
    connect: Option<PointRules>,
    subscribe: Option<PointRules>,
    publish: Option<PointRules>,
    facts: Option<Url>,
    secrets: Vec<SigningSecret>,
    timeout_ms: u64,
    forward_headers: HeaderNames,
}

impl HookRules {
    /// Returns the rules that the settings describe; `None` if there is no hook.
    pub fn new(settings: &HookSettings) -> Result<Option<Self>, HookFault> {
        let secrets = secrets(settings)?;
        let point = |hook: &DecidingHook| {
            let (limits, fallback) = (settings.breaker, settings.fallback(hook));
            hook.url.clone().map(|url| PointRules { url, limits, fallback })
        };
        let rules = Self {
            connect: point(&settings.connect),
            subscribe: point(&settings.subscribe),
            publish: point(&settings.publish),
            facts: settings.facts.clone(),
            secrets,
            timeout_ms: settings.timeout_ms,
            forward_headers: settings.forward_headers.clone(),
        };
        let has_hook = rules.facts.is_some() || rules.decides();
        Ok(has_hook.then_some(rules))
    }

    /// Returns the rules of a hook that decides; `None` if nobody is asked.
    pub fn point(&self, event: Event) -> Option<&PointRules> {
        match event {
            Event::Connect => self.connect.as_ref(),
            Event::Subscribe => self.subscribe.as_ref(),
            Event::Publish => self.publish.as_ref(),
        }
    }

    /// Returns whether there is a hook that decides.
    pub fn decides(&self) -> bool {
        Event::ALL.into_iter().any(|event| self.point(event).is_some())
    }

    /// Returns the address that facts are told to.
    pub fn facts(&self) -> Option<&Url> {
        self.facts.as_ref()
    }

    /// Returns the secrets that calls are signed with.
    pub fn secrets(&self) -> &[SigningSecret] {
        &self.secrets
    }

    /// Returns the time for a call.
    pub fn timeout_ms(&self) -> u64 {
        self.timeout_ms
    }

    /// Returns the names of the headers that questions have.
    pub fn forward_headers(&self) -> &[String] {
        &self.forward_headers.0
    }
}

/// Returns the secrets, the newest first.
fn secrets(settings: &HookSettings) -> Result<Vec<SigningSecret>, HookFault> {
    let HookSettings { secret, previous_secret, secret_file, .. } = settings;
    match (secret, previous_secret, secret_file) {
        (Some(_), _, Some(_)) => Err(HookFault::TwoSecrets),
        (None, Some(_), _) => Err(HookFault::PreviousAlone),
        (None, None, Some(file)) => {
            let text = std::str::from_utf8(&file.content.0).map_err(|_| HookFault::SecretFile)?;
            let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
            let secrets = lines.iter().map(|line| line.parse()).collect::<Result<Vec<SigningSecret>, _>>();
            secrets.ok().filter(|secrets| (1..=SECRETS_MAX).contains(&secrets.len())).ok_or(HookFault::SecretFile)
        }
        (secret, previous, None) => {
            let written = secret.iter().chain(previous);
            // They were parsed once already.
            written.map(|secret| secret.key().map_err(|_| HookFault::SecretFile)).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::auth::{KeyFile, Secret};

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    fn file(text: &str) -> Option<KeyFile> {
        Some(KeyFile { path: "f".into(), content: Secret(text.as_bytes().to_vec()) })
    }

    #[test]
    fn without_an_address_there_are_no_rules() {
        let secret = SECRET.parse().ok();
        assert!(HookRules::new(&HookSettings { secret, ..HookSettings::default() }).unwrap().is_none());
        let facts = "https://a.example/facts".parse().ok();
        let rules = HookRules::new(&HookSettings { facts, ..HookSettings::default() }).unwrap().unwrap();
        assert!(rules.secrets().is_empty() && rules.point(Event::Connect).is_none());
        let connect = DecidingHook { url: "http://[::1]:1".parse().ok(), ..DecidingHook::default() };
        let rules = HookRules::new(&HookSettings { connect, ..HookSettings::default() }).unwrap().unwrap();
        assert!(rules.point(Event::Connect).is_some() && rules.point(Event::Publish).is_none());
    }

    #[test]
    fn secrets_come_from_the_settings_or_from_a_file() {
        let count = |settings: HookSettings| {
            let facts = "https://a.example/facts".parse().ok();
            let rules = HookRules::new(&HookSettings { facts, ..settings });
            rules.map(|rules| rules.map_or(0, |rules| rules.secrets().len()))
        };
        let (none, own) = (HookSettings::default(), SECRET.parse().ok());
        assert_eq!(count(HookSettings { secret: own.clone(), ..none.clone() }), Ok(1));
        let both = HookSettings { secret: own.clone(), previous_secret: own.clone(), ..none.clone() };
        assert_eq!(count(both), Ok(2));
        for (text, expected) in [
            (format!("{SECRET}\n"), Ok(1)),
            (format!("\n {SECRET} \r\n{SECRET}\n"), Ok(2)),
            (String::new(), Err(HookFault::SecretFile)),
            ("secret".to_owned(), Err(HookFault::SecretFile)),
            (format!("{SECRET}\n").repeat(5), Err(HookFault::SecretFile)),
        ] {
            assert_eq!(count(HookSettings { secret_file: file(&text), ..none.clone() }), expected, "{text}");
        }
        let alone = HookSettings { previous_secret: own.clone(), ..none.clone() };
        assert_eq!(count(alone), Err(HookFault::PreviousAlone));
        let twice = HookSettings { secret: own, secret_file: file(SECRET), ..none };
        assert_eq!(count(twice), Err(HookFault::TwoSecrets));
    }
}
