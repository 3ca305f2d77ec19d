//! Properties of sends, blocked and not.

use super::*;

/// Enters after which no late acknowledgement follows: on the real kernel more than the 200 ms by which one may be
/// delayed.
const QUIET: usize = 300;

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
    world.narrow(&client, socket);
    let half = pattern(1000);
    let mut expected: Vec<u8> = Vec::new();
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

pub fn bytes_that_a_peer_reads_are_acknowledged_and_others_are_not(world: &mut impl World) {
    let (mut client, socket) = connection(world);
    let blocked = block(world, &mut client, socket, TOKEN);
    // The peer's host may have room for some bytes and acknowledge them late. After that it only answers probes.
    let mut taken = world.reactor().send_progress(socket).acknowledged;
    let mut unchanged = 0;
    await_that(world, |world| {
        let now = world.reactor().send_progress(socket).acknowledged;
        unchanged = if now == taken { unchanged + 1 } else { 0 };
        taken = now;
        unchanged == QUIET
    });
    assert!(world.reactor().send_progress(socket).waiting > 0);
    client.resume_reading();
    finish(world, &mut client, TOKEN, blocked);
    await_that(world, |world| world.reactor().send_progress(socket).waiting == 0);
    assert!(world.reactor().send_progress(socket).acknowledged.wrapping_sub(taken) as i64 > 0);
    world.reactor().close(socket);
}
