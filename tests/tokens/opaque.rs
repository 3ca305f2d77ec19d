//! Opaque tokens, about which an issuer is asked (RFC 7662).

use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use super::fetched::wait_until;
use super::issuer::{Call, Issuer, Key, write, write_json};
use super::server::{Server, now_s, token_of};

const SECRET: &str = "s3cret of the client: ä";

/// Returns an issuer that knows these tokens, each with the claims of its answer.
fn issuer(tokens: &[(&'static str, Value)]) -> Issuer {
    let tokens = tokens.to_vec();
    Issuer::start(move |call, stream| answer(&tokens, call, stream))
}

fn answer(tokens: &[(&'static str, Value)], call: &Call, stream: &mut TcpStream) {
    let token = call.body.strip_prefix("token=").unwrap().split('&').next().unwrap();
    let token = percent_decode_str(token).decode_utf8().unwrap();
    let known = tokens.iter().find(|(known, _)| *known == token);
    let mut answer = known.map_or(json!({ "active": false }), |(_, claims)| claims.clone());
    answer.as_object_mut().unwrap().entry("active").or_insert(true.into());
    write_json(stream, &answer);
}

/// Returns the section of an issuer that is asked, with more settings.
fn section(issuer: &Issuer, more: &str) -> String {
    format!(
        "[[issuer]]\nname = \"idp\"\niss = \"https://idp.example\"\nroles = [\"user\"]\nclient-id = \"ring:sock\"\n\
         client-secret = \"{SECRET}\"\nintrospection-url = \"{}/introspect\"\n{more}",
        issuer.iss()
    )
}

fn claims(subject: &str) -> Value {
    json!({ "sub": subject, "exp": now_s() + 60 })
}

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

fn status(server: &Server, token: &str) -> u16 {
    server.ask("/topics/news", &bearer(token)).status
}

#[tokio::test]
async fn an_opaque_token_opens_a_session_with_the_rights_of_its_claims() {
    let with = |name: &str, value: Value| {
        let mut claims = claims("ann");
        claims[name] = value;
        claims
    };
    let issuer = issuer(&[
        ("good", claims("ann")),
        ("of-issuer", with("iss", json!("https://idp.example"))),
        ("endless", json!({ "sub": "ann" })),
        ("inactive", with("active", json!(false))),
        ("expired", with("exp", json!(now_s() - 60))),
        ("early", with("nbf", json!(now_s() + 60))),
        ("long", with("exp", json!(now_s() + 100_000))),
        ("old", json!({ "sub": "ann", "iat": now_s() - 100_000 })),
        ("of-another", with("iss", json!("https://other.example"))),
        ("for-another", with("aud", json!("other"))),
        ("no-subject", with("sub", json!(1))),
        ("role", json!({ "sub": "ann", "exp": now_s() + 60, "roles": "feeder" })),
        ("words", with("active", json!("true"))),
    ]);
    let server = Server::start(&section(&issuer, ""));
    for good in ["good", "of-issuer", "endless"] {
        server.open_with("/topics/users/ann/1", good).await.echo("hello").await;
        assert_eq!(server.ask("/topics/users/bob/1", &bearer(good)).status, 403, "{good}");
    }
    assert_eq!(status(&server, "role"), 101, "the issuer gives each token the role user");
    for refused in
        ["inactive", "expired", "early", "long", "old", "of-another", "for-another", "no-subject", "unknown", "a.b"]
    {
        assert_eq!(status(&server, refused), 401, "{refused}");
    }
    assert_eq!(status(&server, "words"), 503, "its answer is none");
    let calls = issuer.calls_in_all();
    for odd in ["a b", "a\tb", "ü", "a\u{7f}", &"x".repeat(8 * 1024 + 1)] {
        assert!((400..=431).contains(&status(&server, odd)), "{odd}");
    }
    assert_eq!(issuer.calls_in_all(), calls, "no issuer has made them, so it is not asked");
    // Neither keys of programs nor tokens of other issuers are sent to it.
    assert_eq!((status(&server, &token_of("ann")), status(&server, super::server::FEEDER)), (101, 403));
    let calls = issuer.calls("/introspect");
    assert!(calls.iter().all(|call| call.head.contains("\r\nauthorization: Basic cmluZyUzQXNvY2s6")), "{calls:?}");
    assert_eq!(calls[0].body, "token=good&token_type_hint=access_token");
    assert_eq!(calls.iter().filter(|call| call.body.starts_with("token=good&")).count(), 1, "the answer is kept");
    let log = server.log();
    for secret in [SECRET, "of-issuer", "cmluZy", "unknown&"] {
        assert!(!log.contains(secret), "{secret} is in the log");
    }
}

#[test]
fn many_clients_with_one_token_cause_one_question() {
    let answered = Arc::new(Mutex::new(0));
    let count = Arc::clone(&answered);
    let issuer = Issuer::start(move |call, stream| {
        *count.lock().unwrap() += 1;
        thread::sleep(Duration::from_millis(300));
        answer(&[("good", claims("ann"))], call, stream);
    });
    let server = Server::start(&section(&issuer, ""));
    thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| assert_eq!(status(&server, "good"), 101));
        }
    });
    assert_eq!(*answered.lock().unwrap(), 1);
    assert_eq!(server.metric("ringsock_issuer_questions_total"), 1);
}

#[test]
fn unknown_tokens_are_asked_about_at_the_rate_of_the_configuration_while_known_ones_go_on() {
    const RATE: u64 = 20;
    let issuer = issuer(&[("good", claims("ann"))]);
    let server = Server::start(&section(&issuer, &format!("introspection-rate = {RATE}\n")));
    assert_eq!(status(&server, "good"), 101);
    let (begun, mut statuses) = (Instant::now(), Vec::new());
    for number in 0..600 {
        statuses.push(status(&server, &format!("random-{number}")));
        if number % 20 == 0 {
            assert_eq!(status(&server, "good"), 101);
        }
    }
    let asked = issuer.calls_in_all() as u64;
    let most = 1 + RATE + (begun.elapsed().as_secs_f64() * RATE as f64).ceil() as u64;
    println!("600 unknown tokens in {:?}, {asked} questions, {most} allowed", begun.elapsed());
    assert!(asked <= most, "{asked}");
    assert!(statuses.iter().all(|status| [401, 503].contains(status)) && statuses.contains(&503));
}

#[test]
fn an_issuer_that_cannot_be_asked_is_a_503_until_it_answers() {
    let issuer = Issuer::start(|_, _| {});
    let server = Server::start(&section(&issuer, ""));
    type Fault = fn(&Call, &mut TcpStream);
    let faults: [(&str, Fault); 7] = [
        ("down", |_, stream| drop(stream.shutdown(std::net::Shutdown::Both))),
        ("slow", |_, _| thread::sleep(Duration::from_secs(3600))),
        ("busy", |_, stream| write(stream, "500 Oops", "")),
        ("credentials", |_, stream| write(stream, "401 Unauthorized", "")),
        ("redirecting", |_, stream| write(stream, "302 Found\r\nLocation: /", "")),
        ("long", |_, stream| write(stream, "200 OK", &" ".repeat(10_000_000))),
        ("rubbish", |_, stream| write(stream, "200 OK", "[true]")),
    ];
    for (name, fault) in faults {
        issuer.answer_by(fault);
        let begun = Instant::now();
        let answer = server.ask("/topics/news", &bearer(name));
        assert_eq!((answer.status, answer.header("Retry-After")), (503, Some("1")), "{name}");
        assert!(begun.elapsed() < Duration::from_millis(2_500), "{name}: {:?}", begun.elapsed());
    }
    issuer.answer_by(|call, stream| answer(&[("rubbish", claims("ann"))], call, stream));
    wait_until("it is asked again", || status(&server, "rubbish") == 101);
    let log = server.log();
    let told = |text: &str| log.lines().filter(|line| line.contains(text)).count();
    assert_eq!((told("cannot be asked about tokens"), told("can be asked about tokens again")), (1, 1), "one outage");
    assert!(server.metric("ringsock_issuer_questions_failed_total") >= 6);
}

#[tokio::test]
async fn a_first_message_and_a_renewal_wait_for_the_issuer_and_nothing_overtakes_them() {
    let issuer = Issuer::start(|call, stream| {
        thread::sleep(Duration::from_millis(200));
        let tokens = [
            ("first", claims("ann")),
            ("second", claims("ann")),
            ("of-bob", claims("bob")),
            ("less", json!({ "sub": "ann", "exp": now_s() + 60, "active": false })),
        ];
        answer(&tokens, call, stream);
    });
    let server = Server::start(&format!("{}[tokens]\nfrom = [\"header\", \"first-message\"]\n", section(&issuer, "")));
    let mut client = server.open("/topics/users/ann/1", &[]).await;
    client.send("Bearer first").await;
    client.echo("behind the token").await;
    client.send("Bearer second").await;
    client.echo("behind the renewal").await;
    assert_eq!(issuer.calls_in_all(), 2);
    client.send("Bearer of-bob").await;
    assert_eq!(client.next().await, "close 3003", "twice in a second");
    for (token, code) in [("of-bob", "close 3003"), ("less", "close 3000"), ("unknown", "close 3000")] {
        let mut client = server.open_with("/topics/users/ann/1", "first").await;
        client.send(&format!("Bearer {token}")).await;
        assert_eq!(client.next().await, code, "{token}");
    }
    let mut client = server.open("/topics/users/ann/1", &[]).await;
    client.send("Bearer unknown").await;
    assert_eq!(client.next().await, "close 3000");
    // The session of a signed token publishes what only looks like an opaque one.
    server.open_with("/topics/users/ann/1", &token_of("ann")).await.echo("Bearer second").await;
}

#[tokio::test]
async fn a_session_stays_as_it_is_while_its_new_token_cannot_be_judged() {
    let issuer = issuer(&[("first", claims("ann"))]);
    let server = Server::start(&section(&issuer, ""));
    let mut client = server.open_with("/topics/users/ann/1", "first").await;
    issuer.answer_by(|_, stream| write(stream, "500 Oops", ""));
    client.send("Bearer second").await;
    client.echo("it stays").await;
    // A session that has no rights yet is closed, with a code that tells the client to try again.
    let server = Server::start(&format!("{}[tokens]\nfrom = \"first-message\"\n", section(&issuer, "")));
    let mut client = server.open("/topics/users/ann/1", &[]).await;
    client.send("Bearer second").await;
    assert_eq!(client.next().await, "close 1013");
}

#[test]
fn publishing_over_http_asks_and_is_to_be_sent_again() {
    let issuer = issuer(&[("good", claims("ann"))]);
    let server = Server::start(&section(&issuer, ""));
    let publish = |topic: &str, token: &str| server.post(&format!("/api/publish?topic={topic}"), &bearer(token), "x").0;
    assert_eq!(publish("users/ann/1", "good"), 503);
    wait_until("the answer comes", || publish("users/ann/1", "good") == 200);
    assert_eq!(publish("users/bob/1", "good"), 403);
    wait_until("the answer comes", || publish("users/ann/1", "bad") == 401);
    assert_eq!(issuer.calls_in_all(), 2);
}

#[test]
fn an_issuer_without_keys_is_asked_about_its_signed_tokens_too() {
    let key = Key::new("1");
    let signed = key.sign(&json!({ "iss": "https://idp.example", "sub": "ann", "iat": now_s(), "exp": now_s() + 60 }));
    let known: &'static str = Box::leak(signed.clone().into_boxed_str());
    let issuer = issuer(&[(known, claims("ann"))]);
    let server = Server::start(&section(&issuer, ""));
    assert_eq!(status(&server, known), 101);
    let other = key.sign(&json!({ "iss": "https://other.example", "sub": "ann", "exp": now_s() + 60 }));
    assert_eq!(status(&server, &other), 401, "the issuer without iss has signed no such token");
    assert_eq!(issuer.calls_in_all(), 1);
}

#[test]
fn a_session_of_an_opaque_token_ends_when_it_is_revoked() {
    let issuer = issuer(&[("good", json!({ "sub": "ann", "exp": now_s() + 60, "jti": "7", "iat": now_s() }))]);
    let server = Server::start(&section(&issuer, ""));
    assert_eq!(status(&server, "good"), 101);
    assert_eq!(server.post("/api/revoke?jti=7", "X-API-Key: operator\r\n", "").0, 200);
    assert_eq!(status(&server, "good"), 401, "its answer is kept, and the revocation counts");
}
