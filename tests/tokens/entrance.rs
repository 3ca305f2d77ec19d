//! Places of tokens, refusals, and the first message.

use serde_json::json;

use super::server::{FEEDER, Server, now_s, signed, token, token_for, token_of};

const ALL: &str = "[tokens]\nfrom = [\"header\", \"cookie\", \"query\", \"subprotocol\"]\n\
                   [handshake]\nsubprotocols = \"chat\"\n[origin]\nallow = \"same-host\"\n";

/// Returns a request with a token in each place.
fn in_each_place(token: &str) -> [(&'static str, String, String); 4] {
    [
        ("header", "/topics/news".to_owned(), format!("Authorization: Bearer {token}\r\n")),
        ("cookie", "/topics/news".to_owned(), format!("Cookie: a=b; token={token}\r\n")),
        ("query", format!("/topics/news?token={token}"), String::new()),
        ("subprotocol", "/topics/news".to_owned(), format!("Sec-WebSocket-Protocol: chat, bearer.{token}\r\n")),
    ]
}

/// Tokens that must be refused: an honest one with a letter changed, cut off, doubled, unsigned.
fn hostile() -> Vec<String> {
    let honest = token_of("ann");
    let mut all: Vec<String> = (0..honest.len())
        .step_by(2)
        .map(|at| {
            // Another letter whose first bit differs, so that no bit is one that base64 leaves over.
            let other = if honest.as_bytes()[at] < b'a' { "x" } else { "A" };
            format!("{}{other}{}", &honest[..at], &honest[at + 1..])
        })
        .filter(|token| *token != honest)
        .collect();
    let (unsigned, signature) = honest.rsplit_once('.').unwrap();
    let (_, claims) = unsigned.split_once('.').unwrap();
    all.extend([
        format!("eyJhbGciOiJub25lIn0.{claims}.{signature}"),
        format!("eyJhbGciOiJub25lIn0.{claims}."),
        format!("{unsigned}."),
        format!("{honest}{honest}"),
        honest[1..].to_owned(),
        honest[..honest.len() - 1].to_owned(),
        signed(&json!({ "iat": now_s() - 100, "exp": now_s() - 50 })),
        token_for(48 * 60 * 60, json!({})),
        token(json!({ "aud": "somebody-else" })),
        token(json!({ "nbf": 9_999_999_999_u64 })),
        token(json!({ "sub": 1 })),
        token(json!({ "grants": ["read:news"] })),
        token(json!({ "roles": 1 })),
        "0123456789abcdef0123456789abcdef".to_owned(),
        "AAAAAAAAAAAAAAAAAAAAAA".to_owned(),
    ]);
    all
}

#[test]
fn a_token_lets_in_from_each_place_and_hostile_ones_are_told_one_status() {
    let server = Server::start(ALL);
    for (place, path, headers) in in_each_place(&token_of("ann")) {
        let answer = server.ask(&path, &headers);
        assert_eq!(answer.status, 101, "{place}: {answer:?}");
        // The token is never echoed.
        let chosen: Vec<&str> = answer.headers("Sec-WebSocket-Protocol").collect();
        assert_eq!(chosen, if place == "subprotocol" { &["chat"][..] } else { &[] });
    }
    let hostile = hostile();
    println!("{} hostile tokens on each place", hostile.len());
    assert!(hostile.len() >= 80, "{}", hostile.len());
    let shown = |path: &str, headers: &str| {
        let answer = server.ask(path, headers);
        let head = answer.head.lines().filter(|line| !line.starts_with("Date: ")).collect::<Vec<_>>().join("\n");
        format!("{head}\n{}", answer.body)
    };
    let refusal = shown("/topics/news", "");
    assert!(refusal.starts_with("HTTP/1.1 401 ") && refusal.contains("WWW-Authenticate: Bearer"), "{refusal}");
    for token in &hostile {
        for (place, path, headers) in in_each_place(token) {
            assert_eq!(shown(&path, &headers), refusal, "{place}: {token}");
        }
    }
    let log = server.log();
    assert!(log.contains("A token was refused.") && log.contains("The client asks for a WebSocket."), "{log}");
    let secrets = ["eyJ", "0123456789abcdef", "bearer.", "token="];
    let shown: Vec<&str> = log.lines().filter(|line| secrets.iter().any(|secret| line.contains(secret))).collect();
    assert!(shown.is_empty(), "{shown:?}");
}

#[test]
fn a_place_that_is_off_is_not_read() {
    let server = Server::start("");
    for (place, path, headers) in in_each_place(&token_of("ann")) {
        assert_eq!(server.ask(&path, &headers).status, if place == "header" { 101 } else { 401 }, "{place}");
    }
    assert_eq!(server.ask("/echo", "").status, 401);
    assert_eq!(server.ask("/nowhere", "").status, 404);
}

#[test]
fn a_client_without_a_token_has_the_role_anonymous_if_there_is_one() {
    let server = Server::start("[[role]]\nname = \"anonymous\"\ngrants = [\"subscribe:public/*\"]\n");
    assert_eq!(server.ask("/topics/public/a", "").status, 101);
    assert_eq!(server.ask("/topics/news", "").status, 403);
    let wrong = "Authorization: Bearer a.b.c\r\n";
    assert_eq!(server.ask("/topics/public/a", wrong).status, 401, "a wrong token is not as good as none");
    assert_eq!(server.ask("/topics/public/a", &format!("X-API-Key: {FEEDER}\r\n")).status, 403);
}

#[tokio::test]
async fn a_page_sees_why_it_was_refused_by_a_close_code() {
    let server = Server::start("[tokens]\nrefuse = \"close\"\n");
    assert_eq!(server.open("/topics/news", &[]).await.next().await, "close 3000");
    assert_eq!(server.open_with("/echo", "a.b.c").await.next().await, "close 3000");
    assert_eq!(server.open_with("/topics/secret", &token_of("ann")).await.next().await, "close 3003");
    server.open_with("/echo", &token_of("ann")).await.echo("hello").await;
}

#[tokio::test]
async fn a_token_may_come_in_the_first_message_and_nothing_is_published_before() {
    let server = Server::start("[tokens]\nfrom = [\"header\", \"first-message\"]\nfirst-message-timeout-ms = 1500\n");
    let mut member = server.open_with("/topics/users/ann/chat", &token_of("ann")).await;
    member.echo("first").await;
    for first in ["hello", "Bearer a.b.c", "Bearer", "{}", &token_of("ann")] {
        let mut client = server.open("/topics/users/ann/chat", &[]).await;
        client.send(first).await;
        assert_eq!(client.next().await, "close 3000", "{first}");
    }
    for token in hostile() {
        let mut client = server.open("/topics/users/ann/chat", &[]).await;
        client.send(&format!("Bearer {token}")).await;
        assert_eq!(client.next().await, "close 3000", "{token}");
    }
    let mut stranger = server.open("/topics/users/ann/chat", &[]).await;
    stranger.send(&format!("Bearer {}", token_of("bob"))).await;
    assert_eq!(stranger.next().await, "close 3003");
    let mut client = server.open("/topics/users/ann/chat", &[]).await;
    client.send(&format!("Bearer {}", token_of("ann"))).await;
    client.echo("second").await;
    assert_eq!(member.next().await, "second", "and nothing of the others");
    let mut echo = server.open("/echo", &[]).await;
    echo.send(&format!("Bearer {}", token_of("ann"))).await;
    echo.echo("hello").await;
    assert_eq!(server.open("/topics/news", &[]).await.next().await, "close 3008");
}
