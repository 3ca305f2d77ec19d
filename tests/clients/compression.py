#!/usr/bin/env python3
"""The Python package `websockets`, which offers permessage-deflate, against a ringsock that agrees to it.

    tests/clients/compression.py 127.0.0.1:9000 shared

The server runs with `--compression shared` or `dedicated`, as the second argument says.
"""

import asyncio
import json
import os
import sys

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory

ADDRESS, MODE = sys.argv[1:3]
URL = f"ws://{ADDRESS}/echo"
TEST_SECONDS_MAX = 60
RECORDS = json.dumps([{"id": number, "name": f"käse {number % 7}", "price": number * 37 % 1000} for number in range(600)])


def client(**parameters):
    deflate = ClientPerMessageDeflateFactory(**parameters)
    return connect(URL, proxy=None, max_size=None, ping_interval=None, compression=None, extensions=[deflate])


def agreed(socket):
    (extension,) = socket.protocol.extensions
    return extension


async def agrees_on_what_was_offered():
    async with client(client_max_window_bits=True) as socket:
        takeover = MODE == "dedicated"
        assert agreed(socket).remote_no_context_takeover is not takeover
        assert agreed(socket).local_no_context_takeover is not takeover


async def echoes_with_every_parameter():
    bits = [None, 9, 12, 15]
    for server in bits:
        for own in [True, *bits[1:]]:
            for without in ({}, {"server_no_context_takeover": True}, {"client_no_context_takeover": True}):
                async with client(server_max_window_bits=server, client_max_window_bits=own, **without) as socket:
                    assert agreed(socket)
                    for message in ("", "a", RECORDS, RECORDS[:300], os.urandom(20_000), b"\x00" * 60_000, RECORDS):
                        await socket.send(message)
                        assert await socket.recv() == message


async def joins_compressed_fragments():
    async with client() as socket:
        pieces = [RECORDS[start : start + 777] for start in range(0, len(RECORDS), 777)]
        for _ in range(3):
            await socket.send(["", *pieces])
            assert await socket.recv() == RECORDS


async def closes_1009_what_becomes_too_large():
    async with client() as socket:
        await socket.send("x" * 65_536)
        assert await socket.recv() == "x" * 65_536
        await socket.send("x" * 65_537)
        try:
            await socket.recv()
            raise AssertionError("the message was taken")
        except ConnectionClosed as closed:
            assert closed.rcvd.code == 1009, closed


async def works_beside_clients_without_compression():
    async with connect(URL, proxy=None, compression=None) as plain, client() as compressed:
        assert not plain.protocol.extensions
        for socket in (plain, compressed, plain):
            await socket.send(RECORDS)
            assert await socket.recv() == RECORDS


async def main():
    tests = [
        agrees_on_what_was_offered,
        echoes_with_every_parameter,
        joins_compressed_fragments,
        closes_1009_what_becomes_too_large,
        works_beside_clients_without_compression,
    ]
    for test in tests:
        await asyncio.wait_for(test(), TEST_SECONDS_MAX)
        print(f"ok  websockets, {MODE}: {test.__name__.replace('_', ' ')}", flush=True)


asyncio.run(main())
