#!/usr/bin/env bash
# compile.sh DIR [FLAG...]: builds the static program as releases have it, in DIR; the flags are more of rustc's.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
folder=$1
shift
tools=${XDG_CACHE_HOME:-$HOME/.cache}/narthex/tools
export PATH="$tools/bin:$PATH"
command -v cargo-auditable >/dev/null || cargo install --locked --quiet --root "$tools" cargo-auditable
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH CARGO_INCREMENTAL=0
# Paths of this machine would end up in messages of panics.
RUSTFLAGS="-C target-feature=+crt-static --remap-path-prefix=$PWD=/narthex"
RUSTFLAGS+=" --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo --remap-path-prefix=$(rustc --print sysroot)=/rust $*"
export RUSTFLAGS
cargo auditable build --release --locked --target x86_64-unknown-linux-gnu --target-dir "$folder"
