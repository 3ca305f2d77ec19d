//! Tests of the processors that the cores of a server may run on.

use std::fs;
use std::process::Command;

use crate::program::run::{Run, isolated, ringsock};

/// Returns the processors that the kernel allows each core's thread, in the order of the cores.
fn allowed(server: &Run) -> Vec<String> {
    let tasks = format!("/proc/{}/task", server.process.0.id());
    let mut cores: Vec<(String, String)> = fs::read_dir(tasks)
        .unwrap()
        .map(|task| task.unwrap().path())
        .filter_map(|task| {
            let name = fs::read_to_string(task.join("comm")).ok()?;
            let status = fs::read_to_string(task.join("status")).ok()?;
            let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?.trim().to_owned();
            name.starts_with("ringsock-core-").then_some((name, allowed))
        })
        .collect();
    cores.sort();
    cores.into_iter().map(|(_, allowed)| allowed).collect()
}

fn serve(cores: usize, flags: &[&str]) -> Run {
    let server =
        Run::new(ringsock(&[&["serve", "--listen", "127.0.0.1:0", "--cores", &cores.to_string()], flags].concat()));
    server.banner();
    server
}

#[test]
fn two_servers_with_fewer_cores_than_processors_are_pinned_to_none() {
    let processors = core_affinity::get_core_ids().unwrap().len();
    if processors < 2 {
        return;
    }
    let servers = [serve(1, &[]), serve(1, &[])];
    for server in &servers {
        let [allowed] = &allowed(server)[..] else { panic!("it has not one core") };
        assert!(allowed.contains([',', '-']), "it is pinned to {allowed}");
    }
    // More cores than processors share all of them.
    let crowd = serve(processors + 1, &[]);
    assert!(allowed(&crowd).iter().all(|allowed| allowed.contains([',', '-'])));
}

#[test]
fn as_many_cores_as_processors_have_one_each_unless_told_otherwise() {
    let processors = core_affinity::get_core_ids().unwrap();
    let numbers: Vec<String> = processors.iter().map(|processor| processor.id.to_string()).collect();
    assert_eq!(allowed(&serve(numbers.len(), &[])), numbers);
    assert_eq!(allowed(&serve(1, &["--set", "cores.pin=always"])), numbers[..1]);
    if numbers.len() > 1 {
        assert!(
            allowed(&serve(numbers.len(), &["--set", "cores.pin=never"]))
                .iter()
                .all(|allowed| allowed.contains([',', '-']))
        );
    }
}

#[test]
fn a_server_that_may_use_one_processor_stays_there() {
    let last = core_affinity::get_core_ids().unwrap().last().unwrap().id.to_string();
    for pin in ["auto", "always", "never"] {
        let mut command = Command::new("taskset");
        command.args(["-c", &last, env!("CARGO_BIN_EXE_ringsock")]);
        let setting = format!("cores.pin={pin}");
        let flags = ["serve", "--listen", "127.0.0.1:0", "--admin-listen", "none", "--cores", "2", "--set", &setting];
        let server = Run::new(isolated(command, &flags));
        server.banner();
        assert_eq!(allowed(&server), [last.as_str(), last.as_str()], "{setting}");
    }
}
