#!/usr/bin/env python3
"""The admin API against its own OpenAPI document: schemathesis asks whatever the document lets it, and more.

    tests/api/schemathesis.py NARTHEX ST [ARGS...]

Starts `NARTHEX demo` with traffic, on free ports, and ST (the schemathesis command) against it for about a minute.
"""
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

# Left out: the streams, which never end (tests/wire/admin.rs and tests/wire/tap.rs listen to them).
EXCLUDED = ["--exclude-path", "/api/v1/stream", "--exclude-path", "/api/v1/tap"]
BOUNDS = ["--max-time", "45", "--max-examples", "60", "--request-timeout", "10", "--max-response-time", "5"]


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def wait_until_ready(admin, demo):
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and demo.poll() is None:
        try:
            with urllib.request.urlopen(f"{admin}/readyz", timeout=2) as answer:
                if answer.status == 200:
                    return
        except OSError:
            time.sleep(0.05)
    sys.exit("narthex demo does not become ready")


def main():
    narthex, st, *args = sys.argv[1:]
    http, https, port = free_ports(3)
    admin = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory() as folder:
        flags = ["--listen-http", f"127.0.0.1:{http}", "--listen-https", f"127.0.0.1:{https}"]
        flags += ["--admin", f"127.0.0.1:{port}", "--traffic", "50"]
        # Peers, so that ?scope=cluster has somebody to ask: one that is gone.
        environment = os.environ | {"TMPDIR": folder, "NARTHEX_PEERS": "127.0.0.1:1"}
        demo = subprocess.Popen([narthex, "demo", *flags], env=environment, stdout=subprocess.DEVNULL)
        try:
            wait_until_ready(admin, demo)
            command = [st, "run", f"{admin}/api/v1/openapi.json", "--url", admin, *EXCLUDED, *BOUNDS, *args]
            status = subprocess.run(command, cwd=folder, timeout=300, check=False).returncode
            if demo.poll() is not None:
                sys.exit(f"narthex has ended meanwhile, with {demo.returncode}")
        finally:
            demo.terminate()
            try:
                demo.wait(20)
            except subprocess.TimeoutExpired:
                demo.kill()
    sys.exit(status)


if __name__ == "__main__":
    main()
