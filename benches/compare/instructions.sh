#!/usr/bin/env bash
# instructions.sh: user-space instructions a request, narthex beside nginx, counted by valgrind: the figure that repeats on a
# noisy machine. Kernel time is not in it; run.sh has that.
#
# Each proxy is run twice under cachegrind (no cache simulation), with SHORT and with LONG requests, and the slope counts:
# (instructions of LONG - of SHORT) / (LONG - SHORT). So start-up, the checks before the load, the opening of the 64 client
# connections and their upstream ones, and shutdown cancel out. That needs an exact number of requests, which wrk (it runs
# for a time) cannot send and h2load --h1 -n can; h2load also ends with all of them answered.
#
#   ONLY="narthex ... nginx-log"    which proxies (haproxy works too). narthex-uncounted counts no routes, nginx-noid sets no
#                                   X-Request-Id, -log write an access log (combined, to a file, 32 KiB at a time)
#   BASE=nginx                      the proxy that the ratios are to, or nginx-noid
#   SCENARIO=small                  small, 64k or 1m: size of the body
#   HEAD=small                      small: the few fields that h2load sends; browser: 15, as a browser sends them
#   ANNOTATIONS= FIELD= ...         of narthex's Ingress, and a field of requests; policies.sh has these and what goes with them
#   SHORT=2000 LONG=22000 CONNS=64  requests of the two runs, connections
#   RUNS=1                          repeats; the median counts
#   MAX_RATIO=1.25                  fail when narthex needs more than this times BASE
#   MAX_INSTRUCTIONS=26250          fail when narthex needs more than this
#   OUT=FILE.json                   machine-readable results
#   NARTHEX= NARTHEX_ARGS= NGINX= HAPROXY= PORT_BASE= PROXY_CPU= LOAD_CPU= KEEP=   as in run.sh
#
# Exit status: 0; 1 when MAX_RATIO or MAX_INSTRUCTIONS is passed; 2 when it could not be measured.
set -euo pipefail

# shellcheck source=benches/compare/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

ONLY=${ONLY:-narthex narthex-uncounted narthex-log nginx nginx-noid nginx-log}
SCENARIO=${SCENARIO:-small}
HEAD=${HEAD:-small}
SHORT=${SHORT:-2000}
LONG=${LONG:-22000}
CONNS=${CONNS:-64}
RUNS=${RUNS:-1}
OUT=${OUT:-}
# one process, or valgrind would count the master and leave out the worker
# shellcheck disable=SC2034  # used by lib.sh
NGINX_EXTRA='master_process off;'
# a proxy starts some 30 times slower under valgrind
# shellcheck disable=SC2034
START_SECS=${START_SECS:-90}

case $SCENARIO in
small) uri=/ ;;
64k | 1m) uri=/$SCENARIO ;;
*) die "unknown scenario '$SCENARIO' (small 64k 1m)" ;;
esac
fields=()
case $HEAD in
small) ;;
browser) fields=("${BROWSER[@]}") ;;
*) die "unknown head '$HEAD' (small browser)" ;;
esac
if [ -n "${FIELD:-}" ]; then fields+=(-H "$FIELD"); fi
[ $# -eq 0 ] || die "takes no arguments; settings are environment variables: ${BASH_SOURCE[0]} begins with the list"
[[ $SHORT =~ ^[1-9][0-9]*$ && $LONG =~ ^[1-9][0-9]*$ && $CONNS =~ ^[1-9][0-9]*$ && $RUNS =~ ^[1-9][0-9]*$ ]] ||
    die "SHORT, LONG, CONNS and RUNS are whole numbers"
((LONG > SHORT && SHORT >= CONNS)) || die "LONG must be more than SHORT, SHORT at least CONNS"
need valgrind h2load
for name in $ONLY; do
    case $name in
    narthex | narthex-uncounted | narthex-log | nginx | nginx-noid | nginx-log | haproxy) ;;
    *) die "cannot count '$name' (narthex narthex-uncounted narthex-log nginx nginx-noid nginx-log haproxy)" ;;
    esac
    binary "$name" >/dev/null || {
        [ "$name" = narthex ] && die "no $NARTHEX: \`make build\` first, or set NARTHEX=path, or leave it out with ONLY=nginx"
        die "$name: program not found"
    }
done
if [ -n "$OUT" ]; then : >"$OUT" || die "cannot write $OUT"; fi

# count NAME REQUESTS: all instructions of one life of the proxy, left in $instructions.
count() {
    local name=$1 requests=$2 port report pid
    port=$(port_of "$name")
    start_proxy "$name" valgrind --tool=cachegrind --cache-sim=no --cachegrind-out-file=/dev/null
    pid=$launched
    verify "$name" "$port"
    report=$scratch/log/h2load
    # h2load makes the Host field of HTTP/1.1 from :authority
    taskset -c "$LOAD_CPU" h2load --h1 -t1 -c "$CONNS" -n "$requests" -H ":authority: $HOST" "${fields[@]}" "http://127.0.0.1:$port$uri" >"$report" 2>&1 ||
        { show_log h2load; die "h2load failed"; }
    if ! grep -q "^requests: $requests total, .* $requests succeeded, 0 failed" "$report" ||
        ! grep -q "^status codes: $requests 2xx" "$report"; then
        show_log h2load
        die "$name did not answer $requests requests with 200"
    fi
    stop "$pid"
    instructions=$(sed -nE 's/.* I +refs: +([0-9,]+)$/\1/p' "$scratch/log/$name" | tr -d , | tail -1)
    [ -n "$instructions" ] || { show_log "$name"; die "valgrind gave no count for $name"; }
}

prepare
start_backend
printf '\n%s, %s head, %s connections; slope between %s and %s requests; valgrind %s\n\n' "$SCENARIO" "$HEAD" "$CONNS" "$SHORT" "$LONG" \
    "$(valgrind --version | sed 's/valgrind-//')"
printf '%5s  %-18s %16s %16s %22s\n' run proxy "I in $SHORT" "I in $LONG" 'instructions/request'
declare -A slopes
for ((run = 1; run <= RUNS; run++)); do
    for name in $ONLY; do
        count "$name" "$SHORT"
        short=$instructions
        count "$name" "$LONG"
        slope=$(((instructions - short) / (LONG - SHORT)))
        slopes[$name]+="$slope "
        printf '%5d  %-18s %16d %16d %22d\n' "$run" "$name" "$short" "$instructions" "$slope"
    done
done

median() { tr ' ' '\n' <<<"$1" | grep . | sort -n | awk '{ a[NR] = $1 } END { print int((a[int((NR + 1) / 2)] + a[int(NR / 2) + 1]) / 2) }'; }

printf '\n%-18s %22s %14s\n' proxy instructions/request "x $BASE"
base=0 json='' over=0 judged=0
if [ -n "${slopes[$BASE]:-}" ]; then base=$(median "${slopes[$BASE]}"); fi
for name in $ONLY; do
    figure=$(median "${slopes[$name]}")
    ratio=$(awk -v a="$figure" -v b="$base" 'BEGIN { if (b) printf "%.3f", a / b; else printf "null" }')
    printf '%-18s %22d %14s\n' "$name" "$figure" "${ratio/null/-}"
    json+="${json:+, }\"$name\": {\"instructions\": $figure, \"ratio\": $ratio}"
    if [ "$name" = narthex ]; then
        judged=1
        if [ -n "${MAX_INSTRUCTIONS:-}" ] && ((figure > MAX_INSTRUCTIONS)); then
            note "narthex needs $figure instructions a request, more than $MAX_INSTRUCTIONS"
            over=1
        fi
        if [ -n "${MAX_RATIO:-}" ]; then
            [ "$ratio" != null ] || die "MAX_RATIO needs $BASE among the proxies"
            if awk -v r="$ratio" -v m="$MAX_RATIO" 'BEGIN { exit !(r > m + 0) }'; then
                note "narthex needs $ratio x the instructions of $BASE, more than $MAX_RATIO"
                over=1
            fi
        fi
    fi
done
# What metrics by route cost, and an access log here and there.
more() { # WHAT NAME THAN
    [ -n "${slopes[$2]:-}" ] && [ -n "${slopes[$3]:-}" ] || return 0
    awk -v w="$1" -v a="$(median "${slopes[$2]}")" -v b="$(median "${slopes[$3]}")" 'BEGIN { printf "%s: %d instructions, %.1f %% more\n", w, a - b, 100 * (a / b - 1) }'
}
echo
more "narthex, counting by route" narthex narthex-uncounted
more "narthex, an access log" narthex-log narthex
more "nginx, an access log" nginx-log nginx
if [ -n "$OUT" ]; then
    printf '{"date": "%s", "scenario": "%s", "connections": %d, "short": %d, "long": %d, "runs": %d, "base": "%s", "proxies": {%s}}\n' \
        "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$SCENARIO" "$CONNS" "$SHORT" "$LONG" "$RUNS" "$BASE" "$json" >"$OUT"
    note "results in $OUT"
fi
if [ -n "${MAX_RATIO:-}${MAX_INSTRUCTIONS:-}" ] && ((!judged)); then die "MAX_RATIO and MAX_INSTRUCTIONS need narthex among the proxies"; fi
exit "$over"
