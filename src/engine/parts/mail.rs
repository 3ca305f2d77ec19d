//! Mail between handlers: over the ring to another core, or to the handler of this core in a later turn.
//!
//! Invariant: the mail of one core to another keeps its order, and no more of it waits than a ring holds.

use super::Parts;
use crate::engine::mail::{EntryKind, HandlerMail, MeshEntry};
use crate::engine::values::Sent;

impl Parts {
    /// Sends mail to the handler of a core, or drops it if the way there is full.
    pub(in crate::engine) fn mail(&mut self, core: u16, mail: HandlerMail) -> Sent {
        let is_sent = if core != self.core {
            self.mesh.push(core, MeshEntry(EntryKind::Mail(mail))).is_ok()
        } else {
            let has_room = self.own_mail.len() < self.limits.mesh.ring_entries;
            if has_room {
                self.own_mail.push_back(mail);
            }
            has_room
        };
        if is_sent {
            return Sent::Queued;
        }
        self.counters.mail_dropped.add(1);
        Sent::Dropped
    }

    /// Returns how many pieces of mail from this core's handler to itself were not delivered yet.
    pub(in crate::engine) fn own_mail(&self) -> usize {
        self.own_mail.len()
    }

    /// Takes the oldest piece of mail from this core's handler to itself.
    pub(in crate::engine) fn take_own_mail(&mut self) -> Option<HandlerMail> {
        self.own_mail.pop_front()
    }
}
