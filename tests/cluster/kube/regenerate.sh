#!/bin/bash
# regenerate.sh v1.36.3: writes v1.36.3/go.mod and go.sum beside this file, to build that version of Kubernetes from.
#
# k8s.io/kubernetes cannot be `go install`ed: its go.mod replaces the staging modules by folders of its own tree. Here
# each of them is replaced by its published module of the matching v0.x version. Commit both files.
set -euo pipefail
version=${1:?usage: regenerate.sh v1.NN.N}
staging=v0.${version#v1.}
cd "$(dirname "$0")"
mkdir -p "$version"
cd "$version"
upstream=$(cd / && GOFLAGS=-mod=mod go mod download -json "k8s.io/kubernetes@$version" | jq -r .GoMod)
{
  printf 'module narthex.test/kube\n\ngo 1.26\n\ntool (\n'
  printf '\tk8s.io/kubernetes/cmd/%s\n' kube-apiserver kube-controller-manager kube-proxy kube-scheduler kubectl kubelet
  printf ')\n\nrequire k8s.io/kubernetes %s\n\nreplace (\n' "$version"
  grep -oE '^\s+k8s\.io/[a-z0-9-]+ => \./staging' "$upstream" | awk '{print $1}' | sort -u |
    while read -r module; do printf '\t%s => %s %s\n' "$module" "$module" "$staging"; done
  echo ')'
} >go.mod.new
mv go.mod.new go.mod
go mod tidy -e
