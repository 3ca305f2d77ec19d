//! Properties of watches, edges and reading.

use super::*;

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

/// Checks that a short read may leave an end to be found: the edge that reported the bytes reported the end behind them
/// as well.
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
