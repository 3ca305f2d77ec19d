//! Tests of the sessions' timers.

use super::client::close;
use super::world::World;
use crate::engine::wheel::TICK_MS;

#[test]
fn a_session_is_woken_once_after_the_time_it_asked_for() {
    let mut world = World::new();
    let (client, id) = world.open_session();
    client.send("/wake 1000");
    world.settle();
    world.advance(1000 - TICK_MS);
    assert!(world.log.woken.borrow().is_empty());
    world.advance(2 * TICK_MS);
    assert_eq!(*world.log.woken.borrow(), [id]);
    world.advance(20_000);
    assert_eq!(world.log.woken.borrow().len(), 1);
}

#[test]
fn a_new_time_replaces_the_old_one_whether_it_is_earlier_or_later() {
    for (first, second) in [("/wake 500", "/wake 3000"), ("/wake 30000", "/wake 3000")] {
        let mut world = World::new();
        let client = world.open("/");
        client.send(first);
        client.send(second);
        world.settle();
        world.advance(2_900);
        assert!(world.log.woken.borrow().is_empty(), "{first}, {second}");
        world.advance(200);
        assert_eq!(world.log.woken.borrow().len(), 1, "{first}, {second}");
    }
}

#[test]
fn a_timer_that_was_stopped_wakes_nobody() {
    let mut world = World::new();
    let client = world.open("/");
    client.send("/wake 500");
    client.send("/cancel-wake");
    world.advance(5_000);
    assert!(world.log.woken.borrow().is_empty());
}

#[test]
fn a_timer_ends_with_its_session_and_the_next_session_in_its_slot_has_none() {
    let mut world = World::new();
    let (client, id) = world.open_session();
    client.send("/wake 500");
    world.settle();
    client.peer.reset();
    world.settle();
    let (_stranger, next) = world.open_session();
    assert_eq!(next.token.index, id.token.index, "the slot is used again");
    world.advance(5_000);
    assert!(world.log.woken.borrow().is_empty());
}

#[test]
fn a_session_that_is_closing_is_not_woken() {
    let mut world = World::new();
    let mut client = world.open("/");
    client.send("/wake 500");
    client.send("/close 4000 bye");
    world.settle();
    assert_eq!(client.frames(), [close(4000, "bye")]);
    world.advance(1_000);
    assert!(world.log.woken.borrow().is_empty());
}

#[test]
fn a_panic_of_a_woken_session_ends_it() {
    let mut world = World::new();
    let mut client = world.open("/");
    client.send("/panic-in wake");
    client.send("/wake 500");
    world.advance(1_000);
    assert_eq!(client.frames(), [close(1011, "The server failed while it handled this session.")]);
}
