//! The parts of a core that its sessions share, and that a handler's calls may use.
//!
//! Each part keeps its own rules; operations on several of them are in the files beside this one. Knows no handler, and
//! of a reactor only its sockets.

mod deadlines;
mod failing;
mod log;
mod mail;
mod publish;
mod rates;
mod reload;
mod sharing;
mod writing;

pub(in crate::engine) use deadlines::{Action, Due};

use std::collections::VecDeque;
use std::sync::Arc;

use crate::engine::admission::clients::Clients;
use crate::engine::admission::handshakes::Handshakes;
use crate::engine::counters::Counters;
use crate::engine::current::Following;
use crate::engine::limits::Limits;
use crate::engine::log::LogEnabled;
use crate::engine::mail::{HandlerMail, MeshEntry};
use crate::engine::rates::{Rates, SharedRates};
use crate::engine::session::acknowledged::Acknowledged;
use crate::engine::session::outbox::Outbox;
use crate::engine::session::{Compressing, InflationBudget, List, Lists, Phase, Profiles, SessionLimits, Slot, Wakes};
use crate::engine::tasks::Tasks;
use crate::engine::topics::{Publishers, Topics, round_bytes_max};
use crate::engine::wheel::{TICK_MS, Wheel};
use crate::mesh::Mesh;
use crate::protocol::deflate::Agreement;
use crate::protocol::handshake::{Answer, Extension};
use crate::protocol::{AssemblyPool, MessageLimits};
use crate::reactor::Token;
use crate::transport::TlsSessions;

/// The reply buffer is sent when it holds this much, even if more follows, so that it stays within the second-level
/// cache.
const REPLY_BYTES_MAX: usize = 64 * 1024;

/// The limit of one read from a session that may be postponed, since its input is kept meanwhile.
const POSTPONED_BYTES_MAX: usize = 64 * 1024;

/// See the module.
pub(in crate::engine) struct Parts {
    core: u16,
    limits: Limits,
    /// The limits that a reload replaces; `None` once the core drains, for which it keeps those that it has.
    following: Option<Following<Limits>>,
    counters: Arc<Counters>,
    /// The counters of every core, for reading.
    counters_of_all: Arc<[Arc<Counters>]>,
    pub(in crate::engine) clients: Clients,
    pub(in crate::engine) tls: TlsSessions,
    pub(in crate::engine) handshakes: Handshakes,
    wheel: Wheel,
    acknowledged: Acknowledged,
    pub(in crate::engine) pool: AssemblyPool,
    compression: Compressing,
    pub(in crate::engine) tasks: Tasks,
    inflation: InflationBudget,
    pub(in crate::engine) topics: Topics,
    pub(in crate::engine) mesh: Mesh<MeshEntry>,
    /// A buffer for the topics that receive a message; empty between calls.
    targets: Vec<u32>,
    pub(in crate::engine) publishers: Publishers,
    /// The tick of this turn.
    tick: u32,
    /// The time of this turn in milliseconds.
    now_ms: u64,
    /// The frames that the session in hand has written and not sent.
    pub(in crate::engine) reply: Vec<u8>,
    pub(in crate::engine) lists: Lists,
    wakes: Wakes,
    profiles: Profiles,
    pub(in crate::engine) rates: Rates,
    /// Sessions that a call for no session has used, and whose next step towards the end may be due.
    called: VecDeque<Token>,
    /// Mail from this core's handler to itself, in order.
    own_mail: VecDeque<HandlerMail>,
    /// The lines that the log shows in this turn.
    log_enabled: LogEnabled,
}

impl Parts {
    pub(in crate::engine) fn new(
        core: u16,
        following: Following<Limits>,
        rates: Arc<SharedRates>,
        counters_of_all: Arc<[Arc<Counters>]>,
        clients: Clients,
        tasks: Tasks,
        mesh: Mesh<MeshEntry>,
    ) -> Self {
        let limits = following.value().clone();
        let mut reply = vec![0; REPLY_BYTES_MAX];
        // It was written once, so that its memory is allocated from the start.
        reply.clear();
        Self {
            core,
            topics: Topics::new(mesh.is_alone(), round_bytes_max(limits.outbox_bytes_max)),
            profiles: Profiles::new(&limits),
            rates: Rates::new(&limits, rates),
            limits,
            following: Some(following),
            counters: counters_of_all.get(usize::from(core)).cloned().unwrap_or_default(),
            counters_of_all,
            clients,
            tls: TlsSessions::default(),
            handshakes: Handshakes::default(),
            wheel: Wheel::default(),
            acknowledged: Acknowledged::default(),
            pool: AssemblyPool::default(),
            compression: Compressing::default(),
            inflation: InflationBudget::default(),
            mesh,
            targets: Vec::new(),
            publishers: Publishers::default(),
            tasks,
            tick: 0,
            now_ms: 0,
            reply,
            lists: Lists::default(),
            wakes: Wakes::default(),
            called: VecDeque::new(),
            own_mail: VecDeque::new(),
            log_enabled: LogEnabled::default(),
        }
    }

    /// Begins a turn. Returns whether times were replaced that run for sessions.
    #[inline]
    pub(in crate::engine) fn begin_turn(&mut self, now_ms: u64) -> bool {
        self.tick = u32::try_from(now_ms / TICK_MS).unwrap_or(u32::MAX - 1);
        self.now_ms = now_ms;
        self.counters.turns.add(1);
        self.inflation.begin_turn();
        self.publishers.begin_turn();
        self.note_log_filter();
        self.refresh_limits()
    }

    /// Returns the number of the core.
    #[inline]
    pub(in crate::engine) fn core(&self) -> u16 {
        self.core
    }

    #[inline]
    pub(in crate::engine) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Keeps the limits as they are, since the core drains.
    pub(in crate::engine) fn keep_limits(&mut self) {
        self.following = None;
    }

    /// Leaves out the delay and the spread of a drain, and shortens its timeout to this one.
    pub(in crate::engine) fn hurry_drain(&mut self, timeout_ms_max: u64) {
        self.keep_limits();
        let limits = &mut self.limits;
        (limits.drain_delay_ms, limits.drain_spread_ms) = (0, 0);
        limits.drain_timeout_ms = limits.drain_timeout_ms.min(timeout_ms_max);
    }

    #[inline]
    pub(in crate::engine) fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Returns the counters of every core, for reading.
    pub(in crate::engine) fn counters_of_all(&self) -> &[Arc<Counters>] {
        &self.counters_of_all
    }

    /// Returns the tick of this turn.
    #[inline]
    pub(in crate::engine) fn tick(&self) -> u32 {
        self.tick
    }

    /// Returns the limits that a session has unless its handler gives it others.
    pub(in crate::engine) fn session_limits(&self) -> &SessionLimits {
        self.profiles.of_server()
    }

    /// Returns the limits of messages to a session.
    #[inline]
    pub(in crate::engine) fn message_limits<S>(&self, slot: &Slot<S>) -> &MessageLimits {
        self.profiles.at(slot.profile()).messages()
    }

    /// Returns the number of a profile with these limits, for one more session; `None` if there are too many.
    pub(in crate::engine) fn acquire_profile(&mut self, limits: &SessionLimits) -> Option<u32> {
        self.profiles.acquire(limits, &self.limits)
    }

    /// Gives a profile back that no session got after all.
    pub(in crate::engine) fn release_profile(&mut self, profile: u32) {
        self.profiles.release(profile);
    }

    /// Returns the answer to the extensions that the client of a session with this profile offers.
    #[inline]
    pub(in crate::engine) fn answer_compression<'a>(
        &self,
        profile: u32,
        offers: impl Iterator<Item = Extension<'a>>,
    ) -> Option<Answer> {
        let answer = self.compression.answer(&self.limits, offers);
        answer.filter(|_| self.profiles.at(profile).limits().compression)
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

    /// Makes the inflation budget available to the sessions that were postponed to this turn.
    #[inline]
    pub(in crate::engine) fn release_postponed(&mut self) {
        self.inflation.release_postponed();
    }

    /// Returns whether a session with so much input waits for the next turn, because its messages may inflate.
    #[inline]
    pub(in crate::engine) fn postpones<S>(&mut self, slot: &Slot<S>, bytes: usize) -> bool {
        self.inflation.postpones(slot.connection(), bytes)
    }

    /// Subtracts the bytes that messages have inflated to from this turn's budget.
    #[inline]
    pub(in crate::engine) fn spend_inflated(&mut self) {
        self.inflation.spend(self.pool.take_inflated_bytes());
    }

    /// Notes a session that a call for no session has used, and whose next step towards the end may be due.
    pub(in crate::engine) fn note_called(&mut self, token: Token) {
        self.called.push_back(token);
    }

    /// Takes one of the sessions that calls for no session have used.
    #[inline]
    pub(in crate::engine) fn take_called(&mut self) -> Option<Token> {
        self.called.pop_front()
    }

    /// Counts a session that was opened with this agreement.
    #[inline]
    pub(in crate::engine) fn note_opened(&mut self, agreement: Option<Agreement>) {
        self.compression.note_opened(agreement);
        self.counters.upgraded.add(1);
    }

    /// Forgets everything about a session that has ended but its connection.
    #[inline]
    pub(in crate::engine) fn note_ended<S>(&mut self, slot: &mut Slot<S>, token: Token) {
        self.leave_all(slot);
        self.profiles.release(slot.set_profile(0));
        self.compression.note_ended(slot.connection().compression());
        self.wheel.cancel(token.index);
        self.wakes.forget(token.index);
        self.rates.forget(token.index);
        self.reply.clear();
    }

    /// Forgets a connection, since its socket is closed.
    #[inline]
    pub(in crate::engine) fn forget_connection(&mut self, token: Token) {
        self.clients.remove(token.index);
        self.acknowledged.forget(token.index);
        self.tls.remove(token.index);
    }

    /// Records that an open session has ended. Returns whether the handler is to be told, which happens once.
    pub(in crate::engine) fn is_over<S>(&self, slot: &mut Slot<S>) -> bool {
        let over = slot.take_opened();
        self.counters.sessions_closed.add(u64::from(over));
        over
    }
}
