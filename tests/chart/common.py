"""What the tests of the chart share: helm and kubectl, and what they make."""

import json
import subprocess
from pathlib import Path

import yaml

import tools
from variants import HOME

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "charts/narthex"
BIN = tools.folder()
CASES = yaml.safe_load((Path(__file__).parent / "cases.yaml").read_text())


def run(*command, **more):
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, **more)


def helm(*arguments, **more):
    return run(BIN / "helm", *arguments, **more)


def rendered(values, *arguments, release="narthex", program=BIN / "helm"):
    """What helm says with a file of these values."""
    return run(program, "template", release, CHART, "--namespace", HOME, "--values", "-", *arguments, input=json.dumps(values))


def objects_of(done):
    assert done.returncode == 0, done.stderr
    return [one for one in yaml.load_all(done.stdout, getattr(yaml, "CSafeLoader", yaml.SafeLoader)) if one]


def template(*arguments, release="narthex"):
    """The objects of a release, hooks too, and the text they were read from."""
    done = rendered({}, *arguments, release=release)
    return objects_of(done), done.stdout


def key(one):
    return one["kind"], one["metadata"].get("namespace"), one["metadata"]["name"]


def is_hook(one):
    return "helm.sh/hook" in one["metadata"].get("annotations", {})


def workload(objects):
    return next(one for one in objects if one["kind"] in ("DaemonSet", "Deployment"))


def pod_of(workload_):
    """What its controller would make."""
    template_ = workload_["spec"]["template"]
    meta = {"name": "one", "namespace": "strict", **template_.get("metadata", {})}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": dict(template_["spec"])}


def leaves(schema, path=()):
    """All values of the schema: their paths and definitions."""
    for name, definition in schema["properties"].items():
        if "properties" in definition:
            yield from leaves(definition, (*path, name))
        else:
            yield (*path, name), definition
