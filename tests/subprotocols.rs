//! Tests of subprotocols as clients request them from the program, on each reactor, and as operators configure them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests fail as tests do")]

#[allow(dead_code, reason = "each of these tests uses a part of it")]
mod program;

use program::http::HttpClient;
use program::{Process, between, serve_prepared};
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

const SETTING: &str = "handshake.subprotocols=chat,v2.example";

/// A running program, and its address. It ends when it is dropped.
struct Program {
    _process: Process,
    address: String,
}

impl Program {
    fn start(flags: &[&str], variables: &[(&str, &str)]) -> Self {
        let all = [&["--admin-listen", "none", "--cores", "1"], flags].concat();
        let (process, banner) = serve_prepared(&all, |command| {
            command.envs(variables.iter().copied());
        });
        Self { _process: process, address: between(&banner, "ready on ws://", "/") }
    }

    /// Returns the status of the answer to a request for a WebSocket with these headers, and its subprotocols.
    fn ask(&self, path: &str, headers: &str) -> (u16, Vec<String>) {
        let mut client = HttpClient::new(&self.address);
        client.write(format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{headers}\r\n"
        ));
        let answer = client.answer();
        (answer.status, answer.headers("Sec-WebSocket-Protocol").map(str::to_owned).collect())
    }
}

fn offer(names: &str) -> String {
    format!("Sec-WebSocket-Protocol: {names}\r\n")
}

#[test]
fn the_first_subprotocol_offered_that_is_spoken_is_named_and_no_other_ever() {
    for reactor in ["auto", "epoll"] {
        let program = Program::start(&["--reactor", reactor, "--set", SETTING], &[]);
        for (headers, named) in [
            (offer("chat"), Some("chat")),
            (offer("v2.example, chat"), Some("v2.example")),
            (offer("chat, v2.example"), Some("chat")),
            (offer("other,v2.example,chat"), Some("v2.example")),
            (offer("other") + &offer("v2.example") + &offer("chat"), Some("v2.example")),
            (offer(",chat ,"), Some("chat")),
            (offer("Chat, CHAT"), None),
            (offer("cha, chatt, v2, example, v2.example.evil"), None),
            (offer("none"), None),
            (String::new(), None),
        ] {
            let expected: Vec<String> = named.map(str::to_owned).into_iter().collect();
            for path in ["/echo", "/topics/a", "/topics/a*?echo=false"] {
                assert_eq!(program.ask(path, &headers), (101, expected.clone()), "{path}, {headers:?}, {reactor}");
            }
        }
        // RFC 6455 4.1: a subprotocol that is offered twice is no valid offer.
        for twice in [offer("chat, chat"), offer("chat") + &offer("chat"), offer("")] {
            assert_eq!(program.ask("/echo", &twice), (400, Vec::new()), "{twice:?}");
        }
        assert_eq!(program.ask("/nowhere", &offer("chat")), (404, Vec::new()));
    }
}

#[test]
fn none_is_named_where_none_is_spoken() {
    for flags in [&[][..], &["--set", "handshake.subprotocols=none"]] {
        let program = Program::start(flags, &[]);
        assert_eq!(program.ask("/echo", &offer("chat")), (101, Vec::new()));
    }
}

#[test]
fn they_are_named_by_a_variable_or_in_a_file_as_well() {
    let path = std::path::PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("subprotocols.toml");
    let path = path.to_str().unwrap();
    for value in ["[\"chat\", \"v2.example\"]", "\"chat, v2.example\""] {
        let file = format!("[handshake]\nsubprotocols = {value}\n");
        std::fs::write(path, &file).unwrap();
        let program = Program::start(&["--config", path], &[]);
        assert_eq!(program.ask("/echo", &offer("a, v2.example")), (101, vec!["v2.example".to_owned()]), "{file}");
    }
    let program = Program::start(&["--config", path], &[("RINGSOCK_HANDSHAKE__SUBPROTOCOLS", "a")]);
    assert_eq!(program.ask("/echo", &offer("chat, a")), (101, vec!["a".to_owned()]));
}

#[tokio::test]
async fn a_client_that_insists_on_a_subprotocol_gets_it() {
    let program = Program::start(&["--set", SETTING], &[]);
    let mut request = format!("ws://{}/echo", program.address).into_client_request().unwrap();
    request.headers_mut().insert("Sec-WebSocket-Protocol", "superchat, chat".parse().unwrap());
    let (_socket, answer) = connect_async(request).await.unwrap();
    assert_eq!(answer.headers()["Sec-WebSocket-Protocol"], "chat");
}
