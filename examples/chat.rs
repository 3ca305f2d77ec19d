//! Rooms at `/ROOM/NAME`: `python -m websockets ws://127.0.0.1:9000/rust/ada`, and once more under another name.
#![allow(clippy::print_stdout, reason = "a program says where it listens")]

use ringsock::{CloseCode, Handler, Message, Overflow, Response, Server, Session, Subscribe, Upgrade, UpgradeRequest};

/// The state of each session. It stays on its core, so it need not be `Send`.
#[derive(Default)]
struct Guest {
    room: String,
    name: String,
}

struct Chat;

impl Handler for Chat {
    type State = Guest;
    type Mail = ();

    fn upgrade(&mut self, request: &UpgradeRequest<'_>) -> Upgrade<Guest> {
        match request.path()[1..].split_once('/') {
            Some((room, name)) => Upgrade::accept_with(Guest { room: room.to_owned(), name: name.to_owned() }),
            None => Upgrade::reject(Response::text(404, "Rooms are at /ROOM/NAME.\n")),
        }
    }

    fn open(&mut self, session: &mut Session<'_, Self>) {
        let room = session.state().room.clone();
        // A guest that reads too slowly misses the oldest messages. The default is to close the session with 1013.
        let subscribe = Subscribe::new().overflow(Overflow::DropOldest);
        if let Err(error) = session.subscribe_with(&room, subscribe) {
            session.close(CloseCode::POLICY_VIOLATION, &error.to_string());
        }
    }

    fn subscribed(&mut self, session: &mut Session<'_, Self>, _room: &str) {
        say(session, "is here"); // Every core knows of the guest, who receives this and all later messages.
    }

    fn message(&mut self, session: &mut Session<'_, Self>, message: Message<'_>) {
        say(session, &String::from_utf8_lossy(message.as_bytes()));
    }

    fn dropped(&mut self, session: &mut Session<'_, Self>, _room: &str, messages: u64) {
        session.send(&format!("* you read too slowly and missed {messages}"));
    }
}

/// Sends a text to everyone in the room, on every core. A name that ends with `*` is a pattern of rooms to listen to.
fn say(session: &mut Session<'_, Chat>, text: &str) {
    let (room, line) = (session.state().room.clone(), format!("{}: {text}", session.state().name));
    let _ = session.publish(&room, &line);
}

fn main() -> Result<(), ringsock::Error> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9000".to_owned());
    let server = Server::builder().listen(address).start(|_core| Chat)?;
    println!("listening on ws://{}", server.address());
    server.join()
}
