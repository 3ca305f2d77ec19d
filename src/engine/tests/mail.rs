//! Tests of mail between handlers, and of calls with sessions from mail and tasks.

use super::client::{close, text};
use super::cluster::Cluster;
use super::letter::Errand;
use super::world::World;
use crate::engine::{Limits, Sent};
use crate::mesh::MeshCapacity;

/// Returns the limits of a process whose rings and inboxes hold so few entries.
fn narrow(ring_entries: usize, inbox_entries: usize) -> Limits {
    Limits { mesh: MeshCapacity { ring_entries, inbox_entries }, ..Limits::default() }
}

#[test]
fn mail_reaches_the_handler_of_another_core_in_order() {
    let mut cluster = Cluster::new(3);
    let (client, _) = cluster.cores[0].open_session();
    for number in 0..100 {
        client.send(&format!("/mail 2 {number}"));
    }
    cluster.settle();
    let notes = cluster.cores[2].log.notes.borrow().clone();
    assert_eq!(notes, (0..100).map(|number| number.to_string()).collect::<Vec<_>>());
    assert!(cluster.cores[1].log.notes.borrow().is_empty());
    assert_eq!(cluster.cores[2].counters.mail_delivered.read(), 100);
    assert!(cluster.cores.iter().all(|core| core.log.disorder.borrow().is_empty()));
}

#[test]
fn mail_to_the_own_core_comes_after_the_call_that_sent_it() {
    let mut world = World::new();
    let client = world.open("/");
    client.send("/mail 0 first");
    client.send("/mail 0 second");
    world.settle();
    assert_eq!(*world.log.notes.borrow(), ["first", "second"]);
}

#[test]
fn mail_that_finds_no_room_is_dropped_and_counted() {
    let mut cluster = Cluster::with(2, narrow(2, 16));
    let (client, _) = cluster.cores[0].open_session();
    // All in one turn of the sender, in which the receiver pops nothing.
    for command in ["/mail 1 a", "/mail 1 b", "/mail 1 c", "/mail 0 d", "/mail 0 e", "/mail 0 f", "/mail 7 g"] {
        client.send(command);
    }
    cluster.settle();
    let sent = cluster.cores[0].log.sent.borrow().clone();
    let [queued, dropped] =
        [Sent::Queued, Sent::Dropped].map(|wanted| sent.iter().filter(|sent| **sent == wanted).count());
    assert_eq!((queued, dropped), (4, 3), "{sent:?}");
    assert_eq!(cluster.cores[0].counters.mail_dropped.read(), 3);
    assert_eq!(*cluster.cores[1].log.notes.borrow(), ["a", "b"]);
    assert_eq!(*cluster.cores[0].log.notes.borrow(), ["d", "e"]);
}

#[test]
fn mail_from_outside_reaches_a_core_until_its_inbox_is_full() {
    let mut cluster = Cluster::with(2, narrow(4, 2));
    let mail = |cluster: &Cluster, text: &str| {
        let letter = cluster.post.letter(None, 1, Errand::Note(text.to_owned()));
        cluster.handle.mail(1, letter)
    };
    let sent = ["a", "b", "c"].map(|text| mail(&cluster, text));
    assert_eq!(sent, [Sent::Queued, Sent::Queued, Sent::Dropped]);
    cluster.settle();
    assert_eq!(*cluster.cores[1].log.notes.borrow(), ["a", "b"]);
    assert_eq!((cluster.cores[1].counters.inbox_full.read(), cluster.cores[0].counters.inbox_full.read()), (1, 0));
    assert_eq!(mail(&cluster, "d"), Sent::Queued);
    cluster.settle();
    let letter = cluster.post.letter(None, 9, Errand::Panic);
    assert_eq!(cluster.handle.mail(9, letter), Sent::Dropped, "there is no such core");
}

#[test]
fn a_handler_that_panics_over_mail_ends_no_session() {
    let mut world = World::new();
    let mut client = world.open("/");
    client.send("/mail-panic 0");
    client.send("still here");
    world.settle();
    assert_eq!(client.frames(), [text("still here")]);
    assert_eq!(world.counters.handler_panics.read(), 1);
}

#[test]
fn mail_reaches_a_session_on_its_own_core_alone() {
    let mut cluster = Cluster::new(2);
    let (mut client, _) = cluster.cores[0].open_session();
    // It goes to the other core, which does not have the session and sends it back.
    client.send("/visit 1");
    cluster.settle();
    assert_eq!(client.frames(), [text("from a task")]);
    assert_eq!(cluster.cores[1].counters.messages_sent.read(), 0);
}

#[test]
fn mail_for_a_session_that_has_ended_reaches_no_other() {
    let mut cluster = Cluster::new(2);
    let (client, id) = cluster.cores[0].open_session();
    client.peer.reset();
    cluster.settle();
    let (mut stranger, next) = cluster.cores[0].open_session();
    assert_eq!(next.token.index, id.token.index, "the slot is used again");
    let letter = cluster.post.letter(None, 0, Errand::Visit(id));
    cluster.handle.mail(0, letter);
    cluster.settle();
    assert!(stranger.hears_nothing());
}

#[test]
fn a_panic_while_mail_holds_a_session_ends_that_session() {
    let mut world = World::new();
    let (mut client, mut other) = (world.open("/"), world.open("/"));
    client.send("/bother 0");
    other.send("still here");
    world.settle();
    let failed = close(1011, "The server failed while it handled this session.");
    assert_eq!(client.frames(), [text("the last word"), failed]);
    assert_eq!(other.frames(), [text("still here")]);
}

#[test]
fn a_task_calls_the_handler_with_its_session() {
    let mut world = World::new();
    let mut client = world.open("/");
    client.send("/task-run");
    world.settle();
    assert_eq!(client.frames(), [text("from a task")]);
    assert_eq!(*world.log.ran.borrow(), [Some(0)]);
    assert!(!world.core.has_tasks());
}

#[test]
fn a_call_for_a_session_that_has_ended_is_not_made_and_says_so() {
    let mut world = World::new();
    let client = world.open("/");
    client.send("/task-run-later");
    world.settle();
    client.peer.reset();
    world.settle();
    let mut stranger = world.open("/");
    world.log.gate.open();
    world.settle();
    assert_eq!(*world.log.ran.borrow(), [None]);
    assert!(stranger.hears_nothing() && !world.core.has_tasks());
}

#[test]
fn a_call_that_panics_ends_its_session_and_says_so() {
    let mut world = World::new();
    let mut client = world.open("/");
    client.send("/task-run-panic");
    world.settle();
    assert_eq!(client.frames(), [close(1011, "The server failed while it handled this session.")]);
    assert_eq!(*world.log.ran.borrow(), [None]);
}
