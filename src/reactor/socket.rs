//! The system calls on a socket that both kernel reactors share.
//!
//! Never waits and never raises SIGPIPE: every call is non-blocking (MSG_DONTWAIT), whatever the descriptor's flags.

use std::io::{self, IoSlice};
use std::mem::{self, MaybeUninit};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::task::{Wake, Waker};
use std::time::Duration;

use super::{SendProgress, Socket, Sockets};

/// Connections that the kernel queues for a listener; it caps this at `net.core.somaxconn` (4096 by default).
pub(super) const BACKLOG: i32 = 65_535;

/// A reactor on the kernel's own sockets.
pub trait OnKernel {}

impl<R: OnKernel> Sockets for R {
    fn recv(&mut self, socket: Socket, buffer: &mut [u8]) -> io::Result<usize> {
        recv(socket, buffer)
    }

    fn send_now(&mut self, socket: Socket, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        send_now(socket, parts)
    }

    fn peer_address(&self, socket: Socket) -> io::Result<SocketAddr> {
        peer_address(socket)
    }

    fn send_progress(&self, socket: Socket) -> SendProgress {
        send_progress(socket)
    }

    fn shutdown(&mut self, socket: Socket, how: Shutdown) {
        shutdown(socket, how);
    }

    fn discard_on_close(&mut self, socket: Socket) {
        discard_on_close(socket);
    }

    fn pass_over(&mut self, listener: Socket) {
        pass_over(listener);
    }

    fn close(&mut self, socket: Socket) {
        close(socket);
    }
}

/// No destination address: the socket is connected.
const NO_ADDRESS: *const libc::sockaddr = std::ptr::null();

/// Calls `recv(2)`. It is called by number, because in a process with several threads the C library's wrapper checks
/// for cancellation each time, which costs as much as all of ringsock's work on a small message.
pub fn recv(socket: Socket, buffer: &mut [u8]) -> io::Result<usize> {
    // SAFETY: the pointer and length are those of an exclusively borrowed buffer that outlives the call.
    let count = unsafe {
        libc::syscall(
            libc::SYS_recvfrom,
            socket.raw(),
            buffer.as_mut_ptr(),
            buffer.len(),
            libc::MSG_DONTWAIT,
            NO_ADDRESS,
            NO_ADDRESS,
        )
    };
    result(count as isize)
}

/// Calls `send(2)`, or `sendmsg(2)` for several parts.
pub fn send_now(socket: Socket, parts: &[IoSlice<'_>]) -> io::Result<usize> {
    const FLAGS: i32 = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    if let [part] = parts {
        // SAFETY: the pointer and length are those of a borrowed slice that outlives the call.
        let count = unsafe {
            libc::syscall(libc::SYS_sendto, socket.raw(), part.as_ptr(), part.len(), FLAGS, NO_ADDRESS, 0usize)
        };
        return result(count as isize);
    }
    let message = message_header(parts);
    // SAFETY: `message` refers to `parts`, whose slices outlive the call; IoSlice has the layout of iovec.
    result(unsafe { libc::sendmsg(socket.raw(), &message, FLAGS) })
}

/// Builds the header of a `sendmsg(2)` that gathers `parts`; it points at them and must not outlive them.
pub fn message_header(parts: &[IoSlice<'_>]) -> libc::msghdr {
    // SAFETY: msghdr is a plain C struct of integers and pointers, for which all zeros is a valid value.
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    message.msg_iov = parts.as_ptr().cast_mut().cast();
    // The field has another type in musl.
    message.msg_iovlen = parts.len() as _;
    message
}

/// Accepts one waiting connection, non-blocking and close-on-exec.
pub fn accept(listener: Socket) -> io::Result<Socket> {
    const FLAGS: i32 = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: null address and length are allowed and mean that the peer's address is not requested.
    let fd = unsafe { libc::accept4(listener.raw(), std::ptr::null_mut(), std::ptr::null_mut(), FLAGS) };
    result(fd as isize).map(|_| Socket::from_raw(fd))
}

/// Returns whether accept(2) reports an error of the connection it took from the queue; the next connection may be
/// fine.
pub fn concerns_one_connection(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(
            libc::ECONNABORTED
                | libc::EINTR
                | libc::EPROTO
                | libc::ENOPROTOOPT
                | libc::EOPNOTSUPP
                | libc::ENETDOWN
                | libc::ENETUNREACH
                | libc::EHOSTDOWN
                | libc::EHOSTUNREACH
                | libc::ENONET
        )
    )
}

/// Returns the address of the other end.
pub fn peer_address(socket: Socket) -> io::Result<SocketAddr> {
    let mut storage = MaybeUninit::<libc::sockaddr_storage>::zeroed();
    let mut length = mem::size_of::<libc::sockaddr_storage>() as libc::socklen_t;
    // SAFETY: storage has `length` bytes, and both outlive the call.
    result(unsafe { libc::getpeername(socket.raw(), storage.as_mut_ptr().cast(), &mut length) } as isize)?;
    // SAFETY: all zeros is a valid sockaddr_storage, and the kernel has overwritten part of it with an address.
    let storage = unsafe { storage.assume_init() };
    match i32::from(storage.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family shows that the kernel wrote a sockaddr_in; sockaddr_storage is large and aligned
            // enough for it.
            let v4 = unsafe { &*(&raw const storage).cast::<libc::sockaddr_in>() };
            Ok(SocketAddr::from((u32::from_be(v4.sin_addr.s_addr).to_be_bytes(), u16::from_be(v4.sin_port))))
        }
        libc::AF_INET6 => {
            // SAFETY: as above, for sockaddr_in6.
            let v6 = unsafe { &*(&raw const storage).cast::<libc::sockaddr_in6>() };
            Ok(SocketAddr::from((v6.sin6_addr.s6_addr, u16::from_be(v6.sin6_port))))
        }
        family => Err(io::Error::other(format!("The peer's address family {family} is neither IPv4 nor IPv6."))),
    }
}

/// Returns which bytes the peer's host has acknowledged. If the kernel does not count acknowledged bytes, as for a Unix
/// socket and in gVisor, the counter is the negative number of waiting bytes, which grows as well when the peer reads.
pub fn send_progress(socket: Socket) -> SendProgress {
    let waiting = bytes_waiting(socket);
    let acknowledged = bytes_acked(socket).filter(|count| *count > 0).unwrap_or(waiting.wrapping_neg());
    SendProgress { acknowledged, waiting }
}

/// Returns the acknowledged bytes in `tcp_info`; `None` if it has no such field, as before Linux 4.1.
fn bytes_acked(socket: Socket) -> Option<u64> {
    // The struct of linux/tcp.h up to and including `tcpi_bytes_acked`, which is its last field here. The C libraries'
    // own struct ends before it.
    let mut info = [0u64; 16];
    let mut length = mem::size_of_val(&info) as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes, which `info` has, and both outlive the call.
    let answer = unsafe {
        libc::getsockopt(socket.raw(), libc::IPPROTO_TCP, libc::TCP_INFO, info.as_mut_ptr().cast(), &mut length)
    };
    (answer == 0 && length as usize == mem::size_of_val(&info)).then_some(info[info.len() - 1])
}

/// Returns the bytes that were sent and not acknowledged, or not read from a Unix socket (SIOCOUTQ); 0 if that is
/// unknown.
fn bytes_waiting(socket: Socket) -> u64 {
    let mut count: libc::c_int = 0;
    // SAFETY: the kernel writes one int, which outlives the call.
    unsafe { libc::ioctl(socket.raw(), libc::TIOCOUTQ, &mut count) };
    u64::try_from(count).unwrap_or(0)
}

/// Calls `shutdown(2)`; on a dead socket it has no effect.
pub fn shutdown(socket: Socket, how: Shutdown) {
    let how = match how {
        Shutdown::Read => libc::SHUT_RD,
        Shutdown::Write => libc::SHUT_WR,
        Shutdown::Both => libc::SHUT_RDWR,
    };
    // SAFETY: takes two integers; a bad descriptor is an error, not undefined behaviour.
    unsafe { libc::shutdown(socket.raw(), how) };
}

/// Sets zero linger: the following close resets the connection and frees the queued bytes.
pub fn discard_on_close(socket: Socket) {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    let length = mem::size_of::<libc::linger>() as libc::socklen_t;
    // SAFETY: the option's value is a linger struct of the length given, which outlives the call.
    unsafe {
        libc::setsockopt(socket.raw(), libc::SOL_SOCKET, libc::SO_LINGER, (&raw const linger).cast(), length);
    }
}

/// Attaches a filter that drops every SYN. If the kernel refuses it, the listener goes on as before.
fn pass_over(listener: Socket) {
    /// The offset of the flags in a TCP header; for the filter of a TCP socket the packet begins with that header.
    const FLAGS_OFFSET: u32 = 13;
    const SYN: u32 = 0x02;
    let step = |code: u32, jt, jf, k| libc::sock_filter { code: code as u16, jt, jf, k };
    let mut steps = [
        step(libc::BPF_LD | libc::BPF_B | libc::BPF_ABS, 0, 0, FLAGS_OFFSET),
        step(libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K, 0, 1, SYN),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, 0),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, u32::MAX),
    ];
    let program = libc::sock_fprog { len: steps.len() as u16, filter: steps.as_mut_ptr() };
    let length = mem::size_of::<libc::sock_fprog>() as libc::socklen_t;
    // SAFETY: the option's value is a sock_fprog of the length given; it and the steps outlive the call, which copies
    // them.
    unsafe {
        libc::setsockopt(listener.raw(), libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, (&raw const program).cast(), length);
    }
}

/// Calls `close(2)`.
pub fn close(socket: Socket) {
    // SAFETY: the caller owns the descriptor and does not use it again (see the contract in `reactor`).
    drop(unsafe { OwnedFd::from_raw_fd(socket.raw()) });
}

/// A reserved descriptor, with which a client can be accepted and turned away when all others are in use.
#[derive(Debug)]
pub struct Spare(Option<OwnedFd>);

impl Spare {
    /// Reserves a descriptor.
    pub fn reserve() -> io::Result<Self> {
        Ok(Self(Some(EventFd::new()?.0)))
    }

    /// Accepts one waiting connection with the reserved descriptor; see [`super::Reactor::accept_spare`].
    pub fn accept(&mut self, listener: Socket) -> io::Result<Socket> {
        self.0 = None;
        let accepted = accept(listener);
        if accepted.is_err() {
            self.keep();
        }
        accepted
    }

    /// Closes the socket of a connection so accepted, and reserves a descriptor again.
    pub fn close(&mut self, socket: Socket) {
        close(socket);
        self.keep();
    }

    /// Reserves a descriptor again if none could be reserved before: others were quicker, or the limit was lower for a
    /// while.
    pub fn keep(&mut self) {
        if self.0.is_none() {
            self.0 = EventFd::new().ok().map(|fd| fd.0);
        }
    }
}

/// A counter in the kernel that wakes the threads that poll it.
#[derive(Debug)]
pub struct EventFd(OwnedFd);

impl EventFd {
    /// Creates one at zero, non-blocking.
    pub fn new() -> io::Result<Self> {
        // SAFETY: takes two integers and returns a new descriptor or an error.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        result(fd as isize)?;
        // SAFETY: the descriptor is new and has no other owner.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Makes it readable.
    pub fn signal(&self) {
        let one = 1u64.to_ne_bytes();
        // SAFETY: writes eight bytes from a local array. A full counter (EAGAIN) is readable too.
        unsafe { libc::write(self.0.as_raw_fd(), one.as_ptr().cast(), one.len()) };
    }

    /// Resets it to zero.
    pub fn clear(&self) {
        let mut count = [0u8; 8];
        // SAFETY: reads eight bytes into a local array. EAGAIN means that it was zero already.
        unsafe { libc::read(self.0.as_raw_fd(), count.as_mut_ptr().cast(), count.len()) };
    }

    /// Returns whether it is readable.
    pub fn is_signalled(&self) -> bool {
        let mut poll = libc::pollfd { fd: self.0.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: the kernel reads and writes one pollfd, which is borrowed exclusively.
        unsafe { libc::poll(&mut poll, 1, 0) == 1 }
    }

    /// Returns the descriptor, for polling.
    pub fn raw(&self) -> RawFd {
        self.0.as_raw_fd()
    }

    /// Returns the descriptor, for awaiting.
    pub fn descriptor(&self) -> std::os::fd::BorrowedFd<'_> {
        std::os::fd::AsFd::as_fd(&self.0)
    }
}

impl Wake for EventFd {
    fn wake(self: Arc<Self>) {
        self.signal();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.signal();
    }
}

/// Returns a waker that signals `event`.
pub fn waker(event: &Arc<EventFd>) -> Waker {
    Waker::from(Arc::clone(event))
}

/// Converts a duration to the kernel's form.
pub fn timespec(duration: Duration) -> libc::timespec {
    libc::timespec {
        tv_sec: duration.as_secs().min(i64::MAX as u64) as i64,
        tv_nsec: i64::from(duration.subsec_nanos()),
    }
}

/// Converts a system call's return value to a result.
pub fn result(value: isize) -> io::Result<usize> {
    usize::try_from(value).map_err(|_| io::Error::last_os_error())
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_listener_that_is_passed_over_loses_nobody_to_the_one_beside_it() {
        let listen = |address: SocketAddr| {
            let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
            socket.set_reuse_port(true).unwrap();
            socket.bind(&address.into()).unwrap();
            socket.listen(8).unwrap();
            TcpListener::from(socket)
        };
        let first = listen(([127, 0, 0, 1], 0).into());
        let address = first.local_addr().unwrap();
        let mut early = TcpStream::connect(address).unwrap();
        pass_over(Socket::from_raw(first.as_raw_fd()));
        let late = std::thread::spawn(move || TcpStream::connect(address));
        // The early connection is complete: it can be accepted and read.
        early.write_all(b"early").unwrap();
        let mut received = [0; 5];
        first.accept().unwrap().0.read_exact(&mut received).unwrap();
        assert_eq!(&received, b"early");
        // The late connection is absent, however long the kernel is given: its SYN was dropped, or is not sent yet.
        first.set_nonblocking(true).unwrap();
        assert_eq!(first.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        let second = listen(address);
        drop(first);
        let accepted = std::thread::spawn(move || second.accept().map(drop));
        late.join().unwrap().unwrap();
        accepted.join().unwrap().unwrap();
    }
}
