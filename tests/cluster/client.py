#!/usr/bin/env python3
"""A client that asks without pause until it is told to stop (SIGTERM), and remembers every failure.

    client.py OUT.json RATE HOST ADDRESS...

Two workers per address, one on a connection it keeps, one on a fresh connection for each request; each sends RATE requests
a second. A failure is anything but status 200 with a body. A kept connection that the server had closed before the request
is opened again, as every HTTP client does (RFC 9112, section 9.3.1); that is counted apart. OUT.json is written anew every
100 ms (whole or not at all): {"requests": N, "failures": N, "first_failures": [...], "reconnects": N, "seen": {BODY: N},
"recent": {BODY: N of the last second}, "slowest_ms": N, "p50_ms": N, "p99_ms": N, "gap_ms": N}; the gap is the longest time
in which no request of one worker succeeded. An ADDRESS of several, with commas between, is a name with several records: a
connect that fails, or takes a second, goes to the next. CLIENT_METHOD=POST sends POSTs of a few bytes instead, on fresh connections only.
"""

import collections
import http.client
import itertools
import json
import os
import signal
import socket
import sys
import threading
import time

out, rate, host, *addresses = sys.argv[1:]
pause = 1 / float(rate)
method = os.environ.get("CLIENT_METHOD", "GET")
stop = threading.Event()
lock = threading.Lock()
start = time.monotonic()
times, failures, seen, recent, reconnects, gap = [], [], collections.Counter(), collections.deque(), 0, 0.0


def ask(connection):
    connection.request(method, "/", None if method == "GET" else b"some bytes", headers={"Host": host})
    response = connection.getresponse()
    return response.status, response.read().decode(errors="replace").strip()


class Connection(http.client.HTTPConnection):
    """To an address, or to the first of several that takes it within a second, beginning with another one each time."""

    turns = itertools.count()

    def connect(self):
        names = self.host.split(",")
        turn = next(Connection.turns)
        for left in reversed(range(len(names))):
            try:
                patience = 1 if len(names) > 1 else self.timeout
                self.sock = socket.create_connection((names[(turn + left) % len(names)], self.port), patience)
                self.sock.settimeout(self.timeout)
                self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                return
            except OSError:
                if left == 0:
                    raise


def worker(address, keep):
    global reconnects, gap
    connection, succeeded = None, time.monotonic()
    due = time.monotonic()
    while not stop.is_set():
        began = time.monotonic()
        try:
            reused = connection is not None
            connection = connection or Connection(address, 80, timeout=10)
            try:
                status, body = ask(connection)
            except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
                if not reused:
                    raise
                with lock:
                    reconnects += 1
                connection.close()
                connection = Connection(address, 80, timeout=10)
                status, body = ask(connection)
            fault = None if status == 200 and body else f"{status} {body[:80]!r}"
            if not keep or connection.sock is None:
                connection.close()
                connection = None
        except (OSError, http.client.HTTPException) as error:
            fault, connection = f"{type(error).__name__}: {error}", None
        now = time.monotonic()
        with lock:
            times.append(now - began)
            if fault:
                kind = "kept" if keep else "fresh"
                failures.append(f"after {began - start:.3f} s, {address}, {kind} connection, {(now - began) * 1e3:.0f} ms: {fault}")
            else:
                seen[body] += 1
                gap, succeeded = max(gap, now - succeeded), now
                recent.append((now, body))
        due = max(due + pause, now - 1)
        stop.wait(max(0, due - time.monotonic()))


def report():
    with lock:
        while recent and recent[0][0] < time.monotonic() - 1:
            recent.popleft()
        ordered = sorted(times) or [0]
        summary = {
            "requests": len(times), "failures": len(failures), "first_failures": failures[:20], "reconnects": reconnects,
            "seen": seen, "recent": collections.Counter(body for _, body in recent),
            "slowest_ms": round(ordered[-1] * 1e3, 1), "p50_ms": round(ordered[len(ordered) // 2] * 1e3, 1),
            "p99_ms": round(ordered[len(ordered) * 99 // 100] * 1e3, 1), "gap_ms": round(gap * 1e3, 1),
        }
        with open(out + ".new", "w", encoding="utf-8") as f:
            json.dump(summary, f)
        os.replace(out + ".new", out)


signal.signal(signal.SIGTERM, lambda *_: stop.set())
signal.signal(signal.SIGINT, lambda *_: stop.set())
threads = [threading.Thread(target=worker, args=(a, keep), daemon=True) for a in addresses for keep in (method == "GET", False)]
for thread in threads:
    thread.start()
while not stop.wait(0.1):
    report()
for thread in threads:
    thread.join(15)
report()
