"""The properties of this machine that matter to figures, and how quiet it is. Linux only; names no host and no path."""

import os
import re
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
VULNERABILITIES = Path("/sys/devices/system/cpu/vulnerabilities")


def describe():
    """Name → text, in the order it is to be shown."""
    cpuinfo = CPUINFO.read_text()
    model = re.search(r"^(?:model name|Processor|Model)\s*: (.*)$", cpuinfo, re.MULTILINE)
    flags = re.search(r"^flags\s*: (.*)$", cpuinfo, re.MULTILINE)
    virtual = bool(flags and "hypervisor" in flags[1].split())
    memory_kib = int(re.search(r"^MemTotal:\s+(\d+) kB", Path("/proc/meminfo").read_text(), re.MULTILINE)[1])
    return {
        "processor": model[1].strip() if model else os.uname().machine,
        "processors": f"{len(os.sched_getaffinity(0))}{', of a virtual machine' if virtual else ''}",
        "memory": f"{memory_kib / (1 << 20):.0f} GiB",
        "kernel": f"Linux {os.uname().release.split('-')[0]}",
        "mitigations": mitigations(),
        "descriptors": f"{os.sysconf('SC_OPEN_MAX'):,} for each process at most",
    }


def mitigations():
    """Returns the kernel's mitigations of processor flaws, which cost time at every system call."""
    states = {path.name: path.read_text().strip() for path in sorted(VULNERABILITIES.glob("*"))}
    affected = [f"{name}: {state}" for name, state in states.items() if state != "Not affected"]
    if not states:
        return "not known"
    return "; ".join(affected) or "none needed"


def two_processors():
    """One for the server and one for the load."""
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < 2:
        raise SystemExit("There is one processor here, and two are needed: one for the server, one for the load.")
    return allowed[:2]


def load():
    """Processes that wanted to run, on average over the last minute."""
    return os.getloadavg()[0]


def processor_time():
    """Of all processors since they were started: all of it, and what a host kept for others (steal)."""
    fields = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:]]
    return sum(fields[:8]), fields[7]
