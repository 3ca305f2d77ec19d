#!/usr/bin/env python3
"""Runs a command beside a ringsock server, and ends the server afterwards whatever happens.

    tests/server.py --reactor uring --cores 2 -- node tests/clients/clients.mjs {address}

What stands before `--` goes to `ringsock serve`; `{address}` in the command becomes host:port, `{pid}` its process, and
`{admin}` the address of its metrics, if `--admin-listen` asks for one. With a certificate the server speaks TLS.
As a module it gives `running(flags)` and `reactors()`. Only the standard library is used.

RINGSOCK_BINARY names the binary; the default is target/release/ringsock.
"""

import contextlib
import ctypes
import os
import re
import resource
import signal
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
BINARY = Path(os.environ.get("RINGSOCK_BINARY", ROOT / "target/release/ringsock"))
START_SECONDS_MAX = 20
STOP_SECONDS_MAX = 20
LOG_LINES_SHOWN = 60
LOG_BYTES_READ = 1 << 20  # its address is said at the start
READY = re.compile(rb"ready on ws(s?)://([^/]+)/")
METRICS = re.compile(rb"metrics +http://([^/]+)/")

IO_URING_SETUP = 425  # the same number on x86-64 and AArch64
IO_URING_PARAMS_BYTES = 120
PR_SET_PDEATHSIG = 1

libc = ctypes.CDLL(None, use_errno=True)


def io_uring_fault():
    """Why this host refuses io_uring, or None if it allows it."""
    fd = libc.syscall(IO_URING_SETUP, 2, ctypes.create_string_buffer(IO_URING_PARAMS_BYTES))
    if fd < 0:
        return os.strerror(ctypes.get_errno())
    os.close(fd)
    return None


def reactors():
    """The reactors this host can run; says so when io_uring is not one of them."""
    fault = io_uring_fault()
    if fault is None:
        return ["uring", "epoll"]
    print(f"NOT TESTED: the io_uring reactor; this host refuses io_uring ({fault})", file=sys.stderr, flush=True)
    return ["epoll"]


def prepare_child():
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def raise_fd_limit():
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def address_once_healthy(process, log):
    """Where it listens, as its log says, once it answers there; and where its metrics are, or None."""
    # Whether it answers is the question here, and not who.
    anyone = ssl._create_unverified_context()
    deadline = time.monotonic() + START_SECONDS_MAX
    while process.poll() is None and time.monotonic() < deadline:
        text = os.pread(log.fileno(), LOG_BYTES_READ, 0)
        said = READY.search(text)
        if said:
            scheme, address = f"http{said[1].decode()}", said[2].decode()
            with contextlib.suppress(OSError):
                url = f"{scheme}://{address}/health"
                with urllib.request.urlopen(url, timeout=START_SECONDS_MAX, context=anyone) as answer:
                    if answer.status == 200:
                        metrics = METRICS.search(text)
                        return address, metrics and metrics[1].decode()
        time.sleep(0.02)
    raise SystemExit(f"ringsock did not become healthy (exit code {process.poll()})")


def stop(process):
    """SIGTERM, and exit code 0 within the deadline."""
    if process.poll() is not None:
        raise SystemExit(f"ringsock ended by itself with exit code {process.returncode}")
    process.send_signal(signal.SIGTERM)
    try:
        code = process.wait(STOP_SECONDS_MAX)
    except subprocess.TimeoutExpired:
        raise SystemExit(f"ringsock did not end within {STOP_SECONDS_MAX} s of SIGTERM") from None
    if code != 0:
        raise SystemExit(f"ringsock ended with exit code {code} after SIGTERM")


class Running(NamedTuple):
    """A server that runs."""

    address: str
    pid: int
    admin: str | None


@contextlib.contextmanager
def running(flags, address=None):
    """A healthy server with these flags, at an address of its own if none is given, nor a file of settings; prints its
    log if anything fails.
    """
    if not BINARY.exists():
        raise SystemExit(f"{BINARY} is missing: run `cargo build --release`")
    raise_fd_limit()
    # Settings of the person who runs the tests must not change what is tested.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("RINGSOCK_")}
    listen = [] if "--config" in flags and address is None else ["--listen", address or "127.0.0.1:0"]
    admin = [] if "--admin-listen" in flags else ["--admin-listen", "none"]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [BINARY, "serve", *listen, *admin, *flags],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
            preexec_fn=prepare_child,
        )
        try:
            address, admin = address_once_healthy(process, log)
            yield Running(address, process.pid, admin)
            stop(process)
        except BaseException:
            if process.poll() is None:
                process.kill()
                process.wait()
            log.seek(0)
            lines = log.read().decode(errors="replace").splitlines()
            print("--- the server's last lines", *lines[-LOG_LINES_SHOWN:], "---", sep="\n", flush=True)
            raise


def end_on_signals():
    """Turns signals that would end this process at once into an exception that ends the server first."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda got, _frame: sys.exit(128 + got))


def main():
    end_on_signals()
    arguments = sys.argv[1:]
    if arguments == ["reactors"]:
        print(*reactors(), sep="\n")
        return
    if "--" not in arguments or arguments[-1] == "--":
        raise SystemExit(__doc__)
    border = arguments.index("--")
    with running(arguments[:border]) as started:
        command = arguments[border + 1 :]
        for name, value in started._asdict().items():
            command = [part.replace(f"{{{name}}}", str(value)) for part in command]
        code = subprocess.run(command, cwd=ROOT).returncode
        if code != 0:
            raise SystemExit(code)


if __name__ == "__main__":
    main()
