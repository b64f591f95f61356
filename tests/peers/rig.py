"""What the peer tests share: free ports, manifests, a narthex that runs."""

import asyncio
import contextlib
import os
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

import websockets


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def service(name, port, protocol=None):
    """A Service of one endpoint."""
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
"""


def manifest(name, port, protocol=None, secret=None):
    """A Service of one endpoint, and an Ingress of `name`.test; with `secret`, one that wants HTTPS."""
    tls = f"\n  tls: [{{hosts: [{name}.test], secretName: {secret}}}]" if secret else ""
    return service(name, port, protocol) + f"""apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {{name: {name}}}
spec:{tls}
  rules:
  - host: {name}.test
    http: {{paths: [{{path: /, pathType: Prefix, backend: {{service: {{name: {name}, port: {{number: 80}}}}}}}}]}}
---
"""


def until(what, look):
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if look():
            return
        time.sleep(0.02)
    sys.exit(f"never happened: {what}")


def answers(url):
    try:
        return urllib.request.urlopen(url).status == 200
    except OSError:
        return False


class Narthex:
    """The ports of one that runs, and its counters."""

    def __init__(self, folder):
        self.http, self.https, self.admin = free_port(), free_port(), free_port()
        self.folder = folder

    def write(self, name, text):
        """Replaces a file of its manifests as a whole."""
        new = f"{self.folder}/.{name}"
        with open(new, "w") as file:
            file.write(text)
        os.rename(new, f"{self.folder}/{name}.yaml")

    def counter(self, name):
        metrics = urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/metrics").read().decode()
        lines = [line for line in metrics.splitlines() if line.startswith(f"narthex_{name}" + "{")]
        return sum(int(line.rsplit(" ", 1)[1]) for line in lines)


@contextlib.contextmanager
def narthex(binary, manifests, *flags):
    """narthex over these manifests, a text or texts by the names of their files, ready."""
    with tempfile.TemporaryDirectory() as folder:
        one = Narthex(folder)
        for name, text in (manifests if isinstance(manifests, dict) else {"all": manifests}).items():
            one.write(name, text)
        listen = ["--listen-http", f"127.0.0.1:{one.http}", "--listen-https", f"127.0.0.1:{one.https}"]
        command = [binary, "serve", "--manifests", folder, "--admin", f"127.0.0.1:{one.admin}", "--drain-grace", "0s"]
        process = subprocess.Popen(command + listen + list(flags), stderr=subprocess.DEVNULL)
        try:
            until("narthex is ready", lambda: process.poll() is not None or answers(f"http://127.0.0.1:{one.admin}/readyz"))
            if process.poll() is not None:
                sys.exit("narthex does not start")
            yield one
        finally:
            process.terminate()
            process.wait()


def start_websockets():
    """A server that says all back; its port."""
    port = free_port()

    async def echo(client):
        async for message in client:
            await client.send(message)

    async def serve():
        async with websockets.serve(echo, "127.0.0.1", port, max_size=None):
            await asyncio.Future()

    threading.Thread(target=lambda: asyncio.run(serve()), daemon=True).start()
    return port


async def talk(port, secure):
    """A conversation with that server as ws.test."""
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
