//! The cost of a connection above the kernel: its handshake, an HTTP answer, the turns that echo its messages or
//! publish them to a hundred others, on this core or the next, and the output that waits for a peer that does not read.
//!
//! The turns run on the simulated reactor, whose own work is part of the figure: good for comparing two versions of the
//! engine, not for telling how fast a server is.

use std::hint::black_box;
use std::time::{Duration, UNIX_EPOCH};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ringsock::engine::{Core, MeshEntry};
use ringsock::mesh::{Mesh, MeshCapacity};
use ringsock::protocol::http::{Date, HeadLimits, HeadScan, Headers, parse_request};
use ringsock::protocol::{Opcode, handshake};
use ringsock::reactor::sim::{Faults, Network, Peer, Sim};
use ringsock::{Handler, Hub, Limits, Message, Reply, Request, Response, Session};

mod fixtures;

use fixtures::engine::{Echo, Speech, TOPIC, alone, core};
use fixtures::{KEY, UPGRADE, frames};

/// The request of a load balancer.
const HEALTH: &[u8] = b"GET /health HTTP/1.1\r\nHost: localhost:9000\r\nUser-Agent: probe/1.0\r\n\r\n";

/// Turns in which a message must have come back; on a simulation without faults it takes two.
const TURNS_MAX: usize = 100;

fn requests(c: &mut Criterion) {
    let mut group = c.benchmark_group("request");
    let limits = HeadLimits::default();
    let mut out = Vec::with_capacity(4096);
    let date = Date::from(UNIX_EPOCH);

    group.bench_function("handshake", |b| {
        b.iter(|| {
            out.clear();
            let head = whole_head(black_box(UPGRADE), &limits);
            let mut headers = Headers::default();
            let upgraded = parse_request(head, &mut headers).and_then(|request| {
                let key = handshake::accept_key(handshake::check(&request)?.key());
                Ok(handshake::write_switching_protocols(&mut out, &date, &key, None, None, &[]).is_ok())
            });
            assert!(matches!(upgraded, Ok(true)));
            black_box(&out);
        });
    });

    let Some(mut world) = World::connected(Healthy) else { return };
    group.bench_function("GET /health", |b| {
        b.iter(|| {
            world.peer.write(black_box(HEALTH));
            assert!(world.answer().starts_with(b"HTTP/1.1 200 "));
        });
    });
    group.finish();
}

fn whole_head<'a>(received: &'a [u8], limits: &HeadLimits) -> &'a [u8] {
    let end = HeadScan::default().find_end(received, limits).ok().flatten();
    end.map_or(&[], |end| &received[..end])
}

/// Answers every request.
struct Healthy;

impl Handler for Healthy {
    type State = ();
    type Mail = ();

    fn request(&mut self, _request: &Request<'_>, _hub: &mut Hub<'_, Self>) -> Reply {
        Response::text(200, "ok\n").into()
    }

    fn message(&mut self, _session: &mut Session<'_, Self>, _message: Message<'_>) {}
}

/// Subscribes to its topic with one message and unsubscribes with the next.
struct Restless;

impl Handler for Restless {
    type State = ();
    type Mail = ();

    fn message(&mut self, session: &mut Session<'_, Self>, message: Message<'_>) {
        if !session.unsubscribe(TOPIC) {
            assert_eq!(session.subscribe(TOPIC), Ok(true));
        }
        session.send(message);
    }
}

/// A core with one connection, and perhaps others that only listen.
struct World<H: Handler> {
    core: Core<H, Sim>,
    peer: Peer,
    listeners: Vec<Peer>,
    network: Network,
}

impl<H: Handler> World<H> {
    fn connected(handler: H) -> Option<Self> {
        Self::of(0, alone()?, handler)
    }

    /// Returns the world of one core of several.
    fn of(number: u16, mesh: Mesh<MeshEntry>, handler: H) -> Option<Self> {
        let (reactor, network) = Sim::new(1, Faults::default());
        let listener = network.listen();
        let core = core(number, mesh, handler, reactor, listener, Limits::default());
        let peer = network.connect()?;
        let mut world = Self { core, peer, listeners: Vec::new(), network };
        world.turn();
        Some(world)
    }

    fn open(handler: H) -> Option<Self> {
        Self::connected(handler)?.opened()
    }

    fn opened(mut self) -> Option<Self> {
        self.peer.write(UPGRADE);
        (!self.answer().is_empty()).then_some(self)
    }

    /// Connects a client that only listens. Returns whether that worked.
    fn join(&mut self) -> bool {
        let Some(listener) = self.network.connect() else { return false };
        listener.write(UPGRADE);
        let answered = (0..TURNS_MAX).any(|_| {
            self.turn();
            !listener.read().is_empty()
        });
        self.listeners.push(listener);
        answered
    }

    /// Runs turns until something has arrived, and returns it.
    fn answer(&mut self) -> Vec<u8> {
        let mut answers = (0..TURNS_MAX).map(|_| {
            self.turn();
            self.peer.read()
        });
        answers.find(|answer| !answer.is_empty()).unwrap_or_default()
    }

    fn turn(&mut self) {
        self.core.turn(0);
        // Entering the simulation never fails.
        let _ = self.core.enter(Duration::ZERO);
    }

    /// Writes frames in one piece and runs turns until as many bytes as expected have come back. Returns whether they
    /// did.
    fn echo(&mut self, frames: &[u8], expected: usize) -> bool {
        self.peer.write(frames);
        let mut received = 0;
        (0..TURNS_MAX).any(|_| {
            self.turn();
            received += black_box(self.peer.read()).len();
            received == expected
        })
    }

    /// Sends as [`World::echo`] does, and waits for the bytes of all clients that listen.
    fn fan_out(&mut self, frames: &[u8], expected: usize) -> bool {
        self.peer.write(frames);
        let mut received = 0;
        (0..TURNS_MAX).any(|_| {
            self.turn();
            received += self.heard();
            received == expected * self.listeners.len()
        })
    }

    /// Returns the bytes that all listening clients have received.
    fn heard(&self) -> usize {
        self.listeners.iter().map(|listener| black_box(listener.read()).len()).sum()
    }
}

fn echo(c: &mut Criterion) {
    let mut group = c.benchmark_group("echo");
    for (name, count, payload_bytes) in [("64 B", 1, 64), ("16 × 64 B in one read", 16, 64), ("16 KiB", 1, 16 * 1024)]
    {
        let payload = vec![b'x'; payload_bytes];
        let sent = frames(count, Opcode::Binary, &payload, Some(KEY));
        let echoed = frames(count, Opcode::Binary, &payload, None);
        let world = World::open(Echo);
        assert!(world.is_some(), "no session");
        let Some(mut world) = world else { continue };
        group.throughput(Throughput::Elements(count as u64));
        group.bench_function(BenchmarkId::from_parameter(name), |b| {
            b.iter(|| assert!(world.echo(&sent, echoed.len())));
        });
    }
    group.finish();
}

/// Measures waiting output: replies that the socket does not take move into an outbox, and are sent once the peer
/// reads.
fn outbox(c: &mut Criterion) {
    const MESSAGES: usize = 64;
    let mut group = c.benchmark_group("outbox");
    let sent = frames(MESSAGES, Opcode::Binary, &[b'x'; 8 * 1024], Some(KEY));
    let echoed = frames(MESSAGES, Opcode::Binary, &[b'x'; 8 * 1024], None);
    let world = World::open(Echo);
    assert!(world.is_some(), "no session");
    let Some(mut world) = world else { return };
    group.throughput(Throughput::Bytes(echoed.len() as u64));
    group.bench_function("64 × 8 KiB to one who reads late", |b| {
        b.iter(|| {
            world.peer.stop_reading();
            world.peer.write(&sent);
            (0..4).for_each(|_| world.turn());
            world.peer.resume_reading();
            assert!(world.echo(&[], echoed.len()));
        });
    });
    group.finish();
}

/// Measures a connection's whole life: accepted, admitted, asked, closed.
fn lives(c: &mut Criterion) {
    let mut group = c.benchmark_group("connection");
    let world = World::open(Echo);
    assert!(world.is_some(), "no session");
    let Some(mut world) = world else { return };
    group.bench_function("come and go", |b| {
        b.iter(|| {
            assert!(world.join());
            world.listeners.drain(..).for_each(|leaving| leaving.finish());
            (0..3).for_each(|_| world.turn());
        });
    });
    assert_eq!(world.network.open_sockets(), 2, "only the listener and one connection are left");
    group.finish();
}

fn topics(c: &mut Criterion) {
    let mut group = c.benchmark_group("topics");
    let sent = frames(16, Opcode::Binary, &[b'x'; 16], Some(KEY));
    let echoed = frames(16, Opcode::Binary, &[b'x'; 16], None);
    let world = World::open(Restless);
    assert!(world.is_some(), "no session");
    let Some(mut world) = world else { return };
    group.throughput(Throughput::Elements(16));
    group.bench_function("8 joins and 8 leaves in one read", |b| {
        b.iter(|| assert!(world.echo(&sent, echoed.len())));
    });
    group.finish();
}

const SUBSCRIBERS: usize = 100;
const SPEECHES: [(&str, usize); 2] = [("128 B to 100", 1), ("16 × 128 B in one read to 100", 16)];

fn fan_out(c: &mut Criterion) {
    let mut group = c.benchmark_group("fan-out");
    for (name, count) in SPEECHES {
        let sent = frames(count, Opcode::Binary, &[b'x'; 128], Some(KEY));
        let heard = frames(count, Opcode::Binary, &[b'x'; 128], None);
        let world = World::open(Speech::default());
        assert!(world.is_some(), "no session");
        let Some(mut world) = world else { continue };
        assert!((0..SUBSCRIBERS).all(|_| world.join()), "not all are there");
        group.throughput(Throughput::Elements((count * SUBSCRIBERS) as u64));
        group.bench_function(BenchmarkId::from_parameter(name), |b| {
            b.iter(|| assert!(world.fan_out(&sent, heard.len())));
        });
    }
    group.finish();
}

/// Publishes on one core to subscribers on another.
fn fan_out_across(c: &mut Criterion) {
    let mut group = c.benchmark_group("fan-out across cores");
    for (name, count) in SPEECHES {
        let sent = frames(count, Opcode::Binary, &[b'x'; 128], Some(KEY));
        let heard = frames(count, Opcode::Binary, &[b'x'; 128], None);
        let mut ends = Mesh::build(2, MeshCapacity::default()).into_iter().zip(0..);
        let worlds = std::iter::from_fn(|| {
            let (mesh, number) = ends.next()?;
            World::of(number, mesh, Speech::default())?.opened()
        });
        let mut worlds: Vec<_> = worlds.collect();
        let [here, there] = &mut worlds[..] else { return assert_eq!(worlds.len(), 2, "no session") };
        let joined = (0..SUBSCRIBERS).all(|_| {
            here.turn();
            there.join()
        });
        assert!(joined, "not all are there");
        group.throughput(Throughput::Elements((count * SUBSCRIBERS) as u64));
        group.bench_function(BenchmarkId::from_parameter(name), |b| {
            b.iter(|| {
                here.peer.write(&sent);
                let mut received = 0;
                let all_came = (0..TURNS_MAX).any(|_| {
                    here.turn();
                    there.turn();
                    received += there.heard();
                    received == heard.len() * SUBSCRIBERS
                });
                assert!(all_came);
            });
        });
    }
    group.finish();
}

criterion_group!(engine, requests, echo, outbox, lives, topics, fan_out, fan_out_across);
criterion_main!(engine);
