//! Writes sysctls, and records their original values, so that they can be restored exactly.
//!
//! The record is on disk before the first sysctl is written. An entry that exists is never replaced, so a second run
//! never takes a changed value for an original. A record belongs to one network namespace.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::bound::normalized;
use super::sysctl_file;
use super::sysctls;

/// Access to sysctls.
pub trait Sysctls {
    /// Reads a value, as the kernel shows it.
    fn read(&self, name: &str) -> io::Result<String>;
    /// Writes a value.
    fn write(&mut self, name: &str, value: &str) -> io::Result<()>;
}

/// The sysctls of a root: the files below `proc/sys`.
#[derive(Clone, Debug)]
pub struct Tree {
    root: PathBuf,
}

impl Tree {
    /// Returns the sysctls below `root`; `/` is this host.
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }
}

impl Sysctls for Tree {
    fn read(&self, name: &str) -> io::Result<String> {
        fs::read_to_string(sysctls::path(&self.root, name))
    }

    fn write(&mut self, name: &str, value: &str) -> io::Result<()> {
        // One write, because the kernel takes each write as a whole value.
        let mut file = File::options().write(true).truncate(true).open(sysctls::path(&self.root, name))?;
        file.write_all(format!("{value}\n").as_bytes())
    }
}

/// A failure to read or write the record or the sysctl file.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ApplyError {
    /// The record cannot be read or written.
    #[error("The record of original values, {path}, cannot be {done}: {source}. Name another with --record.")]
    Record {
        /// The path of the record.
        path: PathBuf,
        /// The failed action: read or written.
        done: &'static str,
        /// The cause.
        source: io::Error,
    },
    /// The file is not a valid record.
    #[error(
        "Line {line} of {path} is {text:?}, but a record has lines such as net.core.somaxconn = 4096. \
         Correct it, or remove the file if nothing has to be restored."
    )]
    Malformed {
        /// The path of the record.
        path: PathBuf,
        /// The line, from 1 on.
        line: usize,
        /// The text of the line.
        text: String,
    },
    /// The record belongs to another network namespace.
    #[error(
        "{path} records changes in the network namespace {there}, but this is {here}. Run it there, or name another \
         record with --record."
    )]
    OtherNetwork {
        /// The path of the record.
        path: PathBuf,
        /// The record's namespace.
        there: String,
        /// This process' namespace.
        here: String,
    },
    /// There is no record.
    #[error("There is nothing to undo: {path} does not exist. If --apply was given a --record, give the same here.")]
    Nothing {
        /// The path where a record was expected.
        path: PathBuf,
    },
    /// The file for /etc/sysctl.d exists, and `ringsock tune` did not write it.
    #[error("{path} exists and was not written by ringsock tune. Name another file, or remove it.")]
    Foreign {
        /// The path of the file.
        path: PathBuf,
    },
    /// The file for /etc/sysctl.d cannot be written.
    #[error("{path} cannot be written: {source}.")]
    Unwritable {
        /// The path of the file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

/// The result for one sysctl.
#[derive(Debug)]
pub struct Step {
    /// The name of the sysctl.
    pub name: String,
    /// The value before.
    pub from: String,
    /// The requested value.
    pub to: String,
    /// The value after the write, or the reason why it is unchanged.
    pub outcome: Result<String, String>,
}

/// The original values on disk, in the format of sysctl.conf.
#[derive(Debug)]
pub struct Record {
    path: PathBuf,
    network: String,
    originals: Vec<(String, String)>,
}

impl Record {
    const NETWORK: &str = "# network namespace: ";

    /// Opens the record at `path`, or returns an empty one if there is none. `network` names the network namespace.
    pub fn open(path: &Path, network: &str) -> Result<Self, ApplyError> {
        let mut record = Self { path: path.to_owned(), network: network.to_owned(), originals: Vec::new() };
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(record),
            Err(source) => return Err(ApplyError::Record { path: path.to_owned(), done: "read", source }),
        };
        for (index, line) in text.lines().enumerate() {
            if let Some(there) = line.strip_prefix(Self::NETWORK) {
                if there != network {
                    let (path, there, here) = (path.to_owned(), there.to_owned(), network.to_owned());
                    return Err(ApplyError::OtherNetwork { path, there, here });
                }
            } else if !line.is_empty() && !line.starts_with('#') {
                let parts = line.split_once(" = ").filter(|(name, _)| is_name(name));
                let (name, value) = parts.ok_or_else(|| ApplyError::Malformed {
                    path: path.to_owned(),
                    line: index + 1,
                    text: line.to_owned(),
                })?;
                record.originals.push((name.to_owned(), value.to_owned()));
            }
        }
        Ok(record)
    }

    /// Returns names and original values, in the order in which they were changed.
    pub fn originals(&self) -> &[(String, String)] {
        &self.originals
    }

    /// Returns the path of the record.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn knows(&self, name: &str) -> bool {
        self.originals.iter().any(|(known, _)| known == name)
    }

    /// Writes the record to disk atomically; removes the file if the record is empty.
    fn save(&self) -> Result<(), ApplyError> {
        self.write_out().map_err(|source| ApplyError::Record { path: self.path.clone(), done: "written", source })
    }

    fn write_out(&self) -> io::Result<()> {
        if self.originals.is_empty() {
            return match fs::remove_file(&self.path) {
                Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            };
        }
        let directory = self.path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::create_dir_all(directory)?;
        let mut text =
            "# The values before ringsock tune --apply changed them. ringsock tune --undo restores them and \
                        removes this file.\n"
                .to_owned();
        text += &format!("{}{}\n", Self::NETWORK, self.network);
        for (name, value) in &self.originals {
            text += &format!("{name} = {value}\n");
        }
        let beside = self.path.with_extension("new");
        let mut file = File::create(&beside)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&beside, &self.path)?;
        File::open(directory)?.sync_all()
    }
}

/// Returns whether a name is valid. Names have no slashes, so none leads out of /proc/sys.
fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

/// Writes each of `changes`, in order, and returns the results. A failed write neither stops the others nor stays in
/// the record.
pub fn apply(
    changes: &[(&str, &str)],
    sysctls: &mut impl Sysctls,
    record: &mut Record,
) -> Result<Vec<Step>, ApplyError> {
    let mut steps: Vec<Step> = Vec::new();
    let mut added = Vec::new();
    for (name, to) in changes {
        let read = read(sysctls, name);
        let from = read.as_ref().map_or(String::new(), String::clone);
        let outcome = read.map_err(|error| error.to_string());
        if outcome.is_ok() && !record.knows(name) {
            record.originals.push(((*name).to_owned(), from.clone()));
            added.push(*name);
        }
        steps.push(Step { name: (*name).to_owned(), from, to: (*to).to_owned(), outcome });
    }
    record.save()?;
    for step in &mut steps {
        if step.outcome.is_ok() {
            step.outcome = write(sysctls, &step.name, &step.to);
        }
    }
    // A failed write may still have changed the value, so only unchanged sysctls leave the record. Entries of an
    // earlier run always stay.
    let failed =
        |name: &str| added.contains(&name) && steps.iter().any(|step| step.name == name && step.outcome.is_err());
    let kept = record.originals.len();
    record.originals.retain(|(name, original)| {
        let untouched = || read(sysctls, name).is_ok_and(|now| now == *original);
        !(failed(name) && untouched())
    });
    if record.originals.len() < kept {
        record.save()?;
    }
    Ok(steps)
}

/// Restores the recorded values, the last change first, and removes the restored ones from the record.
pub fn undo(sysctls: &mut impl Sysctls, record: &mut Record) -> Result<Vec<Step>, ApplyError> {
    if record.originals.is_empty() {
        return Err(ApplyError::Nothing { path: record.path.clone() });
    }
    let mut steps = Vec::new();
    for (name, original) in record.originals.iter().rev() {
        let from = read(sysctls, name).unwrap_or_default();
        let outcome = write(sysctls, name, original).and_then(|now| {
            let restored = now == *original;
            if restored { Ok(now) } else { Err(format!("the kernel set {now} instead")) }
        });
        steps.push(Step { name: name.clone(), from, to: original.clone(), outcome });
    }
    record.originals.retain(|(name, _)| steps.iter().any(|step| step.name == *name && step.outcome.is_err()));
    record.save()?;
    Ok(steps)
}

/// Reads a value, with single spaces between its fields.
fn read(sysctls: &impl Sysctls, name: &str) -> io::Result<String> {
    sysctls.read(name).map(|value| normalized(&value))
}

/// Writes a value, and returns the value that the kernel shows afterwards.
fn write(sysctls: &mut impl Sysctls, name: &str, value: &str) -> Result<String, String> {
    let written = sysctls.write(name, value).and_then(|()| read(sysctls, name));
    written.map_err(|error| error.to_string())
}

/// Writes the file for /etc/sysctl.d. Replaces only a file that `ringsock tune` wrote.
pub fn write_sysctl_file(path: &Path, text: &str) -> Result<(), ApplyError> {
    match fs::read_to_string(path) {
        Ok(there) if !there.is_empty() && !sysctl_file::is_ours(&there) => {
            return Err(ApplyError::Foreign { path: path.to_owned() });
        }
        Err(error) if error.kind() == ErrorKind::InvalidData => {
            return Err(ApplyError::Foreign { path: path.to_owned() });
        }
        _ => {}
    }
    fs::write(path, text).map_err(|source| ApplyError::Unwritable { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::env::temp_dir;

    use super::*;

    /// A simulated kernel with a few sysctls, some of which it refuses to change.
    #[derive(Clone, Debug, Default, PartialEq)]
    struct Kernel {
        values: BTreeMap<String, String>,
        refuses: Vec<&'static str>,
        /// Changes the value, but returns an error.
        lies_about: Vec<&'static str>,
        written: Vec<String>,
    }

    impl Kernel {
        fn new(values: &[(&str, &str)]) -> Self {
            let values = values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            Self { values, ..Self::default() }
        }
    }

    impl Sysctls for Kernel {
        fn read(&self, name: &str) -> io::Result<String> {
            self.values.get(name).cloned().ok_or(ErrorKind::NotFound.into())
        }

        fn write(&mut self, name: &str, value: &str) -> io::Result<()> {
            self.written.push(name.to_owned());
            if self.refuses.contains(&name) {
                return Err(ErrorKind::PermissionDenied.into());
            }
            // The kernel separates fields by tabs, and this one rounds the number of buckets.
            let value = if name == "buckets" { "1024".to_owned() } else { value.replace(' ', "\t") };
            self.values.insert(name.to_owned(), value);
            if self.lies_about.contains(&name) { Err(ErrorKind::InvalidInput.into()) } else { Ok(()) }
        }
    }

    const CHANGES: &[(&str, &str)] = &[("fs.nr_open", "9"), ("net.rmem", "4 5 6"), ("net.low", "0")];

    fn kernel() -> Kernel {
        Kernel::new(&[("fs.nr_open", "1"), ("net.rmem", "1\t2\t3"), ("net.low", "1"), ("other", "7")])
    }

    fn place(name: &str) -> PathBuf {
        let path = temp_dir().join(format!("ringsock-tune-{}-{name}", std::process::id())).join("deep/record.conf");
        let _ = fs::remove_dir_all(path.parent().unwrap().parent().unwrap());
        path
    }

    fn open(path: &Path) -> Record {
        Record::open(path, "initial").unwrap()
    }

    #[test]
    fn applied_values_are_undone_exactly_in_reverse_order() {
        let (path, before, mut kernel) = (place("undone"), kernel(), kernel());
        let steps = apply(CHANGES, &mut kernel, &mut open(&path)).unwrap();
        assert!(steps.iter().all(|step| step.outcome.as_ref() == Ok(&step.to)), "{steps:?}");
        assert_eq!(kernel.values["net.rmem"], "4\t5\t6");
        assert_eq!(kernel.written, ["fs.nr_open", "net.rmem", "net.low"]);
        kernel.written.clear();
        let mut record = open(&path);
        assert_eq!(record.originals()[1], ("net.rmem".to_owned(), "1 2 3".to_owned()));
        undo(&mut kernel, &mut record).unwrap();
        assert_eq!(kernel.values, before.values);
        assert_eq!(kernel.written, ["net.low", "net.rmem", "fs.nr_open"]);
        assert!(!path.exists());
        assert!(matches!(undo(&mut kernel, &mut open(&path)), Err(ApplyError::Nothing { .. })));
    }

    #[test]
    fn a_second_time_keeps_the_originals_of_the_first() {
        let (path, before, mut kernel) = (place("twice"), kernel(), kernel());
        apply(&CHANGES[..2], &mut kernel, &mut open(&path)).unwrap();
        apply(&[("fs.nr_open", "99"), ("net.low", "0")], &mut kernel, &mut open(&path)).unwrap();
        assert_eq!(kernel.values["fs.nr_open"], "99");
        assert_eq!(open(&path).originals().len(), 3);
        undo(&mut kernel, &mut open(&path)).unwrap();
        assert_eq!(kernel.values, before.values);
    }

    #[test]
    fn one_that_is_refused_is_told_and_not_recorded_and_the_others_are_written() {
        let (path, before, mut kernel) = (place("refused"), kernel(), kernel());
        kernel.refuses = vec!["net.rmem"];
        let changes = [CHANGES, &[("not.there", "1")]].concat();
        let steps = apply(&changes, &mut kernel, &mut open(&path)).unwrap();
        let failed: Vec<&str> = steps.iter().filter(|step| step.outcome.is_err()).map(|step| &*step.name).collect();
        assert_eq!(failed, ["net.rmem", "not.there"]);
        let record = open(&path);
        let recorded: Vec<&str> = record.originals().iter().map(|(name, _)| &**name).collect();
        assert_eq!(recorded, ["fs.nr_open", "net.low"]);
        undo(&mut kernel, &mut open(&path)).unwrap();
        assert_eq!(kernel.values, before.values);
    }

    #[test]
    fn one_that_fails_after_it_changed_something_stays_recorded() {
        let (path, before, mut kernel) = (place("lies"), kernel(), kernel());
        kernel.lies_about = vec!["net.low"];
        let steps = apply(CHANGES, &mut kernel, &mut open(&path)).unwrap();
        assert!(steps[2].outcome.is_err());
        assert_eq!(open(&path).originals().len(), 3);
        kernel.lies_about.clear();
        undo(&mut kernel, &mut open(&path)).unwrap();
        assert_eq!(kernel.values, before.values);
    }

    #[test]
    fn values_that_cannot_be_restored_stay_recorded_for_another_try() {
        let (path, before, mut kernel) = (place("again"), kernel(), kernel());
        apply(CHANGES, &mut kernel, &mut open(&path)).unwrap();
        kernel.refuses = vec!["fs.nr_open"];
        let steps = undo(&mut kernel, &mut open(&path)).unwrap();
        assert_eq!(steps.iter().filter(|step| step.outcome.is_err()).count(), 1);
        assert_eq!(open(&path).originals(), [("fs.nr_open".to_owned(), "1".to_owned())]);
        kernel.refuses.clear();
        undo(&mut kernel, &mut open(&path)).unwrap();
        assert_eq!(kernel.values, before.values);
        assert!(!path.exists());
    }

    #[test]
    fn the_value_in_force_is_reported_after_a_change() {
        let path = place("rounded");
        let mut kernel = Kernel::new(&[("buckets", "512")]);
        let steps = apply(&[("buckets", "1000")], &mut kernel, &mut open(&path)).unwrap();
        assert_eq!(steps[0].outcome, Ok("1024".to_owned()));
        let steps = undo(&mut kernel, &mut open(&path)).unwrap();
        assert_eq!(steps[0].outcome, Err("the kernel set 1024 instead".to_owned()));
        assert_eq!(open(&path).originals().len(), 1);
    }

    #[test]
    fn nothing_is_written_where_nothing_can_be_recorded() {
        let (before, mut kernel) = (kernel(), kernel());
        let mut record = Record::open(Path::new("/proc/no/record"), "initial").unwrap();
        assert!(matches!(apply(CHANGES, &mut kernel, &mut record), Err(ApplyError::Record { .. })));
        assert_eq!(kernel, before);
    }

    #[test]
    fn a_record_of_another_network_namespace_or_of_something_else_is_refused() {
        let path = place("other");
        apply(CHANGES, &mut kernel(), &mut open(&path)).unwrap();
        let error = Record::open(&path, "net:[1]").unwrap_err();
        assert!(matches!(error, ApplyError::OtherNetwork { .. }), "{error}");
        for text in ["nonsense", "../../etc/passwd = 1", " = 1", "a=1"] {
            fs::write(&path, format!("# words\n\n{text}\n")).unwrap();
            let error = Record::open(&path, "initial").unwrap_err();
            assert!(matches!(error, ApplyError::Malformed { line: 3, .. }), "{text}: {error}");
        }
    }

    #[test]
    fn only_our_own_file_is_overwritten() {
        let path = place("file");
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let ours = format!("{}for nobody.\n", sysctl_file::MARK);
        write_sysctl_file(&path, &ours).unwrap();
        write_sysctl_file(&path, &format!("{ours}a = 1\n")).unwrap();
        fs::write(&path, "a = 1\n").unwrap();
        assert!(matches!(write_sysctl_file(&path, &ours), Err(ApplyError::Foreign { .. })));
        assert_eq!(fs::read_to_string(&path).unwrap(), "a = 1\n");
        let nowhere = Path::new("/proc/no/file");
        assert!(matches!(write_sysctl_file(nowhere, &ours), Err(ApplyError::Unwritable { .. })));
    }
}
