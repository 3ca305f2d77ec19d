//! What every reactor does, written once and run against each of them.
//!
//! `suite!(runs, world)` makes one test of each property; `world` takes a run's number and returns a [`World`].
//! `kernel_suite!(constructor)` adds those that only a reactor on the real kernel can have. Nothing here knows which
//! reactor it is talking to. Invariant: a test waits for what must come by entering the reactor, never by sleeping.

use std::fs;
use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{Chunks, Completion, Reactor, Socket, Sockets, Token};

/// Enters before a test gives up waiting; on the real kernel each takes up to a millisecond.
const PATIENCE: usize = 20_000;

/// A reactor, and the clients it is tested with.
pub trait World {
    type Reactor: Reactor;
    type Client: Client;

    fn reactor(&mut self) -> &mut Self::Reactor;
    /// Opens a listener, which the world closes in the end.
    fn listen(&mut self) -> Socket;
    /// Connects to the listener opened last.
    fn connect(&mut self) -> Self::Client;
    /// More bytes than fit into the buffers between a server and a client that does not read.
    fn too_much(&self) -> usize;
    /// Whether nothing spurious happens here, so that what must not come can be tested.
    fn is_exact(&self) -> bool;
}

/// The other end of a connection. None of its calls waits.
pub trait Client {
    fn address(&self) -> SocketAddr;
    fn write(&mut self, bytes: &[u8]);
    /// What has come since it was last asked.
    fn read(&mut self) -> Vec<u8>;
    /// Whether [`Client::read`] has come to the end of the stream.
    fn at_end(&mut self) -> bool;
    fn was_reset(&mut self) -> bool;
    fn finish(&mut self);
    fn reset(&mut self);
    fn stop_reading(&mut self);
    fn resume_reading(&mut self);
}

/// Makes a test of each property, run as often as `runs` says.
macro_rules! suite {
    ($runs:expr, $world:expr) => {
        $crate::reactor::conformance::suite! { $runs, $world =>
            accepting_goes_on_until_it_is_stopped
            stopping_leaves_what_waits_to_accept_now
            several_listeners_are_served
            a_new_socket_knows_its_peer
            bytes_that_arrive_are_readable
            every_arrival_is_an_edge
            bytes_that_were_there_before_the_watch_are_readable
            the_end_of_the_stream_comes_after_the_bytes
            an_end_that_came_with_the_bytes_is_found_by_reading_on
            a_reset_is_readable
            a_shut_down_socket_is_readable
            unwatch_ends_a_watch_once_and_for_all
            a_watch_can_be_asked_for_anew
            tokens_come_back_as_they_were_given
            an_empty_send_completes
            many_parts_leave_in_order
            a_large_send_to_a_slow_reader_leaves_in_order
            a_blocked_send_needs_no_watch
            a_blocked_send_outlives_its_watch
            a_blocked_send_survives_a_new_watch
            shutdown_fails_a_blocked_send
            shutdown_fails_a_blocked_send_whose_watch_has_ended
            a_reset_fails_a_blocked_send
            a_full_socket_would_block_a_send_now
            the_peer_reads_everything_before_the_end_of_the_stream
            discard_on_close_resets
            closing_with_unread_bytes_resets
            the_waker_wakes_from_any_thread
            one_turned_away_hears_the_farewell
        }
    };
    ($runs:expr, $world:expr => $($property:ident)+) => {
        $(
            #[test]
            fn $property() {
                for run in $runs {
                    $crate::reactor::conformance::$property(&mut $world(run));
                }
            }
        )+
    };
}
pub(crate) use suite;

/// The suite on the real kernel, and what only makes sense there. `new` makes the reactor: `fn() -> io::Result<R>`.
macro_rules! kernel_suite {
    ($new:expr) => {
        $crate::reactor::conformance::suite!(0..1, |_| {
            $crate::reactor::conformance::Loopback::new($new)
        });

        $crate::reactor::conformance::kernel_suite! { $new =>
            enter_waits_as_long_as_it_was_told
            enter_ends_with_the_first_completion
            accepted_sockets_are_non_blocking_and_close_on_exec
            the_park_descriptor_is_readable_once_something_waits
        }

        $crate::reactor::conformance::kernel_suite! { alone: $new =>
            without_descriptors_accepting_ends_and_recovers
            a_dropped_reactor_leaves_no_descriptor_open
        }
    };
    ($new:expr => $($property:ident)+) => {
        $(
            #[test]
            fn $property() {
                let new = $new;
                $crate::reactor::conformance::$property(&mut $crate::reactor::conformance::Loopback::new(new));
            }
        )+
    };
    (alone: $new:expr => $($property:ident)+) => {
        $(
            #[test]
            fn $property() {
                let name = concat!(module_path!(), "::", stringify!($property));
                $crate::reactor::conformance::alone(name, || $crate::reactor::conformance::$property($new));
            }
        )+
    };
}
pub(crate) use kernel_suite;

// Accepting.

pub fn accepting_goes_on_until_it_is_stopped(world: &mut impl World) {
    let listener = world.listen();
    world.reactor().accept(listener);
    let mut accepted = Vec::new();
    let mut ended = false;
    for expected in 1..=3 {
        let _client = world.connect();
        wait(world, |world, completion| {
            let (socket, more) = expect_accepted(completion);
            accepted.push(socket.expect("nothing went wrong"));
            if !more {
                world.reactor().accept(listener);
            }
            accepted.len() == expected
        });
    }
    world.reactor().stop_accepting(listener);
    wait(world, |_, completion| {
        let (socket, more) = expect_accepted(completion);
        ended = !more;
        accepted.extend(socket.ok());
        ended
    });
    for socket in &accepted {
        world.reactor().close(*socket);
    }
    assert_eq!(accepted.len(), 3);
    assert_quiet(world);
}

pub fn stopping_leaves_what_waits_to_accept_now(world: &mut impl World) {
    let listener = world.listen();
    world.reactor().accept(listener);
    enter(world);
    world.reactor().stop_accepting(listener);
    wait(world, |_, completion| matches!(completion, Completion::Accepted { more: false, .. }));
    let _client = world.connect();
    assert!(enter(world).is_empty());
    let socket = accept(world, listener);
    world.reactor().close(socket);
    let none = world.reactor().accept_now(listener).expect_err("nobody waits");
    assert_eq!(none.kind(), io::ErrorKind::WouldBlock);
}

pub fn several_listeners_are_served(world: &mut impl World) {
    let mut clients = Vec::new();
    let mut accepted = Vec::new();
    for _ in 0..2 {
        let listener = world.listen();
        world.reactor().accept(listener);
        clients.push(world.connect());
    }
    wait(world, |_, completion| {
        accepted.push(expect_accepted(completion).0.expect("nothing went wrong"));
        accepted.len() == clients.len()
    });
    for socket in accepted {
        world.reactor().close(socket);
    }
}

pub fn a_new_socket_knows_its_peer(world: &mut impl World) {
    let (client, socket) = connection(world);
    assert_eq!(world.reactor().peer_address(socket).expect("it is connected"), client.address());
    world.reactor().close(socket);
}

pub fn one_turned_away_hears_the_farewell(world: &mut impl World) {
    let listener = world.listen();
    let none = world.reactor().shed(listener, b"full").expect_err("nobody waits");
    assert_eq!(none.kind(), io::ErrorKind::WouldBlock);
    let mut client = world.connect();
    await_that(world, |world| match world.reactor().shed(listener, b"full") {
        Ok(()) => true,
        Err(error) => {
            assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
            false
        }
    });
    assert_eq!(receive(world, &mut client, 4), b"full");
    await_that(world, |_| client.at_end());
}

// Reading.

pub fn bytes_that_arrive_are_readable(world: &mut impl World) {
    let (mut client, socket) = connection(world);
    let token = watched(world, socket);
    client.write(b"hello");
    assert_eq!(read(world, socket, token, 5), b"hello");
    let mut buffer = [0; 8];
    let nothing = world.reactor().recv(socket, &mut buffer).expect_err("everything was read");
    assert_eq!(nothing.kind(), io::ErrorKind::WouldBlock);
    end(world, socket, token);
}

pub fn every_arrival_is_an_edge(world: &mut impl World) {
    let (mut client, socket) = connection(world);
    let token = watched(world, socket);
    client.write(b"one");
    await_readable(world, token);
    assert_quiet(world);
    client.write(b"two");
    await_readable(world, token);
    assert_quiet(world);
    let mut bytes = read_waiting(world, socket);
    while bytes.len() < 6 {
        await_readable(world, token);
        bytes.extend(read_waiting(world, socket));
    }
    assert_eq!(bytes, b"onetwo");
    end(world, socket, token);
}

pub fn bytes_that_were_there_before_the_watch_are_readable(world: &mut impl World) {
    let (mut client, socket) = connection(world);
    client.write(b"early");
    let token = watched(world, socket);
    assert_eq!(read(world, socket, token, 5), b"early");
    end(world, socket, token);
}

pub fn the_end_of_the_stream_comes_after_the_bytes(world: &mut impl World) {
    let (mut client, socket) = connection(world);
    let token = watched(world, socket);
    client.write(b"last words");
    assert_eq!(read(world, socket, token, 10), b"last words");
    client.finish();
    await_end(world, socket, token);
    end(world, socket, token);
}

/// A short read is not the end of what waits: the edge that told of the bytes told of the end behind them as well.
pub fn an_end_that_came_with_the_bytes_is_found_by_reading_on(world: &mut impl World) {
    let (mut client, socket) = connection(world);
    client.write(b"last words");
    client.finish();
    let mut buffer = [0; 64];
    let mut bytes = Vec::new();
    await_that(world, |world| match world.reactor().recv(socket, &mut buffer) {
        Ok(count) => {
            bytes.extend_from_slice(&buffer[..count]);
            count == 0
        }
        Err(error) => {
            assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
            false
        }
    });
    assert_eq!(bytes, b"last words");
    world.reactor().close(socket);
}

pub fn a_reset_is_readable(world: &mut impl World) {
    let (mut client, socket) = connection(world);
    let token = watched(world, socket);
    client.reset();
    let mut error = None;
    await_that(world, |world| {
        await_readable(world, token);
        error = world.reactor().recv(socket, &mut [0; 8]).err();
        error.as_ref().is_some_and(|error| error.kind() != io::ErrorKind::WouldBlock)
    });
    let kind = error.expect("recv failed").kind();
    assert_eq!(kind, io::ErrorKind::ConnectionReset);
    end(world, socket, token);
}

pub fn a_shut_down_socket_is_readable(world: &mut impl World) {
    let (_client, socket) = connection(world);
    let token = watched(world, socket);
    world.reactor().shutdown(socket, Shutdown::Both);
    await_end(world, socket, token);
    end(world, socket, token);
}

pub fn unwatch_ends_a_watch_once_and_for_all(world: &mut impl World) {
    let (mut client, socket) = connection(world);
    let token = watched(world, socket);
    end_watch(world, socket, token);
    client.write(b"unheard");
    for _ in 0..20 {
        assert!(enter(world).is_empty());
    }
    world.reactor().close(socket);
}

pub fn a_watch_can_be_asked_for_anew(world: &mut impl World) {
    let (mut client, socket) = connection(world);
    let token = watched(world, socket);
    end_watch(world, socket, token);
    client.write(b"kept");
    world.reactor().watch(socket, token);
    assert_eq!(read(world, socket, token, 4), b"kept");
    end(world, socket, token);
}

pub fn tokens_come_back_as_they_were_given(world: &mut impl World) {
    for (index, generation) in [(0, 0), (0, u32::MAX), (0x00ff_ffff, 0), (0x00ff_ffff, u32::MAX)] {
        let token = Token { index, generation };
        let (mut client, socket) = connection(world);
        world.reactor().watch(socket, token);
        client.write(b"x");
        assert_eq!(read(world, socket, token, 1), b"x");
        world.reactor().send(socket, token, Chunks::One(Bytes::from_static(b"y")));
        assert_eq!(await_sent(world, token).expect("there was room"), 1);
        end(world, socket, token);
    }
}

// Sending.

pub fn an_empty_send_completes(world: &mut impl World) {
    let (_client, socket) = connection(world);
    for chunks in [Chunks::One(Bytes::new()), Chunks::Many(vec![Bytes::new(); 2])] {
        world.reactor().send(socket, TOKEN, chunks);
        assert_eq!(await_sent(world, TOKEN).expect("nothing can go wrong"), 0);
    }
    world.reactor().close(socket);
}

pub fn many_parts_leave_in_order(world: &mut impl World) {
    let (mut client, socket) = connection(world);
    let parts: Vec<Bytes> = (0..Chunks::PARTS_MAX).map(|part| Bytes::from(vec![part as u8; part * 7])).collect();
    let whole = parts.concat();
    world.reactor().send(socket, TOKEN, Chunks::Many(parts));
    assert_eq!(await_sent(world, TOKEN).expect("the client reads"), whole.len());
    assert_eq!(receive(world, &mut client, whole.len()), whole);
    world.reactor().close(socket);
}

pub fn a_large_send_to_a_slow_reader_leaves_in_order(world: &mut impl World) {
    let (mut client, socket) = connection(world);
    let token = watched(world, socket);
    let blocked = block(world, &mut client, socket, token);
    client.resume_reading();
    finish(world, &mut client, token, blocked);
    end(world, socket, token);
}

pub fn a_blocked_send_needs_no_watch(world: &mut impl World) {
    let (mut client, socket) = connection(world);
    let blocked = block(world, &mut client, socket, TOKEN);
    client.resume_reading();
    finish(world, &mut client, TOKEN, blocked);
    let token = watched(world, socket);
    end(world, socket, token);
}

pub fn a_blocked_send_outlives_its_watch(world: &mut impl World) {
    let (mut client, socket) = connection(world);
    let token = watched(world, socket);
    let blocked = block(world, &mut client, socket, token);
    end_watch(world, socket, token);
    client.write(b"unheard");
    client.resume_reading();
    let others = finish(world, &mut client, token, blocked);
    assert!(others.is_empty(), "{others:?}");
    world.reactor().close(socket);
}

pub fn a_blocked_send_survives_a_new_watch(world: &mut impl World) {
    let (mut client, socket) = connection(world);
    let token = watched(world, socket);
    let blocked = block(world, &mut client, socket, token);
    end_watch(world, socket, token);
    world.reactor().watch(socket, token);
    client.write(b"heard");
    assert_eq!(read(world, socket, token, 5), b"heard");
    client.resume_reading();
    finish(world, &mut client, token, blocked);
    end(world, socket, token);
}

pub fn shutdown_fails_a_blocked_send(world: &mut impl World) {
    let (mut client, socket) = connection(world);
    let token = watched(world, socket);
    block(world, &mut client, socket, token);
    world.reactor().shutdown(socket, Shutdown::Both);
    assert_eq!(await_failed(world, token), io::ErrorKind::BrokenPipe);
    end(world, socket, token);
}

pub fn shutdown_fails_a_blocked_send_whose_watch_has_ended(world: &mut impl World) {
    let (mut client, socket) = connection(world);
    let token = watched(world, socket);
    block(world, &mut client, socket, token);
    end_watch(world, socket, token);
    world.reactor().shutdown(socket, Shutdown::Both);
    assert_eq!(await_failed(world, token), io::ErrorKind::BrokenPipe);
    world.reactor().close(socket);
}

pub fn a_reset_fails_a_blocked_send(world: &mut impl World) {
    let (mut client, socket) = connection(world);
    block(world, &mut client, socket, TOKEN);
    client.reset();
    let kind = await_failed(world, TOKEN);
    assert!(matches!(kind, io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe));
    world.reactor().close(socket);
}

pub fn a_full_socket_would_block_a_send_now(world: &mut impl World) {
    let (mut client, socket) = connection(world);
    client.stop_reading();
    let half = pattern(1000);
    let mut expected = Vec::new();
    let full = loop {
        match world.reactor().send_now(socket, &[IoSlice::new(&half), IoSlice::new(&half)]) {
            Ok(count) => expected.extend(half.iter().chain(&half).take(count)),
            Err(error) => break error,
        }
        assert!(expected.len() <= world.too_much());
    };
    assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
    client.resume_reading();
    assert_eq!(receive(world, &mut client, expected.len()), expected);
    world.reactor().close(socket);
}

// Ending.

pub fn the_peer_reads_everything_before_the_end_of_the_stream(world: &mut impl World) {
    let (mut client, socket) = connection(world);
    world.reactor().send(socket, TOKEN, Chunks::One(Bytes::from_static(b"goodbye")));
    await_sent(world, TOKEN).expect("the client reads");
    world.reactor().shutdown(socket, Shutdown::Write);
    assert_eq!(receive(world, &mut client, 7), b"goodbye");
    await_that(world, |_| client.at_end());
    let token = watched(world, socket);
    client.write(b"still heard");
    assert_eq!(read(world, socket, token, 11), b"still heard");
    end(world, socket, token);
    assert!(!client.was_reset());
}

pub fn discard_on_close_resets(world: &mut impl World) {
    let (mut client, socket) = connection(world);
    client.stop_reading();
    world.reactor().discard_on_close(socket);
    world.reactor().close(socket);
    client.resume_reading();
    await_that(world, |_| client.was_reset());
}

pub fn closing_with_unread_bytes_resets(world: &mut impl World) {
    let (mut client, socket) = connection(world);
    let token = watched(world, socket);
    client.write(b"unread");
    await_that(world, |world| {
        await_readable(world, token);
        // Spuriously readable says nothing of the bytes, so that one of them is read.
        world.reactor().recv(socket, &mut [0; 1]).is_ok()
    });
    end(world, socket, token);
    await_that(world, |_| client.was_reset());
}

// Waking and waiting.

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
    let sleeper = thread::spawn(move || {
        thread::sleep(Duration::from_millis(20));
        waker.wake();
    });
    world.reactor().enter(LONG, &mut completions).expect("enter");
    assert!(matches!(completions[..], [Completion::Woken]));
    sleeper.join().expect("waking does not panic");

    let (_client, socket) = connection(world);
    let token = watched(world, socket);
    world.reactor().unwatch(socket, token);
    completions.clear();
    while !completions.iter().any(|completion| matches!(completion, Completion::WatchEnded { .. })) {
        world.reactor().enter(LONG, &mut completions).expect("enter");
    }
    world.reactor().close(socket);
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
    assert!(polls_readable(world, Duration::from_secs(20)));
    world.reactor().disarm();
    wait(world, |_, completion| matches!(completion, Completion::Woken));
    end(world, socket, token);
}

// Descriptors, in a process where nobody else opens any.

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
    world.reactor().shed(listener, b"full").expect("somebody waits");
    assert_eq!(receive(world, &mut first, 4), b"full");

    hoard.pop();
    world.reactor().accept(listener);
    let mut accepted = None;
    wait(world, |_, completion| {
        // The kernel looks for a descriptor before it looks for a connection, so that an error may follow.
        accepted = accepted.or(expect_accepted(completion).0.ok());
        accepted.is_some()
    });
    world.reactor().close(accepted.expect("it was waited for"));
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
        super::socket::close(socket);
    }
    assert_eq!(open_descriptors(), before);
}

/// Runs `body` in a process of its own: this test program again, told to run the one test named.
pub fn alone(test: &str, body: impl FnOnce()) {
    const ALONE: &str = "RINGSOCK_TEST_ALONE";
    if std::env::var_os(ALONE).is_some() {
        return body();
    }
    // libtest leaves the name of the crate out.
    let name = test.split_once("::").expect("a test is in a module").1;
    let output = Command::new(std::env::current_exe().expect("the program is known"))
        .args(["--exact", name])
        .env(ALONE, "1")
        .output()
        .expect("the program starts again");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

/// Real sockets over the loopback interface.
pub struct Loopback<R> {
    reactor: R,
    address: Option<SocketAddr>,
    // After the reactor, because accepting ends with it at the latest.
    listeners: Listeners,
}

impl<R: Reactor> Loopback<R> {
    pub fn new(new: impl FnOnce() -> io::Result<R>) -> Self {
        let reactor = new().expect("the kernel provides what the reactor needs");
        Self { reactor, address: None, listeners: Listeners(Vec::new()) }
    }
}

impl<R: Reactor> World for Loopback<R> {
    type Reactor = R;
    type Client = Stream;

    fn reactor(&mut self) -> &mut R {
        &mut self.reactor
    }

    fn listen(&mut self) -> Socket {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let (listeners, address) = super::listen(any, 1, false).expect("a port is free");
        self.address = Some(address);
        self.listeners.0.extend(&listeners);
        listeners[0]
    }

    fn connect(&mut self) -> Stream {
        let stream = TcpStream::connect(self.address.expect("somebody listens")).expect("connect");
        stream.set_nonblocking(true).expect("set_nonblocking");
        let address = stream.local_addr().expect("local_addr");
        Stream { stream: Some(stream), address, at_end: false, was_reset: false }
    }

    fn too_much(&self) -> usize {
        16 << 20
    }

    fn is_exact(&self) -> bool {
        true
    }
}

struct Listeners(Vec<Socket>);

impl Drop for Listeners {
    fn drop(&mut self) {
        for listener in self.0.drain(..) {
            super::socket::close(listener);
        }
    }
}

/// A client on the real kernel.
pub struct Stream {
    /// None once it was reset.
    stream: Option<TcpStream>,
    address: SocketAddr,
    at_end: bool,
    was_reset: bool,
}

impl Client for Stream {
    fn address(&self) -> SocketAddr {
        self.address
    }

    fn write(&mut self, bytes: &[u8]) {
        self.stream.as_mut().expect("it is open").write_all(bytes).expect("there is room");
    }

    fn read(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let Some(stream) = &mut self.stream else { return bytes };
        match stream.read_to_end(&mut bytes) {
            Ok(_) => self.at_end = !self.was_reset,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => self.was_reset = true,
            Err(error) => panic!("the client cannot read: {error}"),
        }
        bytes
    }

    fn at_end(&mut self) -> bool {
        assert!(self.read().is_empty());
        self.at_end
    }

    fn was_reset(&mut self) -> bool {
        self.read();
        self.was_reset
    }

    fn finish(&mut self) {
        let stream = self.stream.as_ref().expect("it is open");
        stream.shutdown(Shutdown::Write).expect("it is connected");
    }

    fn reset(&mut self) {
        let stream = self.stream.take().expect("it is open");
        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("set_linger");
    }

    // On the real kernel a client that does not call `read` does not read.
    fn stop_reading(&mut self) {}

    fn resume_reading(&mut self) {}
}

const TOKEN: Token = Token { index: 7, generation: 3 };

fn enter(world: &mut impl World) -> Vec<Completion> {
    let mut completions = Vec::new();
    world.reactor().enter(Duration::from_millis(1), &mut completions).expect("enter");
    completions
}

/// Enters until `done` says of a completion that it was the last one waited for.
fn wait<W: World>(world: &mut W, mut done: impl FnMut(&mut W, &Completion) -> bool) {
    for _ in 0..PATIENCE {
        let mut is_done = false;
        for completion in enter(world) {
            is_done |= done(world, &completion);
        }
        if is_done {
            return;
        }
    }
    panic!("what was waited for has not come");
}

/// Enters until `done` says so; what completes meanwhile is of no interest.
fn await_that<W: World>(world: &mut W, mut done: impl FnMut(&mut W) -> bool) {
    for _ in 0..PATIENCE {
        if done(world) {
            return;
        }
        enter(world);
    }
    panic!("what was waited for has not come true");
}

/// Nothing comes. Where spurious completions are part of the test there is nothing to find out.
fn assert_quiet(world: &mut impl World) {
    if world.is_exact() {
        for _ in 0..5 {
            let completions = enter(world);
            assert!(completions.is_empty(), "{completions:?}");
        }
    }
}

fn expect_accepted(completion: &Completion) -> (Result<Socket, io::Error>, bool) {
    let Completion::Accepted { result, more } = completion else {
        panic!("{completion:?} has nothing to do with accepting")
    };
    let result = result
        .as_ref()
        .map(|socket| *socket)
        .map_err(|error| io::Error::from_raw_os_error(error.raw_os_error().expect("it came from the kernel")));
    (result, *more)
}

fn accept(world: &mut impl World, listener: Socket) -> Socket {
    let mut accepted = None;
    await_that(world, |world| {
        accepted = world.reactor().accept_now(listener).ok();
        accepted.is_some()
    });
    accepted.expect("it was waited for")
}

fn connection<W: World>(world: &mut W) -> (W::Client, Socket) {
    let listener = world.listen();
    let client = world.connect();
    let socket = accept(world, listener);
    (client, socket)
}

fn watched(world: &mut impl World, socket: Socket) -> Token {
    world.reactor().watch(socket, TOKEN);
    TOKEN
}

fn await_readable(world: &mut impl World, token: Token) {
    wait(world, |_, completion| matches!(completion, Completion::Readable { token: it, .. } if *it == token));
}

/// What can be read at once.
fn read_waiting(world: &mut impl World, socket: Socket) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match world.reactor().recv(socket, &mut buffer) {
            Ok(0) => panic!("the stream has ended"),
            Ok(count) => bytes.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return bytes,
            Err(error) => panic!("recv failed: {error}"),
        }
    }
}

/// Waits for edges and reads, as long as it takes for `count` bytes.
fn read(world: &mut impl World, socket: Socket, token: Token, count: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while bytes.len() < count {
        await_readable(world, token);
        bytes.extend(read_waiting(world, socket));
    }
    bytes
}

fn await_end(world: &mut impl World, socket: Socket, token: Token) {
    await_that(world, |world| {
        await_readable(world, token);
        match world.reactor().recv(socket, &mut [0; 8]) {
            Ok(count) => count == 0,
            Err(error) => {
                assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
                false
            }
        }
    });
}

fn end_watch(world: &mut impl World, socket: Socket, token: Token) {
    world.reactor().unwatch(socket, token);
    wait(world, |_, completion| matches!(completion, Completion::WatchEnded { token: it, .. } if *it == token));
}

fn end(world: &mut impl World, socket: Socket, token: Token) {
    end_watch(world, socket, token);
    world.reactor().close(socket);
}

/// How many bytes have left once the send has ended, or the error that ended it.
fn await_sent(world: &mut impl World, token: Token) -> Result<usize, io::ErrorKind> {
    let mut sent = Ok(0);
    wait(world, |_, completion| match completion {
        Completion::Sent { token: it, result, more } if *it == token => {
            match result {
                Ok(count) => sent = sent.map(|sum| sum + count),
                Err(error) => sent = Err(error.kind()),
            }
            !more
        }
        _ => false,
    });
    sent
}

fn await_failed(world: &mut impl World, token: Token) -> io::ErrorKind {
    await_sent(world, token).expect_err("the send fails")
}

/// A send that does not end before the client reads.
struct Blocked {
    bytes: Vec<u8>,
    sent: usize,
}

fn block<W: World>(world: &mut W, client: &mut W::Client, socket: Socket, token: Token) -> Blocked {
    client.stop_reading();
    let bytes = pattern(world.too_much());
    let whole = Bytes::from(bytes.clone());
    let piece = whole.len().div_ceil(5);
    let parts = (0..5).map(|at| whole.slice(at * piece..whole.len().min((at + 1) * piece)));
    let mut sent = 0;
    world.reactor().send(socket, token, Chunks::Many(parts.collect()));
    for _ in 0..20 {
        for completion in enter(world) {
            if let Completion::Sent { result, more, .. } = completion {
                assert!(more);
                sent += result.expect("nothing went wrong");
            }
        }
    }
    Blocked { bytes, sent }
}

/// Reads all that a blocked send still has to send, and returns the completions of anything else.
fn finish<W: World>(
    world: &mut W,
    client: &mut W::Client,
    token: Token,
    Blocked { bytes, mut sent }: Blocked,
) -> Vec<Completion> {
    let mut others = Vec::new();
    let mut received = Vec::new();
    let mut ended = false;
    for _ in 0..PATIENCE {
        received.extend(client.read());
        for completion in enter(world) {
            match completion {
                Completion::Sent { token: it, result, more } => {
                    assert!(it == token && !ended);
                    sent += result.expect("nothing went wrong");
                    ended = !more;
                }
                other => others.push(other),
            }
        }
        if ended && received.len() == bytes.len() {
            break;
        }
    }
    assert!(ended);
    assert_eq!(sent, bytes.len());
    assert!(received == bytes, "the bytes came changed or out of order");
    others
}

/// What the client reads until it has `count` bytes.
fn receive<W: World>(world: &mut W, client: &mut W::Client, count: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    await_that(world, |_| {
        bytes.extend(client.read());
        bytes.len() >= count
    });
    bytes
}

/// Bytes of which no part looks like another.
fn pattern(count: usize) -> Vec<u8> {
    (0..count as u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

fn polls_readable(world: &mut impl World, wait: Duration) -> bool {
    let descriptor = world.reactor().park_descriptor().expect("it can be awaited");
    let mut poll = libc::pollfd { fd: descriptor.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: points at one live pollfd.
    let count = unsafe { libc::poll(&mut poll, 1, wait.as_millis() as i32) };
    count == 1 && poll.revents & libc::POLLIN != 0
}

/// Lowers the limit of this process and uses up what it leaves.
fn exhaust_descriptors() -> Vec<super::socket::EventFd> {
    let limit = libc::rlimit { rlim_cur: 64, rlim_max: 64 };
    // SAFETY: points at a live rlimit.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) }, 0);
    std::iter::from_fn(|| super::socket::EventFd::new().ok()).collect()
}

fn open_descriptors() -> usize {
    fs::read_dir("/proc/self/fd").expect("proc is mounted").count()
}
