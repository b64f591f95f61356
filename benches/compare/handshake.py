#!/usr/bin/env python3
"""handshake.py PORT HOST SECONDS full|resumed: TLS 1.3 connections one after the other, each with one request, as many as fit.

Prints how many there were, how many of them were resumed, and the group and cipher. CPU a handshake is the proxy's, so that
this client is slow does not matter."""

import socket
import ssl
import sys
import time

port, host, seconds, mode = int(sys.argv[1]), sys.argv[2], float(sys.argv[3]), sys.argv[4]
context = ssl.create_default_context()
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE
context.minimum_version = ssl.TLSVersion.TLSv1_3
context.set_ecdh_curve("X25519")
request = f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()
session, made, resumed, cipher = None, 0, 0, ""
end = time.monotonic() + seconds
while time.monotonic() < end:
    raw = socket.create_connection(("127.0.0.1", port))
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with context.wrap_socket(raw, server_hostname=host, session=session if mode == "resumed" else None) as tls:
        tls.sendall(request)
        answer = b""
        while piece := tls.recv(65536):
            answer += piece
        if b" 200 " not in answer[:16]:
            sys.exit(f"not 200: {answer[:80]!r}")
        made += 1
        resumed += tls.session_reused
        cipher = tls.cipher()[0]
        # Tickets have come with the answer.
        session = tls.session
print(made, resumed, cipher)
