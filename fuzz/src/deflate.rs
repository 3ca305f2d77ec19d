//! permessage-deflate: any bytes may be inflated, within the limits; what one end compresses the other inflates, and so
//! does miniz_oxide, an implementation of its own, and the other way round; an answer that our server gives our client
//! accepts, and both understand the same by it.

use std::time::UNIX_EPOCH;

use miniz_oxide::deflate::compress_to_vec;
use miniz_oxide::inflate::decompress_to_vec_with_limit;
use ringsock::protocol::deflate::{Agreement, Compress, Compression, Compressors, WindowBits};
use ringsock::protocol::handshake::{self, Extension};
use ringsock::protocol::handshake::{Answer, NAME, Offer, answer};
use ringsock::protocol::http::Date;
use ringsock::protocol::{Batch, BatchBuilder, Connection, Encoding, Message, MessageLimits, Prepared, Role};

use crate::harness::{End, Endpoint, Outcome, Received};
use crate::input::{Input, Split};
use crate::sent::{self, Frame, RSV1};
use crate::wire::{BINARY, CONTINUATION};
use crate::{frame_stream, head, message};

/// Messages of one input at most.
const MESSAGES_MAX: usize = 16;

/// The bytes that every message on the wire leaves out (RFC 7692 7.2.1), and a final block, so that the stream ends.
const TAIL_AND_END: [u8; 9] = [0x00, 0x00, 0xFF, 0xFF, 0x01, 0x00, 0x00, 0xFF, 0xFF];

/// Pieces of valid and invalid offers and answers.
const PHRASES: &[&[u8]] = &[
    b"permessage-deflate",
    b"; server_no_context_takeover",
    b"; client_no_context_takeover",
    b"; server_max_window_bits=",
    b"; client_max_window_bits",
    b"; client_max_window_bits=",
    b"\"10\"",
    b"15",
    b"8",
    b"08",
    b", ",
    b"; unknown=1",
];

pub fn check(data: &[u8]) {
    let mut input = Input::new(data);
    match input.byte() {
        240.. => check_batches(&mut input),
        choice => match choice % 4 {
            0 => check_arbitrary(&mut input),
            1 => check_round_trip(&mut input),
            2 => check_negotiation(&mut input),
            _ => check_foreign(&mut input),
        },
    }
}

/// Reads any bytes as a compressed message, twice: without context takeover the second reads like the first.
fn check_arbitrary(input: &mut Input<'_>) {
    let mut endpoint = Endpoint { close_sent: false, ..sent::endpoint(input) };
    let agreement = sent::agreement(input);
    endpoint.compression = Some(agreement);
    endpoint.limits.inflation_ratio_max = input.choose(&[100, 0, 1, 3]);
    let split = Split::new(input);
    let compressed = input.rest();
    let mut bytes = fragments(compressed, &split.cuts(compressed.len()), endpoint.role);
    let end_of_first = bytes.len();
    bytes.extend_from_within(..);
    let outcome = frame_stream::outcome(&endpoint, &bytes, &split);
    frame_stream::check_events(&endpoint, &outcome);
    if let Some(Received::Binary(first)) = outcome.events.first() {
        // A final block ends miniz_oxide's stream, but not the message (RFC 7692 7.2.3.4).
        let known = if compressed.is_empty() { Some(Vec::new()) } else { inflated_elsewhere(compressed) };
        assert!(known.is_some_and(|known| first.starts_with(&known)), "inflated to something else");
        let takes_over = match endpoint.role {
            Role::Server => agreement.client_context_takeover,
            Role::Client => agreement.server_context_takeover,
        };
        assert!(takes_over || outcome.events == [first, first].map(|first| Received::Binary(first.clone())));
    }
    message::check_budget(&endpoint, &mut bytes[..end_of_first], &split.cuts(end_of_first));
}

fn inflated_elsewhere(compressed: &[u8]) -> Option<Vec<u8>> {
    let whole = [compressed, &TAIL_AND_END].concat();
    decompress_to_vec_with_limit(&whole, usize::MAX).ok()
}

/// Returns a compressed message of these bytes, split into frames.
fn fragments(compressed: &[u8], cuts: &[usize], to: Role) -> Vec<u8> {
    let (mut bytes, mut start) = (Vec::new(), 0);
    for end in cuts.iter().copied().chain([compressed.len()]) {
        let opcode = if start == 0 { BINARY | RSV1 } else { CONTINUATION };
        let frame = Frame { fin: end == compressed.len(), opcode, payload: compressed[start..end].to_vec() };
        frame.write(&mut bytes, to);
        start = end;
    }
    bytes
}

/// Returns limits of a MiB for a message, however well it is compressed.
fn limits() -> MessageLimits {
    let mut limits = MessageLimits::default();
    limits.message_bytes_max = 1 << 20;
    limits.inflation_ratio_max = 0;
    limits
}

fn compression(input: &mut Input<'_>) -> Compression {
    let mut compression = Compression::default();
    compression.context_takeover = input.flag();
    compression.level = input.byte();
    compression.server_window_bits = sent::window_bits(input);
    compression.client_window_bits = sent::window_bits(input);
    compression
}

/// Makes a client and a server with any settings agree; the messages of one of them arrive.
fn check_round_trip(input: &mut Input<'_>) {
    let (client, server) = (compression(input), compression(input));
    let agreement = agree(&client, &server);
    let (from, to, own) = match input.flag() {
        true => (Role::Server, Role::Client, &server),
        false => (Role::Client, Role::Server, &client),
    };
    let limits = limits();
    let receiver = Endpoint { role: to, limits, close_sent: false, compression: Some(agreement) };
    let split = Split::new(input);
    let mut sender = Connection::compressed(from, agreement);
    let mut compressors = Compressors::new(own);
    let (mut bytes, mut expected) = (Vec::new(), Vec::new());
    while !input.is_empty() && expected.len() < MESSAGES_MAX {
        let payload = payload(input, expected.last());
        send(&mut bytes, input, &payload, &mut sender, &mut compressors, to);
        expected.push(Received::Binary(payload));
    }
    let outcome = frame_stream::outcome(&receiver, &bytes, &split);
    assert_eq!(outcome, Outcome { events: expected, end: End::Idle });
    message::check_budget(&receiver, &mut bytes.clone(), &split.cuts(bytes.len()));
}

fn agree(client: &Compression, server: &Compression) -> Agreement {
    let offer = Offer::new(client);
    let header = offer.header();
    let Answer { agreement, header } =
        answer(handshake::extensions(header.as_bytes()), server).expect("our client's offer is accepted");
    assert_eq!(offer.check(&only(&header)), Ok(agreement), "both ends understand something else");
    agreement
}

fn only(header: &str) -> Extension<'_> {
    let mut extensions = handshake::extensions(header.as_bytes());
    let extension = extensions.next().expect("an answer names the extension");
    assert!(extension.name() == NAME && extensions.next().is_none());
    extension
}

/// Returns new text, text similar to the last, or noise, which does not compress.
fn payload(input: &mut Input<'_>, before: Option<&Received>) -> Vec<u8> {
    let shape = input.byte();
    match (shape % 8, before) {
        (0 | 1, Some(Received::Binary(before))) => [&before[..before.len().min(4096)], input.short()].concat(),
        (2, _) => {
            let mut random = crate::harness::Random(u64::from(input.byte()));
            (0..input.number()).map(|_| random.number() as u8).collect()
        }
        _ => sent::payload(input, shape >> 6),
    }
}

/// Sends one message as the engine does: compressed if that saves bytes, sometimes in fragments, sometimes prepared.
fn send(
    bytes: &mut Vec<u8>,
    input: &mut Input<'_>,
    payload: &[u8],
    sender: &mut Connection,
    compressors: &mut Compressors,
    to: Role,
) {
    let way = input.byte();
    if way % 4 == 3 && to == Role::Client {
        let prepared = Prepared::new(Message::Binary(payload));
        bytes.extend(sender.frame_of(&prepared, Some(compressors)));
        return;
    }
    let may = sender.compresses_with().is_some();
    match sender.compress(payload, compressors) {
        None => Frame { fin: true, opcode: BINARY, payload: payload.to_vec() }.write(bytes, to),
        Some(compressed) => {
            assert!(may, "a window of 256 bytes cannot be kept to");
            assert!(compressed.len() < payload.len(), "compressing gained nothing");
            let cut = usize::from(way) * 4;
            let cuts = if way % 4 == 2 && cut > 0 && cut < compressed.len() { vec![cut] } else { Vec::new() };
            bytes.extend(fragments(compressed, &cuts, to));
        }
    }
}

/// Encodes batches of messages for clients with any window and joins them: each client reads the original messages,
/// from any one on.
fn check_batches(input: &mut Input<'_>) {
    let own = compression(input);
    let windows = [None, Some(sent::window_bits(input)), Some(sent::window_bits(input))];
    let agreement = sent::agreement(input);
    // All of them are sent, or those from one on.
    let first = usize::from(input.byte());
    let split = Split::new(input);
    let (mut builders, mut expected) = (vec![BatchBuilder::default()], Vec::new());
    while !input.is_empty() && expected.len() < MESSAGES_MAX {
        if input.flag() {
            builders.push(BatchBuilder::default());
        }
        let compress = input.choose(&[Compress::Always, Compress::IfLarge, Compress::Never]);
        let payload = payload(input, expected.last());
        if let Some(builder) = builders.last_mut() {
            builder.push(Message::Binary(&payload), compress);
        }
        expected.push(Received::Binary(payload));
    }
    let batches: Vec<Batch> = builders.into_iter().map(BatchBuilder::finish).collect();
    let mut compressors = Compressors::new(&own);
    let first = first % (expected.len() + 1);
    for window in windows {
        let compression = window.map(|server_window_bits| Agreement { server_window_bits, ..agreement });
        let client = Endpoint { role: Role::Client, limits: limits(), close_sent: false, compression };
        let parts: Vec<Encoding> =
            batches.iter().map(|batch| batch.encoding(window, Some(&mut compressors)).clone()).collect();
        let joined = Encoding::concat(parts.iter());
        assert_eq!(joined.messages(), expected.len());
        let plain: usize = batches.iter().map(Batch::bytes).sum();
        assert!(joined.frames().len() <= plain, "compressing made it longer");
        let outcome = frame_stream::outcome(&client, &joined.slice(first..expected.len()), &split);
        assert_eq!(outcome, Outcome { events: expected[first..].to_vec(), end: End::Idle }, "window: {window:?}");
    }
}

/// Checks offers and answers of any bytes: no answer exceeds the offer or the settings.
fn check_negotiation(input: &mut Input<'_>) {
    let own = compression(input);
    let header = head::head(input, PHRASES);
    if let Some(answer) = answer(handshake::extensions(&header), &own) {
        let Agreement { server_context_takeover, client_context_takeover, .. } = answer.agreement;
        assert!(own.context_takeover || !server_context_takeover && !client_context_takeover);
        assert!(answer.agreement.server_window_bits <= own.server_window_bits);
        let window_is_named = only(&answer.header).params().any(|(name, _)| name == "client_max_window_bits");
        let client_window_max = if window_is_named { own.client_window_bits } else { WindowBits::MAX };
        assert!(answer.agreement.client_window_bits <= client_window_max);
        let accept = handshake::accept_key(b"dGhlIHNhbXBsZSBub25jZQ==");
        let date = Date::from(UNIX_EPOCH);
        handshake::write_switching_protocols(&mut Vec::new(), &date, &accept, None, Some(&answer.header), &[])
            .expect("an answer can be sent");
    }
    for extension in handshake::extensions(&header) {
        if let Ok(agreement) = Offer::new(&own).check(&extension) {
            assert!(own.context_takeover || !agreement.has_context_takeover());
            assert!(agreement.server_window_bits <= own.server_window_bits);
            assert!(agreement.client_window_bits <= own.client_window_bits);
        }
    }
}

/// Inflates the output of another implementation at each of its levels, and has it inflate ours.
fn check_foreign(input: &mut Input<'_>) {
    let agreement = sent::agreement(input);
    let endpoint = Endpoint { compression: Some(agreement), ..Endpoint::server() };
    let endpoint = Endpoint { limits: limits(), ..endpoint };
    let split = Split::new(input);
    let level = input.byte() % 11;
    let payload = payload(input, None);
    // The stream ends with a final block; RFC 7692 7.2.3.4 has one byte follow, which begins the block of the tail.
    let mut compressed = compress_to_vec(&payload, level);
    if input.flag() {
        compressed.push(0);
    }
    let bytes = fragments(&compressed, &split.cuts(compressed.len()), Role::Server);
    let outcome = frame_stream::outcome(&endpoint, &bytes, &split);
    let expected = Outcome { events: vec![Received::Binary(payload.clone())], end: End::Idle };
    assert_eq!(outcome, expected, "{} bytes compressed at level {level}", compressed.len());

    let mut sender = Connection::compressed(Role::Client, agreement);
    let mut compression = Compression::default();
    compression.level = level;
    let mut compressors = Compressors::new(&compression);
    if let Some(compressed) = sender.compress(&payload, &mut compressors) {
        assert_eq!(inflated_elsewhere(compressed), Some(payload));
    }
}
