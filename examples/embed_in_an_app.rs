//! An application with threads of its own, of which the server is only one part: two of them publish prices to all
//! clients, a third reads commands. `python -m websockets ws://127.0.0.1:9000/` receives the prices.
#![allow(clippy::print_stdout, reason = "a program talks to its user")]

use std::time::Duration;
use std::{env, io, thread};

use ringsock::{CloseCode, Handler, Message, Overflow, Sent, Server, ServerHandle, Session, Subscribe};

struct Prices;

impl Handler for Prices {
    type State = ();
    type Mail = ();

    fn open(&mut self, session: &mut Session<'_, Self>) {
        // A pattern: all topics with this prefix. A client that reads too slowly gets only the latest price of each.
        let subscribe = Subscribe::new().overflow(Overflow::Latest);
        if let Err(error) = session.subscribe_with("prices/*", subscribe) {
            session.close(CloseCode::TRY_AGAIN_LATER, &error.to_string());
        }
    }

    fn message(&mut self, _session: &mut Session<'_, Self>, _message: Message<'_>) {}
}

/// Publishes from a thread of the application. A handle is cheap to clone, can be sent to any thread, and never blocks.
fn publish_prices(topic: &str, handle: &ServerHandle) {
    for price in 1_u64.. {
        // The inbox of the core that is to publish it is full: the application decides what to do. Here, nothing.
        if handle.publish(topic, &format!("{topic} {price}")) == Ok(Sent::Dropped) {
            println!("{topic} {price} was dropped");
        }
        thread::sleep(Duration::from_millis(100));
    }
}

fn main() -> Result<(), ringsock::Error> {
    let address = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9000".to_owned());
    // Returns as soon as the cores, which are threads too, accept connections. Signals are left to the application.
    let server = Server::builder().listen(address).handle_signals(false).start(|_core| Prices)?;
    println!("listening on ws://{}\ncommands: count, quit", server.address());
    for topic in ["prices/eur", "prices/usd"] {
        let handle = server.handle();
        thread::spawn(move || publish_prices(topic, &handle));
    }
    let (handle, controller) = (server.handle(), server.controller());
    thread::spawn(move || {
        for _count in io::stdin().lines().map_while(Result::ok).take_while(|command| command != "quit") {
            // Blocks until every core has counted. A task of a core awaits it instead.
            println!("subscribers: {}", handle.subscribers("prices/*").wait().unwrap_or_default());
        }
        controller.drain();
    });
    // Returns once every session was closed, or with an error if a core died: then the application ends too.
    server.join()
}
