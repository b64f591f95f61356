#!/usr/bin/env python3
"""passthrough.py: the pod and the client of passthrough.sh.

  passthrough.py pod PORT
  passthrough.py bytes PORT HOST SECONDS      prints the MiB that came
  passthrough.py conns PORT HOST SECONDS      prints the connections that were opened and answered, one after the other
  passthrough.py idle PORT HOST COUNT PID     prints COUNT and the bytes of memory that PID took for that many idle connections

A connection begins with a real ClientHello. Nobody answers it with TLS, for neither proxy looks further: one byte behind it tells
the pod what to do.
"""

import asyncio
import resource
import socket
import ssl
import sys
import time

DOWN, CLOSE, STAY = b"d", b"c", b"s"
PIECE = bytes(1 << 20)
# Connections that come before the count, so that what is there once is not counted.
FIRST = 500


class Pod(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport, self.said, self.task, self.may_write = transport, b"", None, asyncio.Event()
        self.may_write.set()

    def pause_writing(self):
        self.may_write.clear()

    def resume_writing(self):
        self.may_write.set()

    def data_received(self, data):
        self.said += data
        # Behind one TLS record.
        length = 5 + int.from_bytes(self.said[3:5], "big") if len(self.said) >= 5 else None
        if length is None or len(self.said) <= length:
            return
        what = self.said[length : length + 1]
        if what == DOWN:
            self.task = asyncio.get_running_loop().create_task(self.send())
        else:
            self.transport.write(b"!")
            if what == CLOSE:
                self.transport.close()

    async def send(self):
        while not self.transport.is_closing():
            await self.may_write.wait()
            self.transport.write(PIECE)
            await asyncio.sleep(0)

    def connection_lost(self, _):
        if self.task:
            self.task.cancel()


def raise_limit():
    """Allows as many descriptors as this process may have."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


async def serve(port):
    raise_limit()
    server = await asyncio.get_running_loop().create_server(Pod, "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


def hello(host):
    """What a client begins with."""
    context = ssl.create_default_context()
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(there, back, server_hostname=host)
    try:
        client.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return back.read()


def connect(port, first, source=None):
    client = socket.socket()
    if source:
        client.setsockopt(socket.IPPROTO_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT
        client.bind((source, 0))
    client.settimeout(10)
    client.connect(("127.0.0.1", port))
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    client.sendall(first)
    return client


def take_bytes(port, host, seconds):
    client, buffer, taken = connect(port, hello(host) + DOWN), bytearray(1 << 20), 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        count = client.recv_into(buffer)
        if not count:
            sys.exit("the connection was closed")
        taken += count
    print(taken >> 20)


def open_many(port, host, seconds):
    first, made = hello(host) + CLOSE, 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with connect(port, first) as client:
            if client.recv(16) != b"!" or client.recv(16):
                sys.exit("the pod did not answer")
        made += 1
    print(made)


def resident(pid):
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS:")) * 1024


def hold(port, host, count, pid):
    # The proxy has two descriptors for each.
    count = min(count, raise_limit() // 2 - FIRST - 100)
    first, held = hello(host) + STAY, []

    def more(total):
        while len(held) < total:
            client = connect(port, first, f"127.0.0.{2 + len(held) // 20000}")
            if client.recv(16) != b"!":
                sys.exit(f"connection {len(held)} was not answered")
            held.append(client)

    more(FIRST)
    time.sleep(2)
    before = resident(pid)
    more(FIRST + count)
    time.sleep(10)
    print(count, resident(pid) - before)


mode, port = sys.argv[1], int(sys.argv[2])
if mode == "pod":
    asyncio.run(serve(port))
elif mode == "bytes":
    take_bytes(port, sys.argv[3], float(sys.argv[4]))
elif mode == "conns":
    open_many(port, sys.argv[3], float(sys.argv[4]))
else:
    hold(port, sys.argv[3], int(sys.argv[4]), int(sys.argv[5]))
