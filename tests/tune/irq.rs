//! Tests of `tuning/irq.sh`, on network cards that are files.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::{Command, Output};

use super::stock::Stock;

fn irq(stock: &Stock, arguments: &[&str]) -> (i32, String) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tuning/irq.sh");
    let mut command = Command::new("bash");
    command.arg(script).arg("--root").arg(stock.root()).arg("--record").arg(stock.root().join("irq.conf"));
    let Output { status, stdout, stderr } = command.args(arguments).output().unwrap();
    (status.code().unwrap(), String::from_utf8([stdout, stderr].concat()).unwrap())
}

/// Lays out a card with so many queues each way, on a host with so many processors. Interrupts begin at 41, after one
/// for its configuration.
fn card(stock: &Stock, queues: usize, processors: usize) {
    let _ = fs::remove_dir_all(stock.root().join("sys/class/net"));
    stock.write("sys/devices/system/cpu/online", &format!("0-{}\n", processors - 1));
    stock.write("sys/devices/pci/virtio0/vendor", "0x1af4\n");
    fs::create_dir_all(stock.root().join("sys/class/net/eth0")).unwrap();
    symlink(stock.root().join("sys/devices/pci/virtio0"), stock.root().join("sys/class/net/eth0/device")).unwrap();
    let mut interrupts = " 40:  0  0  PCI-MSIX-0000:00:03.0  0-edge  virtio0-config\n".to_owned();
    stock.write("sys/devices/pci/msi_irqs/40", "msix\n");
    for queue in 0..queues {
        for (irq, way) in [(41 + 2 * queue, "input"), (42 + 2 * queue, "output")] {
            stock.write(&format!("sys/devices/pci/msi_irqs/{irq}"), "msix\n");
            stock.write(&format!("proc/irq/{irq}/smp_affinity_list"), &format!("0-{}\n", processors - 1));
            interrupts += &format!(" {irq}:  0  0  PCI-MSIX-0000:00:03.0  {queue}-edge  virtio0-{way}.{queue}\n");
        }
        stock.write(&format!("sys/class/net/eth0/queues/rx-{queue}/rps_cpus"), "00000000,00000000\n");
        stock.write(&format!("sys/class/net/eth0/queues/rx-{queue}/rps_flow_cnt"), "0\n");
        stock.write(&format!("sys/class/net/eth0/queues/tx-{queue}/xps_cpus"), "0\n");
    }
    stock.write("proc/irq/40/smp_affinity_list", "3\n");
    stock.write("proc/interrupts", &interrupts);
    stock.set("net.core.rps_sock_flow_entries", "0");
}

fn read(stock: &Stock, path: &str) -> String {
    fs::read_to_string(stock.root().join(path)).unwrap().trim().to_owned()
}

#[test]
fn each_queue_goes_to_a_processor_of_its_own_and_undo_restores_all() {
    let stock = Stock::new("irq-queues");
    card(&stock, 4, 4);
    let (code, said) = irq(&stock, &[]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("eth0: 4 receiving and 4 sending queues for 4 processors"), "{said}");
    assert!(said.contains("/proc/irq/43/smp_affinity_list  0-3 → 1\n"), "{said}");
    assert!(!said.contains("rps_cpus"), "as many queues as processors need no spreading: {said}");
    assert_eq!(read(&stock, "proc/irq/43/smp_affinity_list"), "0-3", "nothing is changed before it is asked for");
    let (code, said) = irq(&stock, &["--apply"]);
    assert_eq!(code, 0, "{said}");
    for (irq, processor) in [(41, "0"), (42, "0"), (43, "1"), (44, "1"), (47, "3"), (48, "3")] {
        assert_eq!(read(&stock, &format!("proc/irq/{irq}/smp_affinity_list")), processor, "{irq}");
    }
    assert_eq!(read(&stock, "proc/irq/40/smp_affinity_list"), "3", "its configuration has no queue");
    assert_eq!(read(&stock, "sys/class/net/eth0/queues/tx-2/xps_cpus"), "4");
    assert_eq!(irq(&stock, &[]), (0, irq(&stock, &["--apply"]).1));
    let (code, said) = irq(&stock, &["--undo"]);
    assert_eq!(code, 0, "{said}");
    assert_eq!(read(&stock, "proc/irq/43/smp_affinity_list"), "0-3");
    assert_eq!(read(&stock, "sys/class/net/eth0/queues/tx-2/xps_cpus"), "0");
    assert!(!stock.root().join("irq.conf").exists());
    assert_eq!(irq(&stock, &["--undo"]).0, 2);
}

#[test]
fn a_card_with_fewer_queues_has_what_it_receives_spread() {
    let stock = Stock::new("irq-spread");
    card(&stock, 2, 40);
    let (code, said) = irq(&stock, &["--apply"]);
    assert_eq!(code, 0, "{said}");
    // Every other processor, in groups of 32.
    assert_eq!(read(&stock, "sys/class/net/eth0/queues/rx-0/rps_cpus"), "55,55555555");
    assert_eq!(read(&stock, "sys/class/net/eth0/queues/rx-1/rps_cpus"), "aa,aaaaaaaa");
    assert_eq!(read(&stock, "sys/class/net/eth0/queues/rx-1/rps_flow_cnt"), "16384");
    assert_eq!(stock.sysctl("net.core.rps_sock_flow_entries"), "32768");
    // After a second run for fewer processors, undo still restores the first values.
    let (code, said) = irq(&stock, &["--apply", "--cores", "4"]);
    assert_eq!(code, 0, "{said}");
    assert_eq!(read(&stock, "sys/class/net/eth0/queues/rx-0/rps_cpus"), "5");
    assert_eq!(irq(&stock, &["--undo"]).0, 0);
    assert_eq!(read(&stock, "sys/class/net/eth0/queues/rx-0/rps_cpus"), "00000000,00000000");
    assert_eq!(stock.sysctl("net.core.rps_sock_flow_entries"), "0");
}

#[test]
fn a_card_of_one_queue_is_said_to_be_one_and_is_spread_by_the_kernel() {
    let stock = Stock::new("irq-one");
    card(&stock, 1, 2);
    let (code, said) = irq(&stock, &["--apply"]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("It has one queue"), "{said}");
    assert_eq!(read(&stock, "proc/irq/41/smp_affinity_list"), "0-1");
    assert_eq!(read(&stock, "sys/class/net/eth0/queues/rx-0/rps_cpus"), "3");
    assert_eq!(read(&stock, "sys/class/net/eth0/queues/tx-0/xps_cpus"), "0", "there is nothing to choose");
}

#[test]
fn no_card_is_nothing_to_do_and_misuse_is_2() {
    let stock = Stock::new("irq-none");
    card(&stock, 1, 2);
    stock.write("proc/77/comm", "irqbalance\n");
    assert!(irq(&stock, &[]).1.contains("irqbalance is running"));
    for arguments in [&["--apply", "--undo"][..], &["--cores", "x"], &["--flows", "1000"], &["--nonsense"], &["eth9"]] {
        assert_eq!(irq(&stock, arguments).0, 2, "{arguments:?}");
    }
    fs::remove_dir_all(stock.root().join("sys/class/net")).unwrap();
    let (code, said) = irq(&stock, &[]);
    assert_eq!(
        (code, &*said),
        (0, "There is no network card here (a container sees none), so there is nothing to do.\n")
    );
}
