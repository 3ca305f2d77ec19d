//! Sections that a file may have several times, one for each element of a list: `[[listen]]`, `[[issuer]]`.
//!
//! Owns which ones these are, and the lists of a configuration that they fill. Never reads a value. Invariant: a
//! configuration that was read from one section has one element more than the default in the list of that section.

use super::key::LISTEN;
use super::values::Config;

/// The sections of issuers, roles and API keys.
const ISSUER: &str = "issuer";
const ROLE: &str = "role";
const API_KEY: &str = "api-key";

/// Returns whether a file may have several sections of this name.
pub(super) fn is_repeated(section: &str) -> bool {
    [LISTEN, ISSUER, ROLE, API_KEY].contains(&section)
}

/// Returns each element of a section's list, alone in a configuration of its own.
pub(super) fn elements(config: &Config, section: &str) -> Vec<Config> {
    let mut alone: Vec<Config> = Vec::new();
    let mut add = |change: &dyn Fn(&mut Config)| {
        let mut element = Config::default();
        change(&mut element);
        alone.push(element);
    };
    match section {
        LISTEN => config.listen.iter().for_each(|listen| add(&|element| element.listen = vec![listen.clone()])),
        ISSUER => {
            config
                .access
                .issuers
                .iter()
                .for_each(|issuer| add(&|element| element.access.issuers = vec![issuer.clone()]));
        }
        ROLE => config.access.roles.iter().for_each(|role| add(&|element| element.access.roles = vec![role.clone()])),
        API_KEY => {
            config.access.api_keys.iter().for_each(|key| add(&|element| element.access.api_keys = vec![key.clone()]));
        }
        _ => {}
    }
    alone
}

/// Moves the elements that were read from one section to the end of their list, except for listeners. Returns their
/// number before.
pub(super) fn append(element: Config, section: &str, config: &mut Config) -> usize {
    let (from, to) = (element.access, &mut config.access);
    match section {
        ISSUER => push(from.issuers, &mut to.issuers),
        ROLE => push(from.roles, &mut to.roles),
        API_KEY => push(from.api_keys, &mut to.api_keys),
        _ => 0,
    }
}

/// Adds the element of a section, one with defaults for an empty section.
fn push<T: Default>(mut from: Vec<T>, to: &mut Vec<T>) -> usize {
    let before = to.len();
    to.push(from.pop().unwrap_or_default());
    before
}
