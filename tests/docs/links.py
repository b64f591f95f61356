#!/usr/bin/env python3
"""links.py: finds links of our Markdown files that lead nowhere: to a file that is not there, or to a heading that a page does
not have. It asks no network, so links to other sites are not followed."""

import sys
from urllib.parse import unquote

from markdown import ROOT, anchors, files, links


def dead(page, text, known):
    """What is wrong with the links of a page."""
    for line, target in links(text):
        if "://" in target or target.startswith("mailto:"):
            continue
        path, _, fragment = target.partition("#")
        file = (page.parent / unquote(path)).resolve() if path else page
        where = f"{page.relative_to(ROOT)}:{line}"
        if not file.is_relative_to(ROOT) or not file.exists():
            yield f"{where}: {target} is not there"
        elif fragment and file.suffix == ".md":
            if file not in known:
                known[file] = anchors(file.read_text())
            if fragment not in known[file]:
                yield f"{where}: {path or page.name} has no heading #{fragment}"


def main():
    known, wrong, pages = {}, [], files()
    for page in pages:
        wrong += dead(page, page.read_text(), known)
    for line in wrong:
        print(line)
    print(f"{len(pages)} pages, {len(wrong)} dead links")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
