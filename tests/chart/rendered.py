"""The objects that the chart makes, without a cluster."""

import copy
import json
import re
import shlex
import unittest
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import yaml

import tools
from common import BIN, CASES, CHART, ROOT, helm, is_hook, key, leaves, objects_of, rendered, run, template, workload
from variants import HOME, NONSENSE, VARIANTS

# Labels that only Helm's objects have, and all that may differ. Hooks say so in annotations besides.
HELMS = {"app.kubernetes.io/instance", "app.kubernetes.io/managed-by", "app.kubernetes.io/version", "helm.sh/chart"}
HOOKS = {"helm.sh/hook", "helm.sh/hook-delete-policy", "helm.sh/hook-weight"}
# Helm installs into a namespace and does not make it.
NOT_HELMS = {("Namespace", None, HOME)}


def normal(one):
    """Without what is Helm's; rules one for each kind of object, in order, as theirs means nothing."""
    one = copy.deepcopy(one)
    meta = one["metadata"]
    meta["labels"] = {name: value for name, value in meta.get("labels", {}).items() if name not in HELMS}
    annotations = {name: value for name, value in meta.pop("annotations", {}).items() if name not in HOOKS}
    if annotations:
        meta["annotations"] = annotations
    if "rules" in one:
        one["rules"] = sorted(
            (group, resource, sorted(rule["verbs"]), rule.get("resourceNames"))
            for rule in one["rules"] for group in rule["apiGroups"] for resource in rule["resources"]
        )
    return one


def holds(actual, wanted):
    """Whether an object has all of these parts; see cases.yaml."""
    if isinstance(wanted, dict):
        return isinstance(actual, dict) and all(
            name not in actual if part is None else name in actual and holds(actual[name], part) for name, part in wanted.items())
    if isinstance(wanted, list):
        return isinstance(actual, list) and all(among(actual, part) for part in wanted)
    return actual == wanted


def among(actual, part):
    """Whether a list has this part, or does not have what `absent` names."""
    if isinstance(part, dict) and set(part) == {"absent"}:
        return not any(holds(one, part["absent"]) for one in actual)
    return any(holds(one, part) for one in actual)


def does(done, then):
    """Whether what helm rendered has these parts of objects."""
    found = {f"{one['kind']}/{one['metadata']['name']}": one for one in objects_of(done)}
    return all(name not in found if part is None else name in found and holds(found[name], part) for name, part in then.items())


def without(values, path):
    """The values but for one of them."""
    values = copy.deepcopy(values)
    group = values
    for name in path[:-1]:
        group = group[name]
    del group[path[-1]]
    return values


def get(values, path):
    for name in path:
        if not isinstance(values, dict) or name not in values:
            return None
        values = values[name]
    return values


class Rendered(unittest.TestCase):
    maxDiff = None

    def same(self, ours, theirs):
        ours, theirs = ({key(one): normal(one) for one in side} for side in (ours, theirs))
        self.assertEqual(set(ours), set(theirs))
        for name, one in ours.items():
            with self.subTest(name):
                self.assertEqual(one, theirs[name])

    def test_default_values_make_the_objects_of_the_manifests(self):
        done = run(BIN / "kubectl", "kustomize", ROOT / "manifests")
        self.assertEqual(done.returncode, 0, done.stderr)
        theirs = [one for one in yaml.safe_load_all(done.stdout) if key(one) not in NOT_HELMS]
        self.same_objects(theirs, lambda one: not is_hook(one))

    def same_objects(self, theirs, wanted):
        """The manifests have no values, so they grant what only --drop-in openshift uses. The chart knows."""
        role = lambda one: one["kind"] == "ClusterRole"
        ours = template("--set=rules.dropIn={openshift}")[0]
        self.same([one for one in ours if wanted(one) and role(one)], [one for one in theirs if role(one)])
        for one in filter(role, theirs):
            one["rules"] = [rule for rule in one["rules"] if rule["apiGroups"] != ["route.openshift.io"]]
        self.same([one for one in template()[0] if wanted(one)], theirs)

    def test_the_service_monitor_is_that_of_the_manifests_and_selects_a_port_of_the_service(self):
        objects, _ = template(VARIANTS["monitored"][0])
        ours = next(one for one in objects if one["kind"] == "ServiceMonitor")
        theirs = yaml.safe_load((ROOT / "manifests/monitoring/service-monitor.yaml").read_text())
        self.assertEqual(ours["spec"]["endpoints"], theirs["spec"]["endpoints"])
        [endpoint] = ours["spec"]["endpoints"]
        self.assertIs(endpoint["honorLabels"], True)
        service = next(one for one in objects if one["kind"] == "Service" and key(one)[2] == "narthex")
        self.assertIn(endpoint["port"], [port["name"] for port in service["spec"]["ports"]])

    def test_what_runs_after_uninstalling_is_what_the_manifests_run(self):
        files = (ROOT / "rbac/cleanup.yaml", ROOT / "manifests/cleanup.yaml")
        theirs = [one for path in files for one in yaml.safe_load_all(path.read_text())]
        self.same_objects(theirs, is_hook)

    def test_the_image_of_both_is_the_same_for_the_cleanup(self):
        objects, _ = template("--set=image.repository=registry.example/narthex", "--set=image.tag=1.2.3")
        images = {pod["containers"][0]["image"]
                  for pod in (one["spec"]["template"]["spec"] for one in objects if "template" in one.get("spec", {}))}
        self.assertEqual(images, {"registry.example/narthex:1.2.3"})

    def test_documents_are_those_of_the_schema(self):
        done = run(ROOT / "charts/generate.py", "--check")
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_lint(self):
        for name, flags in VARIANTS.items():
            with self.subTest(name):
                done = helm("lint", "--strict", CHART, *flags)
                self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_nonsense_is_refused_by_name(self):
        for flag, named in NONSENSE.items():
            with self.subTest(flag):
                done = helm("template", "narthex", CHART, flag)
                self.assertNotEqual(done.returncode, 0)
                self.assertIn(named, done.stderr)

    def test_with_namespaces_there_is_no_right_beyond_them(self):
        for name in ("namespaces", "namespaces, its own too", "namespaces, deployment"):
            objects, _ = template(*VARIANTS[name])
            self.assertEqual([key(one) for one in objects if one["kind"].startswith("ClusterRole")], [])
            places = {one["metadata"]["namespace"] for one in objects if one["kind"] == "RoleBinding"}
            self.assertLessEqual(places, {"team-a", "team-b", HOME})

    def test_secrets_are_read_where_it_was_said(self):
        def places(*flags):
            return {(one["kind"], one["metadata"].get("namespace")) for one in template(*flags)[0]
                    for rule in one.get("rules", []) if "secrets" in rule["resources"]}

        self.assertEqual(places(), {("ClusterRole", None)})
        self.assertEqual(places(*VARIANTS["no secrets"]), set())
        self.assertEqual(places(*VARIANTS["listed secrets"]), {("Role", "team-a")})
        self.assertEqual(places(*VARIANTS["namespaces"]), {("Role", "team-a"), ("Role", "team-b")})
        self.assertEqual(places(*VARIANTS["namespaces"], "--set=secrets.access=none"), set())

    def test_two_releases_share_nothing(self):
        ours, theirs = (template("--set=ingressClass.name=" + name, release=name)[0] for name in ("edge", "inner"))
        self.assertEqual({key(one) for one in ours} & {key(one) for one in theirs}, set())
        args = workload(ours)["spec"]["template"]["spec"]["containers"][0]["args"]
        for flag in ("--lease=edge-narthex", "--pod-selector=app.kubernetes.io/name=edge-narthex",
                     f"--hand-over={HOME}/edge-narthex"):
            self.assertIn(flag, args)
        names = [rule["resourceNames"] for one in ours for rule in one.get("rules", []) if "resourceNames" in rule]
        self.assertEqual(names, [["edge-narthex"]] * 2)

    def test_what_is_off_is_gone(self):
        def made(*flags):
            return {key(one) for one in template(*flags)[0]}

        gone = made() - made("--set=cleanup.enabled=false")
        self.assertIn(("Job", HOME, "narthex-cleanup"), gone)
        self.assertTrue(all(name == "narthex-cleanup" for _, _, name in gone), gone)
        self.assertEqual({name for _, _, name in made() - made("--set=status.enabled=false")},
                         {"narthex-cleanup", "narthex-status"})
        self.assertEqual(made("--set=ingressClass.create=false") ^ made(), {("IngressClass", None, "narthex")})

    def test_flags_are_those_of_the_program(self):
        flags = set()
        for arguments in VARIANTS.values():
            for one in template(*arguments)[0]:
                pod = one.get("spec", {}).get("template", {}).get("spec", {"containers": []})
                for container in pod["containers"]:
                    flags |= {(container["args"][0], flag.split("=")[0]) for flag in container["args"][1:]}
        self.assertIn(("serve", "--publish-service"), flags)
        reference = (ROOT / "docs/reference.md").read_text()
        for _, flag in flags:
            self.assertIn(f"`{flag}", reference)

    def test_each_value_does_what_its_case_says(self):
        """And does not without the value: then the case fails, or the rest is refused."""
        schema = json.loads((CHART / "values.schema.json").read_text())
        tried = set()
        for case in CASES:
            given = {path: get(case["values"], path) for path, definition in leaves(schema)
                     if get(case["values"], path) not in (None, definition["default"])}
            tried |= {".".join(path) for path in given}
            with ThreadPoolExecutor() as pool:
                done, *others = pool.map(rendered, [case["values"], *(without(case["values"], path) for path in given)])
            with self.subTest(case["values"]):
                self.assertTrue(does(done, case["then"]), done.stdout)
            for path, other in zip(given, others, strict=True):
                with self.subTest(without=path):
                    self.assertTrue(other.returncode != 0 or not does(other, case["then"]))
        untried = {".".join(path) for path, _ in leaves(schema)} - tried - {"global"}
        self.assertEqual(untried, set(), "a value without a case")

    def test_helm_3_makes_the_same_objects(self):
        old = tools.helm3()
        self.assertIn("v3.", run(old, "version").stdout)
        for case in CASES:
            with self.subTest(case["values"]):
                theirs, ours = (sorted(objects_of(done), key=str) for done in (rendered(case["values"], program=old), rendered(case["values"])))
                self.assertEqual(theirs, ours)
        for flag in NONSENSE:
            with self.subTest(flag):
                self.assertNotEqual(run(old, "template", "narthex", CHART, flag).returncode, 0)

    def test_a_refusal_names_all_that_is_wrong(self):
        done = helm("template", "narthex", CHART, "--set=runAsNonRoot=true,proxyProtocol=required,extraArgs={--nothing}")
        for named in ("ports.http:", "ports.https:", "proxyProtocol:", "extraArgs:"):
            self.assertIn(f"- {named}", done.stderr)

    def test_defaults_of_typed_values_are_those_of_the_program(self):
        rows = re.findall(r"^\| `(--[a-z0-9-]+)[^`]*` \| [^|]* \| (?:`([^`]*)`)? \|", (ROOT / "docs/reference.md").read_text(), re.MULTILINE)
        defaults = dict(rows)
        for path, definition in leaves(json.loads((CHART / "values.schema.json").read_text())):
            if "x-flag" in definition:
                with self.subTest(path):
                    default = definition["default"]
                    text = ",".join(default) if isinstance(default, list) else default
                    text = str(text).lower() if isinstance(default, bool) else str(text)
                    # What the program leaves open is empty here.
                    self.assertEqual(text if text != "0" or defaults[definition["x-flag"]] else "", defaults[definition["x-flag"]])

    def test_rules_and_dashboard_are_those_of_the_manifests(self):
        for release, job in (("narthex", "narthex"), ("edge", "edge-narthex")):
            objects, _ = template(*VARIANTS["everything of monitoring"], release=release)
            folder = ROOT / "manifests/monitoring"
            rule = next(one for one in objects if one["kind"] == "PrometheusRule")
            theirs = yaml.safe_load((folder / "rules.yaml").read_text().replace('job=~".*narthex.*"', f'job=~"{job}"'))
            self.assertEqual(rule["spec"], theirs)
            [text] = next(one for one in objects if one["kind"] == "ConfigMap")["data"].values()
            dashboard = (folder / "grafana-dashboard.json").read_text()
            self.assertEqual(json.loads(text), json.loads(dashboard.replace(".*narthex.*", job)))
            # The operator makes the name of the Service the job.
            service = next(one for one in objects if one["kind"] == "Service")
            self.assertEqual(service["metadata"]["name"], job)

    def test_each_alert_has_a_page(self):
        headings = re.findall(r"^## (\w+)$", (ROOT / "docs/runbooks.md").read_text(), re.MULTILINE)
        groups = yaml.safe_load((ROOT / "manifests/monitoring/rules.yaml").read_text())["groups"]
        alerts = [rule for group in groups for rule in group["rules"]]
        self.assertEqual(headings, [rule["alert"] for rule in alerts])
        for rule in alerts:
            self.assertEqual(rule["annotations"]["runbook_url"], f"docs/runbooks.md#{rule['alert'].lower()}")

    def test_the_values_of_the_documentation_are_taken(self):
        blocks = []
        for page in [CHART / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]:
            text = page.read_text().replace("\\\n", " ")
            for block in re.findall(r"^ *```yaml\n *# values.yaml\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL):
                blocks.append((page.name, yaml.safe_load(block), []))
            for line in re.findall(r"^ *helm (?:install|upgrade) \S+ charts/narthex .*--set .*", text, re.MULTILINE):
                blocks.append((page.name, {}, [argument for flag, argument in pairwise(shlex.split(line)) if flag == "--set"]))
        self.assertGreater(len(blocks), 20)
        for page, values, sets in blocks:
            with self.subTest(page, values=values, sets=sets):
                objects_of(rendered(values, *(f"--set={one}" for one in sets)))

    def test_the_values_of_other_charts_lead_to_values_of_ours(self):
        ours = set()
        for path, _ in leaves(json.loads((CHART / "values.schema.json").read_text())):
            ours |= {".".join(path[:length]) for length in range(1, len(path) + 1)}
        for chart in ("Traefik's", "ingress-nginx's"):
            table = (CHART / "README.md").read_text().partition(f"## From the values of {chart}")[2].partition("\n## ")[0]
            rows = re.findall(r"^\| (`[^|]*`) \| ([^|]*) \|$", table, re.MULTILINE)
            theirs = [name for left, _ in rows for name in re.findall(r"`([^`]+)`", left)]
            self.assertGreaterEqual(len(theirs), 50)
            self.assertEqual(len(theirs), len(set(theirs)))
            for left, right in rows:
                with self.subTest(left):
                    named = [name for name in re.findall(r"`([^`]+)`", right) if not name.startswith(("helm ", "defaultBackend"))]
                    self.assertTrue(named or right.startswith("none"))
                    self.assertLessEqual(set(named), ours)
