//! One thread of a run: its reactor, its share of the connections, and the loop that drives them.
//!
//! Invariant, the reactor's: a socket is closed once neither its watch nor a send is in flight.

mod opening;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::Sender;
use std::time::Duration;

use bytes::Bytes;

use super::client::{Client, Part, Phase};
use super::clock::Clock;
use super::effort::Books;
use super::plan::{Mode, Pace, Plan};
use super::rounds::Rounds;
use super::schedule::Schedule;
use super::talk::Talk;
use super::tally::{Interval, Latencies, SAMPLE, Stage};
use crate::protocol::handshake::client::ClientHandshake;
use crate::protocol::{AssemblyPool, Incoming, Limits, State};
use crate::reactor::{Chunks, Completion, Reactor, Token};

/// Bytes of one read: as many as a socket's buffer holds by default, so that one system call empties it.
const READ_BYTES: usize = 256 * 1024;

/// Reads of one connection in a turn, before others have theirs.
const READS_PER_TURN: usize = 16;

/// The longest sleep, after which it looks whether another stage has begun.
const SLEEP_MAX: Duration = Duration::from_millis(20);

/// Messages of an open loop that are sent in a turn, before what has come is read: where more is offered than can be carried,
/// those that wait would else keep it from being read at all.
const MESSAGES_PER_TURN: usize = 1024;

/// Bytes that may wait on a connection whose peer does not read, before no more is sent to anyone: in an open loop those
/// that wait then count from when they were due.
const WAITING_BYTES_MAX: usize = 1 << 20;

/// What all workers of a process have in common.
#[derive(Debug)]
pub(super) struct Shared {
    pub plan: Arc<Plan>,
    /// The request, the same for all: its key only proves that no cache answers.
    pub request: Bytes,
    pub handshake: ClientHandshake,
    pub rounds: Arc<Rounds>,
    /// A [`Stage`].
    pub stage: AtomicU8,
    pub clock: Clock,
}

/// One thread's share of a run.
pub(super) struct Worker<R> {
    number: usize,
    shared: Arc<Shared>,
    reactor: R,
    clients: Vec<Client>,
    talk: Talk,
    pool: AssemblyPool,
    limits: Limits,
    /// Of `clients`, the next that has never been opened.
    unopened: usize,
    open: usize,
    opening: usize,
    opening_max: usize,
    /// Those that stopped reading before they were empty.
    cut_off: Vec<usize>,
    /// Those that send messages.
    speakers: Vec<usize>,
    /// Those that come and go when it is their turn.
    stayers: Vec<usize>,
    messages_due: Schedule,
    churn_due: Schedule,
    /// How late messages were sent after they were due, and until when those that are due wait for a peer that does not read.
    lateness: Latencies,
    held_back_ns: u64,
    scratch: Vec<u8>,
    completions: Vec<Completion>,
    /// Those that failed and are tried again, by when that is.
    retries: BinaryHeap<Reverse<(u64, usize)>>,
    /// When the stage began, and which of its samples it is in.
    stage_ns: u64,
    sample: u32,
    told_ns: u64,
    books: Books,
    /// Whether it was told that none is opening any more.
    told_opened: bool,
    told: Sender<Interval>,
}

impl<R: Reactor> Worker<R> {
    /// A worker for the connections with these numbers, of all those of the run; for the thread that makes it.
    pub fn new(number: usize, numbers: Range<usize>, shared: Arc<Shared>, reactor: R, told: Sender<Interval>) -> Self {
        let plan = &shared.plan;
        let share = numbers.len() as f64 / plan.connections as f64;
        let clients: Vec<_> = numbers.map(|number| Client::new(number, plan)).collect();
        let (speakers, stayers): (Vec<_>, Vec<_>) = (0..clients.len()).partition(|at| clients[*at].part.speaks());
        let rate = match plan.pace {
            // Each speaker has the same rate, wherever it is.
            Pace::PerSecond(rate) => rate * speakers.len() as f64 / speakers_in_all(plan).max(1) as f64,
            Pace::InFlight(_) => 0.0,
        };
        for client in &clients {
            if let Part::Publish(publisher) = client.part {
                shared.rounds.wakes(publisher, reactor.waker());
            }
        }
        let message_bytes_max = Limits::default().message_bytes_max.max(2 * plan.size as u64).max(16 << 20);
        Self {
            number,
            talk: Talk::new(Arc::clone(plan), Arc::clone(&shared.rounds)),
            limits: Limits { message_bytes_max, ..Limits::default() },
            opening_max: plan.opening_max.div_ceil(plan.threads),
            messages_due: Schedule::new(rate),
            churn_due: Schedule::new(if plan.mode == Mode::Mixed { plan.churn_per_second * share } else { 0.0 }),
            lateness: Latencies::default(),
            held_back_ns: 0,
            retries: BinaryHeap::new(),
            stage_ns: shared.clock.now_ns(),
            sample: 0,
            told_ns: shared.clock.now_ns(),
            books: Books::open(),
            told_opened: false,
            shared,
            reactor,
            clients,
            pool: AssemblyPool::default(),
            unopened: 0,
            open: 0,
            opening: 0,
            cut_off: Vec::new(),
            speakers,
            stayers,
            scratch: vec![0; READ_BYTES],
            completions: Vec::new(),
            told,
        }
    }

    /// Works until the last stage is over. Fails if the kernel refuses to go on.
    pub fn run(mut self) -> io::Result<()> {
        let mut closes_until_ns = u64::MAX;
        loop {
            let now_ns = self.shared.clock.now_ns();
            let stage = Stage::from_number(self.shared.stage.load(Ordering::Acquire));
            if stage != self.talk.stage {
                self.tell(now_ns, true);
                let before = std::mem::replace(&mut self.talk.stage, stage);
                (self.stage_ns, self.sample) = (now_ns, 0);
                self.begin(stage, before, now_ns);
                closes_until_ns = if stage == Stage::Close { now_ns + 2_000_000_000 } else { u64::MAX };
            }
            if now_ns >= closes_until_ns {
                (0..self.clients.len()).for_each(|at| self.end(at));
            }
            if stage == Stage::Close && self.clients.iter().all(|client| client.phase == Phase::Closed) {
                self.tell(now_ns, true);
                return Ok(());
            }
            self.open_more(now_ns);
            self.speak(now_ns);
            let wait = self.wait(now_ns);
            let mut cut_off = std::mem::take(&mut self.cut_off);
            let mut completions = std::mem::take(&mut self.completions);
            self.reactor.enter(wait, &mut completions)?;
            completions.drain(..).for_each(|completion| self.complete(completion));
            self.completions = completions;
            for at in cut_off.drain(..) {
                self.read(at, true);
            }
            self.talk.tell_delivered();
            // At once, because it says how long opening took.
            let opened = self.opening == 0 && self.unopened == self.clients.len();
            let has_news = opened && !std::mem::replace(&mut self.told_opened, opened);
            if now_ns >= self.sample_ends_ns() {
                self.give_up_on_slow_handshakes(now_ns);
                self.tell(now_ns, true);
                self.sample = ((now_ns - self.stage_ns) / SAMPLE.as_nanos() as u64) as u32;
            } else if has_news {
                self.tell(now_ns, false);
            }
        }
    }

    /// How long to sleep at most.
    fn wait(&self, now_ns: u64) -> Duration {
        if !self.cut_off.is_empty() {
            return Duration::ZERO;
        }
        let mut due_ns = self.sample_ends_ns();
        if self.talk.flows() {
            let retry = self.retries.peek().filter(|_| self.opening < self.opening_max);
            let retry_ns = retry.map_or(u64::MAX, |Reverse((due_ns, _))| *due_ns);
            due_ns = due_ns.min(self.messages_due.next_ns()).min(self.churn_due.next_ns()).min(retry_ns);
        }
        SLEEP_MAX.min(Duration::from_nanos(due_ns.saturating_sub(now_ns)))
    }

    fn sample_ends_ns(&self) -> u64 {
        self.stage_ns + (u64::from(self.sample) + 1) * SAMPLE.as_nanos() as u64
    }

    /// Another stage begins; one that was very short may have been missed.
    fn begin(&mut self, stage: Stage, before: Stage, now_ns: u64) {
        match stage {
            Stage::WarmUp | Stage::Measure if before == Stage::Open => {
                self.messages_due.start(now_ns);
                self.churn_due.start(now_ns);
                (0..self.clients.len()).for_each(|at| self.fill(at, now_ns));
            }
            Stage::Settle if self.shared.plan.mode == Mode::Connect => {
                // Those whose turn has not come are not tried any more.
                self.unopened = self.clients.len();
            }
            // Whether all that were held are still there.
            Stage::Settle if self.shared.plan.mode == Mode::Idle => {
                for at in 0..self.clients.len() {
                    if self.clients[at].phase == Phase::Open {
                        self.talk.say(&mut self.clients[at], now_ns);
                        self.transmit(at);
                    }
                }
            }
            Stage::Close => {
                for at in 0..self.clients.len() {
                    match self.clients[at].phase {
                        Phase::Open => {
                            self.talk.give_up(&mut self.clients[at]);
                            self.clients[at].phase = Phase::Closing;
                            self.talk.part(&mut self.clients[at]);
                            self.transmit(at);
                        }
                        // Whoever interrupts it while connections are opened does not wait for them.
                        Phase::Opening if before == Stage::Open => self.end(at),
                        Phase::Opening => {
                            self.refused(at, "A handshake was not answered, though it was waited for.".to_owned());
                        }
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }

    /// Sends what is due by now, in an open loop, and what publishers may send, in a closed one.
    fn speak(&mut self, now_ns: u64) {
        if !self.talk.flows() {
            return;
        }
        for _ in 0..MESSAGES_PER_TURN {
            let Some((due_ns, turn)) = self.messages_due.due(now_ns) else { break };
            let at = self.speakers[turn as usize % self.speakers.len()];
            if self.clients[at].phase == Phase::Open {
                if self.clients[at].waiting.len() > WAITING_BYTES_MAX {
                    self.held_back_ns = now_ns;
                    break;
                }
                if due_ns > self.held_back_ns {
                    // What was sent before it in this turn is a part of it.
                    self.lateness.note(self.shared.clock.now_ns().saturating_sub(due_ns), 1);
                }
                self.talk.say(&mut self.clients[at], due_ns);
                self.transmit(at);
            } else {
                self.talk.counts.unsent += 1;
            }
            self.messages_due.pass();
        }
        if self.shared.plan.mode == Mode::Fanout {
            for turn in 0..self.speakers.len() {
                self.fill(self.speakers[turn], now_ns);
            }
        }
        while let Some((_, turn)) = self.churn_due.due(now_ns) {
            self.churn_due.pass();
            let at = self.stayers.get(turn as usize % self.stayers.len().max(1)).copied();
            if let Some(at) = at.filter(|at| self.clients[*at].phase == Phase::Open) {
                self.clients[at].tries = 0;
                self.end(at);
            }
        }
    }

    fn fill(&mut self, at: usize, now_ns: u64) {
        if self.clients[at].phase == Phase::Open {
            self.talk.fill(&mut self.clients[at], now_ns);
            self.transmit(at);
        }
    }

    fn complete(&mut self, completion: Completion) {
        match completion {
            Completion::Readable { token, ended } => {
                if let Some(at) = self.known(token) {
                    self.read(at, ended);
                }
            }
            Completion::Sent { token, result, more } => {
                let Some(at) = self.known(token) else { return };
                self.clients[at].sending = more;
                if let Err(error) = result {
                    self.fail(at, &error);
                } else if !more && !self.clients[at].waiting.is_empty() {
                    let waiting = std::mem::take(&mut self.clients[at].waiting);
                    self.hand_over(at, waiting.into());
                }
                self.close_if_done(at);
            }
            Completion::WatchEnded { token, result } => {
                let Some(at) = self.known(token) else { return };
                self.clients[at].watched = false;
                if let Err(error) = result {
                    self.fail(at, &error);
                } else if self.clients[at].phase != Phase::Ending
                    && let Some(socket) = self.clients[at].socket
                {
                    self.clients[at].watched = true;
                    self.reactor.watch(socket, token);
                }
                self.close_if_done(at);
            }
            Completion::Accepted { .. } | Completion::Woken => {}
        }
    }

    /// Whose token that is, if it is not of a connection that has been closed.
    fn known(&self, token: Token) -> Option<usize> {
        let at = token.index as usize;
        (self.clients.get(at)?.generation == token.generation).then_some(at)
    }

    /// Reads what has come. A short read means that there is no more, unless the end waits behind it.
    fn read(&mut self, at: usize, ended: bool) {
        let mut scratch = std::mem::take(&mut self.scratch);
        let mut reads = 0;
        while let Some(socket) = self.clients[at].socket.filter(|_| self.clients[at].phase != Phase::Ending) {
            if reads == READS_PER_TURN {
                self.cut_off.push(at);
                break;
            }
            reads += 1;
            match self.reactor.recv(socket, &mut scratch) {
                Ok(0) => {
                    self.end_of_stream(at);
                    break;
                }
                Ok(count) => {
                    self.consume(at, &mut scratch[..count]);
                    if count < scratch.len() && !ended {
                        break;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.fail(at, &error);
                    break;
                }
            }
        }
        self.scratch = scratch;
    }

    fn consume(&mut self, at: usize, input: &mut [u8]) {
        match self.clients[at].phase {
            Phase::Opening => self.consume_answer(at, input),
            Phase::Open | Phase::Closing => self.consume_frames(at, input),
            Phase::Closed | Phase::Ending => {}
        }
    }

    fn consume_frames(&mut self, at: usize, input: &mut [u8]) {
        let now_ns = self.shared.clock.now_ns();
        let Self { clients, talk, pool, limits, .. } = self;
        let client = &mut clients[at];
        let mut incoming = Incoming::new(input, 0);
        let violation = loop {
            match incoming.next(&mut client.connection, pool, limits) {
                Ok(Some(event)) => talk.hear(client, event, now_ns),
                Ok(None) => break None,
                Err(violation) => break Some(violation),
            }
        };
        if let Some(violation) = violation {
            talk.counts.fault(format!("The server broke the protocol. {violation}"), 1);
            talk.out.clear();
            return self.end(at);
        }
        self.transmit(at);
    }

    /// Sends what was written. Costs one system call, if anything was.
    fn transmit(&mut self, at: usize) {
        let client = &mut self.clients[at];
        let Some(socket) = client.socket.filter(|_| !self.talk.out.is_empty()) else { return self.talk.out.clear() };
        if client.sending {
            client.waiting.append(&mut self.talk.out);
            return;
        }
        match self.reactor.send_now(socket, &[IoSlice::new(&self.talk.out)]) {
            Ok(count) if count == self.talk.out.len() => {}
            Ok(count) => self.hand_over(at, Bytes::copy_from_slice(&self.talk.out[count..])),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.hand_over(at, Bytes::copy_from_slice(&self.talk.out));
            }
            Err(error) => self.fail(at, &error),
        }
        self.talk.out.clear();
    }

    /// Leaves it to the reactor to send that when there is room.
    fn hand_over(&mut self, at: usize, bytes: Bytes) {
        let client = &mut self.clients[at];
        if let Some(socket) = client.socket.filter(|_| client.phase != Phase::Ending) {
            client.sending = true;
            self.reactor.send(socket, client.token(at), Chunks::One(bytes));
        }
    }

    fn end_of_stream(&mut self, at: usize) {
        match self.clients[at].phase {
            Phase::Opening => self.talk.counts.fault("The server ended a connection without answering its request.", 1),
            Phase::Open if self.clients[at].connection.state() == State::Open => {
                self.talk.counts.fault("The server ended a connection without a Close frame.", 1);
            }
            _ => {}
        }
        self.end(at);
    }

    fn fail(&mut self, at: usize, error: &io::Error) {
        match self.clients[at].phase {
            Phase::Opening => self.talk.counts.fault(format!("A connection could not be opened: {error}."), 1),
            Phase::Open => self.talk.counts.fault(format!("A connection broke: {error}."), 1),
            Phase::Closed | Phase::Closing | Phase::Ending => {}
        }
        self.end(at);
    }

    /// Gives a connection up, at once: what it has not sent is dropped, and so is what it has not read.
    fn end(&mut self, at: usize) {
        let client = &mut self.clients[at];
        let Some(socket) = client.socket else { return };
        match client.phase {
            Phase::Closed | Phase::Ending => return,
            Phase::Opening => self.opening -= 1,
            Phase::Open | Phase::Closing => self.open -= 1,
        }
        client.phase = Phase::Ending;
        client.waiting = Vec::new();
        self.talk.forget(client);
        self.reactor.discard_on_close(socket);
        if client.sending {
            self.reactor.shutdown(socket, Shutdown::Both);
        }
        if client.watched {
            self.reactor.unwatch(socket, client.token(at));
        }
        self.close_if_done(at);
    }

    fn close_if_done(&mut self, at: usize) {
        let client = &mut self.clients[at];
        let Some(socket) = client.socket else { return };
        if client.phase != Phase::Ending || client.watched || client.sending {
            return;
        }
        self.reactor.close(socket);
        client.socket = None;
        client.phase = Phase::Closed;
        self.come_again(at);
    }

    /// Says what was done since the last time.
    fn tell(&mut self, now_ns: u64, completes_sample: bool) {
        let interval = Interval {
            stage: self.talk.stage,
            sample: self.sample,
            completes_sample,
            at_ns: now_ns,
            span_ns: now_ns - std::mem::replace(&mut self.told_ns, now_ns),
            effort: self.books.since_last(),
            worker: self.number,
            open: self.open,
            opening: self.opening + self.clients.len() - self.unopened,
            in_flight: self.talk.in_flight,
            counts: std::mem::take(&mut self.talk.counts),
            latencies: self.talk.take_latencies(),
            lateness: std::mem::take(&mut self.lateness),
        };
        // Nobody listens any more when the run is given up.
        let _ = self.told.send(interval);
    }
}

fn speakers_in_all(plan: &Plan) -> usize {
    (0..plan.connections).filter(|number| Part::of(*number, plan).speaks()).count()
}
