"""Sessions through resumptions and the end of their tokens."""

import os
import selectors
import signal
import ssl
import subprocess
import time

import cost
import measure
import server

RESUMPTIONS = 200
EXPIRING = 10_000
GRACE_S = 10
# Time for all of them to connect.
LIFE_S = 25
SECRET = "0123456789abcdef0123456789abcdef"
UPGRADE = (
    "GET /topics/a HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)


def resumption(folder, rounds):
    """The share of sessions that are not resumed, over cores, reloads and two processes with one key file."""
    keys = folder / "tickets.key"
    keys.write_bytes(os.urandom(80))
    flags = [*measure.tls_flags(folder), "--set", f"tls.ticket-keys={keys}", "--cores", "2"]
    with server.running(flags) as one, server.running(flags) as other:
        context = ssl._create_unverified_context()
        session, resumed = None, 0
        for number in range(RESUMPTIONS):
            running = (one, other)[number % 2]
            if number % 20 == 10:
                os.kill(running.pid, signal.SIGHUP)
                time.sleep(0.1)
            with cost.connect(running.address) as tcp:
                with context.wrap_socket(tcp, server_hostname="localhost", session=session) as tls:
                    tls.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
                    tls.recv(4096)
                    resumed += tls.session_reused
                    session = tls.session
        # The first one has no ticket.
        yield "share of sessions that were not resumed", 1 - resumed / (RESUMPTIONS - 1), 0.05


def expiry(folder, rounds):
    """When so many sessions with one end are closed: within the grace, spread over it."""
    settings = folder / "expiry.toml"
    settings.write_text(
        f'[[issuer]]\nname = "a"\nkey = "{SECRET}"\nroles = ["all"]\n[[role]]\nname = "all"\n'
        f'grants = ["subscribe,publish:*"]\n[tokens]\ngrace-ms = {GRACE_S * 1000}\n'
        "[timeouts]\nping-interval-ms = 0\ndead-peer-timeout-ms = 0\n"
    )
    with server.running(["--config", str(settings), "--cores", "1"], address="127.0.0.1:0") as running:
        make = [server.BINARY, "token", "make", "--config", settings, "--sub", "ann", "--for", f"{LIFE_S}s"]
        made_at = time.time()
        token = subprocess.run(make, capture_output=True, text=True, check=True).stdout.strip()
        request = f"{UPGRADE}Authorization: Bearer {token}\r\n\r\n".encode()
        selector = selectors.DefaultSelector()
        clients = [entered(running.address, request) for _ in range(EXPIRING)]
        for client in clients:
            selector.register(client, selectors.EVENT_READ)
        closed, deadline = [], made_at + LIFE_S + GRACE_S + 20
        while len(closed) < EXPIRING and time.time() < deadline:
            for key, _ in selector.select(1):
                received = key.fileobj.recv(4096)
                code = int.from_bytes(received[2:4], "big") if received[:1] == b"\x88" else 0
                if code != 3000:
                    raise SystemExit(f"A session ended with {received!r} instead of a Close frame with 3000.")
                closed.append(time.time() - made_at - LIFE_S)
                selector.unregister(key.fileobj)
        for client in clients:
            client.close()
        closed.sort()
        yield "sessions that were not closed", EXPIRING - len(closed), 0
        yield "seconds after the end, first", -closed[0], 1.1  # the end is a whole second, and may lie 1 s before
        yield "seconds after the end, last", closed[-1], GRACE_S + 1
        per_second = [sum(int(at) == second for at in closed) for second in range(GRACE_S)]
        yield "share of all in the busiest second", max(per_second) / EXPIRING, 1.5 / GRACE_S


def entered(address, request):
    client = cost.connect(address)
    client.sendall(request)
    if not client.recv(4096).startswith(b"HTTP/1.1 101 "):
        raise SystemExit("A session was refused.")
    return client
