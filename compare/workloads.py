"""The workloads of the comparison: each is one call of `ringsock bench`.

Knows no servers. Invariant: all servers get the same call except for address and process.
"""

from dataclasses import dataclass
from fnmatch import fnmatch

# One address has too few ports for tens of thousands of handshakes a second.
SOURCE = "127.1.0.0/24"


@dataclass(frozen=True)
class Metric:
    """A figure of a sample. `more` says whether more of it is better."""

    name: str
    title: str
    unit: str
    more: bool
    # Where it stands in the JSON of `ringsock bench`.
    path: tuple

    def of(self, bench):
        for key in self.path:
            bench = bench[key]
        return bench


RATE = Metric("rate", "messages a second", "/s", True, ("per_second",))
HANDSHAKES = Metric("rate", "handshakes a second", "/s", True, ("per_second",))
CPU = Metric("cpu", "server CPU for each", "µs", False, ("server", "cpu_us"))
P50 = Metric("p50", "latency, p50", "µs", False, ("latency_us", "p50"))
P99 = Metric("p99", "latency, p99", "µs", False, ("latency_us", "p99"))
MEMORY = Metric("memory", "memory for each", "bytes", False, ("server", "bytes_per_connection"))
BUSY = Metric("busy", "busy", "%", True, ("server", "cpu_percent"))
LOAD = Metric("load", "load", "%", True, ("load", "busy_percent"))
KERNEL = Metric("kernel", "the kernel's for each", "bytes", False, ("server", "kernel_bytes_per_connection"))
RESIDENT = Metric("resident", "memory in all", "bytes", False, ("server", "resident_bytes"))
OPENED = Metric("opened", "connections opened a second", "/s", True, ("opened_per_second",))

TRAFFIC = (RATE, CPU, P50, P99)


@dataclass(frozen=True)
class Workload:
    name: str
    group: str
    # Its title, at its plot and over its table.
    title: str
    mode: str
    connections: int
    flags: tuple = ()
    metrics: tuple = TRAFFIC

    def bench(self, address, pid, seconds, warm_up, json):
        """The command, but for the program; all of it in text."""
        path = "/topics/bench" if self.mode == "fanout" else "/echo"
        return [
            *("bench", self.mode, "--url", f"ws://{address}{path}", "--connections", str(self.connections)),
            *self.flags,
            *("--duration", f"{seconds:g}", "--warm-up", f"{warm_up:g}", "--source", SOURCE, "--pid", str(pid)),
            *("--json", str(json)),
        ]


def echo(size_name, size):
    for count in (1, 100, 1_000, 10_000):
        title = f"{count:,} connection{'s' if count > 1 else ''}"
        yield Workload(f"echo-{size_name}-{count}", f"echo-{size_name}", title, "echo", count, ("--size", str(size)))


WORKLOADS = (
    *echo("64", 64),
    *echo("1k", 1024),
    *echo("16k", 16 * 1024),
    Workload(
        *("pipelined", "other", "pipelined: 100 connections, 16 messages in flight on each", "echo", 100),
        ("--size", "64", "--in-flight", "16"),
    ),
    Workload("fanout-100", "other", "fan-out: 64 bytes to 100 subscribers", "fanout", 100, ("--size", "64")),
    Workload("fanout-10000", "other", "fan-out: 64 bytes to 10,000 subscribers", "fanout", 10_000, ("--size", "64")),
    Workload("handshakes", "other", "handshakes: 100 at once", "connect", 100, (), (HANDSHAKES, CPU, P50, P99)),
    Workload("idle", "idle", "10,000 idle connections", "idle", 10_000, (), (MEMORY, KERNEL, RESIDENT, OPENED)),
)
GROUPS = {
    "echo-64": "Echo, 64 bytes",
    "echo-1k": "Echo, 1 KiB",
    "echo-16k": "Echo, 16 KiB",
    "other": "Pipelined, fan-out, handshakes",
    "idle": "Idle connections",
}


def chosen(patterns):
    """The workloads whose names match one of these patterns, such as echo-64-*."""
    for pattern in patterns or ():
        if not any(fnmatch(workload.name, pattern) for workload in WORKLOADS):
            raise SystemExit(f"No workload is called {pattern}. There are: {', '.join(w.name for w in WORKLOADS)}.")
    return [w for w in WORKLOADS if not patterns or any(fnmatch(w.name, pattern) for pattern in patterns)]
