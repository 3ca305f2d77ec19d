//! Properties of accepting connections and of turning them away.

use super::*;

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

pub fn one_turned_away_receives_the_answer(world: &mut impl World) {
    let listener = world.listen();
    let none = turn_away(world.reactor(), listener).expect_err("nobody waits");
    assert_eq!(none.kind(), io::ErrorKind::WouldBlock);
    let mut client = world.connect();
    await_that(world, |world| match turn_away(world.reactor(), listener) {
        Ok(()) => true,
        Err(error) => {
            assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
            false
        }
    });
    assert_eq!(receive(world, &mut client, 4), b"full");
    await_that(world, |_| client.at_end());
}

pub fn accepting_one_leaves_the_next_to_be_asked_for(world: &mut impl World) {
    let listener = world.listen();
    for _ in 0..2 {
        world.reactor().accept_one(listener);
        let _clients = [world.connect(), world.connect()];
        let mut accepted = None;
        wait(world, |_, completion| {
            let (socket, more) = expect_accepted(completion);
            assert!(!more, "one was asked for");
            accepted = socket.ok();
            true
        });
        assert_quiet(world);
        let second = accept(world, listener);
        for socket in accepted.into_iter().chain([second]) {
            world.reactor().close(socket);
        }
    }
    world.reactor().accept_one(listener);
    enter(world);
    world.reactor().stop_accepting(listener);
    wait(world, |_, completion| matches!(completion, Completion::Accepted { more: false, .. }));
}

pub fn an_accepted_connection_names_its_listener(world: &mut impl World) {
    let mut accepted = Vec::new();
    for one in [false, true] {
        let listener = world.listen();
        if one {
            world.reactor().accept_one(listener)
        } else {
            world.reactor().accept(listener)
        }
        let _client = world.connect();
        wait(world, |_, completion| {
            let Completion::Accepted { listener: named, result: Ok(socket), .. } = completion else { return false };
            assert_eq!(*named, listener);
            accepted.push(*socket);
            true
        });
    }
    for socket in accepted {
        world.reactor().close(socket);
    }
}
