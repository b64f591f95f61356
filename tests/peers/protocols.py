"""Real peers through narthex: grpcio's client and server, websockets' client and server; in plain and under TLS.

`make test-peers` installs both from PyPI into the cache folder and runs this with the debug binary.
"""

import asyncio
import concurrent.futures
import os
import queue
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

import grpc
import websockets

OWN_NAME = "default-certificate.narthex.invalid"


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


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


class Service(grpc.GenericRpcHandler):
    handlers = {
        "/t.S/Unary": grpc.unary_unary_rpc_method_handler(unary, same, same),
        "/t.S/Down": grpc.unary_stream_rpc_method_handler(down, same, same),
        "/t.S/Up": grpc.stream_unary_rpc_method_handler(up, same, same),
        "/t.S/Both": grpc.stream_stream_rpc_method_handler(both, same, same),
        "/t.S/Fail": grpc.unary_unary_rpc_method_handler(fail, same, same),
        "/t.S/Slow": grpc.unary_unary_rpc_method_handler(slow, same, same),
    }

    def service(self, details):
        return self.handlers.get(details.method)


def start_grpc():
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(16))
    server.add_generic_rpc_handlers((Service(),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    return server, port


def start_websockets():
    port = free_port()

    async def echo(socket):
        async for message in socket:
            await socket.send(message)

    async def serve():
        async with websockets.serve(echo, "127.0.0.1", port, max_size=None):
            await asyncio.Future()

    threading.Thread(target=lambda: asyncio.run(serve()), daemon=True).start()
    return port


def manifest(name, port, protocol):
    protocol = f", appProtocol: {protocol}" if protocol else ""
    return f"""apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec: {{ports: [{{port: 80{protocol}}}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: {name}, labels: {{kubernetes.io/service-name: {name}}}}}
addressType: IPv4
ports: [{{port: {port}}}]
endpoints: [{{addresses: [127.0.0.1]}}]
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {{name: {name}}}
spec:
  rules:
  - host: {name}.test
    http: {{paths: [{{path: /, pathType: Prefix, backend: {{service: {{name: {name}, port: {{number: 80}}}}}}}}]}}
---
"""


def until_ready(admin, narthex):
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and narthex.poll() is None:
        try:
            if urllib.request.urlopen(f"http://127.0.0.1:{admin}/readyz").status == 200:
                return
        except OSError:
            time.sleep(0.02)
    sys.exit("narthex does not become ready")


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


def channel(port, host, certificate=None):
    options = [("grpc.default_authority", host)]
    if certificate is None:
        return grpc.insecure_channel(f"127.0.0.1:{port}", options=options)
    options.append(("grpc.ssl_target_name_override", OWN_NAME))
    return grpc.secure_channel(f"127.0.0.1:{port}", grpc.ssl_channel_credentials(certificate), options=options)


async def talk(port, secure):
    context = ssl._create_unverified_context() if secure else None
    scheme = "wss" if secure else "ws"
    address = {"host": "127.0.0.1", "port": port, "max_size": None}
    async with websockets.connect(f"{scheme}://ws.test/", ssl=context, **address) as client:
        await client.send("hello")
        assert await client.recv() == "hello"
        large = os.urandom(2 << 20)
        await client.send(large)
        assert await client.recv() == large
        await (await client.ping())


def main(binary):
    server, grpc_port = start_grpc()
    websocket_port = start_websockets()
    http, https, admin = free_port(), free_port(), free_port()
    with tempfile.TemporaryDirectory() as folder:
        with open(f"{folder}/all.yaml", "w") as file:
            file.write(manifest("grpc", grpc_port, "grpc"))
            file.write(manifest("ws", websocket_port, None))
            file.write(manifest("gone", 1, "grpc"))
        listen = ["--listen-http", f"127.0.0.1:{http}", "--listen-https", f"127.0.0.1:{https}"]
        command = [binary, "serve", "--manifests", folder, "--admin", f"127.0.0.1:{admin}", "--drain-grace", "0s"]
        narthex = subprocess.Popen(command + listen, stderr=subprocess.DEVNULL)
        try:
            until_ready(admin, narthex)
            certificate = ssl.get_server_certificate(("127.0.0.1", https)).encode()
            calls(channel(http, "grpc.test"))
            print("gRPC in plain: ok")
            calls(channel(https, "grpc.test", certificate))
            print("gRPC under TLS: ok")
            for host, code in [
                ("gone.test", grpc.StatusCode.UNAVAILABLE),
                ("nobody.test", grpc.StatusCode.UNIMPLEMENTED),
            ]:
                asked = channel(http, host).unary_unary("/t.S/Unary", same, same)
                expect_error(code, lambda: asked(b"", timeout=5))
            print("errors of narthex as gRPC status: ok")
            asyncio.run(talk(http, False))
            asyncio.run(talk(https, True))
            print("WebSockets in plain and under TLS: ok")
        finally:
            narthex.terminate()
            narthex.wait()
            server.stop(None)


main(sys.argv[1])
