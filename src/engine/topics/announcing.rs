//! Announcements: how this core tells the others of its topics, and learns when they have received that.
//!
//! A core receives only messages of topics it has subscribers for, so it tells all others when a topic gains its first
//! subscriber here and when it loses its last. A subscription is confirmed once every core has received the
//! announcement: from then on it misses no message. Invariant: a topic is queued for announcement at most once, however
//! often it changes, and no announcement is lost: it waits while a ring is full.

use super::Topics;
use super::interest::Notice;
use super::topic::{Remote, TopicKey};
use crate::mesh::Mesh;
use crate::slab::NO_ENTRY;

impl Topics {
    /// Returns whether every core knows that the topic has subscribers here.
    pub(super) fn is_known_everywhere(&self, topic: u32) -> bool {
        self.interest.is_alone || self.get(topic).is_some_and(|topic| topic.announced && topic.in_transit == 0)
    }

    /// Queues an announcement, because the first subscriber came or the last one left.
    pub(super) fn queue_announcement(&mut self, topic: u32) {
        let alone = self.interest.is_alone;
        let Some(record) = self.records.get_mut(topic).filter(|_| !alone) else { return };
        if !std::mem::replace(&mut record.queued, true) {
            self.interest.changed.push_back(topic);
        }
    }

    /// Announces changes as long as every ring has room, and confirms subscriptions that every core knows of.
    pub(in crate::engine) fn announce<M: From<Notice>>(&mut self, mesh: &mut Mesh<M>) {
        while let Some(topic) = self.interest.changed.front().copied() {
            // The other half of a ring is for messages: many changes at a time must not displace them.
            if mesh.others().any(|core| mesh.room(core) == 0 || mesh.is_crowded(core)) {
                break;
            }
            let Some(record) = self.records.get_mut(topic) else { break };
            if record.in_transit == u8::MAX {
                break;
            }
            self.interest.changed.pop_front();
            record.queued = false;
            let wanted = record.members.count > 0;
            if wanted != record.announced {
                record.announced = wanted;
                record.in_transit += u8::from(wanted);
                self.announce_to_all(topic, wanted, mesh);
            }
            self.forget_if_over(topic);
        }
        self.confirm_received(mesh);
    }

    fn announce_to_all<M: From<Notice>>(&mut self, topic: u32, wanted: bool, mesh: &mut Mesh<M>) {
        let (Some(key), Some(record)) = (self.key(topic), self.get(topic)) else { return };
        for core in mesh.others() {
            let name = record.name.as_str().into();
            let notice = if wanted { Notice::Interest { key, name } } else { Notice::Disinterest { name } };
            // There is room: it was checked above.
            let _ = mesh.push(core, notice.into());
        }
        if wanted {
            self.interest.announced.push_back((key, mesh.others().map(|core| (core, mesh.sent(core))).collect()));
        }
    }

    fn confirm_received<M>(&mut self, mesh: &Mesh<M>) {
        while let Some((key, popped)) = self.interest.announced.front() {
            if popped.iter().any(|(core, popped)| mesh.popped_by(*core) < *popped) {
                return;
            }
            let topic = key.index;
            self.interest.announced.pop_front();
            if let Some(record) = self.records.get_mut(topic) {
                record.in_transit -= 1;
            }
            if self.is_known_everywhere(topic) {
                self.confirm_all(topic);
            }
            self.forget_if_over(topic);
        }
    }

    fn confirm_all(&mut self, topic: u32) {
        let mut at = self.get(topic).map_or(NO_ENTRY, |topic| topic.members.first);
        while let Some(member) = self.members.get(at) {
            self.to_confirm.push_back(at);
            at = member.next_of_topic();
        }
    }

    /// Records that another core has subscribers.
    pub(in crate::engine) fn add_remote(&mut self, core: u16, key: TopicKey, name: &str) {
        let topic = self.find(name.as_bytes()).unwrap_or_else(|| self.insert(name));
        if let Some(record) = self.records.get_mut(topic) {
            record.remotes.get_or_insert_default().push(Remote { core, key });
        }
    }

    /// Records that another core has no subscribers any more.
    pub(in crate::engine) fn remove_remote(&mut self, core: u16, name: &str) {
        let Some(topic) = self.find(name.as_bytes()) else { return };
        let Some(record) = self.records.get_mut(topic) else { return };
        if let Some(remotes) = &mut record.remotes {
            remotes.retain(|remote| remote.core != core);
            if remotes.is_empty() {
                record.remotes = None;
            }
        }
        self.forget_if_over(topic);
    }
}
