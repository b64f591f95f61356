"""nginx before narthex and behind it, curl and h2load as clients: what goes wrong only between real peers.

`make test-peers` runs this with the debug binary. Needs Debian's nginx, curl and nghttp2-client.
"""

import asyncio
import concurrent.futures
import hashlib
import http.client
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile

from rig import answers, free_port, manifest, narthex, start_websockets, talk, until

# Debian's nginx is in a folder that a user's PATH may lack.
PATH = os.environ["PATH"] + ":/usr/sbin:/sbin"
LARGE = os.urandom(12 << 20)
TEXT = b"".join(b"%d bottles of beer\n" % index for index in range(20_000))


def start_nginx(folder, name, servers):
    """One process, stopped with `terminate`."""
    config = f"""daemon off; master_process off; pid {folder}/{name}.pid; error_log {folder}/{name}.log warn;
events {{ worker_connections 4096; }}
http {{
  access_log off; default_type text/plain;
  client_body_temp_path {folder}/{name}-body; proxy_temp_path {folder}/{name}-proxy;
  fastcgi_temp_path {folder}/{name}-f; uwsgi_temp_path {folder}/{name}-u; scgi_temp_path {folder}/{name}-s;
{servers}
}}
"""
    path = f"{folder}/{name}.conf"
    with open(path, "w") as file:
        file.write(config)
    return subprocess.Popen([shutil.which("nginx", path=PATH), "-p", folder, "-c", path, "-e", f"{folder}/{name}.log"])


def pod(folder, port):
    """What an nginx in a pod may do."""
    os.mkdir(f"{folder}/www")
    os.mkdir(f"{folder}/www/put")
    for name, data in [("large", LARGE), ("text.txt", TEXT), ("small", b"small\n")]:
        with open(f"{folder}/www/{name}", "wb") as file:
            file.write(data)
    head = "".join(f"      add_header X-Big-{index} {'y' * 3900};\n" for index in range(15))
    return f"""
  # Connections end after 50 requests: the pod says so, or is gone when the next comes.
  server {{
    listen 127.0.0.1:{port}; root {folder}/www; keepalive_requests 50; keepalive_timeout 1s;
    gzip_types text/plain; gzip_http_version 1.1; gzip_min_length 100;
    large_client_header_buffers 4 64k;
    location / {{ }}
    location /text.txt {{ gzip on; }}
    location /put/ {{ dav_methods PUT; client_max_body_size 100m; }}
    location /narrow/ {{ dav_methods PUT; client_max_body_size 1k; }}
    location /said {{ return 200 "$request_method $http_host|$http_x_forwarded_for|$http_x_forwarded_proto|$http_x_forwarded_port|$http_te|$http_connection\\n"; }}
    location /field {{ return 200 "$http_x_large"; }}
    location /big {{
{head}      return 200 "big\\n";
    }}
    location /moved {{ return 302 /said; }}
    location /none {{ return 204; }}
    location /closed {{ return 444; }}
  }}
"""


def front(folder, plain, secure, narthex_port):
    """As a load balancer before narthex: in plain with keep-alive and WebSockets, and as the end of TLS."""
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=secure.test"]
        + ["-keyout", f"{folder}/key.pem", "-out", f"{folder}/cert.pem"],
        check=True,
        capture_output=True,
    )
    # A server with one of these has none of those around it.
    fields = "".join(
        f"    proxy_set_header {field};\n"
        for field in ["Host $http_host", "Upgrade $http_upgrade", "Connection $connection_upgrade"]
    )
    return f"""
  upstream narthex {{ server 127.0.0.1:{narthex_port}; keepalive 8; }}
  map $http_upgrade $connection_upgrade {{ default upgrade; "" ""; }}
  proxy_http_version 1.1;
  client_max_body_size 100m;
  large_client_header_buffers 4 64k;
  proxy_buffer_size 64k; proxy_buffers 8 64k; proxy_busy_buffers_size 128k;
  server {{
    listen 127.0.0.1:{plain};
{fields}    location / {{ proxy_pass http://narthex; }}
    location /put/ {{ proxy_request_buffering off; proxy_pass http://narthex; }}
  }}
  server {{
    listen 127.0.0.1:{secure} ssl http2; ssl_certificate {folder}/cert.pem; ssl_certificate_key {folder}/key.pem;
{fields}    proxy_set_header X-Forwarded-Proto $scheme;
    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    location / {{ proxy_pass http://narthex; }}
  }}
"""


class Way:
    """How curl comes to a host: which port, and what it speaks."""

    def __init__(self, name, port, *options, scheme="http"):
        self.name, self.port, self.options, self.scheme = name, port, options, scheme

    def curl(self, host, path, *options):
        """Status, head and body of the last reply."""
        with tempfile.TemporaryDirectory() as folder:
            command = ["curl", "-sS", "-k", "--max-time", "60", "--connect-to", f"::127.0.0.1:{self.port}", *self.options]
            command += ["-D", f"{folder}/head", "-o", f"{folder}/body", *options, f"{self.scheme}://{host}:{self.port}{path}"]
            done = subprocess.run(command, capture_output=True, text=True)
            assert done.returncode == 0, (self.name, path, done.stderr)
            with open(f"{folder}/head") as file:
                head = file.read().strip().split("\n\n")[-1].lower()
            body = b""
            if os.path.exists(f"{folder}/body"):
                with open(f"{folder}/body", "rb") as file:
                    body = file.read()
            return int(head.split()[1]), head, body


def same_bytes(one, other):
    return hashlib.sha256(one).digest() == hashlib.sha256(other).digest()


def exchange(way, folder):
    """All that a pod with nginx is asked, by one way."""
    status, head, body = way.curl("web.test", "/large")
    assert status == 200 and same_bytes(body, LARGE), (way.name, status, len(body))
    assert f"content-length: {len(LARGE)}" in head and "accept-ranges: bytes" in head, head
    status, _, body = way.curl("web.test", "/large", "-r", "1000-1999")
    assert (status, body) == (206, LARGE[1000:2000]), (way.name, status)
    tag = re.search(r'etag: (\S+)', head).group(1)
    assert way.curl("web.test", "/large", "-H", f"If-None-Match: {tag}")[0] == 304, way.name
    status, head, body = way.curl("web.test", "/large", "-I")
    assert status == 200 and f"content-length: {len(LARGE)}" in head and body.count(b"\n") < 20, (way.name, head)
    # Compressed by the pod, so of unknown length: passed as it is.
    status, head, body = way.curl("web.test", "/text.txt", "--compressed")
    assert status == 200 and "content-encoding: gzip" in head and body == TEXT, (way.name, head)
    assert "content-length" not in head, head
    status, head, _ = way.curl("web.test", "/text.txt")
    assert "content-encoding" not in head, head
    # Uploads, with Expect: 100-continue as curl sends it over HTTP/1.1, with a length and without.
    name = re.sub(r"\W", "-", way.name)
    for kind, options in [("length", []), ("chunked", ["-H", "Transfer-Encoding: chunked"])]:
        if kind == "chunked" and "HTTP/2" in way.name:
            continue
        status, _, _ = way.curl("web.test", f"/put/{name}-{kind}", "-T", f"{folder}/www/large", *options)
        with open(f"{folder}/www/put/{name}-{kind}", "rb") as file:
            assert status == 201 and same_bytes(file.read(), LARGE), (way.name, kind, status)
    # One that the pod does not want, answered long before its end.
    if way.name.startswith("HTTP/2"):
        # curl 7.88 takes RST_STREAM(NO_ERROR) behind a whole reply (RFC 9113, section 8.1) for a failure while it still
        # has room to send.
        command = ["nghttp", "-v", "-H", ":method: PUT", "-H", ":authority: web.test", "-d", f"{folder}/www/large"]
        command.append(f"{way.scheme}://127.0.0.1:{way.port}/narrow/x")
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert ":status: 413" in said and "Too Large" in said and "error_code=NO_ERROR" in said, said
    else:
        status, _, body = way.curl("web.test", "/narrow/x", "-T", f"{folder}/www/large")
        assert status == 413 and b"Too Large" in body, (way.name, status)
    # The largest heads that pass, and what is just too large.
    assert way.curl("web.test", "/field", "-H", f"X-Large: {'z' * 30_000}")[2] == b"z" * 30_000, way.name
    status, head, body = way.curl("web.test", "/big")
    assert (status, body) == (200, b"big\n") and len(head) > 15 * 3900, (way.name, status, len(head))
    for path, wanted in [("/none", 204), ("/moved", 302), ("/nothing-here", 404), ("/closed", 502)]:
        status, head, body = way.curl("web.test", path)
        assert status == wanted, (way.name, path, status)
        assert wanted != 204 or not body
    print(f"nginx as the pod, {way.name}: ok")


def many(way, connections, requests):
    """Keep-alive clients, while the pod closes each connection after 50 requests."""

    def one(index):
        client = http.client.HTTPConnection("127.0.0.1", way, timeout=30)
        for _ in range(requests):
            client.request("GET", "/small", headers={"Host": "web.test"})
            reply = client.getresponse()
            body = reply.read()
            assert (reply.status, body) == (200, b"small\n"), (index, reply.status, body)

    with concurrent.futures.ThreadPoolExecutor(connections) as pool:
        list(pool.map(one, range(connections)))


def before(one, plain, secure, direct):
    """nginx before narthex."""
    connections = one.counter("connections_total")
    many(plain, 8, 100)
    opened = one.counter("connections_total") - connections
    assert opened <= 40, f"{opened} connections for 800 requests: keep-alive does not hold"
    status, _, said = Way("", plain).curl("web.test", "/said")
    assert (status, said) == (200, b"GET web.test:%d|127.0.0.1|http|%d||\n" % (plain, plain)), said
    print("nginx before narthex, 800 requests by keep-alive: ok")

    behind_tls = Way("", secure, scheme="https")
    for version in ["--http1.1", "--http2"]:
        status, head, said = behind_tls.curl("secure.test", "/said", version, "-H", "X-Forwarded-For: 192.0.2.1")
        assert (status, said.split(b"|")[1:3]) == (200, [b"192.0.2.1, 127.0.0.1, 127.0.0.1", b"https"]), (status, head, said)
    status, head, _ = Way("", plain).curl("secure.test", "/said")
    location = re.search(r"location: (\S+)", head).group(1)
    assert status == 308 and location == f"https://secure.test:{one.https}/said", head
    # And where that leads there is an answer, not another redirect.
    assert direct.curl("secure.test", "/said")[0] == 200
    print("nginx as the end of TLS before narthex: ok")


def load(name, uri, connect_to):
    """h2load with 32 streams on each of 4 connections; not one request may fail."""
    command = ["h2load", "-n", "6000", "-c", "4", "-m", "32", f"--connect-to=127.0.0.1:{connect_to}", uri]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "6000 succeeded, 0 failed, 0 errored, 0 timeout" in said, said
    assert "6000 2xx, 0 3xx, 0 4xx, 0 5xx" in said, said
    assert "Application protocol: h2" in said, said
    print(f"h2load, {name}, 6000 requests: ok")


def main(binary):
    needed = {"nginx": "nginx", "curl": "curl", "openssl": "openssl", "h2load": "nghttp2-client", "nghttp": "nghttp2-client"}
    missing = {package for program, package in needed.items() if not shutil.which(program, path=PATH)}
    if missing:
        sys.exit(f"nginx.py: please install these Debian packages: {' '.join(sorted(missing))}")
    pod_port, plain, secure = free_port(), free_port(), free_port()
    websocket_port = start_websockets()
    manifests = manifest("web", pod_port) + manifest("ws", websocket_port)
    manifests += manifest("secure", pod_port, secret="none")
    processes = []
    with tempfile.TemporaryDirectory() as folder:
        try:
            processes.append(start_nginx(folder, "pod", pod(folder, pod_port)))
            until("nginx answers", lambda: answers(f"http://127.0.0.1:{pod_port}/small"))
            with narthex(binary, manifests, "--trusted-proxies", "127.0.0.1") as one:
                processes.append(start_nginx(folder, "front", front(folder, plain, secure, one.http)))
                until("nginx before narthex answers", lambda: socket.socket().connect_ex(("127.0.0.1", plain)) == 0)
                ways = [
                    Way("HTTP/1.1 in plain", one.http, "--http1.1"),
                    Way("HTTP/1.1 under TLS", one.https, "--http1.1", scheme="https"),
                    Way("HTTP/2 in plain", one.http, "--http2-prior-knowledge"),
                    Way("HTTP/2 under TLS", one.https, "--http2", scheme="https"),
                    Way("nginx before", plain, "--http1.1"),
                    Way("nginx with HTTP/2 before", secure, "--http2", scheme="https"),
                ]
                for way in ways:
                    exchange(way, folder)
                many(one.http, 8, 500)
                print("4000 requests while the pod closes connections: ok")
                before(one, plain, secure, ways[3])
                asyncio.run(talk(plain, False))
                asyncio.run(talk(secure, True))
                print("WebSockets through nginx and narthex: ok")
                load("in plain", f"http://web.test:{one.http}/small", one.http)
                load("under TLS", f"https://web.test:{one.https}/small", one.https)
                assert one.counter("panics_total") == 0 and one.counter("http_library_refusals_total") == 0
        finally:
            for process in processes:
                process.terminate()
                process.wait()


main(sys.argv[1])
