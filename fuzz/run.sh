#!/usr/bin/env bash
# Builds all fuzz targets and runs each for SECONDS (default 60) from its corpus, two at a time. Fails on what is found.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
seconds=${1:-60}
found=$PWD/found work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$found"
if ! cargo +nightly --version >/dev/null 2>&1; then
  echo "there is no nightly toolchain here: NO fuzz target is run"
  exit 0
fi
cargo +nightly fuzz build --fuzz-dir . 2>"$work/build.log" || { tail -n 60 "$work/build.log"; exit 1; }
triple=$(rustc -vV | sed -n 's/^host: //p')
one() {
  local target=$1 began=$SECONDS
  mkdir -p "$work/$target"
  if "${CARGO_TARGET_DIR:-target}/$triple/release/$target" -max_total_time="$seconds" -max_len=2048 -timeout=25 -artifact_prefix="$found/$target-" \
    "$work/$target" "corpus/$target" >"$work/$target.log" 2>&1; then
    echo "ok   $target: $(grep -oE 'Done [0-9]+ runs' "$work/$target.log" | grep -oE '[0-9]+') inputs in $((SECONDS - began)) s"
  else
    echo "FAIL $target: see fuzz/found/"
    grep -nE -A6 'panicked|ERROR: ' "$work/$target.log" | head -n 40
    return 1
  fi
}
export -f one
export work found seconds triple
printf '%s\n' corpus/* | xargs -n1 basename | xargs -P2 -I{} bash -c 'one {}'
