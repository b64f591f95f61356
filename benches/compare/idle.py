#!/usr/bin/env python3
"""idle.py: memory of a proxy for each idle client connection after one request.

  idle.py PID PORT HOST [CONNECTIONS] [SECONDS]

Opens CONNECTIONS (50,000) to 127.0.0.1:PORT from several addresses of loopback, sends one request on each, waits for the
response, and then compares the resident memory of PID (and its children) with that of before, after SECONDS (20) of silence.
The first thousand connections come before the count, so that what is there once is not counted.
"""
import resource
import socket
import sys
import time


def resident(pid):
    total = 0
    for one in [pid, *children(pid)]:
        with open(f"/proc/{one}/status") as status:
            total += next(int(line.split()[1]) for line in status if line.startswith("VmRSS:"))
    return total * 1024


def children(pid):
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as found:
            return [int(one) for one in found.read().split()]
    except FileNotFoundError:
        return []


def connect(index, port, request):
    client = socket.socket()
    client.setsockopt(socket.IPPROTO_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT
    client.bind((f"127.0.0.{2 + index // 20000}", 0))
    client.connect(("127.0.0.1", port))
    client.sendall(request)
    answer = b""
    while b"\r\n\r\n" not in answer:
        piece = client.recv(4096)
        if not piece:
            sys.exit(f"connection {index} was closed: {answer!r}")
        answer += piece
    if not answer.startswith(b"HTTP/1.1 200"):
        sys.exit(f"connection {index} got {answer[:60]!r}")
    return client


def main():
    pid, port, host = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    count = int(sys.argv[4]) if len(sys.argv) > 4 else 50_000
    silence = float(sys.argv[5]) if len(sys.argv) > 5 else 20
    resource.setrlimit(resource.RLIMIT_NOFILE, (count + 2000, max(count + 2000, resource.getrlimit(resource.RLIMIT_NOFILE)[1])))
    request = f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
    first = [connect(index, port, request) for index in range(1000)]
    time.sleep(1)
    before = resident(pid)
    others = [connect(index, port, request) for index in range(1000, 1000 + count)]
    busy = resident(pid)
    time.sleep(silence)
    after = resident(pid)
    print(f"{count} connections: {(busy - before) / count:.0f} bytes each at once, {(after - before) / count:.0f} after {silence:.0f} s")
    del first, others


main()
