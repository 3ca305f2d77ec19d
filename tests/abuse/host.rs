//! Rows 52 and 54: a host that withdraws resources for a while, and one that is shared.

use std::fs;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use zlib_rs::{Deflate, DeflateFlush};

use crate::attacker::{Next, Peer};
use crate::server::Server;
use crate::wire::{BINARY, FIN, masked};
use crate::withheld::{limit_locked_memory, refuse_system_calls};
use crate::{figure, in_time, on_each_reactor, patience, scaled};

/// The bit that marks a message as compressed (RFC 7692 6).
const RSV1: u8 = 0x40;

/// Longer than a core may hang.
const PAUSE: Duration = Duration::from_secs(12);

const MIB: u64 = 1 << 20;

/// The memory that a server may keep of a crowd that has left: some pages for each size of a block, on each core.
const KEPT_BYTES_MAX: u64 = 16 * MIB;

/// The time after the crowd has left.
const GIVEN_BACK_WITHIN: Duration = Duration::from_secs(20);

#[test]
fn row_52_a_pause_of_the_whole_process_costs_no_session() {
    on_each_reactor(|reactor| {
        // Below full scale other servers wait longer for a core.
        let server = Server::start(reactor, &["--set", "cores.stall-timeout-ms=10000"]);
        let sessions = scaled(5_000);
        let mut peers = Peer::open_many(server.address, sessions);
        server.pause();
        thread::sleep(PAUSE);
        // Messages sent meanwhile are answered afterwards.
        peers.iter_mut().for_each(|peer| peer.say("still there?"));
        server.signal("CONT");
        let answered = peers.iter_mut().map(|peer| peer.next() == Next::Frame(0x81, b"still there?".to_vec()));
        let lost = answered.filter(|answered| !answered).count();
        figure(52, format!("{sessions} sessions, {PAUSE:.0?} stopped: {lost} lost"), "0");
        assert_eq!(lost, 0);
    });
}

#[test]
fn row_52_a_server_that_was_killed_can_be_started_again_at_once() {
    on_each_reactor(|reactor| {
        let sessions = scaled(10_000);
        // Nobody else takes its port while it is down: only this server listens at this address of the host.
        let mut server = Server::start_at(reactor, if reactor == "uring" { "127.0.52.1:0" } else { "127.0.52.2:0" });
        let (address, rounds, mut longest) = (server.address, 5, Duration::ZERO);
        for _ in 0..rounds {
            let peers = Peer::open_many(address, sessions);
            server.signal("KILL");
            server.await_end();
            let killed = Instant::now();
            server = Server::start_at(reactor, &address.to_string());
            longest = longest.max(killed.elapsed());
            drop(peers);
        }
        assert_eq!(Peer::open(address).ask("served again"), "served again");
        figure(
            52,
            format!(
                "killed with {sessions} sessions and started again {rounds} times: at rest after {longest:.2?} at most"
            ),
            "starts each time",
        );
    });
}

/// A host's name, and its treatment of a program.
type Host = (&'static str, fn(&mut Command));

/// Hosts that withhold something that io_uring needs.
const WITHHELD: [Host; 2] = [
    ("64 KiB of memory to lock", |command| limit_locked_memory(command, 64 << 10)),
    ("io_uring_enter refused", |command| refuse_system_calls(command, &[libc::SYS_io_uring_enter], libc::EPERM)),
];

#[test]
fn row_52_what_the_host_withholds_from_io_uring_leaves_epoll() {
    on_each_reactor(|reactor| {
        // If nothing is withheld, the reactor is io_uring.
        let hosts: &[Host] = if reactor == "uring" { &[("nothing withheld", |_| {})] } else { &WITHHELD };
        for (host, withhold) in hosts {
            let server = Server::start_withheld(withhold);
            let sessions = scaled(1_000);
            let mut peers = Peer::open_many(server.address, sessions);
            let served = peers.iter_mut().filter_map(|peer| (peer.ask("served") == "served").then_some(())).count();
            let rings = server.rings();
            figure(52, format!("{host}: {served} of {sessions} served, {rings} rings"), "all, rings or none");
            assert_eq!(served, sessions);
            // Some kernels before 6.14 do not count rings as locked memory.
            assert!((reactor == "uring") == (rings > 0) || host.contains("memory"), "{rings} rings");
        }
    });
}

#[test]
fn row_54_the_memory_of_a_crowd_is_given_back_once_it_has_left() {
    on_each_reactor(|reactor| {
        let flags = ["--compression", "dedicated", "--set", "compression.max-contexts=4096"];
        let server = Server::start(reactor, &flags);
        let before = server.memory();
        let message = masked(FIN | RSV1 | BINARY, &compressed());
        let sessions = scaled(2_000);
        let mut peers: Vec<Peer> = (0..sessions)
            .map(|_| {
                let (mut peer, _) = Peer::open_with(server.address, "Sec-WebSocket-Extensions: permessage-deflate\r\n");
                peer.write(&message);
                assert!(matches!(peer.next(), Next::Frame(0xC2, _)));
                peer
            })
            .collect();
        let with = server.memory();
        // One session stays and continues: a core that only echoes causes nothing by itself that gives memory back.
        let mut last = peers.pop().unwrap();
        drop(peers);
        let left = Instant::now();
        while server.memory() > before + KEPT_BYTES_MAX && left.elapsed() < patience() {
            last.write(&message);
            assert!(matches!(last.next(), Next::Frame(0xC2, _)));
            thread::sleep(Duration::from_millis(10));
        }
        let (kept, took) = (server.memory().saturating_sub(before), left.elapsed());
        figure(
            54,
            format!(
                "{sessions} sessions with streams of their own took {} MiB and left {} MiB after {took:.1?}",
                with.saturating_sub(before) / MIB,
                kept / MIB
            ),
            format!("{} MiB within {GIVEN_BACK_WITHIN:.0?}", KEPT_BYTES_MAX / MIB),
        );
        assert!(kept <= KEPT_BYTES_MAX);
        in_time(took <= GIVEN_BACK_WITHIN);
    });
}

/// Returns a message of 2 KiB that are worth compressing.
fn compressed() -> Vec<u8> {
    let text: Vec<u8> =
        (0..2048u32).map(|n| b"abcdefgh "[(n.wrapping_mul(2_654_435_761) >> 24) as usize % 9]).collect();
    let mut output = vec![0; 4096];
    let mut deflate = Deflate::new(1, false, 15);
    deflate.compress(&text, &mut output, DeflateFlush::SyncFlush).unwrap();
    output.truncate(deflate.total_out() as usize - 4);
    output
}

#[test]
fn row_54_two_servers_of_one_core_each_are_not_put_on_one_processor() {
    on_each_reactor(|reactor| {
        let processors = core_affinity::get_core_ids().unwrap().len();
        let servers = [Server::start_on_one_core(reactor, &[]), Server::start_on_one_core(reactor, &[])];
        let allowed = servers.each_ref().map(core_may_run_on);
        figure(54, format!("two servers of one core on {processors} processors may run on {allowed:?}"), "all of them");
        assert_eq!(allowed, [processors, processors]);
    });
}

/// Returns how many processors a server's only core may run on.
fn core_may_run_on(server: &Server) -> usize {
    let tasks = fs::read_dir(format!("/proc/{}/task", server.pid())).unwrap().map(|task| task.unwrap().path());
    let mut cores = tasks.filter(|task| fs::read_to_string(task.join("comm")).unwrap().starts_with("ringsock-core"));
    let status = fs::read_to_string(cores.next().unwrap().join("status")).unwrap();
    let mask = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed:")).unwrap();
    mask.chars().filter_map(|digit| digit.to_digit(16)).map(|digit| digit.count_ones() as usize).sum()
}
