//! The io_uring reactor: one ring, created and used by one thread.
//!
//! Idle sockets are watched by multishot POLL, which holds 256 bytes in the kernel where an armed RECV holds 860, and
//! are read by plain `recv(2)`. Blocked sends are SEND operations, submitted in one batch when the core enters the
//! kernel anyway. The ring defers its work to that moment (DEFER_TASKRUN), so nothing interrupts the core.
//!
//! Never used by two threads. Invariant: memory that the kernel may still read is owned by `sends` until the
//! operation completes.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::task::{Wake, Waker};
use std::time::Duration;

use io_uring::{EnterFlags, IoUring, Probe, cqueue, opcode, squeue, types};

use super::socket::{self, EventFd, OnKernel, Spare};
use super::{Chunks, Completion, Reactor, Socket, Token};
use crate::slab::Slab;

/// Submissions between two visits to the kernel; a full queue is submitted early, so a larger one only costs memory.
const SUBMISSIONS: u32 = 4096;

/// Completions that the kernel can deliver before its overflow list ends multishot operations: twice as many as
/// sessions that are likely to be ready at once.
const COMPLETIONS: u32 = 32_768;

/// Further visits to the kernel in one `enter`, for deferred work that the first one did not reach.
const VISITS_MAX: usize = 32;

/// The longest wait for an operation that is due at once, in the trial of a new ring: ample even on a busy machine.
const TRIAL_WAIT_MAX: Duration = Duration::from_secs(10);

/// The most such waits: more than the signals that arrive during a start.
const TRIAL_WAITS_MAX: usize = 10;

const WATCHED_EVENTS: u32 = (libc::POLLIN | libc::POLLRDHUP) as u32;
const ENDED_EVENTS: usize = (libc::POLLRDHUP | libc::POLLHUP | libc::POLLERR) as usize;

/// The kind of an operation; the low byte of its user data.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Operation {
    Accept = 1,
    Watch = 2,
    Send = 3,
    Wake = 4,
    Cancel = 5,
}

/// The reactor on io_uring.
pub struct Uring {
    ring: IoUring,
    /// An eventfd registered with the ring: a sleeping runtime awaits it, because with DEFER_TASKRUN the ring's own
    /// descriptor never becomes readable.
    park: Arc<EventFd>,
    wake: Arc<EventFd>,
    sends: Slab<Send>,
    spare: Spare,
    /// Completions taken from the ring; empty between calls.
    entries: Vec<cqueue::Entry>,
}

/// A send in flight.
struct Send {
    token: Token,
    socket: Socket,
    chunks: Chunks,
    /// Refers to `chunks` if there are several; boxed because the kernel reads it in place.
    gather: Option<Box<Gather>>,
}

struct Gather {
    message: libc::msghdr,
    parts: Vec<libc::iovec>,
}

impl Uring {
    /// Creates a ring on the calling thread, which alone may use it, and tries every operation that a core needs.
    ///
    /// Fails if io_uring is blocked (`ENOSYS`, `EPERM`), in whole or in part, if it is too old (Linux 6.1 is needed),
    /// and if too little memory may be locked (`ENOMEM`).
    pub fn new() -> io::Result<Self> {
        Self::with_submissions(SUBMISSIONS)
    }

    fn with_submissions(submissions: u32) -> io::Result<Self> {
        let ring = build_ring(submissions)?;
        let mut probe = Probe::new();
        ring.submitter().register_probe(&mut probe)?;
        let needed = [opcode::Accept::CODE, opcode::PollAdd::CODE, opcode::Send::CODE, opcode::SendMsg::CODE];
        if !needed.into_iter().chain([opcode::AsyncCancel::CODE]).all(|code| probe.is_supported(code)) {
            return Err(io::Error::from_raw_os_error(libc::ENOSYS));
        }
        let park = Arc::new(EventFd::new()?);
        ring.submitter().register_eventfd(park.raw())?;
        let wake = Arc::new(EventFd::new()?);
        let spare = Spare::reserve()?;
        let mut uring = Self { ring, park, wake, sends: Slab::default(), spare, entries: Vec::new() };
        uring.watch_wake();
        uring.try_out()?;
        uring.disarm();
        Ok(uring)
    }

    /// Submits, waits and is woken once in each way that a core, or its runtime on a ring of its own, does: a filter of
    /// system calls may allow creating a ring and forbid using it.
    fn try_out(&mut self) -> io::Result<()> {
        let mut completions = Vec::new();
        self.wake.signal();
        // A signal may end a wait early.
        for _ in 0..TRIAL_WAITS_MAX {
            if completions.is_empty() {
                self.enter(TRIAL_WAIT_MAX, &mut completions)?;
            }
        }
        if !matches!(completions[..], [Completion::Woken]) {
            return Err(io::Error::other("a poll of a readable descriptor did not complete"));
        }
        // A signal left over from before is cleared first.
        self.disarm();
        self.arm();
        self.push_nop();
        self.ring.submit()?;
        self.push_nop();
        self.ring.submit_and_wait(1)?;
        if !self.park.is_signalled() {
            return Err(io::Error::other("a completion did not signal the registered eventfd"));
        }
        self.enter(Duration::ZERO, &mut completions)
    }

    fn push_nop(&mut self) {
        // Its completion is ignored, as for a cancellation.
        self.push(opcode::Nop::new().build().user_data(Operation::Cancel as u64));
    }

    fn watch_wake(&mut self) {
        let poll = opcode::PollAdd::new(types::Fd(self.wake.raw()), libc::POLLIN as u32).multi(true);
        self.push(poll.build().user_data(Operation::Wake as u64));
    }

    /// Queues an operation. Its memory must be owned by `self.sends`, unless it refers to none.
    fn push(&mut self, entry: squeue::Entry) {
        loop {
            // SAFETY: the memory an entry refers to stays in `sends` until its final completion.
            let pushed = unsafe { self.ring.submission().push(&entry) };
            if pushed.is_ok() {
                return;
            }
            // Full: submit the queue. A kernel that cannot take it now (EAGAIN, EBUSY) can at the next try, because
            // submissions are consumed even while completions are unseen.
            let _ = self.ring.submit();
        }
    }

    /// Returns whether the kernel has submissions to take or completions to give; if not, a system call is saved.
    fn has_work(&mut self) -> bool {
        let submission = self.ring.submission();
        !submission.is_empty() || submission.taskrun() || submission.cq_overflow()
    }

    /// Submits the queue, then runs the deferred work, including work that the submissions cause. A submission alone
    /// would leave that work to the next one, behind all that the next one submits.
    fn submit_and_collect(&mut self) -> io::Result<usize> {
        let count = self.ring.submission().len() as u32;
        // SAFETY: no argument refers to memory; memory that the entries refer to stays in `sends`.
        unsafe { self.ring.submitter().enter::<libc::sigset_t>(count, 0, EnterFlags::GETEVENTS.bits(), None) }
    }

    fn cancel(&mut self, user_data: u64) {
        // ASYNC_CANCEL and not POLL_REMOVE: the latter gives up (EALREADY) on a poll that has just fired.
        let entry = opcode::AsyncCancel::new(user_data).build().user_data(Operation::Cancel as u64);
        self.push(entry.flags(squeue::Flags::SKIP_SUCCESS));
    }

    fn submit_send(&mut self, mut send: Send) {
        // The entry refers to what the send owns on the heap, and not to the send itself.
        let entry = send.entry();
        let number = self.sends.insert(send);
        self.push(entry.user_data(u64::from(number) << 8 | Operation::Send as u64));
    }

    fn complete(&mut self, entry: &cqueue::Entry, completions: &mut Vec<Completion>) {
        let user_data = entry.user_data();
        let result = entry.result();
        let more = cqueue::more(entry.flags());
        const ACCEPT: u8 = Operation::Accept as u8;
        const WATCH: u8 = Operation::Watch as u8;
        const SEND: u8 = Operation::Send as u8;
        const WAKE: u8 = Operation::Wake as u8;
        match user_data as u8 {
            WATCH => {
                let token = token(user_data);
                let result = io_result(result);
                if let Ok(events) = result {
                    completions.push(Completion::Readable { token, ended: events & ENDED_EVENTS != 0 });
                }
                if !more {
                    let canceled = result.as_ref().is_err_and(|e| e.raw_os_error() == Some(libc::ECANCELED));
                    let result = if canceled { Ok(()) } else { result.map(drop) };
                    completions.push(Completion::WatchEnded { token, result });
                }
            }
            SEND => self.complete_send((user_data >> 8) as u32, result, completions),
            ACCEPT => {
                let listener = Socket::from_raw((user_data >> 8) as i32);
                let result = io_result(result).map(|fd| Socket::from_raw(fd as i32));
                completions.push(Completion::Accepted { listener, result, more });
            }
            WAKE => {
                self.wake.clear();
                completions.push(Completion::Woken);
                if !more {
                    self.watch_wake();
                }
            }
            // A cancellation that came too late; its target has completed on its own.
            _ => {}
        }
    }

    fn complete_send(&mut self, number: u32, result: i32, completions: &mut Vec<Completion>) {
        let Some(mut send) = self.sends.remove(number) else { return };
        let result = io_result(result);
        let rest = result.as_ref().ok().filter(|sent| **sent < send.chunks.len()).copied();
        completions.push(Completion::Sent { token: send.token, result, more: rest.is_some() });
        if let Some(sent) = rest {
            send.chunks.advance(sent);
            self.submit_send(send);
        }
    }
}

impl OnKernel for Uring {}

impl Reactor for Uring {
    fn accept(&mut self, listener: Socket) {
        self.spare.keep();
        let accept =
            opcode::AcceptMulti::new(types::Fd(listener.raw())).flags(libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK);
        self.push(accept.build().user_data(accept_data(listener)));
    }

    fn accept_one(&mut self, listener: Socket) {
        self.spare.keep();
        let nobody = std::ptr::null_mut();
        let accept = opcode::Accept::new(types::Fd(listener.raw()), nobody, nobody.cast())
            .flags(libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK);
        self.push(accept.build().user_data(accept_data(listener)));
    }

    fn stop_accepting(&mut self, listener: Socket) {
        self.cancel(accept_data(listener));
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
        let poll = opcode::PollAdd::new(types::Fd(socket.raw()), WATCHED_EVENTS).multi(true);
        self.push(poll.build().user_data(watch_data(token)));
    }

    fn unwatch(&mut self, _socket: Socket, token: Token) {
        self.cancel(watch_data(token));
    }

    fn send(&mut self, socket: Socket, token: Token, chunks: Chunks) {
        self.submit_send(Send { token, socket, chunks, gather: None });
    }

    fn enter(&mut self, wait: Duration, completions: &mut Vec<Completion>) -> io::Result<()> {
        let wait = if self.ring.completion().is_empty() { wait } else { Duration::ZERO };
        let entered = if !wait.is_zero() {
            let timeout = types::Timespec::from(wait);
            self.ring.submitter().submit_with_args(1, &types::SubmitArgs::new().timespec(&timeout))
        } else if self.has_work() {
            self.submit_and_collect()
        } else {
            Ok(0)
        };
        match entered {
            Ok(_) => {}
            // The wait ended without a completion, a signal came, or the kernel requires its completions to be taken
            // first.
            Err(error)
                if matches!(error.raw_os_error(), Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN)) => {}
            Err(error) => return Err(error),
        }
        // The kernel runs at most 20 pieces of deferred work in a visit unless more are waited for (Linux 6.13).
        for _ in 0..VISITS_MAX {
            if !self.ring.submission().taskrun() || self.submit_and_collect().is_err() {
                break;
            }
        }
        // Only the completions present now: later ones are for the next turn.
        let mut entries = std::mem::take(&mut self.entries);
        entries.extend(self.ring.completion());
        for entry in entries.drain(..) {
            self.complete(&entry, completions);
        }
        self.entries = entries;
        Ok(())
    }

    fn waker(&self) -> Waker {
        Waker::from(Arc::new(CoreWaker { wake: Arc::clone(&self.wake), park: Arc::clone(&self.park) }))
    }

    fn park_descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.park.descriptor())
    }

    fn arm(&mut self) {
        self.ring.completion().enable_eventfd();
    }

    fn disarm(&mut self) {
        self.ring.completion().disable_eventfd();
        self.park.clear();
    }
}

/// Wakes a core from another thread, however it waits: on its ring, or in the runtime on the descriptor that the ring
/// signals. The ring alone would signal that descriptor hundreds of milliseconds late: while it signals one eventfd,
/// the kernel does not signal another, but defers that to the end of an RCU grace period.
struct CoreWaker {
    wake: Arc<EventFd>,
    park: Arc<EventFd>,
}

impl Wake for CoreWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.wake.signal();
        self.park.signal();
    }
}

impl Drop for Uring {
    fn drop(&mut self) {
        // A core that ends in order has no send in flight. One that panics may: the kernel tears the ring down later,
        // so the memory that it may still read is leaked rather than freed.
        std::mem::forget(std::mem::take(&mut self.sends));
    }
}

impl std::fmt::Debug for Uring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Uring").field("sends", &self.sends.len()).finish_non_exhaustive()
    }
}

impl Send {
    /// Builds the operation that sends the rest of the chunks.
    fn entry(&mut self) -> squeue::Entry {
        let fd = types::Fd(self.socket.raw());
        if let [only] = self.chunks.parts() {
            let length = u32::try_from(only.len()).unwrap_or(u32::MAX);
            return opcode::Send::new(fd, only.as_ptr(), length).flags(libc::MSG_NOSIGNAL).build();
        }
        let parts = self.chunks.parts().iter().take(Chunks::PARTS_MAX);
        let parts: Vec<_> =
            parts.map(|part| libc::iovec { iov_base: part.as_ptr().cast_mut().cast(), iov_len: part.len() }).collect();
        let mut gather = Box::new(Gather { message: socket::message_header(&[]), parts });
        gather.message.msg_iov = gather.parts.as_mut_ptr();
        gather.message.msg_iovlen = gather.parts.len() as _;
        let message = &raw const self.gather.insert(gather).message;
        opcode::SendMsg::new(fd, message).flags(libc::MSG_NOSIGNAL as u32).build()
    }
}

fn build_ring(submissions: u32) -> io::Result<IoUring> {
    IoUring::builder()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_coop_taskrun()
        .setup_taskrun_flag()
        .setup_submit_all()
        .setup_clamp()
        .setup_cqsize(submissions * (COMPLETIONS / SUBMISSIONS))
        .build(submissions)
}

fn accept_data(listener: Socket) -> u64 {
    (listener.raw() as u64) << 8 | Operation::Accept as u64
}

fn watch_data(token: Token) -> u64 {
    u64::from(token.generation) << 32 | u64::from(token.index) << 8 | Operation::Watch as u64
}

fn token(user_data: u64) -> Token {
    Token { index: (user_data as u32) >> 8, generation: (user_data >> 32) as u32 }
}

fn io_result(result: i32) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::from_raw_os_error(-result))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reactor::conformance::{kernel_suite, unix_suite};

    kernel_suite!(small);

    /// Creates a small ring: the tests create many at once, and those of one user together count as locked memory.
    fn small() -> io::Result<Uring> {
        Uring::with_submissions(256)
    }

    mod on_unix_sockets {
        use super::*;

        unix_suite!(Uring::new);
    }

    #[test]
    fn tokens_survive_the_kernel() {
        for token in [
            Token { index: 0, generation: 0 },
            Token { index: crate::reactor::SESSIONS_PER_CORE_MAX as u32 - 1, generation: u32::MAX },
        ] {
            assert_eq!(super::token(watch_data(token)), token);
        }
    }
}
