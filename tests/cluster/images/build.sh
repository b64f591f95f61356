#!/bin/bash
# build.sh OUT_DIR: the images every test cluster needs, from the sources in this folder: narthex.test/pause:1 and
# narthex.test/backend:1 (and :2, the same program, for tests that change a deployment's image).
set -euo pipefail
out=${1:?usage: build.sh OUT_DIR}
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$out"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for program in pause backend; do
  ${CC:-gcc} -O2 -Wall -Wextra -Werror -static -s -o "$work/$program" "$here/$program.c"
  "$here/../image.py" "$out/$program.tar" "narthex.test/$program:1" --entrypoint "[\"/$program\"]" "$work/$program=/$program"
done
"$here/../image.py" "$out/backend2.tar" narthex.test/backend:2 --entrypoint '["/backend"]' "$work/backend=/backend"
