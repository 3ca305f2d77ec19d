//! Connections that begin here, and what both ends of one see of each other within a single visit to the kernel.

use super::*;
use crate::reactor::connect;

const OTHER: Token = Token { index: 7, generation: 1 };

/// Both ends of a connection, in one reactor: the one that began it first.
fn both_ends<R: Reactor>(world: &mut Loopback<R>) -> (Socket, Socket) {
    let listener = world.listen();
    let begun = connect(world.address(), None).expect("somebody listens");
    (begun, accept(world, listener))
}

pub fn what_is_sent_before_a_connection_is_there_arrives<R: Reactor>(world: &mut Loopback<R>) {
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
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
    let begun = connect(nobody, None).expect("that comes later");
    world.reactor().watch(begun, OTHER);
    world.reactor().send(begun, OTHER, Chunks::One(Bytes::from_static(b"unheard")));
    await_failed(world, OTHER);
    end(world, begun, OTHER);
}

/// What a batch of sends brings about is told with it, and not with the next batch, behind all that this one submits.
pub fn what_a_send_brings_about_is_told_by_the_same_enter<R: Reactor>(world: &mut Loopback<R>) {
    let (one, other) = both_ends(world);
    let token = watched(world, other);
    enter(world);
    let mut told_at_once = 0;
    for _ in 0..100 {
        world.reactor().send(one, OTHER, Chunks::One(Bytes::from_static(b"x")));
        let mut completions = Vec::new();
        world.reactor().enter(Duration::ZERO, &mut completions).expect("enter");
        let is_readable =
            |completion: &Completion| matches!(completion, Completion::Readable { token: of, .. } if *of == token);
        told_at_once += u32::from(completions.iter().any(is_readable));
        // Whatever came with it or comes later.
        while world.reactor().recv(other, &mut [0; 8]).is_err() {}
        enter(world);
    }
    // The kernel may leave the way from one end to the other to a thread of its own.
    assert!(told_at_once >= 50, "only {told_at_once} of 100");
    world.reactor().close(one);
    end(world, other, token);
}

pub fn one_enter_tells_of_all_that_are_readable<R: Reactor>(world: &mut Loopback<R>) {
    let listener = world.listen();
    let ends: Vec<_> = (0..100)
        .map(|index| {
            let begun = connect(world.address(), None).expect("somebody listens");
            let token = Token { index, generation: 3 };
            world.reactor().watch(begun, token);
            (begun, accept(world, listener), token)
        })
        .collect();
    enter(world);
    for (_, socket, _) in &ends {
        world.reactor().send_now(*socket, &[IoSlice::new(b"x")]).expect("there is room");
    }
    let mut completions = Vec::new();
    world.reactor().enter(Duration::ZERO, &mut completions).expect("enter");
    let told = completions.iter().filter(|completion| matches!(completion, Completion::Readable { .. })).count();
    assert!(told >= 90, "only {told} of {}", ends.len());
    for (begun, socket, token) in ends {
        world.reactor().close(socket);
        end(world, begun, token);
    }
}
