//! The closing handshake between our two ends, over wires that deliver as the input says: each end writes one Close
//! frame at most and nothing after it, and both end once one has begun to close. And the payload by itself.

use ringsock::protocol::{
    AssemblyPool, Close, CloseCode, Connection, Event, Incoming, MessageLimits, Opcode, Role, State, write_close,
    write_frame,
};

use crate::ending::KEY;
use crate::harness::{Endpoint, Received};
use crate::input::Input;
use crate::{message, sent, wire};

/// Steps of one input at most.
const STEPS_MAX: usize = 512;

pub fn check(data: &[u8]) {
    check_payload(data);
    check_written(&mut Input::new(data));
    check_both_ends(&mut Input::new(data));
}

/// Reads a payload as the model does, and writes the same bytes again.
fn check_payload(payload: &[u8]) {
    let parsed = Close::parse(payload);
    let received =
        parsed.clone().map(|close| Received::Close(close.map(|close| (close.code.number(), close.reason.to_owned()))));
    assert_eq!(received, message::close(payload));
    let (Ok(close), 0..=125) = (parsed, payload.len()) else { return };
    let mut out = Vec::new();
    write_close(&mut out, close, None);
    assert_eq!(out[2..], *payload);
}

/// Sends as much of a reason as fits into the frame and ends between characters.
fn check_written(input: &mut Input<'_>) {
    let Some(code) = CloseCode::new(input.number()) else { return };
    let reason = String::from_utf8_lossy(input.rest());
    let mut out = Vec::new();
    write_close(&mut out, Some(Close::new(code, &reason)), Some(KEY));
    let heard = Endpoint::server().reader().read_in_pieces(&out, &[]).events;
    let [Received::Close(Some((number, sent)))] = &heard[..] else { panic!("{heard:?}") };
    assert_eq!(*number, code.number());
    let left_out = reason.strip_prefix(sent.as_str()).expect("the reason's beginning is sent");
    assert!(left_out.chars().next().is_none_or(|next| sent.len() + next.len_utf8() > 123), "more would have fitted");
}

/// One end: the bytes that it wrote, and how many of them have been delivered.
struct End {
    role: Role,
    connection: Connection,
    pool: AssemblyPool,
    out: Vec<u8>,
    delivered: usize,
    /// The length of `out` with its Close frame.
    close_end: Option<usize>,
}

impl End {
    fn new(role: Role) -> Self {
        let (connection, pool) = (Connection::new(role), AssemblyPool::default());
        Self { role, connection, pool, out: Vec::new(), delivered: 0, close_end: None }
    }

    fn mask(&self) -> Option<[u8; 4]> {
        (self.role == Role::Client).then_some(KEY)
    }

    fn close(&mut self, close: Option<Close<'_>>) {
        let before = self.connection.state();
        let mask = self.mask();
        let wrote = self.connection.close(&mut self.out, close, mask);
        assert_eq!(wrote, matches!(before, State::Open | State::CloseReceived));
        self.note_close(wrote);
    }

    fn fail(&mut self, close: Close<'_>) {
        let before = self.connection.state();
        let mask = self.mask();
        let wrote = self.connection.fail(&mut self.out, close, mask);
        assert_eq!(wrote, matches!(before, State::Open | State::CloseReceived));
        self.note_close(wrote);
    }

    fn note_close(&mut self, wrote: bool) {
        if wrote {
            assert_eq!(self.close_end, None, "a second Close frame was written");
            self.close_end = Some(self.out.len());
        }
        assert!(self.close_end.is_none_or(|end| end == self.out.len()), "something followed the Close frame");
    }

    fn receive(&mut self, bytes: &[u8]) {
        let mut bytes = bytes.to_vec();
        let mut incoming = Incoming::new(&mut bytes, 0);
        let limits = MessageLimits::default();
        loop {
            let state = self.connection.state();
            match incoming.next(&mut self.connection, &mut self.pool, &limits) {
                Ok(None) => break,
                Ok(Some(Event::Close(close))) => {
                    let payload = close.map(|close| (close.code, close.reason.to_owned()));
                    let answers = state == State::Open;
                    assert_eq!(self.connection.state(), if answers { State::CloseReceived } else { State::Closed });
                    if answers {
                        self.close(payload.as_ref().map(|(code, reason)| Close::new(*code, reason)));
                    }
                    assert_eq!(self.connection.state(), State::Closed);
                }
                Ok(Some(event)) => assert_eq!(state, State::Open, "{event:?}"),
                Err(violation) => {
                    assert!(matches!(state, State::Open | State::CloseSent));
                    self.fail(Close::new(violation.close_code(), &violation.to_string()));
                    return;
                }
            }
        }
        assert!(incoming.rest().is_empty());
    }

    /// Returns the next bytes on the wire to the other end.
    fn take(&mut self, count: usize) -> Vec<u8> {
        let end = self.out.len().min(self.delivered.saturating_add(count));
        let taken = self.out[self.delivered..end].to_vec();
        self.delivered = end;
        taken
    }
}

fn check_both_ends(input: &mut Input<'_>) {
    let mut ends = [End::new(Role::Server), End::new(Role::Client)];
    for _ in 0..STEPS_MAX {
        if input.is_empty() {
            break;
        }
        let step = input.byte();
        let [end, peer] = &mut ends;
        let (end, peer) = if step & 1 == 0 { (end, peer) } else { (peer, end) };
        act(step >> 1, input, end, peer);
    }
    // The bytes on the wires arrive, and so do the answers.
    for _ in 0..3 {
        let [server, client] = &mut ends;
        server.receive(&client.take(usize::MAX));
        client.receive(&server.take(usize::MAX));
    }
    let [server, client] = &ends;
    let begun = server.close_end.is_some() || client.close_end.is_some();
    for end in [server, client] {
        assert_eq!(end.close_end.is_some(), begun, "one end closed, the other did not answer");
        assert_eq!(end.connection.state(), if begun { State::Closed } else { State::Open });
    }
}

fn act(step: u8, input: &mut Input<'_>, end: &mut End, peer: &mut End) {
    let open = end.connection.state() == State::Open;
    let mask = end.mask();
    match step % 16 {
        0 => end.close(None),
        1 => {
            let code = CloseCode::new(input.number()).unwrap_or(CloseCode::NORMAL);
            end.close(Some(Close::new(code, input.text())));
        }
        2 => end.fail(Close::new(CloseCode::INTERNAL_ERROR, input.text())),
        3 if open => write_frame(&mut end.out, Opcode::Ping, b"ping", mask),
        4 if open => write_frame(&mut end.out, Opcode::Text, input.text().as_bytes(), mask),
        5 if open => end.out.extend(incomplete(input, peer.role)),
        // A Close frame with any payload, or any frame at all, as from a peer that is not ours.
        6 if open => forge(end, peer.role, wire::CLOSE, &sent::close_payload(input)),
        7 if open => forge(end, peer.role, input.byte(), input.short()),
        8..=11 => peer.receive(&end.take(usize::from(input.byte()))),
        _ => peer.receive(&end.take(usize::from(step % 4) + 1)),
    }
}

/// Writes a fragment, so that a Close frame comes in the middle of a message.
fn incomplete(input: &mut Input<'_>, to: Role) -> Vec<u8> {
    let mut out = Vec::new();
    sent::Frame { fin: false, opcode: input.byte() % 3, payload: input.short().to_vec() }.write(&mut out, to);
    out
}

/// Writes a frame that our encoder would not, and then nothing more.
fn forge(end: &mut End, to: Role, first: u8, payload: &[u8]) {
    let frame = match to {
        Role::Server => wire::masked(0x80 | first, payload),
        Role::Client => wire::plain(0x80 | first, payload),
    };
    end.out.extend(frame);
}
