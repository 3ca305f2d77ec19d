//! The operations of the simulated kernel that complete later: accepting, watches and sends.
//!
//! Never completes an operation within the call that requests it: everything goes through the schedule. Invariant: an
//! operation is in its map from the call that starts it until its final completion has been returned.

use std::io;
use std::os::fd::RawFd;
use std::rc::Rc;

use super::super::connection::errno;
use super::super::faults::Fault;
use super::super::schedule::Operation;
use super::Kernel;
use super::in_flight::{Accept, Outgoing, Watch};
use crate::reactor::{Chunks, Completion, Socket, Token};

impl Kernel {
    pub fn accept(&mut self, listener: Socket) {
        self.begin_to_accept(listener, Accept::default());
    }

    pub fn accept_one(&mut self, listener: Socket) {
        self.begin_to_accept(listener, Accept { once: true, ..Accept::default() });
    }

    fn begin_to_accept(&mut self, listener: Socket, accept: Accept) {
        let fd = listener.raw();
        if !self.listeners.contains_key(&fd) {
            self.violation(format!("accept on descriptor {fd}, which does not listen"));
            return;
        }
        if self.accepts.contains_key(&fd) {
            self.violation(format!("accept on descriptor {fd}, which is accepting already"));
            return;
        }
        self.accepts.insert(fd, accept);
    }

    pub fn stop_accepting(&mut self, listener: Socket) {
        let fd = listener.raw();
        if !self.listeners.contains_key(&fd) {
            self.violation(format!("stop_accepting on descriptor {fd}, which does not listen"));
        }
        // Accepting may have ended by itself, and the caller may not have seen that yet.
        if let Some(accept) = self.accepts.get_mut(&fd).filter(|accept| !accept.ended) {
            accept.ended = true;
            let result = Err(errno(libc::ECANCELED));
            self.post(Operation::Accept(fd), Completion::Accepted { listener, result, more: false });
        }
    }

    pub fn watch(&mut self, socket: Socket, token: Token) {
        let fd = socket.raw();
        let Ok(connection) = self.connection(fd, "watch") else { return };
        self.claim(fd, token);
        if self.watches.contains_key(&fd) {
            self.violation(format!("watch on descriptor {fd}, which is watched already"));
            return;
        }
        let refused = self.faults.occurs(Fault::WatchRefused);
        self.watches.insert(fd, Watch { token, raised: false, ended: refused });
        if refused {
            let result = Err(errno(libc::ENOMEM));
            return self.post(Operation::Watch(fd), Completion::WatchEnded { token, result });
        }
        if connection.borrow().is_readable() {
            self.raise(fd);
        }
    }

    pub fn unwatch(&mut self, socket: Socket, token: Token) {
        let fd = socket.raw();
        if self.connection(fd, "unwatch").is_err() {
            return;
        }
        self.claim(fd, token);
        let watch_ended = self.sockets.get(&fd).and_then(|open| open.watch_ended);
        match self.watches.get(&fd) {
            Some(watch) if watch.ended => {}
            Some(_) => self.end_watch(fd),
            // The caller may not have seen the completions of the last turn yet.
            None if watch_ended == Some(self.turn()) => {}
            None => self.violation(format!("unwatch on descriptor {fd}, which is not watched")),
        }
    }

    pub fn send(&mut self, socket: Socket, token: Token, chunks: Chunks) {
        let fd = socket.raw();
        if self.connection(fd, "send").is_err() {
            return;
        }
        self.claim(fd, token);
        let count = chunks.parts().len();
        if count > Chunks::PARTS_MAX {
            self.violation(format!("send on descriptor {fd} has {count} parts"));
        }
        if self.sends.contains_key(&fd) {
            self.violation(format!("send on descriptor {fd} while another is in flight"));
            return;
        }
        self.sends.insert(fd, Outgoing { token, chunks, blocked: false, ended: false });
    }

    /// Runs one turn: advances the operations, and returns the due completions.
    pub fn enter(&mut self, completions: &mut Vec<Completion>) {
        self.schedule.begin_turn();
        for fd in self.accepts.keys().copied().collect::<Vec<_>>() {
            self.accept_waiting(fd);
        }
        for fd in self.sends.keys().copied().collect::<Vec<_>>() {
            self.continue_send(fd);
        }
        if !self.watches.is_empty() && self.faults.occurs(Fault::SpuriousReadable) {
            let choice = self.faults.random.below(self.watches.len());
            if let Some(&fd) = self.watches.keys().nth(choice) {
                self.raise(fd);
            }
        }
        self.deliver(completions);
    }

    fn accept_waiting(&mut self, fd: RawFd) {
        let nobody_waits = self.listeners.get(&fd).is_none_or(|backlog| backlog.waiting.is_empty());
        let Some(accept) = self.accepts.get_mut(&fd).filter(|accept| !accept.ended) else { return };
        if std::mem::replace(&mut accept.tried, true) && nobody_waits {
            return;
        }
        let once = accept.once;
        let mut more = true;
        while more {
            let listener = Socket::from_raw(fd);
            let result = self.accept_now(listener);
            if result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
                return;
            }
            more = !once && result.is_ok() && !self.faults.occurs(Fault::AcceptEnded);
            self.post(Operation::Accept(fd), Completion::Accepted { listener, result, more });
        }
        if let Some(accept) = self.accepts.get_mut(&fd) {
            accept.ended = true;
        }
    }

    fn continue_send(&mut self, fd: RawFd) {
        let Some(mut send) = self.sends.remove(&fd) else { return };
        if let Some(open) = self.sockets.get(&fd).filter(|_| !send.ended) {
            let connection = Rc::clone(&open.connection);
            let mut connection = connection.borrow_mut();
            let wanted = send.chunks.len();
            let result = match self.make_room(fd, &mut connection, wanted) {
                Ok(_) if send.blocked && !connection.is_writable() => Ok(0),
                result => result,
            };
            send.ended = result.as_ref().map_or(true, |count| *count == wanted);
            send.blocked = !send.ended;
            if let Ok(mut count) = result {
                for part in send.chunks.parts() {
                    let left = count.min(part.len());
                    connection.send(&part[..left]);
                    count -= left;
                }
            }
            let (token, more) = (send.token, !send.ended);
            if let Ok(count) = result {
                send.chunks.advance(count);
            }
            if !more || !matches!(result, Ok(0)) {
                self.post(Operation::Send(fd), Completion::Sent { token, result, more });
            }
        }
        self.sends.insert(fd, send);
    }

    pub(super) fn is_watched(&self, fd: RawFd) -> bool {
        self.watches.get(&fd).is_some_and(|watch| !watch.ended)
    }

    /// Posts an edge for a socket that is, or pretends to be, readable, unless one is due.
    pub(super) fn raise(&mut self, fd: RawFd) {
        let idle = |watch: &&mut Watch| !watch.raised && !watch.ended;
        let Some(watch) = self.watches.get_mut(&fd).filter(idle) else { return };
        watch.raised = true;
        let token = watch.token;
        self.post(Operation::Watch(fd), Completion::Readable { token, ended: false });
        if self.faults.occurs(Fault::WatchEnded) {
            self.end_watch(fd);
        }
    }

    fn end_watch(&mut self, fd: RawFd) {
        let Some(watch) = self.watches.get_mut(&fd) else { return };
        watch.ended = true;
        let token = watch.token;
        self.post(Operation::Watch(fd), Completion::WatchEnded { token, result: Ok(()) });
    }

    fn post(&mut self, operation: Operation, completion: Completion) {
        self.schedule.post(operation, completion, &mut self.faults);
    }

    fn deliver(&mut self, completions: &mut Vec<Completion>) {
        for (fd, mut completion) in self.schedule.take_due(&mut self.faults) {
            // A poll reports the state at the time of the report, not of the wake-up.
            if let (Completion::Readable { ended, .. }, Some(open)) = (&mut completion, self.sockets.get(&fd)) {
                *ended = open.connection.borrow().has_ended();
            }
            self.finish_operation(fd, &completion);
            completions.push(completion);
        }
    }

    /// Removes an operation from flight with its final completion.
    fn finish_operation(&mut self, fd: RawFd, completion: &Completion) {
        match completion {
            Completion::Accepted { more: false, .. } => drop(self.accepts.remove(&fd)),
            Completion::Sent { more: false, .. } => drop(self.sends.remove(&fd)),
            Completion::Readable { .. } => {
                if let Some(watch) = self.watches.get_mut(&fd) {
                    watch.raised = false;
                }
            }
            Completion::WatchEnded { .. } => {
                self.watches.remove(&fd);
                if let Some(open) = self.sockets.get_mut(&fd) {
                    open.watch_ended = Some(self.schedule.turn());
                }
            }
            _ => {}
        }
    }
}
