#!/usr/bin/env bash
# latency.sh: how long requests take beside nginx and HAProxy at half of nginx's highest load.
#
# First wrk finds how many requests a second BASE answers at most. Then h2load sends half as many, evenly, on 64 connections
# to each proxy in turn, and notes how long each took. Backend and load generator share one CPU, each proxy has the other.
#
#   ONLY="narthex nginx haproxy" BASE=nginx ROUNDS=5 SECS=5 SHARE=0.5 NARTHEX= PORT_BASE=18400 PROXY_CPU=0 LOAD_CPU=1
#
# Exit status: 0; 2 when it could not be measured.
set -euo pipefail

# shellcheck source=benches/compare/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

ONLY=${ONLY:-narthex nginx haproxy}
ROUNDS=${ROUNDS:-5}
SECS=${SECS:-5}
SHARE=${SHARE:-0.5}
conns=64

[ $# -eq 0 ] || die "takes no arguments; settings are environment variables: ${BASH_SOURCE[0]} begins with the list"
need h2load wrk
prepare
start_backend
read -ra proxies <<<"$ONLY"
for name in "${proxies[@]}"; do
    start_proxy "$name"
    verify "$name" "$(port_of "$name")"
    bin=$(binary "$name")
    note "$name $(version "$name") is ready"
done

most=$(wrk -t1 -c "$conns" -d 4s -H "Host: $HOST" "http://127.0.0.1:$(port_of "$BASE")/" | sed -nE 's/^Requests\/sec: *([0-9.]+).*/\1/p')
each=$(awk -v most="${most:-0}" -v share="$SHARE" -v conns="$conns" 'BEGIN { printf "%d", most * share / conns }')
[ "$each" -gt 0 ] || die "$BASE answered nothing"
printf '%s answers %.0f requests a second at most; each proxy gets %d\n\nround proxy       p50 us  p99 us p99.9 us  requests/s\n' "$BASE" "$most" $((each * conns))

# load NAME SECONDS: leaves a line for each request in tmp/log: when it began (us), its status, and how many us it took.
load() {
    h2load --h1 -t1 -c "$conns" -D "$2" --rps="$each" --log-file="$scratch/tmp/log" -H ":authority: $HOST" \
        "http://127.0.0.1:$(port_of "$1")/" >"$scratch/tmp/load" 2>&1 || { cat "$scratch/tmp/load" >&2; die "h2load failed"; }
    awk '$2 != 200 { exit 1 }' "$scratch/tmp/log" || die "$1 gave other answers than 200"
}

: >"$scratch/results"
for name in "${proxies[@]}"; do load "$name" 2; done
for ((round = 1; round <= ROUNDS; round++)); do
    for ((i = 0; i < ${#proxies[@]}; i++)); do
        name=${proxies[(i + round - 1) % ${#proxies[@]}]}
        rm -f "$scratch/tmp/log"
        load "$name" "$SECS"
        cut -f3 "$scratch/tmp/log" | sort -n |
            awk -v name="$name" -v round="$round" -v secs="$SECS" '{ us[NR] = $1 } END {
                print round, name, us[int(NR * 0.5) + 1], us[int(NR * 0.99) + 1], us[int(NR * 0.999) + 1], NR / secs }' |
            tee -a "$scratch/results" | awk '{ printf "%5d %-10s %7d %7d %8d %11d\n", $1, $2, $3, $4, $5, $6 }'
    done
done

# shellcheck disable=SC2016  # an awk program
awk -v names="${proxies[*]}" "$MEDIAN"'
    { p50[$2] = p50[$2] " " $3; p99[$2] = p99[$2] " " $4; p999[$2] = p999[$2] " " $5 }
    END {
        printf "\nmedians of the rounds\n%-10s %7s %7s %8s\n", "proxy", "p50 us", "p99 us", "p99.9 us"
        n = split(names, name, " ")
        for (i = 1; i <= n; i++) printf "%-10s %7d %7d %8d\n", name[i], median(p50[name[i]]), median(p99[name[i]]), median(p999[name[i]])
    }' "$scratch/results"
