#!/usr/bin/env python3
"""Verifies the calls of hooks with the package standardwebhooks, and runs the backend of docs/hooks.md.

    python tests/clients/hooks.py uring

Starts a server of its own on this reactor.
"""

import json
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from server import ROOT, end_on_signals, running  # noqa: E402
from standardwebhooks import Webhook, WebhookVerificationError  # noqa: E402
from websockets.exceptions import InvalidStatus  # noqa: E402
from websockets.sync.client import connect  # noqa: E402

REACTOR = sys.argv[1] if len(sys.argv) > 1 else "epoll"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
PREVIOUS = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
OTHER = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
SECONDS_MAX = 20
failures = 0


def check(name, is_right):
    global failures
    print("ok" if is_right else "FAILED", name)
    failures += not is_right


class Backend(BaseHTTPRequestHandler):
    """Allows everything, and keeps each call."""

    protocol_version = "HTTP/1.1"
    calls = []

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        self.calls.append((body, {name.lower(): value for name, value in self.headers.items()}))
        self.send_response(200)
        self.send_header("Content-Length", "14")
        self.end_headers()
        self.wfile.write(b'{"allow":true}')

    def log_message(self, *_arguments):
        pass


def is_verified(secret, body, headers):
    try:
        return Webhook(secret).verify(body, headers) == json.loads(body)
    except WebhookVerificationError:
        return False


def later(headers, minutes):
    """The headers with another time, which the signature does not cover."""
    moved = datetime.now(timezone.utc) + timedelta(minutes=minutes)
    return headers | {"webhook-timestamp": str(int(moved.timestamp()))}


def verify_signatures():
    backend = ThreadingHTTPServer(("127.0.0.1", 0), Backend)
    threading.Thread(target=backend.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{backend.server_address[1]}/"
    sets = [f"hooks.{name}={url}" for name in ("connect", "subscribe", "publish", "facts")]
    sets += [f"hooks.secret={SECRET}", f"hooks.previous-secret={PREVIOUS}"]
    with running(["--reactor", REACTOR, *(flag for pair in sets for flag in ("--set", pair))]) as server:
        with connect(f"ws://{server.address}/topics/a") as client:
            client.send("grüße")
            check("a message comes back", client.recv(SECONDS_MAX) == "grüße")
            client.send(b"\x00\xff")
            check("bytes come back", client.recv(SECONDS_MAX) == b"\x00\xff")
    calls = Backend.calls
    events = [json.loads(body).get("event", "facts") for body, _ in calls]
    check(f"each hook was called: {events}", set(events) == {"connect", "subscribe", "publish", "facts"})
    check("each call is verified", all(is_verified(SECRET, *call) for call in calls))
    check("each call is verified by the secret before", all(is_verified(PREVIOUS, *call) for call in calls))
    check("no call is verified by another secret", not any(is_verified(OTHER, *call) for call in calls))
    altered = [(body.replace(b'"', b"'", 1), headers) for body, headers in calls]
    check("no altered call is verified", not any(is_verified(SECRET, *call) for call in altered))
    for minutes in (-6, -1, 6):
        moved = [(body, later(headers, minutes)) for body, headers in calls]
        is_refused = not any(is_verified(SECRET, *call) for call in moved)
        check(f"no call with another time is verified: {minutes} min", is_refused)
    ids = [headers["webhook-id"] for _, headers in calls]
    check("each call has an id of its own", len(set(ids)) == len(ids))
    backend.shutdown()


def run_the_backend_of_the_document():
    text = (ROOT / "docs/hooks.md").read_text()
    config, program = (re.search(rf"```{kind}\n(.*?)```", text, re.S)[1] for kind in ("toml", "python"))
    check(f"the program has {program.count(chr(10))} lines", program.count("\n") <= 40)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    file = ROOT / "target" / f"hooks-{port}.toml"
    file.write_text(config.replace(":8000/", f":{port}/"))
    backend = subprocess.Popen([sys.executable, "-c", program.replace("8000", str(port))], stderr=subprocess.DEVNULL)
    try:
        wait_for(port)
        with running(["--reactor", REACTOR, "--config", str(file)]) as server:
            try_the_backend(server.address)
    finally:
        backend.kill()
        backend.wait()
        file.unlink()


def wait_for(port):
    deadline = time.monotonic() + SECONDS_MAX
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise SystemExit("the backend does not listen")


def try_the_backend(address):
    known = {"Cookie": "session=1"}
    with connect(f"ws://{address}/topics/users/ann/1", additional_headers=known) as client:
        for text in ("one", "spam", "two"):
            client.send(text)
        heard = [client.recv(SECONDS_MAX), client.recv(SECONDS_MAX)]
        check("spam is dropped and the rest is published", heard == ["one", "two"])
    for path, headers in (("/topics/news", {"Cookie": "session=2"}), ("/topics/news", {}), ("/topics/b", known)):
        try:
            connect(f"ws://{address}{path}", additional_headers=headers).close()
            status = 101
        except InvalidStatus as refused:
            status = refused.response.status_code
        check(f"{path} with {headers} is refused", status == 403)
    with urllib.request.urlopen(f"http://{address}/health", timeout=SECONDS_MAX) as answer:
        check("the server is healthy", answer.status == 200)


end_on_signals()
verify_signatures()
run_the_backend_of_the_document()
if failures:
    raise SystemExit(f"{failures} checks failed")
