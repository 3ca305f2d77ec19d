//! Authentication by a backend: `ws://127.0.0.1:9000/?token=TOKEN` opens a session if `GET /name?token=TOKEN` at the
//! backend, the second argument, answers 200 with a name. The core serves its other clients meanwhile.
#![allow(clippy::print_stdout, reason = "a program says where it listens")]

use std::{env, io};

use ringsock::monoio::io::{AsyncReadRent, AsyncWriteRentExt};
use ringsock::monoio::net::TcpStream;
use ringsock::{Handler, Message, Response, Server, Session, Upgrade, UpgradeRequest};

struct Greeter {
    backend: String,
}

impl Handler for Greeter {
    type State = String; // The client's name.
    type Mail = ();

    fn upgrade(&mut self, request: &UpgradeRequest<'_>) -> Upgrade<String> {
        let token = request.query().and_then(|query| query.strip_prefix("token=")).unwrap_or_default();
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Upgrade::reject(Response::text(401, "Add ?token= and your token, which has letters and digits.\n"));
        }
        let (backend, token) = (self.backend.clone(), token.to_owned());
        // Ends with the handshake timeout at the latest.
        Upgrade::later(async move {
            match name_of(&backend, &token).await {
                Ok(Some(name)) => Upgrade::accept_with(name),
                Ok(None) => Upgrade::reject(Response::text(403, "The backend does not know this token.\n")),
                Err(error) => Upgrade::reject(Response::text(503, format!("The backend does not answer: {error}.\n"))),
            }
        })
    }

    fn message(&mut self, session: &mut Session<'_, Self>, message: Message<'_>) {
        let reply = format!("{}: {}", session.state(), String::from_utf8_lossy(message.as_bytes()));
        session.send(&reply);
    }
}

async fn name_of(backend: &str, token: &str) -> io::Result<Option<String>> {
    let mut stream = TcpStream::connect(backend).await?;
    stream.write_all(format!("GET /name?token={token} HTTP/1.0\r\nHost: {backend}\r\n\r\n").into_bytes()).await.0?;
    // An answer has at most 4 KiB here, and ends with the connection.
    let (mut answer, mut read) = (Vec::with_capacity(4096), 1);
    while read > 0 && answer.len() < 4096 {
        let (count, bytes) = stream.read(vec![0; 4096 - answer.len()]).await;
        read = count?;
        answer.extend_from_slice(&bytes[..read]);
    }
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    Ok((head.split(' ').nth(1) == Some("200")).then(|| body.trim().to_owned()))
}

fn main() -> Result<(), ringsock::Error> {
    let mut arguments = env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:9000".to_owned());
    let backend = arguments.next().unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    let server = Server::builder().listen(address).start(move |_| Greeter { backend: backend.clone() })?;
    println!("listening on ws://{}", server.address());
    server.join()
}
