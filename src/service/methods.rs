//! Which methods a path has: what OPTIONS is told, and whom 405 is for.
//!
//! Never knows what a path is for. Invariant: the methods that a path names in Allow are those that it answers.

use crate::protocol::http::{Request, Response};

/// Methods of what can only be read.
pub(super) const READ: &str = "GET, HEAD, OPTIONS";

/// What the server knows at all, for `OPTIONS *`.
pub(super) const ALL: &str = "GET, HEAD, POST, OPTIONS";

/// Returns `answer` to a request by one of the methods that `allow` lists, the list to OPTIONS, and 405 to others.
pub(super) fn restrict(request: &Request<'_>, allow: &'static str, answer: impl FnOnce() -> Response) -> Response {
    match request.method() {
        "OPTIONS" => options(allow),
        method if is_listed(method, allow) => answer(),
        _ => {
            Response::text(405, format!("This method is not allowed here. Use {allow}.\n")).with_header("Allow", allow)
        }
    }
}

/// Returns what OPTIONS is told (RFC 9110 9.3.7): these methods, and nothing else.
pub(super) fn options(allow: &'static str) -> Response {
    Response::new(200).with_header("Allow", allow)
}

fn is_listed(method: &str, allow: &str) -> bool {
    allow.split(", ").any(|listed| listed == method)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::http::Headers;

    #[test]
    fn a_path_answers_the_methods_that_it_names() {
        for (method, status) in [
            ("GET", 204),
            ("HEAD", 204),
            ("OPTIONS", 200),
            ("POST", 405),
            ("GE", 405),
            ("GET, HEAD", 405),
            ("Get", 405),
        ] {
            let head = format!("{} / HTTP/1.1\r\nHost: a\r\n\r\n", method.replace(", ", ","));
            let mut headers = Headers::default();
            let Ok(request) = Request::parse(head.as_bytes(), &mut headers) else { continue };
            assert_eq!(restrict(&request, READ, || Response::new(204)).status(), status, "{method}");
        }
    }
}
