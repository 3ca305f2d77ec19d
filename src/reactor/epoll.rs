//! The reactor for hosts where io_uring is blocked: one edge-triggered epoll instance per core.
//!
//! Owns the epoll instance, the eventfd that wakes it, a reserved descriptor, and the sends that wait for room. Never
//! closes a caller's socket on its own, and keeps nothing in user space for an idle session.
//!
//! Invariant: a socket is registered exactly while it is watched or has a blocked send, and `blocked` holds exactly the
//! sends whose final completion has yet to be queued.

use std::collections::HashMap;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use super::socket::{self, EventFd, OnKernel, Spare, concerns_one_connection};
use super::{Chunks, Completion, Reactor, Socket, Token};

/// Events taken from the kernel by one `enter`. The rest comes first at the next one, because epoll rotates its list of
/// ready descriptors.
const EVENTS_PER_ENTER: usize = 1024;

/// Connections accepted from one listener by one `enter`: enough to empty a burst quickly, few enough (some 200 µs)
/// that established sessions do not notice. The registration is level-triggered, so the rest is reported again.
const ACCEPTS_PER_ENTER: usize = 64;

/// The events of a watched socket. It is registered once for all of them, so that a blocked send needs no further
/// system call.
const WATCHED: i32 = libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLRDHUP | libc::EPOLLET;
/// The events of an unwatched socket, which is registered while its send is blocked.
const SENDING: i32 = libc::EPOLLOUT | libc::EPOLLET;
/// The events of a listener and of the eventfd, which are reported until they are handled.
const LEVEL: i32 = libc::EPOLLIN;
/// The events of a listener shared by several cores: wakes one waiting core, and not all of them.
const SHARED: i32 = libc::EPOLLIN | libc::EPOLLEXCLUSIVE;

const READABLE: i32 = libc::EPOLLIN | libc::EPOLLRDHUP | libc::EPOLLHUP | libc::EPOLLERR;
const ENDED: i32 = libc::EPOLLRDHUP | libc::EPOLLHUP | libc::EPOLLERR;
const WRITABLE: i32 = libc::EPOLLOUT | libc::EPOLLHUP | libc::EPOLLERR;

/// A reactor on an epoll instance of its own.
pub struct Epoll {
    epoll: OwnedFd,
    wake: Arc<EventFd>,
    spare: Spare,
    /// The buffer that the kernel writes events to; always `EVENTS_PER_ENTER` long.
    events: Vec<libc::epoll_event>,
    /// Blocked sends by the token's index, which only one open session has.
    blocked: HashMap<u32, Outgoing>,
    /// Completions that the next `enter` returns.
    queued: Vec<Completion>,
    /// `epoll_pwait2` is available (Linux 5.11).
    has_pwait2: bool,
}

impl Epoll {
    /// Creates the epoll instance, its eventfd and the reserved descriptor, and waits once in each way, because a
    /// filter of system calls may allow only one of them.
    pub fn new() -> io::Result<Self> {
        // SAFETY: takes an integer and returns a new descriptor or an error.
        let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        socket::result(fd as isize)?;
        // SAFETY: the descriptor is new and has no other owner.
        let epoll = unsafe { OwnedFd::from_raw_fd(fd) };
        let mut reactor = Self {
            epoll,
            wake: Arc::new(EventFd::new()?),
            spare: Spare::reserve()?,
            events: vec![libc::epoll_event { events: 0, u64: 0 }; EVENTS_PER_ENTER],
            blocked: HashMap::new(),
            queued: Vec::new(),
            has_pwait2: true,
        };
        reactor.control(libc::EPOLL_CTL_ADD, reactor.wake.raw(), LEVEL, Source::Wake)?;
        // The runtime uses the plain call, and would fail for ever if it were blocked.
        uninterrupted(reactor.wait_milliseconds(Duration::ZERO))?;
        reactor.wait(Duration::ZERO)?;
        Ok(reactor)
    }
}

impl OnKernel for Epoll {}

impl Reactor for Epoll {
    fn accept(&mut self, listener: Socket) {
        self.spare.keep();
        self.register_listener(listener, LEVEL, Source::Listener(listener));
    }

    fn accept_one(&mut self, listener: Socket) {
        self.spare.keep();
        self.register_listener(listener, SHARED, Source::SharedListener(listener));
    }

    fn stop_accepting(&mut self, listener: Socket) {
        // An unregistered listener means that accepting has ended already, with a completion.
        if self.forget(listener.raw()).is_ok() {
            let canceled = io::Error::from_raw_os_error(libc::ECANCELED);
            self.queued.push(Completion::Accepted { listener, result: Err(canceled), more: false });
        }
    }

    fn accept_now(&mut self, listener: Socket) -> io::Result<Socket> {
        socket::accept(listener)
    }

    fn accept_spare(&mut self, listener: Socket) -> io::Result<Socket> {
        self.spare.accept(listener)
    }

    fn close_spare(&mut self, socket: Socket) {
        self.spare.close(socket);
    }

    fn watch(&mut self, socket: Socket, token: Token) {
        let blocked = self.blocked.contains_key(&token.index);
        let operation = if blocked { libc::EPOLL_CTL_MOD } else { libc::EPOLL_CTL_ADD };
        match self.control(operation, socket.raw(), WATCHED, Source::Session(token)) {
            Ok(()) => {
                if let Some(send) = self.blocked.get_mut(&token.index) {
                    send.watched = true;
                }
            }
            // The kernel has no room for another watch (ENOSPC, ENOMEM).
            Err(error) => self.queued.push(Completion::WatchEnded { token, result: Err(error) }),
        }
    }

    fn unwatch(&mut self, socket: Socket, token: Token) {
        let ended = match self.blocked.get_mut(&token.index) {
            Some(send) if send.watched => {
                send.watched = false;
                self.control(libc::EPOLL_CTL_MOD, socket.raw(), SENDING, Source::Session(token))
            }
            Some(_) => return,
            None => self.forget(socket.raw()),
        };
        // An unregistered socket means that the watch has ended already, with a completion.
        if ended.is_ok() {
            self.queued.push(Completion::WatchEnded { token, result: Ok(()) });
        }
    }

    fn send(&mut self, socket: Socket, token: Token, chunks: Chunks) {
        let mut send = Outgoing { socket, token, chunks, watched: true };
        if send.advance(&mut self.queued) {
            return;
        }
        match self.control(libc::EPOLL_CTL_ADD, socket.raw(), SENDING, Source::Session(token)) {
            Ok(()) => send.watched = false,
            // The watch has registered the socket, and reports new room: blocking has just set the condition for that.
            Err(error) if error.raw_os_error() == Some(libc::EEXIST) => {}
            Err(error) => {
                self.queued.push(Completion::Sent { token, result: Err(error), more: false });
                return;
            }
        }
        self.blocked.insert(token.index, send);
    }

    /// Enters the kernel. May return early without a completion, because a newly watched socket that can be written to
    /// causes an event as well.
    fn enter(&mut self, wait: Duration, completions: &mut Vec<Completion>) -> io::Result<()> {
        let wait = if self.queued.is_empty() { wait } else { Duration::ZERO };
        let count = self.wait(wait)?;
        for at in 0..count {
            let event = self.events[at];
            self.dispatch(event.events as i32, Source::unpack(event.u64));
        }
        completions.append(&mut self.queued);
        Ok(())
    }

    fn waker(&self) -> Waker {
        socket::waker(&self.wake)
    }

    fn park_descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.epoll.as_fd())
    }

    /// Does nothing: an epoll instance polls as readable as long as a descriptor in it is ready.
    fn arm(&mut self) {}

    fn disarm(&mut self) {}
}

impl std::fmt::Debug for Epoll {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Epoll")
            .field("epoll", &self.epoll)
            .field("blocked", &self.blocked.len())
            .field("queued", &self.queued.len())
            .finish_non_exhaustive()
    }
}

impl Epoll {
    fn dispatch(&mut self, events: i32, source: Source) {
        match source {
            Source::Session(token) => self.session_ready(events, token),
            Source::Listener(listener) => self.accept_waiting(listener),
            Source::SharedListener(listener) => self.accept_next(listener),
            Source::Wake => {
                self.wake.clear();
                self.queued.push(Completion::Woken);
            }
        }
    }

    fn session_ready(&mut self, events: i32, token: Token) {
        let watched = self.blocked.get(&token.index).is_none_or(|send| send.watched);
        if watched && events & READABLE != 0 {
            self.queued.push(Completion::Readable { token, ended: events & ENDED != 0 });
        }
        if events & WRITABLE == 0 {
            return;
        }
        let Some(send) = self.blocked.get_mut(&token.index) else { return };
        if send.advance(&mut self.queued) {
            let socket = send.socket;
            self.blocked.remove(&token.index);
            if !watched {
                // Fails for a socket that is not registered, which is fine.
                let _ = self.forget(socket.raw());
            }
        }
    }

    fn accept_waiting(&mut self, listener: Socket) {
        for _ in 0..ACCEPTS_PER_ENTER {
            match socket::accept(listener) {
                Ok(socket) => {
                    self.queued.push(Completion::Accepted { listener, result: Ok(socket), more: true });
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if concerns_one_connection(&error) => {}
                // A listener left registered would be reported again at once, and burn the core (see EMFILE).
                Err(error) => return self.end_accepting(listener, Err(error)),
            }
        }
    }

    /// Accepts one connection of a listener that other cores accept from as well: they may have been quicker.
    fn accept_next(&mut self, listener: Socket) {
        match socket::accept(listener) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock || concerns_one_connection(&error) => {}
            result => self.end_accepting(listener, result),
        }
    }

    fn end_accepting(&mut self, listener: Socket, result: io::Result<Socket>) {
        let _ = self.forget(listener.raw());
        self.queued.push(Completion::Accepted { listener, result, more: false });
    }

    fn register_listener(&mut self, listener: Socket, events: i32, source: Source) {
        if let Err(error) = self.control(libc::EPOLL_CTL_ADD, listener.raw(), events, source) {
            self.queued.push(Completion::Accepted { listener, result: Err(error), more: false });
        }
    }

    fn wait(&mut self, wait: Duration) -> io::Result<usize> {
        if self.has_pwait2 {
            match self.pwait2(wait) {
                // Old kernels do not know the call, and old seccomp profiles forbid calls that they do not know.
                Err(error) if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) => {
                    self.has_pwait2 = false;
                }
                result => return uninterrupted(result),
            }
        }
        uninterrupted(self.wait_milliseconds(wait))
    }

    fn pwait2(&mut self, wait: Duration) -> io::Result<usize> {
        let timeout = socket::timespec(wait);
        // SAFETY: the pointer and length are those of `events`, the timeout is a live local, and without a signal mask
        // its size is not read. Called by number, because C libraries from before 2022 have no such function.
        let count = unsafe {
            libc::syscall(
                libc::SYS_epoll_pwait2,
                self.epoll.as_raw_fd(),
                self.events.as_mut_ptr(),
                EVENTS_PER_ENTER as i32,
                &raw const timeout,
                std::ptr::null::<libc::sigset_t>(),
                0usize,
            )
        };
        socket::result(count as isize)
    }

    fn wait_milliseconds(&mut self, wait: Duration) -> io::Result<usize> {
        // Rounded up: rounded down, a wait below a millisecond would spin.
        let timeout = i32::try_from(wait.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX);
        let (epoll, events) = (self.epoll.as_raw_fd(), self.events.as_mut_ptr());
        // SAFETY: the pointer and length are those of `events`, which outlives the call.
        let count = unsafe { libc::epoll_wait(epoll, events, EVENTS_PER_ENTER as i32, timeout) };
        socket::result(count as isize)
    }

    fn forget(&self, fd: RawFd) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_DEL, fd, 0, Source::Wake)
    }

    fn control(&self, operation: i32, fd: RawFd, events: i32, source: Source) -> io::Result<()> {
        let mut event = libc::epoll_event { events: events as u32, u64: source.pack() };
        // SAFETY: `event` is a live local, and a bad descriptor is an error, not undefined behaviour.
        let done = unsafe { libc::epoll_ctl(self.epoll.as_raw_fd(), operation, fd, &mut event) };
        socket::result(done as isize).map(drop)
    }
}

/// The source of an event. It travels through the kernel in 64 bits: the kind in the top 8, then the index in 24 and
/// the generation in 32, or the listener's descriptor in the lowest 32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Session(Token),
    Listener(Socket),
    SharedListener(Socket),
    Wake,
}

impl Source {
    const KIND_SHIFT: u32 = 56;
    const INDEX_SHIFT: u32 = 32;
    const INDEX_MASK: u32 = super::SESSIONS_PER_CORE_MAX as u32 - 1;
    const SESSION: u64 = 0;
    const LISTENER: u64 = 1;
    const WAKE: u64 = 2;
    const SHARED_LISTENER: u64 = 3;

    fn pack(self) -> u64 {
        let (kind, rest) = match self {
            Source::Session(Token { index, generation }) => {
                debug_assert!(index <= Self::INDEX_MASK, "the slab is larger than a token can name");
                (Self::SESSION, u64::from(index) << Self::INDEX_SHIFT | u64::from(generation))
            }
            Source::Listener(listener) => (Self::LISTENER, u64::from(listener.raw() as u32)),
            Source::SharedListener(listener) => (Self::SHARED_LISTENER, u64::from(listener.raw() as u32)),
            Source::Wake => (Self::WAKE, 0),
        };
        kind << Self::KIND_SHIFT | rest
    }

    fn unpack(data: u64) -> Self {
        match data >> Self::KIND_SHIFT {
            Self::SESSION => Source::Session(Token {
                index: (data >> Self::INDEX_SHIFT) as u32 & Self::INDEX_MASK,
                generation: data as u32,
            }),
            Self::LISTENER => Source::Listener(Socket::from_raw(data as u32 as RawFd)),
            Self::SHARED_LISTENER => Source::SharedListener(Socket::from_raw(data as u32 as RawFd)),
            _ => Source::Wake,
        }
    }
}

/// A send that has not ended.
struct Outgoing {
    socket: Socket,
    token: Token,
    chunks: Chunks,
    /// The socket is registered by its watch, and not only for this send.
    watched: bool,
}

impl Outgoing {
    /// Writes until there is no room, queues the completions, and returns whether the send has ended.
    fn advance(&mut self, queued: &mut Vec<Completion>) -> bool {
        let token = self.token;
        let mut count = 0;
        let end = loop {
            if self.chunks.is_empty() {
                break Some(Ok(count));
            }
            match write(self.socket, &self.chunks) {
                Ok(written) => {
                    self.chunks.advance(written);
                    count += written;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break None,
                Err(error) => break Some(Err(error)),
            }
        };
        if count > 0 && !matches!(end, Some(Ok(_))) {
            queued.push(Completion::Sent { token, result: Ok(count), more: true });
        }
        let Some(result) = end else { return false };
        queued.push(Completion::Sent { token, result, more: false });
        true
    }
}

/// Writes as many parts as one system call takes.
fn write(socket: Socket, chunks: &Chunks) -> io::Result<usize> {
    let mut slices = [IoSlice::new(&[]); Chunks::PARTS_MAX];
    let mut count = 0;
    for (slice, part) in slices.iter_mut().zip(chunks.parts()) {
        *slice = IoSlice::new(part);
        count += 1;
    }
    socket::send_now(socket, &slices[..count])
}

fn uninterrupted(result: io::Result<usize>) -> io::Result<usize> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(0),
        result => result,
    }
}

#[cfg(test)]
mod tests;
