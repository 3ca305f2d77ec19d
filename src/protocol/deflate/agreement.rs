//! The parameters that both ends of a connection compress with (RFC 7692 7.1).

use super::WindowBits;
use crate::protocol::role::Role;

/// The negotiated compression parameters. Takes four bytes, kept with every connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agreement {
    /// The server's messages may refer to its earlier ones.
    pub server_context_takeover: bool,
    /// The client's messages may refer to its earlier ones.
    pub client_context_takeover: bool,
    /// The server's window.
    pub server_window_bits: WindowBits,
    /// The client's window.
    pub client_window_bits: WindowBits,
}

impl Agreement {
    /// Returns whether any message may refer to an earlier one, so that this connection needs a stream of its own.
    pub fn has_context_takeover(&self) -> bool {
        self.server_context_takeover || self.client_context_takeover
    }

    /// Returns the window and context takeover of the messages that the end in `role` sends.
    pub(in crate::protocol) fn sending(&self, role: Role) -> (WindowBits, bool) {
        match role {
            Role::Server => (self.server_window_bits, self.server_context_takeover),
            Role::Client => (self.client_window_bits, self.client_context_takeover),
        }
    }

    /// Returns the window and context takeover of the messages that the end in `role` receives.
    pub(in crate::protocol) fn receiving(&self, role: Role) -> (WindowBits, bool) {
        match role {
            Role::Server => self.sending(Role::Client),
            Role::Client => self.sending(Role::Server),
        }
    }
}
