//! Tests of several `[[listen]]` sections of a file, each with settings of its own.

use std::io::Write;
use std::net::TcpStream;

use super::program::run::Run;
use super::{REACTORS, get, line, refusal, serve};

/// Serves with a file of this content, and returns the addresses that it listens on.
fn serve_with(name: &str, reactor: &str, content: &str) -> (Run, Vec<String>, String) {
    let path = std::path::PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{reactor}.toml"));
    std::fs::write(&path, content).unwrap();
    let run = serve(&["--config", path.to_str().unwrap(), "--cores", "2", "--reactor", reactor]);
    let banner = run.banner();
    let addresses = line(&banner, "listen ").split(", ").map(str::to_owned).collect();
    (run, addresses, banner)
}

#[test]
fn each_address_expects_a_proxy_header_or_none_as_its_section_says() {
    const SECTIONS: &str = "[[listen]]\naddress = \"127.0.0.1:0\"\nproxy-protocol = true\n\
                            [[listen]]\naddress = \"127.0.0.2:0\"\n\
                            [proxies]\ntrusted = \"127.0.0.0/8\"\n";
    for reactor in REACTORS {
        let (_run, addresses, banner) = serve_with("proxied", reactor, SECTIONS);
        let status = |address: &str, header: &str| {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.write_all(header.as_bytes()).unwrap();
            get(stream, "/health").split(' ').nth(1).map(str::to_owned)
        };
        let [proxied, direct] = &addresses[..] else { panic!("{addresses:?}") };
        let header = "PROXY TCP4 192.0.2.7 127.0.0.1 1 1\r\n";
        for (address, header, expected) in
            [(proxied, header, "200"), (proxied, "", "400"), (direct, "", "200"), (direct, header, "400")]
        {
            assert_eq!(status(address, header).as_deref(), Some(expected), "{address} {header:?} {reactor}");
        }
        assert!(banner.contains("proxies      127.0.0.0/8, with a PROXY header at 127.0.0.1:0\n"), "{banner}");
    }
}

#[test]
fn each_address_is_shared_with_another_process_or_not_as_its_section_says() {
    let first = serve(&["--listen", "127.0.0.1:0", "--cores", "1", "--set", "listen.share-port=true"]);
    let address = line(&first.banner(), "listen ");
    let sections = |shared: &str, own: &str| {
        format!("[[listen]]\naddress = \"{shared}\"\nshare-port = true\n[[listen]]\naddress = \"{own}\"\n")
    };
    let (_second, addresses, _) = serve_with("shared", "epoll", &sections(&address, "127.0.0.2:0"));
    assert_eq!(addresses[0], address);
    let path = std::path::PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("not-shared.toml");
    std::fs::write(&path, sections("127.0.0.2:0", &address)).unwrap();
    let refused = refusal(&["--config", path.to_str().unwrap(), "--cores", "1"]);
    assert!(refused.contains(&format!("Cannot listen on {address}: Address already in use")), "{refused}");
}
