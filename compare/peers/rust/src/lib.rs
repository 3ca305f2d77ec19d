//! The parts that the servers here share: one thread, one listener, and topics that a task for each connection listens to.
//!
//! Knows none of the libraries that are measured.

use std::cell::RefCell;
use std::collections::HashMap;
use std::error::Error;
use std::rc::Rc;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast;
use tokio::task::LocalSet;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Messages that may wait for a subscriber before it misses some and is disconnected.
const WAITING_MAX: usize = 256;

/// The subscribers of each topic: Tokio's broadcast channel.
pub struct Topics<M>(RefCell<HashMap<String, broadcast::Sender<M>>>);

impl<M: Clone> Topics<M> {
    /// Returns the topic that a path names, or `None` for the echo.
    pub fn of_path(&self, path: &str) -> Option<broadcast::Sender<M>> {
        let name = path.strip_prefix("/topics/")?;
        let mut topics = self.0.borrow_mut();
        Some(topics.entry(name.to_owned()).or_insert_with(|| broadcast::Sender::new(WAITING_MAX)).clone())
    }
}

/// Listens on the port that the command line names, and has every connection served in a task.
pub fn serve<M, F>(serve: impl Fn(TcpStream, Rc<Topics<M>>) -> F) -> Result<(), Box<dyn Error>>
where
    F: Future<Output = ()> + 'static,
{
    let port: u16 = std::env::args().nth(1).ok_or("Give a port to listen on.")?.parse()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let topics = Rc::new(Topics(RefCell::default()));
    LocalSet::new().block_on(&runtime, async {
        let listener = TcpListener::bind(("127.0.0.1", port)).await?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            tokio::task::spawn_local(serve(stream, Rc::clone(&topics)));
        }
    })
}
