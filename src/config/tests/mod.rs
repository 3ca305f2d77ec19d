//! Tests of the layers together: sources, precedence, and errors.

mod access;

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use super::*;

/// A value for a key that is not its default, as plain text.
fn sample(key: &Key) -> &'static str {
    match key.to_string().as_str() {
        "listen.address" => "127.0.0.1:9100, [::1]:9100",
        "listen.mode" => "666",
        "listen.group" => "www-data",
        "listen.proxy-protocol" | "listen.share-port" | "api.insecure" => "true",
        "listen.tls" => "off",
        "tls.self-signed" | "tls.no-tickets" => "true",
        "tls.min-version" => "1.3",
        "tls.client-certificates" => "wanted",
        "tls.records" => "rustls",
        "admin.listen" => "none",
        "cores.reactor" => "epoll",
        "cores.pin" => "never",
        "compression.mode" => "shared",
        "compression.level" => "9",
        "compression.server-window-bits" | "compression.client-window-bits" => "10",
        "topics.overflow" => "close, prices/*=latest",
        "handshake.subprotocols" => "chat, v2.example",
        "origin.allow" => "same-host, https://chat.example",
        "proxies.trusted" => "10.0.0.0/8, ::1",
        "api.key" => "s3cret",
        "api.allow-origin" => "https://app.example",
        "log.filter" => "ringsock=trace",
        "log.format" => "json",
        "limits.max-request-line-bytes" => "7000",
        "timeouts.dead-peer-timeout-ms" => "30s",
        "tokens.from" => "header, query",
        "tokens.refuse" => "close",
        "tokens.certificate-name" => "uri",
        "tokens.single-use" | "tokens.open" => "true",
        "issuer.algorithm" => "HS512",
        "issuer.audiences" => "a, b",
        "issuer.key" | "issuer.previous-key" | "api-key.key" => "0123456789abcdef0123456789abcdef",
        "issuer.client-secret" => "s3cret",
        "issuer.discovery" => "true",
        "issuer.introspection-rate" => "50",
        "issuer.iss" => "https://login.example.com",
        "issuer.key-set-url" | "issuer.introspection-url" => "https://login.example.com/keys",
        "issuer.client-secret-file" => concat!(env!("CARGO_MANIFEST_DIR"), "/LICENSE-MIT"),
        "issuer.key-file" => concat!(env!("CARGO_MANIFEST_DIR"), "/LICENSE-MIT"),
        "issuer.roles" | "api-key.roles" | "role.name" | "tokens.certificate-roles" => "user",
        "role.grants" => "subscribe:news",
        "hooks.fact-kinds" => "occupied, vacated",
        "hooks.secret" | "hooks.previous-secret" => "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "hooks.forward-headers" => "cookie",
        "hooks.fallback-connect" | "hooks.fallback-subscribe" => "last-verdict",
        "hooks.fallback-publish" => "allow",
        _ => match key.unit().as_str() {
            "bytes" => "12KiB",
            "ms" => "4s",
            "URL" => "https://app.example.com/hooks",
            "name" | "text" | "claim" => "other",
            "files" => "/etc/a.pem, /etc/b.pem",
            _ => "7",
        },
    }
}

/// The same value as a file has it.
fn sample_of_file(key: &Key) -> String {
    let text = sample(key);
    match key.unit().as_str() {
        "true or false" => text.to_owned(),
        _ if text.parse::<u64>().is_ok() => text.to_owned(),
        _ if text.contains(',') => {
            format!("[{}]", text.split(", ").map(|item| format!("{item:?}")).collect::<Vec<_>>().join(", "))
        }
        _ => format!("{text:?}"),
    }
}

/// Returns whether a key is of a section that may be there several times and is not there by default.
fn is_of_access(key: &Key) -> bool {
    ["issuer", "role", "api-key"].contains(&key.section)
}

/// A file of this test's own.
fn file(name: &str, text: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("ringsock-config-{}-{name}", std::process::id()));
    fs::write(&path, text).unwrap();
    path
}

/// Returns the faults of a file of this text, with `f` for its path.
fn faults(text: &str) -> Vec<String> {
    let file = super::file::File::read(Path::new("f"), text);
    let layers = Layers::of_file(file);
    match layers.resolve() {
        Ok(_) => Vec::new(),
        Err(errors) => errors.iter().map(ToString::to_string).collect(),
    }
}

fn variables(list: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    list.iter().map(|(name, value)| (name.into(), value.into())).collect()
}

fn value(settings: &Settings, key: &Key) -> String {
    key.shown(&settings.config)
}

/// The settings that a key needs beside it.
fn company(key: &Key) -> &'static [(&'static str, &'static str)] {
    const NAME: (&str, &str) = ("issuer.name", "shop");
    const KEY: (&str, &str) = ("issuer.key", "0123456789abcdef0123456789abcdef");
    const ASKED: (&str, &str) = ("issuer.introspection-url", "https://login.example.com/introspect");
    const ID: (&str, &str) = ("issuer.client-id", "ringsock");
    const CLIENT_SECRET: (&str, &str) = ("issuer.client-secret", "s3cret");
    const API_KEY: (&str, &str) = ("api-key.key", "0123456789abcdef0123456789abcdef");
    match key.to_string().as_str() {
        "listen.mode" | "listen.group" => &[("listen.address", "unix:/run/ringsock.sock")],
        "listen.proxy-protocol" => &[("listen.address", "127.0.0.1:9000"), ("proxies.trusted", "127.0.0.1")],
        "listen.share-port" | "listen.tls" => &[("listen.address", "127.0.0.1:9000")],
        "issuer.name" => &[KEY],
        "issuer.key" => &[NAME],
        "issuer.key-file" => &[NAME, ("issuer.algorithm", "HS256")],
        "tokens.certificate-roles" => &[("role.name", "user")],
        "issuer.roles" => &[NAME, KEY, ("role.name", "user")],
        "issuer.key-set-url" => &[NAME],
        "issuer.discovery" => &[NAME, ("issuer.iss", "https://login.example.com")],
        "issuer.introspection-url" => &[NAME, ID, CLIENT_SECRET],
        "issuer.client-id" => &[NAME, ASKED, CLIENT_SECRET],
        "issuer.client-secret" | "issuer.client-secret-file" => &[NAME, ASKED, ID],
        "role.grants" => &[("role.name", "user")],
        "hooks.previous-secret" => &[("hooks.secret", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")],
        "api-key.name" => &[API_KEY],
        "api-key.key" => &[("api-key.name", "feeder")],
        "api-key.roles" => &[("api-key.name", "feeder"), API_KEY, ("role.name", "user")],
        _ if key.section == "issuer" => &[NAME, KEY],
        _ => &[],
    }
}

/// A file with one key and its company.
fn file_with(key: &Key) -> String {
    let mut sections = std::collections::BTreeMap::<&str, String>::new();
    for (name, value) in company(key) {
        let (section, name) = name.split_once('.').unwrap();
        *sections.entry(section).or_default() += &format!("{name} = {value:?}\n");
    }
    *sections.entry(key.section).or_default() += &format!("{} = {}\n", key.name, sample_of_file(key));
    let heading = |section: &str| match section {
        "listen" | "issuer" | "role" | "api-key" => format!("[[{section}]]"),
        _ => format!("[{section}]"),
    };
    sections.iter().map(|(section, lines)| format!("{}\n{lines}", heading(section))).collect()
}

#[test]
fn every_key_is_reached_by_a_file_a_variable_set_and_its_flag() {
    // A set of public keys and a file of secrets have no place in a test of all keys.
    for key in KEYS.iter().filter(|key| !["key-set-file", "secret-file"].contains(&key.name)) {
        let in_file = Layers::of_file(super::file::File::read(Path::new("f"), &file_with(key))).resolve().unwrap();
        let with_company = |layers: Layers| {
            company(key).iter().fold(layers, |layers, (name, value)| layers.set(&format!("{name}={value}")))
        };
        let by_variable = Layers::new().variables(variables(&[(&key.variable(), sample(key))]));
        let by_variable = with_company(by_variable).resolve().unwrap();
        let by_set = with_company(Layers::new()).set(&format!("{key}={}", sample(key))).resolve().unwrap();
        let mut ways = vec![in_file, by_variable, by_set];
        if key.flag.is_some() {
            ways.push(Layers::new().flag(key, sample(key)).resolve().unwrap());
        }
        let expected = value(&ways[0], key);
        assert_ne!(expected, key.default_value(), "{key}");
        for settings in ways {
            assert_eq!(value(&settings, key), expected, "{key}");
        }
    }
}

#[test]
fn a_section_of_several_is_an_element_each_and_a_variable_is_for_all_of_them() {
    let text = "[[role]]\nname = \"a\"\ngrants = [\"subscribe,publish:a/*\", \"publish:b\"]\n\
                [[role]]\nname = \"b\"\ngrants = \"subscribe,publish:c\"\n\
                [[issuer]]\nname = \"one\"\niss = \"one\"\nroles = [\"a\", \"b\"]\n\
                [[issuer]]\nname = \"two\"\n";
    let secret = "0123456789abcdef0123456789abcdef";
    let by_variable = variables(&[("RINGSOCK_ISSUER__KEY", secret)]);
    let layers = Layers::of_file(super::file::File::read(Path::new("f"), text)).variables(by_variable);
    let settings = layers.resolve().unwrap();
    let access = &settings.config.access;
    assert_eq!(access.roles.iter().map(|role| role.grants.len()).collect::<Vec<_>>(), [2, 1]);
    assert!(access.issuers.iter().all(|issuer| issuer.key.as_ref().is_some_and(|key| key.0 == secret.as_bytes())));
    let shown = settings.show();
    for (assignment, source) in [
        ("issuer[0].iss = \"one\"", "f:9"),
        ("issuer[0].key = \"hidden\"", "RINGSOCK_ISSUER__KEY"),
        ("issuer[0].roles = [\"a\", \"b\"]", "f:10"),
        ("issuer[1].name = \"two\"", "f:12"),
        ("issuer[1].key = \"hidden\"", "RINGSOCK_ISSUER__KEY"),
        ("role[1].grants = \"subscribe,publish:c\"", "f:6"),
    ] {
        let mut lines = shown.lines().filter_map(|line| line.split_once("  # "));
        assert!(lines.any(|shown| (shown.0.trim_end(), shown.1) == (assignment, source)), "{assignment}\n{shown}");
    }
    assert!(!shown.contains(secret) && !format!("{settings:?}").contains("48, 49"), "{shown}");
}

#[test]
fn a_later_layer_overrides_key_by_key_and_its_place_is_known() {
    let path = file("layers.toml", "[limits]\nmax-headers = 50\n\nmax-message-bytes = \"1KiB\"\n[cores]\ncount = 2\n");
    let key = find("cores.count").unwrap();
    let headers = find("limits.max-headers").unwrap();
    let environment = variables(&[("RINGSOCK_CORES", "3"), ("RINGSOCK_LIMITS__MAX_HEADERS", "60")]);
    let layers = || Layers::new().variables(environment.clone()).file(Some(&path));
    let in_force = |layers: Layers, key: &Key| {
        let settings = layers.resolve().unwrap();
        (value(&settings, key), settings.source(&key.to_string()).to_string())
    };
    let pair = |value: &str, source: &str| (value.to_owned(), source.to_owned());
    let path_name = path.display();
    assert_eq!(in_force(Layers::new(), key), pair("0", "default"));
    assert_eq!(in_force(Layers::new().file(Some(&path)), key), pair("2", &format!("{path_name}:6")));
    assert_eq!(in_force(layers(), key), pair("3", "RINGSOCK_CORES"));
    assert_eq!(in_force(layers().flag(key, "4"), key), pair("4", "--cores"));
    assert_eq!(in_force(layers().flag(key, "4").set("cores.count=5"), key), pair("5", "--set"));
    assert_eq!(in_force(layers().set("cores.count=5").set("cores.count=6"), key), pair("6", "--set"));
    assert_eq!(in_force(layers().flag(key, "4"), headers), pair("60", "RINGSOCK_LIMITS__MAX_HEADERS"));
    let bytes = find("limits.max-message-bytes").unwrap();
    assert_eq!(in_force(layers().flag(key, "4"), bytes), pair("1024", &format!("{path_name}:4")));
    // The variable names a file; the flag names another one.
    let named = variables(&[("RINGSOCK_CONFIG", path.to_str().unwrap())]);
    assert_eq!(in_force(Layers::new().variables(named.clone()).file(None), key).0, "2");
    let other = file("other.toml", "");
    assert_eq!(in_force(Layers::new().variables(named).file(Some(&other)), key), pair("0", "default"));
}

#[test]
fn a_value_that_another_one_overrides_is_not_read() {
    let key = find("cores.reactor").unwrap();
    let environment = variables(&[("RINGSOCK_REACTOR", "kqueue")]);
    assert!(Layers::new().variables(environment.clone()).flag(key, "epoll").resolve().is_ok());
    assert!(Layers::new().variables(environment).resolve().is_err());
}

#[test]
fn an_empty_or_blank_variable_is_not_set_whatever_it_is_for() {
    for blank in ["", " ", "\n", "\t \r\n"] {
        let mut names: Vec<String> = KEYS.iter().map(Key::variable).collect();
        names.extend([CONFIG_VARIABLE.to_owned(), "RINGSOCK_MAX_HEADERS".to_owned()]);
        let all = names.iter().map(|name| (name.into(), blank.into()));
        let settings = Layers::new().variables(all).file(None).resolve().unwrap();
        for key in KEYS {
            assert_eq!(value(&settings, key), key.default_value(), "{key}, {blank:?}");
        }
    }
}

#[test]
fn white_space_around_the_value_of_a_variable_is_not_part_of_it() {
    let list = [("RINGSOCK_CORES", " 2\n"), ("RINGSOCK_API_KEY", "key\n"), ("RINGSOCK_ADMIN_LISTEN", "none ")];
    let config = Layers::new().variables(variables(&list)).resolve().unwrap().config;
    assert_eq!((config.cores, config.admin_listen), (2, None));
    assert_eq!(config.api_key.0.as_ref().map(ApiKey::text), Some("key"));
}

#[test]
fn a_wrong_value_names_its_variable_its_flag_or_set() {
    let one = |layers: Layers| layers.resolve().unwrap_err().to_string();
    let by_variable = |name: &str, value: &str| one(Layers::new().variables(variables(&[(name, value)])).file(None));
    for (name, value, says) in [
        ("RINGSOCK_CORES", "two", "RINGSOCK_CORES: cores.count is \"two\", but must be a whole number, such as 4."),
        ("RINGSOCK_CORES", "-1", "RINGSOCK_CORES: cores.count is \"-1\", but must be a whole number, such as 4."),
        (
            "RINGSOCK_REACTOR",
            "epol",
            "RINGSOCK_REACTOR: cores.reactor is \"epol\", but must be auto, uring or epoll; did you mean epoll?",
        ),
        (
            "RINGSOCK_LISTEN__SHARE_PORT",
            "yes",
            "RINGSOCK_LISTEN__SHARE_PORT: listen.share-port is \"yes\", but must be true or false.",
        ),
        (
            "RINGSOCK_LIMITS__MAX_HEADERS",
            "1000",
            "RINGSOCK_LIMITS__MAX_HEADERS: limits.max-headers is \"1000\", but must be from 1 to 256.",
        ),
        (
            "RINGSOCK_ADMIN_LISTEN",
            "nowhere",
            "RINGSOCK_ADMIN_LISTEN: admin.listen: \"nowhere\" has no port. Write nowhere:9000. Write none to \
             listen nowhere.",
        ),
        (
            "RINGSOCK_API_KEY",
            "s3cret s3cret",
            "RINGSOCK_API_KEY: api.key must be 1 to 256 visible ASCII characters, such as openssl rand -hex 32 \
             prints, or none.",
        ),
        (
            "RINGSOCK_LOG",
            "ringsock=loudly",
            "RINGSOCK_LOG: log.filter is \"ringsock=loudly\", but must be a filter, such as info, debug or \
             ringsock=trace.",
        ),
        (
            "RINGSOCK_MAX_HEADERS",
            "7",
            "RINGSOCK_MAX_HEADERS: No setting has this variable. That of limits.max-headers is \
             RINGSOCK_LIMITS__MAX_HEADERS.",
        ),
        (
            "RINGSOCK_CONFIG",
            "no/such/file.toml",
            "The configuration file no/such/file.toml (RINGSOCK_CONFIG) cannot be read: No such file or \
             directory (os error 2).",
        ),
    ] {
        assert_eq!(by_variable(name, value), says);
    }
    let by_set = |assignment: &str| one(Layers::new().set(assignment));
    for (assignment, says) in [
        ("limits.max-headers=many", "--set: limits.max-headers is \"many\", but must be a whole number, such as 4."),
        ("limits.ring-entries=1", "--set: limits.ring-entries is not a setting. Did you mean topics.ring-entries?"),
        ("ring_entries=1", "--set: ring_entries is not a setting. Did you mean topics.ring-entries?"),
        ("xyzzy=1", "--set: xyzzy is not a setting. ringsock config defaults lists all."),
        ("cores.count", "--set: \"cores.count\" has no value. Write --set section.key=value."),
        ("cores.count=", "--set: cores.count is \"\", but must be a whole number, such as 4."),
    ] {
        assert_eq!(by_set(assignment), says);
    }
    let flag = find("limits.max-message-bytes").unwrap();
    let says = "--max-message-bytes: limits.max-message-bytes is \"2GiB\", but must be from 1 to 1073741824 (1GiB).";
    assert_eq!(one(Layers::new().flag(flag, "2GiB")), says);
}

#[test]
fn each_fault_of_a_file_names_line_and_key() {
    for (text, says) in [
        ("[cores]\ncount = \"two\"", "f:2: cores.count is \"two\", but must be a whole number, such as 4."),
        ("[cores]\n\ncount = \"4\"", "f:3: cores.count is \"4\", but must be a whole number, such as 4."),
        (
            "[cores]\ncount = 1.5",
            "f:2: cores.count is a number with a fraction, but must be a whole number, such as 4.",
        ),
        ("[cores]\ncount = [1]", "f:2: cores.count is a list, but must be a whole number, such as 4."),
        ("[cores]\ncount = -1", "f:2: cores.count is -1, but must be a whole number, such as 4."),
        ("[cores]\ncount = 1025", "f:2: cores.count is 1025, but must be at most 1024."),
        ("[cores]\npin = true", "f:2: cores.pin is true, but must be auto, always or never."),
        (
            "[api]\ninsecure = \"true\"",
            "f:2: api.insecure is \"true\", but must be true or false without quotes: true.",
        ),
        ("[api]\nkey = 12345", "f:2: api.key must be a key, in quotes."),
        (
            "[limits]\nmax-message-bytes = \"64XB\"",
            "f:2: limits.max-message-bytes is \"64XB\", but must be a number of bytes, such as 65536, 64KiB or 64KB.",
        ),
        (
            "[timeouts]\nping-interval-ms = \"soon\"",
            "f:2: timeouts.ping-interval-ms is \"soon\", but must be a time, such as 25s, 500ms or 25000, which \
             are milliseconds.",
        ),
        ("[limits]\nmax-heders = 1", "f:2: limits.max-heders is not a setting. Did you mean limits.max-headers?"),
        ("[limits]\nmax_headers = 1", "f:2: limits.max_headers is not a setting. Did you mean limits.max-headers?"),
        ("[limits]\nring-entries = 1", "f:2: limits.ring-entries is not a setting. Did you mean topics.ring-entries?"),
        ("[api]\ncolour = 1", "f:2: api.colour is not a setting. The keys of [api] are key, insecure, allow-origin."),
        ("\n[limit]\n", "f:2: [limit] is not a setting. Did you mean [limits]?"),
        (
            "max_message_bytes = 1",
            "f:1: max_message_bytes is not a setting. Did you mean max-message-bytes in the section [limits]?",
        ),
        ("cores = 2", "f:1: cores is a section: write [cores] and below it count = 0."),
        ("listen = \":9000\"", "f:1: listen is a section: write [[listen]] and below it address = \"127.0.0.1:9000\"."),
        (
            "[[listen]]\nmode = \"666\"",
            "f:1: This [[listen]] has no address. Write below it address = \"127.0.0.1:9000\".",
        ),
        ("[[listen]]\naddress = []", "f:2: listen.address is a list, but must name one address or more."),
        (
            "[[listen]]\naddress = \"127.0.0.1\"",
            "f:2: listen.address: \"127.0.0.1\" has no port. Write 127.0.0.1:9000.",
        ),
        (
            "[[listen]]\naddress = \":1\"\nmode = 0o666",
            "f:3: listen.mode: No address of it is a Unix socket with a file, such as unix:/run/ringsock.sock. \
             Leave it out.",
        ),
        (
            "[[listen]]\naddress = \"unix:/a\"\nmode = \"rw\"",
            "f:3: listen.mode is \"rw\", but must be permissions in octal digits, such as \"660\".",
        ),
        ("[topics]\noverflow = 1", "f:2: topics.overflow is 1, but must be policies, as a text or a list of texts."),
        (
            "[topics]\noverflow = \"block\"",
            "f:2: topics.overflow: unknown policy \"block\"; give close, drop-newest, drop-oldest or latest.",
        ),
        (
            "[handshake]\nsubprotocols = [\"a\", \"a\"]",
            "f:2: handshake.subprotocols: \"a\" is there twice; give it once.",
        ),
    ] {
        assert_eq!(faults(text), [says], "{text}");
    }
    assert!(
        faults("[origin]\nallow = \"https://a/\"")[0]
            .starts_with("f:2: origin.allow: \"https://a/\" is not a valid origin. Give a")
    );
    let proxies = faults("[proxies]\ntrusted = [\"::1\", \"proxy\"]");
    assert!(
        proxies[0].starts_with("f:2: proxies.trusted: \"proxy\" is neither an address nor a network."),
        "{proxies:?}"
    );
    assert!(faults("[cores]\ncount 2\n")[0].starts_with("f:2: "));
    assert_eq!(faults("[cores]\ncount = \"a\"\npin = \"b\"\n[limit]\n").len(), 3, "all of them are found");
}

#[test]
fn no_fault_shows_a_secret() {
    for text in [
        "[api]\nkey = s3cret",
        "[api]\nkey = [\"s3cret\"]",
        "[api]\nkey = \"s3cret s3cret\"",
        "[[issuer]]\nname = \"a\"\nkey = \"s3cret\"",
        "[[issuer]]\nkey = [\"s3cret\"]",
        "[api]\nkey = \"s3cret\" s3cret",
        "[api]\nkey = \"s3cret\"\nkey = \"s3cret\"",
        "[api]\nkey = { s3cret = 1 }",
    ] {
        let faults = faults(text);
        assert!(!faults.is_empty() && !faults.concat().contains("s3cret"), "{faults:?}");
    }
    let settings = Layers::new().set("api.key=s3cret").resolve().unwrap();
    let shown = settings.show();
    assert!(!shown.contains("s3cret") && shown.contains("api.key = \"hidden\""), "{shown}");
    assert!(!format!("{settings:?}").contains("s3cret"));
}

#[test]
fn several_listen_sections_each_have_what_they_say() {
    let text = "[[listen]]\naddress = [\"127.0.0.1:1\", \"[::1]:1\"]\n[[listen]]\naddress = \
    [\"unix:/run/a,b.sock\"]\nmode = 0o666\n\
                group = \"www-data\"\n[[listen]]\naddress = 9000\n";
    let layers = || Layers::of_file(super::file::File::read(Path::new("f"), text));
    let settings = layers().resolve().unwrap();
    let shown: Vec<String> = settings.config.listen.iter().map(|listen| listen.address.to_string()).collect();
    assert_eq!(shown, ["127.0.0.1:1", "[::1]:1", "unix:/run/a,b.sock?mode=666&group=www-data", ":9000"]);
    assert_eq!(settings.source("listen[2].mode").to_string(), "f:5");
    assert_eq!(settings.source("listen[1].mode").to_string(), "default");
    // A later layer overrides all of them.
    let settings = layers().set("listen.address=127.0.0.1:2, [::1]:2").resolve().unwrap();
    assert_eq!(settings.config.listen.len(), 2);
    assert_eq!(settings.source("listen[1].address").to_string(), "--set");
    // The other keys hold for all of them.
    let settings = layers().set("listen.share-port=true").resolve().unwrap();
    assert!(settings.config.listen.iter().all(|listen| listen.share_port) && settings.config.listen.len() == 4);
}

#[test]
fn the_defaults_written_to_a_file_are_the_defaults() {
    let path = file("defaults.toml", &defaults());
    let settings = Layers::new().file(Some(&path)).resolve().unwrap();
    for key in KEYS {
        assert_eq!(value(&settings, key), key.default_value(), "{key}");
        if is_of_access(key) {
            continue;
        }
        let name = if key.section == "listen" { format!("listen[0].{}", key.name) } else { key.to_string() };
        assert!(matches!(settings.source(&name), Source::File { .. }), "{key}");
    }
    assert!(defaults().lines().all(|line| line.len() <= 100), "a comment fits 100 columns");
}

#[test]
fn show_tells_each_value_and_its_place() {
    let path = file("show.toml", "[limits]\nmax-headers = 50\n");
    let settings = Layers::new().variables(variables(&[("RINGSOCK_CORES", "3")])).file(Some(&path));
    let shown = settings.set("topics.ring-entries=8").resolve().unwrap().show();
    let line = |name: &str| {
        let line = shown.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(line("limits.max-headers"), format!("limits.max-headers = 50 # {}:2", path.display()));
    assert_eq!(line("cores.count"), "cores.count = 3 # RINGSOCK_CORES");
    assert_eq!(line("topics.ring-entries"), "topics.ring-entries = 8 # --set");
    assert_eq!(line("limits.max-head-bytes"), "limits.max-head-bytes = 16384 # default");
    assert_eq!(line("listen[0].address"), "listen[0].address = \"127.0.0.1:9000\" # default");
    // There is no issuer, no role, and no key of a program.
    assert_eq!(shown.lines().count(), KEYS.iter().filter(|key| !is_of_access(key)).count());
}

#[test]
fn an_error_of_the_library_is_told_with_keys_and_places() {
    let refused = Layers::new().set("timeouts.ping-interval-ms=70s").resolve().unwrap_err().to_string();
    let says = "timeouts.ping-interval-ms (--set) is 70000, but must be below timeouts.dead-peer-timeout-ms, \
    which is 60000, or";
    assert!(refused.starts_with(says), "{refused}");
    let line = Layers::new().set("limits.max-head-bytes=1KiB").set("limits.max-request-line-bytes=2KiB").resolve();
    assert_eq!(
        line.unwrap_err().to_string(),
        "limits.max-request-line-bytes (--set) is 2048, but must be at most limits.max-head-bytes, which is 1024."
    );
    let settings = Layers::new().set("listen.address=192.0.2.1:80").resolve().unwrap();
    let told = settings.explain("Cannot listen on 192.0.2.1:80: no such address.");
    assert_eq!(told, "Cannot listen on 192.0.2.1:80: no such address. The address 192.0.2.1:80 comes from --set.");
    assert_eq!(settings.explain("Nothing is named. ä"), "Nothing is named. ä");
    let refused = Layers::new().set("listen.proxy-protocol=true").resolve().unwrap_err().to_string();
    assert!(refused.starts_with("listen.proxy-protocol (--set) is true, but PROXY headers are accepted"), "{refused}");
    let warnings = Layers::new().set("timeouts.ping-interval-ms=0").resolve().unwrap().warnings();
    assert!(
        warnings.len() == 1 && warnings[0].starts_with("timeouts.ping-interval-ms (--set) is 0, so"),
        "{warnings:?}"
    );
}
