"""Programs of others that listen beside a server: proxies and tunnels."""

import contextlib
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import server

SECONDS_MAX = 20


def free_address():
    """An address where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as held:
        return f"127.0.0.1:{held.getsockname()[1]}"


@contextlib.contextmanager
def running(command, settings, directory, listens):
    """A program that listens at an address, until the end; prints its output if anything fails. The path of its settings
    becomes the last argument of the command.
    """
    path = Path(directory) / f"{command[0]}.conf"
    path.write_text(settings)
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen([*command, str(path)], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                   preexec_fn=server.prepare_child)
        try:
            await_listener(process, listens)
            yield
        except BaseException:
            log.seek(0)
            print(f"--- {command[0]}", settings, log.read().decode(errors="replace"), "---", sep="\n", flush=True)
            raise
        finally:
            process.terminate()
            process.wait()


def await_listener(process, address):
    host, port = address.split(":")
    deadline = time.monotonic() + SECONDS_MAX
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError):
            with socket.create_connection((host, int(port)), SECONDS_MAX):
                return
        time.sleep(0.05)
    raise SystemExit(f"{process.args[0]} does not listen on {address}")
