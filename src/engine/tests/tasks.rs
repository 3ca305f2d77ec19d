//! Tests of handlers' tasks, and of handles that outlive their sessions.

use super::client::{close, text};
use super::log::burst;
use super::world::World;
use crate::engine::Sent;
use crate::protocol::CloseCode;

#[test]
fn a_task_sends_to_its_session_and_learns_what_became_of_it() {
    let mut world = World::new();
    let mut client = world.open("/");
    client.send("/task-send");
    world.settle();
    assert_eq!(client.frames(), [text("from a task")]);
    assert_eq!(*world.log.sent.borrow(), [Sent::Queued]);
    assert!(!world.core.has_tasks());
}

#[test]
fn a_task_meets_backpressure_as_a_handler_does() {
    let mut world = World::new();
    let mut client = world.open("/");
    client.peer.stop_reading();
    client.send("/task-send-later");
    client.send("/flood 20 50000");
    world.settle();
    world.log.gate.open();
    world.settle();
    assert_eq!(world.log.sent.borrow().last(), Some(&Sent::Dropped));
    client.peer.resume_reading();
    world.settle();
    assert!(!client.frames().contains(&text("from a late task")));
}

#[test]
fn a_task_ends_the_pause_that_its_handler_began() {
    let mut world = World::new();
    let mut client = world.open("/");
    client.send("/pause-until-task");
    client.send("meanwhile");
    world.settle();
    assert_eq!(client.frames(), []);
    world.log.gate.open();
    world.settle();
    assert_eq!(client.frames(), [text("meanwhile")]);
}

#[test]
fn a_task_closes_its_session() {
    let mut world = World::new();
    let mut client = world.open("/");
    client.send("/task-close");
    world.settle();
    assert_eq!(client.frames(), [close(1001, "a task said so")]);
    client.close(1001, "");
    world.settle();
    assert!(client.is_at_end() && world.log.last_closed().clean);
}

#[test]
fn a_task_that_outlives_its_session_reaches_nobody() {
    for command in ["/task-send-later", "/task-panic-later"] {
        let mut world = World::new();
        let client = world.open("/");
        client.send(command);
        world.settle();
        client.peer.reset();
        world.settle();
        let (mut stranger, id) = world.open_session();
        assert_eq!(id.token.index, 0, "the slot is used again");
        world.log.gate.open();
        world.settle();
        assert!(stranger.hears_nothing());
        assert!(world.log.sent.borrow().iter().all(|sent| *sent == Sent::Dropped));
    }
}

#[test]
fn a_handle_to_a_closed_session_never_reaches_the_next_one_in_its_slot() {
    let mut world = World::new();
    let (client, first) = world.open_session();
    client.send("/handle");
    world.settle();
    client.peer.reset();
    world.settle();
    let (mut stranger, second) = world.open_session();
    assert_eq!(first.token.index, second.token.index);
    assert_ne!(first, second);
    assert_ne!(first.to_string(), second.to_string());
    world.log.handles.borrow()[0].close(CloseCode::NORMAL, "not you");
    world.settle();
    assert!(stranger.hears_nothing());
}

#[test]
fn a_handle_to_a_session_that_is_closing_drops_what_it_is_given() {
    let mut world = World::new();
    let mut client = world.open("/");
    client.send("/task-send-later");
    client.send("/close 1000 x");
    world.settle();
    world.log.gate.open();
    world.settle();
    assert_eq!(client.frames(), [close(1000, "x")]);
    assert_eq!(*world.log.sent.borrow(), [Sent::Dropped]);
}

#[test]
fn a_sleeping_core_is_woken_by_a_command() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::task::Wake;

    struct Flag(AtomicBool);
    impl Wake for Flag {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    let mut world = World::new();
    let client = world.open("/");
    client.send("/handle");
    world.settle();
    let flag = Arc::new(Flag(AtomicBool::new(false)));
    assert!(!world.core.has_commands_or_wake(&Arc::clone(&flag).into()));
    world.log.handles.borrow()[0].close(CloseCode::NORMAL, "");
    assert!(flag.0.load(Ordering::Relaxed));
    assert!(world.core.has_commands_or_wake(&flag.into()));
}

#[test]
fn a_task_that_panics_when_dropped_ends_only_its_session() {
    struct Remains;
    impl Drop for Remains {
        fn drop(&mut self) {
            burst();
        }
    }

    let mut world = World::new();
    let (mut client, id) = world.open_session();
    let remains = Remains;
    world.call(id, |session| {
        session.spawn(async move {
            let _remains = &remains;
            std::future::ready(()).await;
        });
    });
    world.settle();
    assert!(client.hears_close(1011));
}
