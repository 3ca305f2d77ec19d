"""The cost of TLS: processor time of a message as a multiple of the plain path's, memory, and handshakes."""

import contextlib
import os
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path

import measure
import server

# What each message is, the bench, and how many times its plain cost it may have.
MESSAGES = (
    ("echo of 64 B, 200 connections", "echo", ("-c", "200", "-s", "64"), 1.15),
    ("echo of 16 KiB, 50 connections", "echo", ("-c", "50", "-s", "16384"), 1.6),
    ("fan-out of 128 B to 1,000", "fanout", ("-c", "1000", "-s", "128"), 1.3),
)
SECONDS = 1.5
WARM_UP_S = 0.3
# What is held at first, and in the end: a descriptor table has room for 20,000 here.
HELD = (6_000, 18_000)
IDLE_BYTES_MAX = 400
SHAKING = 5_000
SHAKING_BYTES_MAX = 8 * 1024
READ_BYTES = 64 * 1024


def messages(folder, rounds):
    """Medians of the ratio to the plain path, and to uWebSockets over TLS, in turns."""
    with contextlib.ExitStack() as stack:
        servers = {
            "plain": stack.enter_context(measure.serving(folder, tls=False)),
            "tls": stack.enter_context(measure.serving(folder)),
            "rustls' records": stack.enter_context(measure.serving(folder, "--set", "tls.records=rustls")),
            "uWebSockets": stack.enter_context(uwebsockets(folder)),
        }
        for text, task, load, bound in MESSAGES:
            taken = {name: [] for name in servers}
            for _ in range(rounds):
                for name, running in servers.items():
                    taken[name].append(cost_us(running, task, load, name != "plain"))
            medians = {name: measure.median(values) for name, values in taken.items()}
            print(f"{text}: " + ", ".join(f"{name} {value:.2f} µs" for name, value in medians.items()), flush=True)
            yield f"{text}, as a multiple of plain", medians["tls"] / medians["plain"], bound
            yield f"{text}, rustls' records", medians["rustls' records"] / medians["plain"], None
            yield f"{text}, as a multiple of uWebSockets over TLS", medians["tls"] / medians["uWebSockets"], 1


def cost_us(running, task, load, tls):
    before = measure.cpu_s(running.pid)
    flags = (*load, "-d", str(SECONDS), "--warm-up", str(WARM_UP_S))
    taken = measure.outcome(measure.bench(task, running.address, *flags, tls=tls))
    # The processor time of the warm-up counts, and so do its messages.
    received = taken["received"] * (1 + WARM_UP_S / taken["measured_s"])
    return (measure.cpu_s(running.pid) - before) / received * 1e6


@contextlib.contextmanager
def uwebsockets(folder):
    """uWebSockets over TLS, as scripts/compare builds it."""
    sys.path.insert(0, str(server.ROOT / "compare"))
    import roster

    peer = next(peer for peer in roster.PEERS if peer.builder == "uws")
    roster.build([peer])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ["taskset", "-c", str(measure.PROCESSORS[0]), *peer.command.format(port=port).split()]
    process = subprocess.Popen([*command, *measure.pair(folder)], cwd=server.ROOT, preexec_fn=server.prepare_child)
    try:
        deadline = time.monotonic() + server.START_SECONDS_MAX
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            time.sleep(0.02)
        yield server.Running(f"127.0.0.1:{port}", process.pid, None)
    finally:
        process.kill()
        process.wait()


def memory(folder, rounds):
    """Bytes of an idle connection, and of one that shakes hands."""
    for name, tls, bound in (("ws", False, 139), ("wss", True, IDLE_BYTES_MAX)):
        few, many = (held_bytes(measure.serving(folder, tls=tls), count, tls) for count in HELD)
        yield f"bytes of an idle {name} connection", (many - few) / (HELD[1] - HELD[0]), bound
    few, many = (held_bytes(uwebsockets(folder), count, True) for count in HELD)
    yield "bytes of an idle wss connection of uWebSockets", (many - few) / (HELD[1] - HELD[0]), None
    hello = client_hello()
    with measure.serving(folder, "--set", "timeouts.handshake-timeout-ms=120s") as running:
        before = measure.private_bytes(running.pid)
        sockets = [half_shaken(running.address, hello) for _ in range(SHAKING)]
        grown = measure.private_bytes(running.pid) - before
        yield "bytes of a connection that shakes hands", grown / SHAKING, SHAKING_BYTES_MAX
        for open_socket in sockets:
            open_socket.close()


def held_bytes(starting, count, tls):
    with starting as running:
        flags = ("-c", str(count), "-d", "6", "--warm-up", "0.1")
        load = subprocess.Popen(measure.bench("idle", running.address, *flags, tls=tls), stdout=subprocess.DEVNULL)
        descriptors = Path(f"/proc/{running.pid}/fd")
        while len(os.listdir(descriptors)) <= count:
            if load.poll() is not None:
                raise SystemExit(f"The bench ended before it held {count} connections.")
            time.sleep(0.2)
        time.sleep(3)
        held = measure.private_bytes(running.pid)
        load.terminate()
        load.wait()
        return held


def client_hello():
    """The first bytes of a client, which may be sent again and again."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    session = ssl._create_unverified_context().wrap_bio(incoming, outgoing, server_hostname="localhost")
    with contextlib.suppress(ssl.SSLWantReadError):
        session.do_handshake()
    return outgoing.read()


def connect(address):
    host, port = address.rsplit(":", 1)
    return socket.create_connection((host, int(port)), timeout=30)


def half_shaken(address, hello):
    """A client that has read the server's answer, and says nothing more."""
    client = connect(address)
    client.sendall(hello)
    client.recv(READ_BYTES)
    return client


def handshakes(folder, rounds):
    """Processor time of a handshake with its upgrade; `cargo bench --bench tls` has that of the library alone."""
    for name, tls in (("ws", False), ("wss", True)):
        with measure.serving(folder, tls=tls) as running:
            taken = []
            for _ in range(rounds):
                before = measure.cpu_s(running.pid)
                flags = ("-c", "50", "-d", "2", "--warm-up", "0")
                done = measure.outcome(measure.bench("connect", running.address, *flags, tls=tls))
                count = done["per_second"] * done["measured_s"]
                taken.append((measure.cpu_s(running.pid) - before) / count * 1e6)
            yield f"µs of a {name} handshake with its upgrade and its end", measure.median(taken), None
