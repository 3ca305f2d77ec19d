//! The HTTP methods of each path: the answer to OPTIONS, and 405 for methods that the path does not support.
//!
//! Knows nothing of the paths themselves. Invariant: the methods in a path's Allow header are those that it answers.

use crate::protocol::http::{Request, Response};

/// The methods of a read-only path.
pub(super) const READ: &str = "GET, HEAD, OPTIONS";

/// Every method the server supports, for `OPTIONS *`.
pub(super) const ALL: &str = "GET, HEAD, POST, OPTIONS";

/// Answers methods that `allow` lists with `answer`, OPTIONS with the list, and every other method with 405.
pub(super) fn restrict(request: &Request<'_>, allow: &'static str, answer: impl FnOnce() -> Response) -> Response {
    match request.method() {
        "OPTIONS" => options(allow),
        method if is_listed(method, allow) => answer(),
        _ => {
            Response::text(405, format!("This method is not allowed here. Use {allow}.\n")).with_header("Allow", allow)
        }
    }
}

/// Returns the answer to OPTIONS (RFC 9110 9.3.7): the Allow header and an empty body.
pub(super) fn options(allow: &'static str) -> Response {
    Response::new(200).with_header("Allow", allow)
}

fn is_listed(method: &str, allow: &str) -> bool {
    allow.split(", ").any(|listed| listed == method)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::http::{Headers, parse_request};

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
            let Ok(request) = parse_request(head.as_bytes(), &mut headers) else { continue };
            assert_eq!(restrict(&request, READ, || Response::new(204)).status(), status, "{method}");
        }
    }
}
