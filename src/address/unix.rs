//! Unix sockets: a file, or a name that is none.

use std::fmt;
use std::path::PathBuf;

use super::error::AddressError;

/// A Unix socket, and who may connect to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnixAddress {
    /// How it is found.
    pub name: UnixName,
    /// Permissions of its file. Whoever may write to it may connect.
    pub mode: u32,
    /// The group of its file; the server's own without one.
    pub group: Option<String>,
}

/// How a Unix socket is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UnixName {
    /// By a file.
    Path(PathBuf),
    /// By a name without a file, in the server's network namespace. Every user of the host may connect.
    Abstract(String),
}

impl UnixAddress {
    /// The permissions of a socket's file, unless others were asked for: for the user and the group of the server.
    pub const MODE: u32 = 0o660;

    /// The longest path or name, in bytes: `sun_path` has 108, the last of which ends it.
    pub const NAME_BYTES_MAX: usize = 107;

    /// Reads permissions in octal digits, as chmod(1) takes them.
    pub fn parse_mode(text: &str) -> Option<u32> {
        let is_octal = matches!(text.len(), 3 | 4) && text.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
        u32::from_str_radix(text, 8).ok().filter(|mode| is_octal && *mode <= 0o777)
    }

    /// Parses what stands behind `unix:`.
    pub(super) fn parse(text: &str) -> Result<Self, AddressError> {
        // As `unix:///run/a.sock`, the form of a URL.
        let rest = text.strip_prefix("//").filter(|path| path.starts_with('/')).unwrap_or(text);
        let (name, settings) = match rest.split_once('?') {
            Some((name, settings)) => (name, Some(settings)),
            None => (rest, None),
        };
        let wrong = |reason: &'static str| AddressError::Unix { text: format!("unix:{text}"), reason };
        let (bytes, name) = match name.strip_prefix('@') {
            Some(_) if settings.is_some() => return Err(wrong("has settings of a file, but no file")),
            Some(name) => (name.len(), UnixName::Abstract(name.to_owned())),
            None if rest.starts_with("//") => return Err(wrong("names a host")),
            None => (name.len(), UnixName::Path(name.into())),
        };
        match bytes {
            0 => return Err(wrong("has no path")),
            bytes if bytes > Self::NAME_BYTES_MAX => {
                return Err(AddressError::UnixTooLong {
                    text: format!("unix:{text}"),
                    bytes,
                    max: Self::NAME_BYTES_MAX,
                });
            }
            _ => {}
        }
        let mut address = Self { name, mode: Self::MODE, group: None };
        for setting in settings.into_iter().flat_map(|settings| settings.split('&')) {
            match setting.split_once('=') {
                Some(("mode", mode)) => {
                    address.mode = Self::parse_mode(mode).ok_or_else(|| wrong("has a mode that is none"))?
                }
                Some(("group", group)) if !group.is_empty() => address.group = Some(group.to_owned()),
                _ => return Err(wrong("has a setting that there is not")),
            }
        }
        Ok(address)
    }
}

/// In the form in which it is read.
impl fmt::Display for UnixAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            UnixName::Path(path) => write!(f, "unix:{}", path.display())?,
            UnixName::Abstract(name) => return write!(f, "unix:@{name}"),
        }
        let mut before = '?';
        if self.mode != Self::MODE {
            write!(f, "{before}mode={:o}", self.mode)?;
            before = '&';
        }
        self.group.iter().try_for_each(|group| write!(f, "{before}group={group}"))
    }
}
