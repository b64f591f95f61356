#!/bin/bash
# bad-days.sh: counts how many requests fail while things go wrong with a real cluster under load. It is part of `make e2e`,
# and `make soak` is its long form. It needs root, and runs three nodes.
#
# narthex is upgraded. The ten pods behind it are replaced. A namespace is deleted while a newer one has the same hosts. The
# API server dies and comes back before the kubelets do, so that all pods are unready, and is restored from an older state. The node of the narthex that writes the status loses
# its cable. All the while, clients send requests to each node, on kept and on new connections. Each step prints the number
# of requests, the failures and the longest gap.
#
# Environment: as walkthrough.sh, and
#              E2E_UPGRADES  how many upgrades (default 3; make soak: 20)
#              E2E_OUTAGE    how many seconds the API server is down (default 30; make soak: 600)
set -euo pipefail
export E2E_NODES=3
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
tale="bad days"
# shellcheck source-path=SCRIPTDIR
. "$here/steps.sh"
upgrades=${E2E_UPGRADES:-3}
outage=${E2E_OUTAGE:-30}

ten_pods() {
  k create deployment deploy1 --image=narthex.test/backend:1 --replicas=10
  k expose deployment deploy1 --port=80
  rolled_out deployment/deploy1
  apply_manifests
  k create ingress web --class=narthex --rule='www.example.com/*=deploy1:80'
  everywhere 20 status_is 200 www.example.com
}

# A request that cannot be repeated may fail only if it may have reached a pod that went away.
second_client_start() {
  rm -f "$work/post.json"
  CLIENT_METHOD=POST nsenter --net="/run/netns/$CP_NETNS" "$here/client.py" "$work/post.json" 20 www.example.com "${node_ips[@]}" 3>&- &
  post_pid=$!
}

second_client_stop() {
  kill "$post_pid" 2>/dev/null || true
  wait "$post_pid" 2>/dev/null || true
}

posts_failed_only_with_their_pods() {
  jq -r '"\(.requests) POSTs, \(.failures) failed, longest gap \(.gap_ms) ms"' "$work/post.json" >&3
  jq -r '.first_failures[]' "$work/post.json"
  jq -e '.requests > 100 and .failures <= 20 and all(.first_failures[]; contains(": 502 "))' "$work/post.json"
}

all_pods_replaced() { # TAG
  local before
  before=$(pods_of deploy1)
  k set image deployment/deploy1 "backend=narthex.test/backend:$1"
  rolled_out deployment/deploy1
  within 90 pods_are deploy1 10
  within 15 client_sees_pods deploy1
  [ -z "$(comm -12 <(echo "$before") <(pods_of deploy1))" ]
}

two_namespaces() {
  local namespace
  for namespace in older newer; do
    k create namespace "$namespace"
    k -n "$namespace" create deployment deploy1 --image=narthex.test/backend:1 --replicas=3
    k -n "$namespace" expose deployment deploy1 --port=80
    rolled_out -n "$namespace" deployment/deploy1
    k -n "$namespace" create ingress web --class=narthex --rule='moving.example.com/*=deploy1:80'
    everywhere 20 status_is 200 moving.example.com
    sleep 1 # an Ingress's age is counted in seconds
  done
  # The finalizer keeps the Ingress, and with it the namespace, after the pods are gone.
  k -n older patch ingress web --type=merge -p '{"metadata":{"finalizers":["narthex.test/held"]}}'
}

namespace_answers() { # NAMESPACE: its pods, and no others, answered within the last second.
  local want got
  want=$(k -n "$1" get pods -l app=deploy1 -o json | jq -r '.items[].metadata.name' | sort)
  got=$(jq -r '.recent | keys[]' "$work/client.json" | sort)
  [ -n "$want" ] && [ "$want" = "$got" ] || { printf 'pods:\n%s\nanswered in the last second:\n%s\n' "$want" "$got"; return 1; }
}

namespace_deleted() {
  k delete namespace older --wait=false
  within 60 namespace_answers newer
  within 60 no_pods_in older
}
no_pods_in() { [ -z "$(k -n "$1" get pods -o name)" ]; } # NAMESPACE

still_terminating() { # SECONDS
  sleep "$1" # the older Ingress is still there, without a pod
  k get namespace older -o jsonpath='{.status.phase}' | grep -x Terminating
  k -n older get ingress web
  namespace_answers newer
}

namespace_gone() {
  k -n older patch ingress web --type=merge -p '{"metadata":{"finalizers":null}}'
  within 60 namespace_is_gone older
  within 10 namespace_answers newer
}
namespace_is_gone() { ! k get namespace "$1" 2>/dev/null; } # NAMESPACE

api_server_away() { # SECONDS
  "$here/lab.sh" apiserver-stop -9
  sleep "$1" # what is shown is that nothing happens for so long
  if k get nodes --request-timeout=3s; then return 1; fi
  client_note
  client_saw '.failures == 0' || { jq -r '.first_failures[]' "$work/client.json"; return 1; }
}

kubelets() { # suspend|resume
  local number
  for ((number = 1; number <= E2E_NODES; number++)); do "$here/lab.sh" "$1" "node$number"; done
}

# The kubelets are as slow as can be, so that Kubernetes takes all nodes for lost, and all pods for unready.
api_server_back_before_the_kubelets() {
  "$here/lab.sh" apiserver-start
  within 180 all_pods_unready
  sleep 3 # longer than narthex needs to hear of it
  client_note
  client_saw '.failures == 0' || { jq -r '.first_failures[]' "$work/client.json"; return 1; }
}
all_pods_unready() {
  k get endpointslices -l kubernetes.io/service-name=deploy1 -o json |
    jq -e '[.items[].endpoints[]] | length > 0 and all(.[]; .conditions.ready == false)'
}

kubelets_back() {
  kubelets resume
  k scale --replicas=6 deployment/deploy1
  # After a long outage the cluster marks all pods as unready until each kubelet has its watch back.
  within 300 rolled_out deployment/deploy1
  within 90 pods_are deploy1 6
  within 60 client_sees_pods deploy1
}

# narthex reaches the API server through kube-proxy, which needs some time to find it again, because an API server that ends
# removes itself from its Service. Ingresses are as they were before. The kubelets look after the pods, and may need some time
# with an older state.
restored() {
  k create ingress later --class=narthex --rule='later.example.com/*=deploy1:80'
  everywhere 90 status_is 200 later.example.com
  "$here/lab.sh" apiserver-restore older
  everywhere 90 status_is 404 later.example.com
  k create ingress again --class=narthex --rule='again.example.com/*=deploy1:80'
  everywhere 90 status_is 200 again.example.com
}

leader() { k -n narthex-system get lease narthex -o jsonpath='{.spec.holderIdentity}' | cut -d_ -f1; }

# Sets lost and lost_ip to the node of the narthex that writes the status.
find_leader() {
  local pod
  pod=$(leader)
  [ -n "$pod" ]
  k -n narthex-system get pod "$pod" -o json | jq -r '"\(.spec.nodeName) \(.status.hostIP)"' >"$work/leader"
  grep -q '^node' "$work/leader" && cat "$work/leader" >&3
}

# Without pods of deploy1 on that node, the step would show nothing.
pods_there() {
  k scale --replicas=12 deployment/deploy1
  rolled_out deployment/deploy1
  k get pods -l app=deploy1 -o json | jq --arg node "$lost" '[.items[] | select(.spec.nodeName == $node)] | length' >"$work/there"
  echo "$(cat "$work/there") of 12" >&3
  [ "$(cat "$work/there")" -gt 1 ]
}

cable_pulled() { "$here/lab.sh" lose "$lost"; }
cable_back() { "$here/lab.sh" regain "$lost"; }

address_gone() {
  local start=$SECONDS
  within 20 addresses_are web "${others[@]}"
  echo "after $((SECONDS - start)) s" >&3
}

still_served() { # SECONDS
  sleep "$1" # Kubernetes goes on naming the pods of the lost node meanwhile
  client_note
  client_saw '.failures == 0' || { jq -r '.first_failures[]' "$work/client.json"; return 1; }
}

# Minutes may pass until the kubelet of a lost node has its watch back and reports its pods as ready.
all_is_well() {
  within 60 k wait --for=condition=Ready node --all --timeout=1s
  everywhere 60 status_is 200 www.example.com
  within 300 addresses_are web "${node_ips[@]}"
}

prepare

title "narthex with ten pods behind it"
step "deploy1 with ten pods, narthex on each node" ten_pods
step "kubectl get ingress has all addresses" within 60 addresses_are web "${node_ips[@]}"

title "Upgrades under load"
client_start www.example.com
step "a client asks all nodes" within 15 client_saw '.requests > 50'
for ((i = 1; i <= upgrades; i++)); do step "upgrade $i of $upgrades: kubectl rollout restart daemonset/narthex" narthex_rolls; done
client_stop
step "no request failed" client_had_no_failure

title "Ten pods are replaced that close their connections as soon as they are told to end"
client_start www.example.com
second_client_start
step "a client asks all nodes" within 15 client_saw '.requests > 50'
step "they get a new image" all_pods_replaced 2
step "they get the old image again" all_pods_replaced 1
second_client_stop
client_stop
step "no GET failed" client_had_no_failure
step "no POST failed that had not reached a pod" posts_failed_only_with_their_pods

title "A namespace is deleted, and a newer one has the same host"
step "two namespaces have the same host" two_namespaces
client_start moving.example.com
step "the older namespace answers" within 15 namespace_answers older
step "it is deleted, and the newer one answers" namespace_deleted
step "the newer one still answers while the older one is Terminating" still_terminating 5
step "the newer one answers when the older one is gone" namespace_gone
client_stop
step "no request failed" client_had_no_failure

title "The API server goes away"
client_start www.example.com
step "a client asks all nodes" within 15 client_saw '.requests > 50'
kubelets suspend
step "it is killed, and is down for $outage s" api_server_away "$outage"
step "it is back, and no kubelet is: Kubernetes takes all pods for unready" api_server_back_before_the_kubelets
step "the kubelets are back, and narthex follows deploy1 from 10 to 6 pods" kubelets_back
client_stop
step "no request failed" client_had_no_failure

title "The node whose narthex writes the status is lost"
step "all nodes are ready" all_is_well
step "the narthex that writes the status is found" within 30 find_leader
read -r lost lost_ip <"$work/leader"
others=()
for ip in "${node_ips[@]}"; do [ "$ip" = "$lost_ip" ] || others+=("$ip"); done
step "pods of deploy1 run on its node" pods_there
client_start www.example.com "${others[@]}"
step "a client asks the other nodes" within 15 client_saw '.requests > 50'
step "its cable is pulled" cable_pulled
step "its address leaves the status" address_gone
step "half a minute later its pods still count" still_served 30
client_stop
step "no request failed at the other nodes" client_had_no_failure
step "its cable is put in again" cable_back
step "its address is back in the status" all_is_well

title "The API server is restored from an older state"
step "its state is saved" "$here/lab.sh" apiserver-save older
step "the API server answers again" within 60 k get ingress web
client_start www.example.com
step "a client asks all nodes" within 15 client_saw '.requests > 50'
step "the older state is restored: later objects are gone, and narthex follows new ones" restored
client_stop
step "no request failed" client_had_no_failure
