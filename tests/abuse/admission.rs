//! Row 6: admission. Disguised origins, floods from one address, forged addresses, and proxies that lie.
//!
//! Invariant under test: nobody is admitted because of a claim about themselves, and nobody is refused because of
//! others.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use crate::attacker::{Next, Peer};
use crate::server::Server;
use crate::{figure, on_each_reactor, patience};

/// Another address of this host.
const ELSEWHERE: &str = "127.0.0.2";
const HERE: &str = "127.0.0.1";

/// Returns a request for a WebSocket from a page of `https://example.com`, as a server of that name receives it.
fn request(headers: &str) -> Vec<u8> {
    format!(
        "GET /echo HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{headers}\r\n"
    )
    .into_bytes()
}

/// Returns the status of the answer to these bytes of a connection from `source`.
fn status(source: &str, address: SocketAddr, words: &[u8]) -> u16 {
    ask(&mut Peer::connect_from(source, address), words)
}

fn ask(peer: &mut Peer, words: &[u8]) -> u16 {
    peer.write(words);
    peer.read_status().expect("an answer")
}

/// Origins that are not `https://example.com`, however similar they look.
const TRICKS: &[&str] = &[
    "",
    "null",
    "NULL",
    "file://",
    "*",
    "same-host",
    "https://example.com.evil",
    "https://example.com.evil.test",
    "https://evilexample.com",
    "https://evil-example.com",
    "https://evil.example.com",
    "https://example.co",
    "https://example.comm",
    "https://example.com..",
    "https://example.com.:443.",
    "https://.",
    "https://example..com",
    "https://.example.com",
    "httpss://example.com",
    "wss://example.com.evil.test",
    "wss://evil.test",
    "wss://user@example.com",
    "wss://example.com:80",
    "wss://example.com/",
    "https://example.com:443:443",
    "https://example.com\t.evil.test",
    "https://[::1].",
    "ftp://example.com",
    "file://example.com",
    "javascript://example.com",
    "chrome-extension://example.com",
    "//example.com",
    "example.com",
    "https:example.com",
    "https:///example.com",
    "https://example.com/",
    "https://example.com/path",
    "https://example.com?x",
    "https://example.com#x",
    "https://example.com\\",
    "https://evil.test/https://example.com",
    "https://user@example.com",
    "https://user:pass@example.com",
    "https://example.com@evil.test",
    "https://example.com:",
    "https://example.com:0443",
    "https://example.com:+443",
    "https://example.com:65979",
    "https://example.com:444",
    "https://example.com:80",
    "https://example.com, https://evil.test",
    "https://evil.test https://example.com",
    "https://example%2ecom",
    "https://\u{435}xample.com",
    "https://xn--xample-2of.com",
    "https://[::1]",
    "https://[example.com]",
    "https://93.184.216.34",
];

#[test]
fn row_6_no_foreign_origin_gets_in_and_every_allowed_one_does() {
    on_each_reactor(|reactor| {
        let listed = "https://example.com,http://127.0.0.1:8080,capacitor://localhost";
        let same_host = Server::start(reactor, &[]);
        let allow_list = Server::start(reactor, &["--allow-origin", listed]);
        let with_origin =
            |server: &Server, origin: &str| status(HERE, server.address, &request(&format!("Origin: {origin}\r\n")));
        for server in [&same_host, &allow_list] {
            for trick in TRICKS {
                assert_eq!(with_origin(server, trick), 403, "{trick}");
            }
            let twice = request("Origin: https://example.com\r\nOrigin: https://evil.test\r\n");
            assert_eq!(status(HERE, server.address, &twice), 400);
            assert_eq!(status(HERE, server.address, &request("")), 101, "a program that is no browser");
        }
        // Some programs send the URL that they connect to as their origin.
        let spellings = ["https://example.com:443", "https://EXAMPLE.com", "wss://example.com", "HTTPS://example.com."];
        let allowed: Vec<&str> = listed.split(',').chain(spellings).collect();
        for origin in &allowed {
            assert_eq!(with_origin(&allow_list, origin), 101, "{origin}");
        }
        let own = [
            "https://example.com",
            "http://example.com",
            "https://Example.com:443",
            "ws://example.com",
            "wss://example.com.",
        ];
        for origin in own {
            assert_eq!(with_origin(&same_host, origin), 101, "{origin}");
        }
        let (tricks, allowed) = (TRICKS.len() * 2, allowed.len() + own.len());
        figure(
            6,
            format!("{tricks} tricks, 0 accepted; {allowed} allowed, {allowed} accepted"),
            "30 tricks, 0 accepted; all allowed ones accepted",
        );
    });
}

#[test]
fn row_6_a_flood_from_one_address_is_cut_off_and_others_get_in() {
    const CAP: usize = 50;
    on_each_reactor(|reactor| {
        let server = Server::start(reactor, &["--set", "limits.max-connections-per-address=50"]);
        let before = server.descriptors_before();
        let mut flood: Vec<Peer> = (0..4 * CAP).map(|_| Peer::connect_from(HERE, server.address)).collect();
        let statuses: Vec<u16> = flood.iter_mut().map(|peer| ask(peer, &request(""))).collect();
        let [admitted, refused] = [101, 429].map(|wanted| statuses.iter().filter(|status| **status == wanted).count());
        assert_eq!((admitted, refused), (CAP, 3 * CAP), "over both cores together");
        assert_eq!(status(ELSEWHERE, server.address, &request("")), 101);
        drop(flood);
        assert_eq!(server.await_descriptors(before), before);
        let again: Vec<Peer> = (0..CAP).map(|_| await_room(server.address)).collect();
        assert_eq!(status(HERE, server.address, &request("")), 429, "no more than those have been given back");
        drop(again);
        figure(6, format!("{admitted} of {} connections, then all anew", 4 * CAP), format!("exactly {CAP}"));
    });
}

#[test]
fn row_6_handshakes_keep_their_pace_for_each_address() {
    on_each_reactor(|reactor| {
        let flags = [
            "--set",
            "limits.max-handshakes-per-address-per-second=2",
            "--set",
            "limits.max-handshake-burst-per-address=5",
        ];
        let server = Server::start(reactor, &flags);
        let begun = Instant::now();
        let tries = (0..200).map(|_| status(HERE, server.address, &request("")));
        let admitted = tries.filter(|status| *status == 101).count();
        let seconds = begun.elapsed().as_secs_f64();
        let most = 5 + (2.0 * seconds).ceil() as usize;
        assert!((5..=most).contains(&admitted), "{admitted} in {seconds} s");
        assert_eq!(status(ELSEWHERE, server.address, &request("")), 101);
        assert_eq!(status(HERE, server.address, b"GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"), 200);
        thread::sleep(Duration::from_millis(700));
        assert_eq!(status(HERE, server.address, &request("")), 101, "a token is there again");
        figure(6, format!("{admitted} of 200 handshakes in {seconds:.2} s"), format!("5 to {most}"));
    });
}

#[test]
fn row_6_only_a_trusted_proxy_says_whose_connection_it_is() {
    on_each_reactor(|reactor| {
        let flags = ["--trusted-proxies", ELSEWHERE, "--set", "limits.max-connections-per-address=1"];
        let plain = Server::start(reactor, &flags);
        let by = |client: &str| request(&format!("X-Forwarded-For: {client}\r\n"));
        // The stranger has one connection, whatever it claims.
        let mut stranger = Peer::connect_from(HERE, plain.address);
        assert_eq!(ask(&mut stranger, &by("192.0.2.1")), 101);
        assert_eq!(status(HERE, plain.address, &by("192.0.2.2")), 429);
        // The proxy has one connection for each of its clients, whatever they claim.
        let mut clients = Vec::new();
        for (client, expected) in [("192.0.2.1", 101), ("192.0.2.2, 192.0.2.1", 429), ("192.0.2.2", 101)] {
            let mut proxy = Peer::connect_from(ELSEWHERE, plain.address);
            assert_eq!(ask(&mut proxy, &by(client)), expected, "{client}");
            clients.push(proxy);
        }

        let proxied = Server::start(reactor, &[&flags[..], &["--set", "listen.proxy-protocol=true"]].concat());
        let v1 = |client: &str| format!("PROXY TCP4 {client} 127.0.0.2 50000 443\r\n").into_bytes();
        let v2 = [b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".as_slice(), &[192, 0, 2, 9, 127, 0, 0, 2, 0, 1, 0, 2]].concat();
        for (header, expected) in [(v1("192.0.2.1"), 101), (v1("192.0.2.1"), 429), (v2.clone(), 101), (v2, 429)] {
            let mut proxy = Peer::connect_from(ELSEWHERE, proxied.address);
            assert_eq!(ask(&mut proxy, &[&header[..], &by("192.0.2.77")].concat()), expected);
            if expected == 101 {
                assert_eq!(proxy.ask("hello"), "hello");
            }
            clients.push(proxy);
        }
        assert_eq!(status(ELSEWHERE, proxied.address, &request("")), 400, "a proxy without a header");
        assert_eq!(status(ELSEWHERE, proxied.address, b"PROXY TCP4 1.2.3.4\r\n"), 400);
        assert_eq!(status(HERE, proxied.address, &[v1("192.0.2.3"), request("")].concat()), 400, "a stranger with one");
        assert_eq!(await_room(proxied.address).ask("in"), "in");
        drop(clients);
        figure(6, "forged addresses by header, PROXY v1 and v2: 0 believed", "0 believed");
    });
}

/// Returns a session once there is room for it: a connection counts until the core has seen its end.
fn await_room(address: SocketAddr) -> Peer {
    let end = Instant::now() + patience();
    loop {
        let mut peer = Peer::connect_from(HERE, address);
        match ask(&mut peer, &request("")) {
            101 => return peer,
            status => assert!(status == 429 && Instant::now() < end, "{status}"),
        }
        peer.finish();
        assert_eq!(peer.next(), Next::End);
    }
}
