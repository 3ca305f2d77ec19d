//! Reassembly under small limits: the outcome is that of a model which has all frames at once, and no message or buffer
//! exceeds the limit.

use ringsock::protocol::{AssemblyPool, Connection, Event, Incoming, MessageLimits, Violation};

use crate::allocator::Growth;
use crate::frame_stream;
use crate::harness::{End, Endpoint, Outcome, Received};
use crate::input::{Input, Split};
use crate::sent::{self, Frame};
use crate::wire::{BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT};

/// Frames of one input at most.
const FRAMES_MAX: usize = 256;

/// The cost of an incomplete message beyond its bytes: the assembly itself and the smallest buffer.
const SMALL: isize = 8 * 1024;

/// A decompressor, of a connection or of a core.
const STREAMS: isize = 64 * 1024;

pub fn check(data: &[u8]) {
    let mut input = Input::new(data);
    let endpoint = Endpoint { close_sent: false, compression: None, ..sent::endpoint(&mut input) };
    let split = Split::new(&mut input);
    let (mut frames, mut in_message) = (Vec::new(), false);
    while !input.is_empty() && frames.len() < FRAMES_MAX {
        frames.push(Frame::next(&mut input, &mut in_message));
    }
    let mut bytes = Vec::new();
    frames.iter().for_each(|frame| frame.write(&mut bytes, endpoint.role));
    let outcome = frame_stream::outcome(&endpoint, &bytes, &split);
    assert_eq!(outcome, model(&frames, &endpoint.limits));
    let cuts = split.cuts(bytes.len());
    check_budget(&endpoint, &mut bytes, &cuts);
}

/// The model: RFC 6455 5.4 to 5.6, frame by frame, as plainly as possible.
fn model(frames: &[Frame], limits: &MessageLimits) -> Outcome {
    let mut events = Vec::new();
    let mut message = None;
    let mut empty_fragments = 0;
    for frame in frames {
        match step(frame, &mut message, &mut empty_fragments, limits) {
            Ok(None) => {}
            Ok(Some(event)) => {
                events.push(event);
                if frame.opcode == CLOSE {
                    return Outcome { events, end: End::Closed };
                }
            }
            Err(violation) => return Outcome { events, end: End::Violated(violation) },
        }
    }
    Outcome { events, end: if message.is_some() { End::Waiting } else { End::Idle } }
}

fn step(
    frame: &Frame,
    message: &mut Option<(u8, Vec<u8>)>,
    empty_fragments: &mut u32,
    limits: &MessageLimits,
) -> Result<Option<Received>, Violation> {
    match frame.opcode {
        PING => return Ok(Some(Received::Ping(frame.payload.clone()))),
        PONG => return Ok(Some(Received::Pong(frame.payload.clone()))),
        CLOSE => return close(&frame.payload).map(Some),
        CONTINUATION if message.is_none() => return Err(Violation::UnexpectedContinuation),
        TEXT | BINARY if message.is_some() => return Err(Violation::InterleavedMessage),
        _ => {}
    }
    let (opcode, payload) = message.get_or_insert_with(|| (frame.opcode, Vec::new()));
    let (bytes, max) = ((payload.len() + frame.payload.len()) as u64, limits.message_bytes_max);
    if bytes > max {
        return Err(Violation::MessageTooLarge { bytes, max });
    }
    *empty_fragments = if frame.payload.is_empty() && !frame.fin { *empty_fragments + 1 } else { 0 };
    if *empty_fragments > limits.empty_fragments_max {
        return Err(Violation::EmptyFragments { max: limits.empty_fragments_max });
    }
    payload.extend(&frame.payload);
    if *opcode == TEXT {
        let hopeless = |error: std::str::Utf8Error| frame.fin || error.error_len().is_some();
        if std::str::from_utf8(payload).is_err_and(hopeless) {
            return Err(Violation::NotUtf8);
        }
    }
    if !frame.fin {
        return Ok(None);
    }
    let whole = message.take();
    Ok(whole.map(|(opcode, payload)| match opcode {
        TEXT => Received::Text(String::from_utf8_lossy(&payload).into_owned()),
        _ => Received::Binary(payload),
    }))
}

/// RFC 6455 5.5.1 and 7.4.
pub fn close(payload: &[u8]) -> Result<Received, Violation> {
    let [high, low, reason @ ..] = payload else {
        return if payload.is_empty() { Ok(Received::Close(None)) } else { Err(Violation::CloseCodeCut) };
    };
    let code = u16::from_be_bytes([*high, *low]);
    if !(matches!(code, 1000..=1003 | 1007..=1014) || (3000..=4999).contains(&code)) {
        return Err(Violation::CloseCodeForbidden { code });
    }
    let reason = std::str::from_utf8(reason).map_err(|_| Violation::CloseReasonNotUtf8)?;
    Ok(Received::Close(Some((code, reason.to_owned()))))
}

/// Checks the memory: between reads a connection holds at most twice the limit, since its buffer doubles, and its
/// context takeover; within a read, the pool of a core may hold a second buffer. Nothing remains when it ends.
pub fn check_budget(endpoint: &Endpoint, bytes: &mut [u8], cuts: &[usize]) {
    let limit = endpoint.limits.message_bytes_max;
    // A compressed message may be larger on the wire, see `check_size` in src/protocol/websocket/incoming.rs.
    let (wire_limit, streams) = match endpoint.compression {
        Some(_) => (limit + limit / 8 + 64, STREAMS),
        None => (limit, 0),
    };
    let budget = 2 * wire_limit as isize + SMALL + streams;
    let growth = Growth::start();
    let mut connection = match endpoint.compression {
        Some(agreement) => Connection::compressed(endpoint.role, agreement),
        None => Connection::new(endpoint.role),
    };
    let mut start = 0;
    for end in cuts.iter().copied().chain([bytes.len()]) {
        let mut pool = AssemblyPool::default();
        let mut incoming = Incoming::new(&mut bytes[start..end], 0);
        start = end;
        let goes_on = loop {
            match incoming.next(&mut connection, &mut pool, &endpoint.limits) {
                Ok(Some(Event::Message(message))) => assert!(message.len() as u64 <= limit),
                Ok(Some(_)) => {}
                Ok(None) => break true,
                Err(_) => break false,
            }
        };
        drop((incoming, pool));
        assert!(growth.now() <= budget, "{} bytes are held, the budget is {budget}", growth.now());
        if !goes_on {
            break;
        }
    }
    assert!(growth.peak() <= 2 * budget, "{} bytes were held, allowed are {}", growth.peak(), 2 * budget);
    connection.abandon();
    assert_eq!(growth.now(), 0, "a connection that ended holds memory");
}
