//! Tests of the drain: every session is told to close, and none can delay it.

use super::client::{Client, close, get, post, text, upgrade_request};
use super::world::World;
use crate::engine::Limits;
use crate::protocol::CloseCode;
use crate::reactor::sim::Faults;

const REASON: &str = "The server is shutting down.";

#[test]
fn open_sessions_are_told_1001_and_the_core_is_done_once_they_have_answered() {
    let mut world = World::new();
    let mut clients: Vec<_> = (0..3).map(|_| world.open("/")).collect();
    clients[0].send("before");
    world.settle();
    world.core.drain();
    world.settle();
    assert_eq!(clients[0].frames(), [text("before"), close(1001, REASON)]);
    for client in &mut clients[1..] {
        assert_eq!(client.frames(), [close(1001, REASON)]);
    }
    assert!(!world.core.is_done());
    for client in &mut clients {
        client.close(1001, "");
        world.settle();
        assert!(client.is_at_end() && client.peer.is_closed_by_server());
    }
    assert!(world.core.is_done());
    assert_eq!(world.network.open_sockets(), 0);
}

#[test]
fn a_connection_that_was_silent_for_a_second_is_let_go_at_once_and_others_then() {
    let mut world = World::new();
    let (mut silent, mut idle) = (world.connect(), world.connect());
    idle.write(&get("/", ""));
    world.settle();
    assert_eq!(idle.statuses(), [200]);
    world.advance(1_000);
    let (mut new, mut answered) = (world.connect(), world.connect());
    answered.write(&get("/", ""));
    world.settle();
    assert_eq!(answered.statuses(), [200]);
    world.core.drain();
    world.settle();
    assert!(silent.is_at_end() && idle.is_at_end());
    assert!(!new.is_at_end() && !answered.is_at_end());
    world.advance(900);
    assert!(!new.is_at_end() && !answered.is_at_end());
    world.advance(150);
    assert!(new.is_at_end() && answered.is_at_end());
    assert!(!new.peer.was_reset() && !answered.peer.was_reset());
}

#[test]
fn a_client_that_asks_within_a_second_of_connecting_is_answered_with_503() {
    for accepted_before in [true, false] {
        let mut world = World::new();
        let mut clients: Vec<_> = (0..3).map(|_| world.connect()).collect();
        if accepted_before {
            world.settle();
        }
        world.core.drain();
        world.settle();
        world.advance(800);
        clients[0].write(&get("/", ""));
        clients[1].write(&upgrade_request("/", &[]).0);
        // Half a request has the time of a whole one.
        clients[2].write(&get("/", "")[..10]);
        world.advance(1_000);
        clients[2].write(&get("/", "")[10..]);
        world.settle();
        for client in &mut clients {
            assert_eq!(client.statuses(), [503]);
            assert!(client.is_at_end() && !client.peer.was_reset());
            client.peer.finish();
        }
        world.settle();
        assert!(world.core.is_done());
    }
}

#[test]
fn a_short_drain_timeout_shortens_the_silence_that_is_waited_for() {
    let mut world = World::with(Limits { drain_timeout_ms: 500, ..Limits::default() });
    let mut silent = world.connect();
    world.settle();
    world.core.drain();
    world.advance(200);
    assert!(!silent.is_at_end());
    world.advance(150);
    assert!(silent.is_at_end() && !silent.peer.was_reset());
}

#[test]
fn half_a_request_is_answered_with_503_once_it_is_whole() {
    // Half a head, and half a body.
    for (request, half) in [(get("/", ""), 10), (post("/", "", &[b'a'; 100]), 100)] {
        let mut world = World::new();
        let mut client = world.connect();
        client.write(&request[..half]);
        world.settle();
        world.core.drain();
        world.settle();
        assert!(client.hears_nothing());
        client.write(&request[half..]);
        world.settle();
        assert_eq!(client.statuses(), [503]);
        assert!(client.is_at_end());
    }
}

#[test]
fn connections_in_the_accept_queue_are_answered_before_the_listener_closes() {
    for accepting in [true, false] {
        let mut world = World::new();
        if !accepting {
            // Accepting has failed, and is to be retried later.
            world.network.descriptor_limit(1);
            let mut turned_away = world.connect();
            world.settle();
            assert_eq!(turned_away.statuses(), [503]);
            world.network.descriptor_limit(100);
        }
        let mut clients: Vec<_> = (0..5).map(|_| world.connect()).collect();
        for client in &mut clients[1..] {
            client.write(&upgrade_request("/", &[]).0);
        }
        world.core.drain();
        world.settle();
        assert!(world.network.connect().is_none());
        world.advance(1_100);
        assert!(clients[0].is_at_end() && !clients[0].peer.was_reset());
        for client in &mut clients[1..] {
            assert_eq!(client.statuses(), [503]);
            assert!(client.is_at_end() && !client.peer.was_reset());
        }
    }
}

#[test]
fn connections_in_the_accept_queue_are_turned_away_without_descriptors() {
    let mut world = World::new();
    world.network.descriptor_limit(1);
    world.turns(2);
    let mut first = world.connect();
    world.settle();
    assert_eq!(first.statuses(), [503]);
    let mut waiting: Vec<_> = (0..3).map(|_| world.connect()).collect();
    world.core.drain();
    world.settle();
    for client in &mut waiting {
        assert_eq!(client.statuses(), [503]);
        assert!(!client.peer.was_reset());
    }
    assert!(world.core.is_done());
}

#[test]
fn a_client_that_left_does_not_take_the_accept_queue_with_it() {
    let mut aborted = 0;
    for seed in 0..50 {
        let mut world = World::faulty(Limits::default(), seed, Faults::default());
        world.network.descriptor_limit(1);
        let _ = world.connect();
        world.settle();
        world.network.descriptor_limit(100);
        let mut clients: Vec<_> = (0..20).map(|_| world.connect()).collect();
        clients.iter().for_each(|client| client.write(&get("/", "")));
        world.network.set_faults(Faults { accept_error: 200, ..Faults::default() });
        world.core.drain();
        world.turn();
        world.network.set_faults(Faults::default());
        world.settle();
        // Only a client whose own connection was aborted is left without an answer, and that is rare.
        let unanswered = clients.iter_mut().filter_map(|client| client.statuses().is_empty().then_some(client));
        let unanswered: Vec<bool> = unanswered.map(|client| client.peer.was_reset()).collect();
        assert!(unanswered.len() < 8 && unanswered.iter().all(|reset| *reset), "seed {seed}: {unanswered:?}");
        aborted += unanswered.len();
    }
    assert!(aborted > 10);
}

#[test]
fn sessions_that_do_not_answer_are_cut_off_at_the_drain_timeout() {
    let mut world = World::with(Limits { drain_timeout_ms: 2_000, ..Limits::default() });
    let (mut open, asking, upgrading) = (world.open("/"), world.connect(), world.connect());
    asking.write(b"GET / HT");
    upgrading.write(&upgrade_request("/later", &[]).0);
    world.settle();
    world.core.drain();
    world.advance(1_900);
    assert_eq!(open.frames(), [close(1001, REASON)]);
    assert_eq!(world.core.sessions(), 3);
    world.advance(200);
    assert!(world.core.is_done());
    assert!(open.peer.is_closed_by_server() && asking.peer.is_closed_by_server());
    world.log.gate.open();
    world.settle();
}

#[test]
fn messages_that_cross_the_goodbye_are_dropped() {
    let mut world = World::new();
    let mut client = world.open("/");
    world.core.drain();
    client.send("crossing");
    client.close(1001, "");
    world.settle();
    let frames = client.frames();
    assert_eq!(frames.last(), Some(&close(1001, REASON)));
    assert!(client.is_at_end());
}

#[test]
fn more_sessions_than_one_turn_tells_are_all_told() {
    let mut world = World::new();
    let mut clients: Vec<_> = (0..1_500).map(|_| world.connect()).collect();
    clients.iter_mut().for_each(|client| client.ask("/", &[]));
    world.settle();
    assert!(clients.iter_mut().all(|client| client.is_accepted()));
    world.core.drain();
    world.settle();
    assert!(clients.iter_mut().all(|client| client.hears_close(1001)));
    clients.iter().for_each(|client| client.close(1001, ""));
    world.settle();
    assert!(world.core.is_done());
}

#[test]
fn draining_twice_is_draining_once() {
    let mut world = World::new();
    let mut client = world.open("/");
    world.core.drain();
    world.settle();
    world.core.drain();
    world.settle();
    assert_eq!(client.frames(), [close(1001, REASON)]);
}

#[test]
fn a_session_that_is_cut_off_in_the_turn_of_the_goodbyes_does_not_linger_anew() {
    let mut world = World::new();
    let client = world.connect();
    client.write(b"nonsense\r\n\r\n");
    world.settle();
    assert_eq!(world.core.sessions(), 1, "it lingers");
    world.skip(Limits::default().close_timeout_ms + 50);
    world.core.drain();
    world.settle();
    assert!(world.core.is_done());
}

#[test]
fn during_the_delay_it_accepts_and_serves_and_every_answer_is_the_last_on_its_connection() {
    let mut world = World::with(Limits { drain_delay_ms: 3_000, ..Limits::default() });
    let (mut early, mut idle) = (world.open("/"), world.connect());
    idle.write(&get("/", ""));
    world.settle();
    assert_eq!(idle.statuses(), [200]);
    world.core.drain();
    world.advance(2_900);
    let (mut asking, mut late) = (world.connect(), world.open("/"));
    for client in [&mut idle, &mut asking] {
        assert!(!client.is_at_end());
        client.write(&get("/", ""));
        world.settle();
        let answer = client.answer().unwrap();
        assert!(answer.status == 200 && answer.head.contains("\r\nConnection: close\r\n"), "{answer:?}");
        assert!(client.is_at_end());
        client.peer.finish();
    }
    early.send("still here");
    world.settle();
    assert_eq!(early.frames(), [text("still here")]);
    assert!(!world.core.is_done());
    world.advance(200);
    assert!(world.network.connect().is_none());
    for client in [&mut early, &mut late] {
        assert_eq!(client.frames(), [close(1001, REASON)]);
        client.close(1001, "");
    }
    world.settle();
    assert!(world.core.is_done());
}

/// Removes the clients that have been told to close, and returns their number.
fn told(clients: &mut Vec<Client>) -> usize {
    let before = clients.len();
    clients.retain_mut(|client| {
        let told = client.hears_close(1001);
        if told {
            client.close(1001, "");
        }
        !told
    });
    before - clients.len()
}

#[test]
fn goodbyes_are_spread_evenly_and_all_are_said_when_the_spread_is_over() {
    for (sessions, spread_ms) in [(1, 1_000), (7, 1_000), (200, 1_000), (3_000, 1_000), (500, 60), (40, 40_000)] {
        let mut world = World::with(Limits { drain_spread_ms: spread_ms, ping_interval_ms: 0, ..Limits::default() });
        let mut clients: Vec<_> = (0..sessions).map(|_| world.open("/")).collect();
        world.core.drain();
        world.settle();
        let mut told_so_far = 0;
        for step in 1..=10 {
            world.advance(spread_ms / 10);
            told_so_far += told(&mut clients);
            let share = sessions * step / 10;
            // A share may be due up to 10 ms later, and may differ by a fraction of a session.
            let slack = 1 + sessions * 10 / spread_ms as usize;
            let kept = (share.saturating_sub(slack)..=share).contains(&told_so_far);
            assert!(kept, "{sessions} in {spread_ms} ms: {told_so_far} after {step} tenths");
        }
        assert_eq!(told_so_far, sessions, "in {spread_ms} ms");
        world.settle();
        assert!(world.core.is_done());
    }
}

#[test]
fn sessions_that_leave_by_themselves_do_not_hasten_the_others() {
    let mut world = World::with(Limits { drain_spread_ms: 1_000, ..Limits::default() });
    let mut clients: Vec<_> = (0..100).map(|_| world.open("/")).collect();
    let leaving = clients.split_off(50);
    world.core.drain();
    world.advance(100);
    let mut told_so_far = told(&mut clients);
    for client in leaving {
        client.close(1000, "");
    }
    for step in 2..=10 {
        world.advance(100);
        let now = told(&mut clients);
        assert!(now <= 11, "{now} were told within 100 ms");
        told_so_far += now;
        assert!(told_so_far >= (10 * step - 2).min(50), "{told_so_far} after {step} tenths");
    }
    world.settle();
    assert!(world.core.is_done());
}

#[test]
fn the_drain_timeout_counts_from_the_end_of_the_spread() {
    let limits = Limits { drain_delay_ms: 500, drain_spread_ms: 1_000, drain_timeout_ms: 2_000, ..Limits::default() };
    let mut world = World::with(limits);
    let silent: Vec<_> = (0..10).map(|_| world.open("/")).collect();
    world.core.drain();
    world.advance(3_450);
    assert_eq!(world.core.sessions(), 10);
    world.advance(100);
    assert!(world.core.is_done());
    assert!(silent.iter().all(|client| client.peer.is_closed_by_server()));
}

#[test]
fn without_a_drain_timeout_everyone_is_told_before_anyone_is_cut_off() {
    let mut world = World::with(Limits { drain_timeout_ms: 0, ..Limits::default() });
    let clients: Vec<_> = (0..2_000).map(|_| world.open("/")).collect();
    world.core.drain();
    world.settle();
    assert_eq!(world.counters.closes_sent.read_for(&Some(CloseCode::GOING_AWAY)), 2_000);
    assert!(world.core.is_done() && clients.iter().all(|client| client.peer.is_closed_by_server()));
    assert_eq!(world.core.idle_ms(), None, "nothing is left to be done");
}

#[test]
fn a_hurried_drain_closes_all_sessions_at_once_and_cuts_off_the_rest_after_half_a_second() {
    // Before the drain, in its delay, in its spread, and after it.
    for hurried_after_ms in [None, Some(0), Some(500), Some(1_500), Some(3_000)] {
        let limits =
            Limits { drain_delay_ms: 1_000, drain_spread_ms: 1_000, drain_timeout_ms: 9_000, ..Limits::default() };
        let mut world = World::with(limits);
        let mut clients: Vec<_> = (0..20).map(|_| world.open("/")).collect();
        if let Some(milliseconds) = hurried_after_ms {
            world.core.drain();
            world.advance(milliseconds);
        }
        let now_ms = world.now_ms();
        for _ in 0..2 {
            world.core.hurry(now_ms);
            world.settle();
        }
        assert!(clients.iter_mut().all(|client| client.hears_close(1001)), "{hurried_after_ms:?}");
        let answering = clients.split_off(10);
        answering.iter().for_each(|client| client.close(1001, ""));
        world.advance(400);
        assert_eq!(world.core.sessions(), 10);
        world.core.hurry(world.now_ms());
        world.advance(150);
        assert!(world.core.is_done(), "{hurried_after_ms:?}");
    }
}
