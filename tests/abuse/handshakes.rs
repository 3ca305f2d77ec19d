//! Row 2: requests that are no handshake, or almost, cut anywhere.
//!
//! Invariant under test: the status depends on the bytes alone, and a connection that was refused is closed in order.

use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use ringsock::engine::ReactorKind;
use ringsock::protocol::Origins;
use ringsock::protocol::handshake;
use ringsock::{Handler, Limits, Message, Request, Response, Server, Session};

use crate::attacker::{Next, Peer};
use crate::{Random, figure, on_each_reactor};

include!("../data/requests.rs");

/// Long enough for an idle server to read what was written before the rest follows; if it comes too late, the request is
/// merely split less.
const PAUSE: Duration = Duration::from_millis(10);

/// Connections in one go: below the queue of a listener.
const AT_ONCE: usize = 250;

/// Upgrades every path, and judges whatever does not ask for it as if it had.
struct Judge;

impl Handler for Judge {
    type State = ();

    fn request(&mut self, request: &Request<'_>) -> Response {
        handshake::check(request).map_or_else(|refusal| Response::from(&refusal), |_| Response::new(500))
    }

    fn message(&mut self, _session: &mut Session<'_, ()>, _message: Message<'_>) {}
}

#[test]
fn row_2_every_malformed_handshake_gets_its_status_however_it_is_split() {
    on_each_reactor(|reactor| {
        let kind = if reactor == "uring" { ReactorKind::Uring } else { ReactorKind::Epoll };
        // Shorter than the default, because 408 is waited for; far longer than any request below takes.
        let limits = Limits { handshake_timeout_ms: 3_000, ..Limits::default() };
        let builder = Server::builder().listen("127.0.0.1:0").cores(2).reactor(kind).limits(limits);
        // Real clients come from pages of all kinds; who may is another matter.
        let builder = builder.origins(Origins::any());
        let server = builder.handle_signals(false).start(|_core| Judge).unwrap();
        let (address, counters, controller) = (server.address(), server.counters().to_vec(), server.controller());
        let joined = thread::spawn(move || server.join());

        let (rows, early) = ([refused(), accepted()].concat(), early_data());
        let mut sent = 0;
        sent += judge(address, whole(&rows));
        sent += judge(address, whole(&early));
        sent += judge(address, whole(&unfinished()));
        sent += judge(address, split(&rows, &mut Random(2)));
        sent += judge(address, byte_by_byte(&rows));
        let panics: u64 = counters.iter().map(|counters| counters.handler_panics.read()).sum();
        figure(2, reactor, format!("{sent} requests, 0 wrong, {panics} panics"), "0 wrong, 0 panics");
        assert_eq!(panics, 0);
        controller.drain();
        joined.join().unwrap().unwrap();
    });
}

/// A request in the pieces in which it is sent.
type Cut<'a> = (&'a Row, Vec<usize>);

fn whole(rows: &[Row]) -> Vec<Cut<'_>> {
    rows.iter().map(|row| (row, Vec::new())).collect()
}

/// Each row in two pieces, four times: cut in its line ends, where parsers err, and anywhere.
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

/// Every fortieth row that is short enough, a byte at a time.
fn byte_by_byte(rows: &[Row]) -> Vec<Cut<'_>> {
    let short = rows.iter().filter(|row| (1..400).contains(&row.bytes.len())).step_by(40);
    short.map(|row| (row, (1..row.bytes.len()).collect())).collect()
}

/// Sends all and compares; gives their number.
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

fn expect(row: &Row, cuts: &[usize], peer: &mut Peer) {
    let Row { name, bytes, status } = row;
    if bytes.is_empty() {
        // Who has sent nothing is told nothing.
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
