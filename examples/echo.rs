//! The smallest server: it sends each message back to its client.
//!
//! ```sh
//! cargo run --example echo                        # or: cargo run --example echo 127.0.0.1:9100
//! python -m websockets ws://127.0.0.1:9000/       # pip install websockets
//! ```

#![allow(clippy::print_stdout, reason = "a program says where it listens")]

use ringsock::{Handler, Message, Server, Session};

/// Each core has one of its own, and no other thread ever sees it: its fields need no locks.
struct Echo;

impl Handler for Echo {
    /// The state of each session. An echo remembers nothing.
    type State = ();
    type Mail = ();

    fn message(&mut self, session: &mut Session<'_, Self>, message: Message<'_>) {
        // Never blocks: bytes that the socket does not take now wait in the session's outbox. While that is full, this
        // client is not read, so one that sends faster than it reads slows only itself.
        session.send(message);
    }
}

fn main() -> Result<(), ringsock::Error> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9000".to_owned());
    // One core for each processor, unless `.cores(…)` says otherwise; each calls this closure for a handler of its own.
    let server = Server::builder().listen(address).start(|_core| Echo)?;
    println!("listening on ws://{}", server.address());
    // Serves until SIGTERM or Ctrl-C, closes every session with 1001, and ends.
    server.join()
}
