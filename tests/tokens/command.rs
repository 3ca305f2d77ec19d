//! `ringsock token`: tokens for trials, and what it says of a token.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::json;

use super::issuer::{Issuer, Key, write};
use super::program::isolate;
use super::server::{Server, now_s, signed, token, token_for};

const CONFIG: &str = "[[issuer]]\nname = \"shop\"\nkey = \"0123456789abcdef0123456789abcdef\"\nroles = [\"user\"]\n\
                      [[role]]\nname = \"user\"\ngrants = [\"subscribe:news\", \"publish:users/{sub}/*\"]\n";

fn file(name: &str, text: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("token-{}-{name}", std::process::id()));
    std::fs::write(&path, text).unwrap();
    path
}

fn run(task: &str, config: &Path, arguments: &[&str], input: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringsock"));
    isolate(&mut command);
    command.args(["token", task, "--config"]).arg(config).args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = command.spawn().unwrap();
    process.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    process.wait_with_output().unwrap()
}

fn printed(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[tokio::test]
async fn a_token_for_a_trial_opens_a_session_and_is_explained() {
    let config = file("shop.toml", CONFIG);
    let made = run("make", &config, &["--sub", "ann", "--role", "x", "--grant", "publish:news", "--for", "5m"], "");
    let made = printed(&made);
    let server = Server::start("");
    server.open_with("/topics/news", made.trim()).await.echo("hello").await;
    let topics = ["-", "--topic", "users/ann/1", "--topic", "users/bob/1"];
    let explained = printed(&run("explain", &config, &topics, &made));
    assert!(explained.starts_with("accepted\n  issuer   shop\n  subject  ann\n  ends     in "), "{explained}");
    for line in [
        "  role     user: 2 grants",
        "  role     x: the configuration has no such role",
        "  grant    subscribe,publish:news",
        "  grant    publish:users/ann/*",
        "  topic    users/ann/1: subscribe no, publish yes, presence no, history no",
        "  topic    users/bob/1: subscribe no, publish no, presence no, history no",
    ] {
        assert!(explained.lines().any(|explained| explained == line), "no {line} in\n{explained}");
    }
}

#[test]
fn a_token_that_a_server_refuses_is_explained_by_the_reason() {
    let config = file("refused.toml", CONFIG);
    let honest = token(json!({}));
    let forged = format!("{}.{}", honest.rsplit_once('.').unwrap().0, "A".repeat(43));
    for (token, reason) in [
        ("x".to_owned(), "It is no signed token"),
        (signed(&json!({ "iat": now_s() - 100, "exp": now_s() - 50 })), "It expired 5"),
        (token_for(100_000, json!({})), "It lives for 100000 s, but may live for 86400 s (tokens.max-life-ms)."),
        (token(json!({ "aud": "x" })), "Its aud names no audience of the issuer shop."),
        (token(json!({ "grants": ["read:a"] })), "One of its grants is invalid: \"read\" is no verb"),
        (forged, "Its signature is not that of a key of the issuer shop."),
    ] {
        let output = run("explain", &config, &[&token], "");
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.starts_with("refused: ") && text.contains(reason), "{text}");
        assert_eq!(output.status.code(), Some(1));
    }
}

#[test]
fn an_issuer_is_asked_for_an_explanation_and_not_for_a_check_of_the_configuration() {
    let key = Key::new("1");
    let issuer = Issuer::with_keys(&[&key]);
    let section = |iss: &str| {
        format!(
            "[[issuer]]\nname = \"idp\"\niss = \"{iss}\"\ndiscovery = true\n[[role]]\nname = \"user\"\ngrants = []\n"
        )
    };
    let config = file("issuer.toml", &section(&issuer.iss()));
    let explained = printed(&run("explain", &config, &[&issuer.token(&key, "ann")], ""));
    assert!(explained.starts_with("accepted\n  issuer   idp\n  subject  ann\n"), "{explained}");
    let other = String::from_utf8(run("explain", &config, &[&issuer.token(&Key::new("2"), "ann")], "").stdout).unwrap();
    assert_eq!(other, "refused: The issuer idp has no key with its kid and alg.\n");
    issuer.answer_by(|_, stream| write(stream, "503 Busy", ""));
    let down = run("explain", &config, &[&issuer.token(&key, "ann")], "");
    let text = String::from_utf8(down.stdout).unwrap();
    assert_eq!(text, "refused: The issuer idp could not be asked: it answers with the status 503.\n");
    assert_eq!(down.status.code(), Some(1));
    let calls = issuer.calls_in_all();
    let mut check = Command::new(env!("CARGO_BIN_EXE_ringsock"));
    isolate(&mut check);
    let checked = check.args(["config", "check"]).arg(&config).output().unwrap();
    assert!(checked.status.success() && issuer.calls_in_all() == calls, "{checked:?}");
}

#[test]
fn tokens_are_made_with_private_keys_and_faults_are_told() {
    let keys = |algorithm: &str, options: &[&str]| {
        let private = file(&format!("{algorithm}.pem"), "");
        let openssl = |arguments: &[&str]| Command::new("openssl").args(arguments).output().unwrap();
        let arguments = [&["genpkey", "-out", private.to_str().unwrap()], options].concat();
        assert!(openssl(&arguments).status.success());
        let public = openssl(&["pkey", "-pubout", "-in", private.to_str().unwrap()]).stdout;
        let public = file(&format!("{algorithm}.pub"), &String::from_utf8(public).unwrap());
        (private, public)
    };
    for (algorithm, options) in [
        ("EdDSA", &["-algorithm", "ed25519"][..]),
        ("ES256", &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]),
    ] {
        let (private, public) = keys(algorithm, options);
        let config = format!(
            "[[issuer]]\nname = \"a\"\niss = \"https://a\"\naudiences = \"chat\"\nalgorithm = {algorithm:?}\n\
             key-file = {public:?}\n"
        );
        let config = file(&format!("{algorithm}.toml"), &config);
        let private = private.to_str().unwrap();
        let made = printed(&run("make", &config, &["--private-key", private, "--sub", "ann", "--kid", "1"], ""));
        assert!(printed(&run("explain", &config, &[made.trim()], "")).starts_with("accepted\n"));
        let fault = String::from_utf8(run("make", &config, &[], "").stderr).unwrap();
        assert!(fault.contains("Give the private one with --private-key FILE."), "{fault}");
    }
    let config = file("several.toml", &(CONFIG.to_owned() + &CONFIG.replace("shop", "b").replace("user", "c")));
    for (arguments, says) in
        [(&[][..], "another issuer has the same iss"), (&["--issuer", "x"], "another issuer has the same iss")]
    {
        let fault = String::from_utf8(run("make", &config, arguments, "").stderr).unwrap();
        assert!(fault.contains(says), "{fault}");
    }
    let empty = file("empty.toml", "");
    let fault = String::from_utf8(run("make", &empty, &[], "").stderr).unwrap();
    assert!(fault.contains("The configuration has no issuer"), "{fault}");
}
