//! The body of a request in chunks: whatever the cuts between reads, the data and the verdict are the same; what is
//! accepted is what a plain reading of RFC 9112 7.1, line by line, makes of it; never more data than the limit.

use ringsock::protocol::http::{CHUNK_EXTRAS_BYTES_MAX, Chunks, Refusal};

use crate::head::{self, check_refusal, is_field_value, is_token};
use crate::input::{Input, Split, every_byte};

/// Pieces of valid and invalid bodies.
pub const PHRASES: &[&[u8]] = &[
    b"0\r\n\r\n",
    b"1\r\nx\r\n",
    b"5\r\nhello\r\n",
    b"A;a=b\r\n0123456789\r\n",
    b"0\r\nX: y\r\n\r\n",
    b"\r\n",
    b";a=\"b\"",
    b"X: y\r\n",
    b"Content-Length: 5\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"0000000000000001\r\nx\r\n",
    b"ffffffffffffffff\r\n",
    b"10000000000000000\r\n",
    b"\n",
    b" ",
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"1\r\n\r\r\n",
    b"1\r\n\n\r\n",
];

/// The data, and the number of bytes after the body, once it is complete.
type Outcome = Result<Option<(Vec<u8>, usize)>, Refusal>;

pub fn check(data: &[u8]) {
    let mut input = Input::new(data);
    let limit = input.choose(&[1 << 16, 0, 1, 5, 16, 100]);
    let split = Split::new(&mut input);
    let bytes = head::head(&mut input, PHRASES);
    let outcome = read(&bytes, limit, &[]);
    for cuts in [split.cuts(bytes.len()), every_byte(bytes.len())] {
        assert_eq!(read(&bytes, limit, &cuts), outcome, "the cuts changed the outcome");
    }
    let plain = read_plainly(&bytes);
    match outcome {
        Ok(Some((data, rest))) => assert_eq!(plain, Some(Some((data, rest))), "it was read in another way"),
        Ok(None) => assert_eq!(plain, Some(None), "more of a body is awaited that is none, or whole"),
        Err(Refusal::BodyTooLarge { .. }) => {
            let whole = plain.flatten().is_some_and(|(data, _)| data.len() <= limit);
            assert!(!whole, "a body within the limit was refused");
        }
        Err(Refusal::ChunkExtrasTooLarge { .. }) => assert!(bytes.len() > CHUNK_EXTRAS_BYTES_MAX as usize),
        Err(refusal) => {
            assert!(!matches!(plain, Some(Some(_))), "a good body was refused: {refusal}");
            check_refusal(&refusal);
        }
    }
}

/// Reads up to each of `cuts` in turn.
fn read(bytes: &[u8], limit: usize, cuts: &[usize]) -> Outcome {
    let (mut chunks, mut data, mut start) = (Chunks::default(), Vec::new(), 0);
    for end in cuts.iter().copied().chain([bytes.len()]) {
        let taken = chunks.read(&bytes[start..end], limit, |piece| {
            data.extend_from_slice(piece);
            assert!(data.len() <= limit, "more data than the limit allows");
        })?;
        if let Some(taken) = taken {
            assert!(taken <= end - start);
            return Ok(Some((data, bytes.len() - start - taken)));
        }
        start = end;
    }
    Ok(None)
}

/// Returns the body without any limit: `None` if it is invalid, `Some(None)` while its whole lines and data do not
/// tell.
fn read_plainly(bytes: &[u8]) -> Option<Option<(Vec<u8>, usize)>> {
    let (mut data, mut rest) = (Vec::new(), bytes);
    loop {
        let Some((line, after)) = line(rest)? else { return Some(None) };
        let (size, extension) = match line.iter().position(|&byte| byte == b';') {
            Some(at) => line.split_at(at),
            None => (line, &[][..]),
        };
        if !(1..=16).contains(&size.len()) || !size.iter().all(u8::is_ascii_hexdigit) || !is_field_value(extension) {
            return None;
        }
        let size = u64::from_str_radix(std::str::from_utf8(size).ok()?, 16).ok()?;
        if size == 0 {
            return trailers(after).map(|rest| rest.map(|rest| (data, rest)));
        }
        let Ok(size) = usize::try_from(size) else { return Some(None) };
        let Some((chunk, after)) = after.split_at_checked(size) else { return Some(None) };
        data.extend_from_slice(chunk);
        rest = match after {
            [b'\r', b'\n', rest @ ..] => rest,
            [] | [b'\r'] => return Some(None),
            _ => return None,
        };
    }
}

/// Returns how many bytes follow the trailers and the empty line at their end.
fn trailers(mut rest: &[u8]) -> Option<Option<usize>> {
    loop {
        let Some((line, after)) = line(rest)? else { return Some(None) };
        if line.is_empty() {
            return Some(Some(after.len()));
        }
        let colon = line.iter().position(|&byte| byte == b':')?;
        if !is_token(&line[..colon]) || !is_field_value(&line[colon + 1..]) {
            return None;
        }
        rest = after;
    }
}

/// Returns the first line and the rest; `None` if it ends in LF alone, `Some(None)` if it does not end.
fn line(bytes: &[u8]) -> Option<Option<(&[u8], &[u8])>> {
    match bytes.iter().position(|&byte| byte == b'\n') {
        Some(at) => Some(Some((bytes[..at].strip_suffix(b"\r")?, &bytes[at + 1..]))),
        None => Some(None),
    }
}
