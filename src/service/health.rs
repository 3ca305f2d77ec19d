//! What a load balancer asks: whether the process lives, and whether it may take load.

use crate::engine::Status;
use crate::protocol::http::{Request, Response};

/// The answer to `/health` or `/readyz`; `None` for any other path.
pub(super) fn answer(path: &str, status: &Status) -> Option<Response> {
    match path {
        "/health" => Some(Response::text(200, "ok")),
        "/readyz" if status.is_ready() => Some(Response::text(200, "ready")),
        "/readyz" => Some(Response::text(503, "not ready")),
        _ => None,
    }
}

/// This answer to a request that only reads, or else 405.
pub(super) fn to_readers(request: &Request<'_>, response: Response) -> Response {
    match request.method() {
        "GET" | "HEAD" => response,
        _ => Response::text(405, "Only GET and HEAD are answered here.\n").with_header("Allow", "GET, HEAD"),
    }
}
