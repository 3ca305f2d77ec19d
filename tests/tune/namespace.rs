//! Tests with the kernel itself: `--apply`, `--undo` and `--write-sysctl` in a network namespace, which has its own
//! sysctls and leaves those of the host alone. Needs root, and util-linux and procps, which every Debian has.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::program::{Process, isolate};

/// Runs a shell in a new network namespace. `$RINGSOCK` is the program, `$RECORD` a file of this test's own.
fn in_namespace(name: &str, script: &str) -> (i32, String) {
    let mut command = Command::new("unshare");
    isolate(&mut command);
    let record = directory(name).join("record.conf");
    let output = command
        .args(["--net", "sh", "-ec", script])
        .env("RINGSOCK", env!("CARGO_BIN_EXE_ringsock"))
        .env("RECORD", &record)
        .env("DIRECTORY", directory(name))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned();
    (output.status.code().unwrap(), text)
}

fn directory(name: &str) -> PathBuf {
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("namespace-{name}"));
    fs::create_dir_all(&directory).unwrap();
    directory
}

/// Parses sysctls by path, from the output of `grep -rs "" /proc/sys/…`.
fn dump(name: &str, file: &str) -> BTreeMap<String, String> {
    let text = fs::read(directory(name).join(file)).unwrap();
    let mut values = BTreeMap::new();
    for line in String::from_utf8_lossy(&text).lines() {
        let (path, value) = line.split_once(':').unwrap();
        *values.entry(path.to_owned()).or_insert_with(String::new) += &format!("{value}\n");
    }
    values
}

/// Sysctls that belong to the whole host.
fn of_the_host() -> Vec<String> {
    let names = [
        "fs/nr_open",
        "fs/file-max",
        "vm/overcommit_memory",
        "kernel/io_uring_disabled",
        "net/ipv4/tcp_mem",
        "net/ipv4/tcp_max_orphans",
        "net/core/netdev_max_backlog",
        "net/netfilter/nf_conntrack_max",
        "net/netfilter/nf_conntrack_buckets",
        "net/core/somaxconn",
    ];
    names.iter().map(|name| fs::read_to_string(format!("/proc/sys/{name}")).unwrap_or_default()).collect()
}

#[test]
fn apply_then_undo_leaves_every_sysctl_as_before() {
    const NAME: &str = "undo";
    let host = of_the_host();
    let (code, said) = in_namespace(
        NAME,
        r#"
        rm -f "$RECORD"
        cd "$DIRECTORY"
        ringsock_tune() { code=0; "$RINGSOCK" tune --connections 200000 --record "$RECORD" "$@" || code=$?; echo "code $code"; }
        grep -rs "" /proc/sys/net > before || true
        ringsock_tune
        ringsock_tune --apply
        grep -rs "" /proc/sys/net > applied || true
        ringsock_tune --apply > again
        ringsock_tune --undo
        grep -rs "" /proc/sys/net > after || true
        test ! -e "$RECORD"
        "#,
    );
    assert_eq!(code, 0, "{said}");
    let (before, applied, after) = (dump(NAME, "before"), dump(NAME, "applied"), dump(NAME, "after"));
    assert!(before.len() > 100, "{} sysctls were read", before.len());
    let changed: Vec<&String> = before.keys().filter(|path| before[*path] != applied[*path]).collect();
    assert!(changed.len() >= 8, "{changed:?}\n{said}");
    assert_eq!(applied["/proc/sys/net/core/somaxconn"], "65535\n");
    assert_eq!(applied["/proc/sys/net/ipv4/tcp_slow_start_after_idle"], "0\n");
    assert_eq!(before, after);
    assert_eq!(host, of_the_host(), "the host's own sysctls are not touched");
    assert!(
        said.contains("with a network namespace of its own") || said.contains("network namespace of its own"),
        "{said}"
    );
    // A sysctl of the host is named with the place where it can be changed.
    assert!(said.contains("net.core.netdev_max_backlog  not visible → 10000"), "{said}");
    assert!(said.contains("not here   On the host, as root: ringsock tune --connections 200000 shows it."), "{said}");
    assert!(said.contains("Restored:"), "{said}");
}

#[test]
fn a_record_of_one_namespace_is_not_undone_in_another() {
    const NAME: &str = "other";
    let (code, said) = in_namespace(
        NAME,
        r#"
        rm -f "$RECORD"
        "$RINGSOCK" tune --connections 200000 --record "$RECORD" --apply > /dev/null || true
        exec unshare --net "$RINGSOCK" tune --record "$RECORD" --undo
        "#,
    );
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("records changes in the network namespace net:["), "{said}");
}

#[test]
fn sysctl_takes_the_file_and_then_nothing_is_left_to_apply() {
    const NAME: &str = "file";
    let host = of_the_host();
    let (code, said) = in_namespace(
        NAME,
        r#"
        rm -f "$DIRECTORY/90-ringsock.conf"
        "$RINGSOCK" tune --connections 200000 --write-sysctl "$DIRECTORY/90-ringsock.conf"
        sysctl -p "$DIRECTORY/90-ringsock.conf"
        cat /proc/sys/net/core/somaxconn
        code=0; "$RINGSOCK" tune --connections 200000 || code=$?
        "#,
    );
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("net.core.somaxconn = 65535\n") && said.contains("\n65535\n"), "{said}");
    assert!(!said.contains("--apply sets"), "{said}");
    assert_eq!(host, of_the_host(), "the file has none of the host's own sysctls");
}

/// Returns the log of `ringsock serve` from its start to its end, in a namespace as the kernel makes it.
fn log_of_serve(name: &str, prepare: &str, flags: &str) -> String {
    let ready = directory(name).join("ready");
    let _ = fs::remove_file(&ready);
    let mut command = Command::new("unshare");
    isolate(&mut command);
    command.args(["--net", "sh", "-ec"]);
    command.arg(format!(
        "{prepare}\nexec \"$RINGSOCK\" serve --listen 0.0.0.0:0 --set tokens.open=true --admin-listen none --reactor epoll \
         --cores 1 {flags} > \"$READY\""
    ));
    command.env("RINGSOCK", env!("CARGO_BIN_EXE_ringsock")).env("READY", &ready).stderr(Stdio::piped());
    let mut process = Process(command.spawn().unwrap());
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while !fs::read_to_string(&ready).unwrap_or_default().contains("ringsock is ready") {
        assert!(std::time::Instant::now() < deadline && process.0.try_wait().unwrap().is_none(), "it is not ready");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let id = process.0.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    let mut log = String::new();
    std::io::Read::read_to_string(process.0.stderr.as_mut().unwrap(), &mut log).unwrap();
    assert!(process.0.wait().unwrap().success(), "{log}");
    log.lines().filter(|line| !line.contains("Draining: ")).map(|line| line.to_owned() + "\n").collect()
}

#[test]
fn serve_warns_once_of_a_host_that_is_not_prepared_for_what_it_is_to_hold() {
    // One core with more connections than the usual queue is long enough for.
    let log = log_of_serve("serve-unready", "", "--max-connections 17000");
    let lines: Vec<&str> = log.lines().collect();
    assert_eq!(lines.len(), 1, "{log}");
    for words in [
        "WARN",
        "not prepared for 17000 connections: net.core.somaxconn is 4096, wanted 65535",
        "Run ringsock tune --connections 17000.",
    ] {
        assert!(log.contains(words), "{log}");
    }
    // No number of connections was configured.
    let log = log_of_serve("serve-unset", "ulimit -n 19000", "");
    assert!(log.lines().count() == 1 && log.contains("INFO") && log.contains("or set --max-connections"), "{log}");
}

#[test]
fn serve_says_nothing_of_a_host_that_is() {
    let prepare = "rm -f \"$READY.record\"; \"$RINGSOCK\" tune --connections 17000 --cores 1 --record \"$READY.record\" --apply > /dev/null";
    assert_eq!(log_of_serve("serve-ready", prepare, "--max-connections 17000"), "");
    assert_eq!(log_of_serve("serve-small", "", "--max-connections 1000"), "");
    // As many as the limit of open files allows.
    assert_eq!(log_of_serve("serve-limit", "ulimit -n 4096", ""), "");
}
