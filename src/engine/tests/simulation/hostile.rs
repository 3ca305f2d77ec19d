//! A client that keeps no rule, and makes the handler misbehave.
//!
//! It knows its own actions. So it checks that frames are well formed, that a Close frame comes once and with a code
//! that one of its actions explains, and that it receives no message for another client.

use std::collections::BTreeSet;

use super::Weather;
use super::endings::{self, Ending, NO_CODE};
use super::tally::Tally;
use crate::engine::tests::client::{
    Client, Frame, fragment, get, masked, masked_close, post, post_chunks, upgrade_request,
};
use crate::engine::tests::dice::Dice;
use crate::protocol::Opcode;

pub struct Hostile {
    client: Client,
    stage: Stage,
    /// Steps in which it waits for the answer to its first request, so that it harms more than that.
    patience: usize,
    /// It writes no more.
    finished: bool,
    /// The codes that its actions may be answered with; `None` once it has sent something that may mean anything.
    codes: Option<BTreeSet<u16>>,
    /// It asked a task to send something.
    awaits_task: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Asking,
    Open,
    /// The server has sent a Close frame.
    Closed,
}

/// The longest wait: most answers arrive sooner.
const PATIENCE_STEPS_MAX: usize = 40;

const TARGETS: [&str; 13] = [
    "/",
    "/",
    "/",
    "/panic-in-open",
    "/reject",
    "/panic",
    "/panic-in-default",
    "/bad-header",
    "/later",
    "/later-twice",
    "/later-reject",
    "/later-panic",
    "/later-bomb",
];

/// The commands that it sends to the handler, and the codes that each may end with.
const COMMANDS: [(&str, &[u16]); 31] = [
    ("/panic", &[1011]),
    ("/panic-in ping", &[1011]),
    ("/panic-in pong", &[1011]),
    ("/panic-in drain", &[1011]),
    ("/panic-in close", &[1011]),
    ("/bomb", &[]),
    ("/say-and-panic", &[1011]),
    ("/pause", &[]),
    ("/pause-for 20", &[]),
    ("/ping there", &[]),
    ("/close 4000 why-not", &[4000]),
    ("/close-and-send", &[1000]),
    ("/flood 300 2000", &[]),
    ("/flood 30 9000", &[]),
    ("/flood 3 60000", &[]),
    ("/task-send", &[]),
    ("/task-close", &[1001]),
    ("/task-panic", &[1011]),
    ("/task-panic-later", &[1011]),
    ("/task-send-later", &[]),
    ("/task-run", &[]),
    ("/task-run-later", &[]),
    ("/task-run-panic", &[1011]),
    ("/wake 100", &[]),
    ("/wake-and-panic 100", &[1011]),
    ("/mail 0 note", &[]),
    ("/mail-panic 1", &[]),
    ("/visit 0", &[]),
    ("/visit 1", &[]),
    ("/bother 1", &[1011]),
    ("not a command", &[]),
];

impl Hostile {
    /// Returns a hostile client. Most of them open a WebSocket first.
    pub fn new(client: Client, dice: &mut Dice) -> Self {
        let mut hostile = Self {
            client,
            stage: Stage::Asking,
            patience: 0,
            finished: false,
            codes: Some(BTreeSet::new()),
            awaits_task: false,
        };
        if !dice.once_in(4) {
            hostile.ask(dice);
            hostile.patience = dice.below(PATIENCE_STEPS_MAX);
        }
        hostile
    }

    pub fn act(&mut self, dice: &mut Dice, weather: Weather, tally: &mut Tally) {
        self.hear(weather, tally);
        if self.stage == Stage::Asking && self.patience > 0 {
            self.patience -= 1;
            return;
        }
        if self.finished {
            return;
        }
        let peer = &self.client.peer;
        match dice.below(60) {
            0 => {
                peer.reset();
                tally.add("deeds", "reset", 1);
            }
            1 => {
                peer.finish();
                self.finished = true;
                tally.add("deeds", "half-close", 1);
            }
            2 | 3 => {
                peer.stop_reading();
                tally.add("deeds", "stopped reading", 1);
            }
            4..=6 => peer.resume_reading(),
            7 => {
                let bytes = [masked_close(1000, "bye"), masked(Opcode::Text, b"after it")].concat();
                self.write_in_part("message after close", &bytes, &[1000], dice, tally);
            }
            8 => {
                let count = 1 + dice.below(100);
                let garbage = dice.bytes(count);
                self.codes = None;
                self.write("garbage", &garbage, &[], tally);
            }
            9 => {
                let request = get(
                    dice.choose(&[
                        "/",
                        "/large",
                        "/panic",
                        "/answer-later",
                        "/answer-later-panic",
                        "/stream-panic",
                        "/stream-silently",
                        "/stream-later",
                        "/stream/9/20000",
                    ]),
                    dice.choose(&["", "Connection: close\r\n"]),
                );
                let body = vec![b'a'; dice.below(70_000)];
                let requests = match dice.below(4) {
                    0 => post("/", "", &body),
                    1 => post_chunks("/", "Expect: 100-continue\r\n", body.chunks(1 + dice.below(9_000))),
                    _ => request.repeat(1 + dice.below(10)),
                };
                self.write_in_part("requests", &requests, &[1002], dice, tally);
            }
            10 => self.write("empty line", b"\r\n", &[1002], tally),
            11 => self.ask_again(dice, tally),
            12 => {
                let opcode = dice.choose(&[Opcode::Text, Opcode::Binary, Opcode::Continuation]);
                let bytes = fragment(opcode, dice.once_in(3), b"\xE2\x82");
                self.write_in_part("fragment", &bytes, &[1002, 1007], dice, tally);
            }
            13 => {
                let pings = masked(Opcode::Ping, b"pay").repeat(dice.below(2_000));
                self.write("flood of pings", &pings, &[], tally);
            }
            14 => {
                let message = masked(Opcode::Binary, &vec![7; dice.below(66_000)]);
                self.write("large message", &message, &[1009, 1002], tally);
            }
            15..=24 => {
                let (command, codes) = dice.choose(&COMMANDS);
                self.awaits_task |=
                    ["/task-send", "/task-run", "/visit"].iter().any(|start| command.starts_with(start));
                self.write("command", &masked(Opcode::Text, command.as_bytes()), codes, tally);
            }
            25 => {
                let frames = masked(Opcode::Text, b"many").repeat(dice.below(200));
                self.write("many messages", &frames, &[], tally);
            }
            26..=28 => {
                let ending = Ending::number(dice.below(endings::COUNT));
                self.write_in_part("ending", &ending.bytes, &[ending.code, 1002], dice, tally);
            }
            _ => {}
        }
    }

    fn hear(&mut self, weather: Weather, tally: &mut Tally) {
        while self.stage == Stage::Asking {
            let Some(answer) = self.client.answer() else { return };
            if answer.status == 101 {
                self.stage = Stage::Open;
            }
            tally.add("hostile clients", format_args!("answered {}", answer.status), 1);
        }
        for frame in self.client.frames() {
            assert!(self.stage != Stage::Closed, "something came after the server's Close frame");
            match frame {
                Frame::Close(code, reason) => self.hear_goodbye(code, &reason, weather, tally),
                Frame::CloseEmpty => self.hear_goodbye(NO_CODE, "", weather, tally),
                Frame::Text(text) if text == "from a task" || text == "from a late task" => {
                    assert!(self.awaits_task, "{text}: meant for another");
                }
                _ => {}
            }
        }
    }

    fn hear_goodbye(&mut self, code: u16, reason: &str, weather: Weather, tally: &mut Tally) {
        self.stage = Stage::Closed;
        // A message that it left incomplete, in any weather: the client is not in a hurry.
        let explained = code == 1008 || self.codes.as_ref().is_none_or(|codes| codes.contains(&code));
        assert!(explained || weather.may_close_with(code), "nothing explains {code}: {reason}");
        tally.add("hostile clients", format_args!("closed with {code}"), 1);
    }

    fn ask(&mut self, dice: &mut Dice) {
        let target = dice.choose(&TARGETS);
        if target == "/panic-in-open" {
            self.explain(&[1011]);
        }
        self.client.write(&upgrade_request(target, &[]).0);
    }

    /// Asks again. On an open connection, a request is a frame with reserved bits.
    fn ask_again(&mut self, dice: &mut Dice, tally: &mut Tally) {
        let target = dice.choose(&TARGETS);
        let request = upgrade_request(target, &[]).0;
        self.write_in_part("upgrade", &request, &[1002, 1011], dice, tally);
    }

    fn explain(&mut self, codes: &[u16]) {
        if let Some(explained) = &mut self.codes {
            explained.extend(codes);
        }
    }

    fn write(&mut self, deed: &'static str, bytes: &[u8], codes: &[u16], tally: &mut Tally) {
        self.explain(codes);
        self.client.write(bytes);
        tally.add("deeds", deed, 1);
    }

    /// Writes a frame, mostly the whole of it. Bytes after half a frame can mean anything.
    fn write_in_part(&mut self, deed: &'static str, bytes: &[u8], codes: &[u16], dice: &mut Dice, tally: &mut Tally) {
        let count = if dice.once_in(3) { dice.below(bytes.len() + 1) } else { bytes.len() };
        if count < bytes.len() {
            self.codes = None;
        }
        self.write(deed, &bytes[..count], codes, tally);
    }
}
