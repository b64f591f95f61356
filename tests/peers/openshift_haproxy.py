"""Routes as OpenShift's router reads them: random hosts, paths, insecure policies, weights and rewrites, once as manifests for narthex
and once as the configuration that the router would have written for HAProxy. Over HTTP and HTTPS, status and what the pod sees must
be the same, and Services must get their shares.

`make differential-haproxy` runs this. Needs Debian's haproxy and openssl. SEED repeats a run.
"""

import http.client
import http.server
import os
import random
import re
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
from collections import Counter

from rig import free_port, narthex, service, until

PATH = os.environ["PATH"] + ":/usr/sbin:/sbin"
HOSTS = int(os.environ.get("HOSTS", "60"))
PER_HOST = int(os.environ.get("PER_HOST", "30"))
PODS = 4
# Requests for each of the hosts with weights, and how far from its share a Service may be: over five standard deviations.
WEIGHED, SHARE_ERROR = 800, 0.09

WORDS = ["app", "api", "v1.0", "foo", "foobar", "bar", "x", "shop", "Static", "a(b)", "a+b", "a-b_c~"]
PATHS = ["", "/"] + ["/" + one for one in WORDS] + [f"/{one}/{two}" for one in WORDS[:5] for two in WORDS[3:7]]
TARGETS = ["/", "/new", "/new/", "/v2/deep", "/app"]


class Pod(http.server.BaseHTTPRequestHandler):
    """Says which pod it is, and the target and the host that it got."""

    protocol_version = "HTTP/1.1"
    # Head and body leave in one piece: else the second waits for an acknowledgement.
    wbufsize = -1

    def do_GET(self):
        body = f"{self.server.number} {self.path} {self.headers['Host']}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    def handle_error(self, *_):
        # A proxy that ends resets its connections.
        pass


def start_pod(number):
    server = Server(("127.0.0.1", 0), Pod)
    server.number = number
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_address[1]


class Route:
    """One Route: `to` is its Services with their weights, `policy` what becomes of plain HTTP; absent for a Route without TLS."""

    def __init__(self, name, host, path, wildcard, target, to, policy=None):
        self.name, self.host, self.path, self.wildcard, self.target, self.to = name, host, path, wildcard, target, to
        self.policy = policy

    def manifest(self):
        targets = [f"{{kind: Service, name: pod{pod}, weight: {weight}}}" for pod, weight in self.to]
        rewrite = f"haproxy.router.openshift.io/rewrite-target: '{self.target}'" if self.target else ""
        policy = "Subdomain" if self.wildcard else "None"
        tls = f"tls: {{termination: edge, insecureEdgeTerminationPolicy: {self.policy}}}" if self.policy else ""
        return f"""apiVersion: route.openshift.io/v1
kind: Route
metadata: {{name: {self.name}, annotations: {{haproxy.router.openshift.io/disable_cookies: "true", {rewrite}}}}}
spec:
  host: {self.host}
  path: '{self.path}'
  wildcardPolicy: {policy}
  to: {targets[0]}
  alternateBackends: [{', '.join(targets[1:])}]
  {tls}
"""

    def pattern(self):
        """The line of the map that leads to this Route: its host, with any port, and the path by element."""
        host = re.escape(self.host)
        if self.wildcard:
            host = "[^\\.]*" + re.escape("." + self.host.partition(".")[2])
        if not self.path.rstrip("/"):
            path, below = "", "(/.*)?"
        else:
            path, below = re.escape(self.path), "(.*)?" if self.path.endswith("/") else "(/.*)?"
        return f"^{host}\\.?(:[0-9]+)?{path}{below}$"

    def backend(self, ports):
        lines = [f"backend {self.name}", "  balance " + ("roundrobin" if len(self.to) > 1 else "random")]
        if self.target:
            path = re.escape(self.path)
            rewrite = f"'^{path}/?(.*)$' '/\\1'" if self.target == "/" else f"'^{path}(.*)$' '{self.target}\\1'"
            lines.append(f"  http-request replace-path {rewrite}")
        most = max(weight for _, weight in self.to) or 1
        for pod, weight in self.to:
            # Each Service has one pod here, and the heaviest gets 256.
            lines.append(f"  server pod{pod} 127.0.0.1:{ports[pod]} weight {weight * 256 // most}")
        return "\n".join(lines)


def make_routes(draw):
    routes = []
    for number in range(HOSTS):
        wildcard = draw.random() < 0.15
        host = f"www.w{number}.test" if wildcard else f"h{number}.test"
        # A path and the same one with a slash at its end are two Routes.
        for index, path in enumerate(draw.sample(PATHS[2:], draw.randint(1, 4)) + draw.choice([[], [], ["/"], [""]])):
            path += "/" if len(path) > 1 and draw.random() < 0.2 else ""
            target = draw.choice(TARGETS) if draw.random() < 0.3 else None
            # The router does not escape a path in its rewrite, so those with operators are for matching alone.
            target = None if re.search("[()+]", path) else target
            policy = draw.choice([None, None, "None", "Allow", "Redirect"])
            routes.append(Route(f"r{number}-{index}", host, path, wildcard, target, [(draw.randrange(PODS), 100)], policy))
        if wildcard and draw.random() < 0.5:
            policy = draw.choice([None, "None", "Allow"])
            routes.append(Route(f"r{number}-own", f"own.w{number}.test", "/", False, None, [(draw.randrange(PODS), 1)], policy))
    return routes


def weighed_routes(draw):
    routes = []
    for number in range(4):
        pods = draw.sample(range(PODS), draw.randint(2, PODS))
        weights = [draw.choice([0, 1, 5, 20, 50, 100, 256]) for _ in pods]
        if number == 3:
            weights = [0 for _ in pods]
        routes.append(Route(f"weights{number}", f"weights{number}.test", "", False, None, list(zip(pods, weights))))
    return routes


def start_haproxy(folder, routes, ports, doors):
    # The router sorts its lines so that longer paths come first, and puts wildcards behind all hosts.
    def order(route):
        return (not route.wildcard, route.pattern())

    # A Route is in the maps of the schemes that it is for.
    plain = [route for route in routes if route.policy in (None, "Allow")]
    redirected = [route for route in routes if route.policy == "Redirect"]
    secure = [route for route in routes if route.policy]
    for name, some in (("plain", plain), ("redirected", redirected), ("secure", secure)):
        with open(f"{folder}/{name}", "w") as file:
            file.writelines(f"{route.pattern()} {route.name}\n" for route in sorted(some, key=order, reverse=True))
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    command += ["-subj", "/CN=haproxy.test", "-keyout", f"{folder}/both", "-out", f"{folder}/certificate"]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    with open(f"{folder}/both", "a") as both, open(f"{folder}/certificate") as certificate:
        both.write(certificate.read())
    backends = "\n".join(route.backend(ports) for route in routes)
    with open(f"{folder}/conf", "w") as file:
        file.write(f"""global
  maxconn 2000
defaults
  mode http
  timeout connect 5s
  timeout client 10m
  timeout server 10m
frontend public
  bind 127.0.0.1:{doors["http"]}
  http-request set-header Host %[req.hdr(Host),lower]
  acl secure_redirect base,map_reg({folder}/redirected) -m found
  redirect scheme https if secure_redirect
  use_backend %[base,map_reg({folder}/plain)]
  default_backend nobody
frontend fe_sni
  bind 127.0.0.1:{doors["https"]} ssl crt {folder}/both
  http-request set-header Host %[req.hdr(Host),lower]
  use_backend %[base,map_reg({folder}/secure)]
  default_backend nobody
backend nobody
  http-request return status 503
{backends}
""")
    return subprocess.Popen([shutil.which("haproxy", path=PATH), "-q", "-f", f"{folder}/conf"])


def targets(draw, paths):
    """Targets near the paths of a host."""
    for _ in range(PER_HOST):
        path = draw.choice(paths + PATHS)
        path += draw.choice(["", "", "/", "s", "/more", "/a%20b", ".html", "/deep/er/", "/caf%C3%A9"])
        if draw.random() < 0.1:
            path = path.upper() if "%" not in path else path
        if draw.random() < 0.1:
            path = path.replace(".", "x")
        if draw.random() < 0.05:
            path += draw.choice(["//", "/./x", "/../x", "/%61", "//x"])
        yield (path or "/") + draw.choice(["", "", "?a=1&b=%2F", "?"])


def names(draw, route):
    """The host of a Route, or one that is not quite it."""
    domain = route.host.partition(".")[2]
    known = [route.host] * 8 + [route.host.upper(), route.host + ":8080", "x" + route.host]
    if route.wildcard:
        known += [f"any.{domain}"] * 4 + [f"own.{domain}"] * 3 + [domain, f"a.b.{domain}"]
    return draw.choice(known)


def connect(scheme, port):
    """A connection on which no name is asked for, so that requests for all hosts may go over it."""
    if scheme == "http":
        return http.client.HTTPConnection("127.0.0.1", port)
    return http.client.HTTPSConnection("127.0.0.1", port, context=ssl._create_unverified_context())


def ask(door, connections, host, target):
    """`door` is a scheme and a port."""
    if door not in connections:
        connections[door] = connect(*door)
    connection = connections[door]
    connection.putrequest("GET", target, skip_host=True)
    connection.putheader("Host", host)
    connection.endheaders()
    reply = connection.getresponse()
    body = reply.read().decode().strip()
    return (reply.status, body if reply.status == 200 else "")


def canonical(path):
    """Without empty and dot segments, and without needless escapes, as narthex forwards it; absent if it leads above the root."""
    path = re.sub("%([0-9a-fA-F]{2})", lambda found: unescape(found), path)
    out = []
    parts = re.sub("/+", "/", path).split("/")[1:]
    for place, part in enumerate(parts):
        last = place + 1 == len(parts)
        if part in (".", ".."):
            if part == "..":
                if not out:
                    return None
                out.pop()
            if last:
                out.append("")
        else:
            out.append(part)
    return "/" + "/".join(out)


def unescape(found):
    char = chr(int(found[1], 16))
    return char if re.fullmatch("[A-Za-z0-9._~-]", char) else found[0].upper()


def why(door, connections, host, target, wanted, got):
    """The name of a difference that docs/from-openshift.md names; absent if it does not."""
    if wanted[0] == 503 and got[0] == 404:
        return "a host that no Route has gets 404"
    if host.lower().startswith("own.") and (wanted[0] == 302 or (wanted[0] != 503 and got[0] == 503)):
        return "a host of a Route is not answered by a Route for all hosts of its domain"
    path, mark, query = target.partition("?")
    plain = canonical(path)
    if plain is None and got[0] == 400:
        return "a path that leads above the root gets 400"
    if plain is not None and plain != path:
        # Asked for it as narthex reads it, that router does the same.
        again = ask(door, connections, host, plain + mark + query)
        if same(again, got):
            return "paths are compared and forwarded in canonical form"
    if got[0] == wanted[0] == 200 and canonical(wanted[1].split(" ")[1].partition("?")[0]) == got[1].split(" ")[1].partition("?")[0]:
        return "what a rewrite makes is brought into canonical form too"
    return None


def same(wanted, got):
    # HAProxy sends on the host in lower case, as the router has it do; narthex as the client wrote it.
    return wanted[0] == got[0] and wanted[1].lower().split(" ")[2:] == got[1].lower().split(" ")[2:] and wanted[1].split(" ")[:2] == got[1].split(" ")[:2]


def shares(door, connections, route):
    counts = Counter()
    for _ in range(WEIGHED):
        status, body = ask(door, connections, route.host, "/")
        counts[body.split(" ")[0] if status == 200 else status] += 1
    return counts


def main(binary):
    seed = int(os.environ.get("SEED", random.randrange(1 << 32)))
    print(f"seed {seed}")
    draw = random.Random(seed)
    ports = [start_pod(number) for number in range(PODS)]
    routes, weighed = make_routes(draw), weighed_routes(draw)
    manifests = "".join(service(f"pod{pod}", port) for pod, port in enumerate(ports))
    manifests += "---\n".join(route.manifest() for route in routes + weighed)
    doors = {scheme: free_port() for scheme in ("http", "https")}
    asked, found, statuses, named, connections = 0, [], Counter(), Counter(), {}
    with tempfile.TemporaryDirectory() as folder:
        haproxy = start_haproxy(folder, routes + weighed, ports, doors)
        try:
            with narthex(binary, manifests, "--drop-in", "openshift", "--route-wildcards") as served:
                until("haproxy is ready", lambda: haproxy.poll() is not None or all(map(listens, doors.values())))
                if haproxy.poll() is not None:
                    sys.exit("haproxy does not start")
                for route in routes:
                    paths = [other.path for other in routes if other.host == route.host]
                    for target in targets(draw, paths):
                        asked += 1
                        host = names(draw, route)
                        scheme = draw.choice(["http", "https"])
                        theirs, ours = (scheme, doors[scheme]), (scheme, served.http if scheme == "http" else served.https)
                        wanted, got = (ask(door, connections, host, target) for door in (theirs, ours))
                        statuses[wanted[0]] += 1
                        if same(wanted, got):
                            continue
                        name = why(theirs, connections, host, target, wanted, got)
                        named[name] += 1
                        if name is None:
                            about = [(one.host, one.path, one.target, one.policy) for one in routes if one.host == route.host]
                            found.append((f"{scheme}://{host}", target, wanted, got, about))
                for route in weighed:
                    total = sum(weight for _, weight in route.to)
                    for name, port in (("haproxy", doors["http"]), ("narthex", served.http)):
                        counts = shares(("http", port), connections, route)
                        for pod, weight in route.to:
                            wanted = weight / total if total else 0
                            if abs(counts[str(pod)] / WEIGHED - wanted) > (SHARE_ERROR if 0 < wanted < 1 else 0):
                                found.append((route.host, name, route.to, dict(counts), "shares"))
                        if not total and counts[503] != WEIGHED:
                            found.append((route.host, name, route.to, dict(counts), "all weights are 0"))
        finally:
            haproxy.terminate()
            haproxy.wait()
    print(f"{len(routes)} Routes, {asked} requests, by status in HAProxy: {dict(statuses)}; {len(found)} differ without a name")
    for name, count in named.items():
        print(f"  {count}: {name}")
    for host, target, wanted, got, about in found[:10]:
        print(f"  {host}{target}\n    haproxy {wanted}\n    narthex {got}\n    {about}")
    if found:
        sys.exit(1)


def listens(port):
    try:
        socket.create_connection(("127.0.0.1", port)).close()
        return True
    except OSError:
        return False


main(sys.argv[1])
