//! Requests: from the first byte of a connection to its answer, or to its upgrade.
//!
//! A request is answered once it is complete, and the bytes after its body are the next request. Invariant: no more
//! bytes of it are kept than the limits of a head and of a body together.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::engine::core::Core;
use crate::engine::core::pending_answers::AnswerForm;
use crate::engine::handler::{Handler, Hub};
use crate::engine::reasons::End;
use crate::engine::session::{Awaits, Phase, Unconsumed};
use crate::protocol::http::{
    BodyLength, HeadScan, Headers, Refusal, Request, Response, parse_request, proxy, write_response,
};
use crate::reactor::{Reactor, Token};

/// The progress of a connection's input.
enum Progress {
    /// A request of so many bytes was answered, and the next may follow.
    Answered(usize),
    /// A request of so many bytes has an answer that takes time. Requests behind it wait.
    Pending(usize),
    /// The current request is incomplete.
    Partial(Awaits),
    /// The current request is incomplete, and its chunked body is being decoded.
    Gathering(Box<Unconsumed>),
    /// No further request is served.
    Last,
}

/// The rest of the input, and what it waits for.
enum Left {
    Nothing,
    /// So many bytes at its end, until this event.
    Bytes(usize, Awaits),
    /// A request with a chunked body, as far as it has arrived.
    Gathered(Box<Unconsumed>),
}

impl Left {
    /// Returns so many bytes, which wait for the answer before them.
    fn waiting(bytes: usize) -> Self {
        if bytes == 0 { Self::Nothing } else { Self::Bytes(bytes, Awaits::Nothing) }
    }
}

/// The answer that asks a client to send its body (RFC 9110 15.2.1).
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

impl<H: Handler, R: Reactor> Core<H, R> {
    /// Answers the requests that `input` completes, in order.
    pub(super) fn consume_head(&mut self, token: Token, input: &[u8]) {
        self.pacing.note_other_traffic(self.parts.tick());
        let Some(slot) = self.sessions.get_mut(token) else { return };
        match slot.take_unconsumed() {
            None => {
                let left = self.answer_all(token, input, HeadScan::default());
                self.keep_left(token, input, left);
            }
            Some(unconsumed) if unconsumed.is_in_chunks() => {
                let left = match self.gather(token, unconsumed, input) {
                    Progress::Answered(bytes) => self.answer_rest(token, &input[bytes..], HeadScan::default()),
                    Progress::Gathering(unconsumed) => Left::Gathered(unconsumed),
                    Progress::Pending(bytes) => Left::waiting(input.len() - bytes),
                    Progress::Partial(_) | Progress::Last => Left::Nothing,
                };
                self.keep_left(token, input, left);
            }
            Some(mut unconsumed) => {
                if !unconsumed.add(input) {
                    slot.keep(unconsumed);
                    return;
                }
                let scan = if let Awaits::HeadEnd(scan) = unconsumed.awaits { scan } else { HeadScan::default() };
                match self.answer_all(token, &unconsumed.bytes, scan) {
                    // Bytes that are kept already are not copied again, since they may come one by one.
                    Left::Bytes(rest, awaits) if rest == unconsumed.bytes.len() => {
                        unconsumed.awaits = awaits;
                        self.keep(token, Phase::Head, unconsumed);
                    }
                    left => self.keep_left(token, &unconsumed.bytes, left),
                }
            }
        }
        self.flush_and_check_end(token);
    }

    /// Answers the complete requests, after the PROXY header that may have to come first.
    fn answer_all(&mut self, token: Token, received: &[u8], scan: HeadScan) -> Left {
        match self.parts.clients.read_proxy_header(token.index, received) {
            Ok(Some(bytes)) if self.parts.tls.take_awaiting_header(token.index) => {
                self.begin_tls(token, &received[bytes..]);
                Left::Nothing
            }
            Ok(Some(bytes)) => self.answer_rest(token, &received[bytes..], scan),
            Ok(None) => Left::Bytes(received.len(), Awaits::HeadEnd(scan)),
            Err(refusal) => {
                if self.parts.tls.take_awaiting_header(token.index) {
                    // The client expects TLS, in which it cannot be answered yet.
                    self.parts.counters().http_refusals.add(&refusal);
                    self.parts.log_refused(token, &refusal);
                    self.cut_off(token, End::Refused);
                } else {
                    self.write_refusal(token, &refusal);
                }
                Left::Nothing
            }
        }
    }

    fn answer_rest(&mut self, token: Token, mut rest: &[u8], mut scan: HeadScan) -> Left {
        while !rest.is_empty() {
            let waiting = self.sessions.get_mut(token).map_or(0, |slot| slot.outbox_bytes());
            if waiting + self.parts.reply.len() > self.parts.limits().outbox_bytes_max {
                return Left::Bytes(rest.len(), Awaits::Nothing);
            }
            let progress = match scan.find_end(rest, &self.parts.limits().head) {
                Ok(Some(head_bytes)) => self.answer(token, rest, head_bytes),
                Ok(None) => Progress::Partial(Awaits::HeadEnd(scan)),
                Err(refusal) => self.refuse_last(token, &proxy::explain(refusal, rest)),
            };
            match progress {
                Progress::Answered(bytes) => rest = &rest[bytes..],
                Progress::Pending(bytes) => return Left::waiting(rest.len() - bytes),
                Progress::Partial(awaits) => return Left::Bytes(rest.len(), awaits),
                Progress::Gathering(unconsumed) => return Left::Gathered(unconsumed),
                Progress::Last => return Left::Nothing,
            }
        }
        Left::Nothing
    }

    /// Refuses the client's request, and closes the connection.
    pub(super) fn refuse(&mut self, token: Token, refusal: &Refusal) {
        self.write_refusal(token, refusal);
        self.flush_and_check_end(token);
    }

    /// Answers the request at the beginning of `received`, once its body is complete.
    fn answer(&mut self, token: Token, received: &[u8], head_bytes: usize) -> Progress {
        let mut headers = Headers::default();
        let (head, after) = received.split_at(head_bytes);
        let limit = self.parts.limits().body_bytes_max;
        let parsed = parse_request(head, &mut headers);
        let (request, body_bytes) = match parsed.and_then(|request| Ok((request, body_bytes(&request, limit)?))) {
            Ok(parsed) => parsed,
            Err(refusal) => return self.refuse_last(token, &proxy::explain(refusal, received)),
        };
        // RFC 9110 10.1.1: a client that has begun to send does not wait.
        if request.expects_continue()
            && after.is_empty()
            && let Some(refused) = self.ask_for_body(token, &request)
        {
            return refused;
        }
        if BodyLength::of(&request) == BodyLength::Chunked {
            return match self.gather(token, Box::new(Unconsumed::in_chunks(head)), after) {
                Progress::Answered(bytes) => Progress::Answered(head_bytes + bytes),
                Progress::Pending(bytes) => Progress::Pending(head_bytes + bytes),
                progress => progress,
            };
        }
        match after.split_at_checked(body_bytes) {
            Some((body, after)) => {
                self.respond(token, &request.with_body(body), head_bytes + body_bytes, !after.is_empty())
            }
            None => Progress::Partial(Awaits::BodyEnd(head_bytes + body_bytes)),
        }
    }

    /// Asks a client for the body that it withholds, or refuses it.
    fn ask_for_body(&mut self, token: Token, request: &Request<'_>) -> Option<Progress> {
        if self.has_stopped_accepting() {
            return Some(self.refuse_last(token, &Refusal::ShuttingDown));
        }
        let Self { handler, reactor, sessions, parts, .. } = self;
        let mut hub = Hub { sessions, parts, sockets: reactor };
        match catch_unwind(AssertUnwindSafe(|| handler.before_body(request, &mut hub))) {
            Ok(None) => {
                self.parts.reply.extend_from_slice(CONTINUE);
                None
            }
            Ok(Some(response)) => {
                self.parts.counters().http_answers.add(1);
                // The body may or may not follow, so this is the last answer.
                self.write_last(token, &response, End::Answered);
                if let Some(slot) = self.sessions.get_mut(token) {
                    slot.expect_unread_body();
                }
                Some(Progress::Last)
            }
            Err(_) => {
                self.parts.counters().handler_panics.add(1);
                Some(self.refuse_last(token, &Refusal::HandlerFailed))
            }
        }
    }

    /// Decodes a part of a chunked body, and answers the request once it is complete. The returned number counts bytes
    /// of `input`.
    fn gather(&mut self, token: Token, mut unconsumed: Box<Unconsumed>, input: &[u8]) -> Progress {
        let (head_bytes, bytes) = match unconsumed.take_chunks(input, self.parts.limits().body_bytes_max) {
            Ok(Some(whole)) => whole,
            Ok(None) => return Progress::Gathering(unconsumed),
            Err(refusal) => return self.refuse_last(token, &refusal),
        };
        let mut headers = Headers::default();
        let (head, body) = unconsumed.bytes.split_at(head_bytes);
        match parse_request(head, &mut headers) {
            Ok(request) => self.respond(token, &request.with_body(body), bytes, bytes < input.len()),
            Err(refusal) => self.refuse_last(token, &refusal),
        }
    }

    /// Answers a complete request, which takes so many bytes of the input.
    fn respond(&mut self, token: Token, request: &Request<'_>, bytes: usize, more_follows: bool) -> Progress {
        if self.has_stopped_accepting() {
            return self.refuse_last(token, &Refusal::ShuttingDown);
        }
        if request.is_upgrade() {
            self.upgrade(token, request, more_follows);
            return Progress::Last;
        }
        let Self { handler, reactor, sessions, parts, .. } = self;
        let mut hub = Hub { sessions, parts, sockets: reactor };
        let Ok(reply) = catch_unwind(AssertUnwindSafe(|| handler.request(request, &mut hub))) else {
            self.parts.counters().handler_panics.add(1);
            return self.refuse_last(token, &Refusal::HandlerFailed);
        };
        if !self.reply(token, AnswerForm::by(request), reply) {
            return Progress::Pending(bytes);
        }
        let is_last = self.sessions.get_mut(token).is_none_or(|slot| slot.lingers_when_sent());
        if is_last { Progress::Last } else { Progress::Answered(bytes) }
    }

    /// Writes the refusal of a request. It is the last answer of the connection.
    pub(super) fn write_refusal(&mut self, token: Token, refusal: &Refusal) {
        self.parts.counters().http_refusals.add(refusal);
        self.parts.log_refused(token, refusal);
        if let (Refusal::BodyTooLarge { .. }, Some(slot)) = (refusal, self.sessions.get_mut(token)) {
            slot.expect_unread_body();
        }
        self.write_last(token, &refusal.response(), End::Refused);
    }

    fn refuse_last(&mut self, token: Token, refusal: &Refusal) -> Progress {
        self.write_refusal(token, refusal);
        Progress::Last
    }

    pub(super) fn write_last(&mut self, token: Token, response: &Response, end: End) {
        write_response(&mut self.parts.reply, response, self.dates.at(self.now_ms), false, false);
        if let Some(slot) = self.sessions.get_mut(token) {
            slot.linger_after_answer(end);
        }
    }

    fn keep_left(&mut self, token: Token, received: &[u8], left: Left) {
        match left {
            Left::Nothing => {}
            Left::Bytes(rest, awaits) => {
                self.set_aside(token, Phase::Head, &received[received.len() - rest..], awaits);
            }
            Left::Gathered(unconsumed) => self.keep(token, Phase::Head, unconsumed),
        }
    }

    /// Keeps input that was not consumed, if the session is still in the phase that the input belongs to.
    pub(super) fn set_aside(&mut self, token: Token, phase: Phase, rest: &[u8], awaits: Awaits) {
        if !rest.is_empty() {
            self.keep(token, phase, Box::new(Unconsumed { bytes: rest.to_vec(), start: 0, awaits }));
        }
    }

    fn keep(&mut self, token: Token, phase: Phase, unconsumed: Box<Unconsumed>) {
        // Requests behind a pending answer are kept for later.
        let keeps = |now: Phase| now == phase || (now == Phase::Answering && phase == Phase::Head);
        if let Some(slot) = self.sessions.get_mut(token).filter(|slot| keeps(slot.phase())) {
            slot.keep(unconsumed);
        }
    }
}

/// Returns the length of a request's body, as far as it is known, or the reason not to read it.
fn body_bytes(request: &Request<'_>, limit: usize) -> Result<usize, Refusal> {
    let bytes = request.content_length().unwrap_or(0);
    usize::try_from(bytes).ok().filter(|bytes| *bytes <= limit).ok_or(Refusal::BodyTooLarge { bytes, limit })
}
