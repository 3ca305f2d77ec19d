//! Tests of the accepted spellings, and of the advice in errors.

use super::*;

fn parse(text: &str) -> Address {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn refusal(text: &str) -> String {
    text.parse::<Address>().expect_err(text).to_string()
}

/// Resolves a list and returns the endpoints of each place.
fn endpoints(list: &str) -> Result<Vec<Vec<Endpoint>>, AddressError> {
    Ok(places(&Address::list(list)?)?.into_iter().map(|place| place.endpoints).collect())
}

fn tcp(address: &str, families: AddressFamilies) -> Endpoint {
    Endpoint::Tcp { address: address.parse().unwrap(), families }
}

fn unix(path: &str, mode: u32, group: Option<&str>) -> Address {
    let name = UnixName::Path(path.into());
    Address::Unix(UnixAddress { name, mode, group: group.map(str::to_owned) })
}

#[test]
fn a_port_alone_means_all_addresses() {
    for text in ["9000", ":9000", "*:9000", " :9000 ", "09000"] {
        assert_eq!(parse(text), Address::Any { port: 9000 }, "{text}");
    }
    assert_eq!(parse(":0"), Address::Any { port: 0 });
    assert_eq!(parse("65535").to_string(), ":65535");
    let both = [tcp("[::]:9000", AddressFamilies::Both), tcp("0.0.0.0:9000", AddressFamilies::Default)];
    assert_eq!(endpoints(":9000").unwrap(), [both]);
}

#[test]
fn an_ip_address_has_a_port_and_brackets_if_it_is_ipv6() {
    for text in ["127.0.0.1:9000", "0.0.0.0:0", "[::1]:9000", "[::]:80", "[2001:db8::1]:443", "[fe80::1%2]:9000"] {
        assert_eq!(parse(text), Address::Ip(text.parse().unwrap()), "{text}");
        assert_eq!(parse(text).to_string(), text);
    }
    assert_eq!(parse(" 127.0.0.1:9000\n"), parse("127.0.0.1:9000"));
}

#[test]
fn a_name_is_looked_up_and_an_interface_belongs_to_its_address() {
    for (text, host) in [
        ("localhost:9000", "localhost"),
        ("Chat.Example.COM:9000", "Chat.Example.COM"),
        ("my_host-1:9000", "my_host-1"),
        ("eth0:9000", "eth0"),
        ("[fe80::1%eth0]:9000", "fe80::1%eth0"),
        ("[fe80::1%vlan.5]:9000", "fe80::1%vlan.5"),
    ] {
        assert_eq!(parse(text), Address::Name { host: host.to_owned(), port: 9000 }, "{text}");
        assert_eq!(parse(text).to_string(), text);
    }
}

#[test]
fn localhost_means_both_families_whatever_a_file_of_hosts_says() {
    let both = [tcp("127.0.0.1:9000", AddressFamilies::Default), tcp("[::1]:9000", AddressFamilies::Default)];
    for text in ["localhost:9000", "LocalHost:9000", "localhost.:9000"] {
        assert_eq!(endpoints(text).unwrap().concat(), both, "{text}");
    }
}

#[test]
fn the_interface_of_an_address_may_be_named_or_numbered() {
    // The loopback interface is the first of every network namespace.
    for text in ["[fe80::1%lo]:9000", "[fe80::1%1]:9000"] {
        assert_eq!(endpoints(text).unwrap(), [[tcp("[fe80::1%1]:9000", AddressFamilies::Default)]], "{text}");
    }
    let error = endpoints("[fe80::1%no-such-interface]:9000").unwrap_err().to_string();
    assert!(error.contains("[fe80::1%no-such-interface]:9000") && error.contains("is not an address"), "{error}");
}

#[test]
fn a_unix_socket_has_a_path_and_perhaps_a_mode_and_a_group() {
    for (text, address) in [
        ("unix:/run/ringsock.sock", unix("/run/ringsock.sock", 0o660, None)),
        ("unix:///run/ringsock.sock", unix("/run/ringsock.sock", 0o660, None)),
        ("UNIX:/run/ringsock.sock", unix("/run/ringsock.sock", 0o660, None)),
        ("unix:run/ringsock.sock", unix("run/ringsock.sock", 0o660, None)),
        ("unix:/run/a.sock?mode=666", unix("/run/a.sock", 0o666, None)),
        ("unix:/run/a.sock?mode=0600", unix("/run/a.sock", 0o600, None)),
        ("unix:/run/a.sock?group=www-data", unix("/run/a.sock", 0o660, Some("www-data"))),
        ("unix:/run/a.sock?mode=770&group=33", unix("/run/a.sock", 0o770, Some("33"))),
        ("unix:/run/a b:c.sock", unix("/run/a b:c.sock", 0o660, None)),
    ] {
        assert_eq!(parse(text), address, "{text}");
        assert_eq!(parse(&address.to_string()), address, "it is shown as it is read");
    }
    let nameless = Address::Unix(UnixAddress {
        name: UnixName::Abstract("ringsock".to_owned()),
        mode: UnixAddress::MODE,
        group: None,
    });
    assert_eq!((parse("unix:@ringsock"), nameless.to_string()), (nameless, "unix:@ringsock".to_owned()));
    let longest = format!("unix:/{}", "a".repeat(UnixAddress::NAME_BYTES_MAX - 1));
    assert_eq!(parse(&longest).to_string(), longest);
}

#[test]
fn a_unix_socket_that_cannot_be_is_refused_with_its_reason() {
    for (text, reason) in [
        ("unix:", "has no path"),
        ("unix:?mode=660", "has no path"),
        ("unix:@", "has no path"),
        ("unix://run/a.sock", "names a host"),
        ("unix:/run/a.sock?mode=rw", "has an invalid mode"),
        ("unix:/run/a.sock?mode=", "has an invalid mode"),
        ("unix:/run/a.sock?mode=66", "has an invalid mode"),
        ("unix:/run/a.sock?mode=680", "has an invalid mode"),
        ("unix:/run/a.sock?mode=1777", "has an invalid mode"),
        ("unix:/run/a.sock?group=", "has an unknown or empty setting"),
        ("unix:/run/a.sock?user=root", "has an unknown or empty setting"),
        ("unix:/run/a.sock?", "has an unknown or empty setting"),
        ("unix:@name?mode=660", "has settings of a file, but no file"),
    ] {
        let said = refusal(text);
        assert!(said.starts_with(&format!("{text:?} {reason}. Write unix:/run/")), "{said}");
    }
    let said = refusal(&format!("unix:/{}", "a".repeat(UnixAddress::NAME_BYTES_MAX)));
    assert!(said.contains("is 108 bytes long; a Unix socket allows 107."), "{said}");
}

#[test]
fn an_almost_valid_address_is_refused_with_a_correction() {
    for (text, advice) in [
        ("127.0.0.1", "has no port. Write 127.0.0.1:9000."),
        ("127.0.0.1:", "has no port. Write 127.0.0.1:9000."),
        ("localhost", "has no port. Write localhost:9000."),
        ("*", "has no port. Write *:9000."),
        ("[::1]", "has no port. Write [::1]:9000."),
        ("::1", "without brackets, so a port cannot be told from its end. Write [::1]:9000."),
        ("::1:9000", "Write [::1]:9000."),
        ("::", "Write [::]:9000."),
        (":::9000", "Write [::]:9000."),
        ("2001:db8::1", "Write [2001:db8::1]:9000."),
        ("fe80::1%eth0", "Write [fe80::1%eth0]:9000."),
        ("fe80::1%eth0:8080", "Write [fe80::1%eth0]:8080."),
        ("[fe80::1]:9000", "Name the interface: [fe80::1%eth0]:9000."),
        (
            "http://0.0.0.0:9000/",
            "is a URL, and an address to listen on has no scheme and no path. Write 0.0.0.0:9000.",
        ),
        ("ws://localhost", "Write localhost:9000."),
        ("tcp://:9000", "Write :9000."),
        ("tcp://0.0.0.0:9000", "Write 0.0.0.0:9000."),
        ("/run/ringsock.sock", "is a path. For a Unix socket write unix:/run/ringsock.sock."),
        ("./ringsock.sock", "write unix:./ringsock.sock."),
        ("@ringsock", "write unix:@ringsock."),
        ("65536", "has the port \"65536\", which is not a port number. Give a number from 0 to 65535."),
        ("127.0.0.1:65536", "has the port \"65536\""),
        ("127.0.0.1:-1", "has the port \"-1\""),
        ("127.0.0.1:+80", "has the port \"+80\""),
        ("127.0.0.1:http", "has the port \"http\""),
        ("[::1]:http", "has the port \"http\""),
        (":http", "has the port \"http\""),
        ("", "An address is empty."),
        ("  ", "An address is empty."),
    ] {
        let said = refusal(text);
        assert!(said.contains(advice), "{text}: {said}");
    }
    for text in
        [":", "[]:9000", "[::1:9000", "[::1]9000", "[127.0.0.1]:9000", "[::1%]:9000", "a b:9000", "a:b:c", "ä:9000"]
    {
        let said = refusal(text);
        assert!(said.starts_with(&format!("{text:?} is not an address to listen on. ")), "{said}");
    }
    for list in ["127.0.0.1:9000,", ",127.0.0.1:9000", "127.0.0.1:9000,,[::1]:9000"] {
        assert_eq!(Address::list(list), Err(AddressError::Empty), "{list}");
    }
}

#[test]
fn several_addresses_may_share_a_port_if_none_covers_another() {
    for list in [
        "127.0.0.1:9000,[::1]:9000",
        "127.0.0.1:9000,127.0.0.2:9000,127.0.0.1:9001",
        "127.0.0.1:0,127.0.0.1:0",
        ":9000,:9001,unix:/run/a.sock,unix:/run/b.sock,unix:@a",
        "0.0.0.0:9000,[::1]:9000",
    ] {
        assert_eq!(endpoints(list).unwrap().len(), list.split(',').count(), "{list}");
    }
    for (list, first, second) in [
        ("127.0.0.1:9000,127.0.0.1:9000", "127.0.0.1:9000", "127.0.0.1:9000"),
        ("localhost:9000,[::1]:9000", "localhost:9000", "[::1]:9000"),
        ("127.0.0.1:9000,0.0.0.0:9000", "127.0.0.1:9000", "0.0.0.0:9000"),
        ("[::1]:9000,[::]:9000", "[::1]:9000", "[::]:9000"),
        (":9000,127.0.0.1:9000", ":9000", "127.0.0.1:9000"),
        ("[::1]:9000,:9000", "[::1]:9000", ":9000"),
        (":9000,0.0.0.0:9000", ":9000", "0.0.0.0:9000"),
        (":9000,9000", ":9000", ":9000"),
        ("unix:/run/a.sock,unix:/run/a.sock?mode=666", "unix:/run/a.sock", "unix:/run/a.sock?mode=666"),
    ] {
        let error = endpoints(list).unwrap_err();
        let twice = AddressError::Twice { first: first.to_owned(), second: second.to_owned() };
        assert_eq!(error, twice, "{list}");
    }
}

#[test]
fn all_ipv6_addresses_leave_ipv4_to_another_process() {
    let v6 = |list: &str| endpoints(list).unwrap().concat().into_iter().find(|endpoint| endpoint.ipv4_port().is_none());
    assert_eq!(v6("[::]:9000"), Some(tcp("[::]:9000", AddressFamilies::Default)));
    assert_eq!(v6("0.0.0.0:9000,[::]:9000"), Some(tcp("[::]:9000", AddressFamilies::Ipv6)));
    assert_eq!(v6("[::]:9000,127.0.0.1:9000"), Some(tcp("[::]:9000", AddressFamilies::Ipv6)));
    assert_eq!(v6("[::]:9000,127.0.0.1:9001"), Some(tcp("[::]:9000", AddressFamilies::Default)));
}

#[test]
fn only_loopback_addresses_and_unix_sockets_are_local() {
    for local in ["127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "[::ffff:127.0.0.1]:1", "localhost:1", "unix:/a", "unix:@a"]
    {
        assert!(parse(local).is_local(), "{local}");
    }
    for open in [":1", "0.0.0.0:1", "[::]:1", "192.0.2.1:1", "[fe80::1%1]:1", "no-such-host.invalid:1"] {
        assert!(!parse(open).is_local(), "{open}");
    }
}

#[test]
fn an_endpoint_for_all_addresses_is_reached_at_one() {
    for (endpoint, reached_at) in [
        (tcp("0.0.0.0:9000", AddressFamilies::Default), "127.0.0.1:9000"),
        (tcp("[::]:9000", AddressFamilies::Both), "127.0.0.1:9000"),
        (tcp("[::]:9000", AddressFamilies::Ipv6), "[::1]:9000"),
        (tcp("192.0.2.1:9000", AddressFamilies::Default), "192.0.2.1:9000"),
    ] {
        assert_eq!(endpoint.reached_at(), reached_at.parse().ok());
    }
}
