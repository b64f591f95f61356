#!/usr/bin/env python3
"""Makes a container image from static binaries, without Docker.

    image.py OUT.tar NAME:TAG [--entrypoint JSON] [--cmd JSON] [--env KEY=VALUE]... [--label KEY=VALUE]... FILE=/DEST...

OUT.tar is what `docker save` would write: `docker load`, `podman load`, `ctr images import` and `skopeo` take it.
One layer holds the given files, owned by root, executable ones 0755 and others 0644, with the capabilities that setcap(8)
gave them. The same input gives the same bytes:
every time stamp is zero and every order is sorted. A dynamically linked program is refused, for nothing here could run it.
"""

import argparse
import hashlib
import io
import json
import os
import struct
import sys
import tarfile

ARCHITECTURES = {62: "amd64", 183: "arm64"}  # ELF e_machine
PT_INTERP = 3
EPOCH = "1970-01-01T00:00:00Z"


def elf(path, data):
    """The architecture of an ELF program, None for any other file; exits if it needs a dynamic loader."""
    if data[:4] != b"\x7fELF":
        return None
    if data[4] != 2 or data[5] != 1:
        sys.exit(f"image.py: {path}: only 64-bit little-endian programs are supported")
    machine, = struct.unpack_from("<H", data, 18)
    table, = struct.unpack_from("<Q", data, 32)
    size, number = struct.unpack_from("<HH", data, 54)
    for i in range(number):
        if struct.unpack_from("<I", data, table + i * size)[0] == PT_INTERP:
            sys.exit(f"image.py: {path} is dynamically linked; link it statically "
                     '(Rust: RUSTFLAGS="-C target-feature=+crt-static", C: gcc -static, Go: CGO_ENABLED=0)')
    return ARCHITECTURES.get(machine) or sys.exit(f"image.py: {path}: unknown machine {machine}")


def capabilities(path):
    try:
        return os.getxattr(path, "security.capability")
    except OSError:
        return b""


def entry(name, kind, mode, size=0):
    info = tarfile.TarInfo(name)
    info.type, info.mode, info.size, info.mtime = kind, mode, size, 0
    info.uid = info.gid = 0
    info.uname = info.gname = ""
    return info


def archive(files):
    """A tar of {name: (mode, bytes, capabilities)}, with the folders that lead to them."""
    folders = set()
    for name in files:
        parts = name.split("/")[:-1]
        folders.update("/".join(parts[: i + 1]) for i in range(len(parts)))
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name in sorted(folders | set(files)):
            if name in folders:
                tar.addfile(entry(name, tarfile.DIRTYPE, 0o755))
            else:
                mode, data, capabilities = files[name]
                info = entry(name, tarfile.REGTYPE, mode, len(data))
                if capabilities:
                    info.pax_headers["SCHILY.xattr.security.capability"] = capabilities.decode("utf-8", "surrogateescape")
                tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def pairs(values, what):
    for value in values:
        if "=" not in value:
            sys.exit(f"image.py: {what} {value!r} is not KEY=VALUE")
    return dict(value.split("=", 1) for value in values)


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("out")
    parser.add_argument("name")
    parser.add_argument("files", nargs="+")
    parser.add_argument("--entrypoint", type=json.loads)
    parser.add_argument("--cmd", type=json.loads)
    parser.add_argument("--env", action="append", default=[])
    parser.add_argument("--label", action="append", default=[])
    arguments = parser.parse_args()
    if ":" not in arguments.name.rsplit("/", 1)[-1]:
        sys.exit(f"image.py: {arguments.name}: give a tag (and not `latest`, which kubelets try to pull)")

    files, architecture = {}, None
    for source, destination in pairs(arguments.files, "file").items():
        with open(source, "rb") as f:
            data = f.read()
        architecture = elf(source, data) or architecture
        files[destination.strip("/")] = (0o755 if os.access(source, os.X_OK) else 0o644, data, capabilities(source))

    layer = archive(files)
    config = {
        "architecture": architecture or "amd64",
        "os": "linux",
        "created": EPOCH,
        "config": {
            "Entrypoint": arguments.entrypoint,
            "Cmd": arguments.cmd,
            "Env": ["PATH=/"] + arguments.env,
            "Labels": pairs(arguments.label, "label"),
            "WorkingDir": "/",
        },
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(layer).hexdigest()]},
        "history": [{"created": EPOCH, "created_by": "tests/cluster/image.py"}],
    }
    config["config"] = {key: value for key, value in config["config"].items() if value}
    config = json.dumps(config, sort_keys=True, separators=(",", ":")).encode()
    config_name = hashlib.sha256(config).hexdigest() + ".json"
    manifest = json.dumps([{"Config": config_name, "RepoTags": [arguments.name], "Layers": ["layer.tar"]}]).encode()

    image = archive({name: (0o644, data, b"") for name, data in ((config_name, config), ("layer.tar", layer), ("manifest.json", manifest))})
    temporary = f"{arguments.out}.{os.getpid()}"
    with open(temporary, "wb") as f:
        f.write(image)
    os.replace(temporary, arguments.out)
    print(f"{arguments.out}: {arguments.name}, {len(image) / 1e6:.1f} MB, sha256:{hashlib.sha256(image).hexdigest()}")


if __name__ == "__main__":
    main()
