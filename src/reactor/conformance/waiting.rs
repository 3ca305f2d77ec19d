//! Properties of waking, waiting, and running out of descriptors.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::reactor::thread_id;

pub fn the_waker_wakes_from_any_thread(world: &mut impl World) {
    let waker = world.reactor().waker();
    thread::spawn({
        let waker = waker.clone();
        move || waker.wake()
    })
    .join()
    .expect("waking does not panic");
    wait(world, |_, completion| matches!(completion, Completion::Woken));
    assert_quiet(world);
    waker.wake_by_ref();
    wait(world, |_, completion| matches!(completion, Completion::Woken));
}

pub fn enter_waits_as_long_as_it_was_told<R: Reactor>(world: &mut Loopback<R>) {
    let wait = Duration::from_micros(20_500);
    let mut completions = Vec::new();
    let begun = Instant::now();
    world.reactor().enter(wait, &mut completions).expect("enter");
    assert!(begun.elapsed() >= wait);
    assert!(completions.is_empty());
}

pub fn enter_ends_with_the_first_completion<R: Reactor>(world: &mut Loopback<R>) {
    const LONG: Duration = Duration::from_secs(600);
    let mut completions = Vec::new();
    let waker = world.reactor().waker();
    let (waiting, enters) = (thread_id(), Arc::new(AtomicBool::new(false)));
    let rouser = thread::spawn({
        let enters = Arc::clone(&enters);
        move || {
            while !enters.load(Ordering::Relaxed) || !is_asleep(waiting) {
                thread::yield_now();
            }
            waker.wake();
        }
    });
    enters.store(true, Ordering::Relaxed);
    world.reactor().enter(LONG, &mut completions).expect("enter");
    assert!(matches!(completions[..], [Completion::Woken]));
    rouser.join().expect("waking does not panic");

    let (_client, socket) = connection(world);
    let token = watched(world, socket);
    world.reactor().unwatch(socket, token);
    completions.clear();
    while !completions.iter().any(|completion| matches!(completion, Completion::WatchEnded { .. })) {
        world.reactor().enter(LONG, &mut completions).expect("enter");
    }
    world.reactor().close(socket);
}

/// Returns whether a thread of this process sleeps, by its state in proc(5).
fn is_asleep(thread: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/self/task/{thread}/stat")).expect("the thread lives");
    stat.rsplit_once(") ").is_some_and(|(_, fields)| fields.starts_with('S'))
}

pub fn accepted_sockets_are_non_blocking_and_close_on_exec<R: Reactor>(world: &mut Loopback<R>) {
    let listener = world.listen();
    let mut sockets = Vec::new();
    let _first = world.connect();
    sockets.push(accept(world, listener));
    world.reactor().accept(listener);
    let _second = world.connect();
    wait(world, |_, completion| {
        sockets.push(expect_accepted(completion).0.expect("nothing went wrong"));
        true
    });
    for socket in sockets {
        // SAFETY: takes integers only.
        let status = unsafe { libc::fcntl(socket.raw(), libc::F_GETFL) };
        // SAFETY: takes integers only.
        let descriptor = unsafe { libc::fcntl(socket.raw(), libc::F_GETFD) };
        assert_ne!(status & libc::O_NONBLOCK, 0);
        assert_ne!(descriptor & libc::FD_CLOEXEC, 0);
        world.reactor().close(socket);
    }
}

pub fn the_park_descriptor_is_readable_once_something_waits<R: Reactor>(world: &mut Loopback<R>) {
    let (mut client, socket) = connection(world);
    let token = watched(world, socket);
    for _ in 0..3 {
        world.reactor().arm();
        while !enter(world).is_empty() {}
        assert!(!polls_readable(world, Duration::ZERO));
        client.write(b"x");
        assert!(polls_readable(world, Duration::from_secs(20)));
        world.reactor().disarm();
        assert_eq!(read(world, socket, token, 1), b"x");
    }
    let waker = world.reactor().waker();
    world.reactor().arm();
    while !enter(world).is_empty() {}
    waker.wake();
    // At once: other cores wait for the effect of a wake-up.
    assert!(polls_readable(world, Duration::ZERO));
    world.reactor().disarm();
    wait(world, |_, completion| matches!(completion, Completion::Woken));
    end(world, socket, token);
}

// Descriptors, in a process in which no other test opens any.

pub fn without_descriptors_accepting_ends_and_recovers<R: Reactor>(new: fn() -> io::Result<R>) {
    let mut world = Loopback::new(new);
    let world = &mut world;
    let listener = world.listen();
    let (mut first, _second) = (world.connect(), world.connect());
    let mut hoard = exhaust_descriptors();
    world.reactor().accept(listener);
    let mut error = None;
    wait(world, |_, completion| {
        let (socket, more) = expect_accepted(completion);
        assert!(!more);
        error = socket.err();
        true
    });
    assert_eq!(error.and_then(|error| error.raw_os_error()), Some(libc::EMFILE));
    for _ in 0..20 {
        assert!(enter(world).is_empty(), "accepting goes on though it has ended");
    }
    let refused = world.reactor().accept_now(listener).expect_err("there is no descriptor");
    assert_eq!(refused.raw_os_error(), Some(libc::EMFILE));
    await_that(world, |world| turn_away(world.reactor(), listener).is_ok());
    assert_eq!(receive(world, &mut first, 4), b"full");

    hoard.pop();
    world.reactor().accept(listener);
    let mut accepted = None;
    wait(world, |_, completion| {
        // The kernel looks for a descriptor before it looks for a connection, so an error may follow.
        accepted = accepted.or(expect_accepted(completion).0.ok());
        accepted.is_some()
    });
    world.reactor().close(accepted.expect("it was waited for"));
}

pub fn a_spare_descriptor_that_was_lost_is_had_again_before_anyone_is_let_in<R: Reactor>(new: fn() -> io::Result<R>) {
    let mut world = Loopback::new(new);
    let world = &mut world;
    let listener = world.listen();
    let mut client = world.connect();
    let _hoard = exhaust_descriptors();
    // As if other threads were quicker to take the reserved descriptor once it is free.
    limit_descriptors(3);
    let error = turn_away(world.reactor(), listener).expect_err("there is no descriptor");
    assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
    limit_descriptors(DESCRIPTORS_LEFT);
    world.reactor().accept(listener);
    let mut error = None;
    wait(world, |_, completion| {
        error = expect_accepted(completion).0.err();
        true
    });
    assert_eq!(
        error.and_then(|error| error.raw_os_error()),
        Some(libc::EMFILE),
        "the last one was not kept in reserve"
    );
    await_that(world, |world| turn_away(world.reactor(), listener).is_ok());
    assert_eq!(receive(world, &mut client, 4), b"full");
}

pub fn a_dropped_reactor_leaves_no_descriptor_open<R: Reactor>(new: fn() -> io::Result<R>) {
    let before = open_descriptors();
    for _ in 0..3 {
        let mut world = Loopback::new(new);
        let (mut client, socket) = connection(&mut world);
        let token = watched(&mut world, socket);
        block(&mut world, &mut client, socket, token);
        let listener = world.listen();
        world.reactor().accept(listener);
        enter(&mut world);
        let Loopback { reactor, listeners, .. } = world;
        drop(reactor);
        drop(listeners);
        crate::reactor::socket::close(socket);
    }
    assert_eq!(open_descriptors(), before);
}

/// Runs `body` in a process of its own: this test program again, with the one test named.
pub fn alone(test: &str, body: impl FnOnce()) {
    const ALONE: &str = "RINGSOCK_TEST_ALONE";
    if std::env::var_os(ALONE).is_some() {
        return body();
    }
    // libtest omits the name of the crate.
    let name = test.split_once("::").expect("a test is in a module").1;
    let output = Command::new(std::env::current_exe().expect("the program is known"))
        .args(["--exact", name])
        .env(ALONE, "1")
        .output()
        .expect("the program starts again");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}
