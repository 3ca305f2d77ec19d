//! A configuration in force, with the place that each value comes from.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::elements::{elements, is_repeated};
use super::key::{Key, LISTEN};
use super::lookup::find;
use super::source::Source;
use super::table::{KEYS, SECTIONS};
use super::values::Config;

/// The column in which `show` says where a value comes from, if the value leaves room.
const SOURCE_COLUMN: usize = 60;

/// A configuration in force, with the place that each value comes from.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The values.
    pub config: Config,
    /// By the name of the key; one that is not here has its default.
    sources: BTreeMap<String, Source>,
}

impl Settings {
    /// Returns where the value of a key comes from.
    pub fn source(&self, key: &str) -> &Source {
        self.sources.get(key).unwrap_or(&Source::Default)
    }

    /// Returns an error of the library with the settings that it names as they are named here: each with its key and,
    /// where it is not the default, with the place that its value comes from.
    pub fn explain(&self, error: &str) -> String {
        let is_in_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let (mut text, mut rest) = (String::new(), error);
        while !rest.is_empty() {
            let is_name = rest.starts_with(is_in_name);
            let end = rest.find(|c| is_in_name(c) != is_name).unwrap_or(rest.len());
            let (word, after) = rest.split_at(end);
            match KEYS.iter().find(|key| word.contains('_') && key.library_name() == word) {
                Some(key) => {
                    text += &key.to_string();
                    self.add_source(key, &mut text);
                }
                None => text += word,
            }
            rest = after;
        }
        let addresses = self
            .config
            .listen
            .iter()
            .enumerate()
            .map(|(at, listen)| (listen.address.to_string(), self.source(&element_name(LISTEN, at, "address"))));
        let admin = self.config.admin_listen.iter().map(|address| (address.to_string(), self.source("admin.listen")));
        for (address, source) in addresses.chain(admin) {
            if *source != Source::Default && error.contains(&address) {
                let _ = write!(text, " The address {address} comes from {source}.");
            }
        }
        text
    }

    /// Returns each value in force, a line each, with the place that it comes from.
    pub fn show(&self) -> String {
        let mut text = String::new();
        let mut line = |name: &str, value: &str, source: &Source| {
            let assignment = format!("{name} = {value}");
            let _ = writeln!(text, "{assignment:<SOURCE_COLUMN$}  # {source}");
        };
        for section in SECTIONS {
            let keys = || KEYS.iter().filter(|key| key.section == section.name);
            if !is_repeated(section.name) {
                keys().for_each(|key| line(&key.to_string(), &key.shown(&self.config), self.source(&key.to_string())));
            }
            for (at, alone) in elements(&self.config, section.name).iter().enumerate() {
                for key in keys() {
                    let name = element_name(section.name, at, key.name);
                    line(&name, &key.shown(alone), self.source(&name));
                }
            }
        }
        text
    }

    /// Replaces the sources of some keys by those that they have in `other`.
    pub(super) fn take_sources(&mut self, other: &Self, is_taken: impl Fn(&Key) -> bool) {
        let key_of = |name: &str| match (name.split_once('['), name.split_once("].")) {
            (Some((section, _)), Some((_, name))) => find(&format!("{section}.{name}")),
            _ => find(name),
        };
        self.sources.retain(|name, _| !key_of(name).is_some_and(&is_taken));
        let taken = other.sources.iter().filter(|(name, _)| key_of(name).is_some_and(&is_taken));
        self.sources.extend(taken.map(|(name, source)| (name.clone(), source.clone())));
    }

    /// Notes where the value of a key comes from; one of a section of several holds for all of them.
    pub(super) fn note(&mut self, key: &Key, source: Source) {
        if is_repeated(key.section) {
            let count = elements(&self.config, key.section).len();
            (0..count).for_each(|at| self.note_element(at, key, source.clone()));
        } else {
            self.sources.insert(key.to_string(), source);
        }
    }

    /// Notes where the value of a key of one of several sections comes from.
    pub(super) fn note_element(&mut self, at: usize, key: &Key, source: Source) {
        self.sources.insert(element_name(key.section, at, key.name), source);
    }

    fn add_source(&self, key: &Key, text: &mut String) {
        let name = if is_repeated(key.section) { element_name(key.section, 0, key.name) } else { key.to_string() };
        let source = self.source(&name);
        // Once is enough.
        let shown = format!(" ({source})");
        if *source != Source::Default && !text.contains(&shown) {
            *text += &shown;
        }
    }
}

/// Returns the name of a key of one of several sections.
fn element_name(section: &str, at: usize, name: &str) -> String {
    format!("{section}[{at}].{name}")
}
