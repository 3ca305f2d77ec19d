//! Tests of panics of the application: each costs only the session that it was called for.

use std::rc::Rc;

use super::client::{Frame, close, masked, masked_close, text};
use super::log::{Log, burst};
use super::world::World;
use crate::engine::{Ended, Handler, Limits, Session, Upgrade, UpgradeRequest};
use crate::protocol::{Message, Opcode};
use crate::reactor::sim::Faults;

const REASON: &str = "The server failed while it handled this session.";

/// Opens two sessions, makes one panic, and checks that the other lives.
fn panics(bring_about: impl FnOnce(&mut World) -> super::client::Client) {
    let mut world = World::new();
    let mut other = world.open("/");
    let mut client = bring_about(&mut world);
    world.settle();
    assert_eq!(client.frames().pop(), Some(close(1011, REASON)));
    assert!(client.is_at_end() && !client.peer.is_closed_by_server());
    other.send("alive");
    world.settle();
    assert_eq!(other.frames(), [text("alive")]);
    assert_eq!(world.counters.handler_panics.read(), 1);
    client.peer.finish();
    world.settle();
    assert_eq!(world.core.sessions(), 1);
}

fn told(world: &mut World, frames: &[(Opcode, &[u8])]) -> super::client::Client {
    let client = world.open("/");
    frames.iter().for_each(|(opcode, payload)| client.write(&masked(*opcode, payload)));
    client
}

#[test]
fn a_panic_in_open_costs_one_session() {
    panics(|world| world.open("/panic-in-open"));
}

#[test]
fn a_panic_in_message_costs_one_session() {
    panics(|world| told(world, &[(Opcode::Text, b"/panic"), (Opcode::Text, b"never read")]));
}

#[test]
fn a_panic_in_ping_costs_one_session() {
    panics(|world| told(world, &[(Opcode::Text, b"/panic-in ping"), (Opcode::Ping, b"")]));
}

#[test]
fn a_panic_in_pong_costs_one_session() {
    panics(|world| told(world, &[(Opcode::Text, b"/panic-in pong"), (Opcode::Pong, b"")]));
}

#[test]
fn a_panic_in_drain_costs_one_session() {
    panics(|world| {
        let client = told(world, &[(Opcode::Text, b"/panic-in drain")]);
        client.peer.stop_reading();
        client.send("/flood 20 50000");
        world.settle();
        client.peer.resume_reading();
        client
    });
}

#[test]
fn a_panic_in_close_answers_the_peers_close_with_1011() {
    panics(|world| told(world, &[(Opcode::Text, b"/panic-in close"), (Opcode::Close, b"\x03\xE8")]));
}

#[test]
fn a_panic_of_a_task_costs_one_session() {
    panics(|world| told(world, &[(Opcode::Text, b"/task-panic")]));
}

#[test]
fn a_panic_in_close_after_a_lost_connection_is_counted() {
    for reset in [true, false] {
        let mut world = World::new();
        let client = told(&mut world, &[(Opcode::Text, b"/panic-in close")]);
        world.settle();
        if reset {
            client.peer.reset()
        } else {
            client.peer.finish()
        }
        world.settle();
        assert_eq!(world.counters.handler_panics.read(), 1);
        assert_eq!(world.core.sessions(), 0);
    }
}

#[test]
fn messages_sent_before_a_panic_still_arrive() {
    let mut world = World::new();
    let mut client = world.open("/");
    client.send("hello");
    client.send("/say-and-panic");
    world.settle();
    assert_eq!(client.frames(), [text("hello"), text("the last word"), close(1011, REASON)]);
}

#[test]
fn a_panic_after_the_servers_close_sends_no_second_one() {
    let mut world = World::new();
    let mut client = world.open("/");
    client.send("/task-panic-later");
    client.send("/close 1000 x");
    world.settle();
    world.log.gate.open();
    world.settle();
    assert_eq!(client.frames(), [close(1000, "x")]);
    assert!(client.is_at_end());
}

#[test]
fn a_panic_after_the_last_word_gives_no_further_time() {
    // A frame with a reserved bit, and a Close frame: the session fails or answers while its peer does not read.
    for last in [b"\xc1\x80\0\0\0\0".to_vec(), masked_close(1000, "")] {
        let mut world = World::with(Limits { outbox_bytes_max: 10_000_000, ..Limits::default() });
        let (client, id) = world.open_session();
        client.peer.stop_reading();
        world.send_to(id, 10, 50_000);
        client.send("/task-panic-later");
        client.write(&last);
        world.settle();
        assert!(world.bytes_held(id) > 0, "its last word has not left");
        world.advance(4_000);
        world.log.gate.open();
        world.settle();
        assert_eq!(world.counters.handler_panics.read(), 1);
        world.advance(1_100);
        assert!(client.peer.is_closed_by_server(), "the close timeout began anew");
        assert_eq!(world.counters.close_timeouts.read(), 1);
    }
}

#[test]
fn state_that_panics_when_it_is_dropped_costs_nothing() {
    let mut world = World::new();
    let (client, mut other) = (world.open("/"), world.open("/"));
    client.send("/bomb");
    world.settle();
    client.peer.reset();
    other.send("alive");
    world.settle();
    assert_eq!(other.frames(), [text("alive")]);
    assert_eq!(world.core.sessions(), 1);
    assert_eq!(world.counters.handler_panics.read(), 1);
}

/// A state whose default cannot be dropped without a panic either.
struct Bomb;

impl Default for Bomb {
    fn default() -> Self {
        Self
    }
}

impl Drop for Bomb {
    fn drop(&mut self) {
        burst();
    }
}

struct Bombs(Rc<Log>);

impl Handler for Bombs {
    type State = Bomb;
    type Mail = ();

    fn upgrade(&mut self, request: &UpgradeRequest<'_>) -> Upgrade<Bomb> {
        match request.path() {
            "/reject" => Upgrade::reject(crate::protocol::http::Response::text(403, "No.\n")),
            _ => Upgrade::accept_with(Bomb),
        }
    }

    fn open(&mut self, session: &mut Session<'_, Self>) {
        self.0.opened.borrow_mut().push(session.id());
    }

    fn message(&mut self, session: &mut Session<'_, Self>, message: Message<'_>) {
        session.send(message);
    }

    fn close(&mut self, session: &mut Session<'_, Self>, _: Ended<'_>) {
        let closed = super::log::Closed { id: session.id(), code: None, reason: String::new(), clean: false };
        self.0.closed.borrow_mut().push(closed);
    }
}

#[test]
fn state_of_which_no_value_can_be_dropped_costs_nothing() {
    let mut world = World::serving(Bombs, Limits::default(), 0, Faults::default());
    let mut rejected = world.connect();
    rejected.ask("/reject", &[]);
    world.settle();
    assert_eq!(rejected.statuses(), [403]);
    let mut client = world.open("/");
    client.send("hello");
    client.close(1000, "");
    world.settle();
    assert_eq!(client.frames(), [text("hello"), close(1000, "")]);
    assert!(client.is_at_end());
    assert_eq!(world.counters.handler_panics.read(), 1);
}

#[test]
fn a_thousand_panics_among_a_hundred_sessions_cost_no_other() {
    let mut world = World::new();
    let mut others: Vec<_> = (0..100).map(|_| world.open("/")).collect();
    for _ in 0..100 {
        let clients: Vec<_> = (0..10).map(|_| told(&mut world, &[(Opcode::Text, b"/panic")])).collect();
        world.settle();
        clients.iter().for_each(|client| client.peer.finish());
    }
    others.iter().for_each(|client| client.send("alive"));
    world.settle();
    assert!(others.iter_mut().all(|client| client.frames() == [Frame::Text("alive".to_owned())]));
    assert_eq!(world.counters.handler_panics.read(), 1_000);
}
