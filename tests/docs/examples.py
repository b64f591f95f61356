#!/usr/bin/env python3
"""examples.py: tests that what the documentation shows is true of the program.

    examples.py NARTHEX

- `narthex check` accepts the files of docs/examples-apps without an error or a warning, and the manifests in the pages too,
  apart from objects that a page leaves out. A line `# flags: …` names flags for it.
- Each flag that a page names is a flag of the program, and each `narthex.io/` annotation is one of its annotations.
- Each value of the chart that a page sets is in the chart's schema."""

import difflib
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml
from markdown import CODE_SPAN, ROOT, blocks, files, prose

NARTHEX = str(Path(sys.argv[1]).resolve()) if len(sys.argv) > 1 else sys.exit(__doc__)
# Made from the code, or about what is not there yet, or about the code itself.
SKIPPED = {"annotations.md", "from-ingress-nginx.md", "from-openshift.md", "from-traefik-1.7.md", "reference.md", "plan.md", "architecture.md", "performance.md"}
COMMANDS = ["serve", "check", "explain", "convert", "demo", "routes", "tap", "top", "cleanup", "healthcheck", "reference"]
# Flags of other programs that pages name in the middle of a sentence. Others are noted, unless they look like one of narthex's.
FOREIGN = {"--connect-to", "--resolve", "--http1.1", "--disable", "--set", "--without", "--reuse-values", "--reset-then-reuse-values"}
# Names of controllers, which look like annotations.
CONTROLLERS = {"narthex.io/ingress-controller", "narthex.io/gateway-controller"}
# A page may show an Ingress without the Service and the Secret that go with it.
LEFT_OUT = {"ServiceNotFound", "SecretNotFound", "CanaryAlone"}


def flags_of(command):
    out = subprocess.run([NARTHEX, command, "--help"], check=True, capture_output=True, text=True).stdout
    return set(re.findall(r"^ {2,}(?:-\w, )?(--[a-z0-9-]+)", out, re.M))


def check(text, cwd, flags=()):
    """The diagnostics of manifests, as `narthex check` reports them for programs."""
    out = subprocess.run([NARTHEX, "check", "--output", "json", *flags, "-"], input=text, cwd=cwd, capture_output=True, text=True)
    if out.returncode not in (0, 1):
        return [{"severity": "error", "code": "none", "message": out.stderr}]
    return json.loads(out.stdout)["problems"]


def secrets(text, folder):
    """A Secret with a certificate for each that `spec.tls` names."""
    made = ""
    for document in yaml.safe_load_all(text):
        for tls in ((document or {}).get("spec") or {}).get("tls") or []:
            if "secretName" not in tls or tls["secretName"] in made:
                continue
            names = ",".join(f"DNS:{host}" for host in tls["hosts"])
            request = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "90"]
            request += ["-subj", "/CN=example", "-addext", f"subjectAltName={names}", "-keyout", "key.pem", "-out", "crt.pem"]
            subprocess.run(request, cwd=folder, check=True, capture_output=True)
            data = {"tls.crt": (folder / "crt.pem").read_text(), "tls.key": (folder / "key.pem").read_text()}
            meta = {"name": tls["secretName"], "namespace": document["metadata"].get("namespace", "default")}
            secret = {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "type": "kubernetes.io/tls", "stringData": data}
            made += "---\n" + json.dumps(secret) + "\n"
    return made


def flags_in(text):
    match = re.search(r"^# flags: (.*)$", text, re.M)
    return match[1].split() if match else []


def applications():
    """What `narthex check` says about the whole applications."""
    with tempfile.TemporaryDirectory() as folder:
        for file in sorted((ROOT / "docs/examples-apps").iterdir()):
            text = file.read_text()
            given = text + secrets(text, Path(folder))
            for found in check(given, folder, flags_in(text)):
                if found["severity"] != "info":
                    yield f"{file.relative_to(ROOT)}: {found['code']}: {found['message']}"


def manifests(where, text):
    """What `narthex check` says about the manifests of a page."""
    for found in check(text, ROOT, flags_in(text)):
        left_out = found["code"] in LEFT_OUT or re.search("^ConfigMap .* does not exist", found["message"])
        if found["severity"] != "info" and not left_out:
            yield f"{where}: {found['code']}: {found['message']}"


def values(where, given, schema, path=""):
    """The values of the chart that its schema does not have."""
    for name, value in given.items():
        known = schema.get("properties", {})
        if name not in known:
            if "additionalProperties" not in schema or schema["additionalProperties"] is False:
                yield f"{where}: the chart has no value {path}{name}"
        elif isinstance(value, dict):
            yield from values(where, value, known[name], f"{path}{name}.")


def set_of(argument):
    """The value that `--set a.b=c,d={e,f}` gives to the chart, without what it is set to."""
    argument = re.sub(r"\{[^}]*\}", "", argument.strip("'\""))
    out = {}
    for pair in argument.split(","):
        *outer, last = re.split(r"(?<!\\)\.", pair.partition("=")[0].split("[")[0])
        inner = out
        for name in outer:
            inner = inner.setdefault(name, {})
        inner[last.replace("\\.", ".")] = ""
    return out


def pages():
    schema = json.loads((ROOT / "charts/narthex/values.schema.json").read_text())
    annotations = set(json.loads((ROOT / "docs/annotations.schema.json").read_text())["properties"])
    flags = {command: flags_of(command) for command in COMMANDS}
    every = set().union(*flags.values()) | FOREIGN
    for page in files():
        if not page.is_relative_to(ROOT / "docs") or page.name in SKIPPED:
            continue
        text, name = page.read_text(), page.relative_to(ROOT)
        for number, language, block in blocks(text):
            where = f"{name}:{number}"
            if language == "yaml" and block.startswith("# values.yaml"):
                given = yaml.safe_load(block)
                yield from values(where, given, schema)
                for flag in given.get("extraArgs", []):
                    if flag.partition("=")[0] not in flags["serve"]:
                        yield f"{where}: narthex serve has no flag {flag}"
            elif language == "yaml" and re.search(r"^kind: (Ingress|Service)$", block, re.M):
                yield from manifests(where, block)
            elif language in ("console", "sh"):
                joined = block.replace("\\\n", " ")
                for command, rest in re.findall(r"^(?:\$ |.* \| )?(?:.*-- /)?narthex ([a-z]+)(.*)", joined, re.M):
                    for flag in re.findall(r"(?<=\s)(--[a-z0-9-]+)", rest.partition("#")[0].partition(" | ")[0]):
                        if flag not in flags.get(command, set()):
                            yield f"{where}: narthex {command} has no flag {flag}"
                for line in joined.splitlines():
                    if "charts/narthex" in line:
                        for argument in re.findall(r"--set ('[^']*'|\S+)", line):
                            yield from values(where, set_of(argument), schema)
                            for flag in re.findall(r"(--[a-z0-9-]+)", argument):
                                if flag not in flags["serve"]:
                                    yield f"{where}: narthex serve has no flag {flag}"
        for span in CODE_SPAN.findall(prose(text)):
            for flag in re.findall(r"^(--[a-z0-9.-]+)", span[1]):
                near = [] if flag in every else difflib.get_close_matches(flag, every, 1, 0.8)
                if near:
                    yield f"{name}: narthex has no flag {flag}, but {near[0]}"
                elif flag not in every:
                    print(f"{name}: {flag} is taken for another program's")
        for annotation in re.findall(r"narthex\.io/[a-z][a-z-]*[a-z]", text):
            if annotation not in annotations and annotation not in CONTROLLERS:
                yield f"{name}: narthex has no annotation {annotation}"


def main():
    wrong = [*applications(), *pages()]
    for line in wrong:
        print(line)
    print(f"documentation: {len(wrong)} things are not so")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
