//! Accepting: how connections are admitted, and how others are turned away.
//!
//! A core accepts from each of its listeners until it drains. If the kernel ends accepting, the core starts it again,
//! after a while if it failed. From a listener that cores share, it accepts connections one by one, so that each core
//! gets its share. Invariant: a listener is closed once, when nothing accepts from it any more.

use std::io;
use std::net::Shutdown;
use std::sync::atomic::Ordering;

use super::Core;
use super::handshakes::TURNED_AWAY_ALERT;
use super::listening::Accepting;
use crate::engine::admission::clients::{NotAdmitted, Peer};
use crate::engine::handler::Handler;
use crate::engine::reasons::End;
use crate::engine::session::Slot;
use crate::engine::wheel::ticks;
use crate::protocol::http::{Refusal, write_response};
use crate::reactor::{Listener, Owner, Reactor, Socket, concerns_one_connection};
use crate::transport;

/// The wait after accepting failed for lack of descriptors, unless a session ends sooner.
const ACCEPT_BACKOFF_MS: u64 = 100;

/// The time after one warning in which no other is logged.
const ACCEPT_WARNING_INTERVAL_MS: u64 = 60_000;

/// Connections that are turned away at each retry, so that waiting clients get an answer.
const TURNED_AWAY_PER_BACKOFF_MAX: usize = 64;

/// Connections that are turned away when a listener closes without descriptors to accept them: the usual
/// `net.core.somaxconn`.
const ACCEPT_QUEUE_MAX: usize = 4096;

impl<H: Handler, R: Reactor> Core<H, R> {
    pub(super) fn accept_if_due(&mut self) {
        for Accepting { listener, again_ms } in &mut self.listeners {
            if again_ms.is_none_or(|at_ms| at_ms > self.now_ms) {
                continue;
            }
            *again_ms = None;
            match listener.owner {
                Owner::Core => self.reactor.accept(listener.socket),
                Owner::Server | Owner::Supervisor => self.reactor.accept_one(listener.socket),
            }
        }
    }

    /// Returns when to start accepting again, if accepting has ended.
    pub(super) fn accept_again_ms(&self) -> Option<u64> {
        self.listeners.iter().filter_map(|accepting| accepting.again_ms).min()
    }

    pub(super) fn accepted(&mut self, listener: Socket, result: io::Result<Socket>, more: bool) {
        let Some(at) = self.listeners.iter().position(|accepting| accepting.listener.socket == listener) else {
            return;
        };
        let of = self.listeners[at].listener;
        let again_ms = match result {
            Ok(socket) => {
                self.admit(socket, of);
                self.now_ms
            }
            Err(_) if self.has_stopped_accepting() => self.now_ms,
            // The error concerns this connection alone: the client left before it was accepted, for example.
            Err(error) if concerns_one_connection(&error) => {
                self.parts.counters().accept_errors.add(1);
                self.now_ms
            }
            Err(error) => {
                self.parts.counters().accept_errors.add(1);
                tracing::debug!(core = self.parts.core(), %error, "Accepting failed; retry in {ACCEPT_BACKOFF_MS} ms.");
                if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)) {
                    self.turn_away_waiting(of);
                } else {
                    self.warn_of_accepting(&error);
                }
                self.now_ms + ACCEPT_BACKOFF_MS
            }
        };
        if more {
            return;
        }
        if self.has_stopped_accepting() {
            let accepting = self.listeners.swap_remove(at);
            self.close_listener(accepting.listener);
        } else {
            self.listeners[at].again_ms = Some(again_ms);
        }
    }

    /// Logs, once in a while, that no client can connect, since nothing else tells the operator why.
    fn warn_of_accepting(&mut self, error: &io::Error) {
        if self.accepting_warned_ms.is_none_or(|warned_ms| self.now_ms >= warned_ms + ACCEPT_WARNING_INTERVAL_MS) {
            self.accepting_warned_ms = Some(self.now_ms);
            tracing::warn!(
                "Core {} cannot accept connections: {error}. It tries again every {ACCEPT_BACKOFF_MS} ms.",
                self.parts.core()
            );
        }
    }

    /// Admits a connection of a listener, or turns it away because the server is full or its address has too many.
    fn admit(&mut self, socket: Socket, listener: Listener) {
        self.parts.counters().accepted.add(1);
        let before = self.connections.fetch_add(1, Ordering::Relaxed);
        if before >= self.parts.limits().connections_max {
            return self.turn_away(socket, listener, &Refusal::OverCapacity);
        }
        let Self { parts, reactor, .. } = self;
        let peer = || match listener.is_unix {
            true => Ok(Peer::Unix),
            false => reactor.peer_address(socket).map(|peer| Peer::Address(peer.ip())),
        };
        let client = match parts.clients.admit_connection(peer, listener.proxy_protocol) {
            Ok(client) => client,
            Err(NotAdmitted::Refused(refusal)) => return self.turn_away(socket, listener, &refusal),
            Err(NotAdmitted::Gone) => {
                self.reactor.close(socket);
                return self.note_closed(End::LeftBeforeUpgrade);
            }
        };
        let deadline = self.parts.tick().saturating_add(ticks(self.parts.limits().handshake_timeout_ms));
        let slot = Slot::new(socket, self.parts.tick(), deadline);
        let look = if self.has_stopped_accepting() { deadline.min(self.parts.silent_until(&slot)) } else { deadline };
        match self.sessions.insert(slot) {
            Ok(token) => {
                let awaits_header = client.is_some_and(|client| client.awaits_proxy_header());
                self.parts.clients.insert(token.index, client);
                self.parts.schedule(token, look);
                if listener.tls {
                    match awaits_header {
                        true => self.parts.tls.await_header(token.index),
                        false => self.begin_tls(token, &[]),
                    }
                }
                if let Some(slot) = self.sessions.get_mut(token) {
                    slot.transport_mut().watch(&mut self.reactor, token);
                }
            }
            Err(_) => {
                self.parts.clients.discard(client);
                self.turn_away(socket, listener, &Refusal::OverCapacity);
            }
        }
    }

    fn turn_away(&mut self, socket: Socket, listener: Listener, refusal: &Refusal) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
        self.note_turned_away(refusal, Some(socket));
        self.parts.counters().closed.add(&End::TurnedAway);
        let answer = if listener.tls { TURNED_AWAY_ALERT.to_vec() } else { self.answer_bytes(refusal) };
        transport::turn_away(&mut self.reactor, socket, &answer, &mut self.scratch);
    }

    /// Uses the spare descriptor to answer waiting clients, since there is no other.
    fn turn_away_waiting(&mut self, listener: Listener) {
        self.turn_away_first(listener, &Refusal::OutOfDescriptors, TURNED_AWAY_PER_BACKOFF_MAX);
    }

    fn turn_away_first(&mut self, listener: Listener, refusal: &Refusal, max: usize) {
        let answer = if listener.tls { TURNED_AWAY_ALERT.to_vec() } else { self.answer_bytes(refusal) };
        for _ in 0..max {
            let turned_away =
                transport::turn_away_waiting(&mut self.reactor, listener.socket, &answer, &mut self.scratch);
            if turned_away.is_err() {
                break;
            }
            self.note_turned_away(refusal, None);
        }
    }

    /// Returns the answer to a client that gets no session.
    fn answer_bytes(&mut self, refusal: &Refusal) -> Vec<u8> {
        let mut answer = Vec::new();
        write_response(&mut answer, &refusal.response(), self.dates.at(self.now_ms), false, false);
        answer
    }

    /// Counts and logs a client that gets no session, by its socket if it has one.
    fn note_turned_away(&self, refusal: &Refusal, socket: Option<Socket>) {
        self.parts.counters().turned_away.add(1);
        self.parts.counters().http_refusals.add(refusal);
        let address = |socket| self.reactor.peer_address(socket).ok().map(|peer| peer.ip().to_canonical());
        self.parts.log_turned_away(refusal, || socket.and_then(address));
    }

    /// Closes the listeners: now, or as soon as the reactor has stopped accepting from them.
    pub(super) fn close_listeners(&mut self) {
        for accepting in std::mem::take(&mut self.listeners) {
            // Otherwise a connection between the last accept and the close would be reset, although another process may
            // listen on the same port.
            if accepting.listener.owner == Owner::Core {
                self.reactor.pass_over(accepting.listener.socket);
            }
            if accepting.again_ms.is_some() {
                self.close_listener(accepting.listener);
            } else {
                self.reactor.stop_accepting(accepting.listener.socket);
                self.listeners.push(accepting);
            }
        }
    }

    fn close_listener(&mut self, listener: Listener) {
        let socket = listener.socket;
        match listener.owner {
            Owner::Core => self.empty_accept_queue(listener),
            Owner::Server => {
                // Later connections are refused, so none arrives between the last accept and the close.
                self.reactor.shutdown(socket, Shutdown::Read);
                self.empty_accept_queue(listener);
            }
            // The next server, which has the socket too, serves the waiting clients.
            Owner::Supervisor => {}
        }
        self.reactor.close(socket);
    }

    /// Accepts the connections that still wait, so that closing the listener resets none.
    fn empty_accept_queue(&mut self, listener: Listener) {
        loop {
            match self.reactor.accept_now(listener.socket) {
                Ok(socket) => self.admit(socket, listener),
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(_) => break,
            }
        }
        // The rest are those without a descriptor.
        self.turn_away_first(listener, &Refusal::ShuttingDown, ACCEPT_QUEUE_MAX);
    }

    /// Frees the place of a closed connection: its descriptor can serve another one.
    pub(super) fn note_closed(&mut self, end: End) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
        self.parts.counters().closed.add(&end);
        for at_ms in self.listeners.iter_mut().filter_map(|accepting| accepting.again_ms.as_mut()) {
            *at_ms = self.now_ms;
        }
    }
}
