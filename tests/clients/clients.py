#!/usr/bin/env python3
"""The Python package `websockets` against a running ringsock.

    tests/clients/clients.py 127.0.0.1:9000

The server runs with its default limits.
"""

import asyncio
import os
import resource
import sys
import time

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, ConnectionClosedError

ADDRESS = sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:9000"
URL = f"ws://{ADDRESS}/echo"
MESSAGE_BYTES_MAX = 65536
CONNECTIONS = 1000
TEST_SECONDS_MAX = 60


def client(**options):
    # No proxy from the environment; messages of any size, so that the server's limit is what counts.
    return connect(URL, **({"proxy": None, "max_size": None, "ping_interval": None} | options))


async def echoes_text():
    async with client() as socket:
        for text in ("", "a", "Grüße, 世界 🌍", "x" * 125, "x" * 126, "x" * 1000):
            await socket.send(text)
            assert await socket.recv() == text


async def echoes_binary():
    async with client() as socket:
        for data in (b"", b"\x00", bytes(range(256)), os.urandom(4096)):
            await socket.send(data)
            assert await socket.recv() == data


async def joins_fragments():
    async with client() as socket:
        await socket.send(["one ", "", "two ", "thrée"])
        assert await socket.recv() == "one two thrée"
        await socket.send([b"\x01", b"\x02" * 200, b"\x03" * 20000])
        assert await socket.recv() == b"\x01" + b"\x02" * 200 + b"\x03" * 20000


async def keeps_order_of_many_messages_in_flight():
    async with client() as socket:
        messages = [f"message {number}" for number in range(2000)]

        async def send_all():
            for message in messages:
                await socket.send(message)

        sending = asyncio.create_task(send_all())
        assert [await socket.recv() for _ in messages] == messages
        await sending


async def answers_pings():
    async with client() as socket:
        for payload in (b"", b"ping", b"p" * 125):
            await (await socket.ping(payload))


async def accepts_unasked_pong():
    async with client() as socket:
        await socket.pong(b"nobody asked")
        await socket.send("still here")
        assert await socket.recv() == "still here"


async def echoes_message_at_the_limit():
    async with client() as socket:
        for message in ("t" * MESSAGE_BYTES_MAX, os.urandom(MESSAGE_BYTES_MAX)):
            await socket.send(message)
            assert await socket.recv() == message


async def closes_with_1009_above_the_limit():
    for message in (b"b" * (MESSAGE_BYTES_MAX + 1), [b"b" * MESSAGE_BYTES_MAX, b"b"]):
        async with client() as socket:
            try:
                await socket.send(message)
                answer = await socket.recv()
            except ConnectionClosedError as closed:
                assert closed.rcvd is not None and closed.rcvd.code == 1009, closed
            else:
                raise AssertionError(f"echoed {len(answer)} bytes")


async def echoes_close_code_and_reason():
    for code, reason in ((1000, "done"), (1001, "going away"), (3000, "application"), (4999, "Grüße " * 10), (1000, "")):
        async with client() as socket:
            await socket.close(code, reason)
            received = socket.protocol.close_rcvd
            assert received is not None, f"no close frame answered {code}"
            assert (received.code, received.reason) == (code, reason), received


async def chooses_no_subprotocol_and_no_extension():
    async with client(subprotocols=["chat", "superchat"]) as socket:
        assert socket.subprotocol is None
        assert "Sec-WebSocket-Extensions" not in socket.response.headers
        await socket.send("plain")
        assert await socket.recv() == "plain"


async def serves_1000_connections_at_once():
    gate = asyncio.Semaphore(100)  # opening handshakes under way, below any listen backlog

    async def open_one():
        async with gate:
            return await client(open_timeout=30, compression=None)

    async def talk(number, socket):
        for turn in range(3):
            await socket.send(f"{number} {turn}")
            assert await socket.recv() == f"{number} {turn}"

    sockets = await asyncio.gather(*(open_one() for _ in range(CONNECTIONS)))
    await asyncio.gather(*(talk(number, socket) for number, socket in enumerate(sockets)))
    await asyncio.gather(*(socket.close() for socket in sockets))
    assert all(socket.close_code == 1000 for socket in sockets)


async def survives_a_client_that_vanishes():
    for _ in range(50):
        socket = await client()
        await socket.send("x" * 1000)
        socket.transport.abort()
    async with client() as socket:
        await socket.send("next")
        assert await socket.recv() == "next"


async def notices_a_close_without_a_frame():
    async with client() as socket:
        socket.transport.write_eof()
        try:
            await socket.recv()
        except ConnectionClosed:
            return
        raise AssertionError("a message came after the client's end of stream")


TESTS = [
    echoes_text,
    echoes_binary,
    joins_fragments,
    keeps_order_of_many_messages_in_flight,
    answers_pings,
    accepts_unasked_pong,
    echoes_message_at_the_limit,
    closes_with_1009_above_the_limit,
    echoes_close_code_and_reason,
    chooses_no_subprotocol_and_no_extension,
    serves_1000_connections_at_once,
    survives_a_client_that_vanishes,
    notices_a_close_without_a_frame,
]


async def main():
    for test in TESTS:
        start = time.monotonic()
        try:
            await asyncio.wait_for(test(), TEST_SECONDS_MAX)
        except BaseException:
            print(f"FAILED {test.__name__}", flush=True)
            raise
        print(f"ok {test.__name__} ({time.monotonic() - start:.2f} s)", flush=True)


if __name__ == "__main__":
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    asyncio.run(main())
