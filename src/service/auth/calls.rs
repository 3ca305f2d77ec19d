//! The calls to an issuer: its key set, and its answer about a token.
//!
//! Owns the order of the calls and their limits. Never keeps an outcome. Invariant: an address comes from the
//! configuration, or from the discovery document at an address of the configuration, and never from a token.

use std::time::Duration;

use super::discovery::{DISCOVERY_BYTES_MAX, parse_discovery};
use super::fetch_error::FetchError;
use super::introspection::{INTROSPECTION_BYTES_MAX, Introspection, parse_introspection, question};
use super::introspector::Introspector;
use super::jwks::{KEY_SET_BYTES_MAX, parse_key_set};
use super::key::Key;
use super::key_source::{KeyPlace, KeySource};
use crate::outbound::{Answer, Call, Client, Method, Url};

/// The time in which an answer must be there. A client gives up before, and its next try finds the answer.
pub(super) const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// Fetches the key set of an issuer.
pub(super) async fn fetch_keys(client: &Client, source: &KeySource) -> Result<Vec<Key>, FetchError> {
    let url = match source.place() {
        KeyPlace::KeySet(url) => url.clone(),
        KeyPlace::Discovery { iss, url } => {
            let document = get(client, url.clone(), DISCOVERY_BYTES_MAX).await?;
            parse_discovery(&document, iss)?
        }
    };
    let document = get(client, url, KEY_SET_BYTES_MAX).await?;
    Ok(parse_key_set(&document, source.algorithm())?)
}

/// Asks an issuer about a token. Returns its answer and the bytes of it.
pub(super) async fn introspect(
    client: &Client,
    introspector: &Introspector,
    token: &str,
) -> Result<(Introspection, usize), FetchError> {
    let headers = vec![
        ("Accept", "application/json".to_owned()),
        ("Authorization", introspector.authorization().to_owned()),
        ("Content-Type", "application/x-www-form-urlencoded".to_owned()),
    ];
    let answer = client
        .call(Call {
            method: Method::Post,
            url: introspector.url().clone(),
            headers,
            body: question(token).into_bytes(),
            timeout: CALL_TIMEOUT,
            answer_bytes_max: INTROSPECTION_BYTES_MAX,
        })
        .await?;
    let body = match answer.status {
        401 | 403 => return Err(FetchError::Credentials(answer.status)),
        _ => body(answer)?,
    };
    Ok((parse_introspection(&body)?, body.len()))
}

async fn get(client: &Client, url: Url, answer_bytes_max: usize) -> Result<Vec<u8>, FetchError> {
    let headers = vec![("Accept", "application/json".to_owned())];
    let (method, body_of_call) = (Method::Get, Vec::new());
    let call = Call { method, url, headers, body: body_of_call, timeout: CALL_TIMEOUT, answer_bytes_max };
    body(client.call(call).await?)
}

/// Returns the body of an answer that has one.
fn body(answer: Answer) -> Result<Vec<u8>, FetchError> {
    match answer.status {
        200 => Ok(answer.body),
        status @ 300..400 => Err(FetchError::Redirect(status)),
        status => Err(FetchError::Status(status)),
    }
}
