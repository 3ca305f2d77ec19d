//! Tests of the decisions of a backend about messages.

use std::time::Duration;

use serde_json::{Value, json};

use crate::backend::{Backend, Mode};
use crate::server::Server;

fn start(backend: &Backend, more: &str) -> Server {
    Server::start(&format!("publish = \"{}\"\n{more}", backend.url("/publish")))
}

/// Answers by the text of a message: `deny`, `close`, `fail`, or anything else, which is allowed after a time.
fn by_text(pause: impl Fn(&str) -> Duration + Send + Sync + 'static) -> impl Fn(&crate::backend::Call) -> Mode {
    move |call| {
        let text = call.json()["text"].as_str().unwrap_or_default().to_owned();
        match &*text {
            "deny" => Mode::deny(),
            "close" => Mode::Answer(json!({ "allow": false, "code": 4002, "reason": "Be polite." }).to_string()),
            "fail" => Mode::Status(500),
            text => Mode::Slow(pause(text), r#"{"allow":true}"#.to_owned()),
        }
    }
}

#[tokio::test]
async fn messages_keep_their_order_however_long_each_answer_takes() {
    const MESSAGES: u64 = 40;
    let backend = Backend::start(Mode::allow());
    // The earlier a message is, the longer its answer takes.
    backend.choose(by_text(|text| Duration::from_millis(MESSAGES - text.parse::<u64>().unwrap_or(MESSAGES))));
    let server = start(&backend, "");
    let mut reader = server.open("/topics/a").await;
    server.wait_until_heard("a", &mut reader).await;
    let mut writer = server.open("/topics/a?echo=false").await;
    // All of them arrive at once, and wait in the server.
    for number in 0..MESSAGES {
        writer.send(&number.to_string()).await;
    }
    for number in 0..MESSAGES {
        assert_eq!(reader.next_with_reason().await, number.to_string());
    }
    assert_eq!(backend.wait_for_calls("/publish", MESSAGES as usize).len(), MESSAGES as usize, "each is asked once");
}

#[tokio::test]
async fn a_denied_message_is_dropped_and_a_code_ends_the_session() {
    let backend = Backend::start(Mode::allow());
    backend.choose(by_text(|_| Duration::ZERO));
    let server = start(&backend, "");
    let mut reader = server.open("/topics/a").await;
    server.wait_until_heard("a", &mut reader).await;
    let mut writer = server.open("/topics/a").await;
    for text in ["one", "deny", "two"] {
        writer.send(text).await;
    }
    assert_eq!([reader.next_with_reason().await, reader.next_with_reason().await], ["one", "two"]);
    assert_eq!([writer.next_with_reason().await, writer.next_with_reason().await], ["one", "two"]);
    assert_eq!(server.metric("ringsock_hook_calls_total{hook=\"publish\",result=\"denied\"}"), 1);
    writer.send("close").await;
    writer.send("never").await;
    assert_eq!(writer.next_with_reason().await, "close 4002 Be polite.");
    let mut other = server.open("/topics/a").await;
    other.send("fail").await;
    assert_eq!(other.next_with_reason().await, "close 1013 This cannot be decided right now. Try again later.");
    assert_eq!(reader.next_within(Duration::from_millis(200)).await, None);
    // Bytes are asked about as base64, and an echo not at all.
    other = server.open("/topics/a").await;
    other.send_bytes(b"\xff").await;
    // Before it were one, deny, two, close and fail.
    let asked: Vec<Value> = backend.wait_for_calls("/publish", 6).iter().map(|call| call.json()).collect();
    server.open("/echo").await.echo("deny").await;
    assert_eq!(backend.calls().len(), 6);
    assert!(asked.iter().any(|question| question["base64"] == "/w=="), "{asked:?}");
    assert!(asked.iter().all(|question| question["session"].is_string() && question["address"] == "127.0.0.1"));
}

#[tokio::test]
async fn a_session_that_leaves_while_its_message_waits_publishes_nothing_and_harms_nobody() {
    let backend = Backend::start(Mode::allow());
    backend.choose(by_text(|_| Duration::from_millis(300)));
    let server = start(&backend, "");
    let mut reader = server.open("/topics/a").await;
    let mut writer = server.open("/topics/a").await;
    writer.send("late").await;
    backend.wait_for_calls("/publish", 1);
    drop(writer);
    // The end of a connection that is not read is known when its message was decided about.
    let next = reader.next_within(Duration::from_millis(800)).await;
    assert!(next.is_none() || next.as_deref() == Some("late"), "{next:?}");
    reader.echo("still here").await;
}

#[tokio::test]
async fn http_with_the_token_of_a_user_is_asked_about_and_with_keys_it_is_not() {
    const KEY: &str = "0123456789abcdef0123456789abcdef";
    let more = format!(
        "[[issuer]]\nname = \"shop\"\nkey = \"{KEY}\"\nroles = [\"user\"]\n\
         [[role]]\nname = \"user\"\ngrants = [\"subscribe,publish:*\"]\n\
         [[api-key]]\nname = \"feeder\"\nkey = \"feeder-feeder-feeder-feeder-feeder\"\nroles = [\"user\"]\n"
    );
    let backend = Backend::start(Mode::allow());
    backend.choose(by_text(|_| Duration::ZERO));
    let server = start(&backend, &more);
    let bearer = format!("Authorization: Bearer {}\r\n", token(KEY));
    let mut reader = server
        .open_with("/topics/a", &[("Authorization", bearer.trim_start_matches("Authorization: ").trim_end())])
        .await;
    server.wait_until_heard("a", &mut reader).await;
    for (key, asked) in
        [("X-API-Key: operator\r\n", 0), ("X-API-Key: feeder-feeder-feeder-feeder-feeder\r\n", 0), (&bearer, 1)]
    {
        backend.forget();
        assert_eq!(server.post("/api/publish?topic=a", key, "hello"), (200, json!({ "topic": "a", "sent": "queued" })));
        assert_eq!(reader.next_with_reason().await, "hello");
        assert_eq!(backend.calls().len(), asked, "{key}");
    }
    assert_eq!(
        backend.calls()[0].json(),
        json!({ "event": "publish", "subject": "ann", "roles": ["user"], "topic": "a", "text": "hello" })
    );
    let (status, answer) = server.post("/api/publish?topic=a", &bearer, "close");
    assert_eq!((status, &answer["error"]), (403, &json!("Be polite.")));
    assert_eq!(server.post("/api/publish?topic=a", &bearer, "deny").0, 403);
    assert_eq!(server.post("/api/publish?topic=a", &bearer, "fail").0, 503);
    assert_eq!(server.post("/api/publish?topic=a*", &bearer, "x").0, 400);
    assert_eq!(reader.next_within(Duration::from_millis(200)).await, None);
}

/// Returns a token of ann for a minute.
fn token(key: &str) -> String {
    use ringsock::service::auth::{Algorithm, Signer};
    let now_s = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let claims = json!({ "sub": "ann", "iat": now_s, "exp": now_s + 60 });
    Signer::new(Algorithm::Hs256, key.as_bytes()).unwrap().sign(None, claims.as_object().unwrap()).unwrap()
}
