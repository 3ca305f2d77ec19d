//! Answers that take time: those that a handler gives later, and bodies that a task writes piece by piece.
//!
//! While an answer is pending, the connection is not read, so that later requests wait. Invariant: a connection has at
//! most one pending answer; a piece that a task writes goes to the answer that the task was made for, or nowhere.

use bytes::Bytes;

use super::Core;
use super::pending_answers::{AnswerForm, Arrived, Pending, Stream};
use crate::engine::handler::Handler;
use crate::engine::handler::reply::{Body, Reply, StreamedReply};
use crate::engine::reasons::End;
use crate::engine::session::Phase;
use crate::engine::tasks::Promise;
use crate::engine::wheel::{NEVER, ticks};
use crate::protocol::http::{LAST_CHUNK, Refusal, Response, write_chunk, write_response, write_streamed_head};
use crate::reactor::{Reactor, Token};

impl<H: Handler, R: Reactor> Core<H, R> {
    /// Carries out a handler's answer to a request. Returns whether the answer is complete.
    pub(super) fn reply(&mut self, token: Token, form: AnswerForm, reply: Reply) -> bool {
        match reply {
            Reply::Now(response) => {
                self.answer_with(token, form, &response);
                true
            }
            Reply::Later(answer) => {
                let number = self.begin_answer(token, form);
                if let Some(slot) = self.sessions.get_mut(token) {
                    self.parts.set_deadline(slot, token, self.parts.limits().handshake_timeout_ms);
                }
                let arrived = self.answers.arrived.clone();
                self.parts.tasks.spawn_then(answer, move |reply| {
                    arrived.push(Arrived::Reply { token, number, reply });
                });
                false
            }
            Reply::Stream(streamed) => self.begin_stream(token, form, streamed),
        }
    }

    fn answer_with(&mut self, token: Token, form: AnswerForm, response: &Response) {
        self.parts.counters().http_answers.add(1);
        let keep_alive = form.keep_alive && !self.is_draining();
        let date = self.dates.at(self.now_ms);
        write_response(&mut self.parts.reply, response, date, keep_alive, form.head_only);
        self.end_answer(token, keep_alive);
    }

    fn begin_answer(&mut self, token: Token, form: AnswerForm) -> u32 {
        if let Some(slot) = self.sessions.get_mut(token) {
            slot.await_answer();
        }
        self.answers.add(token.index, form)
    }

    /// Writes the head of a streamed answer and starts the task that writes its body. Returns whether the answer is
    /// complete, because there is no body.
    fn begin_stream(&mut self, token: Token, form: AnswerForm, streamed: StreamedReply) -> bool {
        self.parts.counters().http_answers.add(1);
        let keep_alive = form.keep_alive && form.takes_chunks && !self.is_draining();
        let date = self.dates.at(self.now_ms);
        let StreamedReply { response, task } = streamed;
        write_streamed_head(&mut self.parts.reply, &response, date, keep_alive, form.takes_chunks);
        if form.head_only {
            self.drop_guarded(task);
            self.end_answer(token, keep_alive);
            return true;
        }
        let number = self.begin_answer(token, form);
        if let Some(slot) = self.sessions.get_mut(token) {
            slot.set_deadline(NEVER);
        }
        let (pipe, alive) = self.parts.tasks.body(token, number);
        if let Some(pending) = self.answers.find(token.index, number) {
            pending.stream = Stream::Open { alive: Some(alive), written: None, keep_alive };
        }
        let arrived = self.answers.arrived.clone();
        self.parts.tasks.spawn_then(async move { task(Body::new(pipe)).await }, move |ended| {
            let panicked = ended.is_none();
            arrived.push(Arrived::BodyEnded { token, number, panicked });
        });
        if self.has_stopped_accepting() {
            self.ask_stream_to_end(token);
        }
        false
    }

    /// Appends a piece to the body of a pending answer. The promise is kept once there is room for the next piece, and
    /// is broken if no client takes the body any more.
    pub(super) fn write_piece(&mut self, token: Token, number: u32, bytes: &Bytes, written: Promise<()>) {
        let Some(slot) = self.sessions.get_mut(token) else { return };
        let Some(Pending { form, stream: Stream::Open { written: waits, .. }, .. }) =
            self.answers.find(token.index, number)
        else {
            return;
        };
        if form.takes_chunks {
            write_chunk(&mut self.parts.reply, bytes);
        } else {
            self.parts.reply.extend_from_slice(bytes);
        }
        self.parts.flush(slot, token, &mut self.reactor);
        if slot.outbox_bytes() > self.parts.outbox_bytes_max(slot) {
            *waits = Some(written);
        } else {
            written.keep(());
        }
        self.flush_and_check_end(token);
    }

    /// Lets the task of a pending answer continue to write, if half of the outbox is free again.
    pub(super) fn resume_answering(&mut self, token: Token) {
        let Some(slot) = self.sessions.get_mut(token).filter(|slot| slot.phase() == Phase::Answering) else { return };
        if slot.outbox_bytes() <= self.parts.outbox_bytes_max(slot) / 2
            && let Some(Pending { stream: Stream::Open { written, .. }, .. }) =
                self.answers.pending.get_mut(&token.index)
            && let Some(written) = written.take()
        {
            written.keep(());
        }
    }

    /// Tells the task of a streamed answer that the server drains, so that an endless body ends. A body that the task
    /// completes within the drain timeout reaches its client whole.
    pub(super) fn ask_stream_to_end(&mut self, token: Token) {
        if let Some(Pending { stream: Stream::Open { alive, keep_alive, .. }, .. }) =
            self.answers.pending.get_mut(&token.index)
        {
            (*alive, *keep_alive) = (None, false);
        }
    }

    /// Ends a connection whose client has left while its answer was being written. An answer that is given later is
    /// still sent: a client may end its own stream once it has sent its request.
    pub(super) fn client_left(&mut self, token: Token) {
        let pending = self.answers.pending.get(&token.index);
        if pending.is_some_and(|pending| matches!(pending.stream, Stream::Open { .. })) {
            self.cut_off(token, End::LeftBeforeUpgrade);
        }
    }

    /// Carries out the events of answers' tasks.
    pub(super) fn carry_out_answers(&mut self) {
        for event in self.answers.arrived.take() {
            match event {
                Arrived::Reply { token, number, reply } => self.take_reply(token, number, reply),
                Arrived::BodyEnded { token, number, panicked } => self.end_body(token, number, panicked),
            }
        }
    }

    fn take_reply(&mut self, token: Token, number: u32, reply: Option<Reply>) {
        if reply.is_none() {
            self.parts.counters().handler_panics.add(1);
        }
        // An answer is forgotten when its connection ends or its time is over.
        let form = self.answers.find(token.index, number).map(|pending| pending.form);
        let Some(form) = form else { return self.drop_guarded(reply) };
        self.answers.forget(token.index);
        let Some(reply) = reply else {
            return self.refuse(token, &Refusal::HandlerFailed);
        };
        if self.reply(token, form, reply) {
            self.read_after_answer(token);
        } else {
            self.flush_and_check_end(token);
        }
    }

    fn end_body(&mut self, token: Token, number: u32, panicked: bool) {
        if panicked {
            self.parts.counters().handler_panics.add(1);
        }
        let Some(pending) = self.answers.find(token.index, number) else { return };
        let Stream::Open { keep_alive, .. } = pending.stream else { return };
        let (form, keep_alive) = (pending.form, keep_alive && !self.is_draining());
        self.answers.forget(token.index);
        if panicked {
            return self.cut_off(token, End::HandlerPanic);
        }
        if form.takes_chunks {
            self.parts.reply.extend_from_slice(LAST_CHUNK);
        }
        self.end_answer(token, keep_alive);
        self.read_after_answer(token);
    }

    /// Sends the end of an answer, and reads the requests that have waited behind it.
    fn read_after_answer(&mut self, token: Token) {
        self.flush_and_check_end(token);
        if let Some(slot) = self.sessions.get_mut(token).filter(|slot| slot.phase() == Phase::Head) {
            self.parts.resume_reading(slot, token);
        }
    }

    /// Continues with the next request, or ends the connection.
    fn end_answer(&mut self, token: Token, keep_alive: bool) {
        let Some(slot) = self.sessions.get_mut(token) else { return };
        slot.end_answer();
        if !keep_alive {
            slot.linger_when_sent(End::Answered);
        }
        let deadline = self.parts.tick().saturating_add(ticks(self.parts.limits().handshake_timeout_ms));
        slot.set_deadline(deadline);
        self.parts.schedule(token, deadline);
    }
}
