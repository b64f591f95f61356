#!/bin/bash
# deps.sh [apiserver|chromium|prometheus|balancers]: installs the Debian packages that our test clusters and building narthex
# need. It does nothing when all are there. Rust (1.95) and Go (1.26, for kube-binaries.sh) have to be installed by hand, because
# those of Debian are too old. With an argument it installs only the packages for `lab.sh apiserver-up`, or for that program.
# It needs root only if something has to be installed.
set -euo pipefail

# program:package. Programs are looked up in PATH and in the sbin folders, which may be missing in a user's PATH.
needs=(/etc/ssl/certs/ca-certificates.crt:ca-certificates curl:curl jq:jq openssl:openssl python3:python3 etcd:etcd-server flock:util-linux setsid:util-linux
  gcc:gcc make:make /usr/lib/x86_64-linux-gnu/libc.a:libc6-dev htpasswd:apache2-utils)
if [ "${1:-}" = chromium ]; then
  needs=(chromium:chromium)
elif [ "${1:-}" = prometheus ]; then
  needs=(prometheus:prometheus promtool:prometheus /usr/lib/python3/dist-packages/yaml/__init__.py:python3-yaml)
elif [ "${1:-}" = balancers ]; then
  needs=(haproxy:haproxy nginx:nginx-light /usr/lib/nginx/modules/ngx_stream_module.so:libnginx-mod-stream arping:iputils-arping)
elif [ "${1:-}" != apiserver ]; then
  needs+=(containerd:containerd runc:runc ctr:containerd conntrack:conntrack iptables:iptables ip:iproute2 nsenter:util-linux
    sysctl:procps pgrep:procps setcap:libcap2-bin /usr/lib/cni/bridge:containernetworking-plugins)
fi

missing=()
for need in "${needs[@]}"; do
  what=${need%%:*} package=${need##*:}
  case $what in
    /usr/lib/x86_64-linux-gnu/*) compgen -G "/usr/lib/*/${what##*/}" >/dev/null && continue ;;
    /*) [ -e "$what" ] && continue ;;
    *) PATH=$PATH:/usr/sbin:/sbin command -v "$what" >/dev/null && continue ;;
  esac
  case " ${missing[*]-} " in *" $package "*) ;; *) missing+=("$package") ;; esac
done
[ ${#missing[@]} -gt 0 ] || exit 0

cannot() {
  echo "deps.sh: $1" >&2
  echo "deps.sh: please install these Debian packages yourself: ${missing[*]}" >&2
  exit 1
}
command -v apt-get >/dev/null || cannot "there is no apt-get here."
[ "$(id -u)" = 0 ] || cannot "installing packages takes root."
echo "deps.sh: installing ${missing[*]}" >&2
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# Packages with a daemon (etcd, containerd) must not start it, because the tests run their own.
policy=/usr/sbin/policy-rc.d
made_policy=
if [ ! -e "$policy" ]; then
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod 755 "$policy"
  made_policy=1
fi
trap 'rm -f "$log"; [ -z "$made_policy" ] || rm -f "$policy"' EXIT
if ! apt-get install -y -q --no-install-recommends "${missing[@]}" >"$log" 2>&1; then
  { apt-get update -q && apt-get install -y -q --no-install-recommends "${missing[@]}"; } >"$log" 2>&1 ||
    { tail -n 15 "$log" >&2; cannot "apt-get could not install them (its last words are above)."; }
fi
