//! The two ends of a connection.

/// Which end of a connection this is: clients mask, servers do not (RFC 6455 5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Sends masked frames, receives plain ones.
    Client,
    /// Sends plain frames, receives masked ones.
    Server,
}
