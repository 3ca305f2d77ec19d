//! Row 14: compressed messages that inflate to many times their size.

use std::sync::LazyLock;
use std::time::Duration;

use zlib_rs::{Deflate, DeflateFlush};

use crate::attacker::{Peer, UPGRADE};
use crate::fragments::warm_up;
use crate::honest::Honest;
use crate::server::Server;
use crate::wire::{BINARY, FIN, KEY, header, masked};
use crate::{figure, in_time, on_each_reactor, scaled};

/// The bit that marks a message as compressed (RFC 7692 6).
const RSV1: u8 = 0x40;

const OFFER: &str = "Sec-WebSocket-Extensions: permessage-deflate\r\n";

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// The additional delay that others may have, compared with a quiet server.
const STALL_MAX: Duration = Duration::from_millis(50);

/// 1 GiB in 1 MiB.
static GREAT: LazyLock<Vec<u8>> = LazyLock::new(|| bomb(1024 * MIB));
/// 60 MiB in less than the default limit.
static FITTING: LazyLock<Vec<u8>> = LazyLock::new(|| bomb(60 * MIB));
/// 12 MiB in 12 KiB: less than a limit of 16 MiB, but more than a hundredfold.
static STEEP: LazyLock<Vec<u8>> = LazyLock::new(|| bomb(12 * MIB));

/// Returns so many zeros, compressed as well as deflate can.
fn bomb(bytes: usize) -> Vec<u8> {
    let mut deflate = Deflate::new(9, false, 15);
    let zeros = vec![0; MIB];
    let mut output = vec![0; bytes / 1000 + 64 * KIB];
    let mut written = 0;
    for part in 0..bytes / MIB {
        let flush = if part + 1 == bytes / MIB { DeflateFlush::SyncFlush } else { DeflateFlush::NoFlush };
        deflate.compress(&zeros, &mut output[written..], flush).unwrap();
        written = deflate.total_out() as usize;
    }
    output.truncate(written - 4);
    assert!(bytes / output.len() > 1000, "{} bytes are no bomb", output.len());
    output
}

#[test]
fn row_14_deflate_bombs_are_refused_before_they_cost_more_than_a_message_may() {
    on_each_reactor(|reactor| {
        for compression in ["shared", "dedicated"] {
            let server = Server::start(reactor, &["--compression", compression]);
            let mut honest = Honest::new(&server);
            warm_up(&server);
            // Its header claims a length beyond the limit: no more of it is sent than would fit the limit.
            let claimed = [header(FIN | RSV1 | BINARY, Some(KEY), GREAT.len() as u64), vec![0; 64 * KIB]].concat();
            let limit = 64 * KIB;
            attack(&server, &mut honest, compression, "1 MiB → 1 GiB by its header", &claimed, limit);
            let fitting = masked(FIN | RSV1 | BINARY, &FITTING);
            attack(&server, &mut honest, compression, "60 KiB → 60 MiB while inflating", &fitting, limit);
        }
    });
}

#[test]
fn row_14_deflate_bombs_are_refused_with_a_limit_of_16_mib_too() {
    on_each_reactor(|reactor| {
        for compression in ["shared", "dedicated"] {
            let limit = (16 * MIB).to_string();
            let server = Server::start(reactor, &["--compression", compression, "--max-message-bytes", &limit]);
            let mut honest = Honest::new(&server);
            warm_up(&server);
            let great = masked(FIN | RSV1 | BINARY, &GREAT);
            let limit = 16 * MIB;
            attack(&server, &mut honest, compression, "1 MiB → 1 GiB while inflating", &great, limit);
            let steep = masked(FIN | RSV1 | BINARY, &STEEP);
            attack(&server, &mut honest, compression, "12 KiB → 12 MiB by its ratio", &steep, limit);
        }
    });
}

/// Sends the same bomb on many connections while honest clients continue.
fn attack(server: &Server, honest: &mut Honest, compression: &str, name: &str, frame: &[u8], limit_bytes: usize) {
    let count = scaled(100);
    let mut peers: Vec<Peer> = (0..count)
        .map(|_| Peer::open_with(server.address, OFFER))
        .map(|(peer, head)| {
            assert!(head.contains("permessage-deflate"), "{head}");
            peer
        })
        .collect();
    let quiet = honest.quiet();
    let before = server.memory();
    server.forget_peak();
    let (refused, served) = honest.during(|| {
        // The bombs are sent side by side, so that as many as possible are inflated at once.
        for part in frame.chunks(64 * KIB) {
            peers.iter_mut().for_each(|peer| peer.write(part));
        }
        let codes = peers.iter_mut().map(Peer::read_close);
        codes.filter(|code| *code == Ok(Some(1009))).count()
    });
    let grown = server.peak().saturating_sub(before);
    let bound = (count * (limit_bytes + 64 * KIB)) as u64;
    let stall_bound = quiet.longest + STALL_MAX;
    figure(
        14,
        format!(
            "{compression}: {count} × {name}: {refused} × 1009, peak + {:.1} MiB, others' longest {:.1?} → {:.1?}",
            grown as f64 / MIB as f64,
            quiet.longest,
            served.longest
        ),
        format!("all, {:.1} MiB, {stall_bound:.1?}", bound as f64 / MIB as f64),
    );
    assert_eq!(refused, count);
    assert!(grown <= bound);
    in_time(served.longest <= stall_bound);
}

#[test]
fn row_14_an_offer_with_window_bits_that_do_not_exist_is_declined() {
    const WRONG: [&str; 14] =
        ["0", "7", "16", "08", "015", "+9", "-9", "9.0", "1e1", "256", "x", "15x", "", "99999999999999999999"];
    on_each_reactor(|reactor| {
        for compression in ["shared", "dedicated"] {
            let server = Server::start(reactor, &["--compression", compression]);
            let mut agreed = 0;
            for side in ["server", "client"] {
                for bits in WRONG {
                    agreed += usize::from(agrees(&server, &format!("{side}_max_window_bits={bits}")));
                }
                for bits in 8..=15 {
                    assert!(agrees(&server, &format!("{side}_max_window_bits={bits}")), "{bits}");
                }
            }
            figure(14, format!("{compression}: {} offers of other window bits: {agreed} agreed", 2 * WRONG.len()), 0);
            assert_eq!(agreed, 0);
        }
    });
}

/// Returns whether the server agrees on compression with this parameter. The session must work in either case, unless
/// the offer is not a valid header.
fn agrees(server: &Server, parameter: &str) -> bool {
    let mut peer = Peer::connect(server.address);
    let offer = format!("Sec-WebSocket-Extensions: permessage-deflate; {parameter}\r\n");
    peer.write(&[&UPGRADE[..UPGRADE.len() - 2], offer.as_bytes(), b"\r\n"].concat());
    let head = peer.read_head().unwrap();
    if head.starts_with("http/1.1 400") {
        return false;
    }
    assert!(head.starts_with("http/1.1 101"), "{parameter}: {head}");
    assert_eq!(peer.ask("plain?"), "plain?");
    head.contains("permessage-deflate")
}
