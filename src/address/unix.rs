//! Unix sockets: a file, or a name in the abstract namespace.

use std::fmt;
use std::path::PathBuf;

use super::error::AddressError;

/// The address of a Unix socket, with the permissions of its file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UnixAddress {
    /// The name of the socket.
    pub name: UnixName,
    /// Permissions of its file. Every user with write permission may connect.
    pub mode: u32,
    /// The group of its file; `None` keeps the server's group.
    pub group: Option<String>,
}

/// The name of a Unix socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UnixName {
    /// The path of a file.
    Path(PathBuf),
    /// A name in the abstract namespace, without a file, in the server's network namespace. Every user of the host may
    /// connect.
    Abstract(String),
}

impl UnixAddress {
    /// The default permissions of a socket's file: the user and the group of the server.
    pub const MODE: u32 = 0o660;

    /// The longest path or name, in bytes: `sun_path` has 108 bytes, the last of which is the terminator.
    pub const NAME_BYTES_MAX: usize = 107;

    /// Parses permissions in octal digits, as chmod(1) takes them.
    pub(crate) fn parse_mode(text: &str) -> Option<u32> {
        let is_octal = matches!(text.len(), 3 | 4) && text.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
        u32::from_str_radix(text, 8).ok().filter(|mode| is_octal && *mode <= 0o777)
    }

    /// Parses the text behind `unix:`.
    pub(super) fn parse(text: &str) -> Result<Self, AddressError> {
        // `unix:///run/a.sock` has the form of a URL.
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
                    address.mode = Self::parse_mode(mode).ok_or_else(|| wrong("has an invalid mode"))?
                }
                Some(("group", group)) if !group.is_empty() => address.group = Some(group.to_owned()),
                _ => return Err(wrong("has an unknown or empty setting")),
            }
        }
        Ok(address)
    }
}

/// Writes the form that `parse` reads.
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
