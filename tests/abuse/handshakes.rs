//! Rows 2 and 5: requests that are not quite a handshake, split anywhere, and requests that hide another.
//!
//! Invariant under test: the status depends on the bytes alone, and a refused connection is closed in order.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use crate::attacker::{Next, Peer, UPGRADE};
use crate::server::Server;
use crate::wire::{FIN, TEXT, masked};
use crate::{Random, figure, on_each_reactor};

include!("../data/requests.rs");

/// The time for an idle server to read the first bytes before the rest follows. If it reads later, the request is
/// merely split less.
const PAUSE: Duration = Duration::from_millis(10);

/// The time for a request that is never finished.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Connections in one batch: fewer than the queue of a listener holds.
const AT_ONCE: usize = 250;

#[test]
fn row_2_every_malformed_handshake_gets_its_status_however_it_is_split() {
    on_each_reactor(|reactor| {
        let server = Server::misbehaving(reactor, 0, None);
        // Shorter than the default, because the test waits for 408.
        let impatient = Server::judging(reactor, TIMEOUT.as_millis() as u64);
        let address = server.address;
        let (rows, early) = ([refused(), accepted()].concat(), early_data());
        let mut sent = 0;
        sent += judge(address, whole(&rows));
        sent += judge(address, whole(&early));
        sent += judge_unfinished(impatient.address, &unfinished());
        sent += judge(address, split(&rows, &mut Random(2)));
        sent += judge(address, byte_by_byte(&rows));
        let panics: usize = Peer::open(address).ask("count handler_panics").parse().unwrap();
        figure(2, format!("{sent} requests, 0 wrong, {panics} panics"), "0 wrong, 0 panics");
        assert_eq!(panics, 0);
    });
}

/// The pieces in which a request is sent.
type Cut<'a> = (&'a Row, Vec<usize>);

fn whole(rows: &[Row]) -> Vec<Cut<'_>> {
    rows.iter().map(|row| (row, Vec::new())).collect()
}

/// Returns each row in two pieces, four times: split within its line ends, where parsers err, and anywhere.
fn split<'a>(rows: &'a [Row], random: &mut Random) -> Vec<Cut<'a>> {
    let long_enough = rows.iter().filter(|row| row.bytes.len() > 1);
    let cuts = long_enough.flat_map(|row| {
        let length = row.bytes.len();
        let line_end = row.bytes.iter().position(|byte| *byte == b'\n').unwrap_or(length / 2);
        let end = length - 1 - random.below(length.min(4) - 1);
        [line_end, line_end + 1, end, 1 + random.below(length - 1)].map(|at| (row, vec![at.clamp(1, length - 1)]))
    });
    cuts.collect()
}

/// Returns every fortieth row that is short enough, a byte at a time.
fn byte_by_byte(rows: &[Row]) -> Vec<Cut<'_>> {
    let short = rows.iter().filter(|row| (1..400).contains(&row.bytes.len())).step_by(40);
    short.map(|row| (row, (1..row.bytes.len()).collect())).collect()
}

/// The request that a body hides, which must never be answered.
const HIDDEN: &[u8] = b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

/// Lines with which a proxy in front may see another end of the request than the server. The first three are valid for
/// a request that may have a body.
const SHAPES: &[&[u8]] = &[
    b"Content-Length: 5",
    b"Content-Length:5",
    b"content-length:\t5",
    b"Content-Length: +5",
    b"Content-Length: -1",
    b"Content-Length: 0x5",
    b"Content-Length: 5, 5",
    b"Content-Length: 5,0",
    b"Content-Length: 5 5",
    b"Content-Length: 18446744073709551616",
    b"Content-Length: 0\r\nContent-Length: 68",
    b"Content-Length: 68\r\nContent-Length: 0",
    b"Content-Length: 68\r\ncontent-length: 68",
    b"Content-Length : 68",
    b"Content-Length\t: 68",
    b" Content-Length: 68",
    b"Content-Length\0: 68",
    b"X: y\r\n Content-Length: 68",
    b"X: y\r\n\tContent-Length: 68",
    b"Content-Length:\r\n 68",
    b"X: y\nContent-Length: 68",
    b"X: y\rContent-Length: 68",
    b"X: y\n\rContent-Length: 68",
    b"X: y\r\r\nContent-Length: 68",
    b"X: y\n\nGET /readyz HTTP/1.1",
    b"Content-Length: 68\r\nTransfer-Encoding: chunked",
    b"Transfer-Encoding: chunked\r\nContent-Length: 68",
    b"Transfer-Encoding: chunked",
    b"transfer-encoding:chunked",
    b"Transfer-Encoding:\tchunked",
    b"Transfer-Encoding: identity",
    b"Transfer-Encoding: xchunked",
    b"Transfer-Encoding: \x0Bchunked",
    b"Transfer-Encoding: chunked, identity",
    b"Transfer-Encoding: gzip, chunked",
    b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
    b"Transfer-Encoding : chunked",
    b" Transfer-Encoding: chunked",
    b"X: y\r\n Transfer-Encoding: chunked",
    b"X: y\nTransfer-Encoding: chunked",
    b"Transfer-Encoding\r\n: chunked",
    b"Host: elsewhere.example",
];

/// Unknown codings: 501 where a body is allowed.
const UNKNOWN_CODINGS: &[&[u8]] =
    &[b"Transfer-Encoding: identity", b"Transfer-Encoding: xchunked", b"Transfer-Encoding: gzip, chunked"];

/// Chunked bodies with which a proxy in front may see another end of the body than the server. `@` stands for the
/// hidden request, which has 60 bytes. The first three are valid, the last two exceed the limit.
const CHUNKS: &[&str] = &[
    "3c\r\n@\r\n0\r\n\r\n",
    "22;a=b\r\nGET /readyz HTTP/1.1\r\nHost: locals\r\n0\r\nX: y\r\n\r\n",
    "1\r\nx\r\n0\r\nContent-Length: 68\r\nTransfer-Encoding: chunked\r\n\r\n",
    "3c\n@\r\n0\r\n\r\n",
    "3c\r@\r\n0\r\n\r\n",
    " 3c\r\n@\r\n0\r\n\r\n",
    "3c \r\n@\r\n0\r\n\r\n",
    "3c\t;a\r\n@\r\n0\r\n\r\n",
    "+3c\r\n@\r\n0\r\n\r\n",
    "0x3c\r\n@\r\n0\r\n\r\n",
    "3_c\r\n@\r\n0\r\n\r\n",
    "3c,\r\n@\r\n0\r\n\r\n",
    "3c.0\r\n@\r\n0\r\n\r\n",
    "0000000000000003c\r\n@\r\n0\r\n\r\n",
    "1000000000000003c\r\n@\r\n0\r\n\r\n",
    "3c;\n@\r\n0\r\n\r\n",
    "3c;a=\"\n@\r\n0\r\n\r\n",
    "3c;a\r@\r\n0\r\n\r\n",
    "3c;\0\r\n@\r\n0\r\n\r\n",
    "3b\r\n@\r\n0\r\n\r\n",
    "3c\r\n@0\r\n\r\n",
    "3c\r\n@\n0\r\n\r\n",
    "3c\r\n@\r0\r\n\r\n",
    "3c\r\n@\r\n\r\n0\r\n\r\n",
    "\r\n0\r\n\r\n@",
    ";\r\n0\r\n\r\n@",
    "-0\r\n\r\n@",
    "0\n\n@",
    "0\n\r\n@",
    "0\r\n\n@",
    "0\r\n\r\r\n@",
    "0;\n\r\n@",
    "00000000000000000\r\n\r\n@",
    "1\r\nx\r\n0\r\n@",
    "0\r\n : y\r\n\r\n@",
    "0\r\nX : y\r\n\r\n@",
    "0\r\nX\r\n\r\n@",
    "0\r\nX: y\n\r\n@",
    "0\r\nX: y\n\n@",
    "0\r\nX: y\r\n z\r\n\r\n@",
    "0\r\nX: \0\r\n\r\n@",
    "10001\r\n@",
    "ffffffffffffffff\r\n@",
];

/// Returns the expected status of each.
fn verdict_on_chunks(at: usize) -> &'static [u16] {
    match at {
        0..3 => &[405],
        at if at + 2 >= CHUNKS.len() => &[413],
        _ => &[400],
    }
}

#[test]
fn row_5_a_request_that_hides_another_is_refused_and_the_other_never_read() {
    on_each_reactor(|reactor| {
        let server = Server::misbehaving(reactor, 0, None);
        let smuggled = SHAPES.iter().flat_map(|shape| {
            let plain = b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n";
            [UPGRADE, plain].map(|request| [&request[..request.len() - 2], shape, b"\r\n\r\n", HIDDEN].concat())
        });
        // Bytes that a client sends before it may: a frame, half of one, or a request.
        let frame = masked(FIN | TEXT, b"early");
        let early = [&frame[..], &frame[..1], HIDDEN, b"\r\n", b"0\r\n\r\n"].map(|after| [UPGRADE, after].concat());
        let requests: Vec<Vec<u8>> = smuggled.chain(early).collect();
        let (mut accepted, mut second) = (0, 0);
        for request in &requests {
            let mut peer = Peer::connect(server.address);
            peer.write(request);
            let answer = peer.read_answer();
            let refused = matches!(answer, Some((400, true)));
            accepted += usize::from(!refused);
            // Any further bytes would be parsed as a frame.
            second += usize::from(!matches!(peer.read_to_end(), Next::End | Next::Reset) || !peer.heard_nothing());
            assert!(refused, "{:?} was answered {answer:?}", String::from_utf8_lossy(request));
        }
        figure(
            5,
            format!(
                "{} requests of {} shapes: {accepted} accepted, {second} second ones answered",
                requests.len(),
                SHAPES.len() + 5
            ),
            "0, 0",
        );
        assert_eq!((accepted, second), (0, 0));
    });
}

#[test]
fn row_5_a_request_in_a_body_is_never_answered_on_its_own() {
    let post = |line: &[u8]| [b"POST / HTTP/1.1\r\nHost: localhost\r\n", line, b"\r\n\r\n", HIDDEN].concat();
    let announced = |bytes: usize| post(format!("Content-Length: {bytes}").as_bytes());
    let whole = announced(HIDDEN.len());
    let body_at = whole.len() - HIDDEN.len();
    let mut rows: Vec<(Vec<u8>, Vec<usize>, &[u16])> = vec![
        (whole.clone(), Vec::new(), &[405]),
        (announced(HIDDEN.len() + 1), Vec::new(), &[]),
        (announced(64 * 1024 + 1), Vec::new(), &[413]),
        (whole.repeat(20), Vec::new(), &[405; 20]),
        (whole.clone(), (1..whole.len()).collect(), &[405]),
    ];
    let cuts = [body_at - 1, body_at, body_at + 1, body_at + HIDDEN.len() / 2, whole.len() - 1];
    rows.extend(cuts.map(|cut| (whole.clone(), vec![cut], &[405][..])));
    // After a body of five bytes something begins in lower case.
    let verdict = |at: usize, shape: &&[u8]| match at {
        0..3 => &[405, 400][..],
        _ if UNKNOWN_CODINGS.contains(shape) => &[501],
        _ => &[400],
    };
    rows.extend(SHAPES.iter().enumerate().map(|(at, shape)| (post(shape), Vec::new(), verdict(at, shape))));
    for (at, chunks) in CHUNKS.iter().enumerate() {
        let hidden = String::from_utf8_lossy(HIDDEN);
        let head = "POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
        let request = (head.to_owned() + &chunks.replace('@', &hidden)).into_bytes();
        let cuts = [Vec::new(), vec![head.len()], vec![head.len() + 3], vec![request.len() - 1]];
        rows.extend(cuts.map(|cuts| (request.clone(), cuts, verdict_on_chunks(at))));
    }
    on_each_reactor(|reactor| {
        let server = Server::misbehaving(reactor, 0, None);
        for (request, cuts, due) in &rows {
            let mut peer = Peer::connect(server.address);
            let starts = [0].iter().chain(cuts);
            for (start, end) in starts.zip(cuts.iter().chain([&request.len()])) {
                peer.write(&request[*start..*end]);
                thread::sleep(if cuts.len() == 1 { PAUSE } else { Duration::ZERO });
            }
            peer.finish();
            let answered: Vec<u16> = std::iter::from_fn(|| peer.read_status()).collect();
            assert_eq!(answered, *due, "{:?} cut at {cuts:?}", String::from_utf8_lossy(request));
        }
        figure(5, format!("{} requests with another in their body: 0 of those answered", rows.len()), "0");
    });
}

/// Sends all of them and compares the statuses. Returns their number.
fn judge(address: SocketAddr, requests: Vec<Cut<'_>>) -> usize {
    for requests in requests.chunks(AT_ONCE) {
        let mut peers: Vec<Peer> = requests.iter().map(|_| Peer::connect(address)).collect();
        let pieces = requests.iter().map(|(_, cuts)| cuts.len() + 1).max().unwrap_or(0);
        for piece in 0..pieces {
            for ((row, cuts), peer) in requests.iter().zip(&mut peers) {
                let start = if piece == 0 { Some(&0) } else { cuts.get(piece - 1) };
                let end = cuts.get(piece).copied().unwrap_or(row.bytes.len());
                start.into_iter().for_each(|start| peer.write(&row.bytes[*start..end]));
            }
            thread::sleep(if pieces > 2 { PAUSE / 5 } else { PAUSE });
        }
        for ((row, cuts), peer) in requests.iter().zip(&mut peers) {
            expect(row, cuts, peer);
        }
    }
    requests.len()
}

/// Sends incomplete requests and waits for the verdict. Returns their number.
fn judge_unfinished(address: SocketAddr, rows: &[Row]) -> usize {
    let mut peers: Vec<Peer> = rows.iter().map(|row| begun_in_time(address, row)).collect();
    rows.iter().zip(&mut peers).for_each(|(row, peer)| expect(row, &[], peer));
    rows.len()
}

/// Returns a connection over which all bytes came well before the timeout, however busy the processors are.
fn begun_in_time(address: SocketAddr, row: &Row) -> Peer {
    loop {
        let begun = Instant::now();
        let mut peer = Peer::connect(address);
        peer.write(&row.bytes);
        if begun.elapsed() < TIMEOUT / 2 {
            return peer;
        }
    }
}

fn expect(row: &Row, cuts: &[usize], peer: &mut Peer) {
    let Row { name, bytes, status } = row;
    if bytes.is_empty() {
        // A client that has sent nothing gets no answer.
        assert_eq!(peer.next(), Next::End, "{name}");
        return;
    }
    let Some((answered, closes)) = peer.read_answer() else { panic!("{name} cut at {cuts:?}: no answer") };
    assert_eq!(answered, *status, "{name} cut at {cuts:?}");
    if *status != 101 && closes {
        peer.finish();
        assert_eq!(peer.next(), Next::End, "{name} cut at {cuts:?}: after the refusal");
    }
}
