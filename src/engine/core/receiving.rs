//! A core's part of the mesh: takes in what other cores and threads sent, in bounded portions.

use super::Core;
use crate::engine::handler::Handler;
use crate::engine::mail::{Content, Parcel};
use crate::engine::reasons::DropReason;
use crate::engine::topics::Notice;
use crate::mesh::Mesh;
use crate::protocol::Prepared;
use crate::reactor::{Reactor, Token};

/// Parcels taken in a turn from cores, and as many from outside: more wait for the next turn, behind sessions.
const PARCELS_PER_TURN_MAX: usize = 1024;

impl<H: Handler, R: Reactor> Core<H, R> {
    /// Takes in what others sent. While more waits to be delivered than should, it waits where it is: its senders notice.
    pub(super) fn take_in(&mut self) {
        self.take_in_from(|mesh| mesh.pop().map(|(core, parcel)| (Some(core), parcel)));
        self.take_in_from(|mesh| mesh.pop_inbox().map(|parcel| (None, parcel)));
    }

    fn take_in_from(&mut self, pop: impl Fn(&mut Mesh<Parcel>) -> Option<(Option<u16>, Parcel)>) {
        for _ in 0..PARCELS_PER_TURN_MAX {
            if self.parts.is_congested() {
                break;
            }
            let Some((core, Parcel(content))) = pop(&mut self.parts.mesh) else { break };
            self.unpack(core, content);
        }
    }

    fn unpack(&mut self, core: Option<u16>, content: Content) {
        match (content, core) {
            (Content::Notice(Notice::Interest { key, name }), Some(core)) => {
                self.parts.topics.heard_of_interest(core, key, &name);
                // It waits to hear that this was popped.
                self.parts.mesh.wake_later(core);
            }
            (Content::Notice(Notice::Disinterest { name }), Some(core)) => {
                self.parts.topics.heard_of_disinterest(core, &name)
            }
            (Content::Batch { key, batch }, _) => self.parts.topics.arrived(key, batch),
            (Content::Publish { name, batch }, _) => {
                self.parts.publish_batch(&name, &batch);
            }
            (Content::Send { token, prepared }, _) => self.send_prepared(token, &prepared),
            (Content::Count { name, tally }, _) => tally.add(self.parts.topics.count(&name)),
            // Only cores have interests.
            (Content::Notice(_), None) => {}
        }
    }

    fn send_prepared(&mut self, token: Token, prepared: &Prepared) {
        if self.sessions.get_mut(token).is_none() {
            return self.parts.counters.messages_dropped.add(&DropReason::SessionGone);
        }
        self.call(token, |_, session| {
            session.send_prepared(prepared);
        });
        self.flush_and_settle(token);
    }
}
