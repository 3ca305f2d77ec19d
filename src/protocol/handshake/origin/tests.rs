//! Tests of the origins that browsers and applications send, and of origins that only look like an allowed one.

use proptest::prelude::*;

use super::*;

fn allows(origins: &Origins, origin: &str, host: &str) -> bool {
    origins.allow(Some(origin.as_bytes()), Some(host))
}

#[test]
fn a_page_of_the_same_host_and_port_may_connect() {
    for (origin, host) in [
        ("http://example.com", "example.com"),
        ("http://example.com", "example.com:80"),
        ("http://example.com", "example.com:"),
        ("https://example.com", "example.com"),
        ("https://example.com", "example.com:443"),
        ("https://example.com:443", "example.com"),
        ("https://example.com:8443", "example.com:8443"),
        ("http://example.com", "EXAMPLE.com"),
        ("http://Example.COM:9000", "example.com:9000"),
        ("http://127.0.0.1:9000", "127.0.0.1:9000"),
        ("http://[::1]:9000", "[::1]:9000"),
        ("http://localhost", "localhost"),
        ("https://xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("https://my_host.example", "my_host.example"),
        // Programs that send the URL they connect to as their origin.
        ("ws://127.0.0.1:9700", "127.0.0.1:9700"),
        ("ws://localhost:9000", "localhost:9000"),
        ("ws://example.com", "example.com"),
        ("ws://example.com:80", "example.com"),
        ("ws://example.com", "example.com:80"),
        ("wss://example.com", "example.com"),
        ("wss://example.com", "example.com:443"),
        ("wss://example.com:443", "example.com"),
        ("wss://example.com:8443", "example.com:8443"),
        ("ws://[::1]:9000", "[::1]:9000"),
        ("WSS://Example.COM", "example.com"),
        ("HTTPS://example.com", "example.com"),
        ("Https://example.com", "EXAMPLE.COM:443"),
        // The dot of the root names the same host.
        ("https://example.com.", "example.com"),
        ("https://example.com", "example.com."),
        ("https://example.com.:443", "example.com"),
        ("wss://example.com.", "example.com.:443"),
        ("http://localhost.:9000", "localhost:9000"),
        ("http://127.0.0.1.:9000", "127.0.0.1:9000"),
        // An IPv6 address in another form.
        ("http://[0:0:0:0:0:0:0:1]:9000", "[::1]:9000"),
        ("http://[2001:DB8::1]", "[2001:db8:0::1]"),
        ("http://[::ffff:1.2.3.4]", "[::ffff:102:304]"),
    ] {
        assert!(allows(&Origins::default(), origin, host), "{origin} at {host}");
    }
}

/// Origins that resemble `https://example.com` but differ from it.
const TRICKS: &[&str] = &[
    "",
    " ",
    "null",
    "NULL",
    "*",
    "same-host",
    "https://",
    "://example.com",
    "//example.com",
    "example.com",
    "https:example.com",
    "https:/example.com",
    "https:///example.com",
    "https://example.com.evil",
    "https://example.com.evil.test",
    "https://evilexample.com",
    "https://evil-example.com",
    "https://evil.example.com",
    "https://www.example.com",
    "https://example.co",
    "https://example.comm",
    "https://xample.com",
    "https://example.com..",
    "https://example.com.:443.",
    "https://.",
    "https://..",
    "https://.example.com",
    "https://.example.com.",
    "https://example..com",
    "httpss://example.com",
    "wsss://example.com",
    "ws+https://example.com",
    "https ://example.com",
    " wss://example.com",
    "wss://example.com.evil.test",
    "wss://evil.test",
    "wss://example.com/",
    "wss://user@example.com",
    "wss://example.com:80",
    "wss:example.com",
    "http://example.com:443x",
    "ftp://example.com",
    "javascript://example.com",
    "data:https://example.com",
    "https://example.com/",
    "https://example.com/path",
    "https://example.com?x",
    "https://example.com#x",
    "https://example.com\\",
    "https://evil.test\\example.com",
    "https://evil.test/https://example.com",
    "https://user@example.com",
    "https://user:pass@example.com",
    "https://example.com@evil.test",
    "https://example.com:443@evil.test",
    "https://example.com:",
    "https://example.com:0",
    "https://example.com:0443",
    "https://example.com:+443",
    "https://example.com:-443",
    "https://example.com:443 ",
    "https://example.com:65979",
    "https://example.com:444",
    "https://example.com:80",
    "https://example.com:443:443",
    "https://example.com, https://evil.test",
    "https://example.com https://evil.test",
    "https://evil.test https://example.com",
    "https://evil.test,https://example.com",
    "https://example%2ecom",
    "https://example.com%00.evil.test",
    "https://example.com\0",
    "https://example.com\t",
    " https://example.com",
    "https:// example.com",
    "https://example\u{3002}com",
    "https://ex\u{e4}mple.com",
    "https://\u{435}xample.com",
    "https://xn--xample-2of.com",
    "https://[example.com]",
    "https://[::1]",
    "https://[::1]example.com",
    "https://example.com[::1]",
    "https://[::ffff:1.2.3.4%25lo]",
    "https://[::1%25eth0]",
    "https://[::1].",
    "https://[::1]:",
    "https://[example.com].",
    "https://example.com.[::1]",
    "https://93.184.216.34",
    "https://1572395042",
    "file://",
    "file://example.com",
    "chrome-extension://example.com",
    "https+x://example.com",
    "https://https://example.com",
];

#[test]
fn no_trick_passes_for_the_same_host_nor_for_a_listed_origin() {
    let listed: Origins = "https://example.com".parse().unwrap();
    assert!(TRICKS.len() >= 60);
    for trick in TRICKS {
        assert!(!allows(&Origins::default(), trick, "example.com"), "same host: {trick:?}");
        assert!(!allows(&listed, trick, "example.com"), "listed: {trick:?}");
        assert!(!allows(&listed, trick, "elsewhere.test"), "listed: {trick:?}");
    }
    for bytes in [&b"https://example.com\xff"[..], b"\xff", b"https://\xc0\xae.com"] {
        assert!(!Origins::default().allow(Some(bytes), Some("example.com")));
    }
}

#[test]
fn the_same_name_on_another_port_is_another_host() {
    for (origin, host) in [
        ("http://example.com", "example.com:443"),
        ("https://example.com", "example.com:80"),
        ("http://example.com", "example.com:9000"),
        ("http://example.com:9000", "example.com"),
        ("http://[::1]", "[::1]:9000"),
        ("http://[::1]", "[::2]"),
        ("http://[::1]", "::1"),
        ("http://example.com", "example.com.."),
        ("http://example.com.", "example.com.."),
        ("http://example.com", "."),
        ("ws://example.com", "example.com:443"),
        ("wss://example.com", "example.com:80"),
        ("wss://example.com:443", "example.com:80"),
        ("ws://example.com", "example.com:9000"),
        ("http://localhost", "127.0.0.1"),
        ("http://127.0.0.1:9000", "localhost:9000"),
        ("http://[::1]:9000", "localhost:9000"),
        ("http://[::ffff:127.0.0.1]", "127.0.0.1"),
        // Pages of applications have no host.
        ("capacitor://localhost", "localhost"),
        ("ionic://localhost", "localhost"),
        ("tauri://localhost", "localhost"),
        ("app://localhost", "localhost"),
        ("file://", "localhost"),
        ("file://localhost", "localhost"),
        ("null", "null"),
        ("null", "localhost"),
    ] {
        assert!(!allows(&Origins::default(), origin, host), "{origin} at {host}");
    }
    assert!(!Origins::default().allow(Some(b"http://a"), None), "HTTP/1.0 without a Host");
}

#[test]
fn a_client_without_an_origin_is_no_browser_and_may_connect() {
    for origins in ["same-host", "https://example.com", "*"] {
        assert!(origins.parse::<Origins>().unwrap().allow(None, Some("example.com")));
    }
}

#[test]
fn a_listed_origin_may_connect_to_whatever_host() {
    let origins: Origins = "https://chat.example, http://127.0.0.1:8080,capacitor://localhost".parse().unwrap();
    for origin in [
        "https://chat.example",
        "https://chat.example:443",
        "https://CHAT.example",
        "http://127.0.0.1:8080",
        "capacitor://localhost",
    ] {
        assert!(allows(&origins, origin, "elsewhere.test"), "{origin}");
    }
    for origin in ["http://chat.example", "http://127.0.0.1", "capacitor://localhost:1", "http://elsewhere.test"] {
        assert!(!allows(&origins, origin, "elsewhere.test"), "{origin}: a list says all that is allowed");
    }
    let both: Origins = "same-host,https://chat.example".parse().unwrap();
    assert!(allows(&both, "http://elsewhere.test", "elsewhere.test"));
    assert!(allows(&both, "https://chat.example", "elsewhere.test"));
}

#[test]
fn origins_of_applications_can_be_listed_and_are_compared_whole() {
    let listed = [
        "null",
        "file://",
        "capacitor://localhost",
        "ionic://localhost",
        "tauri://localhost",
        "app://.",
        "app://-",
        "app://obsidian.md",
        "chrome-extension://aapbdbdomjkkjkaonfhkkikfgjllcleb",
        "moz-extension://f2d5d1c0-0b5f-4a0b-9a55-8a2d0f7c9e11",
        "safari-web-extension://8B1A9953-C461-4A3D-9C1E-1F0A1B2C3D4E",
        "vscode-webview://1a2b3c",
    ];
    for own in listed {
        let origins: Origins = own.parse().unwrap();
        for other in listed {
            assert_eq!(allows(&origins, other, "localhost"), own == other, "{other} where {own} is listed");
        }
        for other in [
            "NULL",
            "nul",
            "null.",
            "null:",
            "file:///",
            "file://.",
            "file:///etc",
            "file:",
            "app://",
            "app://..",
            "",
            "http://localhost",
        ] {
            assert!(!allows(&origins, other, "localhost"), "{other} where {own} is listed");
        }
        assert_eq!(origins.to_string(), own);
    }
    let many: Origins = "same-host, null, file://".parse().unwrap();
    assert!(["null", "file://", "http://a"].iter().all(|origin| allows(&many, origin, "a")));
    assert!(!allows(&many, "http://b", "a"));
}

#[test]
fn a_listed_origin_may_be_written_as_the_url_of_the_websocket_or_with_its_port() {
    let spellings = [
        "https://a.test",
        "https://a.test:443",
        "wss://a.test",
        "wss://A.test:443",
        "HTTPS://a.test.",
        "Wss://a.test.:443",
    ];
    for listed in spellings {
        let origins: Origins = listed.parse().unwrap();
        assert_eq!(origins.to_string().to_ascii_lowercase(), "https://a.test", "{listed}");
        for sent in spellings {
            assert!(allows(&origins, sent, "elsewhere.test"), "{sent} where {listed} is listed");
        }
        for other in
            ["http://a.test", "ws://a.test", "ws://a.test:443", "wss://a.test:80", "https://a.test..", "wss://b.test"]
        {
            assert!(!allows(&origins, other, "elsewhere.test"), "{other} where {listed} is listed");
        }
    }
}

#[test]
fn a_refusal_names_the_origin_and_the_host_it_was_compared_with() {
    let said = |origins: &str, origin: &[u8], host| {
        let origins: Origins = origins.parse().unwrap();
        origins.admit(Some(origin), Some(host)).unwrap_err().to_string()
    };
    let text = said("same-host,https://a", b"https://evil.test", "example.com:9000");
    assert!(text.contains("\"https://evil.test\"") && text.contains("\"example.com:9000\""), "{text}");
    // The refusal does not name the Host if the Host makes no difference.
    assert!(!said("https://a", b"null", "example.com").contains("example.com"));
    assert!(said("same-host", b"\xff<b>\r\n", "a").contains(r"\xff\x3cb\x3e\x0d\x0a"));
    assert_eq!(Origins::default().admit(Some(b"ws://a"), Some("a")), Ok(()));
    assert_eq!(Origins::default().admit(None, Some("a")), Ok(()));
}

#[test]
fn a_star_allows_everyone() {
    let origins: Origins = "*".parse().unwrap();
    assert_eq!(origins, Origins::any());
    for origin in ["null", "https://evil.test", "", "nonsense"] {
        assert!(allows(&origins, origin, "example.com"));
    }
}

#[test]
fn a_list_that_no_browser_could_match_is_refused() {
    for text in [
        "",
        "https://a,",
        "NULL",
        "https://a/",
        "https://a..",
        "https://",
        "https://.",
        "file:///",
        "://a",
        "a",
        "https://*.example",
        "https://b\u{fc}cher.example",
        "https://a:0",
        "https://a b",
    ] {
        let element = text.split(',').map(str::trim).find(|element| *element != "https://a").unwrap();
        assert_eq!(text.parse::<Origins>(), Err(InvalidOrigin { text: element.to_owned() }), "{text}");
    }
}

#[test]
fn is_written_as_it_is_read() {
    for text in ["same-host", "*", "same-host, https://a, http://b:8080, https://c", "http://[::1]:9000"] {
        let origins: Origins = text.parse().unwrap();
        assert_eq!(origins.to_string(), text);
    }
    assert_eq!("https://a:443".parse::<Origins>().unwrap().to_string(), "https://a");
}

proptest! {
    #[test]
    fn only_the_listed_origin_itself_is_allowed(
        before in "(|a|https?:|//|[ -~]{0,3})",
        core in prop_oneof![
            Just("https://example.com".to_owned()),
            "(https?|HTTPS|wss?)://example\\.com\\.?(:[0-9]{0,5}|:443)?",
            "\\PC{0,30}",
        ],
        after in "(|\\.|/|[ -~]{0,3}|\\PC{0,3})",
    ) {
        let text = format!("{before}{core}{after}");
        let lower = text.to_ascii_lowercase();
        let rest = lower.strip_prefix("https://").or_else(|| lower.strip_prefix("wss://"));
        let same = rest.is_some_and(|rest| {
            ["example.com", "example.com.", "example.com:443", "example.com.:443"].contains(&rest)
        });
        let listed: Origins = "https://example.com".parse().unwrap();
        prop_assert_eq!(allows(&listed, &text, "example.com"), same, "{}", text);
        prop_assert!(!allows(&Origins::default(), &text, "example.com:9000") || text.ends_with(":9000"));
    }
}
