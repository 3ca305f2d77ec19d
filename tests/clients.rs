//! Tests of tokio-tungstenite against a server in this process, as an embedding application starts it, on each reactor.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests fail as tests do")]

use std::cell::Cell;
use std::collections::HashSet;
use std::io::{Write, stdout};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use futures_util::{SinkExt, StreamExt};
use ringsock::engine::{Controller, ReactorKind};
use ringsock::server::Error;
use ringsock::{
    Accept, CloseCode, Ended, Handler, Limits, Message, Response, Server, Session, Upgrade, UpgradeRequest,
};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::error::{Error as ClientError, ProtocolError, SubProtocolError};
use tokio_tungstenite::tungstenite::handshake::client::Response as Switched;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::{Message as Said, Result as ClientResult};
use tokio_tungstenite::{WebSocketStream, client_async};

type Client = WebSocketStream<TcpStream>;

/// The patience of a test: everything takes milliseconds; the rest is for a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// The time of decisions on upgrades that are made later: well above a handshake's own millisecond.
const DECISION: Duration = Duration::from_millis(100);

/// The number of decisions that wait for each other.
const TOGETHER: usize = 50;

/// The interval of a ticking session.
const TICK: Duration = Duration::from_millis(20);

/// The subprotocols of the server, best first.
const PROTOCOLS: &[&str] = &["chat.v2", "chat.v1"];

#[derive(Default, PartialEq)]
enum Kind {
    #[default]
    Echo,
    Ticking,
    Doomed,
}

/// A handler that does what the path says.
struct Workshop {
    closes: Sender<(Option<u16>, String, bool)>,
    /// The number of requests whose decisions wait for each other, on all cores.
    undecided: Arc<AtomicUsize>,
    /// The messages that this core has received.
    heard: Rc<Cell<usize>>,
}

impl Handler for Workshop {
    type State = Kind;
    type Mail = ();

    fn upgrade(&mut self, request: &UpgradeRequest<'_>) -> Upgrade<Kind> {
        match request.path() {
            "/protocol" => match request.choose_protocol(PROTOCOLS) {
                Some(protocol) => Accept::new().protocol(protocol.to_owned()).into(),
                None => Upgrade::accept(),
            },
            "/yes" => Upgrade::later(async {
                monoio::time::sleep(DECISION).await;
                Accept::new().header("X-Decision", "yes")
            }),
            "/no" => Upgrade::later(async {
                monoio::time::sleep(DECISION).await;
                Upgrade::reject(Response::text(403, "not you"))
            }),
            "/together" => {
                let undecided = Arc::clone(&self.undecided);
                undecided.fetch_add(1, Ordering::Relaxed);
                Upgrade::later(async move {
                    while undecided.load(Ordering::Relaxed) < TOGETHER {
                        monoio::time::sleep(TICK).await;
                    }
                    Upgrade::accept()
                })
            }
            "/ticks" => Upgrade::accept_with(Kind::Ticking),
            "/doomed" => Upgrade::accept_with(Kind::Doomed),
            _ => Upgrade::accept(),
        }
    }

    fn open(&mut self, session: &mut Session<'_, Self>) {
        let (handle, heard) = (session.handle(), Rc::clone(&self.heard));
        match session.state() {
            Kind::Echo => {}
            Kind::Ticking => session.spawn(async move {
                for tick in 0..5 {
                    monoio::time::sleep(TICK).await;
                    handle.send(&format!("tick {tick}")).await;
                }
                while heard.get() == 0 {
                    monoio::time::sleep(TICK).await;
                }
                handle.close(CloseCode::NORMAL, "wound down");
            }),
            Kind::Doomed => session.spawn(async {
                monoio::time::sleep(TICK).await;
                panic!("a task fails");
            }),
        }
    }

    fn message(&mut self, session: &mut Session<'_, Self>, message: Message<'_>) {
        self.heard.set(self.heard.get() + 1);
        match message {
            Message::Text("id") => drop(session.send(&session.id().to_string())),
            Message::Text("address") => {
                let (client, peer) = (session.client_address().unwrap(), session.peer_address().unwrap());
                session.send(&format!("{client} by {peer}"));
            }
            Message::Text("go away") => session.close(CloseCode::new(4321).unwrap(), "as you like"),
            message => drop(session.send(message)),
        }
    }

    fn close(&mut self, _session: &mut Session<'_, Self>, ended: Ended<'_>) {
        let code = ended.code.map(CloseCode::number);
        // In most tests no subscriber exists.
        let _ = self.closes.send((code, ended.reason.to_owned(), ended.clean));
    }
}

/// A server inside this process.
struct Host {
    address: SocketAddr,
    controller: Controller,
    ended: JoinHandle<Result<(), Error>>,
    closes: Receiver<(Option<u16>, String, bool)>,
}

impl Host {
    fn start(reactor: ReactorKind) -> Self {
        let mut limits = Limits::default();
        limits.messages.message_bytes_max = 4 << 20;
        let (sender, closes) = channel();
        let undecided = Arc::new(AtomicUsize::new(0));
        let server = Server::builder()
            .listen("127.0.0.1:0")
            .cores(2)
            .reactor(reactor)
            .limits(limits)
            .handle_signals(false)
            .start(move |_core| Workshop {
                closes: sender.clone(),
                undecided: Arc::clone(&undecided),
                heard: Rc::default(),
            })
            .unwrap();
        let (address, controller) = (server.address(), server.controller());
        Self { address, controller, ended: thread::spawn(move || server.join()), closes }
    }

    async fn open(&self, path: &str) -> Client {
        self.ask(path, None).await.unwrap().0
    }

    async fn ask(&self, path: &str, protocols: Option<&str>) -> ClientResult<(Client, Switched)> {
        let mut request = format!("ws://{}{path}", self.address).into_client_request()?;
        if let Some(protocols) = protocols {
            request.headers_mut().insert("Sec-WebSocket-Protocol", protocols.parse().unwrap());
        }
        let stream = TcpStream::connect(self.address).await?;
        timeout(PATIENCE, client_async(request, stream)).await.expect("no answer in time")
    }

    fn stop(self) {
        self.controller.drain();
        self.ended.join().unwrap().unwrap();
    }
}

/// Runs a test on each reactor that this host allows.
fn on_each_reactor(test: impl AsyncFn(&Host)) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut kinds = vec![ReactorKind::Epoll];
    match ringsock::reactor::uring::Uring::new() {
        Ok(_) => kinds.push(ReactorKind::Uring),
        Err(error) => {
            // Written past the test harness, which would capture it.
            writeln!(stdout().lock(), "NOT TESTED: the io_uring reactor; this host refuses it ({error})").unwrap();
        }
    }
    for kind in kinds {
        let host = Host::start(kind);
        runtime.block_on(test(&host));
        host.stop();
    }
}

async fn next(client: &mut Client) -> Said {
    timeout(PATIENCE, client.next()).await.expect("nothing came in time").expect("the stream ended").unwrap()
}

/// Sends a message and returns the answer.
async fn echo(client: &mut Client, said: Said) -> Said {
    client.send(said).await.unwrap();
    next(client).await
}

fn close_of(said: Said) -> (u16, String) {
    match said {
        Said::Close(Some(frame)) => (frame.code.into(), frame.reason.to_string()),
        other => panic!("not a close: {other:?}"),
    }
}

#[test]
fn messages_of_every_kind_and_size_come_back_as_they_were() {
    on_each_reactor(async |host| {
        let mut client = host.open("/").await;
        for length in [0, 1, 125, 126, 65_535, 65_536, 1 << 20, 4 << 20] {
            let text = Said::text("ä".repeat(length / 2));
            assert_eq!(echo(&mut client, text.clone()).await, text);
            let binary = Said::binary((0..length).map(|byte| byte as u8).collect::<Vec<_>>());
            assert_eq!(echo(&mut client, binary.clone()).await, binary);
        }
    });
}

#[test]
fn fragments_are_put_together_and_pings_between_them_answered() {
    on_each_reactor(async |host| {
        let mut client = host.open("/").await;
        let fragment = |data, payload: &'static str, fin| Said::Frame(Frame::message(payload, OpCode::Data(data), fin));
        client.send(fragment(Data::Text, "in ", false)).await.unwrap();
        client.send(fragment(Data::Continue, "three ", false)).await.unwrap();
        client.send(Said::Ping("between".into())).await.unwrap();
        client.send(fragment(Data::Continue, "pieces", true)).await.unwrap();
        assert_eq!(next(&mut client).await, Said::Pong("between".into()));
        assert_eq!(next(&mut client).await, Said::text("in three pieces"));
    });
}

#[test]
fn a_ping_is_answered_with_its_payload() {
    on_each_reactor(async |host| {
        let mut client = host.open("/").await;
        for payload in ["", "a few bytes"] {
            assert_eq!(echo(&mut client, Said::Ping(payload.into())).await, Said::Pong(payload.into()));
        }
    });
}

#[test]
fn a_close_carries_its_code_and_reason_to_the_handler_and_back() {
    on_each_reactor(async |host| {
        let mut client = host.open("/").await;
        let frame = CloseFrame { code: 3999.into(), reason: "enough".into() };
        assert_eq!(close_of(echo(&mut client, Said::Close(Some(frame))).await), (3999, "enough".to_owned()));
        assert!(client.next().await.is_none(), "the server closes the connection");
        let heard = host.closes.recv_timeout(PATIENCE).unwrap();
        assert_eq!(heard, (Some(3999), "enough".to_owned(), true));
    });
}

#[test]
fn a_handlers_close_reaches_the_client_with_code_and_reason() {
    on_each_reactor(async |host| {
        let mut client = host.open("/").await;
        assert_eq!(close_of(echo(&mut client, Said::text("go away")).await), (4321, "as you like".to_owned()));
        assert!(client.next().await.is_none(), "the connection ends in order");
        let (code, _, clean) = host.closes.recv_timeout(PATIENCE).unwrap();
        assert_eq!((code, clean), (Some(4321), true));
    });
}

#[test]
fn a_client_that_vanishes_is_reported_as_not_clean() {
    on_each_reactor(async |host| {
        drop(host.open("/").await);
        assert_eq!(host.closes.recv_timeout(PATIENCE).unwrap(), (None, String::new(), false));
    });
}

#[test]
fn a_page_of_another_origin_is_refused_by_default() {
    on_each_reactor(async |host| {
        let own = format!("http://{}", host.address);
        for (origin, status) in [(own.as_str(), 101), ("https://evil.test", 403), ("null", 403)] {
            let mut request = format!("ws://{}/", host.address).into_client_request().unwrap();
            request.headers_mut().insert("Origin", origin.parse().unwrap());
            let stream = TcpStream::connect(host.address).await.unwrap();
            let answered = match timeout(PATIENCE, client_async(request, stream)).await.unwrap() {
                Ok((_client, response)) => response.status(),
                Err(ClientError::Http(response)) => response.status(),
                Err(error) => panic!("{error}"),
            };
            assert_eq!(answered, status, "{origin}");
        }
    });
}

#[test]
fn a_handler_is_told_the_address_of_its_client() {
    on_each_reactor(async |host| {
        let mut client = host.open("/").await;
        let own = client.get_ref().local_addr().unwrap();
        assert_eq!(echo(&mut client, Said::text("address")).await, Said::text(format!("127.0.0.1 by {own}")));
    });
}

#[test]
fn of_the_subprotocols_offered_the_servers_favourite_is_chosen() {
    on_each_reactor(async |host| {
        for (offered, chosen) in [("chat.v1, chat.v2", "chat.v2"), ("other, chat.v1", "chat.v1")] {
            let (_client, response) = host.ask("/protocol", Some(offered)).await.unwrap();
            assert_eq!(response.headers()["sec-websocket-protocol"], chosen, "{offered}");
        }
        let refused = host.ask("/protocol", Some("other")).await.map(drop);
        let unchosen = SubProtocolError::NoSubProtocol;
        match refused {
            Err(ClientError::Protocol(ProtocolError::SecWebSocketSubProtocolError(error))) => {
                assert_eq!(error, unchosen)
            }
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn an_upgrade_may_be_decided_later() {
    on_each_reactor(async |host| {
        let begun = Instant::now();
        let (mut client, response) = host.ask("/yes", None).await.unwrap();
        assert!(begun.elapsed() >= DECISION);
        assert_eq!(response.headers()["x-decision"], "yes");
        assert_eq!(echo(&mut client, Said::text("in")).await, Said::text("in"));

        match host.ask("/no", None).await.map(drop) {
            Err(ClientError::Http(response)) => assert_eq!(response.status(), 403),
            other => panic!("{other:?}"),
        }

        // Decisions wait side by side, not one after the other: these are made once all are requested.
        join_all((0..TOGETHER).map(|_| host.open("/together"))).await;
    });
}

#[test]
fn a_sessions_task_sends_on_its_own_time_beside_what_the_client_asks() {
    on_each_reactor(async |host| {
        let begun = Instant::now();
        let mut client = host.open("/ticks").await;
        client.send(Said::text("between")).await.unwrap();
        let mut heard = Vec::new();
        let close = loop {
            match next(&mut client).await {
                Said::Text(text) => heard.push(text.to_string()),
                close => break close,
            }
        };
        let (ticks, others): (Vec<_>, Vec<_>) = heard.iter().partition(|text| text.starts_with("tick"));
        assert_eq!(ticks, ["tick 0", "tick 1", "tick 2", "tick 3", "tick 4"]);
        assert_eq!(others, ["between"]);
        assert!(begun.elapsed() >= TICK * 5);
        assert_eq!(close_of(close), (1000, "wound down".to_owned()));
    });
}

#[test]
fn a_task_that_panics_ends_its_own_session_with_1011() {
    on_each_reactor(async |host| {
        let mut other = host.open("/").await;
        let mut doomed = host.open("/doomed").await;
        assert_eq!(close_of(next(&mut doomed).await).0, 1011);
        assert_eq!(echo(&mut other, Said::text("well?")).await, Said::text("well?"));
    });
}

#[test]
fn a_thousand_clients_over_two_cores_are_all_served_and_no_two_sessions_share_an_id() {
    const CLIENTS: usize = 1_000;
    on_each_reactor(async |host| {
        let mut clients = Vec::with_capacity(CLIENTS);
        while clients.len() < CLIENTS {
            clients.extend(join_all((0..100).map(|_| host.open("/"))).await);
        }
        let ids = join_all(clients.iter_mut().enumerate().map(|(index, client)| async move {
            let text = Said::text(format!("client {index}"));
            assert_eq!(echo(client, text.clone()).await, text);
            echo(client, Said::text("id")).await.into_text().unwrap().to_string()
        }));
        let ids: HashSet<String> = ids.await.into_iter().collect();
        assert_eq!(ids.len(), CLIENTS);
        let cores: HashSet<&str> = ids.iter().filter_map(|id| id.split('-').next()).collect();
        // The kernel spreads connections by a hash: a thousand times the same core would be a miracle.
        assert_eq!(cores, HashSet::from(["0", "1"]));
    });
}

#[test]
fn an_application_drains_its_server_without_any_signal() {
    on_each_reactor(async |host| {
        let mut clients = join_all((0..20).map(|_| host.open("/"))).await;
        host.controller.drain();
        for client in &mut clients {
            assert_eq!(close_of(next(client).await).0, 1001);
            assert!(client.next().await.is_none(), "the connection ends in order");
        }
        let begun = Instant::now();
        while !host.ended.is_finished() && begun.elapsed() < PATIENCE {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(host.ended.is_finished());
        assert!(TcpStream::connect(host.address).await.is_err(), "nobody listens any more");
    });
}

#[test]
fn a_handler_that_cannot_be_made_keeps_the_server_from_starting() {
    for reactor in [ReactorKind::Auto, ReactorKind::Epoll] {
        let builder = Server::builder().listen("127.0.0.1:0").cores(2).reactor(reactor).handle_signals(false);
        let started = builder.start(|core| -> Workshop { panic!("no handler for core {}", core.core()) });
        let error = started.map(drop).unwrap_err().to_string();
        assert!(error.contains("could not start: it panicked: no handler for core"), "{error}");
    }
}
