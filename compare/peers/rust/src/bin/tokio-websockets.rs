//! tokio-websockets: the echo is that of its own examples, but that what came together goes together.

use std::error::Error;
use std::future::ready;
use std::rc::Rc;

use compare_peers::Topics;
use futures_util::{SinkExt, StreamExt, TryStreamExt};
use tokio::net::TcpStream;
use tokio::sync::broadcast::Sender;
use tokio::task::unconstrained;
use tokio_websockets::{Message, Payload, ServerBuilder, WebSocketStream};

/// A published message: whether it is text, and its payload, which many connections share.
type Published = (bool, Payload);

/// The most messages that one call sends.
const TOGETHER_MAX: usize = 64;

fn main() -> Result<(), Box<dyn Error>> {
    compare_peers::serve(|stream, topics| unconstrained(session(stream, topics)))
}

async fn session(stream: TcpStream, topics: Rc<Topics<Published>>) {
    let Ok((request, socket)) = ServerBuilder::new().accept(stream).await else { return };
    match topics.of_path(request.uri().path()) {
        Some(topic) => subscriber(socket, topic).await,
        None => echo(socket).await,
    }
}

async fn echo(socket: WebSocketStream<TcpStream>) {
    let (mut write, read) = socket.split();
    let data = read.try_filter(|message| ready(is_data(message)));
    // Asked for a message, the library sends what is to be sent: those that came together are taken first.
    let mut together = data.ready_chunks(TOGETHER_MAX);
    while let Some(messages) = together.next().await {
        for message in messages {
            let Ok(message) = message else { return };
            if write.feed(message).await.is_err() {
                return;
            }
        }
        if write.flush().await.is_err() {
            return;
        }
    }
}

async fn subscriber(mut socket: WebSocketStream<TcpStream>, topic: Sender<Published>) {
    let mut published = topic.subscribe();
    loop {
        tokio::select! {
            said = socket.next() => match said {
                Some(Ok(message)) if is_data(&message) => {
                    let is_text = message.is_text();
                    let _ = topic.send((is_text, message.into_payload()));
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return,
            },
            heard = published.recv() => {
                let Ok(first) = heard else { return };
                if socket.feed(written(first)).await.is_err() {
                    return;
                }
                while let Ok(next) = published.try_recv() {
                    if socket.feed(written(next)).await.is_err() {
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

fn written((is_text, payload): Published) -> Message {
    if is_text { Message::text(payload) } else { Message::binary(payload) }
}

fn is_data(message: &Message) -> bool {
    message.is_text() || message.is_binary()
}
