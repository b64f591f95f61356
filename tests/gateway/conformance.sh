#!/bin/bash
# conformance.sh [TEST...]: runs the conformance suite of Gateway API against narthex on a real cluster of two nodes
# (`make gateway-conformance`). It needs root.
#
# It builds the suite and its pods from Go modules, starts a cluster (lab.sh), and runs one narthex in the network namespace of each
# node. The addresses of --gateway-addresses lead to the first node. Without arguments it runs all tests of the profiles for the
# features that the GatewayClass claims, and writes the report to docs/conformance/. With arguments it runs only the tests of these
# names.
#
# Environment: NARTHEX        the narthex to run (target/debug/narthex)
#              PROFILES       profiles, with commas between (GATEWAY-HTTP,GATEWAY-GRPC,GATEWAY-TLS,GATEWAY-TCP)
#              E2E_KEEP=1     leave the cluster up after a failure (and then: lab.sh down)
set -euo pipefail

gateway=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
tale='gateway-conformance'
# shellcheck source-path=SCRIPTDIR
. "$gateway/../cluster/steps.sh"
narthex=${NARTHEX:-$root/target/debug/narthex}
cache=${XDG_CACHE_HOME:-$HOME/.cache}/narthex/gateway
pool=10.77.1.0/24
pids=()

stop_narthexes() {
  local pid
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  wait "${pids[@]}" 2>/dev/null || true
}
trap 'code=$?; set +e; stop_narthexes; (exit $code); finish' EXIT

build_suite() {
  mkdir -p "$cache"
  cd "$gateway"
  export CGO_ENABLED=0
  go test -c -vet=off -o "$cache/conformance.test" .
  go build -ldflags=-s -o "$cache/echo-basic" sigs.k8s.io/gateway-api/conformance/echo-basic
  go build -ldflags=-s -o "$cache/dns" ./dns
}

make_images() {
  mkdir -p "$work/images"
  local tag
  for tag in v1.5.1 v1.6.0-dev.2 v1.6.0-dev.3; do
    "$here/image.py" "$work/images/echo-$tag.tar" "registry.k8s.io/gateway-api/echo-basic:$tag" \
      --entrypoint '["/echo-basic"]' "$cache/echo-basic=/echo-basic"
  done
  "$here/image.py" "$work/images/dns.tar" registry.k8s.io/coredns/coredns:v1.12.2 --entrypoint '["/dns"]' "$cache/dns=/dns"
}

apply_kinds() {
  local module
  module=$(cd "$gateway" && go list -m -f '{{.Dir}}' sigs.k8s.io/gateway-api)
  k apply --server-side -k "$module/config/crd/experimental"
  k create namespace narthex-system
  k apply -f - <<'END'
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: narthex}
spec: {controllerName: narthex.io/gateway-controller}
END
}

# The pool is routed to the first node.
route_pool() {
  on node1 ip route add local "$pool" dev lo
  on cp ip route add "$pool" via "${node_ips[0]}"
  on node2 ip route add "$pool" via "${node_ips[0]}"
}

start_narthexes() { # not in a subshell: sets pids
  local node index=0
  for node in node1 node2; do
    POD_NAME=narthex-$node POD_NAMESPACE=narthex-system nsenter --net="/run/netns/${CP_NETNS%-cp}-$node" \
      "$narthex" serve --kubeconfig "$KUBECONFIG" --node "$node" --gateway-addresses "$pool" --log-level info \
      --publish-address "${node_ips[$index]}" >"$work/narthex-$node.log" 2>&1 3>&- &
    pids+=($!)
    index=$((index + 1))
  done
}
narthexes_are_ready() { everywhere 30 admin_answers; }

class_is_accepted() {
  [ "$(k get gatewayclass narthex -o jsonpath='{.status.conditions[?(@.type=="Accepted")].status}')" = True ]
}

suite() {
  local arguments=(--gateway-class=narthex "--conformance-profiles=${PROFILES:-GATEWAY-HTTP,GATEWAY-GRPC,GATEWAY-TLS,GATEWAY-TCP}" --organization=narthex --project=narthex
    --url=https://narthex.io --contact=https://narthex.io "--version=$("$narthex" --version | cut -d' ' -f2)"
    --usable-address=10.77.1.200 --unusable-address=10.77.2.1 --allow-crds-mismatch
    "--report-output=$work/report.yaml")
  [ $# -eq 0 ] || arguments+=("--run-test=$1")
  KUBECONFIG=$KUBECONFIG nsenter --net="/run/netns/$CP_NETNS" "$cache/conformance.test" -test.v -test.timeout=40m "${arguments[@]}" \
    >"$work/suite.log" 2>&1
}

summary() {
  grep -E '^ *--- (PASS|FAIL): TestConformance/[A-Za-z0-9]+ ' "$work/suite.log" | sed -E 's/^ *--- //; s,TestConformance/,,' | sort | uniq
}

title "Preparing"
step "packages" "$here/deps.sh"
step "Kubernetes binaries" "$here/kube-binaries.sh"
step "the suite and its pods" build_suite
step "make images without Docker" make_images
start_nodes
step "the kinds of Gateway API, and a GatewayClass" apply_kinds
step "addresses for Gateways lead to the first node" route_pool
start_narthexes
step "a narthex on each node" narthexes_are_ready
step "the GatewayClass is accepted" within 30 class_is_accepted

title "The suite"
code=0
suite "$@" || code=$?
summary >"$work/summary"
cat "$work/summary"
if [ -n "${SUITE_LOG:-}" ]; then cp "$work/suite.log" "$SUITE_LOG"; cp "$work"/narthex-*.log "$(dirname "$SUITE_LOG")/"; fi
if [ $# -eq 0 ] && [ -s "$work/report.yaml" ]; then
  mkdir -p "$root/docs/conformance"
  cp "$work/report.yaml" "$root/docs/conformance/gateway-api-v1.6.3.yaml"
fi
if [ "$code" -ne 0 ]; then
  grep -nE '^ *--- FAIL|Error:|Error Trace|panic' "$work/suite.log" | head -n 120
  exit 1
fi
steps=$((steps + 1))
