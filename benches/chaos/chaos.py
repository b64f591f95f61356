#!/usr/bin/env python3
"""Bad clients, one kind after the other, against a narthex on loopback, and what a good client notices of them.

    chaos.py NARTHEX        about two minutes; needs nginx and wrk

A good client asks 100 times a second, half on one kept connection and half on fresh ones. Its 99th percentile is printed
for a quiet time and under each attack, with what narthex refused or cut off, and the most memory it took. The attackers
and the pod share the machine's cores with narthex, so times say little on a small one. Exits with 1 if a good request
failed, if a bound of memory was passed, or if an attack was not ended.
"""
import contextlib
import json
import multiprocessing
import os
import pathlib
import resource
import shutil
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

SECONDS = 8
# What others are to notice at most, as their 99th percentile on a quiet machine.
GOAL_MS = 50
HOST = "a.test"
GET = f"GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode()
MANIFESTS = """
{{apiVersion: v1, kind: Service, metadata: {{name: web}}, spec: {{ports: [{{port: 80}}]}}}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: web, labels: {{kubernetes.io/service-name: web}}}}
addressType: IPv4
ports: [{{port: {port}}}]
endpoints: [{{addresses: ["127.0.0.1"]}}]
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {{name: web}}
spec:
  rules: [{{host: a.test, http: {{paths: [{{path: /, pathType: Prefix, backend: {{service: {{name: web, port: {{number: 80}}}}}}}}]}}}}]
"""
NGINX = """
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log /dev/null crit;
events {{ worker_connections 20000; }}
http {{
  access_log off; keepalive_requests 1000000; client_body_temp_path {folder}; proxy_temp_path {folder};
  fastcgi_temp_path {folder}; uwsgi_temp_path {folder}; scgi_temp_path {folder};
  server {{ listen 127.0.0.1:{port} backlog=4096; location / {{ return 200 "ok\\n"; }} location /big {{ root {folder}; }} }}
}}
"""


def free_ports(count):
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in held:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in held]


class Narthex:
    """A running one, and what it says of itself."""

    def __init__(self, program, manifests, *flags, descriptors=None):
        self.http, self.https, self.admin = free_ports(3)
        command = [program, "serve", "--manifests", str(manifests), "--log-level", "error"]
        command += ["--listen-http", f"127.0.0.1:{self.http}", "--listen-https", f"127.0.0.1:{self.https}"]
        command += ["--admin", f"127.0.0.1:{self.admin}", "--drain-grace", "0s", *flags]

        def limit():
            if descriptors:
                resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))

        self.process = subprocess.Popen(command, preexec_fn=limit, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 20
        while True:
            with contextlib.suppress(OSError):
                if self.get("/readyz"):
                    break
            if time.monotonic() > deadline or self.process.poll() is not None:
                sys.exit("narthex does not become ready")
            time.sleep(0.02)

    def get(self, path):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}{path}", timeout=5) as answer:
            return answer.read().decode()

    def counters(self):
        found = {}
        for line in self.get("/metrics").splitlines():
            if line and not line.startswith("#"):
                name, value = line.rsplit(" ", 1)
                name = name.split("{")[0]
                with contextlib.suppress(ValueError):
                    found[name] = found.get(name, 0) + float(value)
        return found

    def memory(self):
        """Resident, in KiB."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        return int(status.split("VmRSS:")[1].split()[0])

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()


def connect(port, source="127.0.0.1"):
    one = socket.socket()
    one.settimeout(10)
    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if source != "127.0.0.1":
        one.setsockopt(socket.IPPROTO_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT
        one.bind((source, 0))
    one.connect(("127.0.0.1", port))
    return one


def ask(one):
    one.sendall(GET)
    head = b""
    while b"\r\n\r\n" not in head or not head.endswith(b"\n"):
        piece = one.recv(4096)
        if not piece:
            raise ConnectionError("closed without an answer")
        head += piece
        if b"\r\n\r\nok\n" in head:
            break
    return int(head.split()[1])


class Good:
    """The second client."""

    def __init__(self, port, pause=0.01):
        self.port, self.pause = port, pause
        self.times, self.failures, self.over = [], [], threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)

    def run(self):
        kept, turn, due = None, 0, time.monotonic()
        while not self.over.is_set():
            turn += 1
            began = time.monotonic()
            try:
                if turn % 2:
                    kept = kept or connect(self.port)
                    status = ask(kept)
                else:
                    with connect(self.port) as fresh:
                        status = ask(fresh)
                if status != 200:
                    self.failures.append(f"status {status}")
            except OSError as error:
                # A kept connection may have been closed meanwhile, as any client knows; a fresh one may not.
                if turn % 2 == 0:
                    self.failures.append(repr(error))
                kept = None
            now = time.monotonic()
            self.times.append(now - began)
            due = max(due + self.pause, now - 0.1)
            self.over.wait(max(0, due - now))

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join(15)

    def p99(self):
        ordered = sorted(self.times) or [0]
        return ordered[len(ordered) * 99 // 100] * 1e3


class Attack:
    """An attack in a process of its own: in this one it would keep the good client from asking, for only one thread of
    Python runs at a time."""

    def __init__(self, narthex, attack):
        processes = multiprocessing.get_context("fork")
        self.said, theirs = processes.Pipe(duplex=False)

        def run():
            theirs.send(attack(narthex, time.monotonic() + SECONDS))

        self.process = processes.Process(target=run, daemon=True)

    def __enter__(self):
        self.process.start()
        return self

    def wait(self):
        """What the attack says when it is over; absent if it broke off."""
        while self.process.is_alive() and not self.said.poll(0.2):
            pass
        return self.said.recv() if self.said.poll() else None

    def __exit__(self, *_):
        self.process.join(15)
        if self.process.exitcode != 0:
            sys.exit(f"an attack ended by itself: {self.process.exitcode}")


def until(deadline, act):
    while time.monotonic() < deadline:
        act()


def slow_heads(narthex, deadline):
    """3,000 clients, each with another byte of its head every second."""
    clients = [connect(narthex.http) for _ in range(3000)]
    for at in range(1000):
        if time.monotonic() > deadline:
            break
        for one in clients:
            with contextlib.suppress(OSError):
                one.send(GET[at % len(GET) : at % len(GET) + 1])
        time.sleep(1)
    for one in clients:
        one.close()


def slow_bodies(narthex, deadline):
    """2,000 uploads, of which a byte comes every second."""
    clients = [connect(narthex.http) for _ in range(2000)]
    for one in clients:
        one.sendall(f"POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 100000\r\n\r\n".encode())
    while time.monotonic() < deadline:
        for one in clients:
            with contextlib.suppress(OSError):
                one.send(b"x")
        time.sleep(1)
    for one in clients:
        one.close()


def slow_readers(narthex, deadline):
    """300 clients that want 8 MiB each and read nothing: their windows close."""
    clients = [connect(narthex.http) for _ in range(300)]
    for one in clients:
        one.sendall(f"GET /big HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
    time.sleep(max(0, deadline - time.monotonic()))
    for one in clients:
        one.close()


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


HEAD = b"\x82\x84\x86\x01\x06" + HOST.encode()
HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0)


def flood(narthex, deadline, make):
    """One client after the other, each as long as it is let; how often it was cut off."""
    cut = 0
    while time.monotonic() < deadline:
        with connect(narthex.http) as one:
            reader = threading.Thread(target=drain, args=(one,), daemon=True)
            reader.start()
            try:
                one.sendall(HELLO)
                stream = 1
                while time.monotonic() < deadline:
                    one.sendall(b"".join(make(stream + 2 * i) for i in range(50)))
                    stream += 100
            except OSError:
                cut += 1
    return cut


def drain(one):
    with contextlib.suppress(OSError):
        while one.recv(65536):
            pass


def rapid_reset(narthex, deadline):
    """Streams that are opened and reset at once (CVE-2023-44487)."""
    return flood(narthex, deadline, lambda stream: frame(1, 5, stream, HEAD) + frame(3, 0, stream, struct.pack(">I", 8)))


def made_you_reset(narthex, deadline):
    """Streams that narthex is made to reset (CVE-2025-8671): a window update of nothing."""
    return flood(narthex, deadline, lambda stream: frame(1, 5, stream, HEAD) + frame(8, 0, stream, bytes(4)))


def pings(narthex, deadline):
    """PINGs, each of which wants an answer."""
    return flood(narthex, deadline, lambda _: frame(6, 0, 0, bytes(8)))


def answers(narthex, deadline):
    """PINGs with ACK, which answer nothing."""
    return flood(narthex, deadline, lambda _: frame(6, 1, 0, bytes(8)))


def settings(narthex, deadline):
    """SETTINGS, each of which wants an answer."""
    return flood(narthex, deadline, lambda _: frame(4, 0, 0, bytes([0, 3, 0, 0, 0, 100])))


def goaways(narthex, deadline):
    """GOAWAYs without end, beside a request that is under way."""
    return flood(
        narthex, deadline, lambda stream: (frame(1, 4, 1, HEAD) if stream == 1 else b"") + frame(7, 0, 0, bytes(8))
    )


def streams(narthex, deadline, window, make, answer=None):
    """50 clients with 100 streams each, whose windows are so large; `answer` is sent for each DATA."""
    hello = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b"\0\4" + struct.pack(">I", window))
    clients = [connect(narthex.http) for _ in range(50)]
    for one in clients:
        one.sendall(hello + b"".join(make(index) for index in range(100)))
    if answer:
        for one in clients:
            threading.Thread(target=trickle, args=(one, answer), daemon=True).start()
    time.sleep(max(0, deadline - time.monotonic()))
    for one in clients:
        one.close()


def trickle(one, answer):
    """Opens the window of each stream that sent something."""
    held = b""
    with contextlib.suppress(OSError):
        while piece := one.recv(65536):
            held, updates = held + piece, b""
            while len(held) >= 9 and len(held) >= 9 + (length := int.from_bytes(held[:3])):
                if held[3] == 0 and length:
                    updates += frame(8, 0, int.from_bytes(held[5:9]), answer)
                held = held[9 + length :]
            one.sendall(updates)


def bombs(narthex, deadline):
    """5,000 streams that may not be answered, each of whose heads names a cookie of 390 bytes 70 times, by a byte each."""
    cookie = b"\x40\x06cookie\x7f" + bytes([0x80 | (390 - 127) & 0x7F, (390 - 127) >> 7]) + b"x" * 390

    def head(index):
        return frame(1, 5, 2 * index + 1, HEAD + (b"" if index else cookie) + b"\xbe" * 70)

    streams(narthex, deadline, 0, head)


def windows_of_a_byte(narthex, deadline):
    """5,000 streams whose replies are taken byte by byte."""
    path = b"\x82\x04\x04/big\x86\x01\x06" + HOST.encode()
    streams(narthex, deadline, 1, lambda index: frame(1, 5, 2 * index + 1, path), struct.pack(">I", 1))


def large_heads(narthex, deadline):
    """Heads of 14 KB, one after the other, from four clients that come back when they are cut off; how often they were."""
    field = b"\x00\x01x\x7f" + bytes([0x80 | (14000 - 127) & 0x7F, (14000 - 127) >> 7]) + b"y" * 14000
    cuts = []

    def client():
        with contextlib.suppress(OSError), connect(narthex.http) as one:
            threading.Thread(target=drain, args=(one,), daemon=True).start()
            one.sendall(HELLO)
            for stream in range(1, 1 << 20, 2):
                if time.monotonic() > deadline:
                    return
                one.sendall(frame(1, 5, stream, HEAD + field))
        cuts.append(1)

    threads = [threading.Thread(target=until, args=(deadline, client)) for _ in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    return len(cuts)


def handshakes(narthex, deadline):
    """5,000 clients that begin TLS and never go on."""
    clients = [connect(narthex.https, f"127.0.0.{2 + i % 4}") for i in range(5000)]
    for one in clients:
        one.send(b"\x16\x03\x01\x02\x00\x01")
    time.sleep(max(0, deadline - time.monotonic()))
    for one in clients:
        one.close()


def wrk(port, connections, seconds):
    out = subprocess.run(
        ["wrk", "-t1", f"-c{connections}", f"-d{seconds}", "-H", f"Host: {HOST}", f"http://127.0.0.1:{port}/"],
        capture_output=True, text=True, check=True, timeout=seconds + 30,
    ).stdout
    rate = next(line.split()[1] for line in out.splitlines() if line.startswith("Requests/sec"))
    return float(rate), [line.strip() for line in out.splitlines() if "Non-2xx" in line or "Socket errors" in line]


def idle_cost(narthex, count, make):
    """KiB of memory for each of so many connections."""
    time.sleep(1)
    before = narthex.memory()
    held = [make(i) for i in range(count)]
    deadline = time.monotonic() + 10
    while narthex.counters().get("narthex_open_connections", 0) < count and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(1)  # what was allocated for a moment is given back
    cost = (narthex.memory() - before) / count
    for one in held:
        one.close()
    while narthex.counters().get("narthex_open_connections", 0) > count / 10 and time.monotonic() < deadline + 10:
        time.sleep(0.05)
    return cost


class Report:
    def __init__(self):
        self.failed = []
        self.p99 = 0

    def hold(self, what, holds):
        if not holds:
            self.failed.append(what)

    def attack(self, narthex, name, attack):
        before = narthex.counters()
        with Attack(narthex, attack) as attacker, Good(narthex.http) as good:
            cut = attacker.wait()
        after, memory = narthex.counters(), narthex.memory()
        changed = {
            name.removeprefix("narthex_").removesuffix("_total"): int(value - before.get(name, 0))
            for name, value in after.items()
            if any(word in name for word in ("timeouts", "enhance_your_calm", "stalled", "handshake_failures", "evicted", "refused", "refusals", "invalid_requests", "panics"))
            and value > before.get(name, 0)
        }
        cut = f"cut off {cut} times; " if cut else ""
        said = ", ".join(f"{name} {value}" for name, value in changed.items())
        missed = "" if good.p99() <= GOAL_MS else f" (goal {GOAL_MS})"
        print(f"{name:16} p99 {good.p99():7.1f} ms{missed}  {memory / 1024:6.0f} MiB  {len(good.times):4} asked, {len(good.failures)} failed  {cut}{said}")
        self.hold(f"{name}: {good.failures[:3]}", not good.failures)
        self.p99 = good.p99()
        return cut

    def over_http2(self, program, manifests):
        """Attacks over HTTP/2, each on a narthex of its own, with what they may add of memory in MiB and others' p99."""
        narthex = Narthex(program, manifests)
        self.attack(narthex, "quiet", lambda _, deadline: time.sleep(max(0, deadline - time.monotonic())))
        narthex.stop()
        # On a machine that is busy with something else, times say nothing.
        quiet = self.p99
        most = max(50, 2 * quiet) if quiet < 10 else float("inf")
        for attack, memory in (
            (bombs, 64), (windows_of_a_byte, 96), (large_heads, 64), (goaways, 16), (settings, 16), (answers, 16),
        ):
            narthex = Narthex(program, manifests)
            name, before = attack.__name__.replace("_", " "), narthex.memory()
            self.attack(narthex, name, attack)
            more = (narthex.memory() - before) / 1024
            print(f"{'':16} {more:+.0f} MiB (bound {memory}), p99 within {most:.0f} ms")
            self.hold(f"{name}: {more:.0f} MiB more", more <= memory)
            self.hold(f"{name}: p99 {self.p99:.0f} ms", self.p99 <= most)
            narthex.stop()

    def memory_of_idle(self, start):
        context = ssl._create_unverified_context()

        def asked(i):
            one = connect(narthex.http, f"127.0.0.{2 + i % 4}")
            ask(one)
            return one

        def secure(i):
            one = context.wrap_socket(connect(narthex.https, f"127.0.0.{2 + i % 4}"), server_hostname=HOST)
            ask(one)
            return one

        narthex = None
        # As many as the machine lets a process have: half of narthex's descriptors are for clients.
        most = min(50_000, resource.getrlimit(resource.RLIMIT_NOFILE)[0] * 9 // 20)
        for name, count, make, bound in (
            ("before a byte", most, lambda i: connect(narthex.http, f"127.0.0.{2 + i % 4}"), 2),
            ("after a request", min(most, 10_000), asked, 16),
            ("under TLS", 1_500, secure, 40),
        ):
            # One of its own for each: what was used before is used again.
            narthex = start()
            cost = idle_cost(narthex, count, make)
            narthex.stop()
            print(f"idle {name:16} {cost:5.1f} KiB each, {count} of them (bound {bound})")
            self.hold(f"{cost:.1f} KiB for a connection {name}", cost <= bound)

    def overload(self, narthex):
        peak, _ = wrk(narthex.http, 50, 5)
        slowest = []

        def admin():
            while not over.is_set():
                began = time.monotonic()
                narthex.get("/readyz")
                slowest.append(time.monotonic() - began)
                over.wait(0.05)

        over = threading.Event()
        asking = threading.Thread(target=admin, daemon=True)
        asking.start()
        rate, trouble = wrk(narthex.http, 2000, 8)
        over.set()
        asking.join()
        worst = max(slowest) * 1e3
        print(f"overload         {rate / peak:.2f} of the peak's throughput with 2,000 connections instead of 50; "
              f"the slowest of {len(slowest)} answers of /readyz {worst:.0f} ms; {narthex.memory() / 1024:.0f} MiB {trouble}")
        self.hold("no answer within 5 s from the admin side", len(slowest) > 10)

    def descriptors(self, program, manifests):
        narthex = Narthex(program, manifests, descriptors=256)
        try:
            silent = [connect(narthex.http) for _ in range(600)]
            with Good(narthex.http, 0.05) as good:
                time.sleep(SECONDS)
            counters = narthex.counters()
            refused = counters.get("narthex_connections_refused_total", 0)
            print(f"256 descriptors  p99 {good.p99():7.1f} ms  600 silent clients; {len(good.times)} asked, {len(good.failures)} failed; "
                  f"evicted {counters.get('narthex_connections_evicted_total', 0):.0f}, refused {refused:.0f}")
            self.hold(f"descriptors: {good.failures[:3]}", len(good.times) > 10 and not good.failures)
            for one in silent:
                one.close()
        finally:
            narthex.stop()


    def admin_readers(self, program, folder):
        """On 10,000 rules without a Service, 250 sockets ask the admin side for long answers and take next to nothing."""
        folder.mkdir()
        rules = [{
            "apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": f"i{index}"},
            "spec": {"rules": [{"host": f"h{index}.test", "http": {"paths": [
                {"path": f"/{path}", "pathType": "Prefix", "backend": {"service": {"name": f"missing-{path}", "port": {"number": 80}}}}
                for path in range(100)
            ]}}]},
        } for index in range(100)]
        (folder / "rules.json").write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": rules}))
        for name, target, bound in [("one answer", "/api/v1/diagnostics", 64), ("many answers", "/api?{}", 96)]:
            narthex = Narthex(program, folder)
            try:
                narthex.get(target)
                before, held, most, probes, failed = narthex.memory(), [], 0, [], []
                for index in range(250):
                    one = socket.socket()
                    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
                    one.connect(("127.0.0.1", narthex.admin))
                    one.sendall(f"GET {target.format(index)} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
                    held.append(one)
                deadline = time.monotonic() + SECONDS
                while time.monotonic() < deadline:
                    began = time.monotonic()
                    try:
                        narthex.get("/readyz")
                        probes.append((time.monotonic() - began) * 1000)
                    except OSError as error:
                        failed.append(error)
                    most = max(most, narthex.memory())
                    time.sleep(0.05)
                for one in held:
                    one.close()
            finally:
                narthex.stop()
            added = (most - before) / 1024
            print(f"admin, {name:13} {before / 1024:.0f} MiB, and {added:.0f} MiB more at most; {len(probes)} probes, the slowest {max(probes, default=0):.0f} ms, {len(failed)} failed")
            self.hold(f"admin, {name}: {added:.0f} MiB more", added <= bound)
            self.hold(f"admin, {name}: probes {failed[:3]}", probes and not failed)


def main():
    program = str(pathlib.Path(sys.argv[1]).resolve())
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    report, began = Report(), time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (port,) = free_ports(1)
        (folder / "big").write_bytes(b"x" * (8 << 20))
        (folder / "nginx.conf").write_text(NGINX.format(folder=folder, port=port))
        (folder / "manifests").mkdir()
        (folder / "manifests/web.yaml").write_text(MANIFESTS.format(port=port))
        os.chmod(folder, 0o755)
        nginx = subprocess.Popen([shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin"), "-c", folder / "nginx.conf", "-p", folder])
        narthex = None
        try:
            narthex = Narthex(program, folder / "manifests")
            print(f"descriptors: soft {soft}, hard {hard}; times of a client that asks 100 times a second")
            report.memory_of_idle(lambda: Narthex(program, folder / "manifests"))
            report.attack(narthex, "quiet", lambda _, deadline: time.sleep(max(0, deadline - time.monotonic())))
            for attack in (slow_heads, slow_bodies, slow_readers, handshakes):
                report.attack(narthex, attack.__name__.replace("_", " "), attack)
            for attack in (rapid_reset, made_you_reset, pings):
                name = attack.__name__.replace("_", " ")
                report.hold(f"{name} was never cut off", report.attack(narthex, name, attack))
            report.over_http2(program, folder / "manifests")
            report.overload(narthex)
            report.descriptors(program, folder / "manifests")
            report.admin_readers(program, folder / "rules")
            report.hold("a panic", narthex.counters().get("narthex_panics_total", 0) == 0)
        finally:
            if narthex:
                narthex.stop()
            nginx.terminate()
            nginx.wait(10)
    print(json.dumps({"seconds": round(time.monotonic() - began), "broken": report.failed}))
    sys.exit(bool(report.failed))


if __name__ == "__main__":
    main()
