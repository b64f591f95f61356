"""nginx and HAProxy before narthex that speak TLS to it: the requests of many hosts over few connections, none of which may be refused.

`make test-peers` runs this with the debug binary. Needs Debian's nginx, haproxy, curl and openssl.
"""

import base64
import concurrent.futures
import http.client
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from rig import free_port, manifest, narthex, until

# Debian's servers are in a folder that a user's PATH may lack.
PATH = os.environ["PATH"] + ":/usr/sbin:/sbin"
# Hosts with a certificate of their own, one that shares another's, and one with none.
HOSTS = ["one.test", "two.test", "also-two.test", "plain.test"]
REQUESTS, CLIENTS = 1000, 8


class Pod(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        told = f"{self.headers['Host']} {self.headers['X-Forwarded-Proto']} {self.headers['X-Forwarded-Port']}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(told)))
        self.end_headers()
        self.wfile.write(told)

    def log_message(self, *_):
        pass


def certificate(folder, name, hosts):
    """A Secret with a self-signed certificate."""
    names = ",".join(f"DNS:{host}" for host in hosts)
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    command += ["-subj", f"/CN={name}", "-addext", f"subjectAltName={names}"]
    command += ["-keyout", f"{folder}/{name}.key", "-out", f"{folder}/{name}.crt"]
    subprocess.run(command, check=True, capture_output=True)
    data = {}
    for entry, file in [("tls.crt", "crt"), ("tls.key", "key")]:
        with open(f"{folder}/{name}.{file}", "rb") as opened:
            data[entry] = base64.b64encode(opened.read()).decode()
    return f"""apiVersion: v1
kind: Secret
metadata: {{name: {name}}}
type: kubernetes.io/tls
data: {{tls.crt: {data["tls.crt"]}, tls.key: {data["tls.key"]}}}
---
"""


def world(folder, port):
    manifests = certificate(folder, "one", ["one.test"]) + certificate(folder, "two", ["two.test", "also-two.test"])
    for host, secret in zip(HOSTS, ["one", "two", "two", None]):
        manifests += manifest(host.removesuffix(".test"), port, secret=secret)
    return manifests


def nginx(folder, name, port, narthex_port, more):
    """`more` is what is said beside `proxy_pass https://`."""
    config = f"""daemon off; master_process off; pid {folder}/{name}.pid; error_log {folder}/{name}.log warn;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  client_body_temp_path {folder}/{name}-body; proxy_temp_path {folder}/{name}-proxy;
  fastcgi_temp_path {folder}/{name}-f; uwsgi_temp_path {folder}/{name}-u; scgi_temp_path {folder}/{name}-s;
  upstream narthex {{ server 127.0.0.1:{narthex_port}; keepalive 4; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{ proxy_pass https://narthex; proxy_set_header Host $host; {more} }}
  }}
}}
"""
    path = f"{folder}/{name}.conf"
    with open(path, "w") as file:
        file.write(config)
    return [shutil.which("nginx", path=PATH), "-p", folder, "-c", path, "-e", f"{folder}/{name}.log"]


def haproxy(folder, name, port, narthex_port, more):
    """`more` is what is said beside `ssl verify none`."""
    config = f"""global
  maxconn 1000
defaults
  mode http
  timeout connect 10s
  timeout client 60s
  timeout server 60s
  http-reuse always
listen all
  bind 127.0.0.1:{port}
  server narthex 127.0.0.1:{narthex_port} ssl verify none {more}
"""
    path = f"{folder}/{name}.cfg"
    with open(path, "w") as file:
        file.write(config)
    return [shutil.which("haproxy", path=PATH), "-db", "-f", path]


def ask(port, client):
    """One client's part of the requests, host after host on one kept connection; what was refused."""
    refused = []
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    for index in range(REQUESTS // CLIENTS):
        host = HOSTS[(index + client) % len(HOSTS)]
        connection.request("GET", "/", headers={"Host": host})
        reply = connection.getresponse()
        body = reply.read().decode()
        if reply.status != 200 or body != f"{host} https 443":
            refused.append((host, reply.status, body))
    return refused


def refused(port):
    with concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
        return [one for some in pool.map(lambda client: ask(port, client), range(CLIENTS)) for one in some]


KEPT = 'proxy_http_version 1.1; proxy_set_header Connection "";'
SNI = "proxy_ssl_server_name on; proxy_ssl_name $host;"
NGINX, HAPROXY = nginx, haproxy
# Each with whether narthex has to trust the balancer.
WAYS = [
    ("nginx by default", NGINX, "", False),
    ("nginx with keepalive", NGINX, KEPT, False),
    ("nginx with SNI", NGINX, SNI, False),
    ("nginx with SNI and keepalive", NGINX, SNI + KEPT, True),
    ("nginx with its own name for SNI", NGINX, "proxy_ssl_server_name on;" + KEPT, True),
    ("HAProxy by default", HAPROXY, "", False),
    ("HAProxy with SNI", HAPROXY, "sni req.hdr(host)", True),
    ("HAProxy with one name for SNI", HAPROXY, "sni str(narthex.internal)", True),
]


def main(binary):
    needed = {"nginx": "nginx", "haproxy": "haproxy", "openssl": "openssl"}
    missing = {package for program, package in needed.items() if not shutil.which(program, path=PATH)}
    if missing:
        sys.exit(f"tls_fronts.py: please install these Debian packages: {' '.join(sorted(missing))}")
    pod = ThreadingHTTPServer(("127.0.0.1", 0), Pod)
    threading.Thread(target=pod.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as folder:
        manifests = world(folder, pod.server_address[1])
        for trusted in [False, True]:
            flags = ["--trusted-proxies", "127.0.0.1"] if trusted else []
            with narthex(binary, manifests, *flags) as one:
                for index, (name, make, more, needs_trust) in enumerate(WAYS):
                    if needs_trust and not trusted:
                        continue
                    port = free_port()
                    process = subprocess.Popen(make(folder, f"front-{trusted}-{index}", port, one.https, more))
                    try:
                        until(f"{name} listens", lambda: socket.socket().connect_ex(("127.0.0.1", port)) == 0)
                        failed = refused(port)
                    finally:
                        process.terminate()
                        process.wait()
                    assert not failed, f"{name}: {len(failed)} of {REQUESTS} refused, as {failed[0]}"
                    print(f"{name}, {'trusted' if trusted else 'not trusted'}: 0 of {REQUESTS} requests refused")
                assert one.counter("panics_total") == 0


main(sys.argv[1])
