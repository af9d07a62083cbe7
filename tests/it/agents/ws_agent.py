"""A WebSocket agent on the `websockets` library: a real peer, not one of ours.

It listens on a free loopback port, says so in one JSON line on stdout, and then writes one JSON
line for each session that has ended: what it sent and received, and the Close that it saw.

Sessions are named, and do what they do, by their path: /echo/NAME answers each message with the
same, /chat/NAME?every=MS sends one unasked at that pace, /quiet/NAME only listens.
"""

import asyncio
import json
import sys
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed


def message(number):
    return f"{number:08d} ..............o"


def say(**line):
    print(json.dumps(line), flush=True)


async def push(socket, every, side):
    """Sends a message each `every` seconds, and counts those that were taken."""
    try:
        while True:
            await socket.send(message(side["sent"]))
            side["sent"] += 1
            await asyncio.sleep(every)
    except ConnectionClosed:
        pass


async def session(socket):
    url = urlsplit(socket.request.path)
    _, manner, name = url.path.split("/", 2)
    every = parse_qs(url.query).get("every")
    side = {"sent": 0, "received": []}
    pushing = None
    if every:
        pushing = asyncio.create_task(push(socket, int(every[0]) / 1000, side))
    try:
        async for text in socket:
            side["received"].append(int(text[:8]))
            if manner == "echo":
                await socket.send(text)
                side["sent"] += 1
    except ConnectionClosed:
        pass
    if pushing:
        await pushing
    await socket.wait_closed()
    closed = socket.protocol.close_rcvd
    say(session=name, close=closed.code if closed else None, clean=socket.close_code != 1006, **side)


async def main():
    # No pings of its own: the only control frames are those under test.
    async with serve(session, "127.0.0.1", 0, ping_interval=None, max_queue=None) as server:
        say(port=server.sockets[0].getsockname()[1])
        # The parent's end of stdin is the life of this process.
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


asyncio.run(main())
