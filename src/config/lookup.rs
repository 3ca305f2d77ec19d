//! Finds keys: by their names, by the names of their variables, and those that a misspelt word was meant for.

use super::key::{Key, VARIABLE_PREFIX, VARIABLE_SEPARATOR};
use super::suggest::nearest;
use super::table::KEYS;

/// Finds a key by its whole name, such as `limits.max-headers`.
pub fn find(name: &str) -> Option<&'static Key> {
    let (section, name) = name.split_once('.')?;
    KEYS.iter().find(|key| key.section == section && key.name == name)
}

/// Finds the key that a word of another form stands for: its flag, its name alone, the words of its section and its
/// name, or the nearest of all names.
pub(super) fn meant_by(word: &str) -> Option<&'static Key> {
    let word = word.to_ascii_lowercase().replace('_', "-");
    // A key of another section.
    let name = word.rsplit('.').next().unwrap_or_default();
    let has_flag = |key: &&Key| key.flag.as_ref().is_some_and(|flag| flag.name == word);
    let is_called = |key: &&Key| key.name == name || sorted_words(&key.joined()) == sorted_words(&word);
    KEYS.iter().find(has_flag).or_else(|| KEYS.iter().find(is_called)).or_else(|| {
        let of = |key: &'static Key, names: [String; 3]| names.map(|name| (name, key)).into_iter();
        let named = |key: &'static Key| of(key, [key.name.to_owned(), key.joined(), key.to_string()]);
        let names: Vec<(String, &Key)> = KEYS.iter().flat_map(named).collect();
        let best = nearest(&word, names.iter().map(|(name, _)| name.as_str()))?;
        names.iter().find(|(name, _)| name == best).map(|(_, key)| *key)
    })
}

/// Finds the key that a flag of another name was meant for.
pub fn meant_by_flag(flag: &str) -> Option<&'static Key> {
    meant_by(flag.trim_start_matches('-').split('=').next().unwrap_or_default())
}

/// The meaning of a variable's name.
#[derive(Debug)]
pub(super) enum Named {
    /// The variable of a key.
    Key(&'static Key),
    /// A name that no key has, with the key that may be meant.
    Unknown(Option<&'static Key>),
    /// A variable of another program.
    Foreign,
}

/// Returns the meaning of a variable's name. Kubernetes sets variables that begin as ours do (`RINGSOCK_PORT`,
/// `RINGSOCK_SERVICE_HOST`), so only those are unknown that have the form of a key, or the name of one.
pub(super) fn named_by_variable(name: &str) -> Named {
    let Some(rest) = name.strip_prefix(VARIABLE_PREFIX) else { return Named::Foreign };
    if let Some(key) = KEYS.iter().find(|key| key.variable() == name) {
        return Named::Key(key);
    }
    let word = rest.to_ascii_lowercase().replace('_', "-");
    match rest.split_once(VARIABLE_SEPARATOR) {
        Some((section, key)) if KEYS.iter().any(|key| key.section.eq_ignore_ascii_case(section)) => {
            let whole = format!("{section}.{key}").to_ascii_lowercase().replace('_', "-");
            Named::Unknown(meant_by(&whole))
        }
        // A name of one word is too common to be ours.
        _ => match KEYS.iter().find(|key| word.contains('-') && (key.name == word || key.joined() == word)) {
            Some(key) => Named::Unknown(Some(key)),
            None => Named::Foreign,
        },
    }
}

/// Returns the words of a name in the order of the alphabet: `max-compression-contexts` has those of
/// `compression-max-contexts`.
fn sorted_words(name: &str) -> Vec<&str> {
    let mut words: Vec<&str> = name.split('-').collect();
    words.sort_unstable();
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_variable_follows_from_the_flag_or_from_section_and_key() {
        for (key, variable) in [
            ("limits.max-connections", "RINGSOCK_MAX_CONNECTIONS"),
            ("cores.count", "RINGSOCK_CORES"),
            ("admin.listen", "RINGSOCK_ADMIN_LISTEN"),
            ("topics.ring-entries", "RINGSOCK_TOPICS__RING_ENTRIES"),
            ("drain.delay-ms", "RINGSOCK_DRAIN__DELAY_MS"),
        ] {
            assert_eq!(find(key).unwrap().variable(), variable);
        }
    }

    #[test]
    fn a_word_of_another_form_finds_its_key() {
        for (word, key) in [
            ("ring-entries", "topics.ring-entries"),
            ("max_mesage_bytes", "limits.max-message-bytes"),
            ("drain-delay-ms", "drain.delay-ms"),
            ("compression-level", "compression.level"),
            ("max-compression-contexts", "compression.max-contexts"),
            ("api-insecure", "api.insecure"),
            ("limits.ring-entries", "topics.ring-entries"),
            ("share-port", "listen.share-port"),
            ("pin", "cores.pin"),
            ("allow_origin", "origin.allow"),
        ] {
            assert_eq!(meant_by(word).map(Key::to_string).as_deref(), Some(key), "{word}");
        }
        assert!(meant_by("xyzzy").is_none());
    }

    /// For a Service of this name Kubernetes sets RINGSOCK_PORT, RINGSOCK_SERVICE_HOST and more of that kind.
    #[test]
    fn variables_that_kubernetes_sets_for_a_service_of_our_name_are_nobodys() {
        for name in [
            "RINGSOCK_SERVICE_HOST",
            "RINGSOCK_SERVICE_PORT",
            "RINGSOCK_SERVICE_PORT_HTTP",
            "RINGSOCK_SERVICE_PORT_A__B",
            "RINGSOCK_PORT",
            "RINGSOCK_PORT_9000_TCP",
            "RINGSOCK_PORT_9000_TCP_ADDR",
            "RINGSOCK_TRACE",
            "PATH",
        ] {
            assert!(matches!(named_by_variable(name), Named::Foreign), "{name}");
        }
        for (name, key) in [
            ("RINGSOCK_MAX_HEADERS", "limits.max-headers"),
            ("RINGSOCK_LIMITS__MAX_CONNECTIONS", "limits.max-connections"),
            ("RINGSOCK_TOPICS__RING_ENTRY", "topics.ring-entries"),
        ] {
            let Named::Unknown(Some(meant)) = named_by_variable(name) else { panic!("{name}") };
            assert_eq!(meant.to_string(), key);
        }
    }
}
