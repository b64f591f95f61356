# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154 # variables shared with lab.sh
# Of lab.sh: the cluster. Sourced, not run.

# --- cluster --------------------------------------------------------------------------------------------------------

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

cluster_etcd() { start_etcd 2379 2380 nsenter "--net=/run/netns/$prefix-cp"; }

cluster_api() {
  start_api 2379 6443 0.0.0.0 "$cp_ip" Node,RBAC -- nsenter "--net=/run/netns/$prefix-cp" -- \
    --enable-admission-plugins=NodeRestriction --kubelet-preferred-address-types=InternalIP
}

controllers() {
  local enter=(nsenter "--net=/run/netns/$prefix-cp")
  background kube-controller-manager "${enter[@]}" "$bin/kube-controller-manager" --kubeconfig="$LAB/kube-controller-manager.conf" \
    --service-account-private-key-file="$LAB/pki/sa.key" --root-ca-file="$LAB/pki/ca.crt" --use-service-account-credentials=true \
    --allocate-node-cidrs=true --cluster-cidr="$pod_net.0.0/16" --leader-elect=false --node-monitor-grace-period=20s
  background kube-scheduler "${enter[@]}" "$bin/kube-scheduler" --kubeconfig="$LAB/kube-scheduler.conf" --leader-elect=false
}

node_agents() { # I
  local n=node$1
  background "kubelet-$n" nsenter "--net=/run/netns/$prefix-$n" "$bin/kubelet" --config="$LAB/$n/kubelet.yaml" \
    --kubeconfig="$LAB/$n.conf" --root-dir="$LAB/$n/kubelet" --hostname-override="$n" --node-ip="$(node_ip "$1")" --cert-dir="$LAB/$n/pki"
  background "kube-proxy-$n" nsenter "--net=/run/netns/$prefix-$n" "$bin/kube-proxy" --kubeconfig="$LAB/kube-proxy.conf" \
    --hostname-override="$n" --proxy-mode=iptables --cluster-cidr="$pod_net.0.0/16" --conntrack-max-per-core=0
}

# What Kubernetes asks for after etcd was restored: its own components follow a history that is no more.
cluster_restart() {
  local n names=(kube-controller-manager kube-scheduler)
  for n in $(nodes); do names+=("kubelet-$n" "kube-proxy-$n"); done
  stop 10 "${names[@]}"
  controllers
  for n in $(nodes); do node_agents "${n#node}"; done
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
  cluster_etcd
  cluster_api
  controllers
  for i in $(seq "$count"); do
    n=node$i
    wait_for 30 "containerd-$n" "containerd of $n answers" ctr -a "$LAB/$n/containerd.sock" version
    failing=load-$n
    load_into "$n" "$LAB"/images/*.tar >"$LAB/logs/load-$n.log" 2>&1
    failing=
    kubeconfig "$n" "$n" "$server"
    node_agents "$i"
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

# As if its cable were pulled: nothing leaves or reaches it any more, and nobody is told.
lose() { find_lab; ns cp ip link set "${1:?lose nodeN}" down; }
regain() { find_lab; ns cp ip link set "${1:?regain nodeN}" up; }

suspend() { find_lab; signal STOP "kubelet-${1:?suspend nodeN}"; }
resume() { find_lab; signal CONT "kubelet-${1:?resume nodeN}"; }

load() {
  find_lab
  local n
  for n in $(nodes); do load_into "$n" "$@"; done
}
