//! Tests of TLS over the simulated kernel: handshakes and their budget, sessions under faults, and how they end.

use std::cell::Cell;
use std::sync::Arc;

use super::client::{Client, Frame, text};
use super::dice::Dice;
use super::handler::App;
use super::secure::Secure;
use super::world::{Process, World};
use crate::engine::Limits;
use crate::engine::admission::AdmissionPolicy;
use crate::protocol::Reason;
use crate::reactor::sim::Faults;
use crate::tls::tests::acceptor;
use crate::tls::{Acceptor, Connector, RecordLayer};

thread_local! {
    static MICROSECONDS: Cell<u64> = const { Cell::new(0) };
}

/// A clock that goes on by a millisecond with each look.
pub fn ticking_us() -> u64 {
    MICROSECONDS.set(MICROSECONDS.get() + 1_000);
    MICROSECONDS.get()
}

struct Town {
    world: World,
    connector: Connector,
}

fn town(records: RecordLayer, limits: Limits, seed: u64, faults: Faults) -> Town {
    town_behind(AdmissionPolicy::default(), records, limits, seed, faults)
}

fn town_behind(policy: AdmissionPolicy, records: RecordLayer, limits: Limits, seed: u64, faults: Faults) -> Town {
    let (acceptor, connector): (Acceptor, Connector) = acceptor(records);
    let mut process = Process::new(1, policy, &limits);
    process.acceptor = Some(Arc::new(acceptor));
    Town { world: World::within(&process, 0, App::new, limits, seed, faults), connector }
}

impl Town {
    fn connect(&mut self) -> Client {
        let client = self.world.connect();
        client.secured(&self.connector)
    }

    fn open(&mut self, target: &str) -> Client {
        let mut client = self.connect();
        client.ask(target, &[]);
        for _ in 0..10 {
            self.world.settle();
            if client.is_accepted() {
                return client;
            }
        }
        panic!("the upgrade was not accepted: {:?}", client.secure().borrow().fault());
    }

    fn count(&self, name: &str) -> u64 {
        let all = self.world.counters.all();
        all.iter().find(|family| family.name == name).expect("a counter").total()
    }
}

#[test]
fn messages_of_all_sizes_are_echoed_in_order_whatever_the_kernel_does() {
    for (seed, records) in (0..40).zip([RecordLayer::Own, RecordLayer::Rustls].into_iter().cycle()) {
        let faults = Faults { small_buffers: 700, ..Faults::harmless() };
        let mut town = town(records, Limits { handshake_timeout_ms: 60_000, ..Limits::default() }, seed, faults);
        let mut dice = Dice::new(seed);
        let mut clients: Vec<(Client, Vec<Frame>, Vec<Frame>)> =
            (0..8).map(|_| (town.connect(), Vec::new(), Vec::new())).collect();
        clients.iter_mut().for_each(|(client, ..)| client.ask("/", &[]));
        let mut open = vec![false; clients.len()];
        for turn in 0..100_000 {
            for (at, (client, said, heard)) in clients.iter_mut().enumerate() {
                if !open[at] {
                    open[at] = client.is_accepted();
                } else if said.len() < 12 && dice.once_in(8) {
                    let message = format!("{turn} {}", "x".repeat(dice.choose(&[0, 100, 5_000, 16_384, 50_000])));
                    client.send(&message);
                    said.push(text(&message));
                }
                if open[at] {
                    heard.extend(client.frames());
                }
            }
            town.world.turn();
            if open.iter().all(|open| *open)
                && clients.iter().all(|(_, said, heard)| said.len() == 12 && heard.len() == 12)
            {
                break;
            }
        }
        for (_, said, heard) in &clients {
            assert!(said == heard, "seed {seed}: {} said, {} heard", said.len(), heard.len());
        }
        assert_eq!((town.count("tls_handshakes"), town.count("tls_failures")), (8, 0));
    }
}

#[test]
fn a_closing_handshake_ends_with_close_notify_on_both_sides() {
    for records in [RecordLayer::Own, RecordLayer::Rustls] {
        let mut town = town(records, Limits::default(), 1, Faults::default());
        let mut client = town.open("/");
        client.close(1000, "bye");
        town.world.settle();
        assert_eq!(client.frames(), [super::client::close(1000, "bye")]);
        assert!(client.secure().borrow().is_closed(), "the server has said close_notify");
        assert_eq!(town.count("tls_truncated"), 0);
    }
}

#[test]
fn a_stream_that_ends_without_close_notify_is_counted_and_one_with_it_is_not() {
    let mut town = town(RecordLayer::Own, Limits::default(), 1, Faults::default());
    let (cut, orderly) = (town.open("/"), town.open("/"));
    orderly.secure().borrow_mut().close(&orderly.peer);
    town.world.settle();
    assert_eq!(town.count("tls_truncated"), 0);
    assert!(orderly.peer.is_closed_by_server());
    cut.peer.finish();
    town.world.settle();
    assert_eq!(town.count("tls_truncated"), 1);
    assert!(cut.peer.is_closed_by_server());
}

#[test]
fn steps_of_handshakes_have_a_budget_in_every_turn() {
    let limits = Limits { tls_handshake_budget_us: 3_000, ..Limits::default() };
    let mut town = town(RecordLayer::Own, limits, 1, Faults::default());
    let clients: Vec<Client> = (0..20).map(|_| town.connect()).collect();
    let mut waiting = Vec::new();
    for _ in 0..40 {
        town.world.turn();
        waiting.push(town.world.counters.tls_handshakes_waiting.read());
    }
    // Each look at the clock costs a millisecond, so a turn takes three steps.
    let most = waiting.iter().copied().max().unwrap_or(0);
    assert_eq!(most, 17, "{waiting:?}");
    let after = waiting.iter().position(|waiting| *waiting == most).unwrap();
    assert_eq!(waiting[after..after + 7], [17, 14, 11, 8, 5, 2, 0]);
    drop(clients);
}

#[test]
fn clients_that_leave_while_they_wait_cost_no_handshake() {
    let limits = Limits { tls_handshake_budget_us: 1_000, ..Limits::default() };
    let mut town = town(RecordLayer::Own, limits, 1, Faults::default());
    let clients: Vec<Client> = (0..10).map(|_| town.connect()).collect();
    while town.world.counters.tls_handshakes_waiting.read() == 0 {
        town.world.turn();
    }
    // One has had its turn.
    clients[5..].iter().for_each(|client| client.peer.reset());
    town.world.settle();
    assert_eq!(town.count("tls_handshakes_skipped"), 5);
}

#[test]
fn beyond_the_bound_the_newest_clients_are_reset() {
    let limits = Limits { tls_handshakes_waiting_max: 4, tls_handshake_budget_us: 1_000, ..Limits::default() };
    let mut town = town(RecordLayer::Own, limits, 1, Faults::default());
    let mut clients: Vec<Client> = (0..10).map(|_| town.connect()).collect();
    clients.iter_mut().for_each(|client| client.ask("/", &[]));
    town.world.settle();
    for _ in 0..20 {
        clients.iter_mut().for_each(|client| drop(client.secure().borrow_mut().read(&client.peer)));
        town.world.settle();
    }
    let reset = town.count("tls_handshakes_cut_off");
    assert!(reset >= 5, "{reset}");
    assert_eq!(town.count("tls_handshakes") + reset, 10);
}

#[test]
fn plain_http_on_a_tls_port_gets_400_and_a_sentence() {
    let mut town = town(RecordLayer::Own, Limits::default(), 1, Faults::default());
    let mut client = town.world.connect();
    client.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    town.world.settle();
    let answer = client.answer().unwrap();
    assert_eq!(answer.status, 400);
    assert!(answer.body.contains("this port speaks TLS. Use wss:// or https://"), "{}", answer.body);
}

#[test]
fn rubbish_gets_an_alert_and_is_closed() {
    let mut town = town(RecordLayer::Own, Limits::default(), 1, Faults::default());
    for rubbish in
        [&b"\x16\x03\x01\xff\xff"[..], b"SSH-2.0-x\r\n", &[0; 9], &[22, 3, 1, 0, 2, 9, 9], &[21, 3, 3, 0, 2, 2, 40]]
    {
        let mut client = town.world.connect();
        client.write(rubbish);
        town.world.settle();
        client.peer.finish();
        town.world.settle();
        assert!(client.peer.is_closed_by_server(), "{rubbish:?}");
        let sent = client.bytes();
        assert!(
            sent.is_empty() || sent.starts_with(&[21, 3]) || sent.starts_with(b"HTTP/1.1 400"),
            "{rubbish:?}: {sent:?}"
        );
    }
    assert!(town.count("tls_failures") >= 3);
}

#[test]
fn a_handshake_that_is_not_completed_in_time_is_closed() {
    let mut town = town(RecordLayer::Own, Limits::default(), 1, Faults::default());
    let slow = town.world.connect();
    for byte in [22, 3, 1, 0, 200, 1] {
        slow.write(&[byte]);
        town.world.advance(1_000);
    }
    assert_eq!(town.count("handshake_timeouts"), 1);
    town.world.advance(5_000);
    assert!(slow.peer.is_closed_by_server());
    let silent = town.connect();
    town.world.settle();
    town.world.advance(12_000);
    assert!(silent.peer.is_closed_by_server(), "it was silent after the server's part of the handshake");
    assert_eq!(town.count("tls_handshakes"), 0);
}

#[test]
fn a_record_that_was_altered_ends_its_session_alone() {
    let mut town = town(RecordLayer::Own, Limits::default(), 1, Faults::default());
    let (altered, mut other) = (town.open("/"), town.open("/"));
    altered.peer.write(&[23, 3, 3, 0, 40]);
    altered.peer.write(&[7; 40]);
    town.world.settle();
    assert!(altered.peer.is_closed_by_server());
    other.send("still here");
    town.world.settle();
    assert_eq!(other.frames(), [text("still here")]);
    let bad = town.world.counters.tls_failures.counts().find(|(name, _)| *name == "bad_record");
    assert_eq!(bad, Some(("bad_record", 1)));
    assert_eq!(crate::tls::FaultKind::BadRecord.name(), "bad_record");
}

#[test]
fn a_policy_drops_only_what_was_not_sealed_so_a_slow_reader_loses_no_record() {
    for how in ["newest", "oldest", "latest"] {
        let limits = Limits { outbox_bytes_max: 20_000, send_timeout_ms: 0, ..Limits::default() };
        let mut town = town(RecordLayer::Own, limits, 3, Faults { small_buffers: 1_000, ..Faults::default() });
        let mut slow = town.open("/");
        slow.send(&format!("/join t {how}"));
        town.world.settle();
        slow.frames();
        let publisher = town.open("/");
        slow.peer.stop_reading();
        for number in 0..300 {
            publisher.send(&format!("/publish t {number}-{}", "x".repeat(700)));
            town.world.settle();
        }
        assert!(town.world.counters.messages_dropped.read() > 0, "{how}");
        slow.peer.resume_reading();
        let mut heard = Vec::new();
        for _ in 0..50 {
            town.world.settle();
            heard.extend(slow.frames());
        }
        assert!(slow.secure().borrow().fault().is_none(), "{how}: every record opens");
        let numbers: Vec<u32> = heard
            .iter()
            .filter_map(|frame| match frame {
                Frame::Text(text) => text.split('-').next().and_then(|number| number.parse().ok()),
                _ => None,
            })
            .collect();
        assert!(numbers.len() > 1 && numbers.is_sorted(), "{how}: {numbers:?}");
    }
}

#[test]
fn a_storm_of_good_and_bad_clients_leaves_nothing_behind() {
    let mut seen = std::collections::BTreeMap::new();
    for seed in 0..60 {
        let records = if seed % 3 == 0 { RecordLayer::Rustls } else { RecordLayer::Own };
        let limits = Limits {
            tls_handshakes_waiting_max: 3,
            tls_handshake_budget_us: 2_000,
            handshake_timeout_ms: 2_000,
            ..Limits::default()
        };
        let faults = Faults { send_error: 5, recv_error: 5, small_buffers: 300, ..Faults::harmless() };
        let mut town = town(records, limits, seed, faults);
        let mut dice = Dice::new(seed);
        let mut clients: Vec<Client> = Vec::new();
        for _ in 0..600 {
            if clients.len() < 12 && dice.once_in(3) {
                let mut client = if dice.once_in(6) { town.world.connect() } else { town.connect() };
                if client.is_secure() {
                    client.ask("/", &[]);
                }
                clients.push(client);
            }
            if !clients.is_empty() {
                let at = dice.below(clients.len());
                if !act(&mut clients[at], &mut dice) {
                    clients.swap_remove(at);
                }
            }
            clients.retain(|client| !client.peer.is_closed_by_server());
            if dice.once_in(5) {
                town.world.skip(100);
            }
            town.world.turn();
            town.world.check();
        }
        for family in town.world.counters.all().into_iter().filter(|family| family.name.starts_with("tls_")) {
            *seen.entry(family.name).or_insert(0) += family.total();
        }
    }
    assert!(seen.values().all(|count| *count > 0), "never happened: {seen:?}");
}

/// Does something that a client does, or should not do. Returns whether the client is still there.
fn act(client: &mut Client, dice: &mut Dice) -> bool {
    match dice.below(12) {
        0..5 => {
            let bytes = client.bytes();
            // A Close frame or an answer that refuses: nothing more to do.
            drop(bytes);
        }
        5 | 6 if client.is_secure() => client.send("hello"),
        7 => client.peer.write(&[dice.below(256) as u8; 7]),
        8 => {
            client.peer.finish();
            return false;
        }
        9 => {
            client.peer.reset();
            return false;
        }
        10 => client.peer.stop_reading(),
        _ => client.peer.resume_reading(),
    }
    true
}

#[test]
fn a_connection_behind_a_proxy_header_speaks_tls_after_it() {
    let policy = AdmissionPolicy {
        trusted_proxies: "127.0.0.0/8".parse().unwrap(),
        proxy_protocol: true,
        ..AdmissionPolicy::default()
    };
    for pieces in [1, 5, 1_000] {
        let mut town = town_behind(policy.clone(), RecordLayer::Own, Limits::default(), 1, Faults::default());
        let client = town.world.connect_from("127.0.0.9");
        for piece in b"PROXY TCP4 192.0.2.7 198.51.100.1 5000 443\r\n".chunks(pieces) {
            client.write(piece);
            if pieces == 1 {
                town.world.settle();
            }
        }
        let mut client = client.secured(&town.connector);
        client.ask("/", &[]);
        let accepted = (0..10).any(|_| {
            town.world.settle();
            client.is_accepted()
        });
        assert!(accepted, "pieces of {pieces}: {:?}", client.secure().borrow().fault());
    }
}

/// Keeps the type of a client's session in this module's sight.
#[test]
fn a_client_that_does_not_trust_the_server_says_so() {
    let mut town = town(RecordLayer::Own, Limits::default(), 1, Faults::default());
    let stranger = acceptor(RecordLayer::Own).1;
    let client = town.world.connect().secured(&stranger);
    for _ in 0..5 {
        town.world.settle();
        let _: Vec<u8> = Secure::read(&mut client.secure().borrow_mut(), &client.peer);
    }
    assert!(client.secure().borrow().fault().is_some());
    let told = town.world.counters.tls_failures.counts().find(|(name, _)| *name == "peer_alert");
    assert_eq!(told, Some(("peer_alert", 1)));
}
