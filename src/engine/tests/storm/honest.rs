//! A client that keeps the rules and holds the server to its own: every message comes back, in order, as it was.

use std::collections::VecDeque;

use crate::engine::tests::client::{Client, Frame, fragment, masked, masked_close};
use crate::engine::tests::dice::Dice;
use crate::protocol::Opcode;

pub struct Honest {
    client: Client,
    stage: Stage,
    /// What is to be written, in pieces.
    pieces: VecDeque<Vec<u8>>,
    /// Echoes that have not come back.
    expected: VecDeque<Frame>,
    /// Pings that were not answered; a later one may be answered for several.
    pings: VecDeque<Vec<u8>>,
    messages: usize,
    longest: usize,
    /// It says no more until it has every echo, so that nothing but the server itself can bring them.
    patient: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Asking,
    Open,
    /// Its Close frame is written, or about to be.
    Closing,
    Done,
}

/// What a client has to put up with.
#[derive(Clone, Copy)]
pub struct Weather {
    /// Nothing is lost and nobody is sent away.
    pub fair: bool,
    /// No more mischief: everyone reads, and brings to an end what it has begun.
    pub calm: bool,
    pub draining: bool,
}

impl Honest {
    pub fn new(mut client: Client, dice: &mut Dice, longest: usize) -> Self {
        let mut pieces = VecDeque::new();
        cut(client.request("/"), dice, &mut pieces);
        Self {
            client,
            stage: Stage::Asking,
            pieces,
            expected: VecDeque::new(),
            pings: VecDeque::new(),
            messages: dice.below(12),
            longest,
            patient: dice.once_in(2),
        }
    }

    pub fn is_done(&self) -> bool {
        self.stage == Stage::Done
    }

    /// Whether its handshake is under way, which has five seconds in all.
    pub fn is_asking(&self) -> bool {
        self.stage == Stage::Asking
    }

    pub fn resume_reading(&self) {
        self.client.peer.resume_reading();
    }

    /// Reads, judges, and says something.
    pub fn act(&mut self, dice: &mut Dice, weather: Weather) {
        if self.stage == Stage::Done {
            return;
        }
        if weather.calm || dice.once_in(5) {
            self.client.peer.resume_reading();
        } else if dice.once_in(30) {
            self.client.peer.stop_reading();
        }
        self.hear(weather);
        if self.stage == Stage::Open && self.pieces.is_empty() {
            self.say_something(dice, weather);
        }
        for _ in 0..=dice.below(3) {
            if let Some(piece) = self.pieces.pop_front() {
                self.client.write(&piece);
            }
        }
        self.notice_the_end(weather);
    }

    fn hear(&mut self, weather: Weather) {
        if self.stage == Stage::Asking {
            match self.client.verdict() {
                None => return,
                Some(101) => self.stage = Stage::Open,
                Some(status) => {
                    assert!(!weather.fair || (status == 503 && weather.draining), "refused with {status}");
                    self.stage = Stage::Done;
                    return;
                }
            }
        }
        for frame in self.client.frames() {
            match frame {
                Frame::Text(_) | Frame::Binary(_) => {
                    assert!(self.expected.pop_front() == Some(frame), "an echo is wrong, or out of order");
                }
                Frame::Ping(payload) => self.pieces.push_back(masked(Opcode::Pong, &payload)),
                Frame::Pong(payload) => {
                    let answered = self.pings.iter().position(|ping| *ping == payload);
                    let answered = answered.expect("a pong answers a ping");
                    self.pings.drain(..=answered);
                }
                Frame::Close(code, _) if !weather.fair || (weather.draining && code == 1001) => {
                    if self.stage == Stage::Open {
                        self.pieces.push_back(masked_close(code, ""));
                        self.stage = Stage::Closing;
                    }
                    // What crossed it is dropped.
                    self.expected.clear();
                }
                Frame::Close(code, reason) => {
                    assert!(self.stage == Stage::Closing && code == 1000, "closed with {code}: {reason}");
                    assert!(self.expected.is_empty(), "the server closed before it had answered");
                }
                Frame::CloseEmpty => panic!("a close without a code was not asked for"),
            }
        }
    }

    fn say_something(&mut self, dice: &mut Dice, weather: Weather) {
        if self.messages == 0 || (weather.calm && dice.once_in(4)) {
            // Otherwise what is on its way comes before the echo of the close frame.
            if !self.patient || self.expected.is_empty() {
                cut(masked_close(1000, "done"), dice, &mut self.pieces);
                self.stage = Stage::Closing;
            }
            return;
        }
        self.messages -= 1;
        let mut bytes = Vec::new();
        for _ in 0..=dice.below(4) {
            self.message(dice, &mut bytes);
        }
        cut(bytes, dice, &mut self.pieces);
    }

    /// A message in some fragments, with pings before, between and behind them.
    fn message(&mut self, dice: &mut Dice, bytes: &mut Vec<u8>) {
        let length = dice.length(self.longest);
        let is_text = dice.once_in(2);
        let payload: Vec<u8> =
            if is_text { (0..length).map(|_| b'a' + dice.below(26) as u8).collect() } else { dice.bytes(length) };
        let mut opcode = if is_text { Opcode::Text } else { Opcode::Binary };
        let mut rest = &payload[..];
        loop {
            if dice.once_in(8) {
                let length = dice.below(126);
                let ping = dice.bytes(length);
                bytes.extend(masked(Opcode::Ping, &ping));
                self.pings.push_back(ping);
            }
            let (now, later) =
                if dice.once_in(2) { rest.split_at(dice.below(rest.len() + 1)) } else { (rest, &[][..]) };
            rest = later;
            bytes.extend(fragment(opcode, rest.is_empty(), now));
            if rest.is_empty() {
                break;
            }
            opcode = Opcode::Continuation;
        }
        self.expected.push_back(match String::from_utf8(payload) {
            Ok(text) if is_text => Frame::Text(text),
            Ok(text) => Frame::Binary(text.into_bytes()),
            Err(error) => Frame::Binary(error.into_bytes()),
        });
    }

    fn notice_the_end(&mut self, weather: Weather) {
        let peer = &self.client.peer;
        if !peer.was_reset() && !peer.is_at_end() {
            return;
        }
        let agreed = self.stage == Stage::Closing && self.expected.is_empty() && self.client.is_at_end();
        assert!(!weather.fair || weather.draining || agreed, "the connection ended before everything was said");
        self.stage = Stage::Done;
    }
}

/// Cuts what is to be written into pieces.
fn cut(bytes: Vec<u8>, dice: &mut Dice, pieces: &mut VecDeque<Vec<u8>>) {
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        let count = if dice.once_in(3) { rest.len() } else { 1 + dice.below(rest.len().min(200)) };
        let (piece, later) = rest.split_at(count);
        pieces.push_back(piece.to_vec());
        rest = later;
    }
}
