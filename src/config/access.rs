//! Values of `[[issuer]]`, `[[role]]` and `[[api-key]]`: texts, lists, secrets, and files that hold one.
//!
//! Each kind reads into all elements of a list: the one of a section of a file, or all of the server where a variable
//! says it, which makes a first one if there is none. Invariant: the text of a secret is in no error and no output.

use std::fmt::Display;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::str::FromStr;

use super::key::FILE_UNIT;
use super::kind::{Kind, NONE, Reason, Unit, quoted, rule, sentence};
use super::raw_value::RawValue;
use crate::outbound::{InvalidUrl, Url};
use crate::service::auth::{Algorithm, GrantTemplate, KEY_FILE_BYTES_MAX, KeyFile, Secret};

/// A property of each element of a list, of another kind.
pub(super) struct Of<T: 'static, V: 'static, K>(pub(super) fn(&mut T) -> &mut V, pub(super) K);

impl<T, V, K: Unit> Unit for Of<T, V, K> {
    fn unit(&self) -> String {
        self.1.unit()
    }
}

impl<T: Clone + Default, V, K: Kind<V>> Kind<Vec<T>> for Of<T, V, K> {
    fn read(&self, raw: &RawValue, value: &mut Vec<T>) -> Result<(), Reason> {
        if value.is_empty() {
            value.push(T::default());
        }
        value.iter_mut().try_for_each(|element| self.1.read(raw, (self.0)(element)))
    }

    fn write(&self, value: &Vec<T>) -> String {
        let mut first = value.first().cloned().unwrap_or_default();
        self.1.write((self.0)(&mut first))
    }
}

/// A text, with the word for it.
pub(super) struct Text(pub(super) &'static str);

impl Unit for Text {
    fn unit(&self) -> String {
        self.0.to_owned()
    }
}

impl Kind<String> for Text {
    fn read(&self, raw: &RawValue, value: &mut String) -> Result<(), Reason> {
        let text = raw.as_str().ok_or_else(|| rule(format!("must be a {}, in quotes", self.0)))?;
        text.clone_into(value);
        Ok(())
    }

    fn write(&self, value: &String) -> String {
        quoted(value)
    }
}

/// A list of texts, with the word for them; `none` for none.
pub(super) struct Texts(pub(super) &'static str);

impl Unit for Texts {
    fn unit(&self) -> String {
        self.0.to_owned()
    }
}

impl Kind<Vec<String>> for Texts {
    fn read(&self, raw: &RawValue, value: &mut Vec<String>) -> Result<(), Reason> {
        let items = raw.items().ok_or_else(|| rule(format!("must be {}, as a text or a list of texts", self.0)))?;
        if items.iter().any(String::is_empty) {
            return Err(rule(format!("must be {}, none of them empty", self.0)));
        }
        *value = if items == [NONE] { Vec::new() } else { items };
        Ok(())
    }

    fn write(&self, value: &Vec<String>) -> String {
        let items: Vec<String> = value.iter().map(|item| quoted(item)).collect();
        match &items[..] {
            [] => quoted(NONE),
            [item] => item.clone(),
            _ => format!("[{}]", items.join(", ")),
        }
    }
}

/// A list of grants. A grant may have commas in it, so a text is one grant.
pub(super) struct Grants;

impl Unit for Grants {
    fn unit(&self) -> String {
        "grants".to_owned()
    }
}

impl Kind<Vec<GrantTemplate>> for Grants {
    fn read(&self, raw: &RawValue, value: &mut Vec<GrantTemplate>) -> Result<(), Reason> {
        let items = match (raw, raw.as_str()) {
            (RawValue::List(_), _) => raw.items(),
            (_, Some(NONE)) => Some(Vec::new()),
            (_, Some(text)) => Some(vec![text.to_owned()]),
            _ => None,
        };
        let items = items.ok_or_else(|| rule("must be a list of grants, such as [\"subscribe:news\"]"))?;
        let grants = items.iter().map(|grant| grant.parse()).collect::<Result<_, _>>();
        *value = grants.map_err(|error| Reason::Sentence(sentence(&error)))?;
        Ok(())
    }

    fn write(&self, value: &Vec<GrantTemplate>) -> String {
        Texts("grants").write(&value.iter().map(GrantTemplate::to_string).collect())
    }
}

/// An algorithm of signatures, or `none`.
pub(super) struct OptionalAlgorithm;

impl Unit for OptionalAlgorithm {
    fn unit(&self) -> String {
        "algorithm".to_owned()
    }
}

impl Kind<Option<Algorithm>> for OptionalAlgorithm {
    fn read(&self, raw: &RawValue, value: &mut Option<Algorithm>) -> Result<(), Reason> {
        *value = match raw.as_str().unwrap_or_default() {
            NONE => None,
            text => Some(text.parse().map_err(rule)?),
        };
        Ok(())
    }

    fn write(&self, value: &Option<Algorithm>) -> String {
        quoted(value.map_or(NONE, Algorithm::name))
    }
}

/// A URL that is called, or `none`.
pub(super) struct OptionalUrl;

impl Unit for OptionalUrl {
    fn unit(&self) -> String {
        "URL".to_owned()
    }
}

impl Kind<Option<Url>> for OptionalUrl {
    fn read(&self, raw: &RawValue, value: &mut Option<Url>) -> Result<(), Reason> {
        *value = match raw.as_str().unwrap_or_default() {
            NONE => None,
            // A password may be in it, and is not repeated.
            text if text.contains('@') => {
                let fault = |error: InvalidUrl| Reason::Sentence(format!("The URL {error}."));
                Some(text.parse().map_err(fault)?)
            }
            text => Some(text.parse().map_err(|error: InvalidUrl| rule(error.to_string()))?),
        };
        Ok(())
    }

    fn write(&self, value: &Option<Url>) -> String {
        quoted(value.as_ref().map_or(NONE, Url::as_str))
    }
}

/// A secret, or `none`.
pub(super) struct OptionalSecret;

impl Unit for OptionalSecret {
    fn unit(&self) -> String {
        "secret".to_owned()
    }
}

impl Kind<Option<Secret>> for OptionalSecret {
    fn read(&self, raw: &RawValue, value: &mut Option<Secret>) -> Result<(), Reason> {
        *value = match raw.as_str().ok_or_else(|| rule("must be a text, in quotes"))? {
            NONE => None,
            text => Some(Secret(text.as_bytes().to_vec())),
        };
        Ok(())
    }

    fn write(&self, value: &Option<Secret>) -> String {
        quoted(if value.is_some() { "hidden" } else { NONE })
    }
}

/// A value that its type parses, with the word for it, or `none`.
pub(super) struct Optional(pub(super) &'static str);

impl Unit for Optional {
    fn unit(&self) -> String {
        self.0.to_owned()
    }
}

impl<T: FromStr<Err: Display> + Display> Kind<Option<T>> for Optional {
    fn read(&self, raw: &RawValue, value: &mut Option<T>) -> Result<(), Reason> {
        *value = match raw.as_str().ok_or_else(|| rule(format!("must be a {}, in quotes", self.0)))? {
            NONE => None,
            text => Some(text.parse().map_err(|error: T::Err| rule(error.to_string()))?),
        };
        Ok(())
    }

    fn write(&self, value: &Option<T>) -> String {
        quoted(&value.as_ref().map_or(NONE.to_owned(), T::to_string))
    }
}

/// A file whose content is read with the configuration, or `none`.
pub(super) struct OptionalFile;

impl Unit for OptionalFile {
    fn unit(&self) -> String {
        FILE_UNIT.to_owned()
    }
}

impl Kind<Option<KeyFile>> for OptionalFile {
    fn read(&self, raw: &RawValue, value: &mut Option<KeyFile>) -> Result<(), Reason> {
        let text = raw.as_str().ok_or_else(|| rule("must be the path of a file, in quotes"))?;
        *value = match text {
            NONE => None,
            text => {
                let path = Path::new(text);
                let content = read_bounded(path).map_err(|error| {
                    Reason::Sentence(format!("The file {} cannot be read: {error}.", path.display()))
                })?;
                Some(KeyFile { path: path.to_owned(), content: Secret(content) })
            }
        };
        Ok(())
    }

    fn write(&self, value: &Option<KeyFile>) -> String {
        quoted(&value.as_ref().map_or(NONE.to_owned(), |file| file.path.display().to_string()))
    }
}

/// Reads a file that is no longer than a key or a key set can be.
fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    File::open(path)?.take(KEY_FILE_BYTES_MAX as u64 + 1).read_to_end(&mut content)?;
    if content.len() > KEY_FILE_BYTES_MAX {
        return Err(io::Error::other(format!("it has more than {KEY_FILE_BYTES_MAX} bytes")));
    }
    Ok(content)
}
