"""One sample: a server is started on its own processor, loaded from another, and ended.

Owns the files of a run. Invariant: a sample is written whole or not at all, and one that failed says why.
"""

import json
import os
import shlex
import shutil
from dataclasses import dataclass
from datetime import datetime, timezone

import conformance
import processes
from roster import ROOT

START_SECONDS_MAX = 20
# Beyond what is measured: to open 10,000 connections, to wait for stragglers, to close.
REST_SECONDS_MAX = 60
BENCH = "target/release/ringsock"


@dataclass(frozen=True)
class Settings:
    """The settings that all samples of a run share."""

    rounds: int
    seconds: float
    warm_up: float
    server_cpu: int
    load_cpu: int

    def server_command(self, peer, port):
        return ["taskset", "-c", str(self.server_cpu), *shlex.split(peer.command.format(port=port))]

    def bench_command(self, workload, address, pid, file):
        flags = workload.bench(address, pid, self.seconds, self.warm_up, file)
        return ["taskset", "-c", str(self.load_cpu), BENCH, *flags]


class Failure(Exception):
    """Why there are no figures; a full sentence."""


def file_of(directory, workload_name, peer_name, number):
    return directory / workload_name / f"{peer_name.replace(' ', '-')}.{number}.json"


def measure(peer, workload, number, settings, directory):
    """Measures, writes and returns one sample."""
    sample = {
        "peer": peer.name,
        "workload": workload.name,
        "round": number,
        "at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "failure": None,
        "bench": None,
    }
    path = file_of(directory, workload.name, peer.name, number)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        sample["bench"] = loaded(peer, workload, settings, path.with_suffix(".bench"))
    except Failure as failure:
        sample["failure"] = str(failure)
    write(path, sample)
    return sample


def loaded(peer, workload, settings, file):
    """Returns the result of `ringsock bench` for the server."""
    with running(peer, settings) as (server, port):
        command = settings.bench_command(workload, f"127.0.0.1:{port}", server.pid, file)
        seconds_max = settings.seconds + settings.warm_up + REST_SECONDS_MAX
        try:
            done = processes.run(command, seconds_max, cwd=ROOT, environment=environment())
        except processes.TimeoutExpired:
            raise Failure(f"The load was not done within {seconds_max:.0f} s.") from None
        if server.poll() is not None:
            raise Failure(f"The server ended under load with exit code {server.returncode}.")
    try:
        outcome = json.loads(file.read_text())
    except (OSError, ValueError):
        lines = done.stderr.decode(errors="replace").strip().splitlines() or ["it said nothing"]
        raise Failure(f"The load could not be made: {lines[-1]}") from None
    finally:
        file.unlink(missing_ok=True)
    outcome.pop("samples")
    refuse_faulty(outcome, workload, done.returncode)
    return outcome


def refuse_faulty(outcome, workload, code):
    """A wrong answer is no throughput."""
    faults = sorted(outcome["faults"].items(), key=lambda fault: -fault[1])
    if faults:
        raise Failure(f"{faults[0][1]:,} × {faults[0][0]}")
    if workload.mode != "connect" and outcome["open"] < workload.connections:
        raise Failure(f"Only {outcome['open']:,} of {workload.connections:,} connections were open at once.")
    if workload.mode == "idle":
        if outcome["answered"] < workload.connections:
            raise Failure(f"Only {outcome['answered']:,} of {workload.connections:,} connections answered in the end.")
    elif outcome["per_second"] <= 0:
        raise Failure("Nothing came while it was measured.")
    if code != 0:
        raise Failure(f"The load ended with exit code {code}.")
    if not outcome["server"]:
        raise Failure("The server's process could not be observed.")


class running:
    """A server that listens: its process and its port."""

    def __init__(self, peer, settings):
        self.peer, self.settings = peer, settings

    def __enter__(self):
        port = processes.free_port()
        command = self.settings.server_command(self.peer, port)
        self.server = processes.start(command, cwd=ROOT, environment=environment())
        if not processes.wait_until_listening(self.server, port, START_SECONDS_MAX):
            code = self.server.poll()
            processes.end(self.server)
            raise Failure(f"The server did not listen within {START_SECONDS_MAX} s (exit code {code}).")
        return self.server, port

    def __exit__(self, *_error):
        processes.end(self.server)


def probe(peer, settings):
    """Returns the fault of a server, or None; and the rules that it enforces."""
    try:
        with running(peer, settings) as (_server, port):
            conformance.check(port)
            return None, conformance.rules(port)
    except (Failure, conformance.WrongAnswer, OSError) as error:
        return str(error), {}


def environment():
    """Settings of the person who measures must not change what is measured."""
    return {name: value for name, value in os.environ.items() if not name.startswith("RINGSOCK_")}


def write(path, content):
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(content, indent=1) + "\n")
    partial.rename(path)


def read_all(directory):
    """All samples of a run, in the order they were taken."""
    samples = [json.loads(path.read_text()) for path in directory.glob("*/*.json")]
    return sorted(samples, key=lambda sample: (sample["round"], sample["at"]))


def read_run(directory):
    """Returns the plan of a run: its servers, workloads and settings."""
    try:
        return json.loads((directory / "run.json").read_text())
    except OSError:
        raise SystemExit("There is no run to continue or to report. Leave that flag out.") from None


def discard_all(directory):
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
