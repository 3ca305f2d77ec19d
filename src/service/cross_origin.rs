//! CORS for `/api/`: which web pages of other origins may use it (Fetch standard, 3.2).
//!
//! Owns the CORS response headers. Never stops a request from being carried out: the browser itself hides the answer
//! from a page that is not allowed, and does not send a request whose preflight failed. Invariant: credentials are
//! never allowed, so no page acts with its visitor's cookies or passwords; it needs the API key.

use std::fmt;
use std::str::FromStr;

use crate::protocol::http::{Request, Response};
use crate::protocol::{InvalidOrigin, Origins};

/// How long a browser may cache a preflight answer, in seconds: two hours, the most that Chromium allows.
const PREFLIGHT_SECONDS: &str = "7200";

/// The headers that the API reads; sent in answer to a preflight that names none.
const HEADERS: &str = "Authorization, Content-Type, X-API-Key";

/// Stands for no origin in a list.
const NONE: &str = "none";

/// The origins whose pages may use the API: `none`, or a list in the form of [`Origins`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CrossOrigin(Option<Origins>);

impl CrossOrigin {
    /// Returns whether a request comes from a page of an allowed origin.
    pub(super) fn allows(&self, request: &Request<'_>) -> bool {
        self.allowed_origin(request).is_some()
    }

    /// Returns the answer to a preflight for the methods that `allow` lists, or `None` if the request is not a
    /// preflight or its page is not allowed.
    pub(super) fn preflight(&self, request: &Request<'_>, allow: &'static str) -> Option<Response> {
        if request.header("Access-Control-Request-Method").is_none() || !self.allows(request) {
            return None;
        }
        // Echoes the requested headers, because proxies and tracing add their own; browsers block dangerous ones
        // themselves.
        let headers = request.header_text("Access-Control-Request-Headers").unwrap_or(HEADERS);
        let response = Response::new(204)
            .with_header("Access-Control-Allow-Methods", allow)
            .with_header("Access-Control-Allow-Headers", headers.to_owned())
            .with_header("Access-Control-Max-Age", PREFLIGHT_SECONDS);
        Some(response)
    }

    /// Adds the headers that tell the browser whether the page may read the answer.
    pub(super) fn label(&self, request: &Request<'_>, response: Response) -> Response {
        self.headers(request).add_to(response)
    }

    /// Returns these headers, for an answer that comes later.
    pub(super) fn headers(&self, request: &Request<'_>) -> Labels {
        let vary = self.0.is_some().then_some(if request.method() == "OPTIONS" {
            "Origin, Access-Control-Request-Method, Access-Control-Request-Headers"
        } else {
            "Origin"
        });
        Labels { vary, origin: self.allowed_origin(request) }
    }

    /// Returns the value of Access-Control-Allow-Origin: the page's origin, or `*` if every page is allowed.
    fn allowed_origin(&self, request: &Request<'_>) -> Option<String> {
        let origin = request.header_text("Origin")?;
        let origins = self.0.as_ref().filter(|origins| origins.allow(Some(origin.as_bytes()), request.host()))?;
        Some(if *origins == Origins::any() { "*" } else { origin }.to_owned())
    }
}

/// The headers that tell a browser whether the page may read an answer.
#[derive(Debug)]
pub(super) struct Labels {
    vary: Option<&'static str>,
    origin: Option<String>,
}

impl Labels {
    /// Adds them to an answer.
    pub(super) fn add_to(self, response: Response) -> Response {
        let response = match self.vary {
            Some(vary) => response.with_header("Vary", vary),
            None => response,
        };
        match self.origin {
            Some(origin) => response.with_header("Access-Control-Allow-Origin", origin),
            None => response,
        }
    }
}

impl FromStr for CrossOrigin {
    type Err = InvalidOrigin;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == NONE { Ok(Self(None)) } else { text.parse().map(|origins| Self(Some(origins))) }
    }
}

/// Writes the list in the form in which it is read.
impl fmt::Display for CrossOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(origins) => origins.fmt(f),
            None => f.write_str(NONE),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;
    use crate::protocol::http::{Date, Headers, parse_request, write_response};

    /// Returns the head of the answer to a request with these header lines; an OPTIONS request counts as a preflight.
    fn answer(allowed: &str, method: &str, lines: &str) -> String {
        let head = format!("{method} /api/publish HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
        let mut headers = Headers::default();
        let request = parse_request(head.as_bytes(), &mut headers).unwrap();
        let cross_origin: CrossOrigin = allowed.parse().unwrap();
        let preflight = (method == "OPTIONS").then(|| cross_origin.preflight(&request, "POST, OPTIONS")).flatten();
        let response = cross_origin.label(&request, preflight.unwrap_or_else(|| Response::new(200)));
        let mut out = Vec::new();
        write_response(&mut out, &response, &Date::from(UNIX_EPOCH), true, false);
        String::from_utf8(out).unwrap()
    }

    const ASKS: &str = "Access-Control-Request-Method: POST\r\n";

    #[test]
    fn an_allowed_page_is_told_so_and_no_other() {
        let told = "\r\nAccess-Control-Allow-Origin: https://a.example\r\n";
        let list = "https://a.example,http://127.0.0.1:8080";
        assert!(answer(list, "POST", "Origin: https://a.example\r\n").contains(told));
        for origin in ["https://b.example", "http://a.example", "https://a.example.evil", "null", "https://a.example/"]
        {
            let answer = answer(list, "POST", &format!("Origin: {origin}\r\n"));
            assert!(
                !answer.contains("Access-Control") && answer.contains("\r\nVary: Origin\r\n"),
                "{origin}: {answer}"
            );
        }
        assert!(
            answer("*", "POST", "Origin: https://b.example\r\n").contains("\r\nAccess-Control-Allow-Origin: *\r\n")
        );
        for (allowed, lines) in [("none", "Origin: https://a.example\r\n"), (list, ""), ("*", "")] {
            assert!(!answer(allowed, "POST", lines).contains("Access-Control"), "{allowed}");
        }
        assert!(!answer("none", "POST", "").contains("Vary"));
    }

    #[test]
    fn a_preflight_is_told_methods_and_headers_and_for_how_long() {
        let lines =
            format!("Origin: https://a.example\r\n{ASKS}Access-Control-Request-Headers: x-api-key,traceparent\r\n");
        let told = answer("https://a.example", "OPTIONS", &lines);
        for line in [
            "HTTP/1.1 204 No Content",
            "Access-Control-Allow-Origin: https://a.example",
            "Access-Control-Allow-Methods: POST, OPTIONS",
            "Access-Control-Allow-Headers: x-api-key,traceparent",
            "Access-Control-Max-Age: 7200",
            "Vary: Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
        ] {
            assert!(told.lines().any(|told| told == line), "no {line} in\n{told}");
        }
        let without = answer("*", "OPTIONS", &format!("Origin: https://b.example\r\n{ASKS}"));
        assert!(without.contains("\r\nAccess-Control-Allow-Headers: Authorization, Content-Type, X-API-Key\r\n"));
        assert!(!told.contains("Credentials") && !without.contains("Credentials"));
    }

    #[test]
    fn a_preflight_of_another_page_is_an_ordinary_options() {
        for (allowed, lines) in [
            ("none", format!("Origin: https://a.example\r\n{ASKS}")),
            ("https://a.example", format!("Origin: https://b.example\r\n{ASKS}")),
            ("https://a.example", "Origin: https://a.example\r\n".to_owned()),
            ("*", ASKS.to_owned()),
        ] {
            let answer = answer(allowed, "OPTIONS", &lines);
            assert!(answer.starts_with("HTTP/1.1 200 ") && !answer.contains("Allow-Methods"), "{allowed}: {answer}");
        }
    }
}
