#!/usr/bin/env bash
# twice.sh: builds what is committed in two folders of different names, from two clones, and compares all that comes out.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for place in first a-second-place/deeper; do
    git clone --quiet --no-hardlinks . "$work/$place"
    (cd "$work/$place" && make --quiet dashboard && release/build.sh "$work/$place/out" >"$work/log" 2>&1) || { tail -n 40 "$work/log"; exit 1; }
done
diff "$work/first/out/SHA256SUMS" "$work/a-second-place/deeper/out/SHA256SUMS"
cat "$work/first/out/SHA256SUMS"
echo "the same bytes, twice"
