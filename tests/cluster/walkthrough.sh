#!/bin/bash
# walkthrough.sh: the whole story on a real two-node cluster (`make e2e`). Root; about three minutes with cached binaries.
#
# Builds narthex's image, starts a cluster (lab.sh), and does what a user does: deployments, services, `kubectl apply -k
# manifests`, rules old and new, curl against each node's address, scaling, edits, deletions. Then once more as the
# walkthrough of 2020 has it: its RBAC and its rule through `narthex convert`, its DaemonSet with only the image changed.
# One line per step; at the first failure it shows pods, events and logs, and exits 1. Nothing stays behind.
#
# Environment: NARTHEX_BIN   a static narthex to use instead of building one
#              E2E_KEEP=1    leave the cluster up after a failure (and then: lab.sh down)
#              E2E_RATE      requests a second of each of the four client workers (default 50)
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
PATH=$PATH:/usr/sbin:/sbin
for stale in /tmp/narthex-e2e.*; do # of runs that were killed
  pid=${stale#/tmp/narthex-e2e.}
  [ ! -O "$stale" ] || [ -e "/proc/${pid%%.*}" ] || rm -rf "$stale"
done
work=$(mktemp -d "/tmp/narthex-e2e.$$.XXXXXX")
story=$here/walkthrough
began=$SECONDS
client_pid=
cluster_up=
scenario=
steps=0

# --- steps -----------------------------------------------------------------------------------------------------------

title() { scenario=$1; echo; echo "== $1"; }

# step WHAT CMD...: runs CMD in a subshell with errexit; its output is shown only if it fails. What CMD writes to fd 3 is
# appended to the step's line.
step() {
  local what=$1 start=$SECONDS code
  shift
  : >"$work/note"
  set +e
  (set -e; "$@") >"$work/out" 2>&1 3>>"$work/note"
  code=$?
  set -e
  steps=$((steps + 1))
  if [ $code -eq 0 ]; then
    echo "ok   $what$(note) ($((SECONDS - start)) s)"
  else
    echo "FAIL $what$(note) ($((SECONDS - start)) s)"
    sed 's/^/     | /' "$work/out" | tail -n 40
    exit 1
  fi
}

note() { sed 's/^/: /' "$work/note" | tail -n 1; }

# within SECONDS CMD...: until it succeeds; shows what the last try said.
within() {
  local deadline=$((SECONDS + $1)) patience=$1
  shift
  until "$@" >"$work/try" 2>&1; do
    if [ $SECONDS -ge $deadline ]; then
      cat "$work/try"
      echo "not within $patience s: $*"
      return 1
    fi
    sleep 0.1
  done
  cat "$work/try"
}

k() { "$here/lab.sh" kubectl "$@"; }
on() { nsenter --net="/run/netns/${CP_NETNS%-cp}-$1" "${@:2}"; } # on cp|nodeN CMD...

# ask HOST ADDRESS [PATH]: prints "STATUS CONTENT-TYPE", then the body as it is.
ask() { on cp curl -sS --max-time 10 -H "Host: $1" -D "$work/head" -o "$work/body" "http://$2${3:-/}" && show_answer; }
show_answer() {
  awk 'NR == 1 { status = $2 } tolower($1) == "content-type:" { type = $2 } END { gsub(/[\r;]/, "", type); print status, type }' "$work/head"
  cat "$work/body"
}

status_is() { # STATUS HOST ADDRESS
  local got
  got=$(ask "$2" "$3" | head -n 1)
  [ "${got%% *}" = "$1" ] || { echo "$2 at $3: $got"; cat "$work/body"; return 1; }
}

answer_is() { # STATUS BODY HOST ADDRESS
  status_is "$1" "$3" "$4" || return 1
  printf '%b' "$2" | cmp - "$work/body" || { echo "body:"; od -c "$work/body"; return 1; }
}

everywhere() { # SECONDS CMD...: CMD with each node's address as its last argument
  local ip
  for ip in "${node_ips[@]}"; do within "$1" "${@:2}" "$ip" || return 1; done
}

pods_of() { # APP: names of its running pods
  k get pods -l "app=$1" -o json |
    jq -r '.items[] | select(.metadata.deletionTimestamp == null and .status.phase == "Running") | .metadata.name' | sort
}

# rotates HOST APP ADDRESS: with k pods, 2k requests on fresh connections are answered by exactly these pods, all of them.
rotates() {
  local pods n got i
  pods=$(pods_of "$2")
  n=$(wc -l <<<"$pods")
  got=$(for ((i = 0; i < 2 * n; i++)); do on cp curl -sS --max-time 10 -H "Host: $1" "http://$3/" || echo "curl: $?"; done)
  if [ "$(sort -u <<<"$got")" != "$pods" ]; then
    printf 'pods:\n%s\nanswers in order at %s:\n%s\n' "$pods" "$3" "$got"
    return 1
  fi
}

pods_are() { [ "$(pods_of "$1" | grep -c .)" = "$2" ] && [ "$(k get pods -l "app=$1" -o name | wc -l)" = "$2" ]; }

rolled_out() { k rollout status "$@" --timeout=90s; }

# --- the client that never stops -------------------------------------------------------------------------------------

client_start() { # HOST; not in a subshell: sets client_pid
  rm -f "$work/client.json"
  nsenter --net="/run/netns/$CP_NETNS" "$here/client.py" "$work/client.json" "${E2E_RATE:-50}" "$1" "${node_ips[@]}" 3>&- &
  client_pid=$!
}

client_stop() {
  [ -n "$client_pid" ] || return 0
  kill "$client_pid" 2>/dev/null || true
  wait "$client_pid" 2>/dev/null || true
  client_pid=
}

client_saw() { # JQ_EXPRESSION
  jq -e "$1" "$work/client.json" >/dev/null || { cat "$work/client.json"; return 1; }
}

# All of an app's pods, and no other one, answered within the last second.
client_sees_pods() { # APP
  local want got
  want=$(pods_of "$1")
  got=$(jq -r '.recent | keys[]' "$work/client.json" | sort)
  [ "$want" = "$got" ] || { printf 'pods:\n%s\nanswered in the last second:\n%s\n' "$want" "$got"; return 1; }
}

client_note() {
  jq -r '"\(.requests) requests, \(.failures) failed, \(.reconnects) reconnects, p50 \(.p50_ms) ms, p99 \(.p99_ms) ms, slowest \(.slowest_ms) ms"' \
    "$work/client.json" >&3
}

client_had_no_failure() {
  client_note
  client_saw '.requests > 100'
  jq -r '.first_failures[]' "$work/client.json"
  client_saw '.failures == 0'
}

# --- when it goes wrong, and at the end ------------------------------------------------------------------------------

evidence() {
  echo "---- what the cluster looks like"
  k get nodes,pods,deployments,daemonsets,services,endpointslices,ingresses,ingressclasses -A -o wide 2>&1 || true
  echo "---- events"
  k get events -A --sort-by=.lastTimestamp 2>&1 | tail -n 40 || true
  local pod namespace
  for namespace in narthex-system kube-system; do
    for pod in $(k -n "$namespace" get pods -o name 2>/dev/null); do
      echo "---- log of $namespace $pod"
      k -n "$namespace" logs --tail=60 "$pod" 2>&1 | cut -c1-500 || true
      k -n "$namespace" logs --previous --tail=30 "$pod" 2>/dev/null | cut -c1-500 || true
    done
  done
  echo "---- components"
  "$here/lab.sh" logs 12 2>&1 || true
}

finish() {
  local code=$?
  trap - EXIT
  set +e
  client_stop
  if [ $code -ne 0 ] && [ -n "$cluster_up" ]; then evidence; fi
  if [ -n "$cluster_up" ]; then
    if [ $code -ne 0 ] && [ -n "${E2E_KEEP:-}" ]; then
      echo "the cluster stays up: KUBECONFIG=$KUBECONFIG; $here/lab.sh down ends it"
    else
      "$here/lab.sh" down || code=1
    fi
  fi
  rm -rf "$work"
  if [ $code -eq 0 ]; then
    echo "walkthrough: $steps steps ok in $((SECONDS - began)) s"
  else
    echo "walkthrough: FAILED${scenario:+ in: $scenario} after $((SECONDS - began)) s"
  fi
  exit $code
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# --- the story -------------------------------------------------------------------------------------------------------

build_narthex() {
  [ -z "${NARTHEX_BIN:-}" ] || return 0
  (cd "$root" && RUSTFLAGS="-C target-feature=+crt-static" cargo build --release --locked --target x86_64-unknown-linux-gnu)
}

make_image() {
  mkdir -p "$work/images"
  "$here/image.py" "$work/images/narthex.tar" narthex:dev --entrypoint '["/narthex"]' "$narthex=/narthex"
  du -h "$work/images/narthex.tar" | cut -f1 >&3
}

start_cluster() {
  LAB_OWNER=$$ LAB_IMAGES=$work/images "$here/lab.sh" up 2 >"$work/lab"
}

create_deployments() {
  k create deployment deploy1 --image=narthex.test/backend:1
  k create deployment deploy2 --image=narthex.test/backend:1
  k scale --replicas=3 deployment/deploy1
  k scale --replicas=3 deployment/deploy2
  k expose deployment deploy1 --port=80 --type=ClusterIP
  k expose deployment deploy2 --port=80 --type=NodePort
  rolled_out deployment/deploy1
  rolled_out deployment/deploy2
}

apply_manifests() {
  k apply -k "$root/manifests"
  rolled_out -n narthex-system daemonset/narthex
  [ "$(k -n narthex-system get daemonset narthex -o jsonpath='{.status.numberReady}')" = 2 ]
}

admin_is_ready() {
  everywhere 10 admin_answers
  local ip
  ip=$(k -n narthex-system get service narthex -o jsonpath='{.spec.clusterIP}')
  within 20 on node1 curl -sSf --max-time 5 "http://$ip:8080/readyz"
}
admin_answers() { on cp curl -sSf --max-time 5 "http://$1:8080/readyz" && on cp curl -sSf --max-time 5 "http://$1:8080/healthz"; }

refused_as_old() { ! k apply -f "$story/$1" || { echo "today's API server should not know these versions"; return 1; }; }

convert() { # FILE
  "$narthex" convert "$story/$1" >"$work/converted.yaml"
  cat "$work/converted.yaml"
  k apply -f "$work/converted.yaml"
}

both_hosts_answer() {
  everywhere 10 status_is 200 www.example.com
  everywhere 10 status_is 200 www.yolo.org
}

rotation() { # HOST APP
  local ip
  for ip in "${node_ips[@]}"; do rotates "$1" "$2" "$ip"; done
}

from_the_node_itself() {
  local n
  for n in node1 node2; do on "$n" curl -sSf --max-time 10 -H 'Host: www.example.com' http://127.0.0.1/ | grep '^deploy1-'; done
}

node_port_still_works() {
  local port ip
  port=$(k get service deploy2 -o jsonpath='{.spec.ports[0].nodePort}')
  for ip in "${node_ips[@]}"; do within 20 on cp curl -sSf --max-time 5 "http://$ip:$port/" | grep '^deploy2-'; done
}

unknown_host() {
  everywhere 10 answer_is 404 '404 page not found\n' www.yolo-donotexist.org
  grep -qi '^content-type: text/plain' "$work/head" || { cat "$work/head"; return 1; }
}

scale_to() { # N
  k scale --replicas="$1" deployment/deploy1
  rolled_out deployment/deploy1
  within 60 pods_are deploy1 "$1"
  within 15 client_sees_pods deploy1
  client_note
  client_saw '.failures == 0' || { jq -r '.first_failures[]' "$work/client.json"; return 1; }
}

new_image_rolls_out() {
  k set image deployment/deploy1 backend=narthex.test/backend:2
  rolled_out deployment/deploy1
  within 60 pods_are deploy1 "$1"
  within 15 client_sees_pods deploy1
  client_note
}

without_selector() {
  local pod ip
  pod=$(pods_of deploy2 | head -n 1)
  ip=$(k get pod "$pod" -o jsonpath='{.status.podIP}')
  sed "s/POD_IP/$ip/" "$story/no-selector.yaml" | k apply -f -
  everywhere 10 answer_is 200 "$pod\n" endpoints.example.com
  everywhere 10 answer_is 200 "$pod\n" slice.example.com
}

# The other pod is written into both by hand; the first one must get nothing more.
without_selector_edited() {
  local pod ip
  pod=$(pods_of deploy2 | tail -n 1)
  ip=$(k get pod "$pod" -o jsonpath='{.status.podIP}')
  sed "s/POD_IP/$ip/" "$story/no-selector.yaml" | k apply -f -
  everywhere 10 answer_is 200 "$pod\n" endpoints.example.com
  everywhere 10 answer_is 200 "$pod\n" slice.example.com
}

wrong_target_port() {
  k apply -f "$story/other-port.yaml"
  rolled_out deployment/other-port
  everywhere 10 status_is 502 port.example.com
}

target_port_edited() {
  k patch service other-port --type=json -p '[{"op": "replace", "path": "/spec/ports/0/targetPort", "value": 8081}]'
  everywhere 10 answer_is 200 "$(pods_of other-port)\n" port.example.com
}

# As the walkthrough does: k delete svc; k expose --port=5000 --target-port=…. Here with a named target port.
target_port_named() {
  k patch deployment other-port --type=strategic -p \
    '{"spec": {"template": {"spec": {"containers": [{"name": "backend", "ports": [{"name": "web", "containerPort": 8081}]}]}}}}'
  k delete service other-port
  k expose deployment other-port --port=5000 --target-port=web --type=ClusterIP
  rolled_out deployment/other-port
  within 60 pods_are other-port 1
  everywhere 10 answer_is 200 "$(pods_of other-port)\n" port.example.com
}

no_endpoints() {
  k scale --replicas=0 deployment/other-port
  within 60 pods_are other-port 0
  everywhere 10 answer_is 503 'no available server\n' port.example.com
}

no_service() {
  k delete service other-port
  everywhere 10 answer_is 503 'no available server\n' port.example.com
}

ingress_deleted() {
  k delete ingress other-port
  everywhere 10 answer_is 404 '404 page not found\n' port.example.com
  everywhere 10 status_is 200 www.example.com
}

class_of_another() {
  k get ingress no-selector -o json | jq 'del(.metadata) | .metadata.name = "not-ours" | .spec.ingressClassName = "someone-else"
    | .spec.rules = [.spec.rules[0] | .host = "theirs.example.com"]' | k apply -f -
  k annotate ingress no-selector e2e=touched
  everywhere 10 status_is 200 endpoints.example.com
  everywhere 10 answer_is 404 '404 page not found\n' theirs.example.com
  k delete ingress not-ours
}

narthex_rolls() {
  k -n narthex-system rollout restart daemonset/narthex
  rolled_out -n narthex-system daemonset/narthex
  within 90 old_narthexes_gone
  everywhere 10 status_is 200 www.example.com
}
old_narthexes_gone() { [ "$(k -n narthex-system get pods -o name | wc -l)" = 2 ]; }

narthex_removed() {
  k delete -k "$root/manifests" --timeout=120s
  everywhere 30 nothing_listens
}
nothing_listens() { ! on cp curl -sS --max-time 2 -o /dev/null "http://$1/"; }

# Log lines are JSON; a watch says each trouble once, and no other warning comes over and over (one of an Ingress comes
# again when its Service is in trouble again); nothing panicked or restarted.
logs_are_calm() { # NAMESPACE LABEL
  local pod lines=0 warnings=0
  for pod in $(k -n "$1" get pods -l "$2" -o name); do
    k -n "$1" logs "$pod" >"$work/log"
    jq -c . "$work/log" >/dev/null || { cat "$work/log"; return 1; }
    jq -r 'select(.level == "WARN" or .level == "ERROR") | del(.timestamp) | tojson' "$work/log" >"$work/warnings"
    if [ -n "$(grep '"watch":' "$work/warnings" | sort | uniq -d)" ] || grep -i panic "$work/log" ||
      sort "$work/warnings" | uniq -c | awk '$1 > 3 { bad = 1 } END { exit !bad }'; then
      echo "$pod says the same over and over, or panicked:"
      cat "$work/log"
      return 1
    fi
    lines=$((lines + $(wc -l <"$work/log"))) warnings=$((warnings + $(wc -l <"$work/warnings")))
  done
  [ "$lines" -gt 0 ] || { echo "no log at all"; return 1; }
  [ "$(k -n "$1" get pods -l "$2" -o json | jq '[.items[].status.containerStatuses[].restartCount] | add')" = 0 ] ||
    { k -n "$1" get pods -l "$2"; return 1; }
  echo "$lines lines, $warnings warnings" >&3
}

# As someone has it who wrote today's API groups into the old RBAC, and no more.
rights_of_2020() {
  k get clusterrole traefik-ingress-controller -o json | jq 'del(.metadata.resourceVersion, .metadata.uid)
    | .rules |= map(select(.apiGroups != ["discovery.k8s.io"]) | .resources -= ["ingressclasses"])' | k replace -f -
  k -n kube-system rollout restart daemonset/traefik-ingress-controller
  rolled_out -n kube-system daemonset/traefik-ingress-controller
  both_hosts_answer
  k scale --replicas=4 deployment/deploy1
  rolled_out deployment/deploy1
  within 60 pods_are deploy1 4
  local ip
  for ip in "${node_ips[@]}"; do within 20 rotates www.example.com deploy1 "$ip"; done
}

denied_is_said() {
  local pod ip rule
  for rule in '"discovery.k8s.io"\], resources: \["endpointslices"' '"networking.k8s.io"\], resources: \["ingressclasses"'; do
    for pod in $(k -n kube-system get pods -l name=traefik-ingress-lb -o name); do
      k -n kube-system logs "$pod" >"$work/log"
      [ "$(jq -r .message "$work/log" | grep -c "forbidden: add to the ClusterRole: {apiGroups: \[$rule")" = 1 ] ||
        { echo "$pod does not say once: $rule"; cat "$work/log"; return 1; }
    done
    for ip in "${node_ips[@]}"; do
      on cp curl -sSf --max-time 5 "http://$ip:8080/readyz" | grep "forbidden: add to the ClusterRole: {apiGroups: \[$rule" ||
        { on cp curl -sS --max-time 5 "http://$ip:8080/readyz"; return 1; }
    done
  done
  on cp curl -sSf --max-time 5 "http://$ip:8080/readyz" | grep '^endpoints (required): synced, live'
}

old_daemonset() {
  k apply -f "$story/traefik-ds.yaml"
  rolled_out -n kube-system daemonset/traefik-ingress-controller
}

# --------------------------------------------------------------------------------------------------------------------

title "Preparing"
step "packages" "$here/deps.sh"
step "Kubernetes binaries" "$here/kube-binaries.sh"
step "build narthex" build_narthex
narthex=${NARTHEX_BIN:-$root/target/x86_64-unknown-linux-gnu/release/narthex}
step "make its image without Docker" make_image
cluster_up=1
step "start two nodes" start_cluster
LAB=''; CP_NETNS=''; NODE_IPS=''; KUBECONFIG=''
while IFS='=' read -r key value; do
  case $key in LAB | CP_NETNS | NODE_IPS | KUBECONFIG) printf -v "$key" %s "$value" ;; esac
done <"$work/lab"
export LAB
IFS=, read -ra node_ips <<<"$NODE_IPS"

title "narthex as it is installed today"
step "deploy1 and deploy2, three pods each, exposed" create_deployments
step "kubectl apply -k manifests: a narthex on each node" apply_manifests
step "admin answers on each node and through its Service" admin_is_ready
step "the rule of 2020 is unknown to this API server" refused_as_old ingress.rule.yaml
step "narthex convert makes it today's" convert ingress.rule.yaml
step "www.example.com and www.yolo.org answer at each node's address" both_hosts_answer
step "www.example.com rotates over deploy1's three pods" rotation www.example.com deploy1
step "www.yolo.org rotates over deploy2's three pods" rotation www.yolo.org deploy2
step "and on a node, at 127.0.0.1" from_the_node_itself
step "NodePort still works beside it" node_port_still_works
step "an unknown host: 404 page not found" unknown_host

title "Changes under load"
client_start www.example.com
step "a client asks both nodes" within 15 client_saw '.requests > 50'
step "deploy1 from 3 to 6 pods" scale_to 6
step "from 6 to 2" scale_to 2
step "a new image, pod by pod" new_image_rolls_out 2
client_stop
step "no request failed meanwhile" client_had_no_failure

title "Services of other kinds"
step "Services without selector: Endpoints and EndpointSlice by hand" without_selector
step "and edited by hand" without_selector_edited
step "a targetPort nobody listens on: 502" wrong_target_port
step "targetPort corrected" target_port_edited
step "a Service made anew, with a named targetPort" target_port_named
step "a Service without endpoints: 503 no available server" no_endpoints
step "a Service that is gone: 503, and the path is kept" no_service
step "an Ingress of another class is not touched" class_of_another
step "an Ingress that is gone: 404" ingress_deleted

step "what the pods of narthex log" logs_are_calm narthex-system app.kubernetes.io/name=narthex

title "narthex itself is replaced"
client_start www.example.com
step "a client asks both nodes" within 15 client_saw '.requests > 50'
step "kubectl rollout restart daemonset/narthex" narthex_rolls
client_stop
step "no request failed during the update" client_had_no_failure
step "kubectl delete -k manifests" narthex_removed

title "The walkthrough of 2020, only the image changed"
step "its RBAC is unknown to this API server" refused_as_old ingress.rbac.yaml
step "its RBAC through narthex convert" convert ingress.rbac.yaml
step "its DaemonSet as it is, in kube-system" old_daemonset
step "its rule through narthex convert" convert ingress.rule.yaml
step "www.example.com and www.yolo.org answer at each node's address" both_hosts_answer
step "www.example.com rotates over deploy1's pods" rotation www.example.com deploy1
step "www.yolo.org rotates over deploy2's pods" rotation www.yolo.org deploy2
step "an unknown host: 404 page not found" unknown_host
step "without the rights that are new since 2020: Endpoints are read" rights_of_2020
step "log and /readyz say what to add to the ClusterRole" denied_is_said
step "what its pods log" logs_are_calm kube-system name=traefik-ingress-lb
