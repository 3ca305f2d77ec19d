#!/usr/bin/env python3
"""A hostile client of TLS against a running ringsock, made with the package tlslite-ng: it shakes hands as it should or
not, and then sends records that no honest client would send.

    tests/clients/hostile.py 127.0.0.1:9000 127.0.0.1:9100 ca.pem

The arguments are the addresses of the server and of its metrics, and the authority of its certificate. Each attack has
one right answer: an alert (RFC 8446 6, RFC 5246 7.2), an end, or service as if nothing had been. After each, a session
that was open before echoes, and the metrics count the attack and nothing else.
"""

import contextlib
import re
import socket
import ssl
import sys
import time
import urllib.request

from tlslite.api import HandshakeSettings, TLSConnection
from tlslite.errors import TLSAbruptCloseError, TLSRemoteAlert
from tlslite.extensions import SNIExtension, TLSExtension
from tlslite.handshakehelpers import HandshakeHelpers
from tlslite.messages import ClientHello, Finished, Message
from tlslite.utils.cipherfactory import createAESGCM
from tlslite.utils.cryptomath import HKDF_expand_label
from websockets.sync.client import connect

ADDRESS, ADMIN, CA = sys.argv[1:4]
HOST, PORT = ADDRESS.split(":")
SECONDS_MAX = 30

REQUEST = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
UPGRADE = (
    b"GET /echo HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
CONTENT_BYTES_MAX = 1 << 14

CHANGE_CIPHER_SPEC, ALERT, HANDSHAKE, DATA = 20, 21, 22, 23
EARLY_DATA = 42
VERSIONS = {"TLS 1.0": (3, 1), "TLS 1.1": (3, 2), "TLS 1.2": (3, 3), "TLS 1.3": (3, 4)}

CLOSE_NOTIFY, UNEXPECTED_MESSAGE, BAD_RECORD_MAC, RECORD_OVERFLOW = 0, 10, 20, 22
HANDSHAKE_FAILURE, ILLEGAL_PARAMETER, DECODE_ERROR = 40, 47, 50
NO_RENEGOTIATION, NO_APPLICATION_PROTOCOL = 100, 120

SERVED = "served"
CLOSED = "closed in order"
CUT_OFF = "cut off"


def key_update(request=0):
    return bytes([24, 0, 0, 1, request])


def frame(opcode, payload):
    """A masked frame of WebSocket, whose mask changes nothing."""
    count = len(payload)
    length = bytes([0x80 | count]) if count < 126 else bytes([0x80 | 126]) + count.to_bytes(2, "big")
    return bytes([0x80 | opcode]) + length + bytes(4) + payload


class Keys:
    """The keys by which a client seals after the handshake (RFC 8446 7.3), with TLS_AES_128_GCM_SHA256."""

    def __init__(self, secret):
        self._use(secret)

    def _use(self, secret):
        self._secret = secret
        self._aead = createAESGCM(HKDF_expand_label(secret, b"key", b"", 16, "sha256"))
        self._iv = HKDF_expand_label(secret, b"iv", b"", 12, "sha256")
        self.number = 0

    def update(self):
        self._use(HKDF_expand_label(self._secret, b"traffic upd", b"", 32, "sha256"))

    def seal(self, inner, outer=DATA, minor=3):
        """A record around what a record of TLS 1.3 encloses: content, type, padding."""
        header = bytes([outer, 3, minor]) + (len(inner) + 16).to_bytes(2, "big")
        nonce = bytes(a ^ b for a, b in zip(self._iv, self.number.to_bytes(12, "big")))
        self.number += 1
        return header + bytes(self._aead.seal(bytearray(nonce), bytearray(inner), bytearray(header)))


class Client(TLSConnection):
    """A client of TLS. `before` sees each message of the handshake before it is sent."""

    def __init__(self, before=None):
        opened = socket.create_connection((HOST, int(PORT)), SECONDS_MAX)
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        super().__init__(opened)
        self.socket = opened
        self.keys = None
        self._before = before

    def _sendMsg(self, msg, *arguments, **named):
        if self._before is not None:
            self._before(self, msg)
        yield from super()._sendMsg(msg, *arguments, **named)

    def shake_hands(self, version="TLS 1.3", alpn=b"http/1.1", session=None, ciphers=("aes128gcm",)):
        settings = HandshakeSettings()
        settings.minVersion = settings.maxVersion = VERSIONS[version]
        settings.cipherNames = list(ciphers)
        settings.keyShares = ["x25519"]
        self.handshakeClientCert(settings=settings, serverName="localhost", alpn=[bytearray(alpn)], session=session)
        if version == "TLS 1.3":
            self.keys = Keys(self.session.cl_app_secret)
        return self

    def send(self, *records):
        """Sends bytes as they are."""
        # The server may have had enough.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.socket.sendall(b"".join(records))

    def seal(self, content, kind=DATA, padding=0):
        return self.keys.seal(content + bytes([kind]) + bytes(padding))

    def request(self, request=REQUEST):
        self.send(self.seal(request))
        return self

    def outcome(self, expected=b"200 OK"):
        """What the server does: serves, sends an alert, closes in order, or cuts off."""
        received = b""
        try:
            while expected not in received:
                more = self.read(min=1)
                if not more:
                    return CLOSED
                received += more
            self.say_goodbye()
            return SERVED
        except TLSRemoteAlert as alert:
            return alert.description
        except (TLSAbruptCloseError, ConnectionError):
            return CUT_OFF
        finally:
            self.socket.close()


    def say_goodbye(self):
        """Sends close_notify, so that the end counts for nothing."""
        if self.keys is not None:
            self.send(self.seal(bytes([1, CLOSE_NOTIFY]), kind=ALERT))


ATTACKS = []


def attack(expected, counted=None, times=1):
    """Lists an attack: its right answer, and the reason by which metrics count it, so many times."""

    def listed(function):
        ATTACKS.append((function.__name__.replace("_", " "), function, expected, {counted: times} if counted else {}))
        return function

    return listed


def handshaken():
    return Client().shake_hands()


# ---- records of an open session


@attack(SERVED)
def thirty_two_empty_records():
    client = handshaken()
    client.send(*(client.seal(b"") for _ in range(32)))
    return client.request().outcome()


@attack(UNEXPECTED_MESSAGE, "peer_misbehaved")
def thirty_three_empty_records():
    client = handshaken()
    client.send(*(client.seal(b"", padding=number) for number in range(33)))
    return client.outcome()


@attack(SERVED)
def a_record_that_is_mostly_padding():
    client = handshaken()
    client.send(client.seal(REQUEST, padding=CONTENT_BYTES_MAX - len(REQUEST)))
    return client.outcome()


@attack(SERVED)
def records_of_one_byte():
    client = handshaken()
    client.send(*(client.seal(bytes([byte]), padding=byte % 3) for byte in REQUEST))
    return client.outcome()


@attack(SERVED)
def a_record_in_pieces_of_one_byte():
    client = handshaken()
    for byte in client.seal(REQUEST):
        client.send(bytes([byte]))
    return client.outcome()


@attack(SERVED)
def a_record_of_16384_bytes():
    client = handshaken().request(UPGRADE)
    client.send(client.seal(frame(2, bytes(CONTENT_BYTES_MAX - 8))))
    client.request(frame(1, b"and the next"))
    return client.outcome(b"and the next")


@attack(RECORD_OVERFLOW, "peer_misbehaved")
def a_record_of_16385_bytes():
    client = handshaken()
    client.send(client.seal(bytes(CONTENT_BYTES_MAX + 1)))
    return client.outcome()


@attack(RECORD_OVERFLOW, "peer_misbehaved")
def a_record_whose_padding_is_too_long():
    client = handshaken()
    client.send(client.seal(b"", padding=CONTENT_BYTES_MAX + 1))
    return client.outcome()


@attack(RECORD_OVERFLOW, "peer_misbehaved")
def a_record_of_16641_sealed_bytes():
    client = handshaken()
    # The server knows by the header; the rest does not have to come.
    client.send(client.keys.seal(bytes(CONTENT_BYTES_MAX + 241))[:1000])
    return client.outcome()


@attack(UNEXPECTED_MESSAGE, "peer_misbehaved")
def a_record_of_zeros():
    client = handshaken()
    client.send(client.keys.seal(bytes(100)))
    return client.outcome()


@attack(UNEXPECTED_MESSAGE, "peer_misbehaved")
def a_record_without_a_type():
    client = handshaken()
    client.send(client.keys.seal(b""))
    return client.outcome()


@attack(DECODE_ERROR, "malformed")
def a_record_of_an_unknown_type():
    client = handshaken()
    client.send(client.seal(b"x", kind=99))
    return client.outcome()


@attack(UNEXPECTED_MESSAGE, "peer_misbehaved")
def a_sealed_change_cipher_spec():
    client = handshaken()
    client.send(client.seal(b"\x01", kind=CHANGE_CIPHER_SPEC))
    return client.outcome()


@attack(UNEXPECTED_MESSAGE, "peer_misbehaved")
def a_plain_change_cipher_spec_after_the_handshake():
    client = handshaken().request()
    client.send(bytes([CHANGE_CIPHER_SPEC, 3, 3, 0, 1, 1]))
    return client.outcome(b"not this")


@attack(BAD_RECORD_MAC, "bad_record")
def a_plain_alert_after_the_handshake():
    client = handshaken()
    client.send(bytes([ALERT, 3, 3, 0, 2, 2, HANDSHAKE_FAILURE]))
    return client.outcome()


@attack(BAD_RECORD_MAC, "bad_record")
def plain_data_after_the_handshake():
    client = handshaken()
    client.send(bytes([DATA, 3, 3, 0, len(REQUEST)]) + REQUEST)
    return client.outcome()


@attack(BAD_RECORD_MAC, "bad_record")
def a_record_with_another_type_outside():
    client = handshaken()
    client.send(client.keys.seal(REQUEST + bytes([DATA]), outer=HANDSHAKE))
    return client.outcome()


@attack(SERVED)
def a_record_with_another_minor_version():
    # It is to be ignored (RFC 8446 5.1).
    client = handshaken()
    client.send(client.keys.seal(REQUEST + bytes([DATA]), minor=1))
    return client.outcome()


@attack(DECODE_ERROR, "malformed")
def plain_http_after_the_handshake():
    client = handshaken()
    client.send(REQUEST)
    return client.outcome()


@attack(CUT_OFF, "peer_alert")
def a_fatal_alert():
    client = handshaken()
    client.send(client.seal(bytes([2, HANDSHAKE_FAILURE]), kind=ALERT))
    return client.outcome()


@attack(DECODE_ERROR, "malformed")
def an_empty_alert():
    client = handshaken()
    client.send(client.seal(b"", kind=ALERT))
    return client.outcome()


@attack(BAD_RECORD_MAC, "bad_record", times=8)
def flipped_bits():
    return same(flipped(at) for at in (5, 6, 20, 40, len(REQUEST), -17, -16, -1))


def flipped(at):
    client = handshaken()
    record = bytearray(client.seal(REQUEST))
    record[at] ^= 4
    client.send(bytes(record))
    return client.outcome()


@attack(BAD_RECORD_MAC, "bad_record", times=3)
def records_that_are_swapped_or_repeated_or_dropped():
    return same(reordered(order) for order in ((1, 0), (0, 0), (1, 2)))


def reordered(order):
    client = handshaken()
    records = [client.seal(frame) for frame in (b"GET /", b"health HTTP/1.1\r\n", b"Host: a\r\n\r\n")]
    client.send(*(records[at] for at in order))
    return client.outcome()


def same(outcomes):
    """The outcome of all."""
    found = list(outcomes)
    assert len(set(found)) == 1, found
    return found[0]


# ---- messages of an open session


@attack(SERVED)
def a_key_update():
    client = handshaken()
    client.send(client.seal(key_update(), kind=HANDSHAKE))
    client.keys.update()
    return client.request().outcome()


@attack(SERVED)
def key_updates_that_are_requested():
    client = handshaken()
    for _ in range(3):
        client.send(client.seal(key_update(1), kind=HANDSHAKE))
        client.keys.update()
    before = client.session.sr_app_secret
    outcome = client.request().outcome()
    # One answer to three requests: the server's keys have changed once.
    assert client.session.sr_app_secret == HKDF_expand_label(before, b"traffic upd", b"", 32, "sha256")
    return outcome


@attack(SERVED)
def thirty_two_key_updates():
    return many_key_updates(32).request().outcome()


@attack(UNEXPECTED_MESSAGE, "peer_misbehaved")
def thirty_three_key_updates():
    return many_key_updates(33).outcome()


def many_key_updates(count):
    client = handshaken()
    for _ in range(count):
        client.send(client.seal(key_update(), kind=HANDSHAKE))
        client.keys.update()
    return client


@attack(SERVED)
def key_updates_from_a_client_that_does_not_read():
    client = handshaken().request(UPGRADE)
    records = []
    for _ in range(200):
        records.append(client.seal(key_update(1), kind=HANDSHAKE))
        client.keys.update()
        records.append(client.seal(frame(1, b"x")))
    client.send(*records, client.seal(frame(1, b"the last")))
    return client.outcome(b"the last")


@attack(SERVED)
def a_key_update_that_is_split():
    client = handshaken()
    message = key_update()
    client.send(client.seal(message[:2], kind=HANDSHAKE), client.seal(message[2:], kind=HANDSHAKE))
    client.keys.update()
    return client.request().outcome()


@attack(UNEXPECTED_MESSAGE, "peer_misbehaved")
def data_between_the_parts_of_a_key_update():
    client = handshaken()
    client.send(client.seal(key_update()[:2], kind=HANDSHAKE), client.seal(REQUEST))
    return client.outcome()


@attack(UNEXPECTED_MESSAGE, "peer_misbehaved")
def two_key_updates_in_a_record():
    client = handshaken()
    client.send(client.seal(key_update() * 2, kind=HANDSHAKE))
    return client.outcome()


@attack(UNEXPECTED_MESSAGE, "peer_misbehaved")
def a_key_update_with_data_in_its_record():
    client = handshaken()
    client.send(client.seal(key_update() + REQUEST, kind=HANDSHAKE))
    return client.outcome()


@attack(ILLEGAL_PARAMETER, "peer_misbehaved")
def a_key_update_with_a_request_that_does_not_exist():
    client = handshaken()
    client.send(client.seal(key_update(2), kind=HANDSHAKE))
    return client.outcome()


@attack(BAD_RECORD_MAC, "bad_record")
def a_key_update_after_which_the_old_key_is_used():
    client = handshaken()
    client.send(client.seal(key_update(), kind=HANDSHAKE))
    return client.request().outcome()


@attack(UNEXPECTED_MESSAGE, "peer_misbehaved", times=4)
def messages_of_a_handshake_after_it():
    # ClientHello, EndOfEarlyData, Certificate, Finished.
    return same(after_the_handshake(kind) for kind in (1, 5, 11, 20))


def after_the_handshake(kind):
    client = handshaken()
    client.send(client.seal(bytes([kind, 0, 0, 0]), kind=HANDSHAKE))
    return client.outcome()


# ---- ends


@attack(SERVED)
def a_request_and_close_notify():
    client = handshaken().request()
    client.send(client.seal(bytes([1, CLOSE_NOTIFY]), kind=ALERT))
    return client.outcome()


@attack(CLOSED)
def data_after_close_notify():
    client = handshaken()
    client.send(client.seal(bytes([1, CLOSE_NOTIFY]), kind=ALERT))
    return client.request().outcome()


@attack(CLOSED, "truncated")
def an_end_without_close_notify():
    client = handshaken()
    client.socket.shutdown(socket.SHUT_WR)
    return client.outcome()


# ---- handshakes


def raw(*pieces, half_close=False):
    """What the server answers to bytes that are no handshake, until it closes."""
    with socket.create_connection((HOST, int(PORT)), SECONDS_MAX) as opened:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for piece in pieces:
                opened.sendall(piece)
        try:
            answer = b"".join(iter(lambda: opened.recv(4096), b""))
        except ConnectionResetError:
            return CUT_OFF
    if re.fullmatch(rb"\x15\x03.\x00\x02..", answer, re.DOTALL):
        return answer[6]
    return answer or CUT_OFF


def greeting(before=None, **how):
    """The outcome of a handshake that a client does in its own way, and of a request after it."""
    client = Client(before)
    try:
        client.shake_hands(**how)
    except TLSRemoteAlert as alert:
        return alert.description
    except (TLSAbruptCloseError, ConnectionError):
        return CUT_OFF
    return client.request().outcome()


@attack(HANDSHAKE_FAILURE, "nothing_in_common", times=2)
def old_versions():
    # rustls first misses the signature algorithms that these versions do not name.
    ciphers = ("aes128", "aes256")
    return same(greeting(version=version, ciphers=ciphers) for version in ("TLS 1.0", "TLS 1.1"))


@attack(DECODE_ERROR, "malformed")
def the_hello_of_ssl_2():
    return raw(bytes.fromhex("802e0100020015000000100100800200800300800400800500800600400700c0") + bytes(16))


@attack(HANDSHAKE_FAILURE, "nothing_in_common")
def no_cipher_in_common():
    return greeting(version="TLS 1.2", ciphers=("aes128", "aes256"))


@attack(NO_APPLICATION_PROTOCOL, "no_protocol")
def h2_alone():
    return greeting(alpn=b"h2")


def with_name(name):
    def before(_client, message):
        if isinstance(message, ClientHello):
            at = next(i for i, extension in enumerate(message.extensions) if isinstance(extension, SNIExtension))
            message.extensions[at] = SNIExtension().create(bytearray(name))

    return greeting(before)


@attack(SERVED)
def a_name_that_the_server_does_not_have():
    return with_name(b"unknown.test")


@attack(ILLEGAL_PARAMETER, "peer_misbehaved")
def a_name_of_300_bytes():
    return with_name(b"a" * 300)


@attack(SERVED)
def an_address_as_the_name():
    return with_name(b"127.0.0.1")


@attack(UNEXPECTED_MESSAGE, "peer_misbehaved")
def data_before_finished():
    def before(client, message):
        if isinstance(message, Finished):
            for _ in client._recordLayer.sendRecord(Message(DATA, bytearray(REQUEST))):
                pass

    return greeting(before)


@attack(BAD_RECORD_MAC, "bad_record")
def plain_data_before_finished():
    def before(client, message):
        if isinstance(message, Finished):
            client.send(bytes([DATA, 3, 3, 0, len(REQUEST)]) + REQUEST)

    return greeting(before)


def ticket():
    """A session of TLS that can be resumed."""
    client = handshaken()
    assert client.request().outcome() == SERVED
    assert client.session.tickets, "there was no ticket"
    return client.session


@attack(SERVED)
def a_ticket_that_was_altered():
    session = ticket()
    session.tickets[0].ticket[20] ^= 1
    client = Client().shake_hands(session=session)
    assert not client.resumed
    return client.request().outcome()


@attack(SERVED)
def a_ticket_that_is_used_twice():
    session = ticket()
    for _ in range(2):
        client = Client().shake_hands(session=session)
        assert client.resumed
        outcome = client.request().outcome()
    return outcome


@attack(SERVED)
def early_data():
    # The server does not take it, and goes on.
    return offering_early_data(1000)


@attack(BAD_RECORD_MAC, "bad_record")
def more_early_data_than_is_skipped():
    return offering_early_data(CONTENT_BYTES_MAX, CONTENT_BYTES_MAX)


def offering_early_data(*sizes):
    """Resumes a session and offers early data, of which the server can open nothing."""
    usual = HandshakeHelpers.update_binders

    def offering(hello, *arguments, **named):
        hello.extensions.insert(-1, TLSExtension(extType=EARLY_DATA).create(EARLY_DATA, bytearray()))
        return usual(hello, *arguments, **named)

    def before(client, message):
        if isinstance(message, Finished):
            client.send(*(bytes([DATA, 3, 3]) + size.to_bytes(2, "big") + bytes(size) for size in sizes))

    session = ticket()
    HandshakeHelpers.update_binders = staticmethod(offering)
    try:
        client = Client(before).shake_hands(session=session)
    finally:
        HandshakeHelpers.update_binders = staticmethod(usual)
    assert client.resumed
    return client.request().outcome()


@attack(NO_RENEGOTIATION)
def a_renegotiation():
    return renegotiated(1)


@attack(NO_RENEGOTIATION, "peer_misbehaved")
def two_renegotiations():
    # The client reads the warning; the second hello ends the session.
    return renegotiated(2)


def renegotiated(count):
    """The answers to hellos in an open session of TLS 1.2."""
    hellos = []

    def before(_client, message):
        if isinstance(message, ClientHello):
            hellos.append(message.write())

    client = Client(before).shake_hands(version="TLS 1.2")
    for _ in range(count):
        for _ in client._recordLayer.sendRecord(Message(HANDSHAKE, hellos[0])):
            pass
    return client.outcome()


@attack(DECODE_ERROR, "malformed", times=3)
def what_is_no_tls():
    others = (bytes(64), b"\x16\x02\x00\x00\x05hello", b"\x18\x03\x03\x00\x03\x01\xff\xff")
    return same(raw(other) for other in others)


@attack("HTTP/1.1 400 Bad Request")
def plain_http_or_what_begins_like_it():
    return same(raw(words).split(b"\r\n")[0].decode() for words in (REQUEST, b"SSH-2.0-OpenSSH_9.2\r\n"))


# ---- the run


def metrics():
    """The counters of TLS: failures by reason, and streams that ended without close_notify."""
    with urllib.request.urlopen(f"http://{ADMIN}/metrics", timeout=SECONDS_MAX) as answer:
        text = answer.read().decode()
    found = re.findall(r'^ringsock_tls_failures_total\{reason="(\w+)"\} (\d+)$', text, re.MULTILINE)
    truncated = re.findall(r"^ringsock_tls_(truncated)_total (\d+)$", text, re.MULTILINE)
    return {reason: int(count) for reason, count in found + truncated}


def counted_since(before, expected):
    """What was counted, once that is what is expected, or a while later."""
    deadline = time.monotonic() + SECONDS_MAX / 10
    while True:
        now = metrics()
        counted = {reason: count - before[reason] for reason, count in now.items() if count != before[reason]}
        if counted == expected or time.monotonic() > deadline:
            return counted
        time.sleep(0.02)


def main():
    trust = ssl.create_default_context(cafile=CA)
    failures = 0
    with connect(f"wss://{ADDRESS}/echo", ssl=trust, proxy=None, ping_interval=None) as honest:
        for name, run, expected, counted in ATTACKS:
            before, begun = metrics(), time.monotonic()
            outcome = run()
            found = counted_since(before, counted)
            honest.send(name)
            assert honest.recv(SECONDS_MAX) == name, "the honest session"
            ok = (outcome, found) == (expected, counted)
            failures += not ok
            seconds = time.monotonic() - begun
            told = "ok" if ok else f"FAILED (expected {expected}, counted {counted})"
            print(f"{told:<3} tlslite-ng: {name}: {outcome}, {found} {seconds:.2f} s", flush=True)
    if failures:
        raise SystemExit(f"{failures} of {len(ATTACKS)} attacks")
    print(f"{len(ATTACKS)} attacks")


if __name__ == "__main__":
    main()
