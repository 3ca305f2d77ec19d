#!/usr/bin/env python3
"""nginx and HAProxy in front of ringsock, with the settings that docs/behind-a-proxy.md shows.

    target/venv/bin/python tests/judges/proxies.py

Each ends TLS itself, or passes it through with a PROXY header. In either case WebSockets work, sessions of TLS resume,
and the limit of connections per address holds for the client's address and not for that of the proxy.
"""

import re
import socket
import ssl
import sys
import tempfile
import time
from pathlib import Path

from websockets.exceptions import InvalidHandshake
from websockets.sync.client import connect

ROOT = Path(__file__).resolve().parent.parent.parent
sys.dont_write_bytecode = True
sys.path.insert(0, str(ROOT / "tests"))

import server  # noqa: E402
from judges import authority, beside  # noqa: E402

DOCUMENT = ROOT / "docs/behind-a-proxy.md"
CLIENT, OTHER = "127.0.0.77", "127.0.0.78"
SECONDS_MAX = 20
BYTES = 200_000  # of a message: many records, and more than a buffer of a proxy

SETTINGS = """
[[listen]]
address = "{plain}"
tls = "off"

[[listen]]
address = "{secure}"
proxy-protocol = true

[tls]
certificates = ["{directory}/ecdsa.pem", "{directory}/rsa.pem"]
keys = ["{directory}/ecdsa.key", "{directory}/rsa.key"]

[proxies]
trusted = ["127.0.0.1"]

[limits]
max-connections-per-address = 1
max-message-bytes = "1MiB"
"""

NGINX = """
load_module /usr/lib/nginx/modules/ngx_stream_module.so;
daemon off;
user root;
pid {directory}/nginx.pid;
error_log stderr;
events {{}}
"""
NGINX_HTTP = """
http {{
access_log off;
client_body_temp_path {directory}/body;
proxy_temp_path {directory}/proxy;
fastcgi_temp_path {directory}/fastcgi;
uwsgi_temp_path {directory}/uwsgi;
scgi_temp_path {directory}/scgi;
{recipe}
}}
"""

HAPROXY = """
defaults
    timeout connect 5s
    timeout client 120s
    timeout server 120s
"""


def recipes(language):
    """The blocks of settings of a proxy in the document, by the comment in their first line."""
    blocks = re.findall(rf"```{language}\n# (.*?)\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    return {title: text for title, text in blocks}


def open_socket(address, source):
    host, port = address.split(":")
    return socket.create_connection((host, int(port)), SECONDS_MAX, source_address=(source, 0))


def open_session(address, trust, source):
    """A WebSocket through a proxy, from an address of its own."""
    opened = open_socket(address, source)
    return connect(f"wss://localhost:{address.split(':')[1]}/echo", sock=opened, ssl=trust, proxy=None,
                   compression=None, max_size=None, open_timeout=SECONDS_MAX)


REFUSALS = (InvalidHandshake, ssl.SSLError, ConnectionError, EOFError)


def admitted(open_it, *arguments):
    """What opening something gives, once the client before has left the only place of its address."""
    deadline = time.monotonic() + SECONDS_MAX
    while True:
        try:
            return open_it(*arguments)
        except REFUSALS:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def is_refused(address, trust, source):
    try:
        with open_session(address, trust, source):
            return False
    except REFUSALS:
        return True


def echoes(address, trust):
    with admitted(open_session, address, trust, CLIENT) as session:
        for message in ("hello", b"\x00" * BYTES, "Grüße"):
            session.send(message)
            assert session.recv(SECONDS_MAX) == message


def the_address_of_the_client_counts(address, trust):
    with admitted(open_session, address, trust, CLIENT) as first:
        for _ in range(3):
            assert is_refused(address, trust, CLIENT), "the proxy's client has no address"
        with admitted(open_session, address, trust, OTHER) as other:
            for session in (first, other):
                session.send("still here")
                assert session.recv(SECONDS_MAX) == "still here"


def request(address, trust, session):
    """Whether an HTTPS request resumed that session of TLS, and its session."""
    with trust.wrap_socket(open_socket(address, CLIENT), server_hostname="localhost", session=session) as opened:
        opened.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        answer = b"".join(iter(lambda: opened.recv(4096), b""))
        if not answer.startswith(b"HTTP/1.1 200 OK"):
            raise ConnectionError(answer)
        return opened.session_reused, opened.session


def sessions_resume(address, trust):
    resumed, session = admitted(request, address, trust, None)
    assert not resumed
    for _ in range(3):
        resumed, session = admitted(request, address, trust, session)
        assert resumed


def try_everything(name, address, trust):
    for test in (echoes, the_address_of_the_client_counts, sessions_resume):
        test(address, trust)
        print(f"ok {name}: {test.__name__.replace('_', ' ')}", flush=True)


def replaced(recipe, replacements):
    for old, new in replacements.items():
        assert old in recipe, f"the recipe has no {old}:\n{recipe}"
        recipe = recipe.replace(old, new)
    return recipe


def main():
    server.end_on_signals()
    with tempfile.TemporaryDirectory() as directory:
        ca, _ = authority.write(directory)
        pair = b"".join((Path(directory) / f"ecdsa.{ending}").read_bytes() for ending in ("pem", "key"))
        (Path(directory) / "both.pem").write_bytes(pair)
        trust = ssl.create_default_context(cafile=str(ca))
        plain, secure, front = (beside.free_address() for _ in range(3))
        settings = Path(directory) / "ringsock.toml"
        settings.write_text(SETTINGS.format(plain=plain, secure=secure, directory=directory))
        listen = f"listen {front}"
        nginx, haproxy = recipes("nginx"), recipes("haproxy")
        ends = replaced(nginx["nginx ends TLS"], {
            "listen 443": listen,
            "127.0.0.1:9000": plain,
            "/etc/nginx/fullchain.pem": f"{directory}/ecdsa.pem",
            "/etc/nginx/privkey.pem": f"{directory}/ecdsa.key",
        })
        passes = replaced(nginx["nginx passes TLS through"], {"listen 443": listen, "192.0.2.10:9000": secure})
        base = NGINX.format(directory=directory)
        cases = [
            ("nginx ends TLS", ["nginx", "-c"], base + NGINX_HTTP.format(directory=directory, recipe=ends)),
            ("nginx passes TLS through", ["nginx", "-c"], base + passes),
            ("HAProxy ends TLS", ["haproxy", "-db", "-f"], HAPROXY + replaced(haproxy["HAProxy ends TLS"], {
                "bind :443": f"bind {front}",
                "/etc/haproxy/both.pem": f"{directory}/both.pem",
                "127.0.0.1:9000": plain,
            })),
            ("HAProxy passes TLS through", ["haproxy", "-db", "-f"], HAPROXY + replaced(
                haproxy["HAProxy passes TLS through"], {"bind :443": f"bind {front}", "192.0.2.10:9000": secure},
            )),
        ]
        for name, command, text in cases:
            with server.running(["--config", str(settings), "--cores", "2"]):
                with beside.running(command, text, directory, front):
                    try_everything(name, front, trust)


if __name__ == "__main__":
    main()
