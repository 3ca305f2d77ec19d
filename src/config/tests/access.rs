//! Tests of what the settings of access, of hooks and of the API must keep together, and of warnings about strangers.

use super::faults;
use crate::config::Layers;

#[test]
fn each_fault_of_access_names_its_section() {
    let secret = "0123456789abcdef0123456789abcdef";
    for (text, says) in [
        ("[[issuer]]", "issuer \"\": the section has no name; write name = \"...\" in it."),
        (
            "[[issuer]]\nname = \"a\"",
            "issuer \"a\": give one of key, key-file, key-set-file, key-set-url and discovery, or introspection-url, \
             so that its tokens can be verified.",
        ),
        (
            "[[issuer]]\nname = \"a\"\nkey = \"short\"",
            "issuer \"a\": the secret has 5 bytes, but needs 32 or more; make one with openssl rand -hex 32.",
        ),
        (
            "[[issuer]]\nname = \"a\"\nkey = \"SECRET\"\nalgorithm = \"RS256\"",
            "issuer \"a\": RS256 needs a public key; give a key-file with it in PEM, or a key set.",
        ),
        (
            "[[issuer]]\nname = \"a\"\nkey = \"SECRET\"\n[[issuer]]\nname = \"b\"\nkey = \"SECRET\"",
            "issuer \"b\": another issuer has the same iss, or none as well; give each its own.",
        ),
        (
            "[[issuer]]\nname = \"a\"\nkey = \"SECRET\"\nroles = \"user\"",
            "issuer \"a\": there is no role \"user\"; add a [[role]] with this name, or correct it.",
        ),
        (
            "[[issuer]]\nname = \"a\"\ndiscovery = true",
            "issuer \"a\": discovery needs iss, the URL of the issuer; it must be a URL, such as \
             https://login.example.com/keys.",
        ),
        (
            "[[issuer]]\nname = \"a\"\ndiscovery = true\niss = \"https://a.example\"\nkey = \"SECRET\"",
            "issuer \"a\": give one of key, key-file, key-set-file, key-set-url and discovery, or introspection-url, \
             so that its tokens can be verified.",
        ),
        (
            "[[issuer]]\nname = \"a\"\nkey-set-url = \"https://a.example\"\nalgorithm = \"HS256\"",
            "issuer \"a\": a key set has public keys only, and HS256 needs a secret.",
        ),
        (
            "[[issuer]]\nname = \"a\"\nkey-set-url = \"http://a.example/keys\"",
            "f:3: issuer.key-set-url is \"http://a.example/keys\", but must begin with https://, or with http:// and \
             an address of this host, such as http://127.0.0.1:8080/.",
        ),
        (
            "[[issuer]]\nname = \"a\"\nintrospection-url = \"https://a.example\"\nclient-id = \"b\"",
            "issuer \"a\": introspection-url needs client-id, and one of client-secret and client-secret-file.",
        ),
        (
            "[[issuer]]\nname = \"a\"\nkey = \"SECRET\"\nclient-secret = \"b\"",
            "issuer \"a\": client-id and client-secret are for an issuer with introspection-url.",
        ),
        (
            "[[issuer]]\nname = \"a\"\niss = \"a\"\nintrospection-url = \"https://a.example\"\nclient-id = \"b\"\n\
             client-secret = \"c\"\n[[issuer]]\nname = \"b\"\nintrospection-url = \"https://b.example\"\n\
             client-id = \"b\"\nclient-secret = \"c\"",
            "issuer \"b\": another issuer has introspection-url, and only one can be asked about a token that names no \
             issuer.",
        ),
        ("[[role]]\nname = \"a\"\n[[role]]\nname = \"a\"", "role \"a\": the name is there twice."),
        (
            "[[api-key]]\nname = \"a\"\nkey = \"SECRET\"\n[[api-key]]\nname = \"b\"\nkey = \"SECRET\"",
            "api-key \"b\": another program has the same key.",
        ),
        ("issuer = \"a\"", "f:1: issuer is a section: write [[issuer]] and below it name = \"...\"."),
        (
            "[[issuer]]\nname = \"a\"\nkey-file = \"no/such/file\"",
            "f:3: issuer.key-file: The file no/such/file cannot be read: No such file or directory (os error 2).",
        ),
        (
            "[[issuer]]\nalgorithm = \"none!\"",
            "f:2: issuer.algorithm is \"none!\", but must be one of HS256, HS384, HS512, RS256, RS384, RS512, PS256, \
             PS384, PS512, ES256, ES384, ES512, EdDSA.",
        ),
        ("[[role]]\ngrants = 1", "f:2: role.grants is 1, but must be a list of grants, such as [\"subscribe:news\"]."),
        (
            "[tokens]\nfrom = \"body\"",
            "f:2: tokens.from: \"body\" is no place for a token; give header, cookie, query, subprotocol, \
             first-message or certificate.",
        ),
        (
            "[tokens]\nfrom = \"cookie\"\n[origin]\nallow = \"same-host, null\"",
            "tokens.from has cookie, but origin.allow has null, so any web page could act as its visitor. List the \
             origins of your pages in origin.allow.",
        ),
        (
            "[tokens]\nfrom = \"certificate\"",
            "tokens.from has certificate, but tls.client-certificates is off, so no client shows one. Set it to wanted \
             or required, and name the authorities in tls.client-authorities.",
        ),
        (
            "[tls]\nclient-certificates = \"wanted\"\nclient-authorities = \"ca.pem\"\n\
             [tokens]\nfrom = \"certificate\"",
            "tokens.from has certificate, but there is no [[role]], so clients without a certificate would get in as \
             well. Add one, and name it in tokens.certificate-roles.",
        ),
        (
            "[tls]\nclient-certificates = \"wanted\"\nclient-authorities = \"ca.pem\"\n\
             [tokens]\nfrom = \"certificate\"\n[[role]]\nname = \"a\"\n\
             [origin]\nallow = [\"same-host\", \"*\"]",
            "tokens.from has certificate, but origin.allow has *, so any web page could act as its visitor. List the \
             origins of your pages in origin.allow.",
        ),
        (
            "[tokens]\ncertificate-roles = \"nobody\"",
            "tokens \"certificate-roles\": there is no role \"nobody\"; add a [[role]] with this name, or correct it.",
        ),
        (
            "[tokens]\nfrom = \"cookie\"\n[origin]\nallow = \"*\"",
            "tokens.from has cookie, but origin.allow has *, so any web page could act as its visitor. List the \
             origins of your pages in origin.allow.",
        ),
    ] {
        assert_eq!(faults(&text.replace("SECRET", secret)), [says], "{text}");
    }
}

#[test]
fn each_fault_of_a_hook_is_told_without_secret_and_url() {
    for (text, says) in [
        (
            "connect = \"http://app.example.com/\"",
            "f:2: hooks.connect is \"http://app.example.com/\", but must begin with https://, or with http:// and an \
             address of this host, such as http://127.0.0.1:8080/.",
        ),
        (
            "facts = \"https://me:password@app.example.com/\"",
            "f:2: hooks.facts: The URL must not have a user or a password in it, since URLs are shown in logs.",
        ),
        (
            "secret = \"whsec_secret\"",
            "f:2: hooks.secret must be whsec_ and 24 to 64 bytes in base64, such as whsec_ and what openssl rand \
             -base64 32 prints.",
        ),
        (
            "previous-secret = \"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\"",
            "hooks.previous-secret is given without hooks.secret; give the secret that replaces it, too.",
        ),
        (
            "connect = \"http://[::1]:1/\"\n[tokens]\nfrom = \"first-message\"",
            "tokens.from has first-message, but hooks.connect and hooks.subscribe are asked at the handshake, when \
             there is no token yet. Leave one of them out.",
        ),
        (
            "forward-headers = \"cookie\"\n[origin]\nallow = \"*\"",
            "hooks.forward-headers has cookie, but origin.allow is *, so any web page could act as its visitor. List \
             the origins of your pages in origin.allow.",
        ),
        (
            "fact-kinds = \"left\"",
            "f:2: hooks.fact-kinds: \"left\" is no kind of facts; give connected, disconnected, subscribed, \
             unsubscribed, occupied, vacated.",
        ),
    ] {
        assert_eq!(faults(&format!("[hooks]\n{text}")), [says], "{text}");
    }
}

#[test]
fn hooks_without_a_secret_or_that_take_longer_than_a_handshake_are_warned_of() {
    let warnings = |sets: &[&str]| {
        let layers = sets.iter().fold(Layers::new(), |layers, set| layers.set(set));
        layers.resolve().unwrap().warnings()
    };
    let secret = "hooks.secret=whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    assert!(warnings(&[]).is_empty() && warnings(&["hooks.connect=http://[::1]:1/", secret]).is_empty());
    assert!(warnings(&["hooks.connect=http://[::1]:1/"])[0].contains("hooks.secret is none"));
    assert!(warnings(&["hooks.facts=http://[::1]:1/", secret, "hooks.timeout-ms=30s"])[0].contains("408"));
}

#[test]
fn a_server_that_strangers_reach_is_warned_of_until_it_has_tokens_and_tls_or_the_operator_knows() {
    let warnings = |sets: &[&str]| {
        sets.iter().fold(Layers::new(), |layers, set| layers.set(set)).resolve().unwrap().warnings().join(" ")
    };
    let (role, tls) = ("role.name=anonymous", "tls.self-signed=true");
    for local in ["127.0.0.1:9000", "[::1]:0", "localhost:9000", "unix:/run/ringsock.sock"] {
        assert_eq!(warnings(&[&format!("listen.address={local}")]), "", "{local}");
    }
    for reached in [":9000", "0.0.0.0:9000", "[::]:9000", "192.0.2.1:9000"] {
        let listen = &format!("listen.address={reached}");
        let said = warnings(&[listen]);
        for part in [reached, "needs no token", "without TLS", "tokens.open = true"] {
            assert!(said.contains(part), "{part}: {said}");
        }
        let (alone, encrypted) = (warnings(&[listen, role]), warnings(&[listen, tls]));
        assert!(!alone.contains("no token") && alone.contains("without TLS"), "{alone}");
        assert!(encrypted.contains("no token") && !encrypted.contains("without TLS"), "{encrypted}");
        assert!(warnings(&[listen, tls, "listen.tls=off", role]).contains("without TLS"));
        assert_eq!(warnings(&[listen, tls, role]), "");
        assert_eq!(warnings(&[listen, "tokens.open=true"]), "");
    }
}

#[test]
fn publishing_without_a_key_is_for_this_host_alone() {
    let check = |sets: &[&str]| {
        let layers = sets.iter().fold(Layers::new().set("api.insecure=true"), |layers, set| layers.set(set));
        layers.resolve().map(drop).map_err(|errors| errors.to_string())
    };
    for listen in [
        "127.0.0.1:0",
        "127.8.8.8:1",
        "[::1]:9000",
        "[::ffff:127.0.0.1]:1",
        "localhost:9000,127.0.0.2:1,[::1]:1",
        "unix:/run/ringsock.sock?mode=666",
        "unix:@ringsock",
    ] {
        assert_eq!(check(&[&format!("listen.address={listen}")]), Ok(()), "{listen}");
    }
    for listen in
        ["0.0.0.0:9000", "[::]:9000", "192.0.2.1:9000", "[::ffff:192.0.2.1]:1", "no-such-host.invalid:1", ":9000"]
    {
        for list in [listen, &format!("unix:@ringsock,127.0.0.1:9000,{listen}")] {
            let refused = check(&[&format!("listen.address={list}")]).unwrap_err();
            assert!(refused.contains(&format!("is {listen}.")) && refused.contains("api.key"), "{refused}");
        }
    }
    for (origins, word) in [("*", "*"), ("https://a.example, same-host", "same-host"), ("null", "null")] {
        let pages = format!("api.allow-origin={origins}");
        let refused = check(&[&pages]).unwrap_err();
        assert!(refused.contains(word) && refused.contains("api.key"), "{refused}");
        assert_eq!(check(&[&pages, "api.insecure=false", "api.key=k"]), Ok(()), "{origins}");
    }
    assert_eq!(check(&["api.allow-origin=http://localhost:8080"]), Ok(()));
    assert!(check(&["api.key=k"]).unwrap_err().contains("Give one of them."));
}
