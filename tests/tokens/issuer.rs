//! An issuer on this host: a server of HTTP that a test makes answer as it wants, and its keys.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ringsock::service::auth::{Algorithm, Signer};
use serde_json::{Value, json};

use super::server::now_s;

/// A request that the issuer got.
#[derive(Clone, Debug)]
pub struct Call {
    pub path: String,
    pub head: String,
    pub body: String,
}

/// Writes the answer to a request, or does anything else with the connection.
type Answer = Box<dyn Fn(&Call, &mut TcpStream) + Send + Sync>;

/// An issuer. It serves until the test's process ends.
#[derive(Clone)]
pub struct Issuer {
    pub address: SocketAddr,
    calls: Arc<Mutex<Vec<Call>>>,
    answer: Arc<Mutex<Arc<Answer>>>,
}

impl Issuer {
    /// Starts an issuer with this answer.
    pub fn start(answer: impl Fn(&Call, &mut TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let answer: Answer = Box::new(answer);
        let issuer = Self { address, calls: Arc::default(), answer: Arc::new(Mutex::new(Arc::new(answer))) };
        let serves = issuer.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (serves, stream) = (serves.clone(), stream.unwrap());
                thread::spawn(move || serves.serve(stream));
            }
        });
        issuer
    }

    /// Starts an issuer that serves these keys, by discovery and at /keys.
    pub fn with_keys(keys: &[&Key]) -> Self {
        let issuer = Self::start(|_, _| {});
        issuer.serve_keys(keys);
        issuer
    }

    pub fn serve_keys(&self, keys: &[&Key]) {
        let (iss, set) = (self.iss(), set(keys));
        self.answer_by(move |call, stream| match call.path.as_str() {
            "/.well-known/openid-configuration" => {
                write_json(stream, &json!({ "issuer": iss, "jwks_uri": format!("{iss}/keys") }));
            }
            "/keys" => write_json(stream, &set),
            _ => write(stream, "404 Not Found", ""),
        });
    }

    /// Answers in this way from now on.
    pub fn answer_by(&self, answer: impl Fn(&Call, &mut TcpStream) + Send + Sync + 'static) {
        *self.answer.lock().unwrap() = Arc::new(Box::new(answer));
    }

    pub fn iss(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns the requests for a path until now.
    pub fn calls(&self, path: &str) -> Vec<Call> {
        self.calls.lock().unwrap().iter().filter(|call| call.path == path).cloned().collect()
    }

    /// Returns the number of all requests until now.
    pub fn calls_in_all(&self) -> usize {
        self.calls.lock().unwrap().len()
    }

    /// Returns a token that a key of the issuer has signed for a subject.
    pub fn token(&self, key: &Key, subject: &str) -> String {
        key.sign(&json!({ "iss": self.iss(), "sub": subject, "iat": now_s(), "exp": now_s() + 60 }))
    }

    fn serve(&self, stream: TcpStream) {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut stream = stream;
        loop {
            let (mut head, mut bytes) = (String::new(), 0);
            while !head.ends_with("\r\n\r\n") {
                if reader.read_line(&mut head).unwrap_or(0) == 0 {
                    return;
                }
            }
            for line in head.lines().filter_map(|line| line.split_once(": ")) {
                if line.0.eq_ignore_ascii_case("content-length") {
                    bytes = line.1.parse().unwrap();
                }
            }
            let mut body = vec![0; bytes];
            if reader.read_exact(&mut body).is_err() {
                return;
            }
            let path = head.split(' ').nth(1).unwrap().to_owned();
            let call = Call { path, head, body: String::from_utf8(body).unwrap() };
            self.calls.lock().unwrap().push(call.clone());
            let answer = Arc::clone(&self.answer.lock().unwrap());
            answer(&call, &mut stream);
        }
    }
}

/// Writes an answer. The client may have left.
pub fn write(stream: &mut TcpStream, status: &str, body: &str) {
    let head = format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n", body.len());
    let _ = stream.write_all((head + body).as_bytes());
}

pub fn write_json(stream: &mut TcpStream, value: &Value) {
    write(stream, "200 OK", &value.to_string());
}

/// A key pair of an issuer.
pub struct Key {
    id: String,
    pair: Ed25519KeyPair,
}

impl Key {
    pub fn new(id: &str) -> Self {
        Self { id: id.to_owned(), pair: Ed25519KeyPair::generate().unwrap() }
    }

    /// Returns a token with these claims.
    pub fn sign(&self, claims: &Value) -> String {
        self.sign_as(&self.id, claims)
    }

    /// Returns a token that names another key.
    pub fn sign_as(&self, id: &str, claims: &Value) -> String {
        let der = STANDARD.encode(self.pair.to_pkcs8v1().unwrap());
        let pem = format!("-----BEGIN PRIVATE KEY-----\n{der}\n-----END PRIVATE KEY-----\n");
        let signer = Signer::new(Algorithm::EdDsa, pem.as_bytes()).unwrap();
        signer.sign(Some(id), claims.as_object().unwrap()).unwrap()
    }
}

/// Returns the set of these keys.
pub fn set(keys: &[&Key]) -> Value {
    let jwk = |key: &&Key| {
        let x = URL_SAFE_NO_PAD.encode(key.pair.public_key().as_ref());
        json!({ "kty": "OKP", "crv": "Ed25519", "use": "sig", "kid": key.id, "x": x })
    };
    json!({ "keys": keys.iter().map(jwk).collect::<Vec<Value>>() })
}
