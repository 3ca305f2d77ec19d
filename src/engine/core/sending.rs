//! Sending: what is in outboxes goes to the reactor at the end of a turn, and what has left makes room for more.

use std::io;

use super::Core;
use crate::engine::handler::Handler;
use crate::engine::session::Phase;
use crate::reactor::{Reactor, Token};

impl<H: Handler, R: Reactor> Core<H, R> {
    pub(super) fn sent(&mut self, token: Token, result: io::Result<usize>, more: bool) {
        let Some(slot) = self.sessions.get_mut(token) else { return };
        slot.sending = more;
        match result {
            Ok(count) => {
                if let Some(outbox) = &mut slot.outbox {
                    outbox.left(count, self.common.tick);
                }
            }
            Err(_) => slot.broken = true,
        }
        if slot.phase == Phase::Ended {
            return self.release(token);
        }
        if !more && !slot.broken {
            if slot.outbox.as_ref().is_none_or(|outbox| outbox.is_empty()) {
                slot.outbox = None;
                // As for nearly everyone whom a message was sent to.
                if slot.awaits_nothing() {
                    return;
                }
            } else {
                self.common.mark_dirty(slot, token);
            }
        }
        self.relieve(token);
        self.settle(token);
        self.read_on_if_cut_off(token, 0);
    }

    pub(super) fn send_all(&mut self) {
        let mut dirty = std::mem::take(&mut self.common.dirty);
        for token in dirty.drain(..) {
            let Some(slot) = self.sessions.get_mut(token) else { continue };
            slot.dirty = false;
            if slot.sending || slot.broken || slot.phase == Phase::Ended {
                continue;
            }
            if let Some(chunks) = slot.outbox.as_mut().and_then(|outbox| outbox.take()) {
                slot.sending = true;
                slot.told.note_sent();
                self.reactor.send(slot.socket, token, chunks);
            }
        }
        self.common.dirty = dirty;
    }
}
