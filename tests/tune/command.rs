//! Tests of the command `tune`: exit codes, text, JSON, and written files, on hosts that are files.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use super::program::{Process, isolate};
use super::stock::{FOR_A_MILLION, Stock};

/// The flags of the goal that the files are prepared for.
const MILLION: [&str; 4] = ["--connections", "1000000", "--cores", "16"];

fn tune(stock: &Stock, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringsock"));
    isolate(&mut command);
    command.arg("tune").arg("--root").arg(stock.root()).arg("--record").arg(record(stock)).args(arguments);
    command.output().unwrap()
}

fn record(stock: &Stock) -> PathBuf {
    stock.root().join("var/record.conf")
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn with_million(more: &[&'static str]) -> Vec<&'static str> {
    [&MILLION[..], more].concat()
}

#[test]
fn a_ready_host_is_0_an_unready_one_1_and_misuse_2() {
    let ready = Stock::prepared("command-ready");
    let output = tune(&ready, &MILLION);
    assert_eq!(code(&output), 0, "{}", text(&output));
    assert!(text(&output).contains("Ready for 1000000 connections."), "{}", text(&output));
    let fresh = Stock::new("command-fresh");
    let output = tune(&fresh, &MILLION);
    assert_eq!(code(&output), 1, "{}", text(&output));
    for arguments in [
        &["--connections", "many"][..],
        &["--connections", "-1"],
        &["--processes", "0"],
        &["--nonsense"],
        &["--apply", "--undo"],
        &["--undo"],
        &["--config", "no/such/file.toml"],
        &["--connections", "1000000", "--write-sysctl", "/no/such/directory/file.conf"],
    ] {
        let output = tune(&ready, arguments);
        assert_eq!(code(&output), 2, "{arguments:?}: {}", text(&output));
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{arguments:?}: {}", text(&output));
    }
}

#[test]
fn the_text_has_for_each_knob_what_it_is_what_it_should_be_why_and_what_happens_otherwise() {
    let stock = Stock::new("command-text");
    let shown = text(&tune(&stock, &MILLION));
    for words in [
        "For a server of 1000000 connections on 16 cores:",
        "memory  5.38 GiB needed, 57.2 GiB of 62.5 GiB available; 4005 bytes per idle connection",
        "  net.core.somaxconn  4096 → 65535\n    why        The cap on connections",
        "    otherwise  When all clients reconnect",
        "  open files (RLIMIT_NOFILE)  524288 → 1004096\n",
        "    change     LimitNOFILE=1004096 in the unit",
        "No change needed:",
        "Not ready for 1000000 connections: ",
        "--apply sets 14 of them now",
    ] {
        assert!(shown.contains(words), "no {words:?} in\n{shown}");
    }
    assert!(shown.lines().all(|line| line.chars().count() <= 120), "{shown}");
}

#[test]
fn json_says_the_same() {
    let stock = Stock::new("command-json");
    let output = tune(&stock, &with_million(&["--json"]));
    assert_eq!(code(&output), 1);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["ready"], false);
    assert_eq!(report["goal"]["connections"], 1_000_000);
    assert_eq!(report["memory"]["idle_bytes_per_connection"], 4005);
    let settings = report["settings"].as_array().unwrap();
    let setting = settings.iter().find(|setting| setting["name"] == "net.core.somaxconn").unwrap();
    for (key, value) in [("current", "4096"), ("wanted", "65535"), ("state", "change"), ("kind", "sysctl")] {
        assert_eq!(setting[key], value);
    }
    assert!(setting["required"] == true && setting["applicable"] == true, "{setting}");
}

#[test]
fn the_setting_of_serve_is_the_default() {
    let stock = Stock::prepared("command-default");
    let goal = |arguments: &[&str]| {
        let report: Value = serde_json::from_slice(&tune(&stock, arguments).stdout).unwrap();
        (report["goal"]["connections"].as_u64().unwrap(), report["goal"]["cores"].as_u64().unwrap())
    };
    // As many as the limit of open files leaves beside those that serve reserves.
    assert_eq!(goal(&["--json"]), (1_004_096 - 16 * 64 - 128, 16));
    stock.write("config.toml", "[limits]\nmax-connections = 5000\n[cores]\ncount = 4\n");
    let config = stock.root().join("config.toml");
    let config = config.to_str().unwrap();
    assert_eq!(goal(&["--json", "--config", config]), (5000, 4));
    assert_eq!(goal(&["--json", "--config", config, "--cores", "2"]), (5000, 2));
}

#[test]
fn as_many_as_the_limit_allows_are_as_many_as_serve_says_that_it_takes() {
    let limited = |arguments: &str| {
        let mut command = Command::new("sh");
        isolate(&mut command);
        command.args(["-c", &format!("ulimit -n 4096; exec \"$0\" {arguments}"), env!("CARGO_BIN_EXE_ringsock")]);
        command
    };
    let report = limited("tune --cores 2 --json").output().unwrap();
    let report: Value = serde_json::from_slice(&report.stdout).unwrap();
    let mut serve = limited("serve --cores 2 --listen 127.0.0.1:0 --admin-listen 127.0.0.1:0");
    let mut serve = Process(serve.stdout(Stdio::piped()).spawn().unwrap());
    let mut banner = BufReader::new(serve.0.stdout.take().unwrap()).lines().map(Result::unwrap);
    let said = banner.find(|line| line.starts_with("  connections  ")).unwrap();
    assert!(said.contains(&format!("  {} at most", report["goal"]["connections"])), "{said} {}", report["goal"]);
}

#[test]
fn apply_makes_it_ready_and_undo_restores_every_value() {
    let stock = Stock::new("command-apply");
    stock.limits("1024", "1048576", "unlimited");
    let before: Vec<String> = FOR_A_MILLION.iter().map(|(name, _)| stock.sysctl(name)).collect();
    let output = tune(&stock, &with_million(&["--apply"]));
    assert_eq!(code(&output), 0, "{}", text(&output));
    assert!(text(&output).contains("net.core.somaxconn  4096 → 65535"), "{}", text(&output));
    for (name, wanted) in FOR_A_MILLION {
        assert_eq!(stock.sysctl(name), *wanted, "{name}");
    }
    // A second run has nothing to do and forgets nothing.
    let kept = fs::read_to_string(record(&stock)).unwrap();
    assert_eq!(code(&tune(&stock, &with_million(&["--apply"]))), 0);
    assert_eq!(fs::read_to_string(record(&stock)).unwrap(), kept);
    // Neither has a third, for more connections.
    let more = ["--connections", "2000000", "--cores", "16", "--apply"];
    assert_eq!(code(&tune(&stock, &more)), 1, "the limit of open files is too low");
    assert_eq!(stock.sysctl("fs.nr_open"), "2200000");
    let output = tune(&stock, &["--undo"]);
    assert_eq!(code(&output), 0, "{}", text(&output));
    let after: Vec<String> = FOR_A_MILLION.iter().map(|(name, _)| stock.sysctl(name).replace(' ', "\t")).collect();
    assert_eq!(after, before);
    assert!(!record(&stock).exists());
    assert_eq!(code(&tune(&stock, &["--undo"])), 2, "nothing is left to undo");
}

#[test]
fn a_sysctl_that_is_gone_at_undo_is_told_and_kept() {
    let stock = Stock::new("command-gone");
    tune(&stock, &with_million(&["--apply"]));
    stock.remove("net.netfilter.nf_conntrack_max");
    let output = tune(&stock, &["--undo"]);
    assert_eq!(code(&output), 2, "{}", text(&output));
    assert!(text(&output).contains("1 of 14 could not be restored and are kept in"), "{}", text(&output));
    assert_eq!(stock.sysctl("net.core.somaxconn"), "4096");
    assert!(fs::read_to_string(record(&stock)).unwrap().contains("\nnet.netfilter.nf_conntrack_max = 262144\n"));
}

#[test]
fn a_file_for_every_start_is_written_and_nobody_elses_is_overwritten() {
    let stock = Stock::new("command-file");
    stock.set("net.core.somaxconn", "1000000");
    let path = stock.root().join("90-ringsock.conf");
    let path = path.to_str().unwrap();
    let write = |arguments: &[&'static str]| {
        let output = tune(&stock, &[&with_million(arguments)[..], &["--write-sysctl", path]].concat());
        (code(&output), text(&output))
    };
    let (code, said) = write(&[]);
    assert!(code == 0 && said.contains("sysctl -p"), "{code} {said}");
    let written = fs::read_to_string(path).unwrap();
    assert!(written.contains("\nfs.nr_open = 1100000\n"), "{written}");
    assert!(written.contains("\nnet.ipv4.tcp_rmem = 4096 16384 6291456\n"), "{written}");
    assert!(written.contains("# net.core.somaxconn is 1000000, which is no worse than 65535.\n"), "{written}");
    // The values that have been applied meanwhile are still in the file.
    tune(&stock, &with_million(&["--apply"]));
    assert_eq!(write(&[]).0, 0);
    let again = fs::read_to_string(path).unwrap();
    assert!(again.contains("\nfs.nr_open = 1100000\n"), "{again}");
    fs::write(path, "net.core.somaxconn = 1\n").unwrap();
    let (code, said) = write(&[]);
    assert!(code == 2 && said.contains("was not written by ringsock tune"), "{code} {said}");
    let output = tune(&stock, &with_million(&["--write-sysctl", "-"]));
    assert!(text(&output).starts_with("# Written by ringsock tune "), "{}", text(&output));
}
