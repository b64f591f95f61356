#!/usr/bin/env python3
"""generate.py: values.yaml and the table in README.md, from values.schema.json, where each value is defined once.

With --check, says whether they are what it would write."""

import json
import sys
import textwrap
from pathlib import Path

CHART = Path(__file__).parent / "narthex"
TABLE = ("<!-- values -->\n", "<!-- end of values -->\n")
# Helm's own; nobody sets it here.
HIDDEN = {"global"}


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
    return value if plain and not value[0].isdigit() else written(value)


def values(properties, indent=""):
    """Lines of values.yaml."""
    for name, definition in properties.items():
        if name in HIDDEN:
            continue
        text = definition["description"]
        if "enum" in definition and not all(f"`{choice}`" in text for choice in definition["enum"]):
            text += f" ({', '.join(definition['enum'])})"
        yield from textwrap.wrap(text, 118 - len(indent), initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ")
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
            text = definition["description"].replace("|", "\\|")
            if "enum" in definition and not all(f"`{choice}`" in text for choice in definition["enum"]):
                text += f": {', '.join(f'`{choice}`' for choice in definition['enum'])}"
            yield f"| `{path}{name}` | {shown} | {text} |"


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
    }
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text() != text]
    if sys.argv[1:] == ["--check"]:
        sys.exit(f"run charts/generate.py: {', '.join(map(str, stale))}" if stale else 0)
    for path in stale:
        path.write_text(wanted[path])


if __name__ == "__main__":
    main()
