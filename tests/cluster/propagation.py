#!/usr/bin/env python3
"""How soon a change in a real API server is served (`make propagation`). No root.

    propagation.py NARTHEX [--objects N] [--changes N] [--rush N] [--faulty N] [--limit MS]

Starts an API server (lab.sh apiserver-up), puts N Ingresses with a host, a Service and an EndpointSlice each into it, starts
narthex beside it, and then, change by change: patches the slice of some host so that it names another pod, and asks for
that host until the other pod answers; makes a new Ingress and asks until it is not 404 any more. Then the slices once more
while another process patches those of other hosts, --rush a second (as in a rollout of everything), and once more in a
cluster with --faulty Ingresses whose Service is missing. Every time counts from the moment the API server's answer is here,
and ends when a whole response is. As a yardstick, a bare watch in this process sees the same slices: what it needs is the
API server's share.

After every patch the old pod must get no further request. With --limit, exits 1 if a p99 without rush is above it.
Pods are processes on this machine's own address, for the API server refuses loopback addresses in slices.
"""

import argparse
import base64
import contextlib
import http.client
import json
import math
import os
import random
import re
import selectors
import signal
import socket
import ssl
import statistics
import subprocess
import sys
import threading
import time
import urllib.parse

HERE = os.path.dirname(os.path.abspath(__file__))
NAMESPACE = "propagation"
READY_TIME, LIVE_TIME = 120, 10
PAUSE = 0.0005  # between two questions: asking without pause would take the processor that the change needs


# --- pods ------------------------------------------------------------------------------------------------------------


def pod(name, address):
    """A process that answers every request with its name; prints its port first."""
    reply = f"HTTP/1.1 200 OK\r\nContent-Length: {len(name) + 1}\r\n\r\n{name}\n".encode()
    listener = socket.create_server((address, 0), backlog=512)
    print(listener.getsockname()[1], flush=True)
    ready = selectors.DefaultSelector()
    ready.register(listener, selectors.EVENT_READ)
    while True:
        for key, _ in ready.select():
            if key.fileobj is listener:
                connection, _ = listener.accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                ready.register(connection, selectors.EVENT_READ)
                continue
            try:
                got = key.fileobj.recv(65536)
                if got:
                    key.fileobj.sendall(reply * got.count(b"\r\n\r\n"))
                    continue
            except OSError:
                pass
            ready.unregister(key.fileobj)
            key.fileobj.close()


def own_address():
    """An address of this machine that is no loopback one. Nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        try:
            s.connect(("192.0.2.1", 9))
            return s.getsockname()[0]
        except OSError:
            sys.exit("propagation.py: this machine has only loopback addresses; add one: ip addr add 10.78.0.1/32 dev lo")


def two_pods(processes):
    """Starts two, adds them to PROCESSES, and returns their addresses."""
    address, pods = own_address(), []
    for n in range(2):
        command = [sys.executable, os.path.abspath(__file__), "--pod", f"pod-{n}", address]
        processes.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        pods.append((address, int(processes[-1].stdout.readline())))
    return pods


def end(processes):
    for process in processes:
        process.terminate()
    for process in processes:
        try:
            process.wait(40)
        except subprocess.TimeoutExpired:
            process.kill()


# --- the API server --------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def api_server():
    """An API server of our own, as lab.sh describes it; it goes when we do, however that is."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    environment = os.environ | {"LAB_OWNER": str(os.getpid())}
    up = subprocess.run([f"{HERE}/lab.sh", "apiserver-up"], env=environment, stdout=subprocess.PIPE, text=True, check=True)
    lab = dict(line.split("=", 1) for line in up.stdout.splitlines())
    try:
        yield lab
    finally:
        subprocess.run([f"{HERE}/lab.sh", "apiserver-down"], env=environment | {"LAB": lab["LAB"]}, check=False)


class Api:
    """One kept connection to the API server."""

    def __init__(self, lab):
        self.host, self.port = urllib.parse.urlsplit(lab["SERVER"]).netloc.split(":")
        with open(lab["KUBECONFIG"], encoding="utf-8") as f:
            text = f.read()
        authority = base64.b64decode(re.search(r"certificate-authority-data: *\"?([^\s\",}]+)", text)[1]).decode()
        self.token = re.search(r"token: *\"?([^\s\",}]+)", text)[1]
        self.tls = ssl.create_default_context(cadata=authority)
        self.connection = self.connect()

    def connect(self, timeout=60):
        connection = http.client.HTTPSConnection(self.host, int(self.port), context=self.tls, timeout=timeout)
        connection.connect()
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def call(self, method, path, body=None, kind="application/json"):
        """Sends and reads; returns the moment the answer was here, and the answer."""
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": kind}
        self.connection.request(method, path, json.dumps(body) if body is not None else None, headers)
        answer = self.connection.getresponse()
        at = time.perf_counter()
        text = answer.read()
        if answer.status not in (200, 201):
            raise RuntimeError(f"{method} {path}: {answer.status} {text[:300]!r}")
        return at, json.loads(text)

    def patch(self, path, body):
        return self.call("PATCH", path, body, "application/merge-patch+json")


SLICES = f"/apis/discovery.k8s.io/v1/namespaces/{NAMESPACE}/endpointslices"
INGRESSES = f"/apis/networking.k8s.io/v1/namespaces/{NAMESPACE}/ingresses"
SERVICES = f"/api/v1/namespaces/{NAMESPACE}/services"


def endpoints(where, uid):
    address, port = where
    return {
        "ports": [{"name": "web", "port": port, "protocol": "TCP"}],
        "endpoints": [
            {
                "addresses": [address],
                "conditions": {"ready": True, "serving": True, "terminating": False},
                "targetRef": {"kind": "Pod", "name": uid, "namespace": NAMESPACE, "uid": uid},
            }
        ],
    }


def ingress(name, host, service):
    backend = {"service": {"name": service, "port": {"number": 80}}}
    rule = {"host": host, "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}
    spec = {"ingressClassName": "narthex", "rules": [rule]}
    return {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": name}, "spec": spec}


def in_parallel(lab, numbers, act):
    """ACT(api, number) for each, on a few connections."""
    threads, faults = [], []
    for n in range(8):

        def run(part=numbers[n::8]):
            try:
                api = Api(lab)
                for number in part:
                    act(api, number)
            except Exception as error:  # said by the main thread
                faults.append(error)

        threads.append(threading.Thread(target=run, daemon=True))
        threads[-1].start()
    for thread in threads:
        thread.join()
    if faults:
        raise faults[0]


def populate(lab, numbers, endpoints_of):
    """Makes a Service, a slice and an Ingress for each number; ENDPOINTS_OF says what the slice of a number holds."""

    def make(api, i):
        name = f"web-{i}"
        service = {"clusterIP": "None", "ports": [{"name": "web", "port": 80, "targetPort": "web"}]}
        api.call("POST", SERVICES, {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": service})
        slice_ = {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4"}
        slice_["metadata"] = {"name": f"{name}-a", "labels": {"kubernetes.io/service-name": name}}
        api.call("POST", SLICES, slice_ | endpoints_of(i))
        api.call("POST", INGRESSES, ingress(name, f"{name}.example.com", name))

    in_parallel(lab, numbers, make)


def rush(lab, low, high, rate, pods):
    """A process that patches slices of hosts LOW to HIGH, RATE a second, until it is ended."""
    api, due, n = Api(lab), time.perf_counter(), 0
    while True:
        i, n, due = random.randrange(low, high), n + 1, due + 1 / rate
        api.patch(f"{SLICES}/web-{i}-a", endpoints(random.choice(pods), f"web-{i}-rush-{n}"))
        time.sleep(max(0.0, due - time.perf_counter()))


class Watch(threading.Thread):
    """A bare watch of all slices: remembers when each came. The yardstick."""

    def __init__(self, lab):
        super().__init__(daemon=True)
        api = Api(lab)
        version = api.call("GET", SLICES + "?limit=1")[1]["metadata"]["resourceVersion"]
        connection = api.connect(timeout=3600)
        connection.request("GET", f"{SLICES}?watch=true&resourceVersion={version}",
                           headers={"Authorization": f"Bearer {api.token}"})
        self.answer = connection.getresponse()
        self.seen, self.news = {}, threading.Condition()
        self.start()

    def run(self):
        for line in self.answer:
            at = time.perf_counter()
            found = re.search(rb'"resourceVersion":"(\d+)"', line)
            with self.news:
                self.seen[found[1].decode()] = at
                self.news.notify_all()

    def when(self, version):
        with self.news:
            self.news.wait_for(lambda: version in self.seen, LIVE_TIME)
            return self.seen[version]


# --- narthex ---------------------------------------------------------------------------------------------------------


class Client:
    """One kept connection to narthex; as little Python as possible between a change and its answer."""

    def __init__(self, port):
        self.port = port
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=LIVE_TIME)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def get(self, host, path="/"):
        self.socket.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        got = b""
        while b"\r\n\r\n" not in got:
            more = self.socket.recv(65536)
            if not more:
                raise RuntimeError(f"narthex closed the connection after {got!r}")
            got += more
        head, _, body = got.partition(b"\r\n\r\n")
        length = int(re.search(rb"(?i)content-length: *(\d+)", head)[1])
        while len(body) < length:
            body += self.socket.recv(65536)
        return int(head.split(b" ", 2)[1]), body.decode().strip()

    def until(self, host, wanted):
        """Asks until the answer is the wanted one; returns when it was here and what else was said meanwhile."""
        others, deadline = set(), time.perf_counter() + LIVE_TIME
        while True:
            answer = self.get(host)
            at = time.perf_counter()
            if answer == wanted:
                return at, others
            others.add(answer)
            if at > deadline:
                raise RuntimeError(f"{host}: {answer} and not {wanted} after {LIVE_TIME} s")
            time.sleep(PAUSE)


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    return [s.getsockname()[1] for s in sockets]


def started(narthex, kubeconfig, log):
    http_port, admin_port = free_ports(2)
    began = time.perf_counter()
    process = subprocess.Popen(
        [narthex, "serve", "--kubeconfig", kubeconfig, "--listen-http", f"127.0.0.1:{http_port}",
         "--admin", f"127.0.0.1:{admin_port}"], stdout=subprocess.DEVNULL, stderr=log)
    while time.perf_counter() < began + READY_TIME:
        if process.poll() is not None:
            raise RuntimeError(f"narthex ended with {process.returncode}")
        try:
            if Client(admin_port).get("localhost", "/readyz")[0] == 200:
                return process, http_port, admin_port, time.perf_counter() - began
        except (OSError, RuntimeError):
            pass
        time.sleep(0.005)
    raise RuntimeError(f"narthex is not ready after {READY_TIME} s")


def usage(pid):
    """CPU seconds and resident MiB of a process."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as f:
        fields = f.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"), int(fields[21]) * os.sysconf("SC_PAGE_SIZE") / 2**20


# --- the measurement -------------------------------------------------------------------------------------------------


def row(what, seconds):
    ordered = sorted(seconds)
    rank = lambda q: ordered[math.ceil(len(ordered) * q) - 1] * 1e3
    mean = statistics.fmean(ordered) * 1e3
    print(f"{what:<52}{len(ordered):>5}{rank(.5):>8.2f}{rank(.9):>8.2f}{rank(.99):>8.2f}{ordered[-1] * 1e3:>8.2f}{mean:>8.2f}")
    return rank(.99)


class Measurement:
    def __init__(self, lab, pods, objects, http_port):
        self.api, self.watch = Api(lab), Watch(lab)
        self.pods, self.objects = pods, objects  # the second half of them is left to `rush`
        self.client = Client(http_port)
        self.at = {}  # host number: which pod serves it

    def slice_patched(self, n):
        i = random.randrange(self.objects // 2)
        host = f"web-{i}.example.com"
        self.client.until(host, (200, f"pod-{self.at.get(i, 0)}"))
        which = self.at[i] = 1 - self.at.get(i, 0)
        answered, object_ = self.api.patch(f"{SLICES}/web-{i}-a", endpoints(self.pods[which], f"web-{i}-{n + 1}"))
        version = object_["metadata"]["resourceVersion"]
        live, others = self.client.until(host, (200, f"pod-{which}"))
        if others - {(200, f"pod-{1 - which}")}:
            raise RuntimeError(f"{host}: answers between two pods: {others}")
        for _ in range(20):
            if self.client.get(host) != (200, f"pod-{which}"):
                raise RuntimeError(f"{host}: a pod that is gone got a request")
        return live - answered, max(0.0, self.watch.when(version) - answered)

    def ingress_made(self, n):
        host = f"new-{n}.example.com"
        if self.client.get(host)[0] != 404:
            raise RuntimeError(f"{host} is there before it was made")
        i = random.randrange(self.objects // 2)
        answered, _ = self.api.call("POST", INGRESSES, ingress(f"new-{n}", host, f"web-{i}"))
        live, others = self.client.until(host, (200, f"pod-{self.at.get(i, 0)}"))
        if others - {(404, "404 page not found")}:
            raise RuntimeError(f"{host}: answers before it was served: {others}")
        return live - answered

    def slices(self, changes, what):
        moved = [self.slice_patched(n) for n in range(changes)]
        worst = row(what, [live for live, _ in moved])
        row("  a bare watch sees it", [seen for _, seen in moved])
        return worst

    def rush(self, lab, rate):
        """Others are patched meanwhile: the second half of all. The process that does it, once it is under way."""
        what = json.dumps([lab, self.objects // 2, self.objects, rate, self.pods])
        process = subprocess.Popen([sys.executable, os.path.abspath(__file__), "--rush-of", what])
        time.sleep(1)
        return process


def measure(arguments, lab, log):
    processes = []
    try:
        pods = two_pods(processes)
        began = time.perf_counter()
        Api(lab).call("POST", "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
        populate(lab, range(arguments.objects), lambda i: endpoints(pods[0], f"web-{i}-0"))
        print(f"{arguments.objects} Ingresses, Services and EndpointSlices made in {time.perf_counter() - began:.1f} s", flush=True)
        narthex, http_port, _, ready = started(arguments.narthex, lab["KUBECONFIG"], log)
        processes.append(narthex)
        cpu, memory = usage(narthex.pid)
        print(f"narthex ready {ready:.2f} s after its start: {cpu:.2f} s of CPU, {memory:.0f} MiB\n", flush=True)
        it = Measurement(lab, pods, arguments.objects, http_port)
        for n in range(5):  # connections, caches
            it.slice_patched(-n - 2)
        changes = arguments.changes
        print(f"{'milliseconds from the API server’s answer':<52}{'n':>5}{'p50':>8}{'p90':>8}{'p99':>8}{'max':>8}{'mean':>8}")
        worst = it.slices(changes, "slice patched: the new pod answers")
        worst = max(worst, row("Ingress made: its host answers", [it.ingress_made(n) for n in range(changes)]))
        processes.append(it.rush(lab, arguments.rush))
        it.slices(changes, f"slice patched while {arguments.rush} others are each second")
        processes[-1].terminate()
        in_parallel(lab, range(arguments.faulty),
                    lambda api, n: api.call("POST", INGRESSES, ingress(f"bad-{n}", f"bad-{n}.example.com", "missing")))
        it.client.until(f"bad-{arguments.faulty - 1}.example.com", (503, "no available server"))
        time.sleep(1)
        worst = max(worst, it.slices(changes, f"slice patched beside {arguments.faulty} faulty Ingresses"))
        processes.append(it.rush(lab, arguments.rush))
        it.slices(changes, "  and with that rush")
        processes[-1].terminate()
        after, memory = usage(narthex.pid)
        print(f"\nnarthex meanwhile: {after - cpu:.2f} s of CPU, now {memory:.0f} MiB")
        return worst
    finally:
        end(processes)


def main():
    if sys.argv[1:2] == ["--pod"]:
        return pod(*sys.argv[2:])
    if sys.argv[1:2] == ["--rush-of"]:
        return rush(*json.loads(sys.argv[2]))
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("narthex")
    parser.add_argument("--objects", type=int, default=5000)
    parser.add_argument("--changes", type=int, default=100)
    parser.add_argument("--rush", type=int, default=200)
    parser.add_argument("--faulty", type=int, default=5000)
    parser.add_argument("--limit", type=float, help="milliseconds a p99 may be")
    parser.add_argument("--log", default=os.devnull, help="where narthex's log goes")
    arguments = parser.parse_args()
    with api_server() as lab, open(arguments.log, "wb") as log:
        worst = measure(arguments, lab, log)
    if arguments.limit and worst > arguments.limit:
        sys.exit(f"propagation.py: p99 of {worst:.1f} ms is above {arguments.limit} ms")


if __name__ == "__main__":
    try:
        main()
    except (KeyboardInterrupt, BrokenPipeError):
        sys.exit(130)
