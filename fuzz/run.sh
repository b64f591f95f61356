#!/usr/bin/env bash
# run.sh [SECONDS [TARGET...]]: builds all fuzz targets and runs each for SECONDS (default 60) from its corpus, two at a
# time. Fails on what is found, and where nothing can be run.
#
#   FUZZ_CORPUS=DIR   keep what a run adds to the corpus in DIR/TARGET, and start from it too
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
seconds=${1:-60}
targets=("${@:2}")
[ ${#targets[@]} -gt 0 ] || for folder in corpus/*; do targets+=("${folder#corpus/}"); done

# Sanitizers need a nightly compiler, or a stable one that is told to be like one.
if cargo +nightly --version >/dev/null 2>&1; then
    cargo=(cargo +nightly)
elif cargo --version >/dev/null 2>&1; then
    cargo=(env RUSTC_BOOTSTRAP=1 cargo)
else
    echo "there is no Rust here: no fuzz target can be built" >&2
    exit 1
fi
"${cargo[@]}" fuzz --version >/dev/null 2>&1 || { echo "cargo-fuzz is missing: \`make fuzz\` installs it" >&2; exit 1; }

# Kept outside the tree, so that a second run builds only what has changed. cargo never deletes what it does not use any more.
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/narthex/fuzz}
# One build takes 6,900 MiB.
most_mib=12000
mkdir -p "$CARGO_TARGET_DIR"
if (($(du -sm "$CARGO_TARGET_DIR" | cut -f1) > most_mib)); then rm -rf "${CARGO_TARGET_DIR:?}"/*; fi

found=$PWD/found work=$(mktemp -d -p "$CARGO_TARGET_DIR" run.XXXXXX)
trap 'rm -rf "$work"' EXIT
mkdir -p "$found"
began=$SECONDS
# Its own lock, since another tree's build would replace the programs.
(
    flock 9
    "${cargo[@]}" fuzz build --fuzz-dir . 2>"$work/build.log" || { tail -n 60 "$work/build.log"; exit 1; }
    triple=$(rustc -vV | sed -n 's/^host: //p')
    for target in "${targets[@]}"; do ln "$CARGO_TARGET_DIR/$triple/release/$target" "$work/$target.bin"; done
) 9>"$CARGO_TARGET_DIR/lock"
echo "built ${#targets[@]} targets with $("${cargo[@]}" --version) in $((SECONDS - began)) s"

one() {
    local target=$1 began=$SECONDS log=$work/$1.log
    local added=${FUZZ_CORPUS:-$work}/$target options=()
    mkdir -p "$added"
    case $target in request | response | inbound) options+=(-dict=http.dict) ;; esac
    # These run threads, and what one holds that is just beginning looks like a leak.
    case $target in inbound | proxy_header) options+=(-detect_leaks=0) ;; esac
    if "$work/$target.bin" -max_total_time="$seconds" -max_len=2048 -timeout=25 -artifact_prefix="$found/$target-" \
        "${options[@]}" "$added" "corpus/$target" >"$log" 2>&1; then
        echo "ok   $target: $(grep -oE 'Done [0-9]+ runs' "$log" | grep -oE '[0-9]+') inputs in $((SECONDS - began)) s"
    else
        # What failed comes last, when all targets have run.
        {
            echo "FAIL $target: the input is in fuzz/found/"
            grep -nE -A6 'panicked|ERROR: ' "$log" | head -n 40
            tail -n 15 "$log"
        } >"$work/$target.failed"
    fi
}
export -f one
export work found seconds
printf '%s\n' "${targets[@]}" | xargs -P2 -I{} bash -c 'one {}'
if cat "$work"/*.failed 2>/dev/null; then exit 1; fi
echo "nothing was found"
