"""Processes that end when this one does, however it does.

Knows nothing of what they are. Invariant: each is a child of this process, the kernel kills it with this process, and
`end_all` leaves none.
"""

import contextlib
import ctypes
import os
import resource
import signal
import socket
import subprocess
import sys
import time

PR_SET_PDEATHSIG = 1
END_SECONDS_MAX = 5

libc = ctypes.CDLL(None, use_errno=True)
alive = []
TimeoutExpired = subprocess.TimeoutExpired


def start(command, *, cwd, environment, output=subprocess.DEVNULL):
    """Starts it in a group of its own, so that what it starts is ended with it."""
    process = subprocess.Popen(
        [str(word) for word in command],
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        start_new_session=True,
        preexec_fn=die_with_parent,
    )
    alive.append(process)
    return process


def run(command, seconds_max, *, cwd, environment):
    """Runs it to its end, like `subprocess.run` with its output captured."""
    process = start(command, cwd=cwd, environment=environment, output=subprocess.PIPE)
    try:
        out, err = process.communicate(timeout=seconds_max)
        return subprocess.CompletedProcess(command, process.returncode, out, err)
    finally:
        end(process)


def end(process):
    """SIGTERM, and then SIGKILL to all that it started and to itself if it did not obey."""
    if process.returncode is None:
        # Not waited for yet, so its number is still its own and its group's.
        process.terminate()
        deadline = time.monotonic() + END_SECONDS_MAX
        while not has_ended(process) and time.monotonic() < deadline:
            time.sleep(0.005)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    with contextlib.suppress(ValueError):
        alive.remove(process)


def has_ended(process):
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None


def end_all():
    for process in list(alive):
        end(process)


def end_on_signals():
    """Signals that would end this process at once end it in order instead."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda got, _frame: sys.exit(128 + got))


def raise_fd_limit():
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def free_port():
    """A port that nobody has, from below the kernel's range for outgoing connections."""
    first = 15000 + os.getpid() % 8000
    for port in range(first, first + 8000):
        if port in used_ports:
            continue
        used_ports.add(port)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise SystemExit("No free port was found between 15000 and 31000. End what listens there.")


# Each is used once, because those that connected to it linger in the kernel for a minute.
used_ports = set()


def wait_until_listening(process, port, seconds_max):
    """Returns whether the server accepts connections in time."""
    deadline = time.monotonic() + seconds_max
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), 1).close()
            return True
        time.sleep(0.02)
    return False


def die_with_parent():
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
