#!/usr/bin/env python3
"""The Python package `websockets` asks a running ringsock for subprotocols.

    tests/clients/subprotocols.py 127.0.0.1:9000

The server runs with `--set handshake.subprotocols=chat,v2.example`.
"""

import asyncio
import sys

from websockets.asyncio.client import connect

ADDRESS = sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:9000"
TEST_SECONDS_MAX = 60


async def chosen(path, offered):
    """The subprotocol in which a message was echoed."""
    url = f"ws://{ADDRESS}{path}"
    async with connect(url, subprotocols=offered, proxy=None) as socket:
        await socket.send("hello")
        assert await socket.recv() == "hello"
        return socket.subprotocol


async def main():
    for path in ("/echo", "/topics/subprotocols"):
        assert await chosen(path, ["chat"]) == "chat"
        assert await chosen(path, ["other", "v2.example", "chat"]) == "v2.example"
        # This client goes on without one.
        assert await chosen(path, ["other", "Chat"]) is None
        assert await chosen(path, None) is None
        print(f"ok subprotocols on {path}")


asyncio.run(asyncio.wait_for(main(), TEST_SECONDS_MAX))
