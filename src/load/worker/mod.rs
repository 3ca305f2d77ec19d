//! One thread of a run: its reactor, its share of the connections, and the loop that drives them.
//!
//! Decides when connections open, send and close; `opening` and `wire` do it. Invariant: a stage begins once, and a
//! report covers the time since the last one.

mod opening;
mod wire;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::Sender;
use std::time::Duration;

use bytes::Bytes;

use super::client::{Client, Job, Phase};
use super::clock::Clock;
use super::deliveries::Deliveries;
use super::effort::SchedStat;
use super::plan::{Mode, Pace, Plan};
use super::schedule::Schedule;
use super::tally::{Interval, Latencies, SAMPLE, Stage};
use super::traffic::Traffic;
use crate::protocol::handshake::client::ClientHandshake;
use crate::protocol::{AssemblyPool, MessageLimits};
use crate::reactor::{Completion, Reactor};
use crate::tls::Connector;
use crate::transport::TlsSessions;

/// Bytes per read: the default size of a socket's buffer, so that one system call empties it.
const READ_BYTES: usize = 256 * 1024;

/// Bytes of records that TLS keeps between reads at most.
const KEPT_BYTES_MAX: usize = 128 * 1024;

/// The longest sleep, after which the worker checks for the next stage.
const SLEEP_MAX: Duration = Duration::from_millis(20);

/// Messages of an open loop sent per turn, before input is read: if more is offered than the server can carry, overdue
/// messages would otherwise keep the worker from ever reading.
const MESSAGES_PER_TURN: usize = 1024;

/// Bytes that may wait on one connection whose peer does not read; above it, nothing more is sent on any connection. In
/// an open loop the messages that wait still count from when they were due.
const WAITING_BYTES_MAX: usize = 1 << 20;

/// State shared by all workers of a process.
#[derive(Debug)]
pub(super) struct Shared {
    pub plan: Arc<Plan>,
    /// The request, the same for all connections: its key only proves that the answer is not from a cache.
    pub request: Bytes,
    pub handshake: ClientHandshake,
    /// The client's end of TLS, if the server speaks it.
    pub connector: Option<Connector>,
    pub deliveries: Arc<Deliveries>,
    /// The current [`Stage`].
    pub stage: AtomicU8,
    pub clock: Clock,
}

/// One thread's share of a run.
pub(super) struct Worker<R> {
    number: usize,
    shared: Arc<Shared>,
    reactor: R,
    clients: Vec<Client>,
    traffic: Traffic,
    tls: TlsSessions,
    pool: AssemblyPool,
    limits: MessageLimits,
    /// The index of the next client that has never been opened.
    unopened: usize,
    open: usize,
    opening: usize,
    opening_max: usize,
    /// Clients whose reading stopped before their socket was empty.
    unfinished_reads: Vec<usize>,
    /// Clients that send messages.
    senders: Vec<usize>,
    /// Clients that reconnect when their turn in the churn comes.
    churning: Vec<usize>,
    messages_due: Schedule,
    churn_due: Schedule,
    /// The delays of sent messages, and the last time when due messages had to wait for a peer that does not read.
    lateness: Latencies,
    blocked_ns: u64,
    scratch: Vec<u8>,
    completions: Vec<Completion>,
    /// Failed clients, ordered by the time of their next attempt.
    retries: BinaryHeap<Reverse<(u64, usize)>>,
    /// The start of the stage, and the current sample within it.
    stage_ns: u64,
    sample: u32,
    reported_ns: u64,
    sched_stat: SchedStat,
    /// True if a report has said that no connection is opening any more.
    reported_opened: bool,
    reports: Sender<Interval>,
}

impl<R: Reactor> Worker<R> {
    /// Creates a worker for the connections with these numbers. To be called on the worker's thread.
    pub fn new(
        number: usize,
        numbers: Range<usize>,
        shared: Arc<Shared>,
        reactor: R,
        reports: Sender<Interval>,
    ) -> Self {
        let plan = &shared.plan;
        let share = numbers.len() as f64 / plan.connections as f64;
        let clients: Vec<_> = numbers.map(|number| Client::new(number, plan)).collect();
        let (senders, churning): (Vec<_>, Vec<_>) = (0..clients.len()).partition(|at| clients[*at].job.sends());
        let rate = match plan.pace {
            // Each sender has the same rate, whichever worker it belongs to.
            Pace::PerSecond(rate) => rate * senders.len() as f64 / count_senders(plan).max(1) as f64,
            Pace::InFlight(_) => 0.0,
        };
        for client in &clients {
            if let Job::Publish(publisher) = client.job {
                shared.deliveries.set_waker(publisher, reactor.waker());
            }
        }
        let message_bytes_max = MessageLimits::default().message_bytes_max.max(2 * plan.size as u64).max(16 << 20);
        Self {
            number,
            traffic: Traffic::new(Arc::clone(plan), Arc::clone(&shared.deliveries)),
            limits: MessageLimits { message_bytes_max, ..MessageLimits::default() },
            opening_max: plan.opening_max.div_ceil(plan.threads),
            messages_due: Schedule::new(rate),
            churn_due: Schedule::new(if plan.mode == Mode::Mixed { plan.churn_per_second * share } else { 0.0 }),
            lateness: Latencies::default(),
            blocked_ns: 0,
            retries: BinaryHeap::new(),
            stage_ns: shared.clock.now_ns(),
            sample: 0,
            reported_ns: shared.clock.now_ns(),
            sched_stat: SchedStat::open(),
            reported_opened: false,
            shared,
            reactor,
            clients,
            tls: TlsSessions::default(),
            pool: AssemblyPool::default(),
            unopened: 0,
            open: 0,
            opening: 0,
            unfinished_reads: Vec::new(),
            senders,
            churning,
            scratch: vec![0; READ_BYTES + KEPT_BYTES_MAX],
            completions: Vec::new(),
            reports,
        }
    }

    /// Works until the last stage is over. Fails if the kernel refuses a wait.
    pub fn run(mut self) -> io::Result<()> {
        let mut closes_until_ns = u64::MAX;
        loop {
            let now_ns = self.shared.clock.now_ns();
            let stage = Stage::from_number(self.shared.stage.load(Ordering::Acquire));
            if stage != self.traffic.stage {
                self.report(now_ns, true);
                let before = std::mem::replace(&mut self.traffic.stage, stage);
                (self.stage_ns, self.sample) = (now_ns, 0);
                self.begin(stage, before, now_ns);
                closes_until_ns = if stage == Stage::Close { now_ns + 2_000_000_000 } else { u64::MAX };
            }
            if now_ns >= closes_until_ns {
                (0..self.clients.len()).for_each(|at| self.end(at));
            }
            if stage == Stage::Close && self.clients.iter().all(|client| client.phase == Phase::Closed) {
                self.report(now_ns, true);
                return Ok(());
            }
            self.open_more(now_ns);
            self.send_due(now_ns);
            let wait = self.wait(now_ns);
            let mut unfinished_reads = std::mem::take(&mut self.unfinished_reads);
            let mut completions = std::mem::take(&mut self.completions);
            self.reactor.enter(wait, &mut completions)?;
            completions.drain(..).for_each(|completion| self.complete(completion));
            self.completions = completions;
            for at in unfinished_reads.drain(..) {
                self.read(at);
            }
            self.traffic.share_deliveries();
            // Reported at once, because it determines the opening time.
            let opened = self.opening == 0 && self.unopened == self.clients.len();
            let has_news = opened && !std::mem::replace(&mut self.reported_opened, opened);
            if now_ns >= self.sample_ends_ns() {
                self.give_up_on_slow_handshakes(now_ns);
                self.report(now_ns, true);
                self.sample = ((now_ns - self.stage_ns) / SAMPLE.as_nanos() as u64) as u32;
            } else if has_news {
                self.report(now_ns, false);
            }
        }
    }

    /// Returns the longest time to sleep.
    fn wait(&self, now_ns: u64) -> Duration {
        if !self.unfinished_reads.is_empty() {
            return Duration::ZERO;
        }
        let mut due_ns = self.sample_ends_ns();
        if self.traffic.is_flowing() {
            let retry = self.retries.peek().filter(|_| self.opening < self.opening_max);
            let retry_ns = retry.map_or(u64::MAX, |Reverse((due_ns, _))| *due_ns);
            due_ns = due_ns.min(self.messages_due.next_ns()).min(self.churn_due.next_ns()).min(retry_ns);
        }
        SLEEP_MAX.min(Duration::from_nanos(due_ns.saturating_sub(now_ns)))
    }

    fn sample_ends_ns(&self) -> u64 {
        self.stage_ns + (u64::from(self.sample) + 1) * SAMPLE.as_nanos() as u64
    }

    /// Begins a stage. Very short stages may have been skipped.
    fn begin(&mut self, stage: Stage, before: Stage, now_ns: u64) {
        match stage {
            Stage::WarmUp | Stage::Measure if before == Stage::Open => {
                self.messages_due.start(now_ns);
                self.churn_due.start(now_ns);
                (0..self.clients.len()).for_each(|at| self.fill(at, now_ns));
            }
            Stage::Settle if self.shared.plan.mode == Mode::Connect => {
                // Connections that have not been tried yet stay closed.
                self.unopened = self.clients.len();
            }
            // One echo on each connection shows which of them are still alive.
            Stage::Settle if self.shared.plan.mode == Mode::Idle => {
                for at in 0..self.clients.len() {
                    if self.clients[at].phase == Phase::Open {
                        self.traffic.write_next(&mut self.clients[at], now_ns);
                        self.transmit(at);
                    }
                }
            }
            Stage::Close => {
                for at in 0..self.clients.len() {
                    match self.clients[at].phase {
                        Phase::Open => {
                            self.traffic.count_missing(&mut self.clients[at]);
                            self.clients[at].phase = Phase::Closing;
                            self.traffic.write_close(&mut self.clients[at]);
                            self.transmit(at);
                        }
                        // After an interrupt during opening, pending handshakes are not waited for.
                        Phase::Opening if before == Stage::Open => self.end(at),
                        Phase::Opening => {
                            self.fail_opening(at, "A handshake was not answered by the end of the run.".to_owned());
                        }
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }

    /// Sends messages that are due in an open loop, or that publishers may send in a closed one, and does the churn.
    fn send_due(&mut self, now_ns: u64) {
        if !self.traffic.is_flowing() {
            return;
        }
        for _ in 0..MESSAGES_PER_TURN {
            let Some((due_ns, turn)) = self.messages_due.due(now_ns) else { break };
            let at = self.senders[turn as usize % self.senders.len()];
            if self.clients[at].phase == Phase::Open {
                if self.clients[at].waiting.len() > WAITING_BYTES_MAX {
                    self.blocked_ns = now_ns;
                    break;
                }
                if due_ns > self.blocked_ns {
                    // Includes the time spent on earlier messages of this turn.
                    self.lateness.note(self.shared.clock.now_ns().saturating_sub(due_ns), 1);
                }
                self.traffic.write_next(&mut self.clients[at], due_ns);
                self.transmit(at);
            } else {
                self.traffic.counts.unsent += 1;
            }
            self.messages_due.pass();
        }
        if self.shared.plan.mode == Mode::Fanout {
            for turn in 0..self.senders.len() {
                self.fill(self.senders[turn], now_ns);
            }
        }
        while let Some((_, turn)) = self.churn_due.due(now_ns) {
            self.churn_due.pass();
            let at = self.churning.get(turn as usize % self.churning.len().max(1)).copied();
            if let Some(at) = at.filter(|at| self.clients[*at].phase == Phase::Open) {
                self.clients[at].tries = 0;
                self.end(at);
            }
        }
    }

    fn fill(&mut self, at: usize, now_ns: u64) {
        if self.clients[at].phase == Phase::Open {
            self.traffic.fill(&mut self.clients[at], now_ns);
            self.transmit(at);
        }
    }

    /// Sends a report of everything since the last one.
    fn report(&mut self, now_ns: u64, completes_sample: bool) {
        let interval = Interval {
            stage: self.traffic.stage,
            sample: self.sample,
            completes_sample,
            at_ns: now_ns,
            span_ns: now_ns - std::mem::replace(&mut self.reported_ns, now_ns),
            effort: self.sched_stat.since_last(),
            worker: self.number,
            open: self.open,
            opening: self.opening + self.clients.len() - self.unopened,
            in_flight: self.traffic.in_flight,
            counts: std::mem::take(&mut self.traffic.counts),
            latencies: self.traffic.take_latencies(),
            lateness: std::mem::take(&mut self.lateness),
        };
        // The receiver is gone if the run was given up.
        let _ = self.reports.send(interval);
    }
}

fn count_senders(plan: &Plan) -> usize {
    (0..plan.connections).filter(|number| Job::of(*number, plan).sends()).count()
}
