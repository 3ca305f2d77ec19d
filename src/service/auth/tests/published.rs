//! Tokens that others have made: the examples of RFC 7515 (A.1 to A.3) and RFC 8037 (A.4).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

use crate::service::auth::algorithm::Algorithm;
use crate::service::auth::jwks::parse_key_set;
use crate::service::auth::key::Key;
use crate::service::auth::verifier::{Issuer, TokenRules, Verifier};

/// The claims of the RFC's examples: joe, until 1300819380.
const CLAIMS: &str = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";

const NOW_S: u64 = 1_300_819_000;

fn verifier(keys: Vec<Key>) -> Verifier {
    let iss = Some("joe".into());
    let (name, keys) = ("joe".into(), keys.into());
    let issuer = Issuer { name, iss, audiences: Vec::new(), keys, introspector: None, roles: Vec::new() };
    Verifier::new(vec![issuer], TokenRules { leeway_s: 0, life_s_max: 1000, needs_id: false })
}

fn keys(jwk: serde_json::Value) -> Vec<Key> {
    parse_key_set(json!({ "keys": [jwk] }).to_string().as_bytes(), None).unwrap()
}

#[test]
fn the_examples_of_the_rfcs_are_accepted_until_they_expire() {
    let secret = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
    let secret = Key::secret(Algorithm::Hs256, &URL_SAFE_NO_PAD.decode(secret).unwrap()).unwrap();
    let rsa = json!({
        "kty": "RSA",
        "n": "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4Q\
                lL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBY\
                UsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNm\
                oudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ",
        "e": "AQAB",
    });
    let p256 = json!({
        "kty": "EC",
        "crv": "P-256",
        "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    });
    for (keys, header, signature) in [
        (vec![secret], "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9", "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"),
        (
            keys(rsa),
            "eyJhbGciOiJSUzI1NiJ9",
            "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5juj\
                Gbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe\
                7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8\
                np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
        ),
        (
            keys(p256),
            "eyJhbGciOiJFUzI1NiJ9",
            "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
        ),
    ] {
        let (verifier, token) = (verifier(keys), format!("{header}.{CLAIMS}.{signature}"));
        let claims = verifier.verify(&token, NOW_S).unwrap_or_else(|error| panic!("{header}: {error}"));
        assert_eq!(claims.all["http://example.com/is_root"], true);
        assert!(verifier.verify(&token, 1_300_819_380).is_err(), "it has expired");
    }
}

/// The payload of this example is a text and no claims, so only the signature is verified.
#[test]
fn the_signature_of_the_example_with_ed25519_is_right() {
    let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" });
    let signature = "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let key = &keys(jwk)[0];
    assert!(key.verifies(b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc", &signature));
    assert!(!key.verifies(b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmd", &signature));
}
