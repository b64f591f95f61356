#!/bin/bash
# lab.sh: real Kubernetes on this machine, in two sizes.
#
#   lab.sh apiserver-up            etcd + kube-apiserver on free ports of 127.0.0.1. No root. Ready in about 6 s.
#   lab.sh apiserver-stop [-9]     stops the API server (etcd goes on); -9 kills it
#   lab.sh apiserver-start         starts it again on the same port
#   lab.sh apiserver-compact       compacts etcd to its current revision (a watch from before gets 410 after a restart)
#   lab.sh apiserver-save NAME     copies etcd's data; both are stopped and started for it
#   lab.sh apiserver-restore NAME  puts that copy back: resourceVersions go backwards, as after a restored backup
#   lab.sh apiserver-down          stops everything and removes $LAB
#
#   lab.sh up [N]                  a cluster of N nodes (default 2): control plane in network namespace nx-cp, nodes in
#                                  nx-node1.. with containerd, kubelet and kube-proxy. Root. Ready in about 15 s.
#   lab.sh load IMAGE.tar...       imports images into every node
#   lab.sh exec cp|nodeN CMD...    runs a command in a namespace of the lab
#   lab.sh down                    stops everything, removes namespaces, mounts, cgroups and $LAB
#
#   lab.sh kubectl ARGS...         kubectl as admin, in the right namespace
#   lab.sh logs [LINES]            the end of every component's log
#
# `up` and `apiserver-up` print lines a program can read, and nothing else, on stdout:
#   LAB=/tmp/narthex-lab/abc           the lab's folder: pass it to the other commands as environment variable LAB
#   KUBECONFIG=$LAB/admin.conf         user admin, group system:masters
#   KUBECTL=/path/to/kubectl
# apiserver-up also
#   SERVER=https://127.0.0.1:PORT
#   KUBECONFIG_NARTHEX=…/narthex.conf  a plain user `narthex` without any right: for tests of RBAC (RBAC is on)
#   KUBECONFIG_NOBODY=…/nobody.conf    a second one
#   KUBECONFIG_SERVICEACCOUNT=…/narthex-sa.conf
#                                      system:serviceaccount:narthex-system:narthex, who gets what rbac/ grants
# and up
#   CP_NETNS=nx-cp                     namespace to run clients in: nsenter --net=/run/netns/nx-cp curl …
#   NODE_IPS=10.77.0.11,10.77.0.12
# Kubeconfigs hold everything they need (CA and token) and no path. On failure: exit code 1, the end of the failing
# component's log on stderr, and nothing left behind.
#
# Environment
#   LAB          the lab's folder. Default: a new one under /tmp/narthex-lab for the up commands; the cluster that is
#                up for the others.
#   LAB_PREFIX   names of namespaces and cgroups (default nx): a second cluster can stand beside the first.
#   LAB_OWNER    pid of the script that uses the cluster. When that process is gone, the next `up` takes the cluster for
#                a left-over and clears it away; a cluster without owner is only cleared if its processes are dead, or
#                with LAB_FORCE=1.
#   LAB_KEEP=1   after a failing up, leave everything as it is; after a down, keep $LAB/logs.
#   LAB_IMAGES   more image tars (a folder) for every node. The test images are always built and loaded.
#   LAB_APISERVER_FLAGS  more flags for kube-apiserver.
#
# Processes are stopped by pid (with start time, as pids come again), or because they live in a network namespace or
# cgroup made here; never by name. Notes on what bites on such machines: tests/cluster/README.md.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
PATH=$PATH:/usr/sbin:/sbin
umask 022
prefix=${LAB_PREFIX:-nx}
registry=/run/narthex-lab/$prefix
cp_ip=10.77.0.1
service_net=10.96.0
pod_net=10.244
failing=

say() { echo "lab: $*" >&2; }
die() { say "$*"; exit 1; }
node_ip() { echo "10.77.0.$((10 + $1))"; }
ns() { nsenter --net="/run/netns/$prefix-$1" "${@:2}"; }

# --- processes -------------------------------------------------------------------------------------------------------

# The start time of a process in clock ticks: with its pid, the process's identity. Empty if it is gone or a zombie.
born() {
  local stat
  { stat=$(<"/proc/$1/stat"); } 2>/dev/null || return 0
  stat=${stat##*) }
  [ "${stat:0:1}" != Z ] || return 0
  cut -d' ' -f20 <<<"$stat"
}

is_running() { [ -n "${1:-}" ] && [ -n "${2:-}" ] && [ "$(born "$1")" = "$2" ]; }

# background NAME CMD...: starts a component of its own session, its output in logs/NAME.log.
background() {
  local name=$1 pid
  shift
  setsid "$@" >>"$LAB/logs/$name.log" 2>&1 </dev/null 8>&- 9>&- &
  pid=$!
  echo "$pid $(born "$pid")" >"$LAB/pids/$name"
}

running() {
  local pid start
  [ -f "$LAB/pids/$1" ] && read -r pid start <"$LAB/pids/$1" && is_running "$pid" "$start"
}

signal() { # SIGNAL NAME
  local pid start
  if [ -f "$LAB/pids/$2" ] && read -r pid start <"$LAB/pids/$2" && is_running "$pid" "$start"; then
    kill "-$1" "$pid" 2>/dev/null || true
  fi
}

# stop SECONDS NAME...: TERM to all, KILL to those who are still there after that time; returns when all are gone.
stop() {
  local patience=$1 name deadline
  shift
  for name; do signal TERM "$name"; done
  deadline=$((SECONDS + patience))
  for name; do
    while running "$name" && [ $SECONDS -lt $deadline ]; do sleep 0.05; done
    while running "$name"; do signal KILL "$name"; sleep 0.05; done
    rm -f "$LAB/pids/$name"
  done
}

log_tail() { # NAME [LINES]
  local log=$LAB/logs/$1.log
  [ -s "$log" ] || { say "($1 wrote no log)"; return 0; }
  { echo "--- the end of $log"; tail -n "${2:-25}" "$log" | cut -c1-600; echo "---"; } >&2
}

# wait_for SECONDS COMPONENT WHAT CMD...: until CMD succeeds. Gives up at once when the component has died.
wait_for() {
  local patience=$1 component=$2 what=$3 deadline=$((SECONDS + $1))
  shift 3
  failing=$component
  until "$@" >/dev/null 2>&1; do
    if [ -f "$LAB/pids/$component" ] && ! running "$component"; then
      say "$component ended while waiting: $what"
      return 1
    fi
    if [ $SECONDS -ge $deadline ]; then
      say "not within $patience s: $what"
      return 1
    fi
    sleep 0.1
  done
  failing=
}

# --- the lab's folder ------------------------------------------------------------------------------------------------

new_lab() { # KIND
  if [ -z "${LAB:-}" ]; then
    mkdir -p /tmp/narthex-lab
    [ ! -O /tmp/narthex-lab ] || chmod 1777 /tmp/narthex-lab
    LAB=$(mktemp -d /tmp/narthex-lab/XXXXXX)
  fi
  mkdir -p "$LAB"
  LAB=$(cd "$LAB" && pwd -P)
  if [ -e "$LAB/.narthex-lab" ]; then
    local name
    for name in "$LAB"/pids/*; do
      ! running "${name##*/}" || die "$LAB is in use (${name##*/} runs); LAB=$LAB lab.sh down first"
    done
    remove_lab
    mkdir -p "$LAB"
  elif [ -n "$(ls -A "$LAB")" ]; then
    die "$LAB is not empty and not a lab"
  fi
  chmod 755 "$LAB"
  mkdir -p "$LAB"/{pids,logs,pki}
  echo "$1" >"$LAB/.narthex-lab"
}

remove_lab() {
  [ -f "$LAB/.narthex-lab" ] || return 0
  if awk -v l="$LAB/" 'index($2, l) == 1 { found = 1 } END { exit !found }' /proc/self/mounts; then
    say "something is still mounted below $LAB; it stays"
    return 1
  fi
  if [ -n "${LAB_KEEP:-}" ]; then
    find "$LAB" -mindepth 1 -maxdepth 1 ! -name logs -exec rm -rf --one-file-system {} +
    say "logs are kept in $LAB/logs"
  else
    rm -rf --one-file-system "$LAB"
  fi
}

# The lab the command is about: $LAB, or the cluster that is up.
find_lab() {
  if [ -z "${LAB:-}" ] && [ -f "$registry" ]; then read -r LAB _ <"$registry"; fi
  [ -n "${LAB:-}" ] || die "which lab? Set LAB (no cluster is up)"
  [ -f "$LAB/.narthex-lab" ] || die "$LAB is not a lab"
  LAB=$(cd "$LAB" && pwd -P)
}

kind() { cat "$LAB/.narthex-lab"; }

binaries() { # NAME...: sets bin
  bin=$("$here/kube-binaries.sh" "$@")
}

# --- identities ------------------------------------------------------------------------------------------------------

pki() { # SAN, and the token file on stdin
  local ec=(-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes) p=$LAB/pki
  (
    umask 077
    openssl req -x509 "${ec[@]}" -keyout "$p/ca.key" -out "$p/ca.crt" -subj /CN=narthex-lab-ca -days 30
    openssl req "${ec[@]}" -keyout "$p/api.key" -out "$p/api.csr" -subj /CN=kube-apiserver
    echo "subjectAltName=$1" >"$p/san"
    openssl x509 -req -in "$p/api.csr" -CA "$p/ca.crt" -CAkey "$p/ca.key" -CAcreateserial -out "$p/api.crt" -days 30 -extfile "$p/san"
    openssl genrsa -out "$p/sa.key" 2048
    openssl rsa -in "$p/sa.key" -pubout -out "$p/sa.pub"
  ) >"$LAB/logs/pki.log" 2>&1 || { failing=pki; return 1; }
  cat >"$p/tokens.csv"
}

kubeconfig() { # NAME TOKEN SERVER
  cat >"$LAB/$1.conf" <<EOF
apiVersion: v1
kind: Config
clusters: [{name: lab, cluster: {server: "$3", certificate-authority-data: $(base64 -w0 "$LAB/pki/ca.crt")}}]
users: [{name: $1, user: {token: $2}}]
contexts: [{name: lab, context: {cluster: lab, user: $1}}]
current-context: lab
EOF
}

kubectl() {
  local enter=()
  [ "$(kind)" != cluster ] || enter=(nsenter "--net=/run/netns/$prefix-cp")
  KUBECACHEDIR=$LAB/kubectl-cache "${enter[@]}" "$bin/kubectl" --kubeconfig="$LAB/admin.conf" "$@"
}

# --- etcd and the API server, in either size -------------------------------------------------------------------------

start_etcd() { # CLIENT_PORT PEER_PORT [ENTER...]
  local client=http://127.0.0.1:$1 peer=http://127.0.0.1:$2
  shift 2
  background etcd "$@" etcd --name lab --data-dir "$LAB/etcd" --unsafe-no-fsync --log-level=warn \
    --listen-client-urls "$client" --advertise-client-urls "$client" \
    --listen-peer-urls "$peer" --initial-advertise-peer-urls "$peer" --initial-cluster "lab=$peer"
  wait_for 30 etcd "etcd answers on $client" "$@" curl -sf --max-time 2 "$client/health"
}

start_api() { # ETCD_PORT PORT BIND ADVERTISE MODES -- [ENTER...] -- [FLAG...]
  local etcd=$1 port=$2 bind=$3 advertise=$4 modes=$5 enter=() extra=()
  shift 6
  while [ "$1" != -- ]; do enter+=("$1"); shift; done
  shift
  read -ra extra <<<"${LAB_APISERVER_FLAGS:-}"
  background kube-apiserver "${enter[@]}" "$bin/kube-apiserver" \
    --etcd-servers="http://127.0.0.1:$etcd" --secure-port="$port" --bind-address="$bind" --advertise-address="$advertise" \
    --cert-dir="$LAB/pki" --tls-cert-file="$LAB/pki/api.crt" --tls-private-key-file="$LAB/pki/api.key" --client-ca-file="$LAB/pki/ca.crt" \
    --service-account-key-file="$LAB/pki/sa.pub" --service-account-signing-key-file="$LAB/pki/sa.key" \
    --service-account-issuer=https://kubernetes.default.svc --service-cluster-ip-range="$service_net.0/16" \
    --authorization-mode="$modes" --token-auth-file="$LAB/pki/tokens.csv" --allow-privileged=true \
    "$@" "${extra[@]}"
  # /readyz also waits for the bootstrap of RBAC and priority classes: a test that starts here finds them.
  wait_for 90 kube-apiserver "the API server is ready" "${enter[@]}" \
    curl -sf --max-time 5 --cacert "$LAB/pki/ca.crt" -H 'Authorization: Bearer admin' "https://$advertise:$port/readyz"
}

# --- API server only -------------------------------------------------------------------------------------------------

read_ports() { read -r etcd_port peer_port api_port <"$LAB/ports"; }

local_etcd() { read_ports && start_etcd "$etcd_port" "$peer_port"; }

# The address in a Service's Endpoints must not be a loopback one, so the one of `kubernetes` is not written.
local_api() {
  read_ports
  start_api "$etcd_port" "$api_port" 127.0.0.1 127.0.0.1 RBAC -- -- --endpoint-reconciler-type=none
}

apiserver_up() {
  binaries kube-apiserver kubectl
  "$here/deps.sh" apiserver
  new_lab apiserver
  trap 'failed apiserver_stop_all' EXIT
  python3 - >"$LAB/ports" <<'EOF'
import socket
sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
print(*(s.getsockname()[1] for s in sockets))
EOF
  read_ports
  local server=https://127.0.0.1:$api_port user
  pki "IP:127.0.0.1,DNS:localhost,DNS:kubernetes.default.svc" <<'EOF'
admin,admin,admin,"system:masters"
narthex,narthex,narthex
nobody,nobody,nobody
narthex-sa,system:serviceaccount:narthex-system:narthex,narthex-sa,"system:serviceaccounts,system:serviceaccounts:narthex-system"
EOF
  for user in admin narthex nobody narthex-sa; do kubeconfig "$user" "$user" "$server"; done
  local_etcd
  local_api
  wait_for 30 kube-apiserver "namespace default is there" kubectl get namespace default
  trap - EXIT
  cat <<EOF
LAB=$LAB
KUBECONFIG=$LAB/admin.conf
KUBECTL=$bin/kubectl
SERVER=$server
KUBECONFIG_NARTHEX=$LAB/narthex.conf
KUBECONFIG_NOBODY=$LAB/nobody.conf
KUBECONFIG_SERVICEACCOUNT=$LAB/narthex-sa.conf
EOF
}

apiserver_stop_all() { stop 5 kube-apiserver etcd; }

apiserver_stop() {
  find_lab
  if [ "${1:-}" = -9 ]; then stop 0 kube-apiserver; else stop 15 kube-apiserver; fi
}

apiserver_start() {
  find_lab
  binaries kube-apiserver kubectl
  ! running kube-apiserver || die "kube-apiserver is running"
  local_api
}

apiserver_compact() {
  find_lab
  read_ports
  local url=http://127.0.0.1:$etcd_port revision
  revision=$(curl -sf "$url/v3/kv/range" -d '{"key": "AA==", "limit": "1"}' | jq -r .header.revision)
  curl -sf "$url/v3/kv/compaction" -d "{\"revision\": \"$revision\", \"physical\": true}" >/dev/null
  echo "$revision"
}

apiserver_save() {
  find_lab
  local copy=$LAB/saved-${1:?apiserver-save NAME}
  binaries kube-apiserver kubectl
  stop 10 kube-apiserver
  stop 10 etcd
  rm -rf "$copy"
  cp -a "$LAB/etcd" "$copy"
  local_etcd
  local_api
}

apiserver_restore() {
  find_lab
  local copy=$LAB/saved-${1:?apiserver-restore NAME}
  [ -d "$copy" ] || die "there is no $copy"
  binaries kube-apiserver kubectl
  stop 10 kube-apiserver
  stop 10 etcd
  rm -rf "$LAB/etcd"
  cp -a "$copy" "$LAB/etcd"
  local_etcd
  local_api
}

apiserver_down() {
  find_lab
  [ "$(kind)" = apiserver ] || die "$LAB is a cluster: use down"
  apiserver_stop_all
  remove_lab
}

# --- cluster ---------------------------------------------------------------------------------------------------------

# Every cgroup hierarchy of this machine: one on cgroup v2, one per controller on v1 and hybrid ones.
hierarchies() { awk '$3 ~ /^cgroup2?$/ && index($2, "/sys/fs/cgroup") == 1 { print $2 }' /proc/self/mounts; }

make_cgroups() { # NAME
  local root file
  while read -r root; do
    [ "$root" != /sys/fs/cgroup ] ||
      for file in cpuset cpu io memory pids; do echo "+$file" >/sys/fs/cgroup/cgroup.subtree_control 2>/dev/null || true; done
    mkdir -p "$root/$1"
    for file in cpuset.cpus cpuset.mems; do
      [ ! -f "$root/$file" ] || [ "$root" = /sys/fs/cgroup ] || cat "$root/$file" >"$root/$1/$file"
    done
  done < <(hierarchies)
}

cgroup_pids() { # NAME
  local root
  while read -r root; do
    [ ! -d "$root/$1" ] || find "$root/$1" -name cgroup.procs -exec cat {} + 2>/dev/null || true
  done < <(hierarchies) | sort -un
}

remove_cgroups() { # NAME
  local root
  while read -r root; do
    [ ! -d "$root/$1" ] || find "$root/$1" -depth -type d -exec rmdir {} + 2>/dev/null || true
  done < <(hierarchies)
}

network() { # N
  local i j n
  ip netns add "$prefix-cp"
  ns cp ip link set lo up
  ns cp ip link add br0 type bridge
  ns cp ip addr add "$cp_ip/24" dev br0
  ns cp ip link set br0 up
  for i in $(seq "$1"); do
    n=node$i
    ip netns add "$prefix-$n"
    ip link add eth0 netns "$prefix-$n" type veth peer name "$n" netns "$prefix-cp"
    ns cp ip link set "$n" master br0 up
    ns "$n" ip link set lo up
    ns "$n" ip addr add "$(node_ip "$i")/24" dev eth0
    ns "$n" ip link set eth0 up
    ns "$n" ip route add default via "$cp_ip"
    ns "$n" sysctl -qw net.ipv4.ip_forward=1
    ns cp ip route add "$pod_net.$((i - 1)).0/24" via "$(node_ip "$i")"
    for j in $(seq "$1"); do
      [ "$j" = "$i" ] || ns "$n" ip route add "$pod_net.$((j - 1)).0/24" via "$(node_ip "$j")"
    done
  done
}

node_files() { # I
  local i=$1 n=node$1 d=$LAB/node$1
  mkdir -p "$d/cni"
  cat >"$d/cni/10-lab.conflist" <<EOF
{"cniVersion": "0.4.0", "name": "lab", "plugins": [
  {"type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": false, "ipam": {
    "type": "host-local", "ranges": [[{"subnet": "$pod_net.$((i - 1)).0/24"}]], "dataDir": "$d/ipam", "routes": [{"dst": "0.0.0.0/0"}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}
EOF
  # restrict_oom_score_adj: where lowering oom_score_adj is not allowed, runc would die without it.
  # netns_mounts_under_state_dir: pods' namespaces lie in our folder, and teardown finds them there.
  cat >"$d/containerd.toml" <<EOF
version = 2
root = "$d/ctd"
state = "$d/run"
[grpc]
  address = "$d/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "narthex.test/pause:1"
  restrict_oom_score_adj = true
  disable_apparmor = true
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "$d/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = false
EOF
  # failCgroupV1, cgroupDriver, enforceNodeAllocatable: for cgroup v1 and hybrid machines.
  cat >"$d/kubelet.yaml" <<EOF
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {anonymous: {enabled: true}, webhook: {enabled: false}}
authorization: {mode: AlwaysAllow}
cgroupDriver: cgroupfs
cgroupRoot: /narthex-lab-$prefix-$n
cgroupsPerQOS: true
enforceNodeAllocatable: []
failCgroupV1: false
failSwapOn: false
containerRuntimeEndpoint: unix://$d/containerd.sock
evictionHard: {nodefs.available: "1%", imagefs.available: "1%", memory.available: "100Mi"}
imageGCHighThresholdPercent: 100
podLogsDir: $d/podlogs
volumePluginDir: $d/volume-plugins
clusterDNS: []
resolvConf: ""
nodeStatusUpdateFrequency: 4s
syncFrequency: 5s
EOF
}

load_into() { # NODE TAR...
  local socket=$LAB/$1/containerd.sock tar
  shift
  for tar; do ctr -a "$socket" -n k8s.io images import "$tar"; done
}

nodes() { local d; for d in "$LAB"/node*/; do [ -d "$d" ] && basename "$d"; done; }

nodes_ready() { # N
  [ "$(kubectl get nodes -o json | jq '[.items[].status.conditions[] | select(.type == "Ready" and .status == "True")] | length')" = "$1" ]
}

up() {
  local count=${1:-2} i n server=https://$cp_ip:6443 ips=() start=$SECONDS enter=(nsenter "--net=/run/netns/$prefix-cp")
  [[ $count =~ ^[1-9]$ ]] || die "up N: N from 1 to 9"
  [ "$(id -u)" = 0 ] || die "a cluster takes root (network namespaces, containers); apiserver-up does not"
  "$here/deps.sh"
  binaries
  mkdir -p "${registry%/*}"
  exec 9>"$registry.lock"
  flock 9
  clear_leftovers
  new_lab cluster
  trap 'failed cluster_stop_all' EXIT
  echo "$LAB ${LAB_OWNER:-0} $(born "${LAB_OWNER:-0}")" >"$registry"
  "$here/images/build.sh" "$LAB/images" >"$LAB/logs/images.log" 2>&1 || { failing=images; return 1; }
  [ -z "${LAB_IMAGES:-}" ] || cp "$LAB_IMAGES"/*.tar "$LAB/images/"
  pki "IP:$cp_ip,IP:$service_net.1,IP:127.0.0.1,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc" < <(
    echo 'admin,admin,admin,"system:masters"'
    for n in kube-controller-manager kube-scheduler kube-proxy; do echo "$n,system:$n,$n"; done
    for i in $(seq "$count"); do echo "node$i,system:node:node$i,node$i,\"system:nodes\""; done)
  for n in admin kube-controller-manager kube-scheduler kube-proxy; do kubeconfig "$n" "$n" "$server"; done

  network "$count"
  for i in $(seq "$count"); do # containerds first: they start while etcd does
    node_files "$i"
    make_cgroups "narthex-lab-$prefix-node$i"
    background "containerd-node$i" nsenter "--net=/run/netns/$prefix-node$i" containerd -c "$LAB/node$i/containerd.toml"
    ips+=("$(node_ip "$i")")
  done
  start_etcd 2379 2380 "${enter[@]}"
  start_api 2379 6443 0.0.0.0 "$cp_ip" Node,RBAC -- "${enter[@]}" -- \
    --enable-admission-plugins=NodeRestriction --kubelet-preferred-address-types=InternalIP
  background kube-controller-manager "${enter[@]}" "$bin/kube-controller-manager" --kubeconfig="$LAB/kube-controller-manager.conf" \
    --service-account-private-key-file="$LAB/pki/sa.key" --root-ca-file="$LAB/pki/ca.crt" --use-service-account-credentials=true \
    --allocate-node-cidrs=true --cluster-cidr="$pod_net.0.0/16" --leader-elect=false --node-monitor-grace-period=20s
  background kube-scheduler "${enter[@]}" "$bin/kube-scheduler" --kubeconfig="$LAB/kube-scheduler.conf" --leader-elect=false
  for i in $(seq "$count"); do
    n=node$i
    wait_for 30 "containerd-$n" "containerd of $n answers" ctr -a "$LAB/$n/containerd.sock" version
    failing=load-$n
    load_into "$n" "$LAB"/images/*.tar >"$LAB/logs/load-$n.log" 2>&1
    failing=
    kubeconfig "$n" "$n" "$server"
    background "kubelet-$n" nsenter "--net=/run/netns/$prefix-$n" "$bin/kubelet" --config="$LAB/$n/kubelet.yaml" \
      --kubeconfig="$LAB/$n.conf" --root-dir="$LAB/$n/kubelet" --hostname-override="$n" --node-ip="$(node_ip "$i")" --cert-dir="$LAB/$n/pki"
    background "kube-proxy-$n" nsenter "--net=/run/netns/$prefix-$n" "$bin/kube-proxy" --kubeconfig="$LAB/kube-proxy.conf" \
      --hostname-override="$n" --proxy-mode=iptables --cluster-cidr="$pod_net.0.0/16" --conntrack-max-per-core=0
  done
  wait_for 90 kubelet-node1 "$count nodes are Ready" nodes_ready "$count"
  # Pods of a namespace are refused until the controller manager has made its service account.
  wait_for 30 kube-controller-manager "the default service account is there" kubectl get serviceaccount default
  trap - EXIT
  say "$count nodes Ready after $((SECONDS - start)) s"
  cat <<EOF
LAB=$LAB
KUBECONFIG=$LAB/admin.conf
KUBECTL=$bin/kubectl
CP_NETNS=$prefix-cp
NODE_IPS=$(IFS=,; echo "${ips[*]}")
EOF
}

# What an earlier run of ours left: its processes, namespaces, mounts and cgroups. A cluster in use is not touched.
clear_leftovers() {
  local old='' owner='' start='' name pid pid_start
  [ ! -f "$registry" ] || read -r old owner start <"$registry" || true
  if [ -n "$old" ] && [ -z "${LAB_FORCE:-}" ]; then
    if is_running "$owner" "$start"; then
      die "the cluster in $old is in use by process $owner (LAB_PREFIX=other gives a second one)"
    fi
    if [ "$owner" = 0 ]; then
      for name in "$old"/pids/*; do
        if [ -f "$name" ] && read -r pid pid_start <"$name" && is_running "$pid" "$pid_start"; then
          die "a cluster is up in $old; 'lab.sh down' first, or LAB_FORCE=1"
        fi
      done
    fi
  fi
  if [ -z "$old" ] && ! compgen -G "/run/netns/$prefix-*" >/dev/null; then return 0; fi
  say "clearing what an earlier run left${old:+ ($old)}"
  local LAB=${old:-/nonexistent}
  cluster_stop_all
  remove_lab
}

# kill_all PIDS...: of processes that live in a namespace or cgroup of ours. Waits until they are gone.
kill_all() {
  local pid deadline=$((SECONDS + 10))
  for pid; do kill -9 "$pid" 2>/dev/null || true; done
  for pid; do
    while [ -n "$(born "$pid")" ] && [ $SECONDS -lt $deadline ]; do sleep 0.05; done
  done
}

in_namespaces() { # PATH...: the pids in these network namespaces
  local f
  for f; do [ ! -e "$f" ] || ip netns pids "${f##*/}" 2>/dev/null || true; done
}

# Kubelets first, so that nothing is started again; then what they started; then the rest. Works on a half-made cluster
# and on one whose folder is gone. Every step is repeatable.
cluster_stop_all() {
  local f n mount names=()
  for f in "$LAB"/pids/kubelet-* "$LAB"/pids/kube-proxy-*; do [ ! -f "$f" ] || names+=("${f##*/}"); done
  stop 3 "${names[@]}"
  names=()
  for f in /sys/fs/cgroup/{,*/}narthex-lab-"$prefix"-node*; do [ ! -d "$f" ] || names+=("${f##*/}"); done
  for n in $(printf '%s\n' "${names[@]}" | sort -u); do
    # shellcheck disable=SC2046
    kill_all $(cgroup_pids "$n")
  done
  # Shims leave addresses under /run/containerd/s which only they would remove.
  find "$LAB"/node*/run/io.containerd.runtime.v2.task -name address -exec cat {} + 2>/dev/null |
    grep -oE '/run/containerd/s/[0-9a-f]{64}' | xargs -r rm -f || true
  for _ in 1 2 3; do # a process can start another one while we look
    # shellcheck disable=SC2046
    kill_all $(in_namespaces "/run/netns/$prefix"-node*)
  done
  names=()
  for f in "$LAB"/pids/*; do [ ! -f "$f" ] || names+=("${f##*/}"); done
  stop 5 "${names[@]}"
  # shellcheck disable=SC2046
  kill_all $(in_namespaces "/run/netns/$prefix-cp")
  for _ in 1 2 3; do
    awk -v l="$LAB/" 'index($2, l) == 1 { print $2 }' /proc/self/mounts | tac | while read -r mount; do
      umount "$mount" 2>/dev/null || umount -l "$mount" 2>/dev/null || true
    done
  done
  for n in $(printf '%s\n' /sys/fs/cgroup/{,*/}narthex-lab-"$prefix"-node* | sed 's|.*/||' | sort -u); do
    remove_cgroups "$n"
  done
  for f in /run/netns/"$prefix"-cp /run/netns/"$prefix"-node*; do [ ! -e "$f" ] || ip netns del "${f##*/}" || true; done
  # The kubelet's links to pod logs: the one path of it that cannot be configured.
  find /var/log/containers -maxdepth 1 -lname "$LAB/*" -delete 2>/dev/null || true
  rmdir /var/log/containers 2>/dev/null || true
  if [ -f "$registry" ] && [ "$(cut -d' ' -f1 "$registry")" = "$LAB" ]; then rm -f "$registry"; fi
}

down() {
  if [ -z "${LAB:-}" ] && [ ! -f "$registry" ]; then
    compgen -G "/run/netns/$prefix-*" >/dev/null || { say "no cluster is up"; return 0; }
    LAB=/nonexistent
  else
    find_lab
    [ "$(kind)" = cluster ] || die "$LAB is an API server only: use apiserver-down"
  fi
  mkdir -p "${registry%/*}"
  exec 9>"$registry.lock"
  flock 9
  cluster_stop_all
  remove_lab
}

load() {
  find_lab
  local n
  for n in $(nodes); do load_into "$n" "$@"; done
}

# --- ends of the story -----------------------------------------------------------------------------------------------

# EXIT trap of the up commands: they come here only when something failed or a signal came.
failed() {
  local code=$?
  trap - EXIT
  [ -z "$failing" ] || log_tail "$failing"
  if [ -n "${LAB_KEEP:-}" ]; then
    say "failed; everything is left as it is in $LAB"
  else
    say "failed; clearing away"
    "$1" || true
    remove_lab || true
  fi
  [ $code -ne 0 ] || code=1
  exit $code
}
trap 'exit 130' INT
trap 'exit 143' TERM HUP

case ${1:-} in
  up) up "${@:2}" ;;
  down) down ;;
  load) load "${@:2}" ;;
  exec) find_lab; ns "${@:2}" ;;
  apiserver-up) apiserver_up ;;
  apiserver-stop) apiserver_stop "${@:2}" ;;
  apiserver-start) apiserver_start ;;
  apiserver-compact) apiserver_compact ;;
  apiserver-save) apiserver_save "${@:2}" ;;
  apiserver-restore) apiserver_restore "${@:2}" ;;
  apiserver-down) apiserver_down ;;
  kubectl) find_lab; binaries kubectl; kubectl "${@:2}" ;;
  logs) find_lab; for f in "$LAB"/logs/*.log; do f=${f##*/}; log_tail "${f%.log}" "${2:-25}"; done ;;
  *) sed -n '2,/^set -euo/{/^set/d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}" >&2; exit 2 ;;
esac
