#!/usr/bin/env python3
"""Whether release/profile/ is still that of this program.

    profile.py hot TEXT        writes release/profile/hot.txt from a profile as `llvm-profdata merge --text` writes it
    profile.py rustc           fails if the profile was made by another rustc
    profile.py matched FILE    passes a build's messages on, but for the names of functions that a profile was found for, which
                               go to FILE (LLVM writes them where it is told -pgo-view-counts=text)
    profile.py check FILE      fails if more than 5 % of the hot functions are not among those
"""

import subprocess
import sys
from pathlib import Path

HOT = Path(__file__).parent / "profile" / "hot.txt"
# Functions are hot that have this part of all that was counted.
SHARE = 0.99
MOST_LOST = 0.05


def rustc():
    return subprocess.run(["rustc", "--version"], capture_output=True, text=True, check=True).stdout.strip()


def records(text):
    """Names and sums of counters: a name, `# Func Hash:`, `# Num Counters:`, `# Counter Values:` and their values."""
    lines = [line.strip() for line in text.splitlines()]
    for at, line in enumerate(lines):
        if line == "# Func Hash:":
            count = int(lines[at + 3])
            yield lines[at - 1].split(";")[-1], sum(int(value) for value in lines[at + 5 : at + 5 + count])


def write_hot(path):
    sums = {}
    for name, count in records(Path(path).read_text()):
        sums[name] = sums.get(name, 0) + count
    total, reached = sum(sums.values()), 0
    lines = [rustc()]
    for name, count in sorted(sums.items(), key=lambda pair: (-pair[1], pair[0])):
        if reached >= SHARE * total:
            break
        reached += count
        lines.append(name)
    HOT.parent.mkdir(exist_ok=True)
    HOT.write_text("\n".join(lines) + "\n")
    print(f"{len(lines) - 1} of {len(sums)} functions are hot")


def read_hot():
    if not HOT.exists():
        sys.exit("there is no profile: `make profile` makes it")
    maker, *names = HOT.read_text().splitlines()
    return maker, names


def check_rustc():
    maker, _ = read_hot()
    if maker != rustc():
        sys.exit(f"the profile was made by {maker}, and this is {rustc()}: `make profile` makes it anew")


def split_messages(path):
    """A listing is a name, a line for each block of the function, and an empty line."""
    mark = "pgo-view-counts: "
    with open(path, "w") as matched:
        for line in sys.stdin:
            if line.startswith(mark):
                matched.write(line.removeprefix(mark))
            elif not line.startswith((" - ", "block-frequency-info: ")) and line.strip():
                print(line, end="", flush=True)


def check(path):
    _, names = read_hot()
    found = set(Path(path).read_text().split())
    lost = [name for name in names if name not in found]
    print(f"{len(names) - len(lost)} of {len(names)} hot functions match the profile", file=sys.stderr)
    if len(lost) > MOST_LOST * len(names):
        print("\n".join(lost), file=sys.stderr)
        sys.exit("more than 5 % of the hot functions do not match: `make profile` makes the profile anew")


command, *arguments = sys.argv[1:]
{"hot": write_hot, "rustc": check_rustc, "matched": split_messages, "check": check}[command](*arguments)
