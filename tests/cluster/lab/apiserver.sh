# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154 # variables shared with lab.sh
# Of lab.sh: etcd and the API server in either size, and the size that is nothing else. Sourced, not run.

# --- etcd and the API server, in either size ------------------------------------------------------------------------

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

# --- API server only ------------------------------------------------------------------------------------------------

read_ports() { read -r etcd_port peer_port api_port <"$LAB/ports"; }

local_etcd() { read_ports && start_etcd "$etcd_port" "$peer_port"; }

# The address in a Service's Endpoints must not be a loopback one, so the one of `kubernetes` is not written.
local_api() {
  read_ports
  start_api "$etcd_port" "$api_port" 127.0.0.1 127.0.0.1 RBAC -- -- --endpoint-reconciler-type=none
}

# API servers of tests that were killed before they could clear away.
clear_orphans() {
  local LAB file owner start
  for file in /tmp/narthex-lab/*/owner; do
    if [ ! -O "$file" ] || ! read -r owner start <"$file" || is_running "$owner" "$start"; then continue; fi
    LAB=${file%/owner}
    say "clearing away $LAB, whose owner is gone"
    apiserver_stop_all
    remove_lab || true
  done
}

apiserver_up() {
  binaries kube-apiserver kubectl
  "$here/deps.sh" apiserver
  clear_orphans
  new_lab apiserver
  [ -z "${LAB_OWNER:-}" ] || echo "$LAB_OWNER $(born "$LAB_OWNER")" >"$LAB/owner"
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

# As it was started, in either size.
again() { # etcd|api
  if [ "$(kind)" = cluster ]; then "cluster_$1"; else "local_$1"; fi
}

apiserver_start() {
  find_lab
  binaries kube-apiserver kubectl
  ! running kube-apiserver || die "kube-apiserver is running"
  again api
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
  again etcd
  again api
}

apiserver_restore() {
  find_lab
  local copy=$LAB/saved-${1:?apiserver-restore NAME}
  [ -d "$copy" ] || die "there is no $copy"
  if [ "$(kind)" = cluster ]; then binaries; else binaries kube-apiserver kubectl; fi
  stop 10 kube-apiserver
  stop 10 etcd
  rm -rf "$LAB/etcd"
  cp -a "$copy" "$LAB/etcd"
  again etcd
  again api
  if [ "$(kind)" = cluster ]; then cluster_restart; fi
}

apiserver_down() {
  find_lab
  [ "$(kind)" = apiserver ] || die "$LAB is a cluster: use down"
  apiserver_stop_all
  remove_lab
}
