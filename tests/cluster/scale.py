#!/usr/bin/env python3
"""What narthex needs in a large cluster (`make scale`). No root.

    scale.py NARTHEX [--objects N] [--endpoints N] [--rate N] [--burst N]
    scale.py --traefik TRAEFIK ...

A real API server (lab.sh apiserver-up) with --objects Ingresses, Services and slices of --endpoints endpoints each, and a
narthex that also writes status. Measured: its start, its memory, its CPU while nothing changes but nodes' Leases, how soon
a change is served among --rate others a second, and --burst Ingresses made at once, while a client asks without pause; how
much the API server sends it. The pods that are asked are processes here; the other endpoints are addresses nobody asks.
Of Traefik the same, but for status: it writes five a second, and routes nothing new meanwhile.
"""

import argparse
import os
import re
import subprocess
import sys
import threading
import time

import propagation as p

HOME = "narthex-system"
PROBES = 100
PUBLISHED = "192.0.2.1"


def said(what, value):
    print(f"| {what} | {value} |", flush=True)


def crowd(i, each):
    """EACH endpoints that nobody asks."""
    slice_ = p.endpoints(("10.0.0.0", 8080), f"web-{i}")
    pattern = slice_["endpoints"][0]
    slice_["endpoints"] = [
        pattern | {"addresses": [f"10.{i % 250}.{i // 250}.{n + 1}"], "nodeName": f"node-{n}",
                   "targetRef": {"kind": "Pod", "name": f"web-{i}-{n}", "namespace": p.NAMESPACE, "uid": f"web-{i}-{n}"}}
        for n in range(each)
    ]
    return slice_


def leases(lab, count, over):
    """Nodes' heartbeats: each of COUNT Leases once in ten seconds."""
    api = p.Api(lab)
    path = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
    for n in range(count):
        lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": f"node-{n}"}, "spec": {"holderIdentity": f"node-{n}"}}
        api.call("POST", path, lease)
    n = 0
    while not over.wait(10 / count):
        n += 1
        api.patch(f"{path}/node-{n % count}", {"spec": {"renewTime": time.strftime("%Y-%m-%dT%H:%M:%S.000000Z", time.gmtime())}})


def received(pid, port):
    """Bytes the API server has sent to a process so far, and over how many connections."""
    text = subprocess.run(["ss", "-tinpHO", "dport", "=", f":{port}"], capture_output=True, text=True, check=True).stdout
    mine = [line for line in text.splitlines() if f"pid={pid}," in line]
    return sum(int(found[1]) for line in mine if (found := re.search(r"bytes_received:(\d+)", line))), len(mine)


class Asking(threading.Thread):
    """A client that asks one host without pause."""

    def __init__(self, port, host, wanted):
        super().__init__(daemon=True)
        self.port, self.host, self.wanted = port, host, wanted
        self.over, self.failed, self.times = threading.Event(), 0, []
        self.start()

    def run(self):
        client = p.Client(self.port)
        while not self.over.wait(0.002):
            began = time.perf_counter()
            try:
                good = client.get(self.host)[0] == self.wanted
            except (OSError, RuntimeError):
                client, good = p.Client(self.port), False
            self.failed += not good
            self.times.append(time.perf_counter() - began)

    def stop(self):
        self.over.set()
        self.join()
        ordered = sorted(self.times)
        return f"{len(ordered)} requests, {self.failed} failed, p99 {ordered[len(ordered) * 99 // 100] * 1e3:.1f} ms"


def with_status(lab):
    items = p.Api(lab).call("GET", f"{p.INGRESSES}?resourceVersion=0")[1]["items"]
    return sum(1 for item in items if item["status"].get("loadBalancer", {}).get("ingress"))


def measure(arguments, lab, log):
    processes = []
    api, over = p.Api(lab), threading.Event()
    try:
        pods = p.two_pods(processes)
        for name in (p.NAMESPACE, HOME):
            api.call("POST", "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        p.populate(lab, range(PROBES), lambda i: p.endpoints(pods[0], f"web-{i}-0"))
        p.populate(lab, range(PROBES, arguments.objects), lambda i: crowd(i, arguments.endpoints))
        total = (arguments.objects - PROBES) * arguments.endpoints + PROBES
        print(f"{arguments.objects} Ingresses, Services and slices, {total} endpoints\n\n| | |\n|---|---|")
        start_one = traefik if arguments.traefik else narthex
        began = time.perf_counter()
        proxy, http_port, is_ready = start_one(arguments.program, lab, log)
        processes.append(proxy)
        ready(proxy, is_ready)
        cpu, memory = p.usage(proxy.pid)
        said("ready after", f"{time.perf_counter() - began:.2f} s, {cpu:.2f} s of CPU")
        sent, watches = received(proxy.pid, api.port)
        said("the API server has sent for it", f"{sent / 2**20:.1f} MiB over {watches} connections")

        if not arguments.traefik:
            until("all have an address", lambda: with_status(lab) >= arguments.objects, 600)
            said(f"status of {arguments.objects} Ingresses written", f"{time.perf_counter() - began:.0f} s after its start")
        said("memory then", f"{p.usage(proxy.pid)[1]:.0f} MiB")

        threading.Thread(target=leases, args=(lab, 100, over), daemon=True).start()
        time.sleep(5)
        (before, _), (bytes_before, _) = p.usage(proxy.pid), received(proxy.pid, api.port)
        time.sleep(arguments.rest)
        (after, _), (bytes_after, _) = p.usage(proxy.pid), received(proxy.pid, api.port)
        said("CPU at rest, with the heartbeats of 100 nodes", f"{100 * (after - before) / arguments.rest:.2f} % of a core")
        said("sent for it meanwhile", f"{(bytes_after - bytes_before) / arguments.rest:.0f} bytes a second")

        it = p.Measurement(lab, pods, PROBES, http_port)
        for n in range(5):
            it.slice_patched(-n - 2)
        processes.append(it.rush(lab, arguments.rate))
        asking = Asking(http_port, f"web-{PROBES - 1}.example.com", 200)
        (before, _), (bytes_before, _), start = p.usage(proxy.pid), received(proxy.pid, api.port), time.perf_counter()
        live = sorted(it.slice_patched(n)[0] * 1e3 for n in range(arguments.changes))
        took = time.perf_counter() - start
        (after, _), (bytes_after, _) = p.usage(proxy.pid), received(proxy.pid, api.port)
        processes[-1].terminate()
        said(f"a change is served, among {arguments.rate} others a second", f"p50 {live[len(live) // 2]:.1f} ms, p99 {live[len(live) * 99 // 100]:.1f} ms")
        changes = arguments.rate * took + arguments.changes
        said("a change costs", f"{1e3 * (after - before) / changes:.2f} ms of CPU (the table is compiled anew), {(bytes_after - bytes_before) / changes:.0f} bytes")
        said("requests meanwhile", asking.stop())

        asking = Asking(http_port, f"web-{PROBES - 1}.example.com", 200)
        last, first = {}, time.perf_counter()

        def make(api, n):
            at, _ = api.call("POST", p.INGRESSES, p.ingress(f"burst-{n}", f"burst-{n}.example.com", "web-0"))
            last[n] = at

        p.in_parallel(lab, range(arguments.burst), make)
        newest = max(last, key=last.get)
        at, _ = p.Client(http_port).until(f"burst-{newest}.example.com", (200, f"pod-{it.at.get(0, 0)}"))
        written = with_status(lab) - arguments.objects
        said(f"{arguments.burst} Ingresses made in {last[newest] - first:.1f} s: the last is served", f"{(at - last[newest]) * 1e3:.1f} ms after it was made")
        said("requests meanwhile", asking.stop())
        if not arguments.traefik:
            said("of these with an address by then", written)
            until("all have an address", lambda: with_status(lab) >= arguments.objects + arguments.burst, 600)
            said("all with an address", f"{time.perf_counter() - first:.0f} s after the first was made")
        said("memory at the end", f"{p.usage(proxy.pid)[1]:.0f} MiB")
    finally:
        over.set()
        p.end(processes)


def narthex(program, lab, log):
    """The process, the port it serves at, and how it is known that it does."""
    http_port, admin_port = p.free_ports(2)
    process = subprocess.Popen(
        [program, "serve", "--kubeconfig", lab["KUBECONFIG"], "--listen-http", f"127.0.0.1:{http_port}", "--admin",
         f"127.0.0.1:{admin_port}", "--namespace", HOME, "--publish-address", PUBLISHED], stdout=subprocess.DEVNULL, stderr=log)
    return process, http_port, lambda: p.Client(admin_port).get("localhost", "/readyz")[0] == 200


def traefik(program, lab, log):
    """The same of Traefik 3, which says that it is ready before it has routes."""
    class_ = {"apiVersion": "networking.k8s.io/v1", "kind": "IngressClass", "metadata": {"name": "narthex"}}
    p.Api(lab).call("POST", "/apis/networking.k8s.io/v1/ingressclasses", class_ | {"spec": {"controller": "traefik.io/ingress-controller"}})
    (http_port,), p.LIVE_TIME = p.free_ports(1), 300
    process = subprocess.Popen(
        [program, f"--entrypoints.web.address=127.0.0.1:{http_port}", "--providers.kubernetesingress=true", "--log.level=WARN",
         "--global.checknewversion=false", "--global.sendanonymoususage=false"],
        env=os.environ | {"KUBECONFIG": lab["KUBECONFIG"]}, stdout=log, stderr=log)
    return process, http_port, lambda: p.Client(http_port).get(f"web-{PROBES - 1}.example.com")[0] == 200


def ready(process, is_ready):
    def look():
        if process.poll() is not None:
            sys.exit(f"it ended with {process.returncode}")
        try:
            return is_ready()
        except (OSError, RuntimeError, TypeError):
            return False

    until("it is ready", look, 300, 0.005)


def until(what, look, seconds, pause=0.5):
    deadline = time.perf_counter() + seconds
    while not look():
        if time.perf_counter() > deadline:
            raise RuntimeError(f"not within {seconds} s: {what}")
        time.sleep(pause)


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("program")
    parser.add_argument("--traefik", action="store_true", help="it is Traefik 3, and not narthex")
    parser.add_argument("--objects", type=int, default=5100)
    parser.add_argument("--endpoints", type=int, default=10)
    parser.add_argument("--changes", type=int, default=200)
    parser.add_argument("--rate", type=int, default=50)
    parser.add_argument("--burst", type=int, default=2000)
    parser.add_argument("--rest", type=int, default=30, help="seconds")
    parser.add_argument("--log", default=os.devnull, help="where its log goes")
    arguments = parser.parse_args()
    with p.api_server() as lab, open(arguments.log, "wb") as log:
        measure(arguments, lab, log)


if __name__ == "__main__":
    try:
        main()
    except (KeyboardInterrupt, BrokenPipeError):
        sys.exit(130)
