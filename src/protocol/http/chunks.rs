//! Bodies in chunks (RFC 9112 7.1): the parser of a request's body, and the writer of a response's body.
//!
//! Owns the grammar of chunks and the limit on bytes beside their data. Never keeps a byte: data go straight to the
//! caller, and the framing is dropped. Invariants: the outcome depends on the bytes alone, not on how they are split;
//! each byte is read once; an accepted body can be read in one way only, so no proxy in front of the server saw its end
//! elsewhere.

use super::grammar::{is_field_value, is_token};
use super::refusal::Refusal;

/// Digits of a chunk's size: as many as a 64-bit number takes. Leading zeros are allowed and count, because some
/// clients write sizes of one width.
const SIZE_DIGITS_MAX: u8 = 16;

/// Bytes of chunk extensions and trailers of one body, which are skipped: 8 KiB, half of the limit on a request's head.
/// No extension in use comes near, and without a limit a body of 64 KiB could be any amount of work.
pub const CHUNK_EXTRAS_BYTES_MAX: u32 = 8 << 10;

/// The end of a body in chunks.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// Appends a chunk to `out`. Appends nothing if `data` is empty, because an empty chunk would end the body.
pub fn write_chunk(out: &mut Vec<u8>, data: &[u8]) {
    if !data.is_empty() {
        out.extend_from_slice(format!("{:x}\r\n", data.len()).as_bytes());
        out.extend_from_slice(data);
        out.extend_from_slice(b"\r\n");
    }
}

/// The progress of reading one request's body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Chunks {
    state: State,
    /// Data bytes missing from the current chunk, once its size is known; before that, the size as far as it was read.
    left: u64,
    /// Data bytes of all chunks whose size is known.
    body_bytes: u64,
    /// Bytes of extensions and trailers so far.
    extras_bytes: u32,
}

/// The part of the body that the next byte belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// A chunk's size, with the number of digits so far.
    Size(u8),
    /// A chunk extension.
    Extension,
    /// The LF behind a chunk's size and extensions.
    SizeEnd,
    Data,
    /// The CR behind a chunk's data.
    DataEnd,
    /// The LF behind a chunk's data.
    DataLineFeed,
    /// The beginning of a trailer, or of the empty line that ends the body.
    LineStart,
    TrailerName,
    TrailerValue,
    /// The LF behind a trailer.
    TrailerEnd,
    /// The LF that ends the body.
    BodyEnd,
}

impl Default for State {
    fn default() -> Self {
        Self::Size(0)
    }
}

impl Chunks {
    /// Reads `input` and passes the data in it to `take`. Returns how many bytes of `input` the body takes once it is
    /// complete, and `None` while more must come.
    ///
    /// Refuses a body of more than `body_bytes_max`, as soon as a chunk's size exceeds it; extensions and trailers of
    /// more than [`CHUNK_EXTRAS_BYTES_MAX`]; anything outside the grammar; and white space around a size, which the
    /// grammar barely allows.
    pub fn read(
        &mut self,
        input: &[u8],
        body_bytes_max: usize,
        mut take: impl FnMut(&[u8]),
    ) -> Result<Option<usize>, Refusal> {
        let mut at = 0;
        while at < input.len() {
            if self.state == State::Data {
                let data = &input[at..];
                let data = &data[..data.len().min(usize::try_from(self.left).unwrap_or(usize::MAX))];
                take(data);
                at += data.len();
                self.left -= data.len() as u64;
                if self.left == 0 {
                    self.state = State::DataEnd;
                }
                continue;
            }
            let byte = input[at];
            at += 1;
            if (self.state, byte) == (State::BodyEnd, b'\n') {
                return Ok(Some(at));
            }
            self.state = self.step(byte, body_bytes_max)?;
        }
        Ok(None)
    }

    /// Returns the data bytes missing from the current chunk.
    pub fn data_bytes_left(&self) -> u64 {
        if self.state == State::Data { self.left } else { 0 }
    }

    /// Processes one byte of framing.
    fn step(&mut self, byte: u8, body_bytes_max: usize) -> Result<State, Refusal> {
        match (self.state, byte) {
            (State::Size(digits), b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') if digits < SIZE_DIGITS_MAX => {
                self.left = self.left << 4 | u64::from(hex_value(byte));
                Ok(State::Size(digits + 1))
            }
            (State::Size(1..), b'\r' | b';') => {
                self.count_chunk(body_bytes_max)?;
                if byte == b';' { self.count_extra(State::Extension) } else { Ok(State::SizeEnd) }
            }
            (State::Extension, b'\r') => Ok(State::SizeEnd),
            (State::Extension, byte) if is_field_value(&[byte]) => self.count_extra(State::Extension),
            (State::SizeEnd, b'\n') if self.left == 0 => Ok(State::LineStart),
            (State::SizeEnd, b'\n') => Ok(State::Data),
            (State::DataEnd, b'\r') => Ok(State::DataLineFeed),
            (State::DataLineFeed, b'\n') => Ok(State::Size(0)),
            (State::LineStart, b'\r') => Ok(State::BodyEnd),
            (State::LineStart | State::TrailerName, byte) if is_token(&[byte]) => self.count_extra(State::TrailerName),
            (State::TrailerName, b':') => self.count_extra(State::TrailerValue),
            (State::TrailerValue, b'\r') => Ok(State::TrailerEnd),
            (State::TrailerValue, byte) if is_field_value(&[byte]) => self.count_extra(State::TrailerValue),
            (State::TrailerEnd, b'\n') => Ok(State::LineStart),
            _ => Err(Refusal::ChunkInvalid),
        }
    }

    /// Checks the size of a chunk once it is known.
    fn count_chunk(&mut self, body_bytes_max: usize) -> Result<(), Refusal> {
        let bytes = self.body_bytes.saturating_add(self.left);
        if bytes > body_bytes_max as u64 {
            return Err(Refusal::BodyTooLarge { bytes, limit: body_bytes_max });
        }
        self.body_bytes = bytes;
        Ok(())
    }

    fn count_extra(&mut self, next: State) -> Result<State, Refusal> {
        self.extras_bytes += 1;
        if self.extras_bytes > CHUNK_EXTRAS_BYTES_MAX {
            return Err(Refusal::ChunkExtrasTooLarge { limit: CHUNK_EXTRAS_BYTES_MAX });
        }
        Ok(next)
    }
}

fn hex_value(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        letter => (letter | 0x20) - b'a' + 10,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMIT: usize = 1 << 16;

    /// The data of a body and the number of bytes that follow it, or `None` while it is incomplete.
    type Outcome = Result<Option<(Vec<u8>, usize)>, Refusal>;

    /// Reads up to each of `cuts` in turn.
    fn read_cut(bytes: &[u8], limit: usize, cuts: impl Iterator<Item = usize>) -> Outcome {
        let (mut chunks, mut body, mut start) = (Chunks::default(), Vec::new(), 0);
        for end in cuts.chain([bytes.len()]) {
            let read = chunks.read(&bytes[start..end], limit, |data| body.extend_from_slice(data))?;
            if let Some(taken) = read {
                return Ok(Some((body, bytes.len() - start - taken)));
            }
            start = end;
        }
        Ok(None)
    }

    /// Reads the input at once, cut at every place, and byte by byte; all must give the same outcome.
    fn read_within(bytes: &[u8], limit: usize) -> Outcome {
        let whole = read_cut(bytes, limit, std::iter::empty());
        for cut in 0..=bytes.len() {
            assert_eq!(read_cut(bytes, limit, [cut].into_iter()), whole, "cut at {cut}");
        }
        assert_eq!(read_cut(bytes, limit, 0..bytes.len()), whole, "byte by byte");
        whole
    }

    fn read(bytes: impl AsRef<[u8]>) -> Outcome {
        read_within(bytes.as_ref(), LIMIT)
    }

    fn whole(body: &str) -> Outcome {
        Ok(Some((body.into(), 0)))
    }

    #[test]
    fn written_chunks_are_read_as_they_were() {
        let mut body = Vec::new();
        for data in [&b"hello"[..], b"", &[7; 300]] {
            write_chunk(&mut body, data);
        }
        assert!(body.starts_with(b"5\r\nhello\r\n12c\r\n") && body.len() == 10 + 5 + 302);
        body.extend_from_slice(LAST_CHUNK);
        assert_eq!(read(&body), Ok(Some(([&b"hello"[..], &[7; 300]].concat(), 0))));
    }

    #[test]
    fn takes_the_data_out_of_its_chunks_and_stops_where_the_body_ends() {
        assert_eq!(read("0\r\n\r\n"), whole(""));
        assert_eq!(read("2\r\nhi\r\n0\r\n\r\n"), whole("hi"));
        assert_eq!(read("2\r\nhi\r\n1\r\n!\r\n0\r\n\r\n"), whole("hi!"));
        assert_eq!(read("a\r\n0123456789\r\n0\r\n\r\n"), whole("0123456789"));
        assert_eq!(read("A\r\n0123456789\r\n00\r\n\r\n"), whole("0123456789"));
        assert_eq!(read("0000000000000002\r\n\r\n\r\n0000\r\n\r\n"), whole("\r\n"));
        assert_eq!(read("f\r\n0\r\n\r\nGET / HTTP\r\n0\r\n\r\n"), whole("0\r\n\r\nGET / HTTP"));
        let next = "GET / HTTP/1.1\r\n";
        assert_eq!(read(format!("1\r\nx\r\n0\r\n\r\n{next}")), Ok(Some((b"x".to_vec(), next.len()))));
        let binary: Vec<u8> = (0..=255).collect();
        assert_eq!(read([b"100\r\n", &binary[..], b"\r\n0\r\n\r\n"].concat()), Ok(Some((binary, 0))));
    }

    #[test]
    fn waits_for_the_rest_of_a_body() {
        let body = "3;a=b\r\nabc\r\n0\r\nX: y\r\n\r\n";
        for end in 0..body.len() {
            assert_eq!(read(&body[..end]), Ok(None), "{end}");
        }
    }

    #[test]
    fn skips_extensions_and_trailers() {
        for extension in [";", ";a", ";a=b", ";a=\"b c;\\\"\"", ";a;b;c=d", "; a = b\t", ";\u{e9}"] {
            assert_eq!(read(format!("2{extension}\r\nhi\r\n0{extension}\r\n\r\n")), whole("hi"), "{extension}");
        }
        for trailer in ["X: y", "X:", "Content-MD5: q", "a: b\r\nC: \u{e9}\t", "Content-Length: 5", "!#$: x"] {
            assert_eq!(read(format!("2\r\nhi\r\n0\r\n{trailer}\r\n\r\n")), whole("hi"), "{trailer}");
        }
    }

    #[test]
    fn refuses_whatever_another_program_may_read_otherwise() {
        for bytes in [
            // The size.
            "\r\n",
            ";a\r\n",
            "\n",
            " 2\r\n",
            "\t2\r\n",
            "2 \r\n",
            "2\t;a\r\n",
            "+2\r\n",
            "-2\r\n",
            "0x2\r\n",
            "x\r\n",
            "2h\r\n",
            "2,\r\n",
            "2.0\r\n",
            "2_0\r\n",
            "\u{ff12}\r\n",
            "\u{0}2\r\n",
            "00000000000000002\r\n",
            "10000000000000000\r\n",
            "\r\n2\r\nhi\r\n0\r\n\r\n",
            // Line ends.
            "2\nhi\r\n0\r\n\r\n",
            "2\rhi\r\n",
            "2\r\r\nhi",
            "2;\nhi",
            "2;a\nhi",
            "2;a\r\r\n",
            "2;a\rb\r\n",
            "2;\0\r\n",
            "2;a\u{7f}\r\n",
            // The end of the data.
            "2\r\nhi0\r\n\r\n",
            "2\r\nhi\n0\r\n\r\n",
            "2\r\nhi\r0\r\n\r\n",
            "2\r\nhi\r\r\n",
            "2\r\nhi!\r\n0\r\n\r\n",
            "2\r\nhi \r\n",
            "2\r\nhi\r\n\r\n0\r\n\r\n",
            "2\r\nhi\r\n 0\r\n\r\n",
            // Trailers.
            "0\r\n\n",
            "0\r\n\r\r\n",
            "0\r\nX\r\n\r\n",
            "0\r\nX : y\r\n\r\n",
            "0\r\n X: y\r\n\r\n",
            "0\r\nX: y\r\n z\r\n",
            "0\r\nX: y\n\r\n",
            "0\r\nX: y\rz\r\n",
            "0\r\nX: \0\r\n",
            "0\r\n: y\r\n",
            "0\r\nX y: z\r\n",
            "0\r\nGET / HTTP/1.1\r\n\r\n",
            "0\r\nX: y\r\r\n",
        ] {
            assert_eq!(read(bytes), Err(Refusal::ChunkInvalid), "{bytes:?}");
        }
    }

    #[test]
    fn refuses_a_body_above_its_limit_as_soon_as_a_size_says_so() {
        let refused = |bytes| Err(Refusal::BodyTooLarge { bytes, limit: 4 });
        let read = |bytes: &str| read_within(bytes.as_bytes(), 4);
        assert_eq!(read("4\r\nfour\r\n0\r\n\r\n"), whole("four"));
        assert_eq!(read("2\r\nfo\r\n2\r\nur\r\n0\r\n\r\n"), whole("four"));
        assert_eq!(read("5\r"), refused(5));
        assert_eq!(read("5;"), refused(5));
        assert_eq!(read("5"), Ok(None), "another digit may follow");
        assert_eq!(read("2\r\nfo\r\n3\r"), refused(5));
        assert_eq!(read("ffffffffffffffff\r"), refused(u64::MAX));
        assert_eq!(read("1\r\nx\r\nffffffffffffffff\r"), refused(u64::MAX));
        assert_eq!(read_within(b"0\r\n\r\n", 0), whole(""));
    }

    #[test]
    fn refuses_extensions_and_trailers_above_their_limit_taken_together() {
        let most = CHUNK_EXTRAS_BYTES_MAX as usize;
        let refused = Err(Refusal::ChunkExtrasTooLarge { limit: CHUNK_EXTRAS_BYTES_MAX });
        let read = |bytes: String| read_cut(bytes.as_bytes(), LIMIT, std::iter::empty());
        let value = |bytes| "x".repeat(bytes);
        assert_eq!(read(format!("0;{}\r\n\r\n", value(most - 1))), whole(""));
        assert_eq!(read(format!("0;{}", value(most))), refused);
        assert_eq!(read(format!("0\r\nX:{}\r\n\r\n", value(most - 2))), whole(""));
        assert_eq!(read(format!("0\r\nX:{}", value(most - 1))), refused);
        assert_eq!(read("1;\r\nx\r\n".repeat(most) + "0\r\n\r\n"), whole(&value(most)));
        assert_eq!(read("1;\r\nx\r\n".repeat(most) + "0;"), refused);
    }

    #[test]
    fn costs_a_request_forty_bytes_at_most() {
        assert!(size_of::<Chunks>() <= 40, "{}", size_of::<Chunks>());
    }

    /// Cuts data into chunks of these sizes and styles.
    fn in_chunks(body: &[u8], sizes: &[(usize, u8)]) -> Vec<u8> {
        let (mut bytes, mut rest, mut sizes) = (Vec::new(), body, sizes.iter().cycle());
        while let (false, Some((size, style))) = (rest.is_empty(), sizes.next()) {
            let (data, after) = rest.split_at((*size).min(rest.len()));
            let size = data.len();
            bytes.extend(
                match style % 4 {
                    0 => format!("{size:x}\r\n"),
                    1 => format!("{size:X}\r\n"),
                    2 => format!("{size:08x};q=\"\r\n"),
                    _ => format!("{size:x};\r\n"),
                }
                .into_bytes(),
            );
            bytes.extend_from_slice(data);
            bytes.extend_from_slice(b"\r\n");
            rest = after;
        }
        bytes.extend_from_slice(b"0\r\n\r\n");
        bytes
    }

    proptest! {
        #[test]
        fn never_panics_and_never_depends_on_the_pieces(
            bytes in prop::collection::vec(prop::sample::select(&b"0123af;:= \r\n\r\n\r\nxX\0\xff"[..]), 0..60),
            limit in 0_usize..40,
        ) {
            let _ = read_within(&bytes, limit);
        }

        #[test]
        fn reads_back_every_body_however_it_is_cut_into_chunks_and_reads(
            body in prop::collection::vec(any::<u8>(), 0..300),
            sizes in prop::collection::vec((1_usize..90, any::<u8>()), 1..6),
            cut in any::<prop::sample::Index>(),
            after in "[ -~]{0,8}",
        ) {
            let mut bytes = in_chunks(&body, &sizes);
            bytes.extend_from_slice(after.as_bytes());
            let expected = Ok(Some((body, after.len())));
            prop_assert_eq!(&read_cut(&bytes, LIMIT, [cut.index(bytes.len() + 1)].into_iter()), &expected);
            prop_assert_eq!(&read_cut(&bytes, LIMIT, 0..bytes.len()), &expected);
        }
    }
}
