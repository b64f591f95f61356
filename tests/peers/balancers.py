"""The balancers of docs/balancers before two narthexes, as the files are but for addresses and limits: a narthex that drains fails no request, one
that is killed costs at most those it had, and one that comes back is used again.

`tests/peers/balancers.py NARTHEX`, as root: it works in a network of its own. Needs Debian's haproxy, nginx and libnginx-mod-stream;
NGINX_STREAM names the module where it is not installed.
"""

import http.client
import http.server
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from rig import manifest, until

CONFIGS = Path(__file__).resolve().parents[2] / "docs/balancers"
PATH = os.environ["PATH"] + ":/usr/sbin:/sbin"
NODES = {"10.0.0.1": "127.0.0.11", "10.0.0.2": "127.0.0.12"}
MODULE = os.environ.get("NGINX_STREAM", "/usr/lib/nginx/modules/ngx_stream_module.so")


class Pod(http.server.BaseHTTPRequestHandler):
    """Says who narthex takes for the client."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body = self.headers.get("X-Real-IP", "").encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Client(threading.Thread):
    """Asks on a fresh connection each time, until stopped; counts what fails."""

    def __init__(self):
        super().__init__(daemon=True)
        self.done, self.failures, self.over = 0, [], threading.Event()

    def run(self):
        while not self.over.wait(0.02):
            began = time.monotonic()
            try:
                ask()
                self.done += 1
            except (OSError, http.client.HTTPException, AssertionError) as error:
                self.failures.append(f"{error!r} after {time.monotonic() - began:.1f} s")

    def seen(self, more):
        until(f"{more} more requests", lambda target=self.done + more: self.done >= target)

    def stop(self):
        self.over.set()
        self.join()


def ask():
    """One request from an address that only the balancer sees."""
    connection = http.client.HTTPConnection("127.0.0.1", 80, timeout=10, source_address=("127.0.0.99", 0))
    try:
        connection.request("GET", "/", headers={"Host": "web.test"})
        answer = connection.getresponse()
        body = answer.read()
        assert (answer.status, body) == (200, b"127.0.0.99"), (answer.status, body)
    finally:
        connection.close()


def works():
    try:
        ask()
        return True
    except (OSError, http.client.HTTPException, AssertionError):
        return False


def start_narthex(binary, address, rules, folder):
    log = open(f"{folder}/narthex-{address}.log", "ab")
    with log:
        child = subprocess.Popen(
            [binary, "serve", "--manifests", rules, "--listen-http", f"{address}:80", "--listen-https", f"{address}:443",
             "--admin", f"{address}:8080", "--proxy-protocol=required", "--trusted-proxies=127.0.0.1"],
            stdout=log, stderr=log)
    until(f"narthex at {address} is ready", lambda: ready(address))
    return child


def ready(address):
    connection = http.client.HTTPConnection(address, 8080, timeout=1)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def balancer(name, folder):
    """Its command, with the file of the documents but for addresses."""
    text = (CONFIGS / name).read_text()
    for documented, here in NODES.items():
        text = text.replace(documented, here)
    path = f"{folder}/{name}"
    # All is on one machine here, which has fewer descriptors, and a balancer on every address would be in narthex's way.
    text = re.sub(r"(?m)^( *bind |.*listen )(:?)(\d+)", r"\g<1>127.0.0.1:\3", text)
    text = re.sub(r"(maxconn|worker_connections) \d+", r"\1 500", text)
    if name == "nginx.conf":
        text = re.sub("worker_rlimit_nofile.*", "", text)
        text = f"load_module {MODULE};\npid {folder}/nginx.pid;\nerror_log {folder}/nginx.log;\n{text}"
        command = [shutil.which("nginx", path=PATH), "-p", folder, "-c", path, "-g", "daemon off;"]
    else:
        command = [shutil.which("haproxy", path=PATH), "-db", "-f", path]
    Path(path).write_text(text)
    return command


def story(name, binary, rules, folder):
    first, second = NODES.values()
    narthexes = {address: start_narthex(binary, address, rules, folder) for address in (first, second)}
    log = open(f"{folder}/{name}.log", "wb")
    with log:
        front = subprocess.Popen(balancer(name, folder), stdout=log, stderr=log)
    client = Client()
    try:
        until(f"{name} works", works)
        client.start()
        client.seen(100)
        narthexes[first].send_signal(signal.SIGTERM)
        narthexes[first].wait(60)
        client.seen(50)
        assert not client.failures, f"{name}: a drained narthex failed requests: {client.failures}"
        drained = client.done
        narthexes[first] = start_narthex(binary, first, rules, folder)
        client.seen(50)
        # The other one dies once the first is in use again, for else there would be none.
        until(f"{name} uses it again", lambda: served(first) > 0)
        narthexes[second].kill()
        narthexes[second].wait()
        client.seen(100)
        client.stop()
        # One request at a time, so at most one was there when it was killed.
        assert len(client.failures) <= 1, f"{name}: {client.failures}"
        print(f"ok   {name}: {drained} requests with a narthex drained, 0 failed; {client.done - drained} with one killed and one come "
              f"back, {len(client.failures)} failed; the client's address arrives")
    except SystemExit:
        for path in sorted(Path(folder).glob("*.log")):
            print(f"--- {path.name}", path.read_text()[-1500:], sep="\n")
        raise
    finally:
        client.over.set()
        for child in (front, *narthexes.values()):
            child.terminate()
            try:
                child.wait(30)
            except subprocess.TimeoutExpired:
                child.kill()


def served(address):
    """Requests this narthex has had."""
    connection = http.client.HTTPConnection(address, 8080, timeout=1)
    try:
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()
    counted = re.findall(r"^narthex_requests_total\S* (\d+)", text, re.M)
    return sum(map(int, counted))


def main():
    if len(sys.argv) == 2:
        # A network of its own: ports 80 and 8080 are free there.
        os.execvp("unshare", ["unshare", "--net", sys.executable, __file__, sys.argv[1], "alone"])
    binary = sys.argv[1]
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    pod = http.server.ThreadingHTTPServer(("127.0.0.1", 9000), Pod)
    threading.Thread(target=pod.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as folder:
        rules = f"{folder}/rules.yaml"
        Path(rules).write_text(manifest("web", 9000))
        for name, there in (("haproxy.cfg", shutil.which("haproxy", path=PATH)), ("nginx.conf", os.path.exists(MODULE))):
            if there:
                story(name, binary, rules, folder)
            else:
                print(f"skip {name}: not installed")


if __name__ == "__main__":
    main()
