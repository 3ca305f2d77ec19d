//! Properties in which Unix sockets differ from TCP.

use super::*;

pub fn a_peer_of_a_unix_socket_has_no_address(world: &mut impl World) {
    let (_client, socket) = connection(world);
    assert!(world.reactor().peer_address(socket).is_err());
    // Called on every socket that is cut off; on a Unix socket it has no effect.
    world.reactor().discard_on_close(socket);
    world.reactor().close(socket);
}

/// Checks the behaviour that a core relies on when it closes a listener that other cores have as well.
pub fn clients_queued_at_a_closed_unix_socket_are_accepted_and_no_others<R: Reactor>(world: &mut Loopback<R>) {
    let listener = world.listen();
    let mut waiting = world.connect();
    waiting.write(b"early");
    world.reactor().shutdown(listener, Shutdown::Read);
    assert_eq!(world.try_to_connect().expect_err("nobody else comes").kind(), io::ErrorKind::ConnectionRefused);
    let socket = accept(world, listener);
    assert_eq!(read_waiting(world, socket), b"early");
    let none = world.reactor().accept_now(listener).expect_err("that was all");
    assert_eq!(none.kind(), io::ErrorKind::WouldBlock);
    world.reactor().close(socket);
}
