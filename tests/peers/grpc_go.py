"""grpc-go, client and server, through narthex, with the defaults of both.

    grpc_go.py NARTHEX GRPC_GO

A half-open stream is kept for half a minute, and with NARTHEX_LONG=1 in the environment for ten.
"""

import os
import subprocess
import sys

from rig import free_port, manifest, narthex


def serve(binary):
    port = free_port()
    server = subprocess.Popen([binary, "serve", f"127.0.0.1:{port}"], stdout=subprocess.PIPE)
    assert server.stdout.readline() == b"serving\n"
    return server, port


def main(narthex_binary, binary):
    seconds = 600 if os.environ.get("NARTHEX_LONG") else 30
    server, port = serve(binary)
    try:
        with narthex(narthex_binary, manifest("grpc", port, "kubernetes.io/h2c"), "--shards", "1") as one:
            address = f"127.0.0.1:{one.http}"

            def call(*args):
                result = subprocess.run([binary, args[0], address, "grpc.test", *map(str, args[1:])], capture_output=True)
                if result.returncode:
                    sys.exit(f"grpc-go {' '.join(map(str, args))}: {result.stderr.decode()}")
                print("grpc-go", *args, "-", result.stdout.decode().strip(), flush=True)

            # Each message is a PING and a WINDOW_UPDATE from the client.
            streams = [
                subprocess.Popen(
                    [binary, "stream", address, "grpc.test", str(seconds), str(pause)], stderr=subprocess.PIPE
                )
                for pause in (20, 45, 2)
            ]
            call("unary", 4000, 2)
            call("unary", 4000, 1)
            call("cancel", 400)
            for stream in streams:
                _, said = stream.communicate()
                assert stream.returncode == 0, said.decode()
            assert one.counter("http2_enhance_your_calm_total") == 0
            assert one.counter("retries_total") == 0
    finally:
        server.kill()
        server.wait()
    print(f"grpc-go: streams of {seconds} s, 8000 calls, bursts of cancelled ones")


main(*sys.argv[1:3])
