//! One core: a loop of turns over its own sessions, which shares nothing.
//!
//! A turn handles the kernel's completions, the commands of tasks, the entries of other cores, interrupted sessions and
//! due timers, each up to a limit, and then passes all output to the reactor at once. A core knows neither threads nor
//! clocks: its driver provides the time, so a simulation can drive it too.

mod accept;
mod answers;
mod commands;
mod deadlines;
mod drain;
mod draining;
mod ending;
mod events;
mod fanout;
mod handshakes;
mod listening;
mod pending;
mod pending_answers;
mod reading;
mod receiving;
mod requests;
mod sending;
mod upgrades;
#[cfg(test)]
pub(in crate::engine) mod view;

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use drain::Drain;
pub(in crate::engine) use drain::HURRY_MS;
use listening::Accepting;
use pending::{Arrivals, Decision};
use pending_answers::Answers;

use crate::engine::admission::clients::Clients;
use crate::engine::counters::Counters;
use crate::engine::date::DateCache;
use crate::engine::handler::Handler;
use crate::engine::parts::Parts;
use crate::engine::reasons::End;
use crate::engine::seed::Seed;
use crate::engine::session::{Phase, Sessions, Slot};
use crate::engine::tasks::{Spawner, Tasks};
use crate::engine::topics::Pacing;
use crate::engine::wheel::TICK_MS;
use crate::reactor::{Completion, Reactor, Token};
use crate::tls::Acceptor;

/// The buffer of every read: a quarter of a common second-level cache, so that the kernel's bytes are still cached when
/// they are decoded, and large enough for a message of 256 KiB to arrive in one read and be answered in place.
const SCRATCH_BYTES: usize = 512 * 1024;

/// Sessions whose timers are checked in a turn.
const TIMERS_PER_TURN_MAX: usize = 1024;

/// The interval at which a core that waits for another to pop an entry checks whether it has.
const OTHERS_INTERVAL_MS: u64 = 1;

/// A core. See the module.
pub struct Core<H: Handler, R: Reactor> {
    handler: H,
    reactor: R,
    sessions: Sessions<Slot<H::State>>,
    parts: Parts,
    pacing: Pacing,
    upgrades: Arrivals<Decision<H::State>>,
    answers: Answers,
    /// The open listeners.
    listeners: Vec<Accepting>,
    connections: Arc<AtomicUsize>,
    now_ms: u64,
    /// The time of the last warning that accepting fails, in milliseconds.
    accepting_warned_ms: Option<u64>,
    dates: DateCache,
    /// Bytes of incomplete messages and requests that were read in this turn.
    assembled_bytes: usize,
    completions: Vec<Completion>,
    scratch: Vec<u8>,
    /// Indexes whose timer has fired and was not checked yet.
    fired: Vec<u32>,
    draining: Option<Drain>,
    /// The server's end of TLS, for the listeners that speak it.
    acceptor: Option<Arc<Acceptor>>,
    /// A clock in microseconds, for what a turn spends on handshakes.
    monotonic_us: fn() -> u64,
}

impl<H: Handler, R: Reactor> Core<H, R> {
    /// Makes a core that accepts from its listeners from its first turn on.
    pub fn new(seed: Seed, handler: H, reactor: R, spawner: Spawner) -> Self {
        let Seed {
            core,
            listeners,
            limits,
            counters_of_all,
            connections,
            admission,
            rates,
            mesh,
            clock,
            acceptor,
            monotonic_us,
        } = seed;
        mesh.wake_by(reactor.waker());
        let (clients, tasks) = (Clients::new(admission), Tasks::new(spawner));
        Self {
            handler,
            reactor,
            sessions: Sessions::default(),
            parts: Parts::new(core, limits, rates, counters_of_all, clients, tasks, mesh),
            pacing: Pacing::default(),
            upgrades: Arrivals::default(),
            answers: Answers::default(),
            listeners: listeners.into_iter().map(Accepting::new).collect(),
            connections,
            now_ms: 0,
            accepting_warned_ms: None,
            dates: DateCache::new(clock),
            assembled_bytes: 0,
            completions: Vec::new(),
            scratch: vec![0; SCRATCH_BYTES],
            fired: Vec::new(),
            draining: None,
            acceptor,
            monotonic_us,
        }
    }

    /// Runs one turn at `now_ms`, which never goes back. Returns whether more can be done at once; if not, the core may
    /// wait.
    pub fn turn(&mut self, now_ms: u64) -> bool {
        self.now_ms = now_ms;
        self.assembled_bytes = 0;
        if self.parts.begin_turn(now_ms) {
            self.check_all_deadlines();
        }
        self.accept_if_due();
        self.carry_out_completions();
        self.carry_out_commands();
        self.shake_hands();
        self.handle_entries();
        self.parts.release_postponed();
        self.resume_interrupted();
        self.fire_timers();
        self.advance_drain();
        self.check_called();
        self.fan_out();
        self.send_all();
        self.parts.topics.end_turn()
            || self.parts.lists.has_more()
            || !self.fired.is_empty()
            || self.parts.handshakes.has_waiting()
            || self.parts.tasks.has_commands()
            || self.parts.own_mail() > 0
            || self.has_closes_due()
    }

    /// Submits the operations of the turn and waits up to `wait` for a completion. Returns whether there is any.
    pub fn enter(&mut self, wait: Duration) -> io::Result<bool> {
        self.reactor.enter(wait, &mut self.completions)?;
        Ok(!self.completions.is_empty())
    }

    /// Returns whether the core may wait, since no entry came from other cores or threads. From then on an entry wakes
    /// the core, until [`awake`](Core::awake).
    pub fn may_wait(&self) -> bool {
        self.parts.mesh.may_sleep()
    }

    /// Ends the wait: entries do not need to wake the core any more.
    pub fn awake(&self) {
        self.parts.mesh.awake();
    }

    /// Returns how long the core may wait before a timer needs it, in milliseconds; `None`: for ever.
    pub fn idle_ms(&self) -> Option<u64> {
        let timer = self.parts.next_timer().map(|tick| u64::from(tick) * TICK_MS);
        let others = self.awaits_others().then_some(self.now_ms + OTHERS_INTERVAL_MS);
        let next = [timer, self.accept_again_ms(), self.drain_wakes_ms(), others].into_iter().flatten().min()?;
        Some(next.saturating_sub(self.now_ms))
    }

    /// Returns whether something waits for another core to pop an entry. That core wakes this one only if it sleeps
    /// already.
    fn awaits_others(&self) -> bool {
        self.parts.publishers.has_throttled() || self.parts.topics.interest.is_pending()
    }

    /// Returns the number of sessions, including those that are ending.
    pub fn sessions(&self) -> usize {
        self.sessions.len()
    }

    /// Returns the counters of this core.
    pub fn counters(&self) -> &Counters {
        self.parts.counters()
    }

    /// Returns the reactor, to wait on it.
    pub fn reactor(&mut self) -> &mut R {
        &mut self.reactor
    }

    /// Returns whether tasks of handlers are running, for which the runtime must run between turns.
    pub fn has_tasks(&self) -> bool {
        self.parts.tasks.live() > 0
    }

    /// Returns whether a task has left a command; if not, the next one wakes `waker`.
    pub fn has_commands_or_wake(&self, waker: &std::task::Waker) -> bool {
        self.parts.tasks.has_commands_or_wake(waker)
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
        slot.transport_mut().note_watch_ended();
        if slot.phase() == Phase::Ended {
            return self.release(token);
        }
        if let Err(error) = result {
            tracing::warn!(core = self.parts.core(), %error, "The kernel refused to watch a socket; it is closed.");
            slot.transport_mut().note_broken();
            slot.decide_end(End::SocketError);
            return self.check_end(token);
        }
        // The kernel ended the watch (its completion queue overflowed). The new watch reports what arrived meanwhile.
        slot.transport_mut().watch(&mut self.reactor, token);
    }

    fn fire_timers(&mut self) {
        if self.fired.is_empty() {
            self.parts.take_fired(&mut self.fired);
        }
        for _ in 0..TIMERS_PER_TURN_MAX {
            let Some(index) = self.fired.pop() else { break };
            if let Some(token) = self.sessions.token_at(index) {
                self.check_deadlines(token);
            }
        }
    }
}

impl<H: Handler, R: Reactor> std::fmt::Debug for Core<H, R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Core").field("core", &self.parts.core()).field("sessions", &self.sessions.len()).finish()
    }
}
