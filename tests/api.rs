//! Tests of the API as other programs use it: messages published over HTTP reach WebSockets, on every core and reactor.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests fail as tests do")]

#[allow(dead_code, reason = "each of these tests uses a part of it")]
mod program;

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use program::http::{Answer, HttpClient, request};
use program::run::PATIENCE;
use program::{Process, between, serve};

const KEY: &str = "the-key-of-this-test";

/// The longest wait for a message that may have been published before every core knew of its subscriber.
const SHORT: Duration = Duration::from_millis(100);

/// A running program, ended when it is dropped.
struct Program {
    _process: Process,
    address: String,
}

impl Program {
    fn start(flags: &[&str]) -> Self {
        let (process, banner) = serve(&[&["--admin-listen", "none"], flags].concat());
        let address = between(&banner, "ready on ws://", "/");
        Self { _process: process, address }
    }

    /// Sends a request on a connection of its own.
    fn ask(&self, request_line: &str, headers: &[&str], body: &[u8]) -> Answer {
        let mut client = HttpClient::new(&self.address);
        client.write(request_with(request_line, &lines(headers), body));
        client.answer()
    }

    /// Publishes with the key.
    fn publish(&self, query: &str, headers: &[&str], body: &[u8]) -> Answer {
        let key = format!("X-API-Key: {KEY}");
        self.ask(&format!("POST /api/publish{query}"), &[&[&key[..]], headers].concat(), body)
    }

    /// Opens a subscriber of a topic or pattern.
    async fn subscribe(&self, name: &str) -> Subscriber {
        let (socket, _) = connect_async(format!("ws://{}/topics/{name}", self.address)).await.unwrap();
        Subscriber(socket)
    }
}

/// A WebSocket that receives published messages.
struct Subscriber(WebSocketStream<MaybeTlsStream<tokio::net::TcpStream>>);

impl Subscriber {
    async fn hears(&mut self, expected: Message) {
        let heard = timeout(PATIENCE, self.0.next()).await.expect("nothing is heard");
        assert_eq!(heard.unwrap().unwrap(), expected);
    }

    async fn hears_text(&mut self, text: &str) {
        self.hears(Message::text(text)).await;
    }
}

/// Returns a request with this body.
fn request_with(line: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    [request(line, &format!("{headers}{length}")).as_bytes(), body].concat()
}

fn lines(headers: &[&str]) -> String {
    headers.iter().map(|header| format!("{header}\r\n")).collect()
}

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap()
}

#[tokio::test]
async fn a_posted_message_reaches_the_subscribers_of_the_topic_and_of_its_patterns() {
    let server = Program::start(&["--cores", "1", "--api-key", KEY]);
    let mut subscriber = server.subscribe("news").await;
    let mut pattern = server.subscribe("ne*").await;
    let mut other = server.subscribe("old").await;
    let Answer { status, head, body } = server.publish("?topic=news", &[], b"hello");
    assert_eq!((status, body.as_str()), (200, r#"{"topic":"news","sent":"queued"}"#));
    assert!(head.contains("\r\nContent-Type: application/json\r\n"), "{head}");
    assert_eq!(server.publish("?topic=news", &["Content-Type: application/json"], b"{}").status, 200);
    assert_eq!(server.publish("?topic=news", &["Content-Type: application/octet-stream"], b"bytes").status, 200);
    assert_eq!(server.publish("?topic=news", &[], b"\xff\x00").status, 200);
    assert_eq!(server.publish("?topic=news", &[], b"").status, 200);
    for hearer in [&mut subscriber, &mut pattern] {
        hearer.hears_text("hello").await;
        hearer.hears_text("{}").await;
        hearer.hears(Message::binary(&b"bytes"[..])).await;
        hearer.hears(Message::binary(&b"\xff\x00"[..])).await;
        hearer.hears_text("").await;
    }
    assert_eq!(server.publish("?topic=old", &["Content-Type: text/plain"], b"for another").status, 200);
    other.hears_text("for another").await;
}

#[tokio::test]
async fn a_topic_is_named_in_its_percent_encoding_by_publishers_as_by_subscribers() {
    let server = Program::start(&["--cores", "1", "--api-key", KEY]);
    let mut subscriber = server.subscribe("a/b%20c%26d%C3%A4").await;
    for query in ["?topic=a/b%20c%26d%C3%A4", "?topic=%61%2Fb%20c%26d%c3%a4"] {
        let Answer { status, body, .. } = server.publish(query, &[], "grüße".as_bytes());
        assert_eq!((status, json(&body)["topic"].as_str()), (200, Some("a/b c&dä")), "{query}");
        subscriber.hears_text("grüße").await;
    }
    let Answer { status, body, .. } = server.publish("?topic=%22%5C%0A", &[], b"");
    assert_eq!((status, json(&body)["topic"].as_str()), (200, Some("\"\\\n")));
}

#[tokio::test]
async fn parameters_that_mean_nothing_here_are_ignored_by_publishers_and_subscribers() {
    let server = Program::start(&["--cores", "1", "--api-key", KEY]);
    for (number, others) in ["token=abc", "_=1", "x", "&&", "x=%ff&%zz", "x=1&x=2", "y=1;_"].iter().enumerate() {
        let topic = format!("topic-{number}");
        let mut subscriber = server.subscribe(&format!("{topic}?{others}&echo=false")).await;
        let Answer { status, body, .. } = server.publish(&format!("?{others}&topic={topic}"), &[], b"hello");
        assert_eq!(status, 200, "{others}: {body}");
        subscriber.hears_text("hello").await;
        assert_eq!(server.ask(&format!("GET /api/cores?{others}"), &[], b"").status, 200, "{others}");
        assert_eq!(server.ask(&format!("GET /?{others}"), &[], b"").status, 200, "{others}");
    }
    let refused = connect_async(format!("ws://{}/topics/a?token=abc&echo=maybe", server.address)).await.unwrap_err();
    assert!(refused.to_string().contains("400"), "{refused}");
}

#[tokio::test]
async fn a_connection_publishes_message_after_message_in_order() {
    for reactor in ["uring", "epoll"] {
        let server = Program::start(&["--cores", "1", "--reactor", reactor, "--api-key", KEY]);
        let mut subscriber = server.subscribe("x").await;
        let key = format!("Authorization: Bearer {KEY}\r\n");
        let line = "POST /api/publish?topic=x";
        let mut client = HttpClient::new(&server.address);
        let messages: Vec<String> = (0..100).map(|number| number.to_string()).collect();
        let requests: Vec<u8> =
            messages.iter().flat_map(|message| request_with(line, &key, message.as_bytes())).collect();
        // All messages at once, and then one that arrives in many pieces.
        client.write(&requests);
        for message in &messages {
            assert_eq!(client.answer().status, 200);
            subscriber.hears_text(message).await;
        }
        let large = "x".repeat(64 * 1024);
        client.write(request_with(line, &key, large.as_bytes()));
        assert_eq!(client.answer().status, 200);
        subscriber.hears_text(&large).await;
        for piece in request_with(line, &key, b"in pieces").chunks(7) {
            client.write(piece);
            std::thread::sleep(Duration::from_millis(2));
        }
        assert_eq!(client.answer().status, 200);
        subscriber.hears_text("in pieces").await;
    }
}

#[tokio::test]
async fn a_message_posted_to_any_core_reaches_every_core() {
    let server = Program::start(&["--cores", "2", "--api-key", KEY]);
    let mut subscribers = Vec::new();
    for _ in 0..8 {
        subscribers.push(server.subscribe("x").await);
    }
    // The kernel spreads connections over the cores; with so many each gets some. A core that does not know of all
    // subscribers yet is asked again.
    for number in 0..30 {
        let text = format!("message {number}");
        let end = Instant::now() + PATIENCE;
        assert_eq!(server.publish("?topic=x", &[], text.as_bytes()).status, 200);
        for subscriber in &mut subscribers {
            loop {
                match timeout(SHORT, subscriber.0.next()).await {
                    Ok(heard) if heard.as_ref().unwrap().as_ref().unwrap() == &Message::text(&text) => break,
                    // It was asked again at one of the earlier attempts.
                    Ok(_) => {}
                    Err(_) => assert_eq!(server.publish("?topic=x", &[], text.as_bytes()).status, 200),
                }
                assert!(Instant::now() < end, "{text} is not heard");
            }
        }
    }
    let Answer { status, head, body } = server.ask("GET /api/cores", &[], b"");
    assert_eq!(status, 200);
    assert!(head.contains("\r\nContent-Type: application/json\r\n"), "{head}");
    assert!(head.contains("\r\nCache-Control: no-store\r\n"), "{head}");
    let told = json(&body);
    let cores = told["cores"].as_array().unwrap();
    let sum = |name: &str| cores.iter().map(|core| core[name].as_u64().unwrap()).sum::<u64>();
    assert_eq!(cores.iter().map(|core| core["core"].as_u64().unwrap()).collect::<Vec<_>>(), [0, 1]);
    assert_eq!((sum("subscriptions"), sum("messages_dropped"), sum("messages_received")), (8, 0, 0));
    assert!(sum("connections") >= 8 && sum("messages_sent") >= 8 * 30 && sum("messages_published") >= 30, "{body}");
    assert!(cores.iter().all(|core| core["messages_published"] != 0), "one core was never asked: {body}");
}

#[test]
fn a_request_that_cannot_be_carried_out_is_told_why_and_changes_nothing() {
    let server = Program::start(&["--cores", "1", "--api-key", KEY]);
    let key = format!("X-API-Key: {KEY}");
    for (request_line, headers, body, status, why) in [
        ("POST /api/publish?topic=x", &[][..], &b"hello"[..], 401, "needs a key"),
        ("POST /api/publish?topic=x", &["X-API-Key: wrong"], b"hello", 401, "Wrong key"),
        ("POST /api/publish?topic=x", &["Authorization: Basic a2V5"], b"hello", 401, "needs a key"),
        ("POST /api/publish", &[&key], b"hello", 400, "topic is missing"),
        ("POST /api/publish?topic=", &[&key], b"hello", 400, "empty"),
        ("POST /api/publish?topic=a*", &[&key], b"hello", 400, "pattern"),
        ("POST /api/publish?topic=a&topic=b", &[&key], b"hello", 400, "more than once"),
        ("POST /api/publish?topic=%ff", &[&key], b"hello", 400, "UTF-8"),
        ("POST /api/publish?topic=a", &[&key, "Content-Type: application/json"], b"\xff", 400, "octet-stream"),
        ("GET /api/publish?topic=x", &[&key], b"", 405, "POST"),
        ("PUT /api/publish?topic=x", &[&key], b"hello", 405, "POST"),
        ("POST /api/cores", &[&key], b"", 405, "GET, HEAD"),
        ("GET /api/", &[], b"", 404, "/api/publish"),
        ("GET /api/nothing", &[], b"", 404, "/api/publish"),
    ] {
        let Answer { status: answered, head, body } = server.ask(request_line, headers, body);
        assert_eq!(answered, status, "{request_line} {headers:?}: {body}");
        let error = json(&body)["error"].as_str().unwrap().to_owned();
        assert!(error.contains(why), "{request_line}: {error}");
        assert_eq!(head.contains("\r\nWWW-Authenticate: Bearer\r\n"), status == 401, "{head}");
        assert_eq!(head.contains("\r\nAllow: "), status == 405, "{head}");
        assert!(head.contains("\r\nConnection: keep-alive\r\n"), "{head}");
    }
    let long = format!("POST /api/publish?topic={}", "x".repeat(256));
    assert_eq!(server.ask(&long, &[&key], b"").status, 400);
    let told = json(&server.ask("GET /api/cores", &[], b"").body);
    assert_eq!(told["cores"][0]["messages_published"], 0);
}

#[test]
fn a_message_above_the_limit_of_messages_is_refused_with_413_and_both_numbers() {
    let server = Program::start(&["--cores", "1", "--api-key", KEY, "--max-message-bytes", "1000"]);
    assert_eq!(server.publish("?topic=x", &[], &[b'x'; 1000]).status, 200);
    let Answer { status, head, body } = server.publish("?topic=x", &[], &[b'x'; 1001]);
    assert_eq!(status, 413);
    assert!(body.contains("1001") && body.contains("1000"), "{body}");
    assert!(head.contains("\r\nConnection: close\r\n"), "{head}");
}

#[test]
fn without_a_key_the_api_is_off_but_for_what_cores_do() {
    let server = Program::start(&["--cores", "1"]);
    let Answer { status, body, .. } = server.publish("?topic=x", &[], b"hello");
    assert_eq!(status, 404);
    assert!(body.contains("api.key") && body.contains("api.insecure"), "{body}");
    assert_eq!(server.ask("GET /api/publish", &[], b"").status, 404);
    assert_eq!(server.ask("GET /api/cores", &[], b"").status, 200);
}

#[tokio::test]
async fn api_insecure_lets_programs_publish_without_a_key_and_web_pages_not() {
    let server = Program::start(&["--cores", "1", "--set", "api.insecure=true"]);
    let mut subscriber = server.subscribe("x").await;
    let page = server.ask("POST /api/publish?topic=x", &["Origin: http://elsewhere.example"], b"from a page");
    assert_eq!(page.status, 403, "{}", page.body);
    assert_eq!(server.ask("POST /api/publish?topic=x", &[], b"from a program").status, 200);
    subscriber.hears_text("from a program").await;
}
