//! Turning away clients that get no session: an answer is written at once, and the socket is closed.
//!
//! Never waits for a client. Invariant: a request that has arrived and fits into the scratch buffer is read before the
//! close, because closing a socket with unread bytes resets the connection, and the answer may be lost with it.

use std::io::{self, IoSlice};
use std::net::Shutdown;

use crate::reactor::{Reactor, Socket, Sockets};

/// Answers the client of an accepted socket, and closes the socket. `scratch` is overwritten with the client's request.
pub fn turn_away<S: Sockets>(sockets: &mut S, socket: Socket, answer: &[u8], scratch: &mut [u8]) {
    answer_and_read(sockets, socket, answer, scratch);
    sockets.close(socket);
}

/// Answers the first client that waits at a listener, and closes its socket. The socket gets the reactor's spare
/// descriptor, because the process has no other. Fails with `WouldBlock` if no client waits.
pub fn turn_away_waiting<R: Reactor>(
    reactor: &mut R,
    listener: Socket,
    answer: &[u8],
    scratch: &mut [u8],
) -> io::Result<()> {
    let socket = reactor.accept_spare(listener)?;
    answer_and_read(reactor, socket, answer, scratch);
    reactor.close_spare(socket);
    Ok(())
}

/// Writes the answer, ends the output, and reads the request that has arrived.
fn answer_and_read<S: Sockets>(sockets: &mut S, socket: Socket, answer: &[u8], scratch: &mut [u8]) {
    // Best effort: the connection is given up in any case.
    let _ = sockets.send_now(socket, &[IoSlice::new(answer)]);
    sockets.shutdown(socket, Shutdown::Write);
    let _ = sockets.recv(socket, scratch);
}
