//! Rights: topics and patterns of sessions, and publishing over HTTP.

use serde_json::json;

use super::server::{FEEDER, Server, now_s, token, token_of};

#[test]
fn a_topic_or_pattern_needs_a_grant_that_covers_it() {
    let server = Server::start("");
    let bearer = format!("Authorization: Bearer {}\r\n", token_of("ann"));
    for (topic, status) in [
        ("news", 101),
        ("users/ann/", 101),
        ("users/ann/a/b", 101),
        ("users/ann/*", 101),
        ("users/ann/x*", 101),
        ("users/ann%2Fx", 101),
        ("users/ann", 403),
        ("users/ann*", 403),
        ("users/bob/a", 403),
        ("users/*", 403),
        ("*", 403),
        ("news*", 403),
        ("new", 403),
        ("secret", 403),
    ] {
        assert_eq!(server.ask(&format!("/topics/{topic}"), &bearer).status, status, "{topic}");
    }
    let wide = format!("Authorization: Bearer {}\r\n", token_of("*"));
    assert_eq!((server.ask("/topics/users/x", &wide).status, server.ask("/topics/news", &wide).status), (403, 101));
}

#[tokio::test]
async fn a_session_publishes_only_where_it_may() {
    let server = Server::start("");
    let own = token(json!({ "sub": "ann", "grants": ["subscribe,publish:rooms/*"], "roles": ["unknown"] }));
    server.open_with("/topics/rooms/1", &own).await.echo("hello").await;
    server.open_with("/topics/users/ann/x", &own).await.echo("hello").await;
    let mut reader = server.open_with("/topics/news", &own).await;
    let mut other = server.open_with("/topics/news", &token_of("bob")).await;
    other.send("not allowed").await;
    assert_eq!(other.next().await, "close 3003");
    let feeder = format!("X-API-Key: {FEEDER}\r\n");
    assert_eq!(server.post("/api/publish?topic=news", &feeder, "allowed").0, 200);
    assert_eq!(reader.next().await, "allowed");
}

#[test]
fn publishing_over_http_needs_a_key_or_token_that_allows_it() {
    let server = Server::start("");
    let key = |key: &str| format!("X-API-Key: {key}\r\n");
    let bearer = format!("Authorization: Bearer {}\r\n", token_of("ann"));
    for (topic, headers, status) in [
        ("news", key("operator"), 200),
        ("anything", key("operator"), 200),
        ("news", key(FEEDER), 200),
        ("news", format!("Authorization: Bearer {FEEDER}\r\n"), 200),
        ("users/ann/1", bearer.clone(), 200),
        ("other", key(FEEDER), 403),
        ("news", bearer.clone(), 403),
        ("users/bob/1", bearer.clone(), 403),
        ("news", key("feeder"), 401),
        ("news", format!("Authorization: Bearer {}x\r\n", token_of("ann")), 401),
        ("news", String::new(), 401),
        ("news", format!("{bearer}{}", key("nobody")), 401),
    ] {
        let (given, body) = server.post(&format!("/api/publish?topic={topic}"), &headers, "x");
        assert_eq!(given, status, "{topic} {headers} {body}");
    }
    // A body that is held back is refused unread.
    let held_back = format!("{}Expect: 100-continue\r\n", key(FEEDER));
    assert_eq!(server.post("/api/publish?topic=other", &held_back, "").0, 403);
}

#[tokio::test]
async fn a_ticket_opens_one_session_with_its_rights() {
    let server = Server::start("[tokens]\nfrom = \"query\"\n");
    let ask = |key: &str, body: &str| server.post("/api/tickets", &format!("X-API-Key: {key}\r\n"), body);
    let (status, answer) = ask("operator", r#"{"sub":"ann","roles":["user"],"grants":["subscribe:a"]}"#);
    assert_eq!((status, &answer["expires_in"]), (200, &json!(30)));
    let ticket = answer["ticket"].as_str().unwrap();
    server.open(&format!("/topics/users/ann/1?token={ticket}"), &[]).await.echo("hello").await;
    assert_eq!(server.ask(&format!("/topics/a?token={ticket}"), "").status, 401, "it was used");
    let expired = ask("operator", &json!({ "grants": ["subscribe:a"], "exp": now_s() - 100 }).to_string()).1;
    let ticket = expired["ticket"].as_str().unwrap();
    assert_eq!(server.open(&format!("/topics/a?token={ticket}"), &[]).await.next().await, "close 3000");
    let revoked = ask("operator", r#"{"sub":"bob","roles":["user"]}"#).1;
    assert_eq!(server.post("/api/revoke?sub=bob", "X-API-Key: operator\r\n", "").0, 200);
    let ticket = revoked["ticket"].as_str().unwrap();
    assert_eq!(server.ask(&format!("/topics/news?token={ticket}"), "").status, 401, "its subject is revoked");
    for (key, body, status) in [
        ("nobody", "{}", 401),
        (FEEDER, "{}", 401),
        ("operator", "", 400),
        ("operator", r#"{"role":"user"}"#, 400),
        ("operator", r#"{"roles":["root"]}"#, 400),
        ("operator", r#"{"grants":["read:a"]}"#, 400),
    ] {
        assert_eq!(ask(key, body).0, status, "{key} {body}");
    }
}
