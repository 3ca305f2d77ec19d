//! A core on a simulated kernel, with a clock that only the test moves.
//!
//! It drives the core as the runtime does, and jumps over the time in which the core says that nothing can happen: a
//! core that would oversleep a timeout in production does so here.

use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Waker};
use std::time::Duration;

use super::client::Client;
use super::handler::{App, Log};
use crate::engine::{Admission, AdmissionPolicy, BoxedTask, Core, CoreSetup, Counters, Handler, Limits, SessionId};
use crate::reactor::Socket;
use crate::reactor::sim::{DELAY_MAX_TURNS, Faults, Network, Peer, Sim};

/// Turns after which a core that still finds something to do is taken to be spinning.
const SETTLE_TURNS_MAX: usize = 100_000;

/// Longer than any timeout of the engine: by then whoever was to be cut off is.
const LONG_MS: u64 = 180_000;

/// How often a session may be paused by what its client has sent.
const PAUSES_MAX: usize = 100;

pub struct World<H: Handler = App> {
    pub core: Core<H, Sim>,
    pub network: Network,
    pub counters: Arc<Counters>,
    pub log: Rc<Log>,
    pub admission: Arc<Admission>,
    listener: Socket,
    connections: Arc<AtomicUsize>,
    tasks: Executor,
    now_ms: u64,
    peers: Vec<Peer>,
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
        Self::made(App::new, policy, limits, seed, faults)
    }
}

impl<H: Handler> World<H> {
    pub fn serving(handler: impl FnOnce(Rc<Log>) -> H, limits: Limits, seed: u64, faults: Faults) -> Self {
        Self::made(handler, AdmissionPolicy::default(), limits, seed, faults)
    }

    fn made(
        handler: impl FnOnce(Rc<Log>) -> H,
        policy: AdmissionPolicy,
        limits: Limits,
        seed: u64,
        faults: Faults,
    ) -> Self {
        let (reactor, network) = Sim::new(seed, faults);
        let (counters, connections) = (Arc::<Counters>::default(), Arc::<AtomicUsize>::default());
        let (log, tasks) = (Rc::<Log>::default(), Executor::default());
        let (admission, listener) = (Arc::new(Admission::new(policy, &limits)), network.listen());
        let core = Core::new(CoreSetup {
            core: 0,
            handler: handler(Rc::clone(&log)),
            reactor,
            listener,
            limits,
            counters: Arc::clone(&counters),
            connections: Arc::clone(&connections),
            admission: Arc::clone(&admission),
            spawner: tasks.spawner(),
        });
        let peers = Vec::new();
        let mut world =
            Self { core, network, counters, log, admission, listener, connections, tasks, now_ms: 0, peers };
        world.settle();
        world
    }

    /// A client that has connected and said nothing.
    pub fn connect(&mut self) -> Client {
        let peer = self.network.connect().expect("somebody listens");
        self.peers.push(peer.clone());
        Client::new(peer)
    }

    /// A client from this address that has connected and said nothing.
    pub fn connect_from(&mut self, address: &str) -> Client {
        let address: IpAddr = address.parse().expect("an address");
        let from = SocketAddr::new(address, 40_000 + self.peers.len() as u16);
        let peer = self.network.connect_to(self.listener, from).expect("somebody listens");
        self.peers.push(peer.clone());
        Client::new(peer)
    }

    /// A client with an open WebSocket.
    pub fn open(&mut self, target: &str) -> Client {
        let mut client = self.connect();
        client.ask(target, &[]);
        self.settle();
        assert!(client.is_accepted(), "the upgrade was not accepted");
        client
    }

    /// A client with an open WebSocket, and the name of its session.
    pub fn open_session(&mut self) -> (Client, SessionId) {
        let client = self.open("/");
        let id = *self.log.opened.borrow().last().expect("a session was opened");
        (client, id)
    }

    /// One turn of the runtime's loop. Says whether there was anything to do.
    pub fn turn(&mut self) -> bool {
        let more = self.core.turn(self.now_ms);
        let ended = self.tasks.run();
        let completed = self.core.enter(Duration::ZERO).expect("a simulated kernel can be entered");
        more || ended || completed
    }

    pub fn turns(&mut self, count: usize) {
        (0..count).for_each(|_| {
            self.turn();
        });
    }

    /// Turns until nothing more happens by itself.
    pub fn settle(&mut self) {
        let mut quiet = 0;
        for _ in 0..SETTLE_TURNS_MAX {
            quiet = if self.turn() { 0 } else { quiet + 1 };
            // What was delayed may come as late as this.
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
            let wake = self.core.idle_ms().map_or(until, |idle_ms| self.now_ms + idle_ms.max(1));
            if wake >= until {
                break;
            }
            self.now_ms = wake;
        }
        self.now_ms = until;
        self.settle();
    }

    /// Moves the clock and does nothing else: a core that was kept from running.
    pub fn skip(&mut self, milliseconds: u64) {
        self.now_ms += milliseconds;
    }

    pub fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// Has the sessions read on that their handler paused.
    pub fn resume(&mut self, id: SessionId) {
        self.core.call(id.token, |_, session| session.resume());
        self.core.flush_and_settle(id.token);
    }

    /// Has everyone read on. A paused session does not hear that its peer has gone, and nobody else is left by now.
    fn resume_all(&mut self) {
        // What was not read yet may pause it again, and again.
        for _ in 0..PAUSES_MAX {
            if self.core.sessions() == 0 {
                return;
            }
            let opened = self.log.opened.borrow().clone();
            for id in opened {
                let slot = self.core.sessions.get_mut(id.token);
                assert!(slot.is_none_or(|slot| slot.paused), "a session outlives its client");
                self.resume(id);
            }
            self.advance(LONG_MS);
        }
    }

    /// Sends messages to a session, as its handler could at any time.
    pub fn send_to(&mut self, id: SessionId, count: usize, bytes: usize) {
        self.core.call(id.token, |_, session| {
            (0..count).for_each(|_| {
                session.send(&vec![0; bytes]);
            });
        });
        self.core.flush_and_settle(id.token);
    }

    /// Bytes the core holds for a session, received or to be sent.
    pub fn bytes_held(&mut self, id: SessionId) -> usize {
        let (outbox, backlog) = self.bytes_in_slot(id.token.index);
        outbox + backlog
    }

    /// Bytes that wait to be sent to, and that were received from, whoever has this slot.
    pub fn bytes_in_slot(&mut self, index: u32) -> (usize, usize) {
        let sessions = &mut self.core.sessions;
        let Some(slot) = sessions.token_at(index).and_then(|token| sessions.get_mut(token)) else { return (0, 0) };
        (slot.outbox_bytes(), slot.backlog.as_ref().map_or(0, |backlog| backlog.bytes.len()))
    }

    /// What holds at every moment.
    pub fn check(&self) {
        assert_eq!(self.network.violations(), Vec::<String>::new());
        let counters = &self.counters;
        let (accepted, closed) = (counters.accepted.read(), counters.closed.read());
        // Each end is counted once, and for a reason.
        assert_eq!(accepted, closed + self.core.sessions() as u64, "accepted = closed + live");
        assert!(counters.sessions_closed.read() <= counters.upgraded.read());
        assert_eq!(self.connections.load(Ordering::Relaxed), self.core.sessions());
        let counted = self.core.common.clients.counted();
        assert!(counted <= self.core.sessions(), "an address is remembered of a session that is gone");
        let limit = self.core.common.limits.connections_per_address_max;
        let expected = if limit > 0 { counted } else { 0 };
        assert_eq!(self.admission.connections() as usize, expected, "what is counted are the sessions there are");
        assert!(self.admission.connections_of_busiest() <= limit);
        assert!(self.core.common.reply.is_empty(), "a reply belongs to the session at hand");
        assert!(!self.log.sent_after_end.get(), "nothing can be sent once a session has ended");
        assert_eq!(counters.upgraded.read(), self.log.opened.borrow().len() as u64);
    }

    /// Every client goes away, and then nothing may be left. Runs by itself when a test is over.
    pub fn end(&mut self) {
        self.check();
        self.network.set_faults(Faults::default());
        self.peers.iter().for_each(Peer::finish);
        self.advance(LONG_MS);
        self.resume_all();
        self.check();
        assert_eq!(self.core.sessions(), 0, "sessions outlive their clients");
        assert_eq!(self.core.has_tasks(), !self.log.gate.is_clear(), "tasks are left");
        assert!(self.admission.is_empty(), "an address is counted whose connections are gone");
        let listeners = usize::from(!self.core.is_draining());
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
        }
    }
}

/// Polls every task in every turn: wakers are not what is tested here.
#[derive(Clone, Default)]
struct Executor(Rc<RefCell<Vec<BoxedTask>>>);

impl Executor {
    fn spawner(&self) -> crate::engine::Spawner {
        let tasks = self.clone();
        Box::new(move |task| tasks.0.borrow_mut().push(task))
    }

    /// Says whether any task ended.
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
