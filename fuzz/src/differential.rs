//! A client's bytes, read by ringsock and by tungstenite: the same events, and the same kind of end.
//!
//! tungstenite judges a frame when it is complete, ringsock at the first byte that violates a rule. So that both judge
//! the same, tungstenite gets zeros after the input in which ringsock found a violation: enough to complete any frame
//! within the limit. [`Difference`] lists everything that may still differ.

use std::io::{self, Read, Write};

use ringsock::protocol::{MessageLimits, Role, Violation};
use tungstenite::Error;
use tungstenite::error::ProtocolError;
use tungstenite::protocol::{Message, Role as Theirs, WebSocket, WebSocketConfig};

use crate::frame_stream;
use crate::harness::{End, Endpoint, Outcome, Received};
use crate::input::{Input, Split};
use crate::sent;

/// The allowed differences, each with its reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Difference {
    /// ringsock refuses a length in a longer form than needed (RFC 6455 5.2: "the minimal number of bytes MUST be
    /// used"); tungstenite takes it.
    LengthNotMinimal,
    /// The same of a control frame, whose length ringsock refuses before it reads it: no longer form is short enough
    /// (RFC 6455 5.5).
    ControlLengthNotMinimal,
    /// ringsock bounds empty fragments in a row; tungstenite does not.
    EmptyFragments,
    /// tungstenite hands out a Close frame with a forbidden code as one with the code 1002, which it also answers;
    /// ringsock fails the connection with 1002.
    CloseCodeForbidden,
    /// 1014 was registered after RFC 6455; ringsock takes it, tungstenite turns it into 1002.
    CloseCode1014,
    /// A frame that breaks a rule of its header and claims more than the limit: ringsock names the rule, tungstenite
    /// the limit.
    HeaderBeforeSize,
    /// A Close frame with a forbidden code and a reason that is not UTF-8: ringsock names the code, tungstenite the
    /// reason.
    CodeBeforeReason,
}

/// The reason why a connection ended before the bytes did, as far as both can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// 1002.
    Protocol,
    /// 1007.
    Utf8,
    /// 1009.
    Size,
}

/// The outcome of the bytes in one implementation.
#[derive(Debug, PartialEq, Eq)]
struct Verdict {
    events: Vec<Received>,
    fault: Option<Fault>,
}

pub fn check(data: &[u8]) {
    let mut input = Input::new(data);
    // Below 125 bytes, tungstenite's limit for frames would strike control frames too.
    let message_bytes_max = input.choose(&[65_536, 125, 126, 127, 1000, 4096, 65_535]);
    let endpoint = Endpoint::server().with_message_bytes_max(message_bytes_max);
    let split = Split::new(&mut input);
    let mut bytes = sent::stream(&mut input, Role::Server);
    let outcome = frame_stream::outcome(&endpoint, &bytes, &split);
    if matches!(outcome.end, End::Violated(_)) {
        bytes.extend(vec![0; message_bytes_max as usize + 14]);
    }
    let theirs = theirs(&bytes, &split, &endpoint.limits);
    if let Err(difference) = agree(&outcome, &theirs) {
        panic!("{difference}\nours: {outcome:?}\ntheirs: {theirs:?}");
    }
}

fn agree(outcome: &Outcome, theirs: &Verdict) -> Result<Option<Difference>, String> {
    let ours = ours(outcome);
    if ours == *theirs {
        return Ok(None);
    }
    let End::Violated(violation) = &outcome.end else {
        let mut as_theirs = ours;
        if let Some(close @ Received::Close(Some((1014, _)))) = as_theirs.events.last_mut() {
            *close = protocol_violation();
        }
        return if as_theirs == *theirs {
            Ok(Some(Difference::CloseCode1014))
        } else {
            Err("The events differ, or tungstenite found a fault that ringsock did not.".to_owned())
        };
    };
    let Some(more) = theirs.events.strip_prefix(&ours.events[..]) else {
        return Err("The events before the violation differ.".to_owned());
    };
    let difference = match (violation, theirs.fault) {
        (Violation::LengthNotMinimal { .. }, _) => Difference::LengthNotMinimal,
        (Violation::ControlTooLong, _) if takes_control_frame(more, theirs) => Difference::ControlLengthNotMinimal,
        (Violation::EmptyFragments { .. }, _) => Difference::EmptyFragments,
        (Violation::CloseCodeForbidden { .. }, None) if more == [protocol_violation()] => {
            return Ok(Some(Difference::CloseCodeForbidden));
        }
        (Violation::CloseCodeForbidden { .. }, Some(Fault::Utf8)) => Difference::CodeBeforeReason,
        (violation, Some(Fault::Size)) if is_of_the_header(violation) => Difference::HeaderBeforeSize,
        _ => return Err("Both failed, but for different reasons, or tungstenite did not.".to_owned()),
    };
    let goes_on = matches!(
        difference,
        Difference::LengthNotMinimal | Difference::ControlLengthNotMinimal | Difference::EmptyFragments
    );
    if more.is_empty() || goes_on { Ok(Some(difference)) } else { Err("tungstenite read on.".to_owned()) }
}

/// Returns whether tungstenite read a control frame to its end: it returns it, or rejects the reason of a close.
fn takes_control_frame(more: &[Received], theirs: &Verdict) -> bool {
    match more.first() {
        Some(event) => matches!(event, Received::Ping(_) | Received::Pong(_) | Received::Close(_)),
        None => theirs.fault == Some(Fault::Utf8),
    }
}

/// Returns whether a header shows the violation, before or without its length.
fn is_of_the_header(violation: &Violation) -> bool {
    matches!(
        violation,
        Violation::ControlFragmented
            | Violation::ControlTooLong
            | Violation::InterleavedMessage
            | Violation::LengthTooLarge
            | Violation::ReservedBits
            | Violation::UnexpectedContinuation
            | Violation::Unmasked
    )
}

/// Returns how tungstenite reports a Close frame with a code that it does not allow.
fn protocol_violation() -> Received {
    Received::Close(Some((1002, "Protocol violation".to_owned())))
}

fn ours(outcome: &Outcome) -> Verdict {
    let fault = outcome.close_code().map(|code| match code.number() {
        1007 => Fault::Utf8,
        1009 => Fault::Size,
        _ => Fault::Protocol,
    });
    Verdict { events: outcome.events.clone(), fault }
}

fn theirs(bytes: &[u8], split: &Split, limits: &MessageLimits) -> Verdict {
    let size = Some(limits.message_bytes_max as usize);
    let config = WebSocketConfig::default()
        .read_buffer_size(64)
        .max_message_size(size)
        .max_frame_size(size)
        .write_buffer_size(0);
    let wire = Wire { bytes, start: 0, cuts: split.cuts(bytes.len()).into_iter() };
    let mut socket = WebSocket::from_raw_socket(wire, Theirs::Server, Some(config));
    let mut events = Vec::new();
    let fault = loop {
        match socket.read() {
            Ok(message) => events.push(received(message)),
            Err(Error::ConnectionClosed | Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)) => break None,
            Err(Error::Protocol(_)) => break Some(Fault::Protocol),
            Err(Error::Utf8(_)) => break Some(Fault::Utf8),
            Err(Error::Capacity(_)) => break Some(Fault::Size),
            Err(error) => panic!("tungstenite did not judge the bytes: {error}"),
        }
    };
    Verdict { events, fault }
}

fn received(message: Message) -> Received {
    match message {
        Message::Text(text) => Received::Text(text.to_string()),
        Message::Binary(bytes) => Received::Binary(bytes.to_vec()),
        Message::Ping(payload) => Received::Ping(payload.to_vec()),
        Message::Pong(payload) => Received::Pong(payload.to_vec()),
        Message::Close(frame) => Received::Close(frame.map(|frame| (frame.code.into(), frame.reason.to_string()))),
        Message::Frame(frame) => panic!("{frame} is never read"),
    }
}

/// Delivers the bytes in pieces; written bytes are dropped.
struct Wire<'b> {
    bytes: &'b [u8],
    start: usize,
    cuts: std::vec::IntoIter<usize>,
}

impl Read for Wire<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let end = self.cuts.find(|cut| *cut > self.start).unwrap_or(self.bytes.len());
        let count = (end - self.start).min(buffer.len());
        buffer[..count].copy_from_slice(&self.bytes[self.start..self.start + count]);
        self.start += count;
        Ok(count)
    }
}

impl Write for Wire<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
