"""The chart before a real API server."""

import json
import tempfile
import unittest

import server
from common import BIN, CASES, CHART, helm, objects_of, pod_of, rendered, run, template, workload
from variants import HOME, VARIANTS


def crd(kind, group="monitoring.coreos.com", scope="Namespaced"):
    """A CRD, of the Prometheus operator's group unless another is named, that takes everything."""
    singular = kind.lower()
    plural = singular + ("es" if singular.endswith("s") else "s")
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {
        "type": "object", "x-kubernetes-preserve-unknown-fields": True}}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{plural}.{group}",
            # The API server asks for it in groups of Kubernetes' own.
            "annotations": {"api-approved.kubernetes.io": "unapproved, for a test"},
        },
        "spec": {
            "group": group, "scope": scope,
            "names": {"kind": kind, "plural": plural, "singular": singular}, "versions": [version],
        },
    }


class Served(unittest.TestCase):
    """Before a real API server."""

    @classmethod
    def setUpClass(cls):
        folder = cls.enterClassContext(tempfile.TemporaryDirectory())
        cls.server = cls.enterClassContext(server.Server(folder))
        for name in (HOME, "team-a", "team-b", "strict", "monitoring", "grafana"):
            made = cls.kubectl("create", "namespace", name)
            assert made.returncode == 0, made.stderr
        restricted = ("enforce", "restricted")
        cls.kubectl("label", "namespace", "strict", "pod-security.kubernetes.io/" + "=".join(restricted))
        # The CRDs are others'; these say only what they are called.
        crds = [crd("ServiceMonitor"), crd("PrometheusRule"), crd("GatewayClass", "gateway.networking.k8s.io", "Cluster")]
        made = cls.kubectl("apply", "-f", "-", input=json.dumps({"apiVersion": "v1", "kind": "List", "items": crds}))
        assert made.returncode == 0, made.stderr
        for one in crds:
            cls.kubectl("wait", "--for=condition=Established", f"crd/{one['metadata']['name']}", "--timeout=60s")

    @classmethod
    def kubectl(cls, *arguments, **more):
        return run(BIN / "kubectl", "--kubeconfig", cls.server.kubeconfig, *arguments, **more)

    def taken(self, done):
        objects = objects_of(done)
        answer = self.kubectl("apply", "--dry-run=server", "--validate=strict", "-f", "-", input=done.stdout)
        self.assertEqual(answer.returncode, 0, answer.stderr[:2000])
        self.assertEqual(len(answer.stdout.splitlines()), len(objects))
        return answer.stderr

    def test_every_variant_is_taken(self):
        for name, flags in VARIANTS.items():
            with self.subTest(name):
                warnings = self.taken(rendered({}, *flags))
                self.assertNotIn("Warning", warnings.replace("would violate", ""))

    def test_every_case_is_taken(self):
        for case in CASES:
            with self.subTest(case["values"]):
                self.taken(rendered(case["values"]))

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
