#!/usr/bin/env python3
"""imbalance.py [HTTP ADMIN]: how evenly long-lived connections land on shards.

First with one SO_REUSEPORT socket per shard, as the kernel hashes them (no narthex needed); then, if the addresses of a
running narthex are given (host:port host:port), as its acceptor hands them out. Prints the share of the busiest shard:
1.00 is even, the number of shards is all on one. Median and worst of 30 trials (narthex: 3).
"""
import json
import socket
import statistics
import sys
import time
import urllib.request

COUNTS = [1, 8, 64, 1000]


def reuseport(shards, count):
    listeners = []
    port = 0
    for _ in range(shards):
        one = socket.socket()
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        one.bind(("127.0.0.1", port))
        port = one.getsockname()[1]
        one.listen(4096)
        one.setblocking(False)
        listeners.append(one)
    clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(count)]
    landed = []
    for one in listeners:
        taken = []
        while True:
            try:
                taken.append(one.accept()[0])
            except BlockingIOError:
                break
        landed.append(len(taken))
        for connection in taken:
            connection.close()
    for one in clients + listeners:
        one.close()
    return landed


def overview(admin):
    with urllib.request.urlopen(f"http://{admin}/api/v1/overview", timeout=5) as answer:
        return json.load(answer)["connections_by_shard"]


def narthex(http, admin, count):
    host, port = http.rsplit(":", 1)
    clients = [socket.create_connection((host, int(port))) for _ in range(count)]
    deadline = time.monotonic() + 5
    while sum(landed := overview(admin)) < count and time.monotonic() < deadline:
        pass
    for one in clients:
        one.close()
    while sum(overview(admin)) > 0 and time.monotonic() < deadline + 15:
        pass
    return landed


def share(landed):
    return max(landed) * len(landed) / max(1, sum(landed))


def main():
    print("connections  shards  way        busiest shard, median  worst")
    for shards in (2, 8):
        for count in COUNTS:
            shares = [share(reuseport(shards, count)) for _ in range(30)]
            print(f"{count:11}  {shards:6}  reuseport  {statistics.median(shares):21.2f}  {max(shares):5.2f}")
    if len(sys.argv) == 3:
        for count in COUNTS:
            shares, shards = [], 0
            for _ in range(3):
                landed = narthex(sys.argv[1], sys.argv[2], count)
                shards = len(landed)
                shares.append(share(landed))
            print(f"{count:11}  {shards:6}  acceptor   {statistics.median(shares):21.2f}  {max(shares):5.2f}")


main()
