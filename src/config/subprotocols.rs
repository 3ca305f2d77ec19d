//! The subprotocols that are spoken (RFC 6455 section 1.9): names that a client can ask for.
//!
//! Never chooses one. Invariant: every name is a token that can stand in a header, and none is there twice.

use std::fmt;
use std::str::FromStr;

/// Names of subprotocols. Read from text, in which commas separate them and `none` stands for no name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subprotocols(Vec<String>);

impl Subprotocols {
    /// The most names: as many as a client may offer, far above any real list. Each handshake that offers some compares
    /// them with all of these.
    pub const COUNT_MAX: usize = 64;

    /// The longest name, in bytes: ten times that of any that is registered with IANA.
    pub const BYTES_MAX: usize = 256;

    /// The names, in the order in which they were written.
    pub fn names(&self) -> &[String] {
        &self.0
    }

    fn checked(names: Vec<String>) -> Result<Self, String> {
        if names.len() > Self::COUNT_MAX {
            return Err(format!("there are {} names, but there can be {} at most", names.len(), Self::COUNT_MAX));
        }
        for (at, name) in names.iter().enumerate() {
            if !is_token(name) {
                return Err(format!(
                    "{name:?} is no name of a subprotocol; give letters, digits and marks such as . and -, \
                     without spaces"
                ));
            }
            if name.len() > Self::BYTES_MAX {
                return Err(format!("{name:?} has {} bytes, but can have {} at most", name.len(), Self::BYTES_MAX));
            }
            if names[..at].contains(name) {
                return Err(format!("{name:?} is there twice; give it once"));
            }
        }
        Ok(Self(names))
    }
}

impl FromStr for Subprotocols {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            NONE => Ok(Self::default()),
            _ => Self::checked(text.split(',').map(|name| name.trim().to_owned()).collect()),
        }
    }
}

/// In the form in which they are read.
impl fmt::Display for Subprotocols {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { NONE } else { "" })?;
        f.write_str(&self.0.join(", "))
    }
}

const NONE: &str = "none";

/// RFC 9110 section 5.6.2.
fn is_token(name: &str) -> bool {
    let is_token_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.bytes().all(is_token_byte)
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn names_are_read_from_text_and_written_again() {
        let names = Subprotocols(vec!["chat".to_owned(), "v2.example".to_owned()]);
        assert_eq!("chat,v2.example".parse(), Ok(names.clone()));
        assert_eq!(" chat , v2.example ".parse(), Ok(names.clone()));
        assert_eq!(names.to_string(), "chat, v2.example");
        assert_eq!(Subprotocols::default().to_string().parse(), Ok(Subprotocols::default()));
        assert_eq!("!#$%&'*+-.^_`|~".parse::<Subprotocols>().unwrap().names().len(), 1);
    }

    #[test]
    fn a_subprotocol_that_no_client_could_offer_is_refused_by_name() {
        for (text, wrong) in [
            ("", r#""""#),
            ("chat,", r#""""#),
            ("v 2", r#""v 2""#),
            ("chat;q=1", "chat;q=1"),
            ("ch\u{e4}t", "ch\u{e4}t"),
            ("a\r\nX: y", "subprotocol"),
            ("\"chat\"", "chat"),
            ("a,b,a", r#""a" is there twice"#),
        ] {
            let error = text.parse::<Subprotocols>().unwrap_err();
            assert!(error.contains(wrong), "{text:?}: {error}");
        }
    }

    #[test]
    fn their_number_and_their_length_are_bounded() {
        let names = |count: usize| (0..count).map(|at| format!("v{at}")).collect::<Vec<_>>().join(",");
        assert!(names(Subprotocols::COUNT_MAX).parse::<Subprotocols>().is_ok());
        let error = names(Subprotocols::COUNT_MAX + 1).parse::<Subprotocols>().unwrap_err();
        assert!(error.contains("65 names") && error.contains("64"), "{error}");
        assert!("a".repeat(Subprotocols::BYTES_MAX).parse::<Subprotocols>().is_ok());
        assert!("a".repeat(Subprotocols::BYTES_MAX + 1).parse::<Subprotocols>().is_err());
    }
}
