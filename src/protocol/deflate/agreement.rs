//! The parameters that both ends of a connection compress with (RFC 7692 7.1).

use super::WindowBits;
use crate::protocol::role::Role;

/// What both ends agreed on. Four bytes, kept with every connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agreement {
    /// Whether the server's messages may refer to its earlier ones.
    pub server_context_takeover: bool,
    /// Whether the client's messages may refer to its earlier ones.
    pub client_context_takeover: bool,
    /// The server's window.
    pub server_window_bits: WindowBits,
    /// The client's window.
    pub client_window_bits: WindowBits,
}

impl Agreement {
    /// Whether any message may refer to an earlier one, so that a stream has to be kept for this connection.
    pub fn has_context_takeover(&self) -> bool {
        self.server_context_takeover || self.client_context_takeover
    }

    /// Window and context takeover of what the end in `role` sends.
    pub(in crate::protocol) fn sending(&self, role: Role) -> (WindowBits, bool) {
        match role {
            Role::Server => (self.server_window_bits, self.server_context_takeover),
            Role::Client => (self.client_window_bits, self.client_context_takeover),
        }
    }

    /// Window and context takeover of what the end in `role` receives.
    pub(in crate::protocol) fn receiving(&self, role: Role) -> (WindowBits, bool) {
        match role {
            Role::Server => self.sending(Role::Client),
            Role::Client => self.sending(Role::Server),
        }
    }
}
