#!/usr/bin/env python3
"""Holds handshakes of TCP open while one narthex takes over from another, and finishes them when the old one has gone.

    handshakes.py NARTHEX [--count 40] [--without]

Two network namespaces of its own, joined by a cable: narthex in one, and in the other a client that makes its packets by
hand, from addresses that no kernel has (so that none answers for them). Each of COUNT clients sends a SYN and gets a
SYN-ACK from the old process's socket; then the new process takes over and the old one ends; then each sends its last ACK
and a request. Whoever gets no answer is lost. With --without, sockets are not handed over but shared (SO_REUSEPORT), to
show what that costs. Needs root and iproute2. Exits with 1 if anybody is lost.
"""

import argparse
import os
import socket
import struct
import subprocess
import sys
import tempfile
import time

SERVER, CLIENTS, PORT = "10.97.0.1", "10.97.0.{}", 80
FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
PATIENCE = 30


def run(*command):
    subprocess.run(command, check=True)


def checksum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def packet(source, port, flags, sequence, acknowledged, payload=b""):
    here, there = socket.inet_aton(source), socket.inet_aton(SERVER)
    def tcp(check):
        return struct.pack("!HHIIBBHHH", port, PORT, sequence, acknowledged, 5 << 4, flags, 64000, check, 0) + payload
    segment = tcp(0)
    segment = tcp(checksum(here + there + struct.pack("!BBH", 0, 6, len(segment)) + segment))
    def ip(check):
        return struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(segment), 0, 0x4000, 64, 6, check) + here + there
    return ip(checksum(ip(0))) + segment


class Client:
    def __init__(self, number):
        self.address, self.port = CLIENTS.format(100 + number % 100), 20000 + number
        self.sequence, self.answered, self.acknowledge = 1000 + number, None, None
        self.said, self.reset = b"", False


class Wire:
    """The client's end of the cable, by whole frames."""

    def __init__(self, device, server_mac, own_mac):
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800))
        self.socket.bind((device, 0))
        self.socket.settimeout(0.05)
        self.head = bytes.fromhex(server_mac.replace(":", "")) + bytes.fromhex(own_mac.replace(":", "")) + b"\x08\x00"

    def send(self, client, flags, payload=b""):
        acknowledged = client.acknowledge or 0
        self.socket.send(self.head + packet(client.address, client.port, flags, client.sequence, acknowledged, payload))

    def listen(self, clients, until):
        """Takes in what comes until something holds; whether it does."""
        deadline = time.monotonic() + PATIENCE
        while not until():
            if time.monotonic() > deadline:
                return False
            try:
                frame = self.socket.recv(65535)
            except socket.timeout:
                continue
            self.take(frame[14:], clients)
        return True

    def take(self, data, clients):
        size = (data[0] & 15) * 4
        if data[9] != 6 or socket.inet_ntoa(data[12:16]) != SERVER:
            return
        segment = data[size:struct.unpack("!H", data[2:4])[0]]
        _, port, sequence, _, offset, flags = struct.unpack("!HHIIBB", segment[:14])
        client, payload = clients.get(port), segment[(offset >> 4) * 4:]
        if client is None:
            return
        if flags & RST:
            client.reset = True
        elif flags & SYN:
            client.acknowledge = sequence + 1
        elif payload and sequence == client.acknowledge:
            client.said += payload
            client.acknowledge += len(payload)
            self.send(client, ACK)


def mac(namespace, device):
    command = ["ip", "netns", "exec", namespace, "cat", f"/sys/class/net/{device}/address"]
    return subprocess.check_output(command, text=True).strip()


def start(narthex, namespace, folder, number, extra):
    log = open(f"{folder}/log-{number}", "w")
    command = ["ip", "netns", "exec", namespace, narthex, "serve", "--manifests", f"{folder}/rules",
               "--listen-http", f"{SERVER}:{PORT}", "--admin", f"127.0.0.1:{8080 if not extra else 8080 + number}",
               "--drain-grace", "0s", "--drain-spread", "0s", "--probe-socket", f"{folder}/probe-{number}"]
    return subprocess.Popen(command + (extra or ["--hand-over", "handshakes"]), stderr=log)


def ready(narthex, namespace, folder, number):
    deadline = time.monotonic() + PATIENCE
    command = [narthex, "healthcheck", "--probe-socket", f"{folder}/probe-{number}"]
    while subprocess.run(command, capture_output=True).returncode:
        if time.monotonic() > deadline:
            sys.exit(f"narthex {number} is not ready: " + open(f"{folder}/log-{number}").read())
        time.sleep(0.02)


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("narthex")
    parser.add_argument("--count", type=int, default=40)
    parser.add_argument("--without", action="store_true")
    arguments = parser.parse_args()
    narthex, tag = os.path.abspath(arguments.narthex), os.getpid()
    inside, outside, near, far = f"hs-in-{tag}", f"hs-out-{tag}", f"hs{tag % 100000}a", f"hs{tag % 100000}b"
    processes = []
    with tempfile.TemporaryDirectory() as folder:
        os.mkdir(f"{folder}/rules")
        try:
            for namespace in (inside, outside):
                run("ip", "netns", "add", namespace)
                run("ip", "-n", namespace, "link", "set", "lo", "up")
            run("ip", "link", "add", near, "netns", inside, "type", "veth", "peer", "name", far, "netns", outside)
            run("ip", "-n", inside, "address", "add", f"{SERVER}/24", "dev", near)
            run("ip", "-n", inside, "link", "set", near, "up")
            run("ip", "-n", outside, "link", "set", far, "up")
            clients = {client.port: client for client in map(Client, range(arguments.count))}
            for address in {client.address for client in clients.values()}:
                run("ip", "-n", inside, "neigh", "add", address, "lladdr", mac(outside, far), "dev", near)
            extra = ["--share-ports"] if arguments.without else None
            old = start(narthex, inside, folder, 1, extra)
            processes.append(old)
            ready(narthex, inside, folder, 1)

            # This process's sockets are made in the clients' namespace.
            with open(f"/run/netns/{outside}") as namespace:
                setns(namespace.fileno())
            wire = Wire(far, mac(inside, near), mac(outside, far))
            for client in clients.values():
                wire.send(client, SYN)
                client.sequence += 1
            if not wire.listen(clients, lambda: all(client.acknowledge for client in clients.values())):
                sys.exit("not every SYN was answered")

            processes.append(start(narthex, inside, folder, 2, extra))
            ready(narthex, inside, folder, 2)
            if arguments.without:
                old.terminate()
            old.wait(timeout=PATIENCE)
            for client in clients.values():
                wire.send(client, ACK)
                wire.send(client, PSH | ACK, b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            done = lambda: all(client.reset or b"page not found" in client.said for client in clients.values())
            wire.listen(clients, done)
            served = sum(client.said.startswith(b"HTTP/1.1 404") for client in clients.values())
            reset = sum(client.reset for client in clients.values())
            way = "shared ports" if arguments.without else "handed over"
            print(f"handshakes open across the change, {way}: {len(clients)} held, {served} served, {reset} reset")
            sys.exit(served != len(clients))
        finally:
            for process in processes:
                process.kill()
                process.wait()
            for namespace in (inside, outside):
                subprocess.run(["ip", "netns", "delete", namespace], stderr=subprocess.DEVNULL)


def setns(descriptor):
    import ctypes
    if ctypes.CDLL(None, use_errno=True).setns(descriptor, 0x40000000):
        raise OSError(ctypes.get_errno(), "setns")


if __name__ == "__main__":
    main()
