//! Properties of ending a connection.

use super::*;

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
        // A spurious `Readable` may precede the bytes, so one byte is read.
        world.reactor().recv(socket, &mut [0; 1]).is_ok()
    });
    end(world, socket, token);
    await_that(world, |_| client.was_reset());
}
