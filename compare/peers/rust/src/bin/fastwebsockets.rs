//! fastwebsockets: the handshake is hyper's and the echo that of its own examples.

use std::convert::Infallible;
use std::error::Error;
use std::rc::Rc;

use compare_peers::Topics;
use fastwebsockets::upgrade::{self, UpgradeFut};
use fastwebsockets::{FragmentCollector, FragmentCollectorRead, Frame, OpCode, Payload, WebSocketError};
use http_body_util::Empty;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::sync::broadcast::Sender;
use tokio::task::{spawn_local, unconstrained};

/// A published message: whether it is text, and its payload, which many connections share.
type Published = (bool, Bytes);

fn main() -> Result<(), Box<dyn Error>> {
    compare_peers::serve(connection)
}

async fn connection(stream: TcpStream, topics: Rc<Topics<Published>>) {
    let answer = service_fn(move |request| {
        let response = upgraded(request, &topics);
        async { Ok::<_, Infallible>(response) }
    });
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), answer).with_upgrades().await;
}

fn upgraded(mut request: Request<Incoming>, topics: &Topics<Published>) -> Response<Empty<Bytes>> {
    let topic = topics.of_path(request.uri().path());
    let Ok((response, upgrade)) = upgrade::upgrade(&mut request) else {
        let mut refused = Response::new(Empty::new());
        *refused.status_mut() = StatusCode::BAD_REQUEST;
        return refused;
    };
    spawn_local(unconstrained(async {
        let _ = match topic {
            Some(topic) => subscriber(upgrade, topic).await,
            None => echo(upgrade).await,
        };
    }));
    response
}

async fn echo(upgrade: UpgradeFut) -> Result<(), WebSocketError> {
    let mut socket = FragmentCollector::new(upgrade.await?);
    loop {
        let frame = socket.read_frame().await?;
        match frame.opcode {
            OpCode::Close => return Ok(()),
            OpCode::Text | OpCode::Binary => socket.write_frame(frame).await?,
            _ => {}
        }
    }
}

async fn subscriber(upgrade: UpgradeFut, topic: Sender<Published>) -> Result<(), WebSocketError> {
    let (read, write) = upgrade.await?.split(tokio::io::split);
    let mut read = FragmentCollectorRead::new(read);
    let write = Rc::new(Mutex::new(write));
    let mut published = topic.subscribe();
    let heard_write = Rc::clone(&write);
    let hearing = spawn_local(async move {
        while let Ok((is_text, message)) = published.recv().await {
            let opcode = if is_text { OpCode::Text } else { OpCode::Binary };
            let frame = Frame::new(true, opcode, None, Payload::Borrowed(&message));
            if heard_write.lock().await.write_frame(frame).await.is_err() {
                return;
            }
        }
    });
    // Pongs, and the answer to a close frame.
    let mut answer = |frame| {
        let write = Rc::clone(&write);
        async move { write.lock().await.write_frame(frame).await }
    };
    let ended = loop {
        match read.read_frame(&mut answer).await {
            Ok(frame) => match frame.opcode {
                OpCode::Close => break Ok(()),
                OpCode::Text | OpCode::Binary => {
                    let is_text = frame.opcode == OpCode::Text;
                    let _ = topic.send((is_text, Bytes::copy_from_slice(&frame.payload)));
                }
                _ => {}
            },
            Err(error) => break Err(error),
        }
    };
    hearing.abort();
    ended
}
