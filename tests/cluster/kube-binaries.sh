#!/bin/bash
# kube-binaries.sh [NAME...]: the Kubernetes binaries of our test clusters, built once and cached outside the tree.
#
# Builds the named ones of kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy kubectl (default: all)
# from published Go modules, as pinned by kube/$KUBE/go.mod and go.sum, into
#   ${NARTHEX_KUBE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/narthex/kube}/$KUBE/bin
# What is there already is left alone. The last line on stdout is that folder; progress goes to stderr.
# Cold on two cores: about 10 minutes for all, 8 of them kube-apiserver. Needs Go 1.26 and the Go module proxy.
set -euo pipefail

KUBE=${KUBE:-v1.35.4}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${NARTHEX_KUBE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/narthex/kube}
bin=$cache/$KUBE/bin
all=(kube-apiserver kubectl kube-controller-manager kube-scheduler kubelet kube-proxy)

say() { echo "kube-binaries: $*" >&2; }

wanted=("$@")
[ $# -gt 0 ] || wanted=("${all[@]}")
for name in "${wanted[@]}"; do
  case " ${all[*]} " in
    *" $name "*) ;;
    *) say "no such binary: $name (there are: ${all[*]})"; exit 2 ;;
  esac
done

missing=()
for name in "${wanted[@]}"; do [ -x "$bin/$name" ] || missing+=("$name"); done
if [ ${#missing[@]} -gt 0 ]; then
  command -v go >/dev/null || { say "Go is needed to build ${missing[*]}; see https://go.dev/dl (1.26 or newer)"; exit 1; }
  [ -f "$here/kube/$KUBE/go.mod" ] ||
    { say "there is no kube/$KUBE (there are: $(cd "$here/kube" && echo v*)); kube/regenerate.sh $KUBE makes it"; exit 1; }
  mkdir -p "$bin"
  # One builder at a time: a second caller waits here, and then finds everything done. The lock goes with the process.
  exec 9>"$cache/$KUBE/lock"
  flock 9
  for name in "${missing[@]}"; do
    [ ! -x "$bin/$name" ] || continue
    say "building $name $KUBE ..."
    start=$SECONDS
    tmp=$bin/.$name.$$
    trap 'rm -f "$tmp"' EXIT
    CGO_ENABLED=0 GOFLAGS='' GOWORK=off go build -C "$here/kube/$KUBE" -mod=readonly -trimpath \
      -ldflags "-s -w -X k8s.io/component-base/version.gitVersion=$KUBE" \
      -o "$tmp" "k8s.io/kubernetes/cmd/$name" 9>&-
    mv "$tmp" "$bin/$name"
    say "built $name in $((SECONDS - start)) s"
  done
fi
echo "$bin"
