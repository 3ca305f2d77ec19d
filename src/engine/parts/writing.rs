//! Writing: from a message to the socket, or to an outbox.
//!
//! Invariant: between two sessions the reply buffer is empty. The frames that a session is sent during its own
//! callbacks are gathered there and sent in one `send(2)` when the callbacks are over. Only bytes that the socket does
//! not take go into an outbox, which is sent through the reactor at the end of the turn.

use std::io::IoSlice;

use super::{Parts, REPLY_BYTES_MAX};
use crate::engine::session::Slot;
use crate::engine::session::outbox::Outbox;
use crate::protocol::deflate::Compress;
use crate::protocol::{CONTROL_PAYLOAD_MAX, FrameHeader, Message, Opcode, Prepared};
use crate::protocol::{write_compressed_frame, write_frame};
use crate::reactor::{Sockets, Token};

/// The size from which on a payload goes to the socket without a copy. Below it, copying into the reply buffer costs
/// less than a system call for each message of a batch.
const DIRECT_BYTES_MIN: usize = 8 * 1024;

/// Pongs are passed to the socket when the reply buffer holds this much: of a flood of pings no more than this waits
/// for a peer that does not read, however many of them one read brought.
const REPLY_BYTES_BEHIND_PONG_MAX: usize = 4 * 1024;

impl Parts {
    /// Writes a message frame for the session in hand.
    #[inline]
    pub(in crate::engine) fn write_message<S>(
        &mut self,
        slot: &mut Slot<S>,
        token: Token,
        sockets: &mut dyn Sockets,
        message: Message<'_>,
        compress: Compress,
    ) {
        self.log_sent(token, message.kind().opcode(), message.len());
        let compressors = self.compression.compressors_for(slot.connection(), &self.limits);
        if compressors.is_some_and(|with| with.should_compress(compress, message.len())) {
            return self.write_compressed(slot, token, sockets, message);
        }
        self.write_payload(slot, token, sockets, message.kind().opcode(), false, message.as_bytes());
    }

    fn write_compressed<S>(
        &mut self,
        slot: &mut Slot<S>,
        token: Token,
        sockets: &mut dyn Sockets,
        message: Message<'_>,
    ) {
        let Some(mut compressors) = self.compression.take() else { return };
        let opcode = message.kind().opcode();
        match slot.connection_mut().compress(message.as_bytes(), &mut compressors) {
            Some(compressed) => {
                self.counters.messages_compressed.add(1);
                self.write_payload(slot, token, sockets, opcode, true, compressed);
            }
            None => self.write_payload(slot, token, sockets, opcode, false, message.as_bytes()),
        }
        self.compression.put_back(compressors);
    }

    /// Writes a message that was prepared for many sessions.
    pub(in crate::engine) fn write_prepared<S>(
        &mut self,
        slot: &mut Slot<S>,
        token: Token,
        sockets: &mut dyn Sockets,
        prepared: &Prepared,
    ) {
        let compressors = self.compression.compressors_for(slot.connection(), &self.limits);
        let frame = slot.connection_mut().frame_of(prepared, compressors);
        self.log_sent_prepared(token, frame.len());
        if frame.len() >= DIRECT_BYTES_MIN && !slot.has_outbox() {
            return self.send_directly(slot, token, sockets, frame);
        }
        self.reply.extend_from_slice(frame);
        if self.reply.len() >= REPLY_BYTES_MAX {
            self.flush(slot, token, sockets);
        }
    }

    #[inline]
    fn write_payload<S>(
        &mut self,
        slot: &mut Slot<S>,
        token: Token,
        sockets: &mut dyn Sockets,
        opcode: Opcode,
        compressed: bool,
        payload: &[u8],
    ) {
        if payload.len() >= DIRECT_BYTES_MIN && !slot.has_outbox() {
            let payload_bytes = payload.len() as u64;
            FrameHeader { fin: true, opcode, compressed, mask: None, payload_bytes }.write(&mut self.reply);
            return self.send_directly(slot, token, sockets, payload);
        }
        if compressed {
            write_compressed_frame(&mut self.reply, opcode, payload, None);
        } else {
            write_frame(&mut self.reply, opcode, payload, None);
        }
        if self.reply.len() >= REPLY_BYTES_MAX {
            self.flush(slot, token, sockets);
        }
    }

    /// Sends the reply buffer together with a large payload, without copying it.
    fn send_directly<S>(&mut self, slot: &mut Slot<S>, token: Token, sockets: &mut dyn Sockets, payload: &[u8]) {
        slot.note_sent();
        let parts = [IoSlice::new(&self.reply), IoSlice::new(payload)];
        let written = slot.transport_mut().write(sockets, &mut self.tls, token, &parts);
        let Ok(sent) = written else { return self.reply.clear() };
        let head = self.reply.len();
        if sent < head + payload.len() || self.tls.has_unsent() {
            let mut outbox = Box::<Outbox>::default();
            outbox.push_sealed(self.tls.take_unsent());
            outbox.push(&self.reply[sent.min(head)..]);
            outbox.push(&payload[sent.saturating_sub(head)..]);
            self.put_in_outbox(slot, token, outbox);
        }
        self.reply.clear();
    }

    /// Writes a ping.
    pub(in crate::engine) fn write_ping(&mut self, token: Token, payload: &[u8]) {
        let payload = &payload[..payload.len().min(CONTROL_PAYLOAD_MAX)];
        let before = self.reply.len();
        self.log_sent(token, Opcode::Ping, payload.len());
        write_frame(&mut self.reply, Opcode::Ping, payload, None);
        self.acknowledged.discount(token.index, self.reply.len() - before);
        self.counters.pings_sent.add(1);
    }

    /// Answers a ping. While the peer does not read, the outbox bounds the pongs.
    pub(in crate::engine) fn write_pong<S>(
        &mut self,
        slot: &mut Slot<S>,
        token: Token,
        sockets: &mut dyn Sockets,
        payload: &[u8],
    ) {
        self.log_sent(token, Opcode::Pong, payload.len());
        if !slot.has_outbox() {
            write_frame(&mut self.reply, Opcode::Pong, payload, None);
            if self.reply.len() >= REPLY_BYTES_BEHIND_PONG_MAX {
                self.flush(slot, token, sockets);
            }
            return;
        }
        self.flush(slot, token, sockets);
        if slot.outbox_mut().is_some_and(|outbox| outbox.pong(payload)) {
            self.counters.pongs_coalesced.add(1);
        }
        self.mark_dirty(slot, token);
    }

    /// Sends the reply buffer of the session in hand. Costs one system call unless it is empty.
    #[inline]
    pub(in crate::engine) fn flush<S>(&mut self, slot: &mut Slot<S>, token: Token, sockets: &mut dyn Sockets) {
        if self.reply.is_empty() {
            return;
        }
        if let Some(outbox) = slot.outbox_mut() {
            outbox.push(&self.reply);
            self.reply.clear();
            return self.mark_dirty(slot, token);
        }
        slot.note_sent();
        let written = slot.transport_mut().write(sockets, &mut self.tls, token, &[IoSlice::new(&self.reply)]);
        if let Ok(sent) = written
            && (sent < self.reply.len() || self.tls.has_unsent())
        {
            let mut outbox = Box::<Outbox>::default();
            outbox.push_sealed(self.tls.take_unsent());
            outbox.push(&self.reply[sent..]);
            self.put_in_outbox(slot, token, outbox);
        }
        self.reply.clear();
    }

    /// Sends what a TLS session must send because of what it received: the answer of a handshake, or an alert.
    pub(in crate::engine) fn send_answer<S>(&mut self, slot: &mut Slot<S>, token: Token, sockets: &mut dyn Sockets) {
        let answer = self.tls.take_answer();
        if answer.is_empty() || slot.transport().is_broken() {
            return;
        }
        if let Some(outbox) = slot.outbox_mut() {
            outbox.push_sealed(&answer);
            return self.mark_dirty(slot, token);
        }
        slot.note_sent();
        if let Ok(sent) = slot.transport_mut().write_sealed(sockets, &answer)
            && sent < answer.len()
        {
            let mut outbox = Box::<Outbox>::default();
            outbox.push_sealed(&answer[sent..]);
            self.put_in_outbox(slot, token, outbox);
        }
    }

    /// Returns whether more waits for the session in hand than may. Before it says so, the reply buffer is sent: the
    /// end of backpressure is noticed when the outbox sends something, so the bytes must be there.
    #[inline]
    pub(in crate::engine) fn is_full<S>(
        &mut self,
        slot: &mut Slot<S>,
        token: Token,
        sockets: &mut dyn Sockets,
    ) -> bool {
        if slot.outbox_bytes() + self.reply.len() <= self.profiles.outbox_bytes_least() {
            return false;
        }
        self.is_full_by_its_own_limit(slot, token, sockets)
    }

    fn is_full_by_its_own_limit<S>(&mut self, slot: &mut Slot<S>, token: Token, sockets: &mut dyn Sockets) -> bool {
        let bytes_max = self.outbox_bytes_max(slot);
        if slot.outbox_bytes() + self.reply.len() > bytes_max {
            self.flush(slot, token, sockets);
        }
        slot.outbox_bytes() > bytes_max
    }
}
