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
#                                  stop, start, save and restore are for the API server of a cluster too
#
#   lab.sh up [N]                  a cluster of N nodes (default 2): control plane in network namespace nx-cp, nodes in
#                                  nx-node1.. with containerd, kubelet and kube-proxy. Root. Ready in about 15 s.
#   lab.sh load IMAGE.tar...       imports images into every node
#   lab.sh exec cp|nodeN CMD...    runs a command in a namespace of the lab
#   lab.sh lose|regain nodeN       pulls the node's cable, and puts it in again
#   lab.sh suspend|resume nodeN    suspends the node's kubelet, whose pods run on, and lets it go on
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
#   LAB_OWNER    pid of the program that uses the lab. When that process is gone, the next `up` or `apiserver-up` takes
#                the lab for a left-over and clears it away. Without owner, a cluster is only cleared if its processes
#                are dead, or with LAB_FORCE=1, and an API server never.
#   LAB_KEEP=1   after a failing up, leave everything as it is; after a down, keep $LAB/logs.
#   LAB_IMAGES   more image tars (a folder) for every node. The test images are always built and loaded.
#   LAB_APISERVER_FLAGS  more flags for kube-apiserver.
#
# Processes are stopped by pid (with start time, as pids come again), or because they live in a network namespace or
# cgroup made here; never by name. tests/cluster/README.md lists pitfalls.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
PATH=$PATH:/usr/sbin:/sbin
umask 022
prefix=${LAB_PREFIX:-nx}
registry=/run/narthex-lab/$prefix
cp_ip=10.77.0.1
service_net=10.96.0
pod_net=10.244
bin=     # the folder of the binaries
failing= # the component whose log tells why

# shellcheck source-path=SCRIPTDIR
. "$here/lab/common.sh"
# shellcheck source-path=SCRIPTDIR
. "$here/lab/apiserver.sh"
# shellcheck source-path=SCRIPTDIR
. "$here/lab/cluster.sh"

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
  lose) lose "${@:2}" ;;
  regain) regain "${@:2}" ;;
  suspend) suspend "${@:2}" ;;
  resume) resume "${@:2}" ;;
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
