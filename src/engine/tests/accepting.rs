//! Tests of accepting connections: limits, a lack of descriptors, and the ways in which accepting ends by itself.

use super::client::{get, text};
use super::world::World;
use crate::engine::Limits;
use crate::engine::tests::handler::App;
use crate::reactor::sim::{Faults, Kind};

#[test]
fn beyond_the_limit_of_connections_clients_are_turned_away_with_503() {
    let mut world = World::with(Limits { connections_max: 2, ..Limits::default() });
    let (mut first, second) = (world.open("/"), world.connect());
    let mut third = world.connect();
    third.write(&get("/", ""));
    world.settle();
    assert_eq!(third.statuses(), [503]);
    assert!(third.is_at_end() && !third.peer.was_reset());
    assert_eq!((world.core.sessions(), world.counters.turned_away.read()), (2, 1));
    second.peer.finish();
    first.send("alive");
    world.settle();
    let mut fourth = world.open("/");
    fourth.send("welcome");
    world.settle();
    assert_eq!((first.frames(), fourth.frames()), (vec![text("alive")], vec![text("welcome")]));
}

#[test]
fn without_descriptors_waiting_clients_are_turned_away_every_100_ms() {
    let mut world = World::new();
    world.settle();
    world.network.descriptor_limit(3);
    let (mut first, second) = (world.open("/"), world.connect());
    world.settle();
    // Accepting fails even though no client waits, as it does on io_uring.
    assert_eq!(world.counters.accept_errors.read(), 1);
    // No tight loop: the core tries once every 100 ms, and turns waiting clients away then.
    let mut waiting: Vec<_> = (0..3).map(|_| world.connect()).collect();
    world.advance(90);
    assert!(waiting.iter_mut().all(|client| client.hears_nothing()));
    assert_eq!(world.counters.accept_errors.read(), 1);
    world.advance(20);
    assert!(waiting.iter_mut().all(|client| client.statuses() == [503]));
    assert_eq!(world.counters.accept_errors.read(), 2);
    world.advance(1_000);
    assert!((10..=12).contains(&world.counters.accept_errors.read()));
    assert_eq!(world.counters.turned_away.read(), 3);
    // A session that ends makes room immediately.
    second.peer.reset();
    world.settle();
    let mut next = world.open("/");
    next.send("in");
    first.send("still in");
    world.settle();
    assert_eq!((next.frames(), first.frames()), (vec![text("in")], vec![text("still in")]));
}

#[test]
fn accepting_goes_on_when_the_kernel_ended_it() {
    let mut world = World::faulty(Limits::default(), 1, Faults { accept_ended: 1000, ..Faults::default() });
    let mut clients: Vec<_> = (0..5).map(|_| world.connect()).collect();
    clients.iter().for_each(|client| client.write(&get("/", "")));
    world.settle();
    assert!(clients.iter_mut().all(|client| client.statuses() == [200]));
}

#[test]
fn a_watch_that_the_kernel_ended_is_asked_for_anew() {
    let mut world = World::faulty(Limits::default(), 1, Faults { watch_ended: 1000, ..Faults::default() });
    let mut client = world.open("/");
    for number in 0..10 {
        client.send(&number.to_string());
        world.settle();
        assert_eq!(client.frames(), [text(&number.to_string())]);
    }
}

#[test]
fn a_client_that_went_before_it_was_accepted_costs_the_others_nothing() {
    let mut aborted = 0;
    for seed in 0..50 {
        let mut world = World::faulty(Limits::default(), seed, Faults::default());
        let (first, mut second) = (world.connect(), world.connect());
        second.write(&get("/", ""));
        world.network.set_faults(Faults { accept_error: 1000, ..Faults::default() });
        world.turn();
        world.network.set_faults(Faults::default());
        // Of the errors of accepting, only this one resets.
        if first.peer.was_reset() {
            aborted += 1;
            world.settle();
            assert_eq!(second.statuses(), [200], "seed {seed}");
        }
    }
    assert!(aborted > 5);
}

#[test]
fn every_listener_of_a_core_is_accepted_from() {
    for seed in 0..20 {
        let faults = Faults { accept_ended: 300, delay: 300, ..Faults::default() };
        let mut world = World::listening(App::new, &[Kind::Tcp, Kind::Unix, Kind::Tcp, Kind::Inherited], seed, faults);
        let mut clients: Vec<_> = (0..12).map(|number| world.connect_by(number % 4)).collect();
        clients.iter().for_each(|client| client.write(&get("/", "")));
        world.settle();
        for (number, client) in clients.iter_mut().enumerate() {
            assert_eq!(client.statuses(), [200], "seed {seed}, client {number}");
        }
    }
}

#[test]
fn a_listener_that_fails_leaves_the_others_as_they_are() {
    let mut world = World::listening(App::new, &[Kind::Tcp, Kind::Unix], 0, Faults::default());
    world.network.descriptor_limit(3);
    let _first = world.connect_by(0);
    world.settle();
    let mut others = [world.connect_by(0), world.connect_by(1)];
    world.advance(100);
    // Clients that wait at a listener are turned away if accepting from that listener has failed.
    assert!(others.iter_mut().all(|client| client.statuses() == [503]));
    world.network.descriptor_limit(100);
    world.advance(100);
    for number in [0, 1] {
        let mut client = world.connect_by(number);
        client.write(&get("/", ""));
        world.settle();
        assert_eq!(client.statuses(), [200]);
    }
}

#[test]
fn waiting_clients_are_answered_or_left_to_the_next_server_when_the_core_drains() {
    let mut world = World::listening(App::new, &[Kind::Tcp, Kind::Unix, Kind::Inherited], 0, Faults::default());
    // Accepting has failed on every listener and is retried later, so clients wait.
    world.network.descriptor_limit(3);
    let mut first: Vec<_> = (0..3).map(|listener| world.connect_by(listener)).collect();
    world.settle();
    assert!(first.iter_mut().all(|client| client.statuses() == [503]));
    world.network.descriptor_limit(100);
    let mut waiting: Vec<_> = (0..3).map(|listener| world.connect_by(listener)).collect();
    waiting.iter().for_each(|client| client.write(&get("/", "")));
    world.core.drain();
    world.settle();
    assert!(world.view().listeners().is_empty() && world.network.connect().is_none());
    let inherited = waiting.pop().expect("there are three");
    assert!(waiting.iter_mut().all(|client| client.statuses() == [503] && !client.peer.was_reset()));
    assert!(!inherited.peer.was_reset() && !inherited.peer.is_closed_by_server());
}
