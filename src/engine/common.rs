//! What the sessions of one core share, and how bytes get from a session to its socket.
//!
//! Invariant: between two sessions the reply buffer is empty. What a session says during its own callbacks is gathered
//! there and leaves in one `send(2)` when the callbacks are over; only what the socket does not take then goes into an
//! outbox, which is sent through the reactor at the end of the turn.

use std::io::{ErrorKind, IoSlice};
use std::sync::Arc;

use super::clients::Clients;
use super::counters::Counters;
use super::limits::Limits;
use super::outbox::Outbox;
use super::session::{NEVER, Slot, ticks};
use super::tasks::Tasks;
use super::wheel::Wheel;
use crate::protocol::{AssemblyPool, CONTROL_PAYLOAD_MAX, FrameHeader, Message, Opcode, write_frame};
use crate::reactor::{Sockets, Token};

/// A payload from this size on goes to the socket straight from where it lies. Below, copying it into the reply buffer
/// costs less than a system call for each message of a batch.
const DIRECT_BYTES_MIN: usize = 8 * 1024;

/// The reply buffer is sent when it holds this much, even if more is to come: it stays within the second-level cache.
const REPLY_BYTES_MAX: usize = 64 * 1024;

/// See the module.
pub(super) struct Common {
    pub(super) core: u16,
    pub(super) limits: Limits,
    pub(super) counters: Arc<Counters>,
    pub(super) clients: Clients,
    pub(super) wheel: Wheel,
    pub(super) pool: AssemblyPool,
    pub(super) tasks: Tasks,
    /// The time of this turn.
    pub(super) tick: u32,
    /// What the session at hand has said and not sent.
    pub(super) reply: Vec<u8>,
    /// Sessions with something in their outbox that is not in flight.
    pub(super) dirty: Vec<Token>,
    /// Sessions that were cut off while reading and go on next turn.
    pub(super) resumed: Vec<Token>,
}

impl Common {
    pub(super) fn new(core: u16, limits: Limits, counters: Arc<Counters>, clients: Clients, tasks: Tasks) -> Self {
        let mut reply = vec![0; REPLY_BYTES_MAX];
        // Written once, so that its memory is there from the start.
        reply.clear();
        Self {
            core,
            limits,
            counters,
            clients,
            wheel: Wheel::default(),
            pool: AssemblyPool::default(),
            tasks,
            tick: 0,
            reply,
            dirty: Vec::new(),
            resumed: Vec::new(),
        }
    }

    /// Writes a message frame for the session at hand.
    #[inline]
    pub(super) fn write_message<S>(
        &mut self,
        slot: &mut Slot<S>,
        token: Token,
        sockets: &mut dyn Sockets,
        message: Message<'_>,
    ) {
        let payload = message.as_bytes();
        if payload.len() >= DIRECT_BYTES_MIN && slot.outbox.is_none() {
            return self.send_directly(slot, token, sockets, message);
        }
        write_frame(&mut self.reply, message.kind().opcode(), payload, None);
        if self.reply.len() >= REPLY_BYTES_MAX {
            self.flush(slot, token, sockets);
        }
    }

    /// Sends what was said before together with a large message, from where it lies.
    fn send_directly<S>(&mut self, slot: &mut Slot<S>, token: Token, sockets: &mut dyn Sockets, message: Message<'_>) {
        let payload = message.as_bytes();
        let opcode = message.kind().opcode();
        FrameHeader { fin: true, opcode, mask: None, payload_bytes: payload.len() as u64 }.write(&mut self.reply);
        let parts = [IoSlice::new(&self.reply), IoSlice::new(payload)];
        let sent = match sockets.send_now(slot.socket, &parts) {
            Ok(sent) => sent,
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            Err(_) => {
                slot.broken = true;
                self.reply.clear();
                return;
            }
        };
        let head = self.reply.len();
        if sent < head + payload.len() {
            let mut outbox = Box::<Outbox>::default();
            outbox.push(&self.reply[sent.min(head)..]);
            outbox.push(&payload[sent.saturating_sub(head)..]);
            self.hold(slot, token, outbox);
        }
        self.reply.clear();
    }

    /// Writes a ping.
    pub(super) fn write_ping(&mut self, payload: &[u8]) {
        let payload = &payload[..payload.len().min(CONTROL_PAYLOAD_MAX)];
        write_frame(&mut self.reply, Opcode::Ping, payload, None);
        self.counters.pings_sent.add(1);
    }

    /// Answers a ping. While the peer does not read, pongs are bounded by the outbox.
    pub(super) fn write_pong<S>(
        &mut self,
        slot: &mut Slot<S>,
        token: Token,
        sockets: &mut dyn Sockets,
        payload: &[u8],
    ) {
        if slot.outbox.is_none() {
            write_frame(&mut self.reply, Opcode::Pong, payload, None);
            if self.reply.len() >= REPLY_BYTES_MAX {
                self.flush(slot, token, sockets);
            }
            return;
        }
        self.flush(slot, token, sockets);
        if slot.outbox.as_mut().is_some_and(|outbox| outbox.pong(payload)) {
            self.counters.pongs_coalesced.add(1);
        }
        self.mark_dirty(slot, token);
    }

    /// Sends what the session at hand has said. Costs one system call if that was anything.
    #[inline]
    pub(super) fn flush<S>(&mut self, slot: &mut Slot<S>, token: Token, sockets: &mut dyn Sockets) {
        if self.reply.is_empty() {
            return;
        }
        if let Some(outbox) = &mut slot.outbox {
            outbox.push(&self.reply);
            self.reply.clear();
            return self.mark_dirty(slot, token);
        }
        let sent = match sockets.send_now(slot.socket, &[IoSlice::new(&self.reply)]) {
            Ok(sent) => sent,
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            Err(_) => {
                slot.broken = true;
                self.reply.len()
            }
        };
        if sent < self.reply.len() {
            let mut outbox = Box::<Outbox>::default();
            outbox.push(&self.reply[sent..]);
            self.hold(slot, token, outbox);
        }
        self.reply.clear();
    }

    /// Whether more waits for the session at hand than may. What was only gathered so far is given to the socket before
    /// that is said: the end of backpressure is noticed when something leaves the outbox, so it has to be there.
    #[inline]
    pub(super) fn is_full<S>(&mut self, slot: &mut Slot<S>, token: Token, sockets: &mut dyn Sockets) -> bool {
        let bytes_max = self.limits.outbox_bytes_max;
        if slot.outbox_bytes() + self.reply.len() > bytes_max {
            self.flush(slot, token, sockets);
        }
        slot.outbox_bytes() > bytes_max
    }

    /// Marks a session as having something to send at the end of the turn.
    pub(super) fn mark_dirty<S>(&mut self, slot: &mut Slot<S>, token: Token) {
        if !slot.dirty && !slot.sending {
            slot.dirty = true;
            self.dirty.push(token);
        }
    }

    /// Has a session read on in the next turn.
    pub(super) fn resume_next_turn<S>(&mut self, slot: &mut Slot<S>, token: Token) {
        if !slot.resuming {
            slot.resuming = true;
            self.resumed.push(token);
        }
    }

    /// Gives the session's phase, or its closing handshake, this long.
    pub(super) fn set_deadline<S>(&mut self, slot: &mut Slot<S>, token: Token, milliseconds: u64) {
        slot.deadline = self.tick.saturating_add(ticks(milliseconds)).min(NEVER - 1);
        self.wheel.schedule(token.index, slot.deadline);
    }

    fn hold<S>(&mut self, slot: &mut Slot<S>, token: Token, mut outbox: Box<Outbox>) {
        outbox.progress = self.tick;
        slot.outbox = Some(outbox);
        self.wheel.schedule(token.index, self.tick.saturating_add(ticks(self.limits.send_timeout_ms)));
        self.mark_dirty(slot, token);
    }
}
