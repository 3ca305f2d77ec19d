//! Receiving: a core's side of the mesh, which handles the entries of other cores and threads in bounded portions.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::Core;
use crate::engine::handler::{Handler, Hub};
use crate::engine::mail::{EntryKind, HandlerMail, MeshEntry};
use crate::engine::reasons::DropReason;
use crate::engine::topics::Notice;
use crate::mesh::Mesh;
use crate::protocol::Prepared;
use crate::reactor::{Reactor, Token};

/// Entries handled in a turn from other cores, and as many from other threads. The rest waits behind the sessions.
const ENTRIES_PER_TURN_MAX: usize = 1024;

impl<H: Handler, R: Reactor> Core<H, R> {
    /// Handles the entries that others sent. While the core is congested they stay in their rings, which slows the
    /// senders.
    pub(super) fn handle_entries(&mut self) {
        self.handle_entries_from(|mesh| mesh.pop().map(|(core, entry)| (Some(core), entry)));
        if self.handle_entries_from(|mesh| mesh.pop_inbox().map(|entry| (None, entry))) {
            // An inbox that has refused entries has others.
            self.parts.counters().inbox_full.write(self.parts.mesh.refused());
        }
        // Mail that these calls send to this core waits for the next turn.
        for _ in 0..self.parts.own_mail() {
            let Some(mail) = self.parts.take_own_mail() else { break };
            self.hand_over(mail);
        }
    }

    /// Returns whether there were any.
    fn handle_entries_from(&mut self, pop: impl Fn(&mut Mesh<MeshEntry>) -> Option<(Option<u16>, MeshEntry)>) -> bool {
        for handled in 0..ENTRIES_PER_TURN_MAX {
            if self.parts.is_congested() {
                return handled > 0;
            }
            let Some((core, MeshEntry(kind))) = pop(&mut self.parts.mesh) else { return handled > 0 };
            self.handle_entry(core, kind);
        }
        true
    }

    fn handle_entry(&mut self, core: Option<u16>, kind: EntryKind) {
        match (kind, core) {
            (EntryKind::Notice(Notice::Interest { key, name }), Some(core)) => {
                self.parts.topics.add_remote(core, key, &name);
                // The sending core waits until this entry was popped.
                self.parts.mesh.wake_later(core);
            }
            (EntryKind::Notice(Notice::Disinterest { name }), Some(core)) => {
                self.parts.topics.remove_remote(core, &name)
            }
            (EntryKind::Batch { key, batch }, _) => self.parts.topics.receive(key, batch),
            (EntryKind::Publish { name, batch }, _) => {
                self.parts.publish_batch(&name, &batch);
            }
            (EntryKind::Send { token, prepared }, _) => self.send_prepared(token, &prepared),
            (EntryKind::Mail(mail), _) => self.hand_over(mail),
            (EntryKind::Count { name, tally }, _) => tally.add(self.parts.topics.count(&name)),
            // Only cores announce interests.
            (EntryKind::Notice(_), None) => {}
        }
    }

    /// Passes mail to the handler.
    fn hand_over(&mut self, mail: HandlerMail) {
        // All handlers of a server have one type of mail, so no other value is ever sent.
        let Ok(mail) = mail.downcast::<H::Mail>() else { return };
        self.parts.counters().mail_delivered.add(1);
        let Self { handler, reactor, sessions, parts, .. } = self;
        let mut hub = Hub { sessions, parts, sockets: reactor };
        if catch_unwind(AssertUnwindSafe(|| handler.mail(*mail, &mut hub))).is_err() {
            self.parts.counters().handler_panics.add(1);
        }
    }

    /// Takes the next step for sessions that calls without a session have used.
    pub(super) fn check_called(&mut self) {
        while let Some(token) = self.parts.take_called() {
            self.flush_and_check_end(token);
        }
    }

    fn send_prepared(&mut self, token: Token, prepared: &Prepared) {
        if self.sessions.get_mut(token).is_none() {
            return self.parts.counters().messages_dropped.add(&DropReason::SessionGone);
        }
        self.call(token, |_, session| {
            session.send_prepared(prepared);
        });
        self.flush_and_check_end(token);
    }
}
