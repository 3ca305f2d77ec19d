//! A core on a simulated kernel, with a clock that only the test moves.
//!
//! Drives the core as the runtime does, and skips the time in which the core says that nothing can happen: a core that
//! would oversleep a timeout in production does so here.

use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Waker};
use std::time::{Duration, UNIX_EPOCH};

use super::board::Board;
use super::client::Client;
use super::handler::App;
use super::ledger::{Ledger, Moment, Seen};
use super::letter::{Letter, Post};
use super::log::Log;
use super::trace::{Trace, Traced};
use crate::engine::core::view::View;
use crate::engine::wheel::TICK_MS;
use crate::engine::{
    Admission, AdmissionPolicy, BoxedTask, Core, Counters, Current, Handler, Limits, MeshEntry, Seed, ServerHandle,
    Session, SessionId, SharedRates,
};
use crate::mesh::Mesh;
use crate::protocol::deflate::Compression;
use crate::protocol::handshake::Offer;
use crate::reactor::sim::{DELAY_MAX_TURNS, Faults, Kind, Network, Peer, Sim};
use crate::reactor::{Listener, Owner, Reactor};
use crate::tls::Acceptor;

/// Turns after which a core that still finds something to do counts as spinning.
const SETTLE_TURNS_MAX: usize = 100_000;

/// A time longer than any timeout of the engine, after which every session that must be cut off is.
const LONG_MS: u64 = 180_000;

/// The time of day, which stands still: Sun, 06 Nov 1994 08:49:37 GMT.
const TIME_OF_DAY: Duration = Duration::from_secs(784_111_777);

/// The most polls of a task before it has something to do.
pub const POLLS_MAX: usize = 30;

/// The most times that a session may be paused by input of its client.
const PAUSES_MAX: usize = 100;

/// The values that the cores of one process share.
#[derive(Clone)]
pub struct Process {
    connections: Arc<AtomicUsize>,
    pub admission: Arc<Admission>,
    pub trace: Rc<Trace>,
    /// The published messages, and their subscribers.
    pub board: Rc<Board>,
    /// The handle that reaches its topics and sessions from outside.
    pub handle: ServerHandle<Letter>,
    /// The mail of all its cores.
    pub post: Rc<Post>,
    /// The units that subjects and addresses have spent.
    rates: Arc<SharedRates>,
    /// The listeners of each core.
    pub listeners: Vec<Kind>,
    /// The counters of its cores.
    counters: Arc<[Arc<Counters>]>,
    /// The server's end of TLS, and the listeners that speak it.
    pub acceptor: Option<Arc<Acceptor>>,
    /// The ends of its rings that no core has taken yet.
    mesh: Rc<RefCell<Vec<Option<Mesh<MeshEntry>>>>>,
}

impl Process {
    pub fn new(cores: usize, policy: AdmissionPolicy, limits: &Limits) -> Self {
        let admission = Arc::new(Admission::new(policy, limits));
        let mesh = Mesh::build(cores, limits.mesh);
        let handle = ServerHandle::new(mesh[0].injector());
        let mesh = Rc::new(RefCell::new(mesh.into_iter().map(Some).collect()));
        let (trace, board, post) = (Rc::default(), Rc::default(), Rc::default());
        let counters = (0..cores).map(|_| Arc::default()).collect();
        let listeners = vec![Kind::Tcp];
        Self {
            connections: Arc::default(),
            rates: Arc::default(),
            admission,
            trace,
            board,
            handle,
            post,
            listeners,
            counters,
            mesh,
            acceptor: None,
        }
    }

    /// Returns the number of connections that the world expects.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

pub struct World<H: Handler = App> {
    pub core: Core<H, Traced>,
    pub network: Network,
    pub counters: Arc<Counters>,
    pub log: Rc<Log>,
    /// The limits that a test may replace.
    pub limits: Current<Limits>,
    pub admission: Arc<Admission>,
    process: Process,
    tasks: Executor,
    now_ms: u64,
    peers: Vec<Peer>,
    ledger: Ledger,
    /// The time at which a timer wakes the core, if it sleeps: see [`World::run`].
    asleep: Option<u64>,
    drain_wanted: bool,
    hurry_wanted: bool,
}

impl World {
    pub fn new() -> Self {
        Self::with(Limits::default())
    }

    pub fn with(limits: Limits) -> Self {
        Self::faulty(limits, 0, Faults::default())
    }

    pub fn faulty(limits: Limits, seed: u64, faults: Faults) -> Self {
        Self::guarded(AdmissionPolicy::default(), limits, seed, faults)
    }

    pub fn guarded(policy: AdmissionPolicy, limits: Limits, seed: u64, faults: Faults) -> Self {
        Self::within(&Process::new(1, policy, &limits), 0, App::new, limits, seed, faults)
    }
}

impl<H: Handler> World<H> {
    pub fn serving(handler: impl FnOnce(Rc<Log>) -> H, limits: Limits, seed: u64, faults: Faults) -> Self {
        Self::within(&Process::new(1, AdmissionPolicy::default(), &limits), 0, handler, limits, seed, faults)
    }

    /// Returns a core that listens on all of these.
    pub fn listening(handler: impl FnOnce(Rc<Log>) -> H, listeners: &[Kind], seed: u64, faults: Faults) -> Self {
        let limits = Limits::default();
        let mut process = Process::new(1, AdmissionPolicy::default(), &limits);
        process.listeners = listeners.to_vec();
        Self::within(&process, 0, handler, limits, seed, faults)
    }

    /// Returns one of several cores.
    pub fn within(
        process: &Process,
        core: u16,
        handler: impl FnOnce(Rc<Log>) -> H,
        limits: Limits,
        seed: u64,
        faults: Faults,
    ) -> Self {
        let (reactor, network) = Sim::new(seed, faults);
        let counters = Arc::clone(&process.counters[usize::from(core)]);
        let log = Rc::new(Log::of(&process.board, &process.post));
        let tasks = Executor::default();
        let limits = Current::new(limits);
        let seed = Seed {
            core,
            listeners: process
                .listeners
                .iter()
                .map(|kind| Listener { tls: process.acceptor.is_some(), ..listen(&network, *kind) })
                .collect(),
            limits: limits.follow(),
            counters_of_all: Arc::clone(&process.counters),
            connections: Arc::clone(&process.connections),
            admission: Arc::clone(&process.admission),
            rates: Arc::clone(&process.rates),
            mesh: process.mesh.borrow_mut()[usize::from(core)].take().expect("each core is made once"),
            clock: || UNIX_EPOCH + TIME_OF_DAY,
            acceptor: process.acceptor.clone(),
            monotonic_us: super::tls::ticking_us,
        };
        let reactor = Traced::new(reactor, Rc::clone(&process.trace));
        let core = Core::new(seed, handler(Rc::clone(&log)), reactor, tasks.spawner());
        let mut world = Self {
            core,
            network,
            counters,
            log,
            limits,
            admission: Arc::clone(&process.admission),
            process: process.clone(),
            tasks,
            now_ms: 0,
            peers: Vec::new(),
            ledger: Ledger::default(),
            asleep: None,
            drain_wanted: false,
            hurry_wanted: false,
        };
        world.settle();
        world
    }

    /// Returns a client that has connected and sent nothing.
    pub fn connect(&mut self) -> Client {
        let peer = self.network.connect().expect("somebody listens");
        self.welcome(peer)
    }

    /// Returns a client from this address, which no other current connection has.
    pub fn connect_at(&mut self, address: SocketAddr) -> Client {
        let listeners = self.view().listeners();
        let at = usize::from(address.port()) % listeners.len();
        let peer = self.network.connect_to(listeners[at], address).expect("there is room");
        self.welcome(peer)
    }

    /// Returns a client of the listener with this index, which has sent nothing.
    pub fn connect_by(&mut self, listener: usize) -> Client {
        let listener = self.view().listeners()[listener];
        let address = SocketAddr::from(([127, 0, 0, 1], 40_000 + self.peers.len() as u16));
        let peer = self.network.connect_to(listener, address).expect("there is room");
        self.welcome(peer)
    }

    fn welcome(&mut self, peer: Peer) -> Client {
        self.peers.push(peer.clone());
        Client::new(peer, Rc::clone(&self.process.trace))
    }

    /// Returns a client from this address that has connected and sent nothing.
    pub fn connect_from(&mut self, address: &str) -> Client {
        let address: IpAddr = address.parse().expect("an address");
        let from = SocketAddr::new(address, 40_000 + self.peers.len() as u16);
        self.connect_at(from)
    }

    /// Returns a client with an open WebSocket.
    pub fn open(&mut self, target: &str) -> Client {
        let mut client = self.connect();
        client.ask(target, &[]);
        self.settle();
        assert!(client.is_accepted(), "the upgrade was not accepted");
        client
    }

    /// Returns a client with an open WebSocket, and the name of its session.
    pub fn open_session(&mut self) -> (Client, SessionId) {
        let client = self.open("/");
        let id = *self.log.opened.borrow().last().expect("a session was opened");
        (client, id)
    }

    /// Runs one turn of the runtime's loop. Returns whether there was anything to do.
    pub fn turn(&mut self) -> bool {
        self.asleep = None;
        self.heed();
        self.core.awake();
        let more = self.core.turn(self.now_ms);
        let ended = self.tasks.run();
        let waits = self.core.may_wait();
        let completed = self.enter();
        more || ended || completed || !waits || self.core.has_commands_or_wake(Waker::noop())
    }

    /// Runs the core as the runtime does: turns while there is something to do, and then none until a completion, a
    /// task or a timer wakes it. Returns whether it made a turn. An event that fails to wake the core here would be
    /// handled up to half a second late in production.
    pub fn run(&mut self) -> bool {
        self.tasks.run();
        if let Some(wake_ms) = self.asleep {
            let completed = self.enter();
            if !completed && !self.core.has_commands_or_wake(Waker::noop()) && self.now_ms < wake_ms {
                return false;
            }
        }
        self.heed();
        self.process.trace.note("turn: core, time", &[u64::from(self.view().number()), self.now_ms], b"");
        self.core.awake();
        let more = self.core.turn(self.now_ms);
        // A sleeping core does not check for entries of other cores: they wake it.
        let waits = self.core.may_wait();
        let completed = self.enter();
        let idle_ms = || self.core.idle_ms().unwrap_or(LONG_MS);
        self.asleep = (!more && !completed && waits).then(|| self.now_ms + idle_ms());
        true
    }

    fn enter(&mut self) -> bool {
        self.core.enter(Duration::ZERO).expect("a simulated kernel can be entered")
    }

    /// Carries out the shutdown that the supervisor requests.
    fn heed(&mut self) {
        if std::mem::take(&mut self.drain_wanted) {
            self.core.drain();
        }
        if self.hurry_wanted {
            self.core.hurry(self.now_ms);
        }
    }

    /// Makes a core hurry, as the supervisor does; the core then checks for that in every turn.
    pub fn ask_to_hurry(&mut self) {
        self.hurry_wanted = true;
        self.core.reactor().waker().wake();
    }

    /// Makes a core drain, as the supervisor does.
    pub fn ask_to_drain(&mut self) {
        self.drain_wanted = true;
        self.core.reactor().waker().wake();
    }

    pub fn turns(&mut self, count: usize) {
        (0..count).for_each(|_| {
            self.turn();
        });
    }

    /// Runs turns until nothing more happens by itself.
    pub fn settle(&mut self) {
        let mut quiet = 0;
        for _ in 0..SETTLE_TURNS_MAX {
            quiet = if self.turn() { 0 } else { quiet + 1 };
            // Delayed completions may arrive as late as this.
            if quiet > DELAY_MAX_TURNS {
                return;
            }
        }
        panic!("the core spins");
    }

    /// Lets time pass, as fast as the core allows.
    pub fn advance(&mut self, milliseconds: u64) {
        let until = self.now_ms + milliseconds;
        loop {
            self.settle();
            // A core that waits for another checks every millisecond; here the other one does not run.
            let step = if self.view().awaits_others() { TICK_MS } else { 1 };
            let wake = self.core.idle_ms().map_or(until, |idle_ms| self.now_ms + idle_ms.max(step));
            if wake >= until {
                break;
            }
            self.now_ms = wake;
        }
        self.now_ms = until;
        self.settle();
    }

    /// Moves the clock and does nothing else, as if the core had not run.
    pub fn skip(&mut self, milliseconds: u64) {
        self.now_ms += milliseconds;
    }

    pub fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// Calls with a session, as its handler could at any time.
    pub fn call(&mut self, id: SessionId, call: impl FnOnce(&mut Session<'_, H>)) {
        self.core.call_for_test(id, call);
    }

    /// Resumes the sessions that their handler paused.
    pub fn resume(&mut self, id: SessionId) {
        self.call(id, |session| session.resume());
    }

    /// Resumes all sessions. A session that is paused, or slowed down, does not notice that its peer has left, and no
    /// other is left by now.
    fn resume_all(&mut self) {
        // Input that was not read yet may pause a session again.
        for _ in 0..PAUSES_MAX {
            if self.core.sessions() == 0 {
                return;
            }
            let opened = self.log.opened.borrow().clone();
            for id in opened {
                let session = self.view().session(id);
                let is_not_read = session.is_none_or(|session| session.is_paused() || session.is_slowed());
                assert!(is_not_read, "a session outlives its client");
                self.resume(id);
            }
            self.advance(LONG_MS);
        }
    }

    /// Sends messages to a session, as its handler could at any time.
    pub fn send_to(&mut self, id: SessionId, count: usize, bytes: usize) {
        self.call(id, |session| {
            (0..count).for_each(|_| {
                session.send(&vec![0; bytes]);
            });
        });
    }

    /// Returns how often the core has asked for a peer's acknowledgements.
    pub fn looks(&mut self) -> u64 {
        self.core.reactor().looks.get()
    }

    /// Returns the bytes that the core holds for a session, received or to be sent.
    pub fn bytes_held(&self, id: SessionId) -> usize {
        self.view().session(id).map_or(0, |session| session.outbox_bytes() + session.unconsumed_bytes())
    }

    /// Returns what tests see of the core.
    pub fn view(&self) -> View<'_, H, Traced> {
        self.core.view()
    }

    /// Checks the conditions that hold after every turn.
    pub fn check(&mut self) {
        assert_eq!(self.network.violations(), Vec::<String>::new());
        let counters = &self.counters;
        let (accepted, closed) = (counters.accepted.read(), counters.closed.read());
        // Each end is counted once, and with a reason.
        assert_eq!(accepted, closed + self.core.sessions() as u64, "accepted = closed + live");
        assert!(counters.sessions_closed.read() <= counters.upgraded.read());
        let view = self.core.view();
        assert!(view.known_clients() <= self.core.sessions(), "an address is remembered of a session that is gone");
        assert!(self.admission.connections_of_busiest() <= view.limits().connections_per_address_max);
        assert_eq!(view.reply_bytes(), 0, "a reply belongs to the session at hand");
        assert!(view.has_sound_slots(), "a slot is free twice, or neither free nor in use");
        assert!(!self.log.sent_after_end.get(), "nothing can be sent once a session has ended");
        assert_eq!(*self.log.disorder.borrow(), Vec::<String>::new());
        assert_eq!(counters.upgraded.read(), self.log.opened.borrow().len() as u64);
        let moment = Moment { tick: view.tick(), turn: self.network.turns() };
        for session in view.sessions() {
            let address = self.network.address_of(session.socket()).expect("a session has a socket");
            assert!(
                !view.has_told_all() || !session.is_open(),
                "a session was not told that the server ends, though the time for that is over"
            );
            let seen = Seen { address, taken: self.network.taken(session.socket()) };
            self.ledger.look(&session, seen, view.limits(), moment);
        }
    }

    /// Disconnects every client, and checks that nothing is left. Runs by itself at the end of a test.
    pub fn end(&mut self) {
        self.network.set_faults(Faults::default());
        self.peers.iter().for_each(Peer::finish);
        self.advance(LONG_MS);
        self.resume_all();
        // The server reads nothing behind a request whose answer is pending, so an end that waits behind more than the
        // socket's buffer holds is not seen. The client's host gives up at some time.
        self.peers.iter().filter(|peer| peer.is_end_held_up()).for_each(Peer::reset);
        self.turns(POLLS_MAX);
        self.check();
        assert_eq!(self.core.sessions(), 0, "sessions outlive their clients");
        assert_eq!(self.core.has_tasks(), !self.log.gate.is_clear(), "tasks are left");
        let listeners = if self.view().is_draining() { 0 } else { self.process.listeners.len() };
        assert_eq!(self.network.open_sockets(), listeners, "a socket was not closed");
        let mut opened = self.log.opened.borrow().clone();
        let mut closed: Vec<_> = self.log.closed.borrow().iter().map(|ended| ended.id).collect();
        opened.sort_by_key(SessionId::to_string);
        closed.sort_by_key(SessionId::to_string);
        assert_eq!(opened, closed, "every session that was opened is closed, once");
        assert_eq!(self.counters.sessions_closed.read(), self.counters.upgraded.read());
    }
}

impl<H: Handler> Drop for World<H> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.end();
            assert_eq!(self.process.connections(), 0, "the process counts a connection that is gone");
            assert!(self.admission.is_empty(), "an address is counted whose connections are gone");
        }
    }
}

/// Returns a client with a WebSocket that offered compression, whether or not the server agreed.
pub fn open_offering(world: &mut World, context_takeover: bool) -> Client {
    let mut client = world.connect();
    client.offer(Offer::new(&Compression { context_takeover, ..Compression::default() }));
    client.ask("/", &[]);
    world.settle();
    assert!(client.is_accepted());
    client
}

/// Returns a listener of this kind as its core receives it.
fn listen(network: &Network, kind: Kind) -> Listener {
    let owner = match kind {
        Kind::Tcp => Owner::Core,
        Kind::Unix => Owner::Server,
        Kind::Inherited => Owner::Supervisor,
    };
    Listener { socket: network.listen_as(kind), owner, is_unix: kind == Kind::Unix, proxy_protocol: false, tls: false }
}

/// Polls every task in every turn: wakers are not tested here.
#[derive(Clone, Default)]
struct Executor(Rc<RefCell<Vec<BoxedTask>>>);

impl Executor {
    fn spawner(&self) -> crate::engine::Spawner {
        let tasks = self.clone();
        Box::new(move |task| tasks.0.borrow_mut().push(task))
    }

    /// Returns whether any task ended.
    fn run(&self) -> bool {
        let mut tasks = std::mem::take(&mut *self.0.borrow_mut());
        let before = tasks.len();
        let mut context = Context::from_waker(Waker::noop());
        tasks.retain_mut(|task| task.as_mut().poll(&mut context).is_pending());
        let ended = tasks.len() < before;
        tasks.append(&mut self.0.borrow_mut());
        *self.0.borrow_mut() = tasks;
        ended
    }
}
