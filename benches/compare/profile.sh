#!/usr/bin/env bash
# profile.sh: the load that a profile for optimisation is made from: what the other scripts here measure. It does not measure.
#
#   NARTHEX=PROGRAM   built with -C profile-generate; it writes one file into OUT when it ends
#   OUT=DIR           where those files are written
#   SCALE=1           more or fewer requests
#   PORT_BASE= PROXY_CPU= LOAD_CPU= KEEP=   as in run.sh
set -euo pipefail

# shellcheck disable=SC2034  # used by lib.sh
TLS=1
# shellcheck source=benches/compare/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

: "${OUT:?a folder for what the program writes}"
SCALE=${SCALE:-1}
need h2load openssl python3
mkdir -p "$OUT"
export LLVM_PROFILE_FILE=$OUT/%p.profraw
prepare
certify
start_backend
passed=passed.example.com
launch pod "$LOAD_CPU" "$here/passthrough.py" pod "$((PORT_BASE + 8))"
passed_through "$passed" "$((PORT_BASE + 8))"

# load REQUESTS OPTION...: all of them have to be answered with 200.
load() {
    local requests=$(($1 * SCALE)) report=$scratch/tmp/load
    shift
    taskset -c "$LOAD_CPU" h2load -t1 -n "$requests" -H ":authority: $HOST" "$@" >"$report" 2>&1 || { cat "$report" >&2; die "h2load failed"; }
    grep -q "^status codes: $requests 2xx" "$report" || { cat "$report" >&2; die "not all of $requests requests were answered with 200"; }
}

head -c 4000 /dev/zero | tr '\0' x >"$scratch/tmp/posted"
for name in narthex narthex-log; do
    start_proxy "$name"
    pid=$launched port=$(port_of "$name")
    plain=http://127.0.0.1:$port secure=https://127.0.0.1:$(tls_port "$NARTHEX_PORT")
    load 40000 --h1 -c 64 "$plain/"
    load 40000 --h1 -c 64 "${BROWSER[@]}" "$plain/"
    load 20000 --h1 -c 1000 "${BROWSER[@]}" "$plain/"
    load 10000 --h1 -c 64 -d "$scratch/tmp/posted" "$plain/"
    load 2000 --h1 -c 64 "$plain/64k"
    load 200 --h1 -c 16 "$plain/1m"
    load 10000 --h1 -c 64 "${BROWSER[@]}" "$secure/"
    load 20000 -c 8 -m 32 "${BROWSER[@]}" "$secure/"
    load 20000 -c 8 -m 32 "$plain/"
    "$here/handshake.py" "$(tls_port "$NARTHEX_PORT")" "$HOST" 2 resumed >"$scratch/tmp/load" || die "handshake.py failed"
    for kind in conns bytes; do
        "$here/passthrough.py" "$kind" "$(tls_port "$NARTHEX_PORT")" "$passed" 3 >"$scratch/tmp/load" || die "passthrough.py $kind failed"
    done
    stop "$pid"
done
files=("$OUT"/*.profraw)
[ "${#files[@]}" = 2 ] || die "there are ${#files[@]} files in $OUT, not one for each of the two runs"
