#!/usr/bin/env python3
"""manifests/monitoring against a real Prometheus (Debian's) and a running demo.

    check.py NARTHEX

promtool accepts the metrics and the rules; then Prometheus scrapes `NARTHEX demo` with traffic until every query of the
Grafana dashboard, and every alert's expression, has been answered: queries with data.
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

FOLDER = pathlib.Path(__file__).resolve().parents[2] / "manifests/monitoring"


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
            # The test's own time is short.
            yield panel["title"], re.sub(r"\[\d+m\]", "[20s]", expression)


def main():
    narthex = str(pathlib.Path(sys.argv[1]).resolve())
    promtool, prometheus = shutil.which("promtool"), shutil.which("prometheus")
    subprocess.run([promtool, "check", "rules", str(FOLDER / "rules.yaml")], check=True)
    http, https, admin, port = (free_port() for _ in range(4))
    with tempfile.TemporaryDirectory() as folder:
        listen = ["--listen-http", f"127.0.0.1:{http}", "--listen-https", f"127.0.0.1:{https}", "--admin", f"127.0.0.1:{admin}"]
        demo = subprocess.Popen([narthex, "demo", *listen, "--traffic", "50"], env=os.environ | {"TMPDIR": folder}, stdout=subprocess.DEVNULL)
        running = [demo]
        try:
            until("narthex is ready", lambda: get(f"http://127.0.0.1:{admin}/readyz"))
            text = get(f"http://127.0.0.1:{admin}/metrics")
            checked = subprocess.run([promtool, "check", "metrics"], input=text, text=True, capture_output=True, check=False)
            # Lint is advice; a text that cannot be read is an error.
            print(checked.stderr.strip() or "promtool has nothing to say of the metrics")
            if "error while" in checked.stderr or checked.returncode not in (0, 3):
                sys.exit("promtool does not accept the metrics")
            config = pathlib.Path(folder) / "prometheus.yaml"
            config.write_text(json.dumps({
                "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
                "rule_files": [str(FOLDER / "rules.yaml")],
                "scrape_configs": [{"job_name": "narthex", "static_configs": [{"targets": [f"127.0.0.1:{admin}"]}]}],
            }), encoding="utf-8")
            running.append(subprocess.Popen(
                [prometheus, f"--config.file={config}", f"--storage.tsdb.path={folder}/data", f"--web.listen-address=127.0.0.1:{port}", "--log.level=error"]))

            def ask(expression):
                url = f"http://127.0.0.1:{port}/api/v1/query?{urllib.parse.urlencode({'query': expression})}"
                results = json.loads(get(url))["data"]["result"]
                return [one for one in results if one["value"][1] not in ("NaN", "+Inf")]

            def stray():
                """A request that no rule answers, for there to be failures."""
                try:
                    get(f"http://127.0.0.1:{http}/")
                except urllib.error.HTTPError:
                    pass

            for title, expression in queries():
                found = until(f"{title}: {expression} has data", lambda e=expression: (stray(), ask(e))[1])
                print(f"ok   {title}: {len(found)} series")
            alerts = json.loads(get(f"http://127.0.0.1:{port}/api/v1/rules"))["data"]["groups"][0]["rules"]
            bad = [rule["name"] for rule in alerts if rule["health"] != "ok"]
            print(f"ok   {len(alerts)} alerts are evaluated" if not bad else f"FAIL {bad}")
            sys.exit(bool(bad))
        finally:
            for process in reversed(running):
                process.terminate()
                process.wait(20)


if __name__ == "__main__":
    main()
