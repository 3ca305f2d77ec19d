//! What README.md says of the program, held against the program.

#![cfg(feature = "cli")]

use std::process::Command;

#[test]
fn the_reference_of_settings_is_made_from_the_table_of_keys() {
    let output = Command::new(env!("CARGO_BIN_EXE_ringsock")).args(["config", "reference"]).output().unwrap();
    assert!(output.status.success());
    assert!(
        String::from_utf8(output.stdout).unwrap() == include_str!("../docs/configuration.md"),
        "docs/configuration.md is out of date. Run cargo run -- config reference > docs/configuration.md"
    );
}

#[test]
fn files_of_settings_in_documents_are_accepted() {
    for (name, text) in
        [("README.md", include_str!("../README.md")), ("configuration.md", include_str!("../docs/configuration.md"))]
    {
        let files: Vec<&str> = text.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
        assert!(!files.is_empty(), "{name} has an example");
        for file in files.into_iter().filter(|file| file.contains("[[listen]]")) {
            let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(name).with_extension("toml");
            std::fs::write(&path, file).unwrap();
            let output =
                Command::new(env!("CARGO_BIN_EXE_ringsock")).args(["config", "check"]).arg(&path).output().unwrap();
            assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        }
    }
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
