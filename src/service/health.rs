//! The health endpoints for load balancers: whether the process runs, and whether it takes new load.

use crate::engine::Status;
use crate::protocol::http::Response;

/// Returns the answer to `/health` or `/readyz`, or `None` for any other path.
pub(super) fn answer(path: &str, status: &Status) -> Option<Response> {
    match path {
        "/health" => Some(Response::text(200, "ok")),
        "/readyz" if status.is_ready() => Some(Response::text(200, "ready")),
        "/readyz" => Some(Response::text(503, "not ready")),
        _ => None,
    }
}
