"""Forty WebSockets over TLS: each asks and waits for the answer, until it is told to go.

Usage: wss_clients.py PORT CA_FILE. Prints {"open": 40} when all are open, then a line for each as it ends.
"""

import asyncio
import json
import ssl
import sys

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

COUNT = 40


async def converse(socket, name):
    sent = received = 0
    try:
        while True:
            text = f"{sent:08} ..............o"
            await socket.send(text)
            sent += 1
            assert await socket.recv() == text, name
            received += 1
            await asyncio.sleep(0.01)
    except ConnectionClosed as closed:
        code = closed.rcvd.code if closed.rcvd else None
        clean = closed.rcvd is not None and closed.sent is not None
        line = {"session": name, "sent": sent, "received": received, "code": code, "clean": clean}
        print(json.dumps(line), flush=True)


async def main(port, authority):
    contexts = []
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = ssl.create_default_context(cafile=authority)
        context.minimum_version = context.maximum_version = version
        contexts.append(context)
    sockets = {}
    for number in range(COUNT):
        name = f"p{number}"
        url = f"wss://localhost:{port}/echo/{name}"
        sockets[name] = await connect(url, ssl=contexts[number % 2], compression=None)
    print(json.dumps({"open": len(sockets)}), flush=True)
    await asyncio.gather(*(converse(socket, name) for name, socket in sockets.items()))


asyncio.run(main(sys.argv[1], sys.argv[2]))
