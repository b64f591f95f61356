"""A real API server for the chart's test: etcd and kube-apiserver on free ports of loopback, gone with the test."""

import json
import os
import socket
import ssl
import subprocess
import time
import urllib.request
from pathlib import Path

PATIENCE = 120
KUBE = Path(os.environ.get("NARTHEX_KUBE_BIN", Path.home() / ".cache/narthex/kube/v1.35.4/bin"))


def free_ports(count):
    """All held at once, so that they differ."""
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return ports


class Server:
    """Use it by `with`; `kubeconfig` is its administrator's."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.kubeconfig = self.folder / "admin.yaml"
        self.running = []

    def __enter__(self):
        client, peer, port = free_ports(3)
        self.url = f"https://127.0.0.1:{port}"
        key = self.folder / "sa.key"
        subprocess.run(["openssl", "genrsa", "-out", key, "2048"], check=True, capture_output=True)
        (self.folder / "tokens.csv").write_text('admin,admin,admin,"system:masters"\n')
        context = {"name": "test", "context": {"cluster": "test", "user": "admin"}}
        cluster = {"name": "test", "cluster": {"server": self.url, "insecure-skip-tls-verify": True}}
        self.kubeconfig.write_text(json.dumps({
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [cluster], "contexts": [context], "users": [{"name": "admin", "user": {"token": "admin"}}],
        }))
        etcd = f"http://127.0.0.1:{client}"
        self.spawn("etcd", "etcd", f"--data-dir={self.folder}/etcd",
                   f"--listen-client-urls={etcd}", f"--advertise-client-urls={etcd}",
                   f"--listen-peer-urls=http://127.0.0.1:{peer}",
                   f"--initial-advertise-peer-urls=http://127.0.0.1:{peer}",
                   f"--initial-cluster=default=http://127.0.0.1:{peer}")
        self.spawn("apiserver", KUBE / "kube-apiserver", f"--etcd-servers={etcd}", f"--secure-port={port}",
                   "--bind-address=127.0.0.1", "--endpoint-reconciler-type=none",
                   "--service-cluster-ip-range=10.96.0.0/16", "--authorization-mode=RBAC",
                   # Nobody makes the accounts of namespaces here.
                   "--disable-admission-plugins=ServiceAccount",
                   "--service-account-issuer=https://kubernetes.default.svc",
                   f"--service-account-key-file={key}", f"--service-account-signing-key-file={key}",
                   f"--cert-dir={self.folder}/certs", f"--token-auth-file={self.folder}/tokens.csv")
        self.wait()
        return self

    def spawn(self, name, *command):
        """Dies with this process, however that dies."""
        tied = ["setpriv", "--pdeathsig", "KILL", *map(str, command)]
        with open(self.folder / f"{name}.log", "wb") as log:
            self.running.append(subprocess.Popen(tied, stdin=subprocess.DEVNULL, stdout=log, stderr=log))

    def wait(self):
        """Until it is ready."""
        trust = ssl.create_default_context()
        trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE
        request = urllib.request.Request(f"{self.url}/readyz", headers={"Authorization": "Bearer admin"})
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                if urllib.request.urlopen(request, timeout=2, context=trust).read() == b"ok":
                    return
            except OSError:
                pass
            over = time.monotonic() > deadline or any(child.poll() is not None for child in self.running)
            if over:
                self.__exit__()
                raise RuntimeError("the API server does not start:\n" + (self.folder / "apiserver.log").read_text()[-2000:])
            time.sleep(0.1)

    def __exit__(self, *_):
        for child in self.running:
            child.kill()
            child.wait()
