//! The layers of a configuration: defaults, a file, variables, flags and `--set`. Each overrides those before it.
//!
//! A layer is a list of entries: a key, what was written, and where. Of all entries of a key the last one holds, and
//! only that one is read, so a value that another one overrides cannot be wrong. Invariant: a configuration comes
//! only out of layers without a fault.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use super::elements;
use super::entry::Entry;
use super::error::{ConfigError, ConfigErrors, InvalidValue};
use super::file::{File, RepeatedSection, did_you_mean, unknown_key_hint};
use super::key::{Key, LISTEN};
use super::kind::Reason;
use super::lookup::{Named, find, meant_by, named_by_variable};
use super::raw_value::RawValue;
use super::settings::Settings;
use super::source::Source;
use super::table::KEYS;
use super::values::Config;

/// The variable that names the file, as `--config` does.
pub const CONFIG_VARIABLE: &str = "RINGSOCK_CONFIG";

/// Layers that are put together. Call its methods in the order in which they stand here: a later one overrides the
/// earlier ones.
#[derive(Debug, Default)]
pub struct Layers {
    file_from_variable: Option<OsString>,
    file: File,
    entries: Vec<Entry>,
    errors: Vec<ConfigError>,
}

impl Layers {
    /// Returns the defaults alone.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the defaults with a file that was read.
    #[cfg(test)]
    pub(super) fn of_file(file: File) -> Self {
        Self { file, ..Self::default() }
    }

    /// Adds the environment variables. A variable that is empty or blank is not set, and white space around a value
    /// is not part of it, which a file that a secret was made from ends with.
    pub fn variables(mut self, variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        for (name, value) in variables {
            let Some(name) = name.to_str() else { continue };
            let text = value.to_str().map(str::trim);
            if text.is_some_and(str::is_empty) {
                continue;
            }
            if name == CONFIG_VARIABLE {
                self.file_from_variable = Some(text.map_or(value.clone(), OsString::from));
                continue;
            }
            let source = Source::Variable(name.to_owned());
            match (named_by_variable(name), text) {
                (Named::Key(key), Some(text)) => {
                    self.entries.push(Entry { key, raw: RawValue::parse(text), source });
                }
                (Named::Key(key), None) => {
                    let reason = Reason::Sentence("The value is not UTF-8.".to_owned());
                    self.errors.push(InvalidValue { place: source, key, raw: None, reason }.into());
                }
                (Named::Unknown(meant), _) => {
                    let hint = meant.map_or(String::new(), |key| format!(" That of {key} is {}.", key.variable()));
                    let reason = format!("No setting has this variable.{hint}");
                    self.errors.push(ConfigError::Form { place: source, reason });
                }
                (Named::Foreign, _) => {}
            }
        }
        // The environment has no order, and errors should have one.
        self.entries.sort_by_key(|entry| KEYS.iter().position(|key| std::ptr::eq(key, entry.key)));
        self
    }

    /// Adds a file: the one at `path`, or else that of [`CONFIG_VARIABLE`]. Variables override it, although they were
    /// added before.
    pub fn file(mut self, path: Option<&Path>) -> Self {
        let (path, via) = match (path, self.file_from_variable.take()) {
            (Some(path), _) => (path.to_owned(), Source::Flag("config")),
            (None, Some(path)) => (PathBuf::from(path), Source::Variable(CONFIG_VARIABLE.to_owned())),
            (None, None) => return self,
        };
        match fs::read_to_string(&path) {
            Ok(text) => self.file = File::read(&path, &text),
            Err(source) => self.errors.push(ConfigError::Unreadable { path, via, source }),
        }
        self
    }

    /// Adds the value of a flag.
    pub fn flag(mut self, key: &'static Key, text: &str) -> Self {
        let source = Source::Flag(key.flag.as_ref().map_or(key.name, |flag| flag.name));
        self.entries.push(Entry { key, raw: RawValue::parse(text.trim()), source });
        self
    }

    /// Adds an argument of `--set`: `section.key=value`.
    pub fn set(mut self, assignment: &str) -> Self {
        let (name, value) = match assignment.split_once('=') {
            Some((name, value)) => (name.trim(), value.trim()),
            None => {
                let reason = format!("{assignment:?} has no value. Write --set section.key=value.");
                self.errors.push(ConfigError::Form { place: Source::Set, reason });
                return self;
            }
        };
        match find(name) {
            Some(key) => self.entries.push(Entry { key, raw: RawValue::parse(value), source: Source::Set }),
            None => {
                let hint = match name.split_once('.') {
                    Some((section, name)) => unknown_key_hint(section, name),
                    None => did_you_mean(meant_by(name)),
                };
                let hint = if hint.is_empty() { " ringsock config defaults lists all.".to_owned() } else { hint };
                self.errors.push(ConfigError::UnknownKey { place: Source::Set, given: name.to_owned(), hint });
            }
        }
        self
    }

    /// Parses the last value of each key, and checks that they do not contradict each other.
    pub fn resolve(mut self) -> Result<Settings, ConfigErrors> {
        let mut settings = Settings::default();
        self.errors.append(&mut self.file.errors);
        let mut effective: HashMap<String, &Entry> = HashMap::new();
        for entry in self.file.entries.iter().chain(&self.entries) {
            effective.insert(entry.key.to_string(), entry);
        }
        let addresses_are_replaced = effective.keys().any(|name| find(name).is_some_and(is_address));
        if !self.file.listen.is_empty() && !addresses_are_replaced {
            settings.config.listen.clear();
            for section in &self.file.listen {
                listen_on(section, &mut settings, &mut self.errors);
            }
        }
        for section in &self.file.repeated {
            add_element(section, &mut settings, &mut self.errors);
        }
        for key in KEYS {
            let Some(entry) = effective.get(&key.to_string()) else { continue };
            match apply(entry, &mut settings.config) {
                Ok(()) => settings.note(entry.key, entry.source.clone()),
                Err(error) => self.errors.push(error.into()),
            }
        }
        if self.errors.is_empty() {
            self.errors = settings.contradictions();
        }
        self.errors.sort_by_key(ConfigError::line);
        if self.errors.is_empty() { Ok(settings) } else { Err(ConfigErrors(self.errors)) }
    }
}

fn is_address(key: &Key) -> bool {
    key.section == LISTEN && key.name == "address"
}

/// Adds the addresses of one `[[listen]]` section.
fn listen_on(section: &RepeatedSection, settings: &mut Settings, errors: &mut Vec<ConfigError>) {
    if !section.entries.iter().any(|entry| is_address(entry.key)) {
        let reason = "This [[listen]] has no address. Write below it address = \"127.0.0.1:9000\".".to_owned();
        return errors.push(ConfigError::Form { place: section.place.clone(), reason });
    }
    let mut part = Config::default();
    for entry in &section.entries {
        if let Err(error) = apply(entry, &mut part) {
            // Later faults would be about the default address.
            return errors.push(error.into());
        }
    }
    for listen in part.listen {
        let at = settings.config.listen.len();
        settings.config.listen.push(listen);
        section.entries.iter().for_each(|entry| settings.note_element(at, entry.key, entry.source.clone()));
    }
}

/// Adds the element of one section of the others that a file may have several times.
fn add_element(section: &RepeatedSection, settings: &mut Settings, errors: &mut Vec<ConfigError>) {
    let mut element = Config::default();
    for entry in &section.entries {
        if let Err(error) = apply(entry, &mut element) {
            errors.push(error.into());
        }
    }
    let at = elements::append(element, section.name, &mut settings.config);
    section.entries.iter().for_each(|entry| settings.note_element(at, entry.key, entry.source.clone()));
}

fn apply(entry: &Entry, config: &mut Config) -> Result<(), InvalidValue> {
    let Entry { key, raw, source } = entry;
    (key.read)(raw, config).map_err(|reason| {
        let raw = (!key.is_secret).then(|| raw.clone());
        InvalidValue { place: source.clone(), key, raw, reason }
    })
}
