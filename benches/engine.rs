//! What a connection costs above the kernel: its handshake, an HTTP answer, and the turns that echo its messages or
//! publish them to a hundred others.
//!
//! The turns run on the simulated reactor, whose own work is part of the figure: good for comparing two versions of the
//! engine, not for saying how fast a server is.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ringsock::engine::{Admission, AdmissionPolicy, Core, CoreSetup, Status};
use ringsock::mesh::{Capacity, Mesh};
use ringsock::protocol::http::{HeadLimits, HeadScan, Headers, Request};
use ringsock::protocol::{MaskKey, Opcode, handshake, write_frame};
use ringsock::reactor::sim::{Faults, Network, Peer, Sim};
use ringsock::service::{ApiAccess, OverflowRules, Site};
use ringsock::{Handler, Limits, Message, Sent, Session};

/// What Chromium sends, but for a cookie.
const UPGRADE: &[u8] = b"GET /echo HTTP/1.1\r\nHost: localhost:9000\r\nConnection: Upgrade\r\nPragma: no-cache\r\n\
    Cache-Control: no-cache\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) \
    Chrome/142.0.0.0 Safari/537.36\r\nUpgrade: websocket\r\nOrigin: http://localhost:9000\r\n\
    Sec-WebSocket-Version: 13\r\nAccept-Encoding: gzip, deflate, br, zstd\r\nAccept-Language: en-US,en;q=0.9\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n";

/// What a load balancer sends.
const HEALTH: &[u8] = b"GET /health HTTP/1.1\r\nHost: localhost:9000\r\nUser-Agent: probe/1.0\r\n\r\n";

const TOPIC: &str = "speech";

const KEY: MaskKey = [0x37, 0xFA, 0x21, 0x3D];

/// Turns in which a message must have come back; on a simulation without faults it takes two.
const TURNS_MAX: usize = 100;

fn requests(c: &mut Criterion) {
    let mut group = c.benchmark_group("request");
    let limits = HeadLimits::default();
    let mut out = Vec::with_capacity(4096);

    group.bench_function("handshake", |b| {
        b.iter(|| {
            out.clear();
            let head = whole_head(black_box(UPGRADE), &limits);
            let mut headers = Headers::default();
            let upgraded = Request::parse(head, &mut headers).and_then(|request| {
                let key = handshake::accept_key(handshake::check(&request)?.key());
                Ok(handshake::write_switching_protocols(&mut out, &key, None, None, &[]).is_ok())
            });
            assert!(matches!(upgraded, Ok(true)));
            black_box(&out);
        });
    });

    let Some(mut world) =
        World::connected(Site::new(Arc::<Status>::default(), OverflowRules::default(), ApiAccess::Off))
    else {
        return;
    };
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

struct Echo;

impl Handler for Echo {
    type State = ();

    fn message(&mut self, session: &mut Session<'_, ()>, message: Message<'_>) {
        session.send(message);
    }
}

/// The first session publishes, and all that come after it listen.
#[derive(Default)]
struct Speech {
    has_begun: bool,
}

impl Handler for Speech {
    type State = ();

    fn open(&mut self, session: &mut Session<'_, ()>) {
        let listens = std::mem::replace(&mut self.has_begun, true);
        assert!(!listens || session.subscribe(TOPIC) == Ok(true), "not subscribed");
    }

    fn message(&mut self, session: &mut Session<'_, ()>, message: Message<'_>) {
        assert_eq!(session.publish(TOPIC, message), Ok(Sent::Queued));
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
        let (reactor, network) = Sim::new(1, Faults::default());
        let listener = network.listen();
        let core = Core::new(CoreSetup {
            core: 0,
            handler,
            reactor,
            listener,
            limits: Limits::default(),
            counters: Arc::default(),
            counters_of_all: Arc::default(),
            connections: Arc::default(),
            admission: Arc::new(Admission::new(AdmissionPolicy::default(), &Limits::default())),
            mesh: Mesh::build(1, Capacity::default()).pop()?,
            spawner: Box::new(drop),
        });
        let peer = network.connect()?;
        let mut world = Self { core, peer, listeners: Vec::new(), network };
        world.turn();
        Some(world)
    }

    fn open(handler: H) -> Option<Self> {
        let mut world = Self::connected(handler)?;
        world.peer.write(UPGRADE);
        (!world.answer().is_empty()).then_some(world)
    }

    /// Lets in one that only listens; says whether that worked.
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

    /// Takes turns until something has come, and gives it.
    fn answer(&mut self) -> Vec<u8> {
        let mut answers = (0..TURNS_MAX).map(|_| {
            self.turn();
            self.peer.read()
        });
        answers.find(|answer| !answer.is_empty()).unwrap_or_default()
    }

    fn turn(&mut self) {
        self.core.turn(0);
        // The simulation never fails to be entered.
        let _ = self.core.enter(Duration::ZERO);
    }

    /// Writes frames in one piece and takes turns until as many bytes as expected have come back; says whether they did.
    fn echo(&mut self, frames: &[u8], expected: usize) -> bool {
        self.peer.write(frames);
        let mut received = 0;
        (0..TURNS_MAX).any(|_| {
            self.turn();
            received += black_box(self.peer.read()).len();
            received == expected
        })
    }

    /// As [`World::echo`], for what comes back to all who listen.
    fn fan_out(&mut self, frames: &[u8], expected: usize) -> bool {
        self.peer.write(frames);
        let mut received = 0;
        (0..TURNS_MAX).any(|_| {
            self.turn();
            received += self.listeners.iter().map(|listener| black_box(listener.read()).len()).sum::<usize>();
            received == expected * self.listeners.len()
        })
    }
}

fn echo(c: &mut Criterion) {
    let mut group = c.benchmark_group("echo");
    for (name, count, payload_bytes) in [("64 B", 1, 64), ("16 × 64 B in one read", 16, 64), ("16 KiB", 1, 16 * 1024)]
    {
        let (mut frames, mut answers) = (Vec::new(), Vec::new());
        let payload = vec![b'x'; payload_bytes];
        for _ in 0..count {
            write_frame(&mut frames, Opcode::Binary, &payload, Some(KEY));
            write_frame(&mut answers, Opcode::Binary, &payload, None);
        }
        let world = World::open(Echo);
        assert!(world.is_some(), "no session");
        let Some(mut world) = world else { continue };
        group.throughput(Throughput::Elements(count));
        group.bench_function(BenchmarkId::from_parameter(name), |b| {
            b.iter(|| assert!(world.echo(&frames, answers.len())));
        });
    }
    group.finish();
}

fn fan_out(c: &mut Criterion) {
    const SUBSCRIBERS: usize = 100;
    let mut group = c.benchmark_group("fan-out");
    for (name, count) in [("128 B to 100", 1), ("16 × 128 B in one read to 100", 16)] {
        let (mut frames, mut published) = (Vec::new(), Vec::new());
        for _ in 0..count {
            write_frame(&mut frames, Opcode::Binary, &[b'x'; 128], Some(KEY));
            write_frame(&mut published, Opcode::Binary, &[b'x'; 128], None);
        }
        let world = World::open(Speech::default());
        assert!(world.is_some(), "no session");
        let Some(mut world) = world else { continue };
        assert!((0..SUBSCRIBERS).all(|_| world.join()), "not all are there");
        group.throughput(Throughput::Elements(count * SUBSCRIBERS as u64));
        group.bench_function(BenchmarkId::from_parameter(name), |b| {
            b.iter(|| assert!(world.fan_out(&frames, published.len())));
        });
    }
    group.finish();
}

criterion_group!(engine, requests, echo, fan_out);
criterion_main!(engine);
