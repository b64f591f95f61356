# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154 # variables shared with lab.sh
# Of lab.sh: processes, the lab's folder, identities. Sourced, not run.

say() { echo "lab: $*" >&2; }
die() { say "$*"; exit 1; }
node_ip() { echo "10.77.0.$((10 + $1))"; }
ns() { nsenter --net="/run/netns/$prefix-$1" "${@:2}"; }

# --- processes ------------------------------------------------------------------------------------------------------

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

# --- the lab's folder -----------------------------------------------------------------------------------------------

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

# --- identities -----------------------------------------------------------------------------------------------------

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
