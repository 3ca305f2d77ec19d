//! The faults of an address, which the operator has to mend.

use thiserror::Error;

/// Why nobody can listen on what was written.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AddressError {
    /// Nothing is written, or nothing between two commas.
    #[error("An address is empty. Give an IP address or the name of a host, and a port, such as 127.0.0.1:9000.")]
    Empty,
    /// It is none of the forms.
    #[error(
        "{text:?} is not an address to listen on. Give an IP address or the name of a host, and a port, such as \
         127.0.0.1:9000 or [::1]:9000, a port alone for all addresses, or a Unix socket, such as \
         unix:/run/ringsock.sock."
    )]
    Invalid {
        /// The address as it was written.
        text: String,
    },
    /// A port is missing.
    #[error("{text:?} has no port. Write {example}.")]
    NoPort {
        /// The address as it was written.
        text: String,
        /// The same with a port.
        example: String,
    },
    /// The text in the place of the port is not a port.
    #[error("{text:?} has the port {port:?}, which is none. Give a number from 0 to 65535.")]
    Port {
        /// The address as it was written.
        text: String,
        /// The text in the place of the port.
        port: String,
    },
    /// An IPv6 address whose end cannot be told from a port.
    #[error("{text:?} is an IPv6 address without brackets, so a port cannot be told from its end. Write {example}.")]
    NoBrackets {
        /// The address as it was written.
        text: String,
        /// The same with brackets.
        example: String,
    },
    /// A URL, which says how to speak and not only where.
    #[error("{text:?} is a URL, and an address to listen on has no scheme and no path. Write {example}.")]
    Url {
        /// The address as it was written.
        text: String,
        /// The address in it.
        example: String,
    },
    /// A path without what makes it a Unix socket.
    #[error("{text:?} is a path. For a Unix socket write unix:{text}.")]
    Path {
        /// The address as it was written.
        text: String,
    },
    /// An IPv6 address that many networks have.
    #[error(
        "{text:?} is the address of an interface in its own network, and every network has it. Name the interface: \
         {example}."
    )]
    NoInterface {
        /// The address as it was written.
        text: String,
        /// The same with an interface.
        example: String,
    },
    /// A Unix socket that cannot be.
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
    /// A Unix socket whose path the kernel does not take.
    #[error("The path in {text:?} has {bytes} bytes, and that of a Unix socket can have {max}. Choose a shorter one.")]
    UnixTooLong {
        /// The address as it was written.
        text: String,
        /// Its path's length.
        bytes: usize,
        /// The longest path that the kernel takes, in bytes.
        max: usize,
    },
    /// A name that the host knows no address of.
    #[error(
        "{address:?} is not an address to listen on: {reason}. Give an address of this host, or a name that it knows \
         (getent hosts), and a port, such as 127.0.0.1:9000."
    )]
    Unresolved {
        /// The address as it was written.
        address: String,
        /// The host's answer.
        reason: String,
    },
    /// The same twice.
    #[error("{second} is listened on by {first} already. Leave one of them out.")]
    Twice {
        /// The first of the two.
        first: String,
        /// The second.
        second: String,
    },
}
