#!/bin/bash
# balancers.sh: tests what docs/high-availability.md says, on two nodes (`make high-availability`). It needs root. Four things
# are put in front of the nodes in turn: HAProxy and nginx with the files of docs/balancers, DNS with both addresses, and an
# address that is moved by hand as keepalived would move it. A client sends requests through each of them without pause while
# narthex is removed from a node and drains, and while a node loses its cable. Each step prints the number of requests, the
# failures and the longest gap.
#
# Environment: as walkthrough.sh, and E2E_FRONTS (default "haproxy nginx dns vip").
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
tale="balancers"
# shellcheck source-path=SCRIPTDIR
. "$here/steps.sh"
fronts=${E2E_FRONTS:-haproxy nginx dns vip}
vip=10.77.0.100
front_pid=

# narthex runs where the label `edge` is, so that removing the label drains a node.
installed() {
  k label node --all edge=yes
  k apply -f "$root/manifests/namespace.yaml"
  helm install narthex "$root/charts/narthex" --wait --timeout 90s --set nodeSelector.edge=yes \
    --set "extraArgs={--proxy-protocol=optional,--trusted-proxies=$(cp_address)}"
  rolled_out -n narthex-system daemonset/narthex
  k create ingress web --class=narthex --rule='www.example.com/*=deploy1:80'
  everywhere 20 status_is 200 www.example.com
}
cp_address() { on cp ip -o -4 route get "${node_ips[0]}" | grep -oE 'src [0-9.]+' | cut -d' ' -f2; }

# --- what is in front of the nodes --------------------------------------------------------------------------------------

# Prints a file of docs/balancers with the addresses of the nodes and the number of descriptors that this machine allows.
adapted() { # FILE
  sed -E -e "s/10\.0\.0\.1:/${node_ips[0]}:/; s/10\.0\.0\.2:/${node_ips[1]}:/" -e 's/(maxconn|worker_connections) [0-9]+/\1 2000/' \
    -e 's/worker_rlimit_nofile [0-9]+/worker_rlimit_nofile 5000/' "$root/docs/balancers/$1"
}

haproxy_start() {
  adapted haproxy.cfg >"$work/haproxy.cfg"
  nsenter --net="/run/netns/$CP_NETNS" haproxy -db -f "$work/haproxy.cfg" >"$work/haproxy.log" 2>&1 3>&- &
  front_pid=$!
}

nginx_start() {
  { echo "load_module /usr/lib/nginx/modules/ngx_stream_module.so; daemon off; pid $work/nginx.pid; user root;"; adapted nginx.conf; } >"$work/nginx.conf"
  nsenter --net="/run/netns/$CP_NETNS" nginx -e "$work/nginx.log" -c "$work/nginx.conf" 3>&- &
  front_pid=$!
}

dns_start() { :; }
vip_start() { vip_goes_to 2; }

front_stop() {
  [ -n "$front_pid" ] || return 0
  kill "$front_pid" 2>/dev/null || true
  wait "$front_pid" 2>/dev/null || true
  front_pid=
}

# Moves the address by hand: it is removed from one node, added to the other, and announced to the neighbours.
vip_goes_to() { # NODE NUMBER
  local other=$((3 - $1))
  on "node$other" ip addr del "$vip/24" dev eth0 2>/dev/null || true
  on "node$1" ip addr add "$vip/24" dev eth0
  on "node$1" arping -q -U -c 2 -I eth0 "$vip"
}

# With two clients of each kind, a balancer has kept connections to both nodes, and so also to the node that is lost.
client_starts() { # FRONT; not in a subshell
  local address=127.0.0.1
  case $1 in
    dns) address="${node_ips[0]},${node_ips[1]}" ;;
    vip) address=$vip ;;
  esac
  client_start www.example.com "$address" "$address"
}

front_answers() { client_saw '.requests > 100'; }

# --- what happens to node2 --------------------------------------------------------------------------------------------

drained() { # FRONT
  [ "$1" != vip ] || vip_goes_to 1
  k label node node2 edge-
  within 60 gone_from_node2
  sleep 3 # clients go on
}
gone_from_node2() { [ "$(k -n narthex-system get pods -o json | jq '[.items[] | select(.spec.nodeName == "node2")] | length')" = 0 ]; }

narthex_back() { # FRONT
  k label node node2 edge=yes
  within 60 on cp curl -sSf --max-time 2 "http://${node_ips[1]}:8080/readyz"
  sleep 3 # two good checks
  [ "$1" != vip ] || vip_goes_to 2
}

lost() { # FRONT
  "$here/lab.sh" lose node2
  if [ "$1" = vip ]; then
    sleep 3.6 # three advertisements of keepalived's
    on node1 ip addr add "$vip/24" dev eth0
    on node1 arping -q -U -c 2 -I eth0 "$vip"
  fi
  sleep 20
}

# This comes before the cable is back, because otherwise both nodes would have the address.
back() { # FRONT
  [ "$1" != vip ] || on node2 ip addr del "$vip/24" dev eth0
  "$here/lab.sh" regain node2
  within 60 k wait --for=condition=Ready node --all --timeout=1s
  everywhere 60 status_is 200 www.example.com
}

says() { client_note; }

prepare
step "HAProxy, nginx with streams, arping" "$here/deps.sh" balancers

title "narthex on two nodes"
step "helm" fetch_helm
step "deploy1 and deploy2, three pods each" create_deployments
step "narthex with --trusted-proxies and the PROXY protocol" installed

for front in $fronts; do
  title "$front"
  "${front}_start"
  client_starts "$front"
  step "a client asks through it" within 15 front_answers
  step "narthex is removed from node2 and drains" drained "$front"
  client_stop
  step "no request failed" client_had_no_failure
  step "narthex is back on node2" narthex_back "$front"
  client_starts "$front"
  step "a client asks through it" within 15 front_answers
  step "node2 is lost" lost "$front"
  client_stop
  step "the failures are counted" says
  jq -r '.first_failures[]' "$work/client.json" | head -n 5 | sed 's/^/     | /'
  step "node2 is back" back "$front"
  front_stop
done
