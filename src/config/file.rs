//! Reads a TOML file: the values of keys and the line of each.
//!
//! Owns the form of a file: sections, and the keys in each. Never parses or validates a value. Invariant: each entry
//! and each error names its line, which the parser knows (`toml::de::DeTable`).

use std::path::Path;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::elements::is_repeated;
use super::entry::Entry;
use super::error::ConfigError;
use super::key::{Key, LISTEN};
use super::lookup::{find, meant_by};
use super::raw_value::RawValue;
use super::source::Source;
use super::suggest::nearest;
use super::table::{KEYS, SECTIONS};

/// The content of a file.
#[derive(Debug, Default)]
pub(super) struct File {
    /// Its values, but for those of sections that it may have several times.
    pub(super) entries: Vec<Entry>,
    /// Each of its `[[listen]]` sections.
    pub(super) listen: Vec<RepeatedSection>,
    /// Each of its other sections that it may have several times.
    pub(super) repeated: Vec<RepeatedSection>,
    pub(super) errors: Vec<ConfigError>,
}

/// One of several sections of one name.
#[derive(Debug)]
pub(super) struct RepeatedSection {
    pub(super) name: &'static str,
    pub(super) place: Source,
    pub(super) entries: Vec<Entry>,
}

impl File {
    /// Reads the text of the file at `path`.
    pub(super) fn read(path: &Path, text: &str) -> Self {
        let reader = Reader { path: path.into(), text };
        let mut file = Self::default();
        match DeTable::parse(text) {
            Ok(table) => {
                for (name, value) in table.get_ref() {
                    reader.section(name, value, &mut file);
                }
            }
            Err(error) => {
                let place = reader.place(error.span().map_or(0, |span| span.start));
                let reason = super::kind::sentence(&error.message().trim().replace('\n', ", "));
                file.errors.push(ConfigError::Syntax { place, reason });
            }
        }
        file
    }
}

/// The file that is being read; `text` finds the line of a value.
struct Reader<'t> {
    path: Arc<Path>,
    text: &'t str,
}

impl Reader<'_> {
    /// Returns the line of the byte at this offset.
    fn place(&self, at: usize) -> Source {
        let before = self.text.get(..at).unwrap_or_default();
        Source::File { path: Arc::clone(&self.path), line: 1 + before.matches('\n').count() }
    }

    /// Reads one section, or reports that there is none of this name or form.
    fn section(&self, name: &Spanned<impl AsRef<str>>, value: &Spanned<DeValue<'_>>, file: &mut File) {
        let (place, name) = (self.place(name.span().start), name.get_ref().as_ref());
        let Some(section) = SECTIONS.iter().find(|section| section.name == name) else {
            let is_table = match value.get_ref() {
                DeValue::Table(_) => true,
                DeValue::Array(elements) => {
                    elements.iter().any(|element| matches!(element.get_ref(), DeValue::Table(_)))
                }
                _ => false,
            };
            let hint = unknown_section_hint(name, is_table);
            let given = if is_table { format!("[{name}]") } else { name.to_owned() };
            return file.errors.push(ConfigError::UnknownKey { place, given, hint });
        };
        let name = section.name;
        let add = |file: &mut File, section| {
            if name == LISTEN { file.listen.push(section) } else { file.repeated.push(section) }
        };
        match value.get_ref() {
            DeValue::Table(keys) if !is_repeated(name) => {
                let entries = self.entries(name, keys, &mut file.errors);
                file.entries.extend(entries);
            }
            DeValue::Table(keys) => {
                let entries = self.entries(name, keys, &mut file.errors);
                add(file, RepeatedSection { name, place, entries });
            }
            DeValue::Array(elements) if is_repeated(name) => {
                for element in elements.iter() {
                    let place = self.place(element.span().start);
                    let DeValue::Table(keys) = element.get_ref() else {
                        return file.errors.push(not_a_section(place, name));
                    };
                    let entries = self.entries(name, keys, &mut file.errors);
                    add(file, RepeatedSection { name, place, entries });
                }
            }
            _ => file.errors.push(not_a_section(place, name)),
        }
    }

    /// Reads the keys of a section, in the order of the table.
    fn entries(&self, section: &str, keys: &DeTable<'_>, errors: &mut Vec<ConfigError>) -> Vec<Entry> {
        let mut entries = Vec::new();
        for (name, value) in keys {
            let source = self.place(name.span().start);
            let given = format!("{section}.{}", name.get_ref());
            match find(&given) {
                Some(key) => entries.push(Entry { key, raw: RawValue::from_toml(value.get_ref()), source }),
                None => {
                    let hint = unknown_key_hint(section, name.get_ref());
                    errors.push(ConfigError::UnknownKey { place: source, given, hint });
                }
            }
        }
        // In this order the addresses of [[listen]] come first, which its other keys change when they are applied.
        entries.sort_by_key(|entry| KEYS.iter().position(|key| std::ptr::eq(key, entry.key)));
        entries
    }
}

fn not_a_section(place: Source, name: &str) -> ConfigError {
    let reason = if name == LISTEN {
        "listen is a section: write [[listen]] and below it address = \"127.0.0.1:9000\".".to_owned()
    } else if is_repeated(name) {
        format!("{name} is a section: write [[{name}]] and below it name = \"...\".")
    } else {
        let first = KEYS.iter().find(|key| key.section == name);
        let example =
            first.map_or(String::new(), |key| format!(" and below it {} = {}", key.name, key.default_value()));
        format!("{name} is a section: write [{name}]{example}.")
    };
    ConfigError::Form { place, reason }
}

/// Returns a hint, in a sentence, for a key that its section does not have.
pub(super) fn unknown_key_hint(section: &str, name: &str) -> String {
    let keys_of_section = || KEYS.iter().filter(|key| key.section == section).map(|key| key.name);
    let name = name.to_ascii_lowercase().replace('_', "-");
    let near = nearest(&name, keys_of_section()).and_then(|near| find(&format!("{section}.{near}")));
    let same_name = KEYS.iter().find(|key| key.name == name);
    let meant = same_name.or(near).or_else(|| meant_by(&name));
    let all: Vec<&str> = keys_of_section().collect();
    match meant {
        None if !all.is_empty() => format!(" The keys of [{section}] are {}.", all.join(", ")),
        _ => did_you_mean(meant),
    }
}

/// Returns " Did you mean …?" for a key; nothing without one.
pub(super) fn did_you_mean(key: Option<&Key>) -> String {
    key.map_or(String::new(), |key| format!(" Did you mean {key}?"))
}

/// Returns a hint, in a sentence, for a section that does not exist.
fn unknown_section_hint(name: &str, is_table: bool) -> String {
    let sections = || SECTIONS.iter().map(|section| section.name);
    match nearest(name, sections()) {
        Some(section) if is_table => format!(" Did you mean [{section}]?"),
        _ => match meant_by(name) {
            Some(key) if !is_table => format!(" Did you mean {} in the section [{}]?", key.name, key.section),
            _ => format!(" The sections are {}.", sections().collect::<Vec<_>>().join(", ")),
        },
    }
}
