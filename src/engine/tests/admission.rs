//! Tests of admission: of pages by their origin, and of clients by their address, whatever announces it.

use std::net::IpAddr;

use super::client::{Client, get, text, upgrade_request};
use super::world::World;
use crate::engine::{AdmissionPolicy, End, Limits};
use crate::protocol::http::Refusal;
use crate::reactor::sim::Faults;

/// The address of the trusted proxy.
const PROXY: &str = "10.0.0.1";

fn policy(proxy_protocol: bool) -> AdmissionPolicy {
    let trusted_proxies = "10.0.0.0/8".parse().unwrap();
    AdmissionPolicy { trusted_proxies, proxy_protocol, ..AdmissionPolicy::default() }
}

fn guarded(policy: AdmissionPolicy, connections: u32, handshakes: u32) -> World {
    let limits = Limits {
        connections_per_address_max: connections,
        handshakes_per_address_per_second_max: handshakes,
        handshake_burst_per_address_max: handshakes.max(1),
        ..Limits::default()
    };
    World::guarded(policy, limits, 0, Faults::default())
}

/// Connects a client through the proxy, which sent these bytes before those of the client.
fn through_proxy(world: &mut World, words: &[u8]) -> Client {
    let client = world.connect_from(PROXY);
    client.write(words);
    client
}

fn proxy_header(source: &str) -> Vec<u8> {
    format!("PROXY TCP4 {source} 10.0.0.9 50000 443\r\n").into_bytes()
}

/// Returns the status of the answer to a request for a WebSocket with these headers.
fn ask(world: &mut World, client: &mut Client, headers: &[(&str, &str)]) -> Option<u16> {
    client.ask_with("/", &[], headers);
    world.settle();
    client.verdict()
}

/// Returns the addresses that the handler was told, without repetitions when a session opened.
fn addresses(world: &World) -> Vec<String> {
    let told: Vec<IpAddr> = world.log.addresses.borrow().iter().map(|address| address.unwrap()).collect();
    assert!(told.chunks(2).all(|pair| pair[0] == pair[1]), "{told:?}");
    told.iter().step_by(2).map(IpAddr::to_string).collect()
}

#[test]
fn a_foreign_origin_gets_403_before_the_handler_hears_of_it() {
    let mut world = World::new();
    for (origin, status) in [
        ("http://localhost", 101),
        ("https://localhost", 101),
        ("https://evil.test", 403),
        ("http://localhost.evil.test", 403),
        ("http://localhost:9000", 403),
        ("null", 403),
    ] {
        let mut client = world.connect();
        assert_eq!(ask(&mut world, &mut client, &[("Origin", origin)]), Some(status), "{origin}");
    }
    assert_eq!(addresses(&world).len(), 2, "refused before the handler is asked");
    assert_eq!(world.counters.http_refusals.read(), 4);
    let mut program = world.connect();
    assert_eq!(ask(&mut world, &mut program, &[]), Some(101));
}

#[test]
fn a_403_says_in_plain_text_which_origin_came_and_which_host_it_was_compared_with() {
    let mut world = World::new();
    let mut client = world.connect();
    let request = String::from_utf8(upgrade_request("/", &[]).0).unwrap();
    client.write(request.replace("\r\n\r\n", "\r\nOrigin: https://<b>.test\r\n\r\n").as_bytes());
    world.settle();
    let answer = client.answer().unwrap();
    assert_eq!(answer.status, 403);
    assert!(answer.head.contains("\r\nContent-Type: text/plain; charset=utf-8\r\n"), "{}", answer.head);
    assert!(answer.body.contains(r#""https://\x3cb\x3e.test""#), "{}", answer.body);
    assert!(answer.body.contains(r#"Host "localhost""#) && answer.body.contains("allow-origin"), "{}", answer.body);
}

#[test]
fn a_program_may_send_the_url_of_the_websocket_for_its_origin() {
    let mut world = World::new();
    for (origin, status) in
        [("ws://localhost", 101), ("wss://LOCALHOST:443", 101), ("ws://localhost.", 101), ("wss://localhost:80", 403)]
    {
        let mut client = world.connect();
        assert_eq!(ask(&mut world, &mut client, &[("Origin", origin)]), Some(status), "{origin}");
    }
}

#[test]
fn only_upgrades_are_judged_by_their_origin() {
    let mut world = World::new();
    let mut client = world.connect();
    client.write(&get("/", "Origin: https://evil.test\r\n"));
    world.settle();
    assert_eq!(client.statuses(), [200]);
}

#[test]
fn listed_origins_may_connect_and_no_others() {
    let origins = "https://chat.example".parse().unwrap();
    let mut world = guarded(AdmissionPolicy { origins, ..AdmissionPolicy::default() }, 0, 0);
    for (origin, status) in [("https://chat.example", 101), ("http://localhost", 403), ("http://chat.example", 403)] {
        let mut client = world.connect();
        assert_eq!(ask(&mut world, &mut client, &[("Origin", origin)]), Some(status), "{origin}");
    }
}

#[test]
fn an_address_with_too_many_connections_is_turned_away_with_429_and_others_are_not() {
    let mut world = guarded(AdmissionPolicy::default(), 2, 0);
    let (first, mut second) = (world.connect_from("192.0.2.1"), world.connect_from("192.0.2.1"));
    let mut third = world.connect_from("192.0.2.1");
    third.write(&get("/", ""));
    let mut other = world.connect_from("192.0.2.2");
    assert_eq!(ask(&mut world, &mut other, &[]), Some(101));
    let answer = third.answer().unwrap();
    assert_eq!(answer.status, 429);
    assert!(answer.head.contains("\r\nRetry-After: 1\r\n"), "{}", answer.head);
    assert!(third.is_at_end() && !third.peer.was_reset());
    assert_eq!((world.counters.turned_away.read(), world.admission.connections()), (1, 3));
    first.peer.finish();
    world.settle();
    let mut next = world.connect_from("192.0.2.1");
    assert_eq!(ask(&mut world, &mut next, &[]), Some(101));
    assert_eq!(ask(&mut world, &mut second, &[]), Some(101));
}

#[test]
fn the_ipv6_addresses_of_one_64_are_one() {
    let mut world = guarded(AdmissionPolicy::default(), 1, 0);
    let mut first = world.connect_from("2001:db8::1");
    assert_eq!(ask(&mut world, &mut first, &[]), Some(101));
    let mut same = world.connect_from("2001:db8::2");
    world.settle();
    assert_eq!(same.statuses(), [429]);
    let mut other = world.connect_from("2001:db8:0:1::1");
    assert_eq!(ask(&mut world, &mut other, &[]), Some(101));
    assert_eq!(addresses(&world), ["2001:db8::1", "2001:db8:0:1::1"]);
}

#[test]
fn handshakes_beyond_the_pace_get_429_until_their_time_has_come() {
    let mut world = guarded(AdmissionPolicy::default(), 0, 2);
    let statuses = |world: &mut World, from: &str, count: usize| -> Vec<u16> {
        (0..count)
            .map(|_| {
                let mut client = world.connect_from(from);
                ask(world, &mut client, &[]).unwrap()
            })
            .collect()
    };
    assert_eq!(statuses(&mut world, "192.0.2.1", 4), [101, 101, 429, 429]);
    assert_eq!(statuses(&mut world, "192.0.2.2", 1), [101]);
    world.advance(500);
    assert_eq!(statuses(&mut world, "192.0.2.1", 2), [101, 429]);
    // Other requests are not handshakes.
    let mut client = world.connect_from("192.0.2.1");
    client.write(&get("/", "").repeat(5));
    world.settle();
    assert_eq!(client.statuses(), [200; 5]);
}

#[test]
fn forged_forwarding_from_a_stranger_changes_nothing() {
    let mut world = guarded(policy(false), 1, 0);
    let mut client = world.connect_from("192.0.2.1");
    let forged = [("X-Forwarded-For", "10.0.0.1"), ("X-Real-IP", "10.0.0.1"), ("Forwarded", "for=10.0.0.1")];
    assert_eq!(ask(&mut world, &mut client, &forged), Some(101));
    assert_eq!(addresses(&world), ["192.0.2.1"]);
    let mut again = world.connect_from("192.0.2.1");
    world.settle();
    assert_eq!(again.statuses(), [429]);
}

#[test]
fn clients_of_a_trusted_proxy_are_told_apart_by_x_forwarded_for() {
    let mut world = guarded(policy(false), 1, 0);
    let mut clients: Vec<Client> = (0..5).map(|_| world.connect_from(PROXY)).collect();
    world.settle();
    assert_eq!(world.admission.connections(), 0, "a proxy stands for many");
    let forwarded = ["192.0.2.1", "192.0.2.2", "192.0.2.1", "198.51.100.1, 192.0.2.2", "192.0.2.3, 10.0.0.2"];
    let verdicts: Vec<_> = clients
        .iter_mut()
        .zip(forwarded)
        .map(|(client, by)| ask(&mut world, client, &[("X-Forwarded-For", by)]))
        .collect();
    assert_eq!(verdicts, [Some(101), Some(101), Some(429), Some(429), Some(101)]);
    assert_eq!(addresses(&world), ["192.0.2.1", "192.0.2.2", "192.0.2.3"]);
    assert_eq!(world.admission.connections(), 3);
    clients[0].peer.reset();
    world.settle();
    let mut next = world.connect_from(PROXY);
    assert_eq!(ask(&mut world, &mut next, &[("X-Forwarded-For", "192.0.2.1")]), Some(101));
    // The proxy's own requests are not limited.
    for _ in 0..3 {
        let mut own = world.connect_from(PROXY);
        assert_eq!(ask(&mut world, &mut own, &[]), Some(101));
    }
}

#[test]
fn the_pace_of_handshakes_is_that_of_the_client_behind_the_proxy() {
    let mut world = guarded(policy(false), 0, 1);
    for (by, status) in [("192.0.2.1", 101), ("192.0.2.2", 101), ("192.0.2.1", 429)] {
        let mut client = world.connect_from(PROXY);
        assert_eq!(ask(&mut world, &mut client, &[("X-Forwarded-For", by)]), Some(status));
    }
}

#[test]
fn a_proxy_header_says_who_the_client_is_however_it_is_split() {
    let v2 = [b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".as_slice(), &[192, 0, 2, 7, 10, 0, 0, 9, 0, 1, 0, 2]].concat();
    for header in [proxy_header("192.0.2.7"), v2] {
        for at in 0..=header.len() {
            let mut world = guarded(policy(true), 1, 0);
            let mut client = through_proxy(&mut world, &header[..at]);
            world.settle();
            client.write(&header[at..]);
            if at % 2 == 0 {
                world.settle();
            }
            // A proxy that only forwards bytes forwards the client's forgery.
            assert_eq!(ask(&mut world, &mut client, &[("X-Forwarded-For", "198.51.100.1")]), Some(101));
            client.send("hello");
            world.settle();
            assert_eq!(client.frames(), [text("hello")]);
            assert_eq!(addresses(&world), ["192.0.2.7"]);
            let mut second = through_proxy(&mut world, &header);
            world.settle();
            assert_eq!(second.statuses(), [429], "counted as soon as it is known");
        }
    }
}

#[test]
fn a_proxy_behind_a_proxy_may_say_more_in_x_forwarded_for() {
    let mut world = guarded(policy(true), 1, 0);
    for by in ["192.0.2.7", "192.0.2.8"] {
        let mut client = through_proxy(&mut world, &proxy_header("10.0.0.2"));
        assert_eq!(ask(&mut world, &mut client, &[("X-Forwarded-For", by)]), Some(101));
    }
    assert_eq!(addresses(&world), ["192.0.2.7", "192.0.2.8"]);
}

#[test]
fn a_proxy_may_speak_for_itself() {
    let mut world = guarded(policy(true), 1, 1);
    for words in [&b"PROXY UNKNOWN\r\n"[..], b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0", b"PROXY UNKNOWN\r\n"] {
        let mut client = through_proxy(&mut world, words);
        assert_eq!(ask(&mut world, &mut client, &[]), Some(101));
    }
    assert_eq!(addresses(&world), [PROXY; 3]);
    // A probe of the port, as load balancers send it.
    let look = through_proxy(&mut world, b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0");
    look.peer.finish();
    world.settle();
    assert!(look.peer.is_closed_by_server());
}

#[test]
fn a_trusted_proxy_without_a_good_header_is_refused_with_400() {
    for words in [
        &get("/", "")[..],
        b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"PROXY TCP4 192.0.2.7\r\n",
        b"PROXY TCP9 1.2.3.4 1.2.3.4 1 1\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x22\x11\0\x0c",
        &[b'P'; 300],
        &[b"PROXY UNKNOWN ", &[b'x'; 300][..]].concat(),
    ] {
        let mut world = guarded(policy(true), 1, 0);
        let mut client = through_proxy(&mut world, words);
        world.settle();
        client.peer.finish();
        world.settle();
        assert_eq!(client.statuses(), [400], "{words:?}");
        assert!(client.is_at_end());
        assert!(addresses(&world).is_empty());
    }
}

#[test]
fn a_proxy_header_from_a_stranger_is_refused_with_400() {
    for proxy_protocol in [true, false] {
        let mut world = guarded(policy(proxy_protocol), 1, 0);
        for words in [proxy_header("192.0.2.7"), b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0".to_vec()] {
            let mut client = world.connect_from("198.51.100.1");
            client.write(&[words, get("/", "")].concat());
            world.settle();
            assert_eq!(client.statuses(), [400]);
            client.peer.finish();
            world.settle();
        }
        let mut plain = world.connect_from("198.51.100.1");
        assert_eq!(ask(&mut world, &mut plain, &[]), Some(101));
    }
}

/// The header of HAProxy's `send-proxy-v2 check`, by which the proxy speaks for itself.
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00";

#[test]
fn a_health_check_of_a_proxy_is_no_refusal_however_it_ends_and_whenever() {
    for (accepted_first, resets) in [(true, true), (true, false), (false, true), (false, false)] {
        for words in [LOCAL, &LOCAL[..9], b"PROXY UNKNOWN\r\n", b""] {
            let mut world = guarded(policy(true), 5, 0);
            let client = world.connect_from(PROXY);
            if accepted_first {
                world.settle();
            }
            client.write(words);
            if accepted_first {
                world.settle();
            }
            if resets {
                client.peer.reset()
            } else {
                client.peer.finish()
            }
            world.settle();
            assert_eq!(world.core.sessions(), 0);
            let counted = |end: End| world.counters.closed.read_for(&end);
            assert_eq!((counted(End::LeftBeforeUpgrade), world.counters.closed.read()), (1, 1), "{words:?}, {resets}");
            assert_eq!((world.counters.http_refusals.read(), world.counters.accepted.read()), (0, 1));
            assert!(world.admission.is_empty());
        }
    }
}

#[test]
fn a_proxy_header_that_nobody_awaits_is_refused_as_that() {
    for words in [LOCAL, &proxy_header("192.0.2.1")] {
        for (policy, from) in [(policy(false), PROXY), (policy(true), "192.0.2.9")] {
            let mut world = guarded(policy, 0, 0);
            let mut client = world.connect_from(from);
            client.write(words);
            client.write(&get("/", ""));
            world.settle();
            assert_eq!(client.statuses(), [400]);
            assert_eq!(
                world.counters.http_refusals.read_for(&Refusal::ProxyHeaderUnexpected),
                1,
                "{words:?} from {from}"
            );
        }
    }
}

#[test]
fn half_a_proxy_header_has_as_long_as_a_request() {
    let mut world = guarded(policy(true), 1, 0);
    let mut client = through_proxy(&mut world, b"PROXY TCP4 192.0.2.7 ");
    let mut silent = through_proxy(&mut world, b"");
    world.advance(4_900);
    assert!(client.hears_nothing() && silent.hears_nothing());
    world.advance(200);
    assert_eq!(client.statuses(), [408]);
    assert!(silent.is_at_end());
}

#[test]
fn a_connection_counts_until_it_is_closed_however_it_ends() {
    let mut world = guarded(AdmissionPolicy::default(), 3, 0);
    let mut opened = world.connect_from("192.0.2.1");
    assert_eq!(ask(&mut world, &mut opened, &[]), Some(101));
    opened.peer.reset();
    let silent = world.connect_from("192.0.2.1");
    world.settle();
    assert_eq!(world.admission.connections(), 1);
    world.advance(5_100);
    silent.peer.finish();
    world.settle();
    assert!(world.admission.is_empty());
    let mut failed = world.connect_from("192.0.2.1");
    assert_eq!(ask(&mut world, &mut failed, &[]), Some(101));
    failed.write(&[0xff; 10]);
    world.settle();
    assert_eq!(world.admission.connections(), 1, "it waits for the end of the stream");
    world.advance(5_100);
    assert!(world.admission.is_empty());
    let mut drained = world.connect_from("192.0.2.1");
    assert_eq!(ask(&mut world, &mut drained, &[]), Some(101));
    world.core.drain();
    world.advance(20_000);
    assert!(world.core.is_done() && world.admission.is_empty());
}

#[test]
fn a_client_turned_away_by_the_total_is_not_counted_for_its_address() {
    let limits = Limits { connections_max: 1, connections_per_address_max: 1, ..Limits::default() };
    let mut world = World::guarded(AdmissionPolicy::default(), limits, 0, Faults::default());
    let first = world.connect_from("192.0.2.1");
    let mut second = world.connect_from("192.0.2.2");
    world.settle();
    assert_eq!(second.statuses(), [503]);
    first.peer.finish();
    world.settle();
    let mut third = world.connect_from("192.0.2.2");
    assert_eq!(ask(&mut world, &mut third, &[]), Some(101));
}

#[test]
fn without_limits_and_proxies_no_address_is_kept() {
    let mut world = World::new();
    let mut client = world.connect_from("192.0.2.1");
    assert_eq!(ask(&mut world, &mut client, &[("X-Forwarded-For", "198.51.100.1")]), Some(101));
    assert_eq!(addresses(&world), ["192.0.2.1"]);
    assert_eq!(world.view().room_for_clients(), 0);
}
