//! Errors in an address to listen on, which the operator has to correct.

use thiserror::Error;

/// The reason why an address cannot be listened on.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AddressError {
    /// The text is empty, or nothing stands between two commas.
    #[error("An address is empty. Give an IP address or the name of a host, and a port, such as 127.0.0.1:9000.")]
    Empty,
    /// The text has none of the accepted forms.
    #[error(
        "{text:?} is not an address to listen on. Give an IP address or the name of a host, and a port, such as \
         127.0.0.1:9000 or [::1]:9000, a port alone for all addresses, or a Unix socket, such as \
         unix:/run/ringsock.sock."
    )]
    Invalid {
        /// The address as it was written.
        text: String,
    },
    /// The port is missing.
    #[error("{text:?} has no port. Write {example}.")]
    NoPort {
        /// The address as it was written.
        text: String,
        /// The same address with a port.
        example: String,
    },
    /// The text in the place of the port is not a port number.
    #[error("{text:?} has the port {port:?}, which is not a port number. Give a number from 0 to 65535.")]
    Port {
        /// The address as it was written.
        text: String,
        /// The text in the place of the port.
        port: String,
    },
    /// The end of an IPv6 address without brackets cannot be told from a port.
    #[error("{text:?} is an IPv6 address without brackets, so a port cannot be told from its end. Write {example}.")]
    NoBrackets {
        /// The address as it was written.
        text: String,
        /// The same address with brackets.
        example: String,
    },
    /// The text is a URL, which has a scheme and perhaps a path.
    #[error("{text:?} is a URL, and an address to listen on has no scheme and no path. Write {example}.")]
    Url {
        /// The address as it was written.
        text: String,
        /// The address in the URL.
        example: String,
    },
    /// The text is a path without the prefix of a Unix socket.
    #[error("{text:?} is a path. For a Unix socket write unix:{text}.")]
    Path {
        /// The address as it was written.
        text: String,
    },
    /// The text is a link-local IPv6 address without an interface.
    #[error(
        "{text:?} is a link-local address, which is valid only together with an interface. Name the interface: \
         {example}."
    )]
    NoInterface {
        /// The address as it was written.
        text: String,
        /// The same address with an interface.
        example: String,
    },
    /// The options or the name of a Unix socket are invalid.
    #[error(
        "{text:?} {reason}. Write unix:/run/ringsock.sock, unix:/run/ringsock.sock?mode=660&group=www-data, or \
         unix:@ringsock for a socket without a file."
    )]
    Unix {
        /// The address as it was written.
        text: String,
        /// The fault.
        reason: &'static str,
    },
    /// The path of a Unix socket is longer than the kernel accepts.
    #[error("The path in {text:?} is {bytes} bytes long; a Unix socket allows {max}. Choose a shorter one.")]
    UnixTooLong {
        /// The address as it was written.
        text: String,
        /// The length of its path, in bytes.
        bytes: usize,
        /// The longest path that the kernel accepts, in bytes.
        max: usize,
    },
    /// The host cannot resolve a name.
    #[error(
        "{address:?} is not an address to listen on: {reason}. Give an address of this host, or a name that it knows \
         (getent hosts), and a port, such as 127.0.0.1:9000."
    )]
    Unresolved {
        /// The address as it was written.
        address: String,
        /// The resolver's error.
        reason: String,
    },
    /// Two addresses would listen on the same endpoint.
    #[error("{second} overlaps {first}, which is already listened on. Remove one of them.")]
    Twice {
        /// The first of the two.
        first: String,
        /// The second.
        second: String,
    },
}
