//! A client that keeps no rule, and has the handler misbehave.

use crate::engine::tests::client::{Client, fragment, get, masked, masked_close, upgrade_request};
use crate::engine::tests::dice::Dice;
use crate::protocol::Opcode;

pub struct Hostile {
    client: Client,
    finished: bool,
}

const TARGETS: [&str; 12] = [
    "/",
    "/",
    "/",
    "/panic-in-open",
    "/reject",
    "/panic",
    "/bad-header",
    "/later",
    "/later-twice",
    "/later-reject",
    "/later-panic",
    "/later-bomb",
];

const COMMANDS: [&str; 20] = [
    "/panic",
    "/panic-in ping",
    "/panic-in pong",
    "/panic-in drain",
    "/panic-in close",
    "/bomb",
    "/say-and-panic",
    "/pause",
    "/ping there",
    "/close 4000 why-not",
    "/close-and-send",
    "/flood 300 2000",
    "/flood 30 9000",
    "/flood 3 60000",
    "/task-send",
    "/task-close",
    "/task-panic",
    "/task-panic-later",
    "/task-send-later",
    "not a command",
];

impl Hostile {
    /// Most of them open a WebSocket, and go on from there.
    pub fn new(client: Client, dice: &mut Dice) -> Self {
        if !dice.once_in(4) {
            client.write(&upgrade_request(dice.choose(&TARGETS), &[]).0);
        }
        Self { client, finished: false }
    }

    pub fn act(&mut self, dice: &mut Dice) {
        if self.finished {
            return;
        }
        let _ = self.client.bytes();
        let peer = &self.client.peer;
        match dice.below(40) {
            0 => peer.reset(),
            1 => {
                peer.finish();
                self.finished = true;
            }
            2 | 3 => peer.stop_reading(),
            4..=6 => peer.resume_reading(),
            7 => self.write_in_part(&[masked_close(1000, "bye"), masked(Opcode::Text, b"after it")].concat(), dice),
            8 => {
                let count = 1 + dice.below(100);
                let garbage = dice.bytes(count);
                peer.write(&garbage);
            }
            9 => {
                let request = get(dice.choose(&["/", "/large", "/panic"]), dice.choose(&["", "Connection: close\r\n"]));
                self.write_in_part(&request.repeat(1 + dice.below(10)), dice);
            }
            10 => peer.write(b"\r\n"),
            11 => self.write_in_part(&upgrade_request(dice.choose(&TARGETS), &[]).0, dice),
            12 => {
                let opcode = dice.choose(&[Opcode::Text, Opcode::Binary, Opcode::Continuation]);
                self.write_in_part(&fragment(opcode, dice.once_in(3), b"\xE2\x82"), dice);
            }
            13 => (0..dice.below(2_000)).for_each(|_| self.client.ping(b"pay")),
            14 => self.client.send_binary(&vec![7; dice.below(66_000)]),
            15..=24 => self.client.send(dice.choose(&COMMANDS)),
            25 => {
                let frames: Vec<u8> = (0..dice.below(200)).flat_map(|_| masked(Opcode::Text, b"many")).collect();
                self.client.write(&frames);
            }
            _ => {}
        }
    }

    /// Most of the time all of it.
    fn write_in_part(&self, bytes: &[u8], dice: &mut Dice) {
        let count = if dice.once_in(3) { dice.below(bytes.len() + 1) } else { bytes.len() };
        self.client.write(&bytes[..count]);
    }
}
