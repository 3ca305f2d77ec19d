//! Tests that the files of `tuning/` follow the rules of `ringsock tune` for a million connections on 16 cores.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use ringsock::tune::sysctl_file;

use super::program::isolate;
use super::stock::{MILLION, Stock};

fn file(name: &str) -> String {
    fs::read_to_string(format!("{}/tuning/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// Returns the values of a key in a unit, in order.
fn of_unit(key: &str) -> Vec<String> {
    let text = file("ringsock.service");
    text.lines().filter_map(|line| Some(line.strip_prefix(key)?.strip_prefix('=')?.to_owned())).collect()
}

/// Returns the smallest host that can hold a million: nothing of it is better than wanted because it is large.
fn small() -> Stock {
    let stock = Stock::new("files");
    stock.write(
        "proc/meminfo",
        "MemTotal:        8388608 kB\nMemAvailable:    8000000 kB\nSwapTotal:             0 kB\n",
    );
    stock.set("fs.file-max", "800000");
    stock.set("net.ipv4.tcp_mem", "94545\t126060\t189090");
    stock.set("net.ipv4.tcp_max_orphans", "32768");
    stock
}

#[test]
fn the_sysctl_file_is_what_tune_writes() {
    let written = sysctl_file(&small().host(), &MILLION);
    assert_eq!(file("ringsock.sysctl.conf"), written, "ringsock.sysctl.conf is to be:\n{written}");
}

#[test]
fn the_limits_are_those_of_the_rules() {
    let text = file("limits.conf");
    let rows: BTreeSet<Vec<&str>> = text
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| line.split_whitespace().collect())
        .collect();
    let descriptors = MILLION.descriptors().to_string();
    let wanted = ["hard", "soft"].iter().flat_map(|kind| {
        [vec!["ringsock", kind, "nofile", &descriptors], vec!["ringsock", kind, "memlock", "unlimited"]]
    });
    assert_eq!(rows, wanted.collect());
    assert_eq!(of_unit("LimitNOFILE"), [descriptors.as_str()]);
    assert_eq!(of_unit("LimitMEMLOCK"), ["infinity"]);
    let docker = format!("--ulimit nofile={descriptors}:{descriptors} --ulimit memlock=-1");
    assert!(file("Dockerfile").contains(&docker) && file("README.md").contains(&docker), "{docker}");
}

#[test]
fn the_unit_allows_io_uring_and_no_capability() {
    let calls = of_unit("SystemCallFilter").join(" ");
    for name in ["io_uring_setup", "io_uring_enter", "io_uring_register"] {
        assert!(calls.split(' ').any(|call| call == name), "{name}: {calls}");
    }
    assert_eq!(of_unit("CapabilityBoundingSet"), [""]);
    assert_eq!(of_unit("NoNewPrivileges"), ["yes"]);
    assert_eq!(of_unit("ProtectSystem"), ["strict"]);
    // Signal sockets, and /proc for the comparison with the host.
    assert!(of_unit("RestrictAddressFamilies")[0].split(' ').any(|family| family == "AF_UNIX"));
    assert!(of_unit("ProcSubset").is_empty());
}

#[test]
fn the_image_and_the_unit_start_what_there_is() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringsock"));
    isolate(&mut command);
    let help = String::from_utf8(command.args(["serve", "--help"]).output().unwrap().stdout).unwrap();
    let text = file("Dockerfile");
    let flags: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("CMD "))
        .flat_map(|line| line.split('"').filter(|word| word.starts_with("--")))
        .collect();
    assert!(flags.len() >= 2, "{flags:?}");
    for flag in flags {
        assert!(help.contains(&format!("{flag} <")), "{flag}");
    }
    assert_eq!(of_unit("ExecStart"), ["/usr/local/bin/ringsock serve"]);
    // Long enough for the drain.
    assert!(of_unit("TimeoutStopSec")[0].parse::<u64>().unwrap() > 10);
    let ignored = file("Dockerfile.dockerignore");
    for copied in text.lines().filter_map(|line| line.strip_prefix("COPY ")).filter(|line| !line.starts_with("--")) {
        let mut words: Vec<&str> = copied.split(' ').collect();
        words.pop();
        for word in words {
            assert!(ignored.lines().any(|line| line == format!("!{word}")), "{word} is not in the build's context");
            assert!(fs::exists(format!("{}/{word}", env!("CARGO_MANIFEST_DIR"))).unwrap(), "{word}");
        }
    }
}

#[test]
fn the_readme_has_a_reason_and_a_check_for_each_value() {
    let readme = file("README.md");
    let row = |name: &str, value: &str| {
        let row = readme.lines().find(|line| line.starts_with(&format!("| `{name}` ")));
        let row = row.unwrap_or_else(|| panic!("README.md has no row for {name}"));
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        assert_eq!(cells.len(), 4, "{row}");
        assert!(cells[1].replace('`', "") == value, "{name} is {value}: {row}");
        assert!(cells[2].len() > 20 && cells[3].contains('`'), "{row}");
    };
    for line in file("ringsock.sysctl.conf").lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (name, value) = line.trim_start_matches('-').split_once(" = ").unwrap();
        row(name, value);
    }
    for key in ["LimitNOFILE", "LimitMEMLOCK", "LimitCORE", "TasksMax", "MemorySwapMax", "OOMScoreAdjust"] {
        row(key, &of_unit(key)[0]);
    }
    for name in [
        "irq.sh",
        "seccomp.json",
        "Dockerfile",
        "limits.conf",
        "ringsock.service",
        "ringsock.socket",
        "ringsock.sysctl.conf",
    ] {
        assert!(readme.contains(name), "{name}");
    }
}
