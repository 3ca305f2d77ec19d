//! tokio-tungstenite: the echo is that of its own examples.

use std::error::Error;
use std::future::ready;
use std::rc::Rc;

use compare_peers::Topics;
use futures_util::{SinkExt, StreamExt, TryStreamExt};
use tokio::net::TcpStream;
use tokio::sync::broadcast::Sender;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};

fn main() -> Result<(), Box<dyn Error>> {
    compare_peers::serve(session)
}

async fn session(stream: TcpStream, topics: Rc<Topics<Message>>) {
    let mut path = String::new();
    #[expect(clippy::result_large_err, reason = "the library asks for it")]
    let note_path = |request: &Request, response: Response| -> Result<Response, ErrorResponse> {
        request.uri().path().clone_into(&mut path);
        Ok(response)
    };
    let Ok(socket) = tokio_tungstenite::accept_hdr_async(stream, note_path).await else { return };
    match topics.of_path(&path) {
        Some(topic) => subscriber(socket, topic).await,
        None => echo(socket).await,
    }
}

async fn echo(socket: WebSocketStream<TcpStream>) {
    let (write, read) = socket.split();
    let _ = read.try_filter(|message| ready(is_data(message))).forward(write).await;
}

async fn subscriber(mut socket: WebSocketStream<TcpStream>, topic: Sender<Message>) {
    let mut published = topic.subscribe();
    loop {
        tokio::select! {
            said = socket.next() => match said {
                Some(Ok(message)) if is_data(&message) => {
                    let _ = topic.send(message);
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return,
            },
            heard = published.recv() => {
                let Ok(message) = heard else { return };
                if socket.feed(message).await.is_err() {
                    return;
                }
                while let Ok(message) = published.try_recv() {
                    if socket.feed(message).await.is_err() {
                        return;
                    }
                }
                if socket.flush().await.is_err() {
                    return;
                }
            }
        }
    }
}

fn is_data(message: &Message) -> bool {
    message.is_text() || message.is_binary()
}
