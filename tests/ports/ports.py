#!/usr/bin/env python3
"""ports.py NARTHEX: who may bind port 80, as docs/ports.md has it: the program in containers of runc, as a kubelet would have them
made. Needs root, runc and setcap (Debian: runc, libcap2-bin)."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PATIENCE = 30
BIND = "CAP_NET_BIND_SERVICE"
RULES = """{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {name: web, namespace: default},
spec: {defaultBackend: {service: {name: web, port: {number: 80}}}}}"""

# What is given to the container, and what comes of it.
#   user, capability, file has the capability, port from which on anybody may bind: binds
CASES = [
    (0, True, False, None, True),
    (0, False, False, None, False),
    # Kubernetes gives a user other than root no ambient capability: it is gone when the program starts.
    (65532, True, False, None, False),
    (65532, True, True, None, True),
    # A file cannot give what the container may not have: it does not even start.
    (65532, False, True, None, False),
    (65532, False, False, 0, True),
    (65532, False, False, 81, False),
]


def bundle(folder, user, capability, program, first_port):
    """A container as `allowPrivilegeEscalation: false`, `readOnlyRootFilesystem: true`, `capabilities.drop: [ALL]` make it."""
    root = folder / "rootfs"
    for name in ("proc", "lib", "lib64", "usr", "narthex", "rules"):
        (root / name).mkdir(parents=True, exist_ok=True)
    capabilities = [BIND] if capability else []

    def shared(source, place):
        return {"source": str(source), "destination": place, "type": "bind", "options": ["rbind", "ro"]}

    config = {
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": user, "gid": user}, "cwd": "/", "env": ["NARTHEX_LOG_FORMAT=json"],
            "args": [f"/narthex/{program}", "serve", "--manifests", "/rules", "--listen-http", "[::]:80",
                     "--listen-https", "off", "--admin", "127.0.0.1:8080"],
            "capabilities": {kind: capabilities for kind in ("bounding", "permitted", "effective")},
            "noNewPrivileges": True,
        },
        "root": {"path": "rootfs", "readonly": True},
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            # For a program that is not static.
            *(shared(f"/{name}", f"/{name}") for name in ("lib", "lib64", "usr")),
            shared(folder / "programs", "/narthex"), shared(folder / "rules", "/rules"),
        ],
        "linux": {
            "namespaces": [{"type": kind} for kind in ("pid", "network", "ipc", "uts", "mount")],
            "sysctl": {} if first_port is None else {"net.ipv4.ip_unprivileged_port_start": str(first_port)},
        },
    }
    (folder / "config.json").write_text(json.dumps(config))


def binds(folder, name):
    """Whether the program in the bundle gets its port; none if that was never seen."""
    runc = ["runc", "--root", str(folder / "state")]
    log = folder / "log"
    with open(log, "wb") as out:
        child = subprocess.Popen([*runc, "run", "--bundle", folder, name], stdout=out, stderr=out, stdin=subprocess.DEVNULL)
    deadline = time.monotonic() + PATIENCE
    try:
        while time.monotonic() < deadline:
            if "starting narthex" in log.read_text():
                return True
            if child.poll() is not None:
                return None if child.returncode == 0 else False
            time.sleep(0.05)
        return None
    finally:
        subprocess.run([*runc, "kill", name, "KILL"], capture_output=True, check=False)
        child.send_signal(signal.SIGTERM)
        child.wait()
        subprocess.run([*runc, "delete", "--force", name], capture_output=True, check=False)


def main():
    if os.geteuid() != 0:
        sys.exit("ports.py: runc needs root here")
    wrong = 0
    with tempfile.TemporaryDirectory(prefix="narthex-ports-") as scratch:
        folder = Path(scratch)
        # The container's user goes through it.
        folder.chmod(0o755)
        for name in ("programs", "rules"):
            (folder / name).mkdir()
        (folder / "rules/rule.yaml").write_text(RULES)
        for program in ("plain", "capable"):
            shutil.copy(sys.argv[1], folder / "programs" / program)
            (folder / "programs" / program).chmod(0o755)
        subprocess.run(["setcap", "cap_net_bind_service=+ep", folder / "programs/capable"], check=True)
        for number, (user, capability, in_file, first_port, expected) in enumerate(CASES):
            bundle(folder, user, capability, "capable" if in_file else "plain", first_port)
            seen = binds(folder, f"narthex-ports-{os.getpid()}-{number}")
            given = [f"uid {user}", f"{BIND} {'added' if capability else 'not added'}"]
            given += ["and on the file"] if in_file else []
            given += [] if first_port is None else [f"ip_unprivileged_port_start={first_port}"]
            said = {True: "binds port 80", False: "does not", None: "was not seen to do either"}
            print(f"{'ok  ' if seen == expected else 'FAIL'} {', '.join(given)}: {said[seen]}")
            if seen != expected:
                wrong += 1
                print((folder / "log").read_text())
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
