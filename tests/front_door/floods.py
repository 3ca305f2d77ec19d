"""A flood of clients that begin handshakes and never end them, beside honest sessions."""

import json
import socket
import subprocess
import tempfile
import time

import cost
import measure

HONEST = 100
HONEST_PER_SECOND = 2_000
PER_SECOND = 5_000
SECONDS = 10
P99_MS_MAX = 5
# How long a client of the flood stays.
STAYS_S = 0.5


def flood(certificates, rounds):
    """The latency of honest sessions while strangers begin so many handshakes a second."""
    with measure.serving(certificates) as running, tempfile.NamedTemporaryFile(suffix=".json") as file:
        flags = ("-c", str(HONEST), "-r", str(HONEST_PER_SECOND), "-d", str(SECONDS - 3), "--warm-up", "2")
        command = [*measure.bench("echo", running.address, *flags), "--json", file.name]
        load = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        begun, before = begin_handshakes(running.address), measure.cpu_s(running.pid)
        count = sum(1 for _ in begun)
        used = measure.cpu_s(running.pid) - before
        if load.wait() != 0:
            raise SystemExit("The honest sessions did not all get through.")
        latency = json.load(file)["latency_us"]
        yield "half handshakes a second", count / SECONDS, None
        yield "processor seconds of the server", used, None
        yield "p50 of honest echoes in ms", latency["p50"] / 1000, None
        yield "p99 of honest echoes in ms", latency["p99"] / 1000, P99_MS_MAX


def begin_handshakes(address):
    """Yields once for each client that has sent its ClientHello."""
    hello, clients = cost.client_hello(), []
    host, port = address.rsplit(":", 1)
    began, number = time.monotonic(), 0
    while (now := time.monotonic()) < began + SECONDS:
        while clients and clients[0][0] < now - STAYS_S:
            clients.pop(0)[1].close()
        if number >= (now - began) * PER_SECOND:
            time.sleep(0.0005)
            continue
        client = socket.socket()
        client.connect((host, int(port)))
        client.send(hello)
        clients.append((now, client))
        number += 1
        yield
    for _, client in clients:
        client.close()
