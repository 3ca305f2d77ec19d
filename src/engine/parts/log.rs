//! The log lines of a core, about its sessions, refusals and frames.
//!
//! Never decides whether a line is shown: the subscriber of `tracing` does. Invariants: a line that is not shown costs
//! a comparison; text that a client chose is a field, which the subscriber quotes and escapes, and never part of a
//! message. The text of a [`Refusal`] is the exception: it repeats an Origin and a Host, which it has escaped itself.

use std::net::IpAddr;

use tracing::field::{DisplayValue, debug, display};

use super::Parts;
use crate::engine::log::{FRAMES, LogEnabled, REFUSALS, SESSIONS};
use crate::engine::reasons::End;
use crate::engine::values::SessionId;
use crate::protocol::http::Refusal;
use crate::protocol::{Close, Opcode, Reason, Violation};
use crate::reactor::Token;
use crate::tls::Fault;

/// Logs a line about a session at debug.
macro_rules! log_session {
    ($target:ident, $parts:ident, $token:ident, $($fields_and_text:tt)+) => {
        if $parts.log_enabled.clients {
            cold(|| {
                tracing::debug!(
                    target: $target,
                    session = %$parts.id($token),
                    core = $parts.core,
                    client = $parts.client($token),
                    $($fields_and_text)+
                )
            });
        }
    };
}

impl Parts {
    #[inline]
    pub(in crate::engine) fn log_requested(&self, token: Token, path: &str) {
        log_session!(SESSIONS, self, token, path, "The client asks for a WebSocket.");
    }

    #[inline]
    pub(in crate::engine) fn log_opened(&self, token: Token, protocol: Option<&str>, compressed: bool) {
        log_session!(SESSIONS, self, token, protocol, compressed, "The session is open.");
    }

    #[inline]
    pub(in crate::engine) fn log_subscribed(&self, token: Token, topic: &str) {
        log_session!(SESSIONS, self, token, topic, "The session has subscribed.");
    }

    #[inline]
    pub(in crate::engine) fn log_unsubscribed(&self, token: Token, topic: &str) {
        log_session!(SESSIONS, self, token, topic, "The session has unsubscribed.");
    }

    #[inline]
    pub(in crate::engine) fn log_close_received(&self, token: Token, close: Option<Close<'_>>) {
        self.log_close(token, close, "The client sent a Close frame.");
    }

    #[inline]
    pub(in crate::engine) fn log_close_sent(&self, token: Token, close: Option<Close<'_>>) {
        self.log_close(token, close, "The server sends a Close frame.");
    }

    #[inline]
    pub(in crate::engine) fn log_violation(&self, token: Token, violation: &Violation) {
        log_session!(SESSIONS, self, token, "The client broke the protocol. {violation}");
    }

    #[inline]
    pub(super) fn log_slowed(&self, token: Token) {
        log_session!(SESSIONS, self, token, "The client publishes above its rate, and is read more slowly.");
    }

    #[inline]
    pub(in crate::engine) fn log_closed(&self, token: Token, end: End) {
        log_session!(SESSIONS, self, token, end = end.name(), "The session has ended.");
    }

    #[inline]
    pub(in crate::engine) fn log_refused(&self, token: Token, refusal: &Refusal) {
        log_session!(REFUSALS, self, token, reason = refusal.name(), "Refused a request. {refusal}");
    }

    #[inline]
    pub(in crate::engine) fn log_rejected(&self, token: Token, status: u16) {
        log_session!(REFUSALS, self, token, status, "The handler rejected an upgrade.");
    }

    #[inline]
    pub(in crate::engine) fn log_tls_failure(&self, token: Token, fault: &Fault) {
        let reason = fault.kind().name();
        log_session!(REFUSALS, self, token, reason, "TLS has failed on a connection. {fault}");
    }

    /// Logs that a connection gets no session; `client` returns its address.
    #[inline]
    pub(in crate::engine) fn log_turned_away(&self, refusal: &Refusal, client: impl FnOnce() -> Option<IpAddr>) {
        if self.log_enabled.clients {
            let client = client().map(display);
            let reason = refusal.name();
            tracing::debug!(target: REFUSALS, core = self.core, client, reason, "Turned away a connection. {refusal}");
        }
    }

    /// Records which lines the log shows. It is called once a turn, so that a line that is not shown only checks a
    /// flag.
    pub(super) fn note_log_filter(&mut self) {
        let enabled = LogEnabled::now();
        if enabled.clients != self.log_enabled.clients {
            self.clients.note_logged(enabled.clients);
        }
        self.log_enabled = enabled;
    }

    #[inline]
    pub(in crate::engine) fn log_received(&self, token: Token, opcode: Opcode, bytes: usize) {
        if self.log_enabled.frames {
            log_frame(self.id(token), "received", Some(opcode), bytes);
        }
    }

    #[inline]
    pub(super) fn log_sent(&self, token: Token, opcode: Opcode, bytes: usize) {
        if self.log_enabled.frames {
            log_frame(self.id(token), "sent", Some(opcode), bytes);
        }
    }

    /// Logs that a frame of so many bytes, which was encoded before, is sent to a session.
    #[inline]
    pub(super) fn log_sent_prepared(&self, token: Token, bytes: usize) {
        if self.log_enabled.frames {
            log_frame(self.id(token), "sent", None, bytes);
        }
    }

    /// Logs that messages of a topic, encoded as so many bytes, are sent to a session.
    #[inline]
    pub(super) fn log_shared(&self, token: Token, topic: u32, messages: u32, bytes: usize) {
        if self.log_enabled.frames {
            self.log_messages(token, topic, messages, bytes);
        }
    }

    fn log_close(&self, token: Token, close: Option<Close<'_>>, text: &'static str) {
        let (code, reason) = (close.map(|close| close.code.number()), close.map(|close| close.reason));
        log_session!(SESSIONS, self, token, code, reason, "{text}");
    }

    #[cold]
    fn log_messages(&self, token: Token, topic: u32, messages: u32, bytes: usize) {
        let topic = self.topics.get(topic).map(|topic| &topic.name[..]);
        tracing::trace!(target: FRAMES, session = %self.id(token), topic, messages, bytes, "sent");
    }

    fn id(&self, token: Token) -> SessionId {
        SessionId { core: self.core, token }
    }

    fn client(&self, token: Token) -> Option<DisplayValue<IpAddr>> {
        self.clients.address(token.index).map(display)
    }
}

/// Calls `write` in a function of its own, so that its code is not inlined where every message or connection passes.
#[cold]
#[inline(never)]
fn cold(write: impl FnOnce()) {
    write();
}

#[cold]
fn log_frame(session: SessionId, direction: &'static str, opcode: Option<Opcode>, bytes: usize) {
    let opcode = opcode.map(debug);
    tracing::trace!(target: FRAMES, %session, opcode, bytes, "{direction}");
}
