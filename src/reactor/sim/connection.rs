//! One simulated TCP connection: both directions, and the calls of each end.
//!
//! Behaves as Linux does and never decides on a fault: that is the kernel's part. Invariant: bytes keep their order and
//! are in exactly one place: in transit (`transit`, `sending`), arrived (`arrived`, `received`), or read.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::RawFd;

use crate::reactor::SendProgress;

#[derive(Debug)]
pub(super) struct Connection {
    /// The client's address.
    pub address: SocketAddr,
    server: Server,
    input: Input,
    /// Bytes written by the client, for which the server's receive buffer has no room yet.
    transit: VecDeque<u8>,
    /// Bytes in the server's receive buffer.
    arrived: VecDeque<u8>,
    receive_space: usize,
    /// Bytes in the server's send buffer.
    sending: VecDeque<u8>,
    send_space: usize,
    /// Bytes delivered to the client.
    received: Vec<u8>,
    /// The number of bytes that have left the send buffer so far.
    departed: u64,
    client_reads: bool,
    /// The directions that the server has shut down.
    shut: Option<Shutdown>,
    discard_on_close: bool,
    link: Link,
    /// Returned to the server by the next call, and only by that one.
    error: Option<i32>,
}

/// The server's end.
///
/// ```text
///  Waiting ──accept──► Accepted ──close──► Closed
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Server {
    /// The connection is in the backlog.
    Waiting,
    /// The server has this descriptor for it.
    Accepted(RawFd),
    Closed,
}

/// The client's stream of bytes.
///
/// ```text
///  Flowing ──the client finishes──► Finished ──all its bytes are in the receive buffer──► Arrived
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Input {
    Flowing,
    /// The client writes nothing more.
    Finished,
    /// The end of the stream has reached the server.
    Arrived,
}

/// The path between both ends.
///
/// ```text
///  Up ──the client resets──► Down ──a fault──► Reset
///   └─────the server resets, or a fault──────────▲
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Link {
    Up,
    /// No byte goes either way any more.
    Down,
    /// No byte goes either way any more, and the client has seen a reset.
    Reset,
}

impl Connection {
    pub fn new(address: SocketAddr, receive_space: usize, send_space: usize) -> Self {
        Self {
            address,
            server: Server::Waiting,
            input: Input::Flowing,
            transit: VecDeque::new(),
            arrived: VecDeque::new(),
            receive_space,
            sending: VecDeque::new(),
            send_space,
            received: Vec::new(),
            departed: 0,
            client_reads: true,
            shut: None,
            discard_on_close: false,
            link: Link::Up,
            error: None,
        }
    }
}

/// The client's calls and view.
impl Connection {
    pub fn write(&mut self, bytes: &[u8]) {
        assert!(self.input == Input::Flowing, "a client writes nothing after it has finished");
        if self.is_closed() && !self.is_dead() {
            // The server's end is closed, so its kernel answers with a reset.
            self.break_off(Link::Reset, None);
        }
        if !self.is_dead() {
            self.transit.extend(bytes);
        }
    }

    pub fn finish(&mut self) {
        if self.input == Input::Flowing {
            self.input = Input::Finished;
        }
    }

    pub fn reset(&mut self) {
        if !self.is_dead() {
            self.break_off(Link::Down, Some(libc::ECONNRESET));
        }
    }

    /// Stops reading. Bytes sent while the client read are delivered first.
    pub fn stop_reading(&mut self) {
        self.depart(usize::MAX);
        self.client_reads = false;
    }

    pub fn resume_reading(&mut self) {
        self.client_reads = true;
    }

    /// Delivers a part of the bytes sent to a client that does not read.
    pub fn take(&mut self, count: usize) {
        let reads = std::mem::replace(&mut self.client_reads, true);
        self.depart(count);
        self.client_reads = reads;
    }

    pub fn take_received(&mut self) -> Vec<u8> {
        self.depart(usize::MAX);
        std::mem::take(&mut self.received)
    }

    pub fn is_at_end(&mut self) -> bool {
        self.depart(usize::MAX);
        let ended = (self.is_write_shut() || self.is_closed()) && !self.is_dead();
        ended && self.client_reads && self.sending.is_empty() && self.received.is_empty()
    }

    pub fn was_reset(&self) -> bool {
        self.link == Link::Reset
    }

    pub fn is_closed(&self) -> bool {
        self.server == Server::Closed
    }

    pub fn is_end_held_up(&self) -> bool {
        self.input == Input::Finished
    }

    /// Returns the bytes that the client wrote and the server has not read.
    pub fn unread(&self) -> usize {
        self.transit.len() + self.arrived.len()
    }
}

/// The network's steps.
impl Connection {
    /// Moves bytes into the server's receive buffer as far as there is room, and returns whether this is a new edge.
    pub fn arrive(&mut self) -> bool {
        let room = self.receive_space.saturating_sub(self.arrived.len());
        let count = room.min(self.transit.len());
        self.arrived.extend(self.transit.drain(..count));
        let has_ended = self.input == Input::Finished && self.transit.is_empty();
        if has_ended {
            self.input = Input::Arrived;
        }
        count > 0 || has_ended
    }

    /// Delivers up to `limit` bytes to the client, if it reads.
    pub fn depart(&mut self, limit: usize) {
        if self.client_reads {
            let count = limit.min(self.sending.len());
            self.received.extend(self.sending.drain(..count));
            self.departed += count as u64;
        }
    }

    /// Returns the bytes that wait for delivery.
    pub fn departing(&self) -> usize {
        self.sending.len()
    }

    /// Breaks the connection between both ends.
    pub fn fail(&mut self, error: i32) {
        self.break_off(Link::Reset, Some(error));
    }

    pub fn drop_unread(&mut self, count: usize) {
        self.arrived.truncate(self.arrived.len() - count);
    }

    /// Returns the bytes in the server's receive buffer.
    pub fn waiting(&self) -> usize {
        self.arrived.len()
    }

    fn break_off(&mut self, link: Link, error: Option<i32>) {
        self.link = link;
        self.error = error;
        self.transit.clear();
        self.sending.clear();
    }
}

/// The server's calls and view.
impl Connection {
    /// Gives the connection its descriptor, since the server accepts it.
    pub fn accept(&mut self, descriptor: RawFd) {
        self.server = Server::Accepted(descriptor);
    }

    /// Returns the server's descriptor, from accepting to closing.
    pub fn descriptor(&self) -> Option<RawFd> {
        match self.server {
            Server::Accepted(descriptor) => Some(descriptor),
            Server::Waiting | Server::Closed => None,
        }
    }

    pub fn is_readable(&self) -> bool {
        !self.arrived.is_empty() || self.has_ended()
    }

    /// Returns whether the end of the stream or an error has arrived, perhaps behind bytes.
    pub fn has_ended(&self) -> bool {
        self.input == Input::Arrived || self.is_read_shut() || self.is_dead()
    }

    pub fn is_dead(&self) -> bool {
        self.link != Link::Up
    }

    /// Returns the bytes that the client's host has acknowledged: for a client that reads, also those that wait for
    /// delivery.
    pub fn send_progress(&self) -> SendProgress {
        let sending = self.sending.len() as u64;
        let (taken, waiting) = if self.client_reads { (sending, 0) } else { (0, sending) };
        SendProgress { acknowledged: self.departed + taken, waiting }
    }

    pub fn recv(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.arrived.is_empty() {
            // `read` would stop where the deque's memory wraps; here a short read must mean that nothing is left.
            let count = buffer.len().min(self.arrived.len());
            self.arrived.read_exact(&mut buffer[..count])?;
            return Ok(count);
        }
        if let Some(error) = self.error.take() {
            return Err(errno(error));
        }
        if self.is_readable() { Ok(0) } else { Err(errno(libc::EAGAIN)) }
    }

    /// Returns whether a sender that waits for room is woken: once a third of the buffer is free
    /// (`sk_stream_is_writeable`).
    pub fn is_writable(&self) -> bool {
        let is_over = self.is_dead() || self.is_write_shut() || self.error.is_some();
        is_over || 3 * self.sending.len() <= 2 * self.send_space
    }

    /// Returns the number of bytes that may be sent now.
    pub fn room(&mut self) -> io::Result<usize> {
        if let Some(error) = self.error.take() {
            return Err(errno(error));
        }
        if self.is_dead() || self.is_write_shut() {
            return Err(errno(libc::EPIPE));
        }
        Ok(self.send_space.saturating_sub(self.sending.len()))
    }

    /// Sends bytes, for which there must be room.
    pub fn send(&mut self, bytes: &[u8]) {
        self.sending.extend(bytes);
    }

    pub fn shutdown(&mut self, how: Shutdown) {
        self.shut = match self.shut {
            Some(before) if before != how => Some(Shutdown::Both),
            _ => Some(how),
        };
    }

    pub fn discard_on_close(&mut self) {
        self.discard_on_close = true;
    }

    pub fn close(&mut self) {
        self.server = Server::Closed;
        // Linux also resets if received bytes are unread.
        if !self.is_dead() && (self.discard_on_close || self.unread() > 0) {
            self.break_off(Link::Reset, None);
        }
        self.arrived.clear();
    }

    fn is_read_shut(&self) -> bool {
        matches!(self.shut, Some(Shutdown::Read | Shutdown::Both))
    }

    fn is_write_shut(&self) -> bool {
        matches!(self.shut, Some(Shutdown::Write | Shutdown::Both))
    }
}

/// Returns the error of a system call.
pub(super) fn errno(number: i32) -> io::Error {
    io::Error::from_raw_os_error(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection() -> Connection {
        Connection::new(SocketAddr::from(([127, 0, 0, 1], 9)), 4, 4)
    }

    fn recv(connection: &mut Connection) -> Result<Vec<u8>, io::ErrorKind> {
        let mut buffer = [0; 64];
        let count = connection.recv(&mut buffer).map_err(|error| error.kind())?;
        Ok(buffer[..count].to_vec())
    }

    #[test]
    fn bytes_arrive_as_there_is_room_and_the_end_after_them() {
        let mut connection = connection();
        connection.write(b"abcdef");
        connection.finish();
        assert!(connection.arrive());
        assert!(!connection.arrive());
        assert_eq!(recv(&mut connection).expect("there is room for four"), b"abcd");
        assert_eq!(recv(&mut connection), Err(io::ErrorKind::WouldBlock));
        assert!(connection.arrive());
        assert_eq!(recv(&mut connection).expect("there is room for the rest"), b"ef");
        assert_eq!(recv(&mut connection).expect("the end"), b"");
        assert!(!connection.arrive());
    }

    #[test]
    fn less_than_there_was_room_for_means_no_more() {
        // This way the waiting bytes wrap around the end of the buffer's memory, which has room for eight.
        let mut connection = Connection::new(SocketAddr::from(([127, 0, 0, 1], 9)), 7, 4);
        connection.write(b"abcdefghij");
        connection.arrive();
        connection.recv(&mut [0; 3]).expect("something waits");
        connection.arrive();
        assert_eq!(recv(&mut connection).expect("there is room for all"), b"defghij");
    }

    #[test]
    fn there_is_room_for_as_much_as_the_client_reads() {
        let mut connection = connection();
        connection.stop_reading();
        connection.send(b"abc");
        assert_eq!(connection.room().expect("it is open"), 1);
        assert_eq!(connection.take_received(), b"");
        connection.resume_reading();
        connection.depart(2);
        assert_eq!(connection.room().expect("it is open"), 3);
        assert_eq!(connection.take_received(), b"abc");
    }

    #[test]
    fn bytes_that_a_client_reads_are_acknowledged_once_and_no_others() {
        let mut connection = connection();
        connection.stop_reading();
        connection.send(b"abc");
        assert_eq!(connection.send_progress(), SendProgress { acknowledged: 0, waiting: 3 });
        connection.resume_reading();
        assert_eq!(connection.send_progress(), SendProgress { acknowledged: 3, waiting: 0 });
        connection.send(b"d");
        assert_eq!(connection.send_progress(), SendProgress { acknowledged: 4, waiting: 0 });
        connection.stop_reading();
        connection.send(b"ef");
        assert_eq!(connection.send_progress(), SendProgress { acknowledged: 4, waiting: 2 });
        assert_eq!(connection.take_received(), b"abcd");
    }

    #[test]
    fn an_error_is_told_once_and_then_the_stream_has_ended() {
        let mut connection = connection();
        connection.reset();
        assert_eq!(recv(&mut connection), Err(io::ErrorKind::ConnectionReset));
        assert_eq!(recv(&mut connection).expect("the end"), b"");
        assert_eq!(connection.room().map_err(|error| error.kind()), Err(io::ErrorKind::BrokenPipe));
        assert!(!connection.was_reset(), "the client did it itself");
    }

    #[test]
    fn the_client_reads_what_was_sent_before_the_end() {
        let mut connection = connection();
        connection.send(b"bye");
        connection.shutdown(Shutdown::Write);
        assert!(!connection.is_at_end());
        assert_eq!(connection.take_received(), b"bye");
        assert!(connection.is_at_end());
        assert!(!connection.is_closed());
    }

    #[test]
    fn closing_is_a_reset_if_anything_is_lost_by_it() {
        let ways: [(&[u8], bool); 3] = [(b"", false), (b"unread", false), (b"", true)];
        let resets = ways.map(|(unread, discard)| {
            let mut connection = connection();
            connection.write(unread);
            connection.send(b"x");
            if discard {
                connection.discard_on_close();
            }
            connection.close();
            assert_eq!(connection.take_received().is_empty(), connection.was_reset());
            connection.was_reset()
        });
        assert_eq!(resets, [false, true, true]);
    }

    #[test]
    fn writing_to_a_closed_server_is_answered_with_a_reset() {
        let mut connection = connection();
        connection.close();
        assert!(connection.is_at_end());
        connection.write(b"late");
        assert!(connection.was_reset());
    }
}
