//! The end of a session: with its token, by a renewal that is none, and by a revocation.

use std::time::Instant;

use serde_json::json;

use super::server::{Server, now_s, signed, token, token_for, token_of};

const SOON: &str = "[tokens]\ngrace-ms = 0\nleeway-ms = 0\n";

#[tokio::test]
async fn a_session_ends_with_its_token_unless_it_is_renewed_in_time() {
    let server = Server::start(SOON);
    let mut ends = server.open_with("/topics/users/ann/1", &token_for(2, json!({ "sub": "ann" }))).await;
    let mut renews = server.open_with("/topics/users/ann/1", &token_for(2, json!({ "sub": "ann" }))).await;
    renews.send(&format!("Bearer {}", token_of("ann"))).await;
    renews.send("renewed").await;
    assert_eq!((renews.next().await, ends.next().await), ("renewed".to_owned(), "renewed".to_owned()));
    assert_eq!(ends.next().await, "close 3000");
    renews.echo("lives").await;
    for _ in 0..2 {
        renews.send(&format!("Bearer {}", token_of("ann"))).await;
    }
    assert_eq!(renews.next().await, "close 3003", "twice in a second");
    let mut renews = server.open_with("/topics/users/ann/1", &token_of("ann")).await;
    // A message that only begins like a token is published.
    renews.echo("Bearer of bad news").await;
}

#[tokio::test]
async fn a_renewal_needs_the_same_subject_and_gives_new_rights() {
    let server = Server::start("");
    let renewal = |token: &str| format!("Bearer {token}");
    for (new, code) in [
        (token_of("bob"), "close 3003"),
        (token(json!({})), "close 3003"),
        ("a.b.c".to_owned(), "close 3000"),
        (signed(&json!({ "sub": "ann", "iat": now_s() - 100, "exp": now_s() - 50 })), "close 3000"),
    ] {
        let mut client = server.open_with("/topics/users/ann/1", &token_of("ann")).await;
        client.send(&renewal(&new)).await;
        assert_eq!(client.next().await, code, "{new}");
    }
    let with = |grant: &str| token(json!({ "sub": "ann", "grants": [grant] }));
    let mut client = server.open_with("/topics/rooms/1", &with("subscribe,publish:rooms/*")).await;
    client.echo("may publish").await;
    client.send(&renewal(&with("subscribe:rooms/1"))).await;
    client.send("may not").await;
    assert_eq!(client.next().await, "close 3003");
    let mut client = server.open_with("/topics/rooms/1", &with("subscribe:rooms/*")).await;
    client.send(&renewal(&with("publish:rooms/*"))).await;
    assert_eq!(client.next().await, "close 3003", "its subscription is lost");
}

#[tokio::test]
async fn sessions_of_tokens_that_end_together_end_spread_over_the_grace() {
    const SESSIONS: usize = 100;
    let server = Server::start("[tokens]\ngrace-ms = 4000\nleeway-ms = 0\n");
    let exp_s = now_s() + 3;
    let token = token_for(3, json!({ "sub": "ann" }));
    let mut sessions = Vec::new();
    for _ in 0..SESSIONS {
        sessions.push(server.open_with("/topics/news", &token).await);
    }
    assert!(now_s() < exp_s, "too slow a machine for this test");
    let mut tasks = tokio::task::JoinSet::new();
    let begun = Instant::now();
    for mut session in sessions {
        tasks.spawn(async move { (session.next().await, begun.elapsed().as_secs_f64()) });
    }
    let mut times: Vec<f64> = Vec::new();
    while let Some(ended) = tasks.join_next().await {
        let (end, at_s) = ended.unwrap();
        assert_eq!(end, "close 3000");
        times.push(at_s);
    }
    times.sort_by(f64::total_cmp);
    let spread_s = times[SESSIONS - 1] - times[0];
    println!("{SESSIONS} sessions ended within {spread_s:.1} s");
    assert!((2.5..6.0).contains(&spread_s), "{spread_s}");
    // No quarter of the time has more than half of them.
    let within = |from: f64| times.iter().filter(|at| (from..from + 1.0).contains(*at)).count();
    assert!((0..4).all(|quarter| within(times[0] + f64::from(quarter)) <= SESSIONS / 2), "{times:?}");
}

#[tokio::test]
async fn a_revocation_ends_live_sessions_on_every_core_and_refuses_new_ones() {
    let server = Server::start("");
    let revoke = |query: &str| server.post(&format!("/api/revoke?{query}"), "X-API-Key: operator\r\n", "");
    let with_id = |id: &str, subject: &str| token(json!({ "sub": subject, "jti": id }));
    let (one, other) = (with_id("1", "ann"), with_id("2", "ann"));
    let mut of_one = Vec::new();
    // Enough sessions that both cores have some.
    for _ in 0..12 {
        of_one.push(server.open_with("/topics/users/ann/1", &one).await);
    }
    let mut of_other = server.open_with("/topics/users/ann/2", &other).await;
    let mut of_bob = server.open_with("/topics/users/bob/1", &with_id("3", "bob")).await;
    assert_eq!(revoke("jti=1"), (200, json!({ "revoked": true })));
    for session in &mut of_one {
        assert_eq!(session.next().await, "close 3000");
    }
    let status = |token: &str| server.ask("/topics/news", &format!("Authorization: Bearer {token}\r\n")).status;
    assert_eq!((status(&one), status(&other)), (401, 101));
    of_other.echo("lives").await;
    assert_eq!(revoke("sub=ann").0, 200);
    assert_eq!(of_other.next().await, "close 3000");
    assert_eq!(status(&other), 401);
    of_bob.echo("lives").await;
    let later = token(json!({ "sub": "ann", "iat": now_s() + 2 }));
    assert_eq!(status(&later), 101, "it was issued after the revocation");
    assert_eq!(server.metric("ringsock_sessions_revoked_total"), 13);
    assert_eq!(server.metric("ringsock_tokens_refused_total"), 2);
    // A reload changes roles and keys for those that come, and forgets no revocation.
    server.reload(("subscribe:news", "subscribe:other"), "");
    assert_eq!((status(&later), status(&one)), (403, 401));
    server.reload(("0123456789abcdef0123456789abcdef", "too-short"), "");
    assert_eq!(status(&later), 403, "the last rules stay");
    server.reload(("0123456789abcdef0123456789abcdef", "fedcba9876543210fedcba9876543210"), "");
    assert_eq!(status(&later), 401, "the key is another");
    of_bob.echo("lives").await;
    of_bob.send(&format!("Bearer {}", with_id("4", "bob"))).await;
    assert_eq!(of_bob.next().await, "close 3000", "a renewal is checked with the new key");
}

#[test]
fn a_revocation_needs_the_key_of_the_api_and_one_thing_to_revoke() {
    let server = Server::start("");
    for (query, headers, status) in [
        ("jti=1", "X-API-Key: operator\r\n", 200),
        ("sub=ann&before=1700000000", "Authorization: Bearer operator\r\n", 200),
        ("session=0-0-1", "X-API-Key: operator\r\n", 200),
        ("jti=1", "", 401),
        ("jti=1", "X-API-Key: feeder-feeder-feeder-feeder-feeder\r\n", 401),
        ("", "X-API-Key: operator\r\n", 400),
        ("jti=", "X-API-Key: operator\r\n", 400),
        ("jti=1&sub=a", "X-API-Key: operator\r\n", 400),
        ("jti=1&jti=2", "X-API-Key: operator\r\n", 400),
        ("sub=a&before=soon", "X-API-Key: operator\r\n", 400),
        ("session=1", "X-API-Key: operator\r\n", 400),
    ] {
        let (given, body) = server.post(&format!("/api/revoke?{query}"), headers, "");
        assert_eq!(given, status, "{query}: {body}");
    }
    let bearer = format!("Authorization: Bearer {}\r\n", token_of("ann"));
    assert_eq!(server.post("/api/revoke?sub=bob", &bearer, "").0, 401, "no token revokes");
}

#[tokio::test]
async fn a_single_use_token_opens_one_session() {
    let server = Server::start("[tokens]\nsingle-use = true\n");
    let once = token(json!({ "sub": "ann", "jti": "1" }));
    let bearer = format!("Authorization: Bearer {once}\r\n");
    assert_eq!(server.post("/api/publish?topic=users/ann/1", &bearer, "x").0, 401, "it is for a session");
    server.open_with("/topics/users/ann/1", &once).await.echo("hello").await;
    assert_eq!(server.ask("/topics/news", &bearer).status, 401);
    let without = format!("Authorization: Bearer {}\r\n", token_of("ann"));
    assert_eq!(server.ask("/topics/news", &without).status, 401, "it has no jti");
}
