"""What our checks of Markdown files share: the files, their headings, links and code blocks."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FENCE = re.compile(r"^( *)(```+|~~~+)(.*)$")
HEADING = re.compile(r"^(#{1,6})\s+(.*?)\s*#*\s*$")
# A span ends with its paragraph, and with its row of a table.
CODE_SPAN = re.compile(r"(?<!`)(`+)(?!`)((?:(?!\n\s*(?:\n|\|)).)+?)(?<!`)\1(?!`)", re.S)
LINK = re.compile(r"!?\[(?:[^\]\[]|\[[^\]]*\])*\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)")


def files():
    """The Markdown files of the repository, apart from what is built or fetched."""
    return [file for file in sorted(ROOT.rglob("*.md")) if not {"target", "node_modules", ".git"} & set(file.relative_to(ROOT).parts)]


def blocks(text):
    """The fenced code blocks: the line that each begins in, its language, its text."""
    found, fence, began, language, lines = [], None, 0, "", []
    for number, line in enumerate(text.splitlines(), 1):
        match = FENCE.match(line)
        if fence is None and match:
            fence, began, language, lines = match[2], number, match[3].strip(), []
        elif fence is not None and match and match[2].startswith(fence) and not match[3].strip():
            found.append((began, language, "\n".join(lines) + "\n"))
            fence = None
        elif fence is not None:
            lines.append(line)
    return found


def prose(text):
    """The text with its code blocks, both fenced and indented, as empty lines."""
    lines, fence, blank = [], None, True
    for line in text.splitlines():
        match = FENCE.match(line)
        if fence is None and match:
            fence, line = match[2], ""
        elif fence is not None:
            if match and match[2].startswith(fence) and not match[3].strip():
                fence = None
            line = ""
        elif line.startswith("    ") and blank:
            # Indented code goes on until a line that is not indented.
            lines.append("")
            continue
        blank = not line.strip() if fence is None else True
        lines.append(line)
    return "\n".join(lines)


def slug(heading):
    """The anchor that forges and mdBook give a heading."""
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading)
    text = re.sub(r"[`*]", "", text).strip().lower()
    return re.sub(r"\s", "-", re.sub(r"[^\w\s-]", "", text))


def anchors(text):
    """The anchors of a page."""
    found, seen = set(), {}
    for line in prose(text).splitlines():
        match = HEADING.match(line)
        if match:
            base = slug(match[2])
            count = seen.get(base, 0)
            seen[base] = count + 1
            found.add(base if count == 0 else f"{base}-{count}")
        found.update(re.findall(r"<a (?:id|name)=\"([^\"]+)\"", line))
    return found


def links(text):
    """The targets of the links of a page, each with its line."""
    text = prose(text)
    text = CODE_SPAN.sub(lambda span: re.sub(r"[^\n]", " ", span[0]), text)
    for match in LINK.finditer(text):
        yield text.count("\n", 0, match.start()) + 1, match[1]
