"""Real peers through narthex: grpcio's client and server, websockets' client and server, WebSockets over HTTP/2 by h2;
in plain and under TLS.

`make test-peers` installs them from PyPI into the cache folder and runs this with the debug binary.
"""

import asyncio
import concurrent.futures
import os
import queue
import socket
import ssl
import sys
import time

import grpc
import h2.config
import h2.connection
import h2.events
import h2.settings
from rig import manifest, narthex, start_websockets, talk
from websockets.frames import Opcode
from websockets.protocol import CLIENT, OPEN, Protocol

OWN_NAME = "default-certificate.narthex.invalid"


def same(data):
    return data


# The gRPC service: every form of call, an error with a message that needs escaping, and one that is slow.


def unary(request, context):
    context.set_trailing_metadata((("x-trailer", "1"),))
    return request[::-1]


def down(_, __):
    for index in range(5):
        yield b"%d" % index
        time.sleep(0.02)


def up(requests, _):
    return b",".join(requests)


def both(requests, _):
    for request in requests:
        yield request + b"!"


def fail(_, context):
    context.abort(grpc.StatusCode.FAILED_PRECONDITION, "no é")


def slow(request, _):
    time.sleep(3)
    return request


def trickle(_, context):
    while context.is_active():
        yield b"x"
        time.sleep(0.05)
    ended.put(time.monotonic())


ended = queue.Queue()


class Service(grpc.GenericRpcHandler):
    handlers = {
        "/t.S/Unary": grpc.unary_unary_rpc_method_handler(unary, same, same),
        "/t.S/Down": grpc.unary_stream_rpc_method_handler(down, same, same),
        "/t.S/Up": grpc.stream_unary_rpc_method_handler(up, same, same),
        "/t.S/Both": grpc.stream_stream_rpc_method_handler(both, same, same),
        "/t.S/Fail": grpc.unary_unary_rpc_method_handler(fail, same, same),
        "/t.S/Slow": grpc.unary_unary_rpc_method_handler(slow, same, same),
        "/t.S/Trickle": grpc.unary_stream_rpc_method_handler(trickle, same, same),
    }

    def service(self, details):
        return self.handlers.get(details.method)


def start_grpc():
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(16))
    server.add_generic_rpc_handlers((Service(),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    return server, port


def expect_error(code, call):
    try:
        call()
    except grpc.RpcError as error:
        assert error.code() == code, (error.code(), error.details())
        return error.details()
    raise AssertionError(f"no error, but {code} was to come")


def calls(channel):
    ask = channel.unary_unary("/t.S/Unary", same, same)
    said, call = ask.with_call(b"abc", timeout=5)
    assert said == b"cba"
    assert ("x-trailer", "1") in [tuple(pair) for pair in call.trailing_metadata()]
    stream = channel.unary_stream("/t.S/Down", same, same)(b"", timeout=5)
    assert list(stream) == [b"0", b"1", b"2", b"3", b"4"]
    assert channel.stream_unary("/t.S/Up", same, same)(iter([b"a", b"b"]), timeout=5) == b"a,b"
    # Each question is asked only when the one before is answered: nothing may be held back.
    questions, answers = queue.Queue(), []
    questions.put(b"1")
    for answer in channel.stream_stream("/t.S/Both", same, same)(iter(questions.get, None), timeout=5):
        answers.append(answer)
        questions.put(None if len(answers) == 3 else b"%d" % (len(answers) + 1))
    assert answers == [b"1!", b"2!", b"3!"], answers
    failing = channel.unary_unary("/t.S/Fail", same, same)
    details = expect_error(grpc.StatusCode.FAILED_PRECONDITION, lambda: failing(b"", timeout=5))
    assert details == "no é", details
    late = channel.unary_unary("/t.S/Slow", same, same)
    expect_error(grpc.StatusCode.DEADLINE_EXCEEDED, lambda: late(b"", timeout=0.5))
    large = os.urandom(3 << 20)
    assert ask(large, timeout=20) == large[::-1]
    with concurrent.futures.ThreadPoolExecutor(32) as pool:
        assert all(pool.map(lambda index: ask(b"x%d" % index, timeout=10) == (b"x%d" % index)[::-1], range(500)))


def deadlines(channel):
    """narthex keeps a deadline by itself: these clients say it in the field only, and have none of their own."""
    said = (("grpc-timeout", "500m"),)
    began = time.monotonic()
    late = channel.unary_unary("/t.S/Slow", same, same)
    details = expect_error(grpc.StatusCode.DEADLINE_EXCEEDED, lambda: late(b"", metadata=said))
    assert details == "deadline exceeded", details
    assert 0.5 <= time.monotonic() - began < 3
    stream = channel.unary_stream("/t.S/Trickle", same, same)(b"", metadata=said)
    details = expect_error(grpc.StatusCode.DEADLINE_EXCEEDED, lambda: list(stream))
    assert "Received RST_STREAM" in details, details
    ended.get(timeout=10)


def channel(port, host, certificate=None):
    options = [("grpc.default_authority", host)]
    if certificate is None:
        return grpc.insecure_channel(f"127.0.0.1:{port}", options=options)
    options.append(("grpc.ssl_target_name_override", OWN_NAME))
    return grpc.secure_channel(f"127.0.0.1:{port}", grpc.ssl_channel_credentials(certificate), options=options)


class OverHttp2:
    """A WebSocket on one stream of an HTTP/2 connection (RFC 8441)."""

    def __init__(self, port, secure):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=20)
        if secure:
            context = ssl._create_unverified_context()
            context.set_alpn_protocols(["h2"])
            self.socket = context.wrap_socket(self.socket, server_hostname="ws.test")
            assert self.socket.selected_alpn_protocol() == "h2"
        self.http = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self.http.initiate_connection()
        self.frames, self.events, self.head, self.over = Protocol(CLIENT, state=OPEN, max_size=None), [], None, False
        connect_protocol = h2.settings.SettingCodes.ENABLE_CONNECT_PROTOCOL
        while not self.http.remote_settings.get(connect_protocol):
            self.step()
        self.stream = self.http.get_next_available_stream_id()
        scheme = "https" if secure else "http"
        self.http.send_headers(
            self.stream,
            [
                (":method", "CONNECT"),
                (":protocol", "websocket"),
                (":scheme", scheme),
                (":path", "/"),
                (":authority", "ws.test"),
                ("sec-websocket-version", "13"),
                ("origin", f"{scheme}://ws.test"),
            ],
        )
        while self.head is None:
            self.step()

    def step(self):
        """Sends what there is, reads once."""
        self.socket.sendall(self.http.data_to_send())
        piece = self.socket.recv(65536)
        assert piece, "the connection ends"
        for event in self.http.receive_data(piece):
            if isinstance(event, h2.events.ResponseReceived):
                self.head = dict(event.headers)
            elif isinstance(event, h2.events.DataReceived):
                self.http.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                self.frames.receive_data(event.data)
                self.events += self.frames.events_received()
            elif isinstance(event, h2.events.StreamEnded):
                self.over = True
            else:
                assert not isinstance(event, (h2.events.StreamReset, h2.events.ConnectionTerminated)), event

    def flush(self):
        """Sends all frames, at the pace the other side sets."""
        rest = b"".join(self.frames.data_to_send())
        while rest:
            room = min(self.http.local_flow_control_window(self.stream), self.http.max_outbound_frame_size, len(rest))
            if room == 0:
                self.step()
                continue
            self.http.send_data(self.stream, rest[:room])
            rest = rest[room:]
        self.socket.sendall(self.http.data_to_send())

    def hear(self, opcode):
        """The next message, whatever its frames, which must be of this kind."""
        data = b""
        while True:
            while not self.events:
                self.step()
            frame = self.events.pop(0)
            assert frame.opcode in (opcode, Opcode.CONT), frame
            data += bytes(frame.data)
            if frame.fin:
                return data


def talk_over_http2(port, secure):
    client = OverHttp2(port, secure)
    assert client.head[":status"] == "200" and "sec-websocket-accept" not in client.head, client.head
    client.frames.send_text(b"hello")
    client.flush()
    assert client.hear(Opcode.TEXT) == b"hello"
    large = os.urandom(2 << 20)
    client.frames.send_binary(large)
    client.flush()
    assert client.hear(Opcode.BINARY) == large
    client.frames.send_ping(b"p")
    client.flush()
    assert client.hear(Opcode.PONG) == b"p"
    client.frames.send_close(1000)
    client.flush()
    client.hear(Opcode.CLOSE)
    client.http.end_stream(client.stream)
    while not client.over:
        client.step()


def main(binary):
    server, grpc_port = start_grpc()
    manifests = manifest("grpc", grpc_port, "grpc") + manifest("ws", start_websockets()) + manifest("gone", 1, "grpc")
    with narthex(binary, manifests) as one:
        certificate = ssl.get_server_certificate(("127.0.0.1", one.https)).encode()
        calls(channel(one.http, "grpc.test"))
        print("gRPC in plain: ok")
        calls(channel(one.https, "grpc.test", certificate))
        print("gRPC under TLS: ok")
        for host, code in [
            ("gone.test", grpc.StatusCode.UNAVAILABLE),
            ("nobody.test", grpc.StatusCode.UNIMPLEMENTED),
        ]:
            asked = channel(one.http, host).unary_unary("/t.S/Unary", same, same)
            expect_error(code, lambda: asked(b"", timeout=5))
        print("errors of narthex as gRPC status: ok")
        deadlines(channel(one.http, "grpc.test"))
        print("gRPC deadlines: ok")
        asyncio.run(talk(one.http, False))
        asyncio.run(talk(one.https, True))
        print("WebSockets in plain and under TLS: ok")
        talk_over_http2(one.http, False)
        talk_over_http2(one.https, True)
        print("WebSockets over HTTP/2, in plain and under TLS: ok")
    server.stop(None)


main(sys.argv[1])
