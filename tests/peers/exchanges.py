"""Exchanges that end early, on either side: Node and nginx as pods, curl and Node as clients.

`make test-peers` runs this with the debug binary. Needs Node, and Debian's nginx and curl.
"""

import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

from rig import free_port, manifest, narthex, until

HERE = pathlib.Path(__file__).parent
PATH = os.environ["PATH"] + ":/usr/sbin:/sbin"
SIZE = 8 << 20
# A pod is to be told within 250 ms; the rest is for a busy machine.
TOLD_MS = 250 + 500


def run(*command):
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def curl(port, host, path, *more):
    return run("curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "-H", f"Host: {host}", *more, f"http://127.0.0.1:{port}{path}")


def node(*words):
    return run("node", str(HERE / "node_client.js"), *map(str, words))


def refused_early(one, folder):
    """The client gets the 413 each time, whoever it is and whatever the pod does with the rest."""
    body = f"{folder}/body"
    pathlib.Path(body).write_bytes(b"x" * SIZE)
    for host, path in [("node.test", "/refuse"), ("nginx.test", "/narrow")]:
        for _ in range(10):
            for more in (["-H", "Expect:"], [], ["-H", "Transfer-Encoding: chunked", "-H", "Expect:"]):
                said = curl(one.http, host, path, "--data-binary", f"@{body}", *more)
                assert said.stdout == "413", (host, more, said)
            said = node("upload", one.http, host, path, SIZE)
            assert said.stdout == "413\n", (host, said)
    assert one.counter("ejections_total") == 0


def left(one):
    request = urllib.request.Request(f"http://127.0.0.1:{one.http}/left", headers={"Host": "node.test"})
    return json.loads(urllib.request.urlopen(request).read())


def leaving(one):
    """The pod is told at once that its client has gone."""
    worst = 0
    # What a client has not been able to send keeps its end from arriving, so uploads are small here.
    for path, size in [("/slow", 0), ("/events", 0), ("/slow", 1 << 17), ("/events", 1 << 17)]:
        for after in (300, 600, 1000):
            before = len(left(one))
            gone = int(node("leave", one.http, "node.test", path, size, after).stdout)
            until(f"the pod is told: {path}", lambda: len(left(one)) > before)
            took = left(one)[before] - gone
            worst = max(worst, took)
            assert took <= TOLD_MS, (path, size, after, took)
        before = len(left(one))
        said = curl(one.http, "node.test", path, "-m", "0.5")
        assert said.returncode == 28, said
        until(f"the pod is told: {path}", lambda: len(left(one)) > before)
    print(f"a pod is told after {worst} ms at most that its client has gone")


def cut(one):
    """What a pod breaks off is never taken for whole."""
    for point in range(7):
        # HTTP/1.0 has no chunks: there the end of the connection is all that shows the end of the reply.
        for more in ([], ["-0"]) if point < 4 else ([],):
            said = curl(one.http, "node.test", f"/cut/{point}", *more)
            assert said.returncode != 0 or said.stdout == "502", (point, more, said)
    assert curl(one.http, "node.test", "/").stdout == "200"


def old_clients(one):
    """HTTP/1.0 that keeps connections, as `ab -k` does: told so exactly if it is so."""
    connection, kept = None, 0
    for index in range(500):
        if connection is None:
            connection = socket.create_connection(("127.0.0.1", one.http), timeout=20)
        path = ["/chunked", "/"][index % 2]
        connection.sendall(f"GET {path} HTTP/1.0\r\nHost: node.test\r\nConnection: Keep-Alive\r\n\r\n".encode())
        reply = b""
        while b"\r\n\r\n" not in reply:
            piece = connection.recv(65536)
            assert piece, (index, reply)
            reply += piece
        head, body = reply.split(b"\r\n\r\n", 1)
        fields = head.lower().split(b"\r\n")
        assert fields[0] == b"http/1.0 200 ok", head
        keeps = b"connection: keep-alive" in fields
        length = [int(field.split(b": ")[1]) for field in fields if field.startswith(b"content-length: ")]
        assert keeps == bool(length), head
        while not length or len(body) < length[0]:
            piece = connection.recv(65536)
            if not piece:
                break
            body += piece
        assert body in (b"some words\n", b"ok\n"), body
        kept += keeps
        if not keeps:
            assert connection.recv(1) == b""
            connection = None
    assert kept > 0


def main():
    with tempfile.TemporaryDirectory() as folder:
        node_port, nginx_port = free_port(), free_port()
        config = f"""daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/nginx.log warn;
events {{ worker_connections 1024; }}
http {{
  access_log off; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  server {{ listen 127.0.0.1:{nginx_port}; location / {{ return 200 "ok\\n"; }}
    location /narrow {{ client_max_body_size 1k; proxy_pass http://127.0.0.1:{node_port}; }} }}
}}
"""
        pathlib.Path(f"{folder}/nginx.conf").write_text(config)
        nginx = shutil.which("nginx", path=PATH)
        pods = [
            subprocess.Popen(["node", str(HERE / "node_pod.js"), str(node_port)]),
            subprocess.Popen([nginx, "-p", folder, "-c", f"{folder}/nginx.conf", "-e", f"{folder}/nginx.log"]),
        ]
        try:
            for port in (node_port, nginx_port):
                until("a pod listens", lambda: socket.socket().connect_ex(("127.0.0.1", port)) == 0)
            manifests = manifest("node", node_port) + manifest("nginx", nginx_port)
            with narthex(sys.argv[1], manifests) as one:
                began = time.monotonic()
                refused_early(one, folder)
                leaving(one)
                cut(one)
                old_clients(one)
                print(f"exchanges that end early: {time.monotonic() - began:.0f} s")
        finally:
            for pod in pods:
                pod.terminate()
                pod.wait()


if __name__ == "__main__":
    main()
