//! One simulated TCP connection: both directions, and the calls of each end.
//!
//! Behaves as Linux does and never decides on a fault: that is the kernel's part. Invariant: bytes keep their order and
//! are in exactly one place: in transit (`transit`, `sending`), arrived (`arrived`, `received`), or read.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::RawFd;

use crate::reactor::Intake;

#[derive(Debug)]
pub(super) struct Connection {
    /// The client's address.
    pub address: SocketAddr,
    /// The server's descriptor, from accepting to closing.
    pub descriptor: Option<RawFd>,
    /// Bytes written by the client, for which the server's receive buffer has no room yet.
    transit: VecDeque<u8>,
    /// Bytes in the server's receive buffer.
    arrived: VecDeque<u8>,
    receive_space: usize,
    client_finished: bool,
    /// The end of the client's stream has reached the server.
    end_arrived: bool,
    /// Bytes in the server's send buffer.
    sending: VecDeque<u8>,
    send_space: usize,
    /// Bytes delivered to the client.
    received: Vec<u8>,
    /// The number of bytes that have left the send buffer so far.
    departed: u64,
    client_reads: bool,
    read_shut: bool,
    write_shut: bool,
    discard_on_close: bool,
    closed: bool,
    /// Returned to the server by the next call, and only by that one.
    error: Option<i32>,
    /// No byte goes either way any more.
    dead: bool,
    /// The client has seen a reset.
    was_reset: bool,
}

impl Connection {
    pub fn new(address: SocketAddr, receive_space: usize, send_space: usize) -> Self {
        Self {
            address,
            descriptor: None,
            transit: VecDeque::new(),
            arrived: VecDeque::new(),
            receive_space,
            client_finished: false,
            end_arrived: false,
            sending: VecDeque::new(),
            send_space,
            received: Vec::new(),
            departed: 0,
            client_reads: true,
            read_shut: false,
            write_shut: false,
            discard_on_close: false,
            closed: false,
            error: None,
            dead: false,
            was_reset: false,
        }
    }
}

/// The client's calls and view.
impl Connection {
    pub fn write(&mut self, bytes: &[u8]) {
        assert!(!self.client_finished, "a client writes nothing after it has finished");
        if self.closed && !self.dead {
            // The server's end is closed, so its kernel answers with a reset.
            self.break_off(None);
            self.was_reset = true;
        }
        if !self.dead {
            self.transit.extend(bytes);
        }
    }

    pub fn finish(&mut self) {
        self.client_finished = true;
    }

    pub fn reset(&mut self) {
        if !self.dead {
            self.break_off(Some(libc::ECONNRESET));
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
        let ended = (self.write_shut || self.closed) && !self.dead;
        ended && self.client_reads && self.sending.is_empty() && self.received.is_empty()
    }

    pub fn was_reset(&self) -> bool {
        self.was_reset
    }

    pub fn is_closed(&self) -> bool {
        self.closed
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
        let end = self.client_finished && self.transit.is_empty() && !self.end_arrived;
        self.end_arrived |= end;
        count > 0 || end
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
        self.break_off(Some(error));
        self.was_reset = true;
    }

    pub fn drop_unread(&mut self, count: usize) {
        self.arrived.truncate(self.arrived.len() - count);
    }

    /// Returns the bytes in the server's receive buffer.
    pub fn waiting(&self) -> usize {
        self.arrived.len()
    }

    fn break_off(&mut self, error: Option<i32>) {
        self.dead = true;
        self.error = error;
        self.transit.clear();
        self.sending.clear();
    }
}

/// The server's calls and view.
impl Connection {
    pub fn is_readable(&self) -> bool {
        !self.arrived.is_empty() || self.has_ended()
    }

    /// Returns whether the end of the stream or an error has arrived, perhaps behind bytes.
    pub fn has_ended(&self) -> bool {
        self.end_arrived || self.read_shut || self.dead
    }

    pub fn is_dead(&self) -> bool {
        self.dead
    }

    /// Returns the bytes that the client's host has acknowledged: for a client that reads, also those that wait for
    /// delivery.
    pub fn intake(&self) -> Intake {
        let sending = self.sending.len() as u64;
        let (taken, waiting) = if self.client_reads { (sending, 0) } else { (0, sending) };
        Intake { acknowledged: self.departed + taken, waiting }
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
        let is_over = self.dead || self.write_shut || self.error.is_some();
        is_over || 3 * self.sending.len() <= 2 * self.send_space
    }

    /// Returns the number of bytes that may be sent now.
    pub fn room(&mut self) -> io::Result<usize> {
        if let Some(error) = self.error.take() {
            return Err(errno(error));
        }
        if self.dead || self.write_shut {
            return Err(errno(libc::EPIPE));
        }
        Ok(self.send_space.saturating_sub(self.sending.len()))
    }

    /// Sends bytes, for which there must be room.
    pub fn send(&mut self, bytes: &[u8]) {
        self.sending.extend(bytes);
    }

    pub fn shutdown(&mut self, how: Shutdown) {
        self.read_shut |= how != Shutdown::Write;
        self.write_shut |= how != Shutdown::Read;
    }

    pub fn discard_on_close(&mut self) {
        self.discard_on_close = true;
    }

    pub fn close(&mut self) {
        self.descriptor = None;
        self.closed = true;
        // Linux also resets if received bytes are unread.
        if !self.dead && (self.discard_on_close || self.unread() > 0) {
            self.break_off(None);
            self.was_reset = true;
        }
        self.arrived.clear();
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
        assert_eq!(connection.intake(), Intake { acknowledged: 0, waiting: 3 });
        connection.resume_reading();
        assert_eq!(connection.intake(), Intake { acknowledged: 3, waiting: 0 });
        connection.send(b"d");
        assert_eq!(connection.intake(), Intake { acknowledged: 4, waiting: 0 });
        connection.stop_reading();
        connection.send(b"ef");
        assert_eq!(connection.intake(), Intake { acknowledged: 4, waiting: 2 });
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
