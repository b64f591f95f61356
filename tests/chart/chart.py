#!/usr/bin/env python3
"""chart.py: the Helm chart, by real helm and kubectl and before a real API server. Run by `make test-chart`."""

import copy
import json
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import yaml

import server
import tools

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "charts/narthex"
HOME = "narthex-system"
BIN = tools.folder()

# Labels that only Helm's objects have, and all that may differ. Hooks say so in annotations besides.
HELMS = {"app.kubernetes.io/instance", "app.kubernetes.io/managed-by", "app.kubernetes.io/version", "helm.sh/chart"}
HOOKS = {"helm.sh/hook", "helm.sh/hook-delete-policy", "helm.sh/hook-weight"}
# Helm installs into a namespace and does not make it.
NOT_HELMS = {("Namespace", None, HOME)}

# What a user may choose: a name and flags for helm.
VARIANTS = {
    "default": [],
    "deployment": ["--set=kind=Deployment"],
    "namespaces": ["--set=watchNamespaces={team-a,team-b}", "--set=ingressClass.create=false"],
    "namespaces, its own too": [f"--set=watchNamespaces={{team-a,{HOME}}}"],
    "namespaces, deployment": ["--set=kind=Deployment", "--set=watchNamespaces={team-a}"],
    "listed secrets": ["--set=secrets.access=listed", "--set=secrets.namespaces={team-a}"],
    "no secrets": ["--set=secrets.access=none"],
    "writes nothing": ["--set=status.enabled=false"],
    "no admin service": ["--set=adminService.enabled=false"],
    "other ports": ["--set=ports.http=8000", "--set=ports.https=0", "--set=ports.admin=9090", "--set=runAsNonRoot=true"],
    "given address": ["--set=status.publishAddress={192.0.2.7,edge.example.com}"],
    "another class": ["--set=ingressClass.name=edge", "--set=ingressClass.default=true", "--set=ingressClass.classLess=false"],
    "monitored": ["--set=monitoring.serviceMonitor.enabled=true", "--set=monitoring.serviceMonitor.labels.release=prometheus"],
    "all at once": [
        "--set=image.digest=sha256:" + "0" * 64, "--set=image.pullSecrets={registry}", "--set=extraArgs={--log-level=debug}",
        "--set=nodeSelector.role=edge", "--set=podAnnotations.note=yes", "--set=podLabels.tier=edge",
        "--set-json=extraEnv=[{\"name\":\"NARTHEX_LOG_FORMAT\",\"value\":\"json\"}]",
        "--set-json=extraVolumes=[{\"name\":\"token\",\"secret\":{\"secretName\":\"admin-token\"}}]",
        "--set-json=extraVolumeMounts=[{\"name\":\"token\",\"mountPath\":\"/token\",\"readOnly\":true}]",
        "--set-json=affinity={\"nodeAffinity\":{\"requiredDuringSchedulingIgnoredDuringExecution\":"
        "{\"nodeSelectorTerms\":[{\"matchExpressions\":[{\"key\":\"edge\",\"operator\":\"Exists\"}]}]}}}",
        "--set-json=daemonset.tolerations=[]", "--set=daemonset.priorityClassName=", "--set-json=resources={}",
        "--set=adminService.annotations.note=yes",
    ],
    "a cloud's": [
        "--set=kind=Deployment", "--set=service.loadBalancerClass=example.com/nlb", "--set=service.annotations.note=yes",
        "--set=service.loadBalancerSourceRanges={10.0.0.0/8}", "--set=deployment.replicas=3", "--set=ports.https=0",
    ],
    "inside": ["--set=kind=Deployment", "--set=service.type=ClusterIP", "--set=deployment.disruptionBudget=false"],
}

# What makes no sense, and what the refusal must name.
NONSENSE = {
    "--set=kind=StatefulSet": "/kind",
    "--set=kindd=DaemonSet": "kindd",
    "--set=image.tag=not a tag": "/image/tag",
    "--set=image.digest=sha256:short": "/image/digest",
    "--set=watchNamespaces=team-a": "/watchNamespaces",
    "--set=watchNamespaces={Team_A}": "/watchNamespaces/0",
    "--set=secrets.access=some": "/secrets/access",
    "--set=secrets.access=listed": "/secrets",
    "--set=secrets.namespaces={team-a}": "/secrets/namespaces",
    "--set=ports.http=80000": "/ports/http",
    "--set=ports.admin=80": "/ports/admin",
    "--set=ports.https=https": "/ports/https",
    "--set=extraArgs={log-level}": "/extraArgs/0",
    "--set=podLabels.app\\.kubernetes\\.io/name=x": "/podLabels",
    "--set=deployment.replicas=-1": "/deployment/replicas",
    "--set=service.type=ExternalName": "/service/type",
    "--set=service.loadBalancerSourceRanges={everybody}": "/service/loadBalancerSourceRanges/0",
    "--set=status.publishService=web,status.publishAddress={192.0.2.1}": "/status",
    "--set=status.publishService=a/b,status.publishAddress={192.0.2.1}": "/status/publishAddress",
    "--set=monitoring.serviceMonitor.enabled=true,adminService.enabled=false": "/adminService/enabled",
    "--set=terminationGracePeriodSeconds=1": "/terminationGracePeriodSeconds",
    "--set=fullnameOverride=Not_A_Name": "/fullnameOverride",
}


def run(*command, **more):
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, **more)


def helm(*arguments):
    return run(BIN / "helm", *arguments)


def template(*arguments, release="narthex"):
    """The objects of a release, hooks too, and the text they were read from."""
    done = helm("template", release, CHART, "--namespace", HOME, *arguments)
    assert done.returncode == 0, done.stderr
    return [one for one in yaml.safe_load_all(done.stdout) if one], done.stdout


def key(one):
    return one["kind"], one["metadata"].get("namespace"), one["metadata"]["name"]


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


def is_hook(one):
    return "helm.sh/hook" in one["metadata"].get("annotations", {})


def pod_of(workload):
    """What its controller would make."""
    pod = copy.deepcopy(workload["spec"]["template"])
    meta = {"name": "one", "namespace": "strict", **pod.get("metadata", {})}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": pod["spec"]}


def workload(objects):
    return next(one for one in objects if one["kind"] in ("DaemonSet", "Deployment"))


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
        self.same([one for one in template()[0] if not is_hook(one)], theirs)

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
        self.same([one for one in template()[0] if is_hook(one)], theirs)

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


class Served(unittest.TestCase):
    """Before a real API server."""

    @classmethod
    def setUpClass(cls):
        folder = cls.enterClassContext(tempfile.TemporaryDirectory())
        cls.server = cls.enterClassContext(server.Server(folder))
        for name in (HOME, "team-a", "team-b", "strict"):
            made = cls.kubectl("create", "namespace", name)
            assert made.returncode == 0, made.stderr
        restricted = ("enforce", "restricted")
        cls.kubectl("label", "namespace", "strict", "pod-security.kubernetes.io/" + "=".join(restricted))
        # Its CRD is the operator's; this one says only what it is called.
        crd = {
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": "servicemonitors.monitoring.coreos.com"},
            "spec": {
                "group": "monitoring.coreos.com", "scope": "Namespaced",
                "names": {"kind": "ServiceMonitor", "plural": "servicemonitors", "singular": "servicemonitor"},
                "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {
                    "type": "object", "x-kubernetes-preserve-unknown-fields": True}}}],
            },
        }
        made = cls.kubectl("apply", "-f", "-", input=json.dumps(crd))
        assert made.returncode == 0, made.stderr
        cls.kubectl("wait", "--for=condition=Established", "crd/servicemonitors.monitoring.coreos.com", "--timeout=60s")

    @classmethod
    def kubectl(cls, *arguments, **more):
        return run(BIN / "kubectl", "--kubeconfig", cls.server.kubeconfig, *arguments, **more)

    def test_every_variant_is_taken(self):
        for name, flags in VARIANTS.items():
            with self.subTest(name):
                objects, text = template(*flags)
                done = self.kubectl("apply", "--dry-run=server", "--validate=strict", "-f", "-", input=text)
                self.assertEqual(done.returncode, 0, done.stderr[:2000])
                self.assertEqual(len(done.stdout.splitlines()), len(objects))
                self.assertNotIn("Warning", done.stderr.replace("would violate", ""))

    def test_deployments_and_the_cleanup_pass_the_strictest_pod_security(self):
        objects, _ = template("--set=kind=Deployment")
        deployment = pod_of(workload(objects))
        job = pod_of(next(one for one in objects if one["kind"] == "Job"))
        for pod in (deployment, job):
            pod["spec"].pop("priorityClassName", None)
            done = self.kubectl("apply", "--dry-run=server", "-f", "-", input=json.dumps(pod))
            self.assertEqual(done.returncode, 0, done.stderr)
        # And this level does refuse something.
        daemon = pod_of(workload(template()[0]))
        daemon["spec"].pop("priorityClassName")
        done = self.kubectl("apply", "--dry-run=server", "-f", "-", input=json.dumps(daemon))
        self.assertIn("hostNetwork", done.stderr)

    def test_a_sysctl_of_the_network_is_refused_on_the_nodes_own(self):
        daemonset = workload(template()[0])
        sysctl = {"name": "net.ipv4.ip_unprivileged_port_start", "value": "0"}
        daemonset["spec"]["template"]["spec"]["securityContext"] = {"sysctls": [sysctl]}
        done = self.kubectl("apply", "--dry-run=server", "-f", "-", input=json.dumps(daemonset))
        self.assertIn("sysctls", done.stderr)
        self.assertIn("hostNetwork", done.stderr)

    def test_rights_end_where_its_namespaces_end(self):
        # A release of its own, as it stays until the server goes; and hooks are Helm's to make.
        _, text = template(*VARIANTS["namespaces"], "--set=cleanup.enabled=false", release="narthex-narrow")
        done = self.kubectl("apply", "-f", "-", input=text)
        self.assertEqual(done.returncode, 0, done.stderr)
        account = f"--as=system:serviceaccount:{HOME}:narthex-narrow"

        def may(verb, what, *where):
            return self.kubectl("auth", "can-i", verb, what, account, *where).stdout.strip() == "yes"

        for namespace in ("team-a", "team-b"):
            for what in ("ingresses.networking.k8s.io", "services", "endpointslices.discovery.k8s.io", "secrets"):
                self.assertTrue(may("watch", what, "-n", namespace), (what, namespace))
            self.assertTrue(may("patch", "ingresses.networking.k8s.io", "--subresource=status", "-n", namespace))
            self.assertTrue(may("create", "events.events.k8s.io", "-n", namespace))
        self.assertTrue(may("update", "leases.coordination.k8s.io/narthex-narrow", "-n", HOME))
        self.assertTrue(may("list", "pods", "-n", HOME))
        for verb, what, *where in (
            ("list", "ingresses.networking.k8s.io", "-A"), ("get", "secrets", "-n", HOME), ("get", "secrets", "-n", "strict"),
            ("get", "nodes"), ("update", "ingresses.networking.k8s.io", "-n", "team-a"),
            ("update", "leases.coordination.k8s.io/other", "-n", HOME),
        ):
            self.assertFalse(may(verb, what, *where), (verb, what))

    def test_it_installs_upgrades_and_goes_without_leaving_anything(self):
        def release(*command):
            done = helm("--kubeconfig", self.server.kubeconfig, "--namespace", HOME, *command)
            self.assertEqual(done.returncode, 0, done.stderr)
            return done.stdout

        # Nothing runs pods here, so the Job after uninstalling would never end.
        values = ("--set=cleanup.enabled=false", "--set=fullnameOverride=passing", "--set=ingressClass.name=passing")
        release("install", "passing", CHART, *values)
        release("upgrade", "passing", CHART, *values, "--set=status.publishAddress={192.0.2.1}")
        found = json.loads(self.kubectl("get", "daemonset", "passing", "-n", HOME, "-o", "json").stdout)
        self.assertIn("--publish-address=192.0.2.1", found["spec"]["template"]["spec"]["containers"][0]["args"])
        release("uninstall", "passing", "--wait=hookOnly")
        kinds = "daemonset,service,serviceaccount,role,rolebinding,clusterrole,clusterrolebinding,ingressclass,secret"
        left = self.kubectl("get", kinds, "-A", "-l", "app.kubernetes.io/instance=passing", "-o", "name").stdout
        self.assertEqual(left, "")


if __name__ == "__main__":
    sys.exit(unittest.main(verbosity=2))
