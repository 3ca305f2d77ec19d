//! What reaches a core from other cores and from outside, and what it does with it.

use super::core::Core;
use super::handler::Handler;
use super::reasons::DropReason;
use super::server_handle::Tally;
use super::topics::TopicKey;
use crate::mesh::Mesh;
use crate::protocol::{Batch, Prepared};
use crate::reactor::{Reactor, Token};

/// Parcels taken in a turn from cores, and as many from outside: more wait for the next turn, behind sessions.
const PARCELS_PER_TURN_MAX: usize = 1024;

/// One entry of the mesh: small, and what is large is referred to.
#[derive(Debug)]
pub struct Parcel(pub(super) Content);

/// Bytes of an entry, of which each ring holds many.
const PARCEL_BYTES_MAX: usize = 40;
const _: () = assert!(size_of::<Parcel>() <= PARCEL_BYTES_MAX);

#[derive(Debug)]
pub(super) enum Content {
    /// The sending core has subscribers for this topic from now on, and knows it by this key.
    Interest { key: TopicKey, name: Box<str> },
    /// It has none any more.
    Disinterest { name: Box<str> },
    /// Messages for the subscribers of a topic of the receiving core.
    Batch { key: TopicKey, batch: Batch },
    /// Messages to publish.
    Publish { name: Box<str>, batch: Batch },
    /// A message for one session.
    Send { token: Token, prepared: Prepared },
    /// How many subscribers does a topic have here?
    Count { name: Box<str>, tally: Tally },
}

impl<H: Handler, R: Reactor> Core<H, R> {
    /// Takes in what others sent. While more waits to be delivered than should, it waits where it is: its senders notice.
    pub(super) fn take_in(&mut self) {
        self.take_in_from(|mesh| mesh.pop().map(|(core, parcel)| (Some(core), parcel)));
        self.take_in_from(|mesh| mesh.pop_door().map(|parcel| (None, parcel)));
    }

    fn take_in_from(&mut self, pop: impl Fn(&mut Mesh<Parcel>) -> Option<(Option<u16>, Parcel)>) {
        for _ in 0..PARCELS_PER_TURN_MAX {
            if self.common.is_congested() {
                break;
            }
            let Some((core, Parcel(content))) = pop(&mut self.common.mesh) else { break };
            self.unpack(core, content);
        }
    }

    fn unpack(&mut self, core: Option<u16>, content: Content) {
        match (content, core) {
            (Content::Interest { key, name }, Some(core)) => {
                self.common.topics.heard_of_interest(core, key, &name);
                // It waits to hear that this was popped.
                self.common.mesh.wake_later(core);
            }
            (Content::Disinterest { name }, Some(core)) => self.common.topics.heard_of_disinterest(core, &name),
            (Content::Batch { key, batch }, _) => self.common.topics.arrived(key, batch),
            (Content::Publish { name, batch }, _) => {
                self.common.publish_batch(&name, &batch);
            }
            (Content::Send { token, prepared }, _) => self.send_prepared(token, &prepared),
            (Content::Count { name, tally }, _) => tally.add(self.common.topics.count(&name)),
            // Only cores have interests.
            (Content::Interest { .. } | Content::Disinterest { .. }, None) => {}
        }
    }

    fn send_prepared(&mut self, token: Token, prepared: &Prepared) {
        if self.sessions.get_mut(token).is_none() {
            return self.common.counters.messages_dropped.add(&DropReason::SessionGone);
        }
        self.call(token, |_, session| {
            session.send_prepared(prepared);
        });
        self.flush_and_settle(token);
    }
}
