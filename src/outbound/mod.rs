//! HTTP calls to others, such as key servers and backends, made on one thread of its own.
//!
//! Owns the thread, and the library's client with its connections. Decides nothing about answers. Invariants: no core
//! makes a call or waits for one; a call ends within its time and takes no more memory than its limits.

mod call;
mod url;

use std::future::Future;
use std::io;
use std::sync::{Arc, OnceLock};
use std::thread;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot::{self, Receiver, Sender};

pub use call::{Answer, Call, CallError, Client, ClientError, Method};
pub use url::{InvalidUrl, Url};

/// The threads that look up names at once. A resolver that does not answer keeps each for long, and a call that has
/// given up cannot stop it.
const LOOKUPS_MAX: usize = 4;

/// The thread that makes calls. It begins with its first task, and ends with the last clone of this value; tasks that
/// are under way then end unfinished.
#[derive(Clone, Debug, Default)]
pub struct Outbound {
    running: Arc<OnceLock<Running>>,
}

#[derive(Debug)]
struct Running {
    runtime: Handle,
    /// The thread runs until this is dropped.
    _ends: Sender<()>,
}

impl Outbound {
    /// Runs a task on the thread. Returns the host's error if the thread cannot be created.
    pub fn run(&self, task: impl Future<Output = ()> + Send + 'static) -> io::Result<()> {
        self.runtime()?.spawn(task);
        Ok(())
    }

    fn runtime(&self) -> io::Result<&Handle> {
        if let Some(running) = self.running.get() {
            return Ok(&running.runtime);
        }
        let started = start()?;
        // If two threads came here at once, the second one's runtime ends unused.
        Ok(&self.running.get_or_init(|| started).runtime)
    }
}

fn start() -> io::Result<Running> {
    let mut runtime = Builder::new_current_thread();
    let runtime = runtime.enable_io().enable_time().max_blocking_threads(LOOKUPS_MAX).build()?;
    let handle = runtime.handle().clone();
    let (ends, ended): (_, Receiver<()>) = oneshot::channel();
    let serve = move || {
        // The only message is the end of the sender.
        let _ = runtime.block_on(ended);
        // A lookup of a name may block a thread of the runtime for long, and the process does not wait for it.
        runtime.shutdown_background();
    };
    thread::Builder::new().name("ringsock-outbound".to_owned()).spawn(serve)?;
    Ok(Running { runtime: handle, _ends: ends })
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    #[test]
    fn tasks_run_on_one_thread_that_is_not_the_callers_and_ends_with_the_last_clone() {
        let outbound = Outbound::default();
        let (told, names) = mpsc::channel();
        for clone in [outbound.clone(), outbound.clone()] {
            let told = told.clone();
            clone.run(async move { told.send(thread::current().id()).unwrap() }).unwrap();
        }
        let (first, second) = (names.recv().unwrap(), names.recv().unwrap());
        assert!(first == second && first != thread::current().id());
        let endless = async move {
            let _told = told;
            std::future::pending::<()>().await;
        };
        outbound.run(endless).unwrap();
        drop(outbound);
        assert_eq!(names.recv_timeout(Duration::from_secs(10)), Err(mpsc::RecvTimeoutError::Disconnected));
    }
}
