"""Pods that speak HTTP/2 by other people's code: nginx (Debian's) that leaves after 100 requests, and Node's http2 that ends
streams in the middle.

    h2_pods.py NARTHEX
"""

import http.client
import shutil
import subprocess
import sys
import tempfile
import threading

from rig import free_port, manifest, narthex, until

NGINX = """
worker_processes 1;
error_log stderr crit;
pid {folder}/pid;
daemon off;
events {{ worker_connections 512; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    keepalive_requests 100;
    server {{
        {listen}
        location / {{ proxy_pass http://127.0.0.1:{behind}; }}
    }}
    server {{
        listen 127.0.0.1:{behind};
        location / {{ return 200 "ok\\n"; }}
    }}
}}
"""

NODE = """
const server = require('http2').createServer();
server.on('stream', (stream, headers) => {
  stream.on('error', () => {});
  if (headers[':path'] === '/whole') {
    stream.respond({':status': 200});
    return stream.end('whole');
  }
  stream.respond({':status': 200});
  stream.write('half');
  setTimeout(() => headers[':path'] === '/goaway' ? stream.session.destroy() : stream.destroy(), 50);
});
server.listen(PORT, '127.0.0.1', () => console.log('serving'));
"""


def post(port, count, failures):
    client = http.client.HTTPConnection("127.0.0.1", port)
    for _ in range(count):
        client.request("POST", "/", b"abc", {"Host": "nginx.test"})
        reply = client.getresponse()
        reply.read()
        if reply.status != 200:
            failures.append(reply.status)


def serving(port):
    client = http.client.HTTPConnection("127.0.0.1", port)
    try:
        client.connect()
        return True
    except OSError:
        return False
    finally:
        client.close()


def nginx(binary):
    if not shutil.which("nginx"):
        sys.exit("nginx is missing: apt-get install nginx-light")
    version = subprocess.run(["nginx", "-v"], capture_output=True, text=True).stderr.split("/")[-1].strip()
    port, behind = free_port(), free_port()
    new = tuple(map(int, version.split("-")[0].split(" ")[0].split(".")[:2])) >= (1, 25)
    listen = f"listen 127.0.0.1:{port}; http2 on;" if new else f"listen 127.0.0.1:{port} http2;"
    with tempfile.TemporaryDirectory() as folder:
        with open(f"{folder}/conf", "w") as file:
            file.write(NGINX.format(folder=folder, listen=listen, behind=behind))
        server = subprocess.Popen(["nginx", "-p", folder, "-c", f"{folder}/conf", "-e", "stderr"])
        try:
            until("nginx serves", lambda: serving(port))
            with narthex(binary, manifest("nginx", port, "kubernetes.io/h2c"), "--shards", "1") as one:
                failures = []
                threads = [threading.Thread(target=post, args=(one.http, 500, failures)) for _ in range(6)]
                [thread.start() for thread in threads]
                [thread.join() for thread in threads]
                assert not failures, f"{len(failures)} of 3000 POSTs failed: {failures[:5]}"
        finally:
            server.terminate()
            server.wait()
    print(f"nginx {version} with keepalive_requests 100: 3000 POSTs, none failed")


def node(binary):
    if not shutil.which("node"):
        print("Node is missing: its HTTP/2 pod is left out")
        return
    port = free_port()
    server = subprocess.Popen(["node", "-e", NODE.replace("PORT", str(port))], stdout=subprocess.PIPE)
    try:
        assert server.stdout.readline() == b"serving\n"
        with narthex(binary, manifest("node", port, "kubernetes.io/h2c"), "--shards", "1") as one:
            for path in ("/half", "/goaway", "/half"):
                client = http.client.HTTPConnection("127.0.0.1", one.http)
                client.request("GET", path, headers={"Host": "node.test"})
                reply = client.getresponse()
                try:
                    said = reply.read()
                except http.client.IncompleteRead:
                    continue
                raise AssertionError(f"{path} looks whole: {said}")
            client = http.client.HTTPConnection("127.0.0.1", one.http)
            client.request("GET", "/whole", headers={"Host": "node.test"})
            assert client.getresponse().read() == b"whole"
    finally:
        server.kill()
        server.wait()
    print("Node's http2: what it breaks off is cut for the client")


nginx(sys.argv[1])
node(sys.argv[1])
