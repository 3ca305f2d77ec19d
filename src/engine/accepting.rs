//! How connections come in, and how those are turned away for whom there is no room.
//!
//! Accepting goes on until the core drains: when the kernel ends it, it is asked for anew, after a while if it failed.

use std::io;
use std::net::Shutdown;
use std::sync::atomic::Ordering;

use super::core::Core;
use super::handler::Handler;
use super::reasons::End;
use super::session::{Slot, ticks};
use crate::protocol::http::{Refusal, Response};
use crate::reactor::{Reactor, Socket};

/// After accepting failed for want of descriptors: how long until the next try, unless a session ends before.
const ACCEPT_BACKOFF_MS: u64 = 100;

/// Connections turned away at each such try, so that waiting clients get an answer.
const TURNED_AWAY_PER_BACKOFF_MAX: usize = 64;

/// Connections turned away when a listener closes without descriptors to accept them: the usual `net.core.somaxconn`.
const BACKLOG_MAX: usize = 4096;

impl<H: Handler, R: Reactor> Core<H, R> {
    pub(super) fn accept_if_due(&mut self) {
        let due = self.accept_again_ms.is_some_and(|at| at <= self.now_ms);
        if let (true, false, Some(listener)) = (due, self.accepting, self.listener) {
            self.accept_again_ms = None;
            self.accepting = true;
            self.reactor.accept(listener);
        }
    }

    pub(super) fn accepted(&mut self, result: io::Result<Socket>, more: bool) {
        self.accepting = more;
        match result {
            Ok(socket) => {
                self.welcome(socket);
                if !more {
                    self.accept_again_ms = Some(self.now_ms);
                }
            }
            Err(_) if self.is_draining() => {}
            // The client went before it was accepted, which says nothing about those behind it.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {
                self.common.counters.accept_errors.add(1);
                self.accept_again_ms = Some(self.now_ms);
            }
            Err(error) => {
                self.common.counters.accept_errors.add(1);
                tracing::debug!(core = self.common.core, %error, "Accepting failed; trying again in {ACCEPT_BACKOFF_MS} ms.");
                self.turn_away_waiting();
                self.accept_again_ms = Some(self.now_ms + ACCEPT_BACKOFF_MS);
            }
        }
        if self.is_draining() {
            self.accept_again_ms = None;
            if !more {
                self.close_listener();
            }
        }
    }

    /// Takes in a connection, or turns it away when the server is full or its address has too many.
    fn welcome(&mut self, socket: Socket) {
        self.common.counters.accepted.add(1);
        let before = self.connections.fetch_add(1, Ordering::Relaxed);
        if before >= self.common.limits.connections_max {
            return self.turn_away(socket, &Refusal::OverCapacity);
        }
        let Self { common, reactor, .. } = self;
        let client = match common.clients.comes(|| reactor.peer_address(socket).ok().map(|peer| peer.ip())) {
            Ok(client) => client,
            Err(refusal) => return self.turn_away(socket, &refusal),
        };
        let deadline = self.common.tick.saturating_add(ticks(self.common.limits.handshake_timeout_ms));
        match self.sessions.insert(Slot::new(socket, self.common.tick, deadline)) {
            Ok(token) => {
                self.common.clients.seat(token.index, client);
                self.common.wheel.schedule(token.index, deadline);
                if let Some(slot) = self.sessions.get_mut(token) {
                    slot.watched = true;
                    self.reactor.watch(socket, token);
                }
            }
            Err(_) => {
                self.common.clients.send_away(client);
                self.turn_away(socket, &Refusal::OverCapacity);
            }
        }
    }

    fn turn_away(&mut self, socket: Socket, refusal: &Refusal) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
        self.count_turned_away(refusal);
        self.common.counters.closed.add(&End::TurnedAway);
        let answer = farewell(refusal);
        // Best effort: the connection is given up either way.
        let _ = self.reactor.send_now(socket, &[io::IoSlice::new(&answer)]);
        self.reactor.shutdown(socket, Shutdown::Write);
        // A request that is here already is taken out, because closing with something unread resets the connection.
        let _ = self.reactor.recv(socket, &mut self.scratch);
        self.reactor.close(socket);
    }

    /// Without descriptors, the spare one lets waiting clients know.
    fn turn_away_waiting(&mut self) {
        let Some(listener) = self.listener else { return };
        self.shed(listener, &Refusal::OutOfDescriptors, TURNED_AWAY_PER_BACKOFF_MAX);
    }

    fn shed(&mut self, listener: Socket, refusal: &Refusal, max: usize) {
        let answer = farewell(refusal);
        for _ in 0..max {
            if self.reactor.shed(listener, &answer).is_err() {
                break;
            }
            self.count_turned_away(refusal);
        }
    }

    fn count_turned_away(&self, refusal: &Refusal) {
        self.common.counters.turned_away.add(1);
        self.common.counters.http_refusals.add(refusal);
    }

    /// Takes in what still waits in the backlog, so that closing the listener resets nobody, and closes it.
    pub(super) fn close_listener(&mut self) {
        let Some(listener) = self.listener.take() else { return };
        loop {
            match self.reactor.accept_now(listener) {
                Ok(socket) => self.welcome(socket),
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(_) => break,
            }
        }
        // They may have taken slots that were told goodbye already.
        self.say_goodbyes_anew();
        // Those for whom there was no descriptor.
        self.shed(listener, &Refusal::ShuttingDown, BACKLOG_MAX);
        self.reactor.close(listener);
    }

    /// A connection has been closed: its descriptor can serve another one.
    pub(super) fn released(&mut self, end: End) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
        self.common.counters.closed.add(&end);
        if let Some(at) = &mut self.accept_again_ms {
            *at = self.now_ms;
        }
    }
}

/// The answer to a client that no session is made for.
fn farewell(refusal: &Refusal) -> Vec<u8> {
    let mut answer = Vec::new();
    Response::from(refusal).write(&mut answer, false, false);
    answer
}
