//! Reading: from the reactor's report to input that is consumed, or kept for later.
//!
//! Decides whether a socket may be read, and how much of it. Invariant: a session is read as long as it may be and
//! input is left, in portions that leave other sessions their turn.

use super::{Core, SCRATCH_BYTES};
use crate::engine::handler::Handler;
use crate::engine::session::{Awaits, List, Phase};
use crate::protocol::http::Refusal;
use crate::reactor::{Reactor, Token};
use crate::transport::{Opening, Received};

/// Bytes that a session is read in a turn; the rest waits for the next turn, behind other sessions. In frames of a few
/// bytes, these take a core some milliseconds.
const READ_BYTES_PER_TURN_MAX: usize = SCRATCH_BYTES;

/// Bytes of incomplete messages and requests that are read in a turn before each further session is read little: some
/// five milliseconds. The kernel reports some twenty sessions at a time, so others may have to wait for several such
/// turns.
const ASSEMBLED_BYTES_PER_TURN_MAX: usize = 2 * 1024 * 1024;

/// Bytes that each further session is read in such a turn: enough for most messages.
const READ_BYTES_WHEN_CROWDED: usize = 4 * 1024;

impl<H: Handler, R: Reactor> Core<H, R> {
    pub(super) fn readable(&mut self, token: Token, ended: bool) {
        if let Some(slot) = self.sessions.get_mut(token) {
            slot.transport_mut().note_arrival(ended);
            if ended && slot.phase() == Phase::Answering {
                self.client_left(token);
            }
            self.read(token);
        }
    }

    pub(super) fn resume_interrupted(&mut self) {
        // Sessions that are interrupted again are queued for the next turn.
        for token in self.parts.lists.take_resumed() {
            if let Some(slot) = self.sessions.get_mut(token) {
                slot.delist(List::Resumed);
                self.read(token);
            }
        }
    }

    /// Reads and consumes a session's input: first the kept input, then that of the socket.
    pub(super) fn read(&mut self, token: Token) {
        let mut scratch = std::mem::take(&mut self.scratch);
        let crowded = self.assembled_bytes >= ASSEMBLED_BYTES_PER_TURN_MAX;
        let bytes_max = if crowded { READ_BYTES_WHEN_CROWDED } else { READ_BYTES_PER_TURN_MAX };
        let mut bytes = 0;
        while bytes < bytes_max {
            let Some(slot) = self.sessions.get_mut(token) else { break };
            if !slot.may_read(|| self.parts.outbox_bytes_max(slot)) {
                slot.transport_mut().leave_unread();
                break;
            }
            if let Some(unconsumed) = slot.take_consumable() {
                if slot.phase() == Phase::Open && self.parts.postpones(slot, unconsumed.bytes.len() - unconsumed.start)
                {
                    slot.keep(unconsumed);
                    // The reported input is not read now.
                    slot.transport_mut().leave_unread();
                    break;
                }
                bytes += self.consume_kept(token, unconsumed);
                continue;
            }
            let room = self.parts.read_size(slot, scratch.len().min(bytes_max));
            if slot.transport().is_secure() {
                match self.read_secure(token, &mut scratch, room) {
                    Some(count) => bytes += count,
                    None => break,
                }
                continue;
            }
            match slot.transport_mut().receive(&mut self.reactor, &mut scratch[..room]) {
                Received::Bytes { count, is_all } => {
                    bytes += count;
                    slot.note_heard(self.parts.tick());
                    if slot.phase() == Phase::Open && self.parts.postpones(slot, count) {
                        self.set_aside(token, Phase::Open, &scratch[..count], Awaits::Nothing);
                        break;
                    }
                    self.consume(token, &mut scratch[..count]);
                    if is_all {
                        break;
                    }
                }
                Received::Nothing => break,
                Received::End => {
                    self.end_of_stream(token);
                    break;
                }
                Received::Failed(_) => {
                    self.check_end(token);
                    break;
                }
            }
        }
        self.scratch = scratch;
        self.read_on_if_interrupted(token, bytes);
    }

    #[inline(always)]
    pub(super) fn read_on_if_interrupted(&mut self, token: Token, bytes: usize) {
        let Some(slot) = self.sessions.get_mut(token) else { return };
        self.assembled_bytes += bytes.min(slot.incomplete_bytes());
        let unread = slot.has_unread();
        if unread && slot.may_read(|| self.parts.outbox_bytes_max(slot)) {
            // A client that waits for its handshake is read when it has had its turn.
            if !slot.transport().is_secure() || !self.parts.tls.is_step_due(token.index) {
                self.parts.resume_next_turn(slot, token);
            }
        }
    }

    /// Reads and consumes once over TLS. Returns how many bytes came if more may be read, or `None`. Apart from
    /// [`Core::read`], so that it costs plain sessions nothing.
    #[cold]
    #[inline(never)]
    fn read_secure(&mut self, token: Token, scratch: &mut [u8], room: usize) -> Option<usize> {
        let slot = self.sessions.get_mut(token)?;
        let received =
            slot.transport_mut().receive_secure(&mut self.reactor, &mut self.parts.tls, token, scratch, room);
        self.parts.send_answer(slot, token, &mut self.reactor);
        if slot.transport().is_broken() {
            self.check_end(token);
            return None;
        }
        match received {
            Opening::Plaintext { count: 0, sealed_bytes, is_all } => (!is_all).then_some(sealed_bytes),
            Opening::Plaintext { count, sealed_bytes, is_all } => {
                slot.note_heard(self.parts.tick());
                if slot.phase() == Phase::Open && self.parts.postpones(slot, count) {
                    self.set_aside(token, Phase::Open, &scratch[..count], Awaits::Nothing);
                    return None;
                }
                self.consume(token, &mut scratch[..count]);
                (!is_all).then_some(count.max(sealed_bytes))
            }
            Opening::Handshake { is_all } => {
                self.await_handshake(token);
                (!is_all).then_some(0)
            }
            Opening::Fault(fault) => {
                self.fail_tls(token, &fault);
                None
            }
            Opening::Received(Received::End) => {
                self.end_of_stream(token);
                None
            }
            // A failed socket has ended the session above.
            Opening::Received(_) => None,
        }
    }

    pub(super) fn consume(&mut self, token: Token, input: &mut [u8]) {
        let Some(slot) = self.sessions.get_mut(token) else { return };
        match slot.phase() {
            // Nothing is served after the last answer, even while that answer waits to be sent.
            Phase::Head if slot.lingers_when_sent() => self.discard_input(token, input.len()),
            Phase::Head => self.consume_head(token, input),
            Phase::Open => {
                let rest = self.consume_frames(token, input);
                self.set_aside(token, Phase::Open, &input[input.len() - rest..], Awaits::Nothing);
            }
            Phase::Upgrading => self.refuse(token, &Refusal::EarlyData),
            Phase::Lingering => self.discard_input(token, input.len()),
            // Requests behind a pending answer stay in the socket.
            Phase::Answering | Phase::Ended => {}
        }
    }
}
