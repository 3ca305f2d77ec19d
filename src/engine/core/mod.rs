//! One core's life: a loop of turns over its own sessions, sharing nothing.
//!
//! A turn carries out what the kernel completed, what tasks asked for, what was cut off in the turn before and what fell
//! due, each bounded, and then hands everything that is to be sent to the reactor at once. A core knows neither threads
//! nor clocks: whoever drives it says what time it is, which is why simulation can drive it too.

mod accept;
mod commands;
mod deadlines;
pub(in crate::engine) mod drain;
mod ending;
mod events;
mod fanout;
mod listening;
mod parting;
mod pending;
mod reading;
mod receiving;
mod requests;
mod sending;
mod upgrades;

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, SystemTime};

use drain::Drain;
use listening::Accepting;
use pending::PendingUpgrades;

use crate::engine::admission::Admission;
use crate::engine::admission::clients::Clients;
use crate::engine::common::Common;
use crate::engine::counters::Counters;
use crate::engine::date::DateCache;
use crate::engine::handler::Handler;
use crate::engine::limits::Limits;
use crate::engine::mail::Parcel;
use crate::engine::reasons::End;
use crate::engine::session::slab::Slab;
use crate::engine::session::{Phase, Slot};
use crate::engine::tasks::{Spawner, Tasks};
use crate::engine::wheel::TICK_MS;
use crate::mesh::Mesh;
use crate::reactor::{Completion, Listener, Reactor, Token};

/// The buffer every read goes into: a quarter of a common second-level cache, so that what the kernel wrote is still
/// near when it is decoded, and large enough for a message of 256 KiB to arrive in one read and be answered in place.
const SCRATCH_BYTES: usize = 512 * 1024;

/// Sessions whose timers are looked at in a turn.
const TIMERS_PER_TURN_MAX: usize = 1024;

/// How often a core that waits for another to pop what is in its ring looks whether it has.
const OTHERS_INTERVAL_MS: u64 = 1;

/// What a core is made from.
pub struct CoreSetup<H, R> {
    /// Its number, from 0.
    pub core: u16,
    /// The application.
    pub handler: H,
    /// The kernel.
    pub reactor: R,
    /// Its listeners, which it closes when it drains.
    pub listeners: Vec<Listener>,
    /// The limits.
    pub limits: Limits,
    /// Where it counts.
    pub counters: Arc<Counters>,
    /// Where every core of the server counts, in the order of their numbers; this one too.
    pub counters_of_all: Arc<[Arc<Counters>]>,
    /// Connections of the whole process, over all cores.
    pub connections: Arc<AtomicUsize>,
    /// Who may come in, and what is known of addresses over all cores.
    pub admission: Arc<Admission>,
    /// Its end of the rings between cores.
    pub mesh: Mesh<Parcel>,
    /// What runs handlers' tasks.
    pub spawner: Spawner,
    /// Tells the time of day, for the dates of answers.
    pub clock: fn() -> SystemTime,
}

/// A core. See the module.
pub struct Core<H: Handler, R: Reactor> {
    pub(in crate::engine) handler: H,
    pub(in crate::engine) reactor: R,
    pub(in crate::engine) sessions: Slab<Slot<H::State>>,
    pub(in crate::engine) common: Common,
    pub(in crate::engine) upgrades: PendingUpgrades<H::State>,
    /// Listeners that are open.
    pub(in crate::engine) listeners: Vec<Accepting>,
    pub(in crate::engine) connections: Arc<AtomicUsize>,
    pub(in crate::engine) now_ms: u64,
    /// When it was last said that accepting fails, in milliseconds.
    pub(in crate::engine) accepting_warned_ms: Option<u64>,
    pub(in crate::engine) dates: DateCache,
    /// Bytes that were read in this turn of messages and requests that are not complete.
    pub(in crate::engine) assembled_bytes: usize,
    completions: Vec<Completion>,
    pub(in crate::engine) scratch: Vec<u8>,
    /// Indexes whose timer fired and was not looked at yet.
    fired: Vec<u32>,
    pub(in crate::engine) draining: Option<Drain>,
}

impl<H: Handler, R: Reactor> Core<H, R> {
    /// A core that accepts from its listeners with its first turn.
    pub fn new(setup: CoreSetup<H, R>) -> Self {
        let tasks = Tasks::new(setup.spawner);
        let clients = Clients::new(setup.admission);
        setup.mesh.wake_by(setup.reactor.waker());
        Self {
            handler: setup.handler,
            reactor: setup.reactor,
            sessions: Slab::default(),
            common: Common::new(
                setup.core,
                setup.limits,
                setup.counters,
                setup.counters_of_all,
                clients,
                tasks,
                setup.mesh,
            ),
            upgrades: PendingUpgrades::default(),
            listeners: setup.listeners.into_iter().map(Accepting::new).collect(),
            connections: setup.connections,
            now_ms: 0,
            accepting_warned_ms: None,
            dates: DateCache::new(setup.clock),
            assembled_bytes: 0,
            completions: Vec::new(),
            scratch: vec![0; SCRATCH_BYTES],
            fired: Vec::new(),
            draining: None,
        }
    }

    /// One turn at `now_ms`, which never goes back. Says whether more can be done at once; if not, the core may wait.
    pub fn turn(&mut self, now_ms: u64) -> bool {
        self.now_ms = now_ms;
        self.common.tick = u32::try_from(now_ms / TICK_MS).unwrap_or(u32::MAX - 1);
        self.common.counters.turns.add(1);
        self.assembled_bytes = 0;
        self.common.begin_inflating();
        self.common.publishing = None;
        self.accept_if_due();
        self.carry_out_completions();
        self.carry_out_commands();
        self.take_in();
        self.common.go_on_inflating();
        self.go_on_reading();
        self.look_at_timers();
        self.go_on_draining();
        self.fan_out();
        self.send_all();
        self.common.topics.go_on()
            || !self.common.catching_up.is_empty()
            || !self.common.resumed.is_empty()
            || !self.fired.is_empty()
            || self.common.tasks.has_commands()
            || self.has_goodbyes_due()
    }

    /// Submits what the turn asked for and waits up to `wait` for something to complete. Says whether anything did.
    pub fn enter(&mut self, wait: Duration) -> io::Result<bool> {
        self.reactor.enter(wait, &mut self.completions)?;
        Ok(!self.completions.is_empty())
    }

    /// Before waiting: whether the core may, since nothing came from other cores or from outside. From then on it is woken
    /// for what comes, until it is [`awake`](Core::awake).
    pub fn may_wait(&self) -> bool {
        self.common.mesh.may_sleep()
    }

    /// After waiting.
    pub fn awake(&self) {
        self.common.mesh.awake();
    }

    /// How long the core may wait, in milliseconds, before a timer needs it; `None` is for ever.
    pub fn idle_ms(&self) -> Option<u64> {
        let timer = self.common.wheel.next().map(|tick| u64::from(tick) * TICK_MS);
        let others = self.awaits_others().then_some(self.now_ms + OTHERS_INTERVAL_MS);
        let next = [timer, self.accept_again_ms(), self.drain_wakes_ms(), others].into_iter().flatten().min()?;
        Some(next.saturating_sub(self.now_ms))
    }

    /// Whether something waits for another core to pop what is in its ring. That core says so only if this one sleeps
    /// already.
    pub(in crate::engine) fn awaits_others(&self) -> bool {
        !self.common.held.is_empty() || self.common.topics.interest.is_pending()
    }

    /// Sessions there are, those that are ending included.
    pub fn sessions(&self) -> usize {
        self.sessions.len()
    }

    /// Where it counts.
    pub fn counters(&self) -> &Counters {
        &self.common.counters
    }

    /// The reactor, for whoever waits on it.
    pub fn reactor(&mut self) -> &mut R {
        &mut self.reactor
    }

    /// Whether tasks of handlers are under way, which need the runtime's attention between turns.
    pub fn has_tasks(&self) -> bool {
        self.common.tasks.live() > 0
    }

    /// Before sleeping: whether a task has left something to do; if not, `waker` is woken once one has.
    pub fn has_commands_or_wake(&self, waker: &std::task::Waker) -> bool {
        self.common.tasks.has_commands_or_wake(waker)
    }

    fn carry_out_completions(&mut self) {
        let mut completions = std::mem::take(&mut self.completions);
        for completion in completions.drain(..) {
            match completion {
                Completion::Readable { token, ended } => self.readable(token, ended),
                Completion::Sent { token, result, more } => self.sent(token, result, more),
                Completion::Accepted { listener, result, more } => self.accepted(listener, result, more),
                Completion::WatchEnded { token, result } => self.watch_ended(token, result),
                Completion::Woken => {}
            }
        }
        self.completions = completions;
    }

    fn watch_ended(&mut self, token: Token, result: io::Result<()>) {
        let Some(slot) = self.sessions.get_mut(token) else { return };
        slot.watched = false;
        if slot.phase == Phase::Ended {
            return self.release(token);
        }
        if let Err(error) = result {
            tracing::warn!(core = self.common.core, %error, "The kernel refused to watch a socket; it is closed.");
            slot.broken = true;
            slot.end.get_or_insert(End::SocketError);
            return self.settle(token);
        }
        // The kernel ended it (its completion queue overflowed). What arrived meanwhile is reported by the new watch.
        slot.watched = true;
        self.reactor.watch(slot.socket, token);
    }

    fn look_at_timers(&mut self) {
        if self.fired.is_empty() {
            self.common.wheel.advance(self.common.tick, &mut self.fired);
        }
        for _ in 0..TIMERS_PER_TURN_MAX {
            let Some(index) = self.fired.pop() else { break };
            if let Some(token) = self.sessions.token_at(index) {
                self.look_at_deadlines(token);
            }
        }
    }
}

impl<H: Handler, R: Reactor> std::fmt::Debug for Core<H, R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Core").field("core", &self.common.core).field("sessions", &self.sessions.len()).finish()
    }
}

impl<H: std::fmt::Debug, R: std::fmt::Debug> std::fmt::Debug for CoreSetup<H, R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CoreSetup").field("core", &self.core).field("handler", &self.handler).finish_non_exhaustive()
    }
}
