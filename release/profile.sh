#!/usr/bin/env bash
# profile.sh: makes release/profile/ anew from the benchmark's load (two builds' time). It holds the profile that releases are
# optimised by, the rustc it was made by, and its hot functions. A new version of narthex or of a crate has other names for its
# functions, so this comes after all other changes for a release.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
llvm=$(rustc -vV | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p')
merge=llvm-profdata-$llvm
command -v "$merge" >/dev/null || { echo "needs $merge, which reads what this rustc writes (Debian: apt-get install llvm-$llvm)" >&2; exit 1; }
raw=$(mktemp -d)
trap 'rm -rf "$raw"' EXIT
build=target/profile-build
release/compile.sh "$build" "-C profile-generate=$PWD/$build/raw"
NARTHEX=$build/x86_64-unknown-linux-gnu/release/narthex OUT=$raw/load benches/compare/profile.sh
mkdir -p release/profile
# Functions that were never called are left out: of those the compiler knows what it knew before.
"$merge" merge --sparse -o release/profile/narthex.profdata "$raw"/load/*.profraw
"$merge" merge --sparse --text -o "$raw/text" "$raw"/load/*.profraw
release/profile.py hot "$raw/text"
