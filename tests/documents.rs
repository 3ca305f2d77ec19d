//! What README.md says of the program, held against the program.

#![cfg(feature = "cli")]

use std::process::Command;

/// Flags and their defaults, empty if there is none.
type Flags = Vec<(String, String)>;

#[test]
fn the_table_of_flags_is_that_of_the_help() {
    let help = Command::new(env!("CARGO_BIN_EXE_ringsock")).args(["serve", "--help"]).output().unwrap();
    assert!(help.status.success());
    let help = flags_of_help(&String::from_utf8(help.stdout).unwrap());
    assert!(help.len() > 10, "{help:?}");
    assert_eq!(flags_of_table(include_str!("../README.md")), help);
}

/// Each flag begins a paragraph of its own; its default stands in brackets somewhere in what follows.
fn flags_of_help(help: &str) -> Flags {
    let paragraphs = help.split("      --").skip(1);
    let flags = paragraphs.map(|paragraph| {
        // A default may be broken over two lines.
        let words: Vec<&str> = paragraph.split_whitespace().collect();
        let text = words.join(" ");
        let default = text.split_once("[default: ").and_then(|(_, rest)| rest.split_once(']'));
        (words[0].to_owned(), default.map_or("", |(default, _)| default).to_owned())
    });
    flags.collect()
}

fn flags_of_table(readme: &str) -> Flags {
    let cell = |text: &str| text.trim().trim_matches('`').to_owned();
    let rows = readme.lines().filter_map(|line| line.strip_prefix("| `--")?.split_once('|'));
    rows.map(|(flag, rest)| (cell(flag), cell(rest.split('|').next().unwrap_or_default()))).collect()
}

#[test]
fn the_knee_is_defined_as_the_program_finds_it() {
    use ringsock::load::{ACHIEVED_MIN, ERRORS_MAX, SLOW_US, SLOWER_TIMES};
    let words: Vec<_> = include_str!("../README.md").split_whitespace().collect();
    let (errors, achieved, slow_ms) = (ERRORS_MAX * 100.0, ACHIEVED_MIN * 100.0, SLOW_US / 1e3);
    let definition = format!(
        "the first step from which on all have more than {errors} % errors, less than {achieved} % of the offered rate, or a p99 above \
         {slow_ms} ms and above {SLOWER_TIMES} times the lowest of the steps before."
    );
    assert!(words.join(" ").contains(&definition), "{definition}");
}
