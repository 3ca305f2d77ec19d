//! Discovery documents: any document, for several issuers.
//!
//! Rules: an address comes only out of a document of the issuer; it is https, or of this host if the issuer is (OpenID
//! Connect Discovery 1.0 4.3).

use ringsock::service::auth::{DISCOVERY_BYTES_MAX, discovery_url, parse_discovery};
use serde_json::Value;

use crate::input::Input;
use crate::token::assert_names_once;

/// The issuers that a document may be for.
pub const ISSUERS: &[&str] = &["https://a.example", "https://a.example/b/", "http://127.0.0.1:8080", "http://[::1]/a"];

/// Checks an input.
pub fn check(data: &[u8]) {
    let mut input = Input::new(data);
    let iss = input.choose(ISSUERS);
    let document = input.rest();
    let asked = discovery_url(iss).expect("an issuer has an address");
    assert!(asked.as_str().ends_with("/.well-known/openid-configuration") && !asked.as_str().contains("//."));
    let Ok(url) = parse_discovery(document, iss) else { return };
    assert!(document.len() <= DISCOVERY_BYTES_MAX);
    let members: Value = serde_json::from_slice(document).expect("what is accepted is JSON");
    assert_eq!(members["issuer"], iss);
    assert_names_once(document, members.as_object().expect("it is an object"));
    let host = url.as_str().strip_prefix("http://");
    assert!(host.is_some() || url.as_str().starts_with("https://"), "{url}");
    assert!(host.is_none() || iss.starts_with("http://"), "{url}");
    let is_here = |host: &str| ["127.", "localhost", "[::1]"].iter().any(|own| host.starts_with(own));
    assert!(host.is_none_or(is_here), "{url}");
    assert!(!url.as_str().contains('#') && !url.as_str().contains('\n'), "{url}");
    assert_eq!(parse_discovery(document, iss).expect("it was accepted before"), url);
}
