//! The head of an HTTP/1.1 message, as both roles read it: its end, and the rules for its lines.
//!
//! httparse parses the lines of a complete head. Owns the limits of a head, and the rules that httparse does not
//! enforce (RFC 9112 2 to 5). Never interprets a header, never allocates. Invariants: the verdict depends on the bytes
//! alone, not on how they are split; the work is linear in the bytes.

use std::mem::MaybeUninit;

use httparse::{Error, Header, Status};
use memchr::memchr_iter;

use super::refusal::Refusal;

/// The most headers that a configuration may allow. The parser has room for as many, and a look-up walks all of them,
/// so their number bounds the cost of a look-up.
pub const HEADERS_CAPACITY: usize = 256;

/// The limits of a request's head.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct HeadLimits {
    /// Bytes of the request line, CRLF included. Default 8 KiB, as in nginx; enough for a token in the query. A longer
    /// one is refused with 414.
    pub request_line_bytes_max: usize,
    /// Bytes of the whole head. Default 16 KiB, which bounds the memory of a connection before its handshake. No byte
    /// beyond it is read; a longer head is refused with 431.
    pub head_bytes_max: usize,
    /// Header lines. Default 64, twice as many as a browser behind proxies sends. More are refused with 431. A value
    /// above 256 counts as 256.
    pub headers_max: usize,
}

impl Default for HeadLimits {
    fn default() -> Self {
        Self { request_line_bytes_max: 8 << 10, head_bytes_max: 16 << 10, headers_max: 64 }
    }
}

/// Finds the end of a head that arrives in pieces, and refuses early a head that can no longer become valid.
///
/// It remembers its progress, so each byte is read once, however the head is split.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeadScan {
    /// Bytes searched for line ends so far.
    scanned: u32,
    /// Lines found so far, the first line included.
    lines: u32,
}

impl HeadScan {
    /// Returns the length of the head, its blank line included, or `None` while more bytes are needed.
    ///
    /// `received` is everything received of this head so far, from its first byte. Once the end is found, the scan is
    /// ready for the next head.
    pub fn find_end(&mut self, received: &[u8], limits: &HeadLimits) -> Result<Option<usize>, Refusal> {
        let Some(start) = first_line_start(received)? else { return Ok(None) };
        let headers_max = limits.headers_max.min(HEADERS_CAPACITY);
        let seen = &received[..received.len().min(limits.head_bytes_max).min(u32::MAX as usize)];
        let scanned = self.scanned as usize;
        let unscanned = seen.get(scanned..).unwrap_or_default();
        for line_feed in memchr_iter(b'\n', unscanned).map(|offset| scanned + offset) {
            if line_feed < start {
                continue;
            }
            // The length is checked first: read byte by byte, the line would exceed the limit before this line feed.
            if self.lines == 0 && line_feed - start >= limits.request_line_bytes_max {
                break;
            }
            if !seen[..line_feed].ends_with(b"\r") {
                return Err(Refusal::BareLineFeed);
            }
            if seen[..line_feed].ends_with(b"\n\r") {
                *self = Self::default();
                return Ok(Some(line_feed + 1));
            }
            self.lines += 1;
            if self.lines as usize > 1 + headers_max {
                return Err(Refusal::TooManyHeaders { limit: headers_max });
            }
        }
        self.scanned = seen.len() as u32;
        if self.lines == 0 && seen.len().saturating_sub(start) >= limits.request_line_bytes_max {
            return Err(Refusal::RequestLineTooLong { limit: limits.request_line_bytes_max });
        }
        if seen.len() >= limits.head_bytes_max {
            return Err(Refusal::HeadTooLarge { limit: limits.head_bytes_max });
        }
        Ok(None)
    }
}

/// Room for the headers of one head: 8 KiB on the stack, uninitialised until a head is parsed into it.
#[derive(Debug)]
pub struct Headers<'a>(pub(in crate::protocol) [MaybeUninit<Header<'a>>; HEADERS_CAPACITY]);

impl Default for Headers<'_> {
    fn default() -> Self {
        Self([const { MaybeUninit::uninit() }; HEADERS_CAPACITY])
    }
}

/// Returns a delimited head without the empty line before it, for httparse. Refuses two faults that httparse accepts:
/// more than one empty line, and lines that end in LF alone.
pub(in crate::protocol) fn strict_head(head: &[u8]) -> Result<&[u8], Refusal> {
    let head = &head[first_line_start(head)?.ok_or(Refusal::RequestLineInvalid)?..];
    // Without an early exit, so that the compiler can check many bytes at a time.
    let pairs = head.iter().zip(&head[1..]);
    let good = pairs.fold(true, |good, (&byte, &next)| good & ((next != b'\n') | (byte == b'\r')));
    if good { Ok(head) } else { Err(Refusal::BareLineFeed) }
}

/// Returns the reason why httparse did not read `head` to its end, given that its first line is valid.
#[cold]
pub(in crate::protocol) fn explain_headers(outcome: httparse::Result<usize>, head: &[u8]) -> Refusal {
    match outcome {
        Ok(Status::Partial) => Refusal::RequestLineInvalid,
        Err(Error::HeaderValue) => Refusal::FieldValueInvalid,
        Err(Error::TooManyHeaders) => Refusal::TooManyHeaders { limit: HEADERS_CAPACITY },
        _ if head.windows(2).any(|pair| matches!(pair, b"\n " | b"\n\t")) => Refusal::ObsoleteFold,
        // This includes a second blank line, which is a header line without a colon.
        _ => Refusal::FieldNameInvalid,
    }
}

/// Returns the beginning of the first line: after at most one empty line (RFC 9112 2.2). `None` while it is unknown.
///
/// A method must begin with an upper-case letter, as all registered ones do, so that another protocol is recognised at
/// its first byte.
fn first_line_start(received: &[u8]) -> Result<Option<usize>, Refusal> {
    const TLS_HANDSHAKE_RECORD: u8 = 0x16;
    let start = match received {
        [] | [b'\r'] => return Ok(None),
        [b'\r', b'\n', ..] => 2,
        _ => 0,
    };
    match received.get(start) {
        None => Ok(None),
        Some(b'A'..=b'Z') => Ok(Some(start)),
        Some(&TLS_HANDSHAKE_RECORD) => Err(Refusal::TlsOnPlainPort),
        Some(_) => Err(Refusal::MethodInvalid),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub fn scan(bytes: &[u8]) -> Result<Option<usize>, Refusal> {
        HeadScan::default().find_end(bytes, &HeadLimits::default())
    }

    #[test]
    fn finds_the_end_wherever_the_bytes_are_split() {
        let bytes = b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\nmore";
        let end = bytes.len() - 4;
        for first in 0..=bytes.len() {
            let mut scan = HeadScan::default();
            let early = scan.find_end(&bytes[..first], &HeadLimits::default());
            assert_eq!(early, Ok((first >= end).then_some(end)));
            if first < end {
                assert_eq!(scan.find_end(bytes, &HeadLimits::default()), Ok(Some(end)));
            }
            assert_eq!(scan, HeadScan::default(), "ready for the next head");
        }
    }

    #[test]
    fn looks_at_each_byte_once() {
        let limits = HeadLimits::default();
        let head = [b"GET / HTTP/1.1\r\nX: ".to_vec(), vec![b'a'; limits.head_bytes_max]].concat();
        let mut scan = HeadScan::default();
        for end in 1..limits.head_bytes_max {
            assert_eq!(scan.find_end(&head[..end], &limits), Ok(None));
            assert_eq!(scan.scanned as usize, end);
        }
        let refusal = Refusal::HeadTooLarge { limit: limits.head_bytes_max };
        assert_eq!(scan.find_end(&head, &limits), Err(refusal));
    }

    #[test]
    fn takes_linear_time_for_a_head_in_single_bytes() {
        let limits = HeadLimits { head_bytes_max: 4 << 20, ..HeadLimits::default() };
        let head = [b"GET / HTTP/1.1\r\nX: ".to_vec(), vec![b'a'; limits.head_bytes_max]].concat();
        let begin = std::time::Instant::now();
        let mut scan = HeadScan::default();
        let refused = (1..=head.len()).find(|&end| scan.find_end(&head[..end], &limits).is_err());
        assert_eq!(refused, Some(limits.head_bytes_max));
        // One pass takes a fraction of a second even without optimisation, quadratic work several minutes.
        assert!(begin.elapsed().as_secs() < 30, "{:?}", begin.elapsed());
    }

    #[test]
    fn a_scan_costs_a_connection_eight_bytes() {
        assert_eq!(size_of::<HeadScan>(), 8);
    }

    #[test]
    fn refuses_early_what_can_no_longer_become_a_head() {
        assert_eq!(scan(b"\x16"), Err(Refusal::TlsOnPlainPort));
        assert_eq!(scan(b"\0"), Err(Refusal::MethodInvalid));
        assert_eq!(scan(b"get"), Err(Refusal::MethodInvalid));
        assert_eq!(scan(b"\r\r"), Err(Refusal::MethodInvalid));
        assert_eq!(scan(b"\r\n\r"), Err(Refusal::MethodInvalid));
        assert_eq!(scan(b"GET / HTTP/1.1\n"), Err(Refusal::BareLineFeed));
        assert_eq!(scan(b"GET / HTTP/1.1\r\nX: y\n"), Err(Refusal::BareLineFeed));
    }

    #[test]
    fn refuses_a_long_request_line_with_414_at_the_limit() {
        let refusal = Err(Refusal::RequestLineTooLong { limit: 8192 });
        assert_eq!(scan(&[b'A'; 8191]), Ok(None));
        assert_eq!(scan(&[b'A'; 8192]), refusal);
        assert_eq!(scan(&[&[b'A'; 8190][..], b"\r\n"].concat()), Ok(None));
        assert_eq!(scan(&[&[b'A'; 8191][..], b"\r\n"].concat()), refusal);
        assert_eq!(scan(&[&b"\r\n"[..], &[b'A'; 8191]].concat()), Ok(None));
    }

    #[test]
    fn refuses_a_large_head_with_431_and_looks_no_further() {
        let line = [b"GET / HTTP/1.1\r\nX: ".to_vec(), vec![b'a'; 17_000]].concat();
        assert_eq!(scan(&line[..16_383]), Ok(None));
        assert_eq!(scan(&line[..16_384]), Err(Refusal::HeadTooLarge { limit: 16_384 }));
        // The bare line feed lies beyond the limit.
        assert_eq!(scan(&[&line[..16_384], b"\n"].concat()), Err(Refusal::HeadTooLarge { limit: 16_384 }));
        assert_eq!(scan(&[&line[..16_380], b"\r\n\r\n"].concat()), Ok(Some(16_384)));
    }

    #[test]
    fn refuses_more_headers_than_allowed_with_431() {
        let limits = HeadLimits { headers_max: 2, ..HeadLimits::default() };
        let find_end = |bytes: &[u8]| HeadScan::default().find_end(bytes, &limits);
        assert_eq!(find_end(b"GET / HTTP/1.1\r\nA: b\r\nC: d\r\n\r\n"), Ok(Some(30)));
        let refusal = Err(Refusal::TooManyHeaders { limit: 2 });
        assert_eq!(find_end(b"GET / HTTP/1.1\r\nA: b\r\nC: d\r\nE: f\r\n"), refusal);
    }

    #[test]
    fn never_allows_more_headers_than_there_is_room_for() {
        let limits = HeadLimits { headers_max: usize::MAX, ..HeadLimits::default() };
        let head = |count| [&b"GET / HTTP/1.1\r\n"[..], &b"A: b\r\n".repeat(count), b"\r\n"].concat();
        let find_end = |bytes: &[u8]| HeadScan::default().find_end(bytes, &limits);
        let most = head(HEADERS_CAPACITY);
        assert_eq!(find_end(&most), Ok(Some(most.len())));
        let refusal = Refusal::TooManyHeaders { limit: HEADERS_CAPACITY };
        assert_eq!(find_end(&head(HEADERS_CAPACITY + 1)), Err(refusal));
    }

    /// Generates bytes that resemble a head often enough for half of them to be accepted.
    pub fn head_like() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            Just(b"GET / HTTP/1.1\r\n".to_vec()),
            Just(b"Host: a\r\n".to_vec()),
            Just(b"Connection: Upgrade, close\r\n".to_vec()),
            Just(b"Content-Length: 0\r\n".to_vec()),
            Just(b"\r\n".to_vec()),
            Just(b": ".to_vec()),
            "[A-Za-z-]{1,8}: [ -~\t]{0,12}\r\n".prop_map(String::into_bytes),
            prop::collection::vec(any::<u8>(), 0..4),
        ];
        let first = prop::sample::select(&["", "GET / HTTP/1.1\r\nHost: a\r\n"][..]);
        let last = prop::sample::select(&["", "\r\n"][..]);
        (first, prop::collection::vec(piece, 0..6), last)
            .prop_map(|(first, pieces, last)| [first.as_bytes(), &pieces.concat(), last.as_bytes()].concat())
    }

    proptest! {
        #[test]
        fn the_verdict_of_the_scan_does_not_depend_on_the_pieces(
            bytes in head_like(),
            at in any::<prop::sample::Index>(),
        ) {
            let limits = HeadLimits { request_line_bytes_max: 24, head_bytes_max: 64, headers_max: 3 };
            let whole = HeadScan::default().find_end(&bytes, &limits);
            let mut scan = HeadScan::default();
            let early = scan.find_end(&bytes[..at.index(bytes.len() + 1)], &limits);
            let split = if early == Ok(None) { scan.find_end(&bytes, &limits) } else { early };
            prop_assert_eq!(&split, &whole);
            let mut scan = HeadScan::default();
            let mut verdicts = (0..=bytes.len()).map(|end| scan.find_end(&bytes[..end], &limits));
            prop_assert_eq!(verdicts.find(|verdict| *verdict != Ok(None)).unwrap_or(Ok(None)), whole);
        }
    }
}
