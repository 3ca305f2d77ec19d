//! Tests of addresses and ports.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};

use super::program::client::Client;
use super::program::run::Run;
use super::{REACTORS, drain, get, line, refusal, serve};

const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

/// The number of ports to try, since another program may take one before it is used.
const TRIES_MAX: usize = 50;

fn host_has_ipv6() -> bool {
    TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok()
}

/// Returns the addresses of this host at which a server that listens on both families is reached.
fn both() -> Vec<IpAddr> {
    if host_has_ipv6() { vec![V4, V6] } else { vec![V4] }
}

/// Starts it with a port that is free in both families, which stands for `PORT` in the flags.
fn serve_at_a_port(flags: &[&str]) -> (Run, u16) {
    for _ in 0..TRIES_MAX {
        let port = TcpListener::bind("0.0.0.0:0").unwrap().local_addr().unwrap().port();
        let flags: Vec<String> = flags.iter().map(|flag| flag.replace("PORT", &port.to_string())).collect();
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let run = serve(&flags);
        // It is either ready, or has ended because another program took the port.
        if run.output.recv().is_ok() {
            return (run, port);
        }
    }
    panic!("no port stays free");
}

fn assert_serves(addresses: &[IpAddr], port: u16) {
    for address in addresses {
        let address = SocketAddr::new(*address, port);
        let answer = get(TcpStream::connect(address).unwrap(), "/health");
        assert!(answer.starts_with("HTTP/1.1 200 "), "{address}: {answer}");
        Client::open(&address.to_string(), "/echo").echo("hello");
    }
}

fn port_of(endpoint: &str) -> u16 {
    endpoint.rsplit_once(':').unwrap().1.parse().unwrap()
}

#[test]
fn localhost_is_served_in_both_families_on_one_port() {
    for reactor in REACTORS {
        let mut run = serve(&["--listen", "localhost:0", "--reactor", reactor]);
        let banner = run.banner();
        let port = port_of(line(&banner, "ringsock is ready on ws://").split('/').next().unwrap());
        let listen: Vec<String> = both().iter().map(|ip| SocketAddr::new(*ip, port).to_string()).collect();
        assert_eq!(line(&banner, "listen "), listen.join(", "));
        assert_serves(&both(), port);
        drain(&mut run);
        assert!(TcpStream::connect((V4, port)).is_err());
    }
}

#[test]
fn a_port_alone_is_served_on_all_addresses() {
    for flag in [":0", "0", "*:0"] {
        let run = serve(&["--listen", flag]);
        let banner = run.banner();
        let listen = line(&banner, "listen ");
        let port = port_of(listen.trim_end_matches(" and IPv4"));
        if host_has_ipv6() {
            assert_eq!(listen, format!("[::]:{port} and IPv4"));
        }
        assert_serves(&both(), port);
        assert_serves(&[IpAddr::V4(Ipv4Addr::new(127, 3, 2, 1))], port);
        // A browser cannot connect to the wildcard address.
        assert!(banner.contains(&format!("(http://127.0.0.1:{port}/ to try it)\n")), "{banner}");
    }
}

#[test]
fn several_addresses_are_served_together_however_they_are_given() {
    let path = std::path::PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("listen.toml");
    std::fs::write(&path, "[[listen]]\naddress = \"127.0.0.1:0\"\n[[listen]]\naddress = \"127.0.0.2:0\"\n").unwrap();
    for flags in [
        &["--listen", "127.0.0.1:0,127.0.0.2:0"][..],
        &["--listen", "127.0.0.1:0, 127.0.0.2:0"],
        &["--listen", "127.0.0.1:0", "--listen", "127.0.0.2:0"],
        &["--config", path.to_str().unwrap()],
    ] {
        let run = serve(flags);
        let listen = line(&run.banner(), "listen ");
        let (first, second) = listen.split_once(", ").unwrap();
        assert!(first.starts_with("127.0.0.1:") && second.starts_with("127.0.0.2:"), "{listen}");
        for address in [first, second] {
            let address: SocketAddr = address.parse().unwrap();
            assert_serves(&[address.ip()], address.port());
        }
    }
}

#[test]
fn all_addresses_of_both_families_share_a_port_when_each_is_named() {
    if !host_has_ipv6() {
        return;
    }
    for list in
        ["0.0.0.0:PORT,[::]:PORT", "[::]:PORT,0.0.0.0:PORT", "127.0.0.1:PORT,[::]:PORT", "0.0.0.0:PORT,[::1]:PORT"]
    {
        for reactor in REACTORS {
            let (mut run, port) = serve_at_a_port(&["--listen", list, "--reactor", reactor, "--cores", "2"]);
            assert_serves(&both(), port);
            drain(&mut run);
        }
    }
}

#[test]
fn addresses_that_cover_each_other_are_refused() {
    for (list, said) in [
        ("127.0.0.1:9000,127.0.0.1:9000", "127.0.0.1:9000 overlaps 127.0.0.1:9000, which is already listened on."),
        ("localhost:9000,127.0.0.1:9000", "127.0.0.1:9000 overlaps localhost:9000, which is already listened on."),
        (":9000,127.0.0.1:9000", "127.0.0.1:9000 overlaps :9000, which is already listened on."),
        ("127.0.0.1:9000,0.0.0.0:9000", "0.0.0.0:9000 overlaps 127.0.0.1:9000, which is already listened on."),
    ] {
        let refused = refusal(&["--listen", list]);
        assert!(refused.contains(said), "{refused}");
    }
}

#[test]
fn one_address_in_use_of_several_is_refused_by_its_name() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let refused = refusal(&["--listen", &format!("127.0.0.2:0,{address}")]);
    assert!(refused.contains(&format!("Cannot listen on {address}: Address already in use")), "{refused}");
}

#[test]
fn an_address_that_is_none_is_refused_with_what_to_write() {
    for (text, said) in [
        ("127.0.0.1", "\"127.0.0.1\" has no port. Write 127.0.0.1:9000."),
        ("::1:9000", "Write [::1]:9000."),
        ("fe80::1%eth0", "Write [fe80::1%eth0]:9000."),
        ("http://0.0.0.0:9000", "Write 0.0.0.0:9000."),
        ("65536", "\"65536\", which is not a port number. Give a number from 0 to 65535."),
        ("/run/ringsock.sock", "write unix:/run/ringsock.sock."),
    ] {
        let refused = serve(&["--listen", text]).refusal();
        let first = refused.lines().next().unwrap();
        assert!(first.starts_with("error: ") && first.contains("--listen") && first.contains(said), "{refused}");
    }
    // No part of a name has more than 63 bytes, so no other host is asked for it.
    let no_host = format!("{}.invalid:9000", "x".repeat(64));
    for text in [no_host.as_str(), "[fe80::1%no-such-interface]:9000"] {
        let refused = refusal(&["--listen", text]);
        assert!(refused.contains(&format!("{text:?} is not an address to listen on: ")), "{refused}");
    }
}

#[test]
fn an_address_of_another_host_is_refused_with_how_to_see_those_of_this_one() {
    // This address is for documentation alone (RFC 5737), so no host has it.
    let refused = refusal(&["--listen", "192.0.2.1:0"]);
    assert!(refused.contains("Cannot listen on 192.0.2.1:0: Cannot assign requested address"), "{refused}");
    assert!(refused.contains("`ip address`") && refused.contains("ip_nonlocal_bind"), "{refused}");
}

#[test]
fn metrics_are_given_at_every_form_of_an_address() {
    for form in ["localhost:0", ":0", "[::1]:0"] {
        if form == "[::1]:0" && !host_has_ipv6() {
            continue;
        }
        let run = serve(&["--listen", "127.0.0.1:0", "--admin-listen", form]);
        let metrics = line(&run.banner(), "metrics ");
        let port = port_of(metrics.trim_start_matches("http://").split('/').next().unwrap());
        let addresses = if form == "[::1]:0" { vec![V6] } else { both() };
        for address in addresses {
            let answer = get(TcpStream::connect((address, port)).unwrap(), "/metrics");
            assert!(answer.contains("ringsock_connections_accepted_total"), "{answer}");
        }
    }
}
