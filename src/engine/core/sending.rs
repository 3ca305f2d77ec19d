//! Sending: passes outboxes to the reactor at the end of a turn, and makes room for more once bytes were sent.

use std::io;

use super::Core;
use crate::engine::handler::Handler;
use crate::engine::session::outbox::Taken;
use crate::engine::session::{List, Phase};
use crate::reactor::{Reactor, Token};
use crate::transport::SEALED_AT_ONCE_BYTES_MAX;

impl<H: Handler, R: Reactor> Core<H, R> {
    pub(super) fn sent(&mut self, token: Token, result: io::Result<usize>, more: bool) {
        let Some(slot) = self.sessions.get_mut(token) else { return };
        if let Ok(count) = slot.transport_mut().note_sent(result, more)
            && let Some(outbox) = slot.outbox_mut()
        {
            outbox.note_sent(count, self.parts.tick());
        }
        if slot.phase() == Phase::Ended {
            return self.release(token);
        }
        if !more && !slot.transport().is_broken() {
            if slot.drop_sent_outbox() {
                // The common case: the message was sent, and nothing else is to do.
                if slot.is_done_once_sent() {
                    return;
                }
            } else {
                self.parts.mark_dirty(slot, token);
            }
        }
        self.continue_after_send(token);
        self.check_end(token);
        self.read_on_if_interrupted(token, 0);
    }

    /// Passes what one send over TLS may carry to the reactor.
    #[inline(never)]
    fn send_secure(&mut self, token: Token) {
        let Some(slot) = self.sessions.get_mut(token) else { return };
        let taken = slot.outbox_mut().and_then(|outbox| outbox.take_to_seal(SEALED_AT_ONCE_BYTES_MAX));
        let chunks = match taken {
            None => return,
            Some(Taken::Sealed(chunks)) => chunks,
            Some(Taken::Plain(chunks)) => match slot.transport_mut().seal(&mut self.parts.tls, token, &chunks) {
                Ok(sealed) => {
                    let more = sealed.len() - chunks.len();
                    slot.outbox_mut().into_iter().for_each(|outbox| outbox.note_sealed(more));
                    sealed
                }
                Err(_) => return self.check_end(token),
            },
        };
        slot.note_sent();
        slot.transport_mut().send(&mut self.reactor, token, chunks);
    }

    pub(super) fn send_all(&mut self) {
        let mut dirty = self.parts.lists.take_dirty();
        for token in dirty.drain(..) {
            let Some(slot) = self.sessions.get_mut(token) else { continue };
            slot.delist(List::Dirty);
            if slot.transport().is_sending() || slot.transport().is_broken() || slot.phase() == Phase::Ended {
                continue;
            }
            if !slot.transport().is_plain() {
                self.send_secure(token);
            } else if let Some(chunks) = slot.outbox_mut().and_then(|outbox| outbox.take()) {
                slot.note_sent();
                slot.transport_mut().send(&mut self.reactor, token, chunks);
            }
        }
        self.parts.lists.give_back_dirty(dirty);
    }
}
