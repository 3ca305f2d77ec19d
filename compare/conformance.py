"""A client that checks whether a server handles the workloads, and which rules it enforces.

Shares nothing with ringsock's client, and never measures. Invariant: a server that changes a message, loses one or
sends it to the wrong one is not measured.
"""

import base64
import contextlib
import os
import socket
import struct

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
SECONDS_MAX = 5


class WrongAnswer(Exception):
    """A wrong answer of a server; a full sentence."""


def check(port):
    """Raises `WrongAnswer` unless it echoes, publishes, answers pings and closes as it should."""
    for opcode, payload in (
        (TEXT, "grüße, 世界".encode()),
        (BINARY, bytes(range(256))),
        (BINARY, b"x" * 125 + b"y"),
        (BINARY, os.urandom(16 * 1024)),
        (TEXT, b"a"),
    ):
        with client(port, "/echo") as one:
            one.send(opcode, payload)
            one.expect(opcode, payload, "its echo")
    with client(port, "/echo") as one:
        for number in range(100):
            one.send(BINARY, b"%d" % number)
        for number in range(100):
            one.expect(BINARY, b"%d" % number, "the echo of one of 100 messages sent at once")
        one.send(TEXT, b"in ", final=False)
        one.send(CONTINUATION, b"parts")
        one.expect(TEXT, b"in parts", "the echo of a message in two fragments")
        one.send(PING, b"are you there")
        one.expect(PONG, b"are you there", "the pong")
        one.send(CLOSE, struct.pack("!H", 1000))
        one.expect(CLOSE, None, "the close frame")
    check_topic(port)


def check_topic(port):
    with contextlib.ExitStack() as stack:
        subscribers = [stack.enter_context(client(port, "/topics/bench")) for _ in range(3)]
        for subscriber in subscribers:
            # A client that gets its pong is subscribed, and receives all messages published from now on.
            subscriber.send(PING, b"")
            subscriber.expect(PONG, b"", "the pong")
        messages = ((TEXT, b"hello"), (BINARY, b"\xff\0"), (TEXT, b"z" * 9999))
        for publisher, (opcode, payload) in zip(subscribers, messages):
            publisher.send(opcode, payload)
            for subscriber in subscribers:
                subscriber.expect(opcode, payload, "what was published")


def rules(port):
    """Which of the rules that cost time it enforces: name → whether."""
    return {
        "UTF-8 is checked": refuses(port, lambda one: one.send(TEXT, b"\xc3\x28")),
        "unmasked frames are refused": refuses(port, lambda one: one.send(BINARY, b"bare", mask=False)),
    }


def refuses(port, misbehave):
    """Returns whether the server closes a connection that misbehaves."""
    with client(port, "/echo") as one:
        try:
            misbehave(one)
            one.send(BINARY, b"still there?")
            opcode, _ = one.receive()
            return opcode == CLOSE
        except (WrongAnswer, OSError):
            return True


@contextlib.contextmanager
def client(port, path):
    with socket.create_connection(("127.0.0.1", port), SECONDS_MAX) as stream:
        yield Client(stream, port, path)


class Client:
    def __init__(self, stream, port, path):
        self.stream = stream
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        key = base64.b64encode(os.urandom(16)).decode()
        request = (
            f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
        )
        stream.sendall(request.encode())
        self.bytes = b""
        while b"\r\n\r\n" not in self.bytes:
            self.read_more()
        head, self.bytes = self.bytes.split(b"\r\n\r\n", 1)
        if not head.startswith(b"HTTP/1.1 101 "):
            raise WrongAnswer(f"The handshake for {path} was answered with {head[:40]!r}.")

    def send(self, opcode, payload, *, final=True, mask=True):
        length = len(payload)
        masked = 0x80 if mask else 0
        head = bytes([opcode | (0x80 if final else 0)])
        if length < 126:
            head += bytes([masked | length])
        else:
            head += struct.pack("!BH", masked | 126, length)
        if mask:
            key = os.urandom(4)
            whole = int.from_bytes((key * (length // 4 + 1))[:length], "big")
            payload = key + (int.from_bytes(payload, "big") ^ whole).to_bytes(length, "big")
        self.stream.sendall(head + payload)

    def expect(self, opcode, payload, what):
        try:
            got = self.receive()
        except OSError as error:
            raise WrongAnswer(f"It ended, or was silent, when {what} was due: {error}.") from None
        if got[0] != opcode or payload is not None and got[1] != payload:
            raise WrongAnswer(f"Instead of {what} came opcode {got[0]} with {got[1][:40]!r}.")

    def receive(self):
        """The next message or control frame: opcode and payload."""
        first, payload, final = None, b"", False
        while not final:
            opcode, part, final = self.receive_frame()
            if opcode >= CLOSE:
                return opcode, part
            first = opcode if first is None else first
            payload += part
        return first, payload

    def receive_frame(self):
        one, two = self.take(2)
        if two & 0x80:
            raise WrongAnswer("A frame came that is masked, which servers must not do.")
        length = two & 0x7F
        if length == 126:
            (length,) = struct.unpack("!H", self.take(2))
        elif length == 127:
            (length,) = struct.unpack("!Q", self.take(8))
        return one & 0x0F, self.take(length), bool(one & 0x80)

    def take(self, count):
        while len(self.bytes) < count:
            self.read_more()
        taken, self.bytes = self.bytes[:count], self.bytes[count:]
        return taken

    def read_more(self):
        more = self.stream.recv(65536)
        if not more:
            raise WrongAnswer("The connection ended.")
        self.bytes += more
