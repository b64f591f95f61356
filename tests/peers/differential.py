"""What narthex, nginx and HAProxy do with the same hostile bytes, as a table for docs/security.md.

`make differential` runs this. The bytes are those of tests/wire/attacks; the runner there plays them against each proxy
in turn, before one and the same pod, and says what that pod saw. Needs Debian's nginx and haproxy.
"""

import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time

PATH = os.environ["PATH"] + ":/usr/sbin:/sbin"
BEGIN, END = "<!-- made by `make differential` -->", "<!-- end -->"


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def program(name):
    return shutil.which(name, path=PATH) or sys.exit(f"{name} is missing: apt-get install {name}")


def version(command):
    out = subprocess.run(command, capture_output=True, text=True)
    return re.search(r"\d+\.\d+\.\d+", out.stdout + out.stderr).group()


@contextlib.contextmanager
def running(command, port, **more):
    process = subprocess.Popen(command, **more)
    try:
        deadline = time.monotonic() + 20
        while socket.socket().connect_ex(("127.0.0.1", port)) != 0:
            if process.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"it does not listen: {command}")
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait()


def narthex(binary, folder, port, pod):
    manifests = f"""apiVersion: v1
kind: Service
metadata: {{name: web}}
spec: {{ports: [{{port: 80}}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: web, labels: {{kubernetes.io/service-name: web}}}}
addressType: IPv4
ports: [{{port: {pod}}}]
endpoints: [{{addresses: [127.0.0.1]}}]
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {{name: web}}
spec:
  rules:
  - host: a.test
    http: {{paths: [{{path: /, pathType: Prefix, backend: {{service: {{name: web, port: {{number: 80}}}}}}}}]}}
"""
    os.mkdir(f"{folder}/manifests")
    with open(f"{folder}/manifests/all.yaml", "w") as file:
        file.write(manifests)
    listen = ["--listen-http", f"127.0.0.1:{port}", "--admin", f"127.0.0.1:{free_port()}", "--drain-grace", "0s"]
    return [binary, "serve", "--manifests", f"{folder}/manifests", *listen], {"stderr": subprocess.DEVNULL}


def nginx(folder, port, pod):
    """As docs and charts have it: the path as it came, Host as it came, HTTP/1.1 to the pod."""
    config = f"""daemon off; master_process off; pid {folder}/nginx.pid; error_log /dev/null;
events {{ worker_connections 256; }}
http {{
  access_log off;
  client_body_temp_path {folder}/b; proxy_temp_path {folder}/p;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}
  server {{ listen 127.0.0.1:{port} default_server; return 404; }}
  server {{
    listen 127.0.0.1:{port}; server_name a.test;
    location / {{
      proxy_pass http://127.0.0.1:{pod}; proxy_http_version 1.1;
      proxy_set_header Host $http_host; proxy_set_header X-Forwarded-For $remote_addr;
      proxy_set_header X-Forwarded-Host $http_host;
      proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $connection_upgrade;
    }}
  }}
}}
"""
    with open(f"{folder}/nginx.conf", "w") as file:
        file.write(config)
    return [program("nginx"), "-p", folder, "-c", f"{folder}/nginx.conf", "-e", "/dev/null"], {}


def haproxy(folder, port, pod):
    config = f"""defaults
    mode http
    timeout client 30s
    timeout server 30s
    timeout connect 5s
frontend in
    bind 127.0.0.1:{port}
    http-request set-header X-Forwarded-For %[src]
    http-request set-header X-Forwarded-Host %[req.hdr(host)]
    use_backend web if {{ req.hdr(host),field(1,:) -i a.test }}
    default_backend none
backend web
    server pod 127.0.0.1:{pod}
backend none
    http-request return status 404
"""
    with open(f"{folder}/haproxy.cfg", "w") as file:
        file.write(config)
    return [program("haproxy"), "-db", "-q", "-f", f"{folder}/haproxy.cfg"], {}


def play(target, pod):
    """Every case: group, row, name, what happened, why narthex does what it does."""
    command = ["cargo", "test", "--locked", "--quiet", "--test", "wire", "--", "--nocapture", "--exact"]
    command.append("attacks::hostile_bytes_are_read_as_a_strict_parser_reads_them_or_refused")
    env = os.environ | {"NARTHEX_WIRE_TARGET": f"127.0.0.1:{target}", "NARTHEX_WIRE_POD": f"127.0.0.1:{pod}"}
    out = subprocess.run(command, env=env, capture_output=True, text=True)
    cases = [line.split("case\t", 1)[1].split("\t") for line in out.stdout.splitlines() if "case\t" in line]
    if out.returncode != 0 or not cases:
        sys.exit(out.stdout + out.stderr)
    return cases


def outcome(cell):
    """What counts as the same: refused, with whatever status; or what the pod saw."""
    client, *pod = re.split(r" (?=[→⚠✂] )", cell)
    statuses = re.findall(r"\d{3}", client)
    if not pod:
        return "refused" if client == "closed" or statuses and all(status[0] in "45" for status in statuses) else client
    return "".join(pod)


def show(text):
    text = text.replace("|", "\\|").replace("<", "&lt;")
    return text if len(text) < 120 else text[:110] + "…"


def table(names, columns):
    """Groups as tables; cases in which all do the same are named in a line below."""
    lines, notes, missing = [], {}, []
    groups = {}
    for cases in zip(*columns):
        groups.setdefault(cases[0][0], []).append(cases)
    total = same = 0
    for group, rows in groups.items():
        lines += ["", f"### {group}", "", f"| bytes | row | {' | '.join(names)} | why |", "|---|---|" + "---|" * (len(names) + 1)]
        alike = []
        for cases in rows:
            _, row, name, first, why = cases[0]
            total += 1
            cells = [case[3] for case in cases]
            if len({outcome(cell) for cell in cells}) == 1:
                same += 1
                alike.append(f"{show(name)} ({cells[0].split(' →')[0]})")
                continue
            if not why:
                missing.append(name)
            number = notes.setdefault(why, len(notes) + 1)
            lines.append(f"| {show(name)} | {row} | {' | '.join(show(cell) for cell in cells)} | {number} |")
        lines += ["", f"All do the same with: {'; '.join(alike)}."] if alike else []
    lines += ["", "### Why", ""] + [f"{number}. {why[:1].upper()}{why[1:]}." for why, number in notes.items()]
    head = f"{total} cases; in {same} of them all three refuse, or the pod sees the same."
    return "\n".join([head, *lines]), missing


def main():
    binary, page = sys.argv[1:]
    pod = free_port()
    columns, names = [], []
    with tempfile.TemporaryDirectory() as folder:
        for name, make in [
            ("narthex", lambda port: narthex(binary, folder, port, pod)),
            (f"nginx {version([program('nginx'), '-v'])}", lambda port: nginx(folder, port, pod)),
            (f"HAProxy {version([program('haproxy'), '-v'])}", lambda port: haproxy(folder, port, pod)),
        ]:
            port = free_port()
            command, more = make(port)
            with running(command, port, **more):
                columns.append(play(port, pod))
            names.append(name)
            print(f"{name}: {len(columns[-1])} cases", file=sys.stderr)
    made, missing = table(names, columns)
    with open(page) as file:
        text = file.read()
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    with open(page, "w") as file:
        file.write(f"{before}{BEGIN}\n\n{made}\n\n{END}{after}")
    if missing:
        sys.exit("they disagree and nothing says why: " + "; ".join(missing))


if __name__ == "__main__":
    main()
