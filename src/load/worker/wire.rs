//! The bytes of a worker's connections: from the reactor's completions to frames, and from frames to the socket.
//!
//! Never decides what is sent. Invariant: a connection ends once, and its socket is closed when the transport allows
//! it.

use std::io::{self, IoSlice};

use bytes::Bytes;

use super::{READ_BYTES, Worker};
use crate::load::client::Phase;
use crate::protocol::{Incoming, State};
use crate::reactor::{Chunks, Completion, Reactor, Token};
use crate::transport::{Opening, Received};

/// Reads of one connection per turn, before other connections have theirs.
const READS_PER_TURN: usize = 16;

impl<R: Reactor> Worker<R> {
    /// Handles an event of the kernel; events of earlier sockets are ignored.
    pub(super) fn complete(&mut self, completion: Completion) {
        match completion {
            Completion::Readable { token, ended } => self.readable(token, ended),
            Completion::Sent { token, result, more } => self.sent(token, result, more),
            Completion::WatchEnded { token, result } => self.watch_ended(token, result),
            Completion::Accepted { .. } | Completion::Woken => {}
        }
    }

    fn readable(&mut self, token: Token, ended: bool) {
        let Some(at) = self.client_of(token) else { return };
        if let Some(transport) = &mut self.clients[at].transport {
            transport.note_arrival(ended);
            self.read(at);
        }
    }

    fn sent(&mut self, token: Token, result: io::Result<usize>, more: bool) {
        let Some(at) = self.client_of(token) else { return };
        let client = &mut self.clients[at];
        let Some(transport) = &mut client.transport else { return };
        if let Err(error) = transport.note_sent(result, more) {
            self.fail(at, &error);
        } else if !more && !client.waiting_sealed.is_empty() {
            let waiting = std::mem::take(&mut client.waiting_sealed);
            transport.send(&mut self.reactor, token, Chunks::One(waiting.into()));
        } else if !more && !client.waiting.is_empty() {
            let waiting = std::mem::take(&mut client.waiting);
            self.queue_send(at, waiting.into());
        }
        self.close_if_done(at);
    }

    fn watch_ended(&mut self, token: Token, result: io::Result<()>) {
        let Some(at) = self.client_of(token) else { return };
        let client = &mut self.clients[at];
        let Some(transport) = &mut client.transport else { return };
        transport.note_watch_ended();
        if let Err(error) = result {
            self.fail(at, &error);
        } else if client.phase != Phase::Ending {
            transport.watch(&mut self.reactor, token);
        }
        self.close_if_done(at);
    }

    /// Returns the client of a token, unless the token belongs to an earlier socket.
    fn client_of(&self, token: Token) -> Option<usize> {
        let at = token.index as usize;
        (self.clients.get(at)?.generation == token.generation).then_some(at)
    }

    /// Reads the input of a connection until its socket is empty, or others should have their turn.
    pub(super) fn read(&mut self, at: usize) {
        let mut scratch = std::mem::take(&mut self.scratch);
        let mut reads = 0;
        while self.clients[at].transport_in_use().is_some() {
            if reads == READS_PER_TURN {
                self.unfinished_reads.push(at);
                break;
            }
            reads += 1;
            let Some(received) = self.receive(at, &mut scratch) else { break };
            match received {
                Received::Bytes { count, is_all } => {
                    self.consume(at, &mut scratch[..count]);
                    if is_all {
                        break;
                    }
                }
                Received::Nothing => break,
                Received::End => self.end_of_stream(at),
                Received::Failed(error) => self.fail(at, &error),
            }
        }
        self.scratch = scratch;
    }

    /// Reads once. Returns `None` if the connection has ended meanwhile.
    fn receive(&mut self, at: usize, scratch: &mut [u8]) -> Option<Received> {
        let client = &mut self.clients[at];
        let token = client.token(at);
        let transport = client.transport_in_use()?;
        if !transport.is_secure() {
            return Some(transport.receive(&mut self.reactor, &mut scratch[..READ_BYTES]));
        }
        let opening = transport.receive_secure(&mut self.reactor, &mut self.tls, token, scratch, READ_BYTES);
        self.continue_handshake(at);
        match opening {
            Opening::Received(received) => Some(received),
            Opening::Plaintext { count, is_all, .. } => Some(Received::Bytes { count, is_all }),
            // A client's session shakes hands while it opens what the server sends.
            Opening::Handshake { .. } => Some(Received::Nothing),
            Opening::Fault(fault) => {
                self.fail(at, &io::Error::other(fault));
                None
            }
        }
    }

    fn consume(&mut self, at: usize, input: &mut [u8]) {
        match self.clients[at].phase {
            Phase::Opening => self.consume_answer(at, input),
            Phase::Open | Phase::Closing => self.consume_frames(at, input),
            Phase::Closed | Phase::Ending => {}
        }
    }

    pub(super) fn consume_frames(&mut self, at: usize, input: &mut [u8]) {
        let now_ns = self.shared.clock.now_ns();
        let Self { clients, traffic, pool, limits, .. } = self;
        let client = &mut clients[at];
        let mut incoming = Incoming::new(input, 0);
        let violation = loop {
            match incoming.next(&mut client.connection, pool, limits) {
                Ok(Some(event)) => traffic.receive(client, event, now_ns),
                Ok(None) => break None,
                Err(violation) => break Some(violation),
            }
        };
        if let Some(violation) = violation {
            traffic.counts.fault(format!("The server violated the protocol. {violation}"), 1);
            traffic.out.clear();
            return self.end(at);
        }
        self.transmit(at);
    }

    /// Sends the written frames with one system call; does nothing if there are none.
    pub(super) fn transmit(&mut self, at: usize) {
        let Self { clients, traffic, reactor, tls, .. } = self;
        let client = &mut clients[at];
        let token = client.token(at);
        let Some(transport) = client.transport.as_mut().filter(|_| !traffic.out.is_empty()) else {
            return traffic.out.clear();
        };
        if transport.is_sending() {
            client.waiting.append(&mut traffic.out);
            return;
        }
        match transport.write(reactor, tls, token, &[IoSlice::new(&traffic.out)]) {
            Ok(count) if tls.has_unsent() => {
                client.waiting.extend_from_slice(&traffic.out[count..]);
                let sealed = Bytes::copy_from_slice(tls.take_unsent());
                transport.send(reactor, token, Chunks::One(sealed));
            }
            Ok(count) if count == traffic.out.len() => {}
            Ok(count) => {
                let rest = Bytes::copy_from_slice(&traffic.out[count..]);
                self.queue_send(at, rest);
            }
            Err(error) => self.fail(at, &error),
        }
        self.traffic.out.clear();
    }

    /// Hands bytes over to the reactor, which sends them when the socket has room.
    pub(super) fn queue_send(&mut self, at: usize, bytes: Bytes) {
        let client = &mut self.clients[at];
        let token = client.token(at);
        let Some(transport) = client.transport_in_use() else { return };
        let chunks = Chunks::One(bytes);
        let chunks = if transport.is_secure() { transport.seal(&mut self.tls, token, &chunks) } else { Ok(chunks) };
        match chunks {
            Ok(chunks) => transport.send(&mut self.reactor, token, chunks),
            Err(error) => self.fail(at, &error),
        }
    }

    /// Sends what TLS must send, and the request once the TLS handshake is over.
    fn continue_handshake(&mut self, at: usize) {
        if !self.clients[at].transport_in_use().is_some_and(|transport| transport.is_secure()) {
            return;
        }
        self.send_answer(at);
        let client = &mut self.clients[at];
        let is_connected = self.tls.get_mut(at as u32).is_some_and(|session| session.is_connected());
        if is_connected && client.phase == Phase::Opening && !client.requested {
            client.requested = true;
            match client.transport_in_use().is_some_and(|transport| transport.is_sending()) {
                true => client.waiting.extend_from_slice(&self.shared.request),
                false => self.send_request(at),
            }
        }
    }

    /// Sends what TLS must send by itself.
    pub(super) fn send_answer(&mut self, at: usize) {
        let answer = self.tls.take_answer();
        let client = &mut self.clients[at];
        let token = client.token(at);
        let Some(transport) = client.transport.as_mut().filter(|_| !answer.is_empty()) else { return };
        if transport.is_sending() {
            client.waiting_sealed.extend_from_slice(&answer);
        } else {
            transport.send(&mut self.reactor, token, Chunks::One(answer.into()));
        }
    }

    fn end_of_stream(&mut self, at: usize) {
        match self.clients[at].phase {
            Phase::Opening => {
                self.traffic.counts.fault("The server ended a connection without answering its request.", 1)
            }
            Phase::Open if self.clients[at].connection.state() == State::Open => {
                self.traffic.counts.fault("The server ended a connection without a Close frame.", 1);
            }
            _ => {}
        }
        self.end(at);
    }

    fn fail(&mut self, at: usize, error: &io::Error) {
        match self.clients[at].phase {
            Phase::Opening => {
                let error = error.to_string();
                self.traffic
                    .counts
                    .fault(format!("A connection could not be opened: {}.", error.trim_end_matches('.')), 1)
            }
            Phase::Open => self.traffic.counts.fault(format!("A connection failed: {error}."), 1),
            Phase::Closed | Phase::Closing | Phase::Ending => {}
        }
        self.end(at);
    }

    /// Ends a connection at once, and drops its unsent and unread bytes.
    pub(super) fn end(&mut self, at: usize) {
        let client = &mut self.clients[at];
        let token = client.token(at);
        let Some(transport) = &mut client.transport else { return };
        match client.phase {
            Phase::Closed | Phase::Ending => return,
            Phase::Opening => self.opening -= 1,
            Phase::Open | Phase::Closing => self.open -= 1,
        }
        client.phase = Phase::Ending;
        (client.waiting, client.waiting_sealed) = (Vec::new(), Vec::new());
        transport.discard_on_close(&mut self.reactor);
        transport.cancel(&mut self.reactor, token);
        self.traffic.drop_in_flight(client);
        self.close_if_done(at);
    }

    fn close_if_done(&mut self, at: usize) {
        let client = &mut self.clients[at];
        let Some(transport) = client.transport.as_mut().filter(|_| client.phase == Phase::Ending) else { return };
        if transport.close(&mut self.reactor) {
            self.tls.remove(at as u32);
            client.transport = None;
            client.phase = Phase::Closed;
            self.reopen(at);
        }
    }
}
