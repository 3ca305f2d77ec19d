//! Server-sent events: `curl http://127.0.0.1:9000/ticks` prints the uptime ten times a second, until it is ended.
//! A browser shows the page at `http://127.0.0.1:9000/`.
#![allow(clippy::print_stdout, reason = "a program says where it listens")]

use std::env;
use std::time::{Duration, Instant};

use ringsock::monoio::time::timeout;
use ringsock::{Body, Handler, Hub, Message, Reply, Request, Response, Server, Session, Upgrade, UpgradeRequest};

const INTERVAL: Duration = Duration::from_millis(100);

const PAGE: &str = "<!doctype html><title>Ticker</title><p>Up for <output>0</output> s.\
    <script>new EventSource('/ticks').onmessage = ({data}) => document.querySelector('output').value = data</script>";

struct Ticker {
    begun: Instant,
}

impl Handler for Ticker {
    type State = ();
    type Mail = ();

    fn request(&mut self, request: &Request<'_>, _hub: &mut Hub<'_, Self>) -> Reply {
        let begun = self.begun;
        match request.path() {
            "/" => Response::html(200, PAGE).into(),
            "/ticks" => {
                let head = Response::new(200).with_header("Content-Type", "text/event-stream");
                Reply::stream(head, move |body| tick(body, begun))
            }
            _ => Response::text(404, "Try / or /ticks.\n").into(),
        }
    }

    fn upgrade(&mut self, _request: &UpgradeRequest<'_>) -> Upgrade<()> {
        Upgrade::reject(Response::text(404, "There is no WebSocket here. Try /ticks.\n"))
    }

    fn message(&mut self, _session: &mut Session<'_, Self>, _message: Message<'_>) {}
}

/// Writes events until the client has left or the server drains.
async fn tick(mut body: Body, begun: Instant) {
    let mut id = 0;
    while timeout(INTERVAL, body.should_end()).await.is_err() {
        id += 1;
        let event = format!("id: {id}\ndata: {:.1}\n\n", begun.elapsed().as_secs_f64());
        if body.write(event).await.is_err() {
            return;
        }
    }
}

fn main() -> Result<(), ringsock::Error> {
    let address = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9000".to_owned());
    let begun = Instant::now();
    let server = Server::builder().listen(address).start(move |_| Ticker { begun })?;
    println!("listening on ws://{}", server.address());
    server.join()
}
