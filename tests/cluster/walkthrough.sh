#!/bin/bash
# walkthrough.sh: uses narthex as a user does, on a real cluster with two nodes (`make e2e`). It needs root, and takes about
# three minutes with cached binaries.
#
# It builds narthex's image, starts a cluster (lab.sh), and then creates deployments and Services, runs `kubectl apply -k
# manifests`, applies old and new rules, sends requests to each node with curl, scales, edits and deletes. Then it repeats the
# walkthrough of 2020: its RBAC and its rule go through `narthex convert`, and only the image of its DaemonSet is changed.
# Each step prints one line. At the first failure the script shows pods, events and logs, and exits with 1. It removes all
# that it has made.
#
# Environment: NARTHEX_BIN   a static narthex to use instead of building one
#              E2E_KEEP=1    leave the cluster up after a failure (and then: lab.sh down)
#              E2E_RATE      requests a second of each of the four client workers (default 50)
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
tale=walkthrough
# shellcheck source-path=SCRIPTDIR
. "$here/steps.sh"
story=$here/walkthrough

# --- the story -------------------------------------------------------------------------------------------------------

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

# Both objects are edited by hand to name the other pod. The first pod must get no more requests.
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

# The walkthrough runs `k delete svc` and `k expose --port=5000 --target-port=…`; here the target port has a name.
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

routes_applied() {
  k apply -f "$story/route-kind.yaml"
  within 20 k apply -f "$story/routes.yaml"
  everywhere 10 answer_is 404 '404 page not found\n' routes.example.com
}

narthex_serves_routes() {
  k -n narthex-system set env daemonset/narthex NARTHEX_DROP_IN=openshift
  rolled_out -n narthex-system daemonset/narthex
  within 90 old_narthexes_gone
  everywhere 10 status_is 200 www.example.com
}

routes_answer() {
  rotation routes.example.com deploy1
  rotation routes.yolo.org deploy2
  local app
  for app in deploy1 deploy2; do everywhere 10 service_answers "$app" routes.example.com /both; done
  everywhere 10 status_is 200 www.example.com
}
service_answers() { ask "$2" "$4" "$3" && grep -q "^$1-" "$work/body"; } # APP HOST PATH ADDRESS

routes_are_admitted() {
  [ "$(k get routes -o json | jq '[.items[].status.ingress[] | select(.routerName == "narthex") | .conditions[]
    | select(.type == "Admitted" and .status == "True")] | length')" = 3 ]
}

narthex_removed() {
  k delete -k "$root/manifests" --timeout=120s
  everywhere 30 nothing_listens
}

# Log lines are JSON. A watch logs each problem once, and no other warning is repeated without end; that of an Ingress comes
# again when its Service has a problem again. Nothing panicked or restarted.
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

# The old RBAC with nothing changed but today's API groups.
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

prepare

title "narthex as it is installed today"
step "deploy1 and deploy2, three pods each, exposed" create_deployments
step "kubectl apply -k manifests: a narthex on each node" apply_manifests
step "admin answers on each node and through its Service" admin_is_ready
step "the rule of 2020 is unknown to this API server" refused_as_old ingress.rule.yaml
step "narthex convert makes it today's" convert ingress.rule.yaml
step "www.example.com and www.yolo.org answer at each node's address" both_hosts_answer
step "www.example.com rotates over deploy1's three pods" rotation www.example.com deploy1
step "www.yolo.org rotates over deploy2's three pods" rotation www.yolo.org deploy2
step "a client on the node itself, at 127.0.0.1" from_the_node_itself
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
step "both are edited by hand" without_selector_edited
step "a targetPort nobody listens on: 502" wrong_target_port
step "the targetPort is corrected" target_port_edited
step "a new Service with a named targetPort" target_port_named
step "a Service without endpoints: 503 no available server" no_endpoints
step "a deleted Service: 503, and the path is kept" no_service
step "an Ingress of another class is not touched" class_of_another
step "a deleted Ingress: 404" ingress_deleted

step "the logs of the pods of narthex" logs_are_calm narthex-system app.kubernetes.io/name=narthex

title "narthex itself is replaced, by one that serves Routes of OpenShift too"
step "Routes for both Services: nobody serves them yet" routes_applied
client_start www.example.com
step "a client asks both nodes" within 15 client_saw '.requests > 50'
step "--drop-in openshift for daemonset/narthex" narthex_serves_routes
client_stop
step "no request failed during the update" client_had_no_failure
step "the Routes answer at each node's address, and both Services by weights" routes_answer
step "the status of each Route says that it is admitted" within 20 routes_are_admitted
step "kubectl delete -k manifests" narthex_removed

title "The walkthrough of 2020, only the image changed"
step "its RBAC is unknown to this API server" refused_as_old ingress.rbac.yaml
step "its RBAC through narthex convert" convert ingress.rbac.yaml
step "its DaemonSet without another change, in kube-system" old_daemonset
step "its rule through narthex convert" convert ingress.rule.yaml
step "www.example.com and www.yolo.org answer at each node's address" both_hosts_answer
step "www.example.com rotates over deploy1's pods" rotation www.example.com deploy1
step "www.yolo.org rotates over deploy2's pods" rotation www.yolo.org deploy2
step "an unknown host: 404 page not found" unknown_host
step "without the rights that are new since 2020, Endpoints are read" rights_of_2020
step "the log and /readyz say what to add to the ClusterRole" denied_is_said
step "the logs of its pods" logs_are_calm kube-system name=traefik-ingress-lb
