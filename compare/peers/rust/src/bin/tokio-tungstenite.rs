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
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

/// Its documentation advises a small one where there are many connections. The default, 128 KiB, is cleared before every
/// read, which takes longer than all else.
const READ_BUFFER_BYTES: usize = 8 * 1024;

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
    let config = WebSocketConfig::default().read_buffer_size(READ_BUFFER_BYTES);
    let accepting = tokio_tungstenite::accept_hdr_async_with_config(stream, note_path, Some(config));
    let Ok(socket) = accepting.await else { return };
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
