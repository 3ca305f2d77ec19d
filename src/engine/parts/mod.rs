//! The parts of a core that its sessions share, and that a handler's calls may use.
//!
//! Each part keeps its own rules; operations on several of them are in the files beside this one. Knows no handler, and
//! of a reactor only its sockets.

mod deadlines;
mod failing;
mod log;
mod mail;
mod publish;
mod sharing;
mod writing;

pub(in crate::engine) use deadlines::{Action, Due};

use std::collections::VecDeque;
use std::sync::Arc;

use crate::engine::admission::clients::Clients;
use crate::engine::counters::Counters;
use crate::engine::limits::Limits;
use crate::engine::log::LogEnabled;
use crate::engine::mail::{HandlerMail, MeshEntry};
use crate::engine::session::acknowledged::Acknowledged;
use crate::engine::session::outbox::Outbox;
use crate::engine::session::{Compressing, InflationBudget, List, Lists, Phase, Profiles, Slot, Wakes};
use crate::engine::tasks::Tasks;
use crate::engine::topics::{Pacing, Publishers, Topics, round_bytes_max};
use crate::engine::wheel::Wheel;
use crate::mesh::Mesh;
use crate::protocol::AssemblyPool;
use crate::reactor::Token;

/// The reply buffer is sent when it holds this much, even if more follows, so that it stays within the second-level
/// cache.
const REPLY_BYTES_MAX: usize = 64 * 1024;

/// The limit of one read from a session that may be postponed, since its input is kept meanwhile.
const POSTPONED_BYTES_MAX: usize = 64 * 1024;

/// See the module.
pub(in crate::engine) struct Parts {
    pub(in crate::engine) core: u16,
    pub(in crate::engine) limits: Limits,
    pub(in crate::engine) counters: Arc<Counters>,
    /// The counters of every core, for reading.
    pub(in crate::engine) counters_of_all: Arc<[Arc<Counters>]>,
    pub(in crate::engine) clients: Clients,
    pub(in crate::engine) wheel: Wheel,
    pub(in crate::engine) acknowledged: Acknowledged,
    pub(in crate::engine) pool: AssemblyPool,
    pub(in crate::engine) compression: Compressing,
    pub(in crate::engine) tasks: Tasks,
    pub(in crate::engine) inflation: InflationBudget,
    pub(in crate::engine) topics: Topics,
    pub(in crate::engine) mesh: Mesh<MeshEntry>,
    /// A buffer for the topics that receive a message; empty between calls.
    targets: Vec<u32>,
    pub(in crate::engine) publishers: Publishers,
    pub(in crate::engine) pacing: Pacing,
    /// The tick of this turn.
    pub(in crate::engine) tick: u32,
    /// The frames that the session in hand has written and not sent.
    pub(in crate::engine) reply: Vec<u8>,
    pub(in crate::engine) lists: Lists,
    pub(in crate::engine) wakes: Wakes,
    pub(in crate::engine) profiles: Profiles,
    /// Sessions that a call for no session has used, and whose next step towards the end may be due.
    pub(in crate::engine) called: Vec<Token>,
    /// Mail from this core's handler to itself, in order.
    own_mail: VecDeque<HandlerMail>,
    /// The lines that the log shows in this turn.
    log_enabled: LogEnabled,
}

impl Parts {
    pub(in crate::engine) fn new(
        core: u16,
        limits: Limits,
        counters_of_all: Arc<[Arc<Counters>]>,
        clients: Clients,
        tasks: Tasks,
        mesh: Mesh<MeshEntry>,
    ) -> Self {
        let mut reply = vec![0; REPLY_BYTES_MAX];
        // It was written once, so that its memory is allocated from the start.
        reply.clear();
        Self {
            core,
            topics: Topics::new(mesh.is_alone(), round_bytes_max(limits.outbox_bytes_max)),
            profiles: Profiles::new(&limits),
            limits,
            counters: counters_of_all.get(usize::from(core)).cloned().unwrap_or_default(),
            counters_of_all,
            clients,
            wheel: Wheel::default(),
            acknowledged: Acknowledged::default(),
            pool: AssemblyPool::default(),
            compression: Compressing::default(),
            inflation: InflationBudget::default(),
            mesh,
            targets: Vec::new(),
            publishers: Publishers::default(),
            pacing: Pacing::default(),
            tasks,
            tick: 0,
            reply,
            lists: Lists::default(),
            wakes: Wakes::default(),
            called: Vec::new(),
            own_mail: VecDeque::new(),
            log_enabled: LogEnabled::default(),
        }
    }

    /// Returns how many bytes may wait to be sent to a session.
    #[inline]
    pub(in crate::engine) fn outbox_bytes_max<S>(&self, slot: &Slot<S>) -> usize {
        self.profiles.at(slot.profile()).limits().outbox_bytes_max
    }

    /// Marks a session as having something to send at the end of the turn.
    pub(in crate::engine) fn mark_dirty<S>(&mut self, slot: &mut Slot<S>, token: Token) {
        if !slot.transport().is_sending() {
            self.lists.add(List::Dirty, slot, token);
        }
    }

    /// Resumes reading from a session in the next turn.
    pub(in crate::engine) fn resume_next_turn<S>(&mut self, slot: &mut Slot<S>, token: Token) {
        self.lists.add(List::Resumed, slot, token);
    }

    /// Resumes reading from a paused or throttled session, and restarts its silence and assembly timers.
    pub(in crate::engine) fn resume_reading<S>(&mut self, slot: &mut Slot<S>, token: Token) {
        slot.restart_silence(self.tick);
        self.resume_next_turn(slot, token);
    }

    fn put_in_outbox<S>(&mut self, slot: &mut Slot<S>, token: Token, mut outbox: Box<Outbox>) {
        self.begin_waiting(&mut outbox, token);
        slot.set_outbox(outbox);
        self.mark_dirty(slot, token);
    }

    /// Returns how much of the scratch buffer a read may fill.
    pub(in crate::engine) fn read_size<S>(&self, slot: &Slot<S>, scratch: usize) -> usize {
        if slot.phase() == Phase::Head {
            return slot.request_bytes_wanted(self.limits.head.head_bytes_max, scratch);
        }
        let may_wait = self.inflation.is_spent() && slot.connection().compression().is_some();
        if may_wait { scratch.min(POSTPONED_BYTES_MAX) } else { scratch }
    }

    /// Records that an open session has ended. Returns whether the handler is to be told, which happens once.
    pub(in crate::engine) fn is_over<S>(&self, slot: &mut Slot<S>) -> bool {
        let over = slot.take_opened();
        self.counters.sessions_closed.add(u64::from(over));
        over
    }
}
