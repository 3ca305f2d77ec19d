//! Circles of imports between files: sets of files each of which reaches all others.
//!
//! Code for tests does not count, nor does a `pub use`, which only hands a name on: a path through it leads to the file that
//! defines the name.

use std::collections::{BTreeMap, BTreeSet};

use super::source::{Kind, Source};

/// From a file to the files it takes names from, and the names.
pub type Arrows = BTreeMap<usize, BTreeMap<usize, BTreeSet<String>>>;

/// Returns the arrows between files.
pub fn arrows(source: &Source) -> Arrows {
    let mut arrows = Arrows::new();
    for (from, file) in source.files.iter().enumerate().filter(|(_, file)| !file.test_only) {
        for written in &file.written {
            if written.in_tests || written.kind == Kind::HandOn {
                continue;
            }
            let Some((module, name)) = source.resolve(&written.module, &written.path) else { continue };
            let glob = written.kind == Kind::Use { glob: true };
            let Some(name) = name.or_else(|| glob.then(|| "*".to_owned())) else { continue };
            let Some(to) = source.modules.get(&module).map(|module| module.file) else { continue };
            if to != from {
                arrows.entry(from).or_default().entry(to).or_default().insert(name);
            }
        }
    }
    arrows
}

/// Returns the circles, each a set of at least two files.
pub fn circles(files: usize, arrows: &Arrows) -> Vec<BTreeSet<usize>> {
    let reach: Vec<BTreeSet<usize>> = (0..files).map(|file| reached(file, arrows)).collect();
    let mut circles = Vec::new();
    let mut seen = BTreeSet::new();
    for file in 0..files {
        let circle: BTreeSet<usize> =
            reach[file].iter().copied().filter(|other| reach[*other].contains(&file)).chain([file]).collect();
        if circle.len() > 1 && seen.insert(file) {
            seen.extend(&circle);
            circles.push(circle);
        }
    }
    circles
}

fn reached(file: usize, arrows: &Arrows) -> BTreeSet<usize> {
    let mut reached = BTreeSet::new();
    let mut open = vec![file];
    while let Some(next) = open.pop() {
        for to in arrows.get(&next).into_iter().flat_map(BTreeMap::keys) {
            if reached.insert(*to) {
                open.push(*to);
            }
        }
    }
    reached
}

/// Describes a circle: its files, and the names that tie it.
pub fn describe(source: &Source, arrows: &Arrows, circle: &BTreeSet<usize>) -> String {
    let shown = |file: &usize| source.files[*file].path.as_str();
    let mut text = format!("{} files import each other in a circle:\n", circle.len());
    for from in circle {
        let Some(targets) = arrows.get(from) else { continue };
        for (to, names) in targets.iter().filter(|(to, _)| circle.contains(to)) {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            text += &format!("  {} → {}: {}\n", shown(from), shown(to), names.join(", "));
        }
    }
    text
}
