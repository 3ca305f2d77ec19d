//! Tests of the decisions of a backend about clients that connect and subscribe.

use serde_json::{Value, json};

use crate::backend::{Backend, Mode};
use crate::server::{SECRET, Server};

/// Returns keys of the section of hooks for these hooks of a backend.
fn hooks(backend: &Backend, names: &[&str]) -> String {
    names.iter().map(|name| format!("{name} = \"{}\"\n", backend.url(&format!("/{name}")))).collect()
}

fn answer(value: Value) -> Mode {
    Mode::Answer(value.to_string())
}

#[tokio::test]
async fn connect_and_then_subscribe_are_asked_with_all_that_is_known() {
    let backend = Backend::start(Mode::allow());
    let more = "forward-headers = [\"Cookie\", \"X-Tenant\", \"X-None\"]\n";
    let server = Server::start(&format!("{}{more}", hooks(&backend, &["connect", "subscribe"])));
    let headers =
        [("Cookie", "id=7"), ("X-Tenant", "a"), ("X-Other", "b"), ("Origin", &*format!("http://{}", server.address))];
    let mut client = server.open_with("/topics/rooms/1?echo=true&token=secret", &headers).await;
    client.echo("hello").await;
    let calls = backend.calls();
    assert_eq!(calls.iter().map(|call| &*call.path).collect::<Vec<_>>(), ["/connect", "/subscribe"]);
    for (call, event) in calls.iter().zip(["connect", "subscribe"]) {
        let expected = json!({
            "event": event,
            "topic": "rooms/1",
            "address": "127.0.0.1",
            "path": "/topics/rooms/1",
            "query": "echo=true",
            "origin": format!("http://{}", server.address),
            "headers": { "cookie": "id=7", "x-tenant": "a" },
        });
        assert_eq!(call.json(), expected);
        assert_eq!(call.headers["content-type"], "application/json");
        assert!(call.headers["user-agent"].starts_with("ringsock/"));
        assert!(call.headers["webhook-id"].starts_with("msg_") && call.headers["webhook-signature"].starts_with("v1,"));
    }
    assert_ne!(calls[0].headers["webhook-id"], calls[1].headers["webhook-id"]);
    assert!(!server.log().contains("secret"), "nothing shows a query");
    // An echo is no subscription.
    backend.forget();
    server.open("/echo").await.echo("hello").await;
    let calls = backend.calls();
    assert_eq!(calls.len(), 1);
    assert_eq!(calls[0].json(), json!({ "event": "connect", "address": "127.0.0.1", "path": "/echo" }));
}

#[tokio::test]
async fn a_denial_is_a_status_or_a_close_code_as_tokens_refuse_says() {
    let backend = Backend::start(Mode::deny());
    let server = Server::start(&hooks(&backend, &["connect"]));
    let refused = server.ask("/topics/a", "");
    assert_eq!((refused.status, &*refused.body), (403, "This is not allowed.\n"));
    backend.set(answer(json!({ "allow": false, "code": 4001, "reason": "Pay first." })));
    let refused = server.ask("/topics/a", "");
    assert_eq!((refused.status, &*refused.body), (403, "Pay first.\n"));
    backend.set(Mode::Status(403));
    assert_eq!(server.ask("/topics/a", "").status, 403);

    let server =
        Server::start(&format!("{}[tokens]\nrefuse = \"close\"\n", hooks(&backend, &["connect", "subscribe"])));
    assert_eq!(server.open("/topics/a").await.next_with_reason().await, "close 3003 This is not allowed.");
    backend.choose(|call| match &*call.path {
        "/connect" => Mode::allow(),
        _ => answer(json!({ "allow": false, "code": 4001, "reason": "Pay first." })),
    });
    assert_eq!(server.open("/topics/a").await.next_with_reason().await, "close 4001 Pay first.");
    backend.set(Mode::Status(500));
    let close = server.open("/topics/a").await.next_with_reason().await;
    assert_eq!(close, "close 1013 This cannot be decided right now. Try again later.");
}

#[tokio::test]
async fn the_backend_gives_subject_roles_grants_and_an_end() {
    let roles = "[[role]]\nname = \"user\"\ngrants = [\"subscribe,publish:users/{sub}/*\"]\n\
                 [[role]]\nname = \"reader\"\ngrants = [\"subscribe:news\"]\n\
                 [tokens]\ngrace-ms = 0\n";
    let backend = Backend::start(answer(json!({ "allow": true, "subject": "ann", "roles": ["user", "unknown"] })));
    let server = Server::start(&format!("{}{roles}", hooks(&backend, &["connect", "publish"])));
    assert_eq!(server.ask("/topics/news", "").status, 403, "no role has a grant for it");
    assert_eq!(server.ask("/topics/users/bob/1", "").status, 403);
    let mut client = server.open("/topics/users/ann/1").await;
    client.echo("hello").await;
    let publish = backend.wait_for_calls("/publish", 1)[0].json();
    assert_eq!((&publish["subject"], &publish["roles"]), (&json!("ann"), &json!(["user", "unknown"])));
    assert_eq!((&publish["topic"], &publish["text"]), (&json!("users/ann/1"), &json!("hello")));

    // The session is one of ann, whom the operator can turn out.
    let (status, _) = server.post("/api/revoke?sub=ann", "X-API-Key: operator\r\n", "");
    assert_eq!((status, client.next_with_reason().await), (200, "close 3000 The token was revoked.".to_owned()));

    backend.set(answer(json!({ "allow": true, "roles": ["reader"], "grants": ["subscribe:a"], "expires": 1 })));
    let mut reader = server.open("/topics/news").await;
    assert_eq!(reader.next_with_reason().await, "close 3000 The token has expired.");
    let mut writer = server.open("/topics/a").await;
    writer.send("hello").await;
    assert_eq!(writer.next_with_reason().await, "close 3003 The token does not allow this.");

    // Without rights in the answer the client has those of anonymous ones, and there is no such role.
    backend.set(Mode::allow());
    assert_eq!(server.ask("/topics/news", "").status, 403);
    server.open("/echo").await.echo("hello").await;
}

#[tokio::test]
async fn a_token_is_verified_before_the_backend_is_asked_which_may_take_rights_away() {
    let more = "[[issuer]]\nname = \"shop\"\nkey = \"0123456789abcdef0123456789abcdef\"\nroles = [\"user\"]\n\
                [[role]]\nname = \"user\"\ngrants = [\"subscribe,publish:*\"]\n";
    let backend = Backend::start(Mode::allow());
    let server = Server::start(&format!("{}{more}", hooks(&backend, &["connect"])));
    assert_eq!(server.ask("/topics/a", "Authorization: Bearer a.b.c\r\n").status, 401);
    assert!(backend.calls().is_empty(), "a client with a token that is refused is no question");
    let token = token("ann");
    let bearer = format!("Bearer {token}");
    let mut client = server.open_with("/topics/a", &[("Authorization", &bearer)]).await;
    client.echo("hello").await;
    let question = backend.calls()[0].json();
    assert_eq!((&question["subject"], &question["roles"]), (&json!("ann"), &json!(["user"])));
    // A session with rights of its token alone may renew it.
    client.send(&bearer).await;
    client.echo("renewed").await;

    backend.set(answer(json!({ "allow": true, "grants": ["subscribe:a"] })));
    assert_eq!(server.ask("/topics/b", &format!("Authorization: {bearer}\r\n")).status, 403);
    let mut client = server.open_with("/topics/a", &[("Authorization", &bearer)]).await;
    client.send(&bearer).await;
    let close = client.next_with_reason().await;
    assert_eq!(close, "close 3003 The token does not allow this.", "it would bring back what was taken away");
}

#[tokio::test]
async fn a_reload_turns_hooks_on_and_off_and_changes_secrets() {
    let backend = Backend::start(Mode::deny());
    let server = Server::start("");
    server.open("/topics/a").await.echo("hello").await;
    server.reload(&hooks(&backend, &["connect"]));
    assert_eq!(server.ask("/topics/a", "").status, 403);
    let previous = "previous-secret = \"whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"\n";
    server.reload(&format!("{}{previous}", hooks(&backend, &["connect"])));
    assert_eq!(server.ask("/topics/a", "").status, 403);
    let signatures: Vec<String> =
        backend.calls().iter().map(|call| call.headers["webhook-signature"].clone()).collect();
    assert_eq!(signatures.iter().map(|header| header.split(' ').count()).collect::<Vec<_>>(), [1, 2]);
    server.reload("");
    server.open("/topics/a").await.echo("hello").await;
    assert_eq!(backend.calls().len(), 2);
    let log = server.log();
    assert!(!log.contains(SECRET) && !log.contains("AAAAAAAA"), "nothing shows a secret");
}

/// Returns a token for a minute.
fn token(subject: &str) -> String {
    use ringsock::service::auth::{Algorithm, Signer};
    let now_s = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let claims = json!({ "sub": subject, "iat": now_s, "exp": now_s + 60 });
    let signer = Signer::new(Algorithm::Hs256, b"0123456789abcdef0123456789abcdef").unwrap();
    signer.sign(None, claims.as_object().unwrap()).unwrap()
}
