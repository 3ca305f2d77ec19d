//! The steps that the tests are made of.

use std::cell::Cell;

use super::*;

pub(super) const TOKEN: Token = Token { index: 7, generation: 3 };

thread_local! {
    /// Bytes sent since the blocked send of this thread's test began, according to completions. A socket may accept
    /// more of them at any time: over TCP the peer's host announces room late.
    static SENT_BYTES: Cell<usize> = const { Cell::new(0) };
}

pub(super) fn enter(world: &mut impl World) -> Vec<Completion> {
    let mut completions = Vec::new();
    world.reactor().enter(Duration::from_millis(1), &mut completions).expect("enter");
    for completion in &completions {
        if let Completion::Sent { result: Ok(count), .. } = completion {
            SENT_BYTES.set(SENT_BYTES.get() + count);
        }
    }
    completions
}

/// Enters until `done` accepts a completion as the last one waited for.
pub(super) fn wait<W: World>(world: &mut W, mut done: impl FnMut(&mut W, &Completion) -> bool) {
    for _ in 0..PATIENCE {
        let mut is_done = false;
        for completion in enter(world) {
            is_done |= done(world, &completion);
        }
        if is_done {
            return;
        }
    }
    panic!("the expected completion has not come");
}

/// Enters until `done` returns true; completions meanwhile are ignored.
pub(super) fn await_that<W: World>(world: &mut W, mut done: impl FnMut(&mut W) -> bool) {
    for _ in 0..PATIENCE {
        if done(world) {
            return;
        }
        enter(world);
    }
    panic!("the expected condition has not become true");
}

/// Asserts that nothing completes. Skipped if spurious completions are part of the test.
pub(super) fn assert_quiet(world: &mut impl World) {
    if world.is_exact() {
        for _ in 0..5 {
            let completions = enter(world);
            assert!(completions.is_empty(), "{completions:?}");
        }
    }
}

pub(super) fn expect_accepted(completion: &Completion) -> (Result<Socket, io::Error>, bool) {
    let Completion::Accepted { result, more, .. } = completion else {
        panic!("{completion:?} has nothing to do with accepting")
    };
    let result = result
        .as_ref()
        .map(|socket| *socket)
        .map_err(|error| io::Error::from_raw_os_error(error.raw_os_error().expect("it came from the kernel")));
    (result, *more)
}

pub(super) fn accept(world: &mut impl World, listener: Socket) -> Socket {
    let mut accepted = None;
    await_that(world, |world| {
        accepted = world.reactor().accept_now(listener).ok();
        accepted.is_some()
    });
    accepted.expect("it was waited for")
}

pub(super) fn connection<W: World>(world: &mut W) -> (W::Client, Socket) {
    let listener = world.listen();
    let client = world.connect();
    let socket = accept(world, listener);
    (client, socket)
}

pub(super) fn watched(world: &mut impl World, socket: Socket) -> Token {
    world.reactor().watch(socket, TOKEN);
    TOKEN
}

pub(super) fn await_readable(world: &mut impl World, token: Token) {
    wait(world, |_, completion| matches!(completion, Completion::Readable { token: it, .. } if *it == token));
}

/// Reads the bytes that are available at once.
pub(super) fn read_waiting(world: &mut impl World, socket: Socket) -> Vec<u8> {
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

/// Waits for edges and reads until `count` bytes have come.
pub(super) fn read(world: &mut impl World, socket: Socket, token: Token, count: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while bytes.len() < count {
        await_readable(world, token);
        bytes.extend(read_waiting(world, socket));
    }
    bytes
}

pub(super) fn await_end(world: &mut impl World, socket: Socket, token: Token) {
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

/// Turns away the first client that waits at a listener.
pub(super) fn turn_away<R: Reactor + ?Sized>(reactor: &mut R, listener: Socket) -> io::Result<()> {
    let socket = reactor.accept_spare(listener)?;
    let mut rest = &b"full"[..];
    while !rest.is_empty() {
        match reactor.send_now(socket, &[IoSlice::new(rest)]) {
            Ok(count) => rest = &rest[count..],
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
        }
    }
    reactor.close_spare(socket);
    Ok(())
}

pub(super) fn end_watch(world: &mut impl World, socket: Socket, token: Token) {
    world.reactor().unwatch(socket, token);
    wait(world, |_, completion| matches!(completion, Completion::WatchEnded { token: it, .. } if *it == token));
}

pub(super) fn end(world: &mut impl World, socket: Socket, token: Token) {
    end_watch(world, socket, token);
    world.reactor().close(socket);
}

/// Waits for the end of a send, and returns the bytes sent or the error that ended it.
pub(super) fn await_sent(world: &mut impl World, token: Token) -> Result<usize, io::ErrorKind> {
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

pub(super) fn await_failed(world: &mut impl World, token: Token) -> io::ErrorKind {
    await_sent(world, token).expect_err("the send fails")
}

/// A send that does not end before the client reads.
pub(super) struct Blocked {
    bytes: Vec<u8>,
}

pub(super) fn block<W: World>(world: &mut W, client: &mut W::Client, socket: Socket, token: Token) -> Blocked {
    client.stop_reading();
    world.narrow(client, socket);
    let bytes = pattern(world.too_much());
    let whole = Bytes::from(bytes.clone());
    let piece = whole.len().div_ceil(5);
    let parts = (0..5).map(|at| whole.slice(at * piece..whole.len().min((at + 1) * piece)));
    SENT_BYTES.set(0);
    world.reactor().send(socket, token, Chunks::Many(parts.collect()));
    for _ in 0..20 {
        for completion in enter(world) {
            if let Completion::Sent { result, more, .. } = completion {
                assert!(more);
                result.expect("nothing went wrong");
            }
        }
    }
    Blocked { bytes }
}

/// Reads all bytes of a blocked send, and returns the completions of other operations.
pub(super) fn finish<W: World>(
    world: &mut W,
    client: &mut W::Client,
    token: Token,
    Blocked { bytes }: Blocked,
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
                    result.expect("nothing went wrong");
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
    assert_eq!(SENT_BYTES.get(), bytes.len());
    assert!(received == bytes, "the bytes came changed or out of order");
    others
}

/// Reads as the client until it has `count` bytes.
pub(super) fn receive<W: World>(world: &mut W, client: &mut W::Client, count: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    await_that(world, |_| {
        bytes.extend(client.read());
        bytes.len() >= count
    });
    bytes
}

/// Returns bytes in which no part repeats.
pub(super) fn pattern(count: usize) -> Vec<u8> {
    (0..count as u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

pub(super) fn polls_readable(world: &mut impl World, wait: Duration) -> bool {
    let descriptor = world.reactor().park_descriptor().expect("it can be awaited");
    let mut poll = libc::pollfd { fd: descriptor.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: points at one live pollfd.
    let count = unsafe { libc::poll(&mut poll, 1, wait.as_millis() as i32) };
    count == 1 && poll.revents & libc::POLLIN != 0
}

/// The limit to which the descriptors of this process are lowered.
pub(super) const DESCRIPTORS_LEFT: u64 = 64;

/// Lowers the limit of this process and uses up the remaining descriptors.
pub(super) fn exhaust_descriptors() -> Vec<crate::reactor::EventFd> {
    limit_descriptors(DESCRIPTORS_LEFT);
    std::iter::from_fn(|| crate::reactor::EventFd::new().ok()).collect()
}

/// Lowers the limit of this process, or raises it again up to the lowered hard limit.
pub(super) fn limit_descriptors(count: u64) {
    let limit = libc::rlimit { rlim_cur: count, rlim_max: DESCRIPTORS_LEFT };
    // SAFETY: points at a live rlimit.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) }, 0);
}

pub(super) fn open_descriptors() -> usize {
    fs::read_dir("/proc/self/fd").expect("proc is mounted").count()
}
