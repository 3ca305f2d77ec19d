//! `/api/revoke` and `/api/tickets`: revocations and tickets over HTTP, for the operator and the application's backend.
//!
//! Owns the parsing of the requests and the JSON of the answers. Needs the key of the API (`api.key`): a key of a
//! program (`[[api-key]]`) has rights on topics alone.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::json;

use super::admission::now;
use super::gate::Gate;
use super::grants::{GRANTS_MAX, Grant};
use super::revocations::Revocation;
use super::rules::AccessRules;
use super::state::TicketRights;
use super::tickets::{TICKET_BYTES, TICKET_MS};
use super::token::ID_BYTES_MAX;
use crate::engine::SessionId;
use crate::protocol::http::{Request, Response};
use crate::service::query::{ParameterError, parameter};

/// The path of revocations.
pub(in crate::service) const REVOKE: &str = "/api/revoke";

/// The path of tickets.
pub(in crate::service) const TICKETS: &str = "/api/tickets";

/// Carries out a request to revoke. The caller has checked that the request may. `tell` sends the revocation to all
/// cores, and returns whether each of them gets it.
pub(in crate::service) fn revoke(
    request: &Request<'_>,
    gate: &Gate,
    rules: Option<&AccessRules>,
    tell: impl FnOnce(Arc<Revocation>) -> bool,
) -> Result<Response, Response> {
    let revocation = read_revocation(request).map_err(|fault| failure(400, &fault))?;
    let now = now();
    let life_s = rules.map_or(0, |rules| rules.verifier().rules().life_s_max + rules.verifier().rules().leeway_s);
    gate.state().revoke(&revocation, now.s() + life_s, now.s()).map_err(|full| failure(503, &full.to_string()))?;
    if tell(Arc::new(revocation)) {
        return Ok(Response::json(200, json!({ "revoked": true }).to_string()));
    }
    let text = "No new session gets in, but some that are open could not be closed: too much waits. Try again.";
    Err(failure(503, text).with_header("Retry-After", "1"))
}

/// Reads a revocation from the query: `jti`, `sub` (with `before`, a time in seconds since 1970), or `session`.
fn read_revocation(request: &Request<'_>) -> Result<Revocation, String> {
    let read = |name| parameter(request.query(), name).map_err(|error: ParameterError| error.to_string());
    let (id, subject, session, before) = (read("jti")?, read("sub")?, read("session")?, read("before")?);
    let before =
        before.map(|text| text.parse::<u64>().map_err(|_| format!("before is {text:?}. Give seconds since 1970.")));
    let revocation = match (id, subject, session, before.transpose()?) {
        (Some(id), None, None, None) => Revocation::Token(id.into()),
        (None, Some(subject), None, before) => {
            Revocation::Subject { subject: subject.into(), issued_until_s: before.unwrap_or_else(|| now().s()) }
        }
        (None, None, Some(session), None) => {
            let id = session.parse::<SessionId>();
            Revocation::Session(id.map_err(|_| format!("{session:?} is no session. Give its id, such as 0-12-34."))?)
        }
        _ => {
            return Err("Name what to revoke in the query: jti=ID, sub=SUBJECT, sub=SUBJECT&before=SECONDS, or \
                        session=ID."
                .to_owned());
        }
    };
    match &revocation {
        Revocation::Token(text) | Revocation::Subject { subject: text, .. }
            if !(1..=ID_BYTES_MAX).contains(&text.len()) =>
        {
            Err(format!("A jti or sub has 1 to {ID_BYTES_MAX} bytes."))
        }
        _ => Ok(revocation),
    }
}

/// The body of a request for a ticket.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TicketRequest {
    sub: Option<String>,
    #[serde(default)]
    roles: Vec<String>,
    #[serde(default)]
    grants: Vec<String>,
    exp: Option<u64>,
}

/// Issues a ticket. The caller has checked that the request may.
pub(in crate::service) fn issue_ticket(
    request: &Request<'_>,
    gate: &Gate,
    rules: Option<&AccessRules>,
) -> Result<Response, Response> {
    let rules =
        rules.ok_or_else(|| failure(404, "Tickets are for servers with roles or issuers: everybody gets in."))?;
    let now = now();
    let rights = read_ticket(request, rules, now.s()).map_err(|fault| failure(400, &fault))?;
    let mut random = [0; TICKET_BYTES];
    aws_lc_rs::rand::fill(&mut random).map_err(|_| failure(500, "There is no randomness for a ticket."))?;
    let ticket = gate.state().issue_ticket(random, rights, now.ms).ok_or_else(|| {
        failure(503, "So many tickets are open that no further one can be issued. Try again.")
            .with_header("Retry-After", "1")
    })?;
    let body = json!({ "ticket": ticket, "expires_in": TICKET_MS / 1000 }).to_string();
    Ok(Response::json(200, body).with_header("Cache-Control", "no-store"))
}

fn read_ticket(request: &Request<'_>, rules: &AccessRules, issued_at_s: u64) -> Result<TicketRights, String> {
    let asked: TicketRequest = serde_json::from_slice(request.body()).map_err(|error| {
        format!("The body is no request for a ticket: {error}. Send {{\"sub\":\"ann\",\"roles\":[\"user\"]}}.")
    })?;
    if asked.roles.len() > GRANTS_MAX || asked.grants.len() > GRANTS_MAX {
        return Err(format!("A ticket may have {GRANTS_MAX} roles and grants."));
    }
    if let Some(role) = asked.roles.iter().find(|role| !rules.roles().contains(role)) {
        return Err(format!("There is no role {role:?}."));
    }
    let own = asked.grants.iter().map(|grant| grant.parse());
    let mut grants = own.collect::<Result<Vec<Grant>, _>>().map_err(|error| format!("{error}."))?;
    grants.extend(rules.grants_of_roles(&asked.roles, asked.sub.as_deref()));
    Ok(TicketRights { subject: asked.sub.map(Box::from), grants, issued_at_s, expires_at_s: asked.exp })
}

/// Returns a refusal in the form of the API.
fn failure(status: u16, text: &str) -> Response {
    Response::json(status, json!({ "error": text }).to_string())
}
