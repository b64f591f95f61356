"""Paths as ingress-nginx reads them: random hosts, paths and annotations, once as manifests for narthex and once as the
locations that the controller would have written for nginx. Status and what the pod sees must be the same.

`make differential-nginx` runs this. Needs Debian's nginx. SEED repeats a run.
"""

import http.client
import http.server
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections import Counter

from rig import free_port, narthex, service, until

PATH = os.environ["PATH"] + ":/usr/sbin:/sbin"
HOSTS = int(os.environ.get("HOSTS", "60"))
PER_HOST = int(os.environ.get("PER_HOST", "60"))
PODS = 4


class Pod(http.server.BaseHTTPRequestHandler):
    """Says which pod it is, and the target that it got."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body = f"{self.server.number} {self.path}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def start_pod(number):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pod)
    server.number = number
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_address[1]


WORDS = ["app", "api", "v1.0", "foo", "foobar", "bar", "x", "shop", "Static"]
PLAIN = ["/" + one for one in WORDS] + [f"/{one}/{two}" for one in WORDS[:5] for two in WORDS[3:7]] + ["/"]
REGEX = ["/{0}(/|$)(.*)", "/{0}/?(.*)", "/(.*)", "/{0}/[a-z]{{3}}", "/{0}/.*\\.(css|js)$", "/{0}/(a|b)/(.*)", "/({0}|x)/(.*)"]
ALIASES = ["alias{0}.test", "alias{0}.test,*.w{0}.test", "~^re[0-9]+\\.of{0}\\.test$,alias{0}.test"]
TARGETS = ["/", "/$1", "/$2", "/v2/$1", "$2", "/$1/$2", "/fixed"]


def make_host(draw, number):
    """Ingresses of one host: each with its annotations and paths."""
    ingresses, taken = [], set()
    for _ in range(draw.randint(1, 3)):
        kind = draw.choice(["plain", "plain", "regex", "rewrite", "both"])
        annotations = {}
        if kind in ("regex", "both"):
            annotations["use-regex"] = "true"
        if kind in ("rewrite", "both"):
            annotations["rewrite-target"] = draw.choice(TARGETS)
        if not ingresses and draw.random() < 0.15:
            annotations["app-root"] = "/" + draw.choice(WORDS)
        if not ingresses and draw.random() < 0.15:
            annotations["from-to-www-redirect"] = "true"
        if not ingresses and draw.random() < 0.2:
            annotations["server-alias"] = draw.choice(ALIASES).format(number)
        paths = []
        for _ in range(draw.randint(1, 3)):
            if kind != "plain" and draw.random() < 0.7:
                path, path_type = draw.choice(REGEX).format(draw.choice(WORDS)), "ImplementationSpecific"
            else:
                path, path_type = draw.choice(PLAIN), draw.choice(["Prefix", "Exact", "Prefix"])
                # An Exact `/` alone does not keep the controller from adding a Prefix `/`, which is another matter.
                path_type = "Prefix" if path == "/" else path_type
                path += "/" if path != "/" and draw.random() < 0.3 else ""
            # The same path twice is a conflict, which is another matter; with a slash at the end it is the same prefix.
            bare = path.rstrip("/")
            if bare not in taken:
                taken.add(bare)
                canary = draw.randrange(PODS) if draw.random() < 0.25 else None
                paths.append((path, path_type, draw.randrange(PODS), canary))
        if paths:
            default = draw.randrange(PODS) if draw.random() < 0.2 else None
            ingresses.append((annotations, paths, default))
    return f"h{number}.test", ingresses


def manifests(hosts, ports):
    out = []
    for pod, port in enumerate(ports):
        out.append(service(f"pod{pod}", port))
    for host, ingresses in hosts:
        for index, (annotations, paths, default) in enumerate(ingresses):
            said = ", ".join(f"nginx.ingress.kubernetes.io/{name}: '{value}'" for name, value in annotations.items())
            rules = ", ".join(
                f"{{path: '{path}', pathType: {kind}, backend: {{service: {{name: pod{pod}, port: {{number: 80}}}}}}}}"
                for path, kind, pod, _ in paths
            )
            backend = "" if default is None else f"defaultBackend: {{service: {{name: pod{default}, port: {{number: 80}}}}}}, "
            out.append(f"""apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {{name: "{host.split('.')[0]}-{index}", creationTimestamp: "2026-01-01T00:00:0{index}Z", annotations: {{{said}}}}}
spec: {{ingressClassName: nginx, {backend}rules: [{{host: {host}, http: {{paths: [{rules}]}}}}]}}
""")
            for number, (path, kind, _, canary) in enumerate(paths):
                if canary is not None:
                    out.append(f"""apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: "{host.split('.')[0]}-{index}-canary-{number}"
  annotations: {{nginx.ingress.kubernetes.io/canary: "true", nginx.ingress.kubernetes.io/canary-by-header: X-Canary}}
spec:
  ingressClassName: nginx
  rules:
  - host: {host}
    http: {{paths: [{{path: '{path}', pathType: {kind}, backend: {{service: {{name: pod{canary}, port: {{number: 80}}}}}}}}]}}
""")
    return "---\n".join(out)


def server(host, ingresses, port, ports):
    """A server as the controller's template writes it (buildLocation, updateServerLocations, enforceRegexModifier)."""
    locations, patterns = [], False
    for annotations, paths, _ in ingresses:
        target = annotations.get("rewrite-target")
        for path, kind, pod, canary in paths:
            rewrites = target is not None and target != path
            own = rewrites or "use-regex" in annotations
            patterns = patterns or own
            locations.append((path, kind, own, target if rewrites else None, pod, canary))
    if not any(path == "/" for path, *_ in locations):
        locations.append(("/", "Prefix", False, None, ingresses[0][2], None))
    locations.sort(key=lambda one: (len(one[0]), one[0]), reverse=True)
    exact = {path for path, kind, *_ in locations if kind == "Exact"}
    out = []
    for path, kind, own, target, pod, canary in locations:
        expanded = [(path, kind)]
        if kind != "Exact" and not own and path != "/":
            closed = path if path.endswith("/") else path + "/"
            # Twice the same location is an error of nginx; the controller keeps the first.
            expanded = [(closed, "Prefix")] + ([(path, "Exact")] if path not in exact and path != closed else [])
        for text, match in expanded:
            if patterns:
                head = f'~* "^{text}"'
            else:
                head = f"= {text}" if match == "Exact" else text
            body = "return 404;" if pod is None else f"proxy_pass http://127.0.0.1:{ports[pod]};"
            if canary is not None:
                body = "proxy_pass http://127.0.0.1:$pod;"
            if target:
                body = f'rewrite "(?i){path}" {target} break; {body}'
            if canary is not None:
                choice = f"set $pod {ports[pod]}; if ($http_x_canary = always) {{ set $pod {ports[canary]}; }}"
                body = f"{choice} {body}"
            out.append(f"    location {head} {{ {body} }}\n")
    first = ingresses[0][0]
    names = host + "".join(f' "{name.strip()}"' for name in first.get("server-alias", "").split(",") if name)
    root = first.get("app-root")
    root = f"    if ($uri = /) {{ return 302 $scheme://$http_host{root}; }}\n" if root else ""
    www = ""
    if "from-to-www-redirect" in first:
        # The controller says the port it listens on and drops a slash at the end; narthex says the port that the client names.
        www = f"""  server {{
    listen 127.0.0.1:{port}; server_name www.{host}; return 308 $scheme://{host}:8080$request_uri;
  }}
"""
    return f"  server {{\n    listen 127.0.0.1:{port}; server_name {names};\n{root}{''.join(out)}  }}\n{www}"


def start_nginx(folder, hosts, port, ports):
    servers = "".join(server(host, ingresses, port, ports) for host, ingresses in hosts)
    config = f"""daemon off; master_process off; pid {folder}/pid; error_log {folder}/log crit;
events {{ worker_connections 1024; }}
http {{
  server {{ listen 127.0.0.1:{port} default_server; return 404; }}
  access_log off; port_in_redirect off; server_names_hash_bucket_size 128;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
{servers}}}
"""
    with open(f"{folder}/conf", "w") as file:
        file.write(config)
    return subprocess.Popen([shutil.which("nginx", path=PATH), "-p", folder, "-c", f"{folder}/conf", "-e", f"{folder}/log"])


def targets(draw, ingresses):
    """Targets near the paths of a host."""
    known = [path for _, paths, _ in ingresses for path, *_ in paths]
    for _ in range(PER_HOST):
        path = draw.choice(known + PLAIN)
        for operator, text in [
            ("(/|$)(.*)", draw.choice(["", "/", "/tail", "tail"])),
            ("/?(.*)", draw.choice(["", "/", "/tail", "tail"])),
            ("/[a-z]{3}", draw.choice(["/abc", "/abcd", "/ab", "/ABC"])),
            ("/.*\\.(css|js)$", draw.choice(["/a/b.css", "/b.jsx", "/b.js", "/bxjs"])),
            ("(a|b)", draw.choice("abc")),
            ("(.*)", draw.choice(["", "deep/er", "caf%C3%A9", "a%20b"])),
        ]:
            path = path.replace(operator, text)
        for word in WORDS:
            path = path.replace(f"({word}|x)", draw.choice([word, "x"]))
        path += draw.choice(["", "", "/", "s", "/more", "/a%20b", ".html"])
        if draw.random() < 0.1:
            path = draw.choice(["/", path.rstrip("/") or "/"])
        if draw.random() < 0.2:
            path = path.upper().replace("%C3%A9", "%C3%A9") if "%" not in path else path
        path = path.replace("//", "/").replace(".", draw.choice([".", ".", "x"]))
        yield path + draw.choice(["", "", "?a=1&b=%2F"])


def names(draw, host, ingresses):
    """The host, by one of its names, and sometimes by one that is not quite it."""
    annotations = ingresses[0][0]
    number = host[1:].split(".")[0]
    known = [host] * 8
    if "from-to-www-redirect" in annotations or draw.random() < 0.02:
        known += [f"www.{host}:8080"] * 2
    if "server-alias" in annotations:
        known += [f"alias{number}.test", f"x.w{number}.test", f"re7.of{number}.test", f"RE12.of{number}.test", f"re.of{number}.test"]
    return draw.choice(known)


def ask(connection, host, target, canary):
    connection.request("GET", target, headers={"Host": host} | ({"X-Canary": canary} if canary else {}))
    reply = connection.getresponse()
    body = reply.read()
    location = reply.headers.get("Location")
    return (reply.status, body.decode().strip() if reply.status == 200 else "", location)


def why(wanted, got):
    """The name of a difference that docs/from-ingress-nginx.md names; absent if it does not."""
    if wanted[0] == 500 and got[0] == 200 and got[1].split(" ")[1].split("?")[0] == "/":
        return "an empty path becomes /"
    if wanted[0] != 200 or got[0] != 200:
        return None
    (pod, theirs), (other, ours) = wanted[1].split(" "), got[1].split(" ")
    path, mark, query = theirs.partition("?")
    rooted = path if path.startswith("/") else "/" + path
    merged = re.sub("/+", "/", rooted)
    if pod != other or merged + mark + query != ours:
        return None
    return "a path without a slash gets one" if rooted != path else "empty segments are merged"


def main(binary):
    seed = int(os.environ.get("SEED", random.randrange(1 << 32)))
    print(f"seed {seed}")
    draw = random.Random(seed)
    ports = [start_pod(number) for number in range(PODS)]
    hosts = [make_host(draw, number) for number in range(HOSTS)]
    port, asked, found, statuses, named = free_port(), 0, [], Counter(), Counter()
    with tempfile.TemporaryDirectory() as folder:
        nginx = start_nginx(folder, hosts, port, ports)
        try:
            with narthex(binary, manifests(hosts, ports), "--drop-in", "ingress-nginx") as served:
                # Any reply will do, for there is no host of that name.
                until("nginx is ready", lambda: nginx.poll() is not None or answers_at_all(port))
                if nginx.poll() is not None:
                    sys.exit("nginx does not start: " + open(f"{folder}/log").read())
                theirs = http.client.HTTPConnection("127.0.0.1", port)
                ours = http.client.HTTPConnection("127.0.0.1", served.http)
                for host, ingresses in hosts:
                    for target in targets(draw, ingresses):
                        asked += 1
                        asked_for = names(draw, host, ingresses)
                        canary = draw.choice([None, None, "always", "never", "other"])
                        wanted, got = (ask(one, asked_for, target, canary) for one in (theirs, ours))
                        statuses[wanted[0]] += 1
                        if wanted == got:
                            continue
                        name = why(wanted, got)
                        named[name] += 1
                        if name is None:
                            found.append((asked_for, target, wanted, got, ingresses))
        finally:
            nginx.terminate()
            nginx.wait()
    print(f"{len(hosts)} hosts, {asked} requests, by status in nginx: {dict(statuses)}; {len(found)} differ without a name")
    for name, count in named.items():
        print(f"  {count}: {name}")
    for host, target, wanted, got, ingresses in found[:10]:
        print(f"  {host} {target}\n    nginx   {wanted}\n    narthex {got}\n    {ingresses}")
    if found:
        sys.exit(1)


def answers_at_all(port):
    try:
        ask(http.client.HTTPConnection("127.0.0.1", port), "nobody.test", "/", None)
        return True
    except OSError:
        return False


main(sys.argv[1])
