"""websockets on asyncio: `python server.py PORT`. /echo sends back, /topics/… publishes to all who are there."""

import asyncio
import sys

from websockets.asyncio.server import broadcast, serve
from websockets.exceptions import ConnectionClosed

subscribers = set()


async def echo(socket):
    async for message in socket:
        await socket.send(message)


async def publish(socket):
    subscribers.add(socket)
    try:
        async for message in socket:
            broadcast(subscribers, message)
    finally:
        subscribers.discard(socket)


async def session(socket):
    try:
        await (publish if socket.request.path.startswith("/topics/") else echo)(socket)
    except ConnectionClosed:
        pass


async def main():
    async with serve(session, "127.0.0.1", int(sys.argv[1]), compression=None) as server:
        await server.serve_forever()


asyncio.run(main())
