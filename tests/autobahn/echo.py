"""The agent that is fuzzed: every message goes back as it came, compressed if the client offers that.

What it answers does not hang on the pieces in which it is asked: a message goes back before the next byte is looked at. An
agent with a task for each session answers a message or not as the frame that breaks the rules comes with it or behind it.

It listens on a free loopback port, says which, and ends with its stdin.
"""

import asyncio
import sys

from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
from websockets.frames import Opcode
from websockets.http11 import Request
from websockets.protocol import SEND_EOF, State
from websockets.server import ServerProtocol

# Larger reads are the inside of large messages.
SMALL = 4096


class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport
        deflate = ServerPerMessageDeflateFactory(compress_settings={"memLevel": 5})
        self.protocol = ServerProtocol(extensions=[deflate], max_size=None)
        self.opcode, self.parts = None, []

    def data_received(self, data):
        step = 1 if len(data) < SMALL else len(data)
        for at in range(0, len(data), step):
            self.protocol.receive_data(data[at : at + step])
            self.answer()

    def eof_received(self):
        self.protocol.receive_eof()
        self.answer()
        return True

    def answer(self):
        for event in self.protocol.events_received():
            if isinstance(event, Request):
                self.protocol.send_response(self.protocol.accept(event))
            elif event.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
                self.hear(event)
        for data in self.protocol.data_to_send():
            if data != SEND_EOF:
                self.transport.write(data)
            elif self.transport.can_write_eof():
                self.transport.write_eof()
        if self.protocol.close_expected():
            self.transport.close()

    def hear(self, frame):
        if frame.opcode is not Opcode.CONT:
            self.opcode = frame.opcode
        self.parts.append(frame.data)
        if not frame.fin or self.protocol.state is not State.OPEN:
            return
        message, self.parts = b"".join(self.parts), []
        if self.opcode is Opcode.BINARY:
            self.protocol.send_binary(message)
            return
        try:
            message.decode()
        except UnicodeDecodeError:
            self.protocol.fail(1007)
        else:
            self.protocol.send_text(message)


async def main():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Echo, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


asyncio.run(main())
