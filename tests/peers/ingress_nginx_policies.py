"""Policies as ingress-nginx has them: random error pages, copies, limits, sizes, addresses and unwanted clients, once as manifests
for narthex and once as the locations that the controller would have written for nginx. What clients get, and what the pods, the
page's Service and the mirror see, must be the same.

`make differential-nginx` runs this. Needs Debian's nginx. SEED repeats a run.
"""

import http.client
import http.server
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter

from rig import free_port, narthex, service, until

PATH = os.environ["PATH"] + ":/usr/sbin:/sbin"
HOSTS = int(os.environ.get("HOSTS", "60"))
PER_HOST = int(os.environ.get("PER_HOST", "20"))
TOLD = ["X-Code", "X-Format", "X-Original-URI", "X-Namespace", "X-Ingress-Name", "X-Service-Name", "X-Service-Port", "X-Request-ID"]
AGENTS = [None, "evil-bot", "Evil-Bot", "evil-bot/2", "curl/7", "a CURL", "Crawl", "crawl"]


class Recorder(http.server.BaseHTTPRequestHandler):
    """Records requests by the id that they have, and answers by what it is."""

    protocol_version = "HTTP/1.1"

    def any(self):
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        if self.headers.get("Transfer-Encoding") == "chunked":
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        seen = self.server.seen.setdefault(self.headers.get("X-Request-ID"), [])
        status, text = self.server.answer(self)
        seen.append(self.server.note(self, body))
        # What stood behind a 204 would be taken for the next response of a kept connection.
        text = b"" if status == 204 else text.encode()
        self.send_response(status)
        self.send_header("X-From", self.server.name)
        if status != 204:
            self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text)

    do_GET = do_POST = do_PUT = do_HEAD = any

    def log_message(self, *_):
        pass


def start(name, answer, note):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Recorder)
    # A client that resets its connection is nobody's mistake.
    server.handle_error = lambda *_: None
    server.name, server.answer, server.note, server.seen = name, answer, note, {}
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def pod_answer(request):
    """The target says the status."""
    digits = request.path.split("status=")[1] if "status=" in request.path else "200"
    return int(digits), "pod"


def page_answer(request):
    """Pages of hosts that begin with `k` say the status of the error, others 200."""
    code = request.headers.get("X-Code")
    return (int(code) if request.headers["Host"].startswith("k") else 200), f"page of {code}"


def make_host(draw, number):
    annotations = {}
    if draw.random() < 0.6:
        annotations["custom-http-errors"] = ",".join(draw.sample(["403", "404", "413", "418", "500", "503"], draw.randint(1, 4)))
        annotations["default-backend"] = "page"
        if draw.random() < 0.2:
            annotations["disable-proxy-intercept-errors"] = "true"
    if draw.random() < 0.4:
        annotations["mirror-target"] = "http://mirror.default.svc$request_uri"
        if draw.random() < 0.4:
            annotations["mirror-host"] = "m.test"
        if draw.random() < 0.3:
            annotations["mirror-request-body"] = "off"
    if draw.random() < 0.3:
        annotations["proxy-body-size"] = draw.choice(["5", "8", "0", "1k"])
    if draw.random() < 0.2:
        annotations["denylist-source-range"] = draw.choice(["127.0.0.1", "10.0.0.0/8", "127.0.0.0/8"])
    if draw.random() < 0.2:
        annotations["whitelist-source-range"] = draw.choice(["127.0.0.0/8", "10.0.0.0/8"])
    if draw.random() < 0.2:
        annotations["limit-rpm"] = "1"
        annotations["limit-burst-multiplier"] = str(draw.randint(1, 12))
    return f"{draw.choice('kp')}{number}.test", annotations


def manifests(hosts, ports):
    out = []
    for name, port in ports.items():
        out.append(service(name, port))
    out.append("""apiVersion: v1
kind: ConfigMap
metadata: {name: controller, namespace: ingress-nginx}
data: {block-user-agents: "evil-bot,~*curl,~^Crawl", limit-req-status-code: "429"}
""")
    for host, annotations in hosts:
        said = ", ".join(f"nginx.ingress.kubernetes.io/{name}: '{value}'" for name, value in annotations.items())
        out.append(f"""apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {{name: "{host.split('.')[0]}", annotations: {{{said}}}}}
spec:
  ingressClassName: nginx
  rules: [{{host: {host}, http: {{paths: [{{path: /, pathType: Prefix, backend: {{service: {{name: pod, port: {{number: 80}}}}}}}}]}}}}]
""")
    return "---\n".join(out)


def server(host, annotations, port, ports):
    """Zones and a server as the controller's template writes them (nginx.tmpl)."""
    name = host.split(".")[0]
    zone, lines, more = "", [], ""
    if "limit-rpm" in annotations:
        zone = f"  limit_req_zone $binary_remote_addr zone={name}:1m rate=1r/m;\n"
        lines.append(f"limit_req zone={name} burst={annotations['limit-burst-multiplier']} nodelay;")
    denied, allowed = annotations.get("denylist-source-range"), annotations.get("whitelist-source-range")
    if denied:
        lines.append(f"deny {denied};")
    if allowed:
        lines.append(f"allow {allowed}; deny all;")
    lines.append(f"client_max_body_size {annotations.get('proxy-body-size', '1m')};")
    for code in [one for one in annotations.get("custom-http-errors", "").split(",") if one]:
        lines.append(f"error_page {code} = @page_{code};")
        more += f"""    location @page_{code} {{
      internal; proxy_intercept_errors off; proxy_method GET; proxy_pass_request_body off; proxy_set_header Content-Length "";
      proxy_set_header X-Code {code}; proxy_set_header X-Format $http_accept; proxy_set_header X-Original-URI $request_uri;
      proxy_set_header X-Namespace default; proxy_set_header X-Ingress-Name {name};
      proxy_set_header X-Service-Name pod; proxy_set_header X-Service-Port 80; proxy_set_header X-Request-ID $http_x_request_id;
      proxy_set_header Host $http_host; rewrite (.*) / break; proxy_pass http://127.0.0.1:{ports["page"]};
    }}
"""
    if "custom-http-errors" in annotations and "disable-proxy-intercept-errors" not in annotations:
        lines.append("proxy_intercept_errors on;")
    if "mirror-target" in annotations:
        body = annotations.get("mirror-request-body", "on")
        lines.append(f"mirror /_mirror-{name}; mirror_request_body {body};")
        drops = 'proxy_pass_request_body off; proxy_set_header Content-Length "";' if body == "off" else ""
        sent = annotations.get("mirror-host", "mirror.default.svc")
        more += f"""    location = /_mirror-{name} {{
      internal; {drops} proxy_set_header Host {sent}; proxy_pass http://127.0.0.1:{ports["mirror"]}$request_uri;
    }}
"""
    body = "\n      ".join(lines)
    return f"""{zone}  server {{
    listen 127.0.0.1:{port}; server_name {host};
    if ($block_ua) {{ return 403; }}
    location / {{
      {body}
      proxy_set_header Host $http_host; proxy_pass http://127.0.0.1:{ports["pod"]};
    }}
{more}  }}
"""


def start_nginx(folder, hosts, port, ports):
    servers = "".join(server(host, annotations, port, ports) for host, annotations in hosts)
    config = f"""daemon off; master_process off; pid {folder}/pid; error_log {folder}/log crit;
events {{ worker_connections 1024; }}
http {{
  map $http_user_agent $block_ua {{ default 0; evil-bot 1; ~*curl 1; ~^Crawl 1; }}
  limit_req_status 429; access_log off; server_names_hash_bucket_size 128; proxy_http_version 1.1; proxy_set_header Connection "";
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
{servers}}}
"""
    with open(f"{folder}/conf", "w") as file:
        file.write(config)
    return subprocess.Popen([shutil.which("nginx", path=PATH), "-p", folder, "-c", f"{folder}/conf", "-e", f"{folder}/log"])


def requests(draw, host):
    for number in range(PER_HOST):
        method = draw.choice(["GET", "GET", "HEAD", "POST", "PUT"])
        target = draw.choice(["/", "/a/b?x=y", "/a%20b"])
        status = draw.choice([200, 200, 204, 301, 403, 404, 418, 500, 503])
        target += ("&" if "?" in target else "?") + f"status={status}"
        body = "x" * draw.choice([0, 1, 5, 6, 8, 9, 1500]) if method in ("POST", "PUT") else None
        agent = draw.choice(AGENTS) if draw.random() < 0.2 else None
        yield method, target, body, agent, f"{host}-{number}"


def ask(port, host, request, services):
    """What the client gets, and what each Service saw of it."""
    method, target, body, agent, identity = request
    identity = f"{identity}-{port}"
    fields = {"Host": host, "X-Request-ID": identity, "Accept": "text/x"} | ({"User-Agent": agent} if agent else {})
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request(method, target, body=body, headers=fields)
    reply = connection.getresponse()
    text = reply.read().decode()
    source = reply.headers.get("X-From")
    connection.close()
    result = {"status": reply.status, "from": source, "body": text if source else ""}
    return result, identity


def settled(services, identity, wants_copy):
    """A copy may come after the reply."""
    deadline = time.monotonic() + 2
    while wants_copy and identity not in services["mirror"].seen and time.monotonic() < deadline:
        time.sleep(0.005)
    seen = {name: service.seen.get(identity, []) for name, service in services.items()}
    return {name: [str(one).replace(identity, "ID") for one in all] for name, all in seen.items()}


def why(annotations, request, theirs, ours):
    """The name of a difference that docs/from-ingress-nginx.md names; absent if it does not."""
    errors = annotations.get("custom-http-errors", "").split(",")
    agent = request[3]
    blocked = agent in ("evil-bot", "Evil-Bot", "curl/7", "a CURL", "Crawl")
    if blocked and "403" in errors and theirs["status"] == ours["status"] == 403:
        return "a client that is blocked gets a page too"
    if ours["from"] == theirs["from"] == "page" and ours["body"] == theirs["body"] and ours["status"] in (403, 429):
        return "what a guard decided keeps its status"
    if theirs["mirror"] and not ours["mirror"] and not ours["pod"] and theirs["status"] == ours["status"]:
        return "what no pod gets is not copied"
    return None


def main(binary):
    seed = int(os.environ.get("SEED", random.randrange(1 << 32)))
    print(f"seed {seed}")
    draw = random.Random(seed)
    target = lambda request, body: (request.command, request.path, body.decode())
    services = {
        "pod": start("pod", pod_answer, target),
        "page": start("page", page_answer, lambda request, _: [(name, request.headers.get(name)) for name in TOLD]),
        "mirror": start("mirror", lambda _: (500, "copy"), lambda request, body: (*target(request, body), request.headers["Host"])),
    }
    ports = {name: service.server_address[1] for name, service in services.items()}
    hosts = [make_host(draw, number) for number in range(HOSTS)]
    port, asked, found, statuses, named = free_port(), 0, [], Counter(), Counter()
    with tempfile.TemporaryDirectory() as folder:
        nginx = start_nginx(folder, hosts, port, ports)
        # Requests are told apart by their ids, which are kept of trusted clients.
        flags = ["--drop-in", "ingress-nginx", "--nginx-configmap", "ingress-nginx/controller", "--trusted-proxies", "127.0.0.0/8"]
        try:
            with narthex(binary, manifests(hosts, ports), *flags) as served:
                until("nginx is ready", lambda: nginx.poll() is not None or answers_at_all(port))
                if nginx.poll() is not None:
                    sys.exit("nginx does not start: " + open(f"{folder}/log").read())
                for host, annotations in hosts:
                    for request in requests(draw, host):
                        asked += 1
                        results = []
                        for one in (port, served.http):
                            result, identity = ask(one, host, request, services)
                            wants_copy = "mirror-target" in annotations and identity in services["pod"].seen
                            results.append(result | settled(services, identity, wants_copy))
                        theirs, ours = results
                        statuses[theirs["status"]] += 1
                        if theirs == ours:
                            continue
                        name = why(annotations, request, theirs, ours)
                        named[name] += 1
                        if name is None:
                            found.append((host, annotations, request, theirs, ours))
        finally:
            nginx.terminate()
            nginx.wait()
    copies = sum(map(len, services["mirror"].seen.values()))
    pages = sum(map(len, services["page"].seen.values()))
    print(f"{len(hosts)} hosts, {asked} requests, {copies} copies, {pages} pages, by status in nginx: {dict(statuses)}; {len(found)} differ without a name")
    for name, count in named.items():
        print(f"  {count}: {name}")
    for host, annotations, request, theirs, ours in found[:10]:
        print(f"  {host} {annotations}\n    {request}\n    nginx   {theirs}\n    narthex {ours}")
    if found:
        sys.exit(1)


def answers_at_all(port):
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        connection.request("GET", "/", headers={"Host": "nobody.test", "User-Agent": "evil-bot"})
        connection.getresponse().read()
        return True
    except OSError:
        return False


main(sys.argv[1])
