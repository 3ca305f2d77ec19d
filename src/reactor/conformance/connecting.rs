//! Properties of outgoing connections, and of both ends of a connection within one visit to the kernel.

use std::os::fd::IntoRawFd;
use std::os::unix::net::UnixStream;

use socket2::{Domain, Type};

use super::*;
use crate::reactor::connect;

const OTHER: Token = Token { index: 7, generation: 1 };

pub fn bytes_sent_before_a_connection_is_established_arrive<R: Reactor>(world: &mut Loopback<R>) {
    let listener = world.listen();
    let source = "127.0.0.77".parse().ok();
    let begun = connect(world.address(), source).expect("somebody listens");
    world.reactor().watch(begun, OTHER);
    world.reactor().send(begun, OTHER, Chunks::One(Bytes::from_static(b"first words")));
    let socket = accept(world, listener);
    assert_eq!(world.reactor().peer_address(socket).map(|address| Some(address.ip())).ok(), Some(source));
    let token = watched(world, socket);
    assert_eq!(read(world, socket, token, 11), b"first words");
    end(world, socket, token);
    end(world, begun, OTHER);
}

pub fn a_connection_that_is_refused_fails_what_it_was_to_send<R: Reactor>(world: &mut Loopback<R>) {
    // Bound, so that no other socket gets the port, and never listening.
    let bound = socket2::Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    bound.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("there is a port");
    let nobody = bound.local_addr().ok().and_then(|address| address.as_socket()).expect("an address");
    let begun = connect(nobody, None).expect("that comes later");
    world.reactor().watch(begun, OTHER);
    world.reactor().send(begun, OTHER, Chunks::One(Bytes::from_static(b"unheard")));
    await_failed(world, OTHER);
    end(world, begun, OTHER);
}

/// Returns both ends of a connection on which sent bytes have arrived when the call returns; over TCP the kernel may
/// leave the delivery to a thread of its own, which waits for a processor.
fn both_ends() -> (Socket, Socket) {
    let (one, other) = UnixStream::pair().expect("two sockets");
    let socket = |stream: UnixStream| {
        stream.set_nonblocking(true).expect("set_nonblocking");
        Socket::from_raw(stream.into_raw_fd())
    };
    (socket(one), socket(other))
}

/// Checks that the effects of a batch of sends are reported with it, and not with the next batch, behind all that the
/// next one submits.
pub fn completions_of_a_send_come_from_the_same_enter<R: Reactor>(world: &mut Loopback<R>) {
    let (one, other) = both_ends();
    let token = watched(world, other);
    enter(world);
    for _ in 0..100 {
        world.reactor().send(one, OTHER, Chunks::One(Bytes::from_static(b"x")));
        assert_eq!(readable_at_once(world), [token]);
        world.reactor().recv(other, &mut [0; 8]).expect("it has come");
        enter(world);
    }
    world.reactor().close(one);
    end(world, other, token);
}

pub fn one_enter_tells_of_all_that_are_readable<R: Reactor>(world: &mut Loopback<R>) {
    let ends: Vec<_> = (0..100)
        .map(|index| {
            let (one, other) = both_ends();
            let token = Token { index, generation: 3 };
            world.reactor().watch(other, token);
            (one, other, token)
        })
        .collect();
    enter(world);
    for (one, ..) in &ends {
        world.reactor().send_now(*one, &[IoSlice::new(b"x")]).expect("there is room");
    }
    let mut readable = readable_at_once(world);
    readable.sort_by_key(|token| token.index);
    assert!(readable.into_iter().eq(ends.iter().map(|(.., token)| *token)));
    for (one, other, token) in ends {
        world.reactor().close(one);
        end(world, other, token);
    }
}

/// Returns the sockets reported as readable by an `enter` that does not wait.
fn readable_at_once<R: Reactor>(world: &mut Loopback<R>) -> Vec<Token> {
    let mut completions = Vec::new();
    world.reactor().enter(Duration::ZERO, &mut completions).expect("enter");
    let readable = completions.into_iter().filter_map(|completion| match completion {
        Completion::Readable { token, .. } => Some(token),
        _ => None,
    });
    readable.collect()
}
