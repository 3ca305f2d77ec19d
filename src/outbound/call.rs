//! One HTTP call: a question to a URL, and the answer or the reason for which there is none.
//!
//! Owns the limits of a call. Never follows a redirect, uses no proxy of the environment and keeps no cookies.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::redirect::Policy;
use thiserror::Error;

use super::Url;
use crate::authorities::{self, AuthoritiesError};
use crate::tls::{ConnectorError, Trust, client_config};

/// How long a connection is kept without a call: less than the 5 s after which common servers close theirs (Node.js).
const KEPT: Duration = Duration::from_secs(4);

/// The name by which a server knows the program.
const USER_AGENT: &str = concat!("ringsock/", env!("CARGO_PKG_VERSION"));

/// The method of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// GET.
    Get,
    /// POST.
    Post,
}

/// A call.
#[derive(Clone)]
pub struct Call {
    /// Its method.
    pub method: Method,
    /// Its address.
    pub url: Url,
    /// Its headers. One that HTTP does not allow fails the call.
    pub headers: Vec<(&'static str, String)>,
    /// Its body; empty for none.
    pub body: Vec<u8>,
    /// The time in which the whole answer must be there.
    pub timeout: Duration,
    /// The most bytes of an answer's body.
    pub answer_bytes_max: usize,
}

/// Shows neither headers nor body: they have secrets.
impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").field("method", &self.method).field("url", &self.url).finish_non_exhaustive()
    }
}

/// An answer, whatever its status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its body.
    pub body: Vec<u8>,
}

/// The reason for which there is no answer. No text repeats headers or bodies.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CallError {
    /// No connection.
    #[error("no connection: {reason}")]
    NotConnected {
        /// The reason.
        reason: String,
    },
    /// The answer did not come in time.
    #[error("no answer within {} ms", .within.as_millis())]
    TimedOut {
        /// The time of the call.
        within: Duration,
    },
    /// The answer is too long.
    #[error("the answer has more than {max} bytes")]
    TooLong {
        /// The limit.
        max: usize,
    },
    /// The connection ended, or the answer is no HTTP.
    #[error("{reason}")]
    Broken {
        /// The reason.
        reason: String,
    },
    /// A header of the call is not allowed in HTTP.
    #[error("the value of the header {name} is not allowed in HTTP")]
    InvalidHeader {
        /// The name.
        name: &'static str,
    },
}

/// The reason for which no calls can be made: the host's fault.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The authorities of this host cannot be read.
    #[error(transparent)]
    Authorities(#[from] AuthoritiesError),
    /// The authorities of this host cannot be used.
    #[error(transparent)]
    Connector(#[from] ConnectorError),
    /// The library cannot begin.
    #[error("No HTTP client could be made: {0}.")]
    Library(String),
}

/// The maker of calls. It keeps connections to those that were called; a clone shares them.
#[derive(Clone, Debug)]
pub struct Client(reqwest::Client);

impl Client {
    /// Returns a client that trusts the authorities of this host. Where there are none, as in a small container, it
    /// makes calls to this host alone.
    pub fn new() -> Result<Self, ClientError> {
        let trust = match authorities::system() {
            Ok(pem) => Trust::Authorities(pem),
            Err(missing @ AuthoritiesError::NoSystemFile) => {
                tracing::warn!("{missing} Until then no https:// URL can be called.");
                Trust::Nobody
            }
            Err(unreadable) => return Err(unreadable.into()),
        };
        let tls = client_config(&trust)?;
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .user_agent(USER_AGENT)
            .redirect(Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .no_proxy()
            .pool_idle_timeout(KEPT)
            .build();
        client.map(Self).map_err(|error| ClientError::Library(reason(&error)))
    }

    /// Makes a call. Its connection may be one that is kept; if that one turns out closed before an answer began, the
    /// library makes the call again on a new one.
    pub async fn call(&self, call: Call) -> Result<Answer, CallError> {
        let (within, max) = (call.timeout, call.answer_bytes_max);
        match tokio::time::timeout(within, self.exchange(call, max)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(CallError::TimedOut { within }),
        }
    }

    async fn exchange(&self, call: Call, max: usize) -> Result<Answer, CallError> {
        let method = match call.method {
            Method::Get => reqwest::Method::GET,
            Method::Post => reqwest::Method::POST,
        };
        let headers = header_map(call.headers)?;
        let request = self.0.request(method, call.url.inner().clone()).headers(headers).body(call.body);
        let mut response = request.send().await.map_err(|error| failure(&error))?;
        let mut answer = Answer { status: response.status().as_u16(), body: Vec::new() };
        while let Some(bytes) = response.chunk().await.map_err(|error| failure(&error))? {
            if answer.body.len() + bytes.len() > max {
                return Err(CallError::TooLong { max });
            }
            answer.body.extend_from_slice(&bytes);
        }
        Ok(answer)
    }
}

fn header_map(headers: Vec<(&'static str, String)>) -> Result<HeaderMap, CallError> {
    let mut map = HeaderMap::with_capacity(headers.len());
    for (name, value) in headers {
        let invalid = || CallError::InvalidHeader { name };
        let header = HeaderName::from_bytes(name.as_bytes()).map_err(|_| invalid())?;
        map.append(header, HeaderValue::from_str(&value).map_err(|_| invalid())?);
    }
    Ok(map)
}

fn failure(error: &reqwest::Error) -> CallError {
    if error.is_connect() {
        CallError::NotConnected { reason: reason(error) }
    } else {
        CallError::Broken { reason: reason(error) }
    }
}

/// Returns the innermost reason of an error: the outer ones repeat the URL, or say only that a request failed.
fn reason(error: &dyn Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::sync::mpsc;
    use std::thread;

    use super::*;
    use crate::outbound::Outbound;

    /// Makes a call to a server that sends this text to each client once it has read the request, and keeps the
    /// connection. Returns the outcome, and the request.
    fn call(answer: &'static str, change: impl FnOnce(&mut Call)) -> (Result<Answer, CallError>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut call = Call {
            method: Method::Post,
            url: format!("http://{}/hook", listener.local_addr().unwrap()).parse().unwrap(),
            headers: vec![("content-type", "text/plain".to_owned())],
            body: b"question".to_vec(),
            timeout: Duration::from_secs(10),
            answer_bytes_max: 10,
        };
        change(&mut call);
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"question") {
                let mut bytes = [0; 1024];
                let count = stream.read(&mut bytes).unwrap();
                request.extend_from_slice(&bytes[..count]);
            }
            stream.write_all(answer.as_bytes()).unwrap();
            (String::from_utf8(request).unwrap(), stream)
        });
        let (outbound, (told, outcome)) = (Outbound::default(), mpsc::channel());
        let client = Client::new().unwrap();
        outbound.run(async move { told.send(client.call(call).await).unwrap() }).unwrap();
        (outcome.recv().unwrap(), server.join().unwrap().0)
    }

    #[test]
    fn a_call_has_its_method_headers_and_body_and_returns_the_answer_whatever_its_status() {
        let (outcome, request) = call("HTTP/1.1 503 Busy\r\nContent-Length: 2\r\n\r\nno", |_| {});
        assert_eq!(outcome, Ok(Answer { status: 503, body: b"no".to_vec() }));
        assert!(request.starts_with("POST /hook HTTP/1.1\r\ncontent-type: text/plain\r\n"), "{request}");
        assert!(request.contains(&format!("\r\nuser-agent: {USER_AGENT}\r\n")), "{request}");
        assert!(!request.to_ascii_lowercase().contains("referer"), "{request}");
    }

    #[test]
    fn a_redirect_is_an_answer_and_is_not_followed() {
        let redirect = "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(call(redirect, |_| {}).0, Ok(Answer { status: 302, body: Vec::new() }));
    }

    #[test]
    fn an_answer_above_its_limit_is_given_up_whether_it_tells_its_length_or_not() {
        let long = Err(CallError::TooLong { max: 10 });
        assert_eq!(call("HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n01234567890", |_| {}).0, long);
        let endless = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n01234567890\r\n";
        assert_eq!(call(endless, |_| {}).0, long);
        let (outcome, _) = call("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789", |_| {});
        assert_eq!(outcome.unwrap().body.len(), 10);
    }

    #[test]
    fn an_answer_that_never_ends_is_given_up_after_the_calls_time() {
        let within = Duration::from_millis(300);
        for begun in ["", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n0"] {
            assert_eq!(call(begun, |call| call.timeout = within).0, Err(CallError::TimedOut { within }), "{begun}");
        }
    }

    #[test]
    fn a_fault_names_its_reason_and_no_secret() {
        let (outcome, _) = call("SSH-2.0-OpenSSH\r\n", |_| {});
        assert!(matches!(outcome, Err(CallError::Broken { .. })), "{outcome:?}");
        let invalid = header_map(vec![("authorization", "secret\n".to_owned())]);
        assert_eq!(invalid.unwrap_err(), CallError::InvalidHeader { name: "authorization" });
        let (told, outcome) = mpsc::channel();
        let (client, outbound) = (Client::new().unwrap(), Outbound::default());
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let call = Call {
            method: Method::Get,
            url: format!("http://{closed}/?token=secret").parse().unwrap(),
            headers: vec![("authorization", "secret".to_owned())],
            body: Vec::new(),
            timeout: Duration::from_secs(10),
            answer_bytes_max: 0,
        };
        let shown = format!("{call:?}");
        assert!(!shown.contains("authorization"), "{shown}");
        outbound.run(async move { told.send(client.call(call).await).unwrap() }).unwrap();
        let error = outcome.recv().unwrap().unwrap_err();
        assert!(matches!(&error, CallError::NotConnected { .. }), "{error:?}");
        assert!(error.to_string().contains("refused") && !error.to_string().contains("secret"), "{error}");
    }
}
