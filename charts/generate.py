#!/usr/bin/env python3
"""generate.py: values.yaml, the table in README.md and the chart's files/.

Each value is defined once, in values.schema.json; `x-flag` there names the flag of `narthex serve` that the value sets. The flags are
those of docs/reference.md. Alerts and dashboard are those of manifests/monitoring, copied because Helm reads only what is in the chart.
With --check, it says whether all files are what it would write."""

import json
import re
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CHART = ROOT / "charts/narthex"
MONITORING = ROOT / "manifests/monitoring"
TABLE = ("<!-- values -->\n", "<!-- end of values -->\n")
# Helm's own; nobody sets it here.
HIDDEN = {"global"}
# YAML 1.1, which Helm reads, takes these for booleans or nothing.
WORDS = {"y", "n", "yes", "no", "on", "off", "true", "false", "null"}


def written(value):
    """A value on one line, as YAML has it."""
    return json.dumps(value, ensure_ascii=False)


def block(value, indent):
    """An object or a list over several lines."""
    lines = []
    if isinstance(value, dict):
        for key, inner in value.items():
            if isinstance(inner, (dict, list)) and inner:
                lines.append(f"{indent}{key}:")
                lines += block(inner, indent + "  ")
            else:
                lines.append(f"{indent}{key}: {scalar(inner)}")
    else:
        for inner in value:
            if isinstance(inner, dict):
                first, *more = block(inner, indent + "  ")
                lines += [f"{indent}- {first.strip()}", *more]
            else:
                lines.append(f"{indent}- {scalar(inner)}")
    return lines


def scalar(value):
    """Bare where YAML cannot take it for something else."""
    plain = isinstance(value, str) and value.replace("-", "").replace(".", "").replace("/", "").isalnum()
    return value if plain and not value[0].isdigit() and value.lower() not in WORDS else written(value)


def choices(definition):
    """What an enum allows, as far as a description has to say it: `off` may also be written without quotes, and is false then."""
    return [choice for choice in definition.get("enum", []) if isinstance(choice, str)]


def meaning(definition):
    """The description, with the flag that the value sets."""
    flag = definition.get("x-flag")
    return definition["description"] + (f" (`{flag}`)" if flag else "")


def values(properties, indent=""):
    """Lines of values.yaml."""
    for name, definition in properties.items():
        if name in HIDDEN:
            continue
        text = meaning(definition)
        if not all(f"`{choice}`" in text for choice in choices(definition) if choice):
            text += f" ({', '.join(choices(definition))})"
        yield from textwrap.wrap(text, 118 - len(indent), initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ", break_on_hyphens=False)
        if "properties" in definition:
            yield f"{indent}{name}:"
            yield from values(definition["properties"], indent + "  ")
        elif isinstance(definition["default"], (dict, list)) and definition["default"]:
            yield f"{indent}{name}:"
            yield from block(definition["default"], indent + "  ")
        else:
            yield f"{indent}{name}: {scalar(definition['default'])}"


def rows(properties, path=""):
    """Lines of the table."""
    for name, definition in properties.items():
        if name in HIDDEN:
            continue
        if "properties" in definition:
            yield from rows(definition["properties"], f"{path}{name}.")
        else:
            default = definition["default"]
            shown = f"`{written(default)}`" if default not in ("", [], {}) else ""
            text = meaning(definition).replace("|", "\\|")
            if not all(f"`{choice}`" in text for choice in choices(definition) if choice):
                text += f": {', '.join(f'`{choice}`' for choice in choices(definition))}"
            yield f"| `{path}{name}` | {shown} | {text} |"


def typed(properties, path=()):
    """The values that set a flag, with their defaults: a flag is left out while its value is the default."""
    for name, definition in properties.items():
        if "properties" in definition:
            yield from typed(definition["properties"], (*path, name))
        elif "x-flag" in definition:
            yield {"flag": definition["x-flag"], "path": [*path, name], "default": definition["default"]}


def flags(schema):
    """What templates have to know about flags: those of `narthex serve`, and the values that set some of them."""
    section = (ROOT / "docs/reference.md").read_text().partition("## Flags of `narthex serve`")[2].partition("\n## ")[0]
    names = re.findall(r"^\| `(--[a-z0-9-]+).*$", section, re.MULTILINE)
    values = list(typed(schema["properties"]))
    repeated = re.findall(r"^\| `(--[a-z0-9-]+).*Can be repeated", section, re.MULTILINE)
    lists = {value["flag"] for value in values if isinstance(value["default"], list)} | set(repeated)
    return json.dumps({"names": names, "lists": sorted(lists), "values": values}, indent=1) + "\n"


def main():
    schema = json.loads((CHART / "values.schema.json").read_text())
    head = "# Made by charts/generate.py from values.schema.json.\n"
    readme = CHART / "README.md"
    before, _, rest = readme.read_text().partition(TABLE[0])
    after = rest.partition(TABLE[1])[2]
    table = "| value | default | meaning |\n|---|---|---|\n" + "".join(f"{row}\n" for row in rows(schema["properties"]))
    wanted = {
        CHART / "values.yaml": head + "".join(f"{line}\n" for line in values(schema["properties"])),
        readme: before + TABLE[0] + table + TABLE[1] + after,
        CHART / "files/flags.json": flags(schema),
        CHART / "files/rules.yaml": (MONITORING / "rules.yaml").read_text(),
        CHART / "files/grafana-dashboard.json": (MONITORING / "grafana-dashboard.json").read_text(),
    }
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text() != text]
    if sys.argv[1:] == ["--check"]:
        sys.exit(f"run charts/generate.py: {', '.join(map(str, stale))}" if stale else 0)
    for path in stale:
        path.parent.mkdir(exist_ok=True)
        path.write_text(wanted[path])


if __name__ == "__main__":
    main()
