"""scripts/trace: what is done to a server is what the lines say, by bpftrace where it works, and without it."""

import re
import signal
import subprocess
import sys
import threading
import unittest
from contextlib import ExitStack
from unittest import mock

from . import ROOT, script

trace = script("trace/run")
sys.path.insert(0, str(ROOT / "tests"))

import server  # noqa: E402

RUN = ROOT / "scripts/trace/run"
SECONDS_MAX = 60
SECONDS = 2
CONNECTIONS = 50
# A core that answers so many sleeps between them, and waits for a processor each time it is woken.
WAITS = 10
LINE = re.compile(r"\d\d:\d\d:\d\d  \w+ (\d+)")


class Watched:
    """A server, and what a run of the script says of it."""

    def __init__(self, running):
        self.address = running.address
        self.port = running.address.split(":")[1]
        self.pid = str(running.pid)

    def watch(self, name, *flags, enough=None):
        """Returns the sum of the counts in the lines, and the whole output. With `enough`, opens WebSockets once the first
        line is there, and interrupts the script once it has counted that many.
        """
        command = [RUN, name, "--port", self.port, "--pid", self.pid, *flags]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        with subprocess.Popen(command, preexec_fn=heed_interrupts, **pipes) as watcher:
            patience = threading.Timer(SECONDS_MAX, watcher.kill)
            patience.start()
            output, is_over = "", enough is None
            for line in watcher.stdout:
                output += line
                counts = [int(count) for count in LINE.findall(output)]
                if is_over or not LINE.match(line):
                    continue
                if len(counts) == 1:
                    open_websockets(self.address)
                elif sum(counts[1:]) >= enough:
                    watcher.send_signal(signal.SIGINT)
                    is_over = True
            watcher.wait()
            patience.cancel()
        if watcher.returncode != 0:
            raise AssertionError(f"It ended with {watcher.returncode}:\n{output}")
        return sum(map(int, LINE.findall(output))), output


def heed_interrupts():
    """Restores SIGINT, which a process in the background of a shell without job control ignores, with all its children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def open_websockets(address):
    """Opens them one by one, and leaves."""
    host, port = address.split(":")
    for _ in range(CONNECTIONS):
        trace.handshake_us(host, int(port), "/echo")


def bpftrace_fault():
    """Why bpftrace does not work here, or None."""
    if reason := trace.refusal():
        return reason
    command = ["bpftrace", "-q", "-e", "tracepoint:sched:sched_switch { exit(); }"]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS_MAX)
    return None if ran.returncode == 0 else ran.stderr.strip()


class OnARealServer(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        stack = ExitStack()
        cls.addClassCleanup(stack.close)
        cls.server = Watched(stack.enter_context(server.running(["--cores", "1"])))

    def test_connections_are_counted_without_bpftrace(self):
        opened, output = self.server.watch("connections", "--plain", enough=CONNECTIONS)
        # Others may connect to other servers meanwhile.
        self.assertGreaterEqual(opened, CONNECTIONS, output)
        self.assertIn("without bpftrace: as it was asked for", output)

    def test_handshakes_are_tried_without_bpftrace(self):
        count, output = self.server.watch("handshakes", "--plain", "--seconds", str(SECONDS))
        self.assertEqual(count, SECONDS * trace.PROBES_PER_SECOND, output)
        self.assertRegex(output, r"average [1-9]\d* us  longest [1-9]\d* us")

    def test_waits_for_a_processor_are_counted_without_bpftrace(self):
        count, output = self.server.watch("runqueue", "--plain", enough=WAITS)
        self.assertGreaterEqual(count, WAITS, output)

    def test_bpftrace_counts_the_same(self):
        if fault := bpftrace_fault():
            print(f"NOT TESTED: scripts/trace/*.bt; bpftrace does not work here ({fault})", file=sys.stderr, flush=True)
            return
        for name in ("connections", "handshakes"):
            count, output = self.server.watch(name, enough=CONNECTIONS)
            self.assertIn("by bpftrace", output)
            self.assertEqual(count, CONNECTIONS, output)
        count, output = self.server.watch("runqueue", enough=WAITS)
        self.assertGreaterEqual(count, WAITS, output)
        self.assertNotIn("without bpftrace", output)

    def test_says_what_it_cannot_do_in_a_sentence(self):
        for arguments, reason in [
            (["runqueue"], "needs the server's --pid"),
            (["runqueue", "--plain", "--pid", "999999999"], "there is no process 999999999"),
            (["handshakes", "--plain", "--port", "1"], "no connection to 127.0.0.1:1 (Connection refused)"),
            (["handshakes", "--plain", "--port", self.server.port, "--path", "/health"], "opened no WebSocket"),
        ]:
            ran = subprocess.run([RUN, *arguments], capture_output=True, text=True, timeout=SECONDS_MAX)
            self.assertNotEqual(ran.returncode, 0)
            self.assertIn(reason, ran.stderr)


class Without(unittest.TestCase):
    def test_what_keeps_bpftrace_from_working_is_said(self):
        with mock.patch.object(trace.shutil, "which", return_value=None):
            self.assertEqual(trace.trace("connections", 0, 1), "bpftrace is not installed")
        popen = subprocess.Popen
        failing = lambda _, **how: popen(["sh", "-c", "echo no right >&2; exit 3"], **how)  # noqa: E731
        with (
            mock.patch.object(trace, "refusal", return_value=None),
            mock.patch.object(trace.subprocess, "Popen", failing),
        ):
            self.assertEqual(trace.trace("connections", 0, 1), "no right")


if __name__ == "__main__":
    unittest.main()
