#!/usr/bin/env bash
# passthrough.sh: narthex beside HAProxy where TLS is passed through by its name: CPU time a MiB and a connection, and memory.
#
#   bytes    one connection, as many bytes from the pod as the proxy passes on
#   conns    connections one after the other: a ClientHello, a byte of an answer, and the end
#   idle     connections that say nothing any more
#
# As in tls.sh: each proxy has one worker on a CPU of its own, rounds rotate, and what counts is utime+stime of the proxy over a round,
# divided by the MiB or the connections; the ratio is the median of the rounds' ratios to HAProxy. HAProxy is configured as
# OpenShift's router does it: mode tcp, the ClientHello is inspected, and a map leads from its name to a backend.
#
#   PASSED="bytes conns idle" ROUNDS=3 SECS=5 IDLE=10000 MAX_RATIO= NARTHEX= PORT_BASE=18400
#
# Exit status: 0; 1 when MAX_RATIO is passed; 2 when it could not be measured.
set -euo pipefail

# shellcheck source=benches/compare/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

PASSED=${PASSED:-bytes conns idle}
ROUNDS=${ROUNDS:-3}
SECS=${SECS:-5}
IDLE=${IDLE:-10000}
ticks=$(getconf CLK_TCK)
declare -A pid_of port_at=([narthex]=$((PORT_BASE + 21)) [haproxy]=$((PORT_BASE + 25)))

cpu_ticks() { sed 's/.*) //' "/proc/$1/stat" | awk '{ print $12 + $13 }'; }

[ $# -eq 0 ] || die "takes no arguments; settings are environment variables: ${BASH_SOURCE[0]} begins with the list"
need python3 haproxy
prepare
client() { taskset -c "$LOAD_CPU" "$here/passthrough.py" "$@"; }

for port in "$BACKEND_PORT" "$NARTHEX_PORT" "$NARTHEX_ADMIN_PORT" "${port_at[@]}"; do
    port_is_free "$port" || die "port $port is in use; set PORT_BASE"
done
launch pod "$LOAD_CPU" "$here/passthrough.py" pod "$BACKEND_PORT"
passed_through "$HOST" "$BACKEND_PORT"
printf '^%s$ passed\n' "${HOST//./\\.}" >"$scratch/conf/map"
cat >"$scratch/conf/passed.cfg" <<END
global
  nbthread 1
defaults
  mode tcp
  timeout connect 5s
  timeout client 1h
  timeout server 1h
frontend tls
  bind 127.0.0.1:${port_at[haproxy]} backlog 4096
  tcp-request inspect-delay 5s
  tcp-request content accept if { req_ssl_hello_type 1 }
  use_backend %[req_ssl_sni,lower,map_reg($scratch/conf/map)]
backend passed
  balance source
  server pod 127.0.0.1:$BACKEND_PORT
END
# shellcheck disable=SC2086  # a list of words
launch narthex "$PROXY_CPU" "$NARTHEX" serve --manifests "$scratch/conf/narthex" --listen-http "127.0.0.1:$NARTHEX_PORT" \
    --listen-https "127.0.0.1:${port_at[narthex]}" --admin "127.0.0.1:$NARTHEX_ADMIN_PORT" --shards 1 $NARTHEX_ARGS
pid_of[narthex]=$launched
launch haproxy "$PROXY_CPU" haproxy -db -f "$scratch/conf/passed.cfg"
pid_of[haproxy]=$launched
for name in narthex haproxy; do
    for ((i = 0; ; i++)); do
        kill -0 "${pid_of[$name]}" 2>/dev/null || { show_log "$name"; die "$name ended"; }
        if client conns "${port_at[$name]}" "$HOST" 0.1 >/dev/null 2>&1; then break; fi
        [ "$i" -lt 150 ] || { show_log "$name"; die "$name does not pass connections on"; }
        sleep 0.1
    done
    bin=$(binary "$name")
    note "$name $(version "$name") is ready"
done

: >"$scratch/results"
printf 'scenario round proxy      CPU us each         done\n'
for s in $PASSED; do
    [ "$s" != idle ] || continue
    for name in narthex haproxy; do client "$s" "${port_at[$name]}" "$HOST" 1 >/dev/null; done
    for ((round = 1; round <= ROUNDS; round++)); do
        proxies=(narthex haproxy)
        if ((round % 2 == 0)); then proxies=(haproxy narthex); fi
        for name in "${proxies[@]}"; do
            before=$(cpu_ticks "${pid_of[$name]}")
            made=$(client "$s" "${port_at[$name]}" "$HOST" "$SECS") || die "$name: $s failed"
            after=$(cpu_ticks "${pid_of[$name]}")
            [ "$made" -gt 0 ] || die "$name: nothing was passed on"
            each=$(awk -v t=$((after - before)) -v hz="$ticks" -v n="$made" 'BEGIN { printf "%.2f", t / hz * 1e6 / n }')
            printf '%s %s %s %s %s\n' "$s" "$round" "$name" "$each" "$made" >>"$scratch/results"
            printf '%-8s %5d %-10s %11s %12d\n' "$s" "$round" "$name" "$each" "$made"
        done
    done
done
case " $PASSED " in *" idle "*)
    for name in narthex haproxy; do
        read -r made bytes < <(client idle "${port_at[$name]}" "$HOST" "$IDLE" "${pid_of[$name]}")
        awk -v name="$name" -v n="$made" -v b="$bytes" 'BEGIN {
            printf "idle           %-10s %d connections: %.1f MiB, %.0f bytes each\n", name, n, b / 1048576, b / n }'
    done
    ;;
esac

status=0
# shellcheck disable=SC2016  # an awk program
awk -v max="${MAX_RATIO:-0}" -v secs="$SECS" "$MEDIAN"'
    { if (!($1 in seen)) { seen[$1]; scenarios[++ns] = $1 }
      one[$1, $3, $2] = $4; all[$1, $3] = all[$1, $3] " " $4; done[$1, $3] = done[$1, $3] " " $5 / secs
      if ($2 + 0 > rounds) rounds = $2 + 0 }
    END {
        if (!ns) exit 0
        printf "\n%-9s %-10s %14s %12s %10s\n", "scenario", "proxy", "CPU us each", "a second", "x haproxy"
        for (i = 1; i <= ns; i++) for (j = 1; j <= 2; j++) {
            s = scenarios[i]; p = j == 1 ? "narthex" : "haproxy"; list = ""
            for (r = 1; r <= rounds; r++) if (one[s, "haproxy", r] > 0) list = list " " (one[s, p, r] / one[s, "haproxy", r])
            ratio = list == "" ? 0 : median(list)
            printf "%-9s %-10s %14.2f %12.0f %10s\n", s, p, median(all[s, p]), median(done[s, p]), ratio ? sprintf("%.2f", ratio) : "-"
            if (max > 0 && p == "narthex" && ratio > max) bad = 1
        }
        exit bad
    }' "$scratch/results" || status=1
exit "$status"
