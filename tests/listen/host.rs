//! Tests of hosts with another setup: without IPv6, with a choice of interfaces, with ports reserved for root.
//!
//! Those with a network namespace of their own need root, and util-linux and iproute2, which every Debian has.

use std::os::unix::process::CommandExt;
use std::process::Command;

use super::program::run::{Run, isolated, ringsock};
use super::program::withheld::filter_system_calls;
use super::{REACTORS, drain, line};

/// The capability to listen on ports below 1024.
const CAP_NET_BIND_SERVICE: libc::c_ulong = 10;

/// Makes the kernel refuse IPv6, as with `ipv6.disable=1` on its command line or with
/// `RestrictAddressFamilies=AF_INET`.
fn without_ipv6(command: &mut Command) {
    let step = |code: u32, jump_if_not: u8, k: u32| libc::sock_filter { code: code as u16, jt: 0, jf: jump_if_not, k };
    let load = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
    let equals = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    let answer = libc::BPF_RET | libc::BPF_K;
    // The number of the system call is the first word that a filter sees, and the first argument is the fifth.
    let filter = [
        step(load, 0, 0),
        step(equals, 3, libc::SYS_socket as u32),
        step(load, 0, 16),
        step(equals, 1, libc::AF_INET6 as u32),
        step(answer, 0, libc::SECCOMP_RET_ERRNO | libc::EAFNOSUPPORT as u32),
        step(answer, 0, libc::SECCOMP_RET_ALLOW),
    ];
    filter_system_calls(command, filter.into());
}

/// Returns a shell in a network namespace of its own, in which `$RINGSOCK` is the program.
fn in_namespace(script: &str) -> Command {
    let mut command = isolated(Command::new("unshare"), &["--net", "sh", "-ec", script]);
    command.env("RINGSOCK", env!("CARGO_BIN_EXE_ringsock")).env("RINGSOCK_ADMIN_LISTEN", "none");
    command
}

fn said(mut command: Command) -> String {
    let output = command.output().unwrap();
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

#[test]
fn a_host_without_ipv6_is_listened_on_by_ipv4_with_one_line() {
    for (listen, skipped) in [("localhost:0", "[::1]:0"), (":0", "[::]:0")] {
        for reactor in REACTORS {
            let few = ["--max-connections", "100", "--set", "tokens.open=true"];
            let mut command = ringsock(&[&["serve", "--listen", listen, "--reactor", reactor], &few[..]].concat());
            without_ipv6(&mut command);
            let mut run = Run::new(command);
            let listen = line(&run.banner(), "listen ");
            assert!(listen.starts_with(if skipped == "[::]:0" { "0.0.0.0:" } else { "127.0.0.1:" }), "{listen}");
            assert!(!listen.contains(','), "{listen}");
            drain(&mut run);
            let log: Vec<String> = run.errors.iter().filter(|line| !line.contains("Draining")).collect();
            let [line] = &log[..] else { panic!("{log:?}") };
            assert!(line.contains(&format!("Not listening on {skipped}, which this host does not have: ")), "{line}");
        }
    }
    // An address that is configured alone is required.
    let mut command = ringsock(&["serve", "--listen", "127.0.0.1:0,[::1]:0"]);
    without_ipv6(&mut command);
    let refused = Run::new(command).refusal();
    assert!(refused.contains("Cannot listen on [::1]:0: ") && refused.contains("Remove the address."), "{refused}");
}

#[test]
fn on_a_host_without_ipv6_the_server_listens_on_ipv4() {
    let mut command = in_namespace(
        "ip link set lo up
         echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6
         exec \"$RINGSOCK\" serve --listen localhost:9000,:9001 --cores 1",
    );
    command.env("RINGSOCK_MAX_CONNECTIONS", "100");
    let run = Run::new(command);
    let banner = run.banner();
    assert!(line(&banner, "listen ").starts_with("127.0.0.1:9000, "), "{banner}");
    let log = run.log().concat();
    assert!(log.contains("Not listening on [::1]:9000, which this host does not have"), "{log}");
}

#[test]
fn an_address_of_one_network_is_listened_on_by_its_interface() {
    let mut command = in_namespace(
        "ip link set lo up
         ip addr add fe80::7/64 dev lo nodad
         for interface in lo 1; do
             \"$RINGSOCK\" serve --listen \"[fe80::7%$interface]:9000\" --cores 1 > listen-ready &
             until grep -q 'ringsock is ready' listen-ready; do kill -0 $!; sleep 0.02; done
             curl --silent --globoff --max-time 20 \"http://[fe80::7%25lo]:9000/health\"
             kill $!
             wait $!
         done
         rm listen-ready
         \"$RINGSOCK\" serve --listen '[fe80::8%lo]:9000' --cores 1 || true",
    );
    command.current_dir(env!("CARGO_TARGET_TMPDIR"));
    let said = said(command);
    assert!(said.starts_with("okok"), "{said}");
    assert!(said.contains("Cannot listen on [fe80::8%1]:9000: Cannot assign requested address"), "{said}");
}

#[test]
fn a_port_for_root_alone_is_refused_with_what_would_allow_it() {
    let first: u16 =
        std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap().trim().parse().unwrap();
    if first <= 1 {
        // Every port is open to everyone here, as in a container of Docker.
        return;
    }
    let mut command = ringsock(&["serve", "--listen", "127.0.0.1:1"]);
    let without_the_capability = || {
        // This fails for a user that has no capability to drop, which is the intended state.
        // SAFETY: takes integers and touches no memory.
        unsafe { libc::prctl(libc::PR_CAPBSET_DROP, CAP_NET_BIND_SERVICE, 0, 0, 0) };
        Ok(())
    };
    // SAFETY: between fork and exec only a system call is made; nothing is allocated and no lock taken.
    unsafe { command.pre_exec(without_the_capability) };
    let refused = Run::new(command).refusal();
    for words in [
        "Cannot listen on 127.0.0.1:1: Permission denied",
        "CAP_NET_BIND_SERVICE",
        "AmbientCapabilities=",
        "net.ipv4.ip_unprivileged_port_start",
    ] {
        assert!(refused.contains(words), "{refused}");
    }
}
