//! A backend that answers as a test says, or fails as it says, and keeps all calls.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::program::run::PATIENCE;

/// A call, as it came.
#[derive(Clone, Debug)]
pub struct Call {
    pub at: Instant,
    pub path: String,
    /// By their names in lower case.
    pub headers: HashMap<String, String>,
    pub body: String,
}

impl Call {
    /// Returns the body.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

/// The behaviour of a backend.
#[derive(Clone, Debug)]
pub enum Mode {
    /// It answers 200 with this body.
    Answer(String),
    /// It answers so after a time.
    Slow(Duration, String),
    /// It answers with this status and no body.
    Status(u16),
    /// It reads the call and never answers.
    Hang,
    /// It ends the connection without an answer.
    Slam,
    /// It answers, and then ends the connection without having said so.
    AnswerAndClose(String),
    /// Its answer has a body without end.
    Endless,
}

impl Mode {
    /// Answers that everything is allowed.
    pub fn allow() -> Self {
        Self::Answer(r#"{"allow":true}"#.to_owned())
    }

    /// Answers that nothing is allowed.
    pub fn deny() -> Self {
        Self::Answer(r#"{"allow":false}"#.to_owned())
    }
}

/// The behaviour for a call, if it depends on the call.
type Choice = Box<dyn Fn(&Call) -> Mode + Send + Sync>;

struct Shared {
    choice: Mutex<Choice>,
    calls: Mutex<Vec<Call>>,
    streams: Mutex<Vec<TcpStream>>,
    /// Raised when the listener of before has to end.
    is_up: Mutex<bool>,
}

/// See the module. It ends when it is dropped.
pub struct Backend {
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

impl Backend {
    /// Starts a backend.
    pub fn start(mode: Mode) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            choice: Mutex::new(Box::new(move |_| mode.clone())),
            calls: Mutex::default(),
            streams: Mutex::default(),
            is_up: Mutex::new(true),
        });
        let backend = Self { address, shared };
        backend.listen(listener);
        backend
    }

    /// Returns the URL of a path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Behaves differently from now on.
    pub fn set(&self, mode: Mode) {
        self.choose(move |_| mode.clone());
    }

    /// Behaves as the call asks for.
    pub fn choose(&self, choice: impl Fn(&Call) -> Mode + Send + Sync + 'static) {
        *self.shared.choice.lock().unwrap() = Box::new(choice);
    }

    /// Returns all calls so far.
    pub fn calls(&self) -> Vec<Call> {
        self.shared.calls.lock().unwrap().clone()
    }

    /// Returns the calls to a path, once there are so many.
    pub fn wait_for_calls(&self, path: &str, count: usize) -> Vec<Call> {
        let begun = Instant::now();
        loop {
            let calls: Vec<Call> = self.calls().into_iter().filter(|call| call.path == path).collect();
            if calls.len() >= count {
                return calls;
            }
            assert!(begun.elapsed() < PATIENCE, "there are {} calls of {path}: {calls:?}", calls.len());
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Forgets the calls so far.
    pub fn forget(&self) {
        self.shared.calls.lock().unwrap().clear();
    }

    /// Ends the listener and all connections.
    pub fn down(&self) {
        *self.shared.is_up.lock().unwrap() = false;
        // Wakes the listener, which then ends.
        let _ = TcpStream::connect(self.address);
        let begun = Instant::now();
        while TcpStream::connect(self.address).is_ok() {
            assert!(begun.elapsed() < PATIENCE, "it is still up");
            thread::sleep(Duration::from_millis(5));
        }
        for stream in self.shared.streams.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Listens again on the same address.
    pub fn up(&self) {
        *self.shared.is_up.lock().unwrap() = true;
        self.listen(TcpListener::bind(self.address).unwrap());
    }

    fn listen(&self, listener: TcpListener) {
        let shared = Arc::clone(&self.shared);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { continue };
                if !*shared.is_up.lock().unwrap() {
                    return;
                }
                shared.streams.lock().unwrap().push(stream.try_clone().unwrap());
                let shared = Arc::clone(&shared);
                thread::spawn(move || serve(&shared, stream));
            }
        });
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        if *self.shared.is_up.lock().unwrap() {
            self.down();
        }
    }
}

/// Serves one connection to its end.
fn serve(shared: &Shared, stream: TcpStream) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut writer = stream;
    loop {
        let call = read_call(&mut reader)?;
        let mode = (shared.choice.lock().unwrap())(&call);
        shared.calls.lock().unwrap().push(call);
        match mode {
            Mode::Answer(body) => answer(&mut writer, 200, &body)?,
            Mode::Slow(pause, body) => {
                thread::sleep(pause);
                answer(&mut writer, 200, &body)?;
            }
            Mode::Status(status) => answer(&mut writer, status, "")?,
            Mode::Hang => {
                // Until the other end gives up.
                let _ = reader.read(&mut [0]);
                return None;
            }
            Mode::Slam => return writer.shutdown(Shutdown::Both).ok(),
            Mode::AnswerAndClose(body) => {
                answer(&mut writer, 200, &body)?;
                return writer.shutdown(Shutdown::Both).ok();
            }
            Mode::Endless => {
                writer.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").ok()?;
                loop {
                    writer.write_all(b"10\r\n0123456789abcdef\r\n").ok()?;
                }
            }
        }
    }
}

fn read_call(reader: &mut BufReader<TcpStream>) -> Option<Call> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|count| *count > 0)?;
    let at = Instant::now();
    let path = line.strip_prefix("POST ")?.split(' ').next()?.to_owned();
    let mut headers = HashMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|count| *count > 0)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let mut body = vec![0; headers.get("content-length")?.parse().ok()?];
    reader.read_exact(&mut body).ok()?;
    Some(Call { at, path, headers, body: String::from_utf8(body).ok()? })
}

fn answer(writer: &mut TcpStream, status: u16, body: &str) -> Option<()> {
    let head =
        format!("HTTP/1.1 {status} Answer\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n", body.len());
    writer.write_all(format!("{head}{body}").as_bytes()).ok()
}
