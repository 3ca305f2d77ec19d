"""What a server's process has used, and loads for it.

The server has the first processor, and the load the last one.
"""

import json
import os
import re
import subprocess
import tempfile
from pathlib import Path

import server

TICKS = os.sysconf("SC_CLK_TCK")
PROCESSORS = sorted(os.sched_getaffinity(0))
PRIVATE = re.compile(r"(?:Private_Dirty|Private_Clean|Swap):\s+(\d+)")


def pair(folder):
    """The files of a certificate with a P-256 key, and of the key."""
    return str(folder / "ecdsa.pem"), str(folder / "ecdsa.key")


def tls_flags(folder):
    """The flags of a server with this certificate."""
    certificate, key = pair(folder)
    return ["--tls-certificate", certificate, "--tls-key", key]


def serving(folder, *more, tls=True):
    """A server of one core, over TLS or plain."""
    return server.running(["--cores", "1", *(tls_flags(folder) if tls else []), *more])


def cpu_s(pid):
    """The processor time of a process in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def private_bytes(pid):
    """The memory that belongs to a process alone."""
    return 1024 * sum(map(int, PRIVATE.findall(Path(f"/proc/{pid}/smaps_rollup").read_text())))


def bench(task, address, *more, tls=True):
    """The command of a bench."""
    path = "topics/bench" if task == "fanout" else "echo"
    url = f"{'wss' if tls else 'ws'}://{address}/{path}"
    trust = ["--insecure"] if tls else []
    return ["taskset", "-c", str(PROCESSORS[-1]), server.BINARY, "bench", task, "--url", url, *trust, *more]


def outcome(command):
    """Runs a bench to its end, and returns its outcome."""
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        done = subprocess.run([*command, "--json", file.name], capture_output=True, text=True)
        if done.returncode != 0:
            raise SystemExit(f"The bench failed:\n{done.stdout}{done.stderr}")
        return json.load(file)


def median(values):
    return sorted(values)[len(values) // 2]
