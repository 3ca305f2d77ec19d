//! Key sets that are fetched: by URL and by discovery, with rotation, unknown keys, faults of the issuer and reloads.

use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use super::issuer::{Issuer, Key, set, write, write_json};
use super::server::{Server, now_s, token_of};
use crate::program::run::PATIENCE;

/// The shortest time between two fetches, and a little more.
const COOL_DOWN: Duration = Duration::from_millis(10_200);

/// A second in which a decision must be there, and some time for a busy machine.
const AT_ONCE: Duration = Duration::from_millis(2_500);

/// Returns the section of an issuer.
fn section(name: &str, issuer: &Issuer, place: &str) -> String {
    let iss = issuer.iss();
    let place = match place {
        "discovery" => "discovery = true".to_owned(),
        path => format!("key-set-url = \"{iss}{path}\""),
    };
    format!("[[issuer]]\nname = \"{name}\"\niss = \"{iss}\"\n{place}\nroles = [\"user\"]\n")
}

fn status(server: &Server, token: &str) -> u16 {
    server.ask("/topics/news", &format!("Authorization: Bearer {token}\r\n")).status
}

/// Waits until something is so.
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "{what}");
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_new_key_is_accepted_within_a_second_and_a_withdrawn_one_is_refused_after_the_fetch() {
    let rotate = |place: &str| {
        let (old, new) = (Key::new("1"), Key::new("2"));
        let issuer = Issuer::with_keys(&[&old]);
        let server = Server::start(&section("idp", &issuer, place));
        assert_eq!(status(&server, &issuer.token(&old, "ann")), 101, "the first token may wait for the first fetch");
        let fetched = Instant::now();
        let metric = "ringsock_issuer_keys_fetched_timestamp_seconds{issuer=\"idp\"}";
        assert!(now_s() - server.metric(metric) < 20);
        assert_eq!(status(&server, &issuer.token(&new, "ann")), 503, "nobody looks for the key yet");
        issuer.serve_keys(&[&new]);
        thread::sleep(COOL_DOWN.saturating_sub(fetched.elapsed()));
        let begun = Instant::now();
        assert_eq!(status(&server, &issuer.token(&new, "ann")), 101);
        println!("{place}: a new key was accepted after {:?}", begun.elapsed());
        assert!(begun.elapsed() < AT_ONCE, "{:?}", begun.elapsed());
        assert_eq!(status(&server, &issuer.token(&old, "ann")), 401, "it was withdrawn");
        assert_eq!(status(&server, &issuer.token(&new, "bob")), 101);
        assert_eq!(status(&server, &token_of("ann")), 101, "the other issuer goes on");
        assert_eq!(issuer.calls("/keys").len(), 2);
        assert_eq!(server.metric("ringsock_issuer_fetches_total"), 2);
    };
    thread::scope(|scope| {
        for place in ["/keys", "discovery"] {
            scope.spawn(move || rotate(place));
        }
    });
}

#[test]
fn tokens_of_unknown_keys_cause_one_fetch_in_10_s_while_honest_ones_go_on() {
    let key = Key::new("1");
    let issuer = Issuer::with_keys(&[&key]);
    let server = Server::start(&section("idp", &issuer, "/keys"));
    let (begun, mut unknown, mut slowest) = (Instant::now(), 0_u64, Duration::ZERO);
    while begun.elapsed() < COOL_DOWN + Duration::from_secs(1) {
        let claims = json!({ "iss": issuer.iss(), "sub": "ann", "iat": now_s(), "exp": now_s() + 60 });
        let refused = status(&server, &key.sign_as(&format!("{unknown}-x"), &claims));
        // The server has looked for few of them, and puts the others off.
        assert!(matches!(refused, 401 | 503), "{refused}");
        unknown += 1;
        if unknown % 10 == 0 {
            let asked = Instant::now();
            assert_eq!(status(&server, &issuer.token(&key, "ann")), 101);
            slowest = slowest.max(asked.elapsed());
        }
    }
    let fetches = issuer.calls("/keys").len();
    println!("{unknown} unknown keys, {fetches} fetches in {:?}; honest tokens within {slowest:?}", begun.elapsed());
    assert_eq!(fetches, 2, "one at the start, and one after 10 s");
    assert_eq!(server.metric("ringsock_issuer_fetches_failed_total"), 0);
}

/// Answers that bring no keys, each with its name and the place of the set.
fn faults(good: &Key) -> Vec<(&'static str, &'static str, Issuer)> {
    let start = |answer: fn(&str, &mut TcpStream)| Issuer::start(move |call, stream| answer(&call.path, stream));
    let set = set(&[good]);
    let redirecting = Issuer::start(move |call, stream| match call.path.as_str() {
        "/moved" => write_json(stream, &set),
        _ => write(stream, "302 Found\r\nLocation: /moved", ""),
    });
    let of_another = Issuer::start(|_, stream| {
        write_json(stream, &json!({ "issuer": "https://login.example.com", "jwks_uri": "http://127.0.0.1:1/keys" }));
    });
    vec![
        ("down", "/keys", start(|_, stream| drop(stream.shutdown(std::net::Shutdown::Both)))),
        ("slow", "/keys", start(|_, _| thread::sleep(Duration::from_secs(3600)))),
        ("busy", "/keys", start(|_, stream| write(stream, "503 Busy", ""))),
        ("redirecting", "/keys", redirecting),
        ("long", "/keys", start(|_, stream| write(stream, "200 OK", &" ".repeat(10_000_000)))),
        ("rubbish", "/keys", start(|_, stream| write(stream, "200 OK", "<html>no JSON</html>"))),
        ("empty", "/keys", start(|_, stream| write(stream, "200 OK", "{\"keys\":[]}"))),
        ("another", "discovery", of_another),
    ]
}

#[test]
fn an_issuer_without_an_answer_costs_its_own_tokens_a_503_and_nobody_else() {
    let key = Key::new("1");
    let faults = faults(&key);
    let count = faults.len();
    let sections: String = faults.iter().map(|(name, place, issuer)| section(name, issuer, place)).collect();
    let server = Server::start(&sections);
    let bearer = |issuer: &Issuer| format!("Authorization: Bearer {}\r\n", issuer.token(&key, "ann"));
    for (name, _, issuer) in &faults {
        let begun = Instant::now();
        let answer = server.ask("/topics/news", &bearer(issuer));
        assert_eq!((answer.status, answer.header("Retry-After")), (503, Some("1")), "{name}: {answer:?}");
        assert!(begun.elapsed() < AT_ONCE, "{name}: {:?}", begun.elapsed());
        assert!(!answer.body.contains("issuer"), "a client learns no reason: {}", answer.body);
        assert_eq!(status(&server, &token_of("ann")), 101, "{name}");
        let (status, body) = server.post("/api/publish?topic=users/ann/1", &bearer(issuer), "x");
        assert_eq!(status, 503, "{name}: {body}");
    }
    assert!(faults[3].2.calls("/moved").is_empty(), "redirects are not followed");
    // Each issuer is asked a second time, and the log says nothing more.
    let quick = |(name, _, issuer): &(&str, &str, Issuer)| *name == "slow" || issuer.calls_in_all() >= 2;
    wait_until("they are asked again", || faults.iter().all(quick));
    let told = |text: &str| server.log().lines().filter(|line| line.contains(text)).count();
    wait_until("each outage is told", || told("cannot be fetched: ") >= count);
    assert_eq!(told("cannot be fetched: "), count);
    assert!(server.metric("ringsock_issuer_fetches_failed_total") >= count as u64);
    assert!(server.metric("ringsock_tokens_not_judged_total") >= count as u64);
    for (_, _, issuer) in &faults {
        issuer.serve_keys(&[&key]);
    }
    for (name, _, issuer) in &faults {
        let token = issuer.token(&key, "ann");
        wait_until(name, || status(&server, &token) == 101);
    }
    wait_until("the end of each outage is told", || told("can be fetched again") == count);
    assert_eq!(told("cannot be fetched: "), count);
}

#[test]
fn a_reload_keeps_what_was_fetched_from_the_same_place_and_calls_no_issuer_that_is_gone() {
    let (old, new) = (Key::new("1"), Key::new("1"));
    let (first, second) = (Issuer::with_keys(&[&old]), Issuer::with_keys(&[&new]));
    let server = Server::start(&section("idp", &first, "/keys"));
    assert_eq!(status(&server, &first.token(&old, "ann")), 101);
    first.answer_by(|_, stream| write(stream, "500 Oops", ""));
    let calls = first.calls_in_all();
    server.reload(("subscribe:news\"", "subscribe:news\", \"subscribe:more\""), &section("idp", &first, "/keys"));
    assert_eq!(server.ask("/topics/more", &bearer_of(&first.token(&old, "ann"))).status, 101, "its keys are there");
    assert_eq!(first.calls_in_all(), calls);
    // The same iss, whose keys are elsewhere by now.
    let moved =
        section("idp", &first, "/keys").replace(&format!("{}/keys", first.iss()), &format!("{}/keys", second.iss()));
    server.reload(("", ""), &moved);
    assert_eq!(status(&server, &first.token(&new, "ann")), 101);
    assert_eq!(status(&server, &first.token(&old, "ann")), 401);
    server.reload(("", ""), "");
    let calls = second.calls_in_all();
    thread::sleep(COOL_DOWN);
    assert_eq!((first.calls_in_all(), second.calls_in_all()), (1, calls), "nobody is called any more");
}

fn bearer_of(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

#[test]
fn a_drain_answers_clients_that_wait_for_an_issuer_and_waits_for_no_issuer_itself() {
    let key = Key::new("1");
    let slow = Issuer::start(|_, _| thread::sleep(Duration::from_secs(3600)));
    let mut server = Server::start(&section("idp", &slow, "/keys"));
    let token = slow.token(&key, "ann");
    let (statuses, ended) = thread::scope(|scope| {
        let waiting: Vec<_> = (0..4).map(|_| scope.spawn(|| status(&server, &token))).collect();
        wait_until("the keys are asked for", || slow.calls_in_all() == 1);
        thread::sleep(Duration::from_millis(200));
        let begun = Instant::now();
        server.signal(libc::SIGTERM);
        let statuses: Vec<u16> = waiting.into_iter().map(|client| client.join().unwrap()).collect();
        (statuses, begun)
    });
    assert_eq!(statuses, [503; 4]);
    assert!(server.end().success());
    assert!(ended.elapsed() < Duration::from_secs(4), "{:?}", ended.elapsed());
}
