//! Tests against tungstenite: each side reads the frames of the other.

use std::io::{self, Cursor, Read, Write};

use ringsock::protocol::{Opcode, write_close, write_frame};
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::frame::{CloseFrame, Frame};
use tokio_tungstenite::tungstenite::protocol::{Message, Role as Theirs, WebSocket};

use crate::harness::*;
use crate::wire::KEY;

/// A transport that reads from one buffer and writes into another.
#[derive(Debug, Default)]
struct Wire {
    input: Cursor<Vec<u8>>,
    output: Vec<u8>,
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.input.read(buffer)
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.output.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Returns a message or a control frame, with any form of length.
fn random_message(random: &mut Random) -> Received {
    let length = [0, 1, 125, 126, 127, 300, 5000, 65_535, 65_536][random.below(9)];
    let bytes: Vec<u8> = (0..length).map(|_| random.number() as u8).collect();
    let short = &bytes[..bytes.len().min(125)];
    match random.below(5) {
        0 => ping(short),
        1 => pong(short),
        2 => binary(&bytes),
        _ => text(&bytes.iter().map(|byte| char::from(byte % 128)).collect::<String>()),
    }
}

fn as_theirs(message: Received) -> Message {
    match message {
        Received::Text(text) => Message::text(text),
        Received::Binary(bytes) => Message::binary(bytes),
        Received::Ping(payload) => Message::Ping(payload.into()),
        Received::Pong(payload) => Message::Pong(payload.into()),
        Received::Close(close) => {
            Message::Close(close.map(|(code, reason)| CloseFrame { code: code.into(), reason: reason.into() }))
        }
    }
}

fn as_ours(message: Message) -> Received {
    match message {
        Message::Text(as_text) => text(as_text.as_str()),
        Message::Binary(bytes) => binary(&bytes),
        Message::Ping(payload) => ping(&payload),
        Message::Pong(payload) => pong(&payload),
        Message::Close(frame) => Received::Close(frame.map(|frame| (frame.code.into(), frame.reason.to_string()))),
        Message::Frame(frame) => unreachable!("{frame} is never read"),
    }
}

#[test]
fn we_read_what_tungstenite_writes() {
    let mut random = Random(4);
    for (theirs, ours) in [(Theirs::Client, Endpoint::server()), (Theirs::Server, Endpoint::client())] {
        for _ in 0..50 {
            let mut messages: Vec<_> = (0..3).map(|_| random_message(&mut random)).collect();
            messages.push(close(3000, "enough"));
            let mut socket = WebSocket::from_raw_socket(Wire::default(), theirs, None);
            for message in &messages {
                socket.send(as_theirs(message.clone())).unwrap();
            }
            assert_eq!(ours.receive(&socket.get_ref().output), closed(messages));
        }
    }
}

#[test]
fn we_read_tungstenites_fragments() {
    let mut random = Random(5);
    for _ in 0..200 {
        let payload: Vec<u8> = (0..random.below(600)).map(|_| random.number() as u8).collect();
        let cuts = random.cuts(payload.len(), 5);
        let mut socket = WebSocket::from_raw_socket(Wire::default(), Theirs::Client, None);
        let mut start = 0;
        for (index, cut) in cuts.iter().copied().chain([payload.len()]).enumerate() {
            let opcode = if index == 0 { Data::Binary } else { Data::Continue };
            let fin = index == cuts.len();
            let piece = payload[start..cut].to_vec();
            let frame = Frame::message(piece, OpCode::Data(opcode), fin);
            socket.send(Message::Frame(frame)).unwrap();
            start = cut;
        }
        assert_eq!(receive(&socket.get_ref().output), idle([binary(&payload)]));
    }
}

#[test]
fn tungstenite_reads_what_we_write() {
    let mut random = Random(6);
    for (theirs, mask) in [(Theirs::Server, Some(KEY)), (Theirs::Client, None)] {
        for _ in 0..50 {
            let messages: Vec<_> = (0..3).map(|_| random_message(&mut random)).collect();
            let mut out = Vec::new();
            for message in &messages {
                let (opcode, payload) = match message {
                    Received::Text(text) => (Opcode::Text, text.as_bytes()),
                    Received::Ping(payload) => (Opcode::Ping, &payload[..]),
                    Received::Pong(payload) => (Opcode::Pong, &payload[..]),
                    Received::Binary(bytes) => (Opcode::Binary, &bytes[..]),
                    Received::Close(_) => unreachable!(),
                };
                write_frame(&mut out, opcode, payload, mask);
            }
            write_close(&mut out, None, mask);
            let wire = Wire { input: Cursor::new(out), output: Vec::new() };
            let mut socket = WebSocket::from_raw_socket(wire, theirs, None);
            for message in messages {
                assert_eq!(as_ours(socket.read().unwrap()), message);
            }
            assert_eq!(as_ours(socket.read().unwrap()), Received::Close(None));
        }
    }
}
