//! Heads made of a fuzzer's bytes, and the checks of every refusal.

use std::time::UNIX_EPOCH;

use ringsock::protocol::http::{Date, HeadLimits, HeadScan, Refusal, write_response};

use crate::input::Input;

/// Returns the rest of the input unchanged, or with one of `phrases` in the place of each byte of 128 and above.
pub fn head(input: &mut Input<'_>, phrases: &[&[u8]]) -> Vec<u8> {
    if input.flag() {
        return input.rest().to_vec();
    }
    let mut bytes = Vec::new();
    for byte in input.rest() {
        match byte.checked_sub(128) {
            Some(index) => bytes.extend(phrases[usize::from(index) % phrases.len()]),
            None => bytes.push(*byte),
        }
    }
    bytes
}

/// Returns limits as a test would choose them, or the defaults.
pub fn limits(input: &mut Input<'_>) -> HeadLimits {
    let mut limits = HeadLimits::default();
    limits.request_line_bytes_max = input.choose(&[8 << 10, 0, 1, 16, 24, 100]);
    limits.head_bytes_max = input.choose(&[16 << 10, 0, 1, 24, 64, 200]);
    limits.headers_max = input.choose(&[64, 0, 1, 3, usize::MAX]);
    limits
}

/// Returns where the head ends for a reader that has read up to each of `cuts` in turn.
pub fn find_end(bytes: &[u8], cuts: &[usize], limits: &HeadLimits) -> Result<Option<usize>, Refusal> {
    let mut scan = HeadScan::default();
    for end in cuts.iter().copied().chain([bytes.len()]) {
        let found = scan.find_end(&bytes[..end], limits);
        if found != Ok(None) {
            assert!(found.is_err() || scan == HeadScan::default(), "the scan is not ready for the next head");
            return found;
        }
    }
    Ok(None)
}

/// Checks that a refusal is answered with one well-formed head, and its own sentence as the body.
pub fn check_refusal(refusal: &Refusal) {
    let sentence = refusal.to_string();
    assert!(sentence.starts_with(char::is_uppercase) && sentence.ends_with('.'), "no sentence: {sentence}");
    let mut out = Vec::new();
    write_response(&mut out, &refusal.response(), &Date::from(UNIX_EPOCH), false, false);
    let mut headers = [httparse::EMPTY_HEADER; 16];
    let mut answer = httparse::Response::new(&mut headers);
    let Ok(httparse::Status::Complete(end)) = answer.parse(&out) else { panic!("no answer: {refusal:?}") };
    assert_eq!(answer.code, Some(refusal.status()));
    assert!(matches!(refusal.status(), 400 | 405 | 414 | 417 | 426 | 431 | 501 | 505), "{refusal:?} by bytes alone");
    assert_eq!(&out[end..], sentence.as_bytes());
    let length = answer.headers.iter().find(|header| header.name == "Content-Length").map(|header| header.value);
    assert_eq!(length, Some(sentence.len().to_string().as_bytes()));
}

/// RFC 9110 5.6.2.
pub fn is_token(bytes: &[u8]) -> bool {
    let is_mark = |byte: &u8| b"!#$%&'*+-.^_`|~".contains(byte);
    !bytes.is_empty() && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || is_mark(byte))
}

/// RFC 9110 5.5.
pub fn is_field_value(bytes: &[u8]) -> bool {
    bytes.iter().all(|&byte| byte == b'\t' || byte >= b' ' && byte != 0x7F)
}
