//! Tests of TLS with the real program, and with clients that others wrote: curl, openssl, rustls.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests fail as tests do")]

#[allow(dead_code, reason = "each of these tests uses a part of it")]
mod program;

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType, IsCa, KeyPair,
};
use rcgen::{
    KeyIdMethod, KeyUsagePurpose, PKCS_RSA_SHA256, RevokedCertParams, RsaKeySize, SerialNumber, date_time_ymd,
};

use program::{Process, between, serve};

/// The serial number of certificates that have expired.
const EXPIRED: u64 = 99;

/// A directory with a certificate authority and what it has signed.
struct Authority {
    path: PathBuf,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("ringsock-tls-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.distinguished_name.push(DnType::CommonName, format!("ringsock test {name}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let authority = Self { path, issuer };
        fs::write(authority.file("ca.pem"), authority.issuer.pem()).unwrap();
        authority
    }

    fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Signs a certificate, and writes it and its key. Returns the flags that name both.
    fn issue(&self, file: &str, names: &[&str], key: KeyPair, serial: u64) -> [String; 4] {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name.push(DnType::CommonName, file);
        params.serial_number = Some(SerialNumber::from(serial));
        if serial == EXPIRED {
            params.not_after = date_time_ymd(2024, 1, 1);
        }
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let (certificate_file, key_file) = (self.file(&format!("{file}.pem")), self.file(&format!("{file}.key")));
        fs::write(&certificate_file, certificate.pem()).unwrap();
        fs::write(&key_file, key.serialize_pem()).unwrap();
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        ["--tls-certificate".to_owned(), text(&certificate_file), "--tls-key".to_owned(), text(&key_file)]
    }

    fn server(&self) -> [String; 4] {
        self.issue("server", &["localhost"], KeyPair::generate().unwrap(), 1)
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Starts a server over TLS. Returns its port, too.
fn start(flags: &[String], more: &[&str]) -> (Process, u16) {
    let flags: Vec<&str> = flags.iter().map(String::as_str).chain(["--cores", "2", "--admin-listen", "none"]).collect();
    let (process, banner) = serve(&[&flags[..], more].concat());
    let address: SocketAddr = between(&banner, "ready on wss://", "/").parse().unwrap();
    (process, address.port())
}

/// Runs a program, and returns whether it succeeded, with its output.
fn run(program: &str, arguments: &[&str], input: &str) -> (bool, String) {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program} is needed: {error}"));
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

fn curl(authority: &Authority, port: u16, more: &[&str]) -> (bool, String) {
    let ca = authority.file("ca.pem");
    let url = format!("https://localhost:{port}/health");
    let fixed = ["--silent", "--show-error", "--max-time", "10", "--cacert", ca.to_str().unwrap(), &url];
    run("curl", &[&fixed[..], more].concat(), "")
}

fn s_client(authority: &Authority, port: u16, more: &[&str], input: &str) -> String {
    let ca = authority.file("ca.pem");
    let connect = format!("localhost:{port}");
    let fixed = ["10", "openssl", "s_client", "-connect", &connect, "-CAfile", ca.to_str().unwrap()];
    run("timeout", &[&fixed[..], more].concat(), input).1
}

/// Returns the serial number of the certificate that a client is shown.
fn serial_of(authority: &Authority, port: u16, more: &[&str]) -> String {
    let shown = s_client(authority, port, &[more, &["-showcerts"]].concat(), "");
    let begin = shown.find("-----BEGIN CERTIFICATE-----").unwrap_or_else(|| panic!("{shown}"));
    run("openssl", &["x509", "-noout", "-serial"], &shown[begin..]).1.trim().to_owned()
}

/// Makes a server read its configuration again.
fn hang_up(server: &Process) {
    // SAFETY: sends a signal to the child of this test.
    assert_eq!(unsafe { libc::kill(server.0.id() as i32, libc::SIGHUP) }, 0);
}

#[test]
fn curl_and_openssl_are_served_over_both_versions_and_http_1_1_alone() {
    let authority = Authority::new("versions");
    let (_server, port) = start(&authority.server(), &[]);
    for version in [&["--tls-max", "1.2"][..], &["--tlsv1.3"]] {
        assert_eq!(curl(&authority, port, version), (true, "ok".to_owned()), "{version:?}");
    }
    let negotiated = s_client(&authority, port, &["-alpn", "h2,http/1.1", "-servername", "localhost"], "");
    assert!(negotiated.contains("ALPN protocol: http/1.1"), "{negotiated}");
    assert!(negotiated.contains("Verify return code: 0 (ok)"), "{negotiated}");
    let refused = s_client(&authority, port, &["-alpn", "h2"], "");
    assert!(refused.contains("no application protocol"), "{refused}");
    for old in ["-tls1", "-tls1_1"] {
        let refused = s_client(&authority, port, &[old, "-cipher", "ALL:@SECLEVEL=0"], "");
        assert!(refused.contains("Cipher is (NONE)"), "{old}: {refused}");
    }
    let plain = run("curl", &["--silent", "--max-time", "10", &format!("http://localhost:{port}/health")], "");
    assert!(plain.1.contains("this port speaks TLS"), "{plain:?}");
}

#[test]
fn key_updates_of_openssl_are_answered_and_the_session_goes_on() {
    let authority = Authority::new("updates");
    let (_server, port) = start(&authority.server(), &[]);
    let ca = authority.file("ca.pem");
    let connect = format!("localhost:{port}");
    let mut client = Command::new("timeout")
        .args(["20", "openssl", "s_client", "-connect", &connect, "-CAfile", ca.to_str().unwrap(), "-msg"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut input = client.stdin.take().unwrap();
    // Without and with a request for an update of the server's keys.
    for command in ["k\n", "K\n", "K\n"] {
        std::thread::sleep(Duration::from_millis(300));
        input.write_all(command.as_bytes()).unwrap();
    }
    std::thread::sleep(Duration::from_millis(300));
    input.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut output = String::new();
    client.stdout.take().unwrap().read_to_string(&mut output).unwrap();
    assert!(output.contains("HTTP/1.1 200 OK"), "{output}");
    // Both requests came before the server had anything to send, so one update answers them.
    assert_eq!(output.matches("<<< TLS 1.3, Handshake [length 0005], KeyUpdate").count(), 1, "{output}");
    let _ = client.wait();
}

#[test]
fn the_certificate_is_chosen_by_name_and_by_the_kinds_of_keys_that_a_client_knows() {
    let authority = Authority::new("names");
    let rsa = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
    let all = [
        authority.issue("first", &["localhost"], KeyPair::generate().unwrap(), 1),
        authority.issue("rsa", &["localhost"], rsa, 2),
        authority.issue("wild", &["*.a.test"], KeyPair::generate().unwrap(), 3),
        authority.issue("exact", &["b.a.test"], KeyPair::generate().unwrap(), 4),
    ];
    let join = |at: usize| all.iter().map(|flags| flags[at].clone()).collect::<Vec<_>>().join(",");
    let flags = ["--tls-certificate".to_owned(), join(1), "--tls-key".to_owned(), join(3)];
    let (_server, port) = start(&flags, &[]);
    let serial = |more: &[&str]| serial_of(&authority, port, more);
    assert_eq!(serial(&["-servername", "b.a.test"]), "serial=04");
    assert_eq!(serial(&["-servername", "c.a.test"]), "serial=03");
    assert_eq!(serial(&["-servername", "unknown.test"]), "serial=01");
    assert_eq!(serial(&["-noservername"]), "serial=01");
    assert_eq!(serial(&["-servername", "localhost", "-sigalgs", "rsa_pss_rsae_sha256"]), "serial=02");
}

#[test]
fn certificates_of_clients_are_verified_and_revoked_ones_refused() {
    let authority = Authority::new("clients");
    let flags = authority.server();
    authority.issue("alice", &["alice"], KeyPair::generate().unwrap(), 10);
    authority.issue("mallory", &["mallory"], KeyPair::generate().unwrap(), 11);
    let stranger = Authority::new("strangers");
    stranger.issue("eve", &["eve"], KeyPair::generate().unwrap(), 12);
    let revoked = RevokedCertParams {
        serial_number: SerialNumber::from(11),
        revocation_time: date_time_ymd(2024, 1, 1),
        reason_code: None,
        invalidity_date: None,
    };
    let list = CertificateRevocationListParams {
        this_update: date_time_ymd(2024, 1, 1),
        next_update: date_time_ymd(2100, 1, 1),
        crl_number: SerialNumber::from(1),
        issuing_distribution_point: None,
        revoked_certs: vec![revoked],
        key_identifier_method: KeyIdMethod::Sha256,
    };
    fs::write(authority.file("crl.pem"), list.signed_by(&authority.issuer).unwrap().pem().unwrap()).unwrap();
    let path = |name: &str| authority.file(name).to_str().unwrap().to_owned();
    for (mode, none_gets_in) in [("required", false), ("wanted", true)] {
        let more = [
            format!("tls.client-certificates={mode}"),
            format!("tls.client-authorities={}", path("ca.pem")),
            format!("tls.client-revocations={}", path("crl.pem")),
        ];
        let set: Vec<&str> = more.iter().flat_map(|assignment| ["--set", assignment]).collect();
        let (_server, port) = start(&flags, &set);
        let gets_in = |certificate: Option<(&Authority, &str)>| {
            let files =
                certificate.map(|(of, name)| (of.file(&format!("{name}.pem")), of.file(&format!("{name}.key"))));
            let shown: Vec<&str> = files
                .iter()
                .flat_map(|(certificate, key)| {
                    ["--cert", certificate.to_str().unwrap(), "--key", key.to_str().unwrap()]
                })
                .collect();
            curl(&authority, port, &shown).0
        };
        assert_eq!(gets_in(None), none_gets_in, "{mode}");
        assert!(gets_in(Some((&authority, "alice"))), "{mode}");
        assert!(!gets_in(Some((&authority, "mallory"))), "{mode}: revoked");
        assert!(!gets_in(Some((&stranger, "eve"))), "{mode}: of another authority");
    }
}

#[test]
fn the_name_in_a_certificate_is_the_subject_and_the_roles_of_certificates_give_its_rights() {
    let authority = Authority::new("devices");
    let flags = authority.server();
    authority.issue("alice", &["alice.test"], KeyPair::generate().unwrap(), 10);
    let ca = format!("tls.client-authorities={}", authority.file("ca.pem").display());
    let fixed = ["tls.client-certificates=wanted", &ca, "tokens.from=certificate", "tokens.certificate-roles=device"];
    let role = ["role.name=device", "role.grants=subscribe:devices/{sub}/*"];
    let file = |name: &str| authority.file(name).to_str().unwrap().to_owned();
    let (trusted, certificate, key) = (file("ca.pem"), file("alice.pem"), file("alice.key"));
    // The certificate has no URI, so its client would have no subject.
    for (name, subject, own, others) in
        [("common-name", "alice", "101", "403"), ("dns", "alice.test", "101", "403"), ("uri", "alice", "401", "401")]
    {
        let name = format!("tokens.certificate-name={name}");
        let set: Vec<&str> = fixed.iter().chain(&role).chain([&&*name]).flat_map(|set| ["--set", set]).collect();
        let (_server, port) = start(&flags, &set);
        let status = |topic: &str, shown: &[&str]| {
            let url = format!("https://localhost:{port}/topics/{topic}");
            let upgrade = "Connection: Upgrade\nUpgrade: websocket\nSec-WebSocket-Version: 13\n\
                           Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
            let headers = upgrade.lines().flat_map(|line| ["-H", line]);
            let fixed = ["-s", "-o", "/dev/null", "-w", "%{http_code}", "--max-time", "2", "--http1.1", "--cacert"];
            let all: Vec<&str> =
                fixed.into_iter().chain([&*trusted]).chain(headers).chain(shown.iter().copied()).collect();
            run("curl", &[&all[..], &[&url]].concat(), "").1
        };
        let shown = ["--cert", &certificate, "--key", &key];
        assert_eq!(status(&format!("devices/{subject}/7"), &shown), own, "{name}");
        assert_eq!(status("devices/bob/7", &shown), others, "{name}");
        assert_eq!(status(&format!("devices/{subject}/7"), &[]), "401", "{name}");
    }
}

#[test]
fn a_certificate_that_was_shown_before_a_reload_opens_no_session_after_it() {
    let authority = Authority::new("stale");
    let flags = authority.server();
    authority.issue("alice", &["alice.test"], KeyPair::generate().unwrap(), 10);
    let file = |name: &str| authority.file(name).to_str().unwrap().to_owned();
    let ca = format!("tls.client-authorities={}", file("ca.pem"));
    let sets = ["tls.client-certificates=wanted", &ca, "tokens.from=certificate", "tokens.certificate-roles=device"];
    let role = ["role.name=device", "role.grants=subscribe:*"];
    let set: Vec<&str> = sets.iter().chain(&role).flat_map(|set| ["--set", set]).collect();
    let (server, port) = start(&flags, &set);
    let connect = format!("localhost:{port}");
    let (trusted, certificate, key) = (file("ca.pem"), file("alice.pem"), file("alice.key"));
    for (reloads, expected) in [(false, "HTTP/1.1 101 "), (true, "HTTP/1.1 401 ")] {
        let shown = ["-CAfile", &trusted, "-cert", &certificate, "-key", &key];
        let mut client = Command::new("timeout")
            .args(["20", "openssl", "s_client", "-quiet", "-connect", &connect])
            .args(shown)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let (mut input, mut output) = (client.stdin.take().unwrap(), client.stdout.take().unwrap());
        let mut ask = |request: &str| {
            input.write_all(request.as_bytes()).unwrap();
            let mut answer = [0; 4096];
            let count = output.read(&mut answer).unwrap();
            String::from_utf8_lossy(&answer[..count]).into_owned()
        };
        assert!(ask("GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n").starts_with("HTTP/1.1 200 "));
        if reloads {
            hang_up(&server);
            std::thread::sleep(Duration::from_millis(300));
        }
        let answer = ask("GET /topics/a HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
        assert!(answer.starts_with(expected), "{answer}");
        client.kill().unwrap();
        let _ = client.wait();
    }
}

#[test]
fn sessions_resume_on_any_core_after_a_reload_and_in_another_process_with_the_same_key_file() {
    let authority = Authority::new("resumption");
    let flags = authority.server();
    fs::write(authority.file("ticket.key"), [7; 80]).unwrap();
    let keys = format!("tls.ticket-keys={}", authority.file("ticket.key").display());
    let session = authority.file("session.pem");
    let session = session.to_str().unwrap();
    let request = "GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let resumes = |port: u16| {
        let shown = s_client(&authority, port, &["-sess_in", session, "-ign_eof"], request);
        assert!(shown.contains("200 OK"), "{shown}");
        shown.contains("Reused, TLSv1.3")
    };
    let (server, port) = start(&flags, &["--set", &keys]);
    s_client(&authority, port, &["-sess_out", session, "-ign_eof"], request);
    for _ in 0..8 {
        assert!(resumes(port), "on any core");
    }
    hang_up(&server);
    std::thread::sleep(Duration::from_millis(500));
    assert!(resumes(port), "after a reload");
    drop(server);
    let (other, port) = start(&flags, &["--set", &keys]);
    assert!(resumes(port), "in another process");
    drop(other);
    let (_without, port) = start(&flags, &[]);
    assert!(!resumes(port), "a process with keys of its own does not know the ticket");
}

#[test]
fn a_new_certificate_is_in_use_within_a_second_of_a_reload_and_a_bad_one_changes_nothing() {
    let authority = Authority::new("reload");
    let flags = authority.server();
    let (server, port) = start(&flags, &[]);
    let serial = || serial_of(&authority, port, &[]);
    let reload = || hang_up(&server);
    let certificate = authority.file("server.pem");
    let good = fs::read(&certificate).unwrap();
    for bad in [&b""[..], &good[..good.len() / 2], b"rubbish"] {
        fs::write(&certificate, bad).unwrap();
        reload();
        std::thread::sleep(Duration::from_millis(300));
        assert_eq!(serial(), "serial=01", "{} bytes", bad.len());
    }
    authority.issue("server", &["localhost"], KeyPair::generate().unwrap(), EXPIRED);
    reload();
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(serial(), "serial=01", "expired");
    fs::remove_file(&certificate).unwrap();
    reload();
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(serial(), "serial=01", "no file");
    authority.issue("server", &["localhost"], KeyPair::generate().unwrap(), 2);
    reload();
    let begun = Instant::now();
    while serial() != "serial=02" {
        assert!(begun.elapsed() < Duration::from_secs(3), "the new certificate is not in use");
    }
}

#[test]
fn config_check_reads_the_files_and_says_which_is_at_fault() {
    let authority = Authority::new("check");
    authority.server();
    authority.issue("other", &["localhost"], KeyPair::generate().unwrap(), 2);
    let file = authority.file("ringsock.toml");
    let certificate = authority.file("server.pem");
    let (good, bad) = (authority.file("server.key"), authority.file("other.key"));
    let check_both = |certificate: &Path, key: &Path| {
        let text = format!("[tls]\ncertificates = \"{}\"\nkeys = \"{}\"\n", certificate.display(), key.display());
        fs::write(&file, text).unwrap();
        run(env!("CARGO_BIN_EXE_ringsock"), &["config", "check", file.to_str().unwrap()], "")
    };
    let check = |key: &Path| check_both(&certificate, key);
    assert_eq!(check(&good), (true, "ok\n".to_owned()));
    authority.issue("expired", &["localhost"], KeyPair::generate().unwrap(), EXPIRED);
    let (ok, said) = check_both(&authority.file("expired.pem"), &authority.file("expired.key"));
    assert!(ok && said.contains("The certificate for localhost expired") && said.contains("days ago"), "{said}");
    let (ok, said) = check(&bad);
    assert!(!ok && said.contains("other.key") && said.contains("does not belong to the certificate"), "{said}");
}

#[test]
fn a_trial_needs_one_flag_and_bench_measures_it() {
    let (_server, port) = start(&["--tls-self-signed".to_owned()], &[]);
    let url = format!("wss://localhost:{port}/echo");
    let bench =
        ["bench", "echo", "--url", &url, "--insecure", "-c", "20", "-d", "0.5", "--warm-up", "0.1", "-s", "70000"];
    let program = env!("CARGO_BIN_EXE_ringsock");
    let (ok, said) = run(program, &[&bench[..], &["--in-flight", "2"]].concat(), "");
    // The limit of messages is 64 KiB.
    assert!(!ok && said.contains("1009"), "{said}");
    let (ok, said) = run(program, &[&bench[..12], &["60000"]].concat(), "");
    assert!(ok && said.contains("20 of 20") && !said.contains("FAULT"), "{said}");
    let distrusting = ["bench", "echo", "--url", &url, "-c", "1", "-d", "0.2", "--warm-up", "0.1"];
    let (_, said) = run(program, &distrusting, "");
    assert!(said.contains("invalid peer certificate"), "{said}");
}

#[test]
fn the_summary_names_the_scheme_of_the_address_that_it_shows() {
    let authority = Authority::new("schemes");
    let flags = authority.server();
    let flags: Vec<&str> = flags.iter().map(String::as_str).chain(["--admin-listen", "none"]).collect();
    for (tls, scheme) in [("auto", "wss"), ("off", "ws")] {
        let (_server, banner) = serve(&[&flags[..], &["--set", &format!("listen.tls={tls}")]].concat());
        assert!(banner.contains(&format!("ready on {scheme}://127.0.0.1:")), "{banner}");
    }
}

#[test]
fn every_workload_of_bench_and_the_held_connections_speak_tls() {
    let authority = Authority::new("workloads");
    let (_server, port) = start(&authority.server(), &[]);
    let ca = authority.file("ca.pem");
    let short = ["-c", "20", "-d", "0.3", "--warm-up", "0.1", "--ca", ca.to_str().unwrap()];
    for (task, path, more) in [
        ("echo", "/echo", &["--resume"][..]),
        ("fanout", "/topics/bench", &[]),
        ("connect", "/echo", &["--resume"]),
        ("idle", "/echo", &[]),
        ("mixed", "/echo", &[]),
        ("sweep", "/echo", &["--steps", "10,20", "--rate", "100"]),
    ] {
        let url = format!("wss://localhost:{port}{path}");
        let arguments = [&["bench", task, "--url", &url][..], &short, more].concat();
        let (ok, said) = run(env!("CARGO_BIN_EXE_ringsock"), &arguments, "");
        assert!(ok && !said.contains("FAULT"), "{task}: {said}");
    }
}

#[test]
fn a_connection_that_sends_nothing_or_rubbish_is_closed() {
    let authority = Authority::new("rubbish");
    let (_server, port) = start(&authority.server(), &["--set", "timeouts.handshake-timeout-ms=1000"]);
    for rubbish in [&b""[..], b"\x16\x03\x01\x02\x00\x01", b"SSH-2.0-OpenSSH\r\n", &[0; 32]] {
        let mut client = TcpStream::connect(("127.0.0.1", port)).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        client.write_all(rubbish).unwrap();
        let mut answer = Vec::new();
        let _ = client.read_to_end(&mut answer);
        assert!(answer.len() < 400, "{rubbish:?}: {answer:?}");
    }
}
