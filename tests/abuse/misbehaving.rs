//! A server whose handler misbehaves on command. It is this test program, started once more.
//!
//! Commands are text messages: `panic`, `stall MS`, `hang`, `continue`, `die`, `hoard`, `release`, `core`, `count
//! NAME`, `join TOPIC,TOPIC`, `tell TOPIC TEXT`, and those of [`churn`]. Other messages are echoed. Every request but
//! the one for readiness is judged as an upgrade.

use std::fs::File;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use ringsock::engine::{Counters, ReactorKind, Status};
use ringsock::protocol::{Origins, handshake};
use ringsock::{Handler, Hub, Limits, Message, Reply, Request, Response, Server, Session};

use crate::churn::Kept;

/// The full name of the test below.
pub const TEST: &str = "misbehaving::serves_when_told_to";

/// The variable with the reactor, the stall timeout and the handshake timeout of the server in milliseconds, and its
/// number of cores.
pub const VARIABLE: &str = "RINGSOCK_ABUSE_SERVER";

/// Set once a core that was told to hang may continue.
static GOES_ON: AtomicBool = AtomicBool::new(false);

static COUNTERS: OnceLock<Vec<Arc<Counters>>> = OnceLock::new();

/// Runs the server's process. It is not a test: without the variable it does nothing.
#[test]
fn serves_when_told_to() {
    let Ok(told) = std::env::var(VARIABLE) else { return };
    let [reactor, stall_timeout_ms, handshake_timeout_ms, cores] = told.split(' ').collect::<Vec<_>>()[..] else {
        panic!("{told}")
    };
    let mut limits = patient();
    limits.handshake_timeout_ms = handshake_timeout_ms.parse().unwrap();
    // Thousands of panics are intended; their messages are not.
    std::panic::set_hook(Box::new(|_| {}));
    let server = Server::builder()
        .listen("127.0.0.1:0")
        .admin_listen("127.0.0.1:0")
        .cores(cores.parse().unwrap())
        .reactor(if reactor == "uring" { ReactorKind::Uring } else { ReactorKind::Epoll })
        .limits(limits)
        // Real clients come from pages of all kinds; admission is tested elsewhere.
        .origins(Origins::any())
        .stall_timeout_ms(stall_timeout_ms.parse().unwrap())
        .start(|core| Misbehaving {
            core: core.core(),
            status: core.status(),
            hoard: Vec::new(),
            kept: Kept::default(),
        })
        .unwrap();
    COUNTERS.set(server.counters().to_vec()).unwrap();
    crate::say(&format!("metrics http://{}/metrics", server.admin_address().unwrap()));
    crate::say(&format!("ready on ws://{}/", server.address()));
    let code = match server.join() {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("{error}");
            1
        }
    };
    std::process::exit(code);
}

/// Returns the limits of a server that waits for its clients as long as a test does, below full scale.
fn patient() -> Limits {
    let mut limits = Limits::default();
    if !crate::is_full_scale() {
        let patience_ms = crate::patience().as_millis() as u64;
        limits.assembly_timeout_ms = patience_ms;
        limits.outbox_age_ms_max = patience_ms;
        limits.send_timeout_ms = patience_ms;
        limits.ping_interval_ms = 0;
        limits.dead_peer_timeout_ms = 0;
        limits.close_timeout_ms = patience_ms;
        limits.drain_timeout_ms = patience_ms;
    }
    limits
}

pub struct Misbehaving {
    core: u16,
    status: Arc<Status>,
    hoard: Vec<File>,
    kept: Kept,
}

impl Handler for Misbehaving {
    type State = ();
    type Mail = ();

    fn request(&mut self, request: &Request<'_>, _hub: &mut Hub<'_, Self>) -> Reply {
        let response = match request.path() {
            "/readyz" if self.status.is_ready() => Response::text(200, "ready"),
            "/readyz" => Response::text(503, "not ready"),
            "/core" => Response::text(200, self.core.to_string()),
            _ => handshake::check(request).map_or_else(|refusal| refusal.response(), |_| Response::new(500)),
        };
        response.into()
    }

    fn message(&mut self, session: &mut Session<'_, Self>, message: Message<'_>) {
        let Message::Text(text) = message else {
            session.send(message);
            return;
        };
        let (command, argument) = text.split_once(' ').unwrap_or((text, ""));
        match command {
            "panic" => panic!("as told"),
            "stall" => thread::sleep(Duration::from_millis(argument.parse().unwrap())),
            "hang" => {
                while !GOES_ON.load(Ordering::Relaxed) {
                    thread::sleep(Duration::from_millis(1));
                }
            }
            "continue" => GOES_ON.store(true, Ordering::Relaxed),
            "die" => drop(monoio::spawn(async { panic!("a task of the handler's own") })),
            "hoard" => {
                self.hoard.extend(std::iter::from_fn(|| File::open("/dev/null").ok()));
                session.send(&self.hoard.len().to_string());
            }
            "release" => {
                self.hoard.clear();
                session.send("released");
            }
            "core" => drop(session.send(&self.core.to_string())),
            "count" => drop(session.send(&count(argument).to_string())),
            "join" => {
                argument.split(',').for_each(|topic| assert!(session.subscribe(topic).unwrap()));
                session.send("joined");
            }
            "tell" => {
                let (topic, text) = argument.split_once(' ').unwrap();
                session.publish(topic, text).unwrap();
            }
            "keep" => self.kept.keep(session, argument),
            "haunt" => self.kept.haunt(session),
            _ => drop(session.send(text)),
        }
    }
}

/// Returns a counter, over all cores.
fn count(name: &str) -> u64 {
    let cores = COUNTERS.get().into_iter().flatten();
    cores.flat_map(|counters| counters.all()).filter(|family| family.name == name).map(|family| family.total()).sum()
}
