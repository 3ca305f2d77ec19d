//! Reloads: what a running server can take of a new configuration, and what differs.
//!
//! Never applies anything. Invariant: the settings that a running server takes hold together with those that need a
//! restart, which keep the values that it was started with.

use super::elements::{elements, is_repeated};
use super::error::ConfigErrors;
use super::key::{Key, LISTEN};
use super::settings::Settings;
use super::table::KEYS;
use super::values::Config;

impl Settings {
    /// Returns these settings as a running server can take them: keys that need a restart have the values of `started`.
    ///
    /// # Errors
    /// The settings that contradict each other then, although they may be right after a restart.
    pub fn for_running(&self, started: &Self) -> Result<Self, ConfigErrors> {
        let mut settings = self.clone();
        for key in KEYS.iter().filter(|key| key.needs_restart) {
            (key.copy)(&started.config, &mut settings.config);
        }
        settings.take_sources(started, |key| key.needs_restart);
        let errors = settings.contradictions();
        if errors.is_empty() { Ok(settings) } else { Err(ConfigErrors(errors)) }
    }

    /// Returns the keys whose values differ from those in `other`.
    pub fn differences(&self, other: &Self) -> Vec<&'static Key> {
        KEYS.iter().filter(|key| differs(key, &self.config, &other.config)).collect()
    }

    /// Returns a key with its value as TOML, or with `"hidden"` for a secret; without a value if it may have several.
    pub fn assignment(&self, key: &Key) -> String {
        match key.section {
            section if is_repeated(section) && section != LISTEN => key.to_string(),
            _ => format!("{key} = {}", key.shown(&self.config)),
        }
    }
}

fn differs(key: &Key, one: &Config, other: &Config) -> bool {
    match key.section {
        LISTEN => differs_for_addresses(key, one, other),
        section if is_repeated(section) => differs_for_elements(key, one, other),
        _ => !(key.is_same)(one, other),
    }
}

/// Compares the values of a key of several sections, whose elements are one value.
fn differs_for_elements(key: &Key, one: &Config, other: &Config) -> bool {
    let shown = |key: &Key, config: &Config| -> Vec<String> {
        elements(config, key.section).iter().map(|alone| key.shown(alone)).collect()
    };
    let is_shown = |key: &Key| shown(key, one) != shown(key, other);
    // The text of a secret, or the content of a file, that is not shown.
    let is_hidden = || {
        let hides = key.is_secret || key.hides_content();
        hides && !KEYS.iter().any(|other| other.section == key.section && is_shown(other))
    };
    !(key.is_same)(one, other) && (is_shown(key) || is_hidden())
}

fn differs_for_addresses(key: &Key, one: &Config, other: &Config) -> bool {
    if key.name != "address" && one.listen.len() != other.listen.len() {
        // The addresses themselves differ.
        return false;
    }
    let shown = |config: &Config| -> Vec<String> {
        let alone = |listen| Config { listen: vec![listen], ..Config::default() };
        config.listen.iter().cloned().map(|listen| key.shown(&alone(listen))).collect()
    };
    shown(one) != shown(other)
}

#[cfg(test)]
mod tests {
    use super::super::{Layers, find};
    use super::*;

    fn settings(assignments: &[&str]) -> Settings {
        assignments.iter().fold(Layers::new(), |layers, assignment| layers.set(assignment)).resolve().unwrap()
    }

    fn names(keys: &[&Key]) -> Vec<String> {
        keys.iter().map(|key| key.to_string()).collect()
    }

    #[test]
    fn a_running_server_keeps_what_needs_a_restart_and_takes_the_rest() {
        let started = settings(&["cores.count=2", "limits.max-headers=7"]);
        let new = settings(&["cores.count=3", "listen.address=127.0.0.1:9100, [::1]:9100", "limits.max-headers=8"]);
        let taken = new.for_running(&started).unwrap();
        assert_eq!((taken.config.cores, taken.config.limits.head.headers_max), (2, 8));
        assert_eq!(taken.config.listen, started.config.listen);
        assert_eq!(names(&started.differences(&taken)), ["limits.max-headers"]);
        assert_eq!(names(&started.differences(&new)), ["listen.address", "cores.count", "limits.max-headers"]);
        assert!(new.differences(&new.clone()).is_empty());
        assert_eq!(taken.assignment(find("limits.max-headers").unwrap()), "limits.max-headers = 8");
        assert!(taken.show().contains("cores.count = 2"));
    }

    #[test]
    fn a_setting_of_each_address_is_told_apart_from_the_addresses() {
        let started = settings(&["listen.address=127.0.0.1:9100", "proxies.trusted=10.0.0.1"]);
        let new =
            settings(&["listen.address=127.0.0.1:9100", "proxies.trusted=10.0.0.1", "listen.proxy-protocol=true"]);
        assert_eq!(names(&started.differences(&new)), ["listen.proxy-protocol"]);
    }

    #[test]
    fn what_is_right_only_after_a_restart_is_refused() {
        // The API would be open to everyone on the address that the server has.
        let started = settings(&["listen.address=0.0.0.0:9000"]);
        let new = settings(&["listen.address=127.0.0.1:9000", "api.insecure=true"]);
        let error = new.for_running(&started).unwrap_err().to_string();
        assert!(error.contains("listen.address is 0.0.0.0:9000"), "{error}");
        let started = settings(&["listen.proxy-protocol=true", "proxies.trusted=10.0.0.1"]);
        let new = settings(&[]);
        assert!(new.for_running(&started).unwrap_err().to_string().contains("proxies.trusted"));
    }

    #[test]
    fn a_change_of_an_issuer_or_a_role_is_told_by_its_key() {
        let key = "issuer.key=0123456789abcdef0123456789abcdef";
        let started = settings(&["issuer.name=shop", key, "role.name=user", "role.grants=subscribe:news"]);
        for (more, differs) in [
            ("issuer.iss=https://a", &["issuer.iss"][..]),
            ("role.grants=subscribe:*", &["role.grants"]),
            ("issuer.key=fedcba9876543210fedcba9876543210", &["issuer.key", "issuer.previous-key", "issuer.key-file"]),
            ("tokens.refuse=close", &["tokens.refuse"]),
        ] {
            let new = settings(&["issuer.name=shop", key, "role.name=user", "role.grants=subscribe:news", more]);
            let names = names(&started.differences(&new));
            assert!(differs.iter().all(|differs| names.contains(&(*differs).to_owned())), "{more}: {names:?}");
            assert!(names.len() <= 6, "{more}: {names:?}");
            assert_eq!(new.for_running(&started).unwrap().config.access, new.config.access, "no restart is needed");
        }
        assert_eq!(started.assignment(find("issuer.key").unwrap()), "issuer.key");
    }

    #[test]
    fn another_secret_differs_and_is_not_shown() {
        let (one, other) = (settings(&["api.key=first"]), settings(&["api.key=second"]));
        assert_eq!(names(&one.differences(&other)), ["api.key"]);
        assert_eq!(other.assignment(find("api.key").unwrap()), "api.key = \"hidden\"");
    }
}
