#!/usr/bin/env python3
"""Publishes in every way that Python's own modules have of sending a body, to a running ringsock.

    python tests/clients/publish.py 127.0.0.1:9000 KEY

The server runs with its default limits and this --api-key.
"""

import http.client
import io
import sys
import urllib.request

ADDRESS = sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:9000"
KEY = sys.argv[2] if len(sys.argv) > 2 else "key"
PATH = "/api/publish?topic=a"
SECONDS_MAX = 20


def client(connection, body, **more):
    connection.request("POST", PATH, body=body, headers={"X-API-Key": KEY}, **more)
    answer = connection.getresponse()
    answer.read()
    return answer.status


def connect():
    return http.client.HTTPConnection(ADDRESS, timeout=SECONDS_MAX)


def urllib_with(body):
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    request = urllib.request.Request(f"http://{ADDRESS}{PATH}", data=body, headers={"X-API-Key": KEY})
    with opener.open(request, timeout=SECONDS_MAX) as answer:
        return answer.status


def one_after_the_other():
    connection = connect()
    bodies = [b"hi", iter([b"h", b"i"]), "hi", io.BytesIO(b"hi"), iter([])]
    return max(client(connection, body) for body in bodies)


WAYS = {
    "http.client with bytes": lambda: client(connect(), b"hi"),
    "http.client with a file": lambda: client(connect(), io.BytesIO(b"hi")),
    "http.client with an iterable": lambda: client(connect(), iter([b"h", b"i"])),
    "http.client with chunks of its own": lambda: client(connect(), [b"hi"] * 100, encode_chunked=True),
    "http.client on one connection": one_after_the_other,
    "urllib with bytes": lambda: urllib_with(b"hi"),
    "urllib with an iterable": lambda: urllib_with(iter([b"h", b"i"])),
}

LARGE = b"x" * 10_000_000

# They send all of it before they read that it is too much.
TOO_MUCH = {
    "10 MB at once": lambda: client(connect(), LARGE),
    "10 MB in chunks": lambda: client(connect(), iter([LARGE[:65536]] * 160)),
}

for status_due, ways in [(200, WAYS), (413, TOO_MUCH)]:
    for name, send in ways.items():
        status = send()
        if status != status_due:
            sys.exit(f"FAILED {name}: {status}")
        print(f"ok {name}")
