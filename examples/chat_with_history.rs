//! Rooms at `/ROOM` that send each newcomer their last messages. One core, the room's home, keeps a room's history, so
//! that all members see one order. Lines are numbered: one that comes as news and as history has the same number.
#![allow(clippy::print_stdout, reason = "a program says where it listens")]

use std::collections::{HashMap, VecDeque};
use std::env;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

use ringsock::{Handler, Hub, Message, Sent, Server, Session, SessionId, Upgrade, UpgradeRequest};

const HISTORY_LINES_MAX: usize = 100;

enum Mail {
    Said { room: String, text: String },
    Joined { room: String, by: SessionId },
    History { to: SessionId, lines: Vec<String> },
}

/// The rooms that have their home on this core: the number of lines so far, and the last of them.
#[derive(Default)]
struct Chat(HashMap<String, (u64, VecDeque<String>)>);

impl Handler for Chat {
    type State = String; // The session's room.
    type Mail = Mail;

    fn upgrade(&mut self, request: &UpgradeRequest<'_>) -> Upgrade<String> {
        Upgrade::accept_with(request.path().trim_start_matches('/').to_owned())
    }

    fn open(&mut self, session: &mut Session<'_, Self>) {
        let room = session.state().clone();
        if let Err(error) = session.subscribe(&room) {
            session.close(ringsock::CloseCode::POLICY_VIOLATION, &error.to_string());
        }
    }

    fn subscribed(&mut self, session: &mut Session<'_, Self>, room: &str) {
        // From now on the session misses no line, so the history that is sent now has no gap before the news.
        session.mail(home(room, session.cores()), Mail::Joined { room: room.to_owned(), by: session.id() });
    }

    fn message(&mut self, session: &mut Session<'_, Self>, message: Message<'_>) {
        let (room, text) = (session.state().clone(), String::from_utf8_lossy(message.as_bytes()).into_owned());
        if session.mail(home(&room, session.cores()), Mail::Said { room, text }) == Sent::Dropped {
            session.send("The room is busy. Send the message again.");
        }
    }

    fn mail(&mut self, mail: Mail, hub: &mut Hub<'_, Self>) {
        match mail {
            Mail::Said { room, text } => {
                let (count, lines) = self.0.entry(room.clone()).or_default();
                *count += 1;
                let line = format!("{count} {text}");
                lines.truncate(HISTORY_LINES_MAX - 1);
                lines.push_front(line.clone());
                let _ = hub.publish(&room, &line);
            }
            Mail::Joined { room, by } => {
                let lines = self.0.get(&room).map(|(_, lines)| lines.iter().rev().cloned().collect());
                hub.mail(by.core, Mail::History { to: by, lines: lines.unwrap_or_default() });
            }
            Mail::History { to, lines } => {
                hub.session(to, |session| {
                    for line in &lines {
                        session.send(line);
                    }
                });
            }
        }
    }
}

fn home(room: &str, cores: u16) -> u16 {
    (BuildHasherDefault::<DefaultHasher>::default().hash_one(room) % u64::from(cores)) as u16
}

fn main() -> Result<(), ringsock::Error> {
    let address = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9000".to_owned());
    let server = Server::builder().listen(address).start(|_| Chat::default())?;
    println!("listening on ws://{}", server.address());
    server.join()
}
