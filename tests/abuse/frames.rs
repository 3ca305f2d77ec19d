//! Rows 7, 8, 9 and 12: frames that violate RFC 6455, or only its intention.

use std::net::SocketAddr;
use std::time::Duration;

use crate::attacker::{Next, Peer};
use crate::server::Server;
use crate::wire::{BINARY, CLOSE, CONTINUATION, FIN, KEY, PING, PONG, TEXT, close_payload, header, masked, plain};
use crate::{Random, figure, in_time, on_each_reactor, scaled};

/// Sessions in one batch.
const AT_ONCE: usize = 256;

/// The code that stands for a Close frame without one.
const NO_CODE: u16 = 1005;

#[test]
fn row_7_every_unmasked_frame_ends_with_1002() {
    on_each_reactor(|reactor| {
        let server = Server::start(reactor, &[]);
        let mut frames = 0;
        for opcode in [CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG] {
            for payload in [&b""[..], b"\x03\xE8", b"words of some length"] {
                let mut peer = Peer::open(server.address);
                peer.write(&plain(FIN | opcode, payload));
                assert_eq!(peer.read_close(), Ok(Some(1002)), "opcode {opcode}, {payload:?}");
                assert_eq!(peer.read_to_end(), Next::End);
                frames += 1;
            }
        }
        figure(7, format!("{frames} unmasked frames, {frames} closed with 1002"), "all");
    });
}

#[test]
fn row_8_a_huge_length_is_refused_before_anything_is_set_aside_for_it() {
    on_each_reactor(|reactor| {
        let server = Server::start(reactor, &[]);
        let mut random = Random(8);
        let mut lengths = vec![1 << 31, u64::from(u32::MAX), 1 << 32, i64::MAX as u64, 1 << 63, u64::MAX];
        let count = scaled(10_000).max(lengths.len());
        lengths.resize_with(count, || (random.number() >> random.below(33)).max(1 << 31));
        // The memory of sessions is allocated already: each core has had and refused more of them than it will.
        let small = [64 * 1024 + 1; 4 * AT_ONCE];
        (0..2).for_each(|_| assert_eq!(claim(&server, &small), 0));
        let before = server.memory();
        let wrong: usize = lengths.chunks(AT_ONCE).map(|lengths| claim(&server, lengths)).sum();
        let grown = server.memory().saturating_sub(before);
        figure(
            8,
            format!("{count} claims of 2^31 to 2^64 − 1: {wrong} wrong codes, memory + {} KiB", grown >> 10),
            "0, 1024 KiB",
        );
        assert_eq!(wrong, 0);
        assert!(grown <= 1 << 20);
    });
}

/// Claims each length in a session of its own. Returns the number of wrong verdicts.
fn claim(server: &Server, lengths: &[u64]) -> usize {
    let mut peers = Peer::open_many(server.address, lengths.len());
    for (length, peer) in lengths.iter().zip(&mut peers) {
        peer.write(&header(FIN | BINARY, Some(KEY), *length));
    }
    let verdicts = lengths.iter().zip(&mut peers).map(|(length, peer)| {
        let expected = if *length > i64::MAX as u64 { 1002 } else { 1009 };
        peer.read_close() == Ok(Some(expected))
    });
    verdicts.filter(|right| !right).count()
}

#[test]
fn row_9_all_first_two_bytes_of_a_frame_get_the_verdict_of_rfc_6455() {
    on_each_reactor(|reactor| {
        let server = Server::start(reactor, &[]);
        // The step is odd, so that a scaled run covers every value of either byte.
        let step = (65_536 / scaled(65_536)) | 1;
        let starts: Vec<[u8; 2]> = (0..=u16::MAX).step_by(step).map(u16::to_be_bytes).collect();
        let wrong: usize = starts.chunks(AT_ONCE).map(|starts| begin(server.address, starts)).sum();
        figure(9, format!("{} first two bytes: {wrong} wrong verdicts", starts.len()), 0);
        assert_eq!(wrong, 0);
    });
}

/// Returns the verdict of RFC 6455 on a frame with these first bytes on a new session, whatever follows.
fn refusal(first: u8, second: u8) -> Option<u16> {
    let (fin, reserved, opcode) = (first & FIN != 0, first & 0x70 != 0, first & 0x0F);
    let (is_masked, length) = (second & 0x80 != 0, second & 0x7F);
    let is_control = opcode >= CLOSE;
    let is_defined = matches!(opcode, CONTINUATION..=BINARY | CLOSE..=PONG);
    let broken = reserved || !is_defined || !is_masked || opcode == CONTINUATION;
    let bad_control = is_control && (!fin || length > 125 || (opcode == CLOSE && length == 1));
    (broken || bad_control).then_some(1002)
}

/// Begins a session with a frame for each start. Returns the number of wrong verdicts.
fn begin(address: SocketAddr, starts: &[[u8; 2]]) -> usize {
    let mut peers = Peer::open_many(address, starts.len());
    for ([first, second], peer) in starts.iter().zip(&mut peers) {
        match refusal(*first, *second) {
            // A header is enough; a close's single byte is its payload.
            Some(_) => {
                let mut bytes = vec![*first, *second];
                bytes.extend([0; 13]);
                peer.write(&bytes);
            }
            None => {
                peer.write(&masked(*first, &payload(*first, *second)));
                if first & FIN == 0 {
                    peer.write(&masked(FIN | CONTINUATION, b""));
                }
            }
        }
    }
    let verdicts = starts.iter().zip(&mut peers).map(|([first, second], peer)| {
        let payload = payload(*first, *second);
        let expected = match (refusal(*first, *second), first & 0x0F) {
            (Some(code), _) => return peer.read_close() == Ok(Some(code)),
            (None, CLOSE) => return peer.next() == Next::Frame(FIN | CLOSE, payload),
            // A pong gets no answer.
            (None, PONG) => {
                peer.write(&masked(FIN | PING, b"?"));
                Next::Frame(FIN | PONG, b"?".to_vec())
            }
            (None, PING) => Next::Frame(FIN | PONG, payload),
            (None, opcode) => Next::Frame(FIN | opcode, payload),
        };
        peer.next() == expected
    });
    verdicts.filter(|right| !right).count()
}

/// Returns a payload of the length that the second byte announces, in its shortest form; a close's begins with 1000.
fn payload(first: u8, second: u8) -> Vec<u8> {
    let length = match second & 0x7F {
        126 => 126,
        127 => 65_536,
        length => usize::from(length),
    };
    let mut bytes = vec![b'a'; length];
    if first & 0x0F == CLOSE {
        bytes.iter_mut().zip(close_payload(1000, "")).for_each(|(byte, code)| *byte = code);
    }
    bytes
}

#[test]
fn row_9_of_all_close_codes_those_of_rfc_6455_7_4_are_echoed_and_the_others_refused() {
    on_each_reactor(|reactor| {
        let server = Server::start(reactor, &[]);
        let step = (65_536 / scaled(65_536)) | 1;
        // All defined codes and their neighbours, and the others scaled.
        let codes: Vec<u16> =
            (990..=1020).chain([2999, 3000, 4999, 5000]).chain((0..=u16::MAX).step_by(step)).collect();
        let mut wrong = 0;
        for codes in codes.chunks(AT_ONCE) {
            let mut peers = Peer::open_many(server.address, codes.len());
            codes.iter().zip(&mut peers).for_each(|(code, peer)| peer.close(*code));
            for (code, peer) in codes.iter().zip(&mut peers) {
                let allowed = matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
                let expected = if allowed { *code } else { 1002 };
                wrong += usize::from(peer.read_close() != Ok(Some(expected)));
            }
        }
        figure(9, format!("{} close codes: {wrong} wrong verdicts", codes.len()), 0);
        let reasons = [(&b"\x03\xE8\xFF"[..], 1007), (b"\x03\xE8\xC3\xA4", 1000), (b"\x03", 1002), (b"", NO_CODE)];
        for (payload, expected) in reasons {
            let mut peer = Peer::open(server.address);
            peer.write(&masked(FIN | CLOSE, payload));
            assert_eq!(peer.read_close().map(|code| code.unwrap_or(NO_CODE)), Ok(expected), "{payload:?}");
        }
        assert_eq!(wrong, 0);
    });
}

#[test]
fn row_12_empty_continuations_end_with_1008_and_cost_little() {
    const FRAMES: usize = 1_000_000;
    let mut flood = masked(TEXT, b"");
    flood.extend(masked(CONTINUATION, b"").repeat(FRAMES));
    on_each_reactor(|reactor| {
        let server = Server::start(reactor, &[]);
        let mut patient = Peer::open(server.address);
        patient.write(&flood[..64 * 6]);
        patient.write(&masked(FIN | CONTINUATION, b"the end"));
        assert_eq!(patient.next(), Next::Frame(FIN | TEXT, b"the end".to_vec()), "64 empty fragments are allowed");
        let before = server.cpu();
        let mut peer = Peer::open(server.address);
        peer.write(&flood);
        assert_eq!(peer.read_close(), Ok(Some(1008)));
        let spent = server.cpu() - before;
        figure(12, format!("{FRAMES} empty continuations: 1008, {spent:.1?} of CPU"), "200 ms");
        in_time(spent <= Duration::from_millis(200));
    });
}
