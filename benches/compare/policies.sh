#!/usr/bin/env bash
# policies.sh [NAME...]: user-space instructions that each policy of a route adds to a request, counted by instructions.sh,
# beside what it may add at most. Without names, all of them.
#
#   OUT=FILE.json                   machine-readable results
#   SHORT= LONG= CONNS= NARTHEX= .. as in instructions.sh
#
# Exit status: 0; 1 when a policy adds more than it may; 2 when it could not be measured.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
die() { echo "policies.sh: $*" >&2; exit 2; }
for program in openssl valgrind h2load; do command -v "$program" >/dev/null || die "$program is missing"; done

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

base64url() { base64 -w0 | tr '+/' '-_' | tr -d '='; }

# A key pair, its public half as a JWK Set, and a token.
openssl genpkey -algorithm ed25519 -out "$work/key.pem" 2>/dev/null
public=$(openssl pkey -in "$work/key.pem" -pubout -outform DER | tail -c 32 | base64url)
head=$(printf '{"alg":"EdDSA","kid":"1"}' | base64url)
claims=$(printf '{"sub":"ann","iss":"https://login.example.com","aud":"api","exp":%d}' $(($(date +%s) + 86400)) | base64url)
printf '%s.%s' "$head" "$claims" >"$work/text"
signature=$(openssl pkeyutl -sign -rawin -inkey "$work/key.pem" -in "$work/text" | base64url)
token=$head.$claims.$signature

cat >"$work/objects.yaml" <<END
apiVersion: v1
kind: Secret
metadata: {name: users, namespace: default}
stringData: {auth: "ann:$(openssl passwd -apr1 secret)"}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: keys, namespace: default}
data: {jwks.json: '{"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "1", "x": "$public"}]}'}
END

networks=127.0.0.0/8
for ((n = 1; n < 16; n++)); do networks+=", 10.$n.0.0/16"; done

# of NAME: what narthex is asked for, in the variables of instructions.sh, and what that may add ($most; a percentage is of
# the request without policies).
of() {
    ANNOTATIONS='' FIELD='' CLASS=narthex RULE_PATH=/ PATH_TYPE=Prefix NARTHEX_ARGS=''
    case $1 in
    none) most=0 ;;
    nginx-class) most=1500 CLASS=nginx NARTHEX_ARGS='--drop-in ingress-nginx' ;;
    fields)
        most=1500
        ANNOTATIONS='narthex.io/request-headers-set: "X-A: 1\\nX-B: $scheme\\nX-C: $host", narthex.io/response-headers-set: "X-D: 1\\nX-E: 2\\nX-F: 3"'
        ;;
    regex)
        most=4000 RULE_PATH='/(.*)' PATH_TYPE=ImplementationSpecific
        ANNOTATIONS='narthex.io/path-regex: "true", narthex.io/rewrite-target: "/$1"'
        ;;
    addresses) most=300 ANNOTATIONS="narthex.io/allow-addresses: \"$networks\"" ;;
    rate) most=1000 ANNOTATIONS='narthex.io/rate-limit: "1000000/s"' ;;
    cors) most=1200 FIELD='Origin: https://a.example.com' ANNOTATIONS='narthex.io/cors-allow-origin: "https://a.example.com, https://*.example.org"' ;;
    basic)
        most=3000 FIELD="Authorization: Basic $(printf 'ann:secret' | base64)"
        ANNOTATIONS='narthex.io/auth-basic-secret: "users"'
        ;;
    jwt)
        most=3000 FIELD="Authorization: Bearer $token"
        ANNOTATIONS='narthex.io/auth-jwt-configmap: "keys", narthex.io/auth-jwt-issuer: "https://login.example.com", narthex.io/auth-jwt-audience: "api", narthex.io/auth-jwt-claims: "sub=X-User"'
        ;;
    split) most=300 ANNOTATIONS='narthex.io/canary-service: "web", narthex.io/canary-weight: "50"' ;;
    external) most=110% ANNOTATIONS='narthex.io/auth-url: "http://web.default.svc/"' ;;
    *) die "there is no policy \"$1\" (${all[*]})" ;;
    esac
}

all=(none nginx-class fields regex addresses rate cors basic jwt split external)
names=("$@")
[ $# -gt 0 ] || names=("${all[@]}")
[ "${names[0]}" = none ] || names=(none "${names[@]}")

printf '%-12s %14s %10s %10s\n' policy instructions more 'at most'
none=0 over=0 json=''
for name in "${names[@]}"; do
    of "$name"
    export ANNOTATIONS FIELD CLASS RULE_PATH PATH_TYPE NARTHEX_ARGS
    MORE_OBJECTS=$work/objects.yaml ONLY=narthex OUT=$work/out.json "$here/instructions.sh" >"$work/log" 2>&1 ||
        { tail -n 20 "$work/log" >&2; die "$name could not be measured"; }
    figure=$(sed -nE 's/.*"narthex": \{"instructions": ([0-9]+).*/\1/p' "$work/out.json")
    if [ "$name" = none ]; then none=$figure; fi
    more=$((figure - none))
    case $most in *%) most=$((none * ${most%\%} / 100)) ;; esac
    printf '%-12s %14d %10d %10d%s\n' "$name" "$figure" "$more" "$most" "$( ((more > most)) && echo '  over')"
    if ((more > most)); then over=1; fi
    json+="${json:+, }\"$name\": {\"instructions\": $figure, \"more\": $more, \"most\": $most}"
done
if [ -n "${OUT:-}" ]; then printf '{%s}\n' "$json" >"$OUT"; fi
exit "$over"
