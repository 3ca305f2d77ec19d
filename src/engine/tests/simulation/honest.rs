//! A client that keeps the rules and checks that the server does: every message is echoed unchanged and in order, and
//! the end is answered as it must be.

use std::collections::VecDeque;

use super::endings::{Ending, NO_CODE};
use super::tally::Tally;
use super::{Weather, compression};
use crate::engine::tests::client::{Client, Frame, compressed_fragment, fragment, masked, masked_close};
use crate::engine::tests::dice::Dice;
use crate::engine::tests::world::POLLS_MAX;
use crate::protocol::Opcode;
use crate::protocol::handshake::Offer;

/// The most steps in which a client does nothing at all, as if its network were down.
const ABSENCE_STEPS_MAX: usize = 40;

pub struct Honest {
    client: Client,
    stage: Stage,
    /// The bytes to write, in pieces.
    pieces: VecDeque<Vec<u8>>,
    /// Echoes that have not arrived.
    expected: VecDeque<Frame>,
    /// Pings that were not answered; a later pong may answer several.
    pings: VecDeque<Vec<u8>>,
    messages: usize,
    longest: usize,
    /// It sends nothing until it has every echo, so that nothing but the server itself can cause them.
    patient: bool,
    /// It writes one byte at a time.
    drips: bool,
    /// The steps in which it still does nothing.
    away: usize,
    ending: Ending,
    /// Its Close frame is written, or about to be.
    said_goodbye: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Asking,
    Open,
    /// Its ending is written, or about to be.
    Ending,
    /// The server's Close frame has arrived.
    Parting,
    Done,
}

impl Honest {
    pub fn new(mut client: Client, dice: &mut Dice, longest: usize) -> Self {
        let drips = dice.once_in(10);
        if dice.once_in(2) {
            client.offer(Offer::new(&compression(dice)));
        }
        let mut pieces = VecDeque::new();
        cut(client.request(dice.choose(&["/", "/", "/soon"])), dice, drips, &mut pieces);
        Self {
            client,
            stage: Stage::Asking,
            pieces,
            expected: VecDeque::new(),
            pings: VecDeque::new(),
            messages: dice.below(12),
            longest: if drips { 200 } else { longest },
            patient: dice.once_in(2),
            drips,
            away: 0,
            ending: Ending::choose(dice),
            said_goodbye: false,
        }
    }

    pub fn is_done(&self) -> bool {
        self.stage == Stage::Done
    }

    /// Returns whether the server waits for it only for some seconds.
    pub fn is_hurried(&self) -> bool {
        matches!(self.stage, Stage::Asking | Stage::Ending | Stage::Parting)
    }

    pub fn resume_reading(&self) {
        self.client.peer.resume_reading();
    }

    /// Reads, checks, and writes something.
    pub fn act(&mut self, dice: &mut Dice, weather: Weather, tally: &mut Tally) {
        if self.stage == Stage::Done {
            return;
        }
        if self.away > 0 && !weather.calm {
            self.away -= 1;
            return;
        }
        if weather.calm || dice.once_in(5) {
            self.client.peer.resume_reading();
        } else if dice.once_in(30) {
            self.client.peer.stop_reading();
        } else if dice.once_in(60) {
            self.away = dice.below(ABSENCE_STEPS_MAX);
            tally.add("clients", "went away for a while", 1);
        }
        self.hear(weather, tally);
        if self.stage == Stage::Open && self.pieces.is_empty() {
            self.say_something(dice, weather);
        }
        for _ in 0..=dice.below(3) {
            if let Some(piece) = self.pieces.pop_front() {
                self.client.write(&piece);
            }
        }
        self.notice_the_end(weather, tally);
    }

    fn hear(&mut self, weather: Weather, tally: &mut Tally) {
        if self.stage == Stage::Asking {
            match self.client.verdict() {
                None => return,
                Some(101) => self.stage = Stage::Open,
                Some(status) => {
                    assert!(weather.may_refuse_with(status), "refused with {status}");
                    tally.add("honest clients", format_args!("refused with {status}"), 1);
                    self.stage = Stage::Done;
                    return;
                }
            }
        }
        for frame in self.client.frames() {
            assert!(self.stage != Stage::Parting, "something came after the server's Close frame");
            match frame {
                Frame::Text(_) | Frame::Binary(_) => {
                    assert!(self.expected.pop_front() == Some(frame), "an echo is wrong, or out of order");
                    tally.add("honest clients", "echoes", 1);
                }
                Frame::Ping(payload) => self.pieces.push_back(masked(Opcode::Pong, &payload)),
                Frame::Pong(payload) => {
                    let answered = self.pings.iter().position(|ping| *ping == payload);
                    let answered = answered.expect("a pong answers a ping");
                    self.pings.drain(..=answered);
                    tally.add("honest clients", "pongs", 1);
                }
                Frame::Close(code, reason) => self.hear_goodbye(code, &reason, weather, tally),
                Frame::CloseEmpty => self.hear_goodbye(NO_CODE, "", weather, tally),
            }
        }
    }

    fn hear_goodbye(&mut self, code: u16, reason: &str, weather: Weather, tally: &mut Tally) {
        if self.stage == Stage::Ending && code == self.ending.code {
            let all_answered = self.expected.is_empty() || weather.may_close_with(code);
            assert!(all_answered, "the server closed before it had answered");
            tally.add("endings", format_args!("{}, answered with {code}", self.ending.name), 1);
        } else {
            assert!(weather.may_close_with(code), "closed with {code}: {reason}");
            tally.add("honest clients", format_args!("sent away with {code}"), 1);
            // Frames that crossed the ending are dropped.
            self.expected.clear();
        }
        if !self.said_goodbye {
            self.pieces.push_back(masked_close(if code == NO_CODE { 1000 } else { code }, ""));
            self.said_goodbye = true;
        }
        self.stage = Stage::Parting;
    }

    fn say_something(&mut self, dice: &mut Dice, weather: Weather) {
        if self.messages == 0 || (weather.calm && dice.once_in(4)) {
            // Otherwise frames on their way arrive before the echo of the Close frame.
            if !self.patient || self.expected.is_empty() {
                self.ending.settle(self.client.is_compressed());
                cut(std::mem::take(&mut self.ending.bytes), dice, self.drips, &mut self.pieces);
                match self.ending.echo.take() {
                    Some(Frame::Pong(payload)) => self.pings.push_back(payload),
                    echo => self.expected.extend(echo),
                }
                self.said_goodbye = self.ending.says_goodbye;
                self.stage = Stage::Ending;
            }
            return;
        }
        self.messages -= 1;
        let mut bytes = Vec::new();
        for _ in 0..=dice.below(4) {
            self.message(dice, &mut bytes);
        }
        if dice.once_in(6) {
            let polls = dice.below(POLLS_MAX);
            bytes.extend(masked(Opcode::Text, format!("/pause-for {polls}").as_bytes()));
        }
        cut(bytes, dice, self.drips, &mut self.pieces);
    }

    /// Writes a message in some fragments, with pings before, between and after them.
    fn message(&mut self, dice: &mut Dice, bytes: &mut Vec<u8>) {
        let length = dice.length(self.longest);
        let is_text = dice.once_in(2);
        let payload: Vec<u8> =
            if is_text { (0..length).map(|_| b'a' + dice.below(26) as u8).collect() } else { dice.bytes(length) };
        let mut opcode = if is_text { Opcode::Text } else { Opcode::Binary };
        // Messages without compression, although it is agreed, are sent between compressed ones.
        let compressed = if dice.once_in(4) { None } else { self.client.compress(&payload) };
        let mut rest = compressed.as_deref().unwrap_or(&payload);
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
            bytes.extend(match opcode {
                Opcode::Text | Opcode::Binary if compressed.is_some() => {
                    compressed_fragment(opcode, rest.is_empty(), now)
                }
                opcode => fragment(opcode, rest.is_empty(), now),
            });
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

    fn notice_the_end(&mut self, weather: Weather, tally: &mut Tally) {
        let peer = &self.client.peer;
        if !peer.was_reset() && !peer.is_at_end() {
            return;
        }
        let agreed = self.stage == Stage::Parting && self.client.is_at_end();
        assert!(!weather.fair || weather.draining || agreed, "the connection ended before everything was said");
        tally.add("honest clients", if agreed { "ended in order" } else { "broken off" }, 1);
        self.stage = Stage::Done;
    }
}

/// Splits bytes into pieces to write.
pub fn cut(bytes: Vec<u8>, dice: &mut Dice, drips: bool, pieces: &mut VecDeque<Vec<u8>>) {
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        let count = match () {
            () if drips => 1,
            () if dice.once_in(3) => rest.len(),
            () => 1 + dice.below(rest.len().min(200)),
        };
        let (piece, later) = rest.split_at(count);
        pieces.push_back(piece.to_vec());
        rest = later;
    }
}
