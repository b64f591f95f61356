#!/usr/bin/env python3
"""manifests/monitoring against a real Prometheus (Debian's) and a running demo.

    check.py NARTHEX

promtool accepts the metrics and the rules; then Prometheus scrapes `NARTHEX demo` with traffic, as the Prometheus operator
would have it do for the ServiceMonitor, until every query of the Grafana dashboard, and every alert's expression, has been
answered: queries with data. An Ingress whose Service is missing sets off an alert, which has to name it. At last narthex ends, and the
alerts about that have to fire: one names the narthex that is gone, and one says that there is none.
"""
import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request

import yaml

MANIFESTS = pathlib.Path(__file__).resolve().parents[2] / "manifests"
FOLDER = MANIFESTS / "monitoring"
# Its Service is missing, so that its requests get 503.
BROKEN = """
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: cart, namespace: shop}
spec:
  rules:
  - host: shop.example.com
    http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: missing, port: {number: 80}}}}]}
"""


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def get(url):
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read().decode()


def until(what, look, seconds=60):
    deadline = time.monotonic() + seconds
    while True:
        try:
            found = look()
        except OSError:
            found = None
        if found:
            return found
        if time.monotonic() > deadline:
            sys.exit(f"never happened: {what}")
        time.sleep(0.2)


def queries():
    for panel in json.loads((FOLDER / "grafana-dashboard.json").read_text(encoding="utf-8"))["panels"]:
        for target in panel["targets"]:
            expression = re.sub(r"\$(namespace|ingress)", ".*", target["expr"])
            yield panel["title"], re.sub(r"\[\d+m\]", "[20s]", expression)


def load(path):
    return yaml.safe_load((MANIFESTS / path).read_text(encoding="utf-8"))


def label(name):
    return re.sub(r"\W", "_", name)


def targets(address):
    """What Prometheus would discover of the Service and the DaemonSet of the manifests: a target for each port of a pod,
    which is at an address of ours here."""
    service, workload = load("service.yaml"), load("daemonset.yaml")
    container = workload["spec"]["template"]["spec"]["containers"][0]
    declared = {port["containerPort"]: port for port in container.get("ports", [])}
    for port in service["spec"]["ports"]:
        labels = {
            "namespace": service["metadata"]["namespace"],
            "service_name": service["metadata"]["name"],
            "endpoint_port_name": port["name"],
            "pod_name": "narthex-x7k2p",
            "pod_container_name": container["name"],
        }
        for name, value in service["metadata"]["labels"].items():
            labels["service_label_" + label(name)] = value
        if port["targetPort"] in declared:
            labels["pod_container_port_number"] = str(port["targetPort"])
            labels["pod_container_port_name"] = declared[port["targetPort"]].get("name", "")
        yield {"targets": [address], "labels": {"__meta_kubernetes_" + name: value for name, value in labels.items()}}


def scrape_config(address):
    """What the Prometheus operator makes of the ServiceMonitor, but for where targets come from."""
    monitor = load("monitoring/service-monitor.yaml")["spec"]
    [endpoint] = monitor["endpoints"]
    relabelings = [
        {"action": "keep", "source_labels": ["__meta_kubernetes_service_label_" + label(name)], "regex": value}
        for name, value in monitor["selector"]["matchLabels"].items()
    ]
    if "port" in endpoint:
        wanted = ("endpoint_port_name", endpoint["port"])
    elif isinstance(endpoint["targetPort"], int):
        wanted = ("pod_container_port_number", str(endpoint["targetPort"]))
    else:
        wanted = ("pod_container_port_name", endpoint["targetPort"])
    relabelings.append({"action": "keep", "source_labels": ["__meta_kubernetes_" + wanted[0]], "regex": wanted[1]})
    for source, target in [
        ("namespace", "namespace"), ("service_name", "service"), ("pod_name", "pod"), ("pod_container_name", "container"),
        ("service_name", "job"), ("endpoint_port_name", "endpoint"),
    ]:
        relabelings.append({"source_labels": ["__meta_kubernetes_" + source], "target_label": target})
    return {
        "job_name": "serviceMonitor/narthex-system/narthex/0",
        "honor_labels": endpoint.get("honorLabels", False),
        "metrics_path": endpoint["path"],
        "relabel_configs": relabelings,
        "static_configs": list(targets(address)),
    }


def impatient(rules):
    """The same alerts, after seconds instead of minutes: the test's own time is short."""
    text = re.sub(r"\[\d+m\]", "[20s]", rules.read_text(encoding="utf-8"))
    return re.sub(r"for: \d+m", "for: 0s", text)


def main():
    narthex = str(pathlib.Path(sys.argv[1]).resolve())
    promtool, prometheus = shutil.which("promtool"), shutil.which("prometheus")
    subprocess.run([promtool, "check", "rules", str(FOLDER / "rules.yaml")], check=True)
    http, https, admin, port = (free_port() for _ in range(4))
    with tempfile.TemporaryDirectory() as folder:
        listen = ["--listen-http", f"127.0.0.1:{http}", "--listen-https", f"127.0.0.1:{https}", "--admin", f"127.0.0.1:{admin}"]
        demo = subprocess.Popen([narthex, "demo", *listen, "--traffic", "50"], env=os.environ | {"TMPDIR": folder, "NARTHEX_LOG_LEVEL": "error"}, stdout=subprocess.DEVNULL)
        running = [demo]
        try:
            until("narthex is ready", lambda: get(f"http://127.0.0.1:{admin}/readyz"))
            text = get(f"http://127.0.0.1:{admin}/metrics")
            checked = subprocess.run([promtool, "check", "metrics"], input=text, text=True, capture_output=True, check=False)
            # Lint is advice; a text that cannot be read is an error.
            print(checked.stderr.strip() or "promtool has nothing to say of the metrics")
            if "error while" in checked.stderr or checked.returncode not in (0, 3):
                sys.exit("promtool does not accept the metrics")
            rules = pathlib.Path(folder) / "rules.yaml"
            rules.write_text(impatient(FOLDER / "rules.yaml"), encoding="utf-8")
            [manifests] = pathlib.Path(folder).glob("narthex-demo-*")
            (manifests / "shop.yaml").write_text(BROKEN, encoding="utf-8")
            config = pathlib.Path(folder) / "prometheus.yaml"
            config.write_text(json.dumps({
                "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
                "rule_files": [str(rules)],
                "scrape_configs": [scrape_config(f"127.0.0.1:{admin}")],
            }), encoding="utf-8")
            running.append(subprocess.Popen(
                [prometheus, f"--config.file={config}", f"--storage.tsdb.path={folder}/data", f"--web.listen-address=127.0.0.1:{port}", "--log.level=error"]))

            def ask(expression):
                url = f"http://127.0.0.1:{port}/api/v1/query?{urllib.parse.urlencode({'query': expression})}"
                results = json.loads(get(url))["data"]["result"]
                return [one for one in results if one["value"][1] not in ("NaN", "+Inf")]

            def fail():
                """A request that no rule answers, and one whose Service is missing, for there to be failures."""
                for host in ("nobody.example.com", "shop.example.com"):
                    try:
                        with urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{http}/", headers={"Host": host}), timeout=10):
                            pass
                    except urllib.error.HTTPError:
                        pass

            for title, expression in queries():
                found = until(f"{title}: {expression} has data", lambda e=expression: (fail(), ask(e))[1])
                print(f"ok   {title}: {len(found)} series")
            # Names are those of what is served, and narthex's own where a metric says nothing of them.
            for expression, wanted in [
                ('count by (namespace, ingress) (narthex_route_requests_total{ingress="ingress-test"})',
                 {"namespace": "default", "ingress": "ingress-test"}),
                ('count by (namespace, service) (narthex_endpoint_ejected{service="deploy1"})', {"namespace": "default", "service": "deploy1"}),
                ("count by (namespace, service, pod) (narthex_ready)",
                 {"namespace": "narthex-system", "service": "narthex", "pod": "narthex-x7k2p"}),
            ]:
                found = [one["metric"] for one in ask(expression)]
                if found != [wanted]:
                    sys.exit(f"FAIL {expression}: {found} instead of {wanted}")
                print(f"ok   {expression}: {wanted}")
            exported = ask('count by (__name__) ({__name__=~"narthex_.+", exported_namespace!=""} or {__name__=~"narthex_.+", exported_pod!=""})')
            if exported:
                sys.exit(f"FAIL names of what is served are taken for narthex's own: {exported}")

            def groups():
                return json.loads(get(f"http://127.0.0.1:{port}/api/v1/rules"))["data"]["groups"][0]["rules"]

            def firing():
                fail()
                return [one for rule in groups() for one in rule["alerts"]
                        if rule["name"] == "NarthexErrors" and one["state"] == "firing"]

            summaries = [one["annotations"]["summary"] for one in until("NarthexErrors fires", firing)]
            if summaries != ["100% of the requests of Ingress shop/cart fail"]:
                sys.exit(f"FAIL the alert names {summaries}")
            print(f"ok   {summaries[0]}")
            bad = [rule["name"] for rule in groups() if rule["health"] != "ok"]
            if bad:
                sys.exit(f"FAIL {bad}")
            print(f"ok   {len(groups())} alerts are evaluated")

            def alerts(name):
                return [one["annotations"] for rule in groups() for one in rule["alerts"]
                        if rule["name"] == name and one["state"] == "firing"]

            if alerts("NarthexAbsent") or alerts("NarthexGone"):
                sys.exit("FAIL narthex answers, and an alert says that it does not")
            demo.terminate()
            for name, words in [
                ("NarthexGone", f"127.0.0.1:{admin} does not answer"),
                ("NarthexAbsent", "No narthex answers Prometheus: none runs, or Prometheus does not find them"),
            ]:
                found = until(f"{name} fires", lambda name=name: alerts(name))
                page = f"docs/runbooks.md#{name.lower()}"
                if found != [{"summary": words, "runbook_url": page}]:
                    sys.exit(f"FAIL {name} says {found}")
                print(f"ok   {words}")
        finally:
            for process in reversed(running):
                process.terminate()
                process.wait(20)


if __name__ == "__main__":
    main()
