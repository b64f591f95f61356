#!/usr/bin/env bash
# What is given out: the static program (with the list of its crates inside, for cargo-audit), an image made of it, the Helm
# chart, a bill of materials (CycloneDX), checksums. Nothing in it depends on where or when it was built.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
target=x86_64-unknown-linux-gnu
tools=${XDG_CACHE_HOME:-$HOME/.cache}/narthex/tools
export PATH="$tools/bin:$PATH"
command -v cargo-cyclonedx >/dev/null || cargo install --locked --quiet --root "$tools" cargo-cyclonedx
version=$(cargo metadata --locked --no-deps --format-version 1 | python3 -c 'import json, sys; print(json.load(sys.stdin)["packages"][0]["version"])')
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH
out=${1:-target/dist} build=${BUILD_DIR:-target/release-build}
mkdir -p "$out"
release/profile.py rustc
# What was built before would not say again which functions match the profile.
rm -rf "$build"
release/compile.sh "$build" "-C profile-use=$PWD/release/profile/narthex.profdata -C llvm-args=-pgo-view-counts=text" 2>&1 |
    release/profile.py matched "$build.matched"
release/profile.py check "$build.matched"
binary=$build/$target/release/narthex
install -m 755 "$binary" "$out/narthex-$version-x86_64-linux"
tests/cluster/image.py "$out/narthex-$version-image.tar" "narthex:$version" --entrypoint '["/narthex"]' "$binary=/narthex"
cargo cyclonedx --quiet --format json --target $target --override-filename narthex-sbom
# Serial number and time would differ each time.
python3 - "$out/narthex-$version-sbom.cdx.json" <<'PY'
import glob, json, os, sys
found = glob.glob("narthex-sbom*.json")
bill = json.load(open(found[0]))
bill.pop("serialNumber", None)
bill["metadata"].pop("timestamp", None)
text = json.dumps(bill, indent=1, sort_keys=True).replace(f"path+file://{os.getcwd()}", "path+file:///narthex")
open(sys.argv[1], "w").write(text + "\n")
for path in found:
    os.remove(path)
PY
# As `helm package` packs it, but for the time of packing.
tar --create --directory charts --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner --mode=go=rX,u+rw,a-s \
    --exclude=.helmignore narthex | gzip --no-name -9 >"$out/narthex-$version-chart.tgz"
(cd "$out" && sha256sum narthex-"$version"-* >SHA256SUMS && cat SHA256SUMS)
