//! Tests of the settings that hosts lack, one fault at a time.

use ringsock::tune::{Goal, Host, Kind, Role, Setting, Severity, State, settings};

use super::stock::{FOR_A_MILLION, MILLION, Stock};

fn names(settings: &[Setting]) -> Vec<&str> {
    settings.iter().map(|setting| setting.name).collect()
}

/// Returns the only wrong setting.
fn only(settings: Vec<Setting>) -> Setting {
    assert_eq!(settings.len(), 1, "{:?}", names(&settings));
    settings.into_iter().next().unwrap()
}

#[test]
fn a_million_connections_on_16_cores_get_the_values_of_the_rules() {
    let stock = Stock::new("rules");
    let wrong = stock.wrong();
    for (name, wanted) in FOR_A_MILLION {
        let setting = wrong.iter().find(|setting| setting.name == *name).unwrap_or_else(|| panic!("{name} is fine"));
        assert_eq!((&*setting.wanted, setting.state), (*wanted, State::Change), "{name}");
        assert!(setting.can_be_applied() && !setting.reason.is_empty() && !setting.otherwise.is_empty(), "{setting:?}");
    }
    let others: Vec<&str> =
        names(&wrong).into_iter().filter(|name| FOR_A_MILLION.iter().all(|(known, _)| known != name)).collect();
    assert_eq!(others, ["open files (RLIMIT_NOFILE)", "locked memory (RLIMIT_MEMLOCK)"]);
    assert_eq!(wrong[0].wanted, "1004096");
    assert!(wrong[0].how.contains("LimitNOFILE=1004096"), "{}", wrong[0].how);
    // A setting that bounds another comes first.
    let at = |name: &str| names(&wrong).iter().position(|known| *known == name).unwrap();
    assert!(at("fs.nr_open") < at("net.core.somaxconn"));
}

#[test]
fn a_prepared_host_lacks_nothing() {
    let wrong = Stock::prepared("prepared").wrong();
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn each_sysctl_that_is_wrong_is_named_and_is_as_serious_as_it_is() {
    let stock = Stock::prepared("each");
    for (name, bad, wanted, severity) in [
        ("fs.nr_open", "1048576", "1100000", Severity::Required),
        ("fs.file-max", "1000000", "1200000", Severity::Required),
        ("kernel.io_uring_disabled", "1", "0", Severity::Advised),
        ("net.core.somaxconn", "4096", "65535", Severity::Required),
        ("net.ipv4.tcp_max_syn_backlog", "4096", "65536", Severity::Required),
        ("net.ipv4.tcp_syncookies", "0", "1", Severity::Advised),
        ("net.ipv4.tcp_syncookies", "2", "1", Severity::Advised),
        ("net.ipv4.tcp_synack_retries", "4", "3", Severity::Advised),
        ("net.ipv4.tcp_rmem", "4096\t131072\t6291456", "4096 16384 6291456", Severity::Advised),
        ("net.ipv4.tcp_rmem", "4096\t16384\t65536", "4096 16384 4194304", Severity::Advised),
        ("net.ipv4.tcp_wmem", "4096\t16384\t65536", "4096 16384 1048576", Severity::Advised),
        ("net.ipv4.tcp_mem", "1\t2\t3", "200000 300000 400000", Severity::Advised),
        ("net.ipv4.tcp_mem", "250000\t260000\t270000", "250000 300000 400000", Severity::Advised),
        ("net.ipv4.tcp_max_tw_buckets", "262144", "1000000", Severity::Advised),
        ("net.ipv4.tcp_max_orphans", "49999", "50000", Severity::Advised),
        ("net.ipv4.tcp_fin_timeout", "60", "30", Severity::Advised),
        ("net.ipv4.tcp_orphan_retries", "0", "3", Severity::Advised),
        ("net.ipv4.tcp_notsent_lowat", "4294967295", "131072", Severity::Advised),
        ("net.ipv4.tcp_slow_start_after_idle", "1", "0", Severity::Advised),
        ("net.ipv4.tcp_timestamps", "0", "1", Severity::Advised),
        ("net.ipv4.tcp_moderate_rcvbuf", "0", "1", Severity::Advised),
        ("net.ipv4.tcp_migrate_req", "0", "1", Severity::Advised),
        ("net.core.netdev_max_backlog", "1000", "10000", Severity::Advised),
        ("net.netfilter.nf_conntrack_max", "262144", "1200000", Severity::Required),
        ("net.netfilter.nf_conntrack_buckets", "262144", "1200000", Severity::Advised),
        ("net.netfilter.nf_conntrack_tcp_timeout_established", "60", "120", Severity::Advised),
        ("vm.overcommit_memory", "2", "0", Severity::Advised),
    ] {
        let before = stock.sysctl(name);
        stock.set(name, bad);
        let setting = only(stock.wrong());
        assert_eq!((setting.name, &*setting.wanted, setting.severity), (name, wanted, severity));
        assert_eq!((setting.state, setting.kind), (State::Change, Kind::Sysctl));
        stock.set(name, &before);
    }
}

#[test]
fn values_better_than_wanted_are_left_alone() {
    let stock = Stock::prepared("better");
    for (name, better) in [
        ("fs.nr_open", "2000000"),
        ("net.core.somaxconn", "1000000"),
        ("net.ipv4.tcp_synack_retries", "2"),
        ("net.ipv4.tcp_orphan_retries", "1"),
        ("net.ipv4.tcp_notsent_lowat", "16384"),
        ("net.ipv4.tcp_rmem", "8192\t8192\t33554432"),
        ("net.ipv4.tcp_fin_timeout", "15"),
        ("net.ipv4.tcp_timestamps", "2"),
        ("net.netfilter.nf_conntrack_max", "5000000"),
    ] {
        stock.set(name, better);
    }
    assert!(stock.wrong().is_empty(), "{:?}", stock.wrong());
}

#[test]
fn each_limit_of_the_process_or_its_group_is_named() {
    let stock = Stock::prepared("limits");
    let group = "sys/fs/cgroup/system.slice/ringsock.service";
    let wrong = |change: &dyn Fn(&mut Host)| {
        let mut host = stock.host();
        change(&mut host);
        only(settings(&host, &MILLION).into_iter().filter(|setting| !setting.is_fine()).collect())
    };
    let setting = wrong(&|host| host.memory.available_bytes = 4 << 30);
    assert_eq!((setting.name, &*setting.current, &*setting.wanted), ("memory", "4 GiB", "5.38 GiB"));
    assert!(setting.is_missing() && setting.state == State::OutOfReach, "{setting:?}");
    let setting = wrong(&|host| host.processors = 8);
    assert_eq!((setting.name, &*setting.current, &*setting.wanted), ("processors", "8", "16"));
    assert!(setting.is_missing() && setting.how.starts_with("Use --cores 8"), "{setting:?}");
    let setting = wrong(&|host| host.huge_pages = Some("always".to_owned()));
    assert_eq!(
        (setting.name, &*setting.wanted, setting.severity),
        ("transparent huge pages", "madvise", Severity::Advised)
    );
    let setting = wrong(&|host| host.memory.swap_bytes = 8 << 30);
    assert_eq!((setting.name, &*setting.current, setting.severity), ("swap", "8 GiB", Severity::Advised));
    let setting = wrong(&|host| host.interfaces[0].receive_queues = 1);
    assert_eq!(
        (setting.name, &*setting.current, &*setting.wanted),
        ("receive queues", "1 on eth0", "16, or spread (RPS)")
    );

    stock.write(&format!("{group}/memory.max"), "4294967296\n");
    let setting = only(stock.wrong());
    assert_eq!((setting.name, &*setting.current, setting.kind), ("memory.max (cgroup)", "4 GiB", Kind::Cgroup));
    assert!(setting.is_missing() && setting.how.contains("MemoryMax="), "{setting:?}");
    stock.write(&format!("{group}/memory.max"), "max\n");
    // The group above allows less.
    stock.write("sys/fs/cgroup/system.slice/cpu.max", "250000 100000\n");
    assert_eq!((&*only(stock.wrong()).current, only(stock.wrong()).name), ("2", "processors"));
    stock.write("sys/fs/cgroup/system.slice/cpu.max", "max 100000\n");
    stock.limits("1024", "1000500", "unlimited");
    assert!(only(stock.wrong()).is_missing(), "16 cores and the metrics need more than 500 descriptors");
    // Fewer than advised, but enough.
    stock.limits("1024", "1001152", "33554432");
    assert!(stock.wrong().is_empty(), "{:?}", stock.wrong());
    stock.limits("1024", "1001152", "8388608");
    let setting = only(stock.wrong());
    assert_eq!(
        (setting.name, &*setting.current, &*setting.wanted),
        ("locked memory (RLIMIT_MEMLOCK)", "8 MiB", "32 MiB")
    );
    // CAP_IPC_LOCK.
    stock.write("proc/self/status", "CapEff:\t0000000000004000\nSeccomp:\t0\nCpus_allowed_list:\t0-15\n");
    assert!(stock.wrong().is_empty(), "{:?}", stock.wrong());
}

#[test]
fn control_groups_of_version_1_and_what_a_container_sees_of_its_own_are_understood() {
    let stock = Stock::prepared("groups");
    stock.write("proc/self/cgroup", "4:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc\n1:name=systemd:/docker/abc\n");
    stock.write("sys/fs/cgroup/memory/memory.limit_in_bytes", "1073741824\n");
    stock.write("sys/fs/cgroup/memory/memory.memsw.limit_in_bytes", "1073741824\n");
    stock.write("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "150000\n");
    stock.write("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
    let group = stock.host().cgroup;
    assert_eq!((group.memory_bytes, group.swap_bytes, group.processors), (Some(1 << 30), Some(0), Some(1.5)));
    stock.write("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
    stock.write("sys/fs/cgroup/memory/memory.memsw.limit_in_bytes", "9223372036854771712\n");
    stock.write("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n");
    assert_eq!(stock.host().cgroup, ringsock::tune::Cgroup::default());
    stock.write("proc/self/cgroup", "0::/docker/abc\n");
    stock.write("sys/fs/cgroup/memory.max", "2147483648\n");
    stock.write("sys/fs/cgroup/memory.swap.max", "0\n");
    let group = stock.host().cgroup;
    assert_eq!((group.memory_bytes, group.swap_bytes), (Some(2 << 30), Some(0)));
}

#[test]
fn a_host_without_io_uring_is_told_why_and_what_would_allow_it() {
    let stock = Stock::prepared("uring");
    let how = |host: &mut Host| {
        host.io_uring = Err("Operation not permitted".to_owned());
        let wrong: Vec<Setting> = settings(host, &MILLION).into_iter().filter(|setting| !setting.is_fine()).collect();
        let setting = wrong.iter().find(|setting| setting.name == "io_uring").unwrap();
        assert_eq!((&*setting.current, setting.severity), ("fails: Operation not permitted", Severity::Advised));
        setting.how.clone()
    };
    let mut host = stock.host();
    assert!(how(&mut host).contains("seccomp=tuning/seccomp.json"));
    host.kernel = "5.15.0-91-generic".to_owned();
    assert!(how(&mut host).contains("Linux 6.1"));
    host.sysctls.get_mut("kernel.io_uring_disabled").unwrap().value = "2".to_owned();
    assert!(how(&mut host).contains("kernel.io_uring_disabled"));
}

#[test]
fn a_small_goal_asks_for_nothing_that_a_fresh_host_lacks_but_advice() {
    let stock = Stock::new("small");
    let goal = Goal::server(20_000, 16);
    let wrong: Vec<Setting> = settings(&stock.host(), &goal).into_iter().filter(|setting| !setting.is_fine()).collect();
    // Rings of 16 cores and 8 MiB of locked memory: the number of connections does not matter.
    let missing: Vec<&str> = wrong.iter().filter(|setting| setting.is_missing()).map(|setting| setting.name).collect();
    assert_eq!(missing, ["locked memory (RLIMIT_MEMLOCK)"]);
    assert!(names(&wrong).contains(&"net.ipv4.tcp_slow_start_after_idle"));
    // All buffers at their first size fit into the memory many times over.
    assert!(!names(&wrong).contains(&"net.ipv4.tcp_rmem"), "{wrong:?}");
}

#[test]
fn more_processes_need_fewer_descriptors_each() {
    let stock = Stock::prepared("processes");
    stock.limits("1024", "20000", "unlimited");
    let goal = |processes| Goal { processes, ..Goal::server(200_000, 16) };
    let open_files = |processes| {
        let list = settings(&stock.host(), &goal(processes));
        list.into_iter().find(|setting| setting.name == "open files (RLIMIT_NOFILE)").unwrap()
    };
    let one = open_files(1);
    assert_eq!((one.state, &*one.wanted), (State::Change, "204096"));
    assert!(one.how.contains("11 processes with listen.share-port"), "{}", one.how);
    assert!(open_files(11).is_fine(), "{:?}", open_files(11));
}

#[test]
fn connection_tracking_counts_only_where_it_is_in_use() {
    let stock = Stock::prepared("tracking");
    stock.set("net.netfilter.nf_conntrack_max", "262144");
    assert!(only(stock.wrong()).is_missing());
    stock.set("net.netfilter.nf_conntrack_count", "0");
    assert!(!only(stock.wrong()).is_missing());
    for name in ["max", "count", "buckets", "tcp_timeout_established"] {
        stock.remove(&format!("net.netfilter.nf_conntrack_{name}"));
    }
    assert!(stock.wrong().is_empty(), "{:?}", stock.wrong());
}

#[test]
fn a_network_of_its_own_leaves_what_belongs_to_the_host_to_the_host() {
    let stock = Stock::new("own-network");
    stock.enter_own_network();
    assert!(stock.host().has_own_network());
    let wrong = stock.wrong();
    let find =
        |name: &str| wrong.iter().find(|setting| setting.name == name).unwrap_or_else(|| panic!("{name}: {wrong:?}"));
    // Root could write it, but must not: all other containers share it.
    for name in ["fs.nr_open", "net.netfilter.nf_conntrack_max"] {
        assert_eq!(find(name).state, State::OutOfReach);
        assert!(find(name).how.starts_with("On the host, as root: sysctl -w "), "{:?}", find(name));
    }
    assert_eq!(find("net.core.netdev_max_backlog").current, "not visible");
    assert_eq!(find("net.core.netdev_max_backlog").state, State::OutOfReach);
    assert!(find("net.core.somaxconn").can_be_applied());
}

#[test]
fn a_container_is_told_which_flags_of_docker_would_do_it() {
    let stock = Stock::new("container");
    stock.write(".dockerenv", "");
    stock.enter_own_network();
    stock.set("net.ipv4.tcp_ehash_entries", "-262144");
    let mut host = stock.host();
    assert!(host.in_container);
    host.sysctls.values_mut().for_each(|sysctl| sysctl.is_writable = false);
    let wrong: Vec<Setting> = settings(&host, &MILLION).into_iter().filter(|setting| !setting.is_fine()).collect();
    assert!(wrong.iter().all(|setting| setting.state == State::OutOfReach && !setting.can_be_applied()), "{wrong:?}");
    for (name, flag) in [
        ("open files (RLIMIT_NOFILE)", "docker run --ulimit nofile=1004096:1004096"),
        ("locked memory (RLIMIT_MEMLOCK)", "docker run --ulimit memlock=-1"),
        ("net.core.somaxconn", "docker run --sysctl net.core.somaxconn=65535"),
        ("net.ipv4.tcp_rmem", "docker run --sysctl net.ipv4.tcp_rmem=\"4096 16384 6291456\""),
        ("fs.nr_open", "On the host, as root: sysctl -w fs.nr_open=1100000"),
        ("TCP hash table (thash_entries)", "sysctl -w net.ipv4.tcp_child_ehash_entries=524288"),
    ] {
        let setting = wrong.iter().find(|setting| setting.name == name).unwrap_or_else(|| panic!("{name}: {wrong:?}"));
        assert!(setting.how.contains(flag), "{setting:?}");
    }
}

#[test]
fn a_container_on_the_hosts_network_is_sent_to_the_host() {
    let stock = Stock::new("host-network");
    stock.write("run/.containerenv", "");
    let mut host = stock.host();
    host.sysctls.values_mut().for_each(|sysctl| sysctl.is_writable = false);
    let list = settings(&host, &MILLION);
    let setting = list.iter().find(|setting| setting.name == "net.core.somaxconn").unwrap();
    assert!(setting.how.starts_with("On the host, as root: "), "{setting:?}");
    host.in_container = false;
    let list = settings(&host, &MILLION);
    let setting = list.iter().find(|setting| setting.name == "net.core.somaxconn").unwrap();
    assert_eq!((&*setting.how, setting.state), ("As root: ringsock tune --apply.", State::OutOfReach));
}

#[test]
fn a_load_generator_needs_ports_and_no_queue_of_callers() {
    let stock = Stock::prepared("generator");
    let goal = Goal { role: Role::LoadGenerator, ..MILLION };
    let wrong: Vec<Setting> = settings(&stock.host(), &goal).into_iter().filter(|setting| !setting.is_fine()).collect();
    assert_eq!(names(&wrong), ["net.ipv4.ip_local_port_range", "net.ipv4.tcp_tw_reuse"]);
    assert_eq!((&*wrong[0].wanted, &*wrong[1].wanted), ("1024 65535", "1"));
    // The kernel accepts no range that begins below the ports that are reserved for root.
    stock.set("net.ipv4.ip_unprivileged_port_start", "2000");
    assert_eq!(
        settings(&stock.host(), &goal).into_iter().find(|setting| setting.name == wrong[0].name).unwrap().wanted,
        "2000 65535"
    );
    stock.set("net.core.somaxconn", "128");
    stock.limits("1024", "4096", "unlimited");
    let missing: Vec<Setting> = settings(&stock.host(), &goal).into_iter().filter(Setting::is_missing).collect();
    assert!(missing.is_empty(), "bench starts processes of its own: {missing:?}");
}
