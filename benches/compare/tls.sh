#!/usr/bin/env bash
# tls.sh: narthex beside nginx and HAProxy under TLS 1.3 with one ECDSA P-256 certificate: CPU time a request or a connection.
#
#   tls      HTTP/1.1 over TLS, kept alive, 64 connections (h2load --h1)
#   h2       HTTP/2 over TLS, 8 connections with 32 streams each (h2load)
#   full     a full handshake, a request and the end of the connection, one after the other (handshake.py)
#   resumed  the same with a ticket; it fails if any but the first of a round was not resumed
#
# As in run.sh: each proxy has one worker on a CPU of its own, rounds rotate, and what counts is utime+stime of the proxy's
# processes over a round, divided by what was answered; the ratio is the median of the rounds' ratios to nginx.
#
#   SCENARIOS="tls h2 full resumed" ONLY="narthex nginx haproxy" ROUNDS=3 SECS=5 BASE=nginx MAX_RATIO= NARTHEX= PORT_BASE=18400
#   Scenarios of run.sh, and Envoy and Caddy, are left out here.
#
# Exit status: 0; 1 when MAX_RATIO is passed; 2 when it could not be measured.
set -euo pipefail

TLS=1
# shellcheck source=benches/compare/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

SCENARIOS=$(scenarios "$UNDER_TLS")
# Envoy and Caddy are measured in plain alone.
ONLY=$(for name in ${ONLY:-narthex nginx haproxy}; do case $name in envoy | caddy) ;; *) echo "$name" ;; esac; done)
ROUNDS=${ROUNDS:-3}
SECS=${SECS:-5}
ticks=$(getconf CLK_TCK)

cpu_ticks() {
    local pid
    for pid in $(descendants "$1"); do cat "/proc/$pid/stat" 2>/dev/null || true; done |
        sed 's/.*) //' | awk '{ t += $12 + $13 + $14 + $15 } END { print t + 0 }'
}

# load SCENARIO SECONDS PORT: leaves the number of requests in $answered.
load() {
    local report=$scratch/tmp/load made resumed
    case $1 in
    tls | h2)
        local how=(--h1 -c 64)
        if [ "$1" = h2 ]; then how=(-c 8 -m 32); fi
        h2load -t1 "${how[@]}" -D "$2" -H ":authority: $HOST" "https://127.0.0.1:$3/" >"$report" 2>&1 || { cat "$report" >&2; die "h2load failed"; }
        answered=$(sed -nE 's/^status codes: ([0-9]+) 2xx, 0 3xx, 0 4xx, 0 5xx/\1/p' "$report")
        [ "${answered:-0}" -gt 0 ] || { cat "$report" >&2; die "h2load had no answers, or others than 200"; }
        agreed=$(sed -nE 's/^(TLS Protocol|Cipher|Server Temp Key|Application protocol): //p' "$report" | paste -sd' ')
        ;;
    full | resumed)
        "$here/handshake.py" "$3" "$HOST" "$2" "$1" >"$report" || die "handshake.py failed"
        read -r made resumed agreed <"$report"
        if [ "$1" = full ]; then [ "$resumed" = 0 ] || die "$resumed of $made handshakes were resumed"; fi
        if [ "$1" = resumed ]; then [ "$resumed" -ge $((made - 1)) ] || die "only $resumed of $made handshakes were resumed"; fi
        answered=$made
        ;;
    esac
}

[ $# -eq 0 ] || die "takes no arguments; settings are environment variables: ${BASH_SOURCE[0]} begins with the list"
if [ -z "$SCENARIOS" ] || [ -z "$ONLY" ]; then
    note "SCENARIOS has none of $UNDER_TLS, or ONLY no proxy that is measured under TLS: nothing to measure there"
    exit 0
fi
need h2load python3 openssl
prepare
certify
start_backend
declare -A pid_of
for name in $ONLY; do
    start_proxy "$name"
    pid_of[$name]=$launched
    bin=$(binary "$name")
    note "$name $(version "$name") is ready"
done
mapfile -t proxies <<<"$ONLY"
: >"$scratch/results"
printf 'scenario round proxy      CPU us each     answered  agreed\n'
for s in $SCENARIOS; do
    for name in "${proxies[@]}"; do load "$s" 1 "$(tls_port "$(port_of "$name")")"; done
    for ((round = 1; round <= ROUNDS; round++)); do
        for ((i = 0; i < ${#proxies[@]}; i++)); do
            name=${proxies[(i + round - 1) % ${#proxies[@]}]}
            before=$(cpu_ticks "${pid_of[$name]}")
            load "$s" "$SECS" "$(tls_port "$(port_of "$name")")"
            after=$(cpu_ticks "${pid_of[$name]}")
            each=$(awk -v t=$((after - before)) -v hz="$ticks" -v n="$answered" 'BEGIN { printf "%.2f", t / hz * 1e6 / n }')
            printf '%s %s %s %s\n' "$s" "$round" "$name" "$each" >>"$scratch/results"
            printf '%-8s %5d %-10s %11s %12d  %s\n' "$s" "$round" "$name" "$each" "$answered" "$agreed"
        done
    done
done

status=0
# shellcheck disable=SC2016  # an awk program
awk -v base="$BASE" -v max="${MAX_RATIO:-0}" "$MEDIAN"'
    { if (!($1 in seen)) { seen[$1]; scenarios[++ns] = $1 }
      if (!($3 in known)) { known[$3]; names[++np] = $3 }
      one[$1, $3, $2] = $4; all[$1, $3] = all[$1, $3] " " $4; if ($2 + 0 > rounds) rounds = $2 + 0 }
    END {
        printf "\n%-9s %-10s %14s %9s\n", "scenario", "proxy", "CPU us each", "x " base
        for (i = 1; i <= ns; i++) for (j = 1; j <= np; j++) {
            s = scenarios[i]; p = names[j]; list = ""
            for (r = 1; r <= rounds; r++) if (one[s, base, r] > 0) list = list " " (one[s, p, r] / one[s, base, r])
            ratio = list == "" ? 0 : median(list)
            printf "%-9s %-10s %14.2f %9s\n", s, p, median(all[s, p]), ratio ? sprintf("%.2f", ratio) : "-"
            if (max > 0 && p == "narthex" && ratio > max) bad = 1
        }
        exit bad
    }' "$scratch/results" || status=1
exit "$status"
